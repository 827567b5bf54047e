/**
 * Copies the beginning of every n-th packet to a ring buffer.
 */
import {
  array,
  atomicAdd,
  bpf_xdp_load_bytes,
  global,
  packetLength,
  readOnly,
  ringBuffer,
  slice,
  struct,
  u8,
  u32,
  u64,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';

const SAMPLE = 64;

const Bytes = struct({ of: array(u8, SAMPLE) });
const Sample = struct({ number: u64, length: u32, kept: u32, bytes: Bytes });

export const every = readOnly(u32, 4);
export const samples = ringBuffer({ value: Sample, maxEntries: 1 << 18 });
export const seen = global(u64, 0n);
export const lost = global(u64, 0n);

export const packetSampler = xdp((context) => {
  const length = packetLength(context);
  const number = atomicAdd(seen, 'value', 1n);
  if (number % u64(every.value) !== 0n) return XDP_PASS;
  const sample = samples.reserve(Sample);
  if (sample === null) {
    atomicAdd(lost, 'value', 1n);
    return XDP_PASS;
  }
  sample.number = number;
  sample.length = length;
  sample.kept = length < SAMPLE ? 14 : SAMPLE;
  sample.bytes = { of: [] };
  if (length < SAMPLE) bpf_xdp_load_bytes(context, 0, slice(sample.bytes, 14));
  else bpf_xdp_load_bytes(context, 0, sample.bytes);
  samples.submit(sample);
  return XDP_PASS;
});

/**
 * Finds sources that send much with a count-min sketch: four rows of counters, of which the least is nearest to the truth.
 */
import {
  array,
  be32,
  ETH_P_IP,
  Ethernet,
  Ipv4,
  lruHash,
  packet,
  packetLength,
  range,
  readOnly,
  struct,
  u32,
  XDP_ABORTED,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';
import { hash3 } from './hash.bpf.ts';

const ROWS = 4;
const COLUMNS = 1024;

const Sketch = struct({ bytes: array(array(u32, COLUMNS), ROWS) });

export const threshold = readOnly(u32, 20000);
export const sketches = array({ value: Sketch, maxEntries: 1 });
export const heavy = lruHash({ key: be32, value: u32, maxEntries: 256 });

export const heavyHitters = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ethernet === null || ip === null || ethernet.protocol !== ETH_P_IP) return XDP_PASS;
  const sketch = sketches.lookup(0);
  if (sketch === null) return XDP_ABORTED;
  const source = ip.source;
  const length = packetLength(context);
  let estimate: u32 = 0xffffffff;
  for (const row of range(ROWS)) {
    const column = hash3(source, row, 0, 0) % COLUMNS;
    const bytes: u32 = sketch.bytes[row][column] + length;
    sketch.bytes[row][column] = bytes;
    if (bytes < estimate) estimate = bytes;
  }
  if (estimate < threshold.value) return XDP_PASS;
  heavy.update(source, estimate);
  return XDP_DROP;
});

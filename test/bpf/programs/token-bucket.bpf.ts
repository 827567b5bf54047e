/**
 * A token bucket for each source address: `rate` bytes a second with bursts of up to `burst`; what exceeds it is dropped.
 */
import {
  be32,
  bpf_ktime_get_ns,
  ETH_P_IP,
  Ethernet,
  Ipv4,
  lruHash,
  packet,
  packetLength,
  readOnly,
  struct,
  u64,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';

const NANOSECONDS = 1_000_000_000n;

const Bucket = struct({ tokens: u64, filledAt: u64, dropped: u64 });

export const rate = readOnly(u64, 1_000_000n);
export const burst = readOnly(u64, 20_000n);
export const buckets = lruHash({ key: be32, value: Bucket, maxEntries: 1024 });

export const tokenBucket = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ethernet === null || ip === null || ethernet.protocol !== ETH_P_IP) return XDP_PASS;
  const length = u64(packetLength(context));
  const now = bpf_ktime_get_ns();
  const source = ip.source;
  const bucket = buckets.lookup(source);
  if (bucket === null) {
    if (length > burst.value) return XDP_DROP;
    buckets.update(source, { tokens: burst.value - length, filledAt: now, dropped: 0n });
    return XDP_PASS;
  }
  let elapsed = now - bucket.filledAt;
  if (elapsed > NANOSECONDS) elapsed = NANOSECONDS;
  bucket.filledAt = now;
  bucket.tokens += (elapsed * rate.value) / NANOSECONDS;
  if (bucket.tokens > burst.value) bucket.tokens = burst.value;
  if (bucket.tokens < length) {
    bucket.dropped += 1n;
    return XDP_DROP;
  }
  bucket.tokens -= length;
  return XDP_PASS;
});

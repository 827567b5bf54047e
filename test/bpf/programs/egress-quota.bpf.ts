/**
 * Lets a cgroup send so many bytes to each address, and counts on after that what it kept back.
 */
import {
  atomicAdd,
  be32,
  cgroupSkbEgress,
  hash,
  Ipv4,
  packet,
  readOnly,
  struct,
  u64,
} from '../../../src/bpf/library/index.ts';

const Usage = struct({ sent: u64, refused: u64 });

export const quota = readOnly(u64, 4000n);
export const usages = hash({ key: be32, value: Usage, maxEntries: 1024 });

export const egressQuota = cgroupSkbEgress((context) => {
  const ip = packet(context, Ipv4, 0);
  if (ip === null || ip.version !== 4) return 1;
  const destination = ip.destination;
  const length = u64(context.len);
  const usage = usages.lookup(destination);
  if (usage === null) {
    usages.update(destination, { sent: length, refused: 0n });
    return 1;
  }
  if (usage.sent + length > quota.value) {
    atomicAdd(usage, 'refused', length);
    return 0;
  }
  atomicAdd(usage, 'sent', length);
  return 1;
});

/**
 * Lets a cgroup write only those sysctls whose names a table holds, and read all; counts what it refused.
 */
import {
  array,
  bpf_sysctl_get_name,
  cgroupSysctl,
  global,
  hash,
  local,
  struct,
  u8,
  u64,
} from '../../../src/bpf/library/index.ts';

const Name = struct({ text: array(u8, 64) });

export const writable = hash({ key: Name, value: u64, maxEntries: 64 });
export const refused = global(u64, 0n);

export const sysctlPolicy = cgroupSysctl((context) => {
  if (!context.write) return 1;
  const name = local(Name);
  if (bpf_sysctl_get_name(context, name, 0) < 0) {
    refused.value += 1n;
    return 0;
  }
  const writes = writable.lookup(name);
  if (writes === null) {
    refused.value += 1n;
    return 0;
  }
  writes.value += 1n;
  return 1;
});

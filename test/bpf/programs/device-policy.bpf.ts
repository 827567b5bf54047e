/**
 * Which devices a cgroup may make, read and write: first the device itself, then all of its major number.
 */
import { cgroupDevice, hash, local, struct, u32 } from '../../../src/bpf/library/index.ts';

const ANY_MINOR = 0xffffffff;

const Device = struct({ type: u32, major: u32, minor: u32 });

export const allowed = hash({ key: Device, value: u32, maxEntries: 256 });

export const devicePolicy = cgroupDevice((context) => {
  const key = local(Device, { type: context.access_type & 0xffff, major: context.major, minor: context.minor });
  const wanted = context.access_type >>> 16;
  let access = allowed.lookup(key);
  if (access === null) {
    key.minor = ANY_MINOR;
    access = allowed.lookup(key);
  }
  return access !== null && (wanted & ~access.value) === 0 ? 1 : 0;
});

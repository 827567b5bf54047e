/**
 * Writes a record into a ring buffer for each run: the load of `npm run bench -- ring`. The last run of all marks the end.
 */
import { bpf_ktime_get_ns, global, ringBuffer, struct, TC_ACT_OK, tc, u64 } from '../../src/bpf/library/index.ts';

const Event = struct({ number: u64, time: u64 });

export const events = ringBuffer({ maxEntries: 1 << 22 });
export const next = global(u64, 0n);
export const lost = global(u64, 0n);

export const produce = tc(() => {
  const event = events.reserve(Event);
  if (event === null) {
    lost.value += 1n;
    return TC_ACT_OK;
  }
  event.number = next.value;
  event.time = bpf_ktime_get_ns();
  events.submit(event);
  next.value += 1n;
  return TC_ACT_OK;
});

/**
 * Room `bpf`: helpers that every kind of program has (bpf-helpers(7)), for the VM. Each does to maps and memory what the kernel's
 * does; time, chance and the CPU are what a test says they are.
 */
import * as abi from '../../kernel/bpf-abi.ts';
import { ERRNO } from '../../kernel/errno.ts';
import { checksumDifference } from './checksum.ts';
import type { Helper } from './helper-call.ts';
import { formatTrace } from './trace-format.ts';

/** What the helpers ask of the world; each part may be given. */
export interface World {
  /** bpf_ktime_get_ns; the process's monotonic clock unless told. */
  readonly now?: () => bigint;
  /** bpf_get_prandom_u32: an integer from 0 to 2^32 - 1; Math.random unless told. */
  readonly random?: () => number;
  /** bpf_get_smp_processor_id, and whose value of a per-CPU map is meant; 0 unless told. */
  readonly cpu?: () => number;
  /** Takes each line of bpf_trace_printk; nobody does unless told. */
  readonly trace?: (line: string) => void;
}

/** The helpers, by number, in a world. */
export function helpersIn(world: World): Map<number, Helper> {
  const { now = () => process.hrtime.bigint(), cpu = () => 0, trace = () => undefined } = world;
  const random = world.random ?? (() => Math.floor(Math.random() * 4294967296));
  const entries: [number, Helper][] = [
    [
      abi.BPF_FUNC_map_lookup_elem,
      {
        name: 'map_lookup_elem',
        arguments: 2,
        run(call) {
          const map = call.map(1);
          call.returnsValue(map, map.findValue(call.bytes(2, map.spec.keySize), cpu()));
        },
      },
    ],
    [
      abi.BPF_FUNC_map_update_elem,
      {
        name: 'map_update_elem',
        arguments: 4,
        run(call) {
          const map = call.map(1);
          const flags = call.wide(4) > 0xffffffffn ? abi.BPF_EXIST + 1 : call.unsigned(4);
          const key = call.bytes(2, map.spec.keySize);
          call.returns(map.set(key, call.bytes(3, map.spec.valueSize), flags, cpu()));
        },
      },
    ],
    [
      abi.BPF_FUNC_map_delete_elem,
      {
        name: 'map_delete_elem',
        arguments: 2,
        run(call) {
          const map = call.map(1);
          call.returns(map.delete(call.bytes(2, map.spec.keySize)));
        },
      },
    ],
    [abi.BPF_FUNC_ktime_get_ns, { name: 'ktime_get_ns', arguments: 0, run: (call) => call.returnsWide(now()) }],
    [abi.BPF_FUNC_get_prandom_u32, { name: 'get_prandom_u32', arguments: 0, run: (call) => call.returns(random()) }],
    [
      abi.BPF_FUNC_get_smp_processor_id,
      { name: 'get_smp_processor_id', arguments: 0, run: (call) => call.returns(cpu()) },
    ],
    [
      abi.BPF_FUNC_trace_printk,
      {
        name: 'trace_printk',
        arguments: 2,
        run(call) {
          const line = formatTrace(call);
          if (line !== null) trace(line);
          call.returns(line === null ? -ERRNO.EINVAL : line.length);
        },
      },
    ],
    [
      abi.BPF_FUNC_csum_diff,
      {
        name: 'csum_diff',
        arguments: 5,
        run(call) {
          const from = call.unsigned(2);
          const to = call.unsigned(4);
          const before = from === 0 ? new Uint8Array(0) : call.bytes(1, from);
          const after = to === 0 ? new Uint8Array(0) : call.bytes(3, to);
          call.returns(checksumDifference(before, after, call.unsigned(5)));
        },
      },
    ],
  ];
  return new Map(entries);
}

/** The helpers in the process's own world. */
export const commonHelpers: ReadonlyMap<number, Helper> = helpersIn({});

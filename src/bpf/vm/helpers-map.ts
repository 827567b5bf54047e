/**
 * Room `bpf`: the VM's helpers for maps: look-ups, updates, deletion, walking, queues, and functions that are called
 * for each element.
 */
import { BPF_EXIST } from '../../kernel/bpf-abi.ts';
import { ERRNO } from '../../kernel/errno.ts';
import { VmBloomFilter, VmQueue } from './buffers.ts';
import { Violation } from './fault.ts';
import type { HelperCall } from './helper-call.ts';
import type { HelperTable } from './helper-table.ts';
import { VmMap } from './maps.ts';
import type { Address } from './memory.ts';
import type { World } from './world.ts';

/** More turns than a bpf_loop may have (BPF_MAX_LOOPS). */
const LOOPS_MAX = 8 * 1024 * 1024;
/** Above every flag that an update knows: the maps answer EINVAL. BPF_F_LOCK is left out before. */
const UNKNOWN_FLAGS = BPF_EXIST + 1;
const BPF_F_LOCK = 4;
const ZERO: Address = { low: 0, high: 0 };

function flagsOf(call: HelperCall, n: number): number {
  if (call.machine.file[n * 2 + 1] !== 0) return UNKNOWN_FLAGS;
  return call.unsigned(n) & ~BPF_F_LOCK;
}

/** bpf_map_lookup_elem: a value, or of a map of maps the inner map, or null. */
export function lookUpElement(call: HelperCall, cpu: number): void {
  const map = call.map(1);
  const bytes = call.reach(2, map.spec.keySize);
  if (!map.spec.type.endsWith('_of_maps')) {
    call.returnsValue(map, map.findValue(bytes, cpu, call.at));
    return;
  }
  const inner = map.reference(bytes, call.at);
  call.mayBeNull = true;
  call.returnsAddress(inner instanceof VmMap ? call.machine.values.handle(inner).address() : ZERO);
}

function update(call: HelperCall, cpu: number): void {
  const map = call.map(1);
  const key = call.reach(2, map.spec.keySize);
  const keyAt = call.at;
  const value = call.reach(3, map.spec.valueSize);
  call.returns(map.setAt(key, keyAt, value, call.at, flagsOf(call, 4), cpu));
}

/** bpf_for_each_map_elem: the callback gets the map, the key, the value and the program's pointer; 1 ends the walk. */
function forEach(call: HelperCall, cpu: number): void {
  const map = call.map(1);
  const slot = call.callback(2);
  const context = call.address(3);
  const { machine } = call;
  if (call.unsigned(4) !== 0) {
    call.returns(-ERRNO.EINVAL);
    return;
  }
  const keyRegion = machine.space.add({ name: 'a key', bytes: new Uint8Array(map.spec.keySize), writable: false });
  let visited = 0;
  for (const { key, number } of map.entries(cpu)) {
    keyRegion.bytes.set(key);
    const value = machine.values.region(map, number).address();
    visited++;
    machine.callBack(slot, [machine.values.handle(map).address(), keyRegion.address(), value, context]);
    if (machine.file[0] !== 0) break;
  }
  machine.space.retire(keyRegion, 'the walk over the map has ended');
  machine.space.reuse(keyRegion);
  call.returns(visited);
}

/** bpf_loop: how often the callback was called. */
function loop(call: HelperCall): void {
  const count = call.unsigned(1);
  const slot = call.callback(2);
  const context = call.address(3);
  const { machine } = call;
  if (count > LOOPS_MAX) {
    call.returns(-ERRNO.E2BIG);
    return;
  }
  let index = 0;
  while (index < count) {
    machine.callBack(slot, [{ low: index, high: 0 }, context]);
    index++;
    if (machine.file[0] !== 0) break;
  }
  call.returns(index);
}

function push(call: HelperCall): void {
  const map = call.anyMap(1);
  if (!(map instanceof VmQueue || map instanceof VmBloomFilter)) {
    throw new Violation(`argument 1 is a ${map.spec.type}, into which nothing is pushed`);
  }
  call.returns(map.push(call.bytes(2, map.spec.valueSize), call.unsigned(3)));
}

function take(call: HelperCall, isRemoved: boolean): void {
  const map = call.anyMap(1);
  if (map instanceof VmBloomFilter) {
    call.returns(map.has(call.bytes(2, map.spec.valueSize)) ? 0 : -ERRNO.ENOENT);
    return;
  }
  const queue = call.mapOf(1, VmQueue);
  const target = call.bytes(2, queue.spec.valueSize, true);
  const value = isRemoved ? queue.pop() : queue.peek();
  // kernel/bpf/queue_stack_maps.c clears what it cannot fill.
  if (value === null) target.fill(0);
  else target.set(value);
  call.returns(value === null ? -ERRNO.ENOENT : 0);
}

export function mapHelpers({ cpu = () => 0 }: World): HelperTable {
  return {
    map_lookup_elem: [2, (call) => lookUpElement(call, cpu())],
    map_update_elem: [4, (call) => update(call, cpu())],
    map_delete_elem: [
      2,
      (call) => {
        const map = call.map(1);
        const key = call.reach(2, map.spec.keySize);
        call.returns(map.deleteAt(key, call.at));
      },
    ],
    map_lookup_percpu_elem: [
      3,
      (call) => {
        const map = call.map(1);
        const wanted = call.unsigned(3);
        const key = call.reach(2, map.spec.keySize);
        call.returnsValue(map, wanted < map.cpus ? map.findValue(key, wanted, call.at) : -1);
      },
    ],
    map_push_elem: [3, push],
    map_pop_elem: [2, (call) => take(call, true)],
    map_peek_elem: [2, (call) => take(call, false)],
    for_each_map_elem: [4, (call) => forEach(call, cpu())],
    loop: [4, loop],
  };
}

/**
 * Room `bpf`: the kernel's functions of arenas in the VM (kernel/bpf/arena.c).
 *
 * A newcomer would get wrong: what they give and take are addresses of user space.
 */
import { PAGE_BYTES, VmArena } from './arena.ts';
import { Violation } from './fault.ts';
import type { HelperCall } from './helper-call.ts';

function arenaOf(call: HelperCall): VmArena {
  const map = call.anyMap(1);
  if (map instanceof VmArena) return map;
  throw new Violation(`argument 1 is ${map.spec.name ?? 'a map'}, a ${map.spec.type}: an arena is needed`);
}

/** bpf_arena_alloc_pages(map, address, pages, node, flags): the address, or 0. */
function allocate(call: HelperCall): void {
  const arena = arenaOf(call);
  const wanted = call.wide(2);
  const count = call.unsigned(3);
  const first = wanted === 0n ? null : arena.offsetOf(wanted) / PAGE_BYTES;
  const isAllowed = call.wide(5) === 0n && count > 0 && (first === null || Number.isInteger(first));
  const offset = isAllowed ? arena.allocate(count, first) : -1;
  if (offset === -1) call.returns(0);
  else call.returnsAddress(arena.addressAt(offset));
}

/** bpf_arena_free_pages(map, address, pages): nothing for a null pointer. */
function free(call: HelperCall): void {
  const arena = arenaOf(call);
  if (call.wide(2) !== 0n) arena.free(arena.offsetOf(call.wide(2)), call.unsigned(3));
  call.returns(0);
}

export const arenaFunctions: Readonly<Record<string, (call: HelperCall) => void>> = {
  bpf_arena_alloc_pages: allocate,
  bpf_arena_free_pages: free,
};

/**
 * Room `bpf`: which memory an access may touch, by the space of its address; and what is known to lie in memory at a point of the
 * program.
 *
 * A newcomer would get wrong: a slot whose address is given to a helper or stored somewhere is no longer private, from the
 * function's first instruction on, because loops come back.
 */
import type { Atomic, Call, IrFunction, Load, Operation, StackSlot, Store, Value } from '../ir.ts';
import { forEachOperand } from '../ir.ts';

/** Kinds of memory as bits: accesses without a common bit never touch the same byte. */
export const MEMORY = {
  private: 1,
  stack: 2,
  context: 4,
  packet: 8,
  mapValue: 16,
  global: 32,
  kernel: 64,
  arena: 128,
} as const;
/** All that other code may write. */
const SHARED = 0xff & ~MEMORY.private;
/** What a pointer of unknown origin may lead to: a caller's stack, a map's value, a packet. Never an arena: that takes a cast. */
const SOMEWHERE = MEMORY.stack | MEMORY.packet | MEMORY.mapValue | MEMORY.global | MEMORY.kernel;

/**
 * Helpers that write nothing a program sees through its pointers, beside what their arguments name. They neither move the packet
 * (kernel: bpf_helper_changes_pkt_data) nor run other code. Whatever is not here may do anything.
 */
const harmless: ReadonlySet<string> = new Set([
  'bpf_map_lookup_elem',
  'bpf_ktime_get_ns',
  'bpf_ktime_get_boot_ns',
  'bpf_ktime_get_coarse_ns',
  'bpf_ktime_get_tai_ns',
  'bpf_jiffies64',
  'bpf_get_prandom_u32',
  'bpf_get_smp_processor_id',
  'bpf_get_numa_node_id',
  'bpf_get_current_pid_tgid',
  'bpf_get_current_uid_gid',
  'bpf_get_current_cgroup_id',
  'bpf_get_current_task',
  'bpf_csum_diff',
  'bpf_trace_printk',
  'bpf_redirect',
  'bpf_redirect_map',
  'bpf_get_socket_cookie',
  'bpf_get_hash_recalc',
]);

/** These write the values of maps and nothing else. */
const mapWriters: ReadonlySet<string> = new Set([
  'bpf_map_update_elem',
  'bpf_map_delete_elem',
  'bpf_map_push_elem',
  'bpf_perf_event_output',
  'bpf_ringbuf_output',
]);

/** What a call may write, as bits of {@link MEMORY}. */
function writtenBy(call: Call): number {
  if (call.pure) return 0;
  if (call.target.kind !== 'helper') return SHARED;
  if (harmless.has(call.target.name)) return 0;
  return mapWriters.has(call.target.name) ? MEMORY.mapValue | MEMORY.global : SHARED;
}

/** An access to memory. */
export type Access = Load | Store | Atomic;

/** Slots that only loads and stores of this function touch. */
export function privateSlots(irFunction: IrFunction): Set<StackSlot> {
  const found = new Set(irFunction.slots);
  if (found.size === 0) return found;
  const giveAway = (value: Value): void => {
    if (value.kind === 'stackAddress') found.delete(value.slot);
  };
  for (const block of irFunction.blocks) {
    if (found.size === 0) break;
    for (const phi of block.phis) phi.inputs.forEach(giveAway);
    for (const operation of block.operations) {
      if (operation.kind === 'load') continue;
      if (operation.kind === 'store') giveAway(operation.value);
      else if (operation.kind !== 'compare') forEachOperand(operation, giveAway);
    }
    const end = block.terminator;
    if (end?.kind === 'return' && end.value !== null) giveAway(end.value);
  }
  return found;
}

/** Some bytes of memory; `kind` where they belong to an access. */
export type Place = Pick<Access, 'address' | 'offset' | 'width'> & { readonly kind?: Access['kind'] };

/** What accesses touch, in one function. */
export class Aliases {
  readonly privates: ReadonlySet<StackSlot>;

  constructor(irFunction: IrFunction) {
    this.privates = privateSlots(irFunction);
  }

  /** The memory that lies behind an address, as bits of {@link MEMORY}. */
  memoryOf(address: Value): number {
    if (address.kind === 'stackAddress' && this.privates.has(address.slot)) return MEMORY.private;
    switch (address.space) {
      case 'stack':
      case 'context':
      case 'packet':
      case 'mapValue':
      case 'global':
      case 'kernel':
      case 'arena':
        return MEMORY[address.space];
      default:
        return SOMEWHERE;
    }
  }

  /** What an operation may write. */
  written(operation: Operation): number {
    switch (operation.kind) {
      case 'store':
        return this.memoryOf(operation.address);
      case 'atomic':
        // What user space and other CPUs share in an arena is ordered by atomic steps, wherever those are made.
        return this.memoryOf(operation.address) | MEMORY.arena;
      case 'call':
        return writtenBy(operation);
      default:
        return 0;
    }
  }

  /** Whether `a` is an atomic step that what happens at `b` must not be moved across. */
  #isFence(a: Place, b: Place): boolean {
    return a.kind === 'atomic' && this.memoryOf(b.address) === MEMORY.arena;
  }

  /** Whether two accesses may touch a common byte, or one orders the other. */
  mayTouch(a: Place, b: Place): boolean {
    if (this.#isFence(a, b) || this.#isFence(b, a)) return true;
    if ((this.memoryOf(a.address) & this.memoryOf(b.address)) === 0) return false;
    if (isSameBase(a.address, b.address)) return a.offset < b.offset + b.width && b.offset < a.offset + a.width;
    const [first, second] = [a.address, b.address];
    if (first.kind === 'dataAddress' && second.kind === 'dataAddress') {
      return first.section === second.section && first.symbol === second.symbol;
    }
    return first.kind !== 'stackAddress' || second.kind !== 'stackAddress';
  }
}

/** Whether two addresses are the same, so that offsets tell accesses apart. */
export function isSameBase(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (a.kind === 'stackAddress' && b.kind === 'stackAddress') return a.slot === b.slot;
  return (
    a.kind === 'dataAddress' &&
    b.kind === 'dataAddress' &&
    a.section === b.section &&
    a.symbol === b.symbol &&
    a.offset === b.offset
  );
}

/**
 * Room `bpf`: chooses instructions for loads, stores and atomic steps: constant parts of an address go into the offset, constants
 * into the store.
 *
 * A newcomer would get wrong: a context takes no BPF_ST before Linux 6.3 and no sign-extending load at all, and where the loader is to
 * correct an offset (CO-RE), the offset must be the field's own.
 */
import * as abi from '../../../kernel/bpf-abi.ts';
import type { Atomic, Load, Store, Value, Width } from '../ir.ts';
import { type Code, extendSign, fits } from './code.ts';
import type { Facts } from './facts.ts';
import { FRAME, KIND, machine, NONE } from './machine.ts';

const sizes: Readonly<Record<Width, number>> = { 1: abi.BPF_B, 2: abi.BPF_H, 4: abi.BPF_W, 8: abi.BPF_DW };

const atomics = {
  add: abi.BPF_ADD,
  and: abi.BPF_AND,
  or: abi.BPF_OR,
  xor: abi.BPF_XOR,
  exchange: abi.BPF_XCHG,
  compareExchange: abi.BPF_CMPXCHG,
} as const;

const OFFSET_MIN = -32768;
const OFFSET_MAX = 32767;

interface Place {
  readonly base: number;
  readonly offset: number;
}

/** Writes accesses to memory. */
export class Memory {
  readonly #code: Code;
  readonly #facts: Facts;
  readonly #use: (value: Value) => number;
  readonly #cpu: 3 | 4;

  constructor(code: Code, facts: Facts, use: (value: Value) => number, cpu: 3 | 4) {
    this.#code = code;
    this.#facts = facts;
    this.#use = use;
    this.#cpu = cpu;
  }

  /** Register and offset of an access. Additions of numbers to the address are followed as far as they fit. */
  #place(access: Load | Store | Atomic): Place {
    let { address, offset } = access;
    if (access.kind !== 'atomic' && access.relocation !== null) return { base: this.#use(address), offset };
    for (;;) {
      if (address.kind === 'stackAddress') {
        return { base: FRAME, offset: offset + this.#code.slotOffset(address.slot) };
      }
      const step = constantStep(address);
      if (step === null) break;
      const next = offset + step.bytes;
      if (next < OFFSET_MIN || next > OFFSET_MAX) break;
      address = step.from;
      offset = next;
    }
    if (offset >= OFFSET_MIN && offset <= OFFSET_MAX) return { base: this.#use(address), offset };
    // An instruction has 16 bits for it: what is beyond them goes into the address.
    const base = this.#code.fresh(address.name);
    this.#code.aluImmediate(64, abi.BPF_ADD, base, this.#use(address), offset);
    return { base, offset: 0 };
  }

  /** Whether a signed load is made without its sign extension, which nobody reads. */
  isCut(value: Load): boolean {
    return value.signed && value.width === 4 && !this.#facts.isHighRead(value);
  }

  load(value: Load): void {
    const { width, signed, volatile } = value;
    const code = this.#code;
    const def = code.registerOf(value);
    const { base, offset } = this.#place(value);
    const isSigned = signed && width < 8 && !this.isCut(value);
    const space = value.address.space;
    // An arena takes none before Linux 6.18 (bpf_jit_supports_insn, arch/x86/net/bpf_jit_comp.c).
    const isDirect = isSigned && this.#cpu === 4 && !['context', 'kernel', 'arena'].includes(space);
    const into = isSigned && !isDirect ? code.fresh() : def;
    const opcode = abi.BPF_LDX | (isDirect ? abi.BPF_MEMSX : abi.BPF_MEM) | sizes[width];
    const fields = { def: into, first: base, offset, core: value.relocation, removable: !volatile };
    code.push(machine(KIND.load, opcode, code.location, fields));
    if (into !== def) extendSign(code, this.#cpu, { def, from: into, width });
  }

  store(value: Store): void {
    const { width } = value;
    const code = this.#code;
    const stored = storedBy(value);
    const { base, offset } = this.#place(value);
    const fields = { first: base, offset, core: value.relocation, removable: false };
    if (stored.kind === 'constant' && value.address.space !== 'context') {
      const number = width === 8 ? stored.value : BigInt.asIntN(width === 4 ? 32 : width * 8, stored.value);
      if (fits(number)) {
        const opcode = abi.BPF_ST | abi.BPF_MEM | sizes[width];
        code.push(machine(KIND.store, opcode, code.location, { ...fields, immediate: Number(number) }));
        return;
      }
    }
    const opcode = abi.BPF_STX | abi.BPF_MEM | sizes[width];
    code.push(machine(KIND.store, opcode, code.location, { ...fields, second: this.#use(stored) }));
  }

  atomic(value: Atomic): void {
    const { operator, width, expected } = value;
    const code = this.#code;
    const opcode = abi.BPF_STX | abi.BPF_ATOMIC | sizes[width];
    const { base, offset } = this.#place(value);
    const fields = { first: base, offset, removable: false };
    const operand = this.#use(value.value);
    const isUsed = this.#facts.isUsed(value);
    if (expected !== null) {
      code.move(0, this.#use(expected));
      const immediate = abi.BPF_CMPXCHG;
      const more = { second: operand, immediate, reads: 1, writes: 1 };
      code.push(machine(KIND.atomic, opcode, code.location, { ...fields, ...more }));
      if (isUsed) code.move(code.registerOf(value), 0);
      return;
    }
    const fetches = value.fetch || operator === 'exchange';
    const immediate = atomics[operator] | (fetches ? abi.BPF_FETCH : 0);
    if (!fetches) {
      code.push(machine(KIND.atomic, opcode, code.location, { ...fields, second: operand, immediate }));
      return;
    }
    // The operand's register is where the former value appears.
    const def = code.registerOf(value);
    code.push(machine(KIND.atomic, opcode, code.location, { ...fields, def, tied: operand, second: NONE, immediate }));
  }
}

/** `address` as an address and a number of bytes behind it; null where it is no such sum. */
export function constantStep(address: Value): { readonly from: Value; readonly bytes: number } | null {
  if (address.kind !== 'binary' || address.bits !== 64) return null;
  const { operator, left, right } = address;
  if (operator !== 'add' && operator !== 'sub') return null;
  if (right.kind === 'constant' && fits(right.value)) {
    return { from: left, bytes: operator === 'add' ? Number(right.value) : -Number(right.value) };
  }
  if (operator === 'add' && left.kind === 'constant' && fits(left.value))
    return { from: right, bytes: Number(left.value) };
  return null;
}

/** What is stored, without what changes only bits that are not. */
function storedBy({ value, width }: Store): Value {
  let found = value;
  while (found.kind === 'unary' && (found.operator === 'sext' || found.operator === 'zext') && found.width >= width) {
    found = found.operand;
  }
  return found;
}

/**
 * Room `bpf`: what can be said of one instruction without running it: whether it is one, and which registers it reads
 * and writes.
 *
 * A newcomer would get wrong: a call's arguments are not among the registers it reads: how many there are depends on
 * who is called.
 */
import * as abi from '../../kernel/bpf-abi.ts';
import { FRAME_POINTER, type Instruction, REGISTERS, WIDE_LOAD } from '../instructions.ts';
import { fieldsOf, type Mnemonic, mnemonicsByOpcode } from '../mnemonics.ts';
import { VmFault } from './fault.ts';

/** Operations in an atomic instruction's immediate (kernel 6.14) that are plain accesses with an ordering. */
export const BPF_LOAD_ACQUIRE = 0x100;
export const BPF_STORE_RELEASE = 0x110;

/** A set of registers as bits. */
export interface RegisterUse {
  readonly reads: number;
  readonly writes: number;
}

function isOrdered({ opcode, immediate }: Instruction): boolean {
  const isAtomic = (opcode & 0xe7) === (abi.BPF_STX | abi.BPF_ATOMIC);
  return isAtomic && (immediate === BPF_LOAD_ACQUIRE || immediate === BPF_STORE_RELEASE);
}

/** The form of an instruction, with nothing in fields that it does not use; undefined if there is none. */
function formOf(found: Instruction): Mnemonic | undefined {
  return mnemonicsByOpcode.get(found.opcode)?.find((form) => {
    const free = new Set(form.operands.flatMap((operand) => fieldsOf[operand]));
    const keeps = (field: keyof Mnemonic['fixed']) => free.has(field) || found[field] === (form.fixed[field] ?? 0);
    return keeps('destination') && keeps('source') && keeps('offset') && keeps('immediate') && keeps('nextImmediate');
  });
}

/** Whether a jump's or a call's distance stands in the immediate. */
export function isFarJump({ opcode, source }: Instruction): boolean {
  const isLocalCall = opcode === (abi.BPF_JMP | abi.BPF_CALL) && source === abi.BPF_PSEUDO_CALL;
  return isLocalCall || opcode === (abi.BPF_JMP32 | abi.BPF_JA);
}

function useOfAtomic(found: Instruction, destination: number, source: number): RegisterUse {
  if (found.immediate === BPF_LOAD_ACQUIRE) return { reads: source, writes: destination };
  if (found.immediate === abi.BPF_CMPXCHG) return { reads: destination | source | 1, writes: 1 };
  const isFetch = found.immediate !== BPF_STORE_RELEASE && (found.immediate & abi.BPF_FETCH) !== 0;
  return { reads: destination | source, writes: isFetch ? source : 0 };
}

/** The registers that an instruction reads and writes. Calls are left out: their arguments depend on who is called. */
export function registersOf(found: Instruction): RegisterUse {
  const destination = 1 << found.destination;
  const source = 1 << found.source;
  const operand = (found.opcode & abi.BPF_X) !== 0 ? source : 0;
  const operation = found.opcode & 0xf0;
  switch (found.opcode & 7) {
    case abi.BPF_ALU64:
    case abi.BPF_ALU:
      // A conversion of byte order has a direction where others have the kind of their operand.
      if (operation === abi.BPF_END) return { reads: destination, writes: destination };
      return { reads: operand | (operation === abi.BPF_MOV ? 0 : destination), writes: destination };
    case abi.BPF_LDX:
      return { reads: source, writes: destination };
    case abi.BPF_ST:
      return { reads: destination, writes: 0 };
    case abi.BPF_STX:
      if ((found.opcode & 0xe0) === abi.BPF_ATOMIC) return useOfAtomic(found, destination, source);
      return { reads: destination | source, writes: 0 };
    case abi.BPF_LD:
      return { reads: 0, writes: destination };
    default:
      if (operation === abi.BPF_JA || operation === abi.BPF_CALL) return { reads: 0, writes: 0 };
      if (operation === abi.BPF_EXIT) return { reads: 1, writes: 0 };
      return { reads: destination | operand, writes: 0 };
  }
}

/** @throws VmFault for an instruction that the kernel refuses whatever stands around it, or that exists in the kernel only */
export function checkInstruction(slot: number, found: Instruction): void {
  const fail = (problem: string): never => {
    throw new VmFault(slot, found, problem);
  };
  const isWide = found.opcode === WIDE_LOAD;
  if (formOf(found) === undefined && !isOrdered(found)) {
    fail('is no instruction of RFC 9669: unknown opcode, or a field that must be 0');
  }
  if (found.destination >= REGISTERS || (!isWide && found.source >= REGISTERS)) fail('names a register above %r10');
  if ((found.opcode & 7) === abi.BPF_LD && !isWide) {
    fail('is a legacy packet load, which RFC 9669 advises against: read the packet through a pointer');
  }
  if ((registersOf(found).writes & (1 << FRAME_POINTER)) !== 0) fail('writes the frame pointer');
  const isCall = found.opcode === (abi.BPF_JMP | abi.BPF_CALL);
  if (isCall && found.source === abi.BPF_PSEUDO_KFUNC_CALL) fail('calls a kernel function');
  if (isWide && found.source > abi.BPF_PSEUDO_MAP_IDX_VALUE) fail('is a wide load of no known kind');
  if (isWide && found.source === abi.BPF_PSEUDO_BTF_ID) fail('takes an address that exists in the kernel only');
}

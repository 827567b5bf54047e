/**
 * Room `bpf`: what a CO-RE record's question is answered with, for a place in a type: an offset, a size, a sign, shifts for a bit field, a
 * type's id, an enum's value (enum bpf_core_relo_kind; the rules are those of the kernel's tools/lib/bpf/relo_core.c).
 *
 * A newcomer would get wrong: a bit field is read as the whole unit of its type that holds it, doubled where it crosses that unit's end;
 * the shifts then take it out of 64 bits.
 */
import {
  BPF_CORE_ENUMVAL_EXISTS,
  BPF_CORE_ENUMVAL_VALUE,
  BPF_CORE_FIELD_BYTE_OFFSET,
  BPF_CORE_FIELD_BYTE_SIZE,
  BPF_CORE_FIELD_EXISTS,
  BPF_CORE_FIELD_LSHIFT_U64,
  BPF_CORE_FIELD_RSHIFT_U64,
  BPF_CORE_FIELD_SIGNED,
  BPF_CORE_TYPE_EXISTS,
  BPF_CORE_TYPE_ID_LOCAL,
  BPF_CORE_TYPE_ID_TARGET,
  BPF_CORE_TYPE_MATCHES,
  BPF_CORE_TYPE_SIZE,
} from '../../../kernel/btf-abi.ts';
import { BtfError, type BtfMember } from '../btf/records.ts';
import type { Btf } from '../btf/table.ts';
import type { Access } from './access.ts';

export interface Answer {
  readonly value: bigint;
  /** Whether the instruction must hold the value of the program's own types before it is changed. */
  readonly checked: boolean;
  /** For an offset: the field's type, so that a load's width may follow it; null for a bit field and for other questions. */
  readonly fieldType: number | null;
}

const plain = (value: number | bigint, checked = true): Answer => ({ value: BigInt(value), checked, fieldType: null });

/** The answer where nothing matches: no for the questions whether something exists; null where there is none. */
export function answerForNothing(kind: number): Answer | null {
  switch (kind) {
    case BPF_CORE_FIELD_EXISTS:
    case BPF_CORE_TYPE_EXISTS:
    case BPF_CORE_TYPE_MATCHES:
    case BPF_CORE_ENUMVAL_EXISTS:
      return plain(0);
    default:
      return null;
  }
}

/** The answer for a place. @throws BtfError for a question that makes no sense there */
export function answerFor(kind: number, access: Access): Answer {
  switch (kind) {
    case BPF_CORE_FIELD_EXISTS:
    case BPF_CORE_TYPE_EXISTS:
    case BPF_CORE_TYPE_MATCHES:
    case BPF_CORE_ENUMVAL_EXISTS:
      return plain(1);
    case BPF_CORE_TYPE_ID_LOCAL:
    case BPF_CORE_TYPE_ID_TARGET:
      // Compilers write whichever id a type had when they were not finished yet.
      return plain(access.rootId, false);
    case BPF_CORE_TYPE_SIZE:
      return plain(access.btf.sizeOf(access.rootId));
    case BPF_CORE_ENUMVAL_VALUE:
      return plain(enumValue(access));
    case BPF_CORE_FIELD_BYTE_OFFSET:
    case BPF_CORE_FIELD_BYTE_SIZE:
    case BPF_CORE_FIELD_SIGNED:
    case BPF_CORE_FIELD_LSHIFT_U64:
    case BPF_CORE_FIELD_RSHIFT_U64:
      return answerForField(kind, access);
    default:
      throw new BtfError(`unknown kind ${kind} of a CO-RE record`);
  }
}

function enumValue({ btf, steps }: Access): bigint {
  const type = btf.type(steps[0].typeId);
  if (type.kind !== 'enum' && type.kind !== 'enum64') throw new BtfError(`${type.kind} ${type.name} has no values`);
  const { value } = type.values[steps[0].index];
  // Compilers before LLVM 15 and pahole before 1.24 did not say which enums are signed, so that all of 32 bits are taken to be.
  return type.kind === 'enum' ? BigInt.asIntN(32, value) : value;
}

/** Which bytes hold a field, and which of their bits. */
interface Extent {
  readonly offset: number;
  readonly bytes: number;
  readonly bits: number;
  readonly isBitField: boolean;
}

function extentOf({ btf, offsetBits }: Access, member: BtfMember): Extent {
  const size = btf.sizeOf(member.type);
  if (member.bits === 0) {
    return { offset: Math.floor(offsetBits / 8), bytes: size, bits: size * 8, isBitField: false };
  }
  let bytes = size;
  const start = (): number => Math.floor(offsetBits / 8 / bytes) * bytes;
  while (offsetBits + member.bits - start() * 8 > bytes * 8) {
    if (bytes >= 8) throw new BtfError(`bit field ${member.name} lies in more than 8 bytes`);
    bytes *= 2;
  }
  return { offset: start(), bytes, bits: member.bits, isBitField: true };
}

function memberOf({ btf, steps }: Access): BtfMember | null {
  const last = steps[steps.length - 1];
  if (last.name === null) return null;
  const type = btf.type(last.typeId);
  return type.kind === 'struct' || type.kind === 'union' ? type.members[last.index] : null;
}

function isSigned(btf: Btf, id: number): boolean {
  const type = btf.resolved(id);
  return (type.kind === 'int' || type.kind === 'enum' || type.kind === 'enum64') && type.signed;
}

function answerForField(kind: number, access: Access): Answer {
  const member = memberOf(access);
  if (member === null) return answerForElement(kind, access);
  const { offset, bytes, bits, isBitField } = extentOf(access, member);
  switch (kind) {
    case BPF_CORE_FIELD_BYTE_OFFSET:
      return { value: BigInt(offset), checked: !isBitField, fieldType: isBitField ? null : member.type };
    case BPF_CORE_FIELD_BYTE_SIZE:
      return plain(bytes, !isBitField);
    case BPF_CORE_FIELD_SIGNED:
      return plain(isSigned(access.btf, member.type) ? 1 : 0);
    case BPF_CORE_FIELD_LSHIFT_U64:
      return plain(64 - (access.offsetBits + bits - offset * 8), !isBitField);
    default:
      return plain(64 - bits);
  }
}

/** An element of an array has no member: its offset and its size are all that can be asked. */
function answerForElement(kind: number, { btf, offsetBits, steps }: Access): Answer {
  const { typeId } = steps[steps.length - 1];
  if (kind === BPF_CORE_FIELD_BYTE_OFFSET) {
    return { value: BigInt(offsetBits / 8), checked: true, fieldType: typeId };
  }
  if (kind === BPF_CORE_FIELD_BYTE_SIZE) return plain(btf.sizeOf(typeId));
  throw new BtfError(`CO-RE record of kind ${kind} for an element of an array`);
}

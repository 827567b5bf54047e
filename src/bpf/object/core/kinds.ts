/**
 * Room `bpf`: what the compiler asks about kernel types, as CO-RE records say it: a number for the question, and a path of indices in
 * place of names (struct bpf_core_relo of include/uapi/linux/bpf.h).
 *
 * A newcomer would get wrong: a path begins with an index into an array of the root type, which is 0 for all that the compiler asks.
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
import type { CoreRelocation } from '../../compiler/ir.ts';
import type { StructType, Type } from '../../types.ts';

/** The kernel's numbers of the compiler's questions. */
export const CORE_KINDS: Readonly<Record<CoreRelocation['kind'], number>> = {
  fieldByteOffset: BPF_CORE_FIELD_BYTE_OFFSET,
  fieldByteSize: BPF_CORE_FIELD_BYTE_SIZE,
  fieldExists: BPF_CORE_FIELD_EXISTS,
  fieldSigned: BPF_CORE_FIELD_SIGNED,
  fieldLeftShift: BPF_CORE_FIELD_LSHIFT_U64,
  fieldRightShift: BPF_CORE_FIELD_RSHIFT_U64,
  typeIdLocal: BPF_CORE_TYPE_ID_LOCAL,
  typeIdTarget: BPF_CORE_TYPE_ID_TARGET,
  typeExists: BPF_CORE_TYPE_EXISTS,
  typeSize: BPF_CORE_TYPE_SIZE,
  enumValueExists: BPF_CORE_ENUMVAL_EXISTS,
  enumValue: BPF_CORE_ENUMVAL_VALUE,
  typeMatches: BPF_CORE_TYPE_MATCHES,
};

/** Whether the question is about a field, so that its path leads through members. */
export function isFieldKind(kind: number): boolean {
  return kind <= BPF_CORE_FIELD_RSHIFT_U64;
}

/** Whether the question is about a value of an enum. */
export function isEnumKind(kind: number): boolean {
  return kind === BPF_CORE_ENUMVAL_EXISTS || kind === BPF_CORE_ENUMVAL_VALUE;
}

/** The indices of a path of names: `0:3:1`. @throws RangeError where the struct has no such field */
export function accessOf(struct: StructType, path: readonly (string | number)[]): string {
  let type: Type = struct;
  const indices = [0];
  for (const step of path) {
    if (typeof step === 'number') {
      if (type.kind !== 'array') throw new RangeError(`${struct.name}: ${path.join('.')} takes an element of no array`);
      indices.push(step);
      type = type.element;
      continue;
    }
    const index: number = type.kind === 'struct' ? type.fields.findIndex((field) => field.name === step) : -1;
    if (type.kind !== 'struct' || index === -1) throw new RangeError(`${struct.name} has no field ${path.join('.')}`);
    indices.push(index);
    type = type.fields[index].type;
  }
  return indices.join(':');
}

/**
 * Room `bpf`: the path of a CO-RE record, `0:3:1`, in the program's own types, and the same path in the kernel's, where members have other
 * indices, lie elsewhere, or inside of anonymous structs.
 *
 * A newcomer would get wrong: the first index is one into an array of the root type, as in `pointer[0].field`; it has no member.
 */

import { BPF_CORE_TYPE_MATCHES } from '../../../kernel/btf-abi.ts';
import { type BtfComposite, BtfError, essentialName } from '../btf/records.ts';
import type { Btf } from '../btf/table.ts';
import type { CoreRecord } from '../spec.ts';
import { areFieldsCompatible, areTypesCompatible, doTypesMatch } from './compatible.ts';
import { isEnumKind, isFieldKind } from './kinds.ts';

/** How many indices a path may have; libbpf's bound. */
const STEPS_MAX = 64;
/** How deep anonymous structs may lie in each other. */
const DEPTH_MAX = 32;

/** A step of a path: a member by name, or an element of an array (`name` null). */
export interface Step {
  /** The struct or enum whose member or value it is; the element's type for an element. */
  readonly typeId: number;
  readonly index: number;
  readonly name: string | null;
}

/** A place within a type. */
export interface Access {
  readonly btf: Btf;
  readonly rootId: number;
  readonly steps: readonly Step[];
  readonly offsetBits: number;
}

/** Reads the path of a record in its own types. @throws BtfError where it leads nowhere */
export function readAccess(btf: Btf, { typeId, access, kind }: CoreRecord): Access {
  const indices = access.split(':').map(Number);
  if (!/^\d+(?::\d+)*$/.test(access) || indices.length > STEPS_MAX) {
    throw new BtfError(`CO-RE record with the path “${access}”`);
  }
  if (isEnumKind(kind)) return readEnumValue(btf, typeId, indices);
  if (!isFieldKind(kind)) {
    if (access !== '0') throw new BtfError(`CO-RE record for a type with the path “${access}”`);
    return { btf, rootId: typeId, steps: [], offsetBits: 0 };
  }
  const [first, ...rest] = indices;
  const steps: Step[] = [{ typeId, index: first, name: null }];
  let offsetBits = first * btf.sizeOf(typeId) * 8;
  let current = typeId;
  for (const index of rest) {
    const id = btf.resolve(current);
    const type = btf.type(id);
    if (type.kind === 'struct' || type.kind === 'union') {
      const member = type.members[index];
      if (member === undefined) throw new BtfError(`${type.kind} ${type.name} has no member ${index}`);
      offsetBits += member.offsetBits;
      // Members of anonymous structs are found by name wherever the kernel has them: the anonymous step itself does not count.
      if (member.name !== '') steps.push({ typeId: id, index, name: member.name });
      current = member.type;
    } else if (type.kind === 'array') {
      if (index >= type.length && !isOpenArray(btf, steps, type.length)) {
        throw new BtfError(`CO-RE record for element ${index} of ${type.length}`);
      }
      offsetBits += index * btf.sizeOf(type.element) * 8;
      steps.push({ typeId: type.element, index, name: null });
      current = type.element;
    } else {
      throw new BtfError(`CO-RE record with the path “${access}”, which leads into a ${type.kind}`);
    }
  }
  return { btf, rootId: typeId, steps, offsetBits };
}

function readEnumValue(btf: Btf, typeId: number, indices: readonly number[]): Access {
  const id = btf.resolve(typeId);
  const type = btf.type(id);
  const value = type.kind === 'enum' || type.kind === 'enum64' ? type.values[indices[0]] : undefined;
  if (value === undefined || indices.length !== 1) throw new BtfError(`CO-RE record for a value of type ${typeId}`);
  return { btf, rootId: typeId, steps: [{ typeId: id, index: indices[0], name: value.name }], offsetBits: 0 };
}

/** An array of no length, or of 0 or 1, at the end of a struct may have any number of elements. */
function isOpenArray(btf: Btf, steps: readonly Step[], length: number): boolean {
  const last = steps.at(-1);
  if (last === undefined || last.name === null || length > 1) return false;
  const struct = btf.type(last.typeId);
  return struct.kind === 'struct' && last.index === struct.members.length - 1;
}

/** The path in words: `task_struct.parent.pid`, `sk_buff.cb[3]`. */
export function describeAccess({ btf, rootId, steps }: Access): string {
  let text = btf.nameOf(rootId) || btf.resolved(rootId).name || 'an anonymous type';
  for (const { name, index } of steps.slice(steps[0]?.name === null ? 1 : 0)) {
    text += name === null ? `[${index}]` : `.${name}`;
  }
  return text;
}

/** The same path in a type of another table, or null where it does not have it. */
export function matchAccess(local: Access, kind: number, target: Btf, targetId: number): Access | null {
  const root = { btf: target, rootId: targetId, steps: [], offsetBits: 0 };
  if (isEnumKind(kind)) return matchEnumValue(local, root);
  if (!isFieldKind(kind)) {
    const compare = kind === BPF_CORE_TYPE_MATCHES ? doTypesMatch : areTypesCompatible;
    return compare(local.btf, local.rootId, target, targetId) ? root : null;
  }
  return matchField(local, target, targetId, areFieldsCompatible);
}

/** Why a type of the right name does not have the path, as a sentence's end. */
export function describeMismatch(local: Access, kind: number, target: Btf, targetId: number): string {
  const { kind: what, name } = target.resolved(targetId);
  const type = `the kernel’s ${what} ${name || target.nameOf(targetId)}`;
  if (isEnumKind(kind)) return `${type} has no such value`;
  if (!isFieldKind(kind)) return `${type} is not the same`;
  const byName = matchField(local, target, targetId, () => true);
  if (byName === null) return `${type} has no such field`;
  const last = byName.steps[byName.steps.length - 1];
  const struct = target.type(last.typeId);
  const isMember = last.name !== null && (struct.kind === 'struct' || struct.kind === 'union');
  const found = isMember ? target.resolved(struct.members[last.index].type).kind : struct.kind;
  return `in ${type} it is of another kind (${found})`;
}

function matchEnumValue(local: Access, root: Access): Access | null {
  const id = root.btf.resolve(root.rootId);
  const type = root.btf.type(id);
  const name = local.steps[0].name ?? '';
  if (type.kind !== 'enum' && type.kind !== 'enum64') return null;
  const index = type.values.findIndex((one) => essentialName(one.name) === essentialName(name));
  return index === -1 ? null : { ...root, steps: [{ typeId: id, index, name: type.values[index].name }] };
}

/** How the types of fields are compared. */
type Compare = typeof areFieldsCompatible;

function matchField(local: Access, target: Btf, targetId: number, compare: Compare): Access | null {
  const [first, ...rest] = local.steps;
  const steps: Step[] = [{ typeId: targetId, index: first.index, name: null }];
  let offsetBits = first.index === 0 ? 0 : first.index * target.sizeOf(targetId) * 8;
  let current = targetId;
  for (const step of rest) {
    if (step.name !== null) {
      const found = findMember(local.btf, step, target, current, compare);
      if (found === null) return null;
      steps.push(found.step);
      offsetBits += found.offsetBits;
      current = found.memberType;
      continue;
    }
    const array = target.resolved(current);
    if (array.kind !== 'array') return null;
    if (step.index >= array.length && !isOpenArray(target, steps, array.length)) return null;
    steps.push({ typeId: array.element, index: step.index, name: null });
    offsetBits += step.index * target.sizeOf(array.element) * 8;
    current = array.element;
  }
  return { btf: target, rootId: targetId, steps, offsetBits };
}

interface FoundMember {
  readonly step: Step;
  readonly offsetBits: number;
  readonly memberType: number;
}

/** A member of the same name and a compatible type, also inside of anonymous members. */
function findMember(
  local: Btf,
  step: Step,
  target: Btf,
  typeId: number,
  compare: Compare,
  depth = 0,
): FoundMember | null {
  const id = target.resolve(typeId);
  const type = target.type(id);
  if ((type.kind !== 'struct' && type.kind !== 'union') || depth > DEPTH_MAX) return null;
  const wanted = (local.type(step.typeId) as BtfComposite).members[step.index].type;
  for (const [index, member] of type.members.entries()) {
    if (member.name === '') {
      const inner = findMember(local, step, target, member.type, compare, depth + 1);
      if (inner !== null) return { ...inner, offsetBits: inner.offsetBits + member.offsetBits };
    } else if (member.name === step.name) {
      if (!compare(local, wanted, target, member.type)) return null;
      return {
        step: { typeId: id, index, name: member.name },
        offsetBits: member.offsetBits,
        memberType: member.type,
      };
    }
  }
  return null;
}

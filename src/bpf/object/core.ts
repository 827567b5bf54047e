/**
 * Room `bpf`: CO-RE, “compile once, run everywhere”: fits a program, compiled against somebody's idea of the kernel's types, to the
 * kernel's own (Documentation/bpf/llvm_reloc.rst, “CO-RE Relocations”).
 *
 * A newcomer would get wrong: several of the kernel's types may have one name. All that match must give the same answer; where they
 * do not, none is taken.
 */
import { BPF_CORE_TYPE_ID_LOCAL } from '../../kernel/btf-abi.ts';
import { slotsOf } from '../instructions.ts';
import { BtfError, type BtfType, essentialName } from './btf/records.ts';
import type { Btf } from './btf/table.ts';
import { type Access, describeAccess, describeMismatch, matchAccess, readAccess } from './core/access.ts';
import { type Answer, answerFor, answerForNothing } from './core/answer.ts';
import { areKindsCompatible } from './core/compatible.ts';
import { type Patch, POISON, patchInstruction, poisoned } from './core/patch.ts';
import type { LinkedProgram } from './link.ts';
import type { CoreRecord } from './spec.ts';

/** A record without an answer. The program loads as long as the verifier does not come by. */
export interface Unresolved {
  /** The instruction, by its index in the relocated program. */
  readonly index: number;
  /** As the verifier calls it: `invalid func unknown#195896080`. */
  readonly helper: number;
  /** What the program asks for: `task_struct.parent.pid`. */
  readonly what: string;
  /** Why there is no answer, as a sentence's end. */
  readonly reason: string;
}

export interface CoreResult {
  readonly program: LinkedProgram;
  readonly unresolved: readonly Unresolved[];
}

/** What a record becomes: a patch, or the reason why there is none. */
type Resolution = { readonly what: string } & ({ readonly patch: Patch } | { readonly reason: string });

/**
 * Relocates a linked program. `local` is the object's own table; `targets` are searched in order (the kernel's, then its modules'),
 * and the first that has a type of the name asked for is taken.
 * @throws BtfError for records that make no sense in the object's own types
 */
export function relocateCore(program: LinkedProgram, local: Btf, targets: readonly Btf[]): CoreResult {
  if (program.core.length === 0) return { program, unresolved: [] };
  const instructions = [...program.instructions];
  const failed = new Map<number, Omit<Unresolved, 'index'>>();
  const known = new Map<string, Resolution>();
  for (const [number, record] of program.core.entries()) {
    const key = `${record.kind} ${record.typeId} ${record.access}`;
    const resolution = known.get(key) ?? resolve(record, local, targets);
    known.set(key, resolution);
    const { what } = resolution;
    const found = instructions[record.index];
    if (found === undefined) throw new BtfError(`CO-RE record for instruction ${record.index}, which does not exist`);
    const patched = 'patch' in resolution ? patchInstruction(found, resolution.patch) : resolution.reason;
    if (typeof patched === 'string') failed.set(record.index, { helper: POISON + number, what, reason: patched });
    else instructions[record.index] = patched;
  }
  return poison({ ...program, instructions }, failed);
}

/** Replaces instructions. A wide load becomes two, so that all that stands behind it moves by one index, and by no slot. */
function poison(program: LinkedProgram, failed: ReadonlyMap<number, Omit<Unresolved, 'index'>>): CoreResult {
  if (failed.size === 0) return { program, unresolved: [] };
  const positions: number[] = [];
  const unresolved: Unresolved[] = [];
  const instructions = [];
  for (const [index, one] of program.instructions.entries()) {
    positions.push(instructions.length);
    const failure = failed.get(index);
    if (failure === undefined) {
      instructions.push(one);
      continue;
    }
    unresolved.push({ ...failure, index: instructions.length });
    for (let slot = 0; slot < slotsOf(one); slot++) instructions.push(poisoned(failure.helper - POISON));
  }
  const move = <T extends { readonly index: number }>(list: readonly T[]): T[] =>
    list.map((one) => ({ ...one, index: positions[one.index] }));
  return {
    program: {
      ...program,
      instructions,
      relocations: move(program.relocations),
      core: move(program.core),
      functions: move(program.functions),
      lines: move(program.lines),
      registerNames: move(program.registerNames),
    },
    unresolved,
  };
}

function resolve(record: CoreRecord, local: Btf, targets: readonly Btf[]): Resolution {
  const access = readAccess(local, record);
  const what = describeAccess(access);
  const before = answerFor(record.kind, access);
  if (record.kind === BPF_CORE_TYPE_ID_LOCAL) return { what, patch: patchOf(access, before, null, before) };
  const candidates = candidatesFor(local, record.typeId, targets);
  const answers: { readonly match: Access; readonly after: Answer }[] = [];
  for (const id of candidates?.ids ?? []) {
    const match = candidates === null ? null : matchAccess(access, record.kind, candidates.btf, id);
    if (match !== null) answers.push({ match, after: answerFor(record.kind, match) });
  }
  const [first] = answers;
  if (first === undefined) {
    const after = answerForNothing(record.kind);
    if (after !== null) return { what, patch: patchOf(access, before, null, after) };
    if (candidates === null) return { what, reason: 'the kernel has no type of that name' };
    return { what, reason: describeMismatch(access, record.kind, candidates.btf, candidates.ids[0]) };
  }
  const differs = answers.some(
    ({ match, after }) => after.value !== first.after.value || match.offsetBits !== first.match.offsetBits,
  );
  if (differs) return { what, reason: `the kernel has ${answers.length} types of that name, which differ` };
  return { what, patch: patchOf(access, before, first.match, first.after) };
}

/**
 * Whether a type of the name asked for is what the program means. A struct of the language stands for the kernel's unions, too, and for
 * structs that only a typedef names (atomic_t), which loaders of C's objects do not take for one another.
 */
function isCandidate(local: BtfType, target: Btf, id: number): boolean {
  const type = target.type(id);
  if (local.kind !== 'struct') return false;
  const meant = type.kind === 'typedef' ? target.resolved(id) : type;
  return meant.kind === 'union' || (meant.kind === 'struct' && meant.name === '');
}

/** All types of the name and kind in the first table that has one. */
function candidatesFor(
  local: Btf,
  typeId: number,
  targets: readonly Btf[],
): { readonly btf: Btf; readonly ids: readonly number[] } | null {
  const type = local.type(typeId);
  const name = essentialName(type.name);
  if (name === '') return null;
  for (const btf of targets) {
    const named = btf.byEssentialName(name);
    const same = named.filter((id) => areKindsCompatible(type, btf.type(id)));
    const ids = same.length > 0 ? same : named.filter((id) => isCandidate(type, btf, id));
    if (ids.length > 0) return { btf, ids };
  }
  return null;
}

function patchOf(local: Access, before: Answer, target: Access | null, after: Answer): Patch {
  const values = { before: before.value, after: after.value, checked: before.checked };
  if (target === null || before.fieldType === null || after.fieldType === null) {
    return { ...values, bytesBefore: 0, bytesAfter: 0, resizable: false };
  }
  const left = local.btf.resolved(before.fieldType);
  const right = target.btf.resolved(after.fieldType);
  return {
    ...values,
    bytesBefore: local.btf.sizeOf(before.fieldType),
    bytesAfter: target.btf.sizeOf(after.fieldType),
    resizable: (left.kind === 'ptr' && right.kind === 'ptr') || (isUnsigned(left) && isUnsigned(right)),
  };
}

function isUnsigned(type: BtfType): boolean {
  return type.kind === 'int' && !type.signed;
}

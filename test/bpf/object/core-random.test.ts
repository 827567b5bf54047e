/**
 * CO-RE on random questions about the kernel's own types, asked in C with the declarations that bpftool writes: our answers are libbpf's.
 *
 * A newcomer would get wrong: the program's types are the kernel's, so that an offset that stays as it is proves little. What is tested is
 * that each path is found again: through anonymous members, arrays, unions, bit fields and types of equal name.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { type Instruction, WIDE_LOAD } from '../../../src/bpf/instructions.ts';
import { KERNEL_BTF_PATH, kernelBtf } from '../../../src/bpf/object/btf/kernel.ts';
import type { BtfComposite, BtfType } from '../../../src/bpf/object/btf/records.ts';
import type { Btf } from '../../../src/bpf/object/btf/table.ts';
import { relocateCore } from '../../../src/bpf/object/core.ts';
import { readElf } from '../../../src/bpf/object/elf/read.ts';
import { link } from '../../../src/bpf/object/link.ts';
import { bpftoolSkip, inFolder, loadWithBpftool } from '../../support/bpf-objects.ts';
import { type RandomSource, randomSource } from '../../support/random.ts';

const noKernelBtf = existsSync(KERNEL_BTF_PATH) ? false : `no ${KERNEL_BTF_PATH}`;
const SEED = 20260131;
const QUESTIONS = 120;

const isComposite = (type: BtfType): type is BtfComposite => type.kind === 'struct' || type.kind === 'union';
const isInteger = ({ kind }: BtfType): boolean => kind === 'int' || kind === 'enum' || kind === 'enum64';

function pick<T>(random: RandomSource, list: readonly T[]): T {
  return list[random.integer(list.length)];
}

/** A path into a struct as C writes it, and the type at its end; null where chance led nowhere. */
function randomPath(random: RandomSource, btf: Btf, from: BtfComposite): { path: string; type: BtfType } | null {
  let struct = from;
  const steps: string[] = [];
  for (let depth = 0; depth < 6; depth++) {
    if (struct.members.length === 0) return null;
    const member = pick(random, struct.members);
    const type = btf.resolved(member.type);
    if (member.name !== '') steps.push(member.name);
    if (isComposite(type) && (member.name === '' || random.integer(2) === 0)) {
      struct = type;
      continue;
    }
    if (steps.length === 0) return null;
    const path = steps.join('.');
    if (type.kind !== 'array') return { path, type };
    return type.length === 0 ? null : { path: `${path}[${random.integer(type.length)}]`, type };
  }
  return null;
}

function randomQuestion(random: RandomSource, btf: Btf, type: BtfType): string | null {
  if (type.kind === 'enum') {
    if (type.values.length === 0) return null;
    return `bpf_core_enum_value${pick(random, ['', '_exists'])}(enum ${type.name}, ${pick(random, type.values).name})`;
  }
  if (!isComposite(type)) return null;
  const name = `${type.kind} ${type.name}`;
  if (random.integer(8) === 0) return `bpf_core_type_${pick(random, ['size', 'exists', 'id_kernel'])}(${name})`;
  const found = randomPath(random, btf, type);
  if (found === null) return null;
  const general = ['BYTE_OFFSET', 'BYTE_SIZE', 'EXISTS'];
  const ofIntegers = [...general, 'SIGNED', 'LSHIFT_U64', 'RSHIFT_U64'];
  const kind = pick(
    random,
    isInteger(found.type) ? ofIntegers : found.type.kind === 'array' ? general.slice(0, 2) : general,
  );
  return `__builtin_preserve_field_info(((${name} *)0)->${found.path}, BPF_FIELD_${kind})`;
}

function randomProgram(btf: Btf): string {
  const random = randomSource(SEED);
  const questions: string[] = [];
  while (questions.length < QUESTIONS) {
    const id = 1 + random.integer(btf.endId - 1);
    // bpftool's C has only one of several types of a name.
    const isUnique = btf.nameOf(id) !== '' && btf.byName(btf.nameOf(id)).length === 1;
    const question = isUnique ? randomQuestion(random, btf, btf.type(id)) : null;
    if (question !== null) questions.push(`  results[${questions.length}] = ${question};`);
  }
  return `#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
volatile unsigned long long results[${QUESTIONS}];
SEC("raw_tp/sched_switch") int questions(void *context) {
${questions.join('\n')}
  return 0;
}
char LICENSE[] SEC("license") = "GPL";
`;
}

test('random questions about the kernel’s types get libbpf’s answers', { skip: bpftoolSkip || noKernelBtf }, () => {
  const object = inFolder((folder) => {
    const header = execFileSync('bpftool', ['btf', 'dump', 'file', KERNEL_BTF_PATH, 'format', 'c'], {
      maxBuffer: 1 << 26,
    });
    writeFileSync(join(folder, 'vmlinux.h'), header);
    writeFileSync(join(folder, 'questions.c'), randomProgram(kernelBtf()));
    execFileSync('clang', ['-target', 'bpf', '-g', '-O2', '-c', 'questions.c', '-o', 'questions.o'], {
      cwd: folder,
      stdio: 'pipe',
    });
    return new Uint8Array(readFileSync(join(folder, 'questions.o')));
  });
  const spec = readElf(object);
  const { program, unresolved } = relocateCore(link(spec, 'questions'), spec.btf as Btf, [kernelBtf()]);
  assert.deepEqual(unresolved, []);
  assert.equal(program.core.length, QUESTIONS);
  const comparable = (list: readonly Instruction[]): Instruction[] =>
    list.filter((one) => one.opcode !== WIDE_LOAD || one.source === 0);
  const theirs = loadWithBpftool(object).get('questions') ?? [];
  assert.deepEqual(comparable(program.instructions), comparable(theirs));
});

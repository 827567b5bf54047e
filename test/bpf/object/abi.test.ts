/**
 * Every number of BTF and ELF is the one in the headers of this machine, as the C compiler sees them.
 *
 * A newcomer would get wrong: the kernel's elf.h and libc's cannot be included together, and neither knows the relocations that LLVM
 * invented last; those stand here with their source.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import * as btf from '../../../src/kernel/btf-abi.ts';
import * as elf from '../../../src/kernel/elf-abi.ts';
import { needs } from '../../support/bpf-objects.ts';
import { askCompiler, type HeaderSet } from '../../support/headers.ts';

const kernel: HeaderSet = { name: 'kernel', headers: ['linux/bpf.h', 'linux/btf.h', 'linux/elf.h'] };
const libc: HeaderSet = { name: 'libc', headers: ['elf.h'] };

/** llvm/include/llvm/BinaryFormat/ELFRelocs/BPF.def */
const onlyLlvm: Readonly<Record<string, number>> = {
  R_BPF_64_ABS64: 2,
  R_BPF_64_ABS32: 3,
  R_BPF_64_NODYLD32: 4,
};

const structures: Readonly<Record<string, string>> = {
  BTF_HEADER: 'struct btf_header',
  ELF64_HDR: 'struct elf64_hdr',
  ELF64_SHDR: 'struct elf64_shdr',
  ELF64_SYM: 'struct elf64_sym',
  ELF64_REL: 'struct elf64_rel',
};

test('every number is the one in the headers', { skip: needs('cc') }, () => {
  const questions = [...Object.entries(btf), ...Object.entries(elf)].flatMap(([name, value]) => {
    if (typeof value === 'number') return [{ name, expression: name, value }];
    const structure = structures[name];
    return Object.entries(value as Readonly<Record<string, number>>).map(([field, at]) => {
      if (structure === undefined) return { name: field, expression: field, value: at };
      const expression = field === 'size' ? `sizeof(${structure})` : `offsetof(${structure}, ${field})`;
      return { name: `${name}.${field}`, expression, value: at };
    });
  });
  assert.ok(questions.length > 90);
  const answers = new Map([...askCompiler(libc, questions), ...askCompiler(kernel, questions)]);
  for (const { name, value } of questions) assert.equal(value, answers.get(name) ?? onlyLlvm[name], name);
});

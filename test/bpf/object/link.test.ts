/**
 * Linking: one program with all that it calls, and the tables that the kernel takes beside it.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  exit,
  type Instruction,
  instruction,
  loadWide,
  moveImmediate,
  slotsOf,
} from '../../../src/bpf/instructions.ts';
import { BtfBuilder } from '../../../src/bpf/object/btf/builder.ts';
import { LinkError, link, programInfo } from '../../../src/bpf/object/link.ts';
import type { FunctionSpec, ObjectSpec, Relocation } from '../../../src/bpf/object/spec.ts';
import { U32 } from '../../../src/bpf/types.ts';
import { BPF_CALL, BPF_JMP, BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC } from '../../../src/kernel/bpf-abi.ts';

const call = instruction(BPF_JMP | BPF_CALL, { source: BPF_PSEUDO_CALL, immediate: -1 });
const relates = (index: number, kind: Relocation['kind'], symbol: string): Relocation => ({
  index,
  kind,
  symbol,
  addend: 0,
});

function functionSpec(
  name: string,
  instructions: readonly Instruction[],
  relocations: readonly Relocation[],
  typeId: number,
): FunctionSpec {
  const lines = [{ index: 0, file: 'a.bpf.ts', line: typeId, column: 3, text: `source of ${name}` }];
  return { name, kind: null, linkage: 'static', instructions, relocations, lines, core: [], typeId };
}

function objectOf(functions: readonly FunctionSpec[], builder = new BtfBuilder()): ObjectSpec {
  const btf = builder.finish();
  return { license: 'GPL', functions, maps: [], data: [], kconfig: [], kernelSymbols: [], btf };
}

const main = functionSpec(
  'main',
  [loadWide(1, 0n), loadWide(2, 0n), call, call, exit()],
  [relates(0, 'map', 'm'), relates(1, 'callback', 'step'), relates(2, 'call', 'helper'), relates(3, 'call', 'helper')],
  11,
);
const helper = functionSpec('helper', [loadWide(1, 5n), call, exit()], [relates(1, 'call', 'leaf')], 12);
const leaf = functionSpec('leaf', [moveImmediate(0, 1), exit()], [], 13);
const step = functionSpec('step', [moveImmediate(0, 0), call, exit()], [relates(1, 'call', 'helper')], 14);
const unused = functionSpec('unused', [exit()], [], 15);

test('a program is followed by what it calls, each once, and distances count slots', () => {
  const linked = link(objectOf([unused, leaf, helper, step, main]), 'main');
  assert.deepEqual(
    linked.functions.map(({ name, index, typeId }) => [name, index, typeId]),
    [
      ['main', 0, 11],
      ['step', 5, 14],
      ['helper', 8, 12],
      ['leaf', 11, 13],
    ],
  );
  assert.deepEqual(linked.relocations, [relates(0, 'map', 'm')]);
  // Where each call leads, in slots: main has 7, step 3, helper 4.
  let slot = 0;
  const leads: string[] = [];
  for (const one of linked.instructions) {
    if (one.source === BPF_PSEUDO_CALL && one.opcode === call.opcode) leads.push(`${slot} ${slot + 1 + one.immediate}`);
    if (one.source === BPF_PSEUDO_FUNC) leads.push(`${slot} callback ${slot + 1 + one.immediate}`);
    slot += slotsOf(one);
  }
  assert.deepEqual(leads, ['2 callback 7', '4 10', '5 10', '8 10', '12 14']);
});

test('the tables for the kernel count slots and name strings of the object’s types', () => {
  const builder = new BtfBuilder();
  builder.addType(U32);
  for (const text of ['a.bpf.ts', 'source of main', 'source of step', 'source of helper', 'source of leaf']) {
    builder.addString(text);
  }
  const spec = objectOf([leaf, helper, step, main], builder);
  const info = programInfo(link(spec, 'main'), spec.btf!);
  assert.deepEqual([...new Uint32Array(info.functions.buffer)], [0, 11, 7, 14, 10, 12, 14, 13]);
  assert.deepEqual([info.functionCount, info.functionBytes, info.lineCount, info.lineBytes], [4, 8, 4, 16]);
  const [slot, file, text, place] = new Uint32Array(info.lines.buffer).subarray(4);
  assert.deepEqual([slot, spec.btf?.string(file), spec.btf?.string(text)], [7, 'a.bpf.ts', 'source of step']);
  assert.deepEqual([place >>> 10, place & 1023], [14, 3]);
});

test('types and lines are of all functions or of none', () => {
  const withoutType = { ...leaf, typeId: 0 };
  assert.deepEqual(link(objectOf([main, helper, step, withoutType]), 'main').functions, []);
  const withoutLines = { ...leaf, lines: [] };
  assert.deepEqual(link(objectOf([main, helper, step, withoutLines]), 'main').lines, []);
  const late = { ...leaf, lines: [{ ...leaf.lines[0], index: 1 }] };
  const lines = link(objectOf([main, helper, step, late]), 'main').lines;
  assert.deepEqual(
    lines.slice(-2).map((one) => one.index),
    [11, 12],
  );
});

test('functions may call each other in a circle; the verifier judges that', () => {
  const even = functionSpec('even', [call, exit()], [relates(0, 'call', 'odd')], 1);
  const odd = functionSpec('odd', [call, exit()], [relates(0, 'call', 'even')], 2);
  assert.deepEqual(
    link(objectOf([even, odd]), 'even').instructions.map((one) => one.immediate),
    [1, 0, -3, 0],
  );
});

test('what is missing is named', () => {
  assert.throws(() => link(objectOf([main]), 'other'), new LinkError('the object has no program other'));
  assert.throws(() => link(objectOf([main]), 'main'), new LinkError('main calls step, which the object does not have'));
});

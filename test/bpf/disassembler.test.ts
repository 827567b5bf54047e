/**
 * Instructions as text and back: every form, with any values in its fields, and bytes that are no instruction.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  assemble,
  decode,
  disassemble,
  disassembleOne,
  encode,
  type Instruction,
  instruction,
} from '../../src/bpf/assembly.ts';
import { type Field, fieldsOf, mnemonics } from '../../src/bpf/mnemonics.ts';
import { type RandomSource, randomSource } from '../support/random.ts';

function randomValue(random: RandomSource, field: Field): number {
  switch (field) {
    case 'destination':
    case 'source':
      return random.integer(11);
    case 'offset':
      return random.integer(65536) - 32768;
    default:
      return random.integer(4294967296) | 0;
  }
}

/** An instruction of a random form. */
function randomInstruction(random: RandomSource): Instruction {
  const form = mnemonics[random.integer(mnemonics.length)];
  const fields: Partial<Record<Field, number>> = { ...form.fixed };
  for (const field of form.operands.flatMap((operand) => fieldsOf[operand])) fields[field] = randomValue(random, field);
  // Of wide loads only some kinds have a second half.
  if (form.operands.includes('wide')) {
    fields.source = random.integer(7);
    if ([1, 3, 4, 5].includes(fields.source)) fields.nextImmediate = 0;
  }
  return instruction(form.opcode, fields);
}

test('every form of instruction, with random fields, survives the way through text', () => {
  const random = randomSource(3);
  const seen = new Set<string>();
  for (let index = 0; index < 20_000; index++) {
    const one = randomInstruction(random);
    const text = disassembleOne(one);
    assert.doesNotMatch(text, /^\.word/, JSON.stringify(one));
    assert.deepEqual(assemble(text), [one], text);
    seen.add(text.replace(/ (?:%|\[|[-+\d]|map|var|code).*/, ''));
  }
  // swap16, swap32 and swap64 are other names of bswap.
  const names = new Set(mnemonics.map(({ name }) => name).filter((name) => !name.startsWith('swap')));
  assert.deepEqual(
    [...names].filter((name) => !seen.has(name)),
    [],
  );
});

test('random bytes survive the way through text', () => {
  const random = randomSource(4);
  let words = 0;
  for (let index = 0; index < 2_000; index++) {
    const bytes = Uint8Array.from({ length: 64 }, () => random.integer(256));
    for (let at = 0; at < bytes.length; at += 8) if (bytes[at] === 0x18) bytes[at] = 0x95;
    const text = disassemble(decode(bytes));
    words += text.match(/\.word/g)?.length ?? 0;
    assert.deepEqual(encode(assemble(text)), bytes, text);
  }
  assert.ok(words > 1000);
});

test('whole programs of random instructions survive, labels and all', () => {
  const random = randomSource(5);
  for (let index = 0; index < 200; index++) {
    const program = Array.from({ length: 30 }, () => {
      const one = randomInstruction(random);
      return { ...one, offset: Math.abs(one.offset) > 64 && (one.opcode & 6) === 4 ? one.offset % 30 : one.offset };
    });
    assert.deepEqual(encode(assemble(disassemble(program))), encode(program));
  }
});

test('an instruction with a field that it does not use is shown as a word', () => {
  assert.equal(disassembleOne(instruction(0x95, { immediate: 1 })), '.word 0x0000000100000095');
  assert.equal(disassembleOne(instruction(0x07, { destination: 12, immediate: 1 })), '.word 0x0000000100000c07');
});

test('places that are jumped to get labels', () => {
  const text = disassemble(assemble('mov %r0, 0\njeq %r0, 1, +1\nja -3\nexit'));
  assert.equal(text, 'L0:\n    mov %r0, 0\n    jeq %r0, 1, L3\n    ja L0\nL3:\n    exit\n');
});

/**
 * The text form: which bits a line becomes, and where an error is found. Whole programs are in `conformance.test.ts`.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { AssemblerError, assemble, encode } from '../../src/bpf/assembly.ts';

/** The words of a program, as they stand in memory read from the left. */
function bytesOf(text: string): string {
  return Buffer.from(encode(assemble(text)))
    .toString('hex')
    .replace(/.{16}(?=.)/g, '$& ');
}

test('lines become the encodings of RFC 9669', () => {
  // By clang 14's assembler (llvm-mc -triple bpfel -mcpu v3), except sdiv, ja32 and bswap, which are younger: RFC 9669's tables.
  const expected: [string, string][] = [
    ['add %r1, -2', '07010000feffffff'],
    ['add32 %r1, %r2', '0c21000000000000'],
    ['mov %r0, 0xffffffff', 'b7000000ffffffff'],
    ['neg %r3', '8703000000000000'],
    ['be16 %r4', 'dc04000010000000'],
    ['lddw %r1, 0x1122334455667788', '1801000088776655 0000000044332211'],
    ['ldxh %r0, [%r1+12]', '69100c0000000000'],
    ['stxdw [%r10-8], %r6', '7b6af8ff00000000'],
    ['stb [%r10-1], 7', '720affff07000000'],
    ['jeq %r1, %r2, +3', '1d21030000000000'],
    ['jslt32 %r1, -1, +1', 'c6010100ffffffff'],
    ['lock add [%r1+8], %r2', 'db21080000000000'],
    ['lock fetch xor32 [%r1], %r2', 'c3210000a1000000'],
    ['lock cmpxchg [%r1], %r2', 'db210000f1000000'],
    ['call 5', '8500000005000000'],
    ['exit', '9500000000000000'],
    ['sdiv %r1, %r2', '3f21010000000000'],
    ['movsx832 %r1, %r2', 'bc21080000000000'],
    ['bswap64 %r1', 'd701000040000000'],
    ['ja32 -1', '06000000ffffffff'],
    ['ldxsh %r1, [%r2]', '8921000000000000'],
    ['lddw %r1, map_val(map_by_fd(3))+16', '1821000003000000 0000000010000000'],
    ['call kfunc 77', '852000004d000000'],
  ];
  for (const [text, bytes] of expected) assert.equal(bytesOf(text), bytes, text);
});

test('labels lead forwards, backwards and over wide loads, which count twice', () => {
  const text = 'start: lddw %r0, 1\n  jeq %r0, 0, end\n  ja start\nend: exit';
  assert.equal(bytesOf(text).split(' ')[2], '1500010000000000');
  assert.equal(bytesOf(text).split(' ')[3], '0500fcff00000000');
  assert.equal(bytesOf('call local f\nexit\nf: exit').split(' ')[0], '8510000001000000');
});

test('a jump to exit needs no label of that name', () => {
  assert.equal(bytesOf('jeq %r0, 0, exit\nmov %r0, 1\nexit\nexit').split(' ')[0], '1500010000000000');
  assert.equal(bytesOf('exit: mov %r0, 1\nja exit').split(' ')[1], '0500feff00000000');
});

test('comments, blank lines and spaces mean nothing', () => {
  assert.equal(bytesOf('\n # one\n\tadd   %r1 ,4 ; two\r\n'), bytesOf('add %r1, 4'));
  assert.equal(bytesOf('lock   fetch  add [ %r1 + 8 ], r2'), bytesOf('lock fetch add [%r1+8], %r2'));
});

test('an error names its line, its column and what would be right', () => {
  const wrong: [string, string][] = [
    ['mov %r0, 0\n  frob %r1', '2:3: “frob” is no instruction'],
    ['add %r1', '1:1: add needs a register (%r0 to %r10) or a number as operand 2'],
    ['add %r1, [%r2]', '1:10: “[%r2]” is not a register (%r0 to %r10) or a number'],
    ['add %r1, 2, 3', '1:13: add takes no “3”'],
    ['add %r11, 2', '1:5: %r11 is no register: there are %r0 to %r10'],
    ['mov %r0, 0x100000000', '1:10: 0x100000000 is not between -2147483648 and 4294967295'],
    ['ldxw %r0, [%r1+40000]', '1:11: +40000 is not between -32768 and 32767'],
    ['ldxw %r0, [%r1*2]', '1:11: “[%r1*2]” is not memory; write [%r1+4]'],
    ['exit\nja nowhere', '2:4: no label is called nowhere'],
    ['ja exit', '1:4: there is no exit to jump to'],
    ['a: exit\na: exit', '2:1: the label a stands twice'],
    ['lddw %r1, map_by_fd(x)', '1:11: “x” is not a number'],
    ['.word', '1:1: .word needs a 64-bit number'],
    ['.word 0x18', '1:1: instruction 0: is a wide load without its second half'],
  ];
  for (const [text, message] of wrong) {
    assert.throws(
      () => assemble(text),
      (error) => error instanceof AssemblerError && error.message === message,
      text,
    );
  }
});

test('a jump too far for 16 bits is told what to use', () => {
  const far = `ja end\n${'mov %r0, 0\n'.repeat(40_000)}end: exit`;
  assert.throws(() => assemble(far), { message: '1:4: end is 40000 slots away, 16 bits are too few: use ja32' });
  assert.equal(bytesOf(far.replace('ja', 'ja32')).split(' ')[0], '06000000409c0000');
});

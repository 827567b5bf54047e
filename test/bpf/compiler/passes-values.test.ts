/**
 * The optimiser on values and conditions: what is folded, what becomes cheaper, what is left out, and what stays for the verifier.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { exit, instruction, loadWide, Machine } from '../../../src/bpf/assembly.ts';
import type { BinaryOperator, Condition } from '../../../src/bpf/compiler/ir.ts';
import { evaluateBinary, evaluateCondition, evaluateUnary } from '../../../src/bpf/compiler/passes/evaluate.ts';
import * as abi from '../../../src/kernel/bpf-abi.ts';
import { optimisedLines, optimisedValue, random } from '../../support/bpf-passes.ts';

const operations: Readonly<Record<BinaryOperator, readonly [number, number]>> = {
  add: [abi.BPF_ADD, 0],
  sub: [abi.BPF_SUB, 0],
  mul: [abi.BPF_MUL, 0],
  udiv: [abi.BPF_DIV, 0],
  sdiv: [abi.BPF_DIV, 1],
  umod: [abi.BPF_MOD, 0],
  smod: [abi.BPF_MOD, 1],
  and: [abi.BPF_AND, 0],
  or: [abi.BPF_OR, 0],
  xor: [abi.BPF_XOR, 0],
  shl: [abi.BPF_LSH, 0],
  lshr: [abi.BPF_RSH, 0],
  ashr: [abi.BPF_ARSH, 0],
};
const edges = [
  0n,
  1n,
  -1n,
  7n,
  -7n,
  31n,
  63n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  1n << 63n,
  0x1234_5678_9abc_def0n,
];

/** What the VM gives for `r0 = left; r0 operator= right`. */
function inVm(left: bigint, opcode: number, fields: { right?: bigint; offset?: number; immediate?: number }): bigint {
  const { right = 0n, offset = 0, immediate = 0 } = fields;
  const one = instruction(opcode, { source: (opcode & abi.BPF_X) === 0 ? 0 : 1, offset, immediate });
  return BigInt.asIntN(64, new Machine([loadWide(0, left), loadWide(1, right), one, exit()]).run());
}

test('numbers fold to what the VM computes', () => {
  for (const [operator, [code, offset]] of Object.entries(operations) as [BinaryOperator, [number, number]][]) {
    for (const left of edges) {
      for (const right of edges) {
        const wide = inVm(left, abi.BPF_ALU64 | code | abi.BPF_X, { right, offset });
        assert.equal(evaluateBinary(operator, 64, left, right), wide, `${left} ${operator}64 ${right}`);
        const narrow = inVm(left, abi.BPF_ALU | code | abi.BPF_X, { right, offset });
        assert.equal(evaluateBinary(operator, 32, left, right), narrow, `${left} ${operator}32 ${right}`);
      }
    }
  }
  for (const value of edges) {
    for (const width of [2, 4, 8] as const) {
      const swapped = inVm(value, abi.BPF_ALU64 | abi.BPF_END, { immediate: width * 8 });
      assert.equal(evaluateUnary('swap', width, value), swapped, `swap${width * 8} ${value}`);
    }
  }
});

test('a condition of 32 bits sees the low halves only', () => {
  const both: [Condition, boolean][] = [
    ['eq', true],
    ['slt', false],
    ['uge', true],
  ];
  for (const [condition, holds] of both) {
    assert.equal(evaluateCondition(condition, 32, 0x1_0000_0005n, 5n), holds);
  }
  assert.equal(evaluateCondition('slt', 32, 0xffff_ffffn, 0n), true);
  assert.equal(evaluateCondition('slt', 64, 0xffff_ffffn, 0n), false);
});

test('powers of two become shifts and masks', () => {
  assert.deepEqual(
    optimisedValue((b, x) => b.binary('mul', 64, x, b.constant(8))),
    ['shl64 v, 3', 'return v'],
  );
  assert.deepEqual(
    optimisedValue((b, x) => b.binary('udiv', 32, x, b.constant(16))),
    ['lshr32 v, 4', 'return v'],
  );
  assert.deepEqual(
    optimisedValue((b, x) => b.binary('umod', 64, x, b.constant(64))),
    ['and64 v, 63', 'return v'],
  );
});

test('a signed division by a power of two stays, unless the dividend is no negative number', () => {
  assert.deepEqual(
    optimisedValue((b, x) => b.binary('sdiv', 64, x, b.constant(4))),
    ['sdiv64 v, 4', 'return v'],
  );
  assert.deepEqual(
    optimisedValue((b, x) => b.binary('sdiv', 64, b.unary('zext', 2, x), b.constant(4))),
    ['zext16 v', 'lshr64 v, 2', 'return v'],
  );
});

test('division and remainder by 0 are 0 and the dividend', () => {
  assert.deepEqual(
    optimisedValue((b, x) => b.binary('udiv', 64, x, b.constant(0))),
    ['return 0'],
  );
  assert.deepEqual(
    optimisedValue((b, x) => b.binary('smod', 64, x, b.constant(0))),
    ['return v'],
  );
});

test('the sum of a 32-bit operation and 0 keeps its cleared upper half', () => {
  assert.deepEqual(
    optimisedValue((b, x) => b.binary('add', 32, x, b.constant(0))),
    ['zext32 v', 'return v'],
  );
});

test('extensions that change nothing, or that nobody sees, are left out', () => {
  assert.deepEqual(
    optimisedValue((b, x, y) => b.unary('zext', 4, b.binary('add', 32, x, y))),
    ['add32 v, v', 'return v'],
  );
  assert.deepEqual(
    optimisedValue((b, x, y) => b.unary('zext', 4, b.binary('mul', 64, x, y))),
    ['mul32 v, v', 'return v'],
  );
  assert.deepEqual(
    optimisedValue((b, x, y) =>
      b.binary('xor', 32, b.unary('sext', 4, x), b.binary('and', 64, y, b.constant(0xffff_ffff))),
    ),
    ['xor32 v, v', 'return v'],
  );
  assert.deepEqual(
    optimisedValue((b, x) => b.unary('zext', 1, b.binary('or', 64, x, b.constant(0x7f00)))),
    ['zext8 v', 'return v'],
  );
});

test('sums of numbers are made once', () => {
  assert.deepEqual(
    optimisedValue((b, x) => b.binary('sub', 64, b.binary('add', 64, x, b.constant(20)), b.constant(6))),
    ['add64 v, 14', 'return v'],
  );
  assert.deepEqual(
    optimisedValue((b, x) => b.binary('lshr', 64, b.binary('shl', 64, x, b.constant(48)), b.constant(48))),
    ['zext16 v', 'return v'],
  );
});

/** `if (question) return 1; return 2` of a packet's bytes. */
function branchLines(ask: Parameters<typeof optimisedLines>[1]): string[] {
  return optimisedLines(['memory', 'scalar'], ask);
}

test('a swapped value is compared with the swapped number', () => {
  const lines = branchLines((b, pointer) => {
    const [yes, no] = [b.block(), b.block()];
    const value = b.unary('swap', 2, b.load(2, false, pointer, 'scalar', { offset: 12 }));
    b.branch('eq', 32, value, b.constant(0x0800), yes, no);
    for (const [block, result] of [
      [yes, 1],
      [no, 2],
    ] as const) {
      b.seal(block);
      b.enter(block);
      b.return(b.constant(result));
    }
  });
  assert.deepEqual(lines, ['load 2 [v + 12]', 'branch eq32 v, 8: b, b', 'return 1', 'return 2']);
});

test('a masked and shifted flag is tested where it lies', () => {
  const lines = branchLines((b, pointer) => {
    const [yes, no] = [b.block(), b.block()];
    const byte = b.load(1, false, pointer);
    const flag = b.binary('and', 32, b.binary('lshr', 32, byte, b.constant(4)), b.constant(1));
    b.branch('ne', 32, b.compare('ne', 32, flag, b.constant(0)), b.constant(0), yes, no);
    for (const block of [yes, no]) {
      b.seal(block);
      b.enter(block);
      b.return(block === yes ? b.constant(1) : b.constant(2));
    }
  });
  assert.deepEqual(lines, ['load 1 [v]', 'branch test32 v, 16: b, b', 'return 1', 'return 2']);
});

test('the answer of a comparison is compared with as many bits of a number as are asked for', () => {
  const lines = branchLines((b, pointer) => {
    const [yes, no] = [b.block(), b.block()];
    const flag = b.compare('ult', 64, b.load(4, false, pointer), b.constant(100));
    // The number's low half is 0.
    b.branch('ne', 32, flag, b.constant(1n << 63n), yes, no);
    for (const block of [yes, no]) {
      b.seal(block);
      b.enter(block);
      b.return(block === yes ? b.constant(1) : b.constant(2));
    }
  });
  assert.equal(lines.length, 4);
  assert.match(lines[1], /^branch ult(?:32|64) v, 100: b, b$/);
});

test('a condition that a branch has answered is not asked again', () => {
  const lines = branchLines((b, _, x) => {
    const [less, more, again, end] = [b.block(), b.block(), b.block(), b.block()];
    b.branch('ult', 64, x, b.constant(10), less, more);
    b.seal(less);
    b.seal(more);
    b.enter(less);
    b.branch('uge', 64, x, b.constant(10), again, end);
    b.seal(again);
    b.seal(end);
    b.enter(again);
    b.return(b.constant(3));
    b.enter(end);
    b.return(b.constant(4));
    b.enter(more);
    b.return(b.constant(5));
  });
  assert.deepEqual(lines, ['branch ult64 v, 10: b, b', 'return 4', 'return 5']);
});

test('conditions that cannot hold are known from the width of a load', () => {
  const lines = branchLines((b, pointer) => {
    const [yes, no] = [b.block(), b.block()];
    b.branch('ugt', 64, b.load(1, false, pointer), b.constant(255), yes, no);
    for (const block of [yes, no]) {
      b.seal(block);
      b.enter(block);
      b.return(b.constant(block === yes ? 1 : 2));
    }
  });
  assert.deepEqual(lines, ['return 2']);
});

test('equal computations are made once, also in a block behind', () => {
  const lines = optimisedLines(['memory', 'scalar'], (b, pointer, x) => {
    const [yes, no] = [b.block(), b.block()];
    b.store(8, pointer, b.binary('mul', 64, x, x));
    b.branch('eq', 64, x, b.constant(0), yes, no);
    for (const block of [yes, no]) {
      b.seal(block);
      b.enter(block);
      b.return(b.binary(block === yes ? 'mul' : 'xor', 64, x, x));
    }
  });
  assert.deepEqual(lines, ['mul64 v, v', 'store 8 [v] = v', 'branch eq64 v, 0: b, b', 'return v', 'return 0']);
});

test('a check stays on the value that is used behind it', () => {
  const lines = optimisedLines(['mapValue', 'scalar'], (b, value, x) => {
    const [inside, outside] = [b.block(), b.block()];
    const index = b.unary('zext', 4, x);
    b.branch('ult', 64, index, b.constant(4), inside, outside);
    b.seal(inside);
    b.seal(outside);
    b.enter(inside);
    b.return(b.load(1, false, b.binary('add', 64, value, index, 'mapValue')));
    b.enter(outside);
    b.return(b.constant(0));
  });
  assert.deepEqual(lines, [
    'zext32 v',
    'branch ult64 v, 4: b, b',
    'add64 v, v: mapValue',
    'load 1 [v]',
    'return v',
    'return 0',
  ]);
});

test('an offset is computed anew behind the check that bounds it', () => {
  const lines = optimisedLines(['mapValue', 'scalar'], (b, value, x) => {
    const [inside, outside] = [b.block(), b.block()];
    b.store(8, value, b.binary('shl', 64, x, b.constant(3)));
    b.branch('ult', 64, x, b.constant(2), inside, outside);
    b.seal(inside);
    b.seal(outside);
    b.enter(inside);
    const offset = b.binary('mul', 64, x, b.constant(8));
    b.return(b.load(8, false, b.binary('add', 64, value, offset, 'mapValue')));
    b.enter(outside);
    b.return(b.constant(0));
  });
  assert.equal(lines.filter((line) => line === 'shl64 v, 3').length, 2, lines.join('\n'));
});

test('a mask that the verifier needs stays, though arithmetic says it is useless', () => {
  const lines = optimisedLines(['mapValue', 'scalar'], (b, value, x) => {
    const index = b.binary('and', 64, b.binary('umod', 64, x, b.constant(10)), b.constant(15));
    b.return(b.load(1, false, b.binary('add', 64, value, index, 'mapValue')));
  });
  assert.ok(lines.includes('and64 v, 15'), lines.join('\n'));
  const free = optimisedValue((b, x) => b.binary('and', 64, b.binary('umod', 64, x, b.constant(10)), b.constant(15)));
  assert.ok(!free.includes('and64 v, 15'), free.join('\n'));
});

test('calls that are not pure stay, though their results are not used', () => {
  const lines = optimisedLines([], (b) => {
    b.call(random, []);
    b.call(random, [], 'scalar', true);
    b.return(b.constant(0));
  });
  assert.deepEqual(lines, ['call helper bpf_get_prandom_u32()', 'return 0']);
});

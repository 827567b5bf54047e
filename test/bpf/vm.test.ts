/**
 * The VM against the kernel on random programs, and what it reports where the verifier would refuse.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  assemble,
  disassemble,
  exit,
  instruction,
  Machine,
  type MachineOptions,
  VmFault,
  VmMap,
} from '../../src/bpf/assembly.ts';
import { reasonOf, VerifierError } from '../../src/bpf/index.ts';
import { BPF_ATOMIC, BPF_B, BPF_DW, BPF_H, BPF_STX, BPF_W } from '../../src/kernel/bpf-abi.ts';
import { kernelSkip, runInKernel } from '../support/bpf.ts';
import { fillMemory, randomProgram } from '../support/bpf-generator.ts';
import { randomSource } from '../support/random.ts';

const PROGRAMS = 500;
const SEED = 9669;

function runText(
  text: string,
  memory?: Uint8Array,
  options: MachineOptions & { readonly writable?: boolean } = {},
): bigint {
  return new Machine(assemble(text), options).run({ memory, writable: options.writable });
}

/** Runs a program that must be stopped, and returns where and why. */
function faultOf(text: string, memory?: Uint8Array, options = {}): string {
  try {
    runText(text, memory, options);
  } catch (error) {
    if (error instanceof VmFault) return `${error.slot}: ${error.problem}`;
    throw error;
  }
  return assert.fail('the program was not stopped');
}

test('random programs give the same in the VM and in the kernel', { skip: kernelSkip }, () => {
  const random = randomSource(SEED);
  for (let index = 0; index < PROGRAMS; index++) {
    const instructions = randomProgram(random, 8 + random.integer(48));
    const memory = fillMemory(random);
    const inVm = new Machine(instructions).run({ memory: memory.slice() });
    const inKernel = runInKernel(instructions, memory);
    const program = disassemble(instructions);
    assert.equal(
      inVm,
      inKernel,
      `program ${index} of seed ${SEED}, memory ${Buffer.from(memory).toString('hex')}\n${program}`,
    );
  }
});

test('an access outside of the memory is reported with its offset and the size', () => {
  const memory = new Uint8Array(14);
  const past = 'ldxw %r0, [%r1+12]\nexit';
  assert.equal(faultOf(past, memory), '0: reads 4 bytes at offset 12 of the memory, which has 14 bytes');
  const before = 'sub %r1, 2\nmov %r0, 0\nstxb [%r1], %r0\nexit';
  assert.equal(faultOf(before, memory), '2: writes 1 byte at offset -2 of the memory, which has 14 bytes');
  const below = 'stdw [%r10-520], 0\nmov %r0, 0\nexit';
  assert.equal(faultOf(below), '0: writes 8 bytes at offset -8 of the stack of frame 0, which has 512 bytes');
  const above = 'ldxb %r0, [%r10]\nexit';
  assert.equal(faultOf(above), '0: reads 1 byte at offset 512 of the stack of frame 0, which has 512 bytes');
});

test('a pointer may leave its memory and come back', () => {
  const memory = Uint8Array.of(7);
  assert.equal(runText('sub %r1, 100\nadd %r1, 100\nldxb %r0, [%r1]\nexit', memory), 7n);
});

test('a number used as a pointer is reported with its value', () => {
  assert.equal(
    faultOf('mov %r1, 0x1234\nldxb %r0, [%r1+1]\nexit'),
    '1: reads 1 byte at 0x1234 + 1, which is no pointer',
  );
  assert.equal(faultOf('mov %r1, 0\nldxdw %r0, [%r1+8]\nexit'), '1: reads 8 bytes through a null pointer');
});

test('a write to read-only memory is reported', () => {
  const fault = faultOf('stb [%r1], 1\nmov %r0, 0\nexit', new Uint8Array(8), { writable: false });
  assert.equal(fault, '0: writes 1 byte of the memory, which is read-only');
});

test('a misaligned atomic operation is reported', () => {
  const fault = faultOf('mov %r0, 1\nlock add [%r10-12], %r0\nexit');
  assert.equal(fault, '1: a misaligned atomic access: offset 500 of the stack of frame 0, 8 bytes');
  assert.equal(runText('stdw [%r10-16], 0\nmov %r0, 1\nlock add32 [%r10-12], %r0\nldxw %r0, [%r10-12]\nexit'), 1n);
});

test('a misaligned access to the stack is reported', () => {
  const store = 'stdw [%r10-12], 0\nmov %r0, 0\nexit';
  assert.equal(faultOf(store), '0: a misaligned access of 8 bytes at offset 500 of the stack of frame 0');
  const load = 'stdw [%r10-8], 0\nldxw %r0, [%r10-6]\nexit';
  assert.equal(faultOf(load), '1: a misaligned access of 4 bytes at offset 506 of the stack of frame 0');
});

/** BPF_LOAD_ACQ and BPF_STORE_REL of Linux 6.14, which the assembler has no names for. */
const ordered = (size: number, destination: number, source: number, offset: number, immediate: number) =>
  instruction(BPF_STX | BPF_ATOMIC | size, { destination, source, offset, immediate });

test('loads with acquire and stores with release act as plain ones', () => {
  for (const [size, expected] of [
    [BPF_B, 0xffn],
    [BPF_H, 0xffffn],
    [BPF_W, 0xffffffffn],
    [BPF_DW, 0xffffffffffffffffn],
  ] as const) {
    const instructions = [
      ...assemble('stdw [%r10-8], 0\nmov %r1, -1'),
      ordered(size, 10, 1, -8, 0x110),
      ordered(BPF_DW, 0, 10, -8, 0x100),
      exit(),
    ];
    assert.equal(new Machine(instructions).run(), expected);
    if (kernelSkip !== false) continue;
    try {
      assert.equal(runInKernel(instructions, new Uint8Array(8)), expected);
    } catch (error) {
      // Before 6.14 the kernel does not know them.
      if (!(error instanceof VerifierError) || !/BPF_ATOMIC|opcode/.test(reasonOf(error.log))) throw error;
    }
  }
});

test('a register that holds nothing is reported, also after a call', () => {
  assert.equal(faultOf('mov %r0, %r7\nexit'), '0: reads %r7, which holds nothing yet');
  assert.match(faultOf('exit'), /^0: reads %r0, which holds nothing yet/);
  const afterCall = 'mov %r1, 1\ncall 5\nmov %r0, %r1\nexit';
  assert.match(faultOf(afterCall), /^2: reads %r1, which holds nothing yet \(a call leaves only/);
  const callee = 'mov %r6, 1\ncall local other\nexit\nother: mov %r0, %r6\nexit';
  assert.equal(faultOf(callee), '3: reads %r6, which holds nothing yet');
});

const lookup = `
  stw [%r10-4], 1
  lddw %r1, map_by_fd(3)
  mov %r2, %r10
  add %r2, -4
  call 1
`;

test('a looked-up pointer must be compared with null, whether the key is there or not', () => {
  const map = new VmMap({ type: 'hash', keySize: 4, valueSize: 8, maxEntries: 4 });
  const maps = new Map([[3, map]]);
  const unchecked = `${lookup}  ldxdw %r0, [%r0]\n  exit`;
  const checked = `${lookup}  mov %r6, %r0\n  jeq %r0, 0, none\n  ldxdw %r0, [%r6]\n  exit\nnone: mov %r0, -1\n  exit`;
  const expected = /^6: %r0 may be null: map_lookup_elem finds nothing at times/;
  assert.match(faultOf(unchecked, undefined, { maps }), expected);
  assert.equal(runText(checked, undefined, { maps }), 0xffffffffffffffffn);

  map.set(Uint8Array.of(1, 0, 0, 0), Uint8Array.of(42, 0, 0, 0, 0, 0, 0, 0));

  assert.match(faultOf(unchecked, undefined, { maps }), expected);
  assert.equal(runText(checked, undefined, { maps }), 42n);
});

test('a pointer that was not compared stays so over a call of a function', () => {
  const map = new VmMap({ type: 'array', keySize: 4, valueSize: 8, maxEntries: 4 });
  const text = `${lookup}  mov %r6, %r0\n  call local other\n  ldxdw %r0, [%r6]\n  exit\nother: mov %r0, 0\n  exit`;
  assert.match(faultOf(text, undefined, { maps: new Map([[3, map]]) }), /^8: %r6 may be null/);
});

test('an access beyond a map’s value is reported even where the next value follows', () => {
  const map = new VmMap({ type: 'array', keySize: 4, valueSize: 8, maxEntries: 4, name: 'counters' });
  const text = `${lookup}  jeq %r0, 0, none\n  ldxdw %r0, [%r0+8]\nnone: exit`;
  const fault = faultOf(text, undefined, { maps: new Map([[3, map]]) });
  assert.equal(fault, '7: reads 8 bytes at offset 8 of a value of counters, which has 8 bytes');
});

test('an array’s value is reached directly', () => {
  const map = new VmMap({ type: 'array', keySize: 4, valueSize: 16, maxEntries: 1 });
  const text = 'lddw %r1, map_val(map_by_fd(3))+8\nmov %r0, 5\nlock fetch add [%r1], %r0\nldxdw %r0, [%r1]\nexit';
  const machine = new Machine(assemble(text), { maps: new Map([[3, map]]) });
  assert.deepEqual([machine.run(), machine.run()], [5n, 10n]);
  assert.deepEqual(map.get(new Uint8Array(4))?.slice(8, 9), Uint8Array.of(10));
});

test('an endless loop ends at the bound', () => {
  const text = 'mov %r0, 0\nagain: add %r0, 1\nja again';
  assert.match(faultOf(text, undefined, { instructionsMax: 1000 }), /^\d: more than 1000 instructions ran/);
});

test('calls keep r6 to r9 and their frames, up to eight deep', () => {
  const nested = 'call local again\nexit\nagain: call local again\nexit';
  assert.equal(faultOf(nested), '2: calls are 8 deep, deeper than allowed');
  const escaping = 'call local other\nldxb %r0, [%r0-8]\nexit\nother: stdw [%r10-8], 1\nmov %r0, %r10\nexit';
  assert.equal(faultOf(escaping), '1: reads 1 byte of the stack of frame 1: that function has returned');
});

test('what no run could make right is refused before the first', () => {
  const refused: [string, RegExp][] = [
    ['ja +5\nexit', /^instruction 0 \(ja \+5\): leads to 6, where no instruction begins/],
    ['ja +1\nlddw %r0, 1\nexit', /^instruction 0 \(ja \+1\): leads to 2, where no instruction begins/],
    ['mov %r10, 1\nexit', /writes the frame pointer/],
    ['lddw %r1, code_addr(-9)\nmov %r0, 0\nexit', /leads to -8, where no instruction begins/],
    ['call 9999\nexit', /calls helper 9999, which the VM does not have/],
    ['lddw %r1, map_by_fd(8)\nexit', /names map 8, which the VM was not given/],
    ['.word 0x00000000000000ff\nexit', /is no instruction of RFC 9669/],
    ['.word 0x0000000100000095', /is no instruction of RFC 9669/],
    ['ldabsw 4\nexit', /is a legacy packet load/],
  ];
  for (const [text, message] of refused) {
    assert.throws(() => new Machine(assemble(text)), { name: 'VmFault', message }, text);
  }
});

test('a program with errors in it ends with a result or a fault, never otherwise', () => {
  const random = randomSource(4);
  const fields = ['opcode', 'destination', 'source', 'offset', 'immediate'] as const;
  let faults = 0;
  for (let round = 0; round < 3_000; round++) {
    const instructions = [...randomProgram(random, 24)];
    const at = random.integer(instructions.length);
    const field = fields[random.integer(fields.length)];
    instructions[at] = { ...instructions[at], [field]: random.integer(256) - (field === 'offset' ? 128 : 0) };
    try {
      new Machine(instructions, { instructionsMax: 1_000 }).run({ memory: fillMemory(random) });
    } catch (error) {
      assert.ok(error instanceof VmFault, String(error));
      faults++;
    }
  }
  assert.ok(faults > 100, `only ${faults} programs were wrong`);
});

test('a program without an exit runs past its end', () => {
  assert.equal(faultOf('mov %r0, 0'), '1: the program runs past its last instruction');
});

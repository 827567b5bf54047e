/**
 * The verifier's refusals as sentences: each of these programs is refused by this kernel, and what is said of it is what its author needs.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { loadObject } from '../../src/bpf/loader/collection.ts';
import { type ExplainedRefusal, explain, VerifierError } from '../../src/bpf/loader/verifier.ts';
import { readLog, registersIn } from '../../src/bpf/loader/verifier-log.ts';
import type { MapSpec } from '../../src/bpf/object/spec.ts';
import { kernelSkip as skip } from '../support/bpf-kernel.ts';
import { functionOf, kind, mapOf, objectOf } from '../support/bpf-object.ts';

/** What is said of a program; `names` are those of its registers at every instruction, lines count from 1 as instructions do from 0. */
function refusalOf(type: string, text: string, names: readonly (string | null)[], map?: MapSpec): ExplainedRefusal {
  const count = text.trim().split('\n').length;
  const lines = Array.from({ length: count }, (_, index) => ({
    index,
    file: 'a.bpf.ts',
    line: index + 1,
    column: 1,
    text: `line ${index + 1}`,
  }));
  const relocations =
    map === undefined
      ? []
      : [
          [
            text
              .trim()
              .split('\n')
              .findIndex((line) => /lddw/.test(line)),
            'map',
            map.name,
          ] as const,
        ];
  const program = functionOf('program', text, {
    kind: kind(type),
    lines,
    registerNames: [{ index: 0, names }],
    relocations,
  });
  try {
    using _collection = loadObject(objectOf({ functions: [program], maps: map === undefined ? [] : [map] }));
  } catch (error) {
    if (error instanceof VerifierError) return error.explanation;
    throw error;
  }
  throw new Error('the program was accepted');
}

const hash = mapOf('flows', 'hash');
const lookup = `mov %r1, 0
stxw [%r10-4], %r1
mov %r2, %r10
add %r2, -4
lddw %r1, 0
call 1`;

test('a pointer that was not compared with null', { skip }, () => {
  const said = refusalOf('xdp', `${lookup}\nldxdw %r0, [%r0]\nexit`, ['flow'], hash);
  assert.equal(said.message, 'a.bpf.ts:7:1: “flow” may be null here: compare it with null before using it');
  assert.equal(said.variable, 'flow');
  assert.match(said.known ?? '', /map_value_or_null/);
});

test('an access beyond a map’s value', { skip }, () => {
  const said = refusalOf('xdp', `${lookup}\njeq %r0, 0, +1\nldxdw %r0, [%r0+8]\nexit`, ['flow'], hash);
  assert.equal(said.message, 'a.bpf.ts:8:1: 8 bytes at offset 8 lie outside of a value of 8 bytes');
});

test('an index without bounds', { skip }, () => {
  const said = refusalOf(
    'socket_filter',
    `mov %r6, %r1\n${lookup}\njeq %r0, 0, +3\nldxw %r3, [%r6+0]\nadd %r0, %r3\nldxb %r0, [%r0]\nmov %r0, 0\nexit`,
    ['slot', null, null, 'index'],
    hash,
  );
  assert.match(
    said.message,
    /^a\.bpf\.ts:11:1: “slot” is used as a place or a length, but its bounds are not known well enough/,
  );
});

test('an index from which a place was made is named, not the place', () => {
  const log = [
    '4: (61) r1 = *(u32 *)(r6 +12) ; R1=scalar(smin=0,smax=umax=0xffffffff) R6=pkt(r=34)',
    '5: (bf) r2 = r1 ; R1=scalar(id=1,smin=0,smax=umax=0xffffffff) R2=scalar(id=1,smin=0,smax=umax=0xffffffff)',
    '6: (67) r2 <<= 3 ; R2=scalar(smin=0,smax=umax=0x7fffffff8)',
    '7: (0f) r0 += r2 ; R0=map_value(map=tables,ks=4,vs=64,smin=0,smax=umax=0x7fffffff8) R2=scalar()',
    '8: (79) r1 = *(u64 *)(r0 +0)',
    'R0 unbounded memory access, make sure to bounds check any such access',
  ].join('\n');
  const source = {
    at: (slot: number) => ({ file: 'c.ts', line: slot, column: 1, text: '', names: slot >= 5 ? [null, 'place'] : [] }),
  };
  assert.match(explain(log, source).message, /^c\.ts:8:1: “place” is used .*; known: a number from 0 to 4294967295$/);
});

test('a register that holds nothing', { skip }, () => {
  const said = refusalOf('xdp', 'mov %r0, %r7\nexit', [null, null, null, null, null, null, null, 'total']);
  assert.match(said.message, /^a\.bpf\.ts:1:1: “total” has no value on a path that leads here/);
});

test('a record that is reserved and not given back', { skip }, () => {
  const said = refusalOf(
    'xdp',
    'lddw %r1, 0\nmov %r2, 8\nmov %r3, 0\ncall 131\nmov %r0, 0\nexit',
    [],
    mapOf('events', 'ringbuf', { keyBytes: 0, valueBytes: 0, maxEntries: 4096 }),
  );
  assert.match(
    said.message,
    /what was acquired at line 4 is not released on every path: submit, discard or release it/,
  );
});

test('a number taken for a pointer', { skip }, () => {
  const said = refusalOf('xdp', 'mov %r2, 5\nldxw %r0, [%r2]\nexit', [null, null, 'address']);
  assert.equal(said.message, 'a.bpf.ts:2:1: “address” is a number and no pointer: it cannot be followed here');
});

test('a loop without end', { skip }, () => {
  const said = refusalOf('xdp', 'mov %r0, 0\njeq %r0, 1, +1\nja -2\nexit', []);
  assert.match(said.message, /a loop does not come nearer to its end/);
});

test('a helper that the program type does not have', { skip }, () => {
  const said = refusalOf('xdp', 'mov %r0, 0\ncall 9\nexit', []);
  assert.match(
    said.message,
    /^a\.bpf\.ts:2:1: the helper bpf_skb_store_bytes \(9\) is not there for programs of this type/,
  );
});

test('a context field that is not there, and an answer that is not allowed', { skip }, () => {
  assert.match(
    refusalOf('xdp', 'ldxw %r0, [%r1+100]\nexit', []).message,
    /4 bytes at offset 100 of the context may not be used so/,
  );
  assert.match(
    refusalOf('cgroup_skb', 'mov %r0, 9\nexit', []).message,
    /the program returns a value that its type does not allow \(9\): 0 to 1 are allowed/,
  );
});

test('memory outside of the stack', { skip }, () => {
  const said = refusalOf('xdp', 'mov %r0, 0\nstxdw [%r10-520], %r0\nexit', []);
  assert.match(
    said.message,
    /^a\.bpf\.ts:2:1: memory on the stack is used that has no value yet, or that lies outside/,
  );
});

test('a reason that nobody has a sentence for is said in the verifier’s words, with the register’s name', () => {
  const log =
    '0: R1=ctx() R10=fp0\n0: (bf) r3 = r1 ; R1=ctx() R3=ctx()\n1: (95) exit\nR3 is something new\nprocessed 2 insns\n';
  const source = {
    at: () => ({ file: 'b.ts', line: 3, column: 2, text: '', names: [null, null, null, 'state'] }),
  };
  assert.equal(
    explain(log, source).message,
    'b.ts:3:2: the verifier says: R3 is something new (R3 is “state”, known: the context)',
  );
  assert.equal(explain('', null).sentence, 'the verifier says: nothing');
});

test('a variable whose address the kernel does not tell', () => {
  const log = "ldimm64 failed to find the address for kernel symbol 'bpf_prog_active'.\nprocessed 0 insns\n";
  assert.match(
    explain(log, null).sentence,
    /does not tell where its variable bpf_prog_active lies: CONFIG_KALLSYMS_ALL/,
  );
});

test('states of registers are read with their nested parentheses', () => {
  assert.deepEqual(registersIn('R0=scalar(umax=255,var_off=(0x0; 0xff)) R2_w=pkt(off=14,r=0) fp-8=mmmm'), [
    { register: 0, known: 'scalar(umax=255,var_off=(0x0; 0xff))' },
    { register: 2, known: 'pkt(off=14,r=0)' },
  ]);
});

test('a log of an older kernel is read, too', () => {
  const log = [
    'from 5 to 7: R0=map_value_or_null(id=1,off=0,ks=4,vs=8,imm=0) R10=fp0',
    '; return flow.count;',
    '7: (79) r0 = *(u64 *)(r0 +0)',
    "R0 invalid mem access 'map_value_or_null'",
    'processed 8 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0',
    '',
  ].join('\n');
  const refusal = readLog(log);
  assert.equal(refusal.slot, 7);
  assert.equal(refusal.instruction, 'r0 = *(u64 *)(r0 +0)');
  assert.equal(refusal.reason, "R0 invalid mem access 'map_value_or_null'");
  assert.deepEqual(refusal.registers[0], { register: 0, known: 'map_value_or_null(id=1,off=0,ks=4,vs=8,imm=0)' });
});

test('any text is explained without an exception', () => {
  for (const text of [
    '\n\n',
    '0: (95',
    'R1=((((',
    '5: (95) exit',
    'processed 1 insns',
    'R99 !read_ok',
    '\u0000'.repeat(100),
  ]) {
    assert.ok(explain(text, null).sentence.length > 0);
  }
});

/**
 * Test runs: what each type of program takes and gives when it runs nowhere attached.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { assemble } from '../../src/bpf/assembler.ts';
import { loadProgram, type ProgramSpec } from '../../src/bpf/loader/program.ts';
import { BPF_F_SLEEPABLE, BPF_F_TEST_RUN_ON_CPU, BPF_F_TEST_XDP_LIVE_FRAMES } from '../../src/kernel/bpf-attributes.ts';
import { AF_INET } from '../../src/kernel/constants.ts';
import { kernelSkip as skip } from '../support/bpf-kernel.ts';
import { kind, loadCounter } from '../support/bpf-object.ts';

function program(type: ProgramSpec['type'], text: string, more: Partial<ProgramSpec> = {}) {
  return loadProgram({ type, instructions: assemble(text), ...more });
}

function words(length: number, values: Readonly<Record<number, number>>): Uint8Array {
  const view = new DataView(new ArrayBuffer(length));
  for (const [at, value] of Object.entries(values)) view.setUint32(Number(at), value, true);
  return new Uint8Array(view.buffer);
}

test('an XDP program changes its packet and reads the context that it is given', { skip }, () => {
  const LOOPBACK = 1;
  // Writes 0xab into the packet's first byte and answers the interface.
  using changing = program(
    'xdp',
    `ldxw %r2, [%r1]
     ldxw %r3, [%r1+4]
     mov %r4, %r2
     add %r4, 1
     mov %r0, 0
     jgt %r4, %r3, +3
     mov %r5, 0xab
     stxb [%r2], %r5
     ldxw %r0, [%r1+12]
     exit`,
  );
  const data = new Uint8Array(60).fill(1);
  const context = words(24, { 4: data.length, 12: LOOPBACK });
  const run = changing.testRun({ data, context });
  assert.equal(run.result, LOOPBACK);
  assert.equal(run.data[0], 0xab);
  assert.equal(run.data.length, 60);
  assert.equal(data[0], 1, 'what was given stays as it was');
  assert.equal(run.context.length, 24);
});

test('a packet grows by what a program puts before it', { skip }, () => {
  const bpf_xdp_adjust_head = 44;
  using growing = program('xdp', `mov %r2, -20\ncall ${bpf_xdp_adjust_head}\nmov %r0, 2\nexit`);
  assert.equal(growing.testRun({ data: new Uint8Array(100) }).data.length, 120);
});

test('a tc program’s context comes back with what it set', { skip }, () => {
  const MARK = 8;
  const PRIORITY = 32;
  using marking = program(
    'sched_cls',
    `ldxw %r2, [%r1+${PRIORITY}]\nadd %r2, 1\nstxw [%r1+${MARK}], %r2\nmov %r0, 0\nexit`,
  );
  const run = marking.testRun({ data: new Uint8Array(64), context: words(192, { [PRIORITY]: 41 }) });
  assert.equal(new DataView(run.context.buffer, run.context.byteOffset).getUint32(MARK, true), 42);
});

test('a syscall program changes the context where it lies', { skip }, () => {
  using adding = program('syscall', 'ldxw %r2, [%r1]\nadd %r2, 1\nstxw [%r1+4], %r2\nmov %r0, 7\nexit', {
    flags: BPF_F_SLEEPABLE,
  });
  const context = words(8, { 0: 5 });
  const run = adding.testRun({ context });
  assert.equal(run.result, 7);
  assert.deepEqual(run.context, words(8, { 0: 5, 4: 6 }));
  assert.deepEqual(context, words(8, { 0: 5 }));
});

test('a raw tracepoint program gets its arguments, on the CPU that is asked for', { skip }, () => {
  const bpf_get_smp_processor_id = 8;
  using summing = program('raw_tracepoint', 'ldxdw %r0, [%r1]\nldxdw %r2, [%r1+8]\nadd %r0, %r2\nexit');
  assert.equal(summing.testRun({ context: words(16, { 0: 40, 8: 2 }) }).result, 42);
  using asking = program('raw_tracepoint', `call ${bpf_get_smp_processor_id}\nexit`);
  assert.equal(asking.testRun({ flags: BPF_F_TEST_RUN_ON_CPU, cpu: 0 }).result, 0);
});

test('sk_lookup runs over a context alone', { skip }, () => {
  const FAMILY = 8;
  using answering = program('sk_lookup', 'ldxw %r2, [%r1+60]\nmov %r0, 0\njne %r2, 443, +1\nmov %r0, 1\nexit', {
    attachType: 'sk_lookup',
  });
  const lookup = (port: number): Uint8Array => words(72, { [FAMILY]: AF_INET, 12: 6, 60: port });
  assert.equal(answering.testRun({ context: lookup(443) }).result, 1);
  assert.equal(answering.testRun({ context: lookup(80) }).result, 0);
});

test('frames that are sent live run through the program as often as told', { skip }, () => {
  const XDP_DROP = 1;
  using counter = loadCounter(kind('xdp', { attachType: 'xdp' }), XDP_DROP);
  const run = counter.program.testRun({
    data: new Uint8Array(64),
    repeat: 300,
    flags: BPF_F_TEST_XDP_LIVE_FRAMES,
    batchSize: 32,
  });
  assert.equal(counter.hits(), 300);
  assert.equal(run.data.length, 0);
});

test('flow dissectors and netfilter programs run over packets', { skip }, () => {
  using dissector = program('flow_dissector', 'mov %r0, 0\nexit', { attachType: 'flow_dissector' });
  assert.equal(dissector.testRun({ data: new Uint8Array(64) }).result, 0);
  const packet = new Uint8Array(60);
  // An Ethernet header of IPv4, and a version; more is not looked at.
  packet.set([8, 0, 0x45], 12);
  using filter = program('netfilter', 'mov %r0, 1\nexit', { attachType: 'netfilter' });
  assert.equal(filter.testRun({ data: packet }).result, 1);
});

test('a type without test runs says so', { skip }, () => {
  using steering = program('sk_reuseport', 'mov %r0, 1\nexit', { attachType: 'sk_reuseport_select' });
  assert.throws(
    () => steering.testRun({ data: new Uint8Array(64) }),
    /bpf test run of a program of type sk_reuseport over 64 bytes: .*; programs of this type have no test run/,
  );
});

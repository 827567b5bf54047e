/**
 * Programs at tracepoints, functions, probes and samples, and iterators: each is shown to run when its event happens. What this kernel
 * refuses is reported with its reason.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test, { after, before, type TestContext } from 'node:test';
import { assemble } from '../../src/bpf/assembler.ts';
import { loadObject } from '../../src/bpf/loader/collection.ts';
import { Executable, findExecutable, ProbeError } from '../../src/bpf/loader/links/executable.ts';
import { functionsLike } from '../../src/bpf/loader/links/kprobe-multi.ts';
import { Link } from '../../src/bpf/loader/links/link.ts';
import { tracefsPath } from '../../src/bpf/loader/links/perf-event.ts';
import { readIteratorText } from '../../src/bpf/loader/links/tracing.ts';
import { loadProgram } from '../../src/bpf/loader/program.ts';
import { BtfBuilder } from '../../src/bpf/object/btf/builder.ts';
import { I32, U64 } from '../../src/bpf/types.ts';
import { KernelError } from '../../src/kernel/error.ts';
import { mountsOf } from '../../src/kernel/mounts.ts';
import { call, SYS } from '../../src/kernel/syscall.ts';
import { mounted, type Place, kernelSkip as skip } from '../support/bpf-kernel.ts';
import { countingObject, functionOf, kind, loadCounter, objectOf } from '../support/bpf-object.ts';

let tracefs: Place | null = null;

before(() => {
  if (skip === false && mountsOf('tracefs').length === 0) tracefs = mounted('tracefs');
});
after(() => tracefs?.[Symbol.dispose]());

/** Something that makes the scheduler switch and enters the kernel often. */
function busy(): void {
  for (let round = 0; round < 50; round++) call(SYS.poll, 0, 0, 1);
}

test('a tracepoint program runs with its event and ends with its link', { skip }, () => {
  using counter = loadCounter(
    kind('tracepoint', { target: 'sched/sched_switch', section: 'tp/sched/sched_switch' }),
    0,
  );
  {
    using link = counter.program.attach();
    assert.equal(link.kind, 'perf_event');
    busy();
    assert.ok(counter.hits() > 10);
  }
  const seen = counter.hits();
  busy();
  assert.equal(counter.hits(), seen);
  assert.throws(
    () => counter.program.attach({ tracepoint: 'sched/no_such_event' }),
    /no tracepoint sched:no_such_event/,
  );
  assert.throws(() => counter.program.attach({ tracepoint: 'sched_switch' }), /a form like sched\/sched_switch/);
  assert.match(tracefsPath(), /./);
});

test('a raw tracepoint and one with types run with their event', { skip }, () => {
  using raw = loadCounter(kind('raw_tracepoint', { target: 'sched_switch', section: 'raw_tp/sched_switch' }), 0);
  const typed = kind('tracing', { attachType: 'trace_raw_tp', target: 'sched_switch', section: 'tp_btf/sched_switch' });
  using withTypes = loadCounter(typed, 0);
  using first = raw.program.attach();
  using second = withTypes.program.attach();
  busy();
  assert.ok(raw.hits() > 10);
  assert.ok(withTypes.hits() > 10);
  assert.equal(first.kind, 'raw_tracepoint');
  assert.ok(second instanceof Link);
  assert.equal(second.info().programId, withTypes.program.info().id);
  assert.throws(() => raw.program.attach({ tracepoint: 'no_such' }), /ENOENT; no tracepoint has the name/);
});

test('a hook that the kernel does not have is named before anything is loaded', { skip }, () => {
  const typed = kind('tracing', { attachType: 'trace_raw_tp', target: 'no_such', section: 'tp_btf/no_such' });
  assert.throws(() => loadObject(countingObject(typed, 0)), /this kernel has no tracepoint no_such for programs/);
  const lsm = kind('lsm', { attachType: 'lsm_mac', target: 'no_such', section: 'lsm/no_such' });
  assert.throws(() => loadObject(countingObject(lsm, 0)), /this kernel has no LSM hook no_such/);
});

test('an iterator goes through all tasks, each time it is read', { skip }, () => {
  const writing = functionOf(
    'dump',
    `mov %r2, 0x2e
     stxb [%r10-1], %r2
     ldxdw %r1, [%r1]
     ldxdw %r1, [%r1]
     mov %r2, %r10
     add %r2, -1
     mov %r3, 1
     call 127
     mov %r0, 0
     exit`,
    { kind: kind('tracing', { attachType: 'trace_iter', target: 'task', section: 'iter/task' }) },
  );
  using collection = loadObject(objectOf({ functions: [writing] }));
  using all = collection.programs.dump.attach();
  assert.ok(all instanceof Link);
  assert.match(readIteratorText(all), /^\.{5,}$/);
  assert.match(readIteratorText(all), /^\.{5,}$/);
  using mine = collection.programs.dump.attach({ iterate: { thread: process.pid } });
  // A second call at the end has no task: programs see null there.
  assert.match(readIteratorText(mine as Link), /^\.{1,2}$/);
});

test('samples of the CPU’s clock reach a perf event program', { skip }, () => {
  using counter = loadCounter(kind('perf_event', { section: 'perf_event' }), 0);
  using _link = counter.program.attach({ samples: { frequency: 1000 } });
  const end = Date.now() + 100;
  while (Date.now() < end);
  assert.ok(counter.hits() > 5, `${counter.hits()} samples`);
});

test('uprobes run at a function of a library and at its return', { skip }, () => {
  for (const section of ['uprobe', 'uretprobe']) {
    using counter = loadCounter(
      kind('kprobe', { section: `${section}/libc.so.6:syscall`, target: 'libc.so.6:syscall' }),
      0,
    );
    {
      using link = counter.program.attach();
      assert.equal(link.kind, 'perf_event');
      // The shim makes system calls by libc's syscall().
      for (let round = 0; round < 20; round++) call(SYS.getpid);
      assert.ok(counter.hits() >= 20, section);
    }
    const seen = counter.hits();
    call(SYS.getpid);
    assert.equal(counter.hits(), seen);
    using _mine = counter.program.attach({
      uprobe: { executable: 'libc.so.6', function: 'syscall', process: process.pid },
    });
    call(SYS.getpid);
    assert.ok(counter.hits() > seen);
  }
});

test('one link takes many functions of a file', { skip }, (context) => {
  const of = kind('kprobe', { attachType: 'trace_uprobe_multi', section: 'uprobe.multi' });
  const uprobes = { executable: 'libc.so.6', functions: ['syscall', 'getenv'], process: process.pid };
  attachOrReport(context, 'uprobe.multi', () => {
    using counter = loadCounter(of, 0);
    using link = counter.program.attach({ uprobes });
    assert.equal(link.kind, 'uprobe_multi');
    for (let round = 0; round < 10; round++) call(SYS.getpid);
    assert.ok(counter.hits() >= 10);
    assert.throws(
      () => counter.program.attach({ uprobes: { ...uprobes, functions: ['no_such_function'] } }),
      /has no function no_such_function/,
    );
  });
});

test('functions of the kernel are named by a pattern', { skip }, (context) => {
  const list = 'tcp_connect\ntcp_close\nudp_connect\nbpf_tcp_close [bpf_module]\ntcp_x [tcp_module]\ntcp_close\n';
  assert.deepEqual(functionsLike('tcp_*', list), ['tcp_connect', 'tcp_close', 'tcp_x']);
  assert.deepEqual(functionsLike('?dp_connect', list), ['udp_connect']);
  assert.deepEqual(functionsLike('tcp.close', list), []);
  const symbols =
    'ffffffff81000000 T tcp_connect\nffffffff81000010 t tcp_close\t[tcp]\nffffffff82000000 D tcp_memory\n';
  assert.deepEqual(functionsLike('tcp_*', symbols), ['tcp_connect', 'tcp_close']);

  using counter = loadCounter(kind('kprobe', { attachType: 'trace_kprobe_multi', section: 'kprobe.multi' }), 0);
  assert.throws(() => counter.program.attach({ kprobes: { functions: 'no_such_*' } }), /no function like no_such_\*/);
  attachOrReport(context, 'kprobe.multi', () => {
    using link = counter.program.attach({ kprobes: { functions: ['do_sys_poll'] } });
    assert.equal(link.kind, 'kprobe_multi');
    busy();
    assert.ok(counter.hits() > 0);
  });
});

test('a raw tracepoint program may write what its event gives', { skip }, () => {
  // The tracepoint bpf_test_finish lets programs set the error that a test run ends with (net/bpf/test_run.c).
  const failing = functionOf('fail', 'ldxdw %r1, [%r1]\nmov %r2, -5\nstxw [%r1], %r2\nmov %r0, 0\nexit', {
    kind: kind('raw_tracepoint_writable', { target: 'bpf_test_finish', section: 'raw_tp.w/bpf_test_finish' }),
  });
  using collection = loadObject(objectOf({ functions: [failing] }));
  using passing = loadProgram({ type: 'xdp', instructions: assemble('mov %r0, 2\nexit') });
  {
    using _link = collection.programs.fail.attach();
    assert.throws(() => passing.testRun({ data: new Uint8Array(64) }), { code: 'EIO' });
  }
  assert.equal(passing.testRun({ data: new Uint8Array(64) }).result, 2);
});

test('a function that is not there, and a file that is none, are named', { skip }, () => {
  using counter = loadCounter(kind('kprobe', { section: 'uprobe', target: null }), 0);
  const uprobe = { executable: 'libc.so.6', function: 'no_such_function' };
  assert.throws(() => counter.program.attach({ uprobe }), /has no function no_such_function/);
  assert.throws(() => new Executable(import.meta.filename), /is no executable or library/);
  assert.throws(() => findExecutable('no-such-command'), ProbeError);
});

test('USDT probes of a library are found, and take programs', { skip }, (context) => {
  using libc = new Executable(findExecutable('libc.so.6'));
  const probes = libc.usdtProbes();
  if (probes.length === 0) {
    context.skip('this libc was built without probes');
    return;
  }
  for (const probe of probes) assert.ok(probe.offset > 0 && /^[\w]+$/.test(probe.provider) && probe.name !== '');
  using counter = loadCounter(kind('kprobe', { section: 'usdt' }), 0);
  const [{ provider, name }] = probes;
  using link = counter.program.attach({ usdt: { executable: 'libc.so.6', provider, name } });
  assert.match(link.kind, /^(?:perf_event|uprobe_multi)$/);
  assert.throws(
    () => counter.program.attach({ usdt: { executable: 'libc.so.6', provider, name: 'nothing' } }),
    /has no probe/,
  );
});

/** A program whose function has a type, as those need to which others are attached. */
function typedTarget(name: string): ReturnType<typeof loadObject> {
  const types = new BtfBuilder();
  const typeId = types.addFunction(name, [{ name: 'context', type: U64 }], I32, 'global');
  const lines = [{ index: 0, file: 'target.bpf.ts', line: 1, column: 1, text: 'return 7;' }];
  types.addString('target.bpf.ts');
  types.addString('return 7;');
  return loadObject(
    objectOf({
      functions: [
        functionOf(name, 'mov %r0, 7\nexit', { kind: kind('socket_filter'), linkage: 'global', typeId, lines }),
      ],
      btf: types.finish(),
    }),
  );
}

/** Attaches; where the kernel refuses, says why. */
function attachOrReport(context: TestContext, what: string, attachIt: () => void): void {
  try {
    attachIt();
  } catch (error) {
    if (!(error instanceof KernelError || error instanceof ProbeError)) throw error;
    assert.match(error.message, /.{20}/);
    context.diagnostic(`${what} is refused here: ${error.message}`);
  }
}

test('a program is attached to another program, or takes its place, or the refusal says why', { skip }, (context) => {
  using target = typedTarget('answer');
  const { answer } = target.programs;
  for (const [type, attachType, result] of [
    ['tracing', 'trace_fentry', 7],
    ['tracing', 'trace_fexit', 7],
    ['ext', null, 0],
  ] as const) {
    attachOrReport(context, `${attachType ?? type} of a program`, () => {
      const spec = countingObject(kind(type, { attachType, target: 'answer', section: `${type}/answer` }), 0);
      using collection = loadObject(spec, { attachTo: { count: answer } });
      using _link = collection.programs.count.attach();
      assert.equal(answer.testRun({ data: new Uint8Array(64) }).result, result);
      assert.equal(collection.globals.hits.value, 1n);
    });
  }
  const unknown = countingObject(kind('ext', { target: 'question', section: 'freplace/question' }), 0);
  assert.throws(() => loadObject(unknown, { attachTo: { count: answer } }), /program answer has no function question/);
  assert.throws(() => loadObject(unknown), /takes the place of another program’s function: give that as attachTo/);
});

test('programs at kernel functions, LSM hooks and kprobes run, or the refusal says why', { skip }, (context) => {
  const cases = [
    kind('tracing', { attachType: 'trace_fentry', target: 'do_sys_poll', section: 'fentry/do_sys_poll' }),
    kind('tracing', { attachType: 'trace_fexit', target: 'do_sys_poll', section: 'fexit/do_sys_poll' }),
    kind('lsm', { attachType: 'lsm_mac', target: 'file_open', section: 'lsm/file_open' }),
    kind('kprobe', { target: 'do_sys_poll', section: 'kprobe/do_sys_poll' }),
  ];
  for (const one of cases) {
    attachOrReport(context, one.section, () => {
      using counter = loadCounter(one, 0);
      using _link = counter.program.attach();
      busy();
      readFileSync('/proc/self/status');
      assert.ok(counter.hits() > 0, one.section);
    });
  }
});

/**
 * Programs that look into the kernel: fields found by name, pointers followed directly or by bpf_probe_read_kernel, iterators, and a
 * struct of functions.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { compileText } from '../../../src/bpf/compiler/compile.ts';
import { lowerModule } from '../../../src/bpf/compiler/front/index.ts';
import { type Collection, loadObject } from '../../../src/bpf/loader/collection.ts';
import { attachIterator, readIteratorText } from '../../../src/bpf/loader/links/tracing.ts';
import { kernelBtf } from '../../../src/bpf/object/btf/kernel.ts';
import { declarationsOf } from '../../../src/bpf/object/declarations.ts';
import { kernelSkip } from '../../support/bpf.ts';
import { moduleOf } from '../../support/bpf-compiler.ts';
import { mounted } from '../../support/bpf-kernel.ts';

const kernel = { skip: kernelSkip };

/** More than the fields used, and not at the kernel's offsets: they are found by name. */
const task = `
  const task_struct = kernelStruct('task_struct', {
    pid: i32, tgid: i32, comm: array(u8, 16), real_parent: pointer(() => task_struct), start_time: u64,
  });
  type Task = Value<typeof task_struct>;
  export const own = readOnly(i32, 0);
`;

function load(
  text: string,
  optimise: boolean,
  constants: Readonly<Record<string, unknown>> = { own: process.pid },
): Collection {
  return loadObject(compileText(moduleOf(text), 'trace.bpf.ts', { optimise }), { constants });
}

const textOf = (bytes: unknown): string => new TextDecoder().decode(bytes as Uint8Array).replace(/\0.*$/s, '');
const ownName = readFileSync('/proc/self/comm', 'utf8').trim();

/** Waits until this process was scheduled often enough for a tracepoint to have seen it. */
async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 200 && !condition(); tries++) await sleep(2);
}

for (const optimise of [false, true]) {
  test(`a BTF tracepoint reads tasks directly (optimised: ${optimise})`, kernel, async () => {
    using object = load(
      `${task}
      export const seen = global(u32);
      export const name = global(array(u8, 16));
      export const parent = global(i32);
      export const startsLater = global(boolean);
      export const size = global(u32);
      export const onSwitch = btfTracepoint('sched_switch', (preempt: boolean, previous: Task, next: Task) => {
        if (next.tgid !== own.value || next.pid !== own.value) return;
        seen.value += 1;
        name.value = next.comm;
        parent.value = next.real_parent.tgid;
        startsLater.value = next.start_time > next.real_parent.start_time;
        if (fieldExists(task_struct, 'start_time') && typeExists(task_struct)) size.value = sizeOf(task_struct);
      });`,
      optimise,
    );
    using _link = object.programs.onSwitch.attach();
    await until(() => (object.globals.seen.value as number) > 0);
    assert.equal(textOf(object.globals.name.value), ownName);
    assert.equal(object.globals.parent.value, process.ppid);
    assert.equal(object.globals.startsLater.value, true);
    assert.ok((object.globals.size.value as number) > 1000, 'the size is the kernel’s, not that of five fields');
  });

  test(`a raw tracepoint reads tasks by address (optimised: ${optimise})`, kernel, async () => {
    using object = load(
      `${task}
      export const seen = global(u32);
      export const name = global(array(u8, 16));
      export const parent = global(i32);
      export const grandparent = global(u32);
      export const onSwitch = rawTracepoint('sched_switch', (context) => {
        const next = read(context.args[2], task_struct);
        if (next.pid !== own.value) return;
        seen.value += 1;
        name.value = next.comm;
        parent.value = next.real_parent.tgid;
        grandparent.value = u32(next.real_parent.real_parent.tgid);
      });`,
      optimise,
    );
    using _link = object.programs.onSwitch.attach();
    await until(() => (object.globals.seen.value as number) > 0);
    assert.equal(textOf(object.globals.name.value), ownName);
    assert.equal(object.globals.parent.value, process.ppid);
    const status = readFileSync(`/proc/${process.ppid}/status`, 'utf8');
    assert.equal(object.globals.grandparent.value, Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]));
  });

  test(`a tracepoint’s fields are found by name (optimised: ${optimise})`, kernel, async () => {
    using _tracefs = mounted('tracefs');
    using object = load(
      `const Event = kernelStruct('trace_event_raw_sched_switch', { prev_pid: i32, next_pid: i32, next_comm: array(u8, 16) });
      export const own = readOnly(i32, 0);
      export const first = global(u8);
      export const onSwitch = tracepoint('sched/sched_switch', (context: Value<typeof Event>) => {
        if (context.next_pid === own.value) first.value = context.next_comm[0];
      });`,
      optimise,
    );
    using _link = object.programs.onSwitch.attach();
    await until(() => object.globals.first.value !== 0);
    assert.equal(object.globals.first.value, ownName.charCodeAt(0));
  });

  test(`an iterator writes a line for each task (optimised: ${optimise})`, kernel, () => {
    using object = load(
      `${task}
      const meta = kernelStruct('bpf_iter_meta', { seq: pointer(kernelStruct('seq_file', { size: u64 })), seq_num: u64 });
      const context = kernelStruct('bpf_iter__task', { meta: pointer(meta), task: pointer(task_struct) });
      const Line = struct({ pid: u64, parent: u64 });
      export const tasks = iterator('task', (it: Value<typeof context>) => {
        const task = it.task;
        if (task === null || task.pid !== own.value) return 0;
        const line = local(Line, { pid: u64(task.pid), parent: u64(task.real_parent.pid) });
        bpf_seq_printf(it.meta.seq, 'pid %d parent %d', line);
        return 0;
      });`,
      optimise,
    );
    using link = attachIterator(object.programs.tasks, null);
    assert.equal(readIteratorText(link), `pid ${process.pid} parent ${process.ppid}`);
  });
}

test('a congestion control is a struct of functions', kernel, () => {
  const name = 'bpf_millrace';
  using object = load(
    `const tcp_sock = kernelStruct('tcp_sock', { snd_cwnd: u32, snd_ssthresh: u32 });
    type Socket = Value<typeof tcp_sock>;
    export const control = structOps('tcp_congestion_ops', {
      name: '${name}',
      ssthresh: (socket: Socket) => (socket.snd_cwnd > 4 ? socket.snd_cwnd / 2 : 2),
      undo_cwnd: (socket: Socket) => socket.snd_cwnd,
      cong_avoid(socket: Socket, ack: u32, acked: u32) {
        if (acked > 0) socket.snd_cwnd += 1;
      },
    });`,
    true,
    {},
  );
  const available = (): string => readFileSync('/proc/sys/net/ipv4/tcp_available_congestion_control', 'utf8');
  {
    using _registered = object.attachStruct('control');
    assert.match(available(), new RegExp(`\\b${name}\\b`));
  }
  assert.doesNotMatch(available(), new RegExp(`\\b${name}\\b`));
});

test('a kernel option and a kernel function are found when the program is loaded', kernel, () => {
  using object = loadObject(
    compileText(
      moduleOf(`
        export const hz = kconfig('CONFIG_HZ', u32);
        const rcuLock = kernelFunction('bpf_rcu_read_lock', [], null);
        const rcuUnlock = kernelFunction('bpf_rcu_read_unlock', [], null);
        export const out = global(u32);
        export const main = tcxIngress((context) => {
          rcuLock();
          out.value = hz.value;
          rcuUnlock();
          return 0;
        });`),
      'option.bpf.ts',
    ),
  );
  object.programs.main.testRun({ data: new Uint8Array(64) });
  assert.ok([100, 250, 300, 1000].includes(object.globals.out.value as number));
});

test('a kernel function gives a struct by its address, whichever way its result is written', kernel, () => {
  for (const result of ['task_struct', 'pointer(task_struct)']) {
    using object = load(
      `${task}
      const taskOf = kernelFunction('bpf_task_from_pid', [i32], ${result});
      const release = kernelFunction('bpf_task_release', [pointer(task_struct)], null);
      export const parent = global(i32);
      export const main = syscall(() => {
        const found = taskOf(own.value);
        if (found === null) return 1;
        parent.value = found.real_parent.tgid;
        release(found);
        return 0;
      });`,
      true,
    );
    assert.equal(object.programs.main.testRun({}).result, 0);
    assert.equal(object.globals.parent.value, process.ppid);
  }
});

test('bit fields of the kernel’s structs are found by name', kernel, async () => {
  for (const optimise of [false, true]) {
    using object = load(
      `const task_struct = kernelStruct('task_struct', {
        pid: i32, sched_reset_on_fork: bits(u32, 1), in_execve: bits(u32, 1), exit_code: i32,
      });
      export const own = readOnly(i32, 0);
      export const seen = global(u32);
      export const found = global(u32, 7);
      type Task = Value<typeof task_struct>;
      export const onSwitch = btfTracepoint('sched_switch', (preempt: boolean, previous: Task, next: Task) => {
        if (next.pid !== own.value) return;
        found.value = next.in_execve * 2 + next.sched_reset_on_fork;
        seen.value += 1;
      });`,
      optimise,
    );
    using _link = object.programs.onSwitch.attach();
    await until(() => (object.globals.seen.value as number) > 0);
    // This process is not within execve, and was not told to reset its priority.
    assert.equal(object.globals.found.value, 0);
  }
});

test('pointers of the kernel’s need no test, and can be tested', kernel, async () => {
  for (const optimise of [false, true]) {
    using object = load(
      `const mm_struct = kernelStruct('mm_struct', { map_count: i32 });
      const task_struct = kernelStruct('task_struct', { pid: i32, mm: pointer(mm_struct) });
      type Task = Value<typeof task_struct>;
      export const own = readOnly(i32, 0);
      export const threads = global(u32);
      export const areas = global(i32);
      export const none = global(i32, -1);
      export const onSwitch = btfTracepoint('sched_switch', (preempt: boolean, previous: Task, next: Task) => {
        const memory = next.mm;
        if (memory === null) {
          threads.value += 1;
          none.value = next.mm.map_count;
        } else if (next.pid === own.value) {
          areas.value = memory.map_count;
        }
      });`,
      optimise,
    );
    using _link = object.programs.onSwitch.attach();
    await until(() => (object.globals.threads.value as number) > 0 && object.globals.areas.value !== 0);
    assert.ok((object.globals.threads.value as number) > 0, 'kernel threads have no memory of their own');
    assert.equal(object.globals.none.value, 0, 'what is not there reads as zero');
    assert.ok((object.globals.areas.value as number) > 10);
  }
});

test('declarations written from the kernel’s types are types of programs', { skip: kernelSkip }, () => {
  const files: Readonly<Record<string, string>> = {
    'kernel.bpf.ts': declarationsOf(['task_struct'], kernelBtf()),
    'main.bpf.ts': `
      import { btfTracepoint, global, u64, type Value } from 'millrace/bpf';
      import { task_struct } from './kernel.bpf.ts';
      type Task = Value<typeof task_struct>;
      export const seen = global(u64);
      export const onSwitch = btfTracepoint('sched_switch', (preempt: boolean, previous: Task, next: Task) => {
        seen.value += u64(next.pid) + u64(next.real_parent.pid) + next.se.vruntime;
      });`,
  };
  const { module } = lowerModule('main.bpf.ts', (path) => files[path]);
  const loads = module.functions[0].blocks.flatMap(({ operations }) =>
    operations.filter(({ kind }) => kind === 'load'),
  );
  const paths = loads.map((load) => (load.kind === 'load' ? load.relocation?.path.join('.') : undefined));
  assert.deepEqual(
    paths.filter((path) => path !== undefined),
    ['pid', 'real_parent', 'pid', 'se.vruntime'],
  );
});

for (const optimise of [false, true]) {
  test(`an annotation says what a helper’s pointer leads to (optimised: ${optimise})`, kernel, () => {
    using object = load(
      `${task}
      export const parent = global(i32);
      export const onCall = btfTracepoint('sys_enter', () => {
        const task: Task = bpf_get_current_task_btf();
        if (task.tgid === own.value) parent.value = task.real_parent.tgid;
      });`,
      optimise,
    );
    using _link = object.programs.onCall.attach();
    readFileSync('/proc/self/comm');
    assert.equal(object.globals.parent.value, process.ppid);
  });

  test(`an array of a context is copied, wherever it lies (optimised: ${optimise})`, kernel, () => {
    // saddr is at 34: the kernel refuses accesses of 4 bytes there.
    using object = load(
      `const Event = kernelStruct('trace_event_raw_inet_sock_set_state', { newstate: i32, saddr: array(u8, 4) });
      export const own = readOnly(i32, 0);
      export const source = global(array(u8, 4));
      export const onState = tracepoint('sock/inet_sock_set_state', (context: Value<typeof Event>) => {
        source.value = context.saddr;
      });`,
      optimise,
    );
    assert.ok(object.programs.onState.descriptor > 0);
  });
}

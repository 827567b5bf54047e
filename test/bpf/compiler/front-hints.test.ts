/**
 * What is said where a program uses what the kernel passes without an annotation: the kernel's own type, and the declaration to write.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import test from 'node:test';
import { CompileErrors, compileText } from '../../../src/bpf/compiler/compile.ts';
import { KERNEL_BTF_PATH } from '../../../src/bpf/object/btf/kernel.ts';

const skip = existsSync(KERNEL_BTF_PATH) ? false : `this kernel shows no types (${KERNEL_BTF_PATH})`;

const IMPORTS = `import { type Value, array, bits, boolean, btfTracepoint, fentry, fexit, global, i16, i32, i64, iterator, kernelFunction,
  kernelStruct, lsm, pointer, taskStorage, tracepoint, u8, u16, u32, u64 } from 'millrace/bpf';
export const seen = global(u64);
export const kept = taskStorage({ value: u64 });
const releaseTask = kernelFunction('bpf_task_release', [pointer(kernelStruct('task_struct', {}))], null);
`;

/** The refusals of a module, `line: message; advice`, its lines counted from 1. */
function refusals(source: string): string[] {
  try {
    compileText(`${IMPORTS}${source}`);
    return [];
  } catch (error) {
    if (!(error instanceof CompileErrors)) throw error;
    const lines = IMPORTS.split('\n').length - 1;
    return error.errors.map(({ line, message, advice }) => `${line - lines}: ${message}; ${advice}`);
  }
}

const TASK = "const task_struct = kernelStruct('task_struct', { flags: u32, pid: i32, comm: array(u8, 16) })";

const WHERE = 'is not annotated, so it is a u64 and has no';
const PASSES = 'this kernel passes struct task_struct * there';

test('a field of an argument without a type names the kernel’s type, and one declaration for all fields in use', {
  skip,
}, () => {
  const found = refusals(`export const main = btfTracepoint('sched_switch', (_preempted, previous, next) => {
      seen.value = u64(previous.flags);
      seen.value = u64(next.pid) + u64(next.comm[0]);
      seen.value = u64(next.no_such_field);
    });`);
  assert.deepEqual(found, [
    `2: previous ${WHERE} flags; ${PASSES}: write ${TASK} and (previous: Value<typeof task_struct>)`,
    `3: next ${WHERE} pid; ${PASSES}: write ${TASK} and (next: Value<typeof task_struct>)`,
    `4: next ${WHERE} no_such_field; ${PASSES}, which has no field no_such_field`,
  ]);
});

test('what the refusal says to write compiles', { skip }, () => {
  assert.deepEqual(
    refusals(`${TASK};
      type Task = Value<typeof task_struct>;
      export const main = btfTracepoint('sched_switch', (_preempted: boolean, previous: Task, next: Task) => {
        seen.value = u64(previous.flags) + u64(next.pid) + u64(next.comm[0]);
      });`),
    [],
  );
});

test('a struct that the module declares is only named', { skip }, () => {
  const found = refusals(`const task_struct = kernelStruct('task_struct', { pid: i32 });
    export const main = btfTracepoint('sched_switch', (_preempted, _previous, next) => { seen.value = u64(next.pid); });`);
  assert.deepEqual(found, [`2: next ${WHERE} pid; ${PASSES}: write (next: Value<typeof task_struct>)`]);
});

const cases: readonly (readonly [what: string, source: string, refusal: RegExp])[] = [
  [
    'an argument of a kernel function',
    "fentry('tcp_v4_connect', (socket) => { seen.value = u64(socket.sk_mark); })",
    /passes struct sock \* there: write const sock = kernelStruct\('sock', \{ sk_mark: u32 \}\) and \(socket: Value<typeof sock>\)$/,
  ],
  [
    'a struct within the struct',
    "fentry('tcp_v4_connect', (socket) => { seen.value = u64(socket.__sk_common.skc_dport); })",
    /\{ __sk_common: kernelStruct\('sock_common', \{\}\) \}/,
  ],
  [
    'a pointer',
    "btfTracepoint('sched_switch', (_p, _q, next) => { seen.value = u64(next.real_parent.pid); })",
    /\{ real_parent: pointer\(kernelStruct\('task_struct', \{\}\)\) \}/,
  ],
  [
    'an argument of an LSM hook',
    "lsm('file_open', (file) => (file.f_flags === 0 ? 0 : -1))",
    /passes struct file \* there: write const file = kernelStruct\('file', \{ f_flags: u32 \}\)/,
  ],
  [
    'what a function gives',
    "fexit('tcp_v4_connect', (_socket, _address, _length, result) => { seen.value = result.code; })",
    /result is not annotated, so it is a u64 and has no code; this kernel passes int there$/,
  ],
  [
    'a number',
    "btfTracepoint('sched_switch', (preempted) => { seen.value = preempted.value; })",
    /preempted is not annotated, so it is a u64 and has no value; this kernel passes bool there$/,
  ],
  [
    'a hook that this kernel does not have',
    "btfTracepoint('no_such_tracepoint', (task) => { seen.value = u64(task.pid); })",
    /annotate it: \(task: Value<typeof T>\), where “millrace bpf types” writes the declaration of T$/,
  ],
  [
    'an argument passed to a helper',
    "btfTracepoint('sched_switch', (_p, _q, next) => { kept.get(next, 1n, 0); })",
    /so it is a u64 and no pointer; this kernel passes struct task_struct \* there: write .* kernelStruct\('task_struct', \{\}\)/,
  ],
  [
    'an argument passed to a kernel function',
    "btfTracepoint('sched_switch', (_p, _q, next) => { releaseTask(next); })",
    /next is not annotated, so it is a u64 and no pointer; this kernel passes struct task_struct/,
  ],
  [
    'the context of an iterator',
    "iterator('task', (context) => { if (context.task !== null) seen.value = 1n; })",
    /fields of this context are not known; write const bpf_iter__task = kernelStruct\('bpf_iter__task', \{ task: pointer\(/,
  ],
  [
    'the record of a tracepoint',
    "tracepoint('sched/sched_switch', (event) => { seen.value = u64(event.next_pid); })",
    /write const trace_event_raw_sched_switch = kernelStruct\('trace_event_raw_sched_switch', \{ next_pid: i32 \}\) and \(event: Value/,
  ],
];

for (const [what, source, refusal] of cases) {
  test(`the hint for ${what}`, { skip }, () => {
    const found = refusals(`export const main = ${source};`);
    assert.equal(found.length, 1, found.join('\n'));
    assert.match(found[0], refusal);
  });
}

test('a number that is no argument keeps its plain refusal', () => {
  assert.deepEqual(
    refusals("export const main = btfTracepoint('sched_switch', () => { seen.value = u64(seen.value.pid); });"),
    ['1: u64 has no pid; null'],
  );
});

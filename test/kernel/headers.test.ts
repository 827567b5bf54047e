/**
 * Every number that TypeScript shares with the kernel is the one in the headers of this machine, as the C compiler sees them:
 * constants, system calls, errno values, structure layouts, and the record of `native/shim.c`.
 *
 * A newcomer would get wrong: a name that no header knows is an error, because a typo would look the same. Names younger than
 * the oldest headers in use stand in `younger`, each with its value and its release.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as bpf from '../../src/kernel/bpf-abi.ts';
import * as bpfAttributes from '../../src/kernel/bpf-attributes.ts';
import * as constants from '../../src/kernel/constants.ts';
import { ERRNO } from '../../src/kernel/errno.ts';
import * as layouts from '../../src/kernel/layouts.ts';
import { shim } from '../../src/kernel/native.ts';
import { RECORD_WORDS, RECORDS_MAX, SYS } from '../../src/kernel/syscall.ts';
import * as uring from '../../src/kernel/uring-abi.ts';
import { askCompiler, kernelHeaders, libcHeaders, type Question } from '../support/headers.ts';

interface Younger {
  readonly value: number;
  /** The first release that has the name, and where in its source. */
  readonly source: string;
}

/** Names that Debian 12's headers (Linux 6.1, glibc 2.36) do not have. */
const younger: Readonly<Record<string, Younger>> = {
  BPF_F_AFTER: { value: 16, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  BPF_F_BEFORE: { value: 8, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  BPF_F_LINK: { value: 8192, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  BPF_F_VTYPE_BTF_OBJ_FD: { value: 32768, source: 'Linux 6.9, include/uapi/linux/bpf.h' },
  BPF_F_XDP_DEV_BOUND_ONLY: { value: 64, source: 'Linux 6.3, include/uapi/linux/bpf.h' },
  BPF_MEMSX: { value: 128, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  IORING_FEAT_MIN_TIMEOUT: { value: 32768, source: 'Linux 6.12, include/uapi/linux/io_uring.h' },
  IORING_SETUP_NO_SQARRAY: { value: 65536, source: 'Linux 6.6, include/uapi/linux/io_uring.h' },
};

/** Fields likewise; what they are called in older headers is padding. */
const youngerFields: Readonly<Record<string, Younger>> = {
  'IO_URING_GETEVENTS_ARG.min_wait_usec': { value: 12, source: 'Linux 6.12, include/uapi/linux/io_uring.h' },
  'BPF_ATTR.value_type_btf_obj_fd': { value: 72, source: 'Linux 6.9, include/uapi/linux/bpf.h' },
  'BPF_ATTR.target_ifindex': { value: 0, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  'BPF_ATTR.raw_tracepoint.cookie': { value: 16, source: 'Linux 6.10, include/uapi/linux/bpf.h' },
  'BPF_ATTR.link_create.netfilter.pf': { value: 16, source: 'Linux 6.4, include/uapi/linux/bpf.h' },
  'BPF_ATTR.link_create.netfilter.hooknum': { value: 20, source: 'Linux 6.4, include/uapi/linux/bpf.h' },
  'BPF_ATTR.link_create.netfilter.priority': { value: 24, source: 'Linux 6.4, include/uapi/linux/bpf.h' },
  'BPF_ATTR.link_create.netfilter.flags': { value: 28, source: 'Linux 6.4, include/uapi/linux/bpf.h' },
  'BPF_ATTR.link_create.tcx.relative_fd': { value: 16, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  'BPF_ATTR.link_create.tcx.expected_revision': { value: 24, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  'BPF_ATTR.link_create.uprobe_multi.path': { value: 16, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  'BPF_ATTR.link_create.uprobe_multi.offsets': { value: 24, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  'BPF_ATTR.link_create.uprobe_multi.ref_ctr_offsets': { value: 32, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  'BPF_ATTR.link_create.uprobe_multi.cookies': { value: 40, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  'BPF_ATTR.link_create.uprobe_multi.cnt': { value: 48, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  'BPF_ATTR.link_create.uprobe_multi.flags': { value: 52, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  'BPF_ATTR.link_create.uprobe_multi.pid': { value: 56, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  'BPF_LINK_INFO.struct_ops.map_id': { value: 16, source: 'Linux 6.4, include/uapi/linux/bpf.h' },
  'BPF_LINK_INFO.netfilter.pf': { value: 16, source: 'Linux 6.4, include/uapi/linux/bpf.h' },
  'BPF_LINK_INFO.netfilter.hooknum': { value: 20, source: 'Linux 6.4, include/uapi/linux/bpf.h' },
  'BPF_LINK_INFO.netfilter.priority': { value: 24, source: 'Linux 6.4, include/uapi/linux/bpf.h' },
  'BPF_LINK_INFO.tcx.ifindex': { value: 16, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  'BPF_LINK_INFO.tcx.attach_type': { value: 20, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
  'BPF_LINK_INFO.netkit.ifindex': { value: 16, source: 'Linux 6.7, include/uapi/linux/bpf.h' },
  'BPF_LINK_INFO.netkit.attach_type': { value: 20, source: 'Linux 6.7, include/uapi/linux/bpf.h' },
  'BPF_LINK_INFO.perf_event.type': { value: 16, source: 'Linux 6.6, include/uapi/linux/bpf.h' },
};

type Layout = Readonly<Record<string, number>>;

/** Layouts whose name here is not the structure's own. */
const structureNames: Readonly<Record<string, string>> = {
  BPF_ATTR: 'union bpf_attr',
  TCP_INFO_LAYOUT: 'struct tcp_info',
};

function numbersOf(module: Readonly<Record<string, unknown>>): [string, number][] {
  return Object.entries(module).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
}

function layoutsOf(module: Readonly<Record<string, unknown>>): [string, Layout][] {
  return Object.entries(module).filter((entry): entry is [string, Layout] => typeof entry[1] === 'object');
}

function layoutQuestions(module: Readonly<Record<string, unknown>>): (Question & { readonly value: number })[] {
  return layoutsOf(module).flatMap(([name, layout]) => {
    const structure = structureNames[name] ?? `struct ${name.toLowerCase()}`;
    return Object.entries(layout).map(([field, value]) => ({
      name: `${name}.${field}`,
      expression: field === 'size' ? `sizeof(${structure})` : `offsetof(${structure}, ${field})`,
      value,
    }));
  });
}

/** Asks both sets of headers; every set that knows a name must agree, and one must know it. */
function compare(expected: readonly (Question & { readonly value: number })[]): string[] {
  const answers = [libcHeaders, kernelHeaders].map((set) => ({ set, found: askCompiler(set, expected) }));
  const absent: string[] = [];
  for (const { name, value } of expected) {
    const known = answers.filter(({ found }) => found.has(name));
    for (const { set, found } of known)
      assert.equal(value, found.get(name), `${name}, against the ${set.name} headers`);
    if (known.length === 0) absent.push(name);
  }
  return absent;
}

test('every constant is the one in the headers', (context) => {
  const expected = [...numbersOf(constants), ...numbersOf(uring), ...numbersOf(bpf), ...numbersOf(bpfAttributes)].map(
    ([name, value]) => ({
      name,
      expression: name,
      value,
    }),
  );
  assert.ok(expected.length > 300, `only ${expected.length} constants were found`);

  const absent = compare(expected);

  const unexplained = absent.filter((name) => younger[name] === undefined);
  assert.deepEqual(unexplained, [], 'no header has these names: a typo, or one to list in `younger`');
  for (const name of absent) context.diagnostic(`not in these headers: ${name} (${younger[name].source})`);
});

test('names younger than the headers have their documented values and are in use', () => {
  const actual = new Map([
    ...numbersOf(constants),
    ...numbersOf(uring),
    ...numbersOf(bpf),
    ...numbersOf(bpfAttributes),
  ]);
  for (const [name, { value }] of Object.entries(younger)) assert.equal(actual.get(name), value, name);
});

test('every structure lies as in the headers', () => {
  const expected = [
    ...layoutQuestions(layouts),
    ...layoutQuestions(uring),
    ...layoutQuestions(bpf),
    ...layoutQuestions(bpfAttributes),
  ];
  assert.ok(expected.length > 100, `only ${expected.length} fields were found`);
  const unexplained = compare(expected).filter((name) => youngerFields[name] === undefined);
  assert.deepEqual(unexplained, []);
  const values = new Map(expected.map(({ name, value }) => [name, value]));
  for (const [name, { value }] of Object.entries(youngerFields)) assert.equal(values.get(name), value, name);
});

test('every system call has its number', () => {
  const expected = Object.entries(SYS).map(([name, value]) => ({ name, expression: `__NR_${name}`, value }));
  assert.deepEqual(compare(expected), []);
});

test('every errno has its value', () => {
  const expected = Object.entries(ERRNO).map(([name, value]) => ({ name, expression: name, value }));
  assert.deepEqual(compare(expected), []);
});

test('the record of the shim lies as system calls are written into it', () => {
  const source = readFileSync(new URL('../../native/shim.c', import.meta.url), 'utf8');
  const declaration = /^struct record \{[^}]*\};/m.exec(source);
  const size = /RECORDS = (\d+)/.exec(source);
  assert.ok(declaration !== null && size !== null);

  const answers = askCompiler({ name: 'shim', headers: [], declarations: declaration[0] }, [
    { name: 'size', expression: 'sizeof(struct record)' },
    { name: 'number', expression: 'offsetof(struct record, number)' },
    { name: 'arguments', expression: 'offsetof(struct record, arguments)' },
    { name: 'argument', expression: 'sizeof(((struct record *)0)->arguments[0])' },
    { name: 'result', expression: 'offsetof(struct record, result)' },
  ]);

  const expected = { size: RECORD_WORDS * 4, number: 0, arguments: 2 * 4, argument: 2 * 4, result: 14 * 4 };
  assert.deepEqual(Object.fromEntries(answers), expected);
  assert.equal(Number(size[1]), RECORDS_MAX);
  assert.equal(shim.records.byteLength, RECORDS_MAX * RECORD_WORDS * 4);
});

test('a wrong number is noticed', () => {
  const questions = [{ name: 'AF_INET', expression: 'AF_INET', value: 3 }];
  assert.throws(() => compare(questions), /AF_INET, against the libc headers/);
  assert.deepEqual(compare([{ name: 'AF_INTE', expression: 'AF_INTE', value: 2 }]), ['AF_INTE']);
});

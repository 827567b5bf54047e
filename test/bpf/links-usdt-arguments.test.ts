/**
 * The arguments of USDT probes: where they lie is read from the notes of a binary, and one compiled program takes them from wherever that
 * is.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { compile } from '../../src/bpf/compiler/compile.ts';
import { loadObject } from '../../src/bpf/loader/collection.ts';
import { linkFeature } from '../../src/bpf/loader/link-features.ts';
import { Executable } from '../../src/bpf/loader/links/executable.ts';
import { type UsdtArgument, usdtArguments } from '../../src/bpf/loader/links/usdt-arguments.ts';
import { readElf } from '../../src/bpf/object/elf/read.ts';
import { writeElf } from '../../src/bpf/object/elf/write.ts';
import type { ObjectSpec } from '../../src/bpf/object/spec.ts';
import { eventsOf, hooksOf } from '../support/bpf-hooks.ts';
import { run, kernelSkip as skip } from '../support/bpf-kernel.ts';
import { needs } from '../support/bpf-objects.ts';

const load = hooksOf<typeof import('./hooks/usdt.bpf.ts')>('usdt');
const compilerSkip = skip || (process.arch !== 'x64' && 'the probed program is written for x86-64') || needs('cc');

/** The probed program as compilers make it: movable or not, with variables on the stack or in registers. */
const builds = {
  movable: ['-O2', '-pie', '-fPIE'],
  fixed: ['-O2', '-no-pie', '-fno-pie'],
  plain: ['-O0', '-pie', '-fPIE'],
};
type Build = keyof typeof builds;

let folder = '';
const binary = (build: Build): string => join(folder, build);

before(() => {
  if (compilerSkip !== false) return;
  folder = mkdtempSync(join(tmpdir(), 'millrace-probed-'));
  for (const [build, flags] of Object.entries(builds)) {
    run('cc', ...flags, '-o', join(folder, build), join(import.meta.dirname, 'hooks/probed.c'));
  }
});
after(() => {
  if (folder !== '') rmSync(folder, { recursive: true });
});

const target = (build: Build, name: string): { executable: string; provider: string; name: string } => ({
  executable: binary(build),
  provider: 'probed',
  name,
});

const signed = (value: bigint): bigint => BigInt.asIntN(64, value);

/** What the program makes of the twelve arguments of `many`. */
const SUM = Array.from({ length: 12 }, (_, index) => BigInt(index + 1)).reduce((all, one) => all * 2n + one, 0n);

/** What the places of the probe pass, by their number. */
const expected = [
  ...[0x1122334455667788n, -5n, 0xfffffffbn, -2n, 0x88n, 0x77n, -1n, -7n, 30n, -20n, -200n, 300n, -9n, -200n],
  ...[0x1122334455667788n, -2n, -9n, -20n],
];

for (const build of ['movable', 'fixed', 'plain'] as const) {
  test(`one program reads the arguments of every place of a probe (${build})`, { skip: compilerSkip }, () => {
    using hooks = load({ programs: ['onPlace'] });
    using _link = hooks.programs.onPlace.attach({ usdt: target(build, 'place'), cookie: 77n });
    // The semaphore is up while it is attached; it is what the program gives back.
    assert.equal(spawnSync(binary(build)).status, build === 'fixed' ? 18 : 16);
    const hits = eventsOf(hooks.maps.hits);
    assert.deepEqual(
      hits.map(({ place, value }) => [place, signed(value)]),
      expected.slice(0, build === 'fixed' ? 18 : 16).map((value, index) => [index + 1, value]),
    );
    for (const { count, cookie } of hits) assert.deepEqual([count, cookie], [2, 77n]);
  });

  test(`parameters have the values that the process passes (${build})`, { skip: compilerSkip }, () => {
    using hooks = load({ programs: ['onChosen'] });
    using _link = hooks.programs.onChosen.attach({ usdt: target(build, 'chosen') });
    assert.equal(spawnSync(binary(build), ['one', 'two']).status, 0);
    assert.deepEqual(
      eventsOf(hooks.maps.choices).map((choice) => ({ ...choice })),
      [0, 1, 2].map((index) => ({
        first: index + 1,
        third: -7,
        shared: -9,
        constant: -3,
        second: -1_000_000_000_000n - BigInt(index),
      })),
    );
  });
}

/** What the programs are compiled to, as an object file keeps it. */
const object = (): ObjectSpec => readElf(writeElf(compile(join(import.meta.dirname, 'hooks/usdt.bpf.ts'))));

for (const [how, kind] of [
  ['by one link', 'uprobe_multi'],
  ['by a perf event for each place, as before Linux 6.6', 'perf_event'],
] as const) {
  test(`programs of an object file read arguments ${how}`, { skip: compilerSkip }, (context) => {
    const isOld = kind === 'perf_event';
    if (!isOld && !linkFeature(kind).available) {
      context.skip('this kernel has no links for many places');
      return;
    }
    const spec = object();
    // A section of uprobes loads the program without the attach type of such links.
    const functions = spec.functions.map((one) =>
      isOld && one.kind !== null ? { ...one, kind: { ...one.kind, section: 'uprobe' } } : one,
    );
    using collection = loadObject({ ...spec, functions }, { programs: ['onMany'] });
    using link = collection.programs.onMany.attach({ usdt: target('movable', 'many'), cookie: 9n });
    assert.equal(link.kind, kind);
    spawnSync(binary('movable'));
    assert.equal(collection.globals.total.value, SUM);
  });
}

test('an argument can be asked for by a number that is not known before; beyond the last it is 0', {
  skip: compilerSkip,
}, () => {
  using hooks = load({ programs: ['onMany'] });
  using _link = hooks.programs.onMany.attach({ usdt: target('movable', 'many') });
  spawnSync(binary('movable'));
  assert.deepEqual(
    eventsOf(hooks.maps.hits).map(({ count, value, cookie }) => [count, value, cookie]),
    [[12, SUM, 0n]],
  );
});

test('an argument in a page that is not in memory is 0, unless the program may wait for it', {
  skip: compilerSkip,
}, () => {
  const ELF = 0x464c457fn;
  for (const [name, value] of [
    ['onPage', 0n],
    ['onPageSleepable', ELF],
  ] as const) {
    using hooks = load({ programs: [name] });
    using _link = hooks.programs[name].attach({ usdt: target('movable', 'page') });
    spawnSync(binary('movable'));
    assert.deepEqual(
      eventsOf(hooks.maps.hits).map((hit) => hit.value),
      [value],
      name,
    );
  }
});

test('two attachments of one program are told apart, each with its binary’s own places', { skip: compilerSkip }, () => {
  using hooks = load({ programs: ['onPlace'] });
  using _one = hooks.programs.onPlace.attach({ usdt: target('movable', 'place'), cookie: 1n });
  {
    using _other = hooks.programs.onPlace.attach({ usdt: target('fixed', 'place'), cookie: 2n });
    spawnSync(binary('movable'));
    spawnSync(binary('fixed'));
    const hits = eventsOf(hooks.maps.hits);
    const of = (cookie: bigint): bigint[] =>
      hits.filter((hit) => hit.cookie === cookie).map(({ value }) => signed(value));
    assert.deepEqual(of(1n), expected.slice(0, 16));
    assert.deepEqual(of(2n), expected);
  }
  // What the other had in the table is free again; the first still finds its own.
  using _third = hooks.programs.onPlace.attach({ usdt: target('plain', 'place'), cookie: 3n });
  spawnSync(binary('movable'));
  spawnSync(binary('plain'));
  const hits = eventsOf(hooks.maps.hits);
  assert.deepEqual(
    hits.map(({ value }) => signed(value)),
    [...expected.slice(0, 16), ...expected.slice(0, 16)],
  );
});

/** The table is the compiler's, and not a map that the module declares. */
const SMALL_TABLE: Record<string, number> = { usdt_sites: 16 };

test('a table without room says how to make it larger, and a failed attachment leaves nothing in it', {
  skip: compilerSkip,
}, () => {
  // Row 0 is nobody's: 16 rows hold 15 places, and the probe has 16.
  using hooks = load({ programs: ['onPlace', 'onMany'], maxEntries: SMALL_TABLE });
  for (let attempt = 0; attempt < 3; attempt++) {
    assert.throws(
      () => hooks.programs.onPlace.attach({ usdt: target('movable', 'place') }),
      /more than 15 different places of arguments; load it with a larger table: \{ maxEntries: \{ usdt_sites: 64 \} \}/,
    );
  }
  using _link = hooks.programs.onMany.attach({ usdt: target('movable', 'many') });
  spawnSync(binary('movable'));
  assert.equal(eventsOf(hooks.maps.hits)[0].count, 12);
});

test('a place that no program can read is refused by probe and argument, and only where arguments are read', {
  skip: compilerSkip,
}, () => {
  using hooks = load({ programs: ['onPlace', 'onAny'] });
  assert.throws(
    () => hooks.programs.onPlace.attach({ usdt: target('movable', 'vector') }),
    /argument 1 of the probe probed:vector in .*movable is at “8f@%xmm0”: a floating-point number cannot be read/,
  );
  assert.throws(
    () => hooks.programs.onPlace.attach({ usdt: target('movable', 'lost') }),
    /argument 0 of the probe probed:lost .*“4@nowhere\(%rip\)”: the file has no symbol of a variable nowhere/,
  );
  using _link = hooks.programs.onAny.attach({ usdt: target('movable', 'vector'), cookie: 6n });
  spawnSync(binary('movable'));
  assert.deepEqual(
    eventsOf(hooks.maps.hits).map(({ cookie }) => cookie),
    [6n],
  );
});

test('a program that reads arguments is not attached where there are none', { skip: compilerSkip }, () => {
  using hooks = load({ programs: ['onPlace'] });
  assert.throws(
    () => hooks.programs.onPlace.attach({ uprobe: { executable: binary('movable'), function: 'main' } }),
    /program onPlace reads the arguments of a USDT probe: it is attached with \{ usdt/,
  );
});

const text = (bytes: ArrayLike<number>): string => Buffer.from(Array.from(bytes)).toString().replace(/\0.*$/s, '');

/** The system's, not one that a shell's settings put before it. */
const PYTHON = '/usr/bin/python3';

function pythonSkip(): string | false {
  if (skip !== false || !existsSync(PYTHON)) return skip || `there is no ${PYTHON}`;
  using python = new Executable(PYTHON);
  return python.usdtProbes().some(({ name }) => name === 'gc__start') ? false : 'this python3 was built without probes';
}

test('what CPython’s own probes say is read: numbers on its stack, text in its memory', { skip: pythonSkip() }, () => {
  using hooks = load({ programs: ['onImport', 'onCollect'] });
  using _import = hooks.programs.onImport.attach();
  using _collect = hooks.programs.onCollect.attach();
  const lines = ['import gc', 'gc.disable()', 'gc.collect(1)', 'gc.collect(0)', 'import antigravity_or_not'];
  spawnSync(PYTHON, ['-I', '-c', lines.join('\n')]);
  const found = new Map(eventsOf(hooks.maps.modules).map((module) => [text(module.name), module.found]));
  assert.deepEqual([found.get('gc'), found.get('antigravity_or_not')], [1, 0]);
  // Before it, the start collects; behind it, the end collects everything.
  assert.match(
    eventsOf(hooks.maps.hits)
      .map(({ place }) => place)
      .join(),
    /1,0,2/,
  );
});

const EM_X86_64 = 62;
const EM_AARCH64 = 183;

/** The arguments of a probe at address 0x1000 of a file with the variable `counter` at 0x5000. */
function parse(places: string, machine: number, isMovable = true): UsdtArgument[] {
  const variables: Readonly<Record<string, number>> = { counter: 0x5000, '.LC0': 0x5100 };
  const file = { path: '/bin/probed', machine, isMovable, variableAddress: (name: string) => variables[name] ?? null };
  const probe = { provider: 'demo', name: 'tick', offset: 0x1000, address: 0x1000, semaphoreOffset: 0 };
  return usdtArguments(file, { ...probe, arguments: places });
}

const nowhere = { displacement: 0n, base: null, index: null, scale: 0, inMemory: false, bytes: 8, signed: false };

test('operands of x86-64 are read in every form', () => {
  const register = { ax: 80, bx: 40, bp: 32, di: 112, si: 104, ip: 128, r12: 24 };
  const forms: readonly (readonly [string, Partial<UsdtArgument>])[] = [
    ['-4@%eax', { base: register.ax, bytes: 4, signed: true }],
    ['8@%r12', { base: register.r12 }],
    ['4@%r12d', { base: register.r12, bytes: 4 }],
    ['2@%r12w', { base: register.r12, bytes: 2 }],
    ['1@%r12b', { base: register.r12, bytes: 1 }],
    ['1@%dil', { base: register.di, bytes: 1 }],
    ['1@%bh', { base: register.bx + 1, bytes: 1 }],
    ['-4@%ax', { base: register.ax, bytes: 2, signed: true }],
    ['8@-1204(%rbp)', { base: register.bp, displacement: -1204n, inMemory: true }],
    ['8@0x10(%rbp)', { base: register.bp, displacement: 16n, inMemory: true }],
    ['8@8+16-4(%rbp)', { base: register.bp, displacement: 20n, inMemory: true }],
    ['4@$5', { displacement: 5n, bytes: 4 }],
    ['-8@$-9', { displacement: -9n, signed: true }],
    ['8@$0xffffffffffffffff', { displacement: -1n }],
    ['8@(%rdi,%rsi,8)', { base: register.di, index: register.si, scale: 3, inMemory: true }],
    ['8@(%rdi,%rsi)', { base: register.di, index: register.si, inMemory: true }],
    ['8@4(,%rsi,2)', { index: register.si, scale: 1, displacement: 4n, inMemory: true }],
    ['4@counter(%rip)', { base: register.ip, displacement: 0x4000n, bytes: 4, inMemory: true }],
    ['4@counter+8(%rip)', { base: register.ip, displacement: 0x4008n, bytes: 4, inMemory: true }],
    ['4@-8+counter(%rip)', { base: register.ip, displacement: 0x3ff8n, bytes: 4, inMemory: true }],
    ['8@.LC0(%rip)', { base: register.ip, displacement: 0x4100n, inMemory: true }],
    ['8@4096', { displacement: 4096n, inMemory: true }],
    ['%rax', { base: register.ax }],
  ];
  for (const [form, expected] of forms) assert.deepEqual(parse(form, EM_X86_64), [{ ...nowhere, ...expected }], form);
  const all = forms.map(([form]) => form).join(' ');
  assert.equal(parse(`  ${all} `, EM_X86_64).length, forms.length);
  assert.deepEqual(parse('', EM_X86_64), []);
  // Addresses of a file that is loaded where it says are known.
  assert.deepEqual(parse('8@$counter 8@counter+4', EM_X86_64, false), [
    { ...nowhere, displacement: 0x5000n },
    { ...nowhere, displacement: 0x5004n, inMemory: true },
  ]);
});

test('operands of arm64 are read in every form', () => {
  const forms: readonly (readonly [string, Partial<UsdtArgument>])[] = [
    ['8@x19', { base: 152 }],
    ['-4@w0', { base: 0, bytes: 4, signed: true }],
    ['8@w1', { base: 8, bytes: 4 }],
    ['8@sp', { base: 248 }],
    ['8@xzr', {}],
    ['8@lr', { base: 240 }],
    ['-4@5', { displacement: 5n, bytes: 4, signed: true }],
    ['-4@-5', { displacement: -5n, bytes: 4, signed: true }],
    ['8@#0x10', { displacement: 16n }],
    ['-4@[sp, 60]', { base: 248, displacement: 60n, bytes: 4, signed: true, inMemory: true }],
    ['8@[x29, #-16]', { base: 232, displacement: -16n, inMemory: true }],
    ['8@[x0]', { base: 0, inMemory: true }],
    ['8@[x0,x1]', { base: 0, index: 8, inMemory: true }],
    ['8@[x0, x1, lsl 3]', { base: 0, index: 8, scale: 3, inMemory: true }],
  ];
  for (const [form, expected] of forms) assert.deepEqual(parse(form, EM_AARCH64), [{ ...nowhere, ...expected }], form);
  assert.equal(parse(forms.map(([form]) => form).join(' '), EM_AARCH64).length, forms.length);
});

test('what is no form, or no place that a program can read, is refused with probe and argument', () => {
  const refusals: readonly (readonly [string, number, RegExp])[] = [
    [
      '4@%eax 8f@%rax',
      EM_X86_64,
      /^argument 1 of the probe demo:tick in \/bin\/probed is at “8f@%rax”: a floating-point number/,
    ],
    ['8@%xmm3', EM_X86_64, /argument 0 .* %xmm3 is a register of the vector or floating-point unit/],
    ['8@%rqx', EM_X86_64, /there is no general register %rqx/],
    ['16@%rax', EM_X86_64, /it has 16 bytes: 1, 2, 4 and 8 are known/],
    ['8@%fs:16(%rax)', EM_X86_64, /thread-local storage/],
    ['8@(%eax)', EM_X86_64, /%eax has 32 bits, and addresses have 64/],
    ['8@(%rax,%rbx,3)', EM_X86_64, /this form of operand is not known/],
    ['8@16(%rip)', EM_X86_64, /beside %rip is given by a symbol/],
    ['8@nothing(%rip)', EM_X86_64, /no symbol of a variable nothing/],
    ['8@counter@GOTPCREL(%rip)', EM_X86_64, /no symbol of a variable counter@GOTPCREL/],
    ['8@-counter(%rip)', EM_X86_64, /-counter is no address/],
    ['8@$counter', EM_X86_64, /the address counter is not known before the file is loaded/],
    ['8@1 + 2', EM_X86_64, /argument 1 .* “\+”: \+ is no number and no symbol/],
    ['8@5(%rax', EM_X86_64, /this form of operand is not known/],
    ['8@', EM_X86_64, /argument 0/],
    ['8@x31', EM_AARCH64, /there is no general register x31/],
    ['8@d0', EM_AARCH64, /vector or floating-point unit/],
    ['8@[w0]', EM_AARCH64, /w0 has 32 bits/],
    ['8@[x0, w1, sxtw 3]', EM_AARCH64, /this form of operand is not known/],
    ['8@[x0], 8', EM_AARCH64, /this form of operand is not known/],
    ['8@a0', 243, /ELF machine 243\) whose USDT arguments are not known/],
  ];
  for (const [form, machine, message] of refusals) {
    assert.throws(() => parse(form, machine), { name: 'ProbeError', message }, form);
  }
});

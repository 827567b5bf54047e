/**
 * The arguments of USDT probes: where they lie is read from the notes of a binary, and one compiled program takes them from wherever that is.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import type { KernelMap } from '../../src/bpf/index.ts';
import { decoded, RingBufferReader } from '../../src/bpf/loader/ring-buffer.ts';
import { hooksOf } from '../support/bpf-hooks.ts';
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

/** Everything that is in a ring buffer. */
function eventsOf<T>(map: KernelMap<undefined, T>): T[] {
  const events: T[] = [];
  using reader = new RingBufferReader(
    map,
    decoded(map.codecs.value, (event) => events.push(event)),
  );
  reader.read();
  return events;
}

const signed = (value: bigint): bigint => BigInt.asIntN(64, value);

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

test('an argument can be asked for by a number that is not known before; beyond the last it is 0', {
  skip: compilerSkip,
}, () => {
  using hooks = load({ programs: ['onMany'] });
  using _link = hooks.programs.onMany.attach({ usdt: target('movable', 'many') });
  spawnSync(binary('movable'));
  const sum = Array.from({ length: 12 }, (_, index) => BigInt(index + 1)).reduce((all, one) => all * 2n + one, 0n);
  assert.deepEqual(
    eventsOf(hooks.maps.hits).map(({ count, value, cookie }) => [count, value, cookie]),
    [[12, sum, 0n]],
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

test('a table without room says how to make it larger, and a failed attachment leaves nothing in it', {
  skip: compilerSkip,
}, () => {
  // Row 0 is nobody's: 16 rows hold 15 places, and the probe has 16.
  using hooks = load({ programs: ['onPlace', 'onMany'], maxEntries: { usdt_sites: 16 } as object });
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

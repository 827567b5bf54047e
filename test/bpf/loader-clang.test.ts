/**
 * An object that clang made, loaded and run: everything that one asks of a loader (`fixtures/everything.bpf.c`).
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { type Collection, loadObject } from '../../src/bpf/loader/collection.ts';
import { kernelConfig } from '../../src/bpf/loader/kernel-config.ts';
import type { KernelMap } from '../../src/bpf/loader/map.ts';
import { RingBufferReader } from '../../src/bpf/loader/ring-buffer.ts';
import { readElf } from '../../src/bpf/object/elf/read.ts';
import type { ObjectSpec } from '../../src/bpf/object/spec.ts';
import { call, SYS } from '../../src/kernel/syscall.ts';
import { kernelSkip } from '../support/bpf-kernel.ts';

const source = new URL('fixtures/everything.bpf.c', import.meta.url).pathname;

function compileWithClang(): ObjectSpec | string {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-clang-'));
  try {
    const output = join(directory, 'everything.bpf.o');
    const words = ['-g', '-O2', '-target', 'bpf', '-D__TARGET_ARCH_x86', '-I/usr/include/x86_64-linux-gnu'];
    const { status, stderr, error } = spawnSync('clang', [...words, '-c', source, '-o', output], { encoding: 'utf8' });
    if (error !== undefined) return 'clang is not here';
    if (status !== 0) return `clang cannot compile it (libbpf-dev is needed): ${stderr.split('\n')[0]}`;
    return readElf(readFileSync(output));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const object = kernelSkip === false ? compileWithClang() : kernelSkip;
const skip = typeof object === 'string' ? object : false;

function load(): Collection {
  assert.ok(typeof object !== 'string');
  return loadObject(object, { constants: { factor: 6, process: process.pid } });
}

test('maps in maps and prog arrays are filled as the object says', { skip }, () => {
  using collection = load();
  assert.equal(collection.maps.outer.get(1), collection.maps.second.info().id);
  const XDP_TX = 3;
  assert.equal(collection.programs.jumping.testRun({ data: new Uint8Array(64) }).result, XDP_TX);
});

test('a traced event reaches globals, inner maps and the ring buffer', { skip }, async () => {
  using collection = load();
  const { promise, resolve } = Promise.withResolvers<number>();
  using _reader = new RingBufferReader(collection.maps.events as unknown as KernelMap, (view, offset) =>
    resolve(view.getInt32(offset, true)),
  );
  {
    using _link = collection.programs.switched.attach();
    for (let round = 0; round < 20; round++) call(SYS.poll, 0, 0, 1);
    assert.equal(await promise, process.pid, 'where the kernel has pid, not where the source says');
  }
  const value = (name: string): unknown => collection.globals[name].value;
  assert.equal(value('hz'), BigInt(kernelConfig()?.get('CONFIG_HZ') ?? 0));
  assert.equal(value('missing'), 0n);
  assert.equal(value('sum'), 45n);
  assert.equal(value('seen'), 42);
  const address = /^([\da-f]+) T tcp_sendmsg$/m.exec(readFileSync('/proc/kallsyms', 'latin1'))?.[1];
  assert.equal(value('symbol'), BigInt(`0x${address}`));
  assert.ok((collection.maps.second.get(0) as bigint) > 10n);
});

test('its congestion control is registered as long as its link is', { skip }, () => {
  const available = (): string => readFileSync('/proc/sys/net/ipv4/tcp_available_congestion_control', 'latin1');
  using collection = load();
  {
    using _link = collection.attachStruct('control');
    assert.match(available(), /millrace_clang/);
  }
  assert.doesNotMatch(available(), /millrace_clang/);
});

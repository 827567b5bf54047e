/**
 * What TypeScript knows of programs: narrowing, inference for user space, and the mistakes that it catches. The lines with
 * `@ts-expect-error` are the test: one that were no mistake any more would be an error of `tsc`, which a test here runs.
 *
 * A newcomer would get wrong: nothing in `mistakes` is called. Only its types are looked at.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  array,
  atomicAdd,
  bpf_map_lookup_elem,
  bpf_spin_lock,
  Ethernet,
  equal,
  type GlobalsOf,
  hash,
  Ipv4,
  type KeyOf,
  local,
  type MapsOf,
  type ProgramsOf,
  packet,
  readOnly,
  struct,
  u8,
  u16,
  u32,
  u64,
  type ValueOf,
  XDP_PASS,
  type xdp_md,
} from '../../../src/bpf/library/index.ts';
import * as drop from '../programs/sample-drop.bpf.ts';
import type * as latency from '../programs/sample-latency.bpf.ts';
import * as maps from '../programs/sample-maps.bpf.ts';
import type * as services from '../programs/sample-services.bpf.ts';
import * as sockets from '../programs/sample-sockets.bpf.ts';
import * as tracing from '../programs/sample-tracing.bpf.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** `true` where the types are the same, to the last modifier. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

const mapNames = new Set(['peers', 'listeners', 'workers', 'control']);

/** Compiles only where the type is `true`. */
function holds<_T extends true>(): void {}

test('maps, programs and globals of a module are known from its type', () => {
  type Drop = typeof drop;
  holds<Same<keyof MapsOf<Drop>, 'blocked'>>();
  holds<Same<MapsOf<Drop>['blocked']['key'], number>>();
  holds<Same<MapsOf<Drop>['blocked']['value'], bigint>>();
  holds<Same<keyof ProgramsOf<Drop>, 'filter'>>();
  holds<Same<ProgramsOf<Drop>['filter']['hook'], 'xdp'>>();
  holds<Same<keyof GlobalsOf<Drop>, never>>();

  type Maps = typeof maps;
  holds<Same<keyof GlobalsOf<Maps>, 'limit' | 'seen' | 'total'>>();
  holds<Same<GlobalsOf<Maps>['limit']['value'], number>>();
  holds<Same<GlobalsOf<Maps>['limit']['readOnly'], true>>();
  holds<Same<GlobalsOf<Maps>['seen']['readOnly'], false>>();
  holds<Same<keyof ProgramsOf<Maps>, 'observe' | 'remember' | 'forward'>>();
  assert.equal(drop.filter.hook, 'xdp');
  assert.equal(maps.seen.value, 0n);
});

test('keys and values are plain objects in user space', () => {
  type Flows = typeof maps.flows;
  holds<Same<KeyOf<Flows>, { source: number; destination: number; port: number; protocol: number }>>();
  holds<Same<ValueOf<Flows>, { packets: bigint; bytes: bigint; sizes: number[] }>>();
  holds<Same<ValueOf<typeof maps.events>['flow'], KeyOf<Flows>>>();
  holds<Same<KeyOf<typeof maps.events>, undefined>>();
  holds<Same<ValueOf<typeof maps.stacks>, bigint[]>>();
  holds<Same<ValueOf<typeof maps.tenants>['value'], bigint>>();
  holds<Same<ValueOf<typeof maps.ports>, number>>();
  holds<Same<ValueOf<typeof sockets.peers>, unknown>>();
  holds<Same<ValueOf<typeof latency.started>, bigint>>();
  holds<Same<ValueOf<typeof services.buckets>['lock'], { val?: number }>>();
  assert.equal(maps.flows.key.size, 12);
  assert.equal(maps.flows.value.size, 32);
});

test('a module of programs describes itself when it is imported', () => {
  assert.deepEqual(
    Object.entries(sockets).map(([name, { kind }]) => `${kind} ${name}`),
    Object.keys(sockets).map((name) => `${mapNames.has(name) ? 'map' : 'program'} ${name}`),
  );
  assert.equal(tracing.onSwitch.target, 'sched_switch');
  assert.equal(tracing.guard.type, 'lsm');
  assert.equal(sockets.control.target, 'tcp_congestion_ops');
});

const Flow = struct({ port: u16, bytes: u64 });
const flows = hash({ key: u32, value: Flow, maxEntries: 1 });
export const named = readOnly(struct({ name: array(u8, 8), words: array(u32, 4) }), { name: 'text', words: [1, 2] });
const numbers = hash({ key: u64, value: u32, maxEntries: 1, pin: 'byName' });

export function mistakes(context: xdp_md): number {
  const ip = packet(context, Ipv4, Ethernet.size);
  // @ts-expect-error the packet may end before
  let sum = ip.source;
  if (ip === null) return XDP_PASS;
  sum += ip.totalLength;
  // @ts-expect-error Ipv4 has no such field
  sum += ip.ttl;

  const flow = flows.lookup(ip.source);
  // @ts-expect-error there may be none
  flow.bytes += 1n;
  if (flow === null) return XDP_PASS;
  // @ts-expect-error 64 bits are a bigint
  flow.bytes += 1;
  // @ts-expect-error 16 bits are a number
  flow.port = 80n;
  // @ts-expect-error the key is a number
  flows.lookup(1n);
  // @ts-expect-error the key is a bigint
  numbers.lookup(1);
  // @ts-expect-error a field is missing
  flows.update(1, { port: 80 });
  // @ts-expect-error the value of u32 is reached through `value`
  sum += numbers.lookup(1n) ?? 0;
  // @ts-expect-error the field holds a bigint
  atomicAdd(flow, 'bytes', 1);
  // @ts-expect-error no such field
  atomicAdd(flow, 'packets', 1n);
  // @ts-expect-error there is one way of pinning
  hash({ key: u32, value: u64, maxEntries: 1, pin: 'byPath' });
  // @ts-expect-error a context's field that no program may write
  context.ingress_ifindex = 2;
  // @ts-expect-error where the packet begins is no number
  sum += context.data + 14;
  // @ts-expect-error nor is its end
  sum += context.data_end - 14;
  // @ts-expect-error the two are compared by packet() alone
  if (context.data < context.data_end) return XDP_PASS;
  // @ts-expect-error bytes are compared by equal()
  if (equal(sum, 1)) return XDP_PASS;
  // @ts-expect-error text stands for an array of bytes, not for a number
  local(Flow, { port: 'x' });
  // @ts-expect-error a lock is no number
  bpf_spin_lock(1);
  // @ts-expect-error the wrong key, by the helper's own name
  bpf_map_lookup_elem(numbers, 1);
  // @ts-expect-error what is not a context has no packet
  packet(flow, Ipv4, 0);
  const zero = local(Flow, { port: 1 });
  // @ts-expect-error numbers and bigints do not mix without a conversion
  return zero.bytes + sum;
}

/** Files that are compiled by themselves: this one and the samples, which it imports. */
function check(text?: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-types-'));
  try {
    const extra = join(directory, 'extra.ts');
    if (text !== undefined) writeFileSync(extra, text);
    const files = text === undefined ? [fileURLToPath(import.meta.url)] : [extra];
    const compilerOptions = { typeRoots: [join(root, 'node_modules/@types')], composite: false, incremental: false };
    const config = join(directory, 'tsconfig.json');
    writeFileSync(
      config,
      JSON.stringify({ extends: join(root, 'tsconfig.json'), compilerOptions, files, include: [] }),
    );
    const run = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', config], { encoding: 'utf8', cwd: root });
    assert.equal(run.error, undefined);
    return run.stdout;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('sample programs type-check, and each mistake above is one', () => {
  assert.equal(check(), '');
});

test('a mistake in a program is an error of tsc', () => {
  const library = join(root, 'src/bpf/library/index.ts');
  const errors = check(`import { hash, u32, u64 } from '${library}';
export const hits = hash({ key: u32, value: u64, maxEntries: 1 });
export const wrong = () => hits.lookup(1).value;
`);
  assert.match(errors, /extra\.ts\(3,\d+\): error TS2531: Object is possibly 'null'/);
});

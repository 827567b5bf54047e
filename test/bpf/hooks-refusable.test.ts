/**
 * Programs in TypeScript of the kinds that some kernels refuse: each acts, or its refusal says why and agrees with what `kernelFeatures`
 * says. And a list: every kind of program and map of the language is used by one of the hook tests.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { after, before, type TestContext } from 'node:test';
import { catalogue } from '../../src/bpf/library/catalogue.ts';
import type { Feature } from '../../src/bpf/loader/feature.ts';
import { type KernelFeatures, kernelFeatures } from '../../src/bpf/loader/features.ts';
import { kernelConfig } from '../../src/bpf/loader/kernel-config.ts';
import { AttachError, type AttachTarget } from '../../src/bpf/loader/links/attach.ts';
import { ProbeError } from '../../src/bpf/loader/links/executable.ts';
import { KernelError } from '../../src/kernel/error.ts';
import { call, SYS } from '../../src/kernel/syscall.ts';
import { hooksOf } from '../support/bpf-hooks.ts';
import {
  cgroup,
  inCgroup,
  mounted,
  type Namespace,
  namespace,
  type Place,
  run,
  kernelSkip as skip,
} from '../support/bpf-kernel.ts';
import { udp } from '../support/bpf-sockets.ts';

type Module = typeof import('./hooks/refusable.bpf.ts');
const load = hooksOf<Module>('refusable');
type Name = NonNullable<NonNullable<Parameters<typeof load>[0]>['programs']>[number];

let features: KernelFeatures;
let group: Place;
let net: Namespace;

before(() => {
  if (skip !== false) return;
  features = kernelFeatures();
  group = cgroup();
  net = namespace();
});
after(() => {
  net?.[Symbol.dispose]();
  group?.[Symbol.dispose]();
});

/** Tries something; what the kernel, or what is missing of it, says against it. */
function refusalOf(what: () => void): string | null {
  try {
    what();
    return null;
  } catch (error) {
    const isRefusal = error instanceof KernelError || error instanceof ProbeError || error instanceof AttachError;
    if (!isRefusal) throw error;
    return error.message;
  }
}

/** It works where the kernel says that it has it; where not, the refusal and the reason are reported. */
function agrees(context: TestContext, name: string, { available, reason }: Feature, refusal: string | null): void {
  if (refusal === null) {
    assert.equal(available, true, `${name} works, though: ${reason}`);
    return;
  }
  assert.equal(available, false, `${name} should work here: ${refusal}`);
  assert.ok(reason !== null && reason.length > 20 && refusal.length > 20);
  context.diagnostic(`${name} is refused here: ${refusal} (${reason})`);
}

function poll(): void {
  for (let round = 0; round < 5; round++) call(SYS.poll, 0, 0, 0);
}

/** Loads a program, attaches it, lets its event happen, and wants it to have run. */
function acts(name: Name, target: AttachTarget, event: () => void): void {
  using hooks = load({ programs: [name] });
  using _link = hooks.programs[name].attach(target);
  event();
  assert.ok(hooks.globals.hits.value > 0n, `${name} did not run`);
}

const hasDevice = (): boolean => existsSync('/sys/bus/event_source/devices/kprobe');
const kprobes = (): Feature =>
  hasDevice() ? features.programs.kprobe : { available: false, reason: 'this kernel has no probes of its functions' };

const cases: readonly (readonly [Name, () => Feature, () => AttachTarget, () => void])[] = [
  ['entry', () => features.tracing.trace_fentry, () => ({}), poll],
  ['entrySleepable', () => features.tracing.trace_fentry, () => ({}), poll],
  ['exit', () => features.tracing.trace_fexit, () => ({}), poll],
  ['exitSleepable', () => features.tracing.trace_fexit, () => ({}), poll],
  ['modify', () => features.tracing.modify_return, () => ({}), poll],
  ['modifySleepable', () => features.tracing.modify_return, () => ({}), poll],
  ['onOpen', () => features.programs.lsm, () => ({}), () => readFileSync('/proc/self/comm')],
  ['onOpenSleepable', () => features.programs.lsm, () => ({}), () => readFileSync('/proc/self/comm')],
  [
    'onSocket',
    () => features.programs.lsm,
    () => ({ cgroup: group.path }),
    () => inCgroup(group.path, () => udp('ipv4')[Symbol.dispose]()),
  ],
  ['probe', kprobes, () => ({}), poll],
  ['probeReturn', kprobes, () => ({}), poll],
  ['probeMany', () => features.links.kprobe_multi, () => ({}), poll],
  ['probeManyReturns', () => features.links.kprobe_multi, () => ({}), poll],
];

for (const [name, feature, target, event] of cases) {
  test(`${name}: a program that needs more of the kernel acts, or its refusal says why`, { skip }, (context) => {
    const refusal = refusalOf(() => acts(name, target(), event));
    agrees(context, name, feature(), refusal);
  });
}

test('a program takes the place of another’s function, or the refusal says why', { skip }, (context) => {
  using hooks = load({ programs: ['answer'] });
  const { answer } = hooks.programs;
  const packet = { data: new Uint8Array(64) };
  assert.equal(answer.testRun(packet).result, 7);
  const refusal = refusalOf(() => {
    using replacing = load({ programs: ['replacement'], attachTo: { replacement: answer } });
    using _link = replacing.programs.replacement.attach();
    assert.equal(answer.testRun(packet).result, 8);
  });
  assert.equal(answer.testRun(packet).result, 7);
  agrees(context, 'replacement', features.programs.ext, refusal);
});

test('netkit devices take programs, or the refusal says why', { skip }, (context) => {
  const unmade = refusalOfCommand(() =>
    run('ip', '-n', net.name, 'link', 'add', 'kit', 'type', 'netkit', 'peer', 'name', 'other'),
  );
  if (unmade !== null && features.links.netkit.available) {
    context.skip(`no netkit device can be made: ${unmade}`);
    return;
  }
  const refusal = refusalOf(() => {
    if (unmade !== null) throw new ProbeError(`no netkit device can be made: ${unmade}`);
    net.inside(() => {
      for (const device of ['kit', 'other']) net.run('ip', 'link', 'set', device, 'up');
      for (const name of ['primary', 'peer'] as const) {
        using hooks = load({ programs: [name] });
        using _link = hooks.programs[name].attach({ interface: 'kit' });
        const [from, to] = name === 'primary' ? ['kit', '192.0.2.2'] : ['other', '192.0.2.3'];
        refusalOfCommand(() => net.run('ping', '-c', '1', '-W', '0.1', '-I', from, to));
        assert.ok(hooks.globals.hits.value > 0n, name);
      }
    });
  });
  agrees(context, 'netkit', features.links.netkit, refusal);
});

function refusalOfCommand(command: () => void): string | null {
  try {
    command();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

test('an action of tc runs a program, or the refusal says why', { skip }, (context) => {
  using place = mounted('bpf');
  using hooks = load({ programs: ['act'] });
  const path = join(place.path, 'act');
  hooks.programs.act.pin(path);
  net.run('tc', 'qdisc', 'replace', 'dev', 'lo', 'clsact');
  const filter = ['filter', 'add', 'dev', 'lo', 'egress', 'protocol', 'ip', 'u32', 'match', 'u32', '0', '0'];
  const refused = refusalOfCommand(() => net.run('tc', ...filter, 'action', 'bpf', 'object-pinned', path));
  const hasActions = kernelConfig()?.has('CONFIG_NET_ACT_BPF') !== false;
  const reason = hasActions ? null : 'it needs CONFIG_NET_ACT_BPF, which is not set in this kernel';
  agrees(context, 'act', { available: hasActions, reason }, refused);
  if (refused !== null) return;
  net.run('ping', '-c', '1', '-W', '2', '127.0.0.1');
  assert.ok(hooks.globals.hits.value > 0n);
});

/** The sources of all hooks in one text. */
function sources(): string {
  const folder = join(import.meta.dirname, 'hooks');
  const files = readdirSync(folder).filter((name) => name.endsWith('.bpf.ts'));
  return files.map((name) => readFileSync(join(folder, name), 'utf8')).join('\n');
}

test('every kind of program and of map that the language has is in one of the hooks', () => {
  const text = sources();
  const missing = [...catalogue.values()].filter((one) => {
    const isMap = one.kind === 'map' || (one.kind === 'intrinsic' && one.map !== undefined);
    return (one.kind === 'program' || isMap) && !new RegExp(`^export const \\w+ = ${one.name}\\(`, 'm').test(text);
  });
  assert.deepEqual(
    missing.map(({ name }) => name),
    [],
  );
});

test('every program type that this kernel has is one that the language has a constructor for', { skip }, () => {
  const types = new Set([...catalogue.values()].flatMap((one) => (one.kind === 'program' ? [one.type] : [])));
  const others = Object.entries(features.programs).filter(([type, { available }]) => available && !types.has(type));
  assert.deepEqual(
    others.map(([type]) => type),
    [],
  );
});

/**
 * Each kind of link that the kernel has is made from a program in TypeScript, says of itself what it is, and goes with its handle; of
 * each that it does not have the reason is reported.
 */
import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import test, { after, before, type TestContext } from 'node:test';
import type { Feature } from '../../src/bpf/loader/feature.ts';
import { tracingFeature } from '../../src/bpf/loader/features.ts';
import { idsOf } from '../../src/bpf/loader/info.ts';
import { linkFeature } from '../../src/bpf/loader/link-features.ts';
import type { AttachTarget } from '../../src/bpf/loader/links/attach.ts';
import { type Attachment, Link } from '../../src/bpf/loader/links/link.ts';
import { LINK_TYPES, type LinkTypeName } from '../../src/kernel/bpf-names.ts';
import { KernelError } from '../../src/kernel/error.ts';
import { mountsOf } from '../../src/kernel/mounts.ts';
import { hooksOf } from '../support/bpf-hooks.ts';
import { cgroup, mounted, type Namespace, namespace, type Place, kernelSkip as skip } from '../support/bpf-kernel.ts';

const congestion = hooksOf<typeof import('./hooks/congestion.bpf.ts')>('congestion');
const groups = hooksOf<typeof import('./hooks/cgroup.bpf.ts')>('cgroup');
const packets = hooksOf<typeof import('./hooks/packets.bpf.ts')>('packets');
const refusable = hooksOf<typeof import('./hooks/refusable.bpf.ts')>('refusable');
const sockets = hooksOf<typeof import('./hooks/sockets.bpf.ts')>('sockets');
const tracing = hooksOf<typeof import('./hooks/tracing.bpf.ts')>('tracing');
const xdp = hooksOf<typeof import('./hooks/xdp.bpf.ts')>('xdp');

const PATIENCE_MS = 20_000;

let group: Place;
let net: Namespace;
let tracefs: Place | null = null;

before(() => {
  if (skip !== false) return;
  group = cgroup();
  net = namespace();
  if (mountsOf('tracefs').length === 0) tracefs = mounted('tracefs');
});
after(() => {
  tracefs?.[Symbol.dispose]();
  net?.[Symbol.dispose]();
  group?.[Symbol.dispose]();
});

/** A program of an object, attached within the namespace; the object goes with `stack`. */
function attached<N extends string>(
  stack: DisposableStack,
  load: (options: { readonly programs: readonly N[] }) => Disposable & {
    readonly programs: Readonly<Record<N, { attach(target: AttachTarget): Attachment }>>;
  },
  name: N,
  target: AttachTarget = {},
): Attachment {
  const hooks = stack.use(load({ programs: [name] }));
  return net.inside(() => hooks.programs[name].attach(target));
}

/** Names of congestion controls are the whole machine's: while another test has it, this one waits. */
function registered(object: ReturnType<typeof congestion>): Attachment {
  for (const endMs = performance.now() + PATIENCE_MS; ; ) {
    try {
      return object.attachStruct('reno');
    } catch (error) {
      if (!(error instanceof KernelError && error.code === 'EEXIST') || performance.now() > endMs) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}

/** How a link of each kind is made. */
const makers: Record<LinkTypeName, (stack: DisposableStack) => Attachment> = {
  raw_tracepoint: (stack) => attached(stack, tracing, 'onCall'),
  tracing: (stack) => attached(stack, refusable, 'entry'),
  cgroup: (stack) => attached(stack, groups, 'onCreate', { cgroup: group.path }),
  iter: (stack) => attached(stack, tracing, 'listTcp'),
  netns: (stack) => attached(stack, sockets, 'takeRange', { namespace: net.path }),
  xdp: (stack) => attached(stack, xdp, 'dropPorts', { interface: 'lo' }),
  perf_event: (stack) => attached(stack, tracing, 'onState'),
  kprobe_multi: (stack) => attached(stack, refusable, 'probeMany'),
  struct_ops: (stack) => registered(stack.use(congestion())),
  netfilter: (stack) =>
    attached(stack, packets, 'filterPackets', { netfilter: { family: 'ipv4', hook: 'localIn', priority: -1 } }),
  tcx: (stack) => attached(stack, packets, 'count', { interface: 'lo' }),
  uprobe_multi: (stack) =>
    attached(stack, tracing, 'onBoth', { uprobes: { executable: 'libc.so.6', functions: ['getpid', 'getppid'] } }),
  netkit(stack) {
    net.run('ip', 'link', 'add', 'kit', 'type', 'netkit', 'peer', 'name', 'other');
    return attached(stack, refusable, 'primary', { interface: 'kit' });
  },
  sockmap(stack) {
    const hooks = stack.use(sockets({ programs: ['judge'] }));
    return hooks.programs.judge.attach({ map: hooks.maps.sockets });
  },
};

/** A kind of link needs a program for it, too: all that make a `tracing` link may be refused. */
function featureOf(kind: LinkTypeName): Feature {
  const feature = linkFeature(kind);
  return feature.available && kind === 'tracing' ? tracingFeature('trace_fentry') : feature;
}

function make(context: TestContext, kind: LinkTypeName): void {
  const { available, reason } = featureOf(kind);
  if (!available) {
    assert.ok(reason !== null && reason.length > 20);
    context.diagnostic(`no ${kind} links here: ${reason}`);
    return;
  }
  using stack = new DisposableStack();
  const link = makers[kind](stack);
  assert.ok(link instanceof Link, `${kind}: ${link.kind} is no link`);
  const { type, id } = link.info();
  assert.equal(type, kind);
  assert.ok([...idsOf('link')].includes(id));
  link[Symbol.dispose]();
  assert.ok(![...idsOf('link')].includes(id), 'it goes with its handle');
}

for (const kind of Object.keys(LINK_TYPES) as LinkTypeName[]) {
  test(`a link of the kind ${kind} is made, or the reason is said`, { skip }, (context) => make(context, kind));
}

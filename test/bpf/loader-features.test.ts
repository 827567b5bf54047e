/**
 * What the kernel has, and why something is missing. Prints the list.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import test from 'node:test';
import { ATTACHMENTS, attachFeatures } from '../../src/bpf/loader/attach-features.ts';
import type { Feature } from '../../src/bpf/loader/feature.ts';
import { helperFeature, kernelFeatures, mapFeature } from '../../src/bpf/loader/features.ts';
import { LINK_TYPES, MAP_TYPES, PROGRAM_TYPES } from '../../src/kernel/bpf-names.ts';
import { kernelSkip as skip } from '../support/bpf-kernel.ts';

const AVAILABLE: Feature = { available: true, reason: null };

function listOf(features: Readonly<Record<string, Feature>>): string[] {
  return Object.entries(features).map(([name, { available, reason }]) => `${name}: ${available ? 'yes' : reason}`);
}

test('every type is asked for, and each that is missing has a reason', { skip }, (context) => {
  const features = kernelFeatures();
  assert.deepEqual(Object.keys(features.programs), Object.keys(PROGRAM_TYPES));
  assert.deepEqual(Object.keys(features.maps), Object.keys(MAP_TYPES));
  assert.deepEqual(Object.keys(features.links), Object.keys(LINK_TYPES));
  for (const type of ['socket_filter', 'xdp', 'sched_cls', 'cgroup_skb', 'sk_lookup', 'tracepoint'] as const) {
    assert.deepEqual(features.programs[type], { available: true, reason: null }, type);
  }
  for (const type of ['hash', 'lpm_trie', 'ringbuf', 'array_of_maps', 'sk_storage', 'queue'] as const) {
    assert.deepEqual(features.maps[type], { available: true, reason: null }, type);
  }
  for (const kind of ['programs', 'tracing', 'maps', 'links'] as const) {
    for (const { available, reason } of Object.values(features[kind])) assert.equal(available, reason === null);
    for (const line of listOf(features[kind])) context.diagnostic(`${kind} ${line}`);
  }
});

test('what loads and what can be attached are told apart, each lack with its reason', { skip }, (context) => {
  const features = attachFeatures();
  assert.deepEqual(Object.keys(features), ATTACHMENTS);
  for (const { available, reason } of Object.values(features)) assert.equal(available, reason === null);
  for (const line of listOf(features)) context.diagnostic(`attached ${line}`);
  for (const name of ['rawTracepoint', 'perfEvent'] as const) assert.deepEqual(features[name], AVAILABLE, name);
  // The kernel lists what it can open events of; programs of the type load all the same.
  for (const [name, device] of [
    ['kprobe', 'kprobe'],
    ['uprobe', 'uprobe'],
  ] as const) {
    assert.equal(kernelFeatures().programs.kprobe.available, true);
    if (existsSync(`/sys/bus/event_source/devices/${device}`)) {
      assert.deepEqual(features[name], AVAILABLE);
    } else {
      assert.match(
        features[name].reason ?? '',
        new RegExp(`^this kernel has no ${device}s .* is missing\\): CONFIG_[KU]PROBE_EVENTS is needed$`),
      );
    }
  }
  // A hook for which nothing loads has nothing to attach either, for the same reason.
  const { trace_fentry } = kernelFeatures().tracing;
  if (!trace_fentry.available) assert.deepEqual(features.fentry, trace_fentry);
});

test('asking what can be attached leaves nothing attached', { skip }, () => {
  // Links and programs live as long as their descriptors do.
  const before = readdirSync('/proc/self/fd').length;
  attachFeatures();
  assert.equal(readdirSync('/proc/self/fd').length, before);
});

test('helpers are known by program type', { skip }, () => {
  const bpf_map_lookup_elem = 1;
  const bpf_xdp_adjust_head = 44;
  const bpf_skb_store_bytes = 9;
  assert.equal(helperFeature('xdp', bpf_map_lookup_elem).available, true);
  assert.equal(helperFeature('xdp', bpf_xdp_adjust_head).available, true);
  assert.equal(helperFeature('sched_cls', bpf_skb_store_bytes).available, true);
  assert.match(
    helperFeature('xdp', bpf_skb_store_bytes).reason ?? '',
    /programs of type xdp cannot call helper 9 here/,
  );
  assert.equal(helperFeature('xdp', 99_999).available, false);
});

test('without privileges each reason names the privilege', {
  skip: process.getuid?.() === 0 ? false : 'only root can give privileges up',
}, () => {
  const script = `
    import { kernelFeatures } from ${JSON.stringify(new URL('../../src/bpf/loader/features.ts', import.meta.url).href)};
    process.setgroups([]);
    process.setgid(65534);
    process.setuid(65534);
    const { programs, maps, links } = kernelFeatures();
    console.log(JSON.stringify([programs.xdp, maps.ringbuf, links.xdp]));
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  const [program, map, link] = JSON.parse(stdout || `"${stderr}"`) as Feature[];
  assert.match(program.reason ?? '', /program type xdp: EPERM; CAP_BPF is needed/);
  assert.match(map.reason ?? '', /map type ringbuf: EPERM; CAP_BPF is needed/);
  // Kinds of links are found in the kernel's types, which everybody may read.
  assert.equal(link.available, true);
});

test('asking leaves nothing open', { skip }, () => {
  const before = readdirSync('/proc/self/fd').length;
  for (const type of ['array_of_maps', 'struct_ops', 'task_storage'] as const) mapFeature(type);
  assert.equal(readdirSync('/proc/self/fd').length, before);
});

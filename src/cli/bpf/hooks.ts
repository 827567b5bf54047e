/**
 * Room `cli`: hooks as the command line writes them, for `--attach program=hook`: what the text means depends on the program's type.
 */

import type { AttachTarget } from '../../bpf/loader/links/attach.ts';
import type { ProgramKind } from '../../bpf/object/spec.ts';
import { UsageError } from './report.ts';

const families = ['ipv4', 'ipv6'] as const;
const netfilterHooks = ['preRouting', 'localIn', 'forward', 'localOut', 'postRouting'] as const;

function oneOf<T extends string>(text: string | undefined, allowed: readonly T[], setting: string): T {
  const found = allowed.find((one) => one === text);
  if (found === undefined) throw new UsageError(`--attach ${setting}: ${allowed.join(', ')} are allowed`);
  return found;
}

/** An interface's name or index. */
function interfaceOf(hook: string): string | number {
  return /^\d+$/.test(hook) ? Number(hook) : hook;
}

function tcTarget(kind: ProgramKind, hook: string, setting: string): AttachTarget {
  const [name, direction = 'ingress'] = hook.split(',');
  if (kind.attachType !== null) return { interface: interfaceOf(name) };
  const way = oneOf(direction, ['ingress', 'egress'], setting);
  return { interface: interfaceOf(name), attachType: `tcx_${way}` };
}

/** Types whose hook is a cgroup. */
const ofCgroups: ReadonlySet<string> = new Set([
  'cgroup_skb',
  'cgroup_sock',
  'cgroup_sock_addr',
  'cgroup_sockopt',
  'cgroup_sysctl',
  'cgroup_device',
  'sock_ops',
]);

/**
 * The target that `hook` names for a program of this kind.
 * @throws UsageError for a hook that is missing or not one
 */
export function targetOf(kind: ProgramKind, hook: string, setting: string): AttachTarget {
  const { type } = kind;
  const need = (what: string): string => {
    if (hook !== '') return hook;
    throw new UsageError(`--attach ${setting}: ${what} is wanted behind the =`);
  };
  if (type === 'xdp') return { interface: interfaceOf(need('an interface')) };
  if (type === 'sched_cls') return tcTarget(kind, need('an interface'), setting);
  if (ofCgroups.has(type) || kind.attachType === 'lsm_cgroup') return { cgroup: need('a cgroup') };
  if (type === 'sk_lookup' || type === 'flow_dissector') {
    return hook === '' || hook === 'self' ? {} : { namespace: hook };
  }
  if (type === 'netfilter') {
    const [family, name, priority] = need('family:hook[:priority]').split(':');
    const place = { family: oneOf(family, families, setting), hook: oneOf(name, netfilterHooks, setting) };
    if (priority === undefined) return { netfilter: place };
    if (!/^-?\d+$/.test(priority)) throw new UsageError(`--attach ${setting}: the priority is a whole number`);
    return { netfilter: { ...place, priority: Number(priority) } };
  }
  if (kind.section.startsWith('usdt') && hook !== '') {
    const [, executable, provider, name] = /^(.+):([^:]+):([^:]+)$/.exec(hook) ?? [];
    if (name === undefined) throw new UsageError(`--attach ${setting}: a USDT probe is file:provider:name`);
    return { usdt: { executable, provider, name } };
  }
  if (type === 'kprobe' && hook !== '') {
    const at = hook.lastIndexOf(':');
    if (at === -1) return { kprobe: { function: hook } };
    return { uprobe: { executable: hook.slice(0, at), function: hook.slice(at + 1) } };
  }
  if (hook !== '') throw new UsageError(`--attach ${setting}: the hook of a program of type ${type} is in the object`);
  return {};
}

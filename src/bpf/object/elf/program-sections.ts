/**
 * Room `bpf`: what the name of an ELF section says of the programs in it, by libbpf's rules
 * (https://docs.kernel.org/bpf/libbpf/program_types.html).
 *
 * A newcomer would get wrong: a name that no rule knows is not an error here. Its program is of type `unspec`, and whoever loads it has
 * to say what it is.
 */
import { BPF_F_XDP_HAS_FRAGS as FRAGS, BPF_F_SLEEPABLE as SLEEPABLE } from '../../../kernel/bpf-attributes.ts';
import type { ProgramKind } from '../spec.ts';

/** `+` behind a name: a slash and the hook may follow. */
type Rule = readonly [section: string, type: string, attachType: string | null, flags?: number];

const hook = (names: readonly string[], type: string, attachType: string | null, flags = 0): Rule[] =>
  names.map((name) => [`${name}+`, type, attachType, flags] as const);

/** cgroup/connect4 and kin: calls of sockets by address family. */
const socketAddressRules = ['bind', 'connect', 'sendmsg', 'recvmsg', 'getpeername', 'getsockname'].flatMap((call) =>
  ['4', '6', '_unix'].flatMap((family): Rule[] => {
    if (family === '_unix')
      return call === 'bind' ? [] : [[`cgroup/${call}_unix`, 'cgroup_sock_addr', `cgroup_unix_${call}`]];
    const prefix = call.endsWith('msg') ? `cgroup_udp${family}` : `cgroup_inet${family}`;
    return [[`cgroup/${call}${family}`, 'cgroup_sock_addr', `${prefix}_${call}`]];
  }),
);

const rules: readonly Rule[] = [
  ['socket', 'socket_filter', null],
  ['sk_reuseport/migrate', 'sk_reuseport', 'sk_reuseport_select_or_migrate'],
  ['sk_reuseport', 'sk_reuseport', 'sk_reuseport_select'],
  ...hook(['kprobe', 'uprobe', 'kretprobe', 'uretprobe', 'ksyscall', 'kretsyscall', 'usdt'], 'kprobe', null),
  ...hook(['uprobe.s', 'uretprobe.s', 'usdt.s'], 'kprobe', null, SLEEPABLE),
  ...hook(['kprobe.multi', 'kretprobe.multi'], 'kprobe', 'trace_kprobe_multi'),
  ...hook(['kprobe.session'], 'kprobe', 'trace_kprobe_session'),
  ...hook(['uprobe.multi', 'uretprobe.multi'], 'kprobe', 'trace_uprobe_multi'),
  ...hook(['uprobe.multi.s', 'uretprobe.multi.s'], 'kprobe', 'trace_uprobe_multi', SLEEPABLE),
  ['tc/ingress', 'sched_cls', 'tcx_ingress'],
  ['tc/egress', 'sched_cls', 'tcx_egress'],
  ['tcx/ingress', 'sched_cls', 'tcx_ingress'],
  ['tcx/egress', 'sched_cls', 'tcx_egress'],
  ['netkit/primary', 'sched_cls', 'netkit_primary'],
  ['netkit/peer', 'sched_cls', 'netkit_peer'],
  ['tc', 'sched_cls', null],
  ['classifier', 'sched_cls', null],
  ['action', 'sched_act', null],
  ...hook(['tracepoint', 'tp'], 'tracepoint', null),
  ...hook(['raw_tracepoint', 'raw_tp'], 'raw_tracepoint', null),
  ...hook(['raw_tracepoint.w', 'raw_tp.w'], 'raw_tracepoint_writable', null),
  ...hook(['tp_btf'], 'tracing', 'trace_raw_tp'),
  ...hook(['fentry'], 'tracing', 'trace_fentry'),
  ...hook(['fentry.s'], 'tracing', 'trace_fentry', SLEEPABLE),
  ...hook(['fexit'], 'tracing', 'trace_fexit'),
  ...hook(['fexit.s'], 'tracing', 'trace_fexit', SLEEPABLE),
  ...hook(['fmod_ret'], 'tracing', 'modify_return'),
  ...hook(['fmod_ret.s'], 'tracing', 'modify_return', SLEEPABLE),
  ...hook(['freplace'], 'ext', null),
  ...hook(['lsm'], 'lsm', 'lsm_mac'),
  ...hook(['lsm.s'], 'lsm', 'lsm_mac', SLEEPABLE),
  ...hook(['lsm_cgroup'], 'lsm', 'lsm_cgroup'),
  ...hook(['iter'], 'tracing', 'trace_iter'),
  ...hook(['iter.s'], 'tracing', 'trace_iter', SLEEPABLE),
  ['syscall', 'syscall', null, SLEEPABLE],
  ['xdp.frags/devmap', 'xdp', 'xdp_devmap', FRAGS],
  ['xdp/devmap', 'xdp', 'xdp_devmap'],
  ['xdp.frags/cpumap', 'xdp', 'xdp_cpumap', FRAGS],
  ['xdp/cpumap', 'xdp', 'xdp_cpumap'],
  ['xdp.frags', 'xdp', 'xdp', FRAGS],
  ['xdp', 'xdp', 'xdp'],
  ['perf_event', 'perf_event', null],
  ['lwt_in', 'lwt_in', null],
  ['lwt_out', 'lwt_out', null],
  ['lwt_xmit', 'lwt_xmit', null],
  ['lwt_seg6local', 'lwt_seg6local', null],
  ['sockops', 'sock_ops', 'cgroup_sock_ops'],
  ['sk_skb/stream_parser', 'sk_skb', 'sk_skb_stream_parser'],
  ['sk_skb/stream_verdict', 'sk_skb', 'sk_skb_stream_verdict'],
  ['sk_skb/verdict', 'sk_skb', 'sk_skb_verdict'],
  ['sk_skb', 'sk_skb', null],
  ['sk_msg', 'sk_msg', 'sk_msg_verdict'],
  ['lirc_mode2', 'lirc_mode2', 'lirc_mode2'],
  ['flow_dissector', 'flow_dissector', 'flow_dissector'],
  ['cgroup_skb/ingress', 'cgroup_skb', 'cgroup_inet_ingress'],
  ['cgroup_skb/egress', 'cgroup_skb', 'cgroup_inet_egress'],
  ['cgroup/skb', 'cgroup_skb', null],
  ['cgroup/sock_create', 'cgroup_sock', 'cgroup_inet_sock_create'],
  ['cgroup/sock_release', 'cgroup_sock', 'cgroup_inet_sock_release'],
  ['cgroup/sock', 'cgroup_sock', 'cgroup_inet_sock_create'],
  ['cgroup/post_bind4', 'cgroup_sock', 'cgroup_inet4_post_bind'],
  ['cgroup/post_bind6', 'cgroup_sock', 'cgroup_inet6_post_bind'],
  ...socketAddressRules,
  ['cgroup/sysctl', 'cgroup_sysctl', 'cgroup_sysctl'],
  ['cgroup/getsockopt', 'cgroup_sockopt', 'cgroup_getsockopt'],
  ['cgroup/setsockopt', 'cgroup_sockopt', 'cgroup_setsockopt'],
  ['cgroup/dev', 'cgroup_device', 'cgroup_device'],
  ...hook(['struct_ops'], 'struct_ops', null),
  ...hook(['struct_ops.s'], 'struct_ops', null, SLEEPABLE),
  ['sk_lookup', 'sk_lookup', 'sk_lookup'],
  ['netfilter', 'netfilter', 'netfilter'],
];

const exact = new Map(rules.map((rule) => [rule[0].replace(/\+$/, ''), rule]));

/** What programs in a section of this name are. A question mark in front (not loaded unless asked for) is left out. */
export function kindOfSection(section: string): ProgramKind {
  const name = section.replace(/^\?/, '');
  const whole = exact.get(name);
  if (whole !== undefined) return kind(section, whole, null);
  const slash = name.indexOf('/');
  const before = slash === -1 ? undefined : exact.get(name.slice(0, slash));
  if (before?.[0].endsWith('+') === true) return kind(section, before, name.slice(slash + 1));
  return { type: 'unspec', attachType: null, section, target: null, flags: 0 };
}

function kind(section: string, [, type, attachType, flags = 0]: Rule, target: string | null): ProgramKind {
  return { type, attachType, section, target, flags };
}

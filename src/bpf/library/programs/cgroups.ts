/**
 * Room `bpf`: programs that act for the processes of a cgroup: on packets, sockets, socket options, sysctls and devices.
 *
 * A newcomer would get wrong: 1 allows and 0 refuses (the caller gets EPERM, or what `bpf_set_retval` says).
 */
import { bpf_cgroup_dev_ctx, bpf_sockopt, bpf_sysctl } from '../contexts/messages.ts';
import { __sk_buff, type CgroupBuffer } from '../contexts/packets.ts';
import { bpf_sock } from '../contexts/sockets.ts';
import { direct, structContext } from './program.ts';

const buffer = structContext(__sk_buff, ['mark', 'priority', 'cb', 'tstamp']);
const socket = structContext(bpf_sock);
const option = structContext(bpf_sockopt);

/** Refuse and allow. */
const verdicts = [0, 1];

/** On what sockets of the cgroup receive; the packet begins with its IP header. */
export const cgroupSkbIngress = direct<'cgroupSkbIngress', CgroupBuffer>(
  {
    name: 'cgroupSkbIngress',
    type: 'cgroup_skb',
    attachType: 'cgroup_inet_ingress',
    section: 'cgroup_skb/ingress',
    verdicts: verdicts,
  },
  buffer,
);

/** On what they send. 2 drops and 3 passes with congestion notified. */
export const cgroupSkbEgress = direct<'cgroupSkbEgress', CgroupBuffer>(
  {
    name: 'cgroupSkbEgress',
    type: 'cgroup_skb',
    attachType: 'cgroup_inet_egress',
    section: 'cgroup_skb/egress',
    verdicts: [0, 1, 2, 3],
  },
  buffer,
);

/** When a socket is made. May set its device, mark and priority. */
export const cgroupSockCreate = direct<'cgroupSockCreate', bpf_sock>(
  {
    name: 'cgroupSockCreate',
    type: 'cgroup_sock',
    attachType: 'cgroup_inet_sock_create',
    section: 'cgroup/sock_create',
    verdicts: verdicts,
  },
  socket,
);

/** When a socket is closed; since 5.9. */
export const cgroupSockRelease = direct<'cgroupSockRelease', bpf_sock>(
  {
    name: 'cgroupSockRelease',
    type: 'cgroup_sock',
    attachType: 'cgroup_inet_sock_release',
    section: 'cgroup/sock_release',
    verdicts: verdicts,
  },
  socket,
);

/** After an IPv4 socket was bound: its address and port are known. */
export const cgroupPostBind4 = direct<'cgroupPostBind4', bpf_sock>(
  {
    name: 'cgroupPostBind4',
    type: 'cgroup_sock',
    attachType: 'cgroup_inet4_post_bind',
    section: 'cgroup/post_bind4',
    verdicts: verdicts,
  },
  socket,
);

/** After an IPv6 socket was bound: its address and port are known. */
export const cgroupPostBind6 = direct<'cgroupPostBind6', bpf_sock>(
  {
    name: 'cgroupPostBind6',
    type: 'cgroup_sock',
    attachType: 'cgroup_inet6_post_bind',
    section: 'cgroup/post_bind6',
    verdicts: verdicts,
  },
  socket,
);

/** After getsockopt, before the process sees the value. */
export const cgroupGetsockopt = direct<'cgroupGetsockopt', bpf_sockopt>(
  {
    name: 'cgroupGetsockopt',
    type: 'cgroup_sockopt',
    attachType: 'cgroup_getsockopt',
    section: 'cgroup/getsockopt',
    verdicts: verdicts,
  },
  option,
);

/** Before setsockopt; may change the value. `context.optlen = -1`: the kernel does nothing further. */
export const cgroupSetsockopt = direct<'cgroupSetsockopt', bpf_sockopt>(
  {
    name: 'cgroupSetsockopt',
    type: 'cgroup_sockopt',
    attachType: 'cgroup_setsockopt',
    section: 'cgroup/setsockopt',
    verdicts: verdicts,
  },
  option,
);

/** Before a file below /proc/sys is read or written. */
export const cgroupSysctl = direct<'cgroupSysctl', bpf_sysctl>(
  {
    name: 'cgroupSysctl',
    type: 'cgroup_sysctl',
    attachType: 'cgroup_sysctl',
    section: 'cgroup/sysctl',
    verdicts: verdicts,
  },
  structContext(bpf_sysctl),
);

/** Before a device node is opened or made. */
export const cgroupDevice = direct<'cgroupDevice', bpf_cgroup_dev_ctx>(
  {
    name: 'cgroupDevice',
    type: 'cgroup_device',
    attachType: 'cgroup_device',
    section: 'cgroup/dev',
    verdicts: verdicts,
  },
  structContext(bpf_cgroup_dev_ctx),
);

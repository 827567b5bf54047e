/**
 * Room `bpf`: programs that see and change the addresses which processes of a cgroup bind, connect, send to and are told.
 *
 * A newcomer would get wrong: in getpeername, getsockname and recvmsg the program changes what the process is told, not what
 * happens.
 */
import { bpf_sock_addr } from '../contexts/messages.ts';
import { direct, structContext } from './program.ts';

const address = structContext(bpf_sock_addr);

/** Refuse and allow. */
const verdicts = [0, 1];
/** The hook cannot refuse. */
const allows = [1];

/** Before an IPv4 socket is bound; may change the address. 2 and 3: also to ports below 1024 without the privilege. */
export const cgroupBind4 = direct<'cgroupBind4', bpf_sock_addr>(
  {
    name: 'cgroupBind4',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_inet4_bind',
    section: 'cgroup/bind4',
    verdicts: [0, 1, 2, 3],
  },
  address,
);

/** Before an IPv6 socket is bound; may change the address. 2 and 3: also to ports below 1024 without the privilege. */
export const cgroupBind6 = direct<'cgroupBind6', bpf_sock_addr>(
  {
    name: 'cgroupBind6',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_inet6_bind',
    section: 'cgroup/bind6',
    verdicts: [0, 1, 2, 3],
  },
  address,
);

/** Before an IPv4 socket connects; may change the address. */
export const cgroupConnect4 = direct<'cgroupConnect4', bpf_sock_addr>(
  {
    name: 'cgroupConnect4',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_inet4_connect',
    section: 'cgroup/connect4',
    verdicts: verdicts,
  },
  address,
);

/** Before an IPv6 socket connects; may change the address. */
export const cgroupConnect6 = direct<'cgroupConnect6', bpf_sock_addr>(
  {
    name: 'cgroupConnect6',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_inet6_connect',
    section: 'cgroup/connect6',
    verdicts: verdicts,
  },
  address,
);

/** Before a datagram is sent by an unconnected IPv4 socket; may change the addresses. */
export const cgroupSendmsg4 = direct<'cgroupSendmsg4', bpf_sock_addr>(
  {
    name: 'cgroupSendmsg4',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_udp4_sendmsg',
    section: 'cgroup/sendmsg4',
    verdicts: verdicts,
  },
  address,
);

/** Before a datagram is sent by an unconnected IPv6 socket; may change the addresses. */
export const cgroupSendmsg6 = direct<'cgroupSendmsg6', bpf_sock_addr>(
  {
    name: 'cgroupSendmsg6',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_udp6_sendmsg',
    section: 'cgroup/sendmsg6',
    verdicts: verdicts,
  },
  address,
);

/** After a datagram was received by an unconnected IPv4 socket; may change the address that the process sees. */
export const cgroupRecvmsg4 = direct<'cgroupRecvmsg4', bpf_sock_addr>(
  {
    name: 'cgroupRecvmsg4',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_udp4_recvmsg',
    section: 'cgroup/recvmsg4',
    verdicts: allows,
  },
  address,
);

/** After a datagram was received by an unconnected IPv6 socket; may change the address that the process sees. */
export const cgroupRecvmsg6 = direct<'cgroupRecvmsg6', bpf_sock_addr>(
  {
    name: 'cgroupRecvmsg6',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_udp6_recvmsg',
    section: 'cgroup/recvmsg6',
    verdicts: allows,
  },
  address,
);

/** After getpeername of an IPv4 socket; may change the address that the process sees. */
export const cgroupGetpeername4 = direct<'cgroupGetpeername4', bpf_sock_addr>(
  {
    name: 'cgroupGetpeername4',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_inet4_getpeername',
    section: 'cgroup/getpeername4',
    verdicts: allows,
  },
  address,
);

/** After getpeername of an IPv6 socket; may change the address that the process sees. */
export const cgroupGetpeername6 = direct<'cgroupGetpeername6', bpf_sock_addr>(
  {
    name: 'cgroupGetpeername6',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_inet6_getpeername',
    section: 'cgroup/getpeername6',
    verdicts: allows,
  },
  address,
);

/** After getsockname of an IPv4 socket; may change the address that the process sees. */
export const cgroupGetsockname4 = direct<'cgroupGetsockname4', bpf_sock_addr>(
  {
    name: 'cgroupGetsockname4',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_inet4_getsockname',
    section: 'cgroup/getsockname4',
    verdicts: allows,
  },
  address,
);

/** After getsockname of an IPv6 socket; may change the address that the process sees. */
export const cgroupGetsockname6 = direct<'cgroupGetsockname6', bpf_sock_addr>(
  {
    name: 'cgroupGetsockname6',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_inet6_getsockname',
    section: 'cgroup/getsockname6',
    verdicts: allows,
  },
  address,
);

/** Before a Unix socket connects; since 6.7. */
export const cgroupConnectUnix = direct<'cgroupConnectUnix', bpf_sock_addr>(
  {
    name: 'cgroupConnectUnix',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_unix_connect',
    section: 'cgroup/connect_unix',
    verdicts: verdicts,
  },
  address,
);

/** Before a Unix socket sends; since 6.7. */
export const cgroupSendmsgUnix = direct<'cgroupSendmsgUnix', bpf_sock_addr>(
  {
    name: 'cgroupSendmsgUnix',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_unix_sendmsg',
    section: 'cgroup/sendmsg_unix',
    verdicts: verdicts,
  },
  address,
);

/** After a Unix socket received; since 6.7. */
export const cgroupRecvmsgUnix = direct<'cgroupRecvmsgUnix', bpf_sock_addr>(
  {
    name: 'cgroupRecvmsgUnix',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_unix_recvmsg',
    section: 'cgroup/recvmsg_unix',
    verdicts: allows,
  },
  address,
);

/** After getpeername of a Unix socket; since 6.7. */
export const cgroupGetpeernameUnix = direct<'cgroupGetpeernameUnix', bpf_sock_addr>(
  {
    name: 'cgroupGetpeernameUnix',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_unix_getpeername',
    section: 'cgroup/getpeername_unix',
    verdicts: allows,
  },
  address,
);

/** After getsockname of a Unix socket; since 6.7. */
export const cgroupGetsocknameUnix = direct<'cgroupGetsocknameUnix', bpf_sock_addr>(
  {
    name: 'cgroupGetsocknameUnix',
    type: 'cgroup_sock_addr',
    attachType: 'cgroup_unix_getsockname',
    section: 'cgroup/getsockname_unix',
    verdicts: allows,
  },
  address,
);

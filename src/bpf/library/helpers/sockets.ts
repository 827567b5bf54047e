/**
 * Room `bpf`: helpers that find, name, choose and configure sockets.
 *
 * A newcomer would get wrong: a socket that a look-up gave is held by the program and must be given back by `bpf_sk_release` on
 * every way out; the verifier insists. One from a context is not.
 */
import type { bpf_sk_lookup, bpf_sock_addr, bpf_sock_ops } from '../contexts/messages.ts';
import type { AnyBuffer, xdp_md } from '../contexts/packets.ts';
import type { bpf_sock, bpf_tcp_sock_struct, SocketTuple4, SocketTuple6 } from '../contexts/sockets.ts';
import type { Flags, Kernel } from '../layout.ts';
import type { i32, u32, u64 } from '../numbers.ts';
import { give, helper, take } from './helper.ts';

type Asks = AnyBuffer | xdp_md | bpf_sock_addr | bpf_sk_lookup;
type Tuple = SocketTuple4 | SocketTuple6;
type AnySocket = bpf_sock | Kernel<'sock'> | Kernel<'sock_common'>;

/** The TCP socket with these addresses and ports, listening or not, or null. `netns`: BPF_F_CURRENT_NETNS. To be released. */
export const bpf_sk_lookup_tcp: (context: Asks, tuple: Tuple, netns: Flags, flags?: Flags) => bpf_sock | null = helper(
  84,
  'bpf_sk_lookup_tcp',
  '4.20',
  [take.context, take.memory('tuple'), take.u64('netns'), take.flags],
  give.socket('bpf_sock', 'bpf_sk_release'),
);

/** The same for UDP. */
export const bpf_sk_lookup_udp: (context: Asks, tuple: Tuple, netns: Flags, flags?: Flags) => bpf_sock | null = helper(
  85,
  'bpf_sk_lookup_udp',
  '4.20',
  [take.context, take.memory('tuple'), take.u64('netns'), take.flags],
  give.socket('bpf_sock', 'bpf_sk_release'),
);

/** The same for TCP with sockets that are only being made (request and time-wait sockets). */
export const bpf_skc_lookup_tcp: (context: Asks, tuple: Tuple, netns: Flags, flags?: Flags) => bpf_sock | null = helper(
  99,
  'bpf_skc_lookup_tcp',
  '5.2',
  [take.context, take.memory('tuple'), take.u64('netns'), take.flags],
  give.socket('bpf_sock', 'bpf_sk_release'),
);

/** Gives a socket back. */
export const bpf_sk_release: (socket: AnySocket) => i32 = helper(
  86,
  'bpf_sk_release',
  '4.20',
  [take.pointer('socket')],
  give.i32,
);

/** The socket with all its fields, or null where it is a request or time-wait socket. */
export const bpf_sk_fullsock: (socket: bpf_sock) => bpf_sock | null = helper(
  95,
  'bpf_sk_fullsock',
  '5.1',
  [take.pointer('socket')],
  give.socket('bpf_sock'),
);

/** The socket's TCP counters and windows, or null where it is not TCP. */
export const bpf_tcp_sock: (socket: bpf_sock) => bpf_tcp_sock_struct | null = helper(
  96,
  'bpf_tcp_sock',
  '5.1',
  [take.pointer('socket')],
  give.socket('bpf_tcp_sock'),
);

/** The listening socket of a connection, or null. */
export const bpf_get_listener_sock: (socket: bpf_sock) => bpf_sock | null = helper(
  98,
  'bpf_get_listener_sock',
  '5.1',
  [take.pointer('socket')],
  give.socket('bpf_sock'),
);

/** Lets this socket take the packet (tc ingress), or answers a look-up with it (sk_lookup; null takes the choice back). */
export const bpf_sk_assign: (context: AnyBuffer | bpf_sk_lookup, socket: bpf_sock | null, flags?: Flags) => i32 =
  helper(124, 'bpf_sk_assign', '5.7', [take.context, take.maybePointer('socket'), take.flags], give.i32);

/** A number that belongs to the socket for as long as it lives; 0 where there is none. */
export const bpf_get_socket_cookie: (of: object) => u64 = helper(
  46,
  'bpf_get_socket_cookie',
  '4.12',
  [take.pointer('of')],
  give.u64,
);

/** A number that belongs to the network namespace; null: that of the host. */
export const bpf_get_netns_cookie: (of: object | null) => u64 = helper(
  122,
  'bpf_get_netns_cookie',
  '5.7',
  [take.maybePointer('of')],
  give.u64,
);

/** The id of the socket's cgroup (v2). */
export const bpf_sk_cgroup_id: (socket: bpf_sock) => u64 = helper(
  128,
  'bpf_sk_cgroup_id',
  '5.8',
  [take.pointer('socket')],
  give.u64,
);

/** The id of that cgroup's ancestor at a level; 0 is the root. */
export const bpf_sk_ancestor_cgroup_id: (socket: bpf_sock, level: i32) => u64 = helper(
  129,
  'bpf_sk_ancestor_cgroup_id',
  '5.8',
  [take.pointer('socket'), take.i32('level')],
  give.u64,
);

/** Sets an option of the socket of the context (or, in tracing and struct_ops, of a socket): level, name, value. */
export const bpf_setsockopt: (of: object, level: i32, name: i32, value: object | string) => i32 = helper(
  49,
  'bpf_setsockopt',
  '4.13',
  [take.pointer('of'), take.i32('level'), take.i32('name'), take.memory('value')],
  give.i32,
);

/** Reads an option of the socket. */
export const bpf_getsockopt: (of: object, level: i32, name: i32, into: object) => i32 = helper(
  57,
  'bpf_getsockopt',
  '4.15',
  [take.pointer('of'), take.i32('level'), take.i32('name'), take.room('into')],
  give.i32,
);

/** Binds the socket to an address, port 0, before it connects. `address`: a sockaddr_in or sockaddr_in6. */
export const bpf_bind: (context: bpf_sock_addr, address: object | string) => i32 = helper(
  64,
  'bpf_bind',
  '4.17',
  [take.context, take.memory('address')],
  give.i32,
);

/** Asks for further events of this connection: BPF_SOCK_OPS_*_CB_FLAG. 0, or the flags that this kernel does not know. */
export const bpf_sock_ops_cb_flags_set: (context: bpf_sock_ops, flags: i32) => i32 = helper(
  59,
  'bpf_sock_ops_cb_flags_set',
  '4.16',
  [take.context, take.i32('flags')],
  give.i32,
);

/** Sends an acknowledgement; for congestion control by struct_ops. */
export const bpf_tcp_send_ack: (socket: Kernel<'tcp_sock'>, next: u32) => i32 = helper(
  116,
  'bpf_tcp_send_ack',
  '5.6',
  [take.pointer('socket', 'tcp_sock'), take.u32('next')],
  give.i32,
);

/** The socket as the kernel's struct tcp6_sock, or null where it is none. */
export const bpf_skc_to_tcp6_sock: <T extends Kernel<'tcp6_sock'> = Kernel<'tcp6_sock'>>(
  socket: AnySocket,
) => T | null = helper(136, 'bpf_skc_to_tcp6_sock', '5.9', [take.pointer('socket')], give.maybeKernel('tcp6_sock'));

/** The socket as the kernel's struct tcp_sock, or null where it is none. */
export const bpf_skc_to_tcp_sock: <T extends Kernel<'tcp_sock'> = Kernel<'tcp_sock'>>(socket: AnySocket) => T | null =
  helper(137, 'bpf_skc_to_tcp_sock', '5.9', [take.pointer('socket')], give.maybeKernel('tcp_sock'));

/** The socket as the kernel's struct tcp_timewait_sock, or null where it is none. */
export const bpf_skc_to_tcp_timewait_sock: <T extends Kernel<'tcp_timewait_sock'> = Kernel<'tcp_timewait_sock'>>(
  socket: AnySocket,
) => T | null = helper(
  138,
  'bpf_skc_to_tcp_timewait_sock',
  '5.9',
  [take.pointer('socket')],
  give.maybeKernel('tcp_timewait_sock'),
);

/** The socket as the kernel's struct tcp_request_sock, or null where it is none. */
export const bpf_skc_to_tcp_request_sock: <T extends Kernel<'tcp_request_sock'> = Kernel<'tcp_request_sock'>>(
  socket: AnySocket,
) => T | null = helper(
  139,
  'bpf_skc_to_tcp_request_sock',
  '5.9',
  [take.pointer('socket')],
  give.maybeKernel('tcp_request_sock'),
);

/** The socket as the kernel's struct udp6_sock, or null where it is none. */
export const bpf_skc_to_udp6_sock: <T extends Kernel<'udp6_sock'> = Kernel<'udp6_sock'>>(
  socket: AnySocket,
) => T | null = helper(140, 'bpf_skc_to_udp6_sock', '5.9', [take.pointer('socket')], give.maybeKernel('udp6_sock'));

/** The socket as the kernel's struct unix_sock, or null where it is none. */
export const bpf_skc_to_unix_sock: <T extends Kernel<'unix_sock'> = Kernel<'unix_sock'>>(
  socket: AnySocket,
) => T | null = helper(178, 'bpf_skc_to_unix_sock', '5.16', [take.pointer('socket')], give.maybeKernel('unix_sock'));

/** The socket as the kernel's struct mptcp_sock, or null where it is none. */
export const bpf_skc_to_mptcp_sock: <T extends Kernel<'mptcp_sock'> = Kernel<'mptcp_sock'>>(
  socket: AnySocket,
) => T | null = helper(196, 'bpf_skc_to_mptcp_sock', '5.19', [take.pointer('socket')], give.maybeKernel('mptcp_sock'));

/** The socket behind a file, or null. */
export const bpf_sock_from_file: <T extends Kernel<'socket'> = Kernel<'socket'>>(file: Kernel<'file'>) => T | null =
  helper(162, 'bpf_sock_from_file', '5.11', [take.pointer('file', 'file')], give.maybeKernel('socket'));

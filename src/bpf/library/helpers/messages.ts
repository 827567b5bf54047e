/**
 * Room `bpf`: helpers of sk_msg, sk_skb, sockops, sk_reuseport, sysctl and other cgroup programs.
 *
 * A newcomer would get wrong: redirecting between sockets goes by a map of sockets, and the program returns what the helper gives:
 * SK_PASS or SK_DROP.
 */
import type { bpf_sock_ops, bpf_sysctl, sk_msg_md } from '../contexts/messages.ts';
import type { AnyBuffer, sk_reuseport_md } from '../contexts/packets.ts';
import type { Flags, Layout, Value } from '../layout.ts';
import type { BpfMap } from '../maps/types.ts';
import type { i32, u32 } from '../numbers.ts';
import { give, helper, MOVES, take } from './helper.ts';

type Sockets<K> = BpfMap<'sockhash', K>;
type SocketsByIndex = BpfMap<'sockmap'>;

/** Puts the socket of the context into a socketMap. */
export const bpf_sock_map_update: (context: bpf_sock_ops, map: SocketsByIndex, key: u32, flags?: Flags) => i32 = helper(
  53,
  'bpf_sock_map_update',
  '4.14',
  [take.context, take.map('sockmap'), take.key, take.flags],
  give.i32,
);

/** Puts the socket of the context into a socketHash. */
export const bpf_sock_hash_update: <K extends Layout>(
  context: bpf_sock_ops,
  map: Sockets<K>,
  key: Value<K>,
  flags?: Flags,
) => i32 = helper(
  70,
  'bpf_sock_hash_update',
  '4.18',
  [take.context, take.map('sockhash'), take.key, take.flags],
  give.i32,
);

/** Hands the data to a socket of a socketMap: to its egress, or its ingress with BPF_F_INGRESS. */
export const bpf_sk_redirect_map: (context: AnyBuffer, map: SocketsByIndex, key: u32, flags?: Flags) => i32 = helper(
  52,
  'bpf_sk_redirect_map',
  '4.14',
  [take.context, take.map('sockmap'), take.u32('key'), take.flags],
  give.i32,
);

/** The same for a socketHash. */
export const bpf_sk_redirect_hash: <K extends Layout>(
  context: AnyBuffer,
  map: Sockets<K>,
  key: Value<K>,
  flags?: Flags,
) => i32 = helper(
  72,
  'bpf_sk_redirect_hash',
  '4.18',
  [take.context, take.map('sockhash'), take.key, take.flags],
  give.i32,
);

/** Hands the message to a socket of a socketMap: to its egress, or its ingress with BPF_F_INGRESS. */
export const bpf_msg_redirect_map: (context: sk_msg_md, map: SocketsByIndex, key: u32, flags?: Flags) => i32 = helper(
  60,
  'bpf_msg_redirect_map',
  '4.17',
  [take.context, take.map('sockmap'), take.u32('key'), take.flags],
  give.i32,
);

/** The same for a socketHash. */
export const bpf_msg_redirect_hash: <K extends Layout>(
  context: sk_msg_md,
  map: Sockets<K>,
  key: Value<K>,
  flags?: Flags,
) => i32 = helper(
  71,
  'bpf_msg_redirect_hash',
  '4.18',
  [take.context, take.map('sockhash'), take.key, take.flags],
  give.i32,
);

/** The verdict holds for so many bytes, in this message and those after it. */
export const bpf_msg_apply_bytes: (context: sk_msg_md, bytes: u32) => i32 = helper(
  61,
  'bpf_msg_apply_bytes',
  '4.17',
  [take.context, take.u32('bytes')],
  give.i32,
);

/** Calls the program again once so many bytes have come together. */
export const bpf_msg_cork_bytes: (context: sk_msg_md, bytes: u32) => i32 = helper(
  62,
  'bpf_msg_cork_bytes',
  '4.17',
  [take.context, take.u32('bytes')],
  give.i32,
);

/** Makes the bytes from `start` to `end` lie in one piece, at `data`. */
export const bpf_msg_pull_data: (context: sk_msg_md, start: u32, end: u32, flags?: Flags) => i32 = helper(
  63,
  'bpf_msg_pull_data',
  '4.17',
  [take.context, take.u32('start'), take.u32('end'), take.flags],
  give.i32,
  MOVES,
);

/** Makes room in the message. */
export const bpf_msg_push_data: (context: sk_msg_md, start: u32, length: u32, flags?: Flags) => i32 = helper(
  90,
  'bpf_msg_push_data',
  '4.20',
  [take.context, take.u32('start'), take.u32('length'), take.flags],
  give.i32,
  MOVES,
);

/** Takes bytes out of the message. */
export const bpf_msg_pop_data: (context: sk_msg_md, start: u32, length: u32, flags?: Flags) => i32 = helper(
  91,
  'bpf_msg_pop_data',
  '5.0',
  [take.context, take.u32('start'), take.u32('length'), take.flags],
  give.i32,
  MOVES,
);

/** This socket of the map takes the packet. -ENOENT where none is there. */
export const bpf_sk_select_reuseport: <K extends Layout>(
  context: sk_reuseport_md,
  map: BpfMap<string, K>,
  key: Value<K>,
  flags?: Flags,
) => i32 = helper(
  82,
  'bpf_sk_select_reuseport',
  '4.19',
  [take.context, take.map('reuseport_sockarray', 'sockmap', 'sockhash'), take.key, take.flags],
  give.i32,
);

/** Finds a TCP option: `option` begins with its kind (for 253 and 254 also a length and the magic). Gives its length. */
export const bpf_load_hdr_opt: (context: bpf_sock_ops, option: object | string, flags?: Flags) => i32 = helper(
  142,
  'bpf_load_hdr_opt',
  '5.10',
  [take.context, take.memory('option'), take.flags],
  give.i32,
);

/** Writes a TCP option into the header that is being made. */
export const bpf_store_hdr_opt: (context: bpf_sock_ops, option: object | string, flags?: Flags) => i32 = helper(
  143,
  'bpf_store_hdr_opt',
  '5.10',
  [take.context, take.memory('option'), take.flags],
  give.i32,
  MOVES,
);

/** Reserves bytes for TCP options in the header that is being made. */
export const bpf_reserve_hdr_opt: (context: bpf_sock_ops, length: u32, flags?: Flags) => i32 = helper(
  144,
  'bpf_reserve_hdr_opt',
  '5.10',
  [take.context, take.u32('length'), take.flags],
  give.i32,
);

/** The name of the sysctl (net/ipv4/tcp_mem), or its last part with BPF_F_SYSCTL_BASE_NAME. Gives its length. */
export const bpf_sysctl_get_name: (context: bpf_sysctl, into: object, flags?: Flags) => i32 = helper(
  101,
  'bpf_sysctl_get_name',
  '5.2',
  [take.context, take.room('into'), take.flags],
  give.i32,
);

/** The sysctl's value as text. Gives its length. */
export const bpf_sysctl_get_current_value: (context: bpf_sysctl, into: object) => i32 = helper(
  102,
  'bpf_sysctl_get_current_value',
  '5.2',
  [take.context, take.room('into')],
  give.i32,
);

/** The text that is being written. */
export const bpf_sysctl_get_new_value: (context: bpf_sysctl, into: object) => i32 = helper(
  103,
  'bpf_sysctl_get_new_value',
  '5.2',
  [take.context, take.room('into')],
  give.i32,
);

/** Puts other text in its place. */
export const bpf_sysctl_set_new_value: (context: bpf_sysctl, text: object | string) => i32 = helper(
  104,
  'bpf_sysctl_set_new_value',
  '5.2',
  [take.context, take.memory('text')],
  give.i32,
);

/** What the system call would give, as programs before this one left it. */
export const bpf_get_retval: () => i32 = helper(186, 'bpf_get_retval', '5.18', [], give.i32);

/** Sets what the system call gives: 0 or a negative errno. */
export const bpf_set_retval: (value: i32) => i32 = helper(187, 'bpf_set_retval', '5.18', [take.i32('value')], give.i32);

/**
 * Room `bpf`: helpers of packets in the stack (`__sk_buff`): their bytes, their length, their metadata.
 *
 * A newcomer would get wrong: `packet()` reaches what lies in one piece alone, often no more than the headers. `bpf_skb_pull_data`
 * makes more of it so; `bpf_skb_load_bytes` copies from anywhere.
 */
import type { AnyBuffer, sk_reuseport_md } from '../contexts/packets.ts';
import type { Flags } from '../layout.ts';
import type { BpfMap } from '../maps/types.ts';
import type { i32, u16, u32, u64 } from '../numbers.ts';
import type { bpf_tunnel_key, bpf_xfrm_state } from '../uapi-structs.ts';
import { give, helper, MOVES, take } from './helper.ts';

/** Copies out of the packet, wherever the bytes lie. -EFAULT where it ends before. */
export const bpf_skb_load_bytes: (context: AnyBuffer | sk_reuseport_md, offset: u32, into: object) => i32 = helper(
  26,
  'bpf_skb_load_bytes',
  '4.5',
  [take.context, take.u32('offset'), take.room('into')],
  give.i32,
);

/** The same from the beginning of the link header (BPF_HDR_START_MAC) or the network header (BPF_HDR_START_NET). */
export const bpf_skb_load_bytes_relative: (
  context: AnyBuffer | sk_reuseport_md,
  offset: u32,
  into: object,
  start: u32,
) => i32 = helper(
  68,
  'bpf_skb_load_bytes_relative',
  '4.18',
  [take.context, take.u32('offset'), take.room('into'), take.u32('start')],
  give.i32,
);

/** Copies into the packet. BPF_F_RECOMPUTE_CSUM, BPF_F_INVALIDATE_HASH. */
export const bpf_skb_store_bytes: (context: AnyBuffer, offset: u32, from: object | string, flags?: Flags) => i32 =
  helper(
    9,
    'bpf_skb_store_bytes',
    '4.1',
    [take.context, take.u32('offset'), take.memory('from'), take.flags],
    give.i32,
    MOVES,
  );

/** Makes the first `length` bytes (0: all that is linear) lie in one piece and writable. */
export const bpf_skb_pull_data: (context: AnyBuffer, length: u32) => i32 = helper(
  39,
  'bpf_skb_pull_data',
  '4.9',
  [take.context, take.u32('length')],
  give.i32,
  MOVES,
);

/** Cuts the packet or makes it longer, to `length` bytes. */
export const bpf_skb_change_tail: (context: AnyBuffer, length: u32, flags?: Flags) => i32 = helper(
  38,
  'bpf_skb_change_tail',
  '4.9',
  [take.context, take.u32('length'), take.flags],
  give.i32,
  MOVES,
);

/** Makes room in front, for a link header on a device that has none. */
export const bpf_skb_change_head: (context: AnyBuffer, length: u32, flags?: Flags) => i32 = helper(
  43,
  'bpf_skb_change_head',
  '4.10',
  [take.context, take.u32('length'), take.flags],
  give.i32,
  MOVES,
);

/** Makes room behind the network header (BPF_ADJ_ROOM_NET) or the link header (BPF_ADJ_ROOM_MAC), or takes it away. */
export const bpf_skb_adjust_room: (context: AnyBuffer, change: i32, mode: u32, flags?: Flags) => i32 = helper(
  50,
  'bpf_skb_adjust_room',
  '4.13',
  [take.context, take.i32('change'), take.u32('mode'), take.flags],
  give.i32,
  MOVES,
);

/** Makes an IPv4 packet one of IPv6 or the reverse; the program writes the header. `protocol` in network order: swap16(ETH_P_IPV6). */
export const bpf_skb_change_proto: (context: AnyBuffer, protocol: u16, flags?: Flags) => i32 = helper(
  31,
  'bpf_skb_change_proto',
  '4.8',
  [take.context, take.u32('protocol'), take.flags],
  give.i32,
  MOVES,
);

/** Sets for whom the packet is: PACKET_HOST and kin. */
export const bpf_skb_change_type: (context: AnyBuffer, type: u32) => i32 = helper(
  32,
  'bpf_skb_change_type',
  '4.8',
  [take.context, take.u32('type')],
  give.i32,
);

/** Puts a VLAN tag on. `protocol` in network order: swap16(ETH_P_8021Q). */
export const bpf_skb_vlan_push: (context: AnyBuffer, protocol: u16, control: u16) => i32 = helper(
  18,
  'bpf_skb_vlan_push',
  '4.3',
  [take.context, take.u32('protocol'), take.u32('control')],
  give.i32,
  MOVES,
);

/** Takes the outer VLAN tag off. */
export const bpf_skb_vlan_pop: (context: AnyBuffer) => i32 = helper(
  19,
  'bpf_skb_vlan_pop',
  '4.3',
  [take.context],
  give.i32,
  MOVES,
);

/** The packet's hash of addresses and ports, computed where it is missing. */
export const bpf_get_hash_recalc: (context: AnyBuffer) => u32 = helper(
  34,
  'bpf_get_hash_recalc',
  '4.8',
  [take.context],
  give.u32,
);

/** Forgets the packet's hash; the next who asks computes it. */
export const bpf_set_hash_invalid: (context: AnyBuffer) => void = helper(
  41,
  'bpf_set_hash_invalid',
  '4.9',
  [take.context],
  give.nothing,
);

/** Sets the packet's hash. */
export const bpf_set_hash: (context: AnyBuffer, hash: u32) => i32 = helper(
  48,
  'bpf_set_hash',
  '4.13',
  [take.context, take.u32('hash')],
  give.i32,
);

/** Sets the packet's delivery time and of what clock it is (BPF_SKB_TSTAMP_*). */
export const bpf_skb_set_tstamp: (context: AnyBuffer, nanoseconds: u64, type: u32) => i32 = helper(
  192,
  'bpf_skb_set_tstamp',
  '5.18',
  [take.context, take.u64('nanoseconds'), take.u32('type')],
  give.i32,
);

/** Marks congestion in the IP header. 1 where it is marked, 0 where the transport does not take marks. */
export const bpf_skb_ecn_set_ce: (context: AnyBuffer) => i32 = helper(
  97,
  'bpf_skb_ecn_set_ce',
  '5.1',
  [take.context],
  give.i32,
);

/** The realm of the packet's route, 0 for none. */
export const bpf_get_route_realm: (context: AnyBuffer) => u32 = helper(
  24,
  'bpf_get_route_realm',
  '4.4',
  [take.context],
  give.u32,
);

/** The net_cls class of the task that sends the packet (cgroup v1). */
export const bpf_get_cgroup_classid: (context: AnyBuffer) => u32 = helper(
  17,
  'bpf_get_cgroup_classid',
  '4.3',
  [take.context],
  give.u32,
);

/** The net_cls class of the packet's socket (cgroup v1). */
export const bpf_skb_cgroup_classid: (context: AnyBuffer) => u64 = helper(
  151,
  'bpf_skb_cgroup_classid',
  '5.10',
  [take.context],
  give.u64,
);

/** The id of the cgroup (v2) of the packet's socket. */
export const bpf_skb_cgroup_id: (context: AnyBuffer) => u64 = helper(
  79,
  'bpf_skb_cgroup_id',
  '4.18',
  [take.context],
  give.u64,
);

/** The id of that cgroup's ancestor at a level; 0 is the root. */
export const bpf_skb_ancestor_cgroup_id: (context: AnyBuffer, level: i32) => u64 = helper(
  83,
  'bpf_skb_ancestor_cgroup_id',
  '4.19',
  [take.context, take.i32('level')],
  give.u64,
);

/** 1 where the packet's socket is in the cgroup that the map has at `index`, or below; 0 elsewhere. */
export const bpf_skb_under_cgroup: (context: AnyBuffer, map: BpfMap<'cgroup_array'>, index: u32) => i32 = helper(
  33,
  'bpf_skb_under_cgroup',
  '4.8',
  [take.context, take.map('cgroup_array'), take.u32('index')],
  give.i32,
);

/** The user of the packet's socket; 65534 where there is none. */
export const bpf_get_socket_uid: (context: AnyBuffer) => u32 = helper(
  47,
  'bpf_get_socket_uid',
  '4.12',
  [take.context],
  give.u32,
);

/** What the tunnel device knew of the packet: addresses, identifier. BPF_F_TUNINFO_IPV6, BPF_F_TUNINFO_FLAGS. */
export const bpf_skb_get_tunnel_key: (context: AnyBuffer, into: bpf_tunnel_key, flags?: Flags) => i32 = helper(
  20,
  'bpf_skb_get_tunnel_key',
  '4.3',
  [take.context, take.room('into'), take.flags],
  give.i32,
);

/** Tells the tunnel device what to put around the packet. */
export const bpf_skb_set_tunnel_key: (context: AnyBuffer, key: bpf_tunnel_key, flags?: Flags) => i32 = helper(
  21,
  'bpf_skb_set_tunnel_key',
  '4.3',
  [take.context, take.memory('key'), take.flags],
  give.i32,
);

/** The options of the tunnel's header (Geneve, VXLAN-GBP). Gives their length. */
export const bpf_skb_get_tunnel_opt: (context: AnyBuffer, into: object) => i32 = helper(
  29,
  'bpf_skb_get_tunnel_opt',
  '4.6',
  [take.context, take.room('into')],
  give.i32,
);

/** Sets the options of the tunnel's header. */
export const bpf_skb_set_tunnel_opt: (context: AnyBuffer, options: object | string) => i32 = helper(
  30,
  'bpf_skb_set_tunnel_opt',
  '4.6',
  [take.context, take.memory('options')],
  give.i32,
);

/** The IPsec state at `index` by which the packet came. */
export const bpf_skb_get_xfrm_state: (context: AnyBuffer, index: u32, into: bpf_xfrm_state, flags?: Flags) => i32 =
  helper(
    66,
    'bpf_skb_get_xfrm_state',
    '4.18',
    [take.context, take.u32('index'), take.room('into'), take.flags],
    give.i32,
  );

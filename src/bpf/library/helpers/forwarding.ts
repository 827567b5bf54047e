/**
 * Room `bpf`: helpers that send packets elsewhere, and those of XDP that move a packet's ends.
 *
 * A newcomer would get wrong: a redirect happens when the program returns. The helper only notes where to, and gives the verdict
 * that must be returned.
 */
import type { AnyBuffer, xdp_md } from '../contexts/packets.ts';
import type { Flags, Layout, Reference } from '../layout.ts';
import type { BpfMap } from '../maps/types.ts';
import type { i32, u32, u64 } from '../numbers.ts';
import type { bpf_fib_lookup_struct, bpf_redir_neigh } from '../uapi-structs.ts';
import { GPL, give, helper, MOVES, take } from './helper.ts';

/** Sends the packet out of another interface (or in, with BPF_F_INGRESS, tc only). Gives the verdict to return. */
export const bpf_redirect: (ifindex: u32, flags?: Flags) => i32 = helper(
  23,
  'bpf_redirect',
  '4.4',
  [take.u32('ifindex'), take.flags],
  give.i32,
);

/** Sends the packet to what a map has at the key. Gives XDP_REDIRECT, or the low bits of `flags` where nothing is there. */
export const bpf_redirect_map: (map: BpfMap<string, Layout<u32>>, key: Flags, flags?: Flags) => i32 = helper(
  51,
  'bpf_redirect_map',
  '4.14',
  [take.map('devmap', 'devmap_hash', 'cpumap', 'xskmap'), take.u64('key'), take.flags],
  give.i32,
);

/** Sends the packet out of an interface, with Ethernet addresses from the neighbour table. `next` null: by its own destination. */
export const bpf_redirect_neigh: (ifindex: u32, next: bpf_redir_neigh | null, flags?: Flags) => i32 = helper(
  152,
  'bpf_redirect_neigh',
  '5.10',
  [take.u32('ifindex'), take.maybeMemory('next'), take.flags],
  give.i32,
);

/** Hands the packet to the peer of a veth or netkit device in its network namespace, without a queue between. */
export const bpf_redirect_peer: (ifindex: u32, flags?: Flags) => i32 = helper(
  155,
  'bpf_redirect_peer',
  '5.10',
  [take.u32('ifindex'), take.flags],
  give.i32,
);

/** Sends a copy of the packet out of another interface and goes on with the packet. */
export const bpf_clone_redirect: (context: AnyBuffer, ifindex: u32, flags?: Flags) => i32 = helper(
  13,
  'bpf_clone_redirect',
  '4.2',
  [take.context, take.u32('ifindex'), take.flags],
  give.i32,
  MOVES,
);

/** Asks the routing and neighbour tables where a packet goes. Gives BPF_FIB_LKUP_RET_*, and fills in what it found. */
export const bpf_fib_lookup: (context: AnyBuffer | xdp_md, question: bpf_fib_lookup_struct, flags?: Flags) => i32 =
  helper(69, 'bpf_fib_lookup', '4.18', [take.context, take.memory('question'), take.flags], give.i32, GPL);

/** Tells whether the packet and `change` bytes more fit an interface (0: its own). `length`: bytes to check or 0; then the MTU. */
export const bpf_check_mtu: (
  context: AnyBuffer | xdp_md,
  ifindex: u32,
  length: Reference<u32>,
  change: i32,
  flags?: Flags,
) => i32 = helper(
  163,
  'bpf_check_mtu',
  '5.12',
  [take.context, take.u32('ifindex'), take.struct('length', 4), take.i32('change'), take.flags],
  give.i32,
  GPL,
);

/** Moves the packet's beginning: negative makes room in front, positive cuts. */
export const bpf_xdp_adjust_head: (context: xdp_md, delta: i32) => i32 = helper(
  44,
  'bpf_xdp_adjust_head',
  '4.10',
  [take.context, take.i32('delta')],
  give.i32,
  MOVES,
);

/** Moves the packet's end: negative cuts, positive (since 5.8) makes room. */
export const bpf_xdp_adjust_tail: (context: xdp_md, delta: i32) => i32 = helper(
  65,
  'bpf_xdp_adjust_tail',
  '4.18',
  [take.context, take.i32('delta')],
  give.i32,
  MOVES,
);

/** Makes room for metadata in front of the packet, which tc programs find at `data_meta`. In steps of 4 bytes. */
export const bpf_xdp_adjust_meta: (context: xdp_md, delta: i32) => i32 = helper(
  54,
  'bpf_xdp_adjust_meta',
  '4.15',
  [take.context, take.i32('delta')],
  give.i32,
  MOVES,
);

/** Bytes of the packet, with those in fragments. */
export const bpf_xdp_get_buff_len: (context: xdp_md) => u64 = helper(
  188,
  'bpf_xdp_get_buff_len',
  '5.18',
  [take.context],
  give.u64,
);

/** Copies out of the packet, wherever the bytes lie. */
export const bpf_xdp_load_bytes: (context: xdp_md, offset: u32, into: object) => i32 = helper(
  189,
  'bpf_xdp_load_bytes',
  '5.18',
  [take.context, take.u32('offset'), take.room('into')],
  give.i32,
);

/** Copies into the packet, wherever the bytes lie. */
export const bpf_xdp_store_bytes: (context: xdp_md, offset: u32, from: object | string) => i32 = helper(
  190,
  'bpf_xdp_store_bytes',
  '5.18',
  [take.context, take.u32('offset'), take.memory('from')],
  give.i32,
);

/** Puts a header in front of the packet: BPF_LWT_ENCAP_SEG6, BPF_LWT_ENCAP_SEG6_INLINE or BPF_LWT_ENCAP_IP. */
export const bpf_lwt_push_encap: (context: AnyBuffer, type: u32, header: object | string) => i32 = helper(
  73,
  'bpf_lwt_push_encap',
  '4.18',
  [take.context, take.u32('type'), take.memory('header')],
  give.i32,
  MOVES,
);

/** Writes into the outermost segment routing header: flags, tag and TLVs alone. */
export const bpf_lwt_seg6_store_bytes: (context: AnyBuffer, offset: u32, from: object | string) => i32 = helper(
  74,
  'bpf_lwt_seg6_store_bytes',
  '4.18',
  [take.context, take.u32('offset'), take.memory('from')],
  give.i32,
  MOVES,
);

/** Makes room for TLVs in the outermost segment routing header, or takes it away. */
export const bpf_lwt_seg6_adjust_srh: (context: AnyBuffer, offset: u32, delta: i32) => i32 = helper(
  75,
  'bpf_lwt_seg6_adjust_srh',
  '4.18',
  [take.context, take.u32('offset'), take.i32('delta')],
  give.i32,
  MOVES,
);

/** Does what a segment routing function does (SEG6_LOCAL_ACTION_END_X and kin). */
export const bpf_lwt_seg6_action: (context: AnyBuffer, action: u32, parameter: object | string) => i32 = helper(
  76,
  'bpf_lwt_seg6_action',
  '4.18',
  [take.context, take.u32('action'), take.memory('parameter')],
  give.i32,
  MOVES,
);

/**
 * Room `bpf`: the VM's helpers of XDP programs: moving a packet's ends, and reading and writing it by offset.
 *
 * A newcomer would get wrong: the bounds are the kernel's (net/core/filter.c): a struct xdp_frame stays free at the
 * frame's beginning, and an Ethernet header's length stays of the packet.
 */
import { ERRNO } from '../../kernel/errno.ts';
import type { Environment } from './environment.ts';
import type { HelperCall } from './helper-call.ts';
import type { HelperTable } from './helper-table.ts';

/** XDP_PACKET_HEADROOM, and the part of it that the kernel keeps for itself (struct xdp_frame). */
export const XDP_HEADROOM = 256;
const FRAME_HEADER = 40;
/** A page less what the end of an sk_buff takes (struct skb_shared_info): where a packet's tail may reach. */
export const XDP_FRAME_END = 4096 - 320;
/** ETH_HLEN: a packet is never made shorter. */
export const ETHERNET_BYTES = 14;
/** Metadata may take so much and is a multiple of 4 (xdp_metalen_invalid). */
const METADATA_MAX = 252;
const OFFSET_MAX = 0xffff;

function adjustHead(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  const metadataBytes = packet.start - packet.metadata;
  const start = packet.start + call.signed(2);
  if (start < FRAME_HEADER + metadataBytes || start > packet.end - ETHERNET_BYTES) {
    call.returns(-ERRNO.EINVAL);
    return;
  }
  // The metadata moves with the packet it belongs to.
  if (metadataBytes > 0) packet.frame.copyWithin(start - metadataBytes, packet.metadata, packet.start);
  environment.movePacket(packet, start - metadataBytes, start, packet.end);
  call.returns(0);
}

function adjustTail(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  const end = packet.end + call.signed(2);
  if (end > XDP_FRAME_END || end < packet.start + ETHERNET_BYTES) {
    call.returns(-ERRNO.EINVAL);
    return;
  }
  // net/core/filter.c clears what a packet grows by, so that nothing of an earlier one shows.
  if (end > packet.end) packet.frame.fill(0, packet.end, end);
  environment.movePacket(packet, packet.metadata, packet.start, end);
  call.returns(0);
}

function adjustMetadata(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  const metadata = packet.metadata + call.signed(2);
  const bytes = packet.start - metadata;
  const isWrong = metadata < FRAME_HEADER || metadata > packet.start || bytes > METADATA_MAX || bytes % 4 !== 0;
  if (isWrong) {
    call.returns(metadata < FRAME_HEADER || metadata > packet.start ? -ERRNO.EINVAL : -ERRNO.EACCES);
    return;
  }
  environment.movePacket(packet, metadata, packet.start, packet.end);
  call.returns(0);
}

function transfer(environment: Environment, call: HelperCall, isStore: boolean): void {
  const packet = environment.packetOf(call);
  const offset = call.unsigned(2);
  const size = call.unsigned(4);
  if (offset > OFFSET_MAX || size > OFFSET_MAX || offset + size > packet.length) {
    // bpf_xdp_pointer: what no packet has is another error than what this one has not.
    call.returns(offset > OFFSET_MAX || size > OFFSET_MAX ? -ERRNO.EFAULT : -ERRNO.EINVAL);
    return;
  }
  const at = packet.start + offset;
  if (isStore) packet.frame.set(call.bytes(3, size), at);
  else call.bytes(3, size, true).set(packet.frame.subarray(at, at + size));
  call.returns(0);
}

export function xdpHelpers(environment: Environment): HelperTable {
  return {
    xdp_adjust_head: [2, (call) => adjustHead(environment, call)],
    xdp_adjust_tail: [2, (call) => adjustTail(environment, call)],
    xdp_adjust_meta: [2, (call) => adjustMetadata(environment, call)],
    xdp_load_bytes: [4, (call) => transfer(environment, call, false)],
    xdp_store_bytes: [4, (call) => transfer(environment, call, true)],
    xdp_get_buff_len: [1, (call) => call.returns(environment.packetOf(call).length)],
  };
}

/**
 * Room `bpf`: the VM's helpers of programs that see an sk_buff: bytes by offset, checksums, and changes of the packet's shape
 * (net/core/filter.c).
 *
 * A newcomer would get wrong: every helper that may change the packet makes the program's pointers into it worthless, also where it
 * failed or changed only bytes (bpf_helper_changes_pkt_data).
 */
import { ERRNO } from '../../kernel/errno.ts';
import type { Environment } from './environment.ts';
import type { HelperCall } from './helper-call.ts';
import type { HelperTable } from './helper-table.ts';
import { ETHERNET_BYTES } from './helpers-xdp.ts';
import type { Packet } from './packet.ts';

const BPF_F_HDR_FIELD_MASK = 0xf;
const BPF_F_PSEUDO_HDR = 0x10;
const BPF_F_MARK_MANGLED_0 = 0x20;
const BPF_F_MARK_ENFORCE = 0x40;
/** RFC 768: what a UDP checksum of 0 is sent as. */
const CSUM_MANGLED_0 = 0xffff;
/** bpf_adj_room_mode. */
const ADJ_ROOM_MAC = 1;
/** Where room is made before a packet in the VM; the kernel takes more where it has it. */
const FRAME_RESERVE = 64;
const MAC_ADDRESSES = 12;
const TAG_BYTES = 4;
/** Not among user space's errno values: include/linux/errno.h. */
const ENOTSUPP = 524;

/** A packet after changes, or with the old pointers to it worthless. */
function touch(environment: Environment, packet: Packet): void {
  environment.movePacket(packet, packet.metadata, packet.start, packet.end);
}

function fold(sum: number): number {
  const once = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return (once & 0xffff) + (once >>> 16);
}

/** The checksum after `from` became `to` among what it covers; all as they lie in memory (RFC 1624). */
function replaced(checksum: number, from: number, to: number): number {
  const sum = (~checksum & 0xffff) + (~from >>> 0) + (to >>> 0);
  return ~fold(fold(sum)) & 0xffff;
}

/** bpf_l3_csum_replace and bpf_l4_csum_replace. A size of 0: `to` is the difference itself, from bpf_csum_diff. */
function replaceChecksum(environment: Environment, call: HelperCall, isTransport: boolean): void {
  const packet = environment.packetOf(call);
  const offset = call.unsigned(2);
  const flags = call.unsigned(5);
  const size = flags & BPF_F_HDR_FIELD_MASK;
  const known = BPF_F_HDR_FIELD_MASK | (isTransport ? BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0 | BPF_F_MARK_ENFORCE : 0);
  const isWrong = (flags & ~known) !== 0 || ![0, 2, 4].includes(size) || (size === 0 && call.wide(3) !== 0n);
  touch(environment, packet);
  if (isWrong) {
    call.returns(-ERRNO.EINVAL);
    return;
  }
  if (offset > 0xffff || offset % 2 !== 0 || offset + 2 > packet.length) {
    call.returns(-ERRNO.EFAULT);
    return;
  }
  const view = new DataView(packet.frame.buffer, packet.frame.byteOffset + packet.start);
  const old = view.getUint16(offset, true);
  const mayMean0 = isTransport && (flags & BPF_F_MARK_MANGLED_0) !== 0;
  if (mayMean0 && (flags & BPF_F_MARK_ENFORCE) === 0 && old === 0) {
    call.returns(0);
    return;
  }
  const mask = size === 2 ? 0xffff : 0xffffffff;
  const from = size === 0 ? 0xffffffff : call.unsigned(3) & mask;
  const made = replaced(old, from >>> 0, (call.unsigned(4) & mask) >>> 0);
  view.setUint16(offset, mayMean0 && made === 0 ? CSUM_MANGLED_0 : made, true);
  call.returns(0);
}

function loadBytes(environment: Environment, call: HelperCall, from: (packet: Packet) => number): void {
  const packet = environment.packetOf(call);
  const offset = call.unsigned(2);
  const size = call.unsigned(4);
  const target = call.bytes(3, size, true);
  const at = from(packet) + offset;
  if (offset > 0x7fffffff || at + size > packet.end) {
    target.fill(0);
    call.returns(-ERRNO.EFAULT);
    return;
  }
  target.set(packet.frame.subarray(at, at + size));
  call.returns(0);
}

function storeBytes(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  const offset = call.unsigned(2);
  const size = call.unsigned(4);
  const source = call.bytes(3, size).slice();
  const isInside = offset <= 0x7fffffff && offset + size <= packet.length;
  if (isInside) packet.frame.set(source, packet.start + offset);
  touch(environment, packet);
  call.returns(isInside ? 0 : -ERRNO.EFAULT);
}

/** Makes room of `length` bytes at `offset`, zeroed, or takes as much away where it is negative; false where the frame ends. */
function resize(environment: Environment, packet: Packet, offset: number, length: number): boolean {
  const start = packet.start - length;
  if (start < FRAME_RESERVE) return false;
  packet.frame.copyWithin(start, packet.start, packet.start + offset);
  if (length > 0) packet.frame.fill(0, start + offset, start + offset + length);
  environment.movePacket(packet, start, start, packet.end);
  return true;
}

function adjustRoom(environment: Environment, call: HelperCall, networkOffset: number): void {
  const packet = environment.packetOf(call);
  const difference = call.signed(2);
  const version = packet.frame[packet.start + networkOffset] >> 4;
  const headerBytes = version === 6 ? 40 : 20;
  const offset = call.unsigned(3) === ADJ_ROOM_MAC ? networkOffset : networkOffset + headerBytes;
  const isShort = difference < 0 && packet.length + difference < offset + (offset === networkOffset ? headerBytes : 0);
  const fits = Math.abs(difference) <= 0xfff && !isShort && offset <= packet.length;
  // To shrink, what is in front moves over the bytes that go.
  const done = fits && resize(environment, packet, offset, difference);
  if (!done) touch(environment, packet);
  call.returns(done ? 0 : fits ? -ERRNO.ENOMEM : -ENOTSUPP);
}

function changeTail(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  const length = call.unsigned(2);
  const end = packet.start + length;
  if (call.wide(3) !== 0n || length < ETHERNET_BYTES || end > packet.frame.length) {
    touch(environment, packet);
    call.returns(-ERRNO.EINVAL);
    return;
  }
  if (end > packet.end) packet.frame.fill(0, packet.end, end);
  environment.movePacket(packet, packet.metadata, packet.start, end);
  call.returns(0);
}

function pullData(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  touch(environment, packet);
  call.returns(call.unsigned(2) > packet.length ? -ERRNO.ENOMEM : 0);
}

/** A tag in front of the EtherType. The kernel may keep it beside the packet (hardware offload); in the VM it lies in it. */
function pushTag(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  const protocol = call.unsigned(2) & 0xffff;
  if (!resize(environment, packet, MAC_ADDRESSES, TAG_BYTES)) {
    call.returns(-ERRNO.ENOMEM);
    return;
  }
  const view = new DataView(packet.frame.buffer, packet.frame.byteOffset + packet.start + MAC_ADDRESSES);
  // The protocol is given in network order, the tag in the host's.
  view.setUint16(0, protocol, true);
  view.setUint16(2, call.unsigned(3), false);
  call.returns(0);
}

function popTag(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  const view = new DataView(packet.frame.buffer, packet.frame.byteOffset + packet.start);
  const isTagged = packet.length >= MAC_ADDRESSES + TAG_BYTES + 2 && [0x8100, 0x88a8].includes(view.getUint16(12));
  if (isTagged) resize(environment, packet, MAC_ADDRESSES, -TAG_BYTES);
  else touch(environment, packet);
  call.returns(0);
}

/** Sets "congestion experienced" where the packet's ends understand it (RFC 3168); 1 where it is set now. */
function setCongestion(environment: Environment, call: HelperCall, networkOffset: number): void {
  const packet = environment.packetOf(call);
  const view = new DataView(packet.frame.buffer, packet.frame.byteOffset + packet.start + networkOffset);
  const version = view.getUint8(0) >> 4;
  const shift = version === 6 ? 4 : 0;
  const bits = (view.getUint8(1) >> shift) & 3;
  touch(environment, packet);
  if (bits === 0 || (version !== 4 && version !== 6)) {
    call.returns(0);
    return;
  }
  if (bits !== 3) {
    const before = view.getUint16(0, true);
    view.setUint8(1, view.getUint8(1) | (3 << shift));
    if (version === 4) view.setUint16(10, replaced(view.getUint16(10, true), before, view.getUint16(0, true)), true);
  }
  call.returns(1);
}

export function skbHelpers(environment: Environment): HelperTable {
  /** Where the network header begins, in bytes from the packet's: programs of tc and XDP see the link layer. */
  const networkOffset = () => (/^(?:sched_|xdp)/.test(environment.programType) ? ETHERNET_BYTES : 0);
  return {
    skb_load_bytes: [4, (call) => loadBytes(environment, call, (packet) => packet.start)],
    skb_load_bytes_relative: [
      5,
      (call) => {
        const isNetwork = call.unsigned(5) === 1;
        const link = networkOffset() === 0 ? -ETHERNET_BYTES : 0;
        loadBytes(environment, call, (packet) => packet.start + (isNetwork ? networkOffset() : link));
      },
    ],
    skb_store_bytes: [5, (call) => storeBytes(environment, call)],
    l3_csum_replace: [5, (call) => replaceChecksum(environment, call, false)],
    l4_csum_replace: [5, (call) => replaceChecksum(environment, call, true)],
    skb_pull_data: [2, (call) => pullData(environment, call)],
    skb_change_tail: [3, (call) => changeTail(environment, call)],
    skb_change_head: [
      3,
      (call) => {
        const packet = environment.packetOf(call);
        const isRight = call.wide(3) === 0n && call.unsigned(2) <= 0xffff;
        call.returns(isRight && resize(environment, packet, 0, call.unsigned(2)) ? 0 : -ERRNO.EINVAL);
      },
    ],
    skb_adjust_room: [4, (call) => adjustRoom(environment, call, networkOffset())],
    skb_vlan_push: [3, (call) => pushTag(environment, call)],
    skb_vlan_pop: [1, (call) => popTag(environment, call)],
    skb_ecn_set_ce: [1, (call) => setCongestion(environment, call, networkOffset())],
    skb_change_type: [2, (call) => call.returns(call.unsigned(2) > 3 ? -ERRNO.EINVAL : 0)],
    csum_update: [2, (call) => call.returns(-ENOTSUPP)],
    csum_level: [2, (call) => call.returns(-ERRNO.EACCES)],
    set_hash_invalid: [1, (call) => call.returns(0)],
    set_hash: [2, (call) => call.returns(0)],
    get_hash_recalc: [1, (call) => call.returns(0)],
    get_cgroup_classid: [1, (call) => call.returns(0)],
    get_route_realm: [1, (call) => call.returns(0)],
    skb_cgroup_id: [1, (call) => call.returnsWide(environment.world.task?.cgroup ?? 1n)],
    skb_ancestor_cgroup_id: [2, (call) => call.returnsWide(environment.world.task?.cgroup ?? 1n)],
    skb_under_cgroup: [
      3,
      (call) => call.returns(call.map(2).reference(Uint8Array.of(call.unsigned(3), 0, 0, 0)) === undefined ? 0 : 1),
    ],
  };
}

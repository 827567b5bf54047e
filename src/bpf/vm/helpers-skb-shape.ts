/**
 * Room `bpf`: the VM's helpers that change the shape of an sk_buff's packet: its ends, room for headers, VLAN tags
 * (net/core/filter.c, net/core/skbuff.c).
 *
 * A newcomer would get wrong: an sk_buff's outermost VLAN tag lies beside the packet (vlan_tci), not in it. Pushing a
 * second one moves the first into the packet, and popping one moves the next out of it.
 */
import { ERRNO } from '../../kernel/errno.ts';
import type { Environment } from './environment.ts';
import type { HelperCall } from './helper-call.ts';
import type { HelperTable } from './helper-table.ts';
import { networkOffsetOf, touch } from './helpers-skb.ts';
import { ETHERNET_BYTES } from './helpers-xdp.ts';
import type { Packet } from './packet.ts';

/** bpf_adj_room_mode. */
const ADJ_ROOM_NET = 0;
const ADJ_ROOM_MAC = 1;
/** BPF_F_ADJ_ROOM_FIXED_GSO up to BPF_F_ADJ_ROOM_DECAP_L3_IPV6. */
const ADJ_ROOM_FLAGS = 0xff00_0000_0000_01ffn;
const ADJ_ROOM_MAX = 0xfff;
/** SKB_MAX_ALLOC: four pages less what an sk_buff's end takes. */
const SKB_MAX = 4 * 4096 - 320;
const MAC_ADDRESSES = 12;
const TAG_BYTES = 4;
const ETH_P_IP = 0x0800;
const ETH_P_IPV6 = 0x86dd;
const ETH_P_8021Q = 0x8100;
const ETH_P_8021AD = 0x88a8;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
/** Not among user space's errno values: include/linux/errno.h. */
const ENOTSUPP = 524;

const isTag = (protocol: number): boolean => protocol === ETH_P_8021Q || protocol === ETH_P_8021AD;
const swap16 = (value: number): number => ((value & 0xff) << 8) | ((value >> 8) & 0xff);
const networkBytes = (protocol: number): number => (protocol === ETH_P_IPV6 ? IPV6_BYTES : IPV4_BYTES);

/** Makes room of `length` bytes at `offset`, zeroed, or takes as much away where it is negative. */
function resize(environment: Environment, packet: Packet, offset: number, length: number): void {
  const start = packet.start - length;
  packet.frame.copyWithin(start, packet.start, packet.start + offset);
  if (length > 0) packet.frame.fill(0, start + offset, start + offset + length);
  environment.movePacket(packet, start, start, packet.end);
}

/** What is wrong with a change of room, as the kernel looks at it; 0 for nothing. */
function roomProblem(packet: Packet, call: HelperCall, protocol: number, networkOffset: number): number {
  const difference = call.signed(2);
  const mode = call.unsigned(3);
  if ((call.wide(4) & ~ADJ_ROOM_FLAGS) !== 0n) return -ERRNO.EINVAL;
  if (Math.abs(difference) > ADJ_ROOM_MAX) return -ERRNO.EFAULT;
  if (protocol !== ETH_P_IP && protocol !== ETH_P_IPV6) return -ENOTSUPP;
  if (mode !== ADJ_ROOM_NET && mode !== ADJ_ROOM_MAC) return -ENOTSUPP;
  const left = packet.length - networkOffset + difference;
  const isTooShort = difference < 0 && left < networkBytes(protocol);
  return isTooShort || (difference > 0 && packet.length + difference > SKB_MAX) ? -ENOTSUPP : 0;
}

function adjustRoom(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  const protocol = environment.fields?.number('protocol') ?? 0;
  const networkOffset = networkOffsetOf(environment);
  const problem = roomProblem(packet, call, protocol, networkOffset);
  const offset = networkOffset + (call.unsigned(3) === ADJ_ROOM_MAC ? 0 : networkBytes(protocol));
  if (problem === 0) resize(environment, packet, offset, call.signed(2));
  else touch(environment, packet);
  call.returns(problem);
}

function changeTail(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  const length = call.unsigned(2);
  const networkOffset = networkOffsetOf(environment);
  const protocol = environment.fields?.number('protocol') ?? 0;
  // __bpf_skb_min_len: the network header's beginning must stay, and of IP its least header.
  const isIp = protocol === ETH_P_IP || protocol === ETH_P_IPV6;
  const least = Math.max(networkOffset, isIp ? networkOffset : 0, 1);
  if (call.wide(3) !== 0n || length > SKB_MAX || length < least) {
    touch(environment, packet);
    call.returns(-ERRNO.EINVAL);
    return;
  }
  const end = packet.start + length;
  if (end > packet.end) packet.frame.fill(0, packet.end, end);
  environment.movePacket(packet, packet.metadata, packet.start, end);
  call.returns(0);
}

function changeHead(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  const length = call.unsigned(2);
  if (call.wide(3) !== 0n || packet.length + length > SKB_MAX) {
    touch(environment, packet);
    call.returns(-ERRNO.EINVAL);
    return;
  }
  resize(environment, packet, 0, length);
  call.returns(0);
}

function pullData(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  touch(environment, packet);
  call.returns(call.unsigned(2) > packet.length ? -ERRNO.ENOMEM : 0);
}

const tagView = (packet: Packet): DataView =>
  new DataView(packet.frame.buffer, packet.frame.byteOffset + packet.start + MAC_ADDRESSES);

function pushTag(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  const { fields } = environment;
  if (fields === null) return;
  // Given in network order. What is no tag's protocol becomes that of plain VLANs.
  const given = swap16(call.unsigned(2) & 0xffff);
  if (fields.number('vlan_present') !== 0) {
    resize(environment, packet, MAC_ADDRESSES, TAG_BYTES);
    const view = tagView(packet);
    view.setUint16(0, fields.number('vlan_proto'));
    view.setUint16(2, fields.number('vlan_tci'));
    fields.put('protocol', fields.number('vlan_proto'));
  } else touch(environment, packet);
  fields.put('vlan_present', 1);
  fields.put('vlan_proto', isTag(given) ? given : ETH_P_8021Q);
  fields.put('vlan_tci', call.unsigned(3) & 0xffff);
  call.returns(0);
}

/** Takes the tag out of the packet and gives its value; the context's protocol is what follows it. */
function takeTag(environment: Environment, packet: Packet): number {
  const tag = tagView(packet).getUint16(2);
  resize(environment, packet, MAC_ADDRESSES, -TAG_BYTES);
  environment.fields?.put('protocol', tagView(packet).getUint16(0));
  return tag;
}

function popTag(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  const { fields } = environment;
  touch(environment, packet);
  call.returns(0);
  if (fields === null || packet.length < ETHERNET_BYTES + TAG_BYTES) return;
  if (fields.number('vlan_present') === 0 && isTag(fields.number('protocol'))) takeTag(environment, packet);
  for (const name of ['vlan_present', 'vlan_tci', 'vlan_proto']) fields.put(name, 0);
  const protocol = fields.number('protocol');
  if (!isTag(protocol)) return;
  fields.put('vlan_tci', takeTag(environment, packet));
  fields.put('vlan_present', 1);
  fields.put('vlan_proto', protocol);
}

/** Headers of the other version's size; their content is the program's business (NAT64). */
function changeProtocol(environment: Environment, call: HelperCall): void {
  const packet = environment.packetOf(call);
  const from = environment.fields?.number('protocol') ?? 0;
  const to = swap16(call.unsigned(2) & 0xffff);
  touch(environment, packet);
  const isKnown = (from === ETH_P_IP && to === ETH_P_IPV6) || (from === ETH_P_IPV6 && to === ETH_P_IP);
  if (call.wide(3) !== 0n || !isKnown) {
    call.returns(call.wide(3) !== 0n ? -ERRNO.EINVAL : -ENOTSUPP);
    return;
  }
  const difference = networkBytes(to) - networkBytes(from);
  resize(environment, packet, networkOffsetOf(environment), difference);
  environment.fields?.put('protocol', to);
  call.returns(0);
}

export function skbShapeHelpers(environment: Environment): HelperTable {
  return {
    skb_pull_data: [2, (call) => pullData(environment, call)],
    skb_change_tail: [3, (call) => changeTail(environment, call)],
    skb_change_head: [3, (call) => changeHead(environment, call)],
    skb_adjust_room: [4, (call) => adjustRoom(environment, call)],
    skb_change_proto: [3, (call) => changeProtocol(environment, call)],
    skb_vlan_push: [3, (call) => pushTag(environment, call)],
    skb_vlan_pop: [1, (call) => popTag(environment, call)],
  };
}

/**
 * Room `bpf`: the VM's helpers of programs that see an sk_buff: bytes by offset, checksums, and changes of the packet's
 * shape (net/core/filter.c).
 *
 * A newcomer would get wrong: every helper that may change the packet makes the program's pointers into it worthless,
 * also where it failed or changed only bytes (bpf_helper_changes_pkt_data).
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
/** BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH. */
const STORE_FLAGS = 3n;
/** BPF_CSUM_LEVEL_QUERY to BPF_CSUM_LEVEL_RESET. */
const CSUM_LEVEL_QUERY = 0;
const CSUM_LEVEL_MAX = 3;
/** Not among user space's errno values: include/linux/errno.h. */
const ENOTSUPP = 524;

/** Where the network header begins, in bytes from the packet's: programs of tc see the link layer. */
export function networkOffsetOf(environment: Environment): number {
  return environment.programType.startsWith('sched_') ? ETHERNET_BYTES : 0;
}

/** Makes old pointers into the packet worthless. */
export function touch(environment: Environment, packet: Packet): void {
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
  if (call.wide(5) > STORE_FLAGS) {
    touch(environment, packet);
    call.returns(-ERRNO.EINVAL);
    return;
  }
  const isInside = offset <= 0x7fffffff && offset + size <= packet.length;
  if (isInside) packet.frame.set(source, packet.start + offset);
  touch(environment, packet);
  call.returns(isInside ? 0 : -ERRNO.EFAULT);
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

function setHash(environment: Environment, call: HelperCall, hash: number): void {
  environment.expectContext(call, 1);
  environment.fields?.put('hash', hash);
  call.returns(0);
}

/** Some hash, the same for the same bytes. The kernel's depends on a secret of each boot. */
function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

export function skbHelpers(environment: Environment): HelperTable {
  const networkOffset = () => networkOffsetOf(environment);
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
    skb_ecn_set_ce: [1, (call) => setCongestion(environment, call, networkOffset())],
    skb_change_type: [2, (call) => call.returns(call.unsigned(2) > 3 ? -ERRNO.EINVAL : 0)],
    csum_update: [2, (call) => call.returns(-ENOTSUPP)],
    csum_level: [
      2,
      (call) => {
        const level = call.unsigned(2);
        // The VM's packets were checked by no device: there is no level to ask for.
        call.returns(level > CSUM_LEVEL_MAX ? -ERRNO.EINVAL : level === CSUM_LEVEL_QUERY ? -ERRNO.EACCES : 0);
      },
    ],
    set_hash_invalid: [1, (call) => setHash(environment, call, 0)],
    set_hash: [2, (call) => setHash(environment, call, call.unsigned(2))],
    get_hash_recalc: [
      1,
      (call) => {
        const known = environment.fields?.number('hash') ?? 0;
        const hash = known === 0 ? hashOf(environment.packetOf(call).bytes()) : known;
        environment.fields?.put('hash', hash);
        call.returns(hash);
      },
    ],
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

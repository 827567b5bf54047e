/**
 * Room `bpf`: the VM's helpers for sockets and connections: looking up, choosing, options, storage, SYN cookies,
 * routes, and those of sockops, sk_msg and sysctl programs.
 *
 * A newcomer would get wrong: a socket here is the memory of its struct bpf_sock, which the test gives
 * (`World.socket`). What was looked up must be released before the program ends, as the verifier demands.
 */
import { ERRNO } from '../../kernel/errno.ts';
import { VmStorage } from './buffers.ts';
import type { Environment } from './environment.ts';
import { Violation } from './fault.ts';
import type { HelperCall } from './helper-call.ts';
import type { HelperTable } from './helper-table.ts';
import { lookUpElement } from './helpers-map.ts';
import type { Address } from './memory.ts';

const ZERO: Address = { low: 0, high: 0 };
/** BPF_FIB_LKUP_RET_NOT_FWDED: the packet is for this host, or nothing is known of where it goes. */
const NOT_FORWARDED = 4;
const STORAGE_GET_CREATE = 1;
const DEFAULT_MSS = 1460n;
const DEFAULT_COOKIE = 0x12345678;
const TCP_ACKNOWLEDGEMENT = 8;

function lookUp(environment: Environment, call: HelperCall, protocol: 'tcp' | 'udp'): void {
  environment.expectContext(call, 1);
  const tuple = call.bytes(2, call.unsigned(3)).slice();
  const found = environment.world.socket?.({ protocol, tuple, namespace: call.wide(4) }) ?? null;
  call.mayBeNull = true;
  call.returnsAddress(
    found === null ? ZERO : environment.hold(found, `a looked-up ${protocol} socket`, null).address(),
  );
}

/** A look-up in a map of sockets gives a socket that must be released; in others what it gives everywhere. */
function lookUpInMap(environment: Environment, call: HelperCall): void {
  const map = call.map(1);
  if (!/^sock(?:map|hash)$/.test(map.spec.type)) {
    lookUpElement(call, environment.world.cpu?.() ?? 0);
    return;
  }
  const found = map.reference(call.reach(2, map.spec.keySize), call.at);
  call.mayBeNull = true;
  call.returnsAddress(
    found instanceof Uint8Array ? environment.hold(found, 'a socket of a map', null).address() : ZERO,
  );
}

function release(environment: Environment, call: HelperCall): void {
  const region = call.region(1);
  if (!environment.held.has(region)) throw new Violation('argument 1 is no socket that was looked up');
  environment.give(region, 'the socket was released');
  call.returns(0);
}

function assign(environment: Environment, call: HelperCall): void {
  environment.expectContext(call, 1);
  const socket = call.isNull(2) ? null : call.region(2).bytes;
  environment.effects.push({ kind: 'socket', socket, flags: call.unsigned(3) });
  call.returns(0);
}

/** Gives what argument 1 is a pointer to again, or null, with the need to look. */
function same(call: HelperCall): void {
  call.mayBeNull = true;
  call.returnsAddress(call.address(1));
}

function storageGet(call: HelperCall): void {
  const map = call.mapOf(1, VmStorage);
  call.mayBeNull = true;
  if (call.isNull(2)) {
    call.returns(0);
    return;
  }
  const owner = call.region(2).bytes;
  const flags = call.unsigned(4);
  const known = map.find(owner);
  if (known !== -1 || (flags & STORAGE_GET_CREATE) === 0) {
    call.returnsValue(map, known);
    return;
  }
  const initial = call.isNull(3) ? null : call.bytes(3, map.spec.valueSize);
  call.returnsValue(map, map.create(owner, initial));
}

function storageDelete(call: HelperCall): void {
  call.returns(call.isNull(2) ? -ERRNO.EINVAL : call.mapOf(1, VmStorage).delete(call.region(2).bytes));
}

function storageHelpers(environment: Environment): HelperTable {
  const cgroup = new Uint8Array(8);
  return {
    sk_storage_get: [4, storageGet],
    sk_storage_delete: [2, storageDelete],
    task_storage_get: [4, storageGet],
    task_storage_delete: [2, storageDelete],
    inode_storage_get: [4, storageGet],
    inode_storage_delete: [2, storageDelete],
    cgrp_storage_get: [4, storageGet],
    cgrp_storage_delete: [2, storageDelete],
    get_local_storage: [
      2,
      (call) => {
        const map = call.mapOf(1, VmStorage);
        // Never null: the storage is there as long as the program is attached.
        call.returnsValue(map, map.create(cgroup, null));
        call.mayBeNull = false;
      },
    ],
    get_current_task: [0, (call) => call.returnsAddress(taskOf(environment))],
    get_current_task_btf: [0, (call) => call.returnsAddress(taskOf(environment))],
  };
}

const noTask = new Uint8Array(0);

function taskOf(environment: Environment): Address {
  return environment.memory(environment.world.task?.memory ?? noTask, 'the current task').address();
}

function socketOption(environment: Environment, call: HelperCall, isSet: boolean): void {
  const [level, name, size] = [call.signed(2), call.signed(3), call.unsigned(5)];
  const value = call.bytes(4, size, !isSet);
  const answer = environment.world.socketOption?.(isSet, level, name, value);
  if (isSet) environment.setOption(level, name, value.slice());
  else if (answer === undefined) {
    const known = environment.option(level, name);
    value.fill(0);
    if (known !== undefined) value.set(known.subarray(0, size));
    else if (level !== 0) {
      call.returns(-ERRNO.EINVAL);
      return;
    }
  }
  call.returns(answer ?? 0);
}

function cookieHelpers({ world }: Environment): HelperTable {
  const cookie = (ip: Uint8Array, tcp: Uint8Array) => (world.synCookie?.(ip, tcp) ?? DEFAULT_COOKIE) >>> 0;
  const make = (call: HelperCall, ip: Uint8Array, tcp: Uint8Array): void =>
    call.returnsWide((DEFAULT_MSS << 32n) | BigInt(cookie(ip, tcp)));
  /** The acknowledgement of a cookie is one more than it (RFC 9293 section 3.5). */
  const isRight = (ip: Uint8Array, tcp: Uint8Array): boolean => {
    const view = new DataView(tcp.buffer, tcp.byteOffset, tcp.byteLength);
    return ((view.getUint32(TCP_ACKNOWLEDGEMENT) - 1) | 0) === (cookie(ip, tcp) | 0);
  };
  const rawMake = (call: HelperCall, ipBytes: number): void =>
    make(call, call.bytes(1, ipBytes), call.bytes(2, call.unsigned(3)));
  const rawCheck = (call: HelperCall, ipBytes: number): void =>
    call.returns(isRight(call.bytes(1, ipBytes), call.bytes(2, 20)) ? 0 : -ERRNO.EACCES);
  return {
    tcp_gen_syncookie: [5, (call) => make(call, call.bytes(2, call.unsigned(3)), call.bytes(4, call.unsigned(5)))],
    tcp_check_syncookie: [
      5,
      (call) => {
        const right = isRight(call.bytes(2, call.unsigned(3)), call.bytes(4, call.unsigned(5)));
        call.returns(right ? 0 : -ERRNO.ENOENT);
      },
    ],
    tcp_raw_gen_syncookie_ipv4: [3, (call) => rawMake(call, 20)],
    tcp_raw_gen_syncookie_ipv6: [3, (call) => rawMake(call, 40)],
    tcp_raw_check_syncookie_ipv4: [2, (call) => rawCheck(call, 20)],
    tcp_raw_check_syncookie_ipv6: [2, (call) => rawCheck(call, 40)],
  };
}

/** Texts of a sysctl, copied as the kernel does: cut with -E2BIG, and always ended by a NUL. */
function copyText(call: HelperCall, text: string | undefined): void {
  const target = call.bytes(2, call.unsigned(3), true).fill(0);
  const bytes = Buffer.from(text ?? '');
  target.set(bytes.subarray(0, Math.max(0, target.length - 1)));
  if (text === undefined) call.returns(-ERRNO.EINVAL);
  else call.returns(bytes.length >= target.length ? -ERRNO.E2BIG : bytes.length);
}

/** BPF_F_SYSCTL_BASE_NAME: only what stands behind the last slash. */
const BASE_NAME = 1;

function sysctlHelpers(environment: Environment): HelperTable {
  return {
    sysctl_get_name: [
      4,
      (call) => {
        const name = environment.sysctl?.name;
        copyText(call, call.unsigned(4) === BASE_NAME ? name?.slice(name.lastIndexOf('/') + 1) : name);
      },
    ],
    sysctl_get_current_value: [3, (call) => copyText(call, environment.sysctl?.current)],
    sysctl_get_new_value: [3, (call) => copyText(call, environment.sysctl?.next)],
    sysctl_set_new_value: [
      3,
      (call) => {
        environment.sysctlValue = Buffer.from(call.bytes(2, call.unsigned(3)))
          .toString('latin1')
          .replace(/\0.*$/s, '');
        call.returns(environment.sysctl?.next === undefined ? -ERRNO.EINVAL : 0);
      },
    ],
  };
}

function messageHelpers(environment: Environment): HelperTable {
  const record = (kind: 'applyBytes' | 'corkBytes') => (call: HelperCall) => {
    environment.expectContext(call, 1);
    environment.effects.push({ kind, bytes: call.unsigned(2) });
    call.returns(0);
  };
  return {
    msg_apply_bytes: [2, record('applyBytes')],
    msg_cork_bytes: [2, record('corkBytes')],
    msg_pull_data: [
      4,
      (call) => {
        const packet = environment.packetOf(call);
        const isInside = call.unsigned(3) <= packet.length && call.unsigned(2) < call.unsigned(3);
        environment.movePacket(packet, packet.metadata, packet.start, packet.end);
        call.returns(isInside ? 0 : -ERRNO.EINVAL);
      },
    ],
  };
}

export function socketHelpers(environment: Environment): HelperTable {
  const { world } = environment;
  const cookie = [1, (call: HelperCall) => call.returnsWide(world.cookie?.(call.region(1).bytes) ?? 1n)] as const;
  return {
    ...storageHelpers(environment),
    ...cookieHelpers(environment),
    ...sysctlHelpers(environment),
    ...messageHelpers(environment),
    map_lookup_elem: [2, (call) => lookUpInMap(environment, call)],
    sk_lookup_tcp: [5, (call) => lookUp(environment, call, 'tcp')],
    skc_lookup_tcp: [5, (call) => lookUp(environment, call, 'tcp')],
    sk_lookup_udp: [5, (call) => lookUp(environment, call, 'udp')],
    sk_release: [1, (call) => release(environment, call)],
    sk_assign: [3, (call) => assign(environment, call)],
    sk_fullsock: [1, same],
    get_listener_sock: [1, same],
    skc_to_tcp_sock: [1, same],
    skc_to_tcp6_sock: [1, same],
    skc_to_udp6_sock: [1, same],
    tcp_sock: [
      1,
      (call) => {
        const found = world.tcpSocket?.(call.region(1).bytes) ?? null;
        call.mayBeNull = true;
        call.returnsAddress(found === null ? ZERO : environment.memory(found, 'a TCP socket').address());
      },
    ],
    get_socket_cookie: cookie,
    get_netns_cookie: [1, (call) => call.returns(1)],
    get_socket_uid: [1, (call) => call.returns(world.task?.uid ?? 0)],
    setsockopt: [5, (call) => socketOption(environment, call, true)],
    getsockopt: [5, (call) => socketOption(environment, call, false)],
    bind: [3, (call) => call.returns(call.bytes(2, call.unsigned(3)).length < 16 ? -ERRNO.EINVAL : 0)],
    sock_ops_cb_flags_set: [
      2,
      (call) => {
        environment.expectContext(call, 1);
        environment.fields?.put('bpf_sock_ops_cb_flags', call.unsigned(2));
        call.returns(0);
      },
    ],
    fib_lookup: [
      4,
      (call) => {
        environment.expectContext(call, 1);
        const parameters = call.bytes(2, call.unsigned(3));
        call.bytes(2, call.unsigned(3), true);
        call.returns(world.route?.({ parameters, flags: call.unsigned(4) }) ?? NOT_FORWARDED);
      },
    ],
    check_mtu: [5, (call) => call.returns(0)],
    send_signal: [1, (call) => signal(environment, call)],
    send_signal_thread: [1, (call) => signal(environment, call)],
    get_stackid: [3, (call) => call.returns(world.stackId?.() ?? 0)],
  };
}

function signal(environment: Environment, call: HelperCall): void {
  environment.effects.push({ kind: 'signal', signal: call.unsigned(1) });
  call.returns(0);
}

/**
 * Room `bpf`: the VM's helpers that send a packet, a connection or the program itself elsewhere. Where to is recorded;
 * the test sees it.
 *
 * A newcomer would get wrong: what they return is the verdict that the program should return, and it differs by program
 * type.
 */
import { XDP_ABORTED, XDP_REDIRECT } from '../../kernel/bpf-abi.ts';
import { ERRNO } from '../../kernel/errno.ts';
import type { Environment } from './environment.ts';
import { Violation } from './fault.ts';
import type { HelperCall } from './helper-call.ts';
import type { HelperTable } from './helper-table.ts';
import type { VmMap } from './maps.ts';

const TC_ACT_SHOT = 2;
const TC_ACT_REDIRECT = 7;
const BPF_F_INGRESS = 1;
const BPF_F_BROADCAST = 8;
const SK_DROP = 0;
const SK_PASS = 1;
/** MAX_TAIL_CALL_CNT. */
const TAIL_CALLS_MAX = 33;
/** The verdicts that redirect_map's flags may ask for where the key is missing. */
const FALLBACK_MASK = 3;

/** What a prog array's element stands for. */
export interface TailTarget {
  readonly slot: number;
}

const isTarget = (value: unknown): value is TailTarget =>
  typeof value === 'object' && value !== null && 'slot' in value;

function tailCall(environment: Environment, call: HelperCall): void {
  environment.expectContext(call, 1);
  const map = call.map(2);
  if (map.spec.type !== 'prog_array') throw new Violation(`argument 2 is a ${map.spec.type}, a prog_array is needed`);
  const target = map.reference(new Uint8Array(Uint32Array.of(call.unsigned(3)).buffer));
  if (!isTarget(target) || environment.tailCalls === TAIL_CALLS_MAX) {
    call.returns(-ERRNO.ENOENT);
    return;
  }
  environment.tailCalls++;
  call.machine.tailCall(target.slot);
}

function redirect(environment: Environment, call: HelperCall): void {
  const isXdp = environment.programType === 'xdp';
  const flags = call.unsigned(2);
  if ((flags & ~(isXdp ? 0 : BPF_F_INGRESS)) !== 0) {
    call.returns(isXdp ? XDP_ABORTED : TC_ACT_SHOT);
    return;
  }
  environment.effects.push({ kind: 'redirect', interfaceIndex: call.unsigned(1), flags });
  call.returns(isXdp ? XDP_REDIRECT : TC_ACT_REDIRECT);
}

const keyOf = (index: number): Uint8Array => new Uint8Array(Uint32Array.of(index).buffer);
const nameOf = (map: VmMap): string => map.spec.name ?? map.spec.type;

function redirectMap(environment: Environment, call: HelperCall): void {
  const map = call.map(1);
  const flags = call.wide(3);
  const isBroadcast = (Number(flags & 0xffn) & BPF_F_BROADCAST) !== 0;
  const key = keyOf(call.unsigned(2));
  if (!isBroadcast && map.findValue(key, 0) === -1) {
    call.returns(Number(flags & 0xffn) & FALLBACK_MASK);
    return;
  }
  environment.effects.push({ kind: 'redirectMap', map: nameOf(map), key, flags });
  call.returns(XDP_REDIRECT);
}

/** Redirection to a socket of a map: by a number, or by a key that lies in memory. */
function redirectSocket(environment: Environment, call: HelperCall, isHash: boolean): void {
  environment.expectContext(call, 1);
  const map = call.map(2);
  const key = isHash ? call.bytes(3, map.spec.keySize).slice() : keyOf(call.unsigned(3));
  if (map.findValue(key, 0) === -1) {
    call.returns(SK_DROP);
    return;
  }
  environment.effects.push({ kind: 'redirectMap', map: nameOf(map), key, flags: call.wide(4) });
  call.returns(SK_PASS);
}

/** The program puts its own socket into a map. */
function updateSocketMap(environment: Environment, call: HelperCall): void {
  environment.expectContext(call, 1);
  const map = call.map(2);
  const key = call.bytes(3, map.spec.keySize).slice();
  const result = map.set(key, new Uint8Array(map.spec.valueSize), call.unsigned(4));
  if (result === 0) {
    map.setReference(key, environment.context?.bytes.slice());
    environment.effects.push({ kind: 'socketMap', map: nameOf(map), key });
  }
  call.returns(result);
}

function selectReuseport(environment: Environment, call: HelperCall): void {
  environment.expectContext(call, 1);
  const map = call.map(2);
  const key = call.bytes(3, map.spec.keySize).slice();
  if (map.findValue(key, 0) === -1) {
    call.returns(-ERRNO.ENOENT);
    return;
  }
  environment.effects.push({ kind: 'socket', socket: map.reference(key) ?? key, flags: call.unsigned(4) });
  call.returns(0);
}

export function redirectHelpers(environment: Environment): HelperTable {
  const other = (call: HelperCall, kind: 'redirectPeer' | 'redirectNeighbour', flags: number): void => {
    environment.effects.push({ kind, interfaceIndex: call.unsigned(1), flags });
    call.returns(flags === 0 ? TC_ACT_REDIRECT : TC_ACT_SHOT);
  };
  return {
    tail_call: [3, (call) => tailCall(environment, call)],
    redirect: [2, (call) => redirect(environment, call)],
    redirect_peer: [2, (call) => other(call, 'redirectPeer', call.unsigned(2))],
    redirect_neigh: [4, (call) => other(call, 'redirectNeighbour', call.unsigned(4))],
    redirect_map: [3, (call) => redirectMap(environment, call)],
    clone_redirect: [
      3,
      (call) => {
        const packet = environment.packetOf(call);
        const [interfaceIndex, flags] = [call.unsigned(2), call.unsigned(3)];
        environment.effects.push({ kind: 'clone', interfaceIndex, flags, packet: packet.bytes() });
        environment.movePacket(packet, packet.metadata, packet.start, packet.end);
        call.returns(0);
      },
    ],
    sk_redirect_map: [4, (call) => redirectSocket(environment, call, false)],
    msg_redirect_map: [4, (call) => redirectSocket(environment, call, false)],
    sk_redirect_hash: [4, (call) => redirectSocket(environment, call, true)],
    msg_redirect_hash: [4, (call) => redirectSocket(environment, call, true)],
    sock_map_update: [4, (call) => updateSocketMap(environment, call)],
    sock_hash_update: [4, (call) => updateSocketMap(environment, call)],
    sk_select_reuseport: [4, (call) => selectReuseport(environment, call)],
  };
}

/**
 * Room `net`: the options of datagram sockets, with the checks that the kernel does not make.
 *
 * A newcomer would get wrong: an IPv6 socket that takes IPv4 too has two sets of options, one for each protocol; both are set.
 * And -1 is no error for the kernel (it means "the default again"), so it is refused here.
 */

import { isIPv4 } from 'node:net';
import type { SocketAddress } from '../kernel/address.ts';
import { encodeAddress } from '../kernel/address.ts';
import * as constants from '../kernel/constants.ts';
import { KernelError } from '../kernel/error.ts';
import { interfaceIndex } from '../kernel/interface.ts';
import { SOCKADDR_IN, SOCKADDR_IN6 } from '../kernel/layouts.ts';
import * as sockets from '../kernel/socket.ts';
import * as options from './options.ts';

export interface MulticastOptions {
  /** Groups to join, literal addresses. */
  readonly join?: readonly string[];
  /** The interface, by name or index, that groups are joined on and multicast leaves by. Default: the route's. */
  readonly interface?: string | number;
  /** Hops, 0 (this host) to 255. Default 1. */
  readonly ttl?: number;
  /** Whether this host's own members hear what we send. Default true. */
  readonly loop?: boolean;
}

export interface DatagramSocketOptions {
  /** SO_REUSEPORT: several sockets share the port, the kernel spreads the senders. */
  readonly reusePort?: boolean;
  /** SO_REUSEADDR: several sockets may bind the port; the last one gets what is sent to this host alone. */
  readonly reuseAddress?: boolean;
  /** IPv6 only, also for `::`. Default false. */
  readonly ipv6Only?: boolean;
  /** SO_BROADCAST: without it, sending to a broadcast address fails with EACCES. */
  readonly broadcast?: boolean;
  /** Hops of what is not multicast, 1 to 255. */
  readonly ttl?: number;
  /** Type of service or traffic class, 0 to 255: DSCP times 4, and ECN. */
  readonly tos?: number;
  readonly multicast?: MulticastOptions;
  /** SO_RCVBUF; the kernel doubles it, and caps it at net.core.rmem_max. */
  readonly receiveBufferBytes?: number;
  /** SO_SNDBUF; the kernel doubles it, and caps it at net.core.wmem_max. */
  readonly sendBufferBytes?: number;
}

type Family = SocketAddress['family'];

/** Everything that is set before the socket is bound. */
export function applyBeforeBind(descriptor: number, family: Family, given: DatagramSocketOptions): void {
  options.setBuffers(descriptor, given);
  if (family === 'unix') return;
  const { SOL_SOCKET } = constants;
  if (given.reuseAddress === true)
    options.requireInteger(descriptor, SOL_SOCKET, constants.SO_REUSEADDR, 1, 'SO_REUSEADDR');
  if (given.reusePort === true)
    options.requireInteger(descriptor, SOL_SOCKET, constants.SO_REUSEPORT, 1, 'SO_REUSEPORT');
  options.setIpv6Only(descriptor, family, given.ipv6Only === true);
  if (given.broadcast === true) setBroadcast(descriptor, true);
  if (given.ttl !== undefined) setTtl(descriptor, family, given.ttl);
  if (given.tos !== undefined) options.setTypeOfService(descriptor, family, given.tos);
}

/** What is set once it is bound. */
export function applyAfterBind(descriptor: number, family: Family, given: DatagramSocketOptions): void {
  const multicast = given.multicast;
  if (multicast === undefined || family === 'unix') return;
  if (multicast.interface !== undefined) setMulticastInterface(descriptor, family, multicast.interface);
  if (multicast.ttl !== undefined) setMulticastTtl(descriptor, family, multicast.ttl);
  if (multicast.loop !== undefined) setMulticastLoop(descriptor, family, multicast.loop);
  for (const group of multicast.join ?? []) changeMembership(descriptor, true, group, multicast.interface);
}

export function setBroadcast(descriptor: number, on: boolean): void {
  options.requireInteger(descriptor, constants.SOL_SOCKET, constants.SO_BROADCAST, on ? 1 : 0, 'SO_BROADCAST');
}

/** @throws KernelError EINVAL outside 1 to 255 */
export function setTtl(descriptor: number, family: Family, hops: number): void {
  options.requireRange('ttl', hops, 1, 255);
  setBoth(descriptor, family, 'ttl', hops, constants.IP_TTL, constants.IPV6_UNICAST_HOPS);
}

/** @throws KernelError EINVAL outside 0 to 255 */
export function setMulticastTtl(descriptor: number, family: Family, hops: number): void {
  options.requireRange('multicast ttl', hops, 0, 255);
  setBoth(descriptor, family, 'multicast ttl', hops, constants.IP_MULTICAST_TTL, constants.IPV6_MULTICAST_HOPS);
}

export function setMulticastLoop(descriptor: number, family: Family, on: boolean): void {
  setBoth(descriptor, family, 'multicast loop', on ? 1 : 0, constants.IP_MULTICAST_LOOP, constants.IPV6_MULTICAST_LOOP);
}

function setBoth(
  descriptor: number,
  family: Family,
  name: string,
  value: number,
  option4: number,
  option6: number,
): void {
  if (family === 'ipv6') options.requireInteger(descriptor, constants.SOL_IPV6, option6, value, name);
  if (family !== 'unix') options.requireInteger(descriptor, constants.SOL_IP, option4, value, name);
}

function indexOf(given: string | number): number {
  if (typeof given === 'string') return interfaceIndex(given);
  return options.requireRange('interface', given, 0, 2147483647);
}

/** struct ip_mreqn: group, our address, interface index (ip(7)). */
function membership4(group: string | null, index: number): Uint8Array {
  const request = new Uint8Array(12);
  if (group !== null) {
    const name = new Uint8Array(128);
    encodeAddress({ family: 'ipv4', address: group, port: 0 }, name, 0);
    request.set(name.subarray(SOCKADDR_IN.sin_addr, SOCKADDR_IN.sin_addr + 4));
  }
  new DataView(request.buffer).setInt32(8, index, true);
  return request;
}

/** struct ipv6_mreq: group, interface index (ipv6(7)). */
function membership6(group: string, index: number): Uint8Array {
  const name = new Uint8Array(128);
  encodeAddress({ family: 'ipv6', address: group, port: 0 }, name, 0);
  const request = new Uint8Array(20);
  request.set(name.subarray(SOCKADDR_IN6.sin6_addr, SOCKADDR_IN6.sin6_addr + 16));
  const view = new DataView(request.buffer);
  // A group written with its interface (ff02::1%eth0) names it itself.
  view.setInt32(16, index > 0 ? index : new DataView(name.buffer).getUint32(SOCKADDR_IN6.sin6_scope_id, true), true);
  return request;
}

function requireOption(descriptor: number, level: number, option: number, value: Uint8Array, object: string): void {
  if (descriptor < 0) return;
  const result = sockets.setsockopt(descriptor, level, option, value);
  if (result < 0) throw new KernelError('setsockopt', result, { object });
}

export function setMulticastInterface(descriptor: number, family: Family, given: string | number): void {
  const index = indexOf(given);
  const name = `multicast interface ${given}`;
  if (family === 'ipv6')
    options.requireInteger(descriptor, constants.SOL_IPV6, constants.IPV6_MULTICAST_IF, index, name);
  if (family !== 'unix') {
    requireOption(descriptor, constants.SOL_IP, constants.IP_MULTICAST_IF, membership4(null, index), name);
  }
}

/** Joins or leaves a group; the group's own family decides, so a dual-stack socket joins both kinds. */
export function changeMembership(descriptor: number, join: boolean, group: string, given?: string | number): void {
  const index = given === undefined ? 0 : indexOf(given);
  const object = `${join ? 'join' : 'leave'} ${group}`;
  if (isIPv4(group)) {
    const option = join ? constants.IP_ADD_MEMBERSHIP : constants.IP_DROP_MEMBERSHIP;
    requireOption(descriptor, constants.SOL_IP, option, membership4(group, index), object);
  } else {
    const option = join ? constants.IPV6_JOIN_GROUP : constants.IPV6_LEAVE_GROUP;
    requireOption(descriptor, constants.SOL_IPV6, option, membership6(group, index), object);
  }
}

/**
 * Room `net`: the options of stream sockets, for listeners (whose connections inherit them) and for connections to be made.
 *
 * A newcomer would get wrong: SO_RCVLOWAT is missing on purpose. Readiness honours it and an io_uring receive does not, so
 * the engines would differ. SO_LINGER is missing here too: a listener's connections would inherit it, and 0 resets every one.
 */
import type { SocketAddress } from '../kernel/address.ts';
import * as constants from '../kernel/constants.ts';
import * as options from './options.ts';

export interface StreamSocketOptions extends options.BufferSizes {
  /** TCP_NODELAY. Default true, since the writes of a turn leave together anyway. */
  readonly noDelay?: boolean;
  /** Keep-alive probes after this idle time in ms; it becomes whole seconds, 1 to 32,767. Default off. */
  readonly keepAliveMs?: number;
  /** Time between two probes in ms, as whole seconds, 1 to 32,767. Needs `keepAliveMs`. */
  readonly keepAliveIntervalMs?: number;
  /** Probes without an answer after which the connection fails with ETIMEDOUT, 1 to 127. Needs `keepAliveMs`. */
  readonly keepAliveCount?: number;
  /** Type of service or traffic class, 0 to 255: DSCP times 4. The two ECN bits stay TCP's. */
  readonly tos?: number;
  /** SO_RCVBUF, which ends the kernel's own tuning; it is doubled, and capped at net.core.rmem_max. */
  readonly receiveBufferBytes?: number;
  /** SO_SNDBUF, which ends the kernel's own tuning; it is doubled, and capped at net.core.wmem_max. */
  readonly sendBufferBytes?: number;
  /** TCP_USER_TIMEOUT: data without acknowledgement for this many ms fails the connection with ETIMEDOUT. */
  readonly userTimeoutMs?: number;
  /** TCP_NOTSENT_LOWAT: bytes the kernel may hold that have not been sent yet; what is above waits in the connection. */
  readonly notSentLowWaterBytes?: number;
}

/**
 * Sets what is given, before the socket is connected or listens.
 * @throws KernelError EINVAL that names the option and what is allowed
 */
export function applyStreamOptions(
  descriptor: number,
  family: SocketAddress['family'],
  given: StreamSocketOptions,
): void {
  options.setBuffers(descriptor, given);
  if (family === 'unix') return;
  if (given.noDelay !== false) options.setNoDelay(descriptor, true);
  if (given.keepAliveMs !== undefined) {
    options.setKeepAlive(descriptor, true, given.keepAliveMs, given.keepAliveIntervalMs, given.keepAliveCount);
  }
  if (given.tos !== undefined) options.setTypeOfService(descriptor, family, given.tos);
  if (given.userTimeoutMs !== undefined) setUserTimeout(descriptor, given.userTimeoutMs);
  if (given.notSentLowWaterBytes !== undefined) setNotSentLowWater(descriptor, given.notSentLowWaterBytes);
}

/** TCP_USER_TIMEOUT in ms; 0 is the kernel's own patience. */
export function setUserTimeout(descriptor: number, timeoutMs: number): void {
  options.requireRange('TCP_USER_TIMEOUT (user timeout)', timeoutMs, 0, 2147483647);
  const { IPPROTO_TCP, TCP_USER_TIMEOUT } = constants;
  options.requireInteger(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, timeoutMs, 'TCP_USER_TIMEOUT (user timeout)');
}

/** TCP_NOTSENT_LOWAT in bytes; 0 is the system's (net.ipv4.tcp_notsent_lowat). */
export function setNotSentLowWater(descriptor: number, bytes: number): void {
  options.requireRange('TCP_NOTSENT_LOWAT (not-sent low water)', bytes, 0, 2147483647);
  const { IPPROTO_TCP, TCP_NOTSENT_LOWAT } = constants;
  options.requireInteger(descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT, bytes, 'TCP_NOTSENT_LOWAT (not-sent low water)');
}

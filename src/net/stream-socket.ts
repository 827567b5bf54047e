/**
 * Room `net`: what can be asked of and set on the socket below a connection.
 *
 * A newcomer would get wrong: an IPv6 socket whose peer is an IPv4 host has the options of both protocols; and a connection
 * that is still being made has no socket, so `connect.ts` keeps what is set until there is one.
 */
import * as loop from '../engine/loop.ts';
import type { SocketAddress } from '../kernel/address.ts';
import { type PeerCredentials, peerCredentials } from '../kernel/socket.ts';
import * as options from './options.ts';
import { Outgoing } from './outgoing.ts';
import { passDescriptors } from './passing.ts';
import * as states from './states.ts';
import * as streamOptions from './stream-options.ts';

export abstract class StreamSocket extends Outgoing {
  /** The descriptor, for socket options; -1 once closed. */
  get descriptor(): number {
    return (this.state & states.ATTACHED) === 0 ? -1 : this.context.runtime.engine.descriptorOf(this.handle);
  }

  get destroyed(): boolean {
    return (this.state & (states.CLOSING | states.CLOSED)) !== 0;
  }

  /** Our own address; null once closed. */
  get localAddress(): SocketAddress | null {
    return (this.state & states.ATTACHED) === 0 ? null : options.ownAddress(this.descriptor);
  }

  /** Does not keep the process running any more. */
  unref(): this {
    if ((this.state & states.UNREFERENCED) === 0) {
      this.state |= states.UNREFERENCED;
      if ((this.state & states.ATTACHED) !== 0) loop.unreference();
    }
    return this;
  }

  ref(): this {
    if ((this.state & states.UNREFERENCED) !== 0) {
      this.state &= ~states.UNREFERENCED;
      if ((this.state & states.ATTACHED) !== 0) loop.reference();
    }
    return this;
  }

  setNoDelay(on = true): this {
    return this.setOption((descriptor) => options.setNoDelay(descriptor, on));
  }

  /**
   * Probes an idle peer after `delayMs`, then every `intervalMs`, and gives up after `count` probes. Times become whole seconds,
   * at least one; what is left out stays as the kernel has it.
   * @throws KernelError EINVAL that names the option and what is allowed
   */
  setKeepAlive(on = true, delayMs = 0, intervalMs?: number, count?: number): this {
    return this.setOption((descriptor) => options.setKeepAlive(descriptor, on, delayMs, intervalMs, count));
  }

  /** Type of service or traffic class, 0 to 255; the two ECN bits stay TCP's. @throws KernelError EINVAL otherwise */
  setTypeOfService(value: number): this {
    return this.setOption((descriptor) =>
      options.setTypeOfService(descriptor, options.familyOf(descriptor), options.requireRange('tos', value, 0, 255)),
    );
  }

  /** TCP_USER_TIMEOUT: unacknowledged data fails the connection with ETIMEDOUT after this many ms; 0 is the kernel's patience. */
  setUserTimeout(timeoutMs: number): this {
    return this.setOption((descriptor) => streamOptions.setUserTimeout(descriptor, timeoutMs));
  }

  /** TCP_NOTSENT_LOWAT: bytes that the kernel may hold unsent; 0 is the system's. */
  setNotSentLowWater(bytes: number): this {
    return this.setOption((descriptor) => streamOptions.setNotSentLowWater(descriptor, bytes));
  }

  /** SO_RCVBUF and SO_SNDBUF; the kernel doubles what is given. */
  setBuffers(sizes: options.BufferSizes): this {
    return this.setOption((descriptor) => options.setBuffers(descriptor, sizes));
  }

  /** On a closed connection nothing is set and nothing is wrong. */
  protected setOption(set: (descriptor: number) => void): this {
    const descriptor = this.descriptor;
    if (descriptor >= 0) set(descriptor);
    return this;
  }

  /** Who connected to, or listens at, the other end of a Unix connection; null for other families and once closed. */
  get peerCredentials(): PeerCredentials | null {
    const descriptor = this.descriptor;
    if (descriptor < 0 || options.familyOf(descriptor) !== 'unix') return null;
    const found = peerCredentials(descriptor);
    return typeof found === 'number' ? null : found;
  }

  /**
   * Passes descriptors to the peer of a Unix connection with `data`, 1 to 4,096 bytes, behind what was written before. They
   * stay the caller's, open until the promise resolves; what is written meanwhile may overtake them.
   * @throws KernelError where the kernel refuses, or the connection ends; RangeError without data or above 253 descriptors
   */
  sendDescriptors(descriptors: readonly number[], data: Uint8Array): Promise<void> {
    return passDescriptors(this, descriptors, data);
  }
}

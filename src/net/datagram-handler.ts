/**
 * Room `net`: what a program hears of a datagram socket.
 *
 * A newcomer would get wrong: `message` gives a view that is valid during the call, but an address that may be kept.
 */
import type { SocketAddress } from '../kernel/address.ts';
import type { DatagramSocket } from './datagram.ts';
import type { UndeliveredDatagram } from './error-queue.ts';

/** About the message that is being delivered; valid during the call. */
export interface MessageInfo {
  /** The datagram had more than 65,536 bytes, which only Unix datagrams can; the rest is gone. */
  readonly truncated: boolean;
  /** The datagram's own length: more than the chunk's where it was cut. */
  readonly length: number;
  /** How many datagrams the kernel gave in one piece (GRO), this one among them. */
  readonly coalesced: number;
}

/** What a program wants to hear of a datagram socket. A method that throws ends in 'uncaughtException'; the socket goes on. */
export interface DatagramHandler {
  /** A datagram arrived. `chunk` is a view that is valid during this call; `from` is frozen and may be kept. */
  message?(socket: DatagramSocket, chunk: Uint8Array, from: SocketAddress, info: MessageInfo): void;
  /**
   * The same without an object for each datagram, in place of `message`: the payload is [start, end) of `memory`, the sender's
   * address [nameStart, nameEnd), which {@link DatagramSocket.sendFrom} takes.
   */
  receive?(
    socket: DatagramSocket,
    memory: Uint8Array,
    start: number,
    end: number,
    nameStart: number,
    nameEnd: number,
  ): void;
  /** The datagram that comes next brought this descriptor (Unix sockets). It is close-on-exec, and yours to close. */
  passed?(socket: DatagramSocket, descriptor: number): void;
  /** All datagrams that were ready together have been delivered: how many. */
  drained?(socket: DatagramSocket, count: number): void;
  /** After a `send` returned false: what waits fell to the low mark. */
  drain?(socket: DatagramSocket): void;
  /** A send without callback failed, or ICMP reported an error of one before; the socket lives on. */
  error?(socket: DatagramSocket, error: Error): void;
  /** With `errorQueue`: a datagram did not arrive. Without this method `error` hears of it. */
  undelivered?(socket: DatagramSocket, report: UndeliveredDatagram): void;
  /** It is gone. Always the last call, exactly once. */
  close?(socket: DatagramSocket): void;
}

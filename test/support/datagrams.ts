/**
 * Test support: a datagram handler that writes down what it hears, and UDP sockets made with plain system calls, which send
 * before the call returns and without the library.
 */
import { AF_INET, SOCK_CLOEXEC, SOCK_DGRAM } from '../../src/kernel/constants.ts';
import { check } from '../../src/kernel/error.ts';
import * as sockets from '../../src/kernel/socket.ts';
import {
  bindDatagrams,
  type DatagramHandler,
  type DatagramOptions,
  type DatagramSocket,
  type KernelError,
  type MessageInfo,
  type SocketAddress,
  type Target,
  type UndeliveredDatagram,
} from '../../src/net/index.ts';
import { until } from './net.ts';
import { HOST } from './pair.ts';

const decoder = new TextDecoder();

export class DatagramRecorder implements DatagramHandler {
  /** In order: the length of each message, "drained", "drain", "error:CODE", "undelivered:CODE", "close". */
  readonly events: string[] = [];
  readonly lengths: number[] = [];
  /** The text of messages up to 64 bytes. */
  readonly texts: string[] = [];
  readonly senders: SocketAddress[] = [];
  readonly coalesced: number[] = [];
  readonly truncated: boolean[] = [];
  /** The datagrams' own lengths. */
  readonly wholes: number[] = [];
  readonly batches: number[] = [];
  readonly errors: KernelError[] = [];
  readonly reports: UndeliveredDatagram[] = [];
  bytes = 0;

  message(_socket: DatagramSocket, chunk: Uint8Array, from: SocketAddress, info: MessageInfo): void {
    this.events.push(String(chunk.length));
    this.lengths.push(chunk.length);
    this.bytes += chunk.length;
    if (chunk.length <= 64) this.texts.push(decoder.decode(chunk));
    this.senders.push(from);
    this.coalesced.push(info.coalesced);
    this.truncated.push(info.truncated);
    this.wholes.push(info.length);
  }

  drained(_socket: DatagramSocket, count: number): void {
    this.events.push('drained');
    this.batches.push(count);
  }

  drain(_socket: DatagramSocket): void {
    this.events.push('drain');
  }

  error(_socket: DatagramSocket, error: Error): void {
    this.errors.push(error as KernelError);
    this.events.push(`error:${(error as KernelError).code}`);
  }

  undelivered(_socket: DatagramSocket, report: UndeliveredDatagram): void {
    this.reports.push(report);
    this.events.push(`undelivered:${report.error.code}`);
  }

  close(_socket: DatagramSocket): void {
    this.events.push('close');
  }

  async got(count: number): Promise<void> {
    await until(() => this.lengths.length >= count);
  }
}

/** A socket on 127.0.0.1 and what it hears. */
export async function datagrams(
  options: Target & DatagramOptions = {},
): Promise<{ readonly socket: DatagramSocket; readonly heard: DatagramRecorder; readonly address: SocketAddress }> {
  const heard = new DatagramRecorder();
  const place = options.path === undefined ? { host: HOST } : {};
  const socket = await bindDatagrams({ ...place, ...options }, heard);
  return { socket, heard, address: socket.address! };
}

/** What became of one send. */
export type SendResult = 'sent' | string;

/** Sends and resolves with 'sent' or the error's code. */
export function sending(
  socket: DatagramSocket,
  payload: Uint8Array | string | readonly (Uint8Array | string)[],
  to?: SocketAddress,
): Promise<SendResult> {
  return new Promise((resolve) => {
    socket.send(payload, to, (error) => resolve(error === null ? 'sent' : (error as KernelError).code));
  });
}

/** A blocking UDP socket of this host, connected where `to` is given. */
export function rawDatagrams(to?: SocketAddress): { readonly descriptor: number; readonly address: SocketAddress } {
  const descriptor = check(sockets.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC), 'socket');
  check(sockets.bind(descriptor, { family: 'ipv4', address: HOST, port: 0 }), 'bind');
  if (to !== undefined) check(sockets.connect(descriptor, to), 'connect');
  return { descriptor, address: sockets.getsockname(descriptor) as SocketAddress };
}

/** A UDP address of this host that nobody has bound (it was just free). */
export function deadAddress(): SocketAddress {
  const { descriptor, address } = rawDatagrams();
  sockets.closeDescriptor(descriptor);
  return address;
}

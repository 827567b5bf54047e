/**
 * Test support for the room `bpf`: sockets as programs at them are shown to act on: pairs of TCP, datagrams with their addresses. All of
 * it blocks, and is called within a namespace.
 */
import {
  decodeAddress,
  encodeAddress,
  type Ipv4Address,
  type Ipv6Address,
  type SocketAddress,
} from '../../src/kernel/address.ts';
import * as constants from '../../src/kernel/constants.ts';
import { check } from '../../src/kernel/error.ts';
import {
  accept4,
  bind,
  closeDescriptor,
  connect,
  getsockname,
  listen,
  setsockoptInt,
} from '../../src/kernel/socket.ts';
import { addressOf, call, SYS } from '../../src/kernel/syscall.ts';
import { openSocket, type TestSocket } from './bpf-kernel.ts';

export type InternetAddress = Ipv4Address | Ipv6Address;

const LOOPBACK = { ipv4: '127.0.0.1', ipv6: '::1' } as const;

/** An address of the loopback. */
export function loopback(family: 'ipv4' | 'ipv6', port = 0): InternetAddress {
  return { family, address: LOOPBACK[family], port };
}

function internet(address: ReturnType<typeof getsockname>): InternetAddress {
  if (typeof address === 'number') check(address, 'getsockname');
  if (typeof address === 'object' && address !== null && address.family !== 'unix') return address;
  throw new Error('the socket has no address of the internet');
}

/** Where a socket says that it is. */
export function ownAddress({ descriptor }: TestSocket): InternetAddress {
  return internet(getsockname(descriptor));
}

const families = { ipv4: constants.AF_INET, ipv6: constants.AF_INET6 } as const;

export function udp(family: 'ipv4' | 'ipv6'): TestSocket {
  return openSocket(families[family], constants.SOCK_DGRAM);
}

export function tcp(family: 'ipv4' | 'ipv6' = 'ipv4'): TestSocket {
  return openSocket(families[family], constants.SOCK_STREAM);
}

/** A socket bound to an address of the loopback. */
export function bound(family: 'ipv4' | 'ipv6', port = 0): TestSocket {
  const socket = udp(family);
  check(bind(socket.descriptor, loopback(family, port)), 'bind');
  return socket;
}

/** A listening socket. */
export function listening(family: 'ipv4' | 'ipv6' = 'ipv4', port = 0): TestSocket {
  const socket = tcp(family);
  // Earlier connections of the port may still wait for stray segments.
  check(setsockoptInt(socket.descriptor, constants.SOL_SOCKET, constants.SO_REUSEADDR, 1), 'setsockopt');
  check(bind(socket.descriptor, loopback(family, port)), 'bind');
  check(listen(socket.descriptor, 16), 'listen');
  return socket;
}

/** Takes the next connection of a listening socket. */
export function accepted(listener: TestSocket): TestSocket {
  const descriptor = check(accept4(listener.descriptor, constants.SOCK_CLOEXEC), 'accept4');
  return {
    descriptor,
    [Symbol.dispose]: () => {
      closeDescriptor(descriptor);
    },
  };
}

/** Two ends of a TCP connection over the loopback. */
export interface Connection extends Disposable {
  readonly client: number;
  readonly server: number;
}

/** `prepare` sees the client's socket before it connects. */
export function connection(prepare: (client: number) => void = () => {}): Connection {
  using stack = new DisposableStack();
  const listener = stack.use(listening());
  const client = stack.use(tcp());
  prepare(client.descriptor);
  check(connect(client.descriptor, ownAddress(listener)), 'connect');
  const server = stack.use(accepted(listener));
  const owned = stack.move();
  return { client: client.descriptor, server: server.descriptor, [Symbol.dispose]: () => owned.dispose() };
}

const ADDRESS_BYTES = 128;
const MESSAGE_BYTES = 64;
const scratch = new Uint8Array(new ArrayBuffer(2 * ADDRESS_BYTES + MESSAGE_BYTES));
const base = addressOf(scratch);
const length = new Int32Array(scratch.buffer, ADDRESS_BYTES, 1);
const AT_MESSAGE = 2 * ADDRESS_BYTES;

/** Sends up to 64 bytes from a socket that is not connected; their number or -errno. */
export function sendTo(socket: TestSocket, address: SocketAddress, bytes: number): number {
  const size = encodeAddress(address, scratch, 0);
  return call(SYS.sendto, socket.descriptor, base + AT_MESSAGE, bytes, constants.MSG_NOSIGNAL, base, size);
}

/** Receives a datagram that is there; where it came from. */
export function sourceOf(socket: TestSocket): InternetAddress {
  length[0] = ADDRESS_BYTES;
  const at = [base, base + ADDRESS_BYTES] as const;
  check(
    call(SYS.recvfrom, socket.descriptor, base + AT_MESSAGE, MESSAGE_BYTES, constants.MSG_DONTWAIT, ...at),
    'recvfrom',
  );
  return internet(decodeAddress(scratch, 0, length[0]));
}

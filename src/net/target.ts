/**
 * Room `net`: what a program names (host and port, or a path) as a socket address.
 *
 * A newcomer would get wrong: a host name is looked up with Node's resolver, off this thread; a literal address never is.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { SocketAddress } from '../kernel/address.ts';

export interface Target {
  /** A literal address or a name. For `listen` the default is every address of this host, for `connect` localhost. */
  readonly host?: string;
  /** 0 to 65,535. For `listen`, 0 (the default) lets the kernel choose. */
  readonly port?: number;
  /** A Unix socket's path in place of host and port; an abstract name begins with NUL. */
  readonly path?: string;
}

function checkPort(port: unknown): number {
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 0 || port > 65535) {
    throw new RangeError(`port is ${String(port)}: an integer from 0 to 65535 is allowed`);
  }
  return port;
}

/** Literal addresses as they are; names become every address that the resolver knows, in its order. */
export async function targetAddresses(target: Target, host: string): Promise<SocketAddress[]> {
  if (target.path !== undefined) return [{ family: 'unix', path: target.path }];
  const port = checkPort(target.port ?? 0);
  const name = target.host ?? host;
  const bare = name.replace(/%.*$/, '');
  const version = isIP(bare);
  if (version !== 0) return [literal(name, version, port)];
  const found = await lookup(name, { all: true, verbatim: true });
  return found.map((entry) => literal(entry.address, entry.family, port));
}

function literal(address: string, version: number, port: number): SocketAddress {
  return version === 4 ? { family: 'ipv4', address, port } : { family: 'ipv6', address, port };
}

export async function targetAddress(target: Target, host: string): Promise<SocketAddress> {
  const [first] = await targetAddresses(target, host);
  return first;
}

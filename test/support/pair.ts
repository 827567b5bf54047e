/**
 * Test support: two ends of one TCP connection, both ours, each with a recorder; raw peers made with plain system calls; and a
 * child process with the library loaded.
 */
import { execFile } from 'node:child_process';
import { lookup } from 'node:dns';
import { AF_INET, SOCK_CLOEXEC, SOCK_STREAM } from '../../src/kernel/constants.ts';
import { check } from '../../src/kernel/error.ts';
import * as sockets from '../../src/kernel/socket.ts';
import { addressOf, call, SYS } from '../../src/kernel/syscall.ts';
import {
  type ClientConnection,
  type Connection,
  type ConnectOptions,
  connect,
  type Listener,
  type ListenOptions,
  listen,
} from '../../src/net/index.ts';
import { Recorder } from './recorder.ts';

export const HOST = '127.0.0.1';

// The resolver and the thread pool open descriptors at their first use, which would count as a leak of some test.
lookup(HOST, () => {});

export interface Pair<Server extends Recorder = Recorder, Client extends Recorder = Recorder> {
  readonly listener: Listener;
  readonly server: Server;
  readonly client: Client;
  /** The accepted end. */
  readonly accepted: Connection;
  readonly connection: ClientConnection;
  /** Destroys both ends and waits until all is gone. */
  finish(): Promise<void>;
}

export interface PairOptions<Server, Client> {
  readonly server?: Server;
  readonly client?: Client;
  readonly listen?: ListenOptions;
  readonly connect?: ConnectOptions;
}

/** A listener on 127.0.0.1 and one connection to it, open on both sides. */
export async function pair<Server extends Recorder = Recorder, Client extends Recorder = Recorder>(
  options: PairOptions<Server, Client> = {},
): Promise<Pair<Server, Client>> {
  const server = options.server ?? (new Recorder() as Server);
  const client = options.client ?? (new Recorder() as Client);
  const listener = await listen({ host: HOST, ...options.listen }, server);
  const connection = connect({ host: HOST, port: listener.port, ...options.connect }, client);
  await connection.opening();
  await server.heard('open');
  const accepted = server.connection;
  return {
    listener,
    server,
    client,
    accepted,
    connection,
    async finish() {
      accepted.destroy();
      connection.destroy();
      await listener.close();
      await client.heard('close');
    },
  };
}

/** A blocking TCP socket, connected to a port of this host before this returns; nothing else of the process runs meanwhile. */
export function rawConnect(port: number): number {
  const descriptor = check(sockets.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC), 'socket');
  const result = sockets.connect(descriptor, { family: 'ipv4', address: HOST, port });
  if (result < 0) sockets.closeDescriptor(descriptor);
  check(result, 'connect');
  return descriptor;
}

/** A TCP socket bound to 127.0.0.1, and its port. */
export function rawBind(
  port = 0,
  prepare: (descriptor: number) => void = () => {},
): { descriptor: number; port: number } {
  const descriptor = check(sockets.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC), 'socket');
  prepare(descriptor);
  const result = sockets.bind(descriptor, { family: 'ipv4', address: HOST, port });
  if (result < 0) sockets.closeDescriptor(descriptor);
  check(result, 'bind');
  const own = sockets.getsockname(descriptor) as { readonly port: number };
  return { descriptor, port: own.port };
}

/** A listening TCP socket that nobody accepts from. */
export function rawListen(backlog: number): { descriptor: number; port: number } {
  const bound = rawBind();
  check(sockets.listen(bound.descriptor, backlog), 'listen');
  return bound;
}

/** send(2) on a raw or a library's descriptor; the count sent, or -errno. */
export function rawSend(descriptor: number, text: string, flags = 0): number {
  const bytes = new Uint8Array(new ArrayBuffer(Math.max(text.length, 64)));
  new TextEncoder().encodeInto(text, bytes);
  return call(SYS.sendto, descriptor, addressOf(bytes), text.length, flags);
}

/** recv(2) of at most `length` bytes as text; a negative errno as a number. */
export function rawReceive(descriptor: number, length: number, flags = 0): string | number {
  const bytes = new Uint8Array(new ArrayBuffer(Math.max(length, 64)));
  const result = call(SYS.recvfrom, descriptor, addressOf(bytes), length, flags);
  return result < 0 ? result : new TextDecoder().decode(bytes.subarray(0, result));
}

export function rawClose(descriptor: number): void {
  sockets.closeDescriptor(descriptor);
}

/** Closes with a reset in place of a FIN. */
export function rawReset(descriptor: number): void {
  sockets.setLinger(descriptor, 0);
  sockets.closeDescriptor(descriptor);
}

/** A port of this host that nobody listens on (it was just free). */
export function deadPort(): number {
  const bound = rawBind();
  rawClose(bound.descriptor);
  return bound.port;
}

/** Runs TypeScript in a process of its own. `net` is the library there. Resolves with what it wrote and its exit code. */
export function runChild(
  code: string,
  options: { readonly uid?: number; readonly env?: Record<string, string>; readonly command?: readonly string[] } = {},
): Promise<{ readonly output: string; readonly errors: string; readonly code: number }> {
  const library = new URL('../../src/net/index.ts', import.meta.url).href;
  const script = `import * as net from ${JSON.stringify(library)};\nsetTimeout(() => process.exit(3), 15_000).unref();\n${code}`;
  const [program, ...rest] = [
    ...(options.command ?? []),
    process.execPath,
    '--input-type=module-typescript',
    '--expose-gc',
    '-e',
    script,
  ];
  return new Promise((resolve) => {
    const settings = {
      env: { ...process.env, ...options.env, NODE_TEST_CONTEXT: '' },
      uid: options.uid,
      timeout: 20_000,
    };
    execFile(program, rest, settings, (error, stdout, stderr) => {
      resolve({ output: stdout, errors: stderr, code: error === null ? 0 : Number(error.code ?? 1) });
    });
  });
}

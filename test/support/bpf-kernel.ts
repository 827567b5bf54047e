/**
 * Test support for the room `bpf`: whether this process may load programs, and places for what must not outlive a test: a bpffs, a
 * tracefs, a cgroup, network namespaces.
 *
 * A newcomer would get wrong: a mount made here is seen by the whole machine until it is taken away, so each has a directory of its own.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exit, moveImmediate } from '../../src/bpf/instructions.ts';
import { cgroupRoot } from '../../src/bpf/loader/links/cgroup.ts';
import { loadProgram } from '../../src/bpf/loader/program.ts';
import * as constants from '../../src/kernel/constants.ts';
import { check, KernelError } from '../../src/kernel/error.ts';
import { bind, closeDescriptor, connect, getsockname, socket } from '../../src/kernel/socket.ts';
import { addressOf, call, SYS } from '../../src/kernel/syscall.ts';

function findKernelSkip(): string | false {
  try {
    using _program = loadProgram({ type: 'socket_filter', instructions: [moveImmediate(0, 0), exit()] });
    return false;
  } catch (error) {
    if (error instanceof KernelError) return `this process may not load eBPF programs: ${error.message}`;
    throw error;
  }
}

/** Why nothing can be loaded here, or false. */
export const kernelSkip: string | false = findKernelSkip();

/** Runs a command and gives what it printed. @throws Error with what it said */
export function run(command: string, ...words: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, words, { encoding: 'utf8' });
  if (status === 0) return stdout;
  throw new Error(`${command} ${words.join(' ')}: ${error?.message ?? stderr}`);
}

/** A place that is taken away when it is disposed of. */
export interface Place extends Disposable {
  readonly path: string;
}

/** A file system of this type in a directory of its own. */
export function mounted(type: 'bpf' | 'tracefs'): Place {
  const path = mkdtempSync(join(tmpdir(), `millrace-${type}-`));
  try {
    run('mount', '-t', type, type, path);
  } catch (error) {
    rmdirSync(path);
    throw error;
  }
  return {
    path,
    [Symbol.dispose]: () => {
      run('umount', path);
      rmdirSync(path);
    },
  };
}

let count = 0;
/** A name that no other test process uses. */
export function uniqueName(prefix: string): string {
  count++;
  return `${prefix}${process.pid}x${count}`;
}

/** A cgroup of its own, removed with all processes moved out. */
export function cgroup(): Place {
  const path = join(cgroupRoot(), uniqueName('millrace'));
  mkdirSync(path);
  return { path, [Symbol.dispose]: () => rmdirSync(path) };
}

const root = '/proc/self/ns/net';

/** A network namespace of its own, with its loopback interface up. */
export interface Namespace extends Disposable {
  readonly name: string;
  /** Its file. */
  readonly path: string;
  /** Runs `work` with this thread in the namespace. Only what is synchronous runs there. */
  inside<T>(work: () => T): T;
  /** Runs a command in it. */
  run(command: string, ...words: readonly string[]): string;
}

function enter(descriptor: number): void {
  check(call(SYS.setns, descriptor, 0), 'setns');
}

export function namespace(): Namespace {
  const name = uniqueName('millrace');
  run('ip', 'netns', 'add', name);
  const path = `/run/netns/${name}`;
  run('ip', '-n', name, 'link', 'set', 'lo', 'up');
  return {
    name,
    path,
    inside(work) {
      const here = openSync(root, 'r');
      const there = openSync(path, 'r');
      try {
        enter(there);
        return work();
      } finally {
        enter(here);
        closeSync(here);
        closeSync(there);
      }
    },
    run: (command, ...words) => run('ip', 'netns', 'exec', name, command, ...words),
    [Symbol.dispose]: () => {
      run('ip', 'netns', 'del', name);
    },
  };
}

/** Two namespaces joined by a veth pair: 10.77.0.1 on `veth` of the first, 10.77.0.2 on `veth` of the second. */
export interface Hosts extends Disposable {
  readonly one: Namespace;
  readonly other: Namespace;
}

export function hosts(): Hosts {
  using stack = new DisposableStack();
  const one = stack.use(namespace());
  const other = stack.use(namespace());
  // Two queues each: XDP on one end wants as many to receive as the other has to send (veth_xdp_set, drivers/net/veth.c).
  const queues = ['numtxqueues', '2', 'numrxqueues', '2'];
  const peer = ['peer', 'name', 'veth', ...queues, 'netns', other.name];
  run('ip', '-n', one.name, 'link', 'add', 'veth', ...queues, 'type', 'veth', ...peer);
  for (const [host, address] of [
    [one, '10.77.0.1/24'],
    [other, '10.77.0.2/24'],
  ] as const) {
    run('ip', '-n', host.name, 'address', 'add', address, 'dev', 'veth');
    run('ip', '-n', host.name, 'link', 'set', 'veth', 'up');
  }
  const owned = stack.move();
  return { one, other, [Symbol.dispose]: () => owned.dispose() };
}

/** Runs `work` with this process in a cgroup: sockets that it makes belong to it. */
export function inCgroup<T>(path: string, work: () => T): T {
  const own = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  writeFileSync(join(path, 'cgroup.procs'), String(process.pid));
  try {
    return work();
  } finally {
    writeFileSync(join(cgroupRoot(), own, 'cgroup.procs'), String(process.pid));
  }
}

/** A socket that is closed when it is disposed of. */
export interface TestSocket extends Disposable {
  readonly descriptor: number;
}

export function openSocket(family: number, type: number): TestSocket {
  const descriptor = check(socket(family, type | constants.SOCK_CLOEXEC), 'socket');
  return {
    descriptor,
    [Symbol.dispose]: () => {
      closeDescriptor(descriptor);
    },
  };
}

const pollBuffer = new Int32Array(new ArrayBuffer(64));

/** Waits until there is something to read; whether there was within the time. */
export function isReadable(descriptor: number, timeoutMs: number): boolean {
  pollBuffer[0] = descriptor;
  pollBuffer[1] = constants.POLLIN;
  return call(SYS.poll, addressOf(pollBuffer), 1, timeoutMs) > 0;
}

/** A UDP socket bound to an address. */
export function boundUdp(address: string, port = 0): TestSocket & { readonly port: number } {
  const opened = openSocket(constants.AF_INET, constants.SOCK_DGRAM);
  check(bind(opened.descriptor, { family: 'ipv4', address, port }), 'bind');
  const bound = getsockname(opened.descriptor);
  if (bound === null || typeof bound === 'number' || bound.family !== 'ipv4')
    throw new Error('the socket has no address');
  return { ...opened, port: bound.port };
}

const message = new Uint8Array(new ArrayBuffer(64));

/** Sends 64 bytes to where the socket is connected, or gives -errno. */
export function send(descriptor: number): number {
  return call(SYS.sendto, descriptor, addressOf(message), message.length, constants.MSG_NOSIGNAL);
}

/** Receives what is there, or gives -errno. */
export function receive(descriptor: number): number {
  return call(SYS.recvfrom, descriptor, addressOf(message), message.length, constants.MSG_DONTWAIT);
}

const source = new Int32Array(new ArrayBuffer(128));

/** Receives what is there and where it came from, or gives -errno. */
export function receiveWithAddress(descriptor: number): number {
  const length = source.subarray(16, 17);
  length[0] = 64;
  const at = addressOf(source);
  return call(SYS.recvfrom, descriptor, addressOf(message), message.length, constants.MSG_DONTWAIT, at, at + 64);
}

/** Sends these bytes from a socket to where it is connected, or gives -errno. */
export function sendBytes(descriptor: number, bytes: Uint8Array): number {
  const copy = new Uint8Array(new ArrayBuffer(Math.max(64, bytes.length)));
  copy.set(bytes);
  return call(SYS.sendto, descriptor, addressOf(copy), bytes.length, constants.MSG_NOSIGNAL);
}

/** Receives what is there, at most `length` bytes; null where there is nothing (or the socket failed). */
export function receiveBytes(descriptor: number, length: number): Uint8Array | null {
  const into = new Uint8Array(new ArrayBuffer(Math.max(64, length)));
  const result = call(SYS.recvfrom, descriptor, addressOf(into), length, constants.MSG_DONTWAIT);
  return result < 0 ? null : into.slice(0, result);
}

/** Sends a datagram from a new socket to an address; whether `receiver` gets it in time. */
export function arrives(address: string, port: number, receiver: number, timeoutMs = 200): boolean {
  using sender = openSocket(constants.AF_INET, constants.SOCK_DGRAM);
  check(connect(sender.descriptor, { family: 'ipv4', address, port }), 'connect');
  send(sender.descriptor);
  const is = isReadable(receiver, timeoutMs);
  while (receive(receiver) > 0);
  return is;
}

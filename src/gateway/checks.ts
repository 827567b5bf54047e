/**
 * Room `gateway`: the checks that need more than one field, or the file system, to decide.
 *
 * A newcomer would get wrong: they look at the file's values as they stand, of which any may be missing or of the wrong kind.
 * The schema reports that; here such a value is passed over, so that one mistake does not hide another.
 */
import { statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ADDRESS_BYTES_MAX, encodeAddress, parseAddress, type SocketAddress } from '../kernel/address.ts';
import { type FieldPath, oneOf, type Problem } from './problems.ts';
import { duration, isToken } from './scalars.ts';
import type { Source } from './source.ts';

type Mapping = Readonly<Record<string, unknown>>;

function asMapping(value: unknown): Mapping | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Mapping) : null;
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

const ACTIONS = ['respond', 'files', 'proxy'] as const;
/** Responses that never have content (RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5). */
const STATUS_WITHOUT_BODY = new Set([204, 205, 304]);
/** Fields that the gateway writes itself, because a wrong one breaks the framing of the connection. */
const FRAMING = new Set(['connection', 'content-length', 'transfer-encoding', 'keep-alive', 'trailer', 'upgrade']);

/** Finds what the schema cannot see. `directory` is what relative paths start from. */
export function checkTogether(source: Source, directory: string): Problem[] {
  const checks = new Checks(source, directory);
  checks.file();
  return checks.problems;
}

class Checks {
  readonly problems: Problem[] = [];
  readonly #source: Source;
  readonly #directory: string;

  constructor(source: Source, directory: string) {
    this.#source = source;
    this.#directory = directory;
  }

  #report(path: FieldPath, message: string, part: 'key' | 'value' = 'value'): void {
    this.problems.push(this.#source.problem(path, message, part));
  }

  file(): void {
    const top = asMapping(this.#source.value);
    if (top === null) return;
    const log = asMapping(top.accessLog);
    if (log !== null && isPath(log.file)) this.#checkLogFile(log.file);
    this.#checkAddresses(top);
    for (const [index, listener] of asList(top.listeners).entries()) {
      this.#checkRoutes(asList(asMapping(listener)?.routes), ['listeners', index, 'routes']);
    }
  }

  #checkLogFile(file: string): void {
    const path = resolve(this.#directory, file);
    const folder = dirname(path);
    if (kindOf(folder) !== 'directory') {
      this.#report(['accessLog', 'file'], `is ${JSON.stringify(file)}: ${folder} is no directory; make it first`);
    } else if (kindOf(path) === 'directory') {
      this.#report(['accessLog', 'file'], `is ${JSON.stringify(file)}: ${path} is a directory, a file is needed`);
    }
  }

  /** Of two listeners on overlapping addresses the kernel refuses the second (EADDRINUSE, bind(2)). */
  #checkAddresses(top: Mapping): void {
    const taken: Bound[] = [];
    const candidates: [FieldPath, unknown, Mapping][] = asList(top.listeners).map((listener, index) => {
      const mapping = asMapping(listener) ?? {};
      return [['listeners', index, 'address'], mapping.address, mapping];
    });
    candidates.push([['admin'], top.admin, {}]);
    for (const [path, text, listener] of candidates) {
      const socket = parsed(text);
      if (socket === null || (socket.family !== 'unix' && socket.port === 0)) continue;
      const bound = {
        text: String(text),
        socket,
        shares: listener.reusePort === true,
        only6: listener.ipv6Only === true,
      };
      const other = taken.find((before) => collide(before, bound));
      if (other !== undefined) {
        const same = identity(other.socket) === identity(socket);
        const why = same ? 'another listener has this address' : `it overlaps with the listener on ${other.text}`;
        this.#report(path, `is ${JSON.stringify(text)}: ${why}`);
      }
      taken.push(bound);
    }
  }

  #checkRoutes(routes: readonly unknown[], at: FieldPath): void {
    const first = new Map<string, number>();
    for (const [index, value] of routes.entries()) {
      const route = asMapping(value);
      if (route === null) continue;
      const path = [...at, index];
      if (typeof route.path === 'string') {
        const before = first.get(route.path);
        if (before === undefined) first.set(route.path, index);
        else
          this.#report([...path, 'path'], `is ${JSON.stringify(route.path)}: routes[${before}] has this path already`);
      }
      this.#checkAction(route, path);
    }
  }

  #checkAction(route: Mapping, path: FieldPath): void {
    const given = ACTIONS.filter((action) => Object.hasOwn(route, action));
    if (given.length === 0) this.#report(path, `does nothing: exactly one of ${oneOf(ACTIONS)} is needed`);
    if (given.length > 1) {
      this.#report([...path, given[1]], `stands beside ${given[0]}: exactly one of ${oneOf(ACTIONS)} is needed`, 'key');
    }
    const respond = asMapping(route.respond);
    const files = asMapping(route.files);
    const proxy = asMapping(route.proxy);
    if (respond !== null) this.#checkRespond(respond, [...path, 'respond']);
    if (files !== null) this.#checkFiles(files, route.path, path);
    if (proxy !== null) this.#checkProxy(proxy, [...path, 'proxy']);
  }

  #checkRespond(respond: Mapping, path: FieldPath): void {
    const status = respond.status;
    if (
      typeof status === 'number' &&
      STATUS_WITHOUT_BODY.has(status) &&
      respond.body !== undefined &&
      respond.body !== ''
    ) {
      this.#report([...path, 'body'], `is not allowed: a response with status ${status} has none`);
    }
    const names = new Map<string, string>();
    for (const name of Object.keys(asMapping(respond.headers) ?? {})) {
      const field = [...path, 'headers', name];
      const lower = name.toLowerCase();
      const before = names.get(lower);
      // The schema's record leaves `__proto__` out without a word, so it has to be refused here.
      if (!isToken(name) || name === '__proto__')
        this.#report(field, 'is no name of a header field: letters, digits and - are allowed', 'key');
      else if (FRAMING.has(lower)) this.#report(field, 'is not allowed: the gateway writes this field itself', 'key');
      else if (before !== undefined) this.#report(field, `is the same field as ${before}: remove one`, 'key');
      names.set(lower, name);
    }
  }

  #checkFiles(files: Mapping, routePath: unknown, path: FieldPath): void {
    if (typeof routePath === 'string' && routePath.startsWith('/') && !routePath.endsWith('/')) {
      const wanted = JSON.stringify(`${routePath}/`);
      this.#report(
        [...path, 'path'],
        `is ${JSON.stringify(routePath)}: a path that ends in / is needed for files; write ${wanted}`,
      );
    }
    if (!isPath(files.root)) return;
    const root = resolve(this.#directory, files.root);
    const kind = kindOf(root);
    if (kind === 'directory') return;
    const what = kind === null ? 'there is no directory' : 'there is something else than a directory at';
    this.#report([...path, 'files', 'root'], `is ${JSON.stringify(files.root)}: ${what} ${root}`);
  }

  #checkProxy(proxy: Mapping, path: FieldPath): void {
    const first = new Map<string, number>();
    for (const [index, value] of asList(proxy.upstreams).entries()) {
      const text = asMapping(value)?.address ?? value;
      const socket = parsed(text);
      if (socket === null) continue;
      const key = identity(socket);
      const before = first.get(key);
      if (before === undefined) first.set(key, index);
      else {
        const message = `is ${JSON.stringify(text)}: upstreams[${before}] is the same; give that one a higher weight`;
        this.#report([...path, 'upstreams', index, 'address'], message);
      }
    }
    if (proxy.hashKey !== undefined && proxy.balance !== 'consistentHash') {
      this.#report([...path, 'hashKey'], 'has an effect only with balance: consistentHash', 'key');
    }
    const check = asMapping(proxy.healthCheck);
    if (check !== null) this.#checkHealth(check, [...path, 'healthCheck']);
  }

  #checkHealth(check: Mapping, path: FieldPath): void {
    const reading = duration('0ms', '60m');
    const timeout = reading.safeParse(check.timeout);
    const interval = reading.safeParse(check.interval ?? '2s');
    if (!timeout.success || !interval.success || timeout.data <= interval.data) return;
    const message = `is ${JSON.stringify(check.timeout)}: at most the interval of ${check.interval ?? '2s'} is allowed`;
    this.#report([...path, 'timeout'], message);
  }
}

interface Bound {
  readonly text: string;
  readonly socket: SocketAddress;
  readonly shares: boolean;
  readonly only6: boolean;
}

/** Two addresses are one where the kernel's bytes are the same, however they are written. */
function identity(socket: SocketAddress): string {
  const bytes = new Uint8Array(ADDRESS_BYTES_MAX);
  try {
    return Buffer.from(bytes.subarray(0, encodeAddress(socket, bytes, 0))).toString('hex');
  } catch {
    // It names an interface that this host lacks: the listener will say so when it starts.
    return JSON.stringify(socket);
  }
}

function isAny(socket: SocketAddress): boolean {
  if (socket.family === 'ipv4') return socket.address === '0.0.0.0';
  return (
    socket.family === 'ipv6' && identity(socket) === identity({ family: 'ipv6', address: '::', port: socket.port })
  );
}

function collide(one: Bound, other: Bound): boolean {
  if (identity(one.socket) === identity(other.socket)) return true;
  if (one.socket.family === 'unix' || other.socket.family === 'unix') return false;
  if (one.socket.port !== other.socket.port || (one.shares && other.shares)) return false;
  return covers(one, other) || covers(other, one);
}

/** Whether a listener on every address also takes the other's clients. */
function covers(wide: Bound, narrow: Bound): boolean {
  if (!isAny(wide.socket)) return false;
  return wide.socket.family === narrow.socket.family || (wide.socket.family === 'ipv6' && !wide.only6);
}

function parsed(text: unknown): SocketAddress | null {
  if (typeof text !== 'string') return null;
  try {
    return parseAddress(text);
  } catch {
    // The schema reports it.
    return null;
  }
}

function isPath(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && !value.includes('\0');
}

function kindOf(path: string): 'directory' | 'other' | null {
  try {
    const status = statSync(path, { throwIfNoEntry: false });
    if (status === undefined) return null;
    return status.isDirectory() ? 'directory' : 'other';
  } catch {
    // A part of the path is a file, a link leads in a circle, or looking is not allowed: nothing usable is there.
    return null;
  }
}

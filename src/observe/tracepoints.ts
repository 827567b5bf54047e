/**
 * Room `observe`: the kernel's tracepoints as tracefs describes them: which there are, and which fields an event has, where and how wide.
 *
 * A newcomer would get wrong: tracefs is often not mounted (containers, minimal systems). Whoever may mount it needs not: it is mounted
 * in a temporary place for as long as it is read, and taken away again.
 */
import { mkdtempSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KernelError } from '../kernel/error.ts';
import { mountsOf } from '../kernel/mounts.ts';
import { addressOf, call, SYS } from '../kernel/syscall.ts';

const MNT_DETACH = 2;

/** A field of an event. */
export interface EventField {
  readonly name: string;
  /** As the kernel declares it: `__u8 saddr[4]` without the name. */
  readonly declaration: string;
  readonly offset: number;
  readonly bytes: number;
  readonly signed: boolean;
  /** Elements of an array; 1 for a number. */
  readonly length: number;
  /** Characters, to be shown as text. */
  readonly text: boolean;
  /** Only its place stands in the event, the content behind the last field (`__data_loc`). */
  readonly dynamic: boolean;
}

/** An event's fields in the order of their offsets. */
export interface EventFormat {
  /** `tcp:tcp_retransmit_skb`. */
  readonly event: string;
  readonly fields: readonly EventField[];
}

/** What is wrong with the name of an event. */
export class EventError extends Error {
  override readonly name = 'EventError';
}

const FIELD = /^\s*field:(.+?);\s*offset:(\d+);\s*size:(\d+);\s*signed:([01]);$/;

function fieldOf(line: string): EventField | null {
  const match = FIELD.exec(line);
  if (match === null) return null;
  const [, declared, offset, size, signed] = match;
  const array = /^(.*?)\s*(\w+)\[(\w*)\]$/.exec(declared);
  const name = array?.[2] ?? declared.slice(declared.search(/\w+$/));
  const declaration = declared
    .replace(new RegExp(`\\b${name}\\b`), '')
    .replaceAll(/\s+/g, ' ')
    .trim();
  const dynamic = /^__(?:data|rel)_loc\b/.test(declared);
  const isCharacters = /\bchar\b/.test(declared);
  const bytes = Number(size);
  // A length may be a constant of the kernel's (TASK_COMM_LEN): then the size tells.
  const element = isCharacters || /\b(?:__)?[us](?:int)?8(?:_t)?\b|\bbyte\b/.test(declared) ? 1 : 0;
  const stated = Number(array?.[3]);
  const length = array === null || dynamic ? 1 : stated > 0 ? stated : element === 0 ? 1 : bytes;
  return {
    name,
    declaration,
    offset: Number(offset),
    bytes,
    signed: signed === '1',
    length,
    text: isCharacters && length > 1,
    dynamic,
  };
}

/** What every event begins with (`common_pid` and others): programs may not read it (tp_prog_is_valid_access, kernel/trace/bpf_trace.c). */
const COMMON_BYTES = 8;

/** Reads the text of a `format` file. Fields that are common to all events are left out: `pid()` and others tell what they would. */
export function parseFormat(event: string, text: string): EventFormat {
  const fields = text
    .split('\n')
    .flatMap((line) => fieldOf(line) ?? [])
    .filter(({ offset }) => offset >= COMMON_BYTES);
  return { event, fields: fields.sort((one, other) => one.offset - other.offset) };
}

/** Splits `tcp:tcp_retransmit_skb`. @throws EventError */
export function eventName(event: string): readonly [string, string] {
  const match = /^(\w[\w.-]*)[:/](\w+)$/.exec(event);
  if (match === null)
    throw new EventError(`event is ${JSON.stringify(event)}: a form like tcp:tcp_retransmit_skb is allowed`);
  return [match[1], match[2]];
}

/** Tracefs while it is read. */
export class Tracefs implements Disposable {
  readonly path: string;
  readonly #temporary: string | null;

  /** @throws KernelError: EPERM where it is not mounted and may not be */
  constructor() {
    const [mounted] = mountsOf('tracefs');
    this.#temporary = mounted === undefined ? mountTemporarily() : null;
    this.path = mounted?.path ?? this.#temporary!;
  }

  /** The fields of an event. @throws EventError for one that this kernel lacks, EACCES in words where it may not be read */
  format(event: string): EventFormat {
    const [subsystem, name] = eventName(event);
    let text: string;
    try {
      text = readFileSync(join(this.path, 'events', subsystem, name, 'format'), 'latin1');
    } catch (error) {
      throw this.#problem(event, subsystem, name, error as NodeJS.ErrnoException);
    }
    return parseFormat(`${subsystem}:${name}`, text);
  }

  #problem(event: string, subsystem: string, name: string, error: NodeJS.ErrnoException): EventError {
    if (error.code === 'EACCES' || error.code === 'EPERM') {
      return new EventError(`${event} may not be read: tracefs wants root, or a group that ${this.path} is given to`);
    }
    const known = this.events(`${subsystem}:*`).map((one) => one.slice(one.indexOf(':') + 1));
    if (known.length === 0)
      return new EventError(`this kernel has no events of ${subsystem}; millrace trace --list shows all`);
    const near = known.filter((one) => one.includes(name) || name.includes(one)).slice(0, 5);
    const shown = (near.length > 0 ? near : known.slice(0, 8)).join(', ');
    return new EventError(
      `this kernel has no event ${event}; ${subsystem} has ${shown}${near.length > 0 || known.length <= 8 ? '' : ', …'}`,
    );
  }

  /** Names of events that match a pattern with `*`: `tcp:*`. */
  events(pattern: string): string[] {
    const matcher = new RegExp(`^${pattern.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`);
    const root = join(this.path, 'events');
    const directories = (path: string): string[] => {
      try {
        return readdirSync(path, { withFileTypes: true }).flatMap((one) => (one.isDirectory() ? [one.name] : []));
      } catch {
        return [];
      }
    };
    return directories(root)
      .flatMap((subsystem) => directories(join(root, subsystem)).map((name) => `${subsystem}:${name}`))
      .filter((name) => matcher.test(name))
      .sort();
  }

  [Symbol.dispose](): void {
    if (this.#temporary === null) return;
    unmount(this.#temporary);
  }
}

function cString(text: string): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(Math.max(64, Buffer.byteLength(text) + 1)));
  new TextEncoder().encodeInto(text, bytes);
  return bytes;
}

function mountTemporarily(): string {
  const path = mkdtempSync(join(tmpdir(), 'millrace-tracefs-'));
  const [source, target, type] = ['tracefs', path, 'tracefs'].map(cString);
  const result = call(SYS.mount, addressOf(source), addressOf(target), addressOf(type), 0, 0);
  if (result === 0) return path;
  rmdirSync(path);
  throw new KernelError('mount', result, {
    object: 'tracefs',
    remedy:
      'events are described there: run as root, or have it mounted (mount -t tracefs tracefs /sys/kernel/tracing)',
  });
}

function unmount(path: string): void {
  const target = cString(path);
  call(SYS.umount2, addressOf(target), MNT_DETACH);
  rmdirSync(path);
}

/**
 * Room `http`: the parts of a response head that do not change within a second, as octets ready to be copied.
 *
 * A newcomer would get wrong: the template holds the Date, so `tick` has to run before it is used; it looks at the clock once
 * a turn at most, because the clock it is given is the turn's.
 */
import { performance } from 'node:perf_hooks';
import type { Connection } from '../net/connection.ts';
import { DATE_BYTES, DateCache, formatDate } from './date.ts';
import type { Response } from './response.ts';

const DIGITS_MAX = 16;
/** Strings up to this length are written octet by octet, which is faster than crossing into the encoder. */
const SHORT_TEXT_MAX = 1024;
const END_BYTES = 4;

export class HeadTemplates {
  private readonly server: string;
  private readonly cache = new DateCache();
  private readonly template: Uint8Array;
  private readonly dateAt: number;
  private readonly dateEnd: number;
  /** The template up to the end of the Date's value. */
  private readonly first: Uint8Array;
  private commonLines = '';
  private commonDate = '';
  /** When the clock has to be looked at again, on the scale of `performance.now()`. */
  private untilMs = 0;

  /** @param server the Server field; '' for none */
  constructor(server: string) {
    this.server = server;
    const before = `HTTP/1.1 200 OK\r\n${server === '' ? '' : `Server: ${server}\r\n`}Date: `;
    const text = `${before}${formatDate(0)}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: `;
    this.dateAt = before.length;
    this.template = new Uint8Array(text.length);
    for (let index = 0; index < text.length; index++) this.template[index] = text.charCodeAt(index);
    this.dateEnd = before.length + DATE_BYTES;
    this.first = this.template.subarray(0, this.dateEnd);
  }

  private tick(nowMs: number): void {
    if (nowMs < this.untilMs) return;
    const wallMs = Date.now();
    this.untilMs = nowMs + 1000 - (wallMs % 1000);
    if (!this.cache.update(wallMs)) return;
    this.template.set(this.cache.bytes, this.dateAt);
    this.commonDate = `Date: ${formatDate(wallMs)}\r\n`;
    this.commonLines = `${this.server === '' ? '' : `Server: ${this.server}\r\n`}${this.commonDate}`;
  }

  /** The Date line. */
  date(): string {
    this.tick(performance.now());
    return this.commonDate;
  }

  /** The Server and Date lines, less those that the handler set itself. */
  common(named: readonly string[]): string {
    this.tick(performance.now());
    if (named.length === 0) return this.commonLines;
    const date = named.includes('date') ? '' : this.commonDate;
    return named.includes('server') || this.server === '' ? date : `Server: ${this.server}\r\n${date}`;
  }

  /**
   * Writes the whole answer `200` with a short ASCII text into the connection's block. False where that way is not open: other
   * characters, fields set, no block.
   */
  short(response: Response, connection: Connection, body: string): boolean {
    const length = body.length;
    if (length > SHORT_TEXT_MAX || !response.plain || !response.ownerKeepsAlive) return false;
    const runtime = connection.context.runtime;
    this.tick(runtime.timers.nowMs);
    const template = this.template;
    const start = connection.reserve(template.length + DIGITS_MAX + END_BYTES + length);
    if (start < 0) return false;
    const memory = runtime.engine.memory;
    memory.set(template, start);
    let at = writeDecimal(memory, start + template.length, length);
    memory[at++] = 13;
    memory[at++] = 10;
    memory[at++] = 13;
    memory[at++] = 10;
    for (let index = 0; index < length; index++) {
      const character = body.charCodeAt(index);
      if (character > 127) return false;
      memory[at++] = character;
    }
    connection.commit(at - start);
    response.shortDone(length);
    return true;
  }

  /** Writes a plain 200 whose lines behind Date are ready, and its content, into the connection's block. */
  prepared(response: Response, connection: Connection, tail: Uint8Array, content: Uint8Array): boolean {
    if (!response.plain || !response.ownerKeepsAlive) return false;
    const runtime = connection.context.runtime;
    this.tick(runtime.timers.nowMs);
    const size = this.dateEnd + tail.length + content.length;
    if (size > runtime.engine.blockSize) return false;
    const start = connection.reserve(size);
    if (start < 0) return false;
    const memory = runtime.engine.memory;
    memory.set(this.first, start);
    memory.set(tail, start + this.dateEnd);
    memory.set(content, start + this.dateEnd + tail.length);
    connection.commit(size);
    return true;
  }
}

/** Writes a whole number from 0 to 2^31 - 1 and answers the offset behind it. */
export function writeDecimal(memory: Uint8Array, at: number, value: number): number {
  let size = 1;
  for (let bound = 10; value >= bound; bound *= 10) size++;
  let rest = value;
  for (let index = at + size - 1; index >= at; index--) {
    memory[index] = 48 + (rest % 10);
    rest = (rest / 10) | 0;
  }
  return at + size;
}

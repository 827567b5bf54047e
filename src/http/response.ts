/**
 * Room `http`: what a handler answers with. A short answer is written straight into the connection's block; a long one
 * streams, chunked where its length is not known.
 *
 * A newcomer would get wrong: status and fields are set before the first byte of the body; a later change throws, since the
 * head has left.
 */
import type { Connection } from '../net/connection.ts';
import { FIELD_VALUE, TOKEN } from './characters.ts';
import { CHUNK_HEAD_BYTES_MAX, LAST_CHUNK, writeChunkHead } from './chunked.ts';
import type { HeadTemplates } from './head-templates.ts';
import { isBodiless, statusLine } from './status.ts';

export interface ResponseOwner {
  /** The last byte of the answer has been written. */
  responded(): void;
  /** Whether the connection may be used again, as far as the request goes. */
  mayKeepAlive(): boolean;
}

const IDLE = 0;
const OPEN = 1;
const STREAMING = 2;
const DONE = 3;
/** An answer of up to this size, head included, is put together in one block. */
const SHORT_BYTES_MAX = 8192;
const encoder = new TextEncoder();
const CRLF = encoder.encode('\r\n');
const TEXT = 'text/plain; charset=utf-8';
const JSON_TYPE = 'application/json';

export class Response {
  status = 200;
  /** Bytes of content written so far, without framing. */
  bodyBytes = 0;
  private readonly templates: HeadTemplates;
  private connection!: Connection;
  private owner!: ResponseOwner;
  private state = IDLE;
  private isHead = false;
  private versionMinor = 1;
  private chunked = false;
  private keepAlive = true;
  /** Field lines set by the handler, as they go out. */
  private lines = '';
  private length = -1;
  private named: string[] = [];
  private trailerLines = '';
  private onDrain: (() => void) | null = null;
  private onClose: (() => void) | null = null;

  constructor(templates: HeadTemplates) {
    this.templates = templates;
  }

  /** @internal */
  begin(connection: Connection, owner: ResponseOwner, isHead: boolean, versionMinor: number): void {
    this.connection = connection;
    this.owner = owner;
    this.isHead = isHead;
    this.versionMinor = versionMinor;
    this.state = OPEN;
    this.status = 200;
    this.bodyBytes = 0;
    this.chunked = false;
    this.keepAlive = true;
    if (this.lines !== '') this.lines = '';
    if (this.named.length > 0) this.named = [];
    if (this.trailerLines !== '') this.trailerLines = '';
    this.length = -1;
    this.onDrain = null;
    this.onClose = null;
  }

  get headSent(): boolean {
    return this.state >= STREAMING;
  }

  get finished(): boolean {
    return this.state === DONE;
  }

  /** Whether the connection stays open after this answer. Known once the head has been sent. */
  get keepsAlive(): boolean {
    return this.keepAlive;
  }

  /**
   * Adds a field line. Content-Length, Transfer-Encoding and Connection are the server's business and refused here.
   * @throws TypeError for a name that is no token or a value with control characters (which could forge further lines)
   */
  header(name: string, value: string): this {
    this.mustBeOpen();
    checkField(name, value);
    const lower = name.toLowerCase();
    if (lower === 'content-length' || lower === 'transfer-encoding' || lower === 'connection') {
      throw new TypeError(`${name} is set by the server; use length(), write() or closeAfter()`);
    }
    this.named.push(lower);
    this.lines += `${name}: ${value}\r\n`;
    return this;
  }

  hasHeader(lower: string): boolean {
    return this.named.includes(lower);
  }

  /** Announces the content's length, where a stream's is known: no chunked coding then. */
  contentLength(bytes: number): this {
    this.mustBeOpen();
    this.length = bytes;
    return this;
  }

  /** The connection is closed after this answer. */
  closeAfter(): this {
    this.keepAlive = false;
    return this;
  }

  /** @internal Content-Type in place of the one among the raw lines. */
  replaceType(type: string): this {
    this.lines = this.lines.replace(/^Content-Type: [^\r]*\r\n/m, `Content-Type: ${type}\r\n`);
    return this;
  }

  /** @internal Field lines made elsewhere (a relayed head): checked by whoever made them, names given in lower case. */
  rawLines(lines: string, names: readonly string[]): this {
    this.lines += lines;
    for (const name of names) this.named.push(name);
    return this;
  }

  text(body: string): void {
    if (!this.templates.short(this, this.connection, body)) this.whole(encoder.encode(body), TEXT);
  }

  html(body: string): void {
    this.whole(encoder.encode(body), 'text/html; charset=utf-8');
  }

  json(value: unknown): void {
    this.whole(encoder.encode(JSON.stringify(value)), JSON_TYPE);
  }

  /** An answer of known content. `type` is its media type, unless the handler set one. */
  bytes(body: Uint8Array, type = 'application/octet-stream'): void {
    this.whole(body, type);
  }

  /** An answer without content. */
  empty(status = 204): void {
    this.mustBeOpen();
    this.status = status;
    this.length = 0;
    this.finishHead(null);
    this.finish();
  }

  redirect(location: string, status = 302): void {
    this.mustBeOpen();
    this.status = status;
    this.header('Location', location);
    this.length = 0;
    this.finishHead(null);
    this.finish();
  }

  private whole(body: Uint8Array, type: string): void {
    this.mustBeOpen();
    if (!this.named.includes('content-type')) this.lines += `Content-Type: ${type}\r\n`;
    this.length = body.length;
    this.finishHead(this.isHead || isBodiless(this.status) ? null : body);
    this.finish();
  }

  private mustBeOpen(): void {
    if (this.state !== OPEN)
      throw new Error(this.state === IDLE ? 'the response is over' : 'the head has been sent already');
  }

  /** @internal Whether the short way is open: nothing set, nothing sent. */
  get plain(): boolean {
    return (
      this.state === OPEN &&
      this.status === 200 &&
      this.lines === '' &&
      this.keepAlive &&
      !this.isHead &&
      this.versionMinor === 1
    );
  }

  /** @internal The short way wrote everything. */
  shortDone(bodyBytes: number): void {
    this.bodyBytes = bodyBytes;
    this.finish();
  }

  /** @internal */
  get ownerKeepsAlive(): boolean {
    return this.owner.mayKeepAlive();
  }

  /** Writes the head, and the body behind it where it is small, into the connection. */
  private finishHead(body: Uint8Array | null): void {
    const bodiless = isBodiless(this.status);
    let head = statusLine(this.status) + this.templates.common(this.named) + this.lines;
    if (this.length >= 0) {
      if (!bodiless) head += `Content-Length: ${this.length}\r\n`;
    } else if (!bodiless) {
      if (this.versionMinor === 0) this.keepAlive = false;
      else {
        this.chunked = true;
        head += 'Transfer-Encoding: chunked\r\n';
      }
    }
    if (this.keepAlive && !this.owner.mayKeepAlive()) this.keepAlive = false;
    if (!this.keepAlive) head += 'Connection: close\r\n';
    else if (this.versionMinor === 0) head += 'Connection: keep-alive\r\n';
    head += '\r\n';
    this.state = STREAMING;
    const connection = this.connection;
    const length = body === null ? 0 : body.length;
    if (head.length + length <= SHORT_BYTES_MAX) {
      const at = connection.reserve(head.length + length);
      if (at >= 0) {
        const memory = connection.context.runtime.engine.memory;
        writeLatin1(memory, at, head);
        if (body !== null) memory.set(body, at + head.length);
        this.bodyBytes = length;
        connection.commit(head.length + length);
        return;
      }
    }
    connection.write(latin1(head));
    if (body !== null && length > 0) {
      this.bodyBytes = length;
      connection.write(body);
    }
  }

  /** Sends the head now; the body follows by `write`, or by the connection itself for those who move it without copies. */
  flushHead(): void {
    if (this.state !== OPEN) return;
    this.finishHead(null);
  }

  /** Whether what is written carries chunk framing. Known once the head has been sent. */
  get isChunked(): boolean {
    return this.chunked;
  }

  /** Whether content may be sent at all (not for HEAD, 204, 304). */
  get hasContent(): boolean {
    return !this.isHead && !isBodiless(this.status);
  }

  /**
   * Streams content. Returns false when the client lags: go on after `drained`.
   * @throws Error for more content than `contentLength` announced
   */
  write(chunk: Uint8Array | string): boolean {
    if (this.state === OPEN) this.flushHead();
    if (this.state !== STREAMING) return false;
    const bytes = typeof chunk === 'string' ? encoder.encode(chunk) : chunk;
    if (bytes.length === 0 || !this.hasContent) return true;
    this.count(bytes.length);
    if (!this.chunked) return this.connection.write(bytes);
    this.chunkHead(bytes.length);
    this.connection.write(bytes);
    return this.connection.write(CRLF);
  }

  private count(length: number): void {
    this.bodyBytes += length;
    if (this.length >= 0 && this.bodyBytes > this.length) {
      this.connection.reset();
      throw new Error(`${this.bodyBytes} bytes of content written where ${this.length} were announced`);
    }
  }

  /** @internal Content that is moved past this object; with chunked coding the chunk's head is written here. */
  beforeBlock(length: number): void {
    if (this.state === OPEN) this.flushHead();
    this.count(length);
    if (this.chunked) this.chunkHead(length);
  }

  /** @internal */
  afterBlock(): void {
    if (this.chunked) this.connection.write(CRLF);
  }

  private chunkHead(length: number): void {
    const at = this.connection.reserve(CHUNK_HEAD_BYTES_MAX);
    if (at >= 0) {
      const end = writeChunkHead(this.connection.context.runtime.engine.memory, at, length);
      this.connection.commit(end - at);
    } else {
      this.connection.write(`${length.toString(16)}\r\n`);
    }
  }

  /** A trailer field, sent behind a chunked body. */
  trailer(name: string, value: string): this {
    checkField(name, value);
    this.trailerLines += `${name}: ${value}\r\n`;
    return this;
  }

  /**
   * Content from a file, without passing through user memory. The descriptor has to stay open until `done`. When the file
   * gives fewer bytes than promised, the connection is cut.
   */
  file(descriptor: number, offset: number, length: number, done: () => void): void {
    if (this.state === OPEN) this.flushHead();
    this.count(length);
    if (this.chunked) this.chunkHead(length);
    const connection = this.connection;
    connection.writeFile(descriptor, offset, length, (sent) => {
      done();
      if (sent < length) connection.destroy();
    });
    if (this.chunked) connection.write(CRLF);
  }

  /**
   * @internal A plain 200 of known content: `tail` is everything behind the Date's value. False where that way is not open or
   * the content is too large for it.
   */
  prepared(tail: Uint8Array, content: Uint8Array | null): boolean {
    if (content === null || !this.templates.prepared(this, this.connection, tail, content)) return false;
    this.shortDone(content.length);
    return true;
  }

  /** Ends the answer. */
  end(chunk?: Uint8Array | string): void {
    if (this.state === DONE || this.state === IDLE) return;
    if (this.state === OPEN && chunk === undefined && this.length < 0) this.length = 0;
    if (chunk !== undefined && this.state === OPEN && this.length < 0) {
      const bytes = typeof chunk === 'string' ? encoder.encode(chunk) : chunk;
      this.length = bytes.length;
      this.finishHead(this.hasContent ? bytes : null);
      this.finish();
      return;
    }
    if (this.state === OPEN) this.flushHead();
    if (chunk !== undefined) this.write(chunk);
    if (this.chunked && this.hasContent) {
      this.connection.write(this.trailerLines === '' ? LAST_CHUNK : latin1(`0\r\n${this.trailerLines}\r\n`));
    } else if (this.length >= 0 && this.hasContent && this.bodyBytes < this.length) {
      // Less content than announced: only a cut connection tells the client.
      this.keepAlive = false;
      this.connection.destroy();
    }
    this.finish();
  }

  /** Breaks the answer off so that the client sees it is incomplete. */
  abort(): void {
    if (this.state === DONE || this.state === IDLE) return;
    this.state = DONE;
    this.keepAlive = false;
    this.connection.reset();
  }

  private finish(): void {
    this.state = DONE;
    this.owner.responded();
  }

  /** Calls back once when what waits has fallen to the low mark after a `write` answered false. */
  drained(callback: () => void): void {
    this.onDrain = callback;
  }

  /** Calls back when the client went away before the answer was complete. */
  closed(callback: () => void): void {
    this.onClose = callback;
  }

  /** @internal */
  drain(): boolean {
    const callback = this.onDrain;
    this.onDrain = null;
    callback?.();
    return callback === null;
  }

  /** @internal */
  gone(): void {
    this.state = DONE;
    const callback = this.onClose;
    this.onClose = null;
    this.onDrain = null;
    callback?.();
  }
}

function checkField(name: string, value: string): void {
  let valid = name.length > 0;
  for (let index = 0; index < name.length; index++) if (TOKEN[name.charCodeAt(index)] !== 1) valid = false;
  if (!valid) throw new TypeError(`'${name}' is no field name (RFC 9110 section 5.1)`);
  for (let index = 0; index < value.length; index++) {
    if (FIELD_VALUE[value.charCodeAt(index)] !== 1)
      throw new TypeError(`the value of ${name} has a character that no field may carry`);
  }
}

/** Strings of the head are ISO 8859-1: every character one octet. */
export function writeLatin1(memory: Uint8Array, at: number, value: string): void {
  for (let index = 0; index < value.length; index++) memory[at + index] = value.charCodeAt(index);
}

export function latin1(value: string): Uint8Array {
  return Buffer.from(value, 'latin1');
}

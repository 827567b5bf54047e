/**
 * Room `http`: what a handler answers with. A short answer is written straight into the connection's block; a long one
 * streams, chunked where its length is not known.
 *
 * A newcomer would get wrong: status and fields are set before the first byte of the body; a later change throws, since the
 * head has left. And the object is used for later requests: a handler without a promise must not touch it after the answer is
 * complete, one with a promise after the promise has settled.
 */
import type { Connection, ConnectionHandler } from '../net/connection.ts';
import { CHUNK_HEAD_BYTES_MAX, LAST_CHUNK, writeChunkHead } from './chunked.ts';
import { checkField, checkTrailer } from './field-check.ts';
import { latin1 } from './latin1.ts';
import { DONE, GONE, IDLE, OPEN, type ResponseOwner, ResponseStart, STREAMING } from './response-start.ts';
import { isBodiless } from './status.ts';
import { handOver } from './takeover.ts';

const encoder = new TextEncoder();
const CRLF = encoder.encode('\r\n');
const TEXT = 'text/plain; charset=utf-8';
const JSON_TYPE = 'application/json';

export class Response extends ResponseStart {
  private trailerLines = '';
  private onDrain: (() => void) | null = null;
  private onClose: (() => void) | null = null;

  /** @internal */
  begin(connection: Connection, owner: ResponseOwner, isHead: boolean, versionMinor: number): void {
    this.start(connection, owner, isHead, versionMinor);
    if (this.trailerLines !== '') this.trailerLines = '';
    this.onDrain = null;
    this.onClose = null;
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

  /**
   * An answer of known content. `type` is its media type, unless the handler set one. More than a block (16 KB) is sent from
   * `body` itself, which must not change until it has left.
   */
  bytes(body: Uint8Array, type = 'application/octet-stream'): void {
    checkField('Content-Type', type);
    this.whole(body, type);
  }

  /** An answer without content. */
  empty(status = 204): void {
    if (!this.isOpen()) return;
    this.status = status;
    this.length = 0;
    this.finishHead(null);
    this.finish();
  }

  redirect(location: string, status = 302): void {
    if (!this.isOpen()) return;
    this.header('Location', location);
    this.empty(status);
  }

  private whole(body: Uint8Array, type: string): void {
    if (!this.isOpen()) return;
    if (!this.named.includes('content-type')) this.lines += `Content-Type: ${type}\r\n`;
    this.length = body.length;
    this.finishHead(this.isHead || isBodiless(this.status) ? null : body);
    this.finish();
  }

  /** @internal The short way wrote everything. */
  shortDone(bodyBytes: number): void {
    this.bodyBytes = bodyBytes;
    this.finish();
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

  /**
   * @internal Decides how an answer whose head is written elsewhere (a relayed one) is framed, and counts that head as sent.
   * `length` is what the head announces, -1 where only the end tells. Read `isChunked` and `keepsAlive` afterwards.
   */
  relayed(status: number, length: number): void {
    if (!this.isOpen()) return;
    this.status = status;
    this.length = length;
    if (length < 0 && this.hasContent) {
      if (this.versionMinor === 0) this.keepAlive = false;
      else this.chunked = true;
    }
    if (this.keepAlive && !this.owner.mayKeepAlive()) this.keepAlive = false;
    this.state = STREAMING;
  }

  /** @internal Counts content that went past this object without framing. */
  passed(length: number): void {
    this.count(length);
  }

  /** @internal Trailer lines that were checked by whoever made them. */
  rawTrailers(lines: string): void {
    this.trailerLines += lines;
  }

  /** @internal For an answer that brings no Date. */
  get dateLine(): string {
    return this.templates.date();
  }

  /** Sends the head now; the body follows by `write`, or by the connection itself for those who move it without copies. */
  flushHead(): void {
    if (this.state === OPEN) this.finishHead(null);
  }

  /**
   * Streams content. Returns false when the client lags (go on after `drained`) or is gone (`finished` says so). Up to a block
   * (16 KB) is copied; of a larger chunk the memory itself is sent and must not change until it has left.
   * @throws Error for more content than `contentLength` announced
   */
  write(chunk: Uint8Array | string): boolean {
    if (this.state === OPEN) this.flushHead();
    if (this.state !== STREAMING || !this.connection.writable) return false;
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
    if (this.chunked && this.connection.writable) this.chunkHead(length);
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

  /**
   * A trailer field, sent behind a chunked body; of another one, and by HTTP/1.0, it is not sent.
   * @throws TypeError for fields that must not trail (RFC 9110 section 6.5.1), and as `header` does
   */
  trailer(name: string, value: string): this {
    checkTrailer(name, value);
    this.trailerLines += `${name}: ${value}\r\n`;
    return this;
  }

  /**
   * Content from a file, without passing through user memory. The descriptor has to stay open until `done`. When the file
   * gives fewer bytes than promised, the connection is cut.
   */
  file(descriptor: number, offset: number, length: number, done: () => void): void {
    if (this.state === OPEN) this.flushHead();
    const connection = this.connection;
    if (this.state !== STREAMING || !connection.writable || !this.hasContent || length === 0) {
      done();
      return;
    }
    this.count(length);
    if (this.chunked) this.chunkHead(length);
    connection.writeFile(descriptor, offset, length, (sent) => {
      done();
      if (sent < length) connection.destroy();
    });
    if (this.chunked) connection.write(CRLF);
  }

  /** Ends the answer. Once it is complete this does nothing. */
  end(chunk?: Uint8Array | string): void {
    if (this.state === DONE || this.state === IDLE || this.state === GONE) return;
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
    if (this.state === DONE || this.state === IDLE || this.state === GONE) return;
    // Content that ends with the connection would look complete behind an orderly end.
    const endsWithConnection = this.state === STREAMING && !this.chunked && this.length < 0;
    this.state = GONE;
    this.keepAlive = false;
    if (endsWithConnection) this.connection.reset();
    else this.connection.destroy();
  }

  /**
   * Answers 101 and gives the connection to `handler`, whose `open` is called first; then it hears what came behind the
   * request, and everything after. The server's timeouts no longer apply; without `end` in the handler our side ends when the
   * client's does.
   *
   * ```ts
   * '/echo': (_request, response) => response.upgrade('echo', { data(connection, chunk) { connection.write(chunk); } })
   * ```
   * @throws Error where the client did not offer the protocol in Upgrade, or the head has been sent
   */
  upgrade<Data = unknown>(protocol: string, handler: ConnectionHandler<Data>): Connection<Data> {
    const connection = this.connection as Connection<Data>;
    if (!this.isOpen()) return connection;
    connection.write(this.switchingHead(protocol));
    this.takeover(handler);
    return connection;
  }

  /** @internal Ends HTTP on the connection: `handler` hears what came behind the request, and everything after. */
  takeover<Data>(handler: ConnectionHandler<Data>): void {
    this.state = DONE;
    const rest = this.owner.detach();
    handOver(this.connection as Connection<Data>, handler, rest);
  }

  /**
   * Tells once when what waits has fallen to the low mark after a `write` answered false. The promise resolves too when the
   * client goes away; the callback is not called then.
   */
  drained(): Promise<void>;
  drained(callback: () => void): void;
  drained(callback?: () => void): Promise<void> | void {
    if (callback !== undefined) {
      this.onDrain = callback;
      return;
    }
    const connection = this.connection;
    if (this.state >= DONE || (connection.writable && connection.bytesQueued === 0)) return Promise.resolve();
    // One that takes no more will be gone soon; to resolve now would make a loop of writes spin until then.
    if (connection.writable) connection.wantDrain();
    return new Promise((resolve) => {
      this.onDrain = resolve;
      const onClose = this.onClose;
      this.onClose = () => {
        resolve();
        onClose?.();
      };
    });
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
    this.state = GONE;
    const callback = this.onClose;
    this.onClose = null;
    this.onDrain = null;
    callback?.();
  }
}

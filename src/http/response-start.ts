/**
 * Room `http`: the first half of a response: status, fields, and the head that is made of them. `response.ts` adds the content.
 *
 * A newcomer would get wrong: a client may vanish at any time, which is no mistake of the handler's. A response whose client is
 * gone takes everything and sends nothing; only a second answer to the same request throws.
 */
import type { Connection } from '../net/connection.ts';
import { checkField } from './field-check.ts';
import type { HeadTemplates } from './head-templates.ts';
import { latin1, writeLatin1 } from './latin1.ts';
import { isBodiless, statusLine } from './status.ts';

export interface ResponseOwner {
  /** The last byte of the answer has been written. */
  responded(): void;
  /** Whether the connection may be used again, as far as the request goes. */
  mayKeepAlive(): boolean;
  /** Whether the client offers to switch to the protocol. */
  offers(protocol: string): boolean;
  /** The connection belongs to somebody else from now on. Answers the octets that came behind the request. */
  detach(): Uint8Array;
}

/** Not begun, or used for another request: nothing may be done. */
export const IDLE = 0;
/** Status and fields may be set. */
export const OPEN = 1;
/** The head has left. */
export const STREAMING = 2;
export const DONE = 3;
/** The client went away first. */
export const GONE = 4;

/** An answer of up to this size, head included, is put together in one block. */
const SHORT_BYTES_MAX = 8192;

export abstract class ResponseStart {
  /** 200 to 999; set before the content. */
  status = 200;
  /** Bytes of content written so far, without framing. */
  bodyBytes = 0;
  protected readonly templates: HeadTemplates;
  protected connection!: Connection;
  protected owner!: ResponseOwner;
  protected state = IDLE;
  protected isHead = false;
  protected versionMinor = 1;
  protected chunked = false;
  protected keepAlive = true;
  /** Field lines set by the handler, as they go out. */
  protected lines = '';
  protected length = -1;
  protected named: string[] = [];

  constructor(templates: HeadTemplates) {
    this.templates = templates;
  }

  protected start(connection: Connection, owner: ResponseOwner, isHead: boolean, versionMinor: number): void {
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
    this.length = -1;
  }

  get headSent(): boolean {
    return this.state >= STREAMING;
  }

  /** The answer is complete, or its client is gone. */
  get finished(): boolean {
    return this.state >= DONE;
  }

  /** Whether the connection stays open after this answer. Known once the head has been sent. */
  get keepsAlive(): boolean {
    return this.keepAlive;
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
   * Adds a field line. Content-Length, Transfer-Encoding and Connection are the server's business and refused here.
   * @throws TypeError for a name that is no token or a value with control characters (which could forge further lines)
   */
  header(name: string, value: string): this {
    if (!this.isOpen()) return this;
    checkField(name, value);
    const lower = name.toLowerCase();
    if (lower === 'content-length' || lower === 'transfer-encoding' || lower === 'connection') {
      throw new TypeError(`${name} is set by the server; use contentLength(), write() or closeAfter()`);
    }
    this.named.push(lower);
    this.lines += `${name}: ${value}\r\n`;
    return this;
  }

  hasHeader(lower: string): boolean {
    return this.named.includes(lower);
  }

  /**
   * Announces the content's length, where a stream's is known: no chunked coding then.
   * @throws RangeError for anything but a whole number of 0 or more
   */
  contentLength(bytes: number): this {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new RangeError(`a content length is no ${bytes}`);
    if (this.isOpen()) this.length = bytes;
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

  /** @internal Forgets the fields that a handler set before it failed: they described another answer. */
  resetFields(): void {
    this.lines = '';
    this.named = [];
    this.length = -1;
  }

  /** @internal Whether the short way is open: nothing set, nothing sent. */
  get plain(): boolean {
    return (
      this.state === OPEN &&
      this.status === 200 &&
      this.lines === '' &&
      this.keepAlive &&
      !this.isHead &&
      this.versionMinor === 1 &&
      this.connection.writable
    );
  }

  /** @internal */
  get ownerKeepsAlive(): boolean {
    return this.owner.mayKeepAlive();
  }

  /** Whether the head may still be set; false where the client is gone. */
  protected isOpen(): boolean {
    if (this.state === OPEN) return true;
    if (this.state === GONE) return false;
    throw new Error(
      this.state === STREAMING ? 'the head has been sent already' : 'the request has been answered already',
    );
  }

  /** Writes the head, and the body behind it where it is small, into the connection. */
  protected finishHead(body: Uint8Array | null): void {
    const status = this.status;
    if (!Number.isInteger(status) || status < 200 || status > 999) {
      throw new RangeError(`the status is ${status}: 200 to 999 are allowed`);
    }
    const bodiless = isBodiless(status);
    let head = statusLine(status) + this.templates.common(this.named) + this.lines;
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
    this.state = STREAMING;
    this.sendHead(`${head}\r\n`, body);
  }

  private sendHead(head: string, body: Uint8Array | null): void {
    const connection = this.connection;
    if (!connection.writable) return;
    const length = body === null ? 0 : body.length;
    this.bodyBytes = length;
    if (head.length + length <= SHORT_BYTES_MAX) {
      const at = connection.reserve(head.length + length);
      if (at >= 0) {
        const memory = connection.context.runtime.engine.memory;
        writeLatin1(memory, at, head);
        if (body !== null) memory.set(body, at + head.length);
        connection.commit(head.length + length);
        return;
      }
    }
    connection.write(latin1(head));
    if (body !== null && length > 0) connection.write(body);
  }

  /** The answer is complete. */
  protected finish(): void {
    this.state = DONE;
    this.owner.responded();
  }

  /**
   * The 101 head for a switch to `protocol`, with the fields set so far. Nothing of HTTP follows.
   * @throws Error where the client did not offer the protocol
   */
  protected switchingHead(protocol: string): Uint8Array {
    checkField('Upgrade', protocol);
    if (!this.owner.offers(protocol)) throw new Error(`the client does not offer to switch to ${protocol}`);
    this.status = 101;
    const common = this.templates.common(this.named);
    return latin1(`${statusLine(101)}${common}${this.lines}Connection: upgrade\r\nUpgrade: ${protocol}\r\n\r\n`);
  }
}

/**
 * Room `http`: what a handler sees of a request: the head as views, the body as bytes, text, JSON or a stream.
 *
 * A newcomer would get wrong: the object is used again for later requests once the answer is complete, the body read, and the
 * handler's promise, if it returned one, settled. What has to live longer is copied out as strings.
 */
import type { SocketAddress } from '../kernel/address.ts';
import type { Connection } from '../net/connection.ts';
import { Body } from './body.ts';
import { RequestHead } from './head.ts';
import { METHOD_GET, METHOD_HEAD } from './methods.ts';

export class Request {
  /** The head by offsets, for those who count nanoseconds. */
  readonly head: RequestHead = new RequestHead();
  readonly body: Body = new Body();
  /** The connection that it came on. */
  connection!: Connection;
  /** @internal Octets of the path that the route matched. */
  restStart = 0;
  /** @internal The path by its meaning, where that may differ from its spelling. */
  resolved: string | null = null;
  /** When its head was complete, on the scale of `performance.now()`, as exact as a turn of the engine. */
  startedMs = 0;

  get method(): string {
    return this.head.methodName;
  }

  get isHead(): boolean {
    return this.head.method === METHOD_HEAD;
  }

  get isGetOrHead(): boolean {
    return this.head.method === METHOD_GET || this.head.method === METHOD_HEAD;
  }

  /** The request-target as sent. */
  get target(): string {
    return this.head.target;
  }

  /** The path as sent, without the query. */
  get path(): string {
    return this.head.path;
  }

  /** What follows the route's path in the request's: '' for an exact match. Decoded where it was spelled with encodings. */
  get rest(): string {
    return (this.resolved ?? this.head.path).slice(this.restStart);
  }

  /** The query without `?`, '' where there is none. */
  get query(): string {
    return this.head.query;
  }

  /** Host and port that the request is for. */
  get host(): string {
    return this.head.authority;
  }

  /** The value of a field, several lines joined by ', '; null without one. The name in lower case. */
  header(name: string): string | null {
    return this.head.field(name);
  }

  /** Every field line in order, names in lower case. */
  *headers(): IterableIterator<[string, string]> {
    const fields = this.head.fields;
    for (let index = 0; index < fields.count; index++) yield [fields.name(index), fields.value(index)];
  }

  get remoteAddress(): SocketAddress | null {
    return this.connection.remoteAddress;
  }

  /** The whole body; bounded by the server's `bodySize`. */
  bytes(): Promise<Uint8Array> {
    return this.body.bytes();
  }

  /** The whole body as UTF-8. */
  text(): Promise<string> {
    return this.body.text();
  }

  /** @throws SyntaxError where the body is no JSON */
  async json(): Promise<unknown> {
    return JSON.parse(await this.body.text());
  }

  /** The body in chunks that may be kept. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    return this.body[Symbol.asyncIterator]();
  }
}

/**
 * Test support: an HTTP client that sends exactly the octets it is given, over Node's own sockets, and reads responses with
 * an eye of its own.
 *
 * A newcomer would get wrong: whether a response has content depends on the request's method, which this client does not know;
 * a next status line where content should begin says that there was none (the servers under test never send such content).
 */
import * as nodeNet from 'node:net';
import { until } from './net.ts';

export interface Received {
  readonly status: number;
  /** The head as it came, without the empty line. */
  readonly head: string;
  /** Field values by lower-case name, several lines joined by `, `. */
  readonly fields: ReadonlyMap<string, string>;
  /** ISO 8859-1, chunk framing undone. */
  readonly body: string;
  readonly trailers: string;
  /** Whether its end was seen. */
  readonly complete: boolean;
}

export type Address = { readonly port: number; readonly host?: string } | { readonly path: string };

export class HttpClient {
  readonly socket: nodeNet.Socket;
  /** Everything received, ISO 8859-1. */
  text = '';
  bytes = 0;
  ended = false;
  reset = false;
  private readonly keep: boolean;
  private readonly heads: boolean;

  /** With `keep` false the octets are counted only; with `heads` every response ends with its head (to HEAD). */
  constructor(address: Address, options: { readonly keep?: boolean; readonly heads?: boolean } = {}) {
    this.keep = options.keep ?? true;
    this.heads = options.heads ?? false;
    const target = 'port' in address ? { host: '127.0.0.1', ...address } : address;
    this.socket = nodeNet.connect({ ...target, allowHalfOpen: true, noDelay: true });
    this.socket.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length;
      if (this.keep) this.text += chunk.toString('latin1');
    });
    this.socket.on('end', () => {
      this.ended = true;
    });
    this.socket.on('error', () => {
      this.reset = true;
    });
  }

  /** The server has ended its side, or the connection broke. */
  get closed(): boolean {
    return this.ended || this.reset;
  }

  async open(): Promise<this> {
    await until(() => !this.socket.connecting || this.closed);
    return this;
  }

  send(data: string | Uint8Array): this {
    if (!this.socket.destroyed) this.socket.write(typeof data === 'string' ? Buffer.from(data, 'latin1') : data);
    return this;
  }

  end(): this {
    this.socket.end();
    return this;
  }

  /** Final responses so far; the last may be incomplete. */
  responses(): Received[] {
    return readResponses(this.text, this.closed, this.heads).filter((response) => response.status >= 200);
  }

  interims(): Received[] {
    return readResponses(this.text, this.closed).filter((response) => response.status < 200);
  }

  /** Waits until `count` responses are complete and answers them. */
  async answers(count = 1, timeoutMs = 5000): Promise<Received[]> {
    await until(
      () => this.responses().filter((response) => response.complete).length >= count || this.closed,
      timeoutMs,
    );
    return this.responses();
  }

  async closing(timeoutMs = 5000): Promise<void> {
    await until(() => this.closed, timeoutMs);
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/** One request on a connection of its own, which is closed afterwards. */
export async function ask(address: Address, request: string): Promise<Received> {
  const client = new HttpClient(address);
  client.send(request);
  const [response] = await client.answers(1);
  client.destroy();
  return response;
}

export function get(path: string, fields: Readonly<Record<string, string>> = {}, method = 'GET'): string {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\nHost: example.test\r\n${lines.join('')}\r\n`;
}

export function readResponses(text: string, closed: boolean, heads = false): Received[] {
  const responses: Received[] = [];
  let position = 0;
  for (;;) {
    const headEnd = text.indexOf('\r\n\r\n', position);
    if (headEnd < 0) return responses;
    const head = text.slice(position, headEnd);
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1] ?? Number.NaN);
    const fields = fieldsOf(head);
    const none: Content = { body: '', trailers: '', complete: true, end: headEnd + 4 };
    const content = heads ? none : readContent(text, headEnd + 4, status, fields, closed);
    responses.push({ status, head, fields, ...content });
    if (!content.complete) return responses;
    position = content.end;
  }
}

function fieldsOf(head: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of head.split('\r\n').slice(1)) {
    const name = line.slice(0, line.indexOf(':')).toLowerCase();
    const value = line.slice(line.indexOf(':') + 1).trim();
    fields.set(name, fields.has(name) ? `${fields.get(name)}, ${value}` : value);
  }
  return fields;
}

interface Content {
  readonly body: string;
  readonly trailers: string;
  readonly complete: boolean;
  readonly end: number;
}

function readContent(
  text: string,
  start: number,
  status: number,
  fields: ReadonlyMap<string, string>,
  closed: boolean,
): Content {
  const none = { body: '', trailers: '', complete: true, end: start };
  if (status < 200 || status === 204 || status === 304 || text.startsWith('HTTP/1.1 ', start)) return none;
  if (fields.get('transfer-encoding') === 'chunked') return readChunks(text, start);
  const length = fields.get('content-length');
  if (length === undefined) return { ...none, body: text.slice(start), complete: closed, end: text.length };
  const end = start + Number(length);
  return { ...none, body: text.slice(start, end), complete: end <= text.length, end };
}

function readChunks(text: string, start: number): Content {
  let body = '';
  let position = start;
  for (;;) {
    const lineEnd = text.indexOf('\r\n', position);
    if (lineEnd < 0) return { body, trailers: '', complete: false, end: position };
    const size = Number.parseInt(text.slice(position, lineEnd), 16);
    if (size === 0) {
      const end = text.startsWith('\r\n', lineEnd + 2) ? lineEnd + 2 : text.indexOf('\r\n\r\n', lineEnd) + 2;
      const trailers = text.slice(lineEnd + 2, end);
      return end < 2
        ? { body, trailers: '', complete: false, end: position }
        : { body, trailers, complete: true, end: end + 2 };
    }
    if (Number.isNaN(size)) throw new Error(`no chunk begins with ${JSON.stringify(text.slice(position, lineEnd))}`);
    body += text.slice(lineEnd + 2, lineEnd + 2 + size);
    position = lineEnd + 2 + size + 2;
    if (position > text.length) return { body, trailers: '', complete: false, end: position };
  }
}

/**
 * A server's and a proxy's side of a connection without sockets: just enough around the parsers of `src/http` to see which
 * octets they take for what. Everything lies in an arena whose other octets are line ends, so that a parser that reads beyond
 * its end answers differently and is found out.
 */
import { CHUNK_DATA, CHUNK_END, ChunkedDecoder } from '../../src/http/chunked.ts';
import type { Fields } from '../../src/http/fields.ts';
import { FORM_AUTHORITY, type HeadLimits, lineEndsIn, RequestHead } from '../../src/http/head.ts';
import { METHOD_OTHER, METHOD_TRACE } from '../../src/http/methods.ts';
import { BODY_LENGTH, BODY_NONE, BODY_TUNNEL, BODY_UNTIL_CLOSE, ResponseHead } from '../../src/http/response-head.ts';

export const limits: HeadLimits = { headSize: 16384, headerCount: 100 };
const BODY_BYTES_MAX = 10 * 1024 * 1024;

const ARENA_BYTES = 512 * 1024;
const ARENA_START = 4096;
const arena = new Uint8Array(ARENA_BYTES);

const requestHead = new RequestHead();
const responseHead = new ResponseHead();

const READING_HEAD = 0;
const READING_LENGTH = 1;
const READING_CHUNKS = 2;

/** One connection at a time: the arena is shared. */
class Octets {
  position = ARENA_START;
  end = ARENA_START;

  constructor(filler: number) {
    arena.fill(filler);
  }

  append(bytes: Uint8Array): void {
    arena.set(bytes, this.end);
    this.end += bytes.length;
  }
}

/** Answers 200 to every standard method, 405 to TRACE, 501 to the rest. */
export class ServerConnection {
  readonly statuses: number[] = [];
  /** Each message that came whole, as JSON: method, target, minor version, fields, body, trailers. */
  readonly messages: string[] = [];
  /** Where each message begins in what was written, one that is incomplete or refused included. */
  readonly starts: number[] = [0];
  interims = 0;
  refused = false;
  closed = false;
  readonly #buffer: Octets;
  readonly #decoder = new ChunkedDecoder(limits);
  #state: number = READING_HEAD;
  #remaining = 0;
  #answer = 0;
  #keepAlive = true;
  /** Up to where an incomplete head has been seen. */
  #seen = ARENA_START;
  #head: unknown[] = [];
  #body = '';

  constructor(filler = 0x0a) {
    this.#buffer = new Octets(filler);
  }

  /** Whether a message has begun and not ended. Empty lines before a message are not a beginning. */
  get isWithinMessage(): boolean {
    if (this.#state !== READING_HEAD) return true;
    const { position, end } = this.#buffer;
    return !/^(?:\r\n)*$/.test(latin1(position, end));
  }

  write(bytes: Uint8Array): void {
    if (this.closed) return;
    this.#buffer.append(bytes);
    while (!this.closed && this.#step()) {}
  }

  /** The client closes its side. */
  end(): void {
    this.closed = true;
  }

  #step(): boolean {
    if (this.#state === READING_HEAD) return this.#readHead();
    if (this.#state === READING_LENGTH) return this.#readLength();
    return this.#readChunks();
  }

  #readHead(): boolean {
    const buffer = this.#buffer;
    const start = buffer.position;
    if (start === buffer.end) return false;
    const isFirstLook = this.#seen <= start;
    if (!isFirstLook && buffer.end - start < limits.headSize && !lineEndsIn(arena, this.#seen, buffer.end)) {
      this.#seen = buffer.end;
      return false;
    }
    this.#seen = buffer.end;
    const result = requestHead.parse(arena, start, buffer.end, limits);
    if (result === 0) return false;
    if (result < 0) return this.#refuse(-result);
    buffer.position = result;
    if (requestHead.contentLength > BODY_BYTES_MAX) return this.#refuse(413);
    if (requestHead.form === FORM_AUTHORITY) return this.#refuse(501);
    this.#head = [requestHead.methodName, requestHead.target, requestHead.versionMinor, pairsOf(requestHead.fields)];
    this.#body = '';
    if (requestHead.expectContinue) this.interims++;
    this.#keepAlive = requestHead.keepAlive;
    this.#answer = requestHead.method === METHOD_OTHER ? 501 : requestHead.method === METHOD_TRACE ? 405 : 200;
    if (requestHead.chunked) {
      this.#decoder.reset();
      this.#state = READING_CHUNKS;
    } else if (requestHead.contentLength > 0) {
      this.#remaining = requestHead.contentLength;
      this.#state = READING_LENGTH;
    } else this.#finish();
    return true;
  }

  #readLength(): boolean {
    const buffer = this.#buffer;
    const length = Math.min(this.#remaining, buffer.end - buffer.position);
    this.#body += latin1(buffer.position, buffer.position + length);
    buffer.position += length;
    this.#remaining -= length;
    if (this.#remaining > 0) return false;
    this.#finish();
    return true;
  }

  #readChunks(): boolean {
    const buffer = this.#buffer;
    const event = this.#decoder.next(arena, buffer.position, buffer.end);
    if (event < 0) return this.#refuse(-event);
    if (event === CHUNK_DATA) this.#body += latin1(this.#decoder.dataStart, this.#decoder.dataEnd);
    buffer.position = this.#decoder.position;
    if (this.#decoder.received > BODY_BYTES_MAX) return this.#refuse(413);
    if (event === CHUNK_END) this.#finish();
    return event === CHUNK_END || event === CHUNK_DATA;
  }

  #finish(): void {
    const trailers = this.#state === READING_CHUNKS ? pairsOf(this.#decoder.trailers) : [];
    this.messages.push(JSON.stringify([...this.#head, this.#body, trailers]));
    this.statuses.push(this.#answer);
    this.#state = READING_HEAD;
    this.#seen = 0;
    this.starts.push(this.#buffer.position - ARENA_START);
    if (!this.#keepAlive) this.closed = true;
  }

  #refuse(status: number): boolean {
    this.statuses.push(status);
    this.refused = true;
    this.closed = true;
    return false;
  }
}

function latin1(start: number, end: number): string {
  return Buffer.from(arena.buffer, start, end - start).toString('latin1');
}

function pairsOf(fields: Fields): string[] {
  const pairs: string[] = [];
  for (let index = 0; index < fields.count; index++) pairs.push(fields.rawName(index), fields.value(index));
  return pairs;
}

export interface ForwardedResponse {
  /** What the client gets: the upstream's status, 502, or 0 while nothing final has come. */
  status: number;
  body: number[];
  /** The fault came after the head: the client sees that the body is incomplete. */
  truncated: boolean;
  complete: boolean;
  fields: Map<string, string>;
}

/** Reads one response as a proxy would, all of what the upstream sends cut at `cuts`. */
export function readResponse(
  pieces: readonly Uint8Array[],
  closes: boolean,
  method: number,
  filler = 0x0a,
): ForwardedResponse {
  const buffer = new Octets(filler);
  const decoder = new ChunkedDecoder(limits);
  const response: ForwardedResponse = { status: 0, body: [], truncated: false, complete: false, fields: new Map() };
  let body: number = -1;
  let remaining = 0;

  const fail = (): boolean => {
    if (response.status === 0) {
      response.status = 502;
      response.complete = true;
    } else response.truncated = true;
    return false;
  };
  const take = (length: number): void => {
    for (let index = 0; index < length; index++) response.body.push(arena[buffer.position + index]);
    buffer.position += length;
  };
  const step = (): boolean => {
    if (response.complete || response.truncated) return false;
    if (body < 0) {
      const result = responseHead.parse(arena, buffer.position, buffer.end, limits, method, false);
      if (result === 0) return false;
      if (result < 0) return fail();
      buffer.position = result;
      if (responseHead.isInterim) return true;
      response.status = responseHead.status;
      body = responseHead.body;
      remaining = responseHead.contentLength;
      const fields = responseHead.fields;
      for (let index = 0; index < fields.count; index++) {
        if (fields.isNamedByConnection(index)) continue;
        response.fields.set(fields.name(index), fields.get(fields.name(index))!);
      }
      response.complete = body === BODY_NONE || body === BODY_TUNNEL;
      return true;
    }
    const available = buffer.end - buffer.position;
    if (body === BODY_LENGTH) {
      const length = Math.min(remaining, available);
      take(length);
      remaining -= length;
      response.complete = remaining === 0;
      return false;
    }
    if (body === BODY_UNTIL_CLOSE) {
      take(available);
      return false;
    }
    const event = decoder.next(arena, buffer.position, buffer.end);
    if (event < 0) return fail();
    if (event === CHUNK_DATA) {
      for (let index = decoder.dataStart; index < decoder.dataEnd; index++) response.body.push(arena[index]);
    }
    buffer.position = decoder.position;
    response.complete = event === CHUNK_END;
    return event === CHUNK_DATA;
  };

  for (const piece of pieces) {
    buffer.append(piece);
    while (step()) {}
  }
  if (closes && !response.complete) {
    if (body === BODY_UNTIL_CLOSE) response.complete = true;
    else fail();
  }
  return response;
}

/**
 * Room `gateway`: the access log: one line a request, gathered in memory and appended to the file off the hot path.
 *
 * A newcomer would get wrong: a disk that is slow or full must not stop traffic. Lines beyond the buffer's bound are dropped
 * and counted; whole lines are appended, so several workers may share the file.
 */
import { closeSync, constants, openSync, type PathLike, write } from 'node:fs';
import type { Request } from '../http/request.ts';
import type { Response } from '../http/response.ts';
import type { SocketAddress } from '../kernel/address.ts';

export type AccessLogFormat = 'json' | 'common';

const FLUSH_BYTES = 64 * 1024;
const FLUSH_MS = 1000;
const BUFFER_BYTES_MAX = 8 * 1024 * 1024;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Never waits: a pipe that nobody reads is refused (ENXIO, open(2)), and one that is full gives an error, not a pause. */
const OPEN_FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;

function open(path: PathLike): number {
  return openSync(path, OPEN_FLAGS, 0o644);
}

function hostOf(client: SocketAddress | null): string | null {
  return client === null || client.family === 'unix' ? null : client.address;
}

export class AccessLog {
  /** Lines that were not written: the buffer was full or the disk refused. */
  dropped = 0;
  private readonly path: PathLike;
  private readonly format: AccessLogFormat;
  private readonly complain: (line: string) => void;
  private descriptor: number;
  private lines: string[] = [];
  private bytes = 0;
  private writing: Promise<void> | null = null;
  private readonly timer: NodeJS.Timeout;
  private failing = false;
  private second = -1;
  private stamp = '';

  /** @throws an error of node:fs where the file cannot be opened for appending */
  constructor(path: string, format: AccessLogFormat, complain: (line: string) => void) {
    this.path = path;
    this.format = format;
    this.complain = complain;
    this.descriptor = open(path);
    this.timer = setInterval(() => this.flush(), FLUSH_MS);
    this.timer.unref();
  }

  /** Takes one answered request. */
  record(request: Request, response: Response, durationMs: number): void {
    if (this.isFull()) return;
    this.add(this.format === 'json' ? jsonLine(request, response, durationMs) : this.commonLine(request, response));
  }

  /** Takes a request that could not be read; only its sender and the status are known. */
  recordRefused(client: SocketAddress | null, status: number): void {
    if (this.isFull()) return;
    const json = (): string => JSON.stringify({ time: new Date().toISOString(), client: hostOf(client), status });
    const common = (): string => `${hostOf(client) ?? '-'} - - [${this.time()}] "-" ${status} - "-" "-"`;
    this.add(`${this.format === 'json' ? json() : common()}\n`);
  }

  private isFull(): boolean {
    if (this.bytes <= BUFFER_BYTES_MAX) return false;
    this.dropped++;
    return true;
  }

  private add(line: string): void {
    this.lines.push(line);
    this.bytes += line.length;
    if (this.bytes >= FLUSH_BYTES && this.writing === null) this.flush();
  }

  /** NCSA common log format with the combined format's two further fields. */
  private commonLine(request: Request, response: Response): string {
    const host = hostOf(request.remoteAddress) ?? '-';
    const target = `${request.method} ${harmless(request.target)} HTTP/1.${request.head.versionMinor}`;
    const referer = request.header('referer');
    const agent = request.header('user-agent');
    const what = `"${target}" ${response.status} ${response.bodyBytes}`;
    return `${host} - - [${this.time()}] ${what} "${harmless(referer ?? '-')}" "${harmless(agent ?? '-')}"\n`;
  }

  private time(): string {
    const now = new Date();
    const second = Math.floor(now.getTime() / 1000);
    if (second !== this.second) {
      this.second = second;
      const two = (value: number): string => String(value).padStart(2, '0');
      const date = `${two(now.getUTCDate())}/${MONTHS[now.getUTCMonth()]}/${now.getUTCFullYear()}`;
      this.stamp = `${date}:${two(now.getUTCHours())}:${two(now.getUTCMinutes())}:${two(now.getUTCSeconds())} +0000`;
    }
    return this.stamp;
  }

  /** Appends what is gathered; resolves when it is written or given up. */
  flush(): Promise<void> {
    if (this.writing !== null) return this.writing;
    if (this.lines.length === 0) return Promise.resolve();
    const count = this.lines.length;
    const data = Buffer.from(this.lines.join(''), 'utf8');
    this.lines = [];
    this.bytes = 0;
    this.writing = new Promise((resolve) => this.append(data, 0, count, resolve));
    return this.writing;
  }

  private append(data: Buffer, offset: number, count: number, done: () => void): void {
    write(this.descriptor, data, offset, data.length - offset, null, (error, written) => {
      if (error === null && offset + written < data.length) {
        this.append(data, offset + written, count, done);
        return;
      }
      if (error !== null) {
        this.dropped += count;
        if (!this.failing) this.complain(`the access log ${String(this.path)} cannot be written: ${error.message}`);
      }
      this.failing = error !== null;
      this.writing = null;
      done();
    });
  }

  /** Opens the path anew (it was moved away by a log rotation). */
  async reopen(): Promise<void> {
    await this.flush();
    const descriptor = open(this.path);
    closeSync(this.descriptor);
    this.descriptor = descriptor;
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    while (this.lines.length > 0 || this.writing !== null) await this.flush();
    closeSync(this.descriptor);
  }
}

function jsonLine(request: Request, response: Response, durationMs: number): string {
  return `${JSON.stringify({
    time: new Date().toISOString(),
    client: hostOf(request.remoteAddress),
    method: request.method,
    target: request.target,
    host: request.host,
    version: `1.${request.head.versionMinor}`,
    status: response.status,
    bytes: response.bodyBytes,
    durationMs: Math.round(durationMs * 1000) / 1000,
    referer: request.header('referer'),
    userAgent: request.header('user-agent'),
  })}\n`;
}

/** Quotes and control characters would forge lines or fields. */
function harmless(value: string): string {
  let text = '';
  for (const character of value) {
    const code = character.charCodeAt(0);
    const plain = code >= 0x20 && code !== 0x7f && character !== '"' && character !== '\\';
    text += plain ? character : `\\x${code.toString(16).padStart(2, '0')}`;
  }
  return text;
}

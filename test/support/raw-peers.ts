/**
 * Test support: a client and an upstream that send exactly the octets that they are told to and keep those that they get. They
 * are Node's own sockets, so that nothing of the library judges itself.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A client of 127.0.0.1 (or a path). */
export class RawClient {
  readonly socket: Socket;
  closed = false;
  ended = false;
  private readonly parts: Buffer[] = [];
  private length = 0;

  constructor(target: { readonly port: number; readonly host?: string } | { readonly path: string }) {
    this.socket = connect({ ...target, allowHalfOpen: true, noDelay: true });
    this.socket.on('data', (chunk: Buffer) => {
      this.parts.push(chunk);
      this.length += chunk.length;
    });
    this.socket.on('end', () => {
      this.ended = true;
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.closed = true;
    });
  }

  get received(): Buffer {
    return Buffer.concat(this.parts);
  }

  get bytes(): number {
    return this.length;
  }

  get text(): string {
    return this.received.toString('latin1');
  }

  /** The server has ended or reset the connection. */
  get over(): boolean {
    return this.ended || this.closed;
  }

  write(octets: Uint8Array | string): void {
    if (!this.closed) this.socket.write(typeof octets === 'string' ? Buffer.from(octets, 'latin1') : octets);
  }

  /** Waits until the text received has it. */
  async read(part: string | RegExp, timeoutMs = 5000): Promise<string> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const text = this.text;
      if (typeof part === 'string' ? text.includes(part) : part.test(text)) return text;
      if (this.over) throw new Error(`closed before ${part} came: ${JSON.stringify(text.slice(0, 300))}`);
      if (performance.now() > deadlineMs)
        throw new Error(`${part} did not come: ${JSON.stringify(text.slice(0, 300))}`);
      await sleep(1);
    }
  }

  /** Waits until the server has ended or reset the connection; the whole text. */
  async end(timeoutMs = 5000): Promise<string> {
    const deadlineMs = performance.now() + timeoutMs;
    while (!this.over) {
      if (performance.now() > deadlineMs) throw new Error(`still open: ${JSON.stringify(this.text.slice(0, 300))}`);
      await sleep(1);
    }
    return this.text;
  }

  /** Waits until more than so many octets have come, or the connection is over, or some time has passed. */
  async more(than: number, timeoutMs = 4000): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while (this.length <= than && !this.over && performance.now() < deadlineMs) await sleep(1);
  }

  /** Waits until nothing has come for a while. */
  async quiet(silenceMs: number): Promise<void> {
    let seen = -1;
    let sinceMs = performance.now();
    while (!this.over && performance.now() - sinceMs < silenceMs) {
      if (this.length !== seen) {
        seen = this.length;
        sinceMs = performance.now();
      }
      await sleep(2);
    }
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/** An upstream: `connected` is called for each connection, `received` whenever octets came on one. */
export class RawUpstream {
  readonly server: Server;
  readonly sockets = new Set<Socket>();
  /** Connections accepted so far. */
  connections = 0;
  /** What came on each connection, in the order of accepting. */
  readonly streams: Buffer[] = [];
  private readonly answer: (socket: Socket, all: Buffer, index: number) => void;

  /** @param answer is told of all octets that came on the connection so far */
  constructor(answer: (socket: Socket, all: Buffer, index: number) => void) {
    this.answer = answer;
    this.server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.accepted(socket));
    // A test that failed before it closed this must not keep the process.
    this.server.unref();
  }

  private accepted(socket: Socket): void {
    socket.unref();
    const index = this.connections++;
    this.streams.push(Buffer.alloc(0));
    this.sockets.add(socket);
    socket.on('data', (chunk: Buffer) => {
      this.streams[index] = Buffer.concat([this.streams[index], chunk]);
      this.answer(socket, this.streams[index], index);
    });
    socket.on('end', () => socket.end());
    socket.on('error', () => {});
    socket.on('close', () => this.sockets.delete(socket));
  }

  async listen(target: { readonly host?: string; readonly port?: number; readonly path?: string } = {}): Promise<this> {
    this.server.listen(target.path === undefined ? { host: '127.0.0.1', port: 0, ...target } : { path: target.path });
    await once(this.server, 'listening');
    return this;
  }

  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  /** As the proxy's configuration names it. */
  get address(): string {
    const address = this.server.address();
    if (typeof address === 'string') return `unix:${address}`;
    return address!.family === 'IPv6'
      ? `[${address!.address}]:${address!.port}`
      : `${address!.address}:${address!.port}`;
  }

  /** Everything that came, of all connections. */
  get text(): string {
    return Buffer.concat(this.streams).toString('latin1');
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }
}

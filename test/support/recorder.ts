/**
 * Test support: a connection handler that writes down what it hears, in order, and lets a test wait for it.
 */
import type { Connection, ConnectionHandler } from '../../src/net/index.ts';
import { until } from './net.ts';

const decoder = new TextDecoder();

/** Hears everything of the connections that it is given to; `events` names the calls in order ("data:abc", "end", "close"). */
export class Recorder implements ConnectionHandler {
  readonly events: string[] = [];
  readonly connections: Connection[] = [];
  readonly errors: (Error & { readonly code?: string })[] = [];
  text = '';
  bytes = 0;

  open(connection: Connection): void {
    this.events.push('open');
    this.connections.push(connection);
  }

  data(_connection: Connection, chunk: Uint8Array): void {
    const text = decoder.decode(chunk);
    this.bytes += chunk.length;
    if (this.text.length < 65536) this.text += text;
    if (chunk.length <= 64) this.events.push(`data:${text}`);
    else if (this.events.at(-1) !== 'data') this.events.push('data');
  }

  end(_connection: Connection): void {
    this.events.push('end');
  }

  drain(_connection: Connection): void {
    this.events.push('drain');
  }

  error(_connection: Connection, error: Error): void {
    this.errors.push(error);
    const { code } = error as { code?: unknown };
    this.events.push(`error:${typeof code === 'string' ? code : error.name}`);
  }

  close(_connection: Connection): void {
    this.events.push('close');
  }

  /** How often an event was heard; `name` is what stands before a colon. */
  count(name: string): number {
    return this.events.filter((event) => event === name || event.startsWith(`${name}:`)).length;
  }

  /** Waits for the event, counted from the beginning. */
  async heard(name: string, times = 1): Promise<void> {
    await until(() => this.count(name) >= times);
  }

  async read(length: number): Promise<void> {
    await until(() => this.bytes >= length);
  }

  /** The last connection that opened. */
  get connection(): Connection {
    return this.connections[this.connections.length - 1];
  }
}

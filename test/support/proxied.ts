/**
 * Test support: a proxy between raw peers, with everything closed at the end of the body.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ProxyHandler,
  type ProxyOptions,
  proxy,
  type RouteTable,
  type Serving,
  serve,
} from '../../src/http/index.ts';
import { RawClient, RawUpstream } from './raw-peers.ts';
import { type Message, readMessages } from './strict-reader.ts';

export interface Proxied {
  readonly port: number;
  readonly handler: ProxyHandler;
  readonly serving: Serving;
  /** What the proxy said of failures and of health. */
  readonly lines: string[];
  /** A client of the proxy; destroyed at the end of the body. */
  client(): RawClient;
  /** Sends one request on a connection of its own and answers the whole response as text. */
  get(path?: string, fields?: string): Promise<string>;
}

/** Runs the body with a proxy before the upstreams (their addresses) at `path`. */
export async function proxied(
  upstreams: readonly (string | { readonly address: string; readonly weight?: number })[],
  options: ProxyOptions & { readonly path?: string },
  body: (proxied: Proxied) => Promise<void>,
): Promise<void> {
  const lines: string[] = [];
  const { path, ...proxyOptions } = options;
  const handler = proxy(upstreams, { log: (line) => lines.push(line), ...proxyOptions });
  const routes: RouteTable = { [path ?? '/']: handler };
  const serving = await serve({ host: '127.0.0.1', port: 0 }, routes);
  const clients: RawClient[] = [];
  const client = (): RawClient => {
    const made = new RawClient({ port: serving.port });
    clients.push(made);
    return made;
  };
  try {
    await body({
      port: serving.port,
      handler,
      serving,
      lines,
      client,
      async get(target = '/', fields = '') {
        const one = client();
        one.write(`GET ${target} HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n${fields}\r\n`);
        return one.end();
      },
    });
  } finally {
    for (const one of clients) one.destroy();
    handler.close();
    await serving.close();
  }
}

export function statusOf(text: string): number {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0);
}

export function bodyOf(text: string): string {
  return text.slice(text.indexOf('\r\n\r\n') + 4);
}

/** An upstream that answers each complete request with what `answer` makes of it; null is no answer. */
export function upstreamThat(answer: (message: Message, count: number) => string | null): RawUpstream {
  const answered: number[] = [];
  let count = 0;
  return new RawUpstream((socket, all, index) => {
    const { messages } = readMessages(all, false);
    const from = answered[index] ?? 0;
    answered[index] = messages.length;
    for (const message of messages.slice(from)) {
      const octets = answer(message, count++);
      if (octets !== null) socket.write(Buffer.from(octets, 'latin1'));
    }
  });
}

export function response(body: string, fields = ''): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${fields}\r\n${body}`;
}

/** The last head that reached the upstream, lines without their ends. */
export function lastHead(upstream: RawUpstream): string[] {
  const { messages } = readMessages(upstream.streams[upstream.streams.length - 1], false);
  const message = messages[messages.length - 1];
  return [message.start, ...message.fields.map(([name, value]) => `${name}: ${value}`)];
}

/** For proving that something does not happen. */
export async function pause(timeMs = 30): Promise<void> {
  await sleep(timeMs);
}

/**
 * The same valid requests to this server and to Node's own, with handlers that do the same: status, content, and what becomes
 * of the connection have to agree. Where they may differ, and why, stands beside the comparison.
 */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Handler } from '../../src/http/index.ts';
import { type Address, HttpClient, type Received } from '../support/http-client.ts';
import { withServer } from '../support/http-server.ts';
import { eachEngine, turns, until } from '../support/net.ts';
import { type RandomSource, randomSource } from '../support/random.ts';

const SEED = 20_261;
const CONVERSATIONS = 400;

/** What both handlers do: the path says how to answer, the content says what was understood. */
const ours: Handler = async (request, response) => {
  const body = await request.text();
  const said = `${request.method} ${request.target} ${request.header('x-value') ?? '-'} ${body.length}`;
  const kind = request.path.split('/')[1];
  if (kind === 'status') response.status = Number(request.path.split('/')[2]);
  if (kind === 'stream') {
    response.write(said.slice(0, 5));
    await turns(1);
    response.end(said.slice(5));
  } else if (response.hasContent || request.isHead) response.bytes(Buffer.from(said), 'text/plain');
  else response.empty(response.status);
};

async function theirs(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let length = 0;
  for await (const part of request) length += (part as Buffer).length;
  const said = `${request.method} ${request.url} ${request.headers['x-value'] ?? '-'} ${length}`;
  const kind = request.url!.split('/')[1];
  if (kind === 'status') response.statusCode = Number(request.url!.split('/')[2]);
  if (kind === 'stream') {
    response.write(said.slice(0, 5));
    await turns(1);
    response.end(said.slice(5));
  } else if (response.statusCode === 204 || response.statusCode === 304) response.end();
  else response.setHeader('Content-Length', said.length).end(said);
}

interface Conversation {
  readonly text: string;
  readonly requests: number;
}

function conversation(random: RandomSource): Conversation {
  const requests = 1 + random.integer(4);
  let text = '';
  for (let index = 0; index < requests; index++) {
    const method = ['GET', 'GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'][random.integer(7)];
    const path = ['/plain', '/stream/x', '/status/204', '/status/304', '/status/404', '/status/500', '/a?b=c&d=%20'][
      random.integer(7)
    ];
    const isLast = index === requests - 1;
    const version = isLast && random.integer(5) === 0 ? '1.0' : '1.1';
    const connection = isLast ? ['', '', 'close', 'keep-alive', 'Close, x'][random.integer(5)] : '';
    text += `${method} ${path} HTTP/${version}\r\nHost: example.test\r\n`;
    if (connection !== '') text += `Connection: ${connection}\r\n`;
    if (random.integer(3) === 0) text += `X-Value:  ${'v'.repeat(random.integer(40))}\t\r\n`;
    const body = 'b'.repeat(random.integer(300));
    const hasBody = method !== 'GET' && method !== 'OPTIONS';
    if (hasBody && version === '1.1' && random.integer(2) === 0) {
      text += 'Transfer-Encoding: chunked\r\n\r\n';
      if (body !== '') text += `${body.length.toString(16)};x=y\r\n${body}\r\n`;
      text += `0\r\n${random.integer(2) === 0 ? 'X-Trailer: 1\r\n' : ''}\r\n`;
    } else if (hasBody) text += `Content-Length: ${body.length}\r\n\r\n${body}`;
    else text += '\r\n';
  }
  return { text, requests };
}

interface Outcome {
  readonly seen: readonly unknown[];
  readonly closes: boolean;
}

async function outcome(address: Address, { text, requests }: Conversation): Promise<Outcome> {
  const client = new HttpClient(address);
  client.send(text);
  await client.answers(requests);
  // A connection that the server means to close is closed by now or within some turns; one that stays answers once more.
  const last = client.responses().at(-1)!;
  const closes = last.fields.get('connection') === 'close';
  if (closes) await client.closing();
  else {
    client.send('GET /plain HTTP/1.1\r\nHost: example.test\r\n\r\n');
    await until(() => client.responses().length > requests || client.closed);
  }
  const seen = client.responses().map(({ status, body, complete }: Received) => [status, body, complete]);
  client.destroy();
  return { seen, closes };
}

eachEngine(
  'valid requests are answered as by Node',
  async () => {
    const node = createServer((request, response) => void theirs(request, response));
    node.listen(0, '127.0.0.1');
    await until(() => node.listening);
    const nodeAddress = { port: (node.address() as AddressInfo).port };
    const random = randomSource(SEED);
    try {
      await withServer(ours, async (address) => {
        for (let index = 0; index < CONVERSATIONS; index++) {
          const example = conversation(random);
          const [mine, other] = await Promise.all([outcome(address, example), outcome(nodeAddress, example)]);
          // Node takes 204 and 304 to HTTP/1.0 for content that ends with the connection; both end with their head.
          if (/ \/status\/[23]04 HTTP\/1\.0\r\n(?:.+\r\n)*Connection: keep-alive/.test(example.text)) {
            assert.deepEqual(mine.seen.slice(0, example.requests), other.seen);
            continue;
          }
          assert.deepEqual(mine, other, `seed ${SEED}, conversation ${index}: ${JSON.stringify(example.text)}`);
        }
      });
    } finally {
      node.closeAllConnections();
      await new Promise((resolve) => node.close(resolve));
    }
  },
  { timeoutMs: 30_000 },
);

/**
 * The same octets to our parser and to Node's own server: valid requests, mutated ones and garbage, from a seeded generator.
 * Every difference has to have a name in EXPLANATIONS; one that has none fails the test and prints its seed.
 *
 * Compared is what each side takes for whole messages (method, target, version, fields, body, trailers) and how it ends: clean,
 * in the middle of a message, or refusing. Node's lenient flag is off.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, METHODS, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { generateRequests } from '../support/wire-generator.ts';
import { ServerConnection } from '../support/wire-simulation.ts';

const SEED = Number(process.env.MILLRACE_SEED ?? 1);
const CASES = Number(process.env.MILLRACE_CASES ?? 3000);
const AT_ONCE = 32;
/** Node leaves some faulty connections open; those are closed from this side. */
const STALL_MS = 500;

interface Outcome {
  readonly messages: readonly string[];
  readonly end: 'clean' | 'incomplete' | 'refused';
  /** Where each message begins (ours only). */
  readonly starts: readonly number[];
}

interface Explanation {
  readonly name: string;
  readonly why: string;
  readonly applies: (message: string, ours: Outcome, node: Outcome) => boolean;
}

/** The request line and fields of the message where the two part. */
function headOf(message: string): string {
  const head = message.replace(/^(?:\r\n)*/, '');
  const end = head.indexOf('\r\n\r\n');
  return end < 0 ? head : head.slice(0, end + 2);
}

function valuesOf(message: string, name: string): string[] {
  const lines = headOf(message).split('\r\n').slice(1);
  return lines.filter((line) => line.toLowerCase().startsWith(`${name}:`)).map((line) => line.slice(name.length + 1));
}

function targetOf(message: string): string {
  return /^[^ \r\n]+ ([^ \r\n]*)/.exec(headOf(message))?.[1] ?? '';
}

function isPlainHost(value: string): boolean {
  const match = /^[ \t]*[\w.~!$&'()*+,;=-]+(?::(\d{0,5}))?[ \t]*$/.exec(value);
  return match !== null && Number(match[1] ?? 0) <= 65535;
}

function isVersion10(message: string): boolean {
  return JSON.parse(message)[2] === 0;
}

const EXTENSION = String.raw`[\w!#$%&'*+.^\x60|~-]+(?:=(?:[\w!#$%&'*+.^\x60|~-]+|"(?:[^"\\\r\n]|\\.)*"))?`;

const EXPLANATIONS: readonly Explanation[] = [
  {
    name: 'no version',
    why: 'RFC 9112 section 3 needs one. Node takes such a request for HTTP/0.9.',
    applies: (message, own) =>
      own.end === 'refused' && /^[^ \r\n]+ [^ \r\n]+(?:\r?\n|\r$)/.test(message.replace(/^(?:\r\n)*/, '')),
  },
  {
    name: 'the form of the target is judged at the end of its line',
    why: 'Node refuses a target that begins wrongly at once, we when the method, target and version have come.',
    applies: (message, own, node) =>
      node.end === 'refused' &&
      own.end === 'incomplete' &&
      !/\n/.test(headOf(message)) &&
      !targetOf(message).startsWith('/'),
  },
  {
    name: 'connection after HTTP/1.0',
    why: 'Node closes after its answer to an HTTP/1.0 request although keep-alive was asked for, and does not look at what follows.',
    applies: (_, own, node) => own.end !== 'clean' && node.end === 'clean' && node.messages.some(isVersion10),
  },
  {
    name: 'close beside keep-alive in HTTP/1.0',
    why: 'RFC 9112 section 9.3: close wins. Node goes on when it finds both, and answers what follows.',
    applies: (_, own, node) => {
      const last = own.messages.at(-1);
      if (last === undefined || own.end !== 'clean' || node.messages[own.messages.length - 1] !== last) return false;
      return isVersion10(last) && /"Connection","(?:x, )?close"/.test(last) && /"Connection","keep-alive"/.test(last);
    },
  },
  {
    name: 'Connection in trailers',
    why: 'Node closes after a message whose trailers say `Connection: close`; RFC 9110 section 6.5.1: trailers have no such say.',
    applies: (_, own, node) => {
      const last = node.messages.at(-1);
      return own.messages.length > node.messages.length && last !== undefined && /"Connection","[^"]*close/i.test(last);
    },
  },
  {
    name: 'length above 2^53',
    why: 'We answer 413, because no number of JavaScript counts it; Node waits for 2^64.',
    applies: (message, own) =>
      own.end === 'refused' && Number(valuesOf(message, 'content-length')[0] ?? 0) > Number.MAX_SAFE_INTEGER,
  },
  {
    name: 'trailers are judged at the end of each line',
    why: 'Node refuses a wrong octet at once, we with the end of its line.',
    applies: (message, own, node) =>
      node.end === 'refused' &&
      own.end === 'incomplete' &&
      /\r\n0+(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*[^\n]+$/.test(message),
  },
  {
    name: 'more than one space in the request line',
    why: 'RFC 9112 section 3 has one. Node skips more.',
    applies: (message, own) => own.end === 'refused' && /^[^\r\n]* {2}/.test(headOf(message)),
  },
  {
    name: 'unknown method',
    why: 'Node has a list of methods and refuses others; for us any token is a method, and the server answers 501.',
    applies: (message, own, node) => {
      const method = /^[\w!#$%&'*+.^`|~-]+/.exec(headOf(message))?.[0] ?? '';
      return node.end === 'refused' && own.messages.length >= node.messages.length && !METHODS.includes(method);
    },
  },
  {
    name: 'target octets above 7F',
    why: 'We let them through as other servers do: curl sends them, and no message boundary depends on them.',
    applies: (message, _, node) => node.end === 'refused' && /[\x80-\xff]/.test(targetOf(message)),
  },
  {
    name: 'minor version above 1',
    why: 'RFC 9110 section 2.5: a higher minor version is treated like the highest that is known. Node refuses it.',
    applies: (message, _, node) => node.end === 'refused' && /^[^\r\n]* HTTP\/1\.[2-9](?:\r\n|$)/.test(headOf(message)),
  },
  {
    name: 'whitespace in a chunk extension',
    why: 'RFC 9112 section 7.1.1 has BWS around `;` and `=`, which a recipient must parse. Node refuses it.',
    applies: (message, own, node) =>
      node.end === 'refused' &&
      own.end !== 'refused' &&
      /\r\n[0-9A-Fa-f]+(?:[^\r\n]*[ \t])?;|;[^\r\n]*[ \t]/.test(message),
  },
  {
    name: 'framing fields are judged at the end of the head',
    why: 'Node refuses a wrong length as soon as its line has come, we when the head is complete; neither lets it pass.',
    applies: (message, own, node) =>
      node.end === 'refused' &&
      own.end === 'incomplete' &&
      !message.includes('\r\n\r\n') &&
      valuesOf(message, 'content-length').length + valuesOf(message, 'transfer-encoding').length > 0,
  },
  {
    name: 'Host',
    why: 'RFC 9112 section 3.2: more than one Host, or an invalid one, has to be answered 400. Node checks neither.',
    applies: (message, own) => {
      const hosts = valuesOf(message, 'host');
      return own.end === 'refused' && hosts.length > 0 && (hosts.length > 1 || !isPlainHost(hosts[0]));
    },
  },
  {
    name: 'form of the target',
    why: 'RFC 9112 section 3.2: a fragment, a broken percent-encoding, user information or a form that the method does not have.',
    applies: (message, own) =>
      own.end === 'refused' &&
      /#|%(?![0-9A-Fa-f]{2})|^[^/]/.test(targetOf(message).replace(/^https?:\/\/[\w.]+(?::\d*)?(?=[/?])/, '')),
  },
  {
    name: 'transfer coding',
    why: 'Everything but exactly one `chunked` is refused; Node reads on when chunked comes last, whatever stands before it.',
    applies: (message, own) => {
      const codings = valuesOf(message, 'transfer-encoding').map((value) => value.trim().toLowerCase());
      return own.end === 'refused' && codings.length > 0 && codings.join() !== 'chunked';
    },
  },
  {
    name: 'transfer coding in HTTP/1.0',
    why: 'RFC 9112 section 6.1: the framing is faulty. Node reads it as chunked.',
    applies: (message, own) =>
      own.end === 'refused' &&
      / HTTP\/1\.0\r\n/.test(headOf(message)) &&
      valuesOf(message, 'transfer-encoding').length > 0,
  },
  {
    name: 'lone CR before a request',
    why: 'RFC 9112 section 2.2 lets a server skip CRLF; Node skips CR and LF in any order.',
    applies: (message, own) => own.end !== 'clean' && /^(?:\r\n)*(?:\r(?!\n)|\n)/.test(message),
  },
  {
    name: 'grammar of a chunk extension',
    why: 'RFC 9112 section 7.1.1: a name is a token and `=` has a value. Node takes more.',
    applies: (message, own) => {
      const extension = /(?<=\n)[0-9A-Fa-f]+;(?!EXTENSION(?:;EXTENSION)*\r\n)/.source.replaceAll(
        'EXTENSION',
        EXTENSION,
      );
      return own.end === 'refused' && new RegExp(extension).test(message);
    },
  },
  {
    name: 'framing field in trailers',
    why: 'RFC 9110 section 6.5.1 forbids them; merging one would move a message boundary. Node passes them on.',
    applies: (message, own) =>
      own.end === 'refused' &&
      /\r\n0+(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*(?:content-length|transfer-encoding|host):/i.test(message),
  },
];

function ours(bytes: Uint8Array): Outcome {
  const connection = new ServerConnection();
  connection.write(bytes);
  const end = connection.refused
    ? 'refused'
    : !connection.closed && connection.isWithinMessage
      ? 'incomplete'
      : 'clean';
  return { messages: connection.messages, end, starts: connection.starts };
}

/** What the server saw on one connection. */
interface Sight {
  readonly messages: string[];
  end: Outcome['end'];
  /** After the last message of a connection Node goes on parsing; what it finds there is answered by nobody. */
  over: boolean;
  last: IncomingMessage | null;
  readonly closed: Promise<void>;
}

const sights = new WeakMap<object, Sight>();
/** By the client's port, for whichever side comes first. */
const sightByPort = new Map<number, PromiseWithResolvers<Sight>>();
let server: Server;

function sightOf(port: number): PromiseWithResolvers<Sight> {
  const known = sightByPort.get(port) ?? Promise.withResolvers<Sight>();
  sightByPort.set(port, known);
  return known;
}

function onRequest(request: IncomingMessage, response: ServerResponse): void {
  const sight = sights.get(request.socket)!;
  if (sight.over) return;
  // As Node does with requireHostHeader, but where it can be recorded.
  if (request.httpVersionMinor >= 1 && request.headers.host === undefined) {
    sight.end = 'refused';
    sight.over = true;
    response.writeHead(400, { connection: 'close' }).end();
    return;
  }
  sight.over = !response.shouldKeepAlive;
  sight.last = request;
  const position = sight.messages.push('') - 1;
  let body = '';
  request.setEncoding('latin1');
  request.on('data', (chunk: string) => {
    body += chunk;
  });
  request.on('error', () => {});
  request.on('end', () => {
    const { method, url, httpVersionMinor, rawHeaders, rawTrailers } = request;
    sight.messages[position] = JSON.stringify([
      method,
      url,
      Math.min(httpVersionMinor, 1),
      rawHeaders,
      body,
      rawTrailers,
    ]);
    response.end();
  });
}

before(async () => {
  server = createServer({ requireHostHeader: false, insecureHTTPParser: false, keepAliveTimeout: 0 }, onRequest);
  Object.assign(server, { httpAllowHalfOpen: true });
  server.on('checkExpectation', onRequest);
  server.on('connect', (_: IncomingMessage, socket: Socket) => socket.destroy());
  server.on('connection', (socket) => {
    const closed = Promise.withResolvers<void>();
    const sight: Sight = { messages: [], end: 'clean', over: false, last: null, closed: closed.promise };
    sights.set(socket, sight);
    socket.on('close', () => setImmediate(closed.resolve));
    sightOf(socket.remotePort!).resolve(sight);
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const sight = sights.get(socket)!;
    if (!sight.over || sight.last?.complete === false) {
      sight.end = error.code === 'HPE_INVALID_EOF_STATE' ? 'incomplete' : 'refused';
    }
    // Only after the messages before the fault have been read to their end.
    setImmediate(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});

after(() => {
  server.closeAllConnections();
  server.close();
});

async function nodes(bytes: Uint8Array): Promise<Outcome> {
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  // Node resets connections whose rest it does not read.
  client.on('error', () => {});
  client.resume();
  await once(client, 'connect');
  const port = client.localPort!;
  client.end(bytes);
  const sight = await sightOf(port).promise;
  await Promise.race([sight.closed, setTimeout(STALL_MS, undefined, { ref: false })]);
  client.destroy();
  sightByPort.delete(port);
  return { messages: sight.messages.filter((message) => message !== ''), end: sight.end, starts: [] };
}

test('Node and we take the same octets for the same messages, but for differences that have a name', async (context) => {
  const counts = new Map<string, number>();
  const unexplained: string[] = [];
  const sources = [...generateRequests(SEED, CASES)];
  for (let first = 0; first < sources.length; first += AT_ONCE) {
    const batch = sources
      .slice(first, first + AT_ONCE)
      .map((source) => ({ source, bytes: Buffer.from(source, 'latin1') }));
    const theirs = await Promise.all(batch.map(({ bytes }) => nodes(bytes)));
    for (const [index, { source, bytes }] of batch.entries()) {
      const own = ours(bytes);
      const node = theirs[index];
      let name = 'same';
      if (own.end !== node.end || own.messages.join() !== node.messages.join()) {
        const common = own.messages.findIndex((message, at) => message !== node.messages[at]);
        const message = source.slice(own.starts[common < 0 ? own.messages.length : common]);
        const explanation = EXPLANATIONS.find(({ applies }) => applies(message, own, node));
        if (explanation === undefined) {
          unexplained.push(
            `${JSON.stringify(message)}\n  ours ${own.end} ${own.messages.join(' ')}\n  node ${node.end} ${node.messages.join(' ')}`,
          );
        }
        name = explanation?.name ?? 'unexplained';
      }
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  for (const [name, count] of counts) context.diagnostic(`${count} ${name}`);
  assert.deepEqual(unexplained.slice(0, 20), [], `seed ${SEED}: ${unexplained.length} differences without a name`);
});

/**
 * Looks at a server before it is measured: does it answer right, with the header fields that every contestant sends, and does
 * it keep the connection? What passes here does comparable work.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const PATIENCE_MS = 5000;
const REQUIRED = ['date', 'content-type', 'content-length'];

export interface Answer {
  /** Bytes of the head, the empty line included. */
  readonly headBytes: number;
  readonly body: Buffer;
}

async function readAnswer(socket: Socket, name: string): Promise<Answer> {
  let received = Buffer.alloc(0);
  let end = -1;
  let length = 0;
  while (end < 0 || received.length < end + length) {
    const [chunk] = (await once(socket, 'data', { signal: AbortSignal.timeout(PATIENCE_MS) })) as [Buffer];
    received = Buffer.concat([received, chunk]);
    if (end >= 0) continue;
    end = received.indexOf('\r\n\r\n') < 0 ? -1 : received.indexOf('\r\n\r\n') + 4;
    if (end >= 0) length = checkHead(received.toString('latin1', 0, end), name);
  }
  return { headBytes: end, body: received.subarray(end) };
}

/** Answers Content-Length. */
function checkHead(head: string, name: string): number {
  const [status, ...lines] = head.trimEnd().split('\r\n');
  if (!status.startsWith('HTTP/1.1 200 ')) throw new Error(`${name} answers ${status}`);
  const fields = new Map(
    lines.map((line) => [line.split(':', 1)[0].toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  );
  for (const field of REQUIRED) if (!fields.has(field)) throw new Error(`${name} sends no ${field}:\n${head}`);
  if (fields.get('connection')?.toLowerCase() === 'close') throw new Error(`${name} does not keep the connection`);
  return Number(fields.get('content-length'));
}

async function waitForPort(port: number): Promise<Socket> {
  const patience = performance.now() + PATIENCE_MS;
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      if (performance.now() > patience) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Resolves once something accepts connections on the port. */
export async function listening(port: number): Promise<void> {
  (await waitForPort(port)).destroy();
}

/**
 * Asks twice over one connection.
 * @throws Error naming the contestant when an answer is not 200, lacks a field or is not the body expected
 */
export async function checkHttp(name: string, port: number, path: string, body: Buffer): Promise<Answer> {
  const socket = await waitForPort(port);
  try {
    let answer: Answer | undefined;
    for (let time = 0; time < 2; time++) {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
      answer = await readAnswer(socket, name);
      if (!answer.body.equals(body)) {
        throw new Error(
          `${name} answers ${path} with ${answer.body.length} bytes that are not the ${body.length} expected`,
        );
      }
    }
    return answer!;
  } finally {
    socket.destroy();
  }
}

/** Sends 64 bytes and expects them back. */
export async function checkEcho(name: string, port: number): Promise<void> {
  const socket = await waitForPort(port);
  try {
    const message = Buffer.from(Array.from({ length: 64 }, (_, index) => index));
    socket.write(message);
    let received = Buffer.alloc(0);
    while (received.length < message.length) {
      const [chunk] = (await once(socket, 'data', { signal: AbortSignal.timeout(PATIENCE_MS) })) as [Buffer];
      received = Buffer.concat([received, chunk]);
    }
    if (!received.equals(message)) throw new Error(`${name} does not echo what it got`);
  } finally {
    socket.destroy();
  }
}

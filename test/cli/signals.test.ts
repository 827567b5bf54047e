/**
 * `millrace up` from its first line to its end: the lines that say it is ready, reload and drain by signals, and the errors of
 * a start that fails.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { after, type TestContext } from 'node:test';
import { projectRoot } from '../support/sources.ts';

const folder = mkdtempSync(join(tmpdir(), 'millrace-signals-'));
after(() => rmSync(folder, { recursive: true }));

const answering = (body: string, more = ''): string =>
  `${more}listeners:\n  - { address: 127.0.0.1:0, routes: [{ path: /, respond: { body: "${body}" } }] }\n`;

type Event = Readonly<Record<string, unknown>> & { readonly event: string };

/** A running `millrace up --json`: its events in order, what it complained about, its end. */
class Running {
  readonly child: ChildProcess;
  readonly ended: Promise<[number | null, NodeJS.Signals | null]>;
  complaints = '';
  readonly #events: Event[] = [];
  #wake = (): void => {};

  constructor(context: TestContext, options: readonly string[]) {
    const entry = join(projectRoot, 'bin/millrace.js');
    this.child = spawn(process.execPath, [entry, 'up', '--json', ...options], { stdio: ['ignore', 'pipe', 'pipe'] });
    context.after(() => this.child.kill('SIGKILL'));
    this.ended = once(this.child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
    this.child.stderr!.on('data', (data) => {
      this.complaints += String(data);
    });
    createInterface(this.child.stdout!).on('line', (line) => {
      this.#events.push(JSON.parse(line) as Event);
      this.#wake();
    });
    void this.ended.then(() => this.#wake());
  }

  /** The next event, which has to be of this kind. */
  async next(kind: string): Promise<Event> {
    while (this.#events.length === 0) {
      if (this.child.exitCode !== null) assert.fail(`ended without ${kind}: ${this.complaints}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const event = this.#events.shift()!;
    assert.equal(event.event, kind, `${JSON.stringify(event)} ${this.complaints}`);
    return event;
  }
}

let files = 0;
function configure(text: string): string {
  const file = join(folder, `${files++}.yaml`);
  writeFileSync(file, text);
  return file;
}

async function start(context: TestContext, file: string, ...options: string[]): Promise<[Running, number]> {
  const running = new Running(context, ['--config', file, ...options]);
  const { address, protocol, engine, reason } = await running.next('listening');
  assert.equal(protocol, 'http');
  assert.ok(typeof engine === 'string' && typeof reason === 'string' && reason !== '');
  return [running, Number(/^127\.0\.0\.1:(\d+)$/.exec(String(address))?.[1])];
}

async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** Asks over a connection that stays open; the answer's whole text. */
async function ask(socket: Socket): Promise<string> {
  socket.write('GET / HTTP/1.1\r\nHost: millrace\r\n\r\n');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  return answer.toString('latin1');
}

test('a reload takes the new file, and connections stay open', async (context) => {
  const file = configure(answering('first'));
  const [running, port] = await start(context, file);
  const socket = await open(port);
  assert.match(await ask(socket), /first$/);
  writeFileSync(file, answering('second'));
  running.child.kill('SIGHUP');
  await running.next('reloaded');
  assert.match(await ask(socket), /second$/);
  socket.destroy();
});

test('a reload of a wrong file is refused with its problems and the old configuration stays', async (context) => {
  const file = configure(answering('first'));
  const [running, port] = await start(context, file);
  writeFileSync(file, `workers: 0\n${answering('second')}`);
  running.child.kill('SIGHUP');
  const { message } = await running.next('refused');
  assert.match(String(message), /\.yaml:1:10: workers is 0/);
  assert.match(running.complaints, /the old configuration stays in force/);
  const socket = await open(port);
  assert.match(await ask(socket), /first$/);
  socket.destroy();
});

test('what a reload cannot change is named', async (context) => {
  const file = configure(answering('first', 'workers: 1\n'));
  const [running] = await start(context, file);
  writeFileSync(file, answering('first', 'workers: 2\n'));
  running.child.kill('SIGHUP');
  const { kept } = await running.next('reloaded');
  assert.deepEqual(kept, ['workers']);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} ends with status 0`, async (context) => {
    const [running, port] = await start(context, configure(answering('one')));
    const idle = await open(port);
    assert.match(await ask(idle), /one$/);
    running.child.kill(signal);
    assert.deepEqual((await running.next('draining')).signal, signal);
    await running.next('ended');
    assert.deepEqual(await running.ended, [0, null]);
    idle.destroy();
  });
}

interface SilentServer {
  readonly port: number;
  /** Resolves when it has received something. */
  readonly asked: Promise<unknown>;
}

/** A server that accepts and never answers keeps a proxied request under way. */
async function startSilent(context: TestContext): Promise<SilentServer> {
  const sockets: Socket[] = [];
  const { promise: asked, resolve } = Promise.withResolvers<unknown>();
  const server = createServer((socket) => sockets.push(socket.on('error', () => {}).once('data', resolve)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as { port: number }).port, asked };
}

async function startWithRequestUnderWay(context: TestContext, more = ''): Promise<Running> {
  const upstream = await startSilent(context);
  const routes = `[{ path: /, proxy: { upstreams: ["127.0.0.1:${upstream.port}"] } }]`;
  const file = configure(`${more}listeners: [{ address: "127.0.0.1:0", routes: ${routes} }]\n`);
  const [running, port] = await start(context, file);
  const socket = await open(port);
  context.after(() => socket.destroy());
  socket.write('GET / HTTP/1.1\r\nHost: millrace\r\n\r\n');
  await upstream.asked;
  return running;
}

for (const [signal, status] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const) {
  test(`a second ${signal} ends at once with status ${status}`, async (context) => {
    const running = await startWithRequestUnderWay(context);
    running.child.kill(signal);
    await running.next('draining');
    running.child.kill(signal);
    assert.deepEqual(await running.ended, [status, null]);
  });
}

test('draining is bounded by drainTimeout', async (context) => {
  const running = await startWithRequestUnderWay(context, 'drainTimeout: 100ms\n');
  running.child.kill('SIGTERM');
  await running.next('draining');
  await running.next('ended');
  assert.deepEqual(await running.ended, [0, null]);
  assert.match(running.complaints, /cut after 100 ms of draining/);
});

test('an address that is taken is one clear line and status 1', async (context) => {
  const { port: taken } = await startSilent(context);
  const file = configure(answering('one').replace(':0,', `:${taken},`));
  for (const workers of ['1', '2']) {
    const running = new Running(context, ['--config', file, '--workers', workers]);
    assert.deepEqual(await running.ended, [1, null]);
    assert.match(running.complaints, new RegExp(`^millrace: bind 127\\.0\\.0\\.1:${taken}: EADDRINUSE; .*\n$`));
  }
});

test('a reader of the output that goes away does not end the gateway', async (context) => {
  const file = configure(answering('one'));
  const [running, port] = await start(context, file);
  running.child.stdout!.destroy();
  running.child.kill('SIGHUP');
  writeFileSync(file, answering('two'));
  running.child.kill('SIGHUP');
  const socket = await open(port);
  while (!/two$/.test(await ask(socket))) running.child.kill('SIGHUP');
  socket.destroy();
  running.child.kill('SIGTERM');
  assert.deepEqual(await running.ended, [0, null]);
});

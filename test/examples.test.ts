/**
 * Each example runs as its first lines say: it starts, says where it listens, answers, and ends by SIGINT with status 0.
 *
 * A newcomer would get wrong: examples import `millrace/…`, which is `dist/`; run `npm run build` after a change in `src/`.
 */
import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import test, { type TestContext } from 'node:test';
import { arrives, boundUdp, hosts, kernelSkip } from './support/bpf-kernel.ts';
import { projectRoot } from './support/sources.ts';

const folder = join(projectRoot, 'examples');

interface Running {
  readonly port: number;
  /** Ends it by SIGINT: its exit status, and what it wrote to standard error. */
  end(): Promise<readonly [number | null, string]>;
}

async function start(context: TestContext, name: string): Promise<Running> {
  const child: ChildProcessByStdio<null, Readable, Readable> = spawn(process.execPath, [join(folder, name)], {
    env: { ...process.env, PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  context.after(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const errors = text(child.stderr);
  const line = await Promise.race([
    once(child.stdout, 'data').then(([chunk]) => String(chunk)),
    exited.then(async ([status]) => assert.fail(`${name} ended with ${status}: ${await errors}`)),
  ]);
  const port = /127\.0\.0\.1:(\d+)/.exec(line)?.[1];
  assert.ok(port, `${name} did not say where it listens: ${line}`);
  return {
    port: Number(port),
    async end() {
      child.kill('SIGINT');
      const [status] = await exited;
      return [status, await errors];
    },
  };
}

test('echo sends back what it receives', async (context) => {
  const example = await start(context, 'echo.ts');
  const socket = connect(example.port, '127.0.0.1');
  socket.end('one line\n');
  assert.equal(await text(socket), 'one line\n');
  assert.deepEqual(await example.end(), [0, '']);
});

test('udp-echo sends each datagram back', async (context) => {
  const example = await start(context, 'udp-echo.ts');
  const socket = createSocket('udp4');
  context.after(() => socket.close());
  for (const text of ['one', '', 'three']) {
    socket.send(text, example.port, '127.0.0.1');
    const [message] = await once(socket, 'message');
    assert.equal(String(message), text);
  }
  assert.deepEqual(await example.end(), [0, '']);
});

test('http-hello answers, greets and streams a body back', async (context) => {
  const example = await start(context, 'http-hello.ts');
  const base = `http://127.0.0.1:${example.port}`;
  assert.equal(await (await fetch(`${base}/`)).text(), 'hello\n');
  assert.deepEqual(await (await fetch(`${base}/greet/Ada%20L`)).json(), { hello: 'Ada L' });
  const body = 'x'.repeat(1_000_000);
  assert.equal(await (await fetch(`${base}/echo`, { method: 'POST', body })).text(), body);
  assert.deepEqual(await example.end(), [0, '']);
});

test('static-and-proxy serves its own source and both upstreams', async (context) => {
  const example = await start(context, 'static-and-proxy.ts');
  const base = `http://127.0.0.1:${example.port}`;
  const source = await (await fetch(`${base}/examples/echo.ts`)).text();
  assert.equal(source, readFileSync(join(folder, 'echo.ts'), 'utf8'));
  const ask = async () => (await (await fetch(`${base}/api/x`)).json()) as { upstream: string };
  const answers = [await ask(), await ask()];
  assert.deepEqual(new Set(answers.map(({ upstream }) => upstream)), new Set(['first', 'second']));
  assert.deepEqual(await example.end(), [0, '']);
});

test('bpf-drop drops and counts what comes from a blocked address', { skip: kernelSkip }, async (context) => {
  using pair = hosts();
  const main = join(folder, 'bpf-drop', 'main.ts');
  const words = [`--net=${pair.other.path}`, process.execPath, main, 'veth', '10.77.0.1'];
  const child = spawn('nsenter', words, { stdio: ['ignore', 'pipe', 'pipe'] });
  context.after(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const errors = text(child.stderr);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next();
    return done === true ? assert.fail(`it ended: ${await errors}`) : value;
  };
  assert.equal(await next(), 'dropping what comes from 10.77.0.1 on veth');
  using receiver = pair.other.inside(() => boundUdp('10.77.0.2'));
  const reaches = (timeoutMs: number): boolean =>
    pair.one.inside(() => arrives('10.77.0.2', receiver.port, receiver.descriptor, timeoutMs));
  assert.equal(reaches(100), false);
  while (!/^10\.77\.0\.1 [1-9]/.test(await next())) assert.equal(reaches(100), false);
  child.kill('SIGINT');
  assert.deepEqual([(await exited)[0], await errors], [0, '']);
  assert.equal(reaches(2000), true);
});

test('every example is run by a test', () => {
  const tests = readFileSync(new URL(import.meta.url), 'utf8');
  const untested = readdirSync(folder).filter((name) => !tests.includes(`'${name}'`));
  assert.deepEqual(untested, [], 'add a test to this file that starts it and asks it something');
});

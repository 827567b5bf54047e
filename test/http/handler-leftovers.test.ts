/**
 * What a handler leaves behind when it returns: promises, ticks and timers have to run although no further event comes. The
 * server is alone in a process of its own, because whatever else a process does would give Node's loop its turn.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { test } from 'node:test';
import { engineNames } from '../../src/net/index.ts';
import { get, HttpClient } from '../support/http-client.ts';
import { until } from '../support/net.ts';

const library = (room: string): string => JSON.stringify(new URL(`../../src/${room}/index.ts`, import.meta.url).href);

const program = (engine: string): string => `
  import { serve } from ${library('http')};
  import { useEngine } from ${library('net')};
  useEngine('${engine}');
  const server = await serve({ host: '127.0.0.1', port: 0 }, (_request, response) => {
    Promise.resolve().then(() => process.stdout.write('promise\\n'));
    process.nextTick(() => process.stdout.write('tick\\n'));
    setTimeout(() => process.stdout.write('timer\\n'), 20);
    response.text('ok');
  });
  process.stdout.write(server.port + '\\n');
`;

/** Stays well below the idle timeout, whose end would be an event too. */
const PATIENCE_MS = 5000;

for (const engine of engineNames) {
  test(`[${engine}] a promise, a tick and a timer that a handler leaves behind run while the server idles`, async () => {
    const child: ChildProcess = spawn(process.execPath, ['--input-type=module-typescript', '-e', program(engine)]);
    let output = '';
    child.stdout!.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    try {
      await until(() => output.includes('\n'), 10_000);
      const client = new HttpClient({ port: Number(output.slice(0, output.indexOf('\n'))) });
      // The first request comes with the connection, whose opening is foreign code; the second comes alone.
      for (let number = 1; number <= 2; number++) {
        client.send(get('/'));
        await client.answers(number);
        await until(() => output.split('timer').length > number, PATIENCE_MS);
      }
      assert.match(output, /^\d+\ntick\npromise\ntimer\ntick\npromise\ntimer\n$/);
      client.destroy();
    } finally {
      child.kill();
    }
  });
}

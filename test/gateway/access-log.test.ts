/**
 * The access log: its two formats, rotation, and a disk that is full.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { fetchText, GatewayProcess, Load } from '../support/gateway.ts';
import { ask } from '../support/http-client.ts';

const answering = (log: string): string =>
  `accessLog: ${log}\nlisteners: [{ address: "127.0.0.1:0", routes: [{ path: /, respond: { body: "hello" } }] }]\n`;

const linesOf = (gateway: GatewayProcess, name: string): string[] =>
  readFileSync(join(gateway.folder, name), 'utf8').split('\n').slice(0, -1);

test('a line of JSON for each request, those that could not be read included', async () => {
  await using gateway = await GatewayProcess.start(answering('{ file: ./log }'));
  await fetchText(gateway.port(), '/a?b=%22', { headers: { 'user-agent': 'quo"te\\', referer: 'from' } });
  await fetchText(gateway.port(), '/none', { method: 'POST', body: 'x' });
  assert.equal((await ask({ port: gateway.port() }, 'no request\r\n\r\n')).status, 400);
  assert.deepEqual(await gateway.terminate(), [0, null]);
  const lines = linesOf(gateway, 'log').map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(lines.length, 3);
  const [{ time, durationMs, ...first }, second, { time: _, ...refused }] = lines;
  assert.ok(Math.abs(Date.now() - Date.parse(String(time))) < 60_000);
  assert.ok(typeof durationMs === 'number' && durationMs >= 0 && durationMs < 5000);
  assert.deepEqual(first, {
    client: '127.0.0.1',
    method: 'GET',
    target: '/a?b=%22',
    host: `127.0.0.1:${gateway.port()}`,
    version: '1.1',
    status: 200,
    bytes: 5,
    referer: 'from',
    userAgent: 'quo"te\\',
  });
  assert.equal(second.method, 'POST');
  assert.deepEqual(refused, { client: '127.0.0.1', status: 400 });
});

test('common format has one field after the other, and no client can forge one', async () => {
  await using gateway = await GatewayProcess.start(answering('{ file: ./log, format: common }'));
  await fetchText(gateway.port(), '/', { headers: { 'user-agent': 'x" 200 "y' } });
  await ask({ port: gateway.port() }, 'no request\r\n\r\n');
  await gateway.terminate();
  const [line, refused] = linesOf(gateway, 'log');
  assert.match(
    line,
    /^127\.0\.0\.1 - - \[\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET \/ HTTP\/1\.1" 200 5 "-" "x\\x22 200 \\x22y"$/,
  );
  assert.match(refused, /^127\.0\.0\.1 - - \[[^\]]+\] "-" 400 - "-" "-"$/);
});

test('SIGHUP after a rotation begins a new file, and no line is lost or written twice', async () => {
  await using gateway = await GatewayProcess.start(answering('{ file: ./log }'));
  const load = new Load(gateway.port(), '/', 8);
  for (let round = 0; round < 3; round++) {
    await load.progress(200);
    renameSync(join(gateway.folder, 'log'), join(gateway.folder, `log.${round}`));
    assert.equal((await gateway.hangUp()).event, 'reloaded');
    assert.ok(existsSync(join(gateway.folder, 'log')));
  }
  await load.finish();
  await gateway.terminate();
  const names = ['log', 'log.0', 'log.1', 'log.2'];
  const lines = names.flatMap((name) => linesOf(gateway, name));
  assert.equal(lines.length, load.answered);
  for (const line of lines) JSON.parse(line);
});

test('a full disk stops no traffic: lines are dropped, counted, and the trouble is told once', async () => {
  await using gateway = await GatewayProcess.start(answering('{ file: /dev/full }'));
  const load = new Load(gateway.port(), '/', 8);
  await load.progress(1500);
  const deadline = performance.now() + 5000;
  while ((await gateway.metric('millrace_access_log_dropped_total')) === 0) assert.ok(performance.now() < deadline);
  await load.finish();
  const dropped = await gateway.metric('millrace_access_log_dropped_total');
  assert.equal((await gateway.hangUp()).event, 'reloaded');
  assert.ok((await gateway.metric('millrace_access_log_dropped_total')) >= dropped, 'the counter went back');
  assert.deepEqual(await gateway.terminate(), [0, null]);
  const told = gateway.stderr.split('\n').filter((line) => line.includes('/dev/full cannot be written: ENOSPC'));
  assert.ok(told.length >= 1 && told.length <= 2, gateway.stderr);
});

test('a pipe that nobody reads is refused instead of waited for', async () => {
  let made = false;
  const start = GatewayProcess.start((folder) => {
    made = spawnSync('mkfifo', [join(folder, 'pipe')]).status === 0;
    return answering('{ file: ./pipe }');
  });
  await assert.rejects(start, /ENXIO/);
  assert.ok(made);
});

test('workers write whole lines to one file', async () => {
  await using gateway = await GatewayProcess.start(`workers: 2\n${answering('{ file: ./log }')}`);
  const load = new Load(gateway.port(), '/', 16);
  await load.progress(1000);
  await load.finish();
  assert.deepEqual(await gateway.terminate(), [0, null]);
  const lines = linesOf(gateway, 'log');
  assert.equal(lines.length, load.answered);
  for (const line of lines) JSON.parse(line);
});

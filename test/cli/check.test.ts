/**
 * `millrace up --check` and the command line around it, as a user meets them: a process, its output and its status.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import test, { after } from 'node:test';
import { projectRoot } from '../support/sources.ts';

const folder = mkdtempSync(join(tmpdir(), 'millrace-check-'));
mkdirSync(join(folder, 'public'));
after(() => rmSync(folder, { recursive: true }));

const entry = join(projectRoot, 'bin/millrace.js');

function millrace(...options: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [entry, ...options], { encoding: 'utf8', timeout: 20_000 });
}

function write(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

const guide = readFileSync(join(projectRoot, 'docs/guides/up.md'), 'utf8');
const example = /```yaml\n(# millrace\.yaml[\s\S]*?)```/.exec(guide)![1];

test('a right file is summarized and the status is 0', () => {
  const file = write('millrace.yaml', example);
  const { status, stdout, stderr } = millrace('up', '--config', file, '--check');
  assert.equal(stderr, '');
  assert.equal(status, 0);
  assert.match(stdout, /is right: 1 listener, 3 routes, engine auto, 1 worker\n/);
  assert.ok(stdout.includes(`serves files below ${join(folder, 'public')}\n`));
  assert.match(stdout, /\/api\/ +passes on to 127\.0\.0\.1:9001, 127\.0\.0\.1:9002 ×2 \(leastConnections\)\n/);
});

test('options on the command line win over the file', () => {
  const file = write('options.yaml', example);
  const { stdout } = millrace('up', '-c', file, '--check', '--engine', 'epoll-level', '--workers', '3');
  assert.match(stdout, /engine epoll-level, 3 workers\n/);
});

test('a wrong file is refused with a line for each problem and status 1', () => {
  const file = write('wrong.yaml', `${example}workers: 2\nengin: auto\n`);
  const { status, stdout, stderr } = millrace('up', '--config', file, '--check');
  const count = example.split('\n').length;
  assert.equal(status, 1);
  assert.equal(stdout, '');
  assert.equal(stderr.split('\n')[0], `${file}:${count}:1: workers is given twice: remove one`);
  assert.ok(stderr.split('\n')[1].startsWith(`${file}:${count + 1}:1: engin is no field here: did you mean engine?`));
});

test('a wrong file is refused without --check too, before anything starts', () => {
  const file = write('wrong-start.yaml', `${example}workers: 2\n`);
  const { status, stdout, stderr } = millrace('up', '--config', file);
  assert.equal(status, 1);
  assert.equal(stdout, '');
  assert.match(stderr, /workers is given twice/);
});

test('with --json a program gets the summary and the problems as objects', () => {
  const right = millrace('up', '--config', write('right.yaml', example), '--check', '--json');
  assert.equal(JSON.parse(right.stdout).event, 'valid');
  assert.deepEqual(JSON.parse(right.stdout).listeners, ['127.0.0.1:8080']);
  const wrong = millrace('up', '--config', write('json.yaml', 'workers: 0\n'), '--check', '--json');
  assert.equal(wrong.status, 1);
  const { event, problems } = JSON.parse(wrong.stdout) as { event: string; problems: Record<string, unknown>[] };
  assert.equal(event, 'invalid');
  assert.deepEqual(
    problems.map(({ line, column, field }) => [line, column, field]),
    [
      [1, 1, 'listeners'],
      [1, 10, 'workers'],
    ],
  );
});

test('a file that is not there is named', () => {
  const { status, stderr } = millrace('up', '--config', join(folder, 'none.yaml'));
  assert.equal(status, 1);
  assert.match(stderr, /none\.yaml:1:1: cannot be read: there is no such file\n$/);
});

test('a wrong option is refused with what is allowed', () => {
  const engine = millrace('up', '--engine', 'kqueue');
  assert.equal(engine.status, 1);
  assert.match(engine.stderr, /auto, io_uring, epoll, epoll-level, poll, select/);
  const workers = millrace('up', '--workers', '65');
  assert.equal(workers.status, 1);
  assert.match(workers.stderr, /a whole number from 1 to 64 is allowed/);
});

test('help shows examples, and version is the package’s', () => {
  const help = millrace('up', '--help');
  assert.equal(help.status, 0);
  assert.match(help.stdout, /Examples:[\s\S]*millrace up --config millrace\.yaml --check/);
  const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { version: string };
  assert.equal(millrace('--version').stdout, `${version}\n`);
});

/** A `node` on the path that is not the project's own and older than 24. */
function findOldNode(): string | null {
  for (const place of (process.env.PATH ?? '').split(delimiter)) {
    const candidate = join(place, 'node');
    if (place === '' || place.includes('node_modules')) continue;
    const asked = spawnSync(candidate, ['--version'], { encoding: 'utf8' });
    const major = Number(/^v(\d+)\./.exec(asked.stdout ?? '')?.[1]);
    if (major > 0 && major < 24) return realpathSync(candidate);
  }
  return null;
}

test('an older Node is told in one line which is needed', (context) => {
  const old = findOldNode();
  if (old === null) {
    context.skip('no node older than 24 is on the path');
    return;
  }
  const { status, stdout, stderr } = spawnSync(old, [entry, 'up'], { encoding: 'utf8', timeout: 20_000 });
  assert.equal(status, 1);
  assert.equal(stdout, '');
  assert.match(stderr, /^millrace needs Node 24 or newer; this is Node [\d.]+ \(.*\)\n$/);
});

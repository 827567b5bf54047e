/**
 * Test support: programs that others wrote, to be driven by and to drive. Where one is missing the test is skipped with the
 * reason; in CI (CI=true) that is a failure.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

/** False, and the test is skipped, where one of the programs is missing. */
export function hasPeers(context: TestContext, ...programs: readonly string[]): boolean {
  const missing = programs.filter((program) => spawnSync('which', [program]).status !== 0);
  if (missing.length === 0) return true;
  const reason = `${missing.join(', ')} is not installed: run scripts/install-peers.sh`;
  assert.notEqual(process.env.CI, 'true', reason);
  context.skip(reason);
  return false;
}

/** A port that was free a moment ago, for programs that cannot say which one they got. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function accepting(port: number, child: ChildProcess, told: () => string): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    assert.equal(child.exitCode, null, told());
    const opened = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => resolve(false));
      socket.on('connect', () => {
        socket.destroy();
        resolve(true);
      });
    });
    if (opened) return;
    await sleep(10);
  }
  assert.fail(`nothing listens on port ${port}: ${told()}`);
}

export interface Peer extends AsyncDisposable {
  readonly port: number;
  readonly folder: string;
}

async function startPeer(port: number, folder: string, command: readonly string[]): Promise<Peer> {
  const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk;
    });
  }
  const ended = once(child, 'close');
  const peer: Peer = {
    port,
    folder,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    await accepting(port, child, () => output);
  } catch (error) {
    await peer[Symbol.asyncDispose]();
    throw error;
  }
  return peer;
}

/** nginx in the foreground, one worker, without logs, from a folder of its own. `server` stands inside its server block. */
export async function startNginx(server: string): Promise<Peer> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-nginx-'));
  const port = await freePort();
  mkdirSync(join(folder, 'temporary'));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `  ${name}_temp_path ${folder}/temporary/${name};`,
  );
  const text = `daemon off;
user root;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 1000000;
  client_max_body_size 100m;
${temporary.join('\n')}
  server {
    listen 127.0.0.1:${port};
${server}
  }
}
`;
  writeFileSync(join(folder, 'nginx.conf'), text);
  return startPeer(port, folder, ['nginx', '-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr']);
}

/** HAProxy before one server. */
export async function startHaproxy(upstreamPort: number): Promise<Peer> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-haproxy-'));
  const port = await freePort();
  const text = `global
  maxconn 500
defaults
  mode http
  timeout connect 2s
  timeout client 10s
  timeout server 10s
  option forwardfor
frontend front
  bind 127.0.0.1:${port}
  default_backend back
backend back
  http-reuse always
  server one 127.0.0.1:${upstreamPort}
`;
  writeFileSync(join(folder, 'haproxy.cfg'), text);
  return startPeer(port, folder, ['haproxy', '-db', '-f', join(folder, 'haproxy.cfg')]);
}

export interface WrkResult {
  readonly requests: number;
  /** Lines about what went wrong; none is right. */
  readonly errors: readonly string[];
}

export async function runWrk(url: string, seconds: number, connections = 32): Promise<WrkResult> {
  const child = spawn('wrk', ['-t1', `-c${connections}`, `-d${seconds}s`, url], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk;
    });
  }
  const [status] = (await once(child, 'close')) as [number];
  assert.equal(status, 0, output);
  return {
    requests: Number(/(\d+) requests in/.exec(output)?.[1] ?? 0),
    errors: output.split('\n').filter((line) => /Socket errors|Non-2xx/.test(line)),
  };
}

/** What curl wrote to standard output. Asynchronous, so that servers of this process can answer. */
export async function curl(...options: readonly string[]): Promise<string> {
  const child = spawn('curl', ['--silent', '--show-error', '--max-time', '10', ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString('latin1');
  });
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk;
  });
  const [status] = (await once(child, 'close')) as [number];
  assert.equal(status, 0, errors);
  return output;
}

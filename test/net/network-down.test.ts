/**
 * A network that goes away, in network namespaces of this test's own (network_namespaces(7)): connects without a route or an
 * answer, connections through a short outage and a long one, and source ports that run out.
 *
 * A newcomer would get wrong: only the child processes live in the namespaces; this process stays where it is.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { engineNames } from '../../src/net/index.ts';
import { until } from '../support/net.ts';
import { runChild } from '../support/pair.ts';

const near = `millrace-near-${process.pid}`;
const far = `millrace-far-${process.pid}`;
const FAR_ADDRESS = '10.231.7.2';

function ip(...parameters: readonly string[]): void {
  execFileSync('ip', parameters, { stdio: 'pipe' });
}

/** Two namespaces with a cable between them, or why there are none. */
function makeNetwork(): string | null {
  try {
    ip('netns', 'add', near);
    ip('netns', 'add', far);
    ip('link', 'add', 'near0', 'netns', near, 'type', 'veth', 'peer', 'name', 'far0', 'netns', far);
    ip('-n', near, 'address', 'add', '10.231.7.1/24', 'dev', 'near0');
    ip('-n', far, 'address', 'add', `${FAR_ADDRESS}/24`, 'dev', 'far0');
    for (const [space, device] of [
      [near, 'near0'],
      [far, 'far0'],
      [near, 'lo'],
    ]) {
      ip('-n', space, 'link', 'set', device, 'up');
    }
    return null;
  } catch (error) {
    removeNetwork();
    return `network namespaces cannot be made here: ${String((error as Error).message).split('\n')[0]}`;
  }
}

function removeNetwork(): void {
  for (const space of [near, far]) {
    try {
      ip('netns', 'delete', space);
    } catch {
      // It was not made.
    }
  }
}

/** A child for each engine, started by `command`; what each wrote. */
async function eachInNamespace(code: string, command: readonly string[]): Promise<readonly string[]> {
  const results = await Promise.all(
    engineNames.map((engine) => runChild(`net.useEngine('${engine}');\n${code}`, { command })),
  );
  return results.map((result, index) => {
    assert.equal(result.code, 0, `${engineNames[index]}: ${result.errors}`);
    return result.output.trim();
  });
}

test('without a route connects fail at once, without an answer later; a short outage is survived, a long one ends', {
  timeout: 40_000,
}, async (context) => {
  const reason = makeNetwork();
  if (reason !== null) {
    context.skip(reason);
    return;
  }
  const script = `const echo = (socket) => socket.on('error', () => {}).pipe(socket);
    require('net').createServer(echo).listen(7000, '${FAR_ADDRESS}', () => console.log('ready'));`;
  const server = spawn('ip', ['netns', 'exec', far, process.execPath, '-e', script]);
  try {
    await once(server.stdout, 'data');
    const folder = mkdtempSync(join(tmpdir(), 'millrace-outage-'));
    const marks = (begin: string): number => readdirSync(folder).filter((name) => name.startsWith(begin)).length;
    const running = eachInNamespace(
      `
      const fs = await import('node:fs');
      const mark = (name) => fs.writeFileSync('${folder}/' + name, '');
      const marked = async (name) => {
        while (!fs.existsSync('${folder}/' + name)) await new Promise((resolve) => setTimeout(resolve, 20));
      };
      const code = (host) => new Promise((resolve) => {
        net.connect({ host, port: 7000 }, { error: (_c, error) => resolve(error.code), open: (c) => c.end() });
      });
      const heard = [];
      const failed = [];
      const steady = net.connect({ host: '${FAR_ADDRESS}', port: 7000, userTimeoutMs: 1500 }, {
        data: (_c, chunk) => heard.push(String.fromCharCode(...chunk)),
        error: (_c, error) => failed.push(error.code),
      });
      await steady.opening();
      console.log(await code('198.51.100.9'));
      const absent = code('10.231.7.77');
      mark('ready-' + process.pid);
      await marked('down');
      steady.write('through');
      while (heard.join('') !== 'through') await new Promise((resolve) => setTimeout(resolve, 20));
      console.log(heard.join(''));
      console.log(await absent);
      mark('again-' + process.pid);
      await marked('gone');
      steady.write('lost');
      while (failed.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      console.log(failed.join());
    `,
      ['ip', 'netns', 'exec', near],
    );
    try {
      await until(() => marks('ready-') === engineNames.length, 15_000);
      ip('-n', far, 'link', 'set', 'far0', 'down');
      writeFileSync(join(folder, 'down'), '');
      await sleep(400);
      ip('-n', far, 'link', 'set', 'far0', 'up');
      await until(() => marks('again-') === engineNames.length, 15_000);
      ip('-n', far, 'link', 'set', 'far0', 'down');
      writeFileSync(join(folder, 'gone'), '');
      for (const output of await running) {
        assert.match(output, /^ENETUNREACH\nthrough\nEHOSTUNREACH\n(ETIMEDOUT|EHOSTUNREACH)$/);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  } finally {
    server.kill('SIGKILL');
    removeNetwork();
  }
});

test('when the source ports are used up a connect fails with EADDRNOTAVAIL, and the next succeeds once one is free', {
  timeout: 30_000,
}, async (context) => {
  if (process.getuid!() !== 0) {
    context.skip('a network namespace needs root');
    return;
  }
  const outputs = await eachInNamespace(
    `
      const fs = await import('node:fs');
      (await import('node:child_process')).execFileSync('ip', ['link', 'set', 'lo', 'up']);
      fs.writeFileSync('/proc/sys/net/ipv4/ip_local_port_range', '40000 40039');
      const listener = await net.listen({ host: '127.0.0.1', port: 0 }, {});
      const open = [];
      let failure = null;
      for (let count = 0; count < 60 && failure === null; count++) {
        const client = net.connect({ host: '127.0.0.1', port: listener.port });
        try {
          await client.opening();
          open.push(client);
        } catch (error) {
          failure = error;
        }
      }
      console.log(failure?.code, open.length >= 5);
      open.pop().reset();
      for (let more = true; more; ) {
        const client = net.connect({ host: '127.0.0.1', port: listener.port });
        more = await client.opening().then(() => false, () => new Promise((resolve) => setTimeout(() => resolve(true), 10)));
      }
      console.log('again');
      process.exit(0);
    `,
    // Ports and their range belong to the namespace.
    ['unshare', '--net'],
  );
  for (const output of outputs) assert.equal(output, 'EADDRNOTAVAIL true\nagain');
});

/**
 * Where the host forbids io_uring: the gateway starts on epoll and says why.
 *
 * A newcomer would get wrong: this turns a setting of the whole host, so it must not run beside other tests; its name tells
 * `scripts/test.js`. The setting is restored whatever happens.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import test from 'node:test';
import { fetchText, GatewayProcess } from '../support/gateway.ts';

const ANY_PORTS = ['--demonstration-ports', '0,0'];

test('where the sysctl forbids io_uring the gateway starts on epoll and says why', async (context) => {
  const sysctl = '/proc/sys/kernel/io_uring_disabled';
  let before: string;
  try {
    before = readFileSync(sysctl, 'utf8');
    writeFileSync(sysctl, before);
  } catch (error) {
    context.skip(`${sysctl} cannot be written: ${(error as Error).message}`);
    return;
  }
  const restore = (): void => writeFileSync(sysctl, before);
  // Also where the runner gives up on this file.
  process.once('exit', restore);
  writeFileSync(sysctl, '2');
  try {
    await using gateway = await GatewayProcess.start(null, { arguments: ANY_PORTS });
    const [{ engine, reason }] = gateway.listening;
    assert.equal(engine, 'epoll');
    assert.match(String(reason), /io_uring.*kernel\.io_uring_disabled/);
    assert.equal((await fetchText(gateway.port(), '/hello')).status, 200);
    await assert.rejects(
      GatewayProcess.start(null, { arguments: [...ANY_PORTS, '--engine', 'io_uring'] }),
      /kernel\.io_uring_disabled/,
    );
  } finally {
    restore();
    process.off('exit', restore);
  }
});

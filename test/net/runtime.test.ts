/**
 * The thread's engine: taking one, giving it back, also from within its own callbacks.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, engineNames, listen, releaseEngine, useEngine } from '../../src/net/index.ts';
import { eachEngine, refusalOf, turns } from '../support/net.ts';
import { HOST, pair } from '../support/pair.ts';
import { Recorder } from '../support/recorder.ts';

eachEngine('a thread has one engine, by name', async (engine) => {
  assert.equal(useEngine(engine.name), engine);
  assert.equal(useEngine('auto'), engine);
  const other = engine.name === 'poll' ? 'select' : 'poll';
  assert.throws(() => useEngine(other), /this thread runs on .* already/);
});

for (const name of engineNames) {
  test(`[${name}] an engine may be given back from a callback of its own, and the next one taken at once`, async (context) => {
    const refusal = refusalOf(name);
    if (refusal !== null) {
      context.skip(refusal);
      return;
    }
    useEngine(name);
    const { listener, connection, server } = await pair();
    const given = new Promise<void>((resolve) => {
      server.data = () => {
        releaseEngine();
        useEngine(name);
        resolve();
      };
    });
    connection.write('now');
    await given;
    assert.equal(connection.destroyed, false, 'handlers of sockets that were open hear nothing');
    assert.equal(listener.listening, true);
    // The thread's new engine works while the old one's turn comes to its end.
    const client = new Recorder();
    const next = await listen({ host: HOST }, { open: (accepted) => accepted.end('new') });
    connect({ host: HOST, port: next.port }, client);
    await client.heard('close');
    assert.equal(client.text, 'new');
    await next.close();
    await turns();
    releaseEngine();
  });
}

test('giving back an engine that was never taken is fine', () => {
  releaseEngine();
  releaseEngine();
});

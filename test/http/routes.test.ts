/** Which route a path belongs to, and that no spelling gets past the one that guards it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Handler, Routes } from '../../src/http/index.ts';
import { ask, get } from '../support/http-client.ts';
import { withServer } from '../support/http-server.ts';
import { eachEngine } from '../support/net.ts';

const named =
  (name: string): Handler =>
  (request, response) =>
    response.text(`${name}|${request.rest}`);
const paths = ['/', '/public/', '/public/admin/', '/exact', '/exact/', '/public/admin/key', '/bücher/'];
const table = Object.fromEntries(paths.map((path) => [path, named(path)]));

async function answers(expected: readonly (readonly [string, string])[]): Promise<void> {
  await withServer(table, async (address) => {
    for (const [path, body] of expected) {
      const response = await ask(address, get(path));
      const seen = response.status === 404 ? '404' : Buffer.from(response.body, 'latin1').toString();
      assert.equal(seen, body, path);
    }
  });
}

eachEngine('the longest route wins; one that ends in a slash matches below it, another only itself', async () => {
  await answers([
    ['/', '/|'],
    ['/other', '/|other'],
    ['/public', '/|public'],
    ['/public/', '/public/|'],
    ['/public/a/b?c=/public/admin/', '/public/|a/b'],
    ['/public/admin', '/public/|admin'],
    ['/public/admin/', '/public/admin/|'],
    ['/public/admin/x', '/public/admin/|x'],
    ['/public/admin/key', '/public/admin/key|'],
    ['/public/admin/keys', '/public/admin/|keys'],
    ['/exact', '/exact|'],
    ['/exact?query', '/exact|'],
    ['/exact/', '/exact/|'],
    ['/exactly', '/|exactly'],
    ['http://example.test', '/|'],
    ['http://example.test/public/x', '/public/|x'],
  ]);
});

eachEngine('a path is matched by its meaning, however it is spelled', async () => {
  await answers([
    ['/public/%61dmin/x', '/public/admin/|x'],
    ['/public/./admin/x', '/public/admin/|x'],
    ['/public//admin/x', '/public/admin/|x'],
    ['//public/admin/x', '/public/admin/|x'],
    ['/public/other/../admin/x', '/public/admin/|x'],
    ['/public/other/%2e%2E/admin/x', '/public/admin/|x'],
    ['/%70ublic/x', '/public/|x'],
    ['/public/..', '/|'],
    ['/public/admin/../x', '/public/|x'],
    ['/public/%2561dmin/x', '/public/|%61dmin/x'],
    ['/b%C3%BCcher/x', '/bücher/|x'],
    ['/../public/x', '404'],
    ['/public/../../x', '404'],
  ]);
});

eachEngine('a path that readers split differently reaches a route only where all agree', async () => {
  await answers([
    ['/public/a%2Fb', '/public/|a%2Fb'],
    ['/other%2fpublic', '/|other%2fpublic'],
    ['/public/admin%2fx', '404'],
    ['/public%2fadmin/x', '404'],
    ['/public/..%2fother', '404'],
    ['/public/a%2f..%2f..%2fother', '404'],
    ['/public/admin\\x', '404'],
    ['/public/x\\y', '/public/|x\\y'],
    ['/public/admin%5cx', '404'],
    ['/public/%ff', '/public/|%ff'],
    ['/public/%00', '/public/|%00'],
    ['/public/%2e%2e%2fother', '404'],
  ]);
});

test('malformed tables are refused', () => {
  const handler: Handler = () => {};
  assert.throws(() => new Routes([{ path: 'x', handler }]), TypeError);
  assert.throws(
    () =>
      new Routes([
        { path: '/x', handler },
        { path: '/x', handler },
      ]),
    TypeError,
  );
});

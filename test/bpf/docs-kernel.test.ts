/**
 * The programs of the guide on real packets, started as a reader of the guide starts them: in two network namespaces.
 *
 * A newcomer would get wrong: they import `millrace/bpf`, which is `dist/`; run `npm run build` after a change in `src/`.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { blocksOf, type Folder, folderWith } from '../support/bpf-documents.ts';
import {
  arrives,
  boundUdp,
  type Hosts,
  hosts,
  kernelSkip,
  mounted,
  type Namespace,
  run,
} from '../support/bpf-kernel.ts';

const project = fileURLToPath(new URL('../../', import.meta.url));
const isBuilt = existsSync(join(project, 'dist/bpf/index.js'));
const skip = kernelSkip !== false ? kernelSkip : isBuilt ? false : 'npm run build was not run';

/** The namespaces `left` and `right` of the guide, with its addresses on `veth`. */
function guideHosts(): Hosts {
  const pair = hosts();
  run('ip', '-n', pair.one.name, 'address', 'add', '192.0.2.1/24', 'dev', 'veth');
  run('ip', '-n', pair.other.name, 'address', 'add', '192.0.2.2/24', 'dev', 'veth');
  return pair;
}

/** Runs a file of the guide in a namespace; what it printed, once it ended well. */
async function runFile(
  context: TestContext,
  { folder, host, words }: { readonly folder: Folder; readonly host: Namespace; readonly words: readonly string[] },
): Promise<string> {
  const child = spawn('nsenter', [`--net=${host.path}`, process.execPath, ...words], {
    cwd: folder.path,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  context.after(() => child.kill('SIGKILL'));
  const [output, errors, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  assert.equal(status, 0, errors);
  return output;
}

test('main.ts drops and counts; events.ts hears of long packets', { skip }, async (context) => {
  using pair = guideHosts();
  using folder = folderWith(blocksOf('docs/guides/bpf.md'));
  const dropping = runFile(context, { folder, host: pair.other, words: ['main.ts', 'veth'] });
  const listening = runFile(context, { folder, host: pair.one, words: ['events.ts', 'veth'] });
  using right = pair.other.inside(() => boundUdp('192.0.2.2'));
  using left = pair.one.inside(() => boundUdp('192.0.2.1'));
  let isDropped = false;
  for (let tries = 0; tries < 12; tries++) {
    await sleep(200);
    if (!pair.one.inside(() => arrives('192.0.2.2', right.port, right.descriptor, 50))) isDropped = true;
    pair.other.inside(() => arrives('192.0.2.1', left.port, left.descriptor, 50));
  }
  assert.match(await listening, /^192\.0\.2\.2 92\n(?:.*\n)*\d+ events, 0 lost$/m);
  assert.match(await dropping, /^192\.0\.2\.1 [1-9]\d*n$/m);
  assert.equal(isDropped, true);
  assert.equal(
    pair.one.inside(() => arrives('192.0.2.2', right.port, right.descriptor, 2000)),
    true,
  );
});

test('what is pinned goes on, and replace.ts puts another program in its place', { skip }, async (context) => {
  using place = mounted('bpf');
  using pair = guideHosts();
  using folder = folderWith(blocksOf('docs/guides/bpf.md'));
  const directory = join(place.path, 'drop');
  const load = ['bpf', 'load', 'drop.bpf.ts', '--attach', 'filter=veth', '--pin', directory];
  const words = [join(project, 'bin/millrace.js'), ...load];
  const loaded = await runFile(context, { folder, host: pair.other, words });
  assert.match(loaded, /filter: attached to veth\n3 pins below /);
  assert.deepEqual(readdirSync(directory).toSorted(), ['link-filter', 'map-blocked', 'program-filter']);
  const replaced = await runFile(context, { folder, host: pair.one, words: ['replace.ts', directory] });
  assert.match(replaced, /drop runs program \d+\n$/);
});

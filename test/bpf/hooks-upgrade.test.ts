/**
 * New versions of a program take the place of old ones while packets flow: none is lost, none is counted twice or by nobody.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { codecOf } from '../../src/bpf/loader/codec.ts';
import { Link, openLink } from '../../src/bpf/loader/links/link.ts';
import { openMap } from '../../src/bpf/loader/map-open.ts';
import { openProgram } from '../../src/bpf/loader/program.ts';
import { U32, U64 } from '../../src/bpf/types.ts';
import { hooksOf } from '../support/bpf-hooks.ts';
import { type Hosts, hosts, kernelSkip, mounted, type Place } from '../support/bpf-kernel.ts';
import { needs } from '../support/bpf-objects.ts';

/** Why nothing of this can be shown here, or false. */
const skip = kernelSkip || needs('ip', 'ping');
const load = hooksOf<typeof import('./hooks/upgrade.bpf.ts')>('upgrade');

let pair: Hosts;
let place: Place;

before(() => {
  if (skip !== false) return;
  pair = hosts();
  place = mounted('bpf');
  pair.one.run('ping', '-c', '1', '-W', '2', '10.77.0.2');
});
after(() => {
  place?.[Symbol.dispose]();
  pair?.[Symbol.dispose]();
});

/** Echo requests from the first host to the second, and what became of them. */
interface Traffic {
  isDone(): boolean;
  readonly end: Promise<{ readonly sent: number; readonly received: number }>;
}

function traffic(...words: readonly string[]): Traffic {
  const child = spawn('ip', ['netns', 'exec', pair.one.name, 'ping', '-q', ...words, '10.77.0.2']);
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  let done = false;
  const finish = async (): Promise<{ sent: number; received: number }> => {
    await once(child, 'close');
    done = true;
    const found = /(\d+) packets transmitted, (\d+) received/.exec(text);
    assert.ok(found !== null, text);
    return { sent: Number(found[1]), received: Number(found[2]) };
  };
  return { end: finish(), isDone: () => done };
}

/** The counts of all versions, from the pinned map; the map is taken away. */
function takeCounts(): number[] {
  const path = join(place.path, 'counts');
  using map = openMap(path, { key: codecOf(U32), value: codecOf(U64) });
  assert.ok(map !== null);
  const counts = [...map.values()].map(Number);
  unlinkSync(path);
  return counts;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

for (const name of ['inStack', 'atDriver'] as const) {
  test(`${name}: a link’s program is replaced again and again under a flood, and no packet is lost`, {
    skip,
  }, async () => {
    const options = { programs: [name], pinDirectory: place.path };
    using one = load({ ...options, constants: { version: 1 } });
    using two = load({ ...options, constants: { version: 2 } });
    using link = pair.other.inside(() => one.programs[name].attach({ interface: 'veth' }));
    assert.ok(link instanceof Link);
    const flood = traffic('-f', '-c', '40000');
    let changes = 0;
    for (; !flood.isDone(); changes++) {
      const [next, former] = changes % 2 === 0 ? [two, one] : [one, two];
      link.update(next.programs[name], former.programs[name]);
      await turn();
    }
    const { sent, received } = await flood.end;
    assert.equal(received, sent);
    const counts = takeCounts();
    assert.equal(sum(counts), sent, `${counts} packets with ${changes} changes`);
    assert.ok(changes > 3 && counts[1] > 100 && counts[2] > 100, `${counts} packets with ${changes} changes`);
  });
}

/** What is pinned; files with a dot are the kernel's own. */
function pinned(): string[] {
  return readdirSync(place.path)
    .filter((name) => !name.includes('.'))
    .sort();
}

/** Starts a version in a process of its own, within the second host, and waits for its end. */
async function start(version: number): Promise<void> {
  const script = join(import.meta.dirname, '../support/bpf-upgrade-child.ts');
  const words = ['netns', 'exec', pair.other.name, process.execPath, script, place.path, String(version), 'veth'];
  const child = spawn('ip', words, { stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk;
  });
  const [status] = await once(child, 'close');
  assert.equal(status, 0, errors);
}

test('one process after the other takes over a pinned link and its map, and no packet is lost', { skip }, async () => {
  await start(1);
  const flow = traffic('-i', '0.001', '-c', '2500');
  await start(2);
  await start(3);
  assert.equal(flow.isDone(), false, 'the traffic must last longer than the upgrades');
  const { sent, received } = await flow.end;
  assert.equal(received, sent);
  assert.deepEqual(pinned(), ['counts', 'link', 'program1', 'program2', 'program3']);
  {
    using link = openLink(join(place.path, 'link'));
    using program = openProgram(join(place.path, 'program3'));
    assert.equal(link?.info().programId, program?.info().id);
    link?.detach();
  }
  const counts = takeCounts();
  assert.equal(sum(counts), sent);
  assert.ok(counts[1] > 0 && counts[2] > 0 && counts[3] > 0, `${counts}`);
  for (const name of ['link', 'program1', 'program2', 'program3']) unlinkSync(join(place.path, name));
});

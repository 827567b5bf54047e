/**
 * What the machine is made of: lists of CPUs, mounts.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { onlineCpus, parseCpuList, possibleCpus } from '../../src/kernel/cpus.ts';
import { mountsOf, parseMounts } from '../../src/kernel/mounts.ts';

test('lists of CPUs are read in the kernel’s form', () => {
  assert.deepEqual(parseCpuList('0-3,8,10-11\n'), [0, 1, 2, 3, 8, 10, 11]);
  assert.deepEqual(parseCpuList('\n'), []);
  assert.throws(() => parseCpuList('0-'), /forms like 0-3,8 are allowed/);
});

test('the CPUs that run are among the possible ones', () => {
  assert.ok(possibleCpus() > 0);
  assert.ok(onlineCpus().every((cpu) => cpu < possibleCpus()));
});

test('mounts are read with their optional fields and escaped spaces', () => {
  const text = [
    '36 35 98:0 /part /mnt/a\\040b rw,noatime master:1 shared:7 - ext3 /dev/root rw',
    '38 31 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw',
    'nonsense',
    '',
  ].join('\n');
  assert.deepEqual(parseMounts(text), [
    { type: 'ext3', root: '/part', path: '/mnt/a b' },
    { type: 'cgroup2', root: '/', path: '/sys/fs/cgroup/unified' },
  ]);
  assert.ok(mountsOf('proc').some(({ path }) => path === '/proc'));
  assert.deepEqual(mountsOf('no-such-type'), []);
});

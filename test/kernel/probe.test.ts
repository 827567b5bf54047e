/**
 * Each reason for which io_uring is refused is told apart; those that change the machine restore it.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ERRNO } from '../../src/kernel/errno.ts';
import { type Circumstances, explainRefusal, probeUring, type UringProbe } from '../../src/kernel/probe.ts';
import { descriptorCount, parseKernelVersion } from '../../src/kernel/procfs.ts';
import { readSysctl, writeSysctl } from '../../src/kernel/sysctl.ts';
import * as abi from '../../src/kernel/uring-abi.ts';

const SETTING = 'kernel.io_uring_disabled';
const childPath = fileURLToPath(new URL('../support/probe-child.ts', import.meta.url));
const setting = readSysctl(SETTING);
const allowed = probeUring().state === 'available';
const notAllowed = allowed ? false : 'io_uring is not allowed to this process';
const cannotSet =
  notAllowed || (process.getuid?.() !== 0 ? 'only root sets it' : setting === null ? `no ${SETTING} here` : false);

interface ChildProbe {
  readonly state: UringProbe['state'];
  readonly reason: string;
  readonly remedy: string | null;
  readonly leaked: number;
}

function probeInChild(refusal: string): ChildProbe {
  const child = spawnSync(process.execPath, [childPath, refusal], { encoding: 'utf8' });
  assert.equal(child.status, 0, child.stderr);
  return JSON.parse(child.stdout) as ChildProbe;
}

test('an allowed io_uring is described by what the kernel answers', { skip: notAllowed }, () => {
  const before = descriptorCount();

  const probe = probeUring();

  assert.equal(probe.state, 'available');
  for (const operation of [abi.IORING_OP_NOP, abi.IORING_OP_ACCEPT, abi.IORING_OP_SEND, abi.IORING_OP_RECV]) {
    assert.ok(probe.operations.has(operation), `operation ${operation}`);
  }
  assert.ok(!probe.operations.has(255), 'an operation that no kernel has');
  assert.notEqual(probe.features & abi.IORING_FEAT_NODROP, 0);
  assert.notEqual(probe.setupFlags & abi.IORING_SETUP_CLAMP, 0);
  assert.match(probe.reason, new RegExp(`^Linux ${RegExp.escape(probe.kernel.release)} allows io_uring`));
  assert.equal(descriptorCount(), before);
});

test('a hundred probes leave no descriptor open', { skip: notAllowed }, () => {
  const before = descriptorCount();
  for (let round = 0; round < 100; round++) probeUring();
  assert.equal(descriptorCount(), before);
});

test('a setting that forbids io_uring to everybody is named', { skip: cannotSet }, () => {
  const before = descriptorCount();
  let probe: UringProbe;

  // The setting holds for the whole machine: nothing but the probe may run before it is restored.
  writeSysctl(SETTING, 2);
  try {
    probe = probeUring();
  } finally {
    writeSysctl(SETTING, setting!);
  }

  assert.equal(probe.state, 'sysctl');
  assert.match(probe.reason, /kernel\.io_uring_disabled is 2/);
  assert.match(probe.remedy!, /kernel\.io_uring_disabled=0/);
  assert.equal(descriptorCount(), before);
  assert.equal(readSysctl(SETTING), setting);
});

test('a setting that forbids io_uring without privilege is named', { skip: cannotSet }, () => {
  let probe: UringProbe;

  writeSysctl(SETTING, 1);
  try {
    // Without effective root the capabilities are gone until it is back (capabilities(7)).
    process.seteuid!(65534);
    probe = probeUring();
  } finally {
    process.seteuid!(0);
    writeSysctl(SETTING, setting!);
  }

  assert.equal(probe.state, 'sysctl');
  assert.match(probe.reason, /kernel\.io_uring_disabled is 1/);
  assert.match(probe.remedy!, /kernel\.io_uring_group/);
  assert.equal(readSysctl(SETTING), setting);
});

test('a seccomp filter that refuses io_uring is told apart from the setting', { skip: notAllowed }, () => {
  const probe = probeInChild('EPERM');

  assert.equal(probe.state, 'seccomp');
  assert.match(probe.reason, /seccomp filter.*EPERM/);
  assert.match(probe.remedy!, /seccomp profile/);
  assert.equal(probe.leaked, 0);
});

const cannotTell = notAllowed || (setting === null && `no ${SETTING} here`);

test('a seccomp filter that plays a kernel without io_uring is found out', { skip: cannotTell }, () => {
  const probe = probeInChild('ENOSYS');

  assert.equal(probe.state, 'seccomp');
  assert.match(probe.reason, /ENOSYS/);
});

test('a lack of memory is reported as such', { skip: notAllowed }, () => {
  const probe = probeInChild('ENOMEM');

  assert.equal(probe.state, 'memory');
  assert.match(probe.remedy!, /ulimit -l/);
});

const unhindered: Circumstances = { disabled: 0, privileged: false, filtered: false };

for (const [title, errno, circumstances, state] of [
  ['the setting at 1 without privilege', ERRNO.EPERM, { ...unhindered, disabled: 1 }, 'sysctl'],
  ['the setting at 2 with privilege', ERRNO.EPERM, { ...unhindered, disabled: 2, privileged: true }, 'sysctl'],
  ['the setting at 1 with privilege', ERRNO.EPERM, { disabled: 1, privileged: true, filtered: true }, 'seccomp'],
  ['a filter before Linux 6.6', ERRNO.EPERM, { ...unhindered, disabled: null, filtered: true }, 'seccomp'],
  ['EPERM that nothing known explains', ERRNO.EPERM, unhindered, 'failed'],
  ['no io_uring', ERRNO.ENOSYS, { ...unhindered, disabled: null }, 'absent'],
  ['no io_uring, or a filter', ERRNO.ENOSYS, { ...unhindered, disabled: null, filtered: true }, 'absent'],
  ['no memory', ERRNO.ENOMEM, unhindered, 'memory'],
  ['no descriptor', ERRNO.EMFILE, unhindered, 'failed'],
] as const) {
  test(`a refusal is explained: ${title}`, () => {
    const refusal = explainRefusal(-errno, parseKernelVersion('6.1.0'), circumstances);

    assert.equal(refusal.state, state);
    assert.equal(refusal.errno, -errno);
    for (const line of [refusal.reason, refusal.remedy]) assert.match(line, /^\S.*\S$/);
  });
}

/**
 * What /proc says of this process.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { test } from 'node:test';
import {
  atLeast,
  cpuTime,
  descriptorCount,
  kernelVersion,
  parseKernelVersion,
  processMemory,
  statusField,
} from '../../src/kernel/procfs.ts';
import { readSysctl, readSysctlInteger, sysctlPath, writeSysctl } from '../../src/kernel/sysctl.ts';

test('memory that is touched shows as private memory, and its shares add up', () => {
  const before = processMemory();
  const touched = new Uint8Array(32 << 20).fill(1);
  const after = processMemory();

  assert.ok(after.privateBytes - before.privateBytes > touched.length * 0.9, 'touched pages count');
  assert.ok(after.privateBytes <= after.pssBytes && after.pssBytes <= after.rssBytes);
});

test('CPU time of this process grows with work', () => {
  const before = cpuTime();
  const end = process.cpuUsage().user + 30000;
  while (process.cpuUsage().user < end);
  const after = cpuTime();

  assert.ok(after.userUs - before.userUs >= 30000);
  assert.ok(after.systemUs >= before.systemUs);
});

test('CPU time of another process is read whatever its command is called', async (context) => {
  // Its name, with a parenthesis and a space, stands before the fields that are counted.
  const script = `process.title = 'a) b (';
    while (process.cpuUsage().user < 200000);
    console.log('done');
    setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  context.after(() => child.kill());
  await new Promise((resolve) => child.stdout.once('data', resolve));

  assert.match(readFileSync(`/proc/${child.pid}/stat`, 'latin1'), /\(a\) b \(/);
  const { userUs, systemUs } = cpuTime(child.pid!);
  assert.ok(userUs >= 180000 && userUs + systemUs < 60e6, `${userUs} + ${systemUs}`);
  assert.ok(descriptorCount(child.pid!) > 2);
  assert.ok(processMemory(child.pid!).rssBytes > 1 << 20);
});

test('open descriptors are counted', () => {
  const before = descriptorCount();
  const descriptors = [1, 2, 3].map(() => openSync('/dev/null', 'r'));
  const during = descriptorCount();
  descriptors.forEach(closeSync);

  assert.equal(during, before + 3);
  assert.equal(descriptorCount(), before);
});

test('a field of the status is found by its whole name', () => {
  assert.equal(statusField('Pid'), String(process.pid));
  assert.equal(statusField('Seccomp'), /^Seccomp:\t(\d)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
  assert.equal(statusField('Nothing'), null);
});

test('kernel releases are taken apart and compared', () => {
  assert.equal(kernelVersion().release, release());
  assert.deepEqual(parseKernelVersion('6.1.0-18-amd64'), { major: 6, minor: 1, patch: 0, release: '6.1.0-18-amd64' });
  assert.deepEqual(parseKernelVersion('5.15'), { major: 5, minor: 15, patch: 0, release: '5.15' });
  const version = parseKernelVersion('6.10.3');
  assert.ok(atLeast(version, 6, 9) && atLeast(version, 6, 10) && atLeast(version, 5, 19));
  assert.ok(!atLeast(version, 6, 11) && !atLeast(version, 7, 0));
  assert.throws(() => parseKernelVersion('linux'), /kernel release is "linux"/);
});

test('settings are read by dotted name', () => {
  assert.equal(readSysctl('kernel.ostype'), 'Linux');
  assert.equal(readSysctlInteger('kernel.pid_max'), Number(readFileSync('/proc/sys/kernel/pid_max', 'utf8')));
  assert.equal(readSysctlInteger('kernel.ostype'), null);
  assert.equal(readSysctl('net.core.no_such_setting'), null);
});

test('a dot stays in an interface’s name where slashes separate', () => {
  assert.equal(sysctlPath('net.ipv4.conf.all.forwarding'), '/proc/sys/net/ipv4/conf/all/forwarding');
  assert.equal(sysctlPath('net/ipv4/conf/eth0.100/forwarding'), '/proc/sys/net/ipv4/conf/eth0.100/forwarding');
});

for (const name of ['', 'net', '.net', 'net..core', 'net/../../etc', 'net/core/', 'net.core/x', '/etc/passwd']) {
  test(`${JSON.stringify(name)} is not the name of a setting`, () => {
    assert.throws(() => sysctlPath(name), TypeError);
  });
}

test('a setting is written; refusals say what to do', { skip: process.getuid?.() !== 0 && 'only root sets it' }, () => {
  // The same value again: nothing changes for anybody else.
  const value = readSysctl('net.ipv4.ip_local_port_range')!;
  writeSysctl('net.ipv4.ip_local_port_range', value);

  assert.equal(readSysctl('net.ipv4.ip_local_port_range'), value);
  assert.throws(() => writeSysctl('net.core.somaxconn', 'many'), {
    code: 'EINVAL',
    message: /refuses the value "many"/,
  });
  assert.throws(() => writeSysctl('net.core.no_such_setting', 1), { code: 'ENOENT', message: /no such setting/ });
  assert.throws(() => writeSysctl('kernel.osrelease', 1), { code: 'EACCES', message: /sysctl kernel\.osrelease/ });
});

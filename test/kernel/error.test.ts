/**
 * What a failed system call says: call, errno, object, remedy.
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { ERRNO, errnoName } from '../../src/kernel/errno.ts';
import { check, isRetry, KernelError } from '../../src/kernel/error.ts';

test('an error names the call, the object, the errno and the remedy', () => {
  const error = new KernelError('bind', -ERRNO.EADDRINUSE, { object: '127.0.0.1:80' });

  assert.match(error.message, /^bind 127\.0\.0\.1:80: EADDRINUSE; another socket holds the address/);
  assert.equal(error.syscall, 'bind');
  assert.equal(error.code, 'EADDRINUSE');
  assert.equal(error.errno, -ERRNO.EADDRINUSE);
  assert.equal(error.object, '127.0.0.1:80');
  assert.ok(error instanceof Error);
});

test('the sign of the errno does not matter', () => {
  assert.equal(new KernelError('read', ERRNO.EIO).message, new KernelError('read', -ERRNO.EIO).message);
  assert.equal(new KernelError('read', ERRNO.EIO).errno, -ERRNO.EIO);
});

test('advice for the call wins over advice for the errno, and the caller’s over both', () => {
  assert.match(new KernelError('socket', -ERRNO.EMFILE).remedy!, /ulimit -n/);
  assert.notEqual(
    new KernelError('bind', -ERRNO.EADDRNOTAVAIL).remedy,
    new KernelError('connect', -ERRNO.EADDRNOTAVAIL).remedy,
  );
  assert.equal(new KernelError('socket', -ERRNO.EMFILE, { remedy: 'wait' }).message, 'socket: EMFILE; wait');
});

test('without advice the message ends with the errno', () => {
  assert.equal(new KernelError('read', -ERRNO.EIO).message, 'read: EIO');
  assert.equal(new KernelError('read', -ERRNO.EIO).remedy, undefined);
});

test('the properties are those of Node’s own errors', async () => {
  const theirs = await new Promise<NodeJS.ErrnoException>((resolve) =>
    connect({ path: '/nowhere' }).on('error', resolve),
  );
  const ours = new KernelError('connect', -ERRNO.ENOENT, { address: '/nowhere' });

  for (const key of ['code', 'errno', 'syscall', 'address'] as const) {
    assert.equal(ours[key], (theirs as unknown as Record<string, unknown>)[key], key);
  }
});

test('the cause is kept', () => {
  const cause = new Error('before');
  assert.equal(new KernelError('read', -ERRNO.EIO, { cause }).cause, cause);
});

test('check lets results through and throws for a negative one', () => {
  assert.equal(check(0, 'read'), 0);
  assert.equal(check(7, 'read'), 7);
  assert.throws(() => check(-ERRNO.ENOENT, 'open', '/x'), { name: 'KernelError', message: 'open /x: ENOENT' });
});

test('only EAGAIN and EINTR ask for another try', () => {
  const retried = Object.values(ERRNO).filter((errno) => isRetry(-errno));
  assert.deepEqual(retried, [ERRNO.EINTR, ERRNO.EAGAIN]);
  assert.equal(isRetry(0), false);
  assert.equal(isRetry(ERRNO.EAGAIN), false);
});

test('every errno has its name back; one without a name gives its number', () => {
  for (const [name, errno] of Object.entries(ERRNO)) assert.equal(errnoName(-errno), name);
  assert.equal(errnoName(-4095), 'E4095');
});

/**
 * A process that probes io_uring and prints the result as JSON. With the name of an errno as argument, a seccomp filter first
 * refuses io_uring_setup with it.
 */
import { ERRNO, type ErrnoName } from '../../src/kernel/errno.ts';
import { probeUring } from '../../src/kernel/probe.ts';
import { descriptorCount } from '../../src/kernel/procfs.ts';
import { SYS } from '../../src/kernel/syscall.ts';
import { refuseSystemCall } from './seccomp.ts';

const [refusal] = process.argv.slice(2);
if (refusal !== undefined) refuseSystemCall(SYS.io_uring_setup, ERRNO[refusal as ErrnoName]);
const before = descriptorCount();
const { state, reason, remedy } = probeUring();
// Counted first: the first use of process.stdout opens descriptors of its own.
const leaked = descriptorCount() - before;
process.stdout.write(JSON.stringify({ state, reason, remedy, leaked }));

/**
 * Test support for the room `bpf`: whether this process may load programs, and places for what must not outlive a test: a bpffs, a
 * tracefs, a cgroup, network namespaces.
 *
 * A newcomer would get wrong: a mount made here is seen by the whole machine until it is taken away, so each has a directory of its own.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exit, moveImmediate } from '../../src/bpf/instructions.ts';
import { cgroupRoot } from '../../src/bpf/loader/links/cgroup.ts';
import { loadProgram } from '../../src/bpf/loader/program.ts';
import { KernelError } from '../../src/kernel/error.ts';

function findKernelSkip(): string | false {
  try {
    using _program = loadProgram({ type: 'socket_filter', instructions: [moveImmediate(0, 0), exit()] });
    return false;
  } catch (error) {
    if (error instanceof KernelError) return `this process may not load eBPF programs: ${error.message}`;
    throw error;
  }
}

/** Why nothing can be loaded here, or false. */
export const kernelSkip: string | false = findKernelSkip();

/** Runs a command and gives what it printed. @throws Error with what it said */
export function run(command: string, ...words: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, words, { encoding: 'utf8' });
  if (status === 0) return stdout;
  throw new Error(`${command} ${words.join(' ')}: ${error?.message ?? stderr}`);
}

/** A place that is taken away when it is disposed of. */
export interface Place extends Disposable {
  readonly path: string;
}

/** A file system of this type in a directory of its own. */
export function mounted(type: 'bpf' | 'tracefs'): Place {
  const path = mkdtempSync(join(tmpdir(), `millrace-${type}-`));
  try {
    run('mount', '-t', type, type, path);
  } catch (error) {
    rmdirSync(path);
    throw error;
  }
  return {
    path,
    [Symbol.dispose]: () => {
      run('umount', path);
      rmdirSync(path);
    },
  };
}

let count = 0;
/** A name that no other test process uses. */
export function uniqueName(prefix: string): string {
  count++;
  return `${prefix}${process.pid}x${count}`;
}

/** A cgroup of its own, removed with all processes moved out. */
export function cgroup(): Place {
  const path = join(cgroupRoot(), uniqueName('millrace'));
  mkdirSync(path);
  return { path, [Symbol.dispose]: () => rmdirSync(path) };
}

/**
 * What the C compiler of this machine makes of a name: constants and structure layouts as the kernel's and libc's headers have
 * them. A C program is generated that prints one line for each name, compiled and run.
 *
 * A newcomer would get wrong: `#ifdef` does not see enum constants, and linux/ and libc headers cannot be included together.
 * So each of the two sets is compiled by itself, and names that it does not know are found by the compiler's error lines and
 * left out of the next attempt.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A set of headers that can be included together. */
export interface HeaderSet {
  readonly name: string;
  readonly headers: readonly string[];
  /** C text after the headers. */
  readonly declarations?: string;
}

/** One question: a C expression with an integer value, under a name to report it by. */
export interface Question {
  readonly name: string;
  readonly expression: string;
}

export const libcHeaders: HeaderSet = {
  name: 'libc',
  headers: [
    'errno.h',
    'fcntl.h',
    'net/if.h',
    'netinet/in.h',
    'netinet/tcp.h',
    'netinet/udp.h',
    'poll.h',
    'sys/epoll.h',
    'sys/eventfd.h',
    'sys/ioctl.h',
    'sys/mman.h',
    'sys/prctl.h',
    'sys/resource.h',
    'sys/socket.h',
    'sys/stat.h',
    'sys/syscall.h',
    'sys/uio.h',
    'sys/un.h',
    'time.h',
  ],
};

export const kernelHeaders: HeaderSet = {
  name: 'kernel',
  headers: [
    // First, because linux/errqueue.h uses it without including it.
    'linux/time.h',
    'linux/bpf.h',
    'linux/errno.h',
    'linux/errqueue.h',
    'linux/eventpoll.h',
    'linux/fcntl.h',
    'linux/filter.h',
    'linux/fs.h',
    'linux/if_link.h',
    'linux/in.h',
    'linux/in6.h',
    'linux/io_uring.h',
    'linux/lwtunnel.h',
    'linux/memfd.h',
    'linux/mman.h',
    'linux/openat2.h',
    'linux/perf_event.h',
    'linux/pkt_cls.h',
    'linux/poll.h',
    'linux/prctl.h',
    'linux/resource.h',
    'linux/rtnetlink.h',
    'linux/seccomp.h',
    'linux/seg6_local.h',
    'linux/socket.h',
    'linux/sockios.h',
    'linux/stat.h',
    'linux/tcp.h',
    'linux/time_types.h',
    'linux/udp.h',
    'linux/uio.h',
    'linux/un.h',
    'asm/ioctls.h',
    'asm/socket.h',
    'asm/unistd.h',
  ],
};

/** gcc names all unknown names at once, clang 20 at a time. */
const ATTEMPTS_MAX = 32;

function program(set: HeaderSet, questions: readonly Question[]): string {
  return [
    '#define _GNU_SOURCE',
    '#include <stddef.h>',
    '#include <stdint.h>',
    '#include <stdio.h>',
    ...set.headers.map((header) => `#include <${header}>`),
    set.declarations ?? '',
    'int main(void) {',
    '#line 1 "questions"',
    ...questions.map(({ expression }, index) => `printf("${index} %lld\\n", (long long)(${expression}));`),
    'return 0;',
    '}',
    '',
  ].join('\n');
}

/** Answers by the question's name; a name that these headers do not have is missing. */
export function askCompiler(set: HeaderSet, questions: readonly Question[]): Map<string, number> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-headers-'));
  try {
    let known = questions;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const source = join(directory, 'questions.c');
      const binary = join(directory, 'questions');
      writeFileSync(source, program(set, known));
      const compiled = spawnSync('cc', ['-w', '-o', binary, source], {
        encoding: 'utf8',
        env: { ...process.env, LC_ALL: 'C' },
      });
      if (compiled.error !== undefined) throw new Error('cc is needed (apt install gcc)', { cause: compiled.error });
      if (compiled.status === 0) return readAnswers(binary, known);
      const lines = [...compiled.stderr.matchAll(/^questions:(\d+):(?:\d+:)? error:/gm)];
      const unknown = new Set(lines.map(([, line]) => Number(line) - 1));
      if (unknown.size === 0) throw new Error(`the ${set.name} headers do not compile:\n${compiled.stderr}`);
      known = known.filter((_, index) => !unknown.has(index));
    }
    throw new Error(`the ${set.name} headers were not settled after ${ATTEMPTS_MAX} attempts`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function readAnswers(binary: string, questions: readonly Question[]): Map<string, number> {
  const { stdout, status } = spawnSync(binary, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`the generated program ended with ${status}`);
  const answers = new Map<string, number>();
  for (const line of stdout.trimEnd().split('\n').filter(Boolean)) {
    const [index, value] = line.split(' ').map(Number);
    answers.set(questions[index].name, value);
  }
  return answers;
}

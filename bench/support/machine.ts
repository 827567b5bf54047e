/**
 * What the figures were taken on: kernel, processor, versions of everything that took part. No names of hosts or folders, so
 * that results can be published as they are.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { benchFolder } from './session.ts';

export interface Machine {
  readonly kernel: string;
  readonly processor: string;
  readonly cores: number;
  readonly memoryGB: number;
  readonly congestionControl: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** The path of a program: what the environment variable of its name says, else the search path's, else null. */
export function findProgram(name: string): string | null {
  const named = process.env[name.toUpperCase()];
  const local = resolve(benchFolder, '../node_modules/.bin');
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin', local];
  for (const candidate of named !== undefined ? [resolve(named)] : folders.map((folder) => join(folder, name))) {
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      // Not here; the next folder may have it.
    }
  }
  return null;
}

/** The first version number that a program prints when it is asked; some print it as a complaint. */
function versionOf(program: string, option: string): string {
  const path = findProgram(program);
  if (path === null) return 'absent';
  const { stdout, stderr } = spawnSync(path, [option], { encoding: 'utf8' });
  return `${stdout}${stderr}`.match(/\d+(\.\d+)+[\w.+-]*/)?.[0] ?? 'unknown';
}

export function describeMachine(): Machine {
  return {
    kernel: release(),
    processor: cpus()[0].model.trim(),
    cores: cpus().length,
    memoryGB: Math.round(totalmem() / 2 ** 30),
    congestionControl: readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'latin1').trim(),
    versions: {
      node: process.versions.node,
      nginx: versionOf('nginx', '-v'),
      haproxy: versionOf('haproxy', '-v'),
      bun: versionOf('bun', '--version'),
      wrk: versionOf('wrk', '-v'),
      cc: versionOf('cc', '--version'),
      clang: versionOf('clang', '--version'),
    },
  };
}

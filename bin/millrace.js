#!/usr/bin/env node
// The entry of the command line. It keeps to what old Nodes know too, so that they get a sentence instead of a syntax error.
import { existsSync } from 'node:fs';
import module from 'node:module';

const major = Number(process.versions.node.split('.')[0]);

function run() {
  const source = new URL('../src/cli/main.ts', import.meta.url);
  const built = new URL('../dist/cli/main.js', import.meta.url);
  return import(existsSync(source) ? source.href : built.href).then(({ main }) => main(process.argv.slice(2)));
}

/**
 * V8 compiles a function when it is first called, and what it compiles then comes too late for the cache. A command that runs much code
 * once is better off with all of it compiled, and cached, at once. Code that V8 cached with other flags is refused, Node's own modules
 * included, so those that are needed are loaded before.
 */
function compileAtOnce() {
  for (const name of ['child_process', 'events', 'fs', 'os', 'path', 'perf_hooks', 'process', 'url', 'util'])
    process.getBuiltinModule(`node:${name}`);
  process.getBuiltinModule('node:v8').setFlagsFromString('--no-lazy');
}

if (major >= 24) {
  if (['bpf', 'trace'].includes(process.argv[2])) compileAtOnce();
  // Compiled code is kept in the temporary folder (NODE_COMPILE_CACHE names another place): a command then starts in half the time.
  module.enableCompileCache();
  run();
} else {
  process.stderr.write(
    `millrace needs Node 24 or newer; this is Node ${process.versions.node} (${process.execPath})\n`,
  );
  process.exitCode = 1;
}

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

if (major >= 24) {
  // Compiled code is kept in the temporary folder (NODE_COMPILE_CACHE names another place): a command then starts in half the time.
  module.enableCompileCache();
  run();
} else {
  process.stderr.write(
    `millrace needs Node 24 or newer; this is Node ${process.versions.node} (${process.execPath})\n`,
  );
  process.exitCode = 1;
}

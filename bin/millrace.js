#!/usr/bin/env node
// The entry of the command line. It runs on any Node so that an old one gets a sentence instead of a syntax error.
const major = Number(process.versions.node.split('.')[0]);
if (major < 24) {
  process.stderr.write(
    `millrace needs Node 24 or newer; this is Node ${process.versions.node} (${process.execPath})\n`,
  );
  process.exit(1);
}
const { existsSync } = await import('node:fs');
const source = new URL('../src/cli/main.ts', import.meta.url);
const { main } = await import(existsSync(source) ? source.href : new URL('../dist/cli/main.js', import.meta.url).href);
await main(process.argv.slice(2));

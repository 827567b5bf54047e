// Runs the tests: `npm test` all of them, `npm test -- test/net` those below a folder or of one file.
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const collect = (path) =>
  statSync(path).isDirectory()
    ? readdirSync(path).flatMap((name) => collect(join(path, name)))
    : path.endsWith('.test.ts')
      ? [path]
      : [];

const roots = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
const flags = process.argv.slice(2).filter((argument) => argument.startsWith('-'));
const files = (roots.length > 0 ? roots : ['test', 'src']).flatMap(collect).sort();
if (files.length === 0) {
  process.stderr.write('millrace: no test file found\n');
  process.exit(1);
}
const result = spawnSync(
  process.execPath,
  ['--expose-gc', '--test', '--test-timeout=120000', '--test-concurrency=2', ...flags, ...files],
  {
    stdio: 'inherit',
  },
);
process.exit(result.status ?? 1);

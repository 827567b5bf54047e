// Runs the tests: `npm test` all but those that need other programs (`npm run peers`), `npm test -- test/net` those below a
// folder or of one file.
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
const files = (roots.length > 0 ? roots : ['test'])
  .flatMap(collect)
  .filter((file) => roots.length > 0 || !file.startsWith('test/peers/'))
  .sort();
if (files.length === 0) {
  process.stderr.write('millrace: no test file found\n');
  process.exit(1);
}
// A name with `.exclusive.` marks tests that change a setting of the whole host: they run after the others, alone.
const isExclusive = (file) => file.includes('.exclusive.');
const run = (some, concurrency) =>
  some.length === 0
    ? 0
    : (spawnSync(
        process.execPath,
        ['--expose-gc', '--test', '--test-timeout=120000', `--test-concurrency=${concurrency}`, ...flags, ...some],
        { stdio: 'inherit' },
      ).status ?? 1);
const together = run(
  files.filter((file) => !isExclusive(file)),
  2,
);
const alone = run(files.filter(isExclusive), 1);
process.exit(together || alone);

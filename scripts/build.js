// Emits dist/ from src/ (JavaScript, declarations, source maps). Run by npm's `prepare`, so a checkout has it after `npm ci`.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, rmSync, symlinkSync } from 'node:fs';

rmSync('dist', { recursive: true, force: true });
const result = spawnSync('tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' });
if (result.status !== 0) process.exit(result.status ?? 1);
for (const assets of ['gateway/demonstration']) {
  if (existsSync(`src/${assets}`)) cpSync(`src/${assets}`, `dist/${assets}`, { recursive: true });
}
// `npx millrace` looks in node_modules/.bin, where npm links the commands of dependencies but not a checkout's own.
if (existsSync('node_modules/.bin')) {
  rmSync('node_modules/.bin/millrace', { force: true });
  symlinkSync('../../bin/millrace.js', 'node_modules/.bin/millrace');
}

// Emits dist/ from src/ (JavaScript, declarations, source maps). Run by npm's `prepare`, so a checkout has it after `npm ci`.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { bundle } from './bundle.js';

rmSync('dist', { recursive: true, force: true });
const result = spawnSync('tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' });
if (result.status !== 0) process.exit(result.status ?? 1);
for (const assets of ['gateway/demonstration']) {
  if (existsSync(`src/${assets}`)) cpSync(`src/${assets}`, `dist/${assets}`, { recursive: true });
}
await bundle();

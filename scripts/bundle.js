// Joins the compiled modules of dist/bpf into few files, because loading 200 of them takes longer than compiling a small program.
//
// What other rooms, or the package's `exports`, import by its path stays where it is (its declarations, too); what only these import moves
// into dist/bpf/chunks. Everything outside of dist/bpf is left alone.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { rolldown } from 'rolldown';

const dist = resolve('dist');
const room = join(dist, 'bpf');

const filesBelow = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

/** Modules of the room that are named from outside of it. */
function findEntries() {
  const entries = new Set(['index.js', 'assembly.js'].map((name) => join(room, name)));
  for (const file of filesBelow(dist)) {
    if (!file.endsWith('.js') || file.startsWith(room)) continue;
    for (const [, specifier] of readFileSync(file, 'utf8').matchAll(/(?:from|import\()\s*['"](\.[^'"]+\.js)['"]/g)) {
      const target = resolve(dirname(file), specifier);
      if (target.startsWith(`${room}/`)) entries.add(target);
    }
  }
  return entries;
}

const ELSEWHERE = 'dist:';

/** Leaves other rooms and packages where they are. A module of another room gets a name that `placed` turns into a path. */
function resolveId(specifier, importer) {
  if (importer === undefined) return null;
  if (!specifier.startsWith('.')) return { id: specifier, external: true };
  const target = resolve(dirname(importer), specifier);
  return target.startsWith(`${room}/`) ? null : { id: `${ELSEWHERE}${relative(dist, target)}`, external: true };
}

/** The text of a chunk, with the paths of other rooms' modules as they are from there. */
function placed(code, file) {
  return code.replaceAll(/(["'])dist:([^"']+)\1/g, (_, quote, path) => {
    const from = relative(dirname(file), join(dist, path));
    return `${quote}${from.startsWith('.') ? from : `./${from}`}${quote}`;
  });
}

export async function bundle() {
  const before = filesBelow(room).filter((file) => /\.js(?:\.map)?$/.test(file));
  const entries = findEntries();
  const bundled = await rolldown({
    input: Object.fromEntries([...entries].map((file) => [relative(dist, file).replace(/\.js$/, ''), file])),
    platform: 'node',
    plugins: [{ name: 'other-rooms', resolveId }],
  });
  const { output } = await bundled.generate({
    format: 'esm',
    dir: dist,
    sourcemap: true,
    entryFileNames: '[name].js',
    chunkFileNames: 'bpf/chunks/[name]-[hash].js',
  });
  await bundled.close();
  for (const file of before) rmSync(file);
  for (const part of output) {
    const file = join(dist, part.fileName);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, part.type === 'chunk' ? placed(part.code, file) : part.source);
  }
}

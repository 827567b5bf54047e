// Joins the compiled modules of the rooms that short commands run, and the two packages that only these use, into few files: loading
// 250 of them takes longer than compiling a small program.
//
// What other rooms, or the package's `exports`, import by its path stays where it is (its declarations, too); what only these import moves
// into dist/chunks. Everything outside of the rooms is left alone.
//
// A newcomer would get wrong: Node's own modules are taken by process.getBuiltinModule. An import of one reads every property of it, and
// some are getters that load much: `promises` of node:fs the web's streams, those of node:process the standard streams.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { rolldown } from 'rolldown';

const ROOMS = ['bpf', 'cli', 'observe'];
const PACKAGES = ['@babel/parser', 'commander'];
const ENTRIES = ['bpf/index.js', 'bpf/assembly.js', 'cli/main.js'];

const dist = resolve('dist');
const packages = resolve('node_modules');

const filesBelow = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

const isJoined = (file) => ROOMS.some((room) => file.startsWith(`${join(dist, room)}/`));

/** Modules of the rooms that are named from outside of them. */
function findEntries() {
  const entries = new Set(ENTRIES.map((name) => join(dist, name)));
  for (const file of filesBelow(dist)) {
    if (!file.endsWith('.js') || isJoined(file)) continue;
    for (const [, specifier] of readFileSync(file, 'utf8').matchAll(/(?:from|import\()\s*['"](\.[^'"]+\.js)['"]/g)) {
      const target = resolve(dirname(file), specifier);
      if (isJoined(target)) entries.add(target);
    }
  }
  return entries;
}

const ELSEWHERE = 'dist:';

/** Leaves other rooms and packages where they are. A module of another room gets a name that `placed` turns into a path. */
function resolveId(specifier, importer) {
  if (importer === undefined || PACKAGES.includes(specifier)) return null;
  if (!specifier.startsWith('.')) return { id: specifier, external: true };
  const target = resolve(dirname(importer), specifier);
  if (isJoined(target) || target.startsWith(packages)) return null;
  return { id: `${ELSEWHERE}${relative(dist, target)}`, external: true };
}

/** One import of a module of Node's as declarations, on one line as it was. */
function taken(what, name) {
  // A package may have a `process` of its own.
  const found = `globalThis.process.getBuiltinModule("${name}")`;
  const [, whole, names] = /^(?:\* as )?([\w$]+)?,?\s*(\{.*\})?$/.exec(what);
  const declarations = [];
  if (whole !== undefined) declarations.push(`const ${whole} = ${found};`);
  if (names !== undefined) declarations.push(`const ${names.replaceAll(' as ', ': ')} = ${found};`);
  return declarations.join(' ');
}

/** The text of a chunk, with the paths of other rooms' modules as they are from there. */
function placed(code, file) {
  return code
    .replaceAll(/(["'])dist:([^"']+)\1/g, (_, quote, path) => {
      const from = relative(dirname(file), join(dist, path));
      return `${quote}${from.startsWith('.') ? from : `./${from}`}${quote}`;
    })
    .replaceAll(/^import (.+) from ["'](node:[\w/]+)["'];$/gm, (_, what, name) => taken(what, name));
}

/** What the licences of the joined packages ask for. */
function licences() {
  const texts = PACKAGES.map((name) => {
    const folder = join(packages, name);
    const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    return `${name} ${version} (${license})\n\n${readFileSync(join(folder, 'LICENSE'), 'utf8').trim()}\n`;
  });
  return `These files contain code of the following packages.\n\n${texts.join('\n')}`;
}

export async function bundle() {
  const before = filesBelow(dist).filter((file) => isJoined(file) && /\.js(?:\.map)?$/.test(file));
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
    chunkFileNames: 'chunks/[name]-[hash].js',
  });
  await bundled.close();
  for (const file of before) rmSync(file);
  for (const part of output) {
    const file = join(dist, part.fileName);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, part.type === 'chunk' ? placed(part.code, file) : part.source);
  }
  writeFileSync(join(dist, 'chunks', 'LICENSES.txt'), licences());
}

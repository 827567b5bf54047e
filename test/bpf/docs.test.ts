/**
 * What the documents about eBPF show is so: programs compile and the verifier takes them, what is said to be refused is refused with these
 * words, expressions give what the table says, commands print what stands below them, and every name of the library is told of.
 *
 * A newcomer would get wrong: numbers of instructions, bytes and milliseconds change with the compiler and are not compared.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { compileText } from '../../src/bpf/compiler/compile.ts';
import { catalogue } from '../../src/bpf/library/catalogue.ts';
import { loadObject } from '../../src/bpf/loader/collection.ts';
import { instantiate } from '../../src/bpf/vm/object.ts';
import { moduleOf } from '../support/bpf-compiler.ts';
import {
  type Block,
  blocksOf,
  commandsOf,
  type Folder,
  folderWith,
  foundRefusals,
  isProgram,
  rowsBelow,
  statedRefusals,
} from '../support/bpf-documents.ts';
import { kernelSkip } from '../support/bpf-kernel.ts';

const REFERENCE = 'docs/reference/bpf-language.md';
const GUIDE = 'docs/guides/bpf.md';
const project = fileURLToPath(new URL('../../', import.meta.url));

// The guide comes last: its files are those that commands are run on.
const blocks = ['README.md', REFERENCE, GUIDE].flatMap(blocksOf);
/** Refused by the verifier, which is what the guide shows with it. */
const refused = (block: Block): boolean => block.file === 'unbounded.bpf.ts';

for (const block of blocks.filter(isProgram)) {
  const stated = statedRefusals(block.text);
  const place = `${block.page}:${block.line}`;
  if (stated.length > 0) {
    test(`${place} is refused as it says`, () => assert.deepEqual(foundRefusals(block), stated));
    continue;
  }
  test(`${place} compiles`, () => assert.deepEqual(foundRefusals(block), []));
  test(`${place} ${refused(block) ? 'is refused by the verifier' : 'is loaded'}`, { skip: kernelSkip }, () => {
    const load = (): void => loadObject(compileText(block.text))[Symbol.dispose]();
    if (refused(block)) assert.throws(load, /“queue” is used as a place or a length/);
    else load();
  });
}

const expressions = rowsBelow(REFERENCE, 'What some expressions give');

test('the table of expressions is there', () => assert.ok(expressions.length >= 20, `${expressions.length} rows`));

/** A module that leaves an expression's value in `folded`, the same of numbers that no compiler knows in `computed`, and its type. */
function moduleFor(expression: string): string {
  const variables: string[] = [];
  const unknown = expression.replace(/\b([ui](?:8|16|32|64))\((-?\d+)\)/g, (_, type: string, number: string) => {
    const literal = type.endsWith('64') ? `${number}n` : number;
    const index = variables.push(`export const v${variables.length} = global(${type}, ${literal});`) - 1;
    return `v${index}.value`;
  });
  return moduleOf(`${variables.join('\n')}
    export const folded = global(u64);
    export const computed = global(u64);
    export const isWide = global(boolean);
    export const isSigned = global(boolean);
    export const main = syscall(() => {
      const one = ${expression};
      const other = ${unknown};
      folded.value = u64(one);
      computed.value = u64(other);
      const below = other * 0 - 1;
      isSigned.value = below < 0;
      isWide.value = u64(below >>> 1) > 0xffffffffn;
      return 0;
    });`);
}

for (const [expression, type, value] of expressions) {
  test(`${expression} is ${value}, of type ${type}`, () => {
    const { programs, variables } = instantiate(compileText(moduleFor(expression)));
    programs.main.run({ memory: new Uint8Array(8) });
    const wanted = BigInt.asUintN(64, BigInt(value));
    assert.equal(variables.folded.value, wanted);
    assert.equal(variables.computed.value, wanted);
    // A boolean takes part in arithmetic as an i32.
    const isSigned = variables.isSigned.value;
    assert.equal(type.replace('boolean', 'i32'), `${isSigned ? 'i' : 'u'}${variables.isWide.value ? 64 : 32}`);
  });
}

test('the reference names every map, every program and everything that the compiler gives meaning to', () => {
  const text = readFileSync(join(project, REFERENCE), 'utf8');
  const missing = [...catalogue.values()]
    .filter(({ kind }) => kind === 'map' || kind === 'program' || kind === 'intrinsic')
    .filter(({ name }) => !new RegExp(`\\b${name}\\b`).test(text));
  assert.deepEqual(
    missing.map(({ name }) => name),
    [],
  );
});

test('the table of writable fields says what the compiler allows', () => {
  const stated = new Map<string, string>();
  for (const [constructors, fields] of rowsBelow(REFERENCE, 'Fields of contexts that programs may write')) {
    for (const name of constructors.replace('those with ', '').split(' ')) stated.set(name, fields);
  }
  for (const definition of catalogue.values()) {
    if (definition.kind !== 'program' || definition.context.kind !== 'struct') continue;
    const { struct, writable } = definition.context.struct;
    assert.equal(stated.get(definition.name) ?? stated.get(struct.name) ?? '', writable.join(' '), definition.name);
  }
});

let folder: Folder;

before(() => {
  folder = folderWith(blocks);
});
after(() => folder[Symbol.dispose]());

function runIn(words: readonly string[]): { readonly output: string; readonly status: number | null } {
  // Else node --test takes itself for a part of this run.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout, stderr, status } = spawnSync(process.execPath, words, { cwd: folder.path, env, encoding: 'utf8' });
  return { output: `${stdout}${stderr}`, status };
}

/** What changes with each version of the compiler and each run. */
const steady = (text: string): string =>
  text.replaceAll(/\d+(?:\.\d+)?(?= (?:ms|bytes|instructions?|are loaded)\b)/g, 'N').trimEnd();

for (const { command, output, place } of blocks.flatMap(commandsOf)) {
  const isPrivileged = command[0] === 'sudo';
  test(`${place} ${command.join(' ')}`, { skip: isPrivileged && kernelSkip }, () => {
    const words = command.slice(isPrivileged ? 2 : 1);
    const printed = steady(runIn([join(project, 'bin/millrace.js'), ...words]).output);
    const [begin, end] = steady(output).split('\n…');
    assert.equal(printed.slice(0, begin.length), begin);
    if (end === undefined) assert.equal(printed, begin);
    else assert.equal(printed.slice(printed.length - end.length), end);
  });
}

const built = existsSync(join(project, 'dist/bpf/index.js')) ? false : 'npm run build was not run';

test('the guide’s unit test passes', { skip: built }, () => {
  const { output, status } = runIn(['--test', '--test-reporter=tap', 'drop.test.ts']);
  assert.equal(status, 0, output);
  assert.match(output, /^# pass 2$/m);
});

/** Types are those of the sources, whether or not they were built. */
const settings = {
  extends: join(project, 'tsconfig.json'),
  compilerOptions: {
    paths: { 'millrace/bpf': [join(project, 'src/bpf/index.ts')] },
    typeRoots: [join(project, 'node_modules/@types')],
    noUnusedLocals: false,
  },
  include: ['*.ts'],
};

test('what the pages show type-checks with a stock tsc', () => {
  const place = mkdtempSync(join(tmpdir(), 'millrace-pages-'));
  try {
    for (const block of blocks.filter((one) => one.file !== null || isProgram(one))) {
      if (statedRefusals(block.text).length > 0 || block.language !== 'ts') continue;
      writeFileSync(join(place, block.file ?? `line${block.line}.bpf.ts`), block.text);
    }
    writeFileSync(join(place, 'tsconfig.json'), JSON.stringify(settings));
    const tsc = spawnSync(join(project, 'node_modules/.bin/tsc'), ['-p', '.'], { cwd: place, encoding: 'utf8' });
    const own = tsc.stdout.split('\n').filter((line) => /^[\w.-]+\.ts\(/.test(line));
    assert.deepEqual(own, [], tsc.stderr);
  } finally {
    rmSync(place, { recursive: true });
  }
});

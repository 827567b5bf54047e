/**
 * Modules of programs that import each other, declarations of all kinds, and programs of every kind.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { checkFunction } from '../../../src/bpf/compiler/check.ts';
import { CompileErrors } from '../../../src/bpf/compiler/diagnostics.ts';
import { type FrontResult, lowerModule } from '../../../src/bpf/compiler/front/index.ts';
import type { IrFunction } from '../../../src/bpf/compiler/ir.ts';
import { catalogue } from '../../../src/bpf/library/catalogue.ts';
import type { ProgramDefinition } from '../../../src/bpf/library/definitions.ts';

/** Lowers the module `main.bpf.ts` of these files. */
function lower(files: Readonly<Record<string, string>>): FrontResult {
  return lowerModule('main.bpf.ts', (path) => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error(`no such file: ${path}`), { code: 'ENOENT' });
    return text;
  });
}

function refusalsOf(files: Readonly<Record<string, string>>): string[] {
  try {
    lower(files);
    return [];
  } catch (error) {
    if (!(error instanceof CompileErrors)) throw error;
    return error.errors.map(({ file, line, column, message }) => `${file}:${line}:${column} ${message}`);
  }
}

/** The constant that a function returns everywhere, or null. */
function constantResult(one: IrFunction): bigint | null {
  const results = one.blocks.map(({ terminator }) => (terminator?.kind === 'return' ? terminator.value : null));
  const [value, ...rest] = results.filter((result) => result !== null);
  return rest.length === 0 && value?.kind === 'constant' ? value.value : null;
}

test('modules share constants, structs, maps, functions and types', () => {
  const front = lower({
    'shared.bpf.ts': `
      import { hash, struct, u32, u64, type Value } from 'millrace/bpf';
      export const LIMIT = 4;
      export enum Verdict { Drop = 1, Pass }
      export const Flow = struct({ n: u32 });
      export type Flow = Value<typeof Flow>;
      export const flows = hash({ key: u32, value: Flow, maxEntries: LIMIT * 2 });
      export function verdictOf(flow: Flow): number { return flow.n > LIMIT ? Verdict.Drop : Verdict.Pass; }
      export const unused = hash({ key: u32, value: u64, maxEntries: 1 });`,
    'again.bpf.ts': `export { flows as table, LIMIT } from './shared.bpf.ts';\nexport * from './shared.bpf.ts';`,
    'main.bpf.ts': `
      import { xdp, XDP_DROP } from 'millrace/bpf';
      import { LIMIT, table, verdictOf, type Flow } from './again.bpf.ts';
      import * as shared from './shared.bpf.ts';
      export const main = xdp((context) => {
        const found = table.lookup(LIMIT);
        if (found === null) return shared.Verdict.Pass;
        return verdictOf(found);
      });`,
  });
  assert.deepEqual(
    front.maps.map(({ name, maxEntries }) => [name, maxEntries]),
    [['flows', 8]],
  );
  assert.deepEqual(
    front.programs.map(({ name, kind }) => [name, kind.type, kind.section]),
    [['main', 'xdp', 'xdp']],
  );
  assert.deepEqual(
    front.module.files.map(({ path }) => path),
    ['main.bpf.ts', 'again.bpf.ts', 'shared.bpf.ts'],
  );
  for (const one of front.module.functions) assert.deepEqual(checkFunction(one), []);
});

test('modules may import each other', () => {
  const front = lower({
    'main.bpf.ts': `
      import { xdp } from 'millrace/bpf';
      import { twice } from './other.bpf.ts';
      export const ONE = 1;
      export const main = xdp(() => twice());`,
    'other.bpf.ts': "import { ONE } from './main.bpf.ts';\nexport function twice(): number { return ONE * 2; }",
  });
  assert.equal(constantResult(front.module.functions[0]), 2n);
});

test('what is wrong in another module is reported there', () => {
  const files = {
    'main.bpf.ts': [
      "import { xdp } from 'millrace/bpf';",
      "import { f, g } from './other.bpf.ts';",
      "import { h } from './gone.bpf.ts';",
      'export const main = xdp(() => f());',
    ].join('\n'),
    'other.bpf.ts': 'export function f(): number {\n  return 1.5;\n}',
  };
  assert.deepEqual(refusalsOf(files), [
    'main.bpf.ts:3:19 ./gone.bpf.ts cannot be read: no such file: gone.bpf.ts',
    'main.bpf.ts:2:13 other.bpf.ts exports no g',
    'other.bpf.ts:2:10 fractions are not supported in the kernel',
  ]);
});

test('constants are folded with the rules of literals', () => {
  const folded = (expression: string): bigint | null =>
    constantResult(
      lower({
        'main.bpf.ts': `import { socketFilter, u8, u32, i8, array, struct, Ethernet } from 'millrace/bpf';
          const A = 3;
          const Table = { low: 2, high: A * 10 } as const;
          enum Colour { Red, Green = A + 4, Blue }
          const typed: u8 = 300;
          export const main = socketFilter(() => ${expression});`,
      }).module.functions[0],
    );
  assert.equal(folded('A * 2 + (1 << 4)'), 22n);
  assert.equal(folded('Table.high - Table.low'), 28n);
  assert.equal(folded('Colour.Blue'), 8n);
  assert.equal(folded('typed'), 44n);
  assert.equal(folded('Ethernet.size'), 14n);
  assert.equal(folded('u8(0x1ff) + i8(255)'), 254n);
  assert.equal(folded('A === 3 && Table.low !== 2 ? 5 : ~A'), -4n);
  assert.equal(folded('7 / 2 + 7 % 4 + (-7 >> 1)'), 2n);
  assert.equal(folded('(0xff & 0x0f) | 0x30 ^ 0x10'), 0x2fn);
});

test('data sections hold globals by their initial values', () => {
  const front = lower({
    'main.bpf.ts': `
      import { array, be16, bits, global, readOnly, struct, u8, u16, u32, u64, xdp } from 'millrace/bpf';
      const Flow = struct({ port: be16, low: bits(u8, 4), high: bits(u8, 4), list: array(u16, 2) });
      export const zero = global(u64);
      export const one = global(u32, 0x01020304);
      export const flow = readOnly(Flow, { port: 0x1234, low: 5, high: 6, list: [7, 0x0809] });
      export const text = readOnly(array(u8, 4), 'ab');
      export const main = xdp(() => 1);`,
  });
  const sections = Object.fromEntries(front.data.map((section) => [section.name, section]));
  assert.deepEqual(Object.keys(sections), ['.bss', '.data', '.rodata']);
  assert.deepEqual([...sections['.data'].bytes], [4, 3, 2, 1, 0, 0, 0, 0]);
  const flow = [0x12, 0x34, 0x65, 0, 7, 0, 9, 8];
  assert.deepEqual([...sections['.rodata'].bytes], [...flow, 97, 98, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual(
    sections['.rodata'].variables.map(({ name, offset, bytes }) => [name, offset, bytes]),
    [
      ['flow', 0, 8],
      ['text', 8, 4],
    ],
  );
});

test('the licence is the module’s', () => {
  const text = "import { license, xdp } from 'millrace/bpf';\nlicense('GPL');\nexport const main = xdp(() => 1);";
  assert.equal(lower({ 'main.bpf.ts': text }).license, 'GPL');
});

test('two lowerings of one source give the same', () => {
  const text = `
    import { bpf_loop, hash, local, struct, subprogram, u32, xdp } from 'millrace/bpf';
    const State = struct({ n: u32 });
    const f = subprogram((n: u32): u32 => n + 1);
    export const entries = hash({ key: u32, value: State, maxEntries: 8 });
    export const main = xdp((context) => {
      const state = local(State);
      bpf_loop(4, (index, given) => { given.n += f(index); return 0; }, state);
      return state.n > 9 ? 1 : 2;
    });`;
  const shown = (): string =>
    JSON.stringify(lower({ 'main.bpf.ts': text }), (key, value: unknown) => {
      if (typeof value === 'bigint') return String(value);
      return key === 'predecessors' || key === 'block' || key === 'target' || key === 'whenTrue' || key === 'whenFalse'
        ? undefined
        : value;
    });
  assert.equal(shown(), shown());
});

/** A body that looks at a field of each kind in the context. */
function bodyFor({ context, verdicts, target }: ProgramDefinition): string {
  const result = verdicts?.[0] ?? 0;
  const hook = target === null ? '' : "'category/name', ";
  if (context.kind !== 'struct') {
    const parameter =
      context.kind === 'raw' || context.kind === 'tracepoint' || context.kind === 'iterator' ? '' : 'first: u64';
    return `${hook}(${parameter}) => ${result}`;
  }
  const { struct, pointers } = context.struct;
  const numbers = struct.fields.filter(({ name, type }) => type.kind === 'integer' && pointers[name] === undefined);
  const tests = numbers.map(
    ({ name, type }) =>
      `if (context.${name} === ${type.kind === 'integer' && type.bytes === 8 ? '5n' : '5'}) return ${result};`,
  );
  return `${hook}(context) => { ${tests.join(' ')} return ${result}; }`;
}

for (const definition of catalogue.values()) {
  if (definition.kind !== 'program' || definition.context.kind === 'structOps') continue;
  test(`${definition.name} programs read their context`, () => {
    const { name } = definition;
    const text = `import { ${name}, u64 } from 'millrace/bpf';\nexport const main = ${name}(${bodyFor(definition)});`;
    const { module, programs } = lower({ 'main.bpf.ts': text });
    assert.deepEqual(
      module.functions.flatMap((one) => checkFunction(one)),
      [],
    );
    assert.equal(programs[0].kind.type, definition.type);
    const section = definition.section.replace('{target}', 'category/name');
    assert.equal(programs[0].kind.section, section);
  });
}

test('programs and maps that export * brings are part of the object', () => {
  const { programs, maps } = lower({
    'main.bpf.ts': "export * from './one.bpf.ts';\nexport * from './other.bpf.ts';",
    'one.bpf.ts':
      "import { xdp } from 'millrace/bpf';\nexport * from './other.bpf.ts';\nexport const one = xdp(() => 2);",
    'other.bpf.ts':
      "import { hash, u32, xdp } from 'millrace/bpf';\nexport * from './main.bpf.ts';\nexport type Key = u32;\n" +
      'export const seen = hash({ key: u32, value: u32, maxEntries: 1 });\n' +
      'export const other = xdp(() => (seen.lookup(1) === null ? 1 : 2));',
  });
  assert.deepEqual(programs.map(({ name }) => name).sort(), ['one', 'other']);
  assert.deepEqual(
    maps.map(({ name }) => name),
    ['seen'],
  );
});

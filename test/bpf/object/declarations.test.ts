/**
 * Declarations of kernel types: what they look like, that TypeScript takes them, and that a program compiled with them is relocated.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { compile } from '../../../src/bpf/compiler/compile.ts';
import { KERNEL_BTF_PATH, kernelBtf } from '../../../src/bpf/object/btf/kernel.ts';
import type { BtfType } from '../../../src/bpf/object/btf/records.ts';
import { RecordWriter } from '../../../src/bpf/object/btf/records-writer.ts';
import type { Btf } from '../../../src/bpf/object/btf/table.ts';
import { relocateCore } from '../../../src/bpf/object/core.ts';
import { declarationsOf, UnknownTypeError } from '../../../src/bpf/object/declarations.ts';
import { link } from '../../../src/bpf/object/link.ts';
import { inFolder } from '../../support/bpf-objects.ts';

const noKernelBtf = existsSync(KERNEL_BTF_PATH) ? false : `no ${KERNEL_BTF_PATH}`;
const project = fileURLToPath(new URL('../../../', import.meta.url));

function table(...types: readonly BtfType[]): Btf {
  const writer = new RecordWriter();
  for (const type of types) writer.add(type);
  return writer.finish();
}

const member = (name: string, type: number, offsetBits: number, bits = 0) => ({ name, type, offsetBits, bits });
const unsigned: BtfType = {
  kind: 'int',
  name: 'unsigned int',
  bytes: 4,
  bits: 32,
  offsetBits: 0,
  signed: false,
  character: false,
  boolean: false,
};

const small = table(
  unsigned, // 1
  { kind: 'ptr', name: '', type: 3 }, // 2
  {
    kind: 'struct',
    name: 'node',
    bytes: 32,
    members: [member('next', 2, 0), member('', 4, 64), member('owner', 6, 128), member('flags', 1, 192, 3)],
  }, // 3
  { kind: 'union', name: '', bytes: 8, members: [member('key', 1, 0), member('list', 7, 0)] }, // 4
  { kind: 'fwd', name: 'owner', union: false }, // 5
  { kind: 'ptr', name: '', type: 8 }, // 6
  { kind: 'array', name: '', element: 1, index: 1, length: 2 }, // 7
  { kind: 'struct', name: 'owner', bytes: 4, members: [member('id', 1, 0)] }, // 8
  {
    kind: 'enum64',
    name: 'level',
    bytes: 8,
    signed: true,
    values: [
      { name: 'LOW', value: -1n },
      { name: 'TOP', value: 1n << 40n },
    ],
  }, // 9
  { kind: 'typedef', name: 'count_t', type: 1 }, // 10
);

test('a struct has its fields, those of anonymous members, and opaque structs that it points to', () => {
  assert.equal(
    declarationsOf(['node'], small),
    `import { type Elements, type Kernel, type StructLayout, type Value, array, bits, kernelStruct, pointer, u32 } from 'millrace/bpf';

/** Only pointed to here. For its fields: millrace bpf types owner */
export const owner = kernelStruct('owner', {});

interface Node extends Kernel<'node'> {
  next: Node;
  key: number;
  list: Elements<number>;
  owner: Value<typeof owner>;
  flags: number;
}
/** struct node, 32 bytes in the kernel that this was written from. */
export const node: StructLayout<Node> = kernelStruct('node', {
  next: pointer(() => node),
  key: u32,
  list: array(u32, 2),
  owner: pointer(owner),
  flags: bits(u32, 3),
});
export type node = Value<typeof node>;
`,
  );
});

test('enums become constants, typedefs of numbers other names', () => {
  assert.equal(
    declarationsOf(['level'], small),
    '// enum level\nexport const LOW = -1;\nexport const TOP = 1099511627776n;\n',
  );
  assert.equal(
    declarationsOf(['count_t'], small),
    "import { u32 } from 'millrace/bpf';\n\nexport const count_t = u32;\n",
  );
});

test('a name that the kernel does not have is an error that names it', () => {
  assert.throws(
    () => declarationsOf(['node', 'nowhere'], small),
    (error) => error instanceof UnknownTypeError && /no struct, union, enum or typedef nowhere/.test(error.message),
  );
});

test('TypeScript takes the declarations of large kernel structs', { skip: noKernelBtf }, () => {
  const text = declarationsOf(
    ['task_struct', 'sk_buff', 'sock', 'class', 'sockaddr', 'atomic_t', 'pid_type'],
    kernelBtf(),
  );
  inFolder((folder) => {
    const library = join(project, 'src/bpf/library/index.ts');
    writeFileSync(join(folder, 'kernel.ts'), text.replace("'millrace/bpf'", JSON.stringify(library)));
    const options = '--noEmit --strict --target esnext --module nodenext --allowImportingTsExtensions --skipLibCheck';
    const types = ['--types', 'node', '--typeRoots', join(project, 'node_modules/@types')];
    const compiler = join(project, 'node_modules/typescript/bin/tsc');
    const { stdout } = spawnSync(
      process.execPath,
      [compiler, ...options.split(' '), ...types, join(folder, 'kernel.ts')],
      {
        encoding: 'utf8',
        cwd: folder,
      },
    );
    assert.equal(stdout, '');
  });
});

test('a program that imports them is relocated to this kernel', { skip: noKernelBtf }, () => {
  inFolder((folder) => {
    writeFileSync(join(folder, 'kernel.bpf.ts'), declarationsOf(['task_struct'], kernelBtf()));
    const program = join(folder, 'watch.bpf.ts');
    writeFileSync(
      program,
      `import { btfTracepoint, global, u64, type Value } from 'millrace/bpf';
      import { task_struct } from './kernel.bpf.ts';
      export const last = global(u64, 0n);
      export const watch = btfTracepoint('task_newtask', (task: Value<typeof task_struct>) => {
        last.value = task.parent.start_time;
      });`,
    );
    const spec = compile(program);
    const { program: linked, unresolved } = relocateCore(link(spec, 'watch'), spec.btf as Btf, [kernelBtf()]);
    assert.deepEqual(unresolved, []);
    const kernel = kernelBtf();
    const task = kernel.type(kernel.byName('task_struct', 'struct')[0]);
    assert.ok(task.kind === 'struct');
    const offsetOf = (name: string) => (task.members.find((one) => one.name === name)?.offsetBits ?? 0) / 8;
    const offsets = linked.core.map(({ index }) => linked.instructions[index].offset);
    assert.deepEqual(offsets, [offsetOf('parent'), offsetOf('start_time')]);
  });
});

test('structs that hold themselves, or too many fields, end in an error', () => {
  const loop = table({ kind: 'struct', name: 'loop', bytes: 4, members: [member('self', 1, 0)] });
  assert.throws(() => declarationsOf(['loop'], loop), /lies more than 64 deep, or in a circle/);
  // Each holds two of the next, without names, down to a number.
  const levels = Array.from({ length: 40 }, (_, index): BtfType => {
    const next = index + 2;
    const name = index === 0 ? 'wide' : '';
    if (index === 39) return { ...unsigned };
    const inner = index === 38 ? 'end' : '';
    return { kind: 'struct', name, bytes: 8, members: [member(inner, next, 0), member(inner, next, 0)] };
  });
  assert.throws(() => declarationsOf(['wide'], table(...levels)), /more than 131072 fields/);
});

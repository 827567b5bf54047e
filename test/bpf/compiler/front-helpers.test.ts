/**
 * Every helper of the library can be called: what its definition says of its arguments is enough for the compiler to pass them, and in as
 * many registers as the kernel has for them.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { checkFunction } from '../../../src/bpf/compiler/check.ts';
import { lowerModule } from '../../../src/bpf/compiler/front/index.ts';
import type { CallTarget } from '../../../src/bpf/compiler/ir.ts';
import { catalogue } from '../../../src/bpf/library/catalogue.ts';
import type { HelperDefinition, HelperParameter } from '../../../src/bpf/library/definitions.ts';
import { moduleOf } from '../../support/bpf-compiler.ts';

const REGISTERS = 5;

const helpers = [...catalogue.values()].filter((definition) => definition.kind === 'helper');

/** A constructor of the library for a map of one of these types, and its options. */
function mapFor(types: readonly string[]): string {
  const wanted = types[0] ?? 'hash';
  for (const definition of catalogue.values()) {
    if (definition.kind !== 'map' || definition.type !== wanted) continue;
    const key = definition.key === 'required' ? 'key: u32, ' : '';
    const value = definition.value === 'required' ? 'value: u64, ' : '';
    return `${definition.name}({ ${key}${value}maxEntries: 4096 })`;
  }
  return 'array({ value: u64, maxEntries: 1 })';
}

/** An argument for a parameter, in the source's words. */
function argumentFor(parameter: HelperParameter): string {
  switch (parameter.kind) {
    case 'context':
      return 'context';
    case 'scalar':
    case 'address':
      return '1';
    case 'constant':
      return '8';
    case 'map':
      return 'table';
    case 'key':
      return parameter.writes === true ? 'local(u32)' : '1';
    case 'value':
      return parameter.writes === true ? 'local(typeOfValue)' : '1';
    case 'memory':
      return 'local(array(u8, 32))';
    case 'struct':
      return `local(array(u8, ${Math.max(8, parameter.bytes)}))`;
    case 'pointer':
      return parameter.nullable ? 'null' : 'pointer';
    case 'callback':
      return '() => 0';
    case 'callbackContext':
      return 'null';
    case 'string':
      return "'text'";
  }
}

function moduleFor(helper: HelperDefinition): string {
  const map = helper.parameters.find((parameter) => parameter.kind === 'map');
  const declared = map === undefined ? '' : `export const table = ${mapFor(map.types)};`;
  const hasValue = !/value: u64|array\(/.test(declared);
  return moduleOf(`
    ${declared}
    const typeOfValue = ${hasValue ? 'u32' : 'u64'};
    const anything = kernelStruct('task_struct', { pid: i32 });
    export const main = xdp((context) => {
      const pointer = read(0n, anything);
      ${helper.name}(${helper.parameters.map(argumentFor).join(', ')});
      return XDP_PASS;
    });`);
}

for (const helper of helpers) {
  test(`${helper.name} can be called`, () => {
    // What must be given back cannot stand as a statement.
    const text = moduleFor(helper).replace(`      ${helper.name}(`, `      const result = ${helper.name}(`);
    const source = helper.result.kind === 'void' ? moduleFor(helper) : text;
    const { module } = lowerModule('helper.bpf.ts', () => source);
    const calls = module.functions
      .flatMap(({ blocks }) => blocks.flatMap(({ operations }) => operations))
      .filter((operation) => operation.kind === 'call');
    const isIt = ({ kind, ...target }: CallTarget): boolean =>
      kind === 'helper' && 'id' in target && target.id === helper.id;
    const call = calls.find(({ target }) => isIt(target));
    assert.ok(call !== undefined, 'the call is there');
    assert.ok(call.arguments.length <= REGISTERS, `${call.arguments.length} arguments`);
    for (const one of module.functions) assert.deepEqual(checkFunction(one), []);
  });
}

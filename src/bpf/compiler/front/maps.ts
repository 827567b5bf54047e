/**
 * Room `bpf`: map declarations: `export const blocked = hash({ key: u32, value: u64, maxEntries: 1000 })`.
 *
 * A newcomer would get wrong: maps hold maps and programs as numbers of 4 bytes; what they are comes from the options, not from a type.
 */
import type { MapDefinition } from '../../library/definitions.ts';
import type { MapSpec } from '../../object/spec.ts';
import { bytesOf, type Type, U32, U64 } from '../../types.ts';
import { refuse } from '../diagnostics.ts';
import type { MapEntity } from './entities.ts';
import { argumentsOf, bare, type Call, type Expression, propertiesOf } from './syntax.ts';
import { type EvaluateNode, numberOf, typeOf } from './types.ts';
import type { Unit } from './unit.ts';
import { describe } from './values.ts';

const UINT_MAX = 0xffffffff;
/** MAX_BPF_STACK: a key must fit a program's stack. */
const KEY_BYTES_MAX = 512;
/** What array_map_alloc_check takes (kernel/bpf/arraymap.c). */
const VALUE_BYTES_MAX = 0x7fffffff;
/** ringbuf_map_alloc wants whole pages, a power of two of them (kernel/bpf/ringbuf.c). */
const PAGE_BYTES = 4096;
/** LPM_DATA_SIZE_MAX and the prefix's length (kernel/bpf/lpm_trie.c). */
const LPM_BYTES_MAX = 260;
/** Maps whose size is not the program's to say: one value for each object, one entry for each CPU. */
const UNSIZED = /^perf_event_array$|_storage$/;
/** An arena lies below here, as all of user space does on x86-64 and arm64 with 4 levels of pages. */
const ADDRESS_MAX = 2 ** 47;
const OPTIONS = ['key', 'value', 'maxEntries', 'flags', 'pin', 'numaNode', 'values', 'hashes', 'address'];

function keyOf(
  definition: MapDefinition,
  node: Expression | undefined,
  call: Call,
  evaluate: EvaluateNode,
): Type | null {
  switch (definition.key) {
    case 'none':
      if (node !== undefined) refuse(node, `${definition.name} maps have no keys`);
      return null;
    case 'optional':
      return node === undefined ? U64 : typeOf(node, evaluate);
    case 'u32':
      if (node !== undefined && bytesOf(typeOf(node, evaluate)) !== 4)
        refuse(node, `the key of ${definition.name} maps is u32`);
      return U32;
    case 'required':
      return node === undefined
        ? refuse(call, `${definition.name} needs a key`, 'write key: u32')
        : typeOf(node, evaluate);
  }
}

interface Held {
  readonly type: Type | null;
  readonly bytes: number;
  readonly inner: MapEntity | null;
}

function heldBy(definition: MapDefinition, node: Expression | undefined, call: Call, evaluate: EvaluateNode): Held {
  const number = { type: U32, bytes: 4, inner: null };
  switch (definition.value) {
    case 'none':
      if (node !== undefined) refuse(node, `${definition.name} maps have no values`);
      return { type: null, bytes: 0, inner: null };
    case 'u32':
      return number;
    case 'program':
      return { ...number, type: null };
    case 'optional': {
      if (node === undefined) return definition.key === 'none' ? { type: null, bytes: 0, inner: null } : number;
      const type = typeOf(node, evaluate);
      // For buffers it says what user space decodes; the kernel wants no size, or that of a descriptor.
      if (definition.type === 'ringbuf') return { type, bytes: 0, inner: null };
      return definition.type === 'perf_event_array'
        ? { type, bytes: 4, inner: null }
        : { type, bytes: bytesOf(type), inner: null };
    }
    case 'map': {
      const operand = node === undefined ? null : evaluate(node);
      if (operand?.kind !== 'map')
        refuse(node ?? call, `${definition.name} holds maps`, 'write value: and the name of a map like those');
      return { type: null, bytes: 4, inner: operand.map };
    }
    case 'required': {
      if (node === undefined) refuse(call, `${definition.name} needs a value`, 'write value: u64');
      const type = typeOf(node, evaluate);
      return { type, bytes: bytesOf(type), inner: null };
    }
  }
}

/** Names of maps or programs by index. */
function namesOf(node: Expression): (string | null)[] {
  if (node.type !== 'ArrayExpression') refuse(node, 'values are a list', 'write values: [parse, null, drop]');
  return node.elements.map((element) => {
    if (element === null) return null;
    const one = element.type === 'SpreadElement' ? refuse(element, 'spread (…) is not supported') : bare(element);
    if (one.type === 'NullLiteral') return null;
    return one.type === 'Identifier'
      ? one.name
      : refuse(one, 'this is no name', 'name a map or a program of this module');
  });
}

const isPowerOfTwo = (value: number): boolean => value > 0 && Number.isInteger(Math.log2(value));

/** What the kernel would answer with EINVAL and nothing else. */
function checkSizes(spec: MapSpec, call: Call, entries: Expression | undefined): void {
  const { type, maxEntries, key } = spec;
  if (spec.keyBytes > KEY_BYTES_MAX || spec.valueBytes > VALUE_BYTES_MAX) {
    const [what, most] = spec.keyBytes > KEY_BYTES_MAX ? ['key', KEY_BYTES_MAX] : ['value', VALUE_BYTES_MAX];
    refuse(call, `the ${what} of this map takes more than ${most} bytes`, 'make more and smaller entries of it');
  }
  if (entries !== undefined && maxEntries === 0 && !UNSIZED.test(type)) {
    refuse(entries, 'a map has at least 1 entry', 'user space may ask for another number when it loads the program');
  }
  if (/ringbuf$/.test(type) && (!isPowerOfTwo(maxEntries) || maxEntries < PAGE_BYTES)) {
    const least = `a power of two, ${PAGE_BYTES} or more`;
    refuse(entries ?? call, `${maxEntries} is no size of a ring buffer`, `it is in bytes, ${least}: 65_536`);
  }
  const isPrefix =
    key?.kind === 'struct' && key.fields[0]?.type.kind === 'integer' && bytesOf(key.fields[0].type) === 4;
  if (type === 'lpm_trie' && (!isPrefix || spec.keyBytes < 5 || spec.keyBytes > LPM_BYTES_MAX)) {
    refuse(call, 'this is no key of an lpmTrie', 'write key: struct({ prefixLength: u32, address: be32 })');
  }
  if (type === 'stack_trace' && spec.valueBytes % 8 !== 0) {
    refuse(call, 'a stack is an array of addresses', 'write value: array(u64, 32)');
  }
}

/** The map that a constructor's call declares. */
export function declareMap(
  unit: Unit,
  definition: MapDefinition,
  call: Call,
  name: string,
  evaluate: EvaluateNode,
): MapEntity {
  const [options, ...rest] = argumentsOf(call);
  if (options?.type !== 'ObjectExpression' || rest.length > 0) {
    refuse(call, `${definition.name} takes its options as one object`, `write ${definition.name}({ maxEntries: 1 })`);
  }
  const given = new Map(propertiesOf(options).map((one) => [one.name, one.value]));
  for (const [option, node] of given) {
    if (!OPTIONS.includes(option))
      refuse(node, `${definition.name} has no option ${option}`, `it has ${OPTIONS.join(', ')}`);
  }
  const key = keyOf(definition, given.get('key'), call, evaluate);
  const value = heldBy(definition, given.get('value'), call, evaluate);
  if (!given.has('maxEntries') && !UNSIZED.test(definition.type)) {
    refuse(call, `${definition.name} needs maxEntries`, 'write maxEntries: 1024');
  }
  const number = (option: string, fallback: number, most = UINT_MAX): number => {
    const node = given.get(option);
    return node === undefined ? fallback : numberOf(node, evaluate, 0, most);
  };
  const pin = given.get('pin');
  const pinning = pin === undefined ? null : evaluate(pin);
  if (pinning !== null && (pinning.kind !== 'string' || pinning.text !== 'byName')) {
    refuse(pin ?? call, `${describe(pinning)} is no way of pinning`, "write pin: 'byName'");
  }
  const numaNode = given.get('numaNode');
  const values = given.get('values');
  const spec: MapSpec = {
    name,
    type: definition.type,
    keyBytes: key === null ? 0 : bytesOf(key),
    valueBytes: value.bytes,
    maxEntries: number('maxEntries', 0),
    flags: number('flags', 0) | definition.flags,
    key,
    value: value.type,
    keyTypeId: 0,
    valueTypeId: 0,
    ...(value.inner === null ? {} : { inner: value.inner.spec }),
    ...(values === undefined ? {} : { values: namesOf(values) }),
    pinByName: pinning !== null,
    extra: BigInt(definition.type === 'arena' ? number('address', 0, ADDRESS_MAX) : number('hashes', 0)),
    ...(numaNode === undefined ? {} : { numaNode: numberOf(numaNode, evaluate, 0, UINT_MAX) }),
  };
  checkSizes(spec, call, given.get('maxEntries'));
  if (unit.maps.some((other) => other.name === name)) {
    refuse(call, `a map ${name} is there already, in another module`, 'give one of them another name');
  }
  const arena = definition.type === 'arena' ? unit.maps.find((other) => other.type === 'arena') : undefined;
  // libbpf maps one (bpf_object__init_user_btf_map), and the kernel wants no more in a program.
  if (arena !== undefined)
    refuse(call, `the arena ${arena.name} is there already`, 'an object has one; make it larger');
  unit.maps.push(spec);
  return { spec, definition, inner: value.inner };
}

/**
 * Room `bpf`: one BTF record from words to a value.
 *
 * A newcomer would get wrong: the top bit of a record's second word (kind_flag) means something else for each kind: bit fields in a
 * struct, a sign for an enum, a union for a forward declaration.
 */
import { BTF_INT_BOOL, BTF_INT_CHAR, BTF_INT_SIGNED } from '../../../kernel/btf-abi.ts';
import {
  type BtfEnumValue,
  BtfError,
  type BtfMember,
  type BtfParameter,
  type BtfPlace,
  type BtfType,
  KINDS,
} from './records.ts';
import { HEAD_WORDS } from './sections.ts';

type StringAt = (offset: number) => string;

/** The record at word `at`, which is known to be whole. @throws BtfError where it makes no sense */
export function decodeRecord(words: Uint32Array, at: number, id: number, stringAt: StringAt): BtfType {
  const name = stringAt(words[at]);
  const info = words[at + 1];
  const kind = KINDS[(info >>> 24) & 0x1f];
  const flag = info >>> 31 === 1;
  const count = info & 0xffff;
  const third = words[at + 2];
  const body = at + HEAD_WORDS;
  switch (kind) {
    case 'void':
      throw new BtfError(`BTF type ${id} is void with a record`);
    case 'int':
      return decodeInteger(name, third, words[body], id);
    case 'ptr':
      return { kind, name: '', type: third };
    case 'array':
      return { kind, name: '', element: words[body], index: words[body + 1], length: words[body + 2] };
    case 'struct':
    case 'union':
      return { kind, name, bytes: third, members: decodeMembers(words, body, count, flag, stringAt) };
    case 'enum':
    case 'enum64':
      return { kind, name, bytes: third, signed: flag, values: decodeValues(words, body, count, kind, flag, stringAt) };
    case 'fwd':
      return { kind, name, union: flag };
    case 'func':
      return { kind, name, type: third, linkage: count };
    case 'funcProto':
      return { kind, name: '', result: third, parameters: decodeParameters(words, body, count, stringAt) };
    case 'var':
      return { kind, name, type: third, linkage: words[body] };
    case 'datasec':
      return { kind, name, bytes: third, places: decodePlaces(words, body, count) };
    case 'float':
      return { kind, name, bytes: third };
    case 'declTag':
      return { kind, name, type: third, component: words[body] | 0 };
    default:
      return { kind, name, type: third };
  }
}

function decodeInteger(name: string, bytes: number, data: number, id: number): BtfType {
  const bits = data & 0xff;
  if (bits > bytes * 8) throw new BtfError(`BTF type ${id} (int ${name}) has ${bits} bits in ${bytes} bytes`);
  const encoding = (data >>> 24) & 0x0f;
  return {
    kind: 'int',
    name,
    bytes,
    bits,
    offsetBits: (data >>> 16) & 0xff,
    signed: (encoding & BTF_INT_SIGNED) !== 0,
    character: (encoding & BTF_INT_CHAR) !== 0,
    boolean: (encoding & BTF_INT_BOOL) !== 0,
  };
}

function decodeMembers(
  words: Uint32Array,
  body: number,
  count: number,
  withBits: boolean,
  stringAt: StringAt,
): BtfMember[] {
  return Array.from({ length: count }, (_, index) => {
    const at = body + index * 3;
    const place = words[at + 2];
    return {
      name: stringAt(words[at]),
      type: words[at + 1],
      offsetBits: withBits ? place & 0xffffff : place,
      bits: withBits ? place >>> 24 : 0,
    };
  });
}

function decodeValues(
  words: Uint32Array,
  body: number,
  count: number,
  kind: 'enum' | 'enum64',
  signed: boolean,
  stringAt: StringAt,
): BtfEnumValue[] {
  return Array.from({ length: count }, (_, index) => {
    const at = body + index * (kind === 'enum' ? 2 : 3);
    const low = BigInt(words[at + 1]);
    const bits = kind === 'enum' ? low : (BigInt(words[at + 2]) << 32n) | low;
    return { name: stringAt(words[at]), value: signed ? BigInt.asIntN(kind === 'enum' ? 32 : 64, bits) : bits };
  });
}

function decodeParameters(words: Uint32Array, body: number, count: number, stringAt: StringAt): BtfParameter[] {
  return Array.from({ length: count }, (_, index) => ({
    name: stringAt(words[body + index * 2]),
    type: words[body + index * 2 + 1],
  }));
}

function decodePlaces(words: Uint32Array, body: number, count: number): BtfPlace[] {
  return Array.from({ length: count }, (_, index) => ({
    type: words[body + index * 3],
    offset: words[body + index * 3 + 1],
    bytes: words[body + index * 3 + 2],
  }));
}

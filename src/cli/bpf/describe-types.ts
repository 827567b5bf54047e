/**
 * Room `cli`: an object's types as lines, one for each BTF record and its parts.
 *
 * A newcomer would get wrong: the numbers are ids as `bpftool btf dump` shows them, so that both can be read side by side.
 */
import type { BtfType } from '../../bpf/object/btf/records.ts';
import type { Btf } from '../../bpf/object/btf/table.ts';

const named = (name: string): string => (name === '' ? '(without a name)' : name);

function headOf(type: BtfType): string {
  switch (type.kind) {
    case 'void':
      return 'void';
    case 'int':
      return `${named(type.name)}, ${type.bytes} bytes`;
    case 'ptr':
      return `to ${type.type}`;
    case 'array':
      return `of ${type.length} times ${type.element}`;
    case 'struct':
    case 'union':
      return `${named(type.name)}, ${type.bytes} bytes`;
    case 'enum':
    case 'enum64':
      return `${named(type.name)}, ${type.bytes} bytes`;
    case 'fwd':
      return `${named(type.name)}${type.union ? ', a union' : ''}`;
    case 'func':
    case 'var':
      return `${named(type.name)}, type ${type.type}`;
    case 'funcProto':
      return `gives ${type.result}`;
    case 'datasec':
      return `${named(type.name)}, ${type.bytes} bytes`;
    case 'float':
      return `${named(type.name)}, ${type.bytes} bytes`;
    case 'declTag':
      return `${JSON.stringify(type.name)} on ${type.type}`;
    default:
      return `${type.name === '' ? '' : `${type.name}, `}of ${type.type}`;
  }
}

function partsOf(type: BtfType): string[] {
  switch (type.kind) {
    case 'struct':
    case 'union':
      return type.members.map((member) => `${named(member.name)}: type ${member.type} at bit ${member.offsetBits}`);
    case 'enum':
    case 'enum64':
      return type.values.map(({ name, value }) => `${name} = ${value}`);
    case 'funcProto':
      return type.parameters.map(({ name, type: id }) => `${named(name)}: type ${id}`);
    case 'datasec':
      return type.places.map(({ type: id, offset, bytes }) => `type ${id} at ${offset}, ${bytes} bytes`);
    default:
      return [];
  }
}

/** Every type of the table itself, without its base's. */
export function describeTypes(btf: Btf): string {
  const lines: string[] = [];
  for (let id = btf.firstId; id < btf.endId; id++) {
    const type = btf.type(id);
    lines.push(`  [${id}] ${type.kind} ${headOf(type)}`);
    for (const part of partsOf(type)) lines.push(`        ${part}`);
  }
  return lines.join('\n');
}

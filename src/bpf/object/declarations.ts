/**
 * Room `bpf`: the kernel's types as declarations for programs (`millrace bpf types task_struct`): structs with their fields, what these
 * hold, and enums as constants.
 *
 * A newcomer would get wrong: TypeScript cannot infer a struct that points to itself, directly or around other structs. Those get an
 * interface that says what they hold, and their const names it.
 */
import type { Field, StructType, Type } from '../types.ts';
import { type BtfEnum, BtfError } from './btf/records.ts';
import type { Btf } from './btf/table.ts';
import { typeOf } from './btf/to-type.ts';
import { findGroups } from './declaration-order.ts';

/** A name that the kernel has no type for. */
export class UnknownTypeError extends Error {
  override readonly name = 'UnknownTypeError';
}

/** The kinds of type that are looked for, in this order. */
const KINDS_BY_NAME = ['struct', 'union', 'enum', 'enum64', 'typedef'] as const;

/** Names that a const of a module cannot have, or that this file's output imports. */
const TAKEN = new Set([
  ...['class', 'delete', 'function', 'export', 'import', 'new', 'var', 'let', 'this', 'super', 'in', 'typeof', 'with'],
  ...['array', 'bits', 'boolean', 'kernelStruct', 'pointer', 'struct', 'union', 'Elements', 'Kernel', 'StructLayout'],
  ...['u8', 'u16', 'u32', 'u64', 'i8', 'i16', 'i32', 'i64', 'be16', 'be32', 'be64', 'Value'],
]);

const constName = (name: string): string => (TAKEN.has(name) ? `${name}_` : name);

/** task_struct → TaskStruct: the interface beside the const. */
function interfaceName(name: string): string {
  return name.replace(/(?:^|_+)([A-Za-z0-9])/g, (_, letter: string) => letter.toUpperCase()).replace(/_+$/, '') || name;
}

/**
 * A module that declares types of the kernel, for `import` by programs. Structs that lie in a declared one are declared too; those that it
 * only points to get a declaration without fields.
 * @throws UnknownTypeError for a name that the table does not have
 * @example declarationsOf(['task_struct', 'pid_type'], kernelBtf())
 */
export function declarationsOf(names: readonly string[], btf: Btf): string {
  const writer = new Writer();
  const constants: string[] = [];
  for (const name of new Set(names)) {
    const id = findType(name, btf);
    const type = btf.resolved(id);
    if (type.kind === 'enum' || type.kind === 'enum64') {
      constants.push(enumConstants(type, name));
      continue;
    }
    const meant = typeOf(btf, id);
    if (meant.kind === 'struct') writer.addStruct(meant.name === '' ? { ...meant, name } : meant);
    else if (meant.kind === 'void') throw new UnknownTypeError(`${name} has no fields and no size in this kernel`);
    else writer.addAlias(name, meant);
  }
  return [writer.text(), ...constants].filter((part) => part !== '').join('\n');
}

function findType(name: string, btf: Btf): number {
  for (const kind of KINDS_BY_NAME) {
    const [id] = btf.byName(name, kind);
    if (id !== undefined) return id;
  }
  throw new UnknownTypeError(`the kernel’s types have no struct, union, enum or typedef ${name}`);
}

/** 32 bits are a number of the language, more a bigint. */
function enumConstants(type: BtfEnum, name: string): string {
  const lines = type.values.map((one) => {
    const isNumber = one.value >= -(2n ** 31n) && one.value < 2n ** 32n;
    return `export const ${one.name} = ${one.value}${isNumber ? '' : 'n'};`;
  });
  return `// enum ${name}\n${lines.join('\n')}\n`;
}

/** Everything that a type names, directly and within arrays and unnamed structs; `behind` pointers or not. */
function namedStructs(type: Type, visit: (struct: StructType, isPointed: boolean) => void, isPointed = false): void {
  switch (type.kind) {
    case 'array':
      namedStructs(type.element, visit, isPointed);
      break;
    case 'pointer':
      namedStructs(type.target(), visit, true);
      break;
    case 'struct':
      // What is pointed to and has no name of its own cannot be declared; it is written as bytes.
      if (type.name !== '') visit(type, isPointed);
      else if (!isPointed) for (const field of type.fields) namedStructs(field.type, visit);
      break;
  }
}

const within = (names: ReadonlySet<string> | undefined, group: readonly string[]): Set<string> =>
  new Set([...(names ?? [])].filter((name) => group.includes(name)));

class Writer {
  /** Structs with fields, by name. */
  readonly #structs = new Map<string, StructType>();
  readonly #aliases = new Map<string, Type>();
  readonly #imports = new Set<string>();
  /** Structs that are written with the one at hand, because they refer to each other. */
  #group: ReadonlySet<string> = new Set();

  addStruct(type: StructType): void {
    if (this.#structs.has(type.name)) return;
    this.#structs.set(type.name, type);
    for (const field of type.fields) {
      namedStructs(field.type, (struct, isPointed) => {
        if (!isPointed) this.addStruct(struct);
      });
    }
  }

  addAlias(name: string, type: Type): void {
    this.#aliases.set(name, type);
    namedStructs(type, (struct, isPointed) => {
      if (!isPointed) this.addStruct(struct);
    });
  }

  text(): string {
    const refersTo = new Map<string, Set<string>>();
    const holds = new Map<string, Set<string>>();
    const opaque = new Set<string>();
    const note = (from: string | null, type: Type): void =>
      namedStructs(type, ({ name }, isPointed) => {
        if (!this.#structs.has(name)) opaque.add(name);
        else if (from !== null) {
          refersTo.get(from)?.add(name);
          if (!isPointed) holds.get(from)?.add(name);
        }
      });
    for (const [name, { fields }] of this.#structs) {
      refersTo.set(name, new Set());
      holds.set(name, new Set());
      for (const field of fields) note(name, field.type);
    }
    for (const type of this.#aliases.values()) note(null, type);
    const parts = [...opaque].sort().map((name) => this.#opaque(name));
    for (const group of findGroups(refersTo)) {
      const isCircle = group.length > 1 || refersTo.get(group[0])?.has(group[0]) === true;
      this.#group = new Set(isCircle ? group : []);
      // Within a circle, which pointers close, what holds another comes behind it.
      const order = findGroups(new Map(group.map((name) => [name, within(holds.get(name), group)]))).flat();
      for (const name of order) parts.push(this.#struct(this.#structs.get(name) as StructType, isCircle));
    }
    for (const [name, type] of this.#aliases) parts.push(`export const ${constName(name)} = ${this.#layout(type)};\n`);
    if (parts.length === 0) return '';
    const imports = [...this.#imports].sort((a, b) => (a.replace('type ', '') < b.replace('type ', '') ? -1 : 1));
    return `import { ${imports.join(', ')} } from 'millrace/bpf';\n\n${parts.join('\n')}`;
  }

  #use(name: string): string {
    this.#imports.add(name);
    return name.replace('type ', '');
  }

  #opaque(name: string): string {
    const comment = `/** Only pointed to here. For its fields: millrace bpf types ${name} */\n`;
    return `${comment}export const ${constName(name)} = ${this.#use('kernelStruct')}('${name}', {});\n`;
  }

  #struct(type: StructType, isCircle: boolean): string {
    const name = constName(type.name);
    const fields = this.#fields(type.fields, '  ');
    const call = `${this.#use('kernelStruct')}('${type.name}', {${fields === '' ? '' : `\n${fields}`}})`;
    const value = `export type ${name} = ${this.#use('type Value')}<typeof ${name}>;\n`;
    const what = `${type.union ? 'union' : 'struct'} ${type.name}`;
    const comment = `/** ${what}, ${type.bytes} bytes in the kernel that this was written from. */\n`;
    if (!isCircle) return `${comment}export const ${name} = ${call};\n${value}`;
    const holder = interfaceName(type.name);
    const members = type.fields.map((field) => `  ${field.name}: ${this.#value(field.type)};\n`).join('');
    const declared = `interface ${holder} extends ${this.#use('type Kernel')}<'${type.name}'> {\n${members}}\n`;
    return `${declared}${comment}export const ${name}: ${this.#use('type StructLayout')}<${holder}> = ${call};\n${value}`;
  }

  #fields(fields: readonly Field[], indent: string): string {
    const lines = fields.map((field) => `${indent}${field.name}: ${this.#field(field, indent)},\n`);
    return lines.join('');
  }

  #field({ type, bits }: Field, indent: string): string {
    if (bits === undefined) return this.#layout(type, indent);
    const unit = type.kind === 'integer' ? this.#use(type.name) : this.#use('u8');
    return `${this.#use('bits')}(${unit}, ${bits.count})`;
  }

  /** A type as an expression of the language. */
  #layout(type: Type, indent = ''): string {
    switch (type.kind) {
      case 'integer':
        return this.#use(type.name);
      case 'boolean':
        return this.#use('boolean');
      case 'array':
        return `${this.#use('array')}(${this.#layout(type.element, indent)}, ${type.length})`;
      case 'pointer':
        return `${this.#use('pointer')}(${this.#pointee(type.target(), indent)})`;
      case 'struct': {
        if (type.name !== '') return constName(type.name);
        const of = this.#use(type.union ? 'union' : 'struct');
        return `${of}({\n${this.#fields(type.fields, `${indent}  `)}${indent}})`;
      }
      case 'void':
        throw new BtfError('a field of type void');
    }
  }

  #pointee(type: Type, indent: string): string {
    if (type.kind === 'void' || isUnnamed(type)) return '';
    return type.kind === 'struct' && this.#group.has(type.name)
      ? `() => ${constName(type.name)}`
      : this.#layout(type, indent);
  }

  /** The TypeScript type of a value. */
  #value(type: Type): string {
    switch (type.kind) {
      case 'integer':
        return type.bytes === 8 ? 'bigint' : 'number';
      case 'boolean':
        return 'boolean';
      case 'array':
        return `${this.#use('type Elements')}<${this.#value(type.element)}>`;
      case 'pointer': {
        const target = type.target();
        return target.kind === 'void' || isUnnamed(target)
          ? `${this.#use('type Kernel')}<'void'>`
          : this.#value(target);
      }
      case 'struct': {
        if (this.#group.has(type.name)) return interfaceName(type.name);
        if (type.name !== '') return `${this.#use('type Value')}<typeof ${constName(type.name)}>`;
        return `{ ${type.fields.map((field) => `${field.name}: ${this.#value(field.type)}`).join('; ')} }`;
      }
      case 'void':
        return 'void';
    }
  }
}

/** Whether a pointer's target has no name by which another declaration could tell it. */
function isUnnamed(type: Type): boolean {
  return type.kind === 'struct' ? type.name === '' : type.kind === 'array' && isUnnamed(type.element);
}

/**
 * Room `bpf`: what user space does with an arena's memory: finds what pointers lead to, reads it by its type, writes it.
 *
 * A newcomer would get wrong: a struct that was read is a copy, but what its pointers lead to is read when they are followed:
 * `node.next.next` is as it is then. And the address of a pointer, which is what is written for one, is in `view`, not in the copy.
 */
import type { Plain } from '../library/infer.ts';
import type { Elements, Layout, Value } from '../library/layout.ts';
import { bytesOf, type Type } from '../types.ts';
import { codecOf } from './codec.ts';

/** A value to be written: a pointer is the address of what it leads to, 0 or null for nothing. */
export type Written<T> =
  T extends Elements<infer E>
    ? readonly Written<E>[] | bigint
    : T extends object
      ? { readonly [N in keyof T]: Written<T[N]> } | bigint
      : T;

/** The memory of an arena, in the kernel or in the VM. */
export class ArenaMemory {
  /** All of it, from its first page on. */
  readonly view: DataView;
  /** Where its first byte is, as pointers in it have it. */
  readonly address: bigint;

  constructor(view: DataView, address: bigint) {
    this.view = view;
    this.address = address;
  }

  /** What a pointer into the arena points at, as an offset in `view`: its low half counts. */
  offsetOf(pointer: bigint): number {
    return Number(BigInt.asUintN(32, pointer - this.address));
  }

  /** The pointer that leads to this offset in `view`. */
  addressOf(offset: number): bigint {
    return this.address + BigInt(offset);
  }

  /**
   * The value that lies at an address: a struct whose pointers are what they lead to, or null. Each is followed when it is asked for.
   * @throws RangeError for an address outside of the arena; following a pointer that leads out of it throws, too
   * @example for (let node: Node | null = arena.read(Node, head); node !== null; node = node.next) total += node.value;
   */
  read<L extends Layout>(layout: L, address: bigint): Plain<Value<L>> {
    // The layout says what the bytes there are; TypeScript cannot follow that.
    return this.#read(layout.type, this.#place(layout.type, address)) as Plain<Value<L>>;
  }

  /**
   * Writes a value at an address.
   * @throws RangeError for an address outside of the arena, RangeError or TypeError for what the type cannot hold
   */
  write<L extends Layout>(layout: L, address: bigint, value: Written<Value<L>>): void {
    codecOf(layout.type).write(this.view, this.#place(layout.type, address), value);
  }

  /** Takes note that user space uses these bytes. */
  protected touch(_offset: number, _bytes: number): void {}

  #place(type: Type, address: bigint): number {
    const offset = this.offsetOf(address);
    const bytes = bytesOf(type);
    if (offset + bytes > this.view.byteLength) {
      throw new RangeError(`0x${address.toString(16)} is no address of ${bytes} bytes in the arena`);
    }
    this.touch(offset, bytes);
    return offset;
  }

  #read(type: Type, at: number): unknown {
    if (type.kind === 'pointer') return this.#follow(type.target(), this.view.getBigUint64(at, true));
    // Where pointers lie these are their addresses.
    const found = codecOf(type).read(this.view, at);
    for (const part of partsWithPointers(type)) this.#put(found as object, part, at + part.offset);
    return found;
  }

  /** Puts a part into a struct or an array. What a pointer leads to is found when it is asked for. */
  #put(into: object, { name, type }: Part, at: number): void {
    if (type.kind !== 'pointer') {
      Object.assign(into, { [name]: this.#read(type, at) });
      return;
    }
    const address = this.view.getBigUint64(at, true);
    const get = (): unknown => this.#follow(type.target(), address);
    Object.defineProperty(into, name, { get, enumerable: true, configurable: true });
  }

  #follow(target: Type, address: bigint): unknown {
    if (address === 0n) return null;
    return target.kind === 'void' ? address : this.#read(target, this.#place(target, address));
  }
}

/** A field of a struct or an element of an array. */
interface Part {
  readonly name: string | number;
  readonly type: Type;
  readonly offset: number;
}

/** The parts of a value that are pointers or hold some. */
function partsWithPointers(type: Type): readonly Part[] {
  if (type.kind === 'struct') return type.fields.filter((field) => hasPointers(field.type));
  if (type.kind !== 'array' || !hasPointers(type.element)) return [];
  const { element, length } = type;
  return Array.from({ length }, (_, index) => ({ name: index, type: element, offset: index * bytesOf(element) }));
}

/** Whether a value of this type holds a pointer. */
function hasPointers(type: Type): boolean {
  switch (type.kind) {
    case 'pointer':
      return true;
    case 'array':
      return hasPointers(type.element);
    case 'struct':
      return type.fields.some((field) => hasPointers(field.type));
    default:
      return false;
  }
}

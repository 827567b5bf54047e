/**
 * Room `bpf`: what user space does with an arena's memory: finds what pointers lead to, reads it by its type, writes it.
 *
 * A newcomer would get wrong: a struct that was read is a copy, but what its pointers lead to is read when they are followed:
 * `node.next.next` is as it is then. And the address of a pointer, which is what is written for one, is in `view`, not in the copy.
 */
import type { Plain } from '../library/infer.ts';
import type { Elements, Layout, Value } from '../library/layout.ts';
import { bytesOf, type StructType, type Type } from '../types.ts';
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
   * @example for (let node = arena.read(Node, head); node !== null; node = node.next) total += node.value;
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
    switch (type.kind) {
      case 'struct':
        return this.#readStruct(type, at);
      case 'array':
        if (type.element.kind === 'integer' || type.element.kind === 'boolean') break;
        return this.#collect(
          new Array(type.length),
          Array.from({ length: type.length }, (_, index) => ({
            name: index,
            type: type.element,
            offset: index * bytesOf(type.element),
          })),
          at,
        );
      case 'pointer':
        return this.#follow(type.target(), this.view.getBigUint64(at, true));
    }
    return codecOf(type).read(this.view, at);
  }

  #readStruct(type: StructType, at: number): unknown {
    // Its bit fields and numbers, and addresses where pointers are to be.
    const found = codecOf(type).read(this.view, at) as object;
    const parts = type.fields.filter((field) => field.bits === undefined && hasPointers(field.type));
    return parts.length === 0 ? found : this.#collect(found, parts, at);
  }

  /** Puts parts into a struct or an array; pointers as what they lead to, found when asked for. */
  #collect(
    into: object,
    parts: readonly { readonly name: string | number; readonly type: Type; readonly offset: number }[],
    at: number,
  ): object {
    for (const { name, type, offset } of parts) {
      if (type.kind !== 'pointer') {
        Object.defineProperty(into, name, {
          value: this.#read(type, at + offset),
          enumerable: true,
          configurable: true,
          writable: true,
        });
        continue;
      }
      const address = this.view.getBigUint64(at + offset, true);
      const get = (): unknown => this.#follow(type.target(), address);
      Object.defineProperty(into, name, { get, enumerable: true, configurable: true });
    }
    return into;
  }

  #follow(target: Type, address: bigint): unknown {
    if (address === 0n) return null;
    return target.kind === 'void' ? address : this.#read(target, this.#place(target, address));
  }
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

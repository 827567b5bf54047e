/**
 * Test support: pieces of IR that random programs are built of: branches and joins, checked bytes of the packet, looked-up values.
 *
 * A newcomer would get wrong: a piece that takes a function as its body builds the check around it, and goes on behind both ways.
 */
import { Builder, type Variable } from '../../src/bpf/compiler/builder.ts';
import type { Block, StackSlot, Value, Width } from '../../src/bpf/compiler/ir.ts';
import { U32, VOID } from '../../src/bpf/types.ts';
import {
  type Access,
  type Operand,
  PACKET_WINDOW,
  type Question,
  SLOT_BYTES,
  type Statement,
  VARIABLES,
} from './bpf-program-statements.ts';

/** A function `program(context)` under construction. */
export class ProgramPieces {
  readonly builder = new Builder({
    name: 'program',
    signature: { parameters: [{ name: 'context', type: VOID }], result: U32 },
    linkage: 'global',
    location: null,
    spaces: ['context'],
  });
  readonly variables: Variable[] = Array.from({ length: VARIABLES }, (_, index) => ({
    name: `v${index}`,
    space: 'scalar',
  }));
  readonly slots: StackSlot[] = [];
  names = 0;

  operand(operand: Operand): Value {
    return 'number' in operand
      ? this.builder.constant(operand.number)
      : this.builder.read(this.variables[operand.variable]);
  }

  write(target: number, value: Value): void {
    this.builder.write(this.variables[target], value);
  }

  /** A number of adjacent bytes put together by shifts, as programs read unaligned fields. */
  bytes(pointer: Value, { count, isBig }: Extract<Statement, { kind: 'bytes' }>): Value {
    const builder = this.builder;
    let value: Value | null = null;
    for (let byte = 0; byte < count; byte++) {
      const loaded = builder.load(1, false, pointer, 'scalar', { offset: byte });
      const shift = (isBig ? count - 1 - byte : byte) * 8;
      const moved = shift === 0 ? loaded : builder.binary('shl', 64, loaded, builder.constant(shift));
      value = value === null ? moved : builder.binary('or', 64, value, moved);
    }
    return value!;
  }

  key(operand: Operand): Value {
    const builder = this.builder;
    const slot = builder.slot(4, 4, `key${this.names++}`);
    // A key beyond the map's entries is there, too: one of four.
    builder.store(4, builder.stackAddress(slot), builder.binary('and', 64, this.operand(operand), builder.constant(3)));
    return builder.stackAddress(slot);
  }

  lookup(map: string, key: Operand): Value {
    const call = { kind: 'helper', id: 1, name: 'bpf_map_lookup_elem' } as const;
    return this.builder.call(call, [this.builder.mapAddress(map), this.key(key)], 'mapValue');
  }

  /** Runs `body` unless the pointer is null. */
  unless(pointer: Value, body: () => void): void {
    const zero = this.builder.constant(0);
    this.if((whenTrue, whenFalse) => this.builder.branch('eq', 64, pointer, zero, whenFalse, whenTrue), body);
  }

  /** Bytes of the packet behind their check; as in the language, the pointer may be a phi with null that is tested next. */
  withPacket(offset: number, variable: Operand | null, asPhi: boolean, body: (pointer: Value) => void): void {
    const builder = this.builder;
    const [context] = builder.function.parameters;
    const data = builder.load(4, false, context, 'packet', { offset: 0 });
    const end = builder.load(4, false, context, 'packetEnd', { offset: 4 });
    let start = builder.binary('add', 64, data, builder.constant(offset), 'packet');
    if (variable !== null) {
      const index = builder.binary('and', 64, this.operand(variable), builder.constant(31));
      start = builder.binary('add', 64, start, index, 'packet');
    }
    const behind = builder.binary('add', 64, start, builder.constant(PACKET_WINDOW), 'packet');
    if (!asPhi) {
      this.if(
        (whenTrue, whenFalse) => builder.branch('ugt', 64, behind, end, whenFalse, whenTrue),
        () => body(start),
      );
      return;
    }
    const pointer: Variable = { name: `pointer${this.names++}`, space: 'packet' };
    this.if(
      (whenTrue, whenFalse) => builder.branch('ugt', 64, behind, end, whenTrue, whenFalse),
      () => builder.write(pointer, builder.constant(0)),
      () => builder.write(pointer, start),
    );
    const tested = builder.read(pointer);
    this.unless(tested, () => body(tested));
  }

  if(
    ask: (whenTrue: Block, whenFalse: Block) => void,
    body: () => void,
    otherwise: () => void = () => undefined,
  ): void {
    const builder = this.builder;
    const [whenTrue, whenFalse, after] = [builder.block(), builder.block(), builder.block()];
    ask(whenTrue, whenFalse);
    for (const [block, run] of [
      [whenTrue, body],
      [whenFalse, otherwise],
    ] as const) {
      builder.seal(block);
      builder.enter(block);
      run();
      builder.jump(after);
    }
    builder.seal(after);
    builder.enter(after);
  }

  ask({ condition, bits, left, right }: Question, whenTrue: Block, whenFalse: Block): void {
    this.builder.branch(condition, bits, this.operand(left), this.operand(right), whenTrue, whenFalse);
  }

  access(pointer: Value, { kind, variable, target, offset, width, signed, swapped }: Access): void {
    const builder = this.builder;
    if (kind === 'add') {
      builder.atomic('add', 8, { address: pointer, offset, value: this.operand(variable), fetch: false });
    } else if (kind === 'read') {
      const value = builder.load(width, signed && width < 8 && !swapped, pointer, 'scalar', { offset });
      this.write(target, swapped ? builder.unary('swap', width, value) : value);
    } else {
      const value = this.operand(variable);
      builder.store(width, pointer, swapped ? builder.unary('swap', width, value) : value, { offset });
    }
  }

  copy(from: StackSlot, to: StackSlot, width: Width): void {
    const builder = this.builder;
    for (let offset = 0; offset < SLOT_BYTES; offset += width) {
      const value = builder.load(width, false, builder.stackAddress(from), 'scalar', { offset });
      builder.store(width, builder.stackAddress(to), value, { offset });
    }
  }

  clear(slot: StackSlot, width: Width): void {
    for (let offset = 0; offset < SLOT_BYTES; offset += width) {
      this.builder.store(width, this.builder.stackAddress(slot), this.builder.constant(0), { offset });
    }
  }
}

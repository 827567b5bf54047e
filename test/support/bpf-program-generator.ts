/**
 * Random programs of the compiler's IR, as a front end would build them: arithmetic of all widths, branches, `&&` as phis of 0 and 1,
 * bounded loops, structs on the stack, values of maps and bytes of the packet behind their checks, calls of helpers.
 *
 * A newcomer would get wrong: a program is a list of statements first and IR only when it is built, so that one that fails can be
 * made smaller by leaving statements out.
 */
import { Builder, type Variable } from '../../src/bpf/compiler/builder.ts';
import type {
  BinaryOperator,
  Bits,
  Block,
  Condition,
  IrFunction,
  StackSlot,
  Value,
  Width,
} from '../../src/bpf/compiler/ir.ts';
import { U32, VOID } from '../../src/bpf/types.ts';
import type { RandomSource } from './random.ts';

export const VARIABLES = 5;
/** The maps that programs use: `values` is looked up and updated, `results` takes the variables at the end. */
export const VALUES = { name: 'values', valueBytes: 24, entries: 3 } as const;
export const RESULTS = { name: 'results', valueBytes: VARIABLES * 8, entries: 1 } as const;

type Operand = { readonly variable: number } | { readonly number: bigint };
interface Question {
  readonly condition: Condition;
  readonly bits: Bits;
  readonly left: Operand;
  readonly right: Operand;
}

/** A read or a write at a constant offset of something. */
interface Access {
  readonly kind: 'read' | 'write' | 'add';
  readonly variable: Operand;
  readonly target: number;
  readonly offset: number;
  readonly width: Width;
  readonly signed: boolean;
  /** Swapped after a read, before a write, as network byte order is. */
  readonly swapped: boolean;
}

export type Statement =
  | {
      readonly kind: 'binary';
      readonly target: number;
      readonly operator: BinaryOperator;
      readonly bits: Bits;
      readonly left: Operand;
      readonly right: Operand;
      readonly extend: 'sext' | 'zext' | null;
    }
  | {
      readonly kind: 'unary';
      readonly target: number;
      readonly operator: 'neg' | 'sext' | 'zext' | 'swap';
      readonly width: Width;
      readonly operand: Operand;
    }
  | ({ readonly kind: 'compare'; readonly target: number } & Question)
  | {
      readonly kind: 'if';
      readonly question: Question;
      readonly body: readonly Statement[];
      readonly otherwise: readonly Statement[];
    }
  | {
      readonly kind: 'shortCircuit';
      readonly isAnd: boolean;
      readonly first: Question;
      readonly second: Question;
      readonly body: readonly Statement[];
    }
  | {
      readonly kind: 'loop';
      readonly count: number;
      readonly body: readonly Statement[];
      readonly leave: Question | null;
      readonly index: number;
    }
  | { readonly kind: 'slot'; readonly slot: number; readonly access: Access }
  | {
      readonly kind: 'slotByte';
      readonly slot: number;
      readonly isWrite: boolean;
      readonly index: Operand;
      readonly target: number;
    }
  | { readonly kind: 'copy'; readonly from: number; readonly to: number; readonly width: Width }
  | { readonly kind: 'clear'; readonly slot: number; readonly width: Width }
  | {
      readonly kind: 'lookup';
      readonly key: Operand;
      readonly accesses: readonly Access[];
      readonly body: readonly Statement[];
    }
  | {
      readonly kind: 'packet';
      readonly offset: number;
      readonly variable: Operand | null;
      readonly asPhi: boolean;
      readonly accesses: readonly Access[];
    }
  | {
      readonly kind: 'bytes';
      readonly offset: number;
      readonly count: 2 | 4 | 8;
      readonly isBig: boolean;
      readonly target: number;
    }
  | { readonly kind: 'checksum'; readonly slot: number; readonly target: number; readonly size: Operand | null }
  | {
      readonly kind: 'element';
      readonly index: Operand;
      readonly bits: Bits;
      readonly target: number;
      readonly isWrite: boolean;
      /** The offset is also computed before the check, for another use. */
      readonly isEarly: boolean;
      readonly plus: 0 | 1;
    }
  | { readonly kind: 'update'; readonly slot: number; readonly key: Operand }
  | { readonly kind: 'cut'; readonly bytes: number };

const SLOTS = 2;
const SLOT_BYTES = 24;
const PACKET_WINDOW = 16;
const widths: readonly Width[] = [1, 2, 4, 8];
const operators: readonly BinaryOperator[] = [
  ...(['add', 'add', 'add', 'sub', 'sub', 'mul', 'and', 'and', 'or', 'xor'] as const),
  ...(['udiv', 'sdiv', 'umod', 'smod', 'shl', 'lshr', 'ashr', 'shl', 'lshr'] as const),
];
const conditions: readonly Condition[] = ['eq', 'ne', 'ult', 'ule', 'ugt', 'uge', 'slt', 'sle', 'sgt', 'sge', 'test'];
const numbers = [
  0n,
  1n,
  -1n,
  2n,
  7n,
  8n,
  32n,
  0xffn,
  0xffffn,
  0x800n,
  0xffff_ffffn,
  0x8000_0000n,
  -0x8000_0000n,
  1n << 63n,
];

const pick = <Item>(random: RandomSource, items: readonly Item[]): Item => items[random.integer(items.length)];
const chance = (random: RandomSource, percent: number): boolean => random.integer(100) < percent;

/** Draws statements. */
class Drawing {
  readonly #random: RandomSource;
  #left: number;

  constructor(random: RandomSource, size: number) {
    this.#random = random;
    this.#left = size;
  }

  statements(depth: number): Statement[] {
    const made: Statement[] = [];
    const count = 1 + this.#random.integer(depth === 0 ? 16 : 4);
    for (let index = 0; index < count && this.#left > 0; index++) {
      this.#left--;
      made.push(this.#statement(depth));
    }
    return made;
  }

  #number(): bigint {
    const random = this.#random;
    if (chance(random, 50)) return pick(random, numbers);
    const low = BigInt(random.integer(4294967296));
    return chance(random, 70)
      ? BigInt.asIntN(16, low)
      : BigInt.asIntN(64, (low << 32n) | BigInt(random.integer(4294967296)));
  }

  #operand(): Operand {
    return chance(this.#random, 65) ? { variable: this.#random.integer(VARIABLES) } : { number: this.#number() };
  }

  #variable(): Operand {
    return { variable: this.#random.integer(VARIABLES) };
  }

  #question(): Question {
    const random = this.#random;
    return {
      condition: pick(random, conditions),
      bits: pick(random, [32, 64]),
      left: this.#variable(),
      right: this.#operand(),
    };
  }

  #access(bytes: number, isAligned: boolean, mayAdd: boolean): Access {
    const random = this.#random;
    const width = pick(random, widths);
    const steps = isAligned ? Math.floor(bytes / width) : bytes - width + 1;
    const offset = random.integer(steps) * (isAligned ? width : 1);
    const kind = mayAdd && chance(random, 15) ? 'add' : chance(random, 55) ? 'read' : 'write';
    const isAdd = kind === 'add';
    return {
      kind,
      variable: this.#operand(),
      target: random.integer(VARIABLES),
      offset: isAdd ? offset & ~7 : offset,
      width: isAdd ? 8 : width,
      signed: chance(random, 30),
      swapped: !isAdd && width > 1 && chance(random, 30),
    };
  }

  #accesses(bytes: number, isAligned: boolean, mayAdd: boolean): Access[] {
    return Array.from({ length: 1 + this.#random.integer(4) }, () => this.#access(bytes, isAligned, mayAdd));
  }

  #statement(depth: number): Statement {
    const random = this.#random;
    const target = random.integer(VARIABLES);
    const slot = random.integer(SLOTS);
    const kind = random.integer(depth >= 3 ? 60 : 100);
    if (kind < 22) {
      const bits = pick(random, [32, 64] as const);
      const extend = bits === 32 ? pick(random, ['sext', 'zext', null] as const) : null;
      return {
        kind: 'binary',
        target,
        operator: pick(random, operators),
        bits,
        left: this.#operand(),
        right: this.#operand(),
        extend,
      };
    }
    if (kind < 30) {
      const operator = pick(random, ['neg', 'sext', 'zext', 'swap'] as const);
      const width =
        operator === 'neg'
          ? pick(random, [4, 8] as const)
          : pick(random, operator === 'swap' ? ([2, 4, 8] as const) : widths);
      return { kind: 'unary', target, operator, width, operand: this.#variable() };
    }
    if (kind < 35) return { kind: 'compare', target, ...this.#question() };
    if (kind < 45) return { kind: 'slot', slot, access: this.#access(SLOT_BYTES, true, true) };
    if (kind < 47) return { kind: 'slotByte', slot, isWrite: chance(random, 50), index: this.#variable(), target };
    if (kind < 49) return { kind: 'copy', from: slot, to: random.integer(SLOTS), width: pick(random, widths) };
    if (kind < 51) return { kind: 'clear', slot, width: pick(random, widths) };
    if (kind < 54)
      return {
        kind: 'bytes',
        offset: random.integer(14),
        count: pick(random, [2, 4, 8] as const),
        isBig: chance(random, 50),
        target,
      };
    if (kind < 56) return { kind: 'checksum', slot, target, size: chance(random, 50) ? this.#variable() : null };
    if (kind < 58) return { kind: 'update', slot, key: this.#operand() };
    if (kind < 60) return { kind: 'cut', bytes: random.integer(3) };
    if (kind < 74)
      return {
        kind: 'if',
        question: this.#question(),
        body: this.statements(depth + 1),
        otherwise: chance(random, 50) ? this.statements(depth + 1) : [],
      };
    if (kind < 80)
      return {
        kind: 'shortCircuit',
        isAnd: chance(random, 50),
        first: this.#question(),
        second: this.#question(),
        body: this.statements(depth + 1),
      };
    if (kind < 85)
      return {
        kind: 'loop',
        count: 1 + random.integer(4),
        body: this.statements(depth + 2),
        leave: chance(random, 30) ? this.#question() : null,
        index: target,
      };
    if (kind < 88)
      return {
        kind: 'element',
        index: this.#variable(),
        bits: pick(random, [32, 64]),
        target,
        isWrite: chance(random, 40),
        isEarly: chance(random, 50),
        plus: pick(random, [0, 1] as const),
      };
    if (kind < 92)
      return {
        kind: 'lookup',
        key: this.#operand(),
        accesses: this.#accesses(VALUES.valueBytes, false, true),
        body: chance(random, 30) ? this.statements(depth + 2) : [],
      };
    return {
      kind: 'packet',
      offset: random.integer(20),
      variable: chance(random, 40) ? this.#variable() : null,
      asPhi: chance(random, 50),
      accesses: this.#accesses(PACKET_WINDOW, false, false),
    };
  }
}

/** A random program of about `size` statements. */
export function drawProgram(random: RandomSource, size: number): Statement[] {
  return new Drawing(random, size).statements(0);
}

/** Builds a program's statements as the function `program(context)` of an XDP program. */
class Building {
  readonly #builder = new Builder({
    name: 'program',
    signature: { parameters: [{ name: 'context', type: VOID }], result: U32 },
    linkage: 'global',
    location: null,
    spaces: ['context'],
  });
  readonly #variables: Variable[] = Array.from({ length: VARIABLES }, (_, index) => ({
    name: `v${index}`,
    space: 'scalar',
  }));
  readonly #slots: StackSlot[] = [];
  #names = 0;

  build(statements: readonly Statement[]): IrFunction {
    const builder = this.#builder;
    for (let index = 0; index < SLOTS; index++) {
      const slot = builder.slot(SLOT_BYTES, 8, `slot${index}`);
      this.#slots.push(slot);
      this.#clear(slot, 8);
    }
    // The variables begin with bytes of the packet, so that nothing is known before the program runs.
    for (const variable of this.#variables) builder.write(variable, builder.constant(0));
    this.#withPacket(0, null, false, (pointer) => {
      for (const [index, variable] of this.#variables.entries()) {
        const width = widths[index % 4];
        builder.write(variable, builder.load(width, index % 2 === 0, pointer, 'scalar', { offset: index * 2 }));
      }
    });
    this.#all(statements);
    this.#finish();
    return builder.finish();
  }

  #finish(): void {
    const builder = this.#builder;
    const found = this.#lookup(RESULTS.name, { number: 0n });
    this.#unless(found, () => {
      for (const [index, variable] of this.#variables.entries()) {
        builder.store(8, found, builder.read(variable), { offset: index * 8 });
      }
    });
    const [first, second] = this.#variables;
    builder.return(
      builder.binary(
        'and',
        64,
        builder.binary('xor', 64, builder.read(first), builder.read(second)),
        builder.constant(0xffff),
      ),
    );
  }

  #operand(operand: Operand): Value {
    return 'number' in operand
      ? this.#builder.constant(operand.number)
      : this.#builder.read(this.#variables[operand.variable]);
  }

  #write(target: number, value: Value): void {
    this.#builder.write(this.#variables[target], value);
  }

  #all(statements: readonly Statement[]): void {
    for (const statement of statements) this.#one(statement);
  }

  #one(statement: Statement): void {
    const builder = this.#builder;
    switch (statement.kind) {
      case 'binary': {
        const { operator, bits, left, right, extend } = statement;
        const value = builder.binary(operator, bits, this.#operand(left), this.#operand(right));
        this.#write(statement.target, extend === null ? value : builder.unary(extend, 4, value));
        break;
      }
      case 'unary':
        this.#write(
          statement.target,
          builder.unary(statement.operator, statement.width, this.#operand(statement.operand)),
        );
        break;
      case 'compare':
        this.#write(
          statement.target,
          builder.compare(
            statement.condition,
            statement.bits,
            this.#operand(statement.left),
            this.#operand(statement.right),
          ),
        );
        break;
      case 'if':
        this.#if(
          (whenTrue, whenFalse) => this.#ask(statement.question, whenTrue, whenFalse),
          () => this.#all(statement.body),
          () => this.#all(statement.otherwise),
        );
        break;
      case 'shortCircuit':
        this.#shortCircuit(statement);
        break;
      case 'loop':
        this.#loop(statement);
        break;
      case 'slot':
        this.#access(builder.stackAddress(this.#slots[statement.slot]), statement.access);
        break;
      case 'slotByte': {
        const index = builder.binary('and', 64, this.#operand(statement.index), builder.constant(SLOT_BYTES - 9));
        const address = builder.binary('add', 64, builder.stackAddress(this.#slots[statement.slot]), index, 'stack');
        if (statement.isWrite) builder.store(1, address, this.#operand({ variable: statement.target }));
        else this.#write(statement.target, builder.load(1, false, address));
        break;
      }
      case 'copy':
        this.#copy(this.#slots[statement.from], this.#slots[statement.to], statement.width);
        break;
      case 'clear':
        this.#clear(this.#slots[statement.slot], statement.width);
        break;
      default:
        this.#memory(statement);
    }
  }

  #memory(
    statement: Extract<Statement, { kind: 'lookup' | 'packet' | 'bytes' | 'checksum' | 'update' | 'cut' | 'element' }>,
  ): void {
    const builder = this.#builder;
    switch (statement.kind) {
      case 'lookup': {
        const value = this.#lookup(VALUES.name, statement.key);
        this.#unless(value, () => {
          for (const access of statement.accesses) this.#access(value, access);
          this.#all(statement.body);
        });
        break;
      }
      case 'packet':
        this.#withPacket(statement.offset, statement.variable, statement.asPhi, (pointer) => {
          for (const access of statement.accesses) this.#access(pointer, access);
        });
        break;
      case 'bytes':
        this.#withPacket(statement.offset, null, false, (pointer) =>
          this.#write(statement.target, this.#bytes(pointer, statement)),
        );
        break;
      case 'checksum':
        this.#checksum(statement);
        break;
      case 'element':
        this.#element(statement);
        break;
      case 'update': {
        const call = { kind: 'helper', id: 2, name: 'bpf_map_update_elem' } as const;
        const address = builder.stackAddress(this.#slots[statement.slot]);
        builder.call(call, [builder.mapAddress(VALUES.name), this.#key(statement.key), address, builder.constant(0)]);
        break;
      }
      case 'cut': {
        const call = { kind: 'helper', id: 65, name: 'bpf_xdp_adjust_tail' } as const;
        builder.call(call, [builder.function.parameters[0], builder.constant(-statement.bytes)]);
        break;
      }
    }
  }

  /** A helper that takes a size: a constant one, or one that a check bounds. */
  #checksum({ slot, target, size }: Extract<Statement, { kind: 'checksum' }>): void {
    const builder = this.#builder;
    const call = (bytes: Value): void => {
      const none = builder.constant(0);
      const address = builder.stackAddress(this.#slots[slot]);
      const helper = { kind: 'helper', id: 28, name: 'bpf_csum_diff' } as const;
      this.#write(target, builder.call(helper, [none, none, address, bytes, none]));
    };
    if (size === null) {
      call(builder.constant(SLOT_BYTES));
      return;
    }
    const bytes = builder.unary('zext', 4, this.#operand(size));
    const most = builder.constant(SLOT_BYTES);
    this.#if(
      (whenTrue, whenFalse) => builder.branch('ule', 32, bytes, most, whenTrue, whenFalse),
      () => call(bytes),
    );
  }

  /** An element of a map's value whose index a check bounds: the verifier must find the bound on what is added to the pointer. */
  #element({ index, bits, target, isWrite, isEarly, plus }: Extract<Statement, { kind: 'element' }>): void {
    const builder = this.#builder;
    const value = this.#lookup(VALUES.name, { number: 1n });
    const checked = builder.unary('zext', 4, this.#operand(index));
    const offsetOf = (): Value => {
      const element = plus === 0 ? checked : builder.binary('add', 64, checked, builder.constant(plus));
      return builder.binary('mul', 64, element, builder.constant(8));
    };
    if (isEarly) this.#write((target + 1) % VARIABLES, offsetOf());
    this.#unless(value, () => {
      const bound = builder.constant(VALUES.valueBytes / 8 - plus);
      const access = (): void => {
        const address = builder.binary('add', 64, value, offsetOf(), 'mapValue');
        if (isWrite) builder.store(8, address, this.#operand({ variable: target }));
        else this.#write(target, builder.load(8, false, address));
      };
      this.#if((whenTrue, whenFalse) => builder.branch('ult', bits, checked, bound, whenTrue, whenFalse), access);
    });
  }

  /** A number of adjacent bytes put together by shifts, as programs read unaligned fields. */
  #bytes(pointer: Value, { count, isBig }: Extract<Statement, { kind: 'bytes' }>): Value {
    const builder = this.#builder;
    let value: Value | null = null;
    for (let byte = 0; byte < count; byte++) {
      const loaded = builder.load(1, false, pointer, 'scalar', { offset: byte });
      const shift = (isBig ? count - 1 - byte : byte) * 8;
      const moved = shift === 0 ? loaded : builder.binary('shl', 64, loaded, builder.constant(shift));
      value = value === null ? moved : builder.binary('or', 64, value, moved);
    }
    return value!;
  }

  #key(operand: Operand): Value {
    const builder = this.#builder;
    const slot = builder.slot(4, 4, `key${this.#names++}`);
    // A key beyond the map's entries is there, too: one of four.
    builder.store(
      4,
      builder.stackAddress(slot),
      builder.binary('and', 64, this.#operand(operand), builder.constant(3)),
    );
    return builder.stackAddress(slot);
  }

  #lookup(map: string, key: Operand): Value {
    const call = { kind: 'helper', id: 1, name: 'bpf_map_lookup_elem' } as const;
    return this.#builder.call(call, [this.#builder.mapAddress(map), this.#key(key)], 'mapValue');
  }

  /** Runs `body` unless the pointer is null. */
  #unless(pointer: Value, body: () => void): void {
    const zero = this.#builder.constant(0);
    this.#if((whenTrue, whenFalse) => this.#builder.branch('eq', 64, pointer, zero, whenFalse, whenTrue), body);
  }

  /** Bytes of the packet behind their check; as in the language, the pointer may be a phi with null that is tested next. */
  #withPacket(offset: number, variable: Operand | null, asPhi: boolean, body: (pointer: Value) => void): void {
    const builder = this.#builder;
    const [context] = builder.function.parameters;
    const data = builder.load(4, false, context, 'packet', { offset: 0 });
    const end = builder.load(4, false, context, 'packetEnd', { offset: 4 });
    let start = builder.binary('add', 64, data, builder.constant(offset), 'packet');
    if (variable !== null) {
      const index = builder.binary('and', 64, this.#operand(variable), builder.constant(31));
      start = builder.binary('add', 64, start, index, 'packet');
    }
    const behind = builder.binary('add', 64, start, builder.constant(PACKET_WINDOW), 'packet');
    if (!asPhi) {
      this.#if(
        (whenTrue, whenFalse) => builder.branch('ugt', 64, behind, end, whenFalse, whenTrue),
        () => body(start),
      );
      return;
    }
    const pointer: Variable = { name: `pointer${this.#names++}`, space: 'packet' };
    this.#if(
      (whenTrue, whenFalse) => builder.branch('ugt', 64, behind, end, whenTrue, whenFalse),
      () => builder.write(pointer, builder.constant(0)),
      () => builder.write(pointer, start),
    );
    const tested = builder.read(pointer);
    this.#unless(tested, () => body(tested));
  }

  #if(
    ask: (whenTrue: Block, whenFalse: Block) => void,
    body: () => void,
    otherwise: () => void = () => undefined,
  ): void {
    const builder = this.#builder;
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

  #ask({ condition, bits, left, right }: Question, whenTrue: Block, whenFalse: Block): void {
    this.#builder.branch(condition, bits, this.#operand(left), this.#operand(right), whenTrue, whenFalse);
  }

  /** `first && second` or `first || second` as a value, then a branch on it. */
  #shortCircuit({ isAnd, first, second, body }: Extract<Statement, { kind: 'shortCircuit' }>): void {
    const builder = this.#builder;
    const answer: Variable = { name: `answer${this.#names++}`, space: 'scalar' };
    const known = () => builder.write(answer, builder.constant(isAnd ? 0 : 1));
    const asked = () => {
      const { condition, bits, left, right } = second;
      builder.write(answer, builder.compare(condition, bits, this.#operand(left), this.#operand(right)));
    };
    this.#if(
      (whenTrue, whenFalse) => this.#ask(first, whenTrue, whenFalse),
      isAnd ? asked : known,
      isAnd ? known : asked,
    );
    const value = builder.read(answer);
    this.#if(
      (whenTrue, whenFalse) => builder.branch('ne', 64, value, builder.constant(0), whenTrue, whenFalse),
      () => this.#all(body),
    );
  }

  #loop({ count, body, leave, index }: Extract<Statement, { kind: 'loop' }>): void {
    const builder = this.#builder;
    const counter: Variable = { name: `i${this.#names++}`, space: 'scalar' };
    builder.write(counter, builder.constant(0));
    const [head, inside, after] = [builder.block(), builder.block(), builder.block()];
    builder.jump(head);
    builder.enter(head);
    builder.branch('slt', 32, builder.read(counter), builder.constant(count), inside, after);
    builder.seal(inside);
    builder.enter(inside);
    builder.write(this.#variables[index], builder.read(counter));
    this.#all(body);
    if (leave !== null) {
      const on = builder.block();
      this.#ask(leave, after, on);
      builder.seal(on);
      builder.enter(on);
    }
    const next = builder.binary('add', 32, builder.read(counter), builder.constant(1));
    builder.write(counter, builder.unary('sext', 4, next));
    builder.jump(head);
    builder.seal(head);
    builder.seal(after);
    builder.enter(after);
  }

  #access(pointer: Value, { kind, variable, target, offset, width, signed, swapped }: Access): void {
    const builder = this.#builder;
    if (kind === 'add') {
      builder.atomic('add', 8, { address: pointer, offset, value: this.#operand(variable), fetch: false });
    } else if (kind === 'read') {
      const value = builder.load(width, signed && width < 8 && !swapped, pointer, 'scalar', { offset });
      this.#write(target, swapped ? builder.unary('swap', width, value) : value);
    } else {
      const value = this.#operand(variable);
      builder.store(width, pointer, swapped ? builder.unary('swap', width, value) : value, { offset });
    }
  }

  #copy(from: StackSlot, to: StackSlot, width: Width): void {
    const builder = this.#builder;
    for (let offset = 0; offset < SLOT_BYTES; offset += width) {
      const value = builder.load(width, false, builder.stackAddress(from), 'scalar', { offset });
      builder.store(width, builder.stackAddress(to), value, { offset });
    }
  }

  #clear(slot: StackSlot, width: Width): void {
    for (let offset = 0; offset < SLOT_BYTES; offset += width) {
      this.#builder.store(width, this.#builder.stackAddress(slot), this.#builder.constant(0), { offset });
    }
  }
}

/** The function `program(context)` of an XDP program, without optimisation. */
export function buildProgram(statements: readonly Statement[]): IrFunction {
  return new Building().build(statements);
}

/** Programs with one statement less: taken out, or its body in its place. */
export function* smallerPrograms(statements: readonly Statement[]): Generator<Statement[]> {
  for (const [index, statement] of statements.entries()) {
    const before = statements.slice(0, index);
    const after = statements.slice(index + 1);
    yield [...before, ...after];
    if ('accesses' in statement && statement.accesses.length > 1) {
      for (const [at] of statement.accesses.entries()) {
        yield [...before, { ...statement, accesses: statement.accesses.filter((_, other) => other !== at) }, ...after];
      }
    }
    if (!('body' in statement)) continue;
    yield [...before, ...statement.body, ...after];
    for (const body of smallerPrograms(statement.body)) yield [...before, { ...statement, body }, ...after];
    if (statement.kind !== 'if') continue;
    yield [...before, ...statement.otherwise, ...after];
    for (const otherwise of smallerPrograms(statement.otherwise))
      yield [...before, { ...statement, otherwise }, ...after];
  }
}

/**
 * Random functions in IR for the back end: arithmetic of all widths, conditions, bounded loops, memory, stack, atomics, calls. They
 * end, touch only memory that they may, and fold all they computed into the result.
 *
 * A newcomer would get wrong: the kernel's verifier must accept them, too. So a loop's counter has a known end, and what indexes
 * memory is masked.
 */
import { Builder, type Variable } from '../../src/bpf/compiler/builder.ts';
import type {
  BinaryOperator,
  Bits,
  Condition,
  IrFunction,
  IrModule,
  StackSlot,
  Value,
  Width,
} from '../../src/bpf/compiler/ir.ts';
import { U64 } from '../../src/bpf/types.ts';
import type { RandomSource } from './random.ts';

/** Bytes of the memory that a random function gets. */
export const IR_MEMORY_BYTES = 64;
const SLOT_BYTES = 32;
/** bpf_get_smp_processor_id: clobbers registers, and its result is masked to 0. */
const HELPER = { kind: 'helper', id: 8, name: 'get_smp_processor_id' } as const;

const operators: readonly BinaryOperator[] = [
  'add',
  'sub',
  'mul',
  'udiv',
  'sdiv',
  'umod',
  'smod',
  'and',
  'or',
  'xor',
  'shl',
  'lshr',
  'ashr',
];
const conditions: readonly Condition[] = ['eq', 'ne', 'ult', 'ule', 'ugt', 'uge', 'slt', 'sle', 'sgt', 'sge', 'test'];
const widths: readonly Width[] = [1, 2, 4, 8];
const edges = [0n, 1n, -1n, 0x7fffffffn, 0x80000000n, 0xffffffffn, -(1n << 63n), 0x123456789abcdefn, 255n, -128n];

/** How large a function becomes. */
export interface IrShape {
  /** Statements, nested ones not counted. */
  readonly statements: number;
  readonly variables: number;
  /** Functions beside the first. */
  readonly functions: number;
}

/** A module whose first function takes an address and a length. */
export function randomModule(random: RandomSource, shape: IrShape): IrModule {
  const callees = Array.from({ length: shape.functions }, (_, index) => `callee${index}`);
  const first = new Generator(random, 'entry', 2, shape, callees).build();
  const others = callees.map((name) => {
    const size = { ...shape, statements: Math.ceil(shape.statements / 3) };
    return new Generator(random, name, 3, size, []).build();
  });
  return { files: [{ path: 'random.bpf.ts', text: '' }], functions: [first, ...others] };
}

class Generator {
  readonly #random: RandomSource;
  readonly #builder: Builder;
  readonly #variables: Variable[];
  readonly #shape: IrShape;
  readonly #callees: readonly string[];
  readonly #slot: StackSlot;
  /** The argument's memory; null in functions that have none. */
  readonly #memory: Value | null;
  #depth = 0;

  constructor(random: RandomSource, name: string, parameters: number, shape: IrShape, callees: readonly string[]) {
    this.#random = random;
    this.#shape = shape;
    this.#callees = callees;
    const isEntry = parameters === 2;
    const declared = Array.from({ length: parameters }, (_, index) => ({ name: `p${index}`, type: U64 }));
    this.#builder = new Builder({
      name,
      signature: { parameters: declared, result: U64 },
      linkage: isEntry ? 'global' : 'static',
      location: { file: 0, line: 1, column: 1 },
      spaces: declared.map((_, index) => (isEntry && index === 0 ? 'mapValue' : 'scalar')),
    });
    this.#memory = isEntry ? this.#builder.function.parameters[0] : null;
    this.#variables = Array.from({ length: shape.variables }, (_, index) => ({ name: `v${index}`, space: 'scalar' }));
    this.#slot = this.#builder.slot(SLOT_BYTES, 8, 'scratch');
  }

  build(): IrFunction {
    const builder = this.#builder;
    for (const [index, variable] of this.#variables.entries()) {
      builder.location = { file: 0, line: index + 2, column: 1 };
      builder.write(variable, this.#initial(index));
    }
    for (let at = 0; at < SLOT_BYTES; at += 8) {
      builder.store(8, builder.stackAddress(this.#slot), this.#any(), { offset: at });
    }
    for (let index = 0; index < this.#shape.statements; index++) this.#statement();
    builder.return(this.#fold());
    return builder.finish();
  }

  #initial(index: number): Value {
    const builder = this.#builder;
    if (this.#memory !== null) {
      return builder.load(8, false, this.#memory, 'scalar', { offset: (index * 8) % IR_MEMORY_BYTES });
    }
    const { parameters } = builder.function;
    return builder.binary('add', 64, parameters[index % parameters.length], builder.constant(index));
  }

  /** Everything that was computed, in one number. */
  #fold(): Value {
    const builder = this.#builder;
    const values = this.#variables.map((variable) => builder.read(variable));
    for (let at = 0; at < SLOT_BYTES; at += 8) {
      values.push(builder.load(8, false, builder.stackAddress(this.#slot), 'scalar', { offset: at }));
    }
    for (let at = 0; this.#memory !== null && at < IR_MEMORY_BYTES; at += 8) {
      values.push(builder.load(8, false, this.#memory, 'scalar', { offset: at }));
    }
    let folded: Value = builder.constant(7);
    for (const value of values) {
      folded = builder.binary('xor', 64, builder.binary('mul', 64, folded, builder.constant(31)), value);
    }
    return folded;
  }

  #pick<Item>(items: readonly Item[]): Item {
    return items[this.#random.integer(items.length)];
  }

  #bits(): Bits {
    return this.#pick([32, 64]);
  }

  #constant(): Value {
    const numbers = [this.#pick(edges), BigInt(this.#random.integer(64)), BigInt(this.#random.integer(2 ** 32))];
    return this.#builder.constant(this.#pick(numbers));
  }

  #any(): Value {
    return this.#random.integer(4) === 0 ? this.#constant() : this.#builder.read(this.#pick(this.#variables));
  }

  #expression(depth: number): Value {
    const builder = this.#builder;
    if (depth === 0) return this.#any();
    switch (this.#random.integer(10)) {
      case 0:
      case 9: {
        const width = this.#pick(widths);
        const operator = this.#pick(['sext', 'zext', 'neg', 'swap'] as const);
        return builder.unary(operator, operator === 'neg' && width < 4 ? 4 : width, this.#expression(depth - 1));
      }
      case 1:
        return builder.compare(this.#pick(conditions), this.#bits(), this.#expression(depth - 1), this.#any());
      case 2:
        return this.#load();
      case 3:
        return this.#any();
      default: {
        const left = this.#expression(depth - 1);
        return builder.binary(this.#pick(operators), this.#bits(), left, this.#expression(depth - 1));
      }
    }
  }

  /** An address where `width` bytes may be read and written, and an offset. */
  #place(width: Width): { readonly address: Value; readonly offset: number } {
    const builder = this.#builder;
    const isStack = this.#memory === null || this.#random.integer(2) === 0;
    const size = isStack ? SLOT_BYTES : IR_MEMORY_BYTES;
    const base = isStack || this.#memory === null ? builder.stackAddress(this.#slot) : this.#memory;
    const steps = this.#random.integer(size / width) * width;
    switch (this.#random.integer(3)) {
      case 0:
        return { address: base, offset: steps };
      case 1:
        return { address: builder.binary('add', 64, base, builder.constant(steps), base.space), offset: 0 };
      default: {
        // A stack access must be aligned, so the index is a multiple of the width.
        const index = builder.binary('and', 64, this.#any(), builder.constant(size / 2 - width));
        const address = builder.binary('add', 64, base, index, base.space);
        return { address, offset: Math.floor(size / 2 / width) * width };
      }
    }
  }

  #load(): Value {
    const width = this.#pick(widths);
    const { address, offset } = this.#place(width);
    return this.#builder.load(width, this.#random.integer(2) === 0, address, 'scalar', { offset });
  }

  #statement(): void {
    const builder = this.#builder;
    builder.location = { file: 0, line: 10 + this.#random.integer(90), column: 1 + this.#random.integer(20) };
    switch (this.#random.integer(this.#depth < 2 ? 10 : 6)) {
      case 0: {
        const width = this.#pick(widths);
        const { address, offset } = this.#place(width);
        builder.store(width, address, this.#expression(1), { offset });
        break;
      }
      case 1:
        this.#atomic();
        break;
      case 2:
        this.#call();
        break;
      case 6:
        this.#loop();
        break;
      case 7:
      case 8:
        this.#if();
        break;
      default:
        builder.write(this.#pick(this.#variables), this.#expression(3));
        break;
    }
  }

  #atomic(): void {
    const builder = this.#builder;
    const width = this.#pick([4, 8] as const);
    const base = this.#memory ?? builder.stackAddress(this.#slot);
    const offset = this.#random.integer(4) * 8;
    const operator = this.#pick(['add', 'and', 'or', 'xor', 'exchange', 'compareExchange'] as const);
    const fetch = this.#random.integer(2) === 0;
    const expected = operator === 'compareExchange' ? this.#any() : undefined;
    const result = builder.atomic(operator, width, { address: base, offset, value: this.#any(), expected, fetch });
    const hasResult = fetch || operator === 'exchange' || operator === 'compareExchange';
    if (hasResult) builder.write(this.#pick(this.#variables), result);
  }

  #call(): void {
    const builder = this.#builder;
    if (this.#callees.length === 0 || this.#random.integer(3) === 0) {
      const result = builder.binary('and', 64, builder.call(HELPER, []), builder.constant(0));
      builder.write(this.#pick(this.#variables), builder.binary('or', 64, result, this.#any()));
      return;
    }
    const values = [this.#any(), this.#any(), this.#any()];
    const result = builder.call({ kind: 'function', name: this.#pick(this.#callees) }, values);
    builder.write(this.#pick(this.#variables), result);
  }

  #body(): void {
    this.#depth++;
    const count = 1 + this.#random.integer(3);
    for (let index = 0; index < count; index++) this.#statement();
    this.#depth--;
  }

  #if(): void {
    const builder = this.#builder;
    const whenTrue = builder.block();
    const whenFalse = builder.block();
    const next = builder.block();
    const left = this.#expression(1);
    if (this.#random.integer(3) === 0) {
      const condition = builder.compare(this.#pick(conditions), this.#bits(), left, this.#any());
      builder.branch(this.#pick(['eq', 'ne']), 64, condition, builder.constant(0), whenTrue, whenFalse);
    } else {
      builder.branch(this.#pick(conditions), this.#bits(), left, this.#any(), whenTrue, whenFalse);
    }
    builder.seal(whenTrue);
    builder.seal(whenFalse);
    builder.enter(whenTrue);
    this.#body();
    builder.jump(next);
    builder.enter(whenFalse);
    if (this.#random.integer(2) === 0) this.#body();
    builder.jump(next);
    builder.seal(next);
    builder.enter(next);
  }

  #loop(): void {
    const builder = this.#builder;
    const counter: Variable = { name: 'counter', space: 'scalar' };
    const head = builder.block();
    const body = builder.block();
    const next = builder.block();
    builder.write(counter, builder.constant(0));
    builder.jump(head);
    builder.enter(head);
    builder.branch('ult', 64, builder.read(counter), builder.constant(1 + this.#random.integer(4)), body, next);
    builder.seal(body);
    builder.seal(next);
    builder.enter(body);
    this.#body();
    builder.write(counter, builder.binary('add', 64, builder.read(counter), builder.constant(1)));
    builder.jump(head);
    builder.seal(head);
    builder.enter(next);
  }
}

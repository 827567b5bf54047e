/**
 * Room `bpf`: what the passes share to change a function: numbers that exist once, values put in the place of others, edges taken
 * out and moved.
 *
 * A newcomer would get wrong: a replacement is only noted until {@link Editor.settle}. A pass that looks at operands before that asks
 * {@link Editor.resolve}; each pass ends with `settle`, so that the next one finds a whole function.
 */
import {
  type Binary,
  type BinaryOperator,
  type Bits,
  type Block,
  type Compare,
  type Condition,
  type Constant,
  type IrFunction,
  mapOperands,
  type Phi,
  type Space,
  type Terminator,
  type Unary,
  type UnaryOperator,
  type Value,
  type Width,
} from '../ir.ts';
import { signed64 } from './evaluate.ts';
import { ValueMap } from './value-map.ts';

/** Where a new value comes from: what it stands for in messages. */
export type Origin = Pick<Value, 'location' | 'name'>;

/** A function under change. */
export class Editor {
  readonly function: IrFunction;
  readonly #constants = new Map<bigint, Constant>();
  readonly #pending: Constant[] = [];
  readonly #replacements: ValueMap<Value>;
  readonly #replaced: Value[] = [];
  #nextBlock: number;

  /** Every number moves to the entry, once: equal operands are then the same object. `placeConstants` moves them back to their uses. */
  constructor(irFunction: IrFunction) {
    this.function = irFunction;
    this.#replacements = new ValueMap(irFunction);
    this.#nextBlock = irFunction.blocks.reduce((next, block) => Math.max(next, block.id + 1), 0);
    for (const block of irFunction.blocks) {
      block.operations = block.operations.filter((operation) => {
        if (operation.kind !== 'constant') return true;
        this.replace(operation, this.constant(operation.value));
        return false;
      });
    }
    this.settle();
  }

  #common(space: Space, origin: Origin | null) {
    const { location = null, name } = origin ?? {};
    return { id: this.function.nextId++, location, space, name };
  }

  constant(value: bigint | number): Constant {
    const number = signed64(BigInt(value));
    const known = this.#constants.get(number);
    if (known !== undefined) return known;
    const made: Constant = { ...this.#common('scalar', null), kind: 'constant', value: number };
    this.#constants.set(number, made);
    this.#pending.push(made);
    return made;
  }

  binary(
    operator: BinaryOperator,
    bits: Bits,
    left: Value,
    right: Value,
    origin: Origin,
    space: Space = 'scalar',
  ): Binary {
    return { ...this.#common(space, origin), kind: 'binary', operator, bits, left, right };
  }

  unary(operator: UnaryOperator, width: Width, operand: Value, origin: Origin): Unary {
    return { ...this.#common('scalar', origin), kind: 'unary', operator, width, operand };
  }

  compare(condition: Condition, bits: Bits, left: Value, right: Value, origin: Origin): Compare {
    return { ...this.#common('scalar', origin), kind: 'compare', condition, bits, left, right };
  }

  phi(block: Block, space: Space, inputs: Value[], origin: Origin): Phi {
    return { ...this.#common(space, origin), kind: 'phi', block, inputs };
  }

  /** The same operation as an object of its own. */
  copy<T extends Value>(value: T): T {
    const made = { ...value, id: this.function.nextId++ };
    if (made.kind === 'call') made.arguments = [...made.arguments];
    return made;
  }

  block(): Block {
    return { id: this.#nextBlock++, phis: [], operations: [], terminator: null, predecessors: [] };
  }

  /** From `settle` on, every use of `old` is one of `by`. */
  replace(old: Value, by: Value): void {
    if (old === by) return;
    this.#replacements.set(old, by);
    this.#replaced.push(old);
  }

  /** What a value has been replaced by, so far. */
  resolve(value: Value): Value {
    if (this.#replaced.length === 0) return value;
    let found = value;
    for (let next = this.#replacements.get(found); next !== undefined; next = this.#replacements.get(found)) {
      found = next;
    }
    return found;
  }

  /** Carries replacements out and puts new numbers into the entry. */
  settle(): void {
    if (this.#pending.length > 0) this.function.blocks[0].operations.unshift(...this.#pending.splice(0));
    if (this.#replaced.length === 0) return;
    const resolve = (value: Value): Value => this.resolve(value);
    for (const block of this.function.blocks) {
      for (const phi of block.phis) mapOperands(phi, resolve);
      for (const operation of block.operations) mapOperands(operation, resolve);
      if (block.terminator !== null) mapTerminator(block.terminator, resolve);
    }
    for (const value of this.#replaced.splice(0)) this.#replacements.set(value, undefined);
  }

  /** Forgets numbers that are gone from the entry, so that they are made anew. */
  forget(constant: Constant): void {
    this.#constants.delete(constant.value);
  }
}

/** Puts `of(operand)` in the place of each value that a terminator reads. */
export function mapTerminator(terminator: Terminator, of: (operand: Value) => Value): void {
  if (terminator.kind === 'branch') {
    terminator.left = of(terminator.left);
    terminator.right = of(terminator.right);
  } else if (terminator.kind === 'return' && terminator.value !== null) {
    terminator.value = of(terminator.value);
  }
}

/** Takes one edge from `predecessor` out of a block's predecessors and phis. */
export function removeEdge(block: Block, predecessor: Block): void {
  const index = block.predecessors.indexOf(predecessor);
  block.predecessors.splice(index, 1);
  for (const phi of block.phis) phi.inputs.splice(index, 1);
}

/** Makes control go to `to` wherever the end of `block` named `from`. Predecessors are the caller's business. */
export function retarget(block: Block, from: Block, to: Block): void {
  const end = block.terminator;
  if (end?.kind === 'jump' && end.target === from) end.target = to;
  if (end?.kind !== 'branch') return;
  if (end.whenTrue === from) end.whenTrue = to;
  if (end.whenFalse === from) end.whenFalse = to;
}

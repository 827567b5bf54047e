/**
 * Room `bpf`: makes IR, one function at a time. Variables of the source are written and read by name here and become SSA values at
 * once (Braun and others, “Simple and Efficient Construction of Static Single Assignment Form”, 2013).
 *
 * A newcomer would get wrong: a block must be sealed once no further edge into it will be made, for only then are its phis complete.
 * A loop's head is sealed after its back edge; everything else as soon as its predecessors have their ends.
 */
import type {
  AtomicOperator,
  BinaryOperator,
  Bits,
  Block,
  CallTarget,
  Compare,
  Condition,
  Constant,
  CoreRelocation,
  IrFunction,
  Location,
  Operation,
  Parameter,
  Phi,
  Space,
  StackSlot,
  UnaryOperator,
  Value,
  Width,
} from './ir.ts';
import { mapOperands, operandsOf, terminatorOperands } from './ir.ts';

/** A variable of the source: an object of one's own, compared by identity. `name` is for messages. */
export interface Variable {
  readonly name: string;
  readonly space: Space;
}

/** Options of {@link Builder.load} and {@link Builder.store}. */
export interface AccessOptions {
  readonly offset?: number;
  readonly volatile?: boolean;
  readonly relocation?: CoreRelocation | null;
}

/** Builds one function. After {@link Builder.finish} it must not be used. */
export class Builder {
  readonly function: IrFunction;
  /** Where the next operations go; null after an end, until {@link Builder.enter}. */
  current: Block | null;
  /** The source's place, put on what is made from now on. */
  location: Location | null = null;
  readonly #definitions = new Map<Block, Map<Variable, Value>>();
  readonly #sealed = new Set<Block>();
  readonly #incomplete = new Map<Block, Map<Variable, Phi>>();
  /** Phis that turned out to be one value. */
  readonly #replaced = new Map<Value, Value>();

  constructor(spec: Pick<IrFunction, 'name' | 'signature' | 'linkage' | 'location'> & { spaces: readonly Space[] }) {
    const { name, signature, linkage, location, spaces } = spec;
    this.function = { name, signature, linkage, location, parameters: [], blocks: [], slots: [], nextId: 0 };
    for (const [index, space] of spaces.entries()) {
      const parameter: Parameter = { ...this.#common(space), kind: 'parameter', index };
      parameter.name = signature.parameters[index]?.name;
      this.function.parameters.push(parameter);
    }
    this.current = this.block();
    this.seal(this.current);
  }

  #common(space: Space): { id: number; location: Location | null; space: Space; name: string | undefined } {
    return { id: this.function.nextId++, location: this.location, space, name: undefined };
  }

  /** A new block, not sealed, without an end. */
  block(): Block {
    const block: Block = {
      id: this.function.blocks.length,
      phis: [],
      operations: [],
      terminator: null,
      predecessors: [],
    };
    this.function.blocks.push(block);
    return block;
  }

  /** Goes on in a block. */
  enter(block: Block): void {
    this.current = block;
  }

  /** Says that every edge into the block is there. */
  seal(block: Block): void {
    this.#sealed.add(block);
    for (const [variable, phi] of this.#incomplete.get(block) ?? []) this.#fill(variable, phi);
    this.#incomplete.delete(block);
  }

  #append<T extends Operation>(operation: T): T {
    // Code behind a return or a break is never reached; it is built all the same and falls away with its block.
    if (this.current === null) {
      this.current = this.block();
      this.seal(this.current);
    }
    this.current.operations.push(operation);
    return operation;
  }

  constant(value: bigint | number): Constant {
    return this.#append({
      ...this.#common('scalar'),
      kind: 'constant',
      value: BigInt.asIntN(64, BigInt(value)),
    });
  }

  binary(operator: BinaryOperator, bits: Bits, left: Value, right: Value, space: Space = 'scalar'): Value {
    return this.#append({ ...this.#common(space), kind: 'binary', operator, bits, left, right });
  }

  unary(operator: UnaryOperator, width: Width, operand: Value): Value {
    return this.#append({ ...this.#common('scalar'), kind: 'unary', operator, width, operand });
  }

  compare(condition: Condition, bits: Bits, left: Value, right: Value): Compare {
    return this.#append({ ...this.#common('scalar'), kind: 'compare', condition, bits, left, right });
  }

  load(width: Width, signed: boolean, address: Value, space: Space = 'scalar', options: AccessOptions = {}): Value {
    const { offset = 0, volatile = false, relocation = null } = options;
    return this.#append({
      ...this.#common(space),
      kind: 'load',
      width,
      signed,
      address: this.#reached(address),
      offset,
      volatile,
      relocation,
    });
  }

  store(width: Width, address: Value, value: Value, options: AccessOptions = {}): void {
    const { offset = 0, volatile = false, relocation = null } = options;
    const place = { address: this.#reached(address), offset };
    this.#append({ ...this.#common('scalar'), kind: 'store', width, ...place, value, volatile, relocation });
  }

  atomic(
    operator: AtomicOperator,
    width: 4 | 8,
    operands: { address: Value; offset?: number; value: Value; expected?: Value; fetch: boolean },
  ): Value {
    const { address, offset = 0, value, expected = null, fetch } = operands;
    return this.#append({
      ...this.#common('scalar'),
      kind: 'atomic',
      operator,
      width,
      fetch,
      address: this.#reached(address),
      offset,
      value,
      expected,
    });
  }

  /** A slot of the frame. It is not cleared. */
  slot(bytes: number, alignment: number, name: string): StackSlot {
    const slot: StackSlot = { id: this.function.slots.length, bytes, alignment, name };
    this.function.slots.push(slot);
    return slot;
  }

  stackAddress(slot: StackSlot): Value {
    return this.#append({ ...this.#common('stack'), kind: 'stackAddress', slot });
  }

  mapAddress(map: string): Value {
    return this.#append({ ...this.#common('map'), kind: 'mapAddress', map });
  }

  dataAddress(section: string, symbol: string, offset = 0, space: Space = 'global'): Value {
    return this.#append({ ...this.#common(space), kind: 'dataAddress', section, symbol, offset });
  }

  functionAddress(name: string): Value {
    return this.#append({ ...this.#common('function'), kind: 'functionAddress', function: name });
  }

  relocated(relocation: CoreRelocation, value: bigint): Value {
    return this.#append({ ...this.#common('scalar'), kind: 'relocated', relocation, value });
  }

  /** What user space calls an address of the arena. The other way goes every access by itself. */
  userAddress(operand: Value): Value {
    return this.#append({ ...this.#common('arena'), kind: 'addressCast', to: 'user', operand });
  }

  /** An address as an access takes it: until here one into an arena is user space's, in variables as in memory. */
  #reached(address: Value): Value {
    if (address.space !== 'arena') return address;
    return this.#append({ ...this.#common('arena'), kind: 'addressCast', to: 'kernel', operand: address });
  }

  call(target: CallTarget, values: readonly Value[], space: Space = 'scalar', pure = false): Value {
    return this.#append({ ...this.#common(space), kind: 'call', target, arguments: [...values], pure });
  }

  jump(target: Block): void {
    this.#end({ kind: 'jump', location: this.location, target }, [target]);
  }

  branch(condition: Condition, bits: Bits, left: Value, right: Value, whenTrue: Block, whenFalse: Block): void {
    const end = { kind: 'branch', location: this.location, condition, bits, left, right, whenTrue, whenFalse } as const;
    this.#end({ ...end }, [whenTrue, whenFalse]);
  }

  return(value: Value | null): void {
    this.#end({ kind: 'return', location: this.location, value }, []);
  }

  #end(terminator: NonNullable<Block['terminator']>, targets: readonly Block[]): void {
    if (this.current === null) return;
    this.current.terminator = terminator;
    for (const target of targets) {
      if (this.#sealed.has(target)) throw new Error(`an edge into block ${target.id}, which is sealed`);
      target.predecessors.push(this.current);
    }
    this.current = null;
  }

  /** Gives a variable a value, from here on. Does nothing in code that is never reached. */
  write(variable: Variable, value: Value): void {
    if (this.current === null) return;
    value.name ??= variable.name;
    this.#define(this.current, variable, value);
  }

  #define(block: Block, variable: Variable, value: Value): void {
    const known = this.#definitions.get(block);
    if (known === undefined) this.#definitions.set(block, new Map([[variable, value]]));
    else known.set(variable, value);
  }

  /** The variable's value here. @throws Error where it was never written on the way here: the front end's checks come first */
  read(variable: Variable): Value {
    if (this.current === null) {
      this.current = this.block();
      this.seal(this.current);
    }
    return this.#resolve(this.#readIn(this.current, variable));
  }

  #readIn(block: Block, variable: Variable): Value {
    const known = this.#definitions.get(block)?.get(variable);
    if (known !== undefined) return this.#resolve(known);
    const value = this.#readBefore(block, variable);
    this.#define(block, variable, value);
    return value;
  }

  #readBefore(block: Block, variable: Variable): Value {
    if (!this.#sealed.has(block)) {
      const phi = this.#phi(block, variable);
      const waiting = this.#incomplete.get(block) ?? new Map<Variable, Phi>();
      this.#incomplete.set(block, waiting.set(variable, phi));
      return phi;
    }
    if (block.predecessors.length === 1) return this.#readIn(block.predecessors[0], variable);
    if (block.predecessors.length === 0) {
      if (block === this.function.blocks[0]) throw new Error(`${variable.name} is read before it is written`);
      // Never reached: any value does.
      const nothing: Constant = { ...this.#common('scalar'), kind: 'constant', value: 0n };
      block.operations.unshift(nothing);
      return nothing;
    }
    const phi = this.#phi(block, variable);
    // Before its inputs are read: a loop may ask for this very variable.
    this.#define(block, variable, phi);
    return this.#fill(variable, phi);
  }

  #phi(block: Block, variable: Variable): Phi {
    const phi: Phi = { ...this.#common(variable.space), kind: 'phi', block, inputs: [] };
    phi.name = variable.name;
    block.phis.push(phi);
    return phi;
  }

  #fill(variable: Variable, phi: Phi): Value {
    for (const predecessor of phi.block.predecessors) phi.inputs.push(this.#readIn(predecessor, variable));
    return this.#simplify(phi);
  }

  /** A phi of one value (and itself) is that value; phis that used it may then be so, too. */
  #simplify(phi: Phi): Value {
    let same: Value | null = null;
    for (const input of phi.inputs) {
      const value = this.#resolve(input);
      if (value === phi || value === same) continue;
      if (same !== null) return phi;
      same = value;
    }
    if (same === null) return phi;
    this.#replaced.set(phi, same);
    phi.block.phis = phi.block.phis.filter((other) => other !== phi);
    for (const block of this.function.blocks) {
      for (const other of [...block.phis]) {
        if (other.inputs.length === block.predecessors.length && other.inputs.includes(phi)) this.#simplify(other);
      }
    }
    return this.#resolve(same);
  }

  #resolve(value: Value): Value {
    let found = value;
    for (let next = this.#replaced.get(found); next !== undefined; next = this.#replaced.get(found)) found = next;
    return found;
  }

  /**
   * The finished function: blocks that are never reached are gone, and every operand is what it turned out to be.
   * @throws Error for a reachable block without an end
   */
  finish(): IrFunction {
    const reached = new Set<Block>();
    const open = [this.function.blocks[0]];
    for (let block = open.pop(); block !== undefined; block = open.pop()) {
      if (reached.has(block)) continue;
      reached.add(block);
      const end = block.terminator;
      if (end === null) throw new Error(`${this.function.name}: block ${block.id} has no end`);
      if (end.kind === 'jump') open.push(end.target);
      else if (end.kind === 'branch') open.push(end.whenFalse, end.whenTrue);
    }
    this.function.blocks = this.function.blocks.filter((block) => reached.has(block));
    for (const block of this.function.blocks) this.#settle(block, reached);
    return this.function;
  }

  #settle(block: Block, reached: ReadonlySet<Block>): void {
    const kept = block.predecessors.map((predecessor) => reached.has(predecessor));
    for (const phi of block.phis) phi.inputs = phi.inputs.filter((_, index) => kept[index]);
    block.predecessors = block.predecessors.filter((_, index) => kept[index]);
    for (const value of [...block.phis, ...block.operations]) {
      if (operandsOf(value).length > 0) mapOperands(value, (operand) => this.#resolve(operand));
    }
    const end = block.terminator;
    if (end === null || terminatorOperands(end).length === 0) return;
    if (end.kind === 'branch') {
      end.left = this.#resolve(end.left);
      end.right = this.#resolve(end.right);
    } else if (end.kind === 'return' && end.value !== null) {
      end.value = this.#resolve(end.value);
    }
  }
}

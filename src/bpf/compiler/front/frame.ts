/**
 * Room `bpf`: the state of lowering one function of the object: its builder, the names in sight, what is known about pointers here, and
 * where `break`, `continue` and `return` lead.
 *
 * A newcomer would get wrong: `return` does not end anything by itself. Exits are collected with their operands, and whoever lowers the
 * function joins them afterwards, when all are known. So an inlined function with one exit costs nothing.
 */

import type { Type } from '../../types.ts';
import type { Builder, Variable } from '../builder.ts';
import { type Located, refuse, refuseSilently } from '../diagnostics.ts';
import type { Block, Value } from '../ir.ts';
import { leadsIntoArena } from './arenas.ts';
import { convert, operandOf } from './arithmetic.ts';
import type { FunctionEntity, Module, ProgramEntity } from './entities.ts';
import type { Expression, Statement } from './syntax.ts';
import type { Unit } from './unit.ts';
import {
  adviceOnNumber,
  type Binding,
  computed,
  describe,
  isScalarType,
  type LocalVariable,
  type Operand,
  type Pointer,
  type Scalar,
  type Test,
} from './values.ts';

/** What control flow tells of pointers that may be null. */
export type Facts = ReadonlyMap<Binding, 'null' | 'present'>;

/** A block that will be entered later, with what is known on all ways into it; `facts` null: no way leads there yet. */
export interface Label {
  readonly block: Block;
  facts: Facts | null;
  packet: object | null;
}

/** What a `return` gave, and where. */
export interface Exit {
  readonly operand: Operand;
  readonly block: Block;
  readonly facts: Facts;
  readonly packet: object;
  readonly node: Located;
}

/** Where `break` and `continue` lead. */
export interface Target {
  readonly names: readonly string[];
  readonly end: Label;
  /** Null for a switch or a labelled block. */
  readonly next: Label | null;
}

/** Names of one block of the source. */
interface Scope {
  readonly parent: Scope | null;
  readonly names: Map<string, Binding>;
}

/** The rules of the language, which call each other through the frame. */
export interface Rules {
  /** `expected`: the type that is wanted, which object literals and null take. */
  expression(frame: Frame, node: Expression, expected: Type | null): Operand;
  condition(frame: Frame, node: Expression, whenTrue: Label, whenFalse: Label): void;
  statements(frame: Frame, nodes: readonly Statement[]): void;
  /** Reads a place; other operands are as they are. */
  value(frame: Frame, node: Located, operand: Operand): Operand;
}

const NO_FACTS: Facts = new Map();

export class Frame {
  readonly unit: Unit;
  readonly builder: Builder;
  readonly program: ProgramEntity | null;
  readonly rules: Rules;
  module: Module;
  scope: Scope = { parent: null, names: new Map() };
  facts: Facts = NO_FACTS;
  /** Which packet pointers are good: helpers that move the packet put a new one. */
  packet: object = {};
  exits: Exit[] = [];
  /** The type that the function here is annotated to give; for literals that it returns. */
  result: Type | null = null;
  targets: Target[] = [];
  /** Nodes of the functions that were inlined so far. */
  inlinedNodes = 0;
  /** The functions being inlined here, outermost first. */
  calling: readonly FunctionEntity[] = [];
  /** The call whose value nobody takes: the whole of an expression statement. */
  discarded: object | null = null;
  /** Labels of the source that name the next loop. */
  labels: string[] = [];
  /** The function that this one is a callback in. */
  readonly outer: Frame | null;
  /** Names that are assigned to somewhere in the function: all others keep what they were declared with. */
  assigned: ReadonlySet<string> = new Set();

  constructor(
    unit: Unit,
    module: Module,
    builder: Builder,
    rules: Rules,
    { program = null, outer = null }: { readonly program?: ProgramEntity | null; readonly outer?: Frame | null },
  ) {
    this.unit = unit;
    this.module = module;
    this.builder = builder;
    this.rules = rules;
    this.program = program;
    this.outer = outer;
  }

  /** Whether control can come here. */
  get isReached(): boolean {
    return this.builder.current !== null;
  }

  /** Puts the place of a node on what is made next. */
  at(node: Located): void {
    this.builder.location = this.unit.locate(node);
  }

  label(): Label {
    return { block: this.builder.block(), facts: null, packet: null };
  }

  #arrive(label: Label): void {
    if (label.facts === null) {
      label.facts = this.facts;
      label.packet = this.packet;
      return;
    }
    if (label.facts !== this.facts) {
      label.facts = new Map([...label.facts].filter(([binding, fact]) => this.facts.get(binding) === fact));
    }
    // Where one way moved the packet, pointers from before are good on neither.
    if (label.packet !== this.packet) label.packet = {};
  }

  jump(label: Label): void {
    if (!this.isReached) return;
    this.#arrive(label);
    this.builder.jump(label.block);
  }

  branch(test: Test | boolean, whenTrue: Label, whenFalse: Label): void {
    if (!this.isReached) return;
    if (typeof test === 'boolean') {
      this.jump(test ? whenTrue : whenFalse);
      return;
    }
    this.#arrive(whenTrue);
    this.#arrive(whenFalse);
    const { condition, bits, left, right } = test;
    this.builder.branch(condition, bits, left, right, whenTrue.block, whenFalse.block);
  }

  /** Goes on at a label into which all ways lead already. */
  enter(label: Label): void {
    this.builder.seal(label.block);
    this.enterOpen(label);
  }

  /** Goes on at a label into which more ways will lead: the head of a loop. */
  enterOpen(label: Label): void {
    if (label.facts === null) {
      this.builder.current = null;
      return;
    }
    this.builder.enter(label.block);
    this.facts = label.facts;
    this.packet = label.packet ?? this.packet;
  }

  /** Goes on in a block that nothing leads to: after a refusal, to find what else is wrong. */
  enterAfresh(): void {
    const block = this.builder.block();
    this.builder.seal(block);
    this.builder.enter(block);
  }

  /** What is known of a pointer. */
  nullness(pointer: Pointer): 'null' | 'present' | 'unknown' {
    if (!pointer.nullable) return 'present';
    return (pointer.binding === null ? undefined : this.facts.get(pointer.binding)) ?? 'unknown';
  }

  learn(binding: Binding | null, fact: 'null' | 'present' | null): void {
    if (binding === null || this.facts.get(binding) === (fact ?? undefined)) return;
    const facts = new Map(this.facts);
    if (fact === null) facts.delete(binding);
    else facts.set(binding, fact);
    this.facts = facts;
  }

  /** Forgets what is known of variables that a loop assigns to. */
  forget(names: ReadonlySet<string>): void {
    if (![...this.facts.keys()].some((binding) => binding.variable !== null && names.has(binding.name))) return;
    this.facts = new Map([...this.facts].filter(([binding]) => binding.variable === null || !names.has(binding.name)));
  }

  /** Does `work` with names of its own. */
  scoped<T>(work: () => T): T {
    const { scope } = this;
    this.scope = { parent: scope, names: new Map() };
    try {
      return work();
    } finally {
      this.scope = scope;
    }
  }

  /** A local name, or null. */
  find(name: string): Binding | null {
    for (let scope: Scope | null = this.scope; scope !== null; scope = scope.parent) {
      const found = scope.names.get(name);
      if (found !== undefined) return found;
    }
    return null;
  }

  declare(node: Located, binding: Binding): void {
    if (this.scope.names.has(binding.name)) refuse(node, `${binding.name} is declared twice`, 'rename one of them');
    this.scope.names.set(binding.name, binding);
  }

  /** A name for an operand that never changes. */
  bind(node: Located, name: string, operand: Operand): Binding {
    const binding: Binding = { name, operand, variable: null };
    if (operand.kind === 'scalar' && operand.value !== null) operand.value.name ??= name;
    if (operand.kind === 'pointer') operand.address.name ??= name;
    this.declare(node, binding);
    if (operand.kind === 'pointer' && this.nullness(operand) === 'present') this.learn(binding, 'present');
    return binding;
  }

  /** A variable: `shape` says everything but its value. */
  variable(node: Located, name: string, shape: Scalar | Pointer): Binding {
    const ir = { name, space: shape.kind === 'scalar' ? 'scalar' : shape.space };
    const binding: Binding = { name, operand: null, variable: { ir, shape } };
    this.declare(node, binding);
    return binding;
  }

  /** What a name stands for here. */
  read(binding: Binding): Operand {
    const { operand, variable } = binding;
    if (operand?.kind === 'broken') refuseSilently();
    if (operand !== null) return operand.kind === 'pointer' ? { ...operand, binding } : operand;
    if (variable === null) return refuseSilently();
    const { ir, shape } = variable;
    if (shape.kind === 'scalar') return computed(shape.type, this.builder.read(ir));
    // A variable that was only null so far, as before a loop, is read before it is known where it will lead.
    const isArenas = shape.space === 'scalar' && leadsIntoArena(this.unit, shape.type);
    const space = isArenas ? 'arena' : shape.space;
    if (isArenas) {
      ir.space = space;
      variable.shape = { ...shape, space };
    }
    return { ...shape, space, address: this.builder.read(ir), offset: 0, binding };
  }

  /** Gives a variable a new value. */
  write(node: Located, binding: Binding, operand: Operand): void {
    const { variable } = binding;
    if (variable === null) refuse(node, `${binding.name} is a constant`, 'use a variable of its own: let x = …');
    const { ir, shape } = variable;
    if (shape.kind === 'scalar') {
      if (operand.kind !== 'scalar') refuse(node, `${describe(operand)} is no number`, `${binding.name} holds numbers`);
      const converted = convert(this.builder, operand, shape.type);
      this.builder.write(ir, operandOf(this.builder, converted, 64));
      return;
    }
    if (operand.kind === 'null') {
      if (!shape.nullable) refuse(node, `${binding.name} cannot be null`, 'declare it with “| null” in its type');
      this.builder.write(ir, this.builder.constant(0));
      this.learn(binding, 'null');
      return;
    }
    if (operand.kind !== 'pointer') refuse(node, `${describe(operand)} cannot be in ${binding.name}`);
    const state = this.nullness(operand);
    this.#fit(node, variable, shape, operand);
    this.builder.write(ir, this.settle(operand));
    this.learn(binding, state === 'unknown' ? null : state);
  }

  /** A variable leads to one kind of memory only, as the verifier follows each pointer by its kind. */
  #fit(node: Located, variable: LocalVariable, shape: Pointer, operand: Pointer): void {
    const { name } = variable.ir;
    if (shape.space === 'scalar') {
      variable.ir.space = operand.space;
      variable.shape = { ...operand, nullable: shape.nullable, tests: null, offset: 0, binding: null };
      return;
    }
    if (shape.boxed !== operand.boxed || describe(shape) !== describe(operand)) {
      refuse(node, `${describe(operand)} cannot be in ${name}`, `it holds ${describe(shape)}`);
    }
    if (shape.space !== operand.space) {
      refuse(node, `${name} leads into ${shape.space}, and this into ${operand.space}`, 'use two variables');
    }
  }

  /** The address that a pointer holds, its offset added. */
  addressOf(pointer: Pick<Pointer, 'address' | 'offset' | 'space' | 'core'>): Value {
    const { builder } = this;
    const { address, offset, space, core } = pointer;
    if (core !== null && core.path.length > 0) {
      const relocation = { struct: core.struct, path: core.path, kind: 'fieldByteOffset' } as const;
      return builder.binary('add', 64, address, builder.relocated(relocation, BigInt(offset)), space);
    }
    return offset === 0 ? address : builder.binary('add', 64, address, builder.constant(offset), space);
  }

  /** A pointer as one value, 0 where it is null. */
  settle(pointer: Pointer): Value {
    const { builder } = this;
    if (pointer.tests === null || this.nullness(pointer) === 'present') return this.addressOf(pointer);
    const result: Variable = { name: pointer.binding?.name ?? 'pointer', space: pointer.space };
    const [present, absent, end] = [this.label(), this.label(), this.label()];
    const address = this.addressOf(pointer);
    this.testAll(pointer.tests, present, absent);
    this.enter(present);
    builder.write(result, address);
    this.jump(end);
    this.enter(absent);
    builder.write(result, builder.constant(0));
    this.jump(end);
    this.enter(end);
    return builder.read(result);
  }

  /** Goes to `whenTrue` where all tests hold. */
  testAll(tests: readonly Test[], whenTrue: Label, whenFalse: Label): void {
    for (const [index, test] of tests.entries()) {
      const next = index === tests.length - 1 ? whenTrue : this.label();
      this.branch(test, next, whenFalse);
      if (next !== whenTrue) this.enter(next);
    }
  }

  /** A pointer that may be used: tested, and into the packet as it is now. */
  present(node: Located, pointer: Pointer): Pointer {
    const name = pointer.binding?.name ?? 'this';
    const state = this.nullness(pointer);
    if (state === 'null') refuse(node, `${name} is null here`);
    if (state === 'unknown') {
      const declare = pointer.binding === null ? 'put it into a const and test that' : 'test it before';
      refuse(node, `${name} may be null`, `${declare}: if (${name === 'this' ? 'found' : name} === null) return …`);
    }
    if (pointer.packet !== null && pointer.packet !== this.packet) {
      refuse(node, `${name} points into the packet as it was before a helper moved it`, 'ask packet() again');
    }
    return pointer;
  }

  expression(node: Expression, expected: Type | null = null): Operand {
    return this.rules.expression(this, node, expected);
  }

  /** An expression's value: what lies in a place is read. */
  value(node: Expression, expected: Type | null = null): Operand {
    return this.rules.value(this, node, this.rules.expression(this, node, expected));
  }

  /** A number. */
  scalar(node: Expression, to: Type | null = null): Scalar {
    const operand = this.scalarOf(node, this.value(node, to));
    return to !== null && isScalarType(to) ? convert(this.builder, operand, to) : operand;
  }

  /** The same of an operand. */
  scalarOf(node: Located, operand: Operand): Scalar {
    if (operand.kind === 'scalar') return operand;
    // Where a statement was refused, its way through the function may lead nowhere.
    if (operand.kind === 'void' && this.unit.errors.length > 0) refuseSilently();
    return refuse(node, `${describe(operand)} is no number`, adviceOnNumber(operand, 'a number is wanted here'));
  }

  condition(node: Expression, whenTrue: Label, whenFalse: Label): void {
    this.rules.condition(this, node, whenTrue, whenFalse);
  }
}

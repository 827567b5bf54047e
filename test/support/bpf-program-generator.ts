/**
 * Builds the IR of random programs, as a front end would: variables become SSA values, every access stands behind its check.
 *
 * A newcomer would get wrong: nothing is known before the program runs, because its variables begin with bytes of the packet. A
 * program over numbers only would be folded away.
 */
import type { Variable } from '../../src/bpf/compiler/builder.ts';
import type { IrFunction, Value } from '../../src/bpf/compiler/ir.ts';
import { ProgramPieces } from './bpf-program-pieces.ts';
import { RESULTS, SLOT_BYTES, SLOTS, type Statement, VALUES, VARIABLES, widths } from './bpf-program-statements.ts';

/** Builds a program's statements. */
class Building extends ProgramPieces {
  build(statements: readonly Statement[]): IrFunction {
    const builder = this.builder;
    for (let index = 0; index < SLOTS; index++) {
      const slot = builder.slot(SLOT_BYTES, 8, `slot${index}`);
      this.slots.push(slot);
      this.clear(slot, 8);
    }
    // The variables begin with bytes of the packet, so that nothing is known before the program runs.
    for (const variable of this.variables) builder.write(variable, builder.constant(0));
    this.withPacket(0, null, false, (pointer) => {
      for (const [index, variable] of this.variables.entries()) {
        const width = widths[index % 4];
        builder.write(variable, builder.load(width, index % 2 === 0, pointer, 'scalar', { offset: index * 2 }));
      }
    });
    this.#all(statements);
    this.#finish();
    return builder.finish();
  }

  #finish(): void {
    const builder = this.builder;
    const found = this.lookup(RESULTS.name, { number: 0n });
    this.unless(found, () => {
      for (const [index, variable] of this.variables.entries()) {
        builder.store(8, found, builder.read(variable), { offset: index * 8 });
      }
    });
    const [first, second] = this.variables;
    builder.return(
      builder.binary(
        'and',
        64,
        builder.binary('xor', 64, builder.read(first), builder.read(second)),
        builder.constant(0xffff),
      ),
    );
  }

  #all(statements: readonly Statement[]): void {
    for (const statement of statements) this.#one(statement);
  }

  #one(statement: Statement): void {
    const builder = this.builder;
    switch (statement.kind) {
      case 'binary': {
        const { operator, bits, left, right, extend } = statement;
        const value = builder.binary(operator, bits, this.operand(left), this.operand(right));
        this.write(statement.target, extend === null ? value : builder.unary(extend, 4, value));
        break;
      }
      case 'unary':
        this.write(
          statement.target,
          builder.unary(statement.operator, statement.width, this.operand(statement.operand)),
        );
        break;
      case 'compare':
        this.write(
          statement.target,
          builder.compare(
            statement.condition,
            statement.bits,
            this.operand(statement.left),
            this.operand(statement.right),
          ),
        );
        break;
      case 'if':
        this.if(
          (whenTrue, whenFalse) => this.ask(statement.question, whenTrue, whenFalse),
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
        this.access(builder.stackAddress(this.slots[statement.slot]), statement.access);
        break;
      case 'slotByte': {
        const index = builder.binary('and', 64, this.operand(statement.index), builder.constant(SLOT_BYTES - 9));
        const address = builder.binary('add', 64, builder.stackAddress(this.slots[statement.slot]), index, 'stack');
        if (statement.isWrite) builder.store(1, address, this.operand({ variable: statement.target }));
        else this.write(statement.target, builder.load(1, false, address));
        break;
      }
      case 'copy':
        this.copy(this.slots[statement.from], this.slots[statement.to], statement.width);
        break;
      case 'clear':
        this.clear(this.slots[statement.slot], statement.width);
        break;
      default:
        this.#memory(statement);
    }
  }

  #memory(
    statement: Extract<Statement, { kind: 'lookup' | 'packet' | 'bytes' | 'checksum' | 'update' | 'cut' | 'element' }>,
  ): void {
    const builder = this.builder;
    switch (statement.kind) {
      case 'lookup': {
        const value = this.lookup(VALUES.name, statement.key);
        this.unless(value, () => {
          for (const access of statement.accesses) this.access(value, access);
          this.#all(statement.body);
        });
        break;
      }
      case 'packet':
        this.withPacket(statement.offset, statement.variable, statement.asPhi, (pointer) => {
          for (const access of statement.accesses) this.access(pointer, access);
        });
        break;
      case 'bytes':
        this.withPacket(statement.offset, null, false, (pointer) =>
          this.write(statement.target, this.bytes(pointer, statement)),
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
        const address = builder.stackAddress(this.slots[statement.slot]);
        builder.call(call, [builder.mapAddress(VALUES.name), this.key(statement.key), address, builder.constant(0)]);
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
    const builder = this.builder;
    const call = (bytes: Value): void => {
      const none = builder.constant(0);
      const address = builder.stackAddress(this.slots[slot]);
      const helper = { kind: 'helper', id: 28, name: 'bpf_csum_diff' } as const;
      this.write(target, builder.call(helper, [none, none, address, bytes, none]));
    };
    if (size === null) {
      call(builder.constant(SLOT_BYTES));
      return;
    }
    const bytes = builder.unary('zext', 4, this.operand(size));
    const most = builder.constant(SLOT_BYTES);
    this.if(
      (whenTrue, whenFalse) => builder.branch('ule', 32, bytes, most, whenTrue, whenFalse),
      () => call(bytes),
    );
  }

  /** An element of a map's value whose index a check bounds: the verifier must find the bound on what is added to the pointer. */
  #element({ index, bits, target, isWrite, isEarly, plus }: Extract<Statement, { kind: 'element' }>): void {
    const builder = this.builder;
    const value = this.lookup(VALUES.name, { number: 1n });
    const checked = builder.unary('zext', 4, this.operand(index));
    const offsetOf = (): Value => {
      const element = plus === 0 ? checked : builder.binary('add', 64, checked, builder.constant(plus));
      return builder.binary('mul', 64, element, builder.constant(8));
    };
    if (isEarly) this.write((target + 1) % VARIABLES, offsetOf());
    this.unless(value, () => {
      const bound = builder.constant(VALUES.valueBytes / 8 - plus);
      const access = (): void => {
        const address = builder.binary('add', 64, value, offsetOf(), 'mapValue');
        if (isWrite) builder.store(8, address, this.operand({ variable: target }));
        else this.write(target, builder.load(8, false, address));
      };
      this.if((whenTrue, whenFalse) => builder.branch('ult', bits, checked, bound, whenTrue, whenFalse), access);
    });
  }

  /** `first && second` or `first || second` as a value, then a branch on it. */
  #shortCircuit({ isAnd, first, second, body }: Extract<Statement, { kind: 'shortCircuit' }>): void {
    const builder = this.builder;
    const answer: Variable = { name: `answer${this.names++}`, space: 'scalar' };
    const known = () => builder.write(answer, builder.constant(isAnd ? 0 : 1));
    const asked = () => {
      const { condition, bits, left, right } = second;
      builder.write(answer, builder.compare(condition, bits, this.operand(left), this.operand(right)));
    };
    this.if(
      (whenTrue, whenFalse) => this.ask(first, whenTrue, whenFalse),
      isAnd ? asked : known,
      isAnd ? known : asked,
    );
    const value = builder.read(answer);
    this.if(
      (whenTrue, whenFalse) => builder.branch('ne', 64, value, builder.constant(0), whenTrue, whenFalse),
      () => this.#all(body),
    );
  }

  #loop({ count, body, leave, index }: Extract<Statement, { kind: 'loop' }>): void {
    const builder = this.builder;
    const counter: Variable = { name: `i${this.names++}`, space: 'scalar' };
    builder.write(counter, builder.constant(0));
    const [head, inside, after] = [builder.block(), builder.block(), builder.block()];
    builder.jump(head);
    builder.enter(head);
    builder.branch('slt', 32, builder.read(counter), builder.constant(count), inside, after);
    builder.seal(inside);
    builder.enter(inside);
    builder.write(this.variables[index], builder.read(counter));
    this.#all(body);
    if (leave !== null) {
      const on = builder.block();
      this.ask(leave, after, on);
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
}

/** The function `program(context)` of an XDP program, without optimisation. */
export function buildProgram(statements: readonly Statement[]): IrFunction {
  return new Building().build(statements);
}

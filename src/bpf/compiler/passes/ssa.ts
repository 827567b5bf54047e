/**
 * Room `bpf`: one variable with several definitions, read anywhere: makes the phis that are needed where they meet (Braun and others,
 * 2013, over a finished graph). For blocks that were copied and for stack slots that become values.
 *
 * A newcomer would get wrong: a phi is noted before its inputs are looked up, because a loop asks for it again; one that turns out
 * to be a single value is replaced through the editor.
 */
import type { Block, Phi, Space, Value } from '../ir.ts';
import type { Editor, Origin } from './editor.ts';

/** A variable. Define first, then read; the graph must not change in between. */
export class SsaVariable {
  readonly #editor: Editor;
  readonly #space: Space;
  readonly #origin: Origin;
  /** What it is where no definition comes before. */
  readonly #initial: () => Value;
  readonly #atEnd = new Map<Block, Value>();
  readonly #atStart = new Map<Block, Value>();
  /** Phis that were made and stayed. */
  readonly phis: Phi[] = [];

  constructor(editor: Editor, space: Space, origin: Origin, initial: () => Value) {
    this.#editor = editor;
    this.#space = space;
    this.#origin = origin;
    this.#initial = initial;
  }

  /** Its value when control leaves the block. */
  define(block: Block, value: Value): void {
    this.#atEnd.set(block, value);
  }

  readAtEnd(block: Block): Value {
    const known = this.#atEnd.get(block);
    if (known !== undefined) return this.#editor.resolve(known);
    const value = this.readAtStart(block);
    this.#atEnd.set(block, value);
    return value;
  }

  readAtStart(block: Block): Value {
    // A chain of single predecessors is walked, not climbed: it can be as long as the function.
    const passed: Block[] = [];
    let at = block;
    let value = this.#atStart.get(at);
    while (value === undefined && at.predecessors.length === 1) {
      passed.push(at);
      at = at.predecessors[0];
      value = this.#atEnd.get(at) ?? this.#atStart.get(at);
    }
    value = value === undefined ? this.#meet(at) : this.#editor.resolve(value);
    for (const one of passed) this.#atStart.set(one, value);
    return value;
  }

  #meet(block: Block): Value {
    if (block.predecessors.length === 0) {
      const value = this.#initial();
      this.#atStart.set(block, value);
      return value;
    }
    const phi = this.#editor.phi(block, this.#space, [], this.#origin);
    this.#atStart.set(block, phi);
    phi.inputs = block.predecessors.map((predecessor) => this.readAtEnd(predecessor));
    const others = new Set(phi.inputs.map((input) => this.#editor.resolve(input)));
    others.delete(phi);
    if (others.size === 1) {
      const [only] = others;
      this.#editor.replace(phi, only);
      return only;
    }
    block.phis.push(phi);
    this.phis.push(phi);
    return phi;
  }
}

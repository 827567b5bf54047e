/**
 * Room `bpf`: gives virtual registers machine registers: colouring of the interference graph with coalescing (George and Appel,
 * “Iterated Register Coalescing”, 1996).
 *
 * A newcomer would get wrong: two registers joined by a copy become one only where that surely leaves the graph colourable
 * (Briggs's and George's tests). What could not be joined for sure may still get the same colour in the end: colours of the other
 * sides of copies are tried first.
 */
import type { Interference, MovePair } from './interference.ts';
import { COLOURS, VIRTUAL } from './machine.ts';

const STATE = { simplify: 0, freeze: 1, spill: 2, stacked: 3, joined: 4, coloured: 5 } as const;

/** The outcome: a machine register for each register, or -1 for those to be kept in memory. */
export interface Colours {
  readonly of: Int8Array;
  readonly spilled: readonly number[];
  /** The register that another was joined with, itself for others. */
  readonly representative: (register: number) => number;
}

/** Colours a graph. `costs`: how much keeping a register in memory costs; infinite for what must not be. */
export function colour(graph: Interference, costs: Float64Array): Colours {
  return new Colouring(graph, costs).run();
}

class Colouring {
  readonly #graph: Interference;
  readonly #costs: Float64Array;
  readonly #state: Uint8Array;
  readonly #degree: Int32Array;
  readonly #alias: Int32Array;
  readonly #colour: Int8Array;
  readonly #stack: number[] = [];
  readonly #simplify: number[] = [];
  /** Registers that have, or had, moves and few neighbours. */
  readonly #freeze: number[] = [];
  readonly #moves: readonly MovePair[];
  /** Moves of a register, by index. */
  readonly #movesOf: number[][];
  /** 0: not looked at, 1: waits for a change, 2: done. */
  readonly #moveState: Uint8Array;
  #moveQueue: number[];

  constructor(graph: Interference, costs: Float64Array) {
    const { registers } = graph;
    this.#graph = graph;
    this.#costs = costs;
    this.#state = new Uint8Array(registers);
    this.#degree = new Int32Array(registers);
    this.#alias = new Int32Array(registers);
    for (let register = 0; register < registers; register++) this.#alias[register] = register;
    this.#colour = new Int8Array(registers).fill(-1);
    this.#moves = graph.moves;
    this.#movesOf = Array.from({ length: registers }, () => []);
    this.#moveState = new Uint8Array(this.#moves.length);
    for (const [index, move] of graph.moves.entries()) {
      this.#movesOf[move.to].push(index);
      this.#movesOf[move.from].push(index);
    }
    // The last is looked at first: moves in the innermost loops.
    this.#moveQueue = graph.moves
      .map((_, index) => index)
      .sort((a, b) => graph.moves[a].weight - graph.moves[b].weight || b - a);
    this.#prepare();
  }

  #prepare(): void {
    const { registers, present, neighbours } = this.#graph;
    for (let register = 0; register < VIRTUAL; register++) {
      this.#state[register] = STATE.coloured;
      this.#colour[register] = register;
      this.#degree[register] = 1 << 30;
    }
    for (let register = VIRTUAL; register < registers; register++) {
      if (!present[register]) {
        this.#state[register] = STATE.coloured;
        continue;
      }
      this.#degree[register] = neighbours[register].length;
      this.#place(register);
    }
  }

  /** Puts a register on the list it belongs to. */
  #place(register: number): void {
    if (this.#degree[register] >= COLOURS) this.#state[register] = STATE.spill;
    else if (this.#isMoved(register)) {
      this.#state[register] = STATE.freeze;
      this.#freeze.push(register);
    } else {
      this.#state[register] = STATE.simplify;
      this.#simplify.push(register);
    }
  }

  #isMoved(register: number): boolean {
    return this.#movesOf[register].some((move) => this.#moveState[move] !== 2);
  }

  run(): Colours {
    for (;;) {
      const simple = this.#simplify.pop();
      if (simple !== undefined) {
        if (this.#state[simple] === STATE.simplify) this.#remove(simple);
        continue;
      }
      const move = this.#moveQueue.pop();
      if (move !== undefined) {
        if (this.#moveState[move] === 0) this.#coalesce(move);
        continue;
      }
      const next = this.#freezeOrSpill();
      if (!next) break;
    }
    const spilled = this.#assign();
    return { of: this.#colour, spilled, representative: (register) => this.#representative(register) };
  }

  #representative(register: number): number {
    let found = register;
    while (this.#alias[found] !== found) found = this.#alias[found];
    return found;
  }

  #isGone(register: number): boolean {
    const state = this.#state[register];
    return state === STATE.stacked || state === STATE.joined;
  }

  #remove(register: number): void {
    this.#state[register] = STATE.stacked;
    this.#stack.push(register);
    for (const neighbour of this.#graph.neighbours[register]) if (!this.#isGone(neighbour)) this.#lessen(neighbour);
  }

  #lessen(register: number): void {
    if (register < VIRTUAL) return;
    const degree = this.#degree[register]--;
    if (degree !== COLOURS) return;
    // It, and what is beside it, may now be joined.
    this.#wake(register);
    for (const neighbour of this.#graph.neighbours[register]) if (!this.#isGone(neighbour)) this.#wake(neighbour);
    if (this.#state[register] === STATE.spill) this.#place(register);
  }

  #wake(register: number): void {
    for (const move of this.#movesOf[register]) {
      if (this.#moveState[move] !== 1) continue;
      this.#moveState[move] = 0;
      this.#moveQueue.push(move);
    }
  }

  #coalesce(index: number): void {
    const move = this.#moves[index];
    let kept = this.#representative(move.to);
    let joined = this.#representative(move.from);
    if (joined < VIRTUAL) [kept, joined] = [joined, kept];
    if (kept === joined) {
      this.#moveState[index] = 2;
      this.#thaw(kept);
    } else if (joined < VIRTUAL || this.#graph.interferes(kept, joined)) {
      this.#moveState[index] = 2;
      this.#thaw(kept);
      this.#thaw(joined);
    } else if (this.#isSafe(kept, joined)) {
      this.#moveState[index] = 2;
      this.#join(kept, joined);
      this.#thaw(kept);
    } else {
      this.#moveState[index] = 1;
    }
  }

  /** A register of few neighbours without moves left may be taken away. */
  #thaw(register: number): void {
    if (register < VIRTUAL || this.#state[register] !== STATE.freeze) return;
    if (this.#degree[register] < COLOURS && !this.#isMoved(register)) this.#place(register);
  }

  #isSafe(kept: number, joined: number): boolean {
    return this.#isSafeByGeorge(kept, joined) || (kept >= VIRTUAL && this.#isSafeByBriggs(kept, joined));
  }

  /** Every neighbour of the one is harmless: it has few neighbours itself, or is the other's already. */
  #isSafeByGeorge(kept: number, joined: number): boolean {
    for (const other of this.#graph.neighbours[joined]) {
      if (this.#degree[other] < COLOURS || this.#isGone(other) || (other < VIRTUAL && kept < VIRTUAL)) continue;
      if (!this.#graph.interferes(other, kept)) return false;
    }
    return true;
  }

  /** Fewer than COLOURS neighbours of both have many neighbours. */
  #isSafeByBriggs(kept: number, joined: number): boolean {
    let many = 0;
    for (const other of this.#graph.neighbours[kept]) {
      if (this.#degree[other] < COLOURS || this.#isGone(other)) continue;
      // A neighbour of both loses one.
      if (this.#degree[other] === COLOURS && this.#graph.interferes(other, joined)) continue;
      if (++many >= COLOURS) return false;
    }
    for (const other of this.#graph.neighbours[joined]) {
      if (this.#degree[other] < COLOURS || this.#isGone(other) || this.#graph.interferes(other, kept)) continue;
      if (++many >= COLOURS) return false;
    }
    return true;
  }

  #join(kept: number, joined: number): void {
    this.#state[joined] = STATE.joined;
    this.#alias[joined] = kept;
    this.#movesOf[kept].push(...this.#movesOf[joined]);
    this.#costs[kept] += this.#costs[joined];
    for (const other of this.#graph.neighbours[joined]) {
      if (this.#isGone(other)) continue;
      if (this.#graph.connect(kept, other)) {
        if (kept >= VIRTUAL) this.#degree[kept]++;
        if (other >= VIRTUAL) this.#degree[other]++;
      }
      this.#lessen(other);
    }
    if (kept >= VIRTUAL && this.#degree[kept] >= COLOURS) this.#state[kept] = STATE.spill;
  }

  /** Gives up joining one register, or marks one for memory. False where nothing is left. */
  #freezeOrSpill(): boolean {
    let chosen = this.#freeze.pop();
    while (chosen !== undefined && this.#state[chosen] !== STATE.freeze) chosen = this.#freeze.pop();
    chosen ??= this.#cheapest();
    if (chosen === -1) return false;
    this.#freezeMoves(chosen);
    this.#state[chosen] = STATE.simplify;
    this.#simplify.push(chosen);
    return true;
  }

  /** The register of many neighbours that costs least in memory; -1 where there is none. */
  #cheapest(): number {
    let cheapest = -1;
    let least = Number.POSITIVE_INFINITY;
    for (let register = VIRTUAL; register < this.#state.length; register++) {
      if (this.#state[register] !== STATE.spill) continue;
      const cost = this.#costs[register] / this.#degree[register];
      if (cheapest !== -1 && cost >= least) continue;
      cheapest = register;
      least = cost;
    }
    return cheapest;
  }

  #freezeMoves(register: number): void {
    for (const index of this.#movesOf[register]) {
      if (this.#moveState[index] === 2) continue;
      this.#moveState[index] = 2;
      const move = this.#moves[index];
      const to = this.#representative(move.to);
      this.#thaw(to === register ? this.#representative(move.from) : to);
    }
  }

  /** Colours in the opposite order, and lists what found no colour. */
  #assign(): number[] {
    const spilled: number[] = [];
    for (let register = this.#stack.pop(); register !== undefined; register = this.#stack.pop()) {
      let free = (1 << COLOURS) - 1;
      for (const neighbour of this.#graph.neighbours[register]) {
        const other = this.#colour[this.#representative(neighbour)];
        if (other !== -1) free &= ~(1 << other);
      }
      if (free === 0) spilled.push(register);
      else this.#colour[register] = this.#choose(register, free);
      this.#state[register] = STATE.coloured;
    }
    for (let register = VIRTUAL; register < this.#colour.length; register++) {
      this.#colour[register] = this.#colour[this.#representative(register)];
    }
    return spilled;
  }

  #choose(register: number, free: number): number {
    let best = -1;
    let most = 0;
    for (const index of this.#movesOf[register]) {
      const move = this.#graph.moves[index];
      const to = this.#representative(move.to);
      const other = this.#colour[to === register ? this.#representative(move.from) : to];
      if (other === -1 || (free & (1 << other)) === 0 || move.weight <= most) continue;
      best = other;
      most = move.weight;
    }
    return best === -1 ? 31 - Math.clz32(free & -free) : best;
  }
}

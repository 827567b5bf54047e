/**
 * Room `observe`: a script at work: compiled, loaded, attached to its tracepoints, and its maps read as often as asked.
 *
 * A newcomer would get wrong: reading does not stop the counting. A table is true for a moment that no clock names; what is counted
 * while it is read may be in it or not.
 */
import { compileText } from '../bpf/compiler/compile.ts';
import { type Collection, loadObject } from '../bpf/loader/collection.ts';
import type { KeyPart } from './event-types.ts';
import { type Collected, type Translation, translate } from './script.ts';
import { type CountRow, type HistogramRow, histogramRows, KernelSymbols, type StackRow, showPart } from './show.ts';
import { Tracefs } from './tracepoints.ts';

/** What one collector holds. */
export type Table =
  | { readonly kind: 'counts'; readonly labels: readonly string[]; readonly rows: readonly CountRow[] }
  | { readonly kind: 'histogram'; readonly label: string; readonly rows: readonly HistogramRow[] }
  | { readonly kind: 'stacks'; readonly rows: readonly StackRow[] };

const byCount = (one: { readonly count: bigint }, other: { readonly count: bigint }): number =>
  one.count < other.count ? 1 : one.count > other.count ? -1 : 0;

/** A running script. Disposing of it detaches and forgets everything. */
export class Observer implements Disposable {
  readonly events: readonly string[];
  readonly #translation: Translation;
  readonly #collection: Collection;
  readonly #stack: DisposableStack;
  #symbols: KernelSymbols | null = null;

  private constructor(translation: Translation, collection: Collection, stack: DisposableStack) {
    this.events = translation.events;
    this.#translation = translation;
    this.#collection = collection;
    this.#stack = stack;
  }

  /**
   * Starts a script.
   * @throws ScriptError, EventError for what is wrong with it; CompileErrors for what the language refuses; KernelError (CAP_BPF and
   *   CAP_PERFMON are needed)
   */
  static start(script: string): Observer {
    using tracefs = new Tracefs();
    const translation = translate(script, (event) => tracefs.format(event));
    const object = compileText(translation.source, 'script.bpf.ts');
    using stack = new DisposableStack();
    const collection = stack.use(loadObject(object));
    for (const program of Object.values(collection.programs)) stack.use(program.attach());
    return new Observer(translation, collection, stack.move());
  }

  /** How often a map was full: counts that are in no table. */
  get lost(): bigint {
    return this.#collection.globals.lost.value as bigint;
  }

  /** What was collected so far. */
  tables(): Table[] {
    return this.#translation.collected.map((one) => this.#table(one));
  }

  #table(one: Collected): Table {
    const map = this.#collection.maps[one.map];
    if (one.kind === 'histogram') {
      const counts = [...map.values()].map((value) => value as bigint);
      return { kind: 'histogram', label: one.label, rows: histogramRows(counts) };
    }
    const entries = [...map.entries()];
    if (one.kind === 'counts') {
      const rows = entries.map(([key, count]) => ({ key: keyOf(one.parts, key), count: count as bigint }));
      return { kind: 'counts', labels: one.parts.map(({ label }) => label), rows: rows.sort(byCount) };
    }
    const traces = this.#collection.maps[one.traces];
    const rows = entries.map(([id, count]) => ({ frames: this.#frames(traces.get(id)), count: count as bigint }));
    return { kind: 'stacks', rows: rows.sort(byCount) };
  }

  #frames(trace: unknown): string[] {
    this.#symbols ??= new KernelSymbols();
    const symbols = this.#symbols;
    if (trace === null) return ['(its stack has been overwritten)'];
    return [...(trace as Iterable<bigint>)].filter((address) => address !== 0n).map((address) => symbols.name(address));
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

function keyOf(parts: readonly KeyPart[], key: unknown): string[] {
  const values = key as Readonly<Record<string, unknown>>;
  return parts.map((part, index) => showPart(part, values[`part${index}`]));
}

/**
 * Room `bpf`: finds strings in a section of them. The kernel's has 2.3 MB; a search takes about a millisecond, an index of it about
 * fifteen, so that the index is made when it has become clear that many are wanted.
 *
 * A newcomer would get wrong: a section may hold one string twice, and who wants the types of a name wants those of both.
 */

/** After how many searches the index pays. */
const SEARCHES_MAX = 8;

interface Index {
  /** By hash: the last string with it, and for each string the one before; -1 ends. */
  readonly heads: Int32Array;
  readonly next: Int32Array;
  /** Where each string begins. */
  readonly starts: Uint32Array;
}

/** One step of a hash over bytes; 31 as in many a library, because it mixes well enough for names. */
const mix = (hash: number, byte: number): number => (Math.imul(hash, 31) + byte) | 0;

export class StringSearch {
  readonly #strings: Buffer;
  #searches = 0;
  #index: Index | null = null;

  /** The bytes are kept, not copied. They end with a zero, or there are none. */
  constructor(strings: Uint8Array) {
    this.#strings = Buffer.from(strings.buffer, strings.byteOffset, strings.byteLength);
  }

  /** All places where exactly this string begins, in order. */
  find(text: string): number[] {
    if (this.#index === null && this.#searches++ < SEARCHES_MAX) return this.#scan(Buffer.from(`\0${text}\0`));
    this.#index ??= this.#build();
    return this.#lookUp(this.#index, Buffer.from(text));
  }

  /** Strings that contain these bytes, each once. */
  containing(bytes: string): string[] {
    const strings = this.#strings;
    const found = new Set<string>();
    for (let at = strings.indexOf(bytes); at !== -1; at = strings.indexOf(bytes, strings.indexOf(0, at))) {
      found.add(strings.toString('utf8', strings.lastIndexOf(0, at) + 1, strings.indexOf(0, at)));
    }
    return [...found];
  }

  #scan(needle: Buffer): number[] {
    const strings = this.#strings;
    // The first string of a split table has no zero in front of it.
    const found = strings.subarray(0, needle.length - 1).equals(needle.subarray(1)) ? [0] : [];
    for (let at = strings.indexOf(needle); at !== -1; at = strings.indexOf(needle, at + 1)) found.push(at + 1);
    return found;
  }

  #build(): Index {
    const strings = this.#strings;
    let count = 0;
    for (let at = 0; at < strings.length; at++) if (strings[at] === 0) count++;
    const heads = new Int32Array(1 << Math.max(4, 32 - Math.clz32(count))).fill(-1);
    const next = new Int32Array(count);
    const starts = new Uint32Array(count);
    let hash = 0;
    let number = 0;
    let start = 0;
    for (let at = 0; at < strings.length; at++) {
      if (strings[at] !== 0) {
        hash = mix(hash, strings[at]);
        continue;
      }
      const slot = hash & (heads.length - 1);
      starts[number] = start;
      next[number] = heads[slot];
      heads[slot] = number++;
      start = at + 1;
      hash = 0;
    }
    return { heads, next, starts };
  }

  #lookUp({ heads, next, starts }: Index, text: Buffer): number[] {
    const found: number[] = [];
    const hash = text.reduce(mix, 0);
    for (let number = heads[hash & (heads.length - 1)]; number !== -1; number = next[number]) {
      const start = starts[number];
      const end = start + text.length;
      if (this.#strings[end] === 0 && this.#strings.subarray(start, end).equals(text)) found.push(start);
    }
    return found.reverse();
  }
}

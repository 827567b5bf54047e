/**
 * Room `bpf`: a section of strings, each once and ended by a zero, as BTF and ELF keep their names. Grows; offsets stay.
 *
 * A newcomer would get wrong: the empty string is at 0 and is the section's first byte.
 */
export class StringTable {
  readonly #offsets = new Map<string, number>([['', 0]]);
  readonly #parts: Buffer[] = [];
  #length: number;

  /** Begins with what is there already, so that offsets into `bytes` stay valid. */
  constructor(bytes: Uint8Array = new Uint8Array(1)) {
    const first = Buffer.from(bytes.length === 0 ? new Uint8Array(1) : bytes);
    this.#parts.push(first);
    this.#length = first.length;
    for (let at = 0; at < first.length; ) {
      const end = first.indexOf(0, at);
      const text = first.toString('utf8', at, end);
      if (!this.#offsets.has(text)) this.#offsets.set(text, at);
      at = end + 1;
    }
  }

  /** The offset of a string, which is added where it is new. What stands behind a zero in it is left out. */
  add(text: string): number {
    const known = this.#offsets.get(text);
    if (known !== undefined) return known;
    const zero = text.indexOf('\0');
    if (zero !== -1) return this.add(text.slice(0, zero));
    const part = Buffer.from(`${text}\0`);
    const offset = this.#length;
    this.#offsets.set(text, offset);
    this.#parts.push(part);
    this.#length += part.length;
    return offset;
  }

  /** The whole section. */
  bytes(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#parts));
  }
}

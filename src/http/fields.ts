/**
 * Room `http`: one section of field lines (the fields of a head, or trailers) as offsets into the octets it came from.
 *
 * A newcomer would get wrong: a `Fields` is a view. It is valid until the next `parse` and only while the octets stay where
 * they were; what has to live longer is copied out as strings.
 */
import { COLON, COMMA, CR, FIELD_VALUE, HT, LF, SP, TOKEN } from './characters.ts';
import { FIELD_CONNECTION, FIELD_COUNT, FIELD_NAMES, FIELD_OTHER, fieldIdOf, fieldIdOfName } from './field-names.ts';
import { equalsIgnoringCase, text } from './text.ts';

const NOTHING = new Uint8Array(0);

/** What `parse` answers for a section that does not end within the octets given. */
export const INCOMPLETE = 0;
/** Refusals are negative statuses. */
export const BAD_REQUEST = -400;
export const FIELDS_TOO_LARGE = -431;

export class Fields {
  /** The octets that all offsets index. */
  bytes: Uint8Array = NOTHING;
  count = 0;
  /** The octets again, for reading four at a time. */
  #view: DataView = new DataView(NOTHING.buffer);
  #viewed: Uint8Array = NOTHING;
  /** Four offsets a field: name start and end, value start and end. */
  #spans: Int32Array;
  #ids: Uint8Array;
  /** Number of a known name to its first field, -1 for none. */
  readonly #first: Int16Array = new Int16Array(FIELD_COUNT).fill(-1);
  /** Number of a known name to its last field; means something only where `#first` does. */
  readonly #last: Int16Array = new Int16Array(FIELD_COUNT);

  /** `capacity`: how many fields to have room for at first; `parse` makes more when its limit is higher. */
  constructor(capacity = 100) {
    this.#spans = new Int32Array(capacity * 4);
    this.#ids = new Uint8Array(capacity);
  }

  /**
   * Reads field lines from `position` until the empty line: the offset behind it, INCOMPLETE, or a refusal. Refused are
   * line ends other than CRLF, folds, whitespace before the colon, control octets (RFC 9112 sections 2.2, 5.1 and 5.2)
   * and more than `countMax` fields, at most 32,767.
   */
  parse(bytes: Uint8Array, position: number, end: number, countMax: number): number {
    this.clear();
    this.bytes = bytes;
    if (this.#ids.length < countMax) this.#grow(countMax);
    if (this.#viewed !== bytes) this.#look(bytes);
    const view = this.#view;
    const spans = this.#spans;
    const ids = this.#ids;
    const first = this.#first;
    const last = this.#last;
    let count = 0;
    while (position < end) {
      const nameStart = position;
      while (position < end && TOKEN[bytes[position]] !== 0) position++;
      if (position === end) return INCOMPLETE;
      const nameEnd = position;
      if (bytes[position] !== COLON || nameEnd === nameStart) {
        if (nameEnd !== nameStart || bytes[position] !== CR) return BAD_REQUEST;
        if (position + 1 === end) return INCOMPLETE;
        return bytes[position + 1] === LF ? position + 2 : BAD_REQUEST;
      }
      if (count === countMax) return FIELDS_TOO_LARGE;

      position++;
      while (position < end && (bytes[position] === SP || bytes[position] === HT)) position++;
      const valueStart = position;
      // Four octets at a time while none of them is a control octet; the last few, and HTAB, one at a time.
      while (position + 4 <= end && !hasControl(view.getInt32(position, true))) position += 4;
      while (position < end && FIELD_VALUE[bytes[position]] !== 0) position++;
      if (position === end) return INCOMPLETE;
      if (bytes[position] !== CR) return BAD_REQUEST;
      let valueEnd = position;
      while (valueEnd > valueStart && (bytes[valueEnd - 1] === SP || bytes[valueEnd - 1] === HT)) valueEnd--;
      if (position + 1 === end) return INCOMPLETE;
      if (bytes[position + 1] !== LF) return BAD_REQUEST;
      position += 2;

      const id = fieldIdOf(bytes, view, nameStart, nameEnd);
      const span = count * 4;
      spans[span] = nameStart;
      spans[span + 1] = nameEnd;
      spans[span + 2] = valueStart;
      spans[span + 3] = valueEnd;
      ids[count] = id;
      if (id !== FIELD_OTHER) {
        if (first[id] < 0) first[id] = count;
        last[id] = count;
      }
      this.count = ++count;
    }
    return INCOMPLETE;
  }

  /** The octets were copied to `bytes`, every offset `distance` further on. */
  move(bytes: Uint8Array, distance: number): void {
    const spans = this.#spans;
    for (let index = this.count * 4 - 1; index >= 0; index--) spans[index] += distance;
    this.bytes = bytes;
  }

  clear(): void {
    const ids = this.#ids;
    const first = this.#first;
    for (let index = this.count - 1; index >= 0; index--) first[ids[index]] = -1;
    this.count = 0;
  }

  /** Index of the first field with a known name, or -1: an array read. */
  indexOf(id: number): number {
    return this.#first[id];
  }

  /** Whether more than one line has the known name. */
  isRepeated(id: number): boolean {
    return this.#first[id] >= 0 && this.#first[id] !== this.#last[id];
  }

  /** Index of the next field with the same name, or -1. */
  next(index: number): number {
    const id = this.#ids[index];
    if (id !== FIELD_OTHER) {
      if (this.#last[id] === index) return -1;
      let other = index + 1;
      while (this.#ids[other] !== id) other++;
      return other;
    }
    const name = this.name(index);
    for (let other = index + 1; other < this.count; other++) if (this.#isNamed(other, name)) return other;
    return -1;
  }

  /** Index of the first field with the name, given in lower case, or -1. */
  indexOfName(name: string): number {
    const id = fieldIdOfName(name);
    if (id !== FIELD_OTHER) return this.#first[id];
    for (let index = 0; index < this.count; index++) if (this.#isNamed(index, name)) return index;
    return -1;
  }

  /** Number of the field's name, FIELD_OTHER when it is none of ours. */
  id(index: number): number {
    return this.#ids[index];
  }

  nameStart(index: number): number {
    return this.#spans[index * 4];
  }

  nameEnd(index: number): number {
    return this.#spans[index * 4 + 1];
  }

  valueStart(index: number): number {
    return this.#spans[index * 4 + 2];
  }

  valueEnd(index: number): number {
    return this.#spans[index * 4 + 3];
  }

  /** The name in lower case. */
  name(index: number): string {
    const id = this.#ids[index];
    return id === FIELD_OTHER ? this.rawName(index).toLowerCase() : FIELD_NAMES[id];
  }

  /** The name as it was sent. */
  rawName(index: number): string {
    return text(this.bytes, this.#spans[index * 4], this.#spans[index * 4 + 1]);
  }

  /** The value of one line, without the whitespace around it, read as ISO 8859-1. */
  value(index: number): string {
    return text(this.bytes, this.#spans[index * 4 + 2], this.#spans[index * 4 + 3]);
  }

  /**
   * The values of all lines with the name (lower case), joined by `, ` as RFC 9110 section 5.3 allows, or null. Not for
   * Set-Cookie, which is no list: walk its lines with `next`.
   */
  get(name: string): string | null {
    return this.#join(this.indexOfName(name));
  }

  /** The same for a known name. */
  getKnown(id: number): string | null {
    return this.#join(this.#first[id]);
  }

  /** Whether a list of tokens, over all lines with the known name, has the element `lower`, in any case. */
  hasElement(id: number, lower: string): boolean {
    for (let index = this.#first[id]; index >= 0; index = this.next(index)) {
      if (elementIn(this.bytes, this.valueStart(index), this.valueEnd(index), lower)) return true;
    }
    return false;
  }

  /** Whether Connection names the field, which makes it hop-by-hop (RFC 9110 section 7.6.1). */
  isNamedByConnection(index: number): boolean {
    return this.#first[FIELD_CONNECTION] >= 0 && this.hasElement(FIELD_CONNECTION, this.name(index));
  }

  #join(index: number): string | null {
    if (index < 0) return null;
    let joined = this.value(index);
    for (let other = this.next(index); other >= 0; other = this.next(other)) joined += `, ${this.value(other)}`;
    return joined;
  }

  #isNamed(index: number, name: string): boolean {
    return equalsIgnoringCase(this.bytes, this.#spans[index * 4], this.#spans[index * 4 + 1], name);
  }

  #look(bytes: Uint8Array): void {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#viewed = bytes;
  }

  #grow(capacity: number): void {
    this.#spans = new Int32Array(capacity * 4);
    this.#ids = new Uint8Array(capacity);
  }
}

/** Whether one of four octets is below SP (HTAB among them) or DEL. The borrow of a subtraction may only claim too much. */
function hasControl(word: number): boolean {
  const deletes = word ^ 0x7f7f7f7f;
  return ((((word - 0x20202020) & ~word) | ((deletes - 0x01010101) & ~deletes)) & 0x80808080) !== 0;
}

/** Whether the comma-separated list `bytes[start, end)` has the element `lower`, in any case. */
export function elementIn(bytes: Uint8Array, start: number, end: number, lower: string): boolean {
  let position = start;
  while (position < end) {
    let elementEnd = position;
    while (elementEnd < end && bytes[elementEnd] !== COMMA) elementEnd++;
    let from = position;
    let to = elementEnd;
    while (from < to && (bytes[from] === SP || bytes[from] === HT)) from++;
    while (to > from && (bytes[to - 1] === SP || bytes[to - 1] === HT)) to--;
    if (equalsIgnoringCase(bytes, from, to, lower)) return true;
    position = elementEnd + 1;
  }
  return false;
}

/**
 * Room `net`: arrays of struct iovec for sends that gather several pieces of memory. A slot holds one array while its send is
 * under way; a thread has so many, and a connection that gets none sends its pieces one after another.
 *
 * A newcomer would get wrong: the array has to stay as it is until the send's result, because a readiness engine tries again
 * with the same address when the socket has room.
 */
import { addressOf } from '../kernel/syscall.ts';
import type { Segment } from './segments.ts';

/** Pieces of one send. More would not fit a socket's buffer at once. */
export const PIECES_MAX = 16;
const SLOTS = 1024;
const IOVEC_WORDS = 4;
const SLOT_BYTES = PIECES_MAX * IOVEC_WORDS * 4;
/** What `take` answers when all are in use. */
export const NO_SLOT = -1;

let words: Int32Array | null = null;
let base = 0;
const free = new Int32Array(SLOTS);
let freeCount = 0;

function begin(): Int32Array {
  words = new Int32Array(new ArrayBuffer(SLOTS * SLOT_BYTES));
  base = addressOf(words);
  for (let slot = 0; slot < SLOTS; slot++) free[slot] = slot;
  freeCount = SLOTS;
  return words;
}

/** A free slot, or NO_SLOT. */
export function take(): number {
  if (words === null) begin();
  return freeCount === 0 ? NO_SLOT : free[--freeCount];
}

export function release(slot: number): void {
  free[freeCount++] = slot;
}

/** Slots that nobody holds, for tests. */
export function slotsFree(): number {
  return words === null ? SLOTS : freeCount;
}

/** Sets piece `index` of the slot's array: two words of iov_base, two of iov_len. */
export function setPiece(slot: number, index: number, address: number, length: number): void {
  const word = (slot * PIECES_MAX + index) * IOVEC_WORDS;
  const all = words!;
  all[word] = (address % 4294967296) | 0;
  all[word + 1] = (address / 4294967296) | 0;
  all[word + 2] = (length % 4294967296) | 0;
  all[word + 3] = (length / 4294967296) | 0;
}

/** Adds the segments behind piece 0, as far as they are memory and there is room; answers how many pieces there are. */
export function addPieces(slot: number, memoryAddress: number, segments: readonly Segment[]): number {
  let count = 1;
  while (count < PIECES_MAX && count <= segments.length) {
    const segment = segments[count - 1];
    if (segment.kind === 'file') break;
    const address = segment.kind === 'block' ? memoryAddress : segment.address;
    setPiece(slot, count++, address + segment.start, segment.end - segment.start);
  }
  return count;
}

/** The address of the slot's array. */
export function arrayAddress(slot: number): number {
  return base + slot * SLOT_BYTES;
}

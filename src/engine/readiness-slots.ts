/**
 * Room `engine`: what a readiness engine remembers of each socket: a slot in typed arrays, whose index is the handle. An idle
 * connection costs about 50 bytes here and no object.
 *
 * A newcomer would get wrong: `READABLE` is what is known, `RECEIVE_WANTED` what is asked for. Only both together lead to a
 * system call, and they arrive in either order: an edge may come while nobody wants it, and never again.
 */
import type { Sink } from './engine.ts';

// States of a slot, a set of bits. First what its owner asked for:
export const RECEIVE_WANTED = 1 << 0;
export const ACCEPT_WANTED = 1 << 1;
export const MESSAGES_WANTED = 1 << 2;
/** Anything that consumes what arrives. */
export const INPUT_WANTED = RECEIVE_WANTED | ACCEPT_WANTED | MESSAGES_WANTED;
export const POLL_WANTED = 1 << 4;
/** A send stands in the queue and is tried at the end of the turn. */
export const SEND_QUEUED = 1 << 5;
export const CLOSING = 1 << 6;
// Then what it waits for:
/** connect(2) answered EINPROGRESS. */
export const CONNECT_WAITING = 1 << 7;
/** The send buffer was full. */
export const SEND_WAITING = 1 << 8;
/** Receiving waits for a free block. */
export const STARVED = 1 << 9;
// What is known of it:
export const READABLE = 1 << 10;
/** A short read proves nothing: it is no TCP socket, or an end, error or urgent mark was seen. Only EAGAIN does. */
export const UNPROVEN = 1 << 11;
/** An error was reported, which may stand in the error queue alone. */
export const ERROR_SEEN = 1 << 12;
/** Bytes that were read before a pause wait in `retainedStarts`. */
export const RETAINED = 1 << 13;
// Where it stands:
/** In the list of sockets to be read. */
export const READY_LISTED = 1 << 14;
/** In the list of sockets whose interest may have changed. */
export const CHANGE_LISTED = 1 << 15;
/** The poller must be told again although the interest is the same: an edge may be lost. */
export const REARM = 1 << 16;
/** Out of the poller's set: it hung up, or its descriptor is bad, and would be reported without end. */
export const MUTED = 1 << 17;
/** Edge-triggered: writability is reported from now on; before the first full buffer it would only cost an event. */
export const OUTPUT_WATCHED = 1 << 18;
/** The slot belongs to a socket. */
export const TAKEN = 1 << 19;
/** Reported as having input, and not known to be emptied since. An EAGAIN then contradicts the poller. */
export const PROMISED = 1 << 20;
/** The peer's end was reported: from now on a read gives bytes, the end or an error, and EAGAIN contradicts the poller. */
export const ENDING = 1 << 21;

/** What remains of a slot's state when its socket is gone: where it stands, because lists are not searched. */
export const PLACES = READY_LISTED | CHANGE_LISTED;

// Kinds of the send under way.
export const SEND_BYTES = 0;
export const SEND_VECTOR = 1;
export const SEND_MESSAGE = 2;
export const SEND_FILE = 3;
/** Bytes before a file that follows at once (MSG_MORE). */
export const SEND_MORE = 4;

/** No handle has this descriptor. */
export const NO_HANDLE = -1;

const SLOTS_AT_FIRST = 256;

export class Slots {
  sinks: (Sink | null)[] = [];
  descriptors = new Int32Array(SLOTS_AT_FIRST);
  states = new Int32Array(SLOTS_AT_FIRST);
  /** Told apart from the slot's earlier owners, whose events may still be under way. */
  generations = new Int32Array(SLOTS_AT_FIRST);
  /** What the poller was told last (POLLIN…). */
  interests = new Int32Array(SLOTS_AT_FIRST);
  pollEvents = new Int32Array(SLOTS_AT_FIRST);
  /** Bytes [start, end) of the arena that wait for a resume. */
  retainedStarts = new Int32Array(SLOTS_AT_FIRST);
  retainedEnds = new Int32Array(SLOTS_AT_FIRST);
  // The send under way. Of a file: its offset stands in `sendAddresses`.
  sendKinds = new Uint8Array(SLOTS_AT_FIRST);
  sendFiles = new Int32Array(SLOTS_AT_FIRST);
  sendLengths = new Int32Array(SLOTS_AT_FIRST);
  sendAddresses = new Float64Array(SLOTS_AT_FIRST);
  /** The handle of each descriptor. */
  handles = new Int32Array(SLOTS_AT_FIRST).fill(NO_HANDLE);
  count = 0;
  inUse = 0;
  #free = new Int32Array(SLOTS_AT_FIRST);
  #freeCount = 0;

  /** The handle that has this descriptor, or NO_HANDLE. */
  handleOf(descriptor: number): number {
    return descriptor < this.handles.length ? this.handles[descriptor] : NO_HANDLE;
  }

  take(descriptor: number, sink: Sink): number {
    const slot = this.#freeCount > 0 ? this.#free[--this.#freeCount] : this.#next();
    while (descriptor >= this.handles.length) {
      const before = this.handles.length;
      this.handles = grown(this.handles);
      this.handles.fill(NO_HANDLE, before);
    }
    this.handles[descriptor] = slot;
    this.sinks[slot] = sink;
    this.descriptors[slot] = descriptor;
    this.states[slot] = (this.states[slot] & PLACES) | TAKEN;
    this.interests[slot] = 0;
    this.inUse++;
    return slot;
  }

  /** The descriptor is another's from now on. */
  unlink(slot: number): void {
    this.handles[this.descriptors[slot]] = NO_HANDLE;
  }

  release(slot: number): void {
    this.generations[slot]++;
    this.states[slot] &= PLACES;
    this.sinks[slot] = null;
    this.descriptors[slot] = -1;
    this.#free[this.#freeCount++] = slot;
    this.inUse--;
  }

  #next(): number {
    if (this.count === this.descriptors.length) {
      this.descriptors = grown(this.descriptors);
      this.states = grown(this.states);
      this.generations = grown(this.generations);
      this.interests = grown(this.interests);
      this.pollEvents = grown(this.pollEvents);
      this.retainedStarts = grown(this.retainedStarts);
      this.retainedEnds = grown(this.retainedEnds);
      this.sendKinds = grown(this.sendKinds);
      this.sendFiles = grown(this.sendFiles);
      this.sendLengths = grown(this.sendLengths);
      this.sendAddresses = grown(this.sendAddresses);
      this.#free = grown(this.#free);
    }
    this.sinks.push(null);
    return this.count++;
  }
}

/** Twice the room; what is new is 0. */
function grown<T extends Int32Array | Uint8Array | Float64Array>(from: T): T {
  const to = new (from.constructor as new (length: number) => T)(from.length * 2);
  to.set(from);
  return to;
}

/** Slots in the order in which their turn comes. A slot stands in it at most once: its state says whether it does. */
export class SlotQueue {
  #slots = new Int32Array(SLOTS_AT_FIRST);
  #head = 0;
  length = 0;

  push(slot: number): void {
    const slots = this.#slots;
    if (this.length === slots.length) {
      // Unrolls the ring, so that it begins at 0.
      this.#slots = new Int32Array(slots.length * 2);
      this.#slots.set(slots.subarray(this.#head));
      this.#slots.set(slots.subarray(0, this.#head), slots.length - this.#head);
      this.#head = 0;
    }
    this.#slots[(this.#head + this.length++) & (this.#slots.length - 1)] = slot;
  }

  /** The first one, which leaves the queue. Only while `length` is above 0. */
  shift(): number {
    const slot = this.#slots[this.#head];
    this.#head = (this.#head + 1) & (this.#slots.length - 1);
    this.length--;
    return slot;
  }
}

/**
 * Room `engine`: what the io_uring engine remembers of each socket: a slot in typed arrays. The low word of user data is
 * slot | operation << 24, the high word the slot's generation.
 *
 * A newcomer would get wrong: a slot is free only when its last completion came, because until then the kernel may write to
 * its memory.
 */
import type { Sink } from './engine.ts';

// Operations, the high byte of the low user data word.
export const IGNORED = 0;
export const ACCEPT = 1;
export const RECEIVE = 2;
export const SEND = 3;
export const CONNECT = 4;
export const POLL = 5;
export const MESSAGES = 6;
export const CLOSE = 7;
export const QUICK_SEND = 8;
export const HOST = 9;
export const FILE_READY = 10;
export const OPERATION_SHIFT = 24;
export const SLOT_MASK = (1 << OPERATION_SHIFT) - 1;

// States of a slot, a set of bits.
export const RECEIVE_WANTED = 1 << 0;
export const RECEIVE_ARMED = 1 << 1;
export const ACCEPT_WANTED = 1 << 2;
export const ACCEPT_ARMED = 1 << 3;
export const MESSAGES_WANTED = 1 << 4;
export const MESSAGES_ARMED = 1 << 5;
export const CLOSING = 1 << 6;
export const KEEP_DESCRIPTOR = 1 << 7;
export const SEND_ARMED = 1 << 8;
/** A zero-copy send of this socket was copied after all (loopback, virtual devices), so plain sends cost less. */
export const COPIED = 1 << 9;
/** Bytes or an ending arrived while nobody wanted them. */
export const RETAINED = 1 << 10;
export const CONNECT_ARMED = 1 << 11;
export const POLL_ARMED = 1 << 12;
export const FILE_ARMED = 1 << 13;
/** Receiving waits for blocks. */
export const STARVED = 1 << 14;
/** The slot belongs to a socket. */
export const TAKEN = 1 << 15;

/** The result of a slow send under way that copies; a zero-copy one has its count or errno there, 0 before it is known. */
export const NOT_ZERO_COPY = -2147483648;

export class Slots {
  sinks: (Sink | null)[] = [];
  descriptors = new Int32Array(1024);
  states = new Uint16Array(1024);
  generations = new Int32Array(1024);
  /** Operations under way that will complete, for each slot. */
  flights = new Uint16Array(1024);
  /** What the quick send under way will have sent, unless its completion says otherwise; of a zero-copy send, its result. */
  results = new Int32Array(1024);
  count = 0;
  inUse = 0;
  readonly #free: number[] = [];

  take(descriptor: number, sink: Sink): number {
    const slot = this.#free.length > 0 ? this.#free.pop()! : this.#next();
    this.sinks[slot] = sink;
    this.descriptors[slot] = descriptor;
    this.states[slot] = TAKEN;
    this.flights[slot] = 0;
    this.inUse++;
    return slot;
  }

  release(slot: number): void {
    this.generations[slot]++;
    this.states[slot] = 0;
    this.sinks[slot] = null;
    this.descriptors[slot] = -1;
    this.#free.push(slot);
    this.inUse--;
  }

  #next(): number {
    if (this.count === this.descriptors.length) {
      const size = this.count * 2;
      this.descriptors = grown(this.descriptors, new Int32Array(size));
      this.states = grown(this.states, new Uint16Array(size));
      this.generations = grown(this.generations, new Int32Array(size));
      this.flights = grown(this.flights, new Uint16Array(size));
      this.results = grown(this.results, new Int32Array(size));
    }
    this.sinks.push(null);
    return this.count++;
  }
}

function grown<T extends Int32Array | Uint16Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

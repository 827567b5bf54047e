/**
 * Room `engine`: poll(2), as ppoll for its finer timeout. The watched sockets stand in one dense array of struct pollfd; the
 * last one moves into a gap.
 *
 * A newcomer would get wrong: the kernel refuses the whole call with EINVAL when the array is longer than RLIMIT_NOFILE, even
 * after the limit was lowered below what is open already.
 */
import { POLLIN } from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { POLLFD } from '../kernel/layouts.ts';
import { addressOf, call, SYS } from '../kernel/syscall.ts';
import type { Engine } from './engine.ts';
import { HOST, type Poller, READY_WORDS, Timespec } from './poller.ts';
import { ReadinessEngine } from './readiness.ts';
import type { ReadinessOptions } from './readiness-operations.ts';

const ENTRIES_AT_FIRST = 256;
const NOWHERE = -1;
/** 16-bit words: the two event sets stand beside the descriptor. */
const WORDS = POLLFD.size / 2;
const EVENTS = POLLFD.events / 2;
const REVENTS = POLLFD.revents / 2;

class Poll implements Poller {
  readonly edge = false;
  ready = new Int32Array(ENTRIES_AT_FIRST * READY_WORDS);
  #entries = new ArrayBuffer(ENTRIES_AT_FIRST * POLLFD.size);
  #descriptors = new Int32Array(this.#entries);
  #events = new Uint16Array(this.#entries);
  #address = addressOf(this.#entries);
  #slots = new Int32Array(ENTRIES_AT_FIRST);
  #generations = new Int32Array(ENTRIES_AT_FIRST);
  /** Where each slot stands in the array. */
  #places = new Int32Array(ENTRIES_AT_FIRST).fill(NOWHERE);
  #count = 0;
  readonly #timespec = new Timespec();

  add(descriptor: number, slot: number, generation: number, interest: number): number {
    while (slot >= this.#places.length) {
      const before = this.#places.length;
      this.#places = enlarged(this.#places);
      this.#places.fill(NOWHERE, before);
    }
    if (slot >= 0) this.#places[slot] = this.#count;
    this.#append(descriptor, slot, generation, interest);
    return 0;
  }

  #append(descriptor: number, slot: number, generation: number, interest: number): void {
    if (this.#count === this.#slots.length) this.#grow();
    const place = this.#count++;
    this.#descriptors[place * 2] = descriptor;
    this.#events[place * WORDS + EVENTS] = interest;
    this.#slots[place] = slot;
    this.#generations[place] = generation;
  }

  #grow(): void {
    const descriptors = this.#descriptors;
    this.#entries = new ArrayBuffer(this.#entries.byteLength * 2);
    this.#descriptors = new Int32Array(this.#entries);
    this.#descriptors.set(descriptors);
    this.#events = new Uint16Array(this.#entries);
    this.#address = addressOf(this.#entries);
    this.#slots = enlarged(this.#slots);
    this.#generations = enlarged(this.#generations);
    this.ready = enlarged(this.ready);
  }

  modify(_descriptor: number, slot: number, _generation: number, interest: number): number {
    this.#events[this.#places[slot] * WORDS + EVENTS] = interest;
    return 0;
  }

  remove(_descriptor: number, slot: number): void {
    const place = this.#places[slot];
    this.#places[slot] = NOWHERE;
    const last = --this.#count;
    if (place === last) return;
    this.#descriptors[place * 2] = this.#descriptors[last * 2];
    this.#events[place * WORDS + EVENTS] = this.#events[last * WORDS + EVENTS];
    this.#generations[place] = this.#generations[last];
    const moved = this.#slots[last];
    this.#slots[place] = moved;
    if (moved !== HOST) this.#places[moved] = place;
  }

  watchHost(descriptor: number): void {
    this.#append(descriptor, HOST, 0, POLLIN);
  }

  wait(timeoutMs: number): number {
    const found = call(SYS.ppoll, this.#address, this.#count, this.#timespec.set(timeoutMs));
    if (found < 0) {
      if (found === -ERRNO.EINTR || found === -ERRNO.EAGAIN) return 0;
      const remedy =
        found === -ERRNO.EINVAL
          ? 'the limit of open files (RLIMIT_NOFILE, ulimit -n) is lower: raise it, or choose epoll or io_uring'
          : undefined;
      throw new KernelError('poll', found, { object: `of ${this.#count} descriptors`, ...(remedy && { remedy }) });
    }
    let count = 0;
    for (let place = 0; count < found; place++) {
      const events = this.#events[place * WORDS + REVENTS];
      if (events === 0) continue;
      const word = count++ * READY_WORDS;
      this.ready[word] = events;
      this.ready[word + 1] = this.#slots[place];
      this.ready[word + 2] = this.#generations[place];
    }
    return found;
  }

  dispose(): void {}
}

function enlarged(from: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const to = new Int32Array(from.length * 2);
  to.set(from);
  return to;
}

/** poll(2): needs nothing of the kernel but is asked about every socket in every wait, so it suits some hundreds. */
export function createPoll(options: ReadinessOptions = {}): Engine {
  return new ReadinessEngine('poll', new Poll(), options);
}

/**
 * Room `engine`: select(2), as the raw pselect6, whose sets may be of any size: the C library's limit of 1,024 descriptors is
 * the size of its fd_set, not the kernel's (select(2), "Notes").
 *
 * A newcomer would get wrong: one descriptor that is not open makes the whole call fail with EBADF, and the kernel does not say
 * which. It is looked for, and only its own connection fails.
 */
import { F_GETFD, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDHUP } from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { addressOf, call, record, resultOf, runRecords, SYS } from '../kernel/syscall.ts';
import type { Engine } from './engine.ts';
import { HOST, type Poller, READY_WORDS, Timespec } from './poller.ts';
import { ReadinessEngine } from './readiness.ts';
import type { ReadinessOptions } from './readiness-operations.ts';

const DESCRIPTORS_AT_FIRST = 1024;
/** The kernel reads and writes sets in longs. */
const LONG_BITS = 64;
const READ = 0;
const WRITE = 1;
const EXCEPT = 2;
const SETS = 3;
const PROBES_MAX = 256;

class Select implements Poller {
  readonly edge = false;
  ready = new Int32Array(DESCRIPTORS_AT_FIRST * READY_WORDS);
  /** Descriptors that the sets have room for. */
  #room = DESCRIPTORS_AT_FIRST;
  /** What is watched: three sets one behind the other, and the same again for the kernel to write over. */
  #watched = new Int32Array((DESCRIPTORS_AT_FIRST / 32) * SETS);
  #found = new Int32Array((DESCRIPTORS_AT_FIRST / 32) * SETS);
  #address = addressOf(this.#found);
  #slots = new Int32Array(DESCRIPTORS_AT_FIRST);
  #generations = new Int32Array(DESCRIPTORS_AT_FIRST);
  /** One above the highest watched descriptor. */
  #end = 0;
  readonly #timespec = new Timespec();

  add(descriptor: number, slot: number, generation: number, interest: number): number {
    while (descriptor >= this.#room) this.#grow();
    this.#slots[descriptor] = slot;
    this.#generations[descriptor] = generation;
    this.#watch(descriptor, interest);
    return 0;
  }

  #grow(): void {
    const words = this.#room / 32;
    const watched = this.#watched;
    this.#room *= 2;
    this.#watched = new Int32Array(words * 2 * SETS);
    for (let set = 0; set < SETS; set++) {
      this.#watched.set(watched.subarray(set * words, (set + 1) * words), set * words * 2);
    }
    this.#found = new Int32Array(words * 2 * SETS);
    this.#address = addressOf(this.#found);
    this.#slots = enlarged(this.#slots);
    this.#generations = enlarged(this.#generations);
    this.ready = enlarged(this.ready);
  }

  #watch(descriptor: number, interest: number): void {
    this.#put(READ, descriptor, (interest & (POLLIN | POLLRDHUP | POLLHUP)) !== 0);
    this.#put(WRITE, descriptor, (interest & POLLOUT) !== 0);
    this.#put(EXCEPT, descriptor, (interest & POLLPRI) !== 0);
    if (descriptor >= this.#end && interest !== 0) this.#end = descriptor + 1;
    else if (descriptor === this.#end - 1 && interest === 0) this.#shrink();
  }

  #put(set: number, descriptor: number, on: boolean): void {
    const word = (set * this.#room) / 32 + (descriptor >>> 5);
    const bit = 1 << (descriptor & 31);
    if (on) this.#watched[word] |= bit;
    else this.#watched[word] &= ~bit;
  }

  /** The three sets of 32 descriptors, or'ed. */
  #any(sets: Int32Array, word: number): number {
    const words = this.#room / 32;
    return sets[word] | sets[word + words] | sets[word + 2 * words];
  }

  /** The sets end with the highest descriptor that is left. */
  #shrink(): void {
    let word = (this.#end - 1) >>> 5;
    while (word >= 0 && this.#any(this.#watched, word) === 0) word--;
    this.#end = word < 0 ? 0 : word * 32 + 32 - Math.clz32(this.#any(this.#watched, word));
  }

  modify(descriptor: number, _slot: number, _generation: number, interest: number): number {
    this.#watch(descriptor, interest);
    return 0;
  }

  remove(descriptor: number): void {
    this.#watch(descriptor, 0);
  }

  watchHost(descriptor: number): void {
    this.add(descriptor, HOST, 0, POLLIN);
  }

  wait(timeoutMs: number): number {
    const words = this.#room / 32;
    const used = Math.ceil(this.#end / LONG_BITS) * (LONG_BITS / 32);
    for (let set = 0; set < SETS; set++) {
      const start = set * words;
      for (let word = start; word < start + used; word++) this.#found[word] = this.#watched[word];
    }
    const stride = this.#room / 8;
    const timeout = this.#timespec.set(timeoutMs);
    const { pselect6 } = SYS;
    const at = this.#address;
    const result = call(pselect6, this.#end, at, at + stride, at + 2 * stride, timeout);
    if (result > 0) return this.#collect(used);
    if (result === 0 || result === -ERRNO.EINTR) return 0;
    if (result === -ERRNO.EBADF) return this.#findBad();
    throw new KernelError('select', result, { object: `of descriptors below ${this.#end}` });
  }

  #collect(used: number): number {
    const words = this.#room / 32;
    const found = this.#found;
    let count = 0;
    for (let word = 0; word < used; word++) {
      let bits = this.#any(found, word);
      while (bits !== 0) {
        const position = 31 - Math.clz32(bits);
        const bit = 1 << position;
        bits &= ~bit;
        let events = (found[word] & bit) === 0 ? 0 : POLLIN;
        if ((found[word + words] & bit) !== 0) events |= POLLOUT;
        if ((found[word + 2 * words] & bit) !== 0) events |= POLLPRI;
        this.#tell(count++, word * 32 + position, events);
      }
    }
    return count;
  }

  #tell(index: number, descriptor: number, events: number): void {
    const word = index * READY_WORDS;
    this.ready[word] = events;
    this.ready[word + 1] = this.#slots[descriptor];
    this.ready[word + 2] = this.#generations[descriptor];
  }

  /** Asks about every watched descriptor; those that are not open are reported as poll(2) would. */
  #findBad(): number {
    const suspects = new Int32Array(PROBES_MAX);
    let probes = 0;
    let count = 0;
    for (let descriptor = 0; descriptor < this.#end; descriptor++) {
      if ((this.#any(this.#watched, descriptor >>> 5) & (1 << (descriptor & 31))) !== 0) {
        suspects[probes] = descriptor;
        record(probes++, SYS.fcntl, descriptor, F_GETFD);
      }
      if (probes === 0 || (probes < PROBES_MAX && descriptor < this.#end - 1)) continue;
      runRecords(probes);
      for (let probe = 0; probe < probes; probe++) {
        if (resultOf(probe) === -ERRNO.EBADF) this.#tell(count++, suspects[probe], POLLNVAL | POLLERR);
      }
      probes = 0;
    }
    return count;
  }

  dispose(): void {}
}

function enlarged(from: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const to = new Int32Array(from.length * 2);
  to.set(from);
  return to;
}

/** select(2): kept for what it teaches and for comparison; each wait costs by the highest descriptor. */
export function createSelect(options: ReadinessOptions = {}): Engine {
  return new ReadinessEngine('select', new Select(), options);
}

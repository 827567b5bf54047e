/**
 * Room `engine`: epoll(7), edge-triggered (`epoll`) and level-triggered (`epoll-level`). One file, because the two differ in a
 * flag here; what the flag means for sockets is decided in `readiness.ts`.
 *
 * A newcomer would get wrong: a registration belongs to the open file, not to the number. Closing a number that was duplicated
 * leaves it in place, out of reach; so sockets are deleted before they are closed.
 */
import { EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLIN } from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { check, KernelError } from '../kernel/error.ts';
import { disown, own } from '../kernel/native.ts';
import { addressOf, call, SYS } from '../kernel/syscall.ts';
import type { Engine } from './engine.ts';
import { HOST, type Poller, READY_WORDS, Timespec } from './poller.ts';
import { ReadinessEngine } from './readiness.ts';
import type { ReadinessOptions } from './readiness-operations.ts';

export interface EpollOptions extends ReadinessOptions {
  /** Events that one wait takes at most, 1 to 1,024. Default 256; the kernel gives the others their turn in the next wait. */
  readonly eventsMax?: number;
  /** Does without epoll_pwait2, as a kernel before 5.11 or a sandbox would: waits are then rounded up to milliseconds. */
  readonly withoutTimespec?: boolean;
}

class Epoll implements Poller {
  readonly edge: boolean;
  readonly ready: Int32Array;
  readonly #descriptor: number;
  readonly #readyAddress: number;
  readonly #eventsMax: number;
  /** One struct epoll_event for epoll_ctl. */
  readonly #event = new Int32Array(new ArrayBuffer(64));
  readonly #eventAddress = addressOf(this.#event);
  readonly #timespec = new Timespec();
  #precise: boolean;

  constructor(edge: boolean, options: EpollOptions) {
    const eventsMax = options.eventsMax ?? 256;
    if (!Number.isInteger(eventsMax) || eventsMax < 1 || eventsMax > 1024) {
      throw new RangeError(`eventsMax is ${eventsMax}: 1 to 1024 are allowed`);
    }
    this.edge = edge;
    this.#eventsMax = eventsMax;
    this.#precise = options.withoutTimespec !== true;
    this.ready = new Int32Array(new ArrayBuffer(Math.max(eventsMax * READY_WORDS * 4, 64)));
    this.#readyAddress = addressOf(this.ready);
    this.#descriptor = check(call(SYS.epoll_create1, EPOLL_CLOEXEC), 'epoll_create1');
    own(this.#descriptor);
  }

  add(descriptor: number, slot: number, generation: number, interest: number): number {
    return this.#control(EPOLL_CTL_ADD, descriptor, slot, generation, this.edge ? interest | EPOLLET : interest);
  }

  modify(descriptor: number, slot: number, generation: number, interest: number): number {
    return this.#control(EPOLL_CTL_MOD, descriptor, slot, generation, this.edge ? interest | EPOLLET : interest);
  }

  remove(descriptor: number, slot: number): void {
    // Fails where the descriptor was closed behind our back; then there is nothing to remove.
    this.#control(EPOLL_CTL_DEL, descriptor, slot, 0, 0);
  }

  watchHost(descriptor: number): void {
    check(this.#control(EPOLL_CTL_ADD, descriptor, HOST, 0, EPOLLIN), 'epoll_ctl');
  }

  #control(operation: number, descriptor: number, slot: number, generation: number, events: number): number {
    this.#event[0] = events;
    this.#event[1] = slot;
    this.#event[2] = generation;
    return call(SYS.epoll_ctl, this.#descriptor, operation, descriptor, this.#eventAddress);
  }

  wait(timeoutMs: number): number {
    const result = this.#precise ? this.#waitPrecisely(timeoutMs) : this.#waitRoundly(timeoutMs);
    if (result >= 0) return result;
    // Whatever the signal is for comes through the host's descriptor.
    if (result === -ERRNO.EINTR) return 0;
    throw new KernelError('epoll_wait', result);
  }

  #waitPrecisely(timeoutMs: number): number {
    const timeout = this.#timespec.set(timeoutMs);
    const result = call(SYS.epoll_pwait2, this.#descriptor, this.#readyAddress, this.#eventsMax, timeout);
    // Sandboxes that do not know the call refuse it with EPERM.
    if (result !== -ERRNO.ENOSYS && result !== -ERRNO.EPERM) return result;
    this.#precise = false;
    return this.#waitRoundly(timeoutMs);
  }

  #waitRoundly(timeoutMs: number): number {
    const endless = timeoutMs < 0 || timeoutMs === Number.POSITIVE_INFINITY;
    const wholeMs = endless ? -1 : Math.min(Math.ceil(timeoutMs), 0x7fffffff);
    return call(SYS.epoll_wait, this.#descriptor, this.#readyAddress, this.#eventsMax, wholeMs);
  }

  dispose(): void {
    disown(this.#descriptor);
    call(SYS.close, this.#descriptor);
  }
}

/** Edge-triggered epoll: each change is reported once, so that a busy connection needs no epoll_ctl at all. */
export function createEpoll(options: EpollOptions = {}): Engine {
  return new ReadinessEngine('epoll', new Epoll(true, options), options);
}

/** Level-triggered epoll: reports for as long as a state lasts. */
export function createEpollLevel(options: EpollOptions = {}): Engine {
  return new ReadinessEngine('epoll-level', new Epoll(false, options), options);
}

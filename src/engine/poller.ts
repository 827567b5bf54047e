/**
 * Room `engine`: what the four readiness mechanisms differ in. Whoever adds a fifth implements `Poller` and nothing else; all
 * that a socket does with readiness is `readiness.ts`.
 *
 * A newcomer would get wrong: `wait` copies what is ready out before anybody is told, so callbacks may add and remove at will;
 * the generation that stands beside each slot keeps an event from a later owner of the slot.
 */
import { EPOLL_CLOEXEC, EPOLL_CTL_ADD } from '../kernel/constants.ts';
import { addressOf, call, SYS } from '../kernel/syscall.ts';

/** An epoll_event that asks for nothing. */
const probe = new Int32Array(new ArrayBuffer(64));

/** The slot of the host's descriptor (libuv's) in a list of ready ones. */
export const HOST = -1;

/** Ready sockets as the kernel's epoll_event lays them out: events, slot, generation; 12 bytes each. */
export const READY_WORDS = 3;

export interface Poller {
  /**
   * Whether readiness is told once, when it comes (EPOLLET). The interest then need not follow what is wanted, and the engine
   * remembers what it was told.
   */
  readonly edge: boolean;
  /** What `wait` found: `READY_WORDS` words for each. */
  readonly ready: Int32Array;
  /** Begins to watch. Returns 0 or -errno (EPERM for a regular file, ENOSPC, ENOMEM). */
  add(descriptor: number, slot: number, generation: number, interest: number): number;
  /** Watches for other events; with the same ones, tells again what is ready now. Returns 0 or -errno. */
  modify(descriptor: number, slot: number, generation: number, interest: number): number;
  /** Stops watching. Before the descriptor is closed: a duplicate would keep it in the kernel's set (epoll(7)). */
  remove(descriptor: number, slot: number): void;
  /** Watches a descriptor for reading, level-triggered, as slot `HOST`. */
  watchHost(descriptor: number): void;
  /**
   * Waits at most `timeoutMs` (fractions count; -1 or Infinity without end). Returns how many stand in `ready`; 0 after a
   * signal too. Interest 0 still means errors and hang-ups, where the mechanism reports them.
   * @throws KernelError when the mechanism itself fails, which no connection is to blame for
   */
  wait(timeoutMs: number): number;
  dispose(): void;
}

/** The longest wait that is asked for, a day: nobody minds waking then, and no kernel interface overflows. */
const WAIT_MAX_MS = 86_400_000;

/** A struct timespec for one wait after the other. */
export class Timespec {
  readonly #words = new Int32Array(new ArrayBuffer(64));
  readonly #address = addressOf(this.#words);

  /** Its address, or 0 (NULL: without end). Written anew each time, because pselect6 and ppoll write the rest back. */
  set(timeoutMs: number): number {
    if (timeoutMs < 0 || timeoutMs === Number.POSITIVE_INFINITY) return 0;
    const limitedMs = Math.min(timeoutMs, WAIT_MAX_MS);
    const seconds = Math.floor(limitedMs / 1000);
    this.#words[0] = seconds;
    // Upwards: waking a little before a deadline would only mean waiting once more.
    this.#words[2] = Math.min(Math.ceil((limitedMs - seconds * 1000) * 1e6), 999_999_999);
    return this.#address;
  }
}

/** Whether a descriptor can be waited for: 0, or -EPERM for one that poll(2) and select(2) would call ready for ever. */
export function isPollable(descriptor: number): number {
  const set = call(SYS.epoll_create1, EPOLL_CLOEXEC);
  if (set < 0) return set;
  const result = call(SYS.epoll_ctl, set, EPOLL_CTL_ADD, descriptor, addressOf(probe));
  call(SYS.close, set);
  return result;
}

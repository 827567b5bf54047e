/**
 * Room `net`: one timeout for each engine handle, in a hierarchical timing wheel over typed arrays. Activity only stores a
 * new deadline; the wheel looks again when the old one comes. So a timeout costs an idle connection no object and an active
 * one no list operation.
 *
 * A newcomer would get wrong: the wheel's slot is where an entry is looked at, not when it fires; it fires when its deadline
 * has passed on the monotonic clock, never before.
 */
import { performance } from 'node:perf_hooks';
import type { Clock } from '../engine/engine.ts';
import { shim } from '../kernel/native.ts';

/** Who is told that a handle's time is up. */
export interface Timed {
  timeUp(): void;
}

const LEVELS = 5;
const SLOT_BITS = 6;
const SLOTS = 1 << SLOT_BITS;
/** Deadlines further away than the wheel reaches (12 days at 1 ms) are looked at again at its rim. */
const REACH_MS = 2 ** (LEVELS * SLOT_BITS) - 1;
const NONE = -1;
/** The place of the list that is being walked; it counts as level 0. */
const FIRING = LEVELS * SLOTS;
const UNKNOWN = -1;

export class Timers implements Clock {
  /** Slot heads, LEVELS times SLOTS; entries are handles. */
  readonly #heads = new Int32Array(LEVELS * SLOTS + 1).fill(NONE);
  readonly #tails = new Int32Array(LEVELS * SLOTS + 1).fill(NONE);
  readonly #counts = new Int32Array(LEVELS);
  #next = new Int32Array(1024).fill(NONE);
  #previous = new Int32Array(1024).fill(NONE);
  /** The slot that an entry stands in, or NONE. */
  #places = new Int32Array(1024).fill(NONE);
  #deadlines = new Float64Array(1024);
  /** The tick at which an entry's slot comes up. */
  #ticks = new Float64Array(1024);
  /** How long a touch extends the deadline; 0 for a deadline that activity does not move. */
  #extensions = new Float64Array(1024);
  #owners: (Timed | null)[] = [];
  /** Next tick (1 ms) to be processed. */
  #tick: number;
  #nowMs = 0;
  #stale = true;
  #expiring = false;
  #active = 0;
  #nearestMs = UNKNOWN;

  constructor() {
    this.#tick = Math.floor(performance.now());
  }

  get active(): number {
    return this.#active;
  }

  /** The time of this turn, read at most once a turn. */
  get nowMs(): number {
    if (this.#stale) {
      this.#stale = false;
      this.#nowMs = performance.now();
    }
    return this.#nowMs;
  }

  /**
   * Sets the one timeout of a handle, in ms from now (0 < ms; what exceeds 2^53 never fires). With `extend`, each
   * {@link Timers.touch} starts it afresh.
   */
  set(handle: number, owner: Timed, timeoutMs: number, extend: boolean): void {
    while (handle >= this.#next.length) this.#grow();
    // Not the turn's cached time: a timer never fires before its time has passed since it was asked for.
    const nowMs = performance.now();
    const deadlineMs = nowMs + timeoutMs;
    // Not from within `expire`, which goes on from the tick that it is at.
    if (this.#active === 0 && !this.#expiring) this.#tick = Math.floor(nowMs);
    this.#owners[handle] = owner;
    this.#deadlines[handle] = deadlineMs;
    this.#extensions[handle] = extend ? timeoutMs : 0;
    if (this.#places[handle] !== NONE) {
      // A later deadline is found when the slot comes up; equal ones keep the order of setting, so they move too.
      if (this.#ticks[handle] < Math.floor(deadlineMs) && extend) return;
      this.#unlink(handle);
    }
    this.#link(handle);
  }

  /** Ends the timeout of a handle; none, or a handle that is no more (-1), is fine. */
  clear(handle: number): void {
    if (handle < 0 || handle >= this.#places.length || this.#places[handle] === NONE) return;
    this.#unlink(handle);
    this.#owners[handle] = null;
  }

  /** Activity on a handle. */
  touch(handle: number): void {
    if (this.#active === 0 || handle >= this.#extensions.length) return;
    const extension = this.#extensions[handle];
    if (extension > 0) this.#deadlines[handle] = this.nowMs + extension;
  }

  nextDeadlineMs(): number {
    this.#stale = true;
    if (this.#active === 0) return Number.POSITIVE_INFINITY;
    if (this.#nearestMs === UNKNOWN) this.#nearestMs = this.#findNearest();
    return this.#nearestMs;
  }

  /** The first moment at which a slot has to be looked at: exact on the finest level, a slot's beginning above it. */
  #findNearest(): number {
    let nearestMs = this.#counts[0] === 0 ? Number.POSITIVE_INFINITY : this.#nearestExact();
    for (let level = 1; level < LEVELS; level++) {
      if (this.#counts[level] === 0) continue;
      const shift = 2 ** (level * SLOT_BITS);
      const first = Math.floor(this.#tick / shift);
      // The current position came down already; what stands in its slot belongs to the next revolution.
      for (let step = 1; step <= SLOTS; step++) {
        const position = first + step;
        if (this.#heads[level * SLOTS + (position % SLOTS)] === NONE) continue;
        nearestMs = Math.min(nearestMs, position * shift);
        break;
      }
    }
    return nearestMs;
  }

  #nearestExact(): number {
    for (let step = 0; step < SLOTS; step++) {
      const tick = this.#tick + step;
      let handle = this.#heads[tick % SLOTS];
      if (handle === NONE) continue;
      // An extended deadline lies beyond its slot; its entry has to be moved when the slot has passed.
      let nearestMs = tick + 1;
      for (; handle !== NONE; handle = this.#next[handle]) nearestMs = Math.min(nearestMs, this.#deadlines[handle]);
      return nearestMs;
    }
    return Number.POSITIVE_INFINITY;
  }

  expire(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#stale = false;
    this.#nearestMs = UNKNOWN;
    const last = Math.floor(nowMs);
    if (this.#active === 0) {
      this.#tick = last;
      return;
    }
    // A long sleep needs no walk over empty milliseconds: jump to the next occupied slot.
    this.#expiring = true;
    while (this.#tick <= last) {
      this.#cascade();
      this.#fire(this.#tick % SLOTS, nowMs);
      if (this.#tick === last) break;
      this.#tick = this.#counts[0] > 0 ? this.#tick + 1 : Math.min(last, (Math.floor(this.#tick / SLOTS) + 1) * SLOTS);
    }
    this.#expiring = false;
  }

  /** Where the finest level begins anew, the coarser slots that begin now come down. */
  #cascade(): void {
    for (let level = 1; level < LEVELS; level++) {
      const shift = 2 ** (level * SLOT_BITS);
      if (this.#tick % shift !== 0) return;
      this.#moveDown(level * SLOTS + (Math.floor(this.#tick / shift) % SLOTS));
    }
  }

  #moveDown(place: number): void {
    let handle = this.#heads[place];
    while (handle !== NONE) {
      const next = this.#next[handle];
      this.#unlink(handle);
      this.#link(handle);
      handle = next;
    }
  }

  #fire(place: number, nowMs: number): void {
    if (this.#heads[place] === NONE) return;
    // The list stands apart while it is walked, so that callbacks may clear and set timers, this one's included.
    for (let handle = this.#heads[place]; handle !== NONE; handle = this.#next[handle]) this.#places[handle] = FIRING;
    this.#heads[FIRING] = this.#heads[place];
    this.#tails[FIRING] = this.#tails[place];
    this.#heads[place] = NONE;
    this.#tails[place] = NONE;
    for (let handle = this.#heads[FIRING]; handle !== NONE; handle = this.#heads[FIRING]) {
      this.#unlink(handle);
      if (this.#deadlines[handle] > nowMs) {
        this.#link(handle);
        continue;
      }
      const owner = this.#owners[handle];
      this.#owners[handle] = null;
      this.#extensions[handle] = 0;
      try {
        owner?.timeUp();
      } catch (error) {
        shim.raise(error);
      }
    }
  }

  #link(handle: number): void {
    const deadlineMs = this.#deadlines[handle];
    const distance = Math.min(Math.max(Math.floor(deadlineMs) - this.#tick, 0), REACH_MS);
    const tick = this.#tick + distance;
    let level = 0;
    while (level < LEVELS - 1 && distance >= 2 ** ((level + 1) * SLOT_BITS)) level++;
    const place = level * SLOTS + (Math.floor(tick / 2 ** (level * SLOT_BITS)) % SLOTS);
    this.#places[handle] = place;
    this.#ticks[handle] = tick;
    this.#next[handle] = NONE;
    this.#previous[handle] = this.#tails[place];
    if (this.#tails[place] === NONE) this.#heads[place] = handle;
    else this.#next[this.#tails[place]] = handle;
    this.#tails[place] = handle;
    this.#counts[level]++;
    this.#active++;
    this.#nearestMs = UNKNOWN;
  }

  #unlink(handle: number): void {
    const place = this.#places[handle];
    const before = this.#previous[handle];
    const after = this.#next[handle];
    if (before === NONE) this.#heads[place] = after;
    else this.#next[before] = after;
    if (after === NONE) this.#tails[place] = before;
    else this.#previous[after] = before;
    this.#places[handle] = NONE;
    this.#counts[place === FIRING ? 0 : Math.floor(place / SLOTS)]--;
    this.#active--;
    this.#nearestMs = UNKNOWN;
  }

  #grow(): void {
    const size = this.#next.length * 2;
    const wider = (from: Int32Array): Int32Array<ArrayBuffer> => {
      const to = new Int32Array(size).fill(NONE);
      to.set(from);
      return to;
    };
    const widerFloat = (from: Float64Array): Float64Array<ArrayBuffer> => {
      const to = new Float64Array(size);
      to.set(from);
      return to;
    };
    this.#next = wider(this.#next);
    this.#previous = wider(this.#previous);
    this.#places = wider(this.#places);
    this.#deadlines = widerFloat(this.#deadlines);
    this.#ticks = widerFloat(this.#ticks);
    this.#extensions = widerFloat(this.#extensions);
  }
}

/**
 * Room `engine`: io_uring. Accepts and receives are multishot, received bytes land in a provided buffer ring, everything
 * asked for during a turn is submitted by the one kernel entry that also waits. This file is the turn. `uring-operations.ts`
 * is the asking side, `uring-completions.ts` says what each completion means.
 *
 * A newcomer would get wrong: the order within a pass. Quick sends are settled only after every completion of their
 * submission has been read, overflowed ones included, because silence is their success.
 */
import { performance } from 'node:perf_hooks';
import { ERRNO } from '../kernel/errno.ts';
import { shim } from '../kernel/native.ts';
import * as abi from '../kernel/uring-abi.ts';
import type { Clock, Engine } from './engine.ts';
import { deadlineOf, turnInPasses, waitUntil } from './passes.ts';
import { UringCompletions } from './uring-completions.ts';
import type { UringOptions } from './uring-operations.ts';
import * as state from './uring-state.ts';

const POLLIN = 1;
const POLLOUT = 4;
/**
 * A moderated wait pays when a pass delivered so many completions and further ones are to be expected within its window, at the rate
 * of the last passes. Below that rate it would only delay.
 */
const MODERATE_FROM = 3;
const EXPECTED_MIN = 2;
/** The rate is taken over at least such a time: over a shorter one, the backlog behind a pause would look like a rate. */
const RATE_WINDOW_MS = 4;
const JOBS_PER_TURN_MAX = 65536;

export class UringEngine extends UringCompletions implements Engine {
  turn(timeoutMs: number): boolean {
    return turnInPasses(this, timeoutMs);
  }

  /** @internal */
  pass(timeoutMs: number): boolean {
    const ring = this.ring;
    this.runJobs();
    this.runTransfers();
    // What jobs queued in Node has to have its say before the wait, timers and immediates included.
    if (this.drainNeeded) this.drain();
    // Blocks came back: who waited for them is armed again.
    if (this.starved.length > 0 && this.group.available > 0) this.again.push(...this.starved.splice(0));
    const busy =
      this.foreign || this.hurried || this.jobCount > 0 || this.transfers.waiting > 0 || this.again.length > 0;
    this.hurried = false;
    const clock = this.clock;
    const deadlineMs = deadlineOf(clock);
    let wait = waitUntil(deadlineMs, busy ? 0 : timeoutMs);
    this.topUp();
    if (wait !== 0 && ring.ready() > 0) wait = 0;
    if (wait !== 0 || ring.pending > 0 || ring.needsEntry()) {
      if (wait !== 0 && !this.hostArmed && this.hostDescriptor >= 0) {
        this.hostArmed = true;
        ring.push(abi.IORING_OP_POLL_ADD, this.hostDescriptor, 0, 0, 0, POLLIN, state.HOST << state.OPERATION_SHIFT, 0);
      }
      this.statistics.systemCalls++;
      if (wait !== 0) this.statistics.waits++;
      if (wait !== 0 && this.pays) ring.enterModerated(this.lastDelivered * 2, wait, this.moderationUs);
      else ring.enter(wait === 0 ? 0 : 1, wait);
    }
    // Entries left behind (EBUSY) make the boundary unknown; the next turn settles it.
    const submitted = ring.pending === 0 ? this.quick.count : 0;
    let delivered = this.completions();
    while (ring.overflowed) {
      this.statistics.overflows++;
      ring.enter(0, 0);
      delivered += this.completions();
    }
    this.share.passed();
    this.lastDelivered = delivered;
    this.sinceMeasured += delivered;
    this.pays = delivered >= MODERATE_FROM && this.measure() * EXPECTED_MIN <= this.moderationUs;
    delivered += this.quickResults(submitted);
    if (this.again.length > 0) this.lookAgain();
    if (this.closings.length > 0) this.tellClosed();
    if (deadlineMs !== Number.POSITIVE_INFINITY) this.expire(clock!, deadlineMs);
    this.runJobs();
    this.runTransfers();
    if (this.drainNeeded) this.drain();
    this.statistics.events += delivered;
    // libuv's own events are waiting: it has to have its say before the next wait.
    const host = this.hostReady;
    this.hostReady = false;
    return delivered > 0 && !host;
  }

  /** Brings the kernel's share to what is wanted; blocks that came back last, whose bytes are still in the cache, go first. */
  private topUp(): void {
    const { group, share, arena } = this;
    while (group.available < share.wanted && arena.free > 0) group.give(arena.take() / this.blockSize);
    group.publish();
  }

  /** The mean time between two completions, in µs, over the last {@link RATE_WINDOW_MS} or more that ended in a busy pass. */
  private measure(): number {
    const nowMs = performance.now();
    const elapsedMs = nowMs - this.measuredMs;
    if (elapsedMs >= RATE_WINDOW_MS) {
      this.intervalUs = (elapsedMs * 1000) / this.sinceMeasured;
      this.measuredMs = nowMs;
      this.sinceMeasured = 0;
    }
    return this.intervalUs;
  }

  private expire(clock: Clock, deadlineMs: number): void {
    const nowMs = performance.now();
    if (nowMs < deadlineMs) return;
    this.drainNeeded = true;
    try {
      clock.expire(nowMs);
    } catch (error) {
      shim.raise(error);
    }
  }

  private drain(): void {
    this.drainNeeded = false;
    this.foreign = true;
    shim.drain();
  }

  private completions(): number {
    const ring = this.ring;
    const count = ring.ready();
    if (count === 0) return 0;
    const end = (ring.head + count) | 0;
    while (ring.head !== end) {
      try {
        while (ring.head !== end) {
          if (this.drainNeeded) this.drain();
          const word = (ring.head & ring.completionMask) << 2;
          ring.head = (ring.head + 1) | 0;
          const completions = ring.completions;
          this.complete(completions[word], completions[word + 1], completions[word + 2], completions[word + 3]);
        }
      } catch (error) {
        // The callback of one connection threw; the others of this batch are served all the same.
        shim.raise(error);
      }
    }
    ring.publishHead();
    this.group.publish();
    return count;
  }

  /** Tells of the slots that have nothing under way any more, in the order in which they were asked to close. */
  private tellClosed(): void {
    const { closings, slots } = this;
    const count = closings.length;
    let kept = 0;
    for (let index = 0; index < count; index++) {
      const slot = closings[index];
      if (slots.flights[slot] > 0) {
        closings[kept++] = slot;
        continue;
      }
      const sink = slots.sinks[slot]!;
      slots.release(slot);
      try {
        sink.closed();
      } catch (error) {
        shim.raise(error);
      }
      this.drain();
    }
    // What was asked to close meanwhile stands behind.
    closings.splice(kept, count - kept);
  }

  /** Settles the quick sends that the kernel has seen: their results stand in the slots. */
  private quickResults(submitted: number): number {
    const slots = this.slots;
    const quick = this.quick;
    for (let index = 0; index < submitted; index++) {
      if (this.drainNeeded) this.drain();
      const place = quick.place(index);
      const slot = quick.slots[place];
      const result = slots.results[slot];
      slots.flights[slot]--;
      if ((slots.states[slot] & state.CLOSING) !== 0) continue;
      if (result === -ERRNO.EAGAIN) {
        this.slowSend(slot, quick.addresses[place], quick.lengths[place]);
      } else {
        this.sent(slot, result);
      }
    }
    quick.drop(submitted);
    return submitted;
  }

  private sent(slot: number, result: number): void {
    try {
      this.told(this.slots.sinks[slot]!.sent(result));
    } catch (error) {
      this.drainNeeded = true;
      shim.raise(error);
    }
  }

  /** Slots whose multishot ended, that starved, or that were resumed with something retained. */
  private lookAgain(): void {
    const states = this.slots.states;
    const count = this.again.length;
    for (let index = 0; index < count; index++) {
      const slot = this.again[index];
      if ((states[slot] & (state.TAKEN | state.CLOSING)) !== state.TAKEN) continue;
      if ((states[slot] & state.RETAINED) !== 0) this.deliverRetained(slot);
      if ((states[slot] & (state.ACCEPT_WANTED | state.ACCEPT_ARMED)) === state.ACCEPT_WANTED) this.acceptStart(slot);
      if ((states[slot] & (state.MESSAGES_WANTED | state.MESSAGES_ARMED)) === state.MESSAGES_WANTED) {
        if (this.receiver.available > 0) this.armMessages(slot);
        else this.again.push(slot);
      }
      const receive = states[slot] & (state.RECEIVE_WANTED | state.RECEIVE_ARMED | state.RETAINED | state.CLOSING);
      if (receive !== state.RECEIVE_WANTED) {
        states[slot] &= ~state.STARVED;
      } else if (this.group.available > 0) {
        states[slot] &= ~state.STARVED;
        this.armReceive(slot);
      } else {
        // Arming on an empty ring would end at once with ENOBUFS and spin; `releaseBlock` fills it.
        if ((states[slot] & state.STARVED) === 0) this.statistics.blocksExhausted++;
        states[slot] |= state.STARVED;
        this.starved.push(slot);
      }
    }
    this.again.splice(0, count);
  }

  /** Gives a resumed socket what arrived while it was paused, in order, for as long as it does not pause again. */
  private deliverRetained(slot: number): void {
    const states = this.slots.states;
    const retained = this.retained;
    while ((states[slot] & (state.RECEIVE_WANTED | state.CLOSING)) === state.RECEIVE_WANTED) {
      const start = retained.next(slot);
      if (start < 0) break;
      try {
        this.deliver(slot, Math.floor(start / this.blockSize), start, retained.end);
      } catch (error) {
        shim.raise(error);
      }
      this.drain();
    }
    if ((states[slot] & state.CLOSING) !== 0 || !retained.isEmpty(slot)) return;
    states[slot] &= ~state.RETAINED;
    const ending = retained.ending(slot);
    if (ending === null) return;
    if ((states[slot] & state.RECEIVE_WANTED) === 0) {
      states[slot] |= state.RETAINED;
      retained.finish(slot, ending);
      return;
    }
    states[slot] &= ~state.RECEIVE_WANTED;
    this.drainNeeded = true;
    try {
      this.slots.sinks[slot]!.receiveEnded(ending);
    } catch (error) {
      shim.raise(error);
    }
  }

  private runJobs(): void {
    const jobs = this.jobs;
    const count = Math.min(this.jobCount, JOBS_PER_TURN_MAX);
    let bound = count;
    for (let index = 0; index < this.jobCount && index < JOBS_PER_TURN_MAX; index++) {
      const job = jobs[index]!;
      jobs[index] = null;
      try {
        if (job.run() === true) this.drainNeeded = true;
      } catch (error) {
        this.drainNeeded = true;
        shim.raise(error);
      }
      bound = index + 1;
    }
    if (bound < this.jobCount) jobs.copyWithin(0, bound, this.jobCount);
    this.jobCount -= bound;
  }

  /** Runs queued file transfers; those that meet a full socket wait for it to become writable. */
  private runTransfers(): void {
    const transfers = this.transfers;
    const count = transfers.run();
    this.statistics.systemCalls += count;
    for (let index = 0; index < count; index++) {
      const slot = transfers.slotAt(index);
      const result = transfers.resultAt(index);
      this.slots.flights[slot]--;
      if ((this.slots.states[slot] & state.CLOSING) !== 0) {
        transfers.drop(slot);
      } else if (result === -ERRNO.EAGAIN || result === -ERRNO.EINTR) {
        this.slots.states[slot] |= state.FILE_ARMED;
        this.push(slot, state.FILE_READY, abi.IORING_OP_POLL_ADD, 0, 0, 0, POLLOUT);
      } else {
        transfers.drop(slot);
        this.sent(slot, result);
      }
    }
  }
}

/** @throws KernelError where the kernel refuses io_uring; `choose.ts` then takes the next mechanism */
export function createUring(options: UringOptions = {}): Engine {
  return new UringEngine(options);
}

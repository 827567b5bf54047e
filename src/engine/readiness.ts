/**
 * Room `engine`: select, poll and epoll as completions. A turn waits, notes what is ready without calling anybody, then serves:
 * reads of many sockets in one crossing (`readiness-reading.ts`), and at its end the sends of many in another. This file is the
 * turn; `readiness-operations.ts` is the asking side.
 *
 * A newcomer would get wrong: noting comes before serving, whole. A callback that closes, adds or pauses sockets then cannot
 * make the walk over the events miss one or meet one twice.
 */
// Imported, because the global of this name is a getter that is run each time.
import { performance } from 'node:perf_hooks';
import {
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLNVAL,
  POLLOUT,
  POLLPRI,
  POLLRDHUP,
  SO_TYPE,
  SOCK_DGRAM,
  SOL_SOCKET,
} from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { shim } from '../kernel/native.ts';
import { getsockoptInt, socketError } from '../kernel/socket.ts';
import { resultOf, runRecords } from '../kernel/syscall.ts';
import type { Clock, Engine } from './engine.ts';
import { deadlineOf, turnInPasses, waitUntil } from './passes.ts';
import { HOST, READY_WORDS } from './poller.ts';
import * as operations from './readiness-operations.ts';
import { HELD, ReadinessReading } from './readiness-reading.ts';
import { BATCH_MAX, SendRecords } from './readiness-records.ts';
import * as state from './readiness-slots.ts';

const JOBS_PER_TURN_MAX = 65536;
/** Sends that follow one another on a connection, each as soon as the one before was taken. */
const SENDS_PER_TURN = 8;

const INPUT = POLLIN | POLLPRI | POLLERR | POLLHUP | POLLRDHUP;
const OUTPUT = POLLOUT | POLLERR | POLLHUP;
/** With any of these a short read may have more behind it: an end, an error, the urgent mark. */
const DOUBT = POLLPRI | POLLERR | POLLHUP | POLLRDHUP;

export class ReadinessEngine extends ReadinessReading implements Engine {
  private readonly sendRecords = new SendRecords();
  private hostReady = false;

  turn(timeoutMs: number): boolean {
    return turnInPasses(this, timeoutMs);
  }

  /** @internal */
  pass(timeoutMs: number): boolean {
    if (this.disposed) return false;
    if (this.starved.length > 0) this.feedStarved();
    let delivered = this.settle();
    this.drain();
    if (this.disposed) return false;
    // What was delivered before the wait may have given Node something to do.
    const busy = this.foreign || this.isBusy();
    const clock = this.clock;
    const deadlineMs = deadlineOf(clock);
    let waitMs = waitUntil(deadlineMs, busy ? 0 : timeoutMs);
    if (this.changes.length > 0) {
      this.applyChanges();
      if (this.notices.length > 0) waitMs = 0;
    }
    this.statistics.systemCalls++;
    if (waitMs !== 0) this.statistics.waits++;
    const count = this.poller.wait(waitMs);
    for (let index = 0; index < count; index++) this.note(index * READY_WORDS);
    delivered += this.tellNotices() + this.serveReady();
    if (deadlineMs !== Number.POSITIVE_INFINITY && !this.disposed) this.expire(clock!, deadlineMs);
    delivered += this.settle();
    this.drain();
    if (this.disposed) return false;
    this.statistics.events += delivered;
    // libuv's own events are waiting: it has to have its say before the next wait.
    const host = this.hostReady;
    this.hostReady = false;
    return delivered > 0 && !host;
  }

  private isBusy(): boolean {
    const waiting = this.ready.length + this.sends.length + this.notices.length + this.closings.length + this.jobCount;
    return waiting > 0 || (this.starved.length > 0 && this.arena.free > 0);
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

  // Noting what is ready. Calls nobody.

  private note(word: number): void {
    const ready = this.poller.ready;
    const events = ready[word];
    const slot = ready[word + 1];
    if (slot === HOST) {
      this.hostReady = true;
      return;
    }
    const { slots } = this;
    const states = slots.states;
    if (slots.generations[slot] !== ready[word + 2] || (states[slot] & HELD) !== state.TAKEN) return;
    if ((events & POLLNVAL) !== 0) {
      this.breakOff(slot, -ERRNO.EBADF);
      return;
    }
    const connecting = (states[slot] & state.CONNECT_WAITING) !== 0;
    if ((events & ~(POLLIN | POLLOUT)) !== 0) this.noteDoubt(slot, events, connecting);
    // Who hears of an error or hang-up by a poll, a connect or a failing send needs no other word of it.
    const heard = (states[slot] & (state.POLL_WANTED | state.CONNECT_WAITING)) !== 0;
    if ((states[slot] & state.POLL_WANTED) !== 0) this.notePoll(slot, events);
    if ((events & OUTPUT) !== 0) this.noteOutput(slot, connecting);
    if ((events & INPUT) === 0) return;
    states[slot] |= (events & POLLIN) === 0 ? state.READABLE : state.READABLE | state.PROMISED;
    const flags = states[slot];
    if ((flags & state.INPUT_WANTED) !== 0 && (flags & state.STARVED) === 0) this.listReady(slot);
    else if ((events & (POLLERR | POLLHUP)) !== 0 && !heard && (flags & state.SEND_QUEUED) === 0)
      this.notice(slot, operations.UNHEARD, events);
  }

  private noteDoubt(slot: number, events: number, connecting: boolean): void {
    const states = this.slots.states;
    // A socket that is not connected yet hangs up by nature.
    if ((events & DOUBT) !== 0 && !connecting) states[slot] |= state.UNPROVEN;
    if ((events & (POLLHUP | POLLRDHUP)) !== 0 && !connecting) states[slot] |= state.ENDING;
    if ((events & POLLERR) !== 0 && (states[slot] & state.POLL_WANTED) === 0) states[slot] |= state.ERROR_SEEN;
  }

  private notePoll(slot: number, events: number): void {
    const met = events & (this.slots.pollEvents[slot] | POLLERR | POLLHUP);
    if (met === 0) return;
    this.slots.states[slot] &= ~state.POLL_WANTED;
    this.notice(slot, operations.POLLED, met);
    if (!this.edge) this.listChange(slot);
  }

  private noteOutput(slot: number, connecting: boolean): void {
    const states = this.slots.states;
    if (connecting) {
      states[slot] &= ~state.CONNECT_WAITING;
      this.notice(slot, operations.CONNECT_ENDED, 0);
      if (!this.edge) this.listChange(slot);
    } else if ((states[slot] & state.SEND_WAITING) !== 0) {
      states[slot] = (states[slot] & ~state.SEND_WAITING) | state.SEND_QUEUED;
      this.sends.push(slot);
      if (!this.edge) this.listChange(slot);
    }
  }

  // Notices: what is told once.

  private tellNotices(): number {
    const notices = this.notices;
    let delivered = 0;
    for (let left = notices.length / 3; left > 0; left--) {
      this.drain();
      const slot = notices.shift();
      const kind = notices.shift();
      const value = notices.shift();
      if ((this.slots.states[slot] & HELD) !== state.TAKEN) continue;
      delivered++;
      this.drainNeeded = true;
      try {
        this.tellNotice(slot, kind, value);
      } catch (error) {
        this.raise(error);
      }
    }
    return delivered;
  }

  private tellNotice(slot: number, kind: number, value: number): void {
    const sink = this.slots.sinks[slot]!;
    switch (kind) {
      case operations.CONNECTED:
        sink.connected(value);
        break;
      case operations.CONNECT_ENDED:
        // Asked once: reading SO_ERROR takes it, and a second look would call a refused connect a success.
        sink.connected(socketError(this.slots.descriptors[slot]));
        break;
      case operations.POLLED:
        sink.polled(value);
        break;
      case operations.BROKEN:
        this.tellBroken(slot, value);
        break;
      default:
        this.tellUnheard(slot, value);
    }
  }

  /** Ends whatever is under way on a descriptor that is not what it was. */
  private tellBroken(slot: number, result: number): void {
    const { slots } = this;
    const states = slots.states;
    const asked = states[slot];
    const sink = slots.sinks[slot]!;
    const waiting = state.POLL_WANTED | state.CONNECT_WAITING | state.SEND_WAITING;
    states[slot] &= ~(state.INPUT_WANTED | waiting);
    if ((asked & state.CONNECT_WAITING) !== 0) sink.connected(result);
    if ((asked & state.POLL_WANTED) !== 0 && this.isHeld(slot)) sink.polled(result);
    if ((asked & state.SEND_WAITING) !== 0 && this.isHeld(slot)) sink.sent(result);
    if ((asked & state.ACCEPT_WANTED) !== 0 && this.isHeld(slot)) sink.acceptFailed(result);
    if ((asked & (state.RECEIVE_WANTED | state.MESSAGES_WANTED)) !== 0 && this.isHeld(slot)) sink.receiveEnded(result);
  }

  private isHeld(slot: number): boolean {
    return (this.slots.states[slot] & HELD) === state.TAKEN;
  }

  /**
   * An error or hang-up that nobody reads. ERR and HUP cannot be masked (epoll_ctl(2)), so what would come again and again
   * leaves the poller's set until something is asked for. A reset is told now; an end waits until somebody reads.
   */
  private tellUnheard(slot: number, events: number): void {
    const { slots } = this;
    const descriptor = slots.descriptors[slot];
    const isDatagram = getsockoptInt(descriptor, SOL_SOCKET, SO_TYPE) === SOCK_DGRAM;
    // Of a datagram socket an error is one datagram's, and stays for the next receive or send to report.
    const error = isDatagram || (events & POLLERR) === 0 ? 0 : socketError(descriptor);
    if (error < 0) {
      slots.states[slot] &= ~state.RECEIVE_WANTED;
      slots.sinks[slot]!.receiveEnded(error);
      return;
    }
    const drained = (events & POLLERR) === 0 || isDatagram ? 0 : this.messages.drainErrors(descriptor);
    if (!this.edge && drained === 0) this.mute(slot);
  }

  // The end of a turn.

  /** Runs jobs, sends and notices until nothing is left or the bound is met, then tells of closed sockets. */
  private settle(): number {
    let delivered = 0;
    for (let pass = 0; pass < SENDS_PER_TURN; pass++) {
      if (this.jobCount > 0) this.runJobs();
      if (this.notices.length > 0) delivered += this.tellNotices();
      if (this.sends.length > 0) delivered += this.trySends();
      else if (this.jobCount === 0) break;
    }
    if (this.closings.length > 0) delivered += this.tellClosed();
    return delivered;
  }

  private runJobs(): void {
    let index = 0;
    // Jobs that are queued meanwhile run too.
    for (; index < this.jobCount && index < JOBS_PER_TURN_MAX; index++) {
      const job = this.jobs[index]!;
      this.jobs[index] = null;
      try {
        if (job.run() === true) this.drainNeeded = true;
      } catch (error) {
        this.raise(error);
      }
    }
    if (index < this.jobCount) {
      this.jobs.copyWithin(0, index, this.jobCount);
      this.jobs.fill(null, this.jobCount - index, this.jobCount);
    }
    this.jobCount -= index;
  }

  private trySends(): number {
    const { batch, sends, slots } = this;
    const states = slots.states;
    let left = sends.length;
    let delivered = 0;
    while (left > 0) {
      let count = 0;
      while (left > 0 && count < BATCH_MAX) {
        left--;
        const slot = sends.shift();
        if ((states[slot] & state.SEND_QUEUED) === 0) continue;
        states[slot] &= ~state.SEND_QUEUED;
        this.sendRecords.write(count, slots, slot);
        batch[count++] = slot;
      }
      runRecords(count);
      this.statistics.systemCalls += count;
      for (let index = 0; index < count; index++) this.results[index] = resultOf(index);
      delivered += this.deliverSent(count);
    }
    return delivered;
  }

  private deliverSent(count: number): number {
    let index = 0;
    let delivered = 0;
    while (index < count) {
      try {
        while (index < count) {
          if (this.drainNeeded) this.drain();
          const at = index++;
          if (this.sent(this.batch[at], this.results[at])) delivered++;
        }
      } catch (error) {
        this.raise(error);
      }
    }
    return delivered;
  }

  private sent(slot: number, result: number): boolean {
    const states = this.slots.states;
    if ((states[slot] & HELD) !== state.TAKEN) return false;
    if (result === -ERRNO.EAGAIN) {
      states[slot] |= state.SEND_WAITING;
      this.watchOutput(slot);
      return false;
    }
    if (result === -ERRNO.EINTR) {
      states[slot] |= state.SEND_QUEUED;
      this.sends.push(slot);
      return false;
    }
    this.told(this.slots.sinks[slot]!.sent(result));
    return true;
  }

  private tellClosed(): number {
    const { closings, slots } = this;
    const count = closings.length;
    for (let index = 0; index < count; index++) {
      this.drain();
      if (this.disposed) return index;
      const slot = closings.shift();
      const sink = slots.sinks[slot]!;
      slots.release(slot);
      this.drainNeeded = true;
      try {
        sink.closed();
      } catch (error) {
        this.raise(error);
      }
    }
    return count;
  }
}

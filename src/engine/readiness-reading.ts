/**
 * Room `engine`: how a readiness engine reads: the ready list, the receives that are made for many sockets in one crossing,
 * accepting, messages, and what happens when no block is free. `readiness.ts` fills the list and calls `serveReady`.
 *
 * A newcomer would get wrong: when results are delivered, their system calls were made already. A callback may have closed or
 * paused the socket whose bytes are in hand, so each result looks at its socket's state again.
 */
import { SOCK_CLOEXEC, SOCK_NONBLOCK } from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { shim } from '../kernel/native.ts';
import { call, resultOf, runRecords, SYS } from '../kernel/syscall.ts';
import { ACCEPT_AGAIN } from './accept-errors.ts';
import { type EngineName, RECEIVED_KEEP, RECEIVED_QUIET } from './engine.ts';
import type { Poller } from './poller.ts';
import { MessageReader } from './readiness-messages.ts';
import { ReadinessOperations, type ReadinessOptions } from './readiness-operations.ts';
import { BATCH_MAX, writeReceive } from './readiness-records.ts';
import * as state from './readiness-slots.ts';

/** Rounds over the ready list: reads of one connection (of a block each), and the unit of the two bounds below. */
const ROUNDS_PER_TURN = 4;
const ACCEPTS_PER_ROUND = 16;
const MESSAGES_PER_ROUND = 16;

/** A socket that somebody has: taken and not closing. */
export const HELD = state.TAKEN | state.CLOSING;

export abstract class ReadinessReading extends ReadinessOperations {
  // The batch that was gathered: slots, for reads their block (-1: no read), results copied from the record table, which
  // callbacks use too.
  protected readonly batch = new Int32Array(BATCH_MAX);
  protected readonly results = new Int32Array(BATCH_MAX);
  private readonly blocks = new Int32Array(BATCH_MAX);
  protected readonly messages: MessageReader;
  protected drainNeeded = false;
  /** Foreign code ran in this pass. */
  foreign = false;

  constructor(name: EngineName, poller: Poller, options: ReadinessOptions) {
    super(name, poller, options);
    this.messages = new MessageReader(this.arena);
  }

  protected drain(): void {
    if (!this.drainNeeded) return;
    this.drainNeeded = false;
    this.foreign = true;
    shim.drain();
  }

  /** What a callback threw ends nobody else's events. */
  protected raise(error: unknown): void {
    this.drainNeeded = true;
    shim.raise(error);
  }

  protected told(answer: number): void {
    if ((answer & RECEIVED_QUIET) === 0) this.drainNeeded = true;
  }

  protected serveReady(): number {
    const ready = this.ready;
    let delivered = 0;
    for (let round = 0; round < ROUNDS_PER_TURN && ready.length > 0; round++) {
      // Who is listed again meanwhile waits for the next round.
      let left = ready.length;
      while (left > 0) {
        const before = ready.length;
        const count = this.gatherReads(left);
        left -= before - ready.length;
        delivered += this.deliverBatch(count);
      }
    }
    return delivered;
  }

  /** Takes up to `limit` sockets off the list, reads from those that receive, and returns how many stand in the batch. */
  private gatherReads(limit: number): number {
    const { arena, batch, blocks, ready, slots } = this;
    const states = slots.states;
    let count = 0;
    let reads = 0;
    while (limit-- > 0 && count < BATCH_MAX) {
      // Blocks that are in hand come back when their bytes were delivered: the others wait for that.
      if (arena.free === 0 && reads > 0) break;
      const slot = ready.shift();
      states[slot] &= ~state.READY_LISTED;
      const flags = states[slot];
      if ((flags & HELD) !== state.TAKEN || (flags & state.INPUT_WANTED) === 0) continue;
      if ((flags & (state.READABLE | state.RETAINED)) === 0 || (flags & state.STARVED) !== 0) continue;
      blocks[count] = -1;
      if ((flags & (state.RECEIVE_WANTED | state.RETAINED)) === state.RECEIVE_WANTED) {
        const block = arena.take();
        if (block < 0) {
          this.starve(slot);
          continue;
        }
        const descriptor = slots.descriptors[slot];
        writeReceive(reads++, descriptor, this.memoryAddress + block, this.blockSize);
        blocks[count] = block;
      }
      batch[count++] = slot;
    }
    if (reads > 0) {
      runRecords(reads);
      this.statistics.systemCalls += reads;
      let read = 0;
      for (let index = 0; index < count; index++) if (blocks[index] >= 0) this.results[index] = resultOf(read++);
    }
    return count;
  }

  private deliverBatch(count: number): number {
    let index = 0;
    let delivered = 0;
    while (index < count) {
      try {
        while (index < count) {
          if (this.drainNeeded) this.drain();
          const at = index++;
          const slot = this.batch[at];
          if (this.blocks[at] >= 0) {
            if (this.received(slot, this.blocks[at], this.results[at])) delivered++;
          } else {
            delivered += this.serveOther(slot);
          }
        }
      } catch (error) {
        this.raise(error);
      }
    }
    return delivered;
  }

  private starve(slot: number): void {
    this.statistics.blocksExhausted++;
    this.slots.states[slot] |= state.STARVED;
    this.starved.push(slot);
    if (!this.edge) this.listChange(slot);
  }

  /** Blocks came back: who waited for them reads again, in the order of waiting. */
  protected feedStarved(): void {
    const { arena, slots, starved } = this;
    for (let free = arena.free; free > 0 && starved.length > 0; ) {
      const slot = starved.shift();
      if ((slots.states[slot] & state.STARVED) === 0) continue;
      slots.states[slot] &= ~state.STARVED;
      this.listReady(slot);
      if (!this.edge) this.listChange(slot);
      free--;
    }
  }

  private received(slot: number, block: number, result: number): boolean {
    const { arena, slots } = this;
    const states = slots.states;
    const flags = states[slot];
    if (result <= 0 || (flags & HELD) !== state.TAKEN) {
      arena.release(block);
      if ((flags & HELD) === state.TAKEN) return this.ended(slot, result);
      return false;
    }
    if (result < this.blockSize) {
      // TCP gives what it has, so a short read empties it, and what comes later is told anew. Else only EAGAIN proves that.
      const unproven = this.edge && (flags & state.UNPROVEN) !== 0;
      states[slot] &= unproven ? ~state.PROMISED : ~(state.PROMISED | state.READABLE);
    }
    if ((states[slot] & state.READABLE) !== 0 && (flags & state.RECEIVE_WANTED) !== 0) this.listReady(slot);
    if ((flags & state.RECEIVE_WANTED) === 0) {
      states[slot] |= state.RETAINED;
      slots.retainedStarts[slot] = block;
      slots.retainedEnds[slot] = block + result;
      return false;
    }
    this.deliver(slot, block, block + result);
    return true;
  }

  /** Gives the bytes to the sink; the block goes back also when the sink throws. */
  private deliver(slot: number, start: number, end: number): void {
    let answer = 0;
    try {
      answer = this.slots.sinks[slot]!.received(start, end);
    } finally {
      if ((answer & RECEIVED_KEEP) === 0) this.arena.release(start);
    }
    this.told(answer);
  }

  /** A read that gave no bytes: nothing there, the peer's end, or an error. */
  private ended(slot: number, result: number): boolean {
    const states = this.slots.states;
    if (result === -ERRNO.EAGAIN) {
      this.foundEmpty(slot);
      this.clearError(slot);
      return false;
    }
    if (result === -ERRNO.EINTR) {
      this.listReady(slot);
      return false;
    }
    // Paused since: an end can be read again later, an error cannot.
    if (result === 0 && (states[slot] & state.RECEIVE_WANTED) === 0) return false;
    states[slot] &= ~state.RECEIVE_WANTED;
    if (!this.edge) this.listChange(slot);
    this.drainNeeded = true;
    this.slots.sinks[slot]!.receiveEnded(result);
    return true;
  }

  /**
   * An error was reported and no operation met it: it stands in the error queue, which would report it for ever. select(2)
   * calls that readable and no more.
   */
  private clearError(slot: number): void {
    if ((this.slots.states[slot] & state.ERROR_SEEN) === 0 && this.name !== 'select') return;
    this.slots.states[slot] &= ~state.ERROR_SEEN;
    this.messages.drainErrors(this.slots.descriptors[slot]);
  }

  private serveOther(slot: number): number {
    const flags = this.slots.states[slot];
    if ((flags & HELD) !== state.TAKEN) return 0;
    if ((flags & state.ACCEPT_WANTED) !== 0) return this.accept(slot);
    if ((flags & state.MESSAGES_WANTED) !== 0) return this.receiveMessages(slot);
    if ((flags & state.RECEIVE_WANTED) === 0 || (flags & state.RETAINED) === 0) return 0;
    this.slots.states[slot] &= ~state.RETAINED;
    if ((flags & state.READABLE) !== 0) this.listReady(slot);
    this.deliver(slot, this.slots.retainedStarts[slot], this.slots.retainedEnds[slot]);
    return 1;
  }

  private accept(slot: number): number {
    const { slots } = this;
    const descriptor = slots.descriptors[slot];
    for (let count = 0; count < ACCEPTS_PER_ROUND; count++) {
      const flags = slots.states[slot];
      if ((flags & (HELD | state.ACCEPT_WANTED)) !== (state.TAKEN | state.ACCEPT_WANTED)) return count;
      const result = call(SYS.accept4, descriptor, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
      this.statistics.systemCalls++;
      if (result >= 0) {
        this.tellAccepted(slot, result);
      } else if (result === -ERRNO.EAGAIN) {
        this.foundEmpty(slot);
        return count;
      } else if (!ACCEPT_AGAIN.has(result)) {
        slots.states[slot] &= ~state.ACCEPT_WANTED;
        if (!this.edge) this.listChange(slot);
        this.drainNeeded = true;
        slots.sinks[slot]!.acceptFailed(result);
        return count + 1;
      }
    }
    this.listReady(slot);
    return ACCEPTS_PER_ROUND;
  }

  private tellAccepted(slot: number, descriptor: number): void {
    this.acceptedDescriptor = descriptor;
    this.acceptedKind = this.slots.states[slot] & state.UNPROVEN;
    this.drainNeeded = true;
    try {
      this.slots.sinks[slot]!.accepted(descriptor);
    } catch (error) {
      this.raise(error);
    } finally {
      this.acceptedDescriptor = -1;
    }
    this.drain();
  }

  private receiveMessages(slot: number): number {
    const { slots } = this;
    const descriptor = slots.descriptors[slot];
    for (let count = 0; count < MESSAGES_PER_ROUND; count++) {
      const flags = slots.states[slot];
      if ((flags & (HELD | state.MESSAGES_WANTED)) !== (state.TAKEN | state.MESSAGES_WANTED)) return count;
      const result = this.messages.receive(descriptor);
      this.statistics.systemCalls++;
      if (result === -ERRNO.EAGAIN) {
        this.foundEmpty(slot);
        this.clearError(slot);
        return count;
      }
      if (result === -ERRNO.EINTR) continue;
      slots.states[slot] &= ~state.PROMISED;
      this.drainNeeded = true;
      try {
        if (result >= 0) this.messages.deliver(slots.sinks[slot]!, result);
        // An ICMP error ends one datagram, not the socket: receiving goes on.
        else slots.sinks[slot]!.receiveEnded(result);
      } catch (error) {
        this.raise(error);
      }
      this.drain();
    }
    this.listReady(slot);
    return MESSAGES_PER_ROUND;
  }
}

/**
 * Room `engine`: the hearing side of io_uring: what each completion means for its socket. `uring.ts` reads them in order.
 *
 * A newcomer would get wrong: a multishot operation ends without an error too (overflow, the kernel's retry limit), so "no
 * MORE flag" and not "negative result" is what asks for arming again.
 */
import { ERRNO } from '../kernel/errno.ts';
import { disown } from '../kernel/native.ts';
import { call, SYS } from '../kernel/syscall.ts';
import * as abi from '../kernel/uring-abi.ts';
import { ACCEPT_AGAIN } from './accept-errors.ts';
import { RECEIVED_KEEP, RECEIVED_QUIET } from './engine.ts';
import { UringOperations } from './uring-operations.ts';
import * as state from './uring-state.ts';

const MESSAGES_PER_TURN_MAX = 64;

export class UringCompletions extends UringOperations {
  protected complete(low: number, generation: number, result: number, flags: number): void {
    const slot = low & state.SLOT_MASK;
    const operation = low >>> state.OPERATION_SHIFT;
    if (operation === state.HOST) {
      this.hostArmed = false;
      this.hostReady = true;
      return;
    }
    if (operation === state.IGNORED || this.slots.generations[slot] !== generation) return;
    if ((flags & abi.IORING_CQE_F_MORE) === 0) this.slots.flights[slot]--;
    switch (operation) {
      case state.RECEIVE:
        this.received(slot, result, flags);
        break;
      case state.QUICK_SEND:
        // Failed or short: the flight goes on until the quick sends of this submission are settled.
        this.slots.flights[slot]++;
        this.slots.results[slot] = result;
        return;
      case state.SEND:
        this.slowSent(slot, result, flags);
        break;
      case state.ACCEPT:
        this.accepted(slot, result, flags);
        break;
      case state.MESSAGES:
        this.message(slot, result, flags);
        break;
      case state.FILE_READY:
        this.slots.states[slot] &= ~state.FILE_ARMED;
        if ((this.slots.states[slot] & state.CLOSING) === 0) {
          this.slots.flights[slot]++;
          this.transfers.retry(slot);
        } else {
          this.transfers.drop(slot);
        }
        break;
      default:
        this.single(slot, operation, result);
    }
  }

  /** A zero-copy send completes twice: with its result, also a failed one, and when the kernel has let go of the memory. */
  protected slowSent(slot: number, result: number, flags: number): void {
    const slots = this.slots;
    if ((flags & abi.IORING_CQE_F_MORE) !== 0) {
      slots.results[slot] = result;
      return;
    }
    const isNotification = (flags & abi.IORING_CQE_F_NOTIF) !== 0;
    slots.states[slot] &= ~state.SEND_ARMED;
    // IORING_NOTIF_USAGE_ZC_COPIED is the sign bit.
    if (isNotification && result < 0) slots.states[slot] |= state.COPIED;
    if ((slots.states[slot] & state.CLOSING) !== 0) return;
    this.told(slots.sinks[slot]!.sent(isNotification ? slots.results[slot] : result));
  }

  protected told(answer: number): void {
    if ((answer & RECEIVED_QUIET) === 0) this.drainNeeded = true;
  }

  protected single(slot: number, operation: number, result: number): void {
    const states = this.slots.states;
    const silent = (states[slot] & state.CLOSING) !== 0;
    if (operation === state.CONNECT) {
      states[slot] &= ~state.CONNECT_ARMED;
      if (silent) return;
      this.drainNeeded = true;
      this.slots.sinks[slot]!.connected(result);
    } else if (operation === state.POLL) {
      states[slot] &= ~state.POLL_ARMED;
      if (silent) return;
      this.drainNeeded = true;
      this.slots.sinks[slot]!.polled(result);
    } else if (operation === state.CLOSE) {
      // The number is free again from here on; a completion that reuses it comes behind this one.
      disown(this.slots.descriptors[slot]);
    }
  }

  protected received(slot: number, result: number, flags: number): void {
    const slots = this.slots;
    const states = slots.states;
    const more = (flags & abi.IORING_CQE_F_MORE) !== 0;
    if (!more) states[slot] &= ~state.RECEIVE_ARMED;
    if ((flags & abi.IORING_CQE_F_BUFFER) !== 0) {
      const id = flags >>> abi.IORING_CQE_BUFFER_SHIFT;
      this.group.available--;
      this.share.taken++;
      if (result > 0) this.share.bytes += result;
      const start = id * this.blockSize;
      if (result > 0 && (states[slot] & state.CLOSING) === 0) {
        if ((states[slot] & (state.RECEIVE_WANTED | state.RETAINED)) !== state.RECEIVE_WANTED) {
          states[slot] |= state.RETAINED;
          this.retained.add(slot, start, start + result);
          this.refill();
        } else {
          this.deliver(slot, id, start, start + result);
        }
      } else {
        this.recycle(id);
      }
    }
    if (result > 0) {
      // A multishot ends without an error too (overflow, its retry limit); a one-shot always does.
      if (!more && (states[slot] & state.RECEIVE_WANTED) !== 0) this.again.push(slot);
      return;
    }
    if ((states[slot] & state.CLOSING) !== 0) return;
    if (result === -ERRNO.ENOBUFS) {
      this.statistics.blocksExhausted++;
      this.share.exhausted();
      states[slot] |= state.STARVED;
      this.again.push(slot);
      return;
    }
    if (result === -ERRNO.ECANCELED || result === -ERRNO.EINTR || result === -ERRNO.EAGAIN) {
      if ((states[slot] & state.RECEIVE_WANTED) !== 0) this.again.push(slot);
      return;
    }
    if ((states[slot] & (state.RECEIVE_WANTED | state.RETAINED)) !== state.RECEIVE_WANTED) {
      states[slot] |= state.RETAINED;
      this.retained.finish(slot, result);
      return;
    }
    states[slot] &= ~state.RECEIVE_WANTED;
    this.drainNeeded = true;
    slots.sinks[slot]!.receiveEnded(result);
  }

  /** Gives the bytes to the sink; the block goes back to the kernel also when the sink throws. */
  protected deliver(slot: number, id: number, start: number, end: number): void {
    let answer = 0;
    try {
      answer = this.slots.sinks[slot]!.received(start, end);
    } finally {
      if ((answer & RECEIVED_KEEP) === 0) this.recycle(id);
      else this.refill();
    }
    this.told(answer);
  }

  /** Replaces a block that somebody keeps, so that the kernel's share stays whole while the pool has blocks. */
  protected refill(): void {
    const offset = this.arena.take();
    if (offset >= 0) this.recycle(offset / this.blockSize);
  }

  protected accepted(slot: number, result: number, flags: number): void {
    const states = this.slots.states;
    const more = (flags & abi.IORING_CQE_F_MORE) !== 0;
    if (!more) states[slot] &= ~state.ACCEPT_ARMED;
    if ((states[slot] & state.CLOSING) !== 0) {
      if (result >= 0) call(SYS.close, result);
      return;
    }
    const again = result >= 0 || result === -ERRNO.EAGAIN || ACCEPT_AGAIN.has(result);
    if (!more && again && (states[slot] & state.ACCEPT_WANTED) !== 0) this.again.push(slot);
    if (result >= 0) {
      this.drainNeeded = true;
      this.slots.sinks[slot]!.accepted(result);
    } else if (!again && result !== -ERRNO.ECANCELED) {
      states[slot] &= ~state.ACCEPT_WANTED;
      this.drainNeeded = true;
      this.slots.sinks[slot]!.acceptFailed(result);
    } else if (result === -ERRNO.ECANCELED && (states[slot] & state.ACCEPT_WANTED) !== 0) {
      this.again.push(slot);
    }
  }

  protected message(slot: number, result: number, flags: number): void {
    const slots = this.slots;
    const states = slots.states;
    if ((flags & abi.IORING_CQE_F_MORE) === 0) states[slot] &= ~state.MESSAGES_ARMED;
    const wanted = (states[slot] & (state.MESSAGES_WANTED | state.CLOSING)) === state.MESSAGES_WANTED;
    if (wanted && (states[slot] & state.MESSAGES_ARMED) === 0) this.again.push(slot);
    // What the kernel had taken when receiving was stopped cannot be put back: the sink gets it all the same.
    const sink = (states[slot] & state.CLOSING) === 0 ? slots.sinks[slot] : null;
    if ((flags & abi.IORING_CQE_F_BUFFER) !== 0) {
      this.receiver.took();
      this.drainNeeded = true;
      this.receiver.deliver(sink, flags >>> abi.IORING_CQE_BUFFER_SHIFT, result);
      return;
    }
    let failure = result;
    if (result > 0 && wanted && sink !== null && !this.receiver.multishot) {
      this.drainNeeded = true;
      failure = this.receiver.receiveNow(slots.descriptors[slot], sink, MESSAGES_PER_TURN_MAX);
    }
    const quiet = [-ERRNO.ENOBUFS, -ERRNO.ECANCELED, -ERRNO.EAGAIN, -ERRNO.EINTR].includes(failure);
    // An ICMP error ends the multishot, not the socket: it is reported and receiving goes on.
    if (failure < 0 && !quiet && sink !== null) {
      this.drainNeeded = true;
      sink.receiveEnded(failure);
    }
  }
}

/**
 * Room `engine`: the asking side of io_uring: what the engine holds, and each operation as the submission entries it becomes.
 * `uring.ts` is the hearing side.
 *
 * A newcomer would get wrong: a send that the socket takes at once has no completion of its own ("quick send"): it is
 * submitted with DONTWAIT, WAITALL and CQE_SKIP_SUCCESS, so silence after the entry means success and anything else, a short
 * count included, comes as a completion. That halves the completions of a request and lets one entry submit and wait.
 */

import { MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL, MSG_WAITALL } from '../kernel/constants.ts';
import { disown, own } from '../kernel/native.ts';
import { setLinger } from '../kernel/socket.ts';
import { call, SYS } from '../kernel/syscall.ts';
import * as abi from '../kernel/uring-abi.ts';
import { Arena, type ArenaOptions } from './arena.ts';
import type { Clock, EngineStatistics, Handle, Job, Sink } from './engine.ts';
import { BufferGroup } from './uring-buffers.ts';
import { findFeatures, type UringFeatures } from './uring-features.ts';
import { MessageReceiver } from './uring-messages.ts';
import { QuickSends } from './uring-quick.ts';
import { Retained } from './uring-retained.ts';
import { Ring } from './uring-ring.ts';
import { ReceiveShare } from './uring-share.ts';
import * as state from './uring-state.ts';
import { FileTransfers } from './uring-transfers.ts';

export interface UringOptions extends ArenaOptions {
  /** Submission entries, 1 to 4,096. Default 1,024. */
  readonly entries?: number;
  /** Completion entries. Default 8 for each submission entry. */
  readonly completionEntries?: number;
  /** Most blocks that wait in the kernel for bytes to arrive, a power of two. Default 256; `ReceiveShare` says how many do. */
  readonly receiveBlocks?: number;
  /**
   * How long a busy ring gathers completions before it wakes the thread, in µs; 0 for never. Default 30. Fewer wake-ups cost
   * less CPU for each event; only passes with several events are followed by such a wait, so a quiet connection never is.
   */
  readonly moderationUs?: number;
  /**
   * Sends of at least so many bytes are zero-copy: the memory is the kernel's until the peer's host has acknowledged it, and
   * only then the send ends, so a slow peer shows as no progress at all. Where the kernel reports that it copied all the same
   * (loopback, virtual devices), a socket's further sends are plain. The kernel's documentation (networking/msg_zerocopy) sees
   * a gain above about 10 KB on real devices. Default: never; `docs/decisions/0007-zero-copy-is-asked-for.md` tells why.
   */
  readonly zeroCopyBytes?: number;
  /** Leaves features out, as an older kernel would. */
  readonly without?: Partial<Record<keyof UringFeatures, true>>;
  /** The line that says why this engine was taken. */
  readonly reason?: string;
}

/** SOCK_CLOEXEC | SOCK_NONBLOCK. io_uring itself does not care for the latter; sendfile(2) does. */
const ACCEPT_FLAGS = 0o2004000;
/** Sends up to this size are tried as quick sends; larger ones seldom fit a socket buffer at once. */
const QUICK_SEND_MAX_BYTES = 65536;
/** A quick send takes all or says how much it took, and never waits. */
const QUICK_FLAGS = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL;
/** The size of one send, so that the progress of a long write shows. */
const SEND_MAX_BYTES = 1 << 20;

export class UringOperations {
  readonly name = 'io_uring' as const;
  readonly reason: string;
  readonly memory: Uint8Array;
  readonly memoryAddress: number;
  readonly blockSize: number;
  readonly statistics: EngineStatistics = { waits: 0, events: 0, blocksExhausted: 0, overflows: 0, systemCalls: 0 };
  readonly features: UringFeatures;

  protected readonly arena: Arena;
  protected readonly ring: Ring;
  protected readonly group: BufferGroup;
  protected readonly share: ReceiveShare;
  protected readonly slots = new state.Slots();
  protected readonly receiver: MessageReceiver;
  protected readonly retained = new Retained();
  protected readonly transfers: FileTransfers;
  protected clock: Clock | null = null;
  protected hostDescriptor = -1;
  protected hostArmed = false;
  protected hostReady = false;
  protected drainNeeded = false;
  protected hurried = false;
  /** Foreign code ran in this pass. */
  /** @internal */
  foreign = false;
  /** Completions of the last pass. */
  protected lastDelivered = 0;
  /** Whether a moderated wait pays at the present rate. */
  protected pays = false;
  protected intervalUs = 1000;
  protected measuredMs = 0;
  protected sinceMeasured = 0;
  protected readonly moderationUs: number;
  protected readonly zeroCopyBytes: number;

  protected readonly quick = new QuickSends();
  /** Slots whose receive or accept has to be looked at again at the end of the turn. */
  protected readonly again: number[] = [];
  /** Slots whose receive waits for blocks, the longest waiting first. */
  protected readonly starved: number[] = [];
  /** Slots that were asked to close, in that order: their ends are told in it. */
  protected readonly closings: number[] = [];
  protected readonly jobs: (Job | null)[] = [];
  protected jobCount = 0;

  constructor(options: UringOptions = {}) {
    const entries = options.entries ?? 1024;
    const without = options.without ?? {};
    const ring = new Ring(entries, options.completionEntries ?? entries * 8, without.deferTaskrun !== true);
    this.ring = ring;
    this.features = findFeatures(ring, without);
    const arena = new Arena(options);
    this.arena = arena;
    this.memory = arena.memory;
    this.memoryAddress = arena.address;
    this.blockSize = arena.blockSize;
    this.moderationUs = options.moderationUs ?? 30;
    const wanted = options.zeroCopyBytes ?? Number.POSITIVE_INFINITY;
    this.zeroCopyBytes = this.features.zeroCopySend
      ? Math.max(wanted, QUICK_SEND_MAX_BYTES + 1)
      : Number.POSITIVE_INFINITY;
    this.reason = options.reason ?? 'chosen by the program';
    const receiveBlocks = Math.min(options.receiveBlocks ?? 256, 1 << (31 - Math.clz32(arena.blocks >> 1)));
    const mapped = this.features.bufferRing;
    this.group = new BufferGroup(ring, 0, arena.address, arena.blockSize, receiveBlocks, mapped);
    this.share = new ReceiveShare(receiveBlocks);
    this.group.fill(arena, this.share.wanted);
    this.receiver = new MessageReceiver(ring, arena, mapped, this.features.multishotReceive);
    this.transfers = new FileTransfers();
  }

  get blocksFree(): number {
    return this.arena.free;
  }

  get handles(): number {
    return this.slots.inUse;
  }

  /** Leaves what the kernel's share may grow to: a starved ring stops every connection, an empty pool only the writers. */
  takeBlock(): number {
    return this.arena.free > this.group.entries - this.share.wanted ? this.arena.take() : -1;
  }

  releaseBlock(offset: number): void {
    this.recycle(Math.floor(offset / this.blockSize));
  }

  /** The kernel's share comes first. It is never more than its ring holds: a slot written twice hands one buffer out twice. */
  protected recycle(id: number): void {
    if (this.group.available < this.share.wanted) this.group.give(id);
    else this.arena.release(id * this.blockSize);
  }

  attach(descriptor: number, sink: Sink): Handle {
    own(descriptor);
    return this.slots.take(descriptor, sink);
  }

  setSink(handle: Handle, sink: Sink): void {
    this.slots.sinks[handle] = sink;
  }

  descriptorOf(handle: Handle): number {
    return this.slots.descriptors[handle];
  }

  /** Queues one entry of a slot; it will complete. Returns the entry's first word. */
  protected push(
    handle: number,
    operation: number,
    head: number,
    offset: number,
    address: number,
    length: number,
    flags: number,
  ): number {
    const slots = this.slots;
    slots.flights[handle]++;
    const low = handle | (operation << state.OPERATION_SHIFT);
    return this.ring.push(
      head,
      slots.descriptors[handle],
      offset,
      address,
      length,
      flags,
      low,
      slots.generations[handle],
    );
  }

  /** Asks the kernel to end an operation; its own completion then says so. The cancellation's result tells nothing more. */
  protected cancel(handle: number, operation: number): void {
    const word = this.ring.push(abi.IORING_OP_ASYNC_CANCEL, -1, 0, 0, 0, 0, state.IGNORED, 0);
    // The target's user data goes where an address would.
    this.ring.entries[word + 4] = handle | (operation << state.OPERATION_SHIFT);
    this.ring.entries[word + 5] = this.slots.generations[handle];
  }

  acceptStart(handle: Handle): void {
    const states = this.slots.states;
    states[handle] |= state.ACCEPT_WANTED;
    if ((states[handle] & (state.ACCEPT_ARMED | state.CLOSING)) !== 0) return;
    states[handle] |= state.ACCEPT_ARMED;
    const multishot = this.features.multishotAccept ? abi.IORING_ACCEPT_MULTISHOT : 0;
    this.push(handle, state.ACCEPT, abi.IORING_OP_ACCEPT | (multishot << 16), 0, 0, 0, ACCEPT_FLAGS);
  }

  acceptStop(handle: Handle): void {
    this.slots.states[handle] &= ~state.ACCEPT_WANTED;
    if ((this.slots.states[handle] & state.ACCEPT_ARMED) !== 0) this.cancel(handle, state.ACCEPT);
  }

  receiveStart(handle: Handle): void {
    const states = this.slots.states;
    if ((states[handle] & (state.RECEIVE_WANTED | state.CLOSING)) !== 0) return;
    states[handle] |= state.RECEIVE_WANTED;
    if ((states[handle] & state.RETAINED) !== 0) this.again.push(handle);
    else if ((states[handle] & (state.RECEIVE_ARMED | state.STARVED)) === 0) this.armReceive(handle);
  }

  receiveStop(handle: Handle): void {
    const states = this.slots.states;
    states[handle] &= ~state.RECEIVE_WANTED;
    if ((states[handle] & state.RECEIVE_ARMED) !== 0) this.cancel(handle, state.RECEIVE);
  }

  protected armReceive(handle: number): void {
    this.slots.states[handle] |= state.RECEIVE_ARMED;
    const multishot = this.features.multishotReceive;
    const head =
      abi.IORING_OP_RECV | (abi.IOSQE_BUFFER_SELECT << 8) | (multishot ? abi.IORING_RECV_MULTISHOT << 16 : 0);
    // A one-shot receive names its length; a multishot one takes what the buffer holds. Both use group 0.
    this.push(handle, state.RECEIVE, head, 0, 0, multishot ? 0 : this.blockSize, 0);
  }

  send(handle: Handle, address: number, length: number, more = false): void {
    if (length > QUICK_SEND_MAX_BYTES || !this.features.skipSuccess) {
      this.slowSend(handle, address, length);
      return;
    }
    this.quick.add(handle, address, length);
    this.slots.results[handle] = length;
    const head = abi.IORING_OP_SEND | (abi.IOSQE_CQE_SKIP_SUCCESS << 8);
    this.push(handle, state.QUICK_SEND, head, 0, address, length, more ? QUICK_FLAGS | MSG_MORE : QUICK_FLAGS);
  }

  hurry(): void {
    this.hurried = true;
  }

  protected slowSend(handle: number, address: number, length: number): void {
    const states = this.slots.states;
    states[handle] |= state.SEND_ARMED;
    const zeroCopy = length >= this.zeroCopyBytes && (states[handle] & state.COPIED) === 0;
    this.slots.results[handle] = zeroCopy ? 0 : state.NOT_ZERO_COPY;
    const head = zeroCopy ? abi.IORING_OP_SEND_ZC | (abi.IORING_SEND_ZC_REPORT_USAGE << 16) : abi.IORING_OP_SEND;
    this.push(handle, state.SEND, head, 0, address, Math.min(length, SEND_MAX_BYTES), MSG_NOSIGNAL);
  }

  /** Never a quick send: its completion frees the pieces before what came meanwhile asks for blocks, while they are in the cache. */
  sendVector(handle: Handle, iovec: number, count: number): void {
    this.sendMessage(handle, this.receiver.vectorHeader(iovec, count));
  }

  sendMessage(handle: Handle, header: number): void {
    this.slots.states[handle] |= state.SEND_ARMED;
    this.slots.results[handle] = state.NOT_ZERO_COPY;
    this.push(handle, state.SEND, abi.IORING_OP_SENDMSG, 0, header, 1, MSG_NOSIGNAL);
  }

  sendFile(handle: Handle, file: number, offset: number, length: number): void {
    this.slots.flights[handle]++;
    this.transfers.add(handle, this.slots.descriptors[handle], file, offset, length);
  }

  messagesStart(handle: Handle): void {
    const states = this.slots.states;
    states[handle] |= state.MESSAGES_WANTED;
    if ((states[handle] & (state.MESSAGES_ARMED | state.CLOSING)) === 0) this.armMessages(handle);
  }

  protected armMessages(handle: number): void {
    this.slots.states[handle] |= state.MESSAGES_ARMED;
    this.slots.flights[handle]++;
    const low = handle | (state.MESSAGES << state.OPERATION_SHIFT);
    this.receiver.arm(this.slots.descriptors[handle], low, this.slots.generations[handle]);
  }

  messagesStop(handle: Handle): void {
    this.slots.states[handle] &= ~state.MESSAGES_WANTED;
    if ((this.slots.states[handle] & state.MESSAGES_ARMED) !== 0) this.cancel(handle, state.MESSAGES);
  }

  connect(handle: Handle, address: number, length: number): void {
    this.slots.states[handle] |= state.CONNECT_ARMED;
    this.push(handle, state.CONNECT, abi.IORING_OP_CONNECT, length, address, 0, 0);
  }

  poll(handle: Handle, events: number): void {
    this.slots.states[handle] |= state.POLL_ARMED;
    this.push(handle, state.POLL, abi.IORING_OP_POLL_ADD, 0, 0, 0, events);
  }

  /** The plain system call: the ring's own operation always runs on a worker thread (io_shutdown_prep forces it). */
  shutdown(handle: Handle, how: number): void {
    this.statistics.systemCalls++;
    call(SYS.shutdown, this.slots.descriptors[handle], how);
  }

  close(handle: Handle, keepDescriptor = false): void {
    const slots = this.slots;
    const states = slots.states;
    if ((states[handle] & state.CLOSING) !== 0) return;
    states[handle] |= state.CLOSING | (keepDescriptor ? state.KEEP_DESCRIPTOR : 0);
    this.closings.push(handle);
    states[handle] &= ~(state.RECEIVE_WANTED | state.ACCEPT_WANTED | state.MESSAGES_WANTED);
    // Cancelled before it is closed: a request under way holds the file, and close(2) alone would send no FIN.
    if ((states[handle] & state.RECEIVE_ARMED) !== 0) this.cancel(handle, state.RECEIVE);
    if ((states[handle] & state.ACCEPT_ARMED) !== 0) this.cancel(handle, state.ACCEPT);
    if ((states[handle] & state.MESSAGES_ARMED) !== 0) this.cancel(handle, state.MESSAGES);
    if ((states[handle] & state.SEND_ARMED) !== 0) {
      this.cancel(handle, state.SEND);
      // What a peer that does not read has left in the socket's queue would hold our memory, and this slot, until TCP gives
      // up. A reset empties the queue; the stream was cut short anyway.
      const borrowed = slots.results[handle] !== state.NOT_ZERO_COPY && !keepDescriptor;
      if (borrowed) setLinger(slots.descriptors[handle], 0);
    }
    if ((states[handle] & state.CONNECT_ARMED) !== 0) this.cancel(handle, state.CONNECT);
    if ((states[handle] & state.POLL_ARMED) !== 0) this.cancel(handle, state.POLL);
    if ((states[handle] & state.FILE_ARMED) !== 0) this.cancel(handle, state.FILE_READY);
    // A transfer that has not begun would meet the descriptor's next owner.
    if (this.transfers.cancel(handle)) slots.flights[handle]--;
    if ((states[handle] & state.RETAINED) !== 0) {
      for (let start = this.retained.next(handle); start >= 0; start = this.retained.next(handle))
        this.releaseBlock(start);
      this.retained.ending(handle);
    }
    this.push(handle, state.CLOSE, keepDescriptor ? abi.IORING_OP_NOP : abi.IORING_OP_CLOSE, 0, 0, 0, 0);
  }

  defer(job: Job): void {
    this.jobs[this.jobCount++] = job;
  }

  setClock(clock: Clock): void {
    this.clock = clock;
  }

  watchHost(descriptor: number): void {
    this.hostDescriptor = descriptor;
  }

  /** Ends everything at once; the descriptors close with their owners' marks. */
  dispose(): void {
    this.ring.dispose();
    for (let slot = 0; slot < this.slots.count; slot++) {
      if ((this.slots.states[slot] & state.TAKEN) === 0) continue;
      disown(this.slots.descriptors[slot]);
      if ((this.slots.states[slot] & state.KEEP_DESCRIPTOR) === 0) call(SYS.close, this.slots.descriptors[slot]);
    }
    this.group.dispose();
    this.receiver.dispose();
    this.arena.dispose();
  }
}

/**
 * Room `engine`: the asking side of select, poll and epoll: what such an engine holds, and what each request notes down. The
 * hearing side is `readiness.ts`; what tells the mechanisms apart is behind `Poller`.
 *
 * A newcomer would get wrong: nothing is delivered from here. A result that is known at once (a connect that was refused)
 * waits as a notice for the turn, because the caller's stack is not the place to hear of it.
 */
import { EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, SO_PROTOCOL, SOL_SOCKET } from '../kernel/constants.ts';
import { ERRNO } from '../kernel/errno.ts';
import { disown, own } from '../kernel/native.ts';
import { closeDescriptor, getsockoptInt, setNonBlocking } from '../kernel/socket.ts';
import { call, SYS } from '../kernel/syscall.ts';
import { Arena, type ArenaOptions } from './arena.ts';
import type { Clock, EngineName, EngineStatistics, Handle, Job, Sink } from './engine.ts';
import { isPollable, type Poller } from './poller.ts';
import * as state from './readiness-slots.ts';

export interface ReadinessOptions extends ArenaOptions {
  /** Blocks that only reading takes. Default 512, at most half of all. */
  readonly receiveBlocks?: number;
  /** The line that says why this engine was taken. */
  readonly reason?: string;
}

const IPPROTO_TCP = 6;
/** One sendfile(2) moves at most this much, so that one transfer cannot hold the turn. */
const TRANSFER_MAX_BYTES = 1 << 20;
const SEND_MAX_BYTES = 1 << 30;
const JOBS_AT_FIRST = 256;

// Kinds of a notice, which is three words: slot, kind, value.
export const CONNECTED = 0;
/** Whether the connect under way succeeded has to be asked. */
export const CONNECT_ENDED = 1;
export const POLLED = 2;
/** The descriptor itself is bad; the value is -errno. */
export const BROKEN = 3;
/** An error or hang-up of a socket that nobody reads; the value is what was reported. */
export const UNHEARD = 4;

export abstract class ReadinessOperations {
  readonly name: EngineName;
  readonly reason: string;
  readonly memory: Uint8Array;
  readonly memoryAddress: number;
  readonly blockSize: number;
  readonly statistics: EngineStatistics = { waits: 0, events: 0, blocksExhausted: 0, overflows: 0, systemCalls: 0 };

  protected readonly arena: Arena;
  private readonly receiveBlocks: number;
  protected readonly poller: Poller;
  protected readonly edge: boolean;
  protected readonly slots = new state.Slots();
  protected clock: Clock | null = null;
  /** Sockets to be read, accepted from or asked for messages, in the order of their turn. */
  protected readonly ready = new state.SlotQueue();
  /** Sends to be tried. */
  protected readonly sends = new state.SlotQueue();
  /** Sockets whose interest may have changed. */
  protected readonly changes = new state.SlotQueue();
  protected readonly notices = new state.SlotQueue();
  /** Sockets that wait for a free block, the longest waiting first. */
  protected readonly starved = new state.SlotQueue();
  /** Sockets that were asked to close, in that order: their ends are told in it. */
  protected readonly closings = new state.SlotQueue();
  protected jobs: (Job | null)[] = new Array(JOBS_AT_FIRST).fill(null);
  protected jobCount = 0;
  /** A callback may dispose of the engine that called it; the turn then ends where it is. */
  protected disposed = false;
  /** While `accepted` is called: its descriptor, which is non-blocking already, and whether it is TCP. */
  protected acceptedDescriptor = -1;
  protected acceptedKind = 0;

  constructor(name: EngineName, poller: Poller, options: ReadinessOptions) {
    this.name = name;
    this.poller = poller;
    this.edge = poller.edge;
    this.reason = options.reason ?? 'chosen by the program';
    const arena = new Arena(options);
    this.arena = arena;
    this.receiveBlocks = Math.min(options.receiveBlocks ?? 512, arena.blocks >> 1);
    this.memory = arena.memory;
    this.memoryAddress = arena.address;
    this.blockSize = arena.blockSize;
  }

  get blocksFree(): number {
    return this.arena.free;
  }

  get handles(): number {
    return this.slots.inUse;
  }

  /** Leaves some for reading: were writers to hold all, nobody could read what would let their peers go on. */
  takeBlock(): number {
    return this.arena.free > this.receiveBlocks ? this.arena.take() : -1;
  }

  releaseBlock(offset: number): void {
    this.arena.release(offset);
  }

  /**
   * Also makes the socket non-blocking, which stays so when `close` hands it back. Refusals: -EEXIST for a descriptor that this
   * engine has, -EBADF, -EPERM for what cannot be waited for (a regular file), -ENOSPC and -ENOMEM of the kernel's set.
   */
  attach(descriptor: number, sink: Sink): Handle {
    const slots = this.slots;
    if (slots.handleOf(descriptor) !== state.NO_HANDLE) return -ERRNO.EEXIST;
    const kind = descriptor === this.acceptedDescriptor ? this.acceptedKind : this.prepare(descriptor);
    if (kind < 0) return kind;
    const slot = slots.take(descriptor, sink);
    slots.states[slot] |= kind;
    // Most sockets are read next, so this guess saves telling the poller twice; the change list corrects it before the wait.
    const interest = this.edge ? EPOLLIN | EPOLLPRI | EPOLLRDHUP : EPOLLIN;
    const result = this.poller.add(descriptor, slot, slots.generations[slot], interest);
    if (result < 0) {
      slots.unlink(slot);
      slots.release(slot);
      return result;
    }
    slots.interests[slot] = interest;
    if (!this.edge) this.listChange(slot);
    own(descriptor);
    return slot;
  }

  /** The state that a strange descriptor begins with, or -errno. */
  private prepare(descriptor: number): number {
    const protocol = getsockoptInt(descriptor, SOL_SOCKET, SO_PROTOCOL);
    if (protocol === -ERRNO.ENOTSOCK) {
      const pollable = isPollable(descriptor);
      if (pollable < 0) return pollable;
    } else if (protocol < 0) {
      return protocol;
    }
    const changed = setNonBlocking(descriptor, true);
    if (changed < 0) return changed;
    return protocol === IPPROTO_TCP ? 0 : state.UNPROVEN;
  }

  setSink(handle: Handle, sink: Sink): void {
    this.slots.sinks[handle] = sink;
  }

  descriptorOf(handle: Handle): number {
    return this.slots.descriptors[handle];
  }

  acceptStart(handle: Handle): void {
    this.startInput(handle, state.ACCEPT_WANTED);
  }

  acceptStop(handle: Handle): void {
    this.stopInput(handle, state.ACCEPT_WANTED);
  }

  receiveStart(handle: Handle): void {
    this.startInput(handle, state.RECEIVE_WANTED);
  }

  /** A reset that comes while receiving is stopped is told all the same: the connection is gone, and waiting for it would spin. */
  receiveStop(handle: Handle): void {
    this.stopInput(handle, state.RECEIVE_WANTED);
  }

  messagesStart(handle: Handle): void {
    this.startInput(handle, state.MESSAGES_WANTED);
  }

  messagesStop(handle: Handle): void {
    this.stopInput(handle, state.MESSAGES_WANTED);
  }

  private startInput(slot: number, wanted: number): void {
    const states = this.slots.states;
    if ((states[slot] & (state.TAKEN | state.CLOSING | wanted)) !== state.TAKEN) return;
    states[slot] |= wanted;
    // What was known before is all that an edge-triggered poller will say of it.
    if ((states[slot] & (state.READABLE | state.RETAINED)) !== 0) this.listReady(slot);
    if (!this.edge) this.listChange(slot);
  }

  private stopInput(slot: number, wanted: number): void {
    this.slots.states[slot] &= ~wanted;
    if (!this.edge) this.listChange(slot);
  }

  send(handle: Handle, address: number, length: number, more = false): void {
    this.queueSend(handle, more ? state.SEND_MORE : state.SEND_BYTES, address, Math.min(length, SEND_MAX_BYTES), -1);
  }

  sendVector(handle: Handle, iovec: number, count: number): void {
    this.queueSend(handle, state.SEND_VECTOR, iovec, count, -1);
  }

  sendMessage(handle: Handle, header: number): void {
    this.queueSend(handle, state.SEND_MESSAGE, header, 0, -1);
  }

  sendFile(handle: Handle, file: number, offset: number, length: number): void {
    this.queueSend(handle, state.SEND_FILE, offset, Math.min(length, TRANSFER_MAX_BYTES), file);
  }

  private queueSend(slot: number, kind: number, address: number, length: number, file: number): void {
    const slots = this.slots;
    if ((slots.states[slot] & (state.TAKEN | state.CLOSING)) !== state.TAKEN) return;
    slots.sendKinds[slot] = kind;
    slots.sendAddresses[slot] = address;
    slots.sendLengths[slot] = length;
    slots.sendFiles[slot] = file;
    slots.states[slot] |= state.SEND_QUEUED;
    this.sends.push(slot);
  }

  /** Nothing to do: a send is tried, and its result told, before the next wait in any case. */
  hurry(): void {}

  connect(handle: Handle, address: number, length: number): void {
    const { slots } = this;
    if ((slots.states[handle] & (state.TAKEN | state.CLOSING)) !== state.TAKEN) return;
    const result = call(SYS.connect, slots.descriptors[handle], address, length);
    this.statistics.systemCalls++;
    // Interrupted, it goes on in the background just the same (connect(2)).
    if (result !== -ERRNO.EINPROGRESS && result !== -ERRNO.EINTR) {
      this.notice(handle, CONNECTED, result);
      return;
    }
    slots.states[handle] |= state.CONNECT_WAITING;
    this.watchOutput(handle);
  }

  poll(handle: Handle, events: number): void {
    const states = this.slots.states;
    if ((states[handle] & (state.TAKEN | state.CLOSING)) !== state.TAKEN) return;
    this.slots.pollEvents[handle] = events;
    states[handle] |= state.POLL_WANTED | state.REARM;
    this.listChange(handle);
  }

  shutdown(handle: Handle, how: number): void {
    if ((this.slots.states[handle] & (state.TAKEN | state.CLOSING)) !== state.TAKEN) return;
    this.statistics.systemCalls++;
    call(SYS.shutdown, this.slots.descriptors[handle], how);
  }

  close(handle: Handle, keepDescriptor = false): void {
    const slots = this.slots;
    const states = slots.states;
    if ((states[handle] & (state.TAKEN | state.CLOSING)) !== state.TAKEN) return;
    const descriptor = slots.descriptors[handle];
    if ((states[handle] & state.RETAINED) !== 0) this.arena.release(slots.retainedStarts[handle]);
    if ((states[handle] & state.MUTED) === 0) this.poller.remove(descriptor, handle);
    slots.unlink(handle);
    states[handle] = (states[handle] & state.PLACES) | state.TAKEN | state.CLOSING;
    if (keepDescriptor) disown(descriptor);
    else closeDescriptor(descriptor);
    this.statistics.systemCalls += 2;
    this.closings.push(handle);
  }

  defer(job: Job): void {
    if (this.jobCount === this.jobs.length) this.jobs = this.jobs.concat(new Array(this.jobCount).fill(null));
    this.jobs[this.jobCount++] = job;
  }

  setClock(clock: Clock): void {
    this.clock = clock;
  }

  watchHost(descriptor: number): void {
    this.poller.watchHost(descriptor);
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    const { slots } = this;
    for (let slot = 0; slot < slots.count; slot++) {
      if ((slots.states[slot] & (state.TAKEN | state.CLOSING)) === state.TAKEN)
        closeDescriptor(slots.descriptors[slot]);
      slots.states[slot] = 0;
      slots.sinks[slot] = null;
    }
    slots.inUse = 0;
    this.poller.dispose();
    this.arena.dispose();
  }

  protected notice(slot: number, kind: number, value: number): void {
    this.notices.push(slot);
    this.notices.push(kind);
    this.notices.push(value);
  }

  protected listReady(slot: number): void {
    if ((this.slots.states[slot] & state.READY_LISTED) !== 0) return;
    this.slots.states[slot] |= state.READY_LISTED;
    this.ready.push(slot);
  }

  protected listChange(slot: number): void {
    if ((this.slots.states[slot] & state.CHANGE_LISTED) !== 0) return;
    this.slots.states[slot] |= state.CHANGE_LISTED;
    this.changes.push(slot);
  }

  /**
   * Makes the poller tell of writability. An edge-triggered one is told each time: it then looks at the socket itself, so that
   * nothing hangs on an edge that came before.
   */
  protected watchOutput(slot: number): void {
    this.slots.states[slot] |= state.OUTPUT_WATCHED | state.REARM;
    this.listChange(slot);
  }

  /** There was nothing to take. Where the poller said otherwise, an edge-triggered one has to look again. */
  protected foundEmpty(slot: number): void {
    const states = this.slots.states;
    states[slot] &= ~state.READABLE;
    if (!this.edge || (states[slot] & (state.PROMISED | state.ENDING)) === 0) return;
    states[slot] = (states[slot] & ~state.PROMISED) | state.REARM;
    this.listChange(slot);
  }

  private interestOf(slot: number): number {
    const flags = this.slots.states[slot];
    const polled = (flags & state.POLL_WANTED) === 0 ? 0 : this.slots.pollEvents[slot];
    if (this.edge) {
      const output = (flags & state.OUTPUT_WATCHED) === 0 ? 0 : EPOLLOUT;
      return EPOLLIN | EPOLLPRI | EPOLLRDHUP | output | polled;
    }
    const input = (flags & state.INPUT_WANTED) !== 0 && (flags & state.STARVED) === 0 ? EPOLLIN : 0;
    const output = (flags & (state.SEND_WAITING | state.CONNECT_WAITING)) === 0 ? 0 : EPOLLOUT;
    return input | output | polled;
  }

  /** Tells the poller what changed since the last wait; what changed there and back costs nothing. */
  protected applyChanges(): void {
    const { changes, poller, slots, statistics } = this;
    const states = slots.states;
    while (changes.length > 0) {
      const slot = changes.shift();
      states[slot] &= ~state.CHANGE_LISTED;
      const flags = states[slot];
      if ((flags & (state.TAKEN | state.CLOSING)) !== state.TAKEN) continue;
      const interest = this.interestOf(slot);
      const muted = (flags & state.MUTED) !== 0;
      const rearm = this.edge && (flags & state.REARM) !== 0;
      states[slot] &= ~state.REARM;
      if (muted ? interest === 0 : interest === slots.interests[slot] && !rearm) continue;
      states[slot] &= ~state.MUTED;
      slots.interests[slot] = interest;
      statistics.systemCalls++;
      const descriptor = slots.descriptors[slot];
      const generation = slots.generations[slot];
      const result = muted
        ? poller.add(descriptor, slot, generation, interest)
        : poller.modify(descriptor, slot, generation, interest);
      if (result < 0) this.breakOff(slot, result);
    }
  }

  /** The poller's set is done with this socket until somebody asks for something. */
  protected mute(slot: number): void {
    if ((this.slots.states[slot] & state.MUTED) !== 0) return;
    this.slots.states[slot] |= state.MUTED;
    this.poller.remove(this.slots.descriptors[slot], slot);
  }

  protected breakOff(slot: number, result: number): void {
    this.mute(slot);
    this.notice(slot, BROKEN, result);
  }
}

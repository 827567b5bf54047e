/**
 * Room `engine`: the one interface that the five mechanisms implement, and nothing else. `net` is written against it.
 *
 * The shape is completions: ask for an operation, hear its result from the socket's sink, always from within
 * {@link Engine.turn}, never from within the call that asked. What io_uring gives by nature, the readiness engines make
 * (`readiness.ts`).
 *
 * A newcomer would get wrong: a handle stays taken until `closed` arrived. Completions that were under way when `close` was
 * called are swallowed by the engine; the sink hears `closed` and nothing else after calling `close`.
 */

export type EngineName = 'io_uring' | 'epoll' | 'epoll-level' | 'poll' | 'select';

/** Index of a socket in the engine's tables. Reused after `closed`. */
export type Handle = number;

/** What `Sink.received` answers, a set of bits. */
export const RECEIVED_DONE = 0;
/** The sink keeps the block that holds the bytes and gives it back with {@link Engine.releaseBlock}. */
export const RECEIVED_KEEP = 1;
/** No user's code ran, so nothing can wait in Node's queues: the engine need not drain them before the next event. */
export const RECEIVED_QUIET = 2;

/** Whose events a handle's are. Every method is called from within `turn`. Results below 0 are -errno. */
export interface Sink {
  /** A connection was accepted; the descriptor (close-on-exec) is the sink's to attach or close. */
  accepted(descriptor: number): void;
  /** Accepting ended with this errno (negative); `acceptStart` arms it again. */
  acceptFailed(result: number): void;
  /** Bytes `memory[start, end)` arrived. They are valid during the call, longer with RECEIVED_KEEP. */
  received(start: number, end: number): number;
  /** Receiving ended: 0 is the peer's FIN, below 0 an error. `-ENOBUFS` means the block pool is empty (see `blocksFree`). */
  receiveEnded(result: number): void;
  /** The send under way ended: bytes taken (maybe fewer than asked), or -errno. Answers RECEIVED_QUIET or RECEIVED_DONE. */
  sent(result: number): number;
  /** The connect ended: 0 or -errno. */
  connected(result: number): void;
  /** The poll ended: the ready events (POLLIN…) or -errno. */
  polled(result: number): void;
  /**
   * A message arrived (after `messagesStart`). Offsets in `memory`; `nameEnd - nameStart` is the address's length. `length` is
   * the message's own: more than `end - start` where it was cut (MSG_TRUNC in `flags`).
   */
  message(
    nameStart: number,
    nameEnd: number,
    start: number,
    end: number,
    flags: number,
    segmentSize: number,
    length: number,
  ): void;
  /**
   * The message that `message` brings next carried this descriptor (SCM_RIGHTS). It is close-on-exec and the sink's to close; a
   * sink without this method never sees it, the engine closes it.
   */
  passed?(descriptor: number): void;
  /** The handle is free, the descriptor closed (or detached). */
  closed(): void;
}

/** Something that is called once at the end of the current turn, in the order of asking. */
export interface Job {
  /** Answers true when foreign code ran, so that Node's queues are drained and its loop has its say before the next wait. */
  run(): boolean | void;
}

/** Tells the engine when it has to wake for timers, and expires them. */
export interface Clock {
  /** Milliseconds on the scale of `performance.now()`, Infinity for never. */
  nextDeadlineMs(): number;
  expire(nowMs: number): void;
}

export interface EngineStatistics {
  /** Times the engine waited in the kernel. */
  waits: number;
  /** Events delivered to sinks. */
  events: number;
  /** Times receiving stopped because no block was free. */
  blocksExhausted: number;
  /** Completion queue overflows met (io_uring). */
  overflows: number;
  /** System calls made by the engine. */
  systemCalls: number;
}

export interface Engine {
  readonly name: EngineName;
  /** Why this engine was taken, one line for the user. */
  readonly reason: string;
  /** The arena: every receive block and send block. Offsets in this interface are indices of it. */
  readonly memory: Uint8Array;
  readonly memoryAddress: number;
  /** Bytes of one block; blocks start at multiples of it. A power of two. */
  readonly blockSize: number;
  readonly statistics: EngineStatistics;

  /** Takes a block for sending (or any use): its offset, or -1 when none is free. */
  takeBlock(): number;
  /** Gives a block back, from `takeBlock` or kept by RECEIVED_KEEP. `offset` is any offset within it. */
  releaseBlock(offset: number): void;
  readonly blocksFree: number;

  /** Puts a socket under the engine's care; the descriptor is closed by `close`. Never fails for a valid socket: a refusal
   * (epoll_ctl ENOSPC, ENOMEM, EPERM) is the return value, negative. */
  attach(descriptor: number, sink: Sink): Handle;
  /** Replaces the sink (upgrade, hand-over between pools). */
  setSink(handle: Handle, sink: Sink): void;
  /** The descriptor of a handle, for socket options. */
  descriptorOf(handle: Handle): number;

  acceptStart(handle: Handle): void;
  acceptStop(handle: Handle): void;
  receiveStart(handle: Handle): void;
  /** After this call `received` and `receiveEnded` stay silent until `receiveStart`; what arrived in between comes then, first. */
  receiveStop(handle: Handle): void;
  /**
   * Sends `length` bytes at `address`, which must stay valid until `sent`. One send a handle at a time. `more`: a file follows at
   * once, so that a stream keeps a segment that is not full back for it (MSG_MORE).
   */
  send(handle: Handle, address: number, length: number, more?: boolean): void;
  /** Something waits for the sends under way to end: their results come before the next sleep. Without this call a result may
   * come as late as the next event, because a send that succeeds need not wake anybody. */
  hurry(): void;
  /** The same for a vector of buffers: `iovec` is the address of `count` struct iovec, valid until `sent`. At most 1,024. */
  sendVector(handle: Handle, iovec: number, count: number): void;
  /** Sends from a file without passing through user memory; ends with `sent`. */
  sendFile(handle: Handle, file: number, offset: number, length: number): void;
  /** Sends one message: `header` is the address of a struct msghdr, valid until `sent`. */
  sendMessage(handle: Handle, header: number): void;
  /**
   * Receives messages with their sender's address and descriptors until `messagesStop`; ends with `receiveEnded`. Messages that
   * the kernel had handed over when it was stopped still come: one cannot be put back.
   */
  messagesStart(handle: Handle): void;
  messagesStop(handle: Handle): void;
  /** Connects to the socket address at `address`, valid until `connected`. */
  connect(handle: Handle, address: number, length: number): void;
  /** Waits once for any of the poll events; ends with `polled`. */
  poll(handle: Handle, events: number): void;
  /** shutdown(2); SHUT_RD 0, SHUT_WR 1, SHUT_RDWR 2. Errors show in later operations. */
  shutdown(handle: Handle, how: number): void;
  /** Cancels what is under way, closes the descriptor, then `closed`. With `keepDescriptor` it is handed back open. */
  close(handle: Handle, keepDescriptor?: boolean): void;

  /** Queues a job for the end of this turn (or the next one, when called outside). */
  defer(job: Job): void;
  /** Sets who is asked for deadlines. */
  setClock(clock: Clock): void;
  /** Submits what is queued, waits at most `timeoutMs` (-1: without end) or until something happens, delivers events.
   * Returns whether anything was delivered. */
  turn(timeoutMs: number): boolean;
  /** A further descriptor (libuv's) whose readability ends a wait. */
  watchHost(descriptor: number): void;
  /** Handles in use. */
  readonly handles: number;
  /** Ends everything at once: descriptors closed, memory given back. No sink hears of it. */
  dispose(): void;
}

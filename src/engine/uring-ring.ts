/**
 * Room `engine`: the mapped submission and completion rings of one io_uring instance, and entering the kernel. It knows
 * nothing of sockets; `uring.ts` gives the entries their meaning.
 *
 * A newcomer would get wrong: with DEFER_TASKRUN nothing completes until the thread enters with GETEVENTS, so looking at the
 * mapped completion ring is not enough (scenario: a wake-up enters before it looks).
 */
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { disown, own, shim } from '../kernel/native.ts';
import { addressOf, argument, call, record, records, resultOf, runRecords, SYS } from '../kernel/syscall.ts';
import * as abi from '../kernel/uring-abi.ts';

const PROT_READ_WRITE = 3;
const MAP_SHARED_POPULATE = 0x8001;
/** Where the record table holds argument 3 of record 0. */
const ENTER_FLAGS_WORD = 8;

// Words of the buffer that holds struct io_uring_getevents_arg and behind it the timespec that it points to.
const WINDOW_WORD = abi.IO_URING_GETEVENTS_ARG.min_wait_usec / 4;
const TIMESPEC_POINTER_WORD = abi.IO_URING_GETEVENTS_ARG.ts / 4;
const TIMESPEC_WORD = 8;
/** How many completions a busy ring gathers at most before it wakes. */
const EXPECTED_MAX = 64;

const defer = abi.IORING_SETUP_SINGLE_ISSUER | abi.IORING_SETUP_DEFER_TASKRUN | abi.IORING_SETUP_TASKRUN_FLAG;
const cooperative = abi.IORING_SETUP_COOP_TASKRUN | abi.IORING_SETUP_TASKRUN_FLAG;
const common = abi.IORING_SETUP_CQSIZE | abi.IORING_SETUP_CLAMP;

/** Setup flags to try, best first; EINVAL means that the kernel does not know one of them. */
function candidates(deferTaskrun: boolean): number[] {
  const all = [common | abi.IORING_SETUP_SUBMIT_ALL | cooperative, common | abi.IORING_SETUP_SUBMIT_ALL, common];
  if (deferTaskrun) {
    const base = common | abi.IORING_SETUP_SUBMIT_ALL | defer;
    all.unshift(base | abi.IORING_SETUP_NO_SQARRAY, base);
  }
  return all;
}

export class Ring {
  readonly descriptor: number;
  readonly setupFlags: number;
  readonly features: number;
  /** Submission entries as 32-bit words, 16 an entry. */
  readonly entries: Int32Array;
  /** Completion entries as 32-bit words, 4 an entry: user data low, high, result, flags. */
  readonly completions: Int32Array;
  readonly completionMask: number;
  /** Next completion to read; the caller advances it and then calls {@link Ring.publishHead}. */
  head = 0;

  readonly #mappings: ArrayBuffer[];
  readonly #words: Int32Array;
  readonly #submissionTail: number;
  readonly #submissionHead: number;
  readonly #submissionFlags: number;
  readonly #completionHead: number;
  readonly #completionTail: number;
  readonly #submissionMask: number;
  readonly #submissionEntries: number;
  readonly #timeout: Int32Array;
  readonly #timeoutAddress: number;
  readonly #timespecLow: number;
  readonly #timespecHigh: number;
  readonly #moderates: boolean;
  /** Whether the kernel writes the rings in this thread's own calls only (DEFER_TASKRUN): then no load has to be atomic. */
  readonly #alone: boolean;
  readonly #enterDescriptor: number;
  readonly #enterFlags: number;
  #tail = 0;
  #submitted = 0;

  /** @throws KernelError naming io_uring_setup, with the remedy, where the kernel refuses */
  constructor(entries: number, completionEntries: number, deferTaskrun: boolean) {
    const parameters = new Uint32Array(abi.IO_URING_PARAMS.size / 4);
    let descriptor = 0;
    for (const flags of candidates(deferTaskrun)) {
      parameters.fill(0);
      parameters[abi.IO_URING_PARAMS.flags / 4] = flags;
      parameters[abi.IO_URING_PARAMS.cq_entries / 4] = completionEntries;
      descriptor = call(SYS.io_uring_setup, entries, addressOf(parameters));
      if (descriptor !== -ERRNO.EINVAL) break;
    }
    if (descriptor < 0) throw new KernelError('io_uring_setup', descriptor);
    own(descriptor);
    this.descriptor = descriptor;
    this.setupFlags = parameters[abi.IO_URING_PARAMS.flags / 4];
    this.features = parameters[abi.IO_URING_PARAMS.features / 4];
    const submission = abi.IO_URING_PARAMS.sq_off / 4;
    const completion = abi.IO_URING_PARAMS.cq_off / 4;
    const submissionEntries = parameters[abi.IO_URING_PARAMS.sq_entries / 4];
    const completionCount = parameters[abi.IO_URING_PARAMS.cq_entries / 4];
    const cqes = parameters[completion + abi.IO_CQRING_OFFSETS.cqes / 4];
    const array = parameters[submission + abi.IO_SQRING_OFFSETS.array / 4];
    // Since 5.4 (IORING_FEAT_SINGLE_MMAP) one mapping holds both rings.
    const length = Math.max(cqes + completionCount * abi.IO_URING_CQE.size, array + submissionEntries * 4);
    const rings = shim.map(length, PROT_READ_WRITE, MAP_SHARED_POPULATE, descriptor, abi.IORING_OFF_SQ_RING);
    const entryBytes = submissionEntries * abi.IO_URING_SQE.size;
    const table = shim.map(entryBytes, PROT_READ_WRITE, MAP_SHARED_POPULATE, descriptor, abi.IORING_OFF_SQES);
    if (typeof rings === 'number' || typeof table === 'number') {
      disown(descriptor);
      call(SYS.close, descriptor);
      throw new KernelError('mmap', typeof rings === 'number' ? rings : (table as number), {
        object: 'io_uring rings',
      });
    }
    this.#mappings = [rings, table];
    this.#words = new Int32Array(rings, 0, length >> 2);
    this.entries = new Int32Array(table);
    this.completions = new Int32Array(rings, cqes, completionCount * 4);
    this.completionMask = completionCount - 1;
    this.#submissionEntries = submissionEntries;
    this.#submissionMask = submissionEntries - 1;
    this.#submissionHead = parameters[submission + abi.IO_SQRING_OFFSETS.head / 4] >> 2;
    this.#submissionTail = parameters[submission + abi.IO_SQRING_OFFSETS.tail / 4] >> 2;
    this.#submissionFlags = parameters[submission + abi.IO_SQRING_OFFSETS.flags / 4] >> 2;
    this.#completionHead = parameters[completion + abi.IO_CQRING_OFFSETS.head / 4] >> 2;
    this.#completionTail = parameters[completion + abi.IO_CQRING_OFFSETS.tail / 4] >> 2;
    if ((this.setupFlags & abi.IORING_SETUP_NO_SQARRAY) === 0) {
      for (let index = 0; index < submissionEntries; index++) this.#words[(array >> 2) + index] = index;
    }
    // One buffer holds struct io_uring_getevents_arg (24 bytes) and behind it the timespec that it points to.
    this.#timeout = new Int32Array(new ArrayBuffer(128));
    this.#timeoutAddress = addressOf(this.#timeout);
    this.#timespecLow = ((this.#timeoutAddress + TIMESPEC_WORD * 4) % 4294967296) | 0;
    this.#timespecHigh = ((this.#timeoutAddress + TIMESPEC_WORD * 4) / 4294967296) | 0;
    this.#alone = this.deferred;
    this.#moderates = (this.features & abi.IORING_FEAT_MIN_TIMEOUT) !== 0;
    const registered = this.#register();
    this.#enterDescriptor = registered >= 0 ? registered : descriptor;
    this.#enterFlags = registered >= 0 ? abi.IORING_ENTER_REGISTERED_RING : 0;
  }

  /** A registered ring spares each entry the look-up of the descriptor (5.18). */
  #register(): number {
    const update = new Int32Array(new ArrayBuffer(64));
    update[abi.IO_URING_RSRC_UPDATE.offset / 4] = -1;
    update[abi.IO_URING_RSRC_UPDATE.data / 4] = this.descriptor;
    const result = call(SYS.io_uring_register, this.descriptor, abi.IORING_REGISTER_RING_FDS, addressOf(update), 1);
    return result === 1 ? update[abi.IO_URING_RSRC_UPDATE.offset / 4] : -1;
  }

  get deferred(): boolean {
    return (this.setupFlags & abi.IORING_SETUP_DEFER_TASKRUN) !== 0;
  }

  /** Entries written and not yet submitted. */
  get pending(): number {
    return (this.#tail - this.#submitted) | 0;
  }

  /** Makes room for `count` further entries in one submission, so that a linked chain is never cut. */
  reserve(count: number): void {
    if (((this.#tail - this.#submitted) | 0) + count > this.#submissionEntries) this.enter(0, 0);
  }

  /**
   * Writes one entry and returns the index of its first word in {@link Ring.entries}. 64-bit values are integers below 2^53.
   * `head` is opcode | flags << 8 | ioprio << 16.
   */
  push(
    head: number,
    descriptor: number,
    offset: number,
    address: number,
    length: number,
    operationFlags: number,
    userLow: number,
    userHigh: number,
  ): number {
    // A submission of a full queue may be refused while completions wait (EBUSY, ENOMEM): the kernel takes it once they
    // are reaped, which this cannot do; so it insists a bounded number of times and then fails loudly.
    for (let attempt = 0; ((this.#tail - this.#submitted) | 0) >= this.#submissionEntries; attempt++) {
      if (attempt === 64) throw new KernelError('io_uring_enter', ERRNO.EBUSY, { object: 'a full submission queue' });
      this.enter(0, 0);
    }
    const entries = this.entries;
    const word = (this.#tail & this.#submissionMask) << 4;
    entries[word] = head;
    entries[word + 1] = descriptor;
    entries[word + 2] = offset > 2147483647 ? (offset % 4294967296) | 0 : offset;
    entries[word + 3] = offset > 2147483647 ? (offset / 4294967296) | 0 : offset >> 31;
    entries[word + 4] = (address % 4294967296) | 0;
    entries[word + 5] = (address / 4294967296) | 0;
    entries[word + 6] = length;
    entries[word + 7] = operationFlags;
    entries[word + 8] = userLow;
    entries[word + 9] = userHigh;
    entries[word + 10] = 0;
    entries[word + 11] = 0;
    entries[word + 12] = 0;
    entries[word + 13] = 0;
    this.#tail = (this.#tail + 1) | 0;
    return word;
  }

  /** A word that the kernel writes. Atomics are calls in V8, not instructions, and cost more than the rest of such a look. */
  #load(word: number): number {
    return this.#alone ? this.#words[word] : Atomics.load(this.#words, word);
  }

  /** Completions ready to be read in the mapped ring, without entering the kernel. */
  ready(): number {
    return (this.#load(this.#completionTail) - this.head) | 0;
  }

  /** Whether the kernel holds completions that only an entry brings into the ring (overflow, task work). */
  needsEntry(): boolean {
    return (this.#load(this.#submissionFlags) & (abi.IORING_SQ_CQ_OVERFLOW | abi.IORING_SQ_TASKRUN)) !== 0;
  }

  get overflowed(): boolean {
    return (this.#load(this.#submissionFlags) & abi.IORING_SQ_CQ_OVERFLOW) !== 0;
  }

  publishHead(): void {
    if (this.#alone) this.#words[this.#completionHead] = this.head;
    else Atomics.store(this.#words, this.#completionHead, this.head);
  }

  /**
   * Submits what is pending and waits for `minimum` completions, at most `timeoutMs` (-1: without end; ignored when minimum
   * is 0). Returns 0, or a negative errno that the caller has to know: -ETIME, -EINTR, -EBUSY, -EAGAIN.
   * @throws KernelError where the ring is lost (EBADR: completions were dropped; EBADF and kin)
   */
  enter(minimum: number, timeoutMs: number): number {
    return this.#enter(minimum, timeoutMs, 0);
  }

  /**
   * Submits and waits for `expected` completions for `windowUs`, after that for one, at most `timeoutMs`. Kernels without such
   * a window (before 6.12) wait for one.
   */
  enterModerated(expected: number, timeoutMs: number, windowUs: number): number {
    if (!this.#moderates || windowUs === 0) return this.#enter(1, timeoutMs, 0);
    return this.#enter(Math.min(expected, EXPECTED_MAX), timeoutMs, windowUs);
  }

  #enter(minimum: number, timeoutMs: number, windowUs: number): number {
    const count = (this.#tail - this.#submitted) | 0;
    const words = this.#words;
    // The kernel looks at the submission side in this very call (no SQPOLL), so neither store nor load has to be atomic.
    words[this.#submissionTail] = this.#tail;
    let flags = this.#enterFlags | abi.IORING_ENTER_GETEVENTS;
    record(0, SYS.io_uring_enter, this.#enterDescriptor, count, minimum);
    if (minimum > 0 && (timeoutMs >= 0 || windowUs > 0)) {
      flags |= abi.IORING_ENTER_EXT_ARG;
      this.#setTimeout(timeoutMs, windowUs);
      argument(0, 4, this.#timeoutAddress);
      argument(0, 5, abi.IO_URING_GETEVENTS_ARG.size);
    }
    records[ENTER_FLAGS_WORD] = flags;
    runRecords(1);
    const result = resultOf(0);
    // The head tells what was consumed, also where the call reports the wait's end instead of a count.
    this.#submitted = words[this.#submissionHead];
    if (result >= 0) return 0;
    if (result === -ERRNO.ETIME || result === -ERRNO.EINTR || result === -ERRNO.EBUSY || result === -ERRNO.EAGAIN)
      return result;
    throw new KernelError('io_uring_enter', result);
  }

  #setTimeout(timeoutMs: number, windowUs: number): void {
    const words = this.#timeout;
    words[WINDOW_WORD] = windowUs;
    // A null pointer is a wait without end.
    words[TIMESPEC_POINTER_WORD] = timeoutMs < 0 ? 0 : this.#timespecLow;
    words[TIMESPEC_POINTER_WORD + 1] = timeoutMs < 0 ? 0 : this.#timespecHigh;
    if (timeoutMs < 0) return;
    const seconds = Math.floor(timeoutMs / 1000);
    words[TIMESPEC_WORD] = (seconds % 4294967296) | 0;
    words[TIMESPEC_WORD + 1] = (seconds / 4294967296) | 0;
    words[TIMESPEC_WORD + 2] = Math.round((timeoutMs - seconds * 1000) * 1e6);
    words[TIMESPEC_WORD + 3] = 0;
  }

  dispose(): void {
    for (const mapping of this.#mappings) shim.unmap(mapping);
    disown(this.descriptor);
    call(SYS.close, this.descriptor);
  }
}

/**
 * Room `bpf`: events through a perf event array (bpf_perf_event_output): one ring for each CPU. For kernels before ring buffers (5.8)
 * and for events that carry a piece of a packet.
 *
 * A newcomer would get wrong: each CPU has its own order, and events of different CPUs come in any. The kernel itself counts what found
 * no room and says so in the ring.
 */
import { BPF_ANY } from '../../kernel/bpf-abi.ts';
import { MAP_SHARED, PROT_READ, PROT_WRITE } from '../../kernel/constants.ts';
import { onlineCpus } from '../../kernel/cpus.ts';
import { check, KernelError } from '../../kernel/error.ts';
import { shim } from '../../kernel/native.ts';
import * as perf from '../../kernel/perf-abi.ts';
import { closeDescriptor } from '../../kernel/socket.ts';
import { call, SYS } from '../../kernel/syscall.ts';
import { watch } from '../../kernel/watch.ts';
import { openEvent } from './links/perf-event.ts';
import type { KernelMap } from './map.ts';
import type { EventCallback, WatchDescriptor } from './ring-buffer.ts';

const PAGE_BYTES = 4096;
const HEADER_BYTES = 8;
const HIGH = 4294967296;

export interface PerfBufferOptions {
  /** Bytes of each CPU's ring: a power of 2, a page at least; 256 KB unless told. */
  readonly bytesPerCpu?: number;
  /** Called when a CPU's ring had no room, with how many events that cost. */
  readonly onLost?: (count: number, cpu: number) => void;
  readonly watch?: WatchDescriptor;
}

/** The ring of one CPU. */
class CpuRing implements Disposable {
  readonly cpu: number;
  readonly descriptor: number;
  readonly #buffer: ArrayBuffer;
  readonly #view: DataView;
  readonly #words: Int32Array;
  readonly #wide: BigInt64Array;
  readonly #mask: number;
  /** A record that goes over the ring's end is put together here. */
  readonly #scratch = new DataView(new ArrayBuffer(1 << 16));
  #tail = 0;

  constructor(cpu: number, bytes: number) {
    this.cpu = cpu;
    this.descriptor = openEvent({
      type: perf.PERF_TYPE_SOFTWARE,
      config: perf.PERF_COUNT_SW_BPF_OUTPUT,
      sampleType: perf.PERF_SAMPLE_RAW,
      period: 1,
      wakeupEvents: 1,
      process: -1,
      cpu,
      what: `events of CPU ${cpu}`,
    });
    const buffer = shim.map(PAGE_BYTES + bytes, PROT_READ | PROT_WRITE, MAP_SHARED, this.descriptor, 0);
    if (typeof buffer === 'number') {
      closeDescriptor(this.descriptor);
      throw new KernelError('mmap', buffer, {
        object: `ring of CPU ${cpu}, ${bytes} bytes`,
        remedy: 'take a smaller ring, or raise kernel.perf_event_mlock_kb',
      });
    }
    this.#buffer = buffer;
    this.#view = new DataView(buffer);
    this.#words = new Int32Array(buffer);
    this.#wide = new BigInt64Array(buffer);
    this.#mask = bytes - 1;
    check(call(SYS.ioctl, this.descriptor, perf.PERF_EVENT_IOC_ENABLE), 'ioctl', 'PERF_EVENT_IOC_ENABLE');
  }

  /** Reads what is there; how many events. `lost` gets the counts of what was not. */
  read(callback: EventCallback, lost: (count: number, cpu: number) => void): number {
    // The head only goes up, and how far a tail may be behind is less than 2^32.
    const head = Atomics.load(this.#words, perf.PERF_EVENT_MMAP_PAGE.data_head / 4) >>> 0;
    let count = 0;
    while (this.#tail >>> 0 !== head) {
      const at = this.#tail & this.#mask;
      const type = this.#view.getUint32(PAGE_BYTES + at, true);
      const length = this.#view.getUint16(PAGE_BYTES + at + 6, true);
      const isWhole = at + length <= this.#mask + 1;
      const view = isWhole ? this.#view : this.#joined(at, length);
      const body = (isWhole ? PAGE_BYTES + at : 0) + HEADER_BYTES;
      this.#tail += length;
      if (type === perf.PERF_RECORD_SAMPLE) {
        count++;
        callback(view, body + 4, view.getUint32(body, true));
      } else if (type === perf.PERF_RECORD_LOST) {
        lost(Number(view.getBigUint64(body + 8, true)), this.cpu);
      }
    }
    this.#release();
    return count;
  }

  #joined(at: number, length: number): DataView {
    const bytes = new Uint8Array(this.#buffer, PAGE_BYTES, this.#mask + 1);
    const target = new Uint8Array(this.#scratch.buffer);
    const first = bytes.length - at;
    target.set(bytes.subarray(at));
    target.set(bytes.subarray(0, length - first), first);
    return this.#scratch;
  }

  #release(): void {
    const at = perf.PERF_EVENT_MMAP_PAGE.data_tail;
    const high = Math.floor(this.#tail / HIGH);
    if (this.#words[at / 4 + 1] === high) Atomics.store(this.#words, at / 4, this.#tail | 0);
    else Atomics.store(this.#wide, at / 8, BigInt(this.#tail));
  }

  [Symbol.dispose](): void {
    shim.unmap(this.#buffer);
    closeDescriptor(this.descriptor);
  }
}

/** A reader of a perf event array, on all CPUs that run. */
export class PerfBufferReader implements Disposable {
  received = 0;
  lost = 0;
  readonly #rings: readonly CpuRing[];
  readonly #callback: EventCallback;
  readonly #options: PerfBufferOptions;
  readonly #owned: DisposableStack;
  readonly #watches: readonly ReturnType<WatchDescriptor>[];

  /** The map's entries of these CPUs are set. @throws KernelError, RangeError */
  constructor(map: KernelMap<unknown, unknown>, callback: EventCallback, options: PerfBufferOptions = {}) {
    const { bytesPerCpu = 1 << 18 } = options;
    if (bytesPerCpu < PAGE_BYTES || (bytesPerCpu & (bytesPerCpu - 1)) !== 0) {
      throw new RangeError(`bytesPerCpu is ${bytesPerCpu}: a power of 2 from ${PAGE_BYTES} on is allowed`);
    }
    this.#callback = callback;
    this.#options = options;
    using stack = new DisposableStack();
    const cpus = onlineCpus().filter((cpu) => cpu < map.spec.maxEntries);
    this.#rings = cpus.map((cpu) => stack.use(new CpuRing(cpu, bytesPerCpu)));
    for (const ring of this.#rings) {
      const key = new Uint8Array(4);
      new DataView(key.buffer).setUint32(0, ring.cpu, true);
      map.set(map.codecs.key.read(new DataView(key.buffer), 0), ring, BPF_ANY);
    }
    // perf_poll (kernel/events/core.c) says only once that there is something. An epoll within libuv's epoll asks twice and would
    // miss it, so each ring is watched by itself; and what came before libuv asked for the first time is read without being told.
    const start = options.watch ?? watch;
    this.#watches = this.#rings.map((ring) => stack.use(start(ring.descriptor, () => this.#readOne(ring))));
    setImmediate(() => this.read());
    this.#owned = stack.move();
  }

  /** Whether waiting for events keeps the process running; it does unless told. */
  keepAlive(on: boolean): void {
    for (const one of this.#watches) one.keepAlive?.(on);
  }

  /** Reads what is there now; called from the event loop by itself. How many events there were. */
  read(): number {
    return this.#rings.reduce((sum, ring) => sum + this.#readOne(ring), 0);
  }

  #readOne(ring: CpuRing): number {
    if (this.#owned.disposed) return 0;
    const count = ring.read(this.#callback, (lost, cpu) => this.#countLost(lost, cpu));
    this.received += count;
    return count;
  }

  #countLost(count: number, cpu: number): void {
    this.lost += count;
    this.#options.onLost?.(count, cpu);
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

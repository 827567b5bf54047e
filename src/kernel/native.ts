/**
 * Room `kernel`: the one file that touches the addon (`native/shim.c`). Everything else goes through `syscall.ts`.
 *
 * A newcomer would get wrong: the ArrayBuffers here are the kernel's or the shim's own memory, one set for each Node
 * environment; they are never transferred to another thread.
 */
import { createRequire } from 'node:module';

/** What `watch` of the shim gives; opaque. */
export interface WatchHandle {
  readonly watch: unique symbol;
}

/** What `native/shim.c` exports; the doc comments stand there. */
export interface Shim {
  /** Table of 1,024 system call records, 64 bytes each: number, six arguments, result. */
  readonly records: ArrayBuffer;
  /** `Int32Array[0]`: how long the event loop may sleep, in ms; -1 without end. Written before each hooked call. */
  readonly shared: ArrayBuffer;
  /** One bit for each descriptor that is to be closed when this environment ends. */
  readonly owned: ArrayBuffer;
  run(count: number): void;
  map(
    length: number,
    protection: number,
    flags: number,
    descriptor: number,
    offset: number,
    address?: number,
  ): ArrayBuffer | number;
  unmap(buffer: ArrayBuffer): void;
  addressOf(view: ArrayBuffer | ArrayBufferView): number;
  hook(callback: (() => boolean) | null): void;
  keepAlive(on: boolean): void;
  backend(): number;
  watch(descriptor: number, callback: () => void): WatchHandle | number;
  unwatch(watch: WatchHandle): void;
  keepWatching(watch: WatchHandle, on: boolean): void;
  drain(): void;
  raise(error: unknown): void;
}

export const shim: Shim = createRequire(import.meta.url)('../../build/Release/millrace.node');

const owned = new Uint32Array(shim.owned);

/** Marks a descriptor as this environment's, so that it is closed even when a worker thread is terminated. */
export function own(descriptor: number): void {
  owned[descriptor >>> 5] |= 1 << (descriptor & 31);
}

/** Takes the mark of {@link own} away; call it before the descriptor is closed or handed on. */
export function disown(descriptor: number): void {
  owned[descriptor >>> 5] &= ~(1 << (descriptor & 31));
}

/** Whether {@link own} marked it and nobody took the mark away: an engine of this thread has it. */
export function isOwned(descriptor: number): boolean {
  return (owned[descriptor >>> 5] & (1 << (descriptor & 31))) !== 0;
}

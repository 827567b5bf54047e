/**
 * Room `http`: open files below one root, kept open between requests with what their heads need, small ones with their
 * content. What is kept is compared with the file system at most FRESH_MS later.
 *
 * A newcomer would get wrong: an entry that changed on disk is replaced, not updated; responses under way go on reading the
 * file that they began with.
 */
import { ERRNO } from '../kernel/errno.ts';
import { KernelError } from '../kernel/error.ts';
import { type FileState, fileState, openBeneath, openDirectory, pathState, readAt } from '../kernel/file.ts';
import { disown, own } from '../kernel/native.ts';
import { call, SYS } from '../kernel/syscall.ts';
import { formatDate } from './date.ts';
import { fileEntityTag } from './entity-tag.ts';
import { latin1 } from './latin1.ts';
import { mediaTypeOf } from './media-types.ts';

/** How long an entry is believed without asking the file system, in ms. */
const FRESH_MS = 100;
/** Content of files up to this size is kept in memory and leaves together with the head. */
const CONTENT_BYTES_MAX = 12_288;
const ENTRIES_MAX = 1024;
const CONTENT_BYTES_TOTAL_MAX = 8 << 20;
/**
 * A file that changed less than this before it was opened may change again without a sign: time stamps move with the kernel's
 * tick (1 to 10 ms). Its entry is made anew when it is no longer fresh, and its tag is its alone.
 */
const SETTLED_MS = 50;
/** openat2(2) answers EAGAIN where somebody renames directories while it resolves a link that climbs. */
const TRIES_MAX = 4;

/** A directory: its pages are asked for with `/` at the end. */
export const DIRECTORY = 'directory';

let unsettled = 0;

export class FileEntry {
  readonly descriptor: number;
  readonly state: FileState;
  readonly entityTag: string;
  /** Whether whatever changes the file from here on shows in its state. */
  readonly isSettled: boolean;
  readonly modifiedMs: number;
  readonly mediaType: string;
  /** The whole content, null for files above CONTENT_BYTES_MAX. */
  readonly content: Uint8Array | null;
  /** Field lines for every response about it. */
  readonly lines: string;
  /** The same with Content-Length and the head's end, as octets: what follows Date in a plain 200. */
  readonly tail: Uint8Array;
  checkedMs: number;
  /** Encoded variants by coding, null where there is none; looked for again when the entry is made anew. */
  readonly variants = new Map<string, { readonly entry: FileEntry | null; readonly untilMs: number }>();
  private users = 0;
  private dropped = false;

  /** `coding`: the content coding that the file is in, '' for none; another representation has another tag. */
  constructor(descriptor: number, state: FileState, name: string, coding: string, extraLines: string, nowMs: number) {
    this.descriptor = descriptor;
    this.state = state;
    this.checkedMs = nowMs;
    this.isSettled = Math.abs(Date.now() - Number(state.changedNs / 1_000_000n)) > SETTLED_MS;
    const tag = fileEntityTag(state.size, state.modifiedSeconds, state.modifiedNanoseconds).slice(0, -1);
    const variant = coding === '' ? tag : `${tag}-${coding}`;
    this.entityTag = this.isSettled ? `${variant}"` : `W/${variant}-${(unsettled++).toString(36)}"`;
    this.modifiedMs = state.modifiedSeconds * 1000;
    this.mediaType = mediaTypeOf(name);
    const type =
      /^text\/|javascript|json$|xml$/.test(this.mediaType) && !this.mediaType.includes('charset')
        ? '; charset=utf-8'
        : '';
    this.lines =
      `Content-Type: ${this.mediaType}${type}\r\nLast-Modified: ${formatDate(this.modifiedMs)}\r\n` +
      `ETag: ${this.entityTag}\r\nAccept-Ranges: bytes\r\n${extraLines}` +
      (coding === '' ? '' : `Content-Encoding: ${coding}\r\n`);
    this.tail = latin1(`\r\n${this.lines}Content-Length: ${state.size}\r\n\r\n`);
    this.content = state.size <= CONTENT_BYTES_MAX ? this.read(state.size) : null;
  }

  private read(size: number): Uint8Array | null {
    const bytes = new Uint8Array(new ArrayBuffer(Math.max(size, 128)));
    if (size === 0) return bytes.subarray(0, 0);
    return readAt(this.descriptor, bytes, 0) >= size ? bytes.subarray(0, size) : null;
  }

  /** The descriptor stays open until as many `release` calls. */
  use(): void {
    this.users++;
  }

  release(): void {
    if (--this.users === 0 && this.dropped) this.closeNow();
  }

  /** Responses under way go on with it; its descriptor is closed behind the last. */
  drop(): void {
    if (this.dropped) return;
    this.dropped = true;
    if (this.users === 0) this.closeNow();
  }

  private closeNow(): void {
    disown(this.descriptor);
    call(SYS.close, this.descriptor);
  }

  /** Whether a file in this state is certainly the one that the entry was made of. */
  isSame(state: FileState | null): boolean {
    const mine = this.state;
    return (
      this.isSettled &&
      state !== null &&
      state.inode === mine.inode &&
      state.changedNs === mine.changedNs &&
      state.size === mine.size
    );
  }
}

/** What a path leads to: a file, a directory, or why nothing: a negative errno. */
export type Found = FileEntry | typeof DIRECTORY | number;

export class FileCache {
  private root: number;
  private readonly extraLines: string;
  private readonly entries = new Map<string, FileEntry>();
  private contentBytes = 0;

  /** @throws KernelError where the root is no directory that can be opened */
  constructor(root: string, extraLines: string) {
    this.root = openDirectory(root);
    if (this.root < 0) throw new KernelError('open', this.root, { object: root });
    own(this.root);
    this.extraLines = extraLines;
  }

  /** `path` is relative to the root, without a leading slash, already decoded and normalised. */
  find(path: string, nowMs: number): Found {
    const entry = this.entries.get(path);
    if (entry !== undefined) {
      if (nowMs - entry.checkedMs < FRESH_MS) return entry;
      if (entry.isSame(pathState(this.root, path))) {
        entry.checkedMs = nowMs;
        return entry;
      }
      this.entries.delete(path);
      this.retire(entry);
    }
    const found = this.open(path, path, '', nowMs);
    if (found instanceof FileEntry) {
      this.entries.set(path, found);
      this.evict();
    }
    return found;
  }

  /** The variant of a file in a content coding: `path` with the coding's suffix; null where there is none. */
  variant(entry: FileEntry, path: string, coding: string, suffix: string, nowMs: number): FileEntry | null {
    const known = entry.variants.get(coding);
    if (known !== undefined && nowMs < known.untilMs) return known.entry;
    const untilMs = nowMs + FRESH_MS;
    if (known?.entry?.isSame(pathState(this.root, path + suffix)) === true) {
      entry.variants.set(coding, { entry: known.entry, untilMs });
      return known.entry;
    }
    if (known?.entry) this.retire(known.entry);
    const found = this.open(path + suffix, path, coding, nowMs);
    const variant = found instanceof FileEntry ? found : null;
    // What is older than the file itself was not made from it.
    const usable = variant !== null && variant.modifiedMs >= entry.modifiedMs;
    if (variant !== null && !usable) this.retire(variant);
    entry.variants.set(coding, { entry: usable ? variant : null, untilMs });
    return usable ? variant : null;
  }

  private open(path: string, name: string, coding: string, nowMs: number): Found {
    let descriptor = -ERRNO.EAGAIN;
    for (let tries = 0; descriptor === -ERRNO.EAGAIN && tries < TRIES_MAX; tries++) {
      descriptor = openBeneath(this.root, path === '' ? '.' : path);
    }
    if (descriptor < 0) return descriptor;
    const state = fileState(descriptor);
    if (state === null || !state.isFile) {
      call(SYS.close, descriptor);
      // A FIFO, a socket or a device is no file to anybody outside.
      return state?.isDirectory === true ? DIRECTORY : -ERRNO.ENOENT;
    }
    own(descriptor);
    const entry = new FileEntry(descriptor, state, name, coding, this.extraLines, nowMs);
    this.contentBytes += entry.content?.length ?? 0;
    return entry;
  }

  /** Oldest first: a Map keeps the order of insertion. */
  private evict(): void {
    for (const [path, entry] of this.entries) {
      if (this.entries.size <= ENTRIES_MAX && this.contentBytes <= CONTENT_BYTES_TOTAL_MAX) return;
      this.entries.delete(path);
      this.retire(entry);
    }
  }

  private retire(entry: FileEntry): void {
    this.contentBytes -= entry.content?.length ?? 0;
    for (const variant of entry.variants.values()) if (variant.entry !== null) this.retire(variant.entry);
    entry.variants.clear();
    entry.drop();
  }

  /** Files are found no more; responses under way complete. */
  close(): void {
    for (const entry of this.entries.values()) this.retire(entry);
    this.entries.clear();
    if (this.root < 0) return;
    disown(this.root);
    call(SYS.close, this.root);
    this.root = -1;
  }
}

/**
 * Room `http`: static files as a handler: what a path below the route names below a root, with validators, ranges, index files
 * and precompressed variants. Small files leave together with their head, larger ones by sendfile(2).
 *
 * A newcomer would get wrong: a file that shrinks while it is sent leaves a promised length unmet; the connection is cut, so
 * that the client notices.
 */
import { performance } from 'node:perf_hooks';
import { ERRNO } from '../kernel/errno.ts';
import { evaluateConditions, ifRangeHolds, NOT_MODIFIED, PRECONDITION_FAILED } from './conditions.ts';
import * as names from './field-names.ts';
import type { Fields } from './fields.ts';
import { DIRECTORY, FileCache, type FileEntry } from './file-cache.ts';
import { latin1 } from './latin1.ts';
import { METHOD_GET } from './methods.ts';
import { resolvePath } from './path.ts';
import { type ByteRange, contentRange, parseRange, unsatisfiedRange } from './range.ts';
import type { Request } from './request.ts';
import type { Response } from './response.ts';
import type { Handler } from './routes.ts';
import { reasonPhrase } from './status.ts';

export interface FilesOptions {
  /** The file served for a directory; '' for none. Default `index.html`. */
  readonly index?: string;
  /** Serves `x.br`, `x.zst` or `x.gz` in place of `x` to those who accept the coding. Default true. */
  readonly precompressed?: boolean;
  /** The value of Cache-Control; '' for none, the default. */
  readonly cacheControl?: string;
  /** Serves names that begin with a dot. Default false; `.well-known` is always served. */
  readonly hidden?: boolean;
}

/** In the order of preference. */
const CODINGS = [
  { name: 'br', suffix: '.br' },
  { name: 'zstd', suffix: '.zst' },
  { name: 'gzip', suffix: '.gz' },
] as const;

const CONDITIONAL = [
  names.FIELD_RANGE,
  names.FIELD_IF_MATCH,
  names.FIELD_IF_NONE_MATCH,
  names.FIELD_IF_MODIFIED_SINCE,
  names.FIELD_IF_UNMODIFIED_SINCE,
];
const HIDDEN = /(?:^|\/)\.(?!well-known(?:\/|$))/;
const DESCRIBED = ['content-type', 'last-modified', 'etag'] as const;

/** What the kernel's refusal to open a file means to the client; every other one is 404. */
const STATUS_OF_REFUSAL: ReadonlyMap<number, number> = new Map([
  [-ERRNO.ENAMETOOLONG, 414],
  [-ERRNO.EACCES, 403],
  [-ERRNO.EPERM, 403],
  [-ERRNO.EMFILE, 503],
  [-ERRNO.ENFILE, 503],
  [-ERRNO.ENOMEM, 503],
  [-ERRNO.EAGAIN, 503],
  [-ERRNO.EIO, 500],
]);

/** Static files as a handler; `close` (or `using`) gives the kept descriptors back. */
export type FilesHandler = Handler & Disposable & { close(): void };

/**
 * Serves the files below `root`. Links are followed as long as they stay below it. The root is opened once: a name that leads
 * to another directory later is followed by a new handler only.
 *
 * ```ts
 * await serve({ port: 8080 }, { '/assets/': files('./public', { cacheControl: 'max-age=3600' }) });
 * ```
 * @throws KernelError where the root is no directory that can be opened
 */
export function files(root: string, options: FilesOptions = {}): FilesHandler {
  const service = new FileService(root, options);
  const handler: Handler = (request, response) => service.answer(request, response);
  const close = (): void => service.close();
  return Object.assign(handler, { close, [Symbol.dispose]: close, leavesNothing: true });
}

class FileService {
  private readonly cache: FileCache;
  private readonly index: string;
  private readonly precompressed: boolean;
  private readonly hidden: boolean;

  constructor(root: string, options: FilesOptions) {
    this.index = options.index ?? 'index.html';
    this.precompressed = options.precompressed ?? true;
    this.hidden = options.hidden ?? false;
    const cacheControl = options.cacheControl ?? '';
    const vary = this.precompressed ? 'Vary: Accept-Encoding\r\n' : '';
    this.cache = new FileCache(root, `${cacheControl === '' ? '' : `Cache-Control: ${cacheControl}\r\n`}${vary}`);
  }

  answer(request: Request, response: Response): void {
    if (!request.isGetOrHead) {
      response.header('Allow', 'GET, HEAD');
      fail(response, 405);
      return;
    }
    const name = nameOf(request, response);
    if (name === null) return;
    if (!this.hidden && HIDDEN.test(name)) {
      fail(response, 404);
      return;
    }
    const path = name === '' || name.endsWith('/') ? name + this.index : name;
    const nowMs = performance.now();
    const found = this.cache.find(path, nowMs);
    if (found === DIRECTORY) {
      if (path.endsWith('/') || path === '') fail(response, 404);
      else redirectToDirectory(request, response);
    } else if (typeof found === 'number') {
      fail(response, STATUS_OF_REFUSAL.get(found) ?? 404);
    } else {
      this.send(request, response, this.chooseVariant(request, found, path, nowMs));
    }
  }

  private chooseVariant(request: Request, entry: FileEntry, path: string, nowMs: number): FileEntry {
    const fields = request.head.fields;
    if (!this.precompressed || fields.indexOf(names.FIELD_ACCEPT_ENCODING) < 0) return entry;
    for (const coding of CODINGS) {
      if (!accepts(fields, coding.name)) continue;
      const variant = this.cache.variant(entry, path, coding.name, coding.suffix, nowMs);
      if (variant !== null) return variant;
    }
    return entry;
  }

  private send(request: Request, response: Response, entry: FileEntry): void {
    const fields = request.head.fields;
    for (const id of CONDITIONAL) {
      if (fields.indexOf(id) >= 0) {
        this.sendConditional(request, response, entry);
        return;
      }
    }
    if (!response.prepared(entry.tail, entry.content)) sendWhole(response.rawLines(entry.lines, DESCRIBED), entry);
  }

  private sendConditional(request: Request, response: Response, entry: FileEntry): void {
    const conditions = {
      ifMatch: request.header('if-match'),
      ifNoneMatch: request.header('if-none-match'),
      ifModifiedSince: request.header('if-modified-since'),
      ifUnmodifiedSince: request.header('if-unmodified-since'),
    };
    response.rawLines(entry.lines, DESCRIBED);
    const verdict = evaluateConditions(conditions, entry, true);
    if (verdict === NOT_MODIFIED || verdict === PRECONDITION_FAILED) {
      response.empty(verdict);
      return;
    }
    const size = entry.state.size;
    const asked = rangesOf(request, entry);
    if (asked.kind === 'unsatisfiable') {
      response.header('Content-Range', unsatisfiedRange(size));
      response.empty(416);
    } else if (asked.kind === 'whole') {
      sendWhole(response, entry);
    } else if (asked.ranges.length === 1) {
      const [only] = asked.ranges;
      response.status = 206;
      response.header('Content-Range', contentRange(only, size)).contentLength(only.end - only.start);
      sendRange(response, entry, only.start, only.end - only.start);
      response.end();
    } else {
      sendParts(response, entry, asked.ranges);
    }
  }

  close(): void {
    this.cache.close();
  }
}

/** The name below the root that the request is for; null where it has none, which is answered. */
function nameOf(request: Request, response: Response): string | null {
  const rest = request.rest;
  // What the routes resolved is decoded already; a second time would make `%2541` an A.
  if (request.resolved !== null) return rest.startsWith('/') ? rest.slice(1) : rest;
  const verdict = resolvePath(rest.startsWith('/') ? rest : `/${rest}`);
  if (verdict.ok) return verdict.path.slice(1);
  fail(response, verdict.refusal === 'above-root' || verdict.refusal === 'bad-encoding' ? 400 : 404);
  return null;
}

/** Range is defined for GET alone (RFC 9110 section 14.2). */
function rangesOf(request: Request, entry: FileEntry): ReturnType<typeof parseRange> {
  const range = request.head.method === METHOD_GET ? request.header('range') : null;
  if (range === null) return { kind: 'whole' };
  const ifRange = request.header('if-range');
  if (ifRange !== null && !ifRangeHolds(ifRange, entry, Date.now())) return { kind: 'whole' };
  return parseRange(range, entry.state.size);
}

/** Whether the coding may be used (RFC 9110 section 12.5.3); one given weight 0 may not. */
function accepts(fields: Fields, coding: string): boolean {
  const value = fields.getKnown(names.FIELD_ACCEPT_ENCODING);
  if (value === null) return false;
  for (const element of value.split(',')) {
    const [name, ...parameters] = element
      .trim()
      .toLowerCase()
      .split(/\s*;\s*/);
    if (name !== coding && !(coding === 'gzip' && name === 'x-gzip')) continue;
    return !parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter));
  }
  return false;
}

function sendWhole(response: Response, entry: FileEntry): void {
  const size = entry.state.size;
  response.contentLength(size);
  sendRange(response, entry, 0, size);
  response.end();
}

function sendRange(response: Response, entry: FileEntry, offset: number, length: number): void {
  entry.use();
  response.file(entry.descriptor, offset, length, () => entry.release());
}

/** multipart/byteranges (RFC 9110 section 14.6). */
function sendParts(response: Response, entry: FileEntry, ranges: readonly ByteRange[]): void {
  const boundary = `millrace-${entry.state.inode.toString(36)}-${Math.random().toString(36).slice(2)}`;
  const size = entry.state.size;
  const heads = ranges.map(
    (range) =>
      `\r\n--${boundary}\r\nContent-Type: ${entry.mediaType}\r\nContent-Range: ${contentRange(range, size)}\r\n\r\n`,
  );
  const tail = `\r\n--${boundary}--\r\n`;
  let length = tail.length;
  for (let index = 0; index < ranges.length; index++)
    length += heads[index].length + ranges[index].end - ranges[index].start;
  response.status = 206;
  response.replaceType(`multipart/byteranges; boundary=${boundary}`).contentLength(length);
  for (let index = 0; index < ranges.length; index++) {
    response.write(heads[index]);
    sendRange(response, entry, ranges[index].start, ranges[index].end - ranges[index].start);
  }
  response.write(tail);
  response.end();
}

/** A directory is asked for with a slash at its end, or its pages' relative links would miss it. */
function redirectToDirectory(request: Request, response: Response): void {
  const query = request.query === '' ? '' : `?${request.query}`;
  // By its meaning, with one slash in front: `//host/` and `/\host/` would lead to another host.
  const verdict = resolvePath(request.path);
  if (!verdict.ok) fail(response, 404);
  else {
    const path = verdict.path.split('/').map(encodeURIComponent).join('/');
    response.redirect(`${path}/${query}`, 301);
  }
}

function fail(response: Response, status: number): void {
  response.status = status;
  response.bytes(latin1(`${status} ${reasonPhrase(status)}\n`), 'text/plain; charset=utf-8');
}

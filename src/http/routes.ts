/**
 * Room `http`: which handler answers a path. The longest matching one wins; a path that ends in `/` matches everything below
 * it, another only itself.
 *
 * A newcomer would get wrong: a path with percent-encodings or dot segments is matched by what it means, not by how it is
 * spelled, or `/public/%2e%2e/admin` would pass for public.
 */
import { FORM_AUTHORITY } from './head.ts';
import { resolvePath } from './path.ts';
import type { Request } from './request.ts';
import type { Response } from './response.ts';

export interface Handler {
  /**
   * Answers a request. What it throws (or rejects with) becomes status 500, unless the head has left. When a returned promise
   * settles the answer has to be complete.
   */
  (request: Request, response: Response): void | Promise<void>;
  /**
   * Says that a call that returns no promise leaves no promise, tick or timer behind, so that the server can go on without
   * giving Node's event loop a turn. Only for handlers that are nothing but computation and the library's own sockets.
   */
  readonly leavesNothing?: boolean;
}

export interface Route {
  readonly path: string;
  readonly handler: Handler;
}

const SLASH = 0x2f;
const DOT = 0x2e;
const PERCENT = 0x25;
const BACKSLASH = 0x5c;
const ENCODED = /%[0-9a-f]{2}/gi;
/** Encodings that no segment may have: of a slash, a backslash, a control character, or beyond ASCII. */
const FORBIDDEN = /%(?:2f|5c|[01].|7f|[89a-f].)/i;
/** What some take for a separator. */
const SEPARATOR = /%2f|%5c|\\/gi;
const UNREADABLE = /%(?:[01].|7f|[89a-f].)/gi;
const BEYOND_ASCII = /[\x80-\xff]/g;

interface Compiled {
  readonly octets: Uint8Array;
  readonly path: string;
  readonly below: boolean;
  readonly handler: Handler;
  readonly leavesNothing: boolean;
}

export class Routes {
  /** Longest first. */
  private readonly compiled: readonly Compiled[];
  /** Of the handler found last. */
  leavesNothing = false;

  /** @throws TypeError for a path that does not begin with `/` or is given twice */
  constructor(routes: readonly Route[]) {
    const seen = new Set<string>();
    for (const { path } of routes) {
      if (!path.startsWith('/')) throw new TypeError(`the route '${path}' does not begin with /`);
      if (seen.has(path)) throw new TypeError(`the route '${path}' is given twice`);
      seen.add(path);
    }
    this.compiled = routes
      .map(({ path, handler }) => ({
        path,
        handler,
        octets: Buffer.from(path, 'utf8'),
        below: path.endsWith('/'),
        leavesNothing: handler.leavesNothing === true,
      }))
      .sort((one, other) => other.octets.length - one.octets.length);
  }

  /** The handler for the path `bytes[start, end)`, or null; sets `request.rest`. */
  find(request: Request, bytes: Uint8Array, start: number, end: number): Handler | null {
    if (needsResolving(bytes, start, end)) return this.findResolved(request);
    for (const route of this.compiled) {
      const octets = route.octets;
      const length = end - start;
      if (length < octets.length || (!route.below && length !== octets.length)) continue;
      let index = 0;
      while (index < octets.length && octets[index] === bytes[start + index]) index++;
      if (index !== octets.length) continue;
      request.restStart = octets.length;
      request.resolved = null;
      this.leavesNothing = route.leavesNothing;
      return route.handler;
    }
    return null;
  }

  private findResolved(request: Request): Handler | null {
    request.resolved = null;
    this.leavesNothing = false;
    if (request.head.form === FORM_AUTHORITY) return null;
    const verdict = resolvePath(request.path);
    if (!verdict.ok) return verdict.refusal === 'above-root' ? null : this.findUnclear(request);
    const route = this.match(verdict.path);
    if (route === null) return null;
    request.restStart = route.path.length;
    request.resolved = verdict.path;
    return route.handler;
  }

  private match(path: string): Compiled | null {
    for (const route of this.compiled)
      if (route.below ? path.startsWith(route.path) : path === route.path) return route;
    return null;
  }

  /**
   * A path whose meaning depends on the reader (an encoded slash, a backslash, octets that are no UTF-8). A route takes it
   * only where every reading leads to the same one.
   */
  private findUnclear(request: Request): Handler | null {
    const path = request.path;
    // `*` has no path: it is for the server as a whole.
    if (!path.startsWith('/')) return this.match('/')?.handler ?? null;
    const kept = this.reading(path.replace(ENCODED, (encoded) => (FORBIDDEN.test(encoded) ? '~' : encoded)));
    const split = this.reading(path.replace(SEPARATOR, '/').replace(UNREADABLE, '~'));
    if (kept === null || kept !== split || !path.startsWith(kept.path)) return null;
    request.restStart = kept.path.length;
    return kept.handler;
  }

  private reading(path: string): Compiled | null {
    const verdict = resolvePath(path.replaceAll('\\', '~').replace(BEYOND_ASCII, '~'));
    return verdict.ok ? this.match(verdict.path) : null;
  }
}

/** Whether the spelling may differ from the meaning: an encoding, a backslash, an empty or a dot segment. */
function needsResolving(bytes: Uint8Array, start: number, end: number): boolean {
  let before = 0;
  for (let position = start; position < end; position++) {
    const octet = bytes[position];
    if (octet === PERCENT || octet === BACKSLASH || (before === SLASH && (octet === SLASH || octet === DOT)))
      return true;
    before = octet;
  }
  // An empty path (absolute-form without one) means `/`.
  return start === end;
}

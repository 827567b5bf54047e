/**
 * Room `http`: which handler answers a path. The longest matching one wins; a path that ends in `/` matches everything below
 * it, another only itself.
 *
 * A newcomer would get wrong: a path with percent-encodings or dot segments is matched by what it means, not by how it is
 * spelled, or `/public/%2e%2e/admin` would pass for public.
 */
import { resolvePath } from './path.ts';
import type { Request } from './request.ts';
import type { Response } from './response.ts';

/**
 * Answers a request. What it throws (or rejects with) becomes status 500, unless the head has left. After a returned promise
 * settles the answer has to be complete.
 */
export type Handler = (request: Request, response: Response) => void | Promise<void>;

export interface Route {
  readonly path: string;
  readonly handler: Handler;
}

const SLASH = 0x2f;
const DOT = 0x2e;
const PERCENT = 0x25;

interface Compiled {
  readonly octets: Uint8Array;
  readonly path: string;
  readonly below: boolean;
  readonly handler: Handler;
}

export class Routes {
  /** Longest first. */
  private readonly compiled: readonly Compiled[];

  /** @throws TypeError for a path that does not begin with `/` or is given twice */
  constructor(routes: readonly Route[]) {
    const seen = new Set<string>();
    for (const { path } of routes) {
      if (!path.startsWith('/')) throw new TypeError(`the route '${path}' does not begin with /`);
      if (seen.has(path)) throw new TypeError(`the route '${path}' is given twice`);
      seen.add(path);
    }
    this.compiled = routes
      .map(({ path, handler }) => ({ path, handler, octets: Buffer.from(path, 'utf8'), below: path.endsWith('/') }))
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
      return route.handler;
    }
    return null;
  }

  private findResolved(request: Request): Handler | null {
    const verdict = resolvePath(request.path);
    if (!verdict.ok) return null;
    const path = verdict.path;
    for (const route of this.compiled) {
      if (route.below ? !path.startsWith(route.path) : path !== route.path) continue;
      request.restStart = route.path.length;
      request.resolved = path;
      return route.handler;
    }
    return null;
  }
}

/** Whether the spelling may differ from the meaning: an encoding, an empty or a dot segment. */
function needsResolving(bytes: Uint8Array, start: number, end: number): boolean {
  let before = 0;
  for (let position = start; position < end; position++) {
    const octet = bytes[position];
    if (octet === PERCENT || (before === SLASH && (octet === SLASH || octet === DOT))) return true;
    before = octet;
  }
  // An empty path (absolute-form without one) means `/`.
  return start === end;
}

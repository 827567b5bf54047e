/**
 * Room `http`: `serve`, the short way to a server: an address and its routes.
 */

import { type ListenOptions, listen } from '../net/listen.ts';
import type { Listener } from '../net/listener.ts';
import type { Target } from '../net/target.ts';
import { type Handler, Routes } from './routes.ts';
import { HttpServer, type HttpServerOptions } from './server.ts';

export type RouteTable = Readonly<Record<string, Handler>>;

/** A server on one address. `await using` closes it in good order. */
export class Serving {
  readonly server: HttpServer;
  readonly listener: Listener;

  constructor(server: HttpServer, listener: Listener) {
    this.server = server;
    this.listener = listener;
  }

  get port(): number {
    return this.listener.port;
  }

  get engine(): { readonly name: string; readonly reason: string } {
    return this.listener.engine;
  }

  /**
   * Accepts no more, completes the answers under way, closes idle connections; resolves when all are gone. Those that last
   * longer than `graceMs` (default 30,000), upgraded ones among them, are cut.
   */
  async close(graceMs = 30_000): Promise<void> {
    this.server.draining = true;
    const closed = this.listener.close();
    this.server.closeIdle(this.listener);
    const timer = setTimeout(() => void this.listener.abort(), graceMs);
    await closed;
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Serves HTTP/1.1. Routes are paths and their handlers: the longest matching path wins; one that ends in `/` matches everything
 * below it. A single handler serves every path.
 *
 * ```ts
 * await serve({ port: 8080 }, { '/': (request, response) => response.text('hello') });
 * ```
 * @throws KernelError where the address cannot be listened on; TypeError for a malformed route
 */
export async function serve(
  target: Target & ListenOptions & HttpServerOptions,
  routes: RouteTable | Handler,
): Promise<Serving> {
  const table = typeof routes === 'function' ? { '/': routes } : routes;
  const compiled = new Routes(Object.entries(table).map(([path, handler]) => ({ path, handler })));
  const server = new HttpServer(compiled, target);
  const listener = await listen({ ...target, halfOpen: true }, server.handler);
  return new Serving(server, listener as Listener);
}

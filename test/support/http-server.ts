/**
 * Test support: a server on a free port of 127.0.0.1 for the time of a test's body, whatever becomes of it.
 */
import { type Handler, type HttpServerOptions, type RouteTable, type Serving, serve } from '../../src/http/index.ts';
import type { ListenOptions } from '../../src/net/index.ts';

/** Serves while `body` runs; afterwards what is still open is cut. */
export async function withServer(
  routes: RouteTable | Handler,
  body: (address: { readonly port: number }, server: Serving) => Promise<void>,
  options: HttpServerOptions & ListenOptions = {},
): Promise<void> {
  const server = await serve({ host: '127.0.0.1', port: 0, ...options }, routes);
  try {
    await body({ port: server.port }, server);
  } finally {
    await server.close(50);
  }
}

/**
 * Shows a site of files beside a reverse proxy that spreads requests over two upstreams.
 *
 *     npm ci
 *     npx node examples/static-and-proxy.ts
 *     curl http://127.0.0.1:8080/examples/echo.ts
 *     curl http://127.0.0.1:8080/api/          (again: the other upstream answers)
 *
 * PORT chooses another port, 0 a free one. The upstreams take free ones.
 */
import { files, proxy, serve } from 'millrace/http';

const upstreams = await Promise.all(
  ['first', 'second'].map((name) =>
    serve({ host: '127.0.0.1', port: 0 }, (request, response) => response.json({ upstream: name, path: request.path })),
  ),
);

const server = await serve(
  { host: '127.0.0.1', port: Number(process.env.PORT ?? 8080) },
  {
    // What follows the route's path is looked up below the folder, and never outside of it.
    '/examples/': files(import.meta.dirname),
    // The path is passed on unchanged; roundRobin is the default balance.
    '/api/': proxy(upstreams.map((upstream) => `127.0.0.1:${upstream.port}`)),
  },
);
console.log(`http://127.0.0.1:${server.port}/ on ${server.engine.name} (${server.engine.reason})`);

async function close(): Promise<void> {
  await server.close();
  await Promise.all(upstreams.map((upstream) => upstream.close()));
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void close());

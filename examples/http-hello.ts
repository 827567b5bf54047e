/**
 * Shows an HTTP server: a fixed answer, JSON, a path's rest, and a body that is streamed back while it arrives.
 *
 *     npm ci
 *     npx node examples/http-hello.ts
 *     curl http://127.0.0.1:8080/
 *     curl http://127.0.0.1:8080/greet/Ada
 *     curl --data-binary @README.md http://127.0.0.1:8080/echo
 *
 * PORT chooses another port, 0 a free one.
 */
import { type Handler, serve } from 'millrace/http';

const echo: Handler = async (request, response) => {
  response.header('Content-Type', request.header('content-type') ?? 'application/octet-stream');
  for await (const chunk of request) {
    // False: the client lags. Not asking for the next chunk until it has caught up slows its sending down too.
    if (!response.write(chunk)) await new Promise<void>((resolve) => response.drained(resolve));
  }
  response.end();
};

const server = await serve(
  { host: '127.0.0.1', port: Number(process.env.PORT ?? 8080) },
  {
    '/': (_request, response) => response.text('hello\n'),
    '/greet/': (request, response) => response.json({ hello: decodeURIComponent(request.rest) }),
    '/echo': echo,
  },
);
console.log(`http://127.0.0.1:${server.port}/ on ${server.engine.name} (${server.engine.reason})`);

// Answers what is under way, closes what idles, then the process ends by itself.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void server.close());

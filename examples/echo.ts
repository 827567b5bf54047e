/**
 * Shows a TCP server that sends back what it receives, and how it ends without losing a byte.
 *
 *     npm ci
 *     npx node examples/echo.ts
 *     curl telnet://127.0.0.1:7000            (type a line; Ctrl-C here or there ends it)
 *
 * PORT chooses another port, 0 a free one.
 */
import { listen } from 'millrace/net';

const server = await listen(
  { host: '127.0.0.1', port: Number(process.env.PORT ?? 7000) },
  {
    data(connection, chunk) {
      // `chunk` is a view of the engine's memory that is valid during this call; `write` copies it. When the client does not
      // read, what waits passes the high mark: stop reading until it has fallen, and the client is slowed down in turn.
      if (!connection.write(chunk)) connection.pause();
    },
    drain(connection) {
      connection.resume();
    },
    error(_connection, error) {
      console.error(error.message);
    },
  },
);
console.log(`echo on 127.0.0.1:${server.port}, ${server.engine.name} (${server.engine.reason})`);

// Accepts no more and resolves when every connection has got what was written to it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void server.close());

/**
 * An echo server on Millrace's sockets.
 *
 *   node bench/servers/echo.ts --engine io_uring --port 7000
 */
import { listen, useEngine } from '../../src/net/index.ts';
import { serverOptions } from './options.ts';

const { port, engine } = serverOptions();
useEngine(engine);
await listen(
  { host: '127.0.0.1', port },
  {
    data(connection, chunk) {
      connection.write(chunk);
    },
  },
);
console.log('ready');

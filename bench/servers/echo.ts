/**
 * An echo server on Millrace's sockets.
 *
 *   node bench/servers/echo.ts --engine io_uring --port 7000
 */
import { listen, RECEIVED_QUIET, useEngine } from '../../src/net/index.ts';
import { serverOptions } from './options.ts';

const { port, engine } = serverOptions();
useEngine(engine);
await listen(
  { host: '127.0.0.1', port },
  {
    receive(connection, memory, start, end) {
      connection.writeRange(memory, start, end);
      return RECEIVED_QUIET;
    },
  },
);
console.log('ready');

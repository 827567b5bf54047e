/**
 * A fixed HTTP response for every receive, over Millrace's sockets: what `net` costs above the floor of
 * bench/c/uring-http-floor.c, which does the same. It parses nothing, so it is right only for clients like wrk.
 *
 *   node bench/servers/http-fixed.ts --engine io_uring --port 8080
 *   wrk -t1 -c64 -d5 http://127.0.0.1:8080/
 */
import { listen, RECEIVED_QUIET, useEngine } from '../../src/net/index.ts';
import { fixedResponse } from './fixed-response.ts';
import { serverOptions } from './options.ts';

const { port, engine } = serverOptions();
useEngine(engine);
await listen(
  { host: '127.0.0.1', port },
  {
    // The form of `data` that makes no object for each event; no promise or tick is queued here, so it says "quiet".
    receive(connection) {
      connection.write(fixedResponse);
      return RECEIVED_QUIET;
    },
  },
);
console.log('ready');

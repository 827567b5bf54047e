/**
 * Millrace's HTTP server with a handler that answers 13 bytes: requests are parsed, the response has the usual fields.
 *
 *   node bench/servers/http.ts --engine io_uring --port 8080
 *   wrk -t1 -c64 -d5 http://127.0.0.1:8080/
 */
import { serve } from '../../src/http/index.ts';
import { useEngine } from '../../src/net/index.ts';
import { serverOptions } from './options.ts';

const { port, engine } = serverOptions();
useEngine(engine);
await serve({ host: '127.0.0.1', port }, { '/': (_request, response) => response.text('Hello, World!') });
console.log('ready');

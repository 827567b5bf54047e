/**
 * Millrace's reverse proxy before one upstream.
 *
 *   node bench/servers/proxy.ts --engine io_uring --port 8080 --upstream 127.0.0.1:9001
 */
import { proxy, serve } from '../../src/http/index.ts';
import { useEngine } from '../../src/net/index.ts';
import { serverOptions } from './options.ts';

const { port, engine, upstream } = serverOptions();
useEngine(engine);
await serve({ host: '127.0.0.1', port }, { '/': proxy([upstream]) });
console.log('ready');

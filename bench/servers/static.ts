/**
 * Millrace's static files.
 *
 *   node bench/servers/static.ts --engine io_uring --port 8080 --root public
 */
import { files, serve } from '../../src/http/index.ts';
import { useEngine } from '../../src/net/index.ts';
import { serverOptions } from './options.ts';

const { port, engine, root } = serverOptions();
useEngine(engine);
await serve({ host: '127.0.0.1', port }, { '/': files(root) });
console.log('ready');

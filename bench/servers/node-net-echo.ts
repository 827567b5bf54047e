/**
 * An echo server on node:net.
 *
 *   node bench/servers/node-net-echo.ts --port 7000
 */
import { createServer } from 'node:net';
import { serverOptions } from './options.ts';

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('data', (chunk) => socket.write(chunk));
  // A client that vanishes is its own affair.
  socket.on('error', () => socket.destroy());
});
server.listen({ port: serverOptions().port, host: '127.0.0.1', backlog: 4096 }, () => console.log('ready'));

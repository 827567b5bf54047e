/**
 * A fixed HTTP response for every read, over node:net; the peer of http-fixed.ts.
 *
 *   node bench/servers/node-net-fixed.ts --port 8080
 */
import { createServer } from 'node:net';
import { fixedResponse } from './fixed-response.ts';
import { serverOptions } from './options.ts';

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('data', () => socket.write(fixedResponse));
  // A client that vanishes is its own affair.
  socket.on('error', () => socket.destroy());
});
server.listen({ port: serverOptions().port, host: '127.0.0.1', backlog: 4096 }, () => console.log('ready'));

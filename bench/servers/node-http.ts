/**
 * Node's own HTTP server with the same answer as http.ts. Date, Connection and Keep-Alive are its own.
 *
 *   node bench/servers/node-http.ts --port 8080
 */
import { createServer } from 'node:http';
import { serverOptions } from './options.ts';

const server = createServer((_request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 13 });
  response.end('Hello, World!');
});
server.listen({ port: serverOptions().port, host: '127.0.0.1', backlog: 4096 }, () => console.log('ready'));

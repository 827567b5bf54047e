/**
 * Test support: an HTTP server in a process of its own, to be killed. It tells its port to the parent.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const server = createServer((_request, response) => {
  setTimeout(() => response.end('from the child\n'), 1);
});
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
process.on('disconnect', () => process.exit());

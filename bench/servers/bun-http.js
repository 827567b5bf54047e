/**
 * Bun's own HTTP server with the same answer as http.ts. JavaScript, because it runs under Bun, whose types are not Node's.
 *
 *   bun bench/servers/bun-http.js --port 8080
 */
const port = Number(process.argv[process.argv.indexOf('--port') + 1]);

Bun.serve({
  port,
  hostname: '127.0.0.1',
  fetch: () => new Response('Hello, World!', { headers: { 'Content-Type': 'text/plain' } }),
});
console.log('ready');

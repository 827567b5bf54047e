/**
 * Shows a UDP server that sends every datagram back, and what makes it cheap: datagrams that are ready together are read in one
 * turn (GRO joins those of one sender), and all answers of a turn leave in one system call.
 *
 *     npm ci
 *     npx node examples/udp-echo.ts
 *     echo hello | nc -u -w 1 127.0.0.1 7000
 *
 * PORT chooses another port, 0 a free one.
 */
import { bindDatagrams } from 'millrace/net';

const socket = await bindDatagrams(
  { host: '127.0.0.1', port: Number(process.env.PORT ?? 7000), gro: true },
  {
    message(own, chunk, from) {
      // `chunk` is a view that is valid during this call; `send` copies it. A datagram that finds the queue full is reported to
      // `error`, as any other that cannot be sent; the socket goes on.
      own.send(chunk, from);
    },
    error(_own, error) {
      console.error(error.message);
    },
  },
);
console.log(`echo of datagrams on 127.0.0.1:${socket.port}, ${socket.engine.name} (${socket.engine.reason})`);

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void socket.close());

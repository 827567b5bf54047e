/**
 * Test support: a worker thread that echoes on a shared port. Asked by messages, it counts its connections, closes its listener,
 * or floods one peer.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { EngineChoice } from '../../src/engine/choose.ts';
import {
  bindDatagrams,
  type Connection,
  connect,
  type DatagramSocket,
  listen,
  useEngine,
} from '../../src/net/index.ts';

export interface EchoWorkerData {
  readonly engine: EngineChoice;
  readonly port: number;
  /** Also a UDP socket on this port, whose datagrams are answered. */
  readonly datagramPort?: number;
  /** Instead of serving: connects to the port and sends without end. */
  readonly floods?: boolean;
}

const { engine, port, datagramPort, floods } = workerData as EchoWorkerData;
useEngine(engine);

function flood(): void {
  const chunk = new Uint8Array(65536);
  const pour = (connection: Connection): void => {
    while (connection.write(chunk));
  };
  connect({ host: '127.0.0.1', port }, { open: pour, drain: pour });
  parentPort!.postMessage({ port });
}

async function serve(): Promise<void> {
  let messages = 0;
  const listener = await listen(
    { host: '127.0.0.1', port, reusePort: true },
    {
      data: (connection, chunk) => void connection.write(chunk),
    },
  );
  let socket: DatagramSocket | null = null;
  if (datagramPort !== undefined) {
    socket = await bindDatagrams(
      { host: '127.0.0.1', port: datagramPort, reusePort: true },
      {
        message(own, chunk, from) {
          messages++;
          own.send(chunk, from);
        },
      },
    );
  }
  parentPort!.on('message', async (asked: string) => {
    if (asked === 'count') parentPort!.postMessage({ accepts: listener.accepts, messages });
    if (asked === 'close') {
      for (const connection of listener.connections) connection.close();
      await Promise.all([listener.close(), socket?.close()]);
      parentPort!.postMessage({ closed: true });
      parentPort!.close();
    }
  });
  parentPort!.postMessage({ port: listener.port, datagramPort: socket?.port });
}

if (floods === true) flood();
else await serve();

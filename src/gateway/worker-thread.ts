/**
 * Room `gateway`: the entry of a worker thread: does what the main thread's `ThreadWorker` asks.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { Command, ThreadData, ThreadMessage } from './threads.ts';
import { GatewayWorker } from './worker.ts';

const port = parentPort!;
const { index, count } = workerData as ThreadData;
const post = (message: ThreadMessage): void => port.postMessage(message);
const worker = new GatewayWorker((line) => post({ kind: 'log', line }), index, count);

function carryOut(command: Command): unknown {
  switch (command.kind) {
    case 'start':
      return worker.start(command.configuration);
    case 'reload':
      return worker.reload(command.configuration);
    case 'drain':
      return worker.drain(command.timeoutMs);
    case 'reopenLog':
      return worker.reopenLog();
    case 'report':
      return worker.report();
  }
}

port.on('message', async ({ id, command }: { readonly id: number; readonly command: Command }) => {
  try {
    post({ kind: 'answer', id, value: await carryOut(command) });
  } catch (error) {
    post({ kind: 'failure', id, message: (error as Error).message });
  }
});

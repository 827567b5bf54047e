/**
 * Room `net`: a connection as an async iterable of chunks, for those who prefer a loop to callbacks.
 *
 * A newcomer would get wrong: the chunks are copies (a view would be gone when the loop's body runs), and reading pauses while
 * one waits to be taken, so the peer is slowed to the loop's pace.
 */
import type { Connection } from './connection.ts';
import { replaceMethods } from './handlers.ts';
import { PEER_ENDED } from './states.ts';

interface Waiting {
  resolve(result: IteratorResult<Uint8Array>): void;
  reject(error: Error): void;
}

export function iterate(connection: Connection): AsyncIterableIterator<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const waiting: Waiting[] = [];
  let ended = connection.destroyed || (connection.state & PEER_ENDED) !== 0;
  let failure: Error | null = null;
  const finished: IteratorResult<Uint8Array> = { done: true, value: undefined };

  function settle(): void {
    while (waiting.length > 0) {
      if (chunks.length > 0) waiting.shift()!.resolve({ done: false, value: chunks.shift()! });
      else if (failure !== null) {
        waiting.shift()!.reject(failure);
        failure = null;
      } else if (ended) waiting.shift()!.resolve(finished);
      else return;
    }
  }

  const previous = connection.handler;
  connection.handler = replaceMethods(previous, {
    receive: undefined,
    data(_connection, chunk) {
      chunks.push(chunk.slice());
      connection.pause();
      settle();
    },
    end() {
      ended = true;
      settle();
    },
    error(_connection, error) {
      failure = error;
    },
    close(closed) {
      ended = true;
      settle();
      previous.close?.(closed);
    },
  });
  return {
    next() {
      return new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        settle();
        if (waiting.length > 0) connection.resume();
      });
    },
    async return() {
      connection.destroy();
      return finished;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

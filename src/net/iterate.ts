/**
 * Room `net`: a connection as an async iterable of chunks, for those who prefer a loop to callbacks.
 *
 * A newcomer would get wrong: the chunks are copies (a view would be gone when the loop's body runs), and reading pauses while
 * one waits to be taken, so the peer is slowed to the loop's pace.
 */
import type { Connection } from './connection.ts';

interface Waiting {
  resolve(result: IteratorResult<Uint8Array>): void;
  reject(error: Error): void;
}

export function iterate(connection: Connection): AsyncIterableIterator<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let waiting: Waiting | null = null;
  let ended = connection.destroyed;
  let failure: Error | null = null;
  const finished: IteratorResult<Uint8Array> = { done: true, value: undefined };

  function settle(): void {
    if (waiting === null) return;
    const { resolve, reject } = waiting;
    if (chunks.length > 0) resolve({ done: false, value: chunks.shift()! });
    else if (failure !== null) reject(failure);
    else if (ended) resolve(finished);
    else return;
    waiting = null;
  }

  const previous = connection.handler;
  connection.handler = {
    ...previous,
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
  };
  return {
    next() {
      return new Promise((resolve, reject) => {
        waiting = { resolve, reject };
        settle();
        if (waiting !== null) connection.resume();
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

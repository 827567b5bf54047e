/**
 * Room `http`: a connection that stops speaking HTTP: another handler hears it from here on, beginning with what had arrived
 * behind the request.
 *
 * A newcomer would get wrong: a handler with `receive` may keep the block that its bytes lie in, so bytes that were stored
 * elsewhere are put into a block of the engine's first.
 */
import { RECEIVED_KEEP } from '../engine/engine.ts';
import type { Connection, ConnectionHandler } from '../net/connection.ts';
import { replaceMethods } from '../net/handlers.ts';

/** Gives the connection to `handler`. `rest` are bytes that came already, in order. */
export function handOver<Data>(connection: Connection<Data>, handler: ConnectionHandler<Data>, rest: Uint8Array): void {
  connection.data = undefined;
  connection.setTimeout(0);
  // The server's connections stay open when the client ends; a handler that does not hear of it could not end them.
  connection.handler = handler.end === undefined ? replaceMethods(handler, { end: (own) => own.end() }) : handler;
  // Takes effect in a later turn, so `open` may pause it again.
  connection.resume();
  handler.open?.(connection);
  deliver(connection, rest, 0, rest.length);
}

/** Lets the connection's handler hear `bytes[start, end)`, which lie anywhere. */
export function deliver<Data>(connection: Connection<Data>, bytes: Uint8Array, start: number, end: number): void {
  const engine = connection.context.runtime.engine;
  for (let position = start; position < end && !connection.destroyed; position += engine.blockSize) {
    const to = Math.min(end, position + engine.blockSize);
    const handler = connection.handler;
    if (handler.receive === undefined) {
      handler.data?.(connection, bytes.slice(position, to));
      continue;
    }
    const block = engine.takeBlock();
    if (block < 0) {
      connection.destroy(new Error('no memory is free for the bytes that came with the request'));
      return;
    }
    engine.memory.set(bytes.subarray(position, to), block);
    const answer = handler.receive(connection, engine.memory, block, block + to - position);
    if ((answer & RECEIVED_KEEP) === 0) engine.releaseBlock(block);
  }
}

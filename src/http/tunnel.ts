/**
 * Room `http`: two connections joined after a switch of protocols: what one receives the other sends, with backpressure, and
 * the end of one is the end of the other's sending side.
 */
import { RECEIVED_KEEP, RECEIVED_QUIET } from '../engine/engine.ts';
import type { Connection, ConnectionHandler } from '../net/connection.ts';

function handlerTo(other: Connection, over: () => void): ConnectionHandler {
  return {
    receive(connection, _memory, start, end) {
      other.writeBlock(start, end);
      if (other.bytesQueued > other.context.highWaterBytes) {
        connection.pause();
        other.wantDrain();
      }
      return RECEIVED_KEEP | RECEIVED_QUIET;
    },
    drain(connection) {
      // The side that was held back for this one's sake.
      other.resume();
      return connection.destroyed || true;
    },
    end: () => other.end(),
    error: () => other.destroy(),
    close() {
      other.destroy();
      over();
    },
  };
}

/**
 * Joins `client` and `upstream`. `head` goes to the client first, then `rest`, which came behind the upstream's head.
 * `over` is called once for each side that has closed, the first call being the one that counts.
 */
export function startTunnel(
  client: Connection,
  upstream: Connection,
  head: Uint8Array,
  rest: Uint8Array,
  over: () => void,
): void {
  let told = false;
  const once = (): void => {
    if (told) return;
    told = true;
    over();
  };
  client.data = undefined;
  client.setTimeout(0);
  upstream.setTimeout(0);
  client.handler = handlerTo(upstream, once);
  upstream.handler = handlerTo(client, once);
  client.write(head);
  if (rest.length > 0) client.write(rest);
  client.resume();
}

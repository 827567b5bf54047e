/**
 * Room `http`: two connections joined after a switch of protocols: what one receives the other sends, with backpressure, and
 * the end of one is the end of the other's sending side.
 *
 * A newcomer would get wrong: a side that has ended may still receive, so only the close of a side ends the other.
 */
import { RECEIVED_KEEP, RECEIVED_QUIET } from '../engine/engine.ts';
import type { Connection, ConnectionHandler } from '../net/connection.ts';
import type { Response } from './response.ts';

/** Below so many free blocks bytes are copied, so that slow tunnels cannot take the memory of all receives. */
const KEEP_BLOCKS_FREE_MIN = 64;

class TunnelSide implements ConnectionHandler {
  private readonly other: Connection;
  private readonly over: () => void;

  constructor(other: Connection, over: () => void) {
    this.other = other;
    this.over = over;
  }

  receive(connection: Connection, memory: Uint8Array, start: number, end: number): number {
    const { other } = this;
    const keeps = connection.context.runtime.engine.blocksFree >= KEEP_BLOCKS_FREE_MIN;
    if (keeps) other.writeBlock(start, end);
    else other.writeRange(memory, start, end);
    if (other.bytesQueued > other.context.highWaterBytes) {
      connection.pause();
      other.wantDrain();
    }
    return keeps ? RECEIVED_KEEP | RECEIVED_QUIET : RECEIVED_QUIET;
  }

  /** This side has sent what it had: the other, held back for its sake, goes on. */
  drain(): boolean {
    this.other.resume();
    return true;
  }

  end(): void {
    this.other.end();
  }

  /** Nothing came from or went to this side for the tunnel's limit. Traffic on one side is traffic on both. */
  timeout(connection: Connection): void {
    connection.destroy();
  }

  /** What the peer reset must not look like an orderly end to the other. */
  error(): void {
    this.other.destroy();
  }

  close(): void {
    // One whose end was asked for still delivers what it was given; anything else is cut, as the peer cut it.
    if (this.other.writable) this.other.destroy();
    else this.other.close();
    this.over();
  }
}

/**
 * Joins the client behind `response` and `upstream`. `head` goes to the client first, then `rest`, which came behind the
 * upstream's head; what the client sent behind its request goes to the upstream. `over` is called once when the tunnel ends.
 */
export function startTunnel(
  response: Response,
  client: Connection,
  upstream: Connection,
  head: Uint8Array,
  rest: Uint8Array,
  idleTimeoutMs: number,
  over: () => void,
): void {
  let told = false;
  const once = (): void => {
    if (told) return;
    told = true;
    over();
  };
  client.write(head);
  if (rest.length > 0) client.write(rest);
  upstream.handler = new TunnelSide(client, once);
  response.status = 101;
  response.takeover(new TunnelSide(upstream, once));
  client.setTimeout(idleTimeoutMs);
  upstream.setTimeout(idleTimeoutMs);
}

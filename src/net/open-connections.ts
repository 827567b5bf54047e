/**
 * Room `net`: the open connections of one listener. They are found in the thread's table by the context that they share, so
 * that being listed costs a connection no memory of its own.
 *
 * A newcomer would get wrong: iterating walks every connection of the thread; it is for draining and shutting down.
 */
import type { Connection } from './connection.ts';
import type { ConnectionContext } from './context.ts';

export class OpenConnections<Data = unknown> implements Iterable<Connection<Data>> {
  /** How many are open; counted by the listener. */
  size = 0;
  private readonly context: ConnectionContext;

  constructor(context: ConnectionContext) {
    this.context = context;
  }

  /** Connections may be closed and opened meanwhile; a new one may be met or not. */
  *[Symbol.iterator](): Iterator<Connection<Data>> {
    const table = this.context.runtime.connections;
    for (let handle = 0; handle < table.length; handle++) {
      const connection = table[handle];
      if (connection !== null && connection !== undefined && connection.context === this.context) {
        yield connection as Connection<Data>;
      }
    }
  }
}

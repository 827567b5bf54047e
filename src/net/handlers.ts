/**
 * Room `net`: a connection's handler with some of its methods replaced, for what sits between a program and its connection
 * (iteration, disposal).
 *
 * A newcomer would get wrong: a handler may be an instance of a class, whose methods a spread would lose and whose `this` has
 * to stay what it was; so each method is bound.
 */
import type { ConnectionHandler } from './connection.ts';

const METHODS = ['open', 'data', 'receive', 'passed', 'end', 'drain', 'timeout', 'error', 'close'] as const;

/** `handler` with `replaced` in place of its methods of the same names. */
export function replaceMethods<Data>(
  handler: ConnectionHandler<Data>,
  replaced: ConnectionHandler<Data>,
): ConnectionHandler<Data> {
  const result: Record<string, unknown> = {};
  for (const name of METHODS) result[name] = handler[name]?.bind(handler);
  return Object.assign(result, replaced);
}

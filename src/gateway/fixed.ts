/**
 * Room `gateway`: what of a configuration stays as it is while the gateway runs: the fields that a reload cannot change, and
 * the ports that the kernel chose.
 *
 * A newcomer would get wrong: an address says what was asked for. Two listeners may both ask for port 0, so a listener is known
 * by its address as it was written and by how many before it are written the same.
 */
import type { SocketAddress } from '../kernel/address.ts';
import type { Configuration, ListenerConfiguration } from './configuration.ts';

const FIXED = ['engine', 'workers', 'serverName'] as const;
const FIXED_OF_LISTENER = ['backlog', 'reusePort', 'ipv6Only'] as const;

/** A name for each listener that a reload finds again. */
export function keysOf(listeners: readonly ListenerConfiguration[]): string[] {
  const counts = new Map<string, number>();
  return listeners.map(({ address }) => {
    const count = (counts.get(address.text) ?? 0) + 1;
    counts.set(address.text, count);
    return count === 1 ? address.text : `${address.text} (${count})`;
  });
}

/** The configuration that a reload leads to: as it is wanted, with what only a restart changes as it was. */
export function withFixed(before: Configuration, wanted: Configuration): Configuration {
  const known = byKey(before);
  const keys = keysOf(wanted.listeners);
  const listeners = wanted.listeners.map((listener, index) => {
    const old = known.get(keys[index]);
    if (old === undefined) return listener;
    const { address, backlog, reusePort, ipv6Only } = old;
    return { ...listener, address, backlog, reusePort, ipv6Only };
  });
  return { ...wanted, engine: before.engine, workers: before.workers, serverName: before.serverName, listeners };
}

/** The fields whose new value takes a restart, as they stand in the file. */
export function keptFields(before: Configuration, wanted: Configuration): string[] {
  const kept: string[] = FIXED.filter((field) => wanted[field] !== before[field]);
  const known = byKey(before);
  const keys = keysOf(wanted.listeners);
  for (const [index, listener] of wanted.listeners.entries()) {
    const old = known.get(keys[index]);
    if (old === undefined) continue;
    for (const field of FIXED_OF_LISTENER) {
      if (listener[field] !== old[field]) kept.push(`listeners[${index}].${field}`);
    }
  }
  return kept;
}

function byKey(configuration: Configuration): Map<string, ListenerConfiguration> {
  const keys = keysOf(configuration.listeners);
  return new Map(configuration.listeners.map((listener, index) => [keys[index], listener]));
}

/** Writes the ports that the kernel chose for port 0 into the addresses, so that every worker takes the same. */
export function pinPorts(
  configuration: Configuration,
  bound: readonly { readonly socket: SocketAddress | null }[],
): Configuration {
  const listeners = configuration.listeners.map((listener, index) => {
    const socket = bound[index]?.socket ?? null;
    return socket === null ? listener : { ...listener, address: { ...listener.address, socket } };
  });
  return { ...configuration, listeners };
}

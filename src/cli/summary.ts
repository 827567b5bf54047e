/**
 * Room `cli`: what a configuration does, in lines for people: what `millrace up --check` prints.
 */
import type { Configuration, RouteConfiguration } from '../gateway/configuration.ts';

function describeAction(action: RouteConfiguration['action']): string {
  switch (action.kind) {
    case 'respond':
      return `responds with status ${action.status}`;
    case 'files':
      return `serves files below ${action.root}`;
    case 'proxy': {
      const upstreams = action.upstreams.map(
        ({ address, weight }) => address.text + (weight === 1 ? '' : ` ×${weight}`),
      );
      return `passes on to ${upstreams.join(', ')} (${action.balance})`;
    }
  }
}

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

/** @param name the file's as the user gave it */
export function summarize(name: string, configuration: Configuration): string {
  const { listeners, admin, accessLog } = configuration;
  const routes = listeners.reduce((sum, listener) => sum + listener.routes.length, 0);
  const lines = [
    `${name} is right: ${counted(listeners.length, 'listener')}, ${counted(routes, 'route')}, ` +
      `engine ${configuration.engine}, ${counted(configuration.workers, 'worker')}`,
  ];
  for (const listener of listeners) {
    lines.push(`${listener.protocol} on ${listener.address.text}`);
    const width = Math.min(32, Math.max(...listener.routes.map(({ path }) => path.length)));
    for (const { path, action } of listener.routes) lines.push(`  ${path.padEnd(width)}  ${describeAction(action)}`);
  }
  if (admin !== null) lines.push(`admin on ${admin.text}: /healthz, /metrics`);
  if (accessLog !== null) lines.push(`access log in ${accessLog.file}, format ${accessLog.format}`);
  return lines.join('\n');
}

/**
 * Room `gateway`: the routes of a listener as handlers, with what they hold: connections to upstreams, health checks, open files.
 *
 * A newcomer would get wrong: routes that a reload replaces may still answer requests. Closing them ends what is idle; what is
 * under way completes.
 */
import { type FilesHandler, files } from '../http/files.ts';
import { type ProxyHandler, proxy } from '../http/proxy.ts';
import { type Handler, Routes } from '../http/routes.ts';
import type {
  ListenerConfiguration,
  ProxyConfiguration,
  RespondConfiguration,
  RouteConfiguration,
} from './configuration.ts';
import type { UpstreamReport } from './report.ts';

export interface CompiledRoutes {
  readonly routes: Routes;
  readonly proxies: readonly CompiledProxy[];
  readonly files: readonly FilesHandler[];
}

interface CompiledProxy {
  readonly path: string;
  readonly handler: ProxyHandler;
  /** Whether an active check will find out about a wrong belief. */
  readonly checked: boolean;
}

/** @throws KernelError where a root cannot be opened; nothing stays open then */
export function compileRoutes(listener: ListenerConfiguration, log: (line: string) => void): CompiledRoutes {
  const proxies: CompiledProxy[] = [];
  const served: FilesHandler[] = [];
  const handlerOf = ({ path, action }: RouteConfiguration): Handler => {
    if (action.kind === 'respond') return respond(action);
    if (action.kind === 'files') {
      const handler = files(action.root, action);
      served.push(handler);
      return handler;
    }
    const handler = createProxy(action, log);
    proxies.push({ path, handler, checked: action.healthCheck !== null });
    return handler;
  };
  try {
    const routes = listener.routes.map((route) => ({ path: route.path, handler: handlerOf(route) }));
    return { routes: new Routes(routes), proxies, files: served };
  } catch (error) {
    closeHandlers(proxies, served);
    throw error;
  }
}

function createProxy(action: ProxyConfiguration, log: (line: string) => void): ProxyHandler {
  const { upstreams, healthCheck, ...settings } = action;
  return proxy(
    upstreams.map(({ address, weight }) => ({ address: address.text, weight })),
    { ...settings, log, ...(healthCheck === null ? {} : { healthCheck }) },
  );
}

/** @param listener where the routes are served, for the labels */
export function upstreamsOf(listener: string, routes: CompiledRoutes): UpstreamReport[] {
  return routes.proxies.flatMap(({ path, handler }) =>
    handler.state.upstreams.map(({ name, requests, failures, active, healthy }) => ({
      listener,
      route: path,
      name,
      requests,
      failures,
      active,
      healthy,
    })),
  );
}

/** What is known about an upstream outlives a reload: its counts, and that it is down. */
export function inherit(before: CompiledRoutes, after: CompiledRoutes): void {
  for (const { path, handler, checked } of after.proxies) {
    const old = before.proxies.find((proxy) => proxy.path === path)?.handler.state.upstreams ?? [];
    for (const upstream of handler.state.upstreams) {
      const known = old.find(({ name }) => name === upstream.name);
      if (known === undefined) continue;
      upstream.requests = known.requests;
      upstream.failures = known.failures;
      upstream.restingUntilMs = known.restingUntilMs;
      if (checked) upstream.healthy = known.healthy;
    }
  }
}

/** Ends what is idle; answers under way complete. */
export function closeRoutes(routes: CompiledRoutes): void {
  closeHandlers(routes.proxies, routes.files);
}

function closeHandlers(proxies: readonly CompiledProxy[], served: readonly FilesHandler[]): void {
  for (const { handler } of proxies) handler.close();
  for (const handler of served) handler.close();
}

function respond(settings: RespondConfiguration): Handler {
  const body = Buffer.from(settings.body, 'utf8');
  const headers = Object.entries(settings.headers);
  const handler: Handler = (_request, response) => {
    response.status = settings.status;
    for (const [name, value] of headers) response.header(name, value);
    // No content has no type.
    if (body.length === 0) response.empty(settings.status);
    else response.bytes(body, 'text/plain; charset=utf-8');
  };
  return Object.assign(handler, { leavesNothing: true });
}

/**
 * Room `gateway`: what one thread of the gateway runs: a listener and an HTTP server for each listener of the configuration,
 * their routes, the access log, the counts.
 *
 * A newcomer would get wrong: a reload keeps listeners whose address stays, with their connections; only what routes and limits
 * say is exchanged. A reload that fails leaves everything as it was.
 */
import type { EngineStatistics } from '../engine/engine.ts';
import { type FilesHandler, files } from '../http/files.ts';
import { type ProxyHandler, proxy } from '../http/proxy.ts';
import type { Request } from '../http/request.ts';
import type { Response } from '../http/response.ts';
import { type Handler, Routes } from '../http/routes.ts';
import { HttpServer } from '../http/server.ts';
import { formatAddress } from '../kernel/address.ts';
import { listen } from '../net/listen.ts';
import type { Listener } from '../net/listener.ts';
import { runtime, useEngine } from '../net/runtime.ts';
import { AccessLog } from './access-log.ts';
import type {
  Configuration,
  ListenerConfiguration,
  RespondConfiguration,
  RouteConfiguration,
} from './configuration.ts';

export interface ListenerReport {
  readonly address: string;
  readonly protocol: string;
  readonly engine: string;
  readonly reason: string;
}

export interface UpstreamReport {
  readonly route: string;
  readonly name: string;
  readonly requests: number;
  readonly failures: number;
  readonly active: number;
  readonly healthy: boolean;
}

/** The counts of one worker since its start; plain data, so that it can cross threads. */
export interface WorkerReport {
  readonly listeners: readonly { readonly address: string; readonly accepts: number; readonly connections: number }[];
  /** Answers by listener and status, bytes of content and time from head to last byte. */
  readonly answers: readonly { readonly address: string; readonly status: number; readonly count: number }[];
  readonly contentBytes: number;
  readonly durationMs: number;
  readonly refused: number;
  readonly upstreams: readonly UpstreamReport[];
  readonly engine: { readonly name: string } & EngineStatistics;
  readonly accessLogDropped: number;
}

interface Service {
  readonly key: string;
  readonly server: HttpServer;
  readonly listener: Listener;
  routes: CompiledRoutes;
}

interface CompiledRoutes {
  readonly routes: Routes;
  readonly proxies: readonly { readonly path: string; readonly handler: ProxyHandler }[];
  readonly files: readonly FilesHandler[];
}

const STATUS_MAX = 600;

export class GatewayWorker {
  private services: Service[] = [];
  private readonly counts = new Map<string, Float64Array>();
  private contentBytes = 0;
  private durationMs = 0;
  private refused = 0;
  private accessLog: AccessLog | null = null;
  private readonly log: (line: string) => void;
  /** Whether other workers listen on the same addresses. */
  private readonly shared: boolean;
  /** Unix sockets cannot be shared; the first worker has them. */
  private readonly first: boolean;

  constructor(log: (line: string) => void, index: number, count: number) {
    this.log = log;
    this.shared = count > 1;
    this.first = index === 0;
  }

  /** @throws KernelError where an address cannot be listened on; nothing stays open then */
  async start(configuration: Configuration): Promise<ListenerReport[]> {
    useEngine(configuration.engine);
    this.accessLog = this.openLog(configuration);
    try {
      for (const listener of this.mine(configuration)) this.services.push(await this.open(listener, configuration));
    } catch (error) {
      await this.close();
      throw error;
    }
    return this.listeners(configuration);
  }

  private mine(configuration: Configuration): readonly ListenerConfiguration[] {
    return configuration.listeners.filter((listener) => this.first || listener.address.socket.family !== 'unix');
  }

  private openLog(configuration: Configuration): AccessLog | null {
    const settings = configuration.accessLog;
    return settings === null ? null : new AccessLog(settings.file, settings.format, this.log);
  }

  private async open(listener: ListenerConfiguration, configuration: Configuration): Promise<Service> {
    const address = listener.address.socket;
    const key = listener.address.text;
    const routes = this.compile(listener);
    let counts = this.counts.get(key);
    if (counts === undefined) {
      counts = new Float64Array(STATUS_MAX);
      this.counts.set(key, counts);
    }
    const server = new HttpServer(routes.routes, {
      limits: configuration.limits,
      serverName: configuration.serverName,
      observe: (request, response) => this.observe(counts, request, response),
      refused: (_connection, status) => {
        this.refused++;
        counts[status]++;
      },
      failed: (error, request) => this.log(`500 for ${request.method} ${request.path}: ${String(error)}`),
    });
    const target = address.family === 'unix' ? { path: address.path } : { host: address.address, port: address.port };
    try {
      const opened = await listen(
        {
          ...target,
          backlog: listener.backlog,
          reusePort: (this.shared || listener.reusePort) && address.family !== 'unix',
          ipv6Only: listener.ipv6Only,
          halfOpen: true,
          connectionsMax: configuration.limits.connections,
          events: { exhausted: () => this.log(`${key}: descriptors or memory ran out; accepting rests for a moment`) },
        },
        server.handler,
      );
      return { key, server, listener: opened as Listener, routes };
    } catch (error) {
      closeRoutes(routes);
      throw error;
    }
  }

  private compile(listener: ListenerConfiguration): CompiledRoutes {
    const proxies: { path: string; handler: ProxyHandler }[] = [];
    const served: FilesHandler[] = [];
    const routes = listener.routes.map((route) => {
      const handler = this.handler(route);
      if ('state' in handler) proxies.push({ path: route.path, handler: handler as ProxyHandler });
      else if ('close' in handler) served.push(handler as FilesHandler);
      return { path: route.path, handler };
    });
    return { routes: new Routes(routes), proxies, files: served };
  }

  private handler(route: RouteConfiguration): Handler | ProxyHandler | FilesHandler {
    const { action } = route;
    if (action.kind === 'respond') return respond(action);
    if (action.kind === 'files') return files(action.root, action);
    const { upstreams, healthCheck, ...settings } = action;
    return proxy(
      upstreams.map(({ address, weight }) => ({ address: address.text, weight })),
      { ...settings, log: this.log, ...(healthCheck === null ? {} : { healthCheck }) },
    );
  }

  private observe(counts: Float64Array, request: Request, response: Response): void {
    counts[response.status]++;
    this.contentBytes += response.bodyBytes;
    const durationMs = runtime().timers.nowMs - request.startedMs;
    this.durationMs += durationMs;
    this.accessLog?.record(request, response, durationMs);
  }

  listeners(configuration: Configuration): ListenerReport[] {
    const protocols = new Map(configuration.listeners.map((listener) => [listener.address.text, listener.protocol]));
    return this.services.map(({ key, listener }) => ({
      // The port that the kernel chose, where the configuration says 0.
      address: listener.address === null ? key : formatAddress(listener.address),
      protocol: protocols.get(key) ?? 'http',
      engine: listener.engine.name,
      reason: listener.engine.reason,
    }));
  }

  /**
   * Takes another configuration without dropping a connection.
   * @throws KernelError where a new address cannot be listened on; the old configuration stays in force
   */
  async reload(configuration: Configuration): Promise<ListenerReport[]> {
    const wanted = this.mine(configuration);
    const known = new Map(this.services.map((service) => [service.key, service]));
    const opened: Service[] = [];
    const compiled = new Map<Service, CompiledRoutes>();
    let accessLog: AccessLog | null = null;
    try {
      accessLog = this.openLog(configuration);
      for (const listener of wanted) {
        const service = known.get(listener.address.text);
        if (service === undefined) opened.push(await this.open(listener, configuration));
        else compiled.set(service, this.compile(listener));
      }
    } catch (error) {
      for (const service of opened) await this.endService(service);
      for (const routes of compiled.values()) closeRoutes(routes);
      await accessLog?.close();
      throw error;
    }
    const before = this.accessLog;
    this.accessLog = accessLog;
    await before?.close();
    const gone = this.services.filter((service) => !compiled.has(service));
    for (const [service, routes] of compiled) {
      closeRoutes(service.routes);
      service.routes = routes;
      service.server.reconfigure(routes.routes, configuration.limits);
      service.listener.connectionsMax = configuration.limits.connections;
    }
    this.services = [...compiled.keys(), ...opened];
    for (const service of gone) void this.endService(service);
    return this.listeners(configuration);
  }

  private async endService(service: Service): Promise<void> {
    service.server.draining = true;
    const closed = service.listener.close();
    service.server.closeIdle(service.listener);
    await closed;
    closeRoutes(service.routes);
  }

  /** Accepts no more and completes what is under way, for at most `timeoutMs`; then cuts what is left. */
  async drain(timeoutMs: number): Promise<void> {
    const services = this.services;
    this.services = [];
    const ended = Promise.all(services.map((service) => this.endService(service)));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), timeoutMs);
    });
    if ((await Promise.race([ended, late])) === 'late') {
      const left = services.reduce((sum, { listener }) => sum + listener.connections.size, 0);
      this.log(`${left} connections were cut after ${timeoutMs} ms of draining`);
      for (const { listener } of services) void listener.abort();
      await ended;
    }
    clearTimeout(timer);
    await this.accessLog?.close();
    this.accessLog = null;
  }

  async close(): Promise<void> {
    await this.drain(0);
  }

  async reopenLog(): Promise<void> {
    await this.accessLog?.reopen();
  }

  report(): WorkerReport {
    const engine = runtime().engine;
    const answers: { address: string; status: number; count: number }[] = [];
    for (const [address, counts] of this.counts) {
      for (let status = 0; status < STATUS_MAX; status++)
        if (counts[status] > 0) answers.push({ address, status, count: counts[status] });
    }
    return {
      listeners: this.services.map(({ key, listener }) => ({
        address: key,
        accepts: listener.accepts,
        connections: listener.connections.size,
      })),
      answers,
      contentBytes: this.contentBytes,
      durationMs: this.durationMs,
      refused: this.refused,
      upstreams: this.services.flatMap(({ routes }) =>
        routes.proxies.flatMap(({ path, handler }) =>
          handler.state.upstreams.map(({ name, requests, failures, active, healthy }) => ({
            route: path,
            name,
            requests,
            failures,
            active,
            healthy,
          })),
        ),
      ),
      engine: { name: engine.name, ...engine.statistics },
      accessLogDropped: this.accessLog?.dropped ?? 0,
    };
  }
}

function closeRoutes(routes: CompiledRoutes): void {
  for (const { handler } of routes.proxies) handler.close();
  for (const handler of routes.files) handler.close();
}

function respond(settings: RespondConfiguration): Handler {
  const body = Buffer.from(settings.body, 'utf8');
  const headers = Object.entries(settings.headers);
  return (_request, response) => {
    response.status = settings.status;
    for (const [name, value] of headers) response.header(name, value);
    response.bytes(body, 'text/plain; charset=utf-8');
  };
}

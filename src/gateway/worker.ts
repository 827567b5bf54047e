/**
 * Room `gateway`: what one thread of the gateway runs: a listener and an HTTP server for each listener of the configuration,
 * their routes, the access log, the counts.
 *
 * A newcomer would get wrong: a reload keeps listeners whose address stays, with their connections; only what routes and limits
 * say is exchanged. A reload that fails leaves everything as it was.
 */
import type { Request } from '../http/request.ts';
import type { Response } from '../http/response.ts';
import { HttpServer } from '../http/server.ts';
import { formatAddress } from '../kernel/address.ts';
import { listen } from '../net/listen.ts';
import type { Listener } from '../net/listener.ts';
import { runtime, useEngine } from '../net/runtime.ts';
import { AccessLog } from './access-log.ts';
import { type CompiledRoutes, closeRoutes, compileRoutes, inherit, upstreamsOf } from './compile.ts';
import type { Configuration, ListenerConfiguration } from './configuration.ts';
import { keysOf } from './fixed.ts';
import type { ListenerReport, WorkerReport } from './report.ts';

interface Service {
  readonly key: string;
  /** The address for logs and metrics. */
  readonly label: string;
  readonly server: HttpServer;
  readonly listener: Listener;
  readonly counts: Counts;
  routes: CompiledRoutes;
}

interface Counts {
  readonly byStatus: Float64Array;
  accepts: number;
  turnedAway: number;
}

const STATUS_MAX = 600;

export class GatewayWorker {
  /** It lives as long as the thread that asks. */
  readonly alive = true;
  private services: Service[] = [];
  /** No longer listening; what they had accepted completes. */
  private readonly ending = new Set<Service>();
  /** By label, also of listeners that are gone: a counter never goes back. */
  private readonly counts = new Map<string, Counts>();
  private contentBytes = 0;
  private durationMs = 0;
  private refused = 0;
  private accessLog: AccessLog | null = null;
  private linesDropped = 0;
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
      for (const [key, listener] of this.mine(configuration)) {
        this.services.push(await this.open(key, listener, configuration));
      }
    } catch (error) {
      await this.close();
      throw error;
    }
    return this.listeners(configuration);
  }

  private mine(configuration: Configuration): readonly (readonly [string, ListenerConfiguration])[] {
    const keys = keysOf(configuration.listeners);
    return configuration.listeners
      .map((listener, index) => [keys[index], listener] as const)
      .filter(([, listener]) => this.first || listener.address.socket.family !== 'unix');
  }

  private openLog(configuration: Configuration): AccessLog | null {
    const settings = configuration.accessLog;
    return settings === null ? null : new AccessLog(settings.file, settings.format, this.log);
  }

  private async closeLog(log: AccessLog | null): Promise<void> {
    if (log === null) return;
    await log.close();
    this.linesDropped += log.dropped;
  }

  private countsOf(label: string): Counts {
    let counts = this.counts.get(label);
    if (counts === undefined) {
      counts = { byStatus: new Float64Array(STATUS_MAX), accepts: 0, turnedAway: 0 };
      this.counts.set(label, counts);
    }
    return counts;
  }

  private async open(key: string, listener: ListenerConfiguration, configuration: Configuration): Promise<Service> {
    const address = listener.address.socket;
    const routes = compileRoutes(listener, this.log);
    // Port 0 is known only once the socket is bound, before the first client is accepted.
    let counts = this.countsOf(key);
    const server = new HttpServer(routes.routes, {
      limits: configuration.limits,
      serverName: configuration.serverName,
      observe: (request, response) => this.observe(counts, request, response),
      refused: (connection, status) => {
        this.refused++;
        counts.byStatus[status]++;
        this.accessLog?.recordRefused(connection.remoteAddress, status);
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
          events: {
            dropped: () => {
              counts.turnedAway++;
            },
            exhausted: () => this.log(`${key}: descriptors or memory ran out; accepting rests for a moment`),
          },
        },
        server.handler,
      );
      const label = opened.address === null ? key : formatAddress(opened.address);
      this.counts.delete(key);
      counts = this.countsOf(label);
      return { key, label, server, listener: opened as Listener, counts, routes };
    } catch (error) {
      closeRoutes(routes);
      throw error;
    }
  }

  private observe(counts: Counts, request: Request, response: Response): void {
    counts.byStatus[response.status]++;
    this.contentBytes += response.bodyBytes;
    const durationMs = runtime().timers.nowMs - request.startedMs;
    this.durationMs += durationMs;
    this.accessLog?.record(request, response, durationMs);
  }

  /** In the order of the configuration, of those that this worker has. */
  private listeners(configuration: Configuration): ListenerReport[] {
    const services = new Map(this.services.map((service) => [service.key, service]));
    return this.mine(configuration).map(([key, { protocol }]) => {
      const { label, listener } = services.get(key)!;
      const { name, reason } = listener.engine;
      return { address: label, socket: listener.address, protocol, engine: name, reason };
    });
  }

  /**
   * Takes another configuration without dropping a connection.
   * @throws KernelError where a new address cannot be listened on; the old configuration stays in force
   */
  async reload(configuration: Configuration): Promise<ListenerReport[]> {
    const known = new Map(this.services.map((service) => [service.key, service]));
    const opened: Service[] = [];
    const compiled = new Map<Service, CompiledRoutes>();
    const services: Service[] = [];
    let accessLog: AccessLog | null = null;
    try {
      accessLog = this.openLog(configuration);
      for (const [key, listener] of this.mine(configuration)) {
        let service = known.get(key);
        if (service !== undefined) compiled.set(service, compileRoutes(listener, this.log));
        else {
          service = await this.open(key, listener, configuration);
          opened.push(service);
        }
        services.push(service);
      }
    } catch (error) {
      await this.retire(opened, 0);
      for (const routes of compiled.values()) closeRoutes(routes);
      await accessLog?.close();
      throw error;
    }
    // From here on nothing can fail, and no event comes in between: requests see the old configuration or the new one.
    const log = this.accessLog;
    const gone = this.services.filter((service) => !compiled.has(service));
    this.accessLog = accessLog;
    this.services = services;
    for (const [service, routes] of compiled) {
      inherit(service.routes, routes);
      closeRoutes(service.routes);
      service.routes = routes;
      service.server.reconfigure(routes.routes, configuration.limits);
      service.listener.connectionsMax = configuration.limits.connections;
    }
    void this.retire(gone, configuration.drainTimeoutMs);
    const reports = this.listeners(configuration);
    await this.closeLog(log);
    return reports;
  }

  /** Accepts no more and completes what is under way, for at most `timeoutMs`; then cuts what is left. */
  private async retire(services: readonly Service[], timeoutMs: number): Promise<void> {
    const left = (): number => services.reduce((sum, { listener }) => sum + listener.connections.size, 0);
    const timer = setTimeout(() => {
      if (left() > 0) this.log(`${left()} connections were cut after ${timeoutMs} ms of draining`);
      for (const { listener } of services) void listener.abort();
    }, timeoutMs);
    await Promise.all(services.map((service) => this.endService(service)));
    clearTimeout(timer);
  }

  private async endService(service: Service): Promise<void> {
    this.ending.add(service);
    service.server.draining = true;
    const closed = service.listener.close();
    service.server.closeIdle(service.listener);
    await closed;
    closeRoutes(service.routes);
    service.counts.accepts += service.listener.accepts;
    this.ending.delete(service);
  }

  /** Ends everything, what a reload left to complete included. */
  async drain(timeoutMs: number): Promise<void> {
    const before = [...this.ending];
    const services = this.services;
    this.services = [];
    // Those have timers of their own, which may be longer than what is given now.
    const timer = setTimeout(() => {
      for (const { listener } of before) void listener.abort();
    }, timeoutMs);
    await this.retire(services, timeoutMs);
    await Promise.all(before.map(({ listener }) => listener.close()));
    clearTimeout(timer);
    await this.closeLog(this.accessLog);
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
    for (const [address, { byStatus }] of this.counts) {
      for (let status = 0; status < STATUS_MAX; status++)
        if (byStatus[status] > 0) answers.push({ address, status, count: byStatus[status] });
    }
    return {
      listeners: this.listenerCounts(),
      answers,
      contentBytes: this.contentBytes,
      durationMs: this.durationMs,
      refused: this.refused,
      upstreams: this.services.flatMap(({ label, routes }) => upstreamsOf(label, routes)),
      engine: { name: engine.name, ...engine.statistics },
      accessLogDropped: this.linesDropped + (this.accessLog?.dropped ?? 0),
    };
  }

  private listenerCounts(): WorkerReport['listeners'] {
    const serving = [...this.services, ...this.ending];
    return [...this.counts].map(([address, { accepts, turnedAway }]) => {
      const here = serving.filter(({ label }) => label === address).map(({ listener }) => listener);
      return {
        address,
        accepts: here.reduce((sum, listener) => sum + listener.accepts, accepts),
        connections: here.reduce((sum, listener) => sum + listener.connections.size, 0),
        turnedAway,
      };
    });
  }
}

/**
 * Room `http`: active health checks: each upstream is asked for a path at an interval, and counts as unhealthy or healthy
 * after so many answers in a row say so.
 *
 * A newcomer would get wrong: a check uses a connection of its own, so that it also finds out whether the upstream accepts.
 */
import { connectTo } from '../net/connect.ts';
import type { Upstream } from './upstream.ts';

export interface HealthCheckOptions {
  /** The path asked for; a status from 200 to 399 is healthy. */
  readonly path: string;
  /** In ms. Default 2,000. */
  readonly intervalMs?: number;
  /** For one check, in ms. Default the interval. */
  readonly timeoutMs?: number;
  /** Failures in a row. Default 3. */
  readonly unhealthyAfter?: number;
  /** Successes in a row. Default 2. */
  readonly healthyAfter?: number;
}

const STATUS_AT = 9;

export class HealthChecks {
  private readonly timer: NodeJS.Timeout;
  private readonly options: HealthCheckOptions;
  private readonly log: (line: string) => void;
  /** Results in a row that contradict what is believed, for each upstream. */
  private readonly contrary = new Map<Upstream, number>();
  private readonly underWay = new Set<{ destroy(): void }>();

  constructor(upstreams: readonly Upstream[], options: HealthCheckOptions, log: (line: string) => void) {
    this.options = options;
    this.log = log;
    this.timer = setInterval(() => {
      for (const upstream of upstreams) this.check(upstream);
    }, options.intervalMs ?? 2000);
    this.timer.unref();
    for (const upstream of upstreams) this.check(upstream);
  }

  private check(upstream: Upstream): void {
    const timeoutMs = this.options.timeoutMs ?? this.options.intervalMs ?? 2000;
    let answer = '';
    let settled = false;
    const settle = (healthy: boolean, why: string): void => {
      if (settled) return;
      settled = true;
      this.underWay.delete(connection);
      this.count(upstream, healthy, why);
      connection.destroy();
    };
    const connection = connectTo(
      [upstream.address],
      { timeoutMs },
      {
        open: (opened) => {
          opened.setDeadline(timeoutMs);
          opened.write(
            `GET ${this.options.path} HTTP/1.1\r\nHost: ${upstream.host}\r\nUser-Agent: millrace-health\r\nConnection: close\r\n\r\n`,
          );
        },
        data: (_connection, chunk) => {
          answer += Buffer.from(chunk).toString('latin1');
          if (answer.length < STATUS_AT + 4) return;
          const status = /^HTTP\/1\.[01] (\d{3})[ \r]/.exec(answer)?.[1];
          const healthy = status !== undefined && Number(status) >= 200 && Number(status) < 400;
          settle(healthy, status === undefined ? 'no HTTP answer' : `status ${status}`);
        },
        end: () => settle(false, 'closed without an answer'),
        timeout: () => settle(false, `no answer within ${timeoutMs} ms`),
        error: (_connection, error) => settle(false, error.message),
        close: () => settle(false, 'closed'),
      },
    );
    this.underWay.add(connection);
    connection.unref();
  }

  private closed = false;

  private count(upstream: Upstream, healthy: boolean, why: string): void {
    if (this.closed) return;
    if (healthy === upstream.healthy) {
      this.contrary.delete(upstream);
      return;
    }
    const count = (this.contrary.get(upstream) ?? 0) + 1;
    const needed = healthy ? (this.options.healthyAfter ?? 2) : (this.options.unhealthyAfter ?? 3);
    if (count < needed) {
      this.contrary.set(upstream, count);
      return;
    }
    this.contrary.delete(upstream);
    upstream.healthy = healthy;
    if (healthy) upstream.succeeded();
    else upstream.closeIdle();
    this.log(`${upstream.name} is ${healthy ? 'healthy' : 'unhealthy'}: ${why}`);
  }

  /** Ends the checks, those under way included; nothing is concluded from these. */
  close(): void {
    clearInterval(this.timer);
    this.closed = true;
    for (const connection of this.underWay) connection.destroy();
    this.underWay.clear();
  }
}

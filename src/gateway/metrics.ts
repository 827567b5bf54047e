/**
 * Room `gateway`: the reports of all workers as Prometheus metrics.
 *
 * A newcomer would get wrong: the workers count, this only adds up at the moment of the scrape; counters are set to the sums.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import { getDescriptorLimit } from '../kernel/limits.ts';
import { descriptorCount } from '../kernel/procfs.ts';
import type { WorkerReport } from './report.ts';

export class Metrics {
  private readonly registry = new Registry();
  private readonly counters = new Map<string, Counter>();
  private readonly gauges = new Map<string, Gauge>();

  private counter(name: string, help: string, labelNames: string[] = []): Counter {
    let counter = this.counters.get(name);
    if (counter === undefined) {
      counter = new Counter({ name, help, labelNames, registers: [this.registry] });
      this.counters.set(name, counter);
    }
    return counter;
  }

  private gauge(name: string, help: string, labelNames: string[] = []): Gauge {
    let gauge = this.gauges.get(name);
    if (gauge === undefined) {
      gauge = new Gauge({ name, help, labelNames, registers: [this.registry] });
      this.gauges.set(name, gauge);
    }
    return gauge;
  }

  /** The text of `GET /metrics`. */
  async render(reports: readonly WorkerReport[]): Promise<string> {
    for (const counter of this.counters.values()) counter.reset();
    for (const gauge of this.gauges.values()) gauge.reset();
    for (const report of reports) this.add(report);
    this.addProcess(reports.length);
    return this.registry.metrics();
  }

  private add(report: WorkerReport): void {
    const answers = this.counter('millrace_http_responses_total', 'Answers by listener and status', [
      'listener',
      'status',
    ]);
    for (const { address, status, count } of report.answers)
      answers.inc({ listener: address, status: String(status) }, count);
    this.counter('millrace_http_refused_total', 'Requests refused before any route saw them').inc(report.refused);
    this.counter('millrace_http_content_bytes_total', 'Bytes of content sent').inc(report.contentBytes);
    this.counter('millrace_http_duration_seconds_total', 'Time from complete head to last byte written, added up').inc(
      report.durationMs / 1000,
    );
    const accepts = this.counter('millrace_connections_accepted_total', 'Connections accepted', ['listener']);
    const open = this.gauge('millrace_connections_open', 'Connections open now', ['listener']);
    const away = this.counter('millrace_connections_turned_away_total', 'Clients beyond limits.connections', [
      'listener',
    ]);
    for (const { address, accepts: accepted, connections, turnedAway } of report.listeners) {
      away.inc({ listener: address }, turnedAway);
      accepts.inc({ listener: address }, accepted);
      open.inc({ listener: address }, connections);
    }
    this.addUpstreams(report);
    const engine = { engine: report.engine.name };
    this.counter('millrace_engine_waits_total', 'Times the engine waited in the kernel', ['engine']).inc(
      engine,
      report.engine.waits,
    );
    this.counter('millrace_engine_events_total', 'Events delivered', ['engine']).inc(engine, report.engine.events);
    this.counter('millrace_engine_system_calls_total', 'System calls made by the engine', ['engine']).inc(
      engine,
      report.engine.systemCalls,
    );
    this.counter('millrace_engine_blocks_exhausted_total', 'Times receiving waited for a free block', ['engine']).inc(
      engine,
      report.engine.blocksExhausted,
    );
    this.counter('millrace_engine_overflows_total', 'Overflows of the completion queue', ['engine']).inc(
      engine,
      report.engine.overflows,
    );
    this.counter('millrace_access_log_dropped_total', 'Lines of the access log that were not written').inc(
      report.accessLogDropped,
    );
  }

  private addUpstreams(report: WorkerReport): void {
    const labels = ['listener', 'route', 'upstream'];
    const requests = this.counter('millrace_upstream_requests_total', 'Requests sent to an upstream', labels);
    const failures = this.counter('millrace_upstream_failures_total', 'Failures of an upstream', labels);
    const active = this.gauge('millrace_upstream_active', 'Requests under way at an upstream', labels);
    const healthy = this.gauge('millrace_upstream_healthy', 'Workers that take the upstream for healthy', labels);
    for (const upstream of report.upstreams) {
      const label = { listener: upstream.listener, route: upstream.route, upstream: upstream.name };
      requests.inc(label, upstream.requests);
      failures.inc(label, upstream.failures);
      active.inc(label, upstream.active);
      healthy.inc(label, upstream.healthy ? 1 : 0);
    }
  }

  private addProcess(workers: number): void {
    const cpu = process.cpuUsage();
    this.counter('process_cpu_seconds_total', 'CPU time of the process').inc((cpu.user + cpu.system) / 1e6);
    this.gauge('process_resident_memory_bytes', 'Resident memory').set(process.memoryUsage.rss());
    this.gauge('process_start_time_seconds', 'When the process was started').set(Date.now() / 1000 - process.uptime());
    this.gauge('process_open_fds', 'Open descriptors').set(descriptorCount());
    const limit = getDescriptorLimit();
    if (typeof limit !== 'number') this.gauge('process_max_fds', 'Limit of open descriptors').set(limit.soft);
    this.gauge('millrace_workers', 'Worker threads').set(workers);
  }
}

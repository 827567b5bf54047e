/**
 * Room `gateway`: the admin listener: `GET /healthz` and `GET /metrics`, apart from traffic.
 */

import { type Serving, serve } from '../http/serve.ts';
import type { SocketAddress } from '../kernel/address.ts';
import { Metrics } from './metrics.ts';
import type { WorkerReport } from './worker.ts';

export interface AdminSource {
  /** Whether every listener is ready and the gateway does not drain. */
  readonly ready: boolean;
  reports(): Promise<readonly WorkerReport[]>;
}

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** @throws KernelError where the address cannot be listened on */
export function startAdmin(address: SocketAddress, source: AdminSource): Promise<Serving> {
  const metrics = new Metrics();
  const target = address.family === 'unix' ? { path: address.path } : { host: address.address, port: address.port };
  return serve(target, {
    '/healthz': (_request, response) => {
      response.status = source.ready ? 200 : 503;
      response.text(source.ready ? 'ok\n' : 'draining\n');
    },
    '/metrics': async (_request, response) => {
      response.bytes(Buffer.from(await metrics.render(await source.reports()), 'utf8'), METRICS_TYPE);
    },
  });
}

/**
 * Room `gateway`: the admin listener: `GET /healthz` and `GET /metrics`, apart from traffic.
 */

import type { Request } from '../http/request.ts';
import type { Response } from '../http/response.ts';
import { type Serving, serve } from '../http/serve.ts';
import type { SocketAddress } from '../kernel/address.ts';
import { Metrics } from './metrics.ts';
import type { WorkerReport } from './report.ts';

export interface AdminSource {
  /** `ok` when every listener is ready; else what is not. */
  readonly state: string;
  reports(): Promise<readonly WorkerReport[]>;
}

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** @throws KernelError where the address cannot be listened on */
export function startAdmin(address: SocketAddress, source: AdminSource): Promise<Serving> {
  const metrics = new Metrics();
  const target = address.family === 'unix' ? { path: address.path } : { host: address.address, port: address.port };
  return serve(target, {
    '/healthz': (request, response) => {
      if (refuses(request, response)) return;
      const state = source.state;
      response.status = state === 'ok' ? 200 : 503;
      response.text(`${state}\n`);
    },
    '/metrics': async (request, response) => {
      if (refuses(request, response)) return;
      response.bytes(Buffer.from(await metrics.render(await source.reports()), 'utf8'), METRICS_TYPE);
    },
  });
}

/** Both are for reading alone. */
function refuses(request: Request, response: Response): boolean {
  if (request.isGetOrHead) return false;
  response.status = 405;
  response.header('Allow', 'GET, HEAD');
  response.text('405 Method Not Allowed\n');
  return true;
}

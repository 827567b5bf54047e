/**
 * Room `gateway`: what `millrace up` runs without a configuration: a small site, two upstreams, and the proxy before them, all
 * in this process, all real.
 */
import { fileURLToPath } from 'node:url';
import { type Serving, serve } from '../http/serve.ts';
import { useEngine } from '../net/runtime.ts';
import type { Configuration } from './configuration.ts';
import { parseConfiguration } from './read.ts';

const SITE = fileURLToPath(new URL('./demonstration', import.meta.url));

export interface Demonstration {
  readonly configuration: Configuration;
  close(): Promise<void>;
}

/** A plain server that says who it is, so that the proxy's choice shows. */
async function startUpstream(name: string): Promise<Serving> {
  let requests = 0;
  return serve(
    { host: '127.0.0.1', port: 0, serverName: name },
    {
      '/': (request, response) => {
        requests++;
        response.json({
          upstream: name,
          requests,
          method: request.method,
          path: request.path,
          forwardedFor: request.header('x-forwarded-for'),
        });
      },
      '/healthz': (_request, response) => response.text('ok\n'),
    },
  );
}

export interface DemonstrationPorts {
  /** 0 to 65535; 0 lets the kernel choose. */
  readonly port: number;
  readonly adminPort: number;
}

/** Starts the upstreams and makes the configuration for the gateway before them. */
export async function startDemonstration(
  settings: DemonstrationPorts & { readonly engine: Configuration['engine']; readonly workers: number },
): Promise<Demonstration> {
  // The upstreams are the first to need an engine; the gateway has no choice after them.
  useEngine(settings.engine);
  const upstreams = await Promise.all([startUpstream('left'), startUpstream('right')]);
  const text = `
engine: ${settings.engine}
workers: ${settings.workers}
admin: 127.0.0.1:${settings.adminPort}
listeners:
  - address: 127.0.0.1:${settings.port}
    routes:
      - path: /
        files: { root: ${JSON.stringify(SITE)} }
      - path: /hello
        respond: { body: "hello from Millrace\\n" }
      - path: /api/
        proxy:
          upstreams: [${upstreams.map(({ port }) => `127.0.0.1:${port}`).join(', ')}]
          healthCheck: { path: /healthz, interval: 2s }
`;
  return {
    configuration: parseConfiguration(text, 'the embedded demonstration'),
    async close() {
      await Promise.all(upstreams.map((upstream) => upstream.close(1000)));
    },
  };
}

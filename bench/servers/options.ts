/**
 * The command line that every server of this folder takes: `--port N`, and Millrace's also `--engine NAME`.
 */
import { parseArgs } from 'node:util';
import type { EngineChoice } from '../../src/engine/choose.ts';

export interface ServerOptions {
  readonly port: number;
  readonly engine: EngineChoice;
  readonly root: string;
  readonly upstream: string;
}

export function serverOptions(): ServerOptions {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '8080' },
      engine: { type: 'string', default: 'auto' },
      root: { type: 'string', default: '.' },
      upstream: { type: 'string', default: '127.0.0.1:9001' },
    },
  });
  return {
    port: Number(values.port),
    engine: values.engine as EngineChoice,
    root: values.root,
    upstream: values.upstream,
  };
}

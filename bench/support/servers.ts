/**
 * The contestants whose source lies here: Millrace's servers, Node's own, and the C programs that set the floor.
 */
import { join } from 'node:path';
import type { Contestant } from './contestant.ts';
import { benchFolder } from './session.ts';

/** What every server of the http benchmark answers with: 13 bytes. */
export const BODY = 'Hello, World!';

export type BenchEngine = 'io_uring' | 'epoll';
export const engines: readonly BenchEngine[] = ['io_uring', 'epoll'];

function script(name: string, title: string, file: string, ...options: string[]): Contestant {
  return {
    name,
    title,
    command: (_session, port) => [
      process.execPath,
      join(benchFolder, 'servers', file),
      '--port',
      String(port),
      ...options,
    ],
  };
}

/** bench/servers/FILE.ts on one engine; it goes by the name "millrace-ENGINE", or "millrace-FILE-ENGINE" with `distinct`. */
export function millrace(
  file: string,
  engine: BenchEngine,
  what: string,
  distinct: boolean,
  ...options: string[]
): Contestant {
  const name = distinct ? `millrace-${file}-${engine}` : `millrace-${engine}`;
  return script(name, `Millrace ${engine}${what}`, `${file}.ts`, '--engine', engine, ...options);
}

export const nodeHttp: Contestant = script('node-http', 'node:http', 'node-http.ts');
export const nodeNetFixed: Contestant = script('node-net', 'node:net, fixed response', 'node-net-fixed.ts');
export const nodeNetEcho: Contestant = script('node-net', 'node:net', 'node-net-echo.ts');

function program(name: string, title: string): Contestant {
  return {
    name,
    title,
    needs: ['cc'],
    command: async (session, port) => [await session.compile(name), String(port)],
  };
}

export const httpFloor: Contestant = program('uring-http-floor', 'C on io_uring, fixed response');
export const echoFloor: Contestant = program('uring-echo', 'C on io_uring');

/**
 * The peers that others wrote, each configured as somebody would who wants it fast: nginx with one worker, HAProxy with one
 * thread, Bun. Their configuration goes into the session's folder.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Contestant } from './contestant.ts';
import { findProgram } from './machine.ts';
import { BODY } from './servers.ts';
import { benchFolder, type Session } from './session.ts';

/** Writes an nginx configuration with this in its http block and answers the command that serves by it. */
function nginxCommand(session: Session, port: number, http: string): string[] {
  const prefix = join(session.folder, `nginx-${port}`);
  mkdirSync(join(prefix, 'temporary'), { recursive: true });
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `  ${kind}_temp_path temporary;`,
  );
  const lines = [
    'daemon off;',
    'worker_processes 1;',
    'pid nginx.pid;',
    'error_log stderr error;',
    'events { worker_connections 16384; }',
    'http {',
    ...temporary,
    '  access_log off;',
    '  keepalive_requests 1000000000;',
    '  keepalive_timeout 1h;',
    '  types { application/octet-stream bin; }',
    http,
    '}',
  ];
  writeFileSync(join(prefix, 'nginx.conf'), `${lines.join('\n')}\n`);
  return [findProgram('nginx')!, '-p', prefix, '-c', 'nginx.conf', '-e', 'stderr'];
}

const server = (port: number, location: string): string =>
  `  server { listen 127.0.0.1:${port} backlog=4096; location / { ${location} } }`;

export const nginx: Contestant = {
  name: 'nginx',
  title: 'nginx',
  needs: ['nginx'],
  command: (session, port) =>
    nginxCommand(session, port, server(port, `default_type text/plain; return 200 "${BODY}";`)),
};

export function nginxStatic(name: string, root: string, cache: string): Contestant {
  return {
    name,
    title: `nginx, ${cache === 'off' ? 'sendfile' : 'sendfile, open_file_cache'}`,
    needs: ['nginx'],
    command: (session, port) =>
      nginxCommand(
        session,
        port,
        `  sendfile on; tcp_nopush on; open_file_cache ${cache};\n${server(port, `root ${root};`)}`,
      ),
  };
}

/** Holds a 64 KB body whole; nginx's defaults (8 of 4 KB) spill it to a file. */
export function nginxProxy(upstream: number): Contestant {
  const location =
    'proxy_pass http://upstream; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffers 8 32k;';
  return {
    name: 'nginx',
    title: 'nginx',
    needs: ['nginx'],
    command: (session, port) =>
      nginxCommand(
        session,
        port,
        `  upstream upstream { server 127.0.0.1:${upstream}; keepalive 256; keepalive_requests 1000000000; }\n${server(port, location)}`,
      ),
  };
}

/** @param bufferSizeKB tune.bufsize; HAProxy's default is 16 KB */
export function haproxy(upstream: number, bufferSizeKB: number): Contestant {
  return {
    name: `haproxy-${bufferSizeKB}k`,
    title: `HAProxy, buffers of ${bufferSizeKB} KB`,
    needs: ['haproxy'],
    command(session, port) {
      const path = join(session.folder, `haproxy-${port}.cfg`);
      const lines = [
        'global',
        '  nbthread 1',
        '  maxconn 4096',
        `  tune.bufsize ${bufferSizeKB * 1024}`,
        'defaults',
        '  mode http',
        '  http-reuse always',
        '  timeout connect 5s',
        '  timeout client 1h',
        '  timeout server 1h',
        'listen proxy',
        `  bind 127.0.0.1:${port}`,
        `  server upstream 127.0.0.1:${upstream}`,
      ];
      writeFileSync(path, `${lines.join('\n')}\n`);
      return [findProgram('haproxy')!, '-db', '-f', path];
    },
  };
}

export const bun: Contestant = {
  name: 'bun',
  title: 'Bun.serve',
  needs: ['bun'],
  command: (_session, port) => [
    findProgram('bun')!,
    join(benchFolder, 'servers', 'bun-http.js'),
    '--port',
    String(port),
  ],
};

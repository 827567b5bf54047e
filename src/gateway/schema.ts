/**
 * Room `gateway`: the fields of the configuration file: their names, kinds, ranges and defaults, in one place. The guide's table
 * (docs/guides/up.md) is checked against it by a test.
 *
 * A newcomer would get wrong: what needs more than one field to decide is not here but in `checks.ts`, because a schema stops
 * at the first level that is broken, and whoever mends a file wants every problem at once.
 */
import { z } from 'zod';
import type { FieldPath } from './problems.ts';
import * as scalar from './scalars.ts';

const limits = z.strictObject({
  headSize: scalar.size('1KB', '64KB').prefault('16KB'),
  headerCount: scalar.whole(1, 1000).prefault(100),
  bodySize: scalar.size('0B', '1024GB').prefault('10MB'),
  headTimeout: scalar.duration('100ms', '60m').prefault('10s'),
  bodyTimeout: scalar.duration('100ms', '60m').prefault('60s'),
  idleTimeout: scalar.duration('100ms', '60m').prefault('75s'),
  connections: scalar.whole(1, 10_000_000).prefault(100_000),
});

const respond = z.strictObject({
  status: scalar.whole(200, 599).prefault(200),
  headers: z.record(z.string(), scalar.fieldValue()).prefault({}),
  body: z.string({ error: 'text is allowed; put numbers, true and false in quotes' }).prefault(''),
});

const files = z.strictObject({
  root: scalar.fileSystemPath(),
  index: scalar.fileName().prefault('index.html'),
  precompressed: scalar.flag().prefault(true),
  cacheControl: scalar.fieldValue().prefault(''),
  hidden: scalar.flag().prefault(false),
});

/** An address alone is short for a mapping with nothing else. */
const upstream = z.preprocess(
  (value) => (typeof value === 'object' && value !== null ? value : { address: value }),
  z.strictObject({ address: scalar.endpoint(1), weight: scalar.whole(1, 1000).prefault(1) }),
);

const healthCheck = z.strictObject({
  path: scalar.requestPath(),
  interval: scalar.duration('100ms', '60m').prefault('2s'),
  timeout: scalar.duration('10ms', '60m').optional(),
  unhealthyAfter: scalar.whole(1, 100).prefault(3),
  healthyAfter: scalar.whole(1, 100).prefault(2),
});

const proxy = z.strictObject({
  upstreams: z.array(upstream).min(1, { error: 'at least one upstream is needed' }),
  balance: scalar.choice(['roundRobin', 'leastConnections', 'consistentHash']).prefault('roundRobin'),
  hashKey: scalar.token('client, path or the name of a header field is allowed').prefault('client'),
  connectTimeout: scalar.duration('10ms', '5m').prefault('1s'),
  responseTimeout: scalar.duration('100ms', '60m').prefault('30s'),
  retries: scalar.whole(0, 10).prefault(2),
  idleConnections: scalar.whole(0, 10_000).prefault(64),
  stripPrefix: scalar.flag().prefault(false),
  forwarded: scalar.choice(['x-forwarded', 'forwarded', 'both', 'none']).prefault('x-forwarded'),
  trustForwarded: scalar.flag().prefault(false),
  via: z
    .literal('', { error: "a name of letters, digits and -, or '' for none, is allowed" })
    .or(scalar.token("a name of letters, digits and -, or '' for none, is allowed"))
    .prefault('millrace'),
  healthCheck: healthCheck.optional(),
});

const route = z.strictObject({
  path: scalar.routePath(),
  respond: respond.optional(),
  files: files.optional(),
  proxy: proxy.optional(),
});

const listener = z.strictObject({
  address: scalar.endpoint(0),
  protocol: scalar.choice(['http']).prefault('http'),
  backlog: scalar.whole(1, 65_535).prefault(4096),
  reusePort: scalar.flag().prefault(false),
  ipv6Only: scalar.flag().prefault(false),
  routes: z.array(route).min(1, { error: 'at least one route is needed' }),
});

const accessLog = z.strictObject({
  file: scalar.fileSystemPath(),
  format: scalar.choice(['json', 'common']).prefault('json'),
});

export const schema = z.strictObject({
  engine: scalar.choice(['auto', 'io_uring', 'epoll', 'epoll-level', 'poll', 'select']).prefault('auto'),
  workers: scalar.whole(1, 64).prefault(1),
  admin: scalar.endpoint(0).optional(),
  accessLog: accessLog.optional(),
  serverName: scalar.fieldValue().prefault('millrace'),
  drainTimeout: scalar.duration('0s', '60m').prefault('30s'),
  limits: limits.prefault({}),
  listeners: z.array(listener).min(1, { error: 'at least one listener is needed' }),
});

/** What the schema gives for a valid file, before paths are resolved and units named. */
export type ParsedFile = z.output<typeof schema>;

/** Takes a schema out of what makes it optional or changes its value. */
function core(wrapped: z.core.$ZodType): z.core.$ZodType {
  let inner = wrapped;
  for (;;) {
    if (inner instanceof z.ZodOptional || inner instanceof z.ZodPrefault) inner = inner.unwrap();
    else if (inner instanceof z.ZodPipe) inner = inner.in instanceof z.ZodTransform ? inner.out : inner.in;
    else return inner;
  }
}

/** The names allowed in the mapping at `path`; empty where none is. */
export function fieldNamesAt(path: FieldPath): readonly string[] {
  let current = core(schema);
  for (const part of path) {
    if (typeof part === 'number' && current instanceof z.ZodArray) current = core(current.element);
    else if (current instanceof z.ZodObject && Object.hasOwn(current.shape, part)) current = core(current.shape[part]);
    else return [];
  }
  return current instanceof z.ZodObject ? Object.keys(current.shape) : [];
}

export interface Field {
  /** As in `listeners[].routes[].proxy.retries`. */
  readonly name: string;
  /** As it would be written; undefined where the field is required, absent by default or a mapping. */
  readonly default: string | number | boolean | undefined;
}

/** Every field that a file may have, mappings and lists included. */
export function listFields(within: z.core.$ZodType = schema, prefix = ''): Field[] {
  const inner = core(within);
  if (inner instanceof z.ZodArray) return listFields(inner.element, `${prefix}[]`);
  if (!(inner instanceof z.ZodObject)) return [];
  return Object.entries(inner.shape as Record<string, z.core.$ZodType>).flatMap(([key, value]) => {
    const name = prefix === '' ? key : `${prefix}.${key}`;
    const given = value instanceof z.ZodPrefault ? value.def.defaultValue : undefined;
    const plain = typeof given === 'string' || typeof given === 'number' || typeof given === 'boolean';
    return [{ name, default: plain ? given : undefined }, ...listFields(value, name)];
  });
}

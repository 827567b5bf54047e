/**
 * Room `gateway`: the configuration file's shape, its defaults and bounds. What the shape cannot say (two listeners on one
 * address, a root that is no directory) is checked by `configuration.ts`.
 *
 * A newcomer would get wrong: every field here has its row in `docs/guides/up.md`; a test compares the two.
 */
import { z } from 'zod';
import { parseAddress } from '../kernel/address.ts';
import { size, time } from './units.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

const address = z
  .string({ error: 'an address as 127.0.0.1:8080, [::]:8080 or unix:/path is allowed' })
  .transform((text, context) => {
    try {
      return { text, value: parseAddress(text) };
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
      return z.NEVER;
    }
  });

const integer = (least: number, most: number) =>
  z
    .int({ error: `a whole number from ${least} to ${most} is allowed` })
    .min(least, { error: `a whole number from ${least} to ${most} is allowed` })
    .max(most, { error: `a whole number from ${least} to ${most} is allowed` });

const oneOf = <const Values extends readonly [string, ...string[]]>(values: Values) =>
  z.enum(values, { error: `one of ${values.join(', ')} is allowed` });

const respond = z.strictObject({
  status: integer(200, 599).default(200),
  headers: z.record(z.string(), z.string({ error: 'a string is allowed' })).default({}),
  body: z.string({ error: 'a string is allowed' }).default(''),
});

const filesOptions = z.strictObject({
  root: z.string({ error: 'a directory is allowed, relative to the configuration file' }),
  index: z.string().default('index.html'),
  precompressed: z.boolean({ error: 'true or false is allowed' }).default(true),
  cacheControl: z.string().default(''),
  hidden: z.boolean({ error: 'true or false is allowed' }).default(false),
});

const upstream = z.union(
  [
    address.transform((parsed) => ({ address: parsed, weight: 1 })),
    z.strictObject({ address, weight: integer(1, 1000).default(1) }),
  ],
  { error: 'an address, or { address, weight } with a weight from 1 to 1000, is allowed' },
);

const healthCheck = z.strictObject({
  path: z.string().startsWith('/', { error: 'a path that begins with / is allowed' }),
  interval: time(100, DAY).default(2000),
  timeout: time(10, DAY).optional(),
  unhealthyAfter: integer(1, 100).default(3),
  healthyAfter: integer(1, 100).default(2),
});

const proxyOptions = z.strictObject({
  upstreams: z
    .array(upstream, { error: 'a list of upstreams is allowed' })
    .min(1, { error: 'at least one upstream is needed' }),
  balance: oneOf(['roundRobin', 'leastConnections', 'consistentHash']).default('roundRobin'),
  hashKey: z.string().default('client'),
  connectTimeout: time(1, 10 * MINUTE).default(1000),
  responseTimeout: time(1, DAY).default(30_000),
  retries: integer(0, 100).default(2),
  idleConnections: integer(0, 100_000).default(64),
  stripPrefix: z.boolean({ error: 'true or false is allowed' }).default(false),
  forwarded: oneOf(['x-forwarded', 'forwarded', 'both', 'none']).default('x-forwarded'),
  trustForwarded: z.boolean({ error: 'true or false is allowed' }).default(false),
  healthCheck: healthCheck.optional(),
});

const route = z.strictObject({
  path: z
    .string({ error: 'a path that begins with / is needed' })
    .startsWith('/', { error: 'a path that begins with / is allowed' }),
  respond: respond.optional(),
  files: filesOptions.optional(),
  proxy: proxyOptions.optional(),
});

const listener = z.strictObject({
  address,
  protocol: oneOf(['http']).default('http'),
  backlog: integer(1, 1_000_000).default(4096),
  routes: z.array(route, { error: 'a list of routes is needed' }).min(1, { error: 'at least one route is needed' }),
});

const limits = z.strictObject({
  headSize: size(1024, 1024 ** 2).default(16_384),
  headerCount: integer(1, 1000).default(100),
  bodySize: size(0, 1024 ** 4).default(10 * 1024 ** 2),
  headTimeout: time(10, DAY).default(10_000),
  bodyTimeout: time(10, DAY).default(60_000),
  idleTimeout: time(10, DAY).default(75_000),
  connections: integer(1, 10_000_000).default(100_000),
});

export const schema = z.strictObject({
  engine: oneOf(['auto', 'io_uring', 'epoll', 'epoll-level', 'poll', 'select']).default('auto'),
  workers: integer(1, 64).default(1),
  admin: address.optional(),
  accessLog: z
    .strictObject({
      file: z.string({ error: 'a file is allowed, relative to the configuration file' }),
      format: oneOf(['json', 'common']).default('json'),
    })
    .optional(),
  limits: limits.prefault({}),
  drainTimeout: time(0, DAY).default(30_000),
  listeners: z
    .array(listener, { error: 'a list of listeners is needed' })
    .min(1, { error: 'at least one listener is needed' }),
});

export type Parsed = z.output<typeof schema>;

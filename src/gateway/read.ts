/**
 * Room `gateway`: from the text of a configuration file to a `Configuration`, or to the whole list of what is wrong with it.
 *
 * A newcomer would get wrong: relative paths start from the configuration's folder, not from where the command was given, so
 * that a file means the same to a service manager and to a shell.
 */
import { dirname, resolve } from 'node:path';
import type { z } from 'zod';
import { checkTogether } from './checks.ts';
import type { Configuration, ListenerConfiguration, RouteConfiguration } from './configuration.ts';
import { ConfigurationError, type FieldPath, nearest, oneOf, type Problem, showValue } from './problems.ts';
import { fieldNamesAt, type ParsedFile, schema } from './schema.ts';
import { readText, Source } from './source.ts';

/**
 * Reads and checks a configuration file.
 * @throws ConfigurationError with every problem; each names file, line, column, field, the value found and what is allowed
 */
export function readConfiguration(file: string): Configuration {
  return parseConfiguration(readText(file), file);
}

/**
 * The same for a text that is there already; `file` is its name in messages, and relative paths start from its folder.
 * @throws ConfigurationError as {@link readConfiguration}
 */
export function parseConfiguration(text: string, file: string): Configuration {
  const source = new Source(text, file);
  const directory = dirname(resolve(file));
  const result = schema.safeParse(source.value, { error: explainKind });
  const problems = [...source.duplicates, ...checkTogether(source, directory)];
  if (!result.success) problems.push(...result.error.issues.flatMap((issue) => describe(issue, source)));
  if (problems.length > 0 || !result.success) {
    throw new ConfigurationError(problems.sort((one, other) => one.line - other.line || one.column - other.column));
  }
  return resolveFile(result.data, resolve(file), directory);
}

const KINDS: Readonly<Record<string, string>> = {
  object: 'a mapping of fields is allowed',
  record: 'a mapping of names and values is allowed',
  array: 'a list is allowed',
  string: 'text is allowed',
};

/** What is allowed where the schema itself does not say. */
function explainKind(issue: z.core.$ZodRawIssue): string | undefined {
  return issue.code === 'invalid_type' ? KINDS[issue.expected] : undefined;
}

function describe(issue: z.core.$ZodIssue, source: Source): Problem[] {
  const path = issue.path as FieldPath;
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => describeUnknown(path, key, source));
  const value = source.valueAt(path);
  if (value !== undefined) return [source.problem(path, `is ${showValue(value)}: ${issue.message}`)];
  // An empty file has no field to name.
  return [source.problem(path, path.length === 0 ? issue.message : `is missing: ${issue.message}`)];
}

function describeUnknown(path: FieldPath, key: string, source: Source): Problem {
  const names = fieldNamesAt(path);
  const meant = nearest(key, names);
  const advice = meant === null ? '' : `did you mean ${meant}? `;
  return source.problem([...path, key], `is no field here: ${advice}${oneOf(names)} is allowed`, 'key');
}

function resolveFile(parsed: ParsedFile, file: string, directory: string): Configuration {
  const { limits, accessLog } = parsed;
  return {
    file,
    engine: parsed.engine,
    workers: parsed.workers,
    admin: parsed.admin ?? null,
    accessLog: accessLog === undefined ? null : { ...accessLog, file: resolve(directory, accessLog.file) },
    serverName: parsed.serverName,
    drainTimeoutMs: parsed.drainTimeout,
    limits: {
      headSize: limits.headSize,
      headerCount: limits.headerCount,
      bodySize: limits.bodySize,
      headTimeoutMs: limits.headTimeout,
      bodyTimeoutMs: limits.bodyTimeout,
      idleTimeoutMs: limits.idleTimeout,
      connections: limits.connections,
    },
    listeners: parsed.listeners.map((listener) => resolveListener(listener, directory)),
  };
}

type ParsedListener = ParsedFile['listeners'][number];
type ParsedRoute = ParsedListener['routes'][number];

function resolveListener(listener: ParsedListener, directory: string): ListenerConfiguration {
  return { ...listener, routes: listener.routes.map((route) => resolveRoute(route, directory)) };
}

function resolveRoute(route: ParsedRoute, directory: string): RouteConfiguration {
  const { path, respond, files, proxy } = route;
  if (respond !== undefined) return { path, action: { kind: 'respond', ...respond } };
  if (files !== undefined) return { path, action: { kind: 'files', ...files, root: resolve(directory, files.root) } };
  // `checks.ts` has seen that there is exactly one.
  return { path, action: resolveProxy(proxy!) };
}

function resolveProxy(proxy: NonNullable<ParsedRoute['proxy']>): RouteConfiguration['action'] {
  const { connectTimeout, responseTimeout, healthCheck, ...rest } = proxy;
  return {
    kind: 'proxy',
    ...rest,
    connectTimeoutMs: connectTimeout,
    responseTimeoutMs: responseTimeout,
    healthCheck:
      healthCheck === undefined
        ? null
        : {
            path: healthCheck.path,
            intervalMs: healthCheck.interval,
            timeoutMs: healthCheck.timeout ?? healthCheck.interval,
            unhealthyAfter: healthCheck.unhealthyAfter,
            healthyAfter: healthCheck.healthyAfter,
          },
  };
}

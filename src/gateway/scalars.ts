/**
 * Room `gateway`: the kinds of single values in a configuration: sizes, times, counts, words, addresses, paths. Each says in its
 * message what is allowed; who reports it adds the field and the value found.
 *
 * A newcomer would get wrong: a size or time without a unit is refused, not guessed. 60 has been meant as seconds by some and
 * as milliseconds by others.
 */
import { z } from 'zod';
import { resolvePath } from '../http/path.ts';
import { parseAddress } from '../kernel/address.ts';
import type { Endpoint } from './configuration.ts';
import { nearest, oneOf } from './problems.ts';

/** Multiples of 1,024, as memory and files are counted. */
const SIZE_UNITS: Readonly<Record<string, number>> = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };
const TIME_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 };

/** The value in the smallest unit; null where the text is none or not a whole number of that unit. */
function measure(text: string, units: Readonly<Record<string, number>>): number | null {
  const match = /^(\d{1,12}(?:\.\d{1,6})?) ?([A-Za-z]+)$/.exec(text);
  if (match === null || !Object.hasOwn(units, match[2])) return null;
  const value = Number(match[1]) * units[match[2]];
  return Number.isSafeInteger(value) ? value : null;
}

function quantity(units: Readonly<Record<string, number>>, least: string, most: string) {
  const allowed = `${least} to ${most} is allowed, a number with ${oneOf(Object.keys(units))}`;
  const leastValue = measure(least, units)!;
  const mostValue = measure(most, units)!;
  const error = (issue: { readonly input?: unknown }): string =>
    typeof issue.input === 'number' ? `the unit is missing; ${allowed}` : allowed;
  return z.string({ error }).transform((text, context) => {
    const value = measure(text, units);
    if (value !== null && value >= leastValue && value <= mostValue) return value;
    const unit = Object.keys(units).find((name) => text.toLowerCase().replace(/^[\d. ]+/, '') === name.toLowerCase());
    const misspelt = value === null && unit !== undefined && !text.endsWith(unit);
    context.addIssue({ code: 'custom', message: misspelt ? `write the unit as ${unit}; ${allowed}` : allowed });
    return z.NEVER;
  });
}

/** Bytes, from texts like `16KB`. */
export const size = (least: string, most: string) => quantity(SIZE_UNITS, least, most);

/** Milliseconds, from texts like `10s`. */
export const duration = (least: string, most: string) => quantity(TIME_UNITS, least, most);

export function whole(least: number, most: number) {
  const error = `a whole number from ${least} to ${most} is allowed`;
  return z.int({ error }).min(least, { error }).max(most, { error });
}

export function choice<const Words extends readonly [string, ...string[]]>(words: Words) {
  return z.enum(words, {
    error: (issue) => {
      const meant = typeof issue.input === 'string' ? nearest(issue.input, words) : null;
      return `${meant === null ? '' : `did you mean ${meant}? `}${oneOf(words)} is allowed`;
    },
  });
}

export const flag = () => z.boolean({ error: 'true or false is allowed' });

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/;
/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** A header field's value, maybe empty: octets of one line (RFC 9110 section 5.5). */
export const fieldValue = () => {
  const error = (issue: { readonly input?: unknown }): string =>
    typeof issue.input === 'number' || typeof issue.input === 'boolean'
      ? 'text is allowed; put it in quotes'
      : 'text of one line in ASCII is allowed, without spaces at its ends';
  return z.string({ error }).refine((text) => !CONTROL.test(text) && isAscii(text) && text.trim() === text, { error });
};

function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length;
}

export const isToken = (text: string): boolean => TOKEN.test(text);

export const token = (allowed: string) => z.string({ error: allowed }).regex(TOKEN, { error: allowed });

/** A name without a slash, or nothing. */
export const fileName = () => {
  const error = "the name of a file without slashes is allowed, or '' for none";
  return z.string({ error }).refine((text) => !/[/\\\0]/.test(text) && text !== '.' && text !== '..', { error });
};

export const fileSystemPath = () => {
  const error = 'a path is allowed, relative to the folder of this file or absolute';
  return z.string({ error }).refine((text) => text !== '' && !text.includes('\0'), { error });
};

/** A path to ask an upstream for. */
export const requestPath = () => {
  const error = 'a path that begins with / is allowed, without spaces, in ASCII';
  return z.string({ error }).regex(/^\/[\x21-\x7e]*$/, { error });
};

/** A route's path as its meaning is spelled: routes are matched against decoded paths without dot segments. */
export const routePath = () => {
  const error = 'a path that begins with / is allowed';
  return z.string({ error }).superRefine((text, context) => {
    if (!text.startsWith('/')) context.addIssue({ code: 'custom', message: error });
    else if (/[?#]/.test(text)) context.addIssue({ code: 'custom', message: `${error}, without query and fragment` });
    else checkSpelling(text, context);
  });
};

function checkSpelling(text: string, context: z.core.$RefinementCtx<string>): void {
  const verdict = resolvePath(Buffer.from(text, 'utf8').toString('latin1'));
  if (verdict.ok && verdict.path === text) return;
  const advice = verdict.ok ? `; write ${JSON.stringify(verdict.path)}` : '';
  const message = `a path without percent-encodings, empty and dot segments is allowed${advice}`;
  context.addIssue({ code: 'custom', message });
}

const ADDRESS_FORMS = '127.0.0.1:8080, "[::]:8080", unix:/run/x.sock and unix:@abstract are allowed forms';

/** An address; `portMin` is 0 where the kernel may choose the port. */
export const endpoint = (portMin: 0 | 1) =>
  z.string({ error: ADDRESS_FORMS }).transform((text, context): Endpoint => {
    const refuse = (message: string) => {
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    };
    try {
      const socket = parseAddress(text);
      if (socket.family === 'unix' || socket.port >= portMin) return { text, socket };
      return refuse('a port from 1 to 65535 is allowed');
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
      return refuse(explainAddress(text, error));
    }
  });

function explainAddress(text: string, error: Error): string {
  if (text.startsWith('unix:')) return error.message.replace(/^.*?: /, '');
  const port = /:(\d+)$/.exec(text)?.[1];
  if (port !== undefined && Number(port) > 65535) return 'a port from 0 to 65535 is allowed';
  if (/^[A-Za-z][\w.-]*(:\d+)?$/.test(text)) return `names are not looked up; ${ADDRESS_FORMS}`;
  if (/^[\d.]+$/.test(text) || /^\[[\da-f:.]*\]$/i.test(text)) return `the port is missing; ${ADDRESS_FORMS}`;
  return ADDRESS_FORMS;
}

/**
 * Room `gateway`: sizes and times as people write them: `16KB`, `10s`. KB, MB and GB are powers of 1,024.
 */
import { z } from 'zod';

const SIZES: Readonly<Record<string, number>> = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };
const TIMES: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 };

function parse(value: string | number, units: Readonly<Record<string, number>>, plain: string): number | null {
  if (typeof value === 'number') return value;
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(value.trim());
  if (match === null) return null;
  const factor = units[match[2] === '' ? plain : match[2]];
  return factor === undefined ? null : Number(match[1]) * factor;
}

function quantity(units: Readonly<Record<string, number>>, plain: string, least: number, most: number) {
  const names = Object.keys(units).join(', ');
  return z
    .union([z.string(), z.number()], { error: `a number with a unit (${names}) is allowed` })
    .transform((value, context) => {
      const result = parse(value, units, plain);
      if (result === null || !Number.isFinite(result) || result < least || result > most) {
        const range = `from ${format(least, units)} to ${format(most, units)}`;
        context.addIssue({ code: 'custom', message: `a number with a unit (${names}), ${range}, is allowed` });
        return z.NEVER;
      }
      return Math.round(result);
    });
}

function format(value: number, units: Readonly<Record<string, number>>): string {
  let text = String(value);
  for (const [name, factor] of Object.entries(units))
    if (value >= factor && value % factor === 0) text = `${value / factor}${name}`;
  return text;
}

/** Bytes; without a unit, bytes. */
export const size = (least: number, most: number) => quantity(SIZES, 'B', least, most);

/** Milliseconds; without a unit, milliseconds. */
export const time = (leastMs: number, mostMs: number) => quantity(TIMES, 'ms', leastMs, mostMs);

/**
 * Room `observe`: what was collected, as text for people: tables of counts, histograms by powers of two, stacks with names.
 */
import { readFileSync } from 'node:fs';
import { ipv6Text } from '../bpf/addresses.ts';
import type { KeyPart } from './event-types.ts';

const BAR_COLUMNS = 40;

/** A count and its key's parts as text. */
export interface CountRow {
  readonly key: readonly string[];
  readonly count: bigint;
}

/** The numbers of values in [low, high]. */
export interface HistogramRow {
  readonly low: bigint;
  readonly high: bigint;
  readonly count: bigint;
}

export interface StackRow {
  /** Innermost first. */
  readonly frames: readonly string[];
  readonly count: bigint;
}

function textOf(bytes: readonly number[]): string {
  const end = bytes.indexOf(0);
  return Buffer.from(end === -1 ? bytes : bytes.slice(0, end)).toString('utf8');
}

/** One part of a key as people read it: characters as text, addresses as addresses, other bytes in hexadecimal. */
export function showPart(part: KeyPart, value: unknown): string {
  if (part.kind === 'comm') return textOf([...(value as { text: Iterable<number> }).text]);
  if (part.kind === 'number') return String(value);
  if (typeof value !== 'object' || value === null) return String(value);
  const elements = [...(value as Iterable<number>)];
  const { field } = part;
  if (field.text) return textOf(elements);
  const isAddress = /addr/.test(field.name);
  if (isAddress && elements.length === 4) return elements.join('.');
  if (isAddress && elements.length === 16) return ipv6Text(elements);
  if (field.bytes === field.length) return Buffer.from(elements).toString('hex');
  return `[${elements.join(', ')}]`;
}

/** Rows below their labels, the largest counts first. */
export function showCounts(labels: readonly string[], rows: readonly CountRow[], top: number): string {
  const shown = rows.slice(0, top).map(({ key, count }) => [...key, String(count)]);
  const table = [[...labels, 'count'], ...shown];
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  const lines = table.map((row) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell.padStart(widths[column]) : cell.padEnd(widths[column])))
      .join('  '),
  );
  if (rows.length > top) lines.push(`… ${rows.length - top} more`);
  return lines.join('\n');
}

/** The bounds of slot `index`: 0 holds zeros, n the values from 2^(n-1) to 2^n - 1. */
export function slotBounds(index: number): readonly [bigint, bigint] {
  return index === 0 ? [0n, 0n] : [1n << BigInt(index - 1), (1n << BigInt(index)) - 1n];
}

/** The slots between the first and the last that is not empty. */
export function histogramRows(counts: readonly bigint[]): HistogramRow[] {
  const first = counts.findIndex((count) => count > 0n);
  const last = counts.findLastIndex((count) => count > 0n);
  if (first === -1) return [];
  return counts.slice(first, last + 1).map((count, index) => {
    const [low, high] = slotBounds(first + index);
    return { low, high, count };
  });
}

export function showHistogram(label: string, rows: readonly HistogramRow[]): string {
  if (rows.length === 0) return `${label}: nothing yet`;
  let most = 1n;
  for (const { count } of rows) if (count > most) most = count;
  const ranges = rows.map(({ low, high }) => (low === high ? String(low) : `${low} – ${high}`));
  const width = Math.max(...ranges.map((range) => range.length));
  const countWidth = Math.max(...rows.map(({ count }) => String(count).length));
  const lines = rows.map(({ count }, index) => {
    const bar = '█'.repeat(Number((count * BigInt(BAR_COLUMNS) + most - 1n) / most));
    return `${ranges[index].padStart(width)}  ${String(count).padStart(countWidth)}  ${bar}`.trimEnd();
  });
  return [label, ...lines].join('\n');
}

export function showStacks(rows: readonly StackRow[], top: number): string {
  const blocks = rows
    .slice(0, top)
    .map(({ frames, count }) => [String(count), ...frames.map((frame) => `    ${frame}`)].join('\n'));
  if (rows.length > top) blocks.push(`… ${rows.length - top} more`);
  return blocks.join('\n');
}

/** The kernel's functions by address, read once. Without privileges the kernel shows no addresses, and names are not found. */
export class KernelSymbols {
  readonly #addresses: bigint[] = [];
  readonly #names: string[] = [];

  constructor(text: string = readFileSync('/proc/kallsyms', 'latin1')) {
    const found: (readonly [bigint, string])[] = [];
    for (const line of text.split('\n')) {
      const match = /^([0-9a-f]+) [tTwW] (\S+)/.exec(line);
      if (match === null) continue;
      const address = BigInt(`0x${match[1]}`);
      if (address !== 0n) found.push([address, match[2]]);
    }
    found.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
    for (const [address, name] of found) {
      this.#addresses.push(address);
      this.#names.push(name);
    }
  }

  /** `tcp_sendmsg+0x27`, or the address where no function is known. */
  name(address: bigint): string {
    let low = 0;
    let high = this.#addresses.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#addresses[middle] <= address) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return `0x${address.toString(16)}`;
    const offset = address - this.#addresses[low - 1];
    return `${this.#names[low - 1]}${offset === 0n ? '' : `+0x${offset.toString(16)}`}`;
  }
}

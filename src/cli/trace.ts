/**
 * Room `cli`: `millrace trace`: counts, histograms and stacks of the kernel's events, from an event's name or a script of one line.
 *
 * A newcomer would get wrong: with --json each line is one look at all tables; without it the tables replace each other on a terminal
 * and follow each other in a file.
 */
import { CompileErrors } from '../bpf/compiler/diagnostics.ts';
import { VerifierError } from '../bpf/loader/verifier.ts';
import { Observer, type Table } from '../observe/observer.ts';
import { showCounts, showHistogram, showStacks } from '../observe/show.ts';
import { Tracefs } from '../observe/tracepoints.ts';
import { type CommonOptions, guarded, plain, UsageError } from './bpf/report.ts';
import { Lifetime } from './lifetime.ts';

export interface TraceOptions extends CommonOptions {
  readonly script?: string;
  readonly by?: string;
  readonly histogram?: string;
  readonly stacks?: boolean;
  readonly where?: string;
  readonly interval?: number;
  readonly duration?: number;
  readonly top: number;
  readonly list?: string | true;
}

const CLEAR = '\x1b[H\x1b[2J';

/** The script that an event and options stand for. */
function scriptOf(event: string | undefined, options: TraceOptions): string {
  const { script, by, histogram, stacks, where } = options;
  if (script !== undefined) {
    if (event !== undefined || by !== undefined || histogram !== undefined || stacks === true || where !== undefined) {
      throw new UsageError(
        '-e SCRIPT says everything; an event, --by, --histogram, --stacks and --where go without it',
      );
    }
    return script;
  }
  if (event === undefined)
    throw new UsageError('name an event (millrace trace --list shows them) or give a script with -e');
  const fields = by === undefined ? [] : by.split(',').map((name) => name.trim());
  for (const name of fields) {
    if (!/^\w+(?:\(\))?$/.test(name))
      throw new UsageError(`--by ${by}: names of fields, or comm(), pid(), tid(), uid(), cpu() are allowed`);
  }
  const parts = fields.map((name) => (name.endsWith('()') ? name : `event.${name}`));
  const collectors = [
    ...(histogram === undefined ? [] : [`histogram(${/^\w+$/.test(histogram) ? `event.${histogram}` : histogram})`]),
    ...(stacks === true ? ['stacks()'] : []),
  ];
  if (by !== undefined || collectors.length === 0) collectors.unshift(`count(${parts.join(', ')})`);
  const body = `${collectors.join('; ')};`;
  return `on(${JSON.stringify(event)}, (event) => { ${where === undefined ? body : `if (${where}) { ${body} }`} });`;
}

function show(table: Table, top: number): string {
  if (table.kind === 'counts') return showCounts(table.labels, table.rows, top);
  return table.kind === 'histogram' ? showHistogram(table.label, table.rows) : showStacks(table.rows, top);
}

function print(observer: Observer, options: TraceOptions, isLast: boolean): void {
  const tables = observer.tables();
  const lost = observer.lost;
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify({ event: isLast ? 'end' : 'tables', lost, tables }, plain)}\n`);
    return;
  }
  const parts = tables.map((table) => show(table, options.top));
  if (lost > 0n) parts.push(`${lost} lost: a map was full`);
  const isRedrawn = !isLast && options.interval !== undefined && process.stdout.isTTY;
  process.stdout.write(`${isRedrawn ? CLEAR : ''}${parts.join('\n\n')}\n`);
}

function list(pattern: string | true): void {
  using tracefs = new Tracefs();
  const events = tracefs.events(pattern === true ? '*' : pattern);
  if (events.length === 0) throw new UsageError(`no event matches ${pattern}`);
  if (events.length > 1) {
    process.stdout.write(`${events.join('\n')}\n`);
    return;
  }
  const { event, fields } = tracefs.format(events[0]);
  const lines = fields.map(({ name, declaration }) => `  ${name}: ${declaration}`);
  process.stdout.write(`${event}\n${lines.join('\n')}\n`);
}

export async function trace(event: string | undefined, options: TraceOptions): Promise<void> {
  await guarded(options, async () => {
    if (options.list !== undefined) {
      list(options.list);
      return;
    }
    const script = scriptOf(event, options);
    try {
      await watch(Observer.start(script), options);
    } catch (error) {
      // Its places are those of the program that the script became.
      if (error instanceof CompileErrors) throw new UsageError(messagesOf(error));
      if (error instanceof VerifierError)
        throw new UsageError(`script: the verifier says: ${error.explanation.sentence}`);
      throw error;
    }
  });
}

function messagesOf(error: CompileErrors): string {
  return error.errors
    .map(({ message, advice }) => `script: ${message}${advice === null ? '' : `; ${advice}`}`)
    .join('\n');
}

async function watch(observer: Observer, options: TraceOptions): Promise<void> {
  const lifetime = new Lifetime();
  if (options.json === true) process.stdout.write(`${JSON.stringify({ event: 'started', events: observer.events })}\n`);
  else
    process.stderr.write(
      `watching ${observer.events.join(', ')}${options.duration === undefined ? ' until Ctrl-C' : ''}\n`,
    );
  await new Promise<void>((resolve) => {
    // Without an interval the timer only holds the process.
    const ticking = setInterval(
      () => {
        if (options.interval !== undefined) print(observer, options, false);
      },
      options.interval ?? 1 << 30,
    );
    const end = (): void => {
      clearInterval(ticking);
      clearTimeout(limit);
      print(observer, options, true);
      observer[Symbol.dispose]();
      resolve();
    };
    const limit = options.duration === undefined ? undefined : setTimeout(end, options.duration);
    lifetime.started({ reload: async () => {}, end: async () => end() });
  });
}

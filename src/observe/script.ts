/**
 * Room `observe`: from a script of one line to a program of our eBPF language. `on('tcp:tcp_probe', (event) => count(event.dport))`
 * becomes a tracepoint program, a struct for the event, a map for the counts, and the code that counts.
 *
 * A newcomer would get wrong: only `count`, `histogram`, `stacks`, `start` and `elapsed`, and the short forms such as `pid()`, are
 * rewritten. The rest of the script is the language itself and goes to the compiler as it stands.
 */
import { parse } from '@babel/parser';
import { declareEvent, type KeyPart, keyParts, typeOfField } from './event-types.ts';
import type { EventFormat } from './tracepoints.ts';

/** One thing that the script collects. */
export type Collected =
  | { readonly kind: 'counts'; readonly map: string; readonly parts: readonly KeyPart[] }
  | { readonly kind: 'histogram'; readonly map: string; readonly label: string }
  | { readonly kind: 'stacks'; readonly map: string; readonly traces: string };

/** A script as a program. */
export interface Translation {
  readonly source: string;
  readonly collected: readonly Collected[];
  readonly events: readonly string[];
}

/** What is wrong with a script. */
export class ScriptError extends Error {
  override readonly name = 'ScriptError';
}

type Tree = ReturnType<typeof parse>;
type TopStatement = Tree['program']['body'][number];
/** Any node of the tree, as the walks here see it. */
interface Node {
  readonly type: string;
  readonly start?: number | null;
  readonly end?: number | null;
  readonly [property: string]: unknown;
}

/** Short forms and what they are in the language. */
const SHORT_FORMS: Readonly<Record<string, string>> = {
  pid: 'u32(bpf_get_current_pid_tgid() >> 32n)',
  tid: 'u32(bpf_get_current_pid_tgid())',
  uid: 'u32(bpf_get_current_uid_gid())',
  cpu: 'u32(bpf_get_smp_processor_id())',
  now: 'bpf_ktime_get_ns()',
};
const COLLECTORS: ReadonlySet<string> = new Set(['count', 'histogram', 'stacks', 'start']);
const ENTRIES = 16_384;
const STACKS = 4096;
const STACK_DEPTH = 64;
/** BPF_F_REUSE_STACKID: where two stacks meet in one place the newer one stays, and none is refused. */
const REUSE_STACK_ID = 1 << 10;

const PRELUDE = `import { array, atomicAdd, bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
  bpf_get_smp_processor_id, bpf_get_stackid, bpf_ktime_get_ns, BPF_NOEXIST, global, hash, local, packed, stackTrace, struct,
  tracepoint, u8, u16, u32, u64, i8, i16, i32, i64, type Value } from 'millrace/bpf';
export const lost = global(u64, 0n);
const Comm = struct({ text: array(u8, 16) });
function slotOf(value: u64): u32 {
  let rest = value;
  let found: u32 = 0;
  if (rest >= 0x100000000n) { rest >>= 32n; found += 32; }
  if (rest >= 0x10000n) { rest >>= 16n; found += 16; }
  if (rest >= 0x100n) { rest >>= 8n; found += 8; }
  if (rest >= 0x10n) { rest >>= 4n; found += 4; }
  if (rest >= 0x4n) { rest >>= 2n; found += 2; }
  if (rest >= 0x2n) { rest >>= 1n; found += 1; }
  if (rest > 0n) found += 1;
  return found;
}
`;

function calleeOf(node: Node): string | null {
  if (node.type !== 'CallExpression') return null;
  const callee = node.callee as Node;
  return callee.type === 'Identifier' ? (callee.name as string) : null;
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as Node).type === 'string';
}

/** The direct children of a node, in the order of the text. */
function childrenOf(node: Node): Node[] {
  const found: Node[] = [];
  for (const [key, value] of Object.entries(node)) {
    if (key === 'loc' || key.endsWith('Comments')) continue;
    if (Array.isArray(value)) found.push(...value.filter(isNode));
    else if (isNode(value)) found.push(value);
  }
  return found.sort((one, other) => (one.start ?? 0) - (other.start ?? 0));
}

function contains(node: Node, test: (node: Node) => boolean): Node | null {
  if (test(node)) return node;
  for (const child of childrenOf(node)) {
    const found = contains(child, test);
    if (found !== null) return found;
  }
  return null;
}

/** Translates one script. */
class Translator {
  readonly #text: string;
  readonly #formatOf: (event: string) => EventFormat;
  readonly #declarations: string[] = [];
  readonly #programs: string[] = [];
  readonly collected: Collected[] = [];
  readonly events: string[] = [];
  #event: EventFormat | null = null;
  #parameter: string | null = null;
  #names = 0;
  #timed = false;

  constructor(text: string, formatOf: (event: string) => EventFormat) {
    this.#text = text;
    this.#formatOf = formatOf;
  }

  get source(): string {
    const begun = this.#timed ? `const begun = hash({ key: u64, value: u64, maxEntries: ${ENTRIES} });\n` : '';
    return `${PRELUDE}${begun}${this.#declarations.join('\n')}\n${this.#programs.join('\n')}\n`;
  }

  #refuse(node: Node, problem: string): never {
    const before = this.#text.slice(0, node.start ?? 0);
    const line = before.split('\n').length;
    const column = before.length - before.lastIndexOf('\n');
    throw new ScriptError(`script:${line}:${column}: ${problem}`);
  }

  statement(statement: TopStatement): void {
    const node = statement as unknown as Node;
    const expression = node.type === 'ExpressionStatement' ? (node.expression as Node) : null;
    if (expression !== null && calleeOf(expression) === 'on') {
      this.#on(expression);
    } else if (node.type === 'VariableDeclaration' || node.type === 'FunctionDeclaration') {
      this.#declarations.push(this.#render(node));
    } else {
      this.#refuse(node, "a script is made of on('subsystem:event', (event) => …), constants and functions");
    }
  }

  #on(node: Node): void {
    const [name, body] = node.arguments as Node[];
    if (name?.type !== 'StringLiteral' || body?.type !== 'ArrowFunctionExpression') {
      this.#refuse(
        node,
        "on takes an event’s name and what is done then: on('tcp:tcp_probe', (event) => count(event.dport))",
      );
    }
    const [parameter] = body.params as Node[];
    const format = this.#formatOf(name.value as string);
    this.#event = format;
    this.#parameter = parameter?.type === 'Identifier' ? (parameter.name as string) : null;
    const index = this.events.push(format.event) - 1;
    this.#declarations.push(declareEvent(`Event${index}`, format));
    const inner = body.body as Node;
    const code = inner.type === 'BlockStatement' ? this.#render(inner) : `{ ${this.#expressionStatement(inner)} }`;
    const target = format.event.replace(':', '/');
    const given = `${this.#parameter ?? 'event'}: Value<typeof Event${index}>`;
    this.#programs.push(`export const program${index} = tracepoint('${target}', (${given}) => ${code});`);
    this.#event = null;
    this.#parameter = null;
  }

  /** The text of a node with what is ours put in its place. */
  #render(node: Node): string {
    const name = calleeOf(node);
    if (name !== null && name in SHORT_FORMS) return SHORT_FORMS[name];
    if (node.type === 'ExpressionStatement') return this.#expressionStatement(node.expression as Node);
    if (name !== null && COLLECTORS.has(name)) this.#refuse(node, `${name}(…) gives nothing; it stands by itself`);
    if (name === 'elapsed') this.#refuse(node, 'elapsed(key) is for count and histogram: histogram(elapsed(tid()))');
    if (name === 'comm') this.#refuse(node, 'comm() is for count: count(comm())');
    let text = '';
    let at = node.start ?? 0;
    for (const child of childrenOf(node)) {
      text += this.#text.slice(at, child.start ?? at) + this.#render(child);
      at = child.end ?? at;
    }
    return text + this.#text.slice(at, node.end ?? at);
  }

  #expressionStatement(node: Node): string {
    const name = calleeOf(node);
    if (name === null || !COLLECTORS.has(name)) return `${this.#render(node)};`;
    const values = node.arguments as Node[];
    if (name === 'start') {
      if (values.length !== 1) this.#refuse(node, 'start takes one key: start(tid())');
      this.#timed = true;
      return `begun.update(u64(${this.#render(values[0])}), bpf_ktime_get_ns());`;
    }
    const elapsed = values
      .map((value) => contains(value, (one) => calleeOf(one) === 'elapsed'))
      .find((one) => one !== null);
    return elapsed === undefined ? this.#collect(name, node, values) : this.#timedCollect(name, node, values, elapsed!);
  }

  /** `histogram(elapsed(key))`: only where a start was seen. */
  #timedCollect(name: string, node: Node, values: readonly Node[], elapsed: Node): string {
    const [key] = elapsed.arguments as Node[];
    if (key === undefined) this.#refuse(elapsed, 'elapsed takes the key that start was given: elapsed(tid())');
    this.#timed = true;
    const id = this.#names++;
    const collect = this.#collect(name, node, values, { node: elapsed, text: `took${id}` });
    return (
      `{ const key${id} = u64(${this.#render(key)}); const begun${id} = begun.lookup(key${id}); ` +
      `if (begun${id} !== null) { const took${id} = bpf_ktime_get_ns() - begun${id}.value; begun.delete(key${id}); ${collect} } }`
    );
  }

  #collect(name: string, node: Node, values: readonly Node[], known: Known | null = null): string {
    if (name === 'count') return this.#count(values, known);
    if (name === 'histogram') return this.#histogram(node, values, known);
    if (values.length > 0) this.#refuse(node, 'stacks takes nothing: stacks()');
    return this.#stacks(node);
  }

  #value(node: Node, known: Known | null): string {
    return known !== null && node === known.node ? known.text : this.#render(node);
  }

  #count(values: readonly Node[], known: Known | null): string {
    const id = this.#names++;
    const map = `counts${id}`;
    const parts = values.map((value) => this.#part(value));
    this.collected.push({ kind: 'counts', map, parts });
    const fields = parts.length === 0 ? 'all: u32' : keyParts(parts);
    this.#declarations.push(
      `const Key${id} = struct({ ${fields} });`,
      `export const ${map} = hash({ key: Key${id}, value: u64, maxEntries: ${ENTRIES} });`,
    );
    const before: string[] = [];
    const given = values.map((value, index) => {
      if (parts[index].kind !== 'comm') {
        const text = this.#value(value, known);
        return `part${index}: ${parts[index].kind === 'field' ? text : `u64(${text})`}`;
      }
      before.push(`const comm${id}_${index} = local(Comm); bpf_get_current_comm(comm${id}_${index});`);
      return `part${index}: comm${id}_${index}`;
    });
    return (
      `{ ${before.join(' ')} const key = local(Key${id}${given.length === 0 ? '' : `, { ${given.join(', ')} }`}); ` +
      `const seen = ${map}.lookup(key); if (seen !== null) atomicAdd(seen, 'value', 1n); ` +
      `else if (${map}.update(key, 1n, BPF_NOEXIST) !== 0) { const again = ${map}.lookup(key); ` +
      `if (again !== null) atomicAdd(again, 'value', 1n); else atomicAdd(lost, 'value', 1n); } }`
    );
  }

  /** What a part of a key is: a field of the event with its own type, the command's name, or a number of 64 bits. */
  #part(node: Node): KeyPart {
    const label = this.#text.slice(node.start ?? 0, node.end ?? 0);
    if (calleeOf(node) === 'comm') return { kind: 'comm', label };
    const object = node.type === 'MemberExpression' ? (node.object as Node) : null;
    if (object?.type !== 'Identifier' || object.name !== this.#parameter || this.#event === null) {
      return { kind: 'number', label };
    }
    const name = (node.property as Node).name as string;
    const field = this.#event.fields.find((one) => one.name === name);
    if (field === undefined) {
      this.#refuse(
        node,
        `${this.#event.event} has no field ${name}: ${this.#event.fields.map((one) => one.name).join(', ')}`,
      );
    }
    if (field.dynamic)
      this.#refuse(node, `${name} lies outside of the event (${field.declaration}) and cannot be a key`);
    return { kind: 'field', label: name, field, type: typeOfField(field) };
  }

  #histogram(node: Node, values: readonly Node[], known: Known | null): string {
    if (values.length !== 1) this.#refuse(node, 'histogram takes one number: histogram(event.len)');
    const id = this.#names++;
    const map = `histogram${id}`;
    const label = this.#text.slice(values[0].start ?? 0, values[0].end ?? 0);
    this.collected.push({ kind: 'histogram', map, label });
    this.#declarations.push(`export const ${map} = array({ value: u64, maxEntries: 65 });`);
    return (
      `{ const counter = ${map}.lookup(slotOf(u64(${this.#value(values[0], known)}))); ` +
      `if (counter !== null) atomicAdd(counter, 'value', 1n); }`
    );
  }

  #stacks(node: Node): string {
    if (this.#parameter === null) this.#refuse(node, "stacks needs the event: on('…', (event) => stacks())");
    const id = this.#names++;
    const map = `stacks${id}`;
    const traces = `traces${id}`;
    this.collected.push({ kind: 'stacks', map, traces });
    this.#declarations.push(
      `export const ${traces} = stackTrace({ value: array(u64, ${STACK_DEPTH}), maxEntries: ${STACKS} });`,
      `export const ${map} = hash({ key: u32, value: u64, maxEntries: ${STACKS} });`,
    );
    return (
      `{ const id = bpf_get_stackid(${this.#parameter}, ${traces}, ${REUSE_STACK_ID}n); if (id >= 0) { const stack = u32(id); ` +
      `const seen = ${map}.lookup(stack); if (seen !== null) atomicAdd(seen, 'value', 1n); else ${map}.update(stack, 1n, BPF_NOEXIST); } ` +
      `else atomicAdd(lost, 'value', 1n); }`
    );
  }
}

/** A part of the script that stands for a variable already. */
interface Known {
  readonly node: Node;
  readonly text: string;
}

/**
 * Translates a script.
 * @param formatOf gives an event's fields; its errors pass through
 * @throws ScriptError with line and column in the script
 */
export function translate(text: string, formatOf: (event: string) => EventFormat): Translation {
  let tree: Tree;
  try {
    tree = parse(text, { sourceType: 'module', plugins: ['typescript'] });
  } catch (error) {
    const { message, loc } = error as Error & { loc?: { line: number; column: number } };
    const place = loc === undefined ? '' : `:${loc.line}:${loc.column + 1}`;
    throw new ScriptError(`script${place}: ${message.replace(/ \(\d+:\d+\)$/, '')}`);
  }
  const translator = new Translator(text, formatOf);
  for (const statement of tree.program.body) translator.statement(statement);
  if (translator.events.length === 0) {
    throw new ScriptError("the script watches nothing: on('subsystem:event', (event) => …) is wanted");
  }
  const { source, collected, events } = translator;
  return { source, collected, events };
}

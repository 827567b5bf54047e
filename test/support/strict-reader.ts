/**
 * Test support: a reader of HTTP/1.1 messages that shares no code with the library and forgives nothing. What it cannot read
 * in exactly one way is a fault, which is what "unambiguous" means for octets that a proxy sends.
 */

export interface Message {
  /** The start line. */
  readonly start: string;
  /** Field lines in order, names in lower case. */
  readonly fields: readonly (readonly [string, string])[];
  readonly body: Buffer;
  readonly trailers: readonly (readonly [string, string])[];
}

export interface Reading {
  readonly messages: readonly Message[];
  /** Octets behind the last complete message. */
  readonly rest: Buffer;
  /** What is wrong with them, or an empty string. */
  readonly fault: string;
  /** Whether the message in `rest` ends with the connection. */
  readonly untilClose: Message | null;
}

const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/;

export function fieldOf(message: Pick<Message, 'fields'>, name: string): string | null {
  const values = message.fields.filter(([key]) => key === name).map(([, value]) => value);
  return values.length === 0 ? null : values.join(', ');
}

interface Part {
  readonly end: number;
  readonly body: Buffer;
  readonly trailers: readonly (readonly [string, string])[];
}

function fieldLines(lines: readonly string[]): [string, string][] | string {
  const fields: [string, string][] = [];
  for (const line of lines) {
    const match = FIELD.exec(line);
    if (match === null) return `the field line ${JSON.stringify(line)}`;
    fields.push([match[1].toLowerCase(), match[2]]);
  }
  return fields;
}

/** Reads a chunked body: its end, null while incomplete, or the fault. */
function chunked(text: string, start: number): Part | null | string {
  let position = start;
  let body = '';
  for (;;) {
    const line = text.indexOf('\r\n', position);
    if (line < 0) return /^[0-9A-Fa-f]{0,16}\r?$/.test(text.slice(position)) ? null : 'a chunk line';
    const size = text.slice(position, line);
    if (!/^[0-9A-Fa-f]{1,16}$/.test(size)) return `the chunk line ${JSON.stringify(size)}`;
    const length = Number.parseInt(size, 16);
    position = line + 2;
    if (length === 0) break;
    if (text.length < position + length + 2) return null;
    if (text.slice(position + length, position + length + 2) !== '\r\n') return 'a chunk without CRLF behind it';
    body += text.slice(position, position + length);
    position += length + 2;
  }
  const end = text.startsWith('\r\n', position) ? position : text.indexOf('\r\n\r\n', position) + 2;
  if (end < position) return null;
  const trailers = fieldLines(text.slice(position, end).split('\r\n').slice(0, -1));
  if (typeof trailers === 'string') return trailers;
  return { end: end + 2, body: Buffer.from(body, 'latin1'), trailers };
}

/**
 * Reads messages until the octets end or a fault. `bodiless` answers whether a message has no body whatever its fields say (a
 * response to HEAD); `isResponse` allows a body that ends with the connection.
 */
export function readMessages(
  octets: Buffer,
  isResponse: boolean,
  bodiless: (start: string, index: number) => boolean = () => false,
): Reading {
  const text = octets.toString('latin1');
  const messages: Message[] = [];
  let position = 0;
  let untilClose: Message | null = null;
  let fault = '';
  while (position < text.length) {
    const headEnd = text.indexOf('\r\n\r\n', position);
    const head = headEnd < 0 ? text.slice(position) : text.slice(position, headEnd);
    if (/\r(?!\n|$)|(?<!\r)\n|\0/.test(head)) fault = 'a bare CR, LF or NUL in the head';
    if (headEnd < 0 || fault !== '') break;
    const [start, ...lines] = head.split('\r\n');
    const fields = fieldLines(lines);
    if (typeof fields === 'string') {
      fault = fields;
      break;
    }
    const count = (name: string): number => fields.filter(([key]) => key === name).length;
    const length = fieldOf({ fields }, 'content-length');
    const coding = fieldOf({ fields }, 'transfer-encoding');
    if (!isResponse && count('host') !== 1) fault = `${count('host')} Host lines`;
    if (count('content-length') > 1 || (length !== null && !/^\d+$/.test(length))) fault = `Content-Length ${length}`;
    if (coding !== null && (coding !== 'chunked' || length !== null)) fault = `Transfer-Encoding ${coding}`;
    if (fault !== '') break;
    let part: Part | null | string = { end: headEnd + 4, body: Buffer.alloc(0), trailers: [] };
    const never = isResponse && /^HTTP\/1\.1 (1|204|304)/.test(start);
    if (!never && !bodiless(start, messages.length)) {
      if (coding !== null) part = chunked(text, headEnd + 4);
      else if (length !== null) part = counted(text, headEnd + 4, Number(length));
      else if (isResponse) {
        untilClose = { start, fields, body: octets.subarray(headEnd + 4), trailers: [] };
        break;
      }
    }
    if (typeof part === 'string') fault = part;
    if (part === null || typeof part === 'string') break;
    messages.push({ start, fields, body: part.body, trailers: part.trailers });
    position = part.end;
  }
  return { messages, rest: octets.subarray(position), fault, untilClose };
}

function counted(text: string, start: number, length: number): Part | null {
  if (text.length < start + length) return null;
  return { end: start + length, body: Buffer.from(text.slice(start, start + length), 'latin1'), trailers: [] };
}

/**
 * Room `http`: numbers for the standard methods (RFC 9110 section 9, PATCH from RFC 5789) and what each allows.
 *
 * A newcomer would get wrong: methods are compared with case (`get` is an unknown method), and METHOD_OTHER is a valid request:
 * whether it gets 501 is the server's choice, not the parser's.
 */

export const METHOD_OTHER = 0;
export const METHOD_GET = 1;
export const METHOD_HEAD = 2;
export const METHOD_POST = 3;
export const METHOD_PUT = 4;
export const METHOD_DELETE = 5;
export const METHOD_CONNECT = 6;
export const METHOD_OPTIONS = 7;
export const METHOD_TRACE = 8;
export const METHOD_PATCH = 9;

/** Names by number; METHOD_OTHER has none. */
export const METHOD_NAMES: readonly string[] = [
  '',
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
];

const METHOD_BYTES_MAX = 8;
const lengths = new Uint8Array(METHOD_NAMES.length);
const spellings = new Uint8Array(METHOD_NAMES.length * METHOD_BYTES_MAX);
for (let method = 1; method < METHOD_NAMES.length; method++) {
  const name = METHOD_NAMES[method];
  lengths[method] = name.length;
  for (let index = 0; index < name.length; index++)
    spellings[method * METHOD_BYTES_MAX + index] = name.charCodeAt(index);
}

/** The number of the method `bytes[start, end)`. */
export function methodOf(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  for (let method = 1; method < lengths.length; method++) {
    if (lengths[method] !== length) continue;
    let index = 0;
    while (index < length && bytes[start + index] === spellings[method * METHOD_BYTES_MAX + index]) index++;
    if (index === length) return method;
  }
  return METHOD_OTHER;
}

/** Asks for nothing but information (RFC 9110 section 9.2.1). */
export function isSafe(method: number): boolean {
  return method === METHOD_GET || method === METHOD_HEAD || method === METHOD_OPTIONS || method === METHOD_TRACE;
}

/** May be sent again after a connection broke (RFC 9110 section 9.2.2). */
export function isIdempotent(method: number): boolean {
  return isSafe(method) || method === METHOD_PUT || method === METHOD_DELETE;
}

/**
 * Room `http`: what a handler may send as a field. A line end in a value would let whoever chose the value write further
 * fields, or a whole response of their own (RFC 9110 section 5.5), so it is refused rather than repaired.
 */
import { FIELD_VALUE, TOKEN } from './characters.ts';

/** @throws TypeError for a name that is no token or a value that is no string of characters allowed in a field */
export function checkField(name: string, value: string): void {
  let valid = typeof name === 'string' && name.length > 0;
  for (let index = 0; valid && index < name.length; index++) valid = TOKEN[name.charCodeAt(index)] === 1;
  if (!valid) throw new TypeError(`'${name}' is no field name (RFC 9110 section 5.1)`);
  // An object could answer one thing now and another when it is written.
  if (typeof value !== 'string') throw new TypeError(`the value of ${name} is no string`);
  for (let index = 0; index < value.length; index++) {
    if (FIELD_VALUE[value.charCodeAt(index)] !== 1)
      throw new TypeError(`the value of ${name} has a character that no field may carry`);
  }
}

/** Fields that say where a message ends or what it is for (RFC 9110 section 6.5.1). */
const NOT_TRAILING: ReadonlySet<string> = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'host',
  'set-cookie',
  'trailer',
  'transfer-encoding',
]);

/** @throws TypeError as {@link checkField}, and for fields that must not trail */
export function checkTrailer(name: string, value: string): void {
  checkField(name, value);
  if (NOT_TRAILING.has(name.toLowerCase())) throw new TypeError(`${name} must not come behind the content`);
}

/**
 * Room `http`: strings of a head as octets. A head is ISO 8859-1 (RFC 9110 section 5.5): every character is one octet.
 *
 * A newcomer would get wrong: writing octet by octet beats the encoder for short strings, and nothing here checks that the
 * characters fit; whoever made the string did.
 */

/** Writes `value` at an offset of the engine's memory. */
export function writeLatin1(memory: Uint8Array, at: number, value: string): void {
  for (let index = 0; index < value.length; index++) memory[at + index] = value.charCodeAt(index);
}

export function latin1(value: string): Uint8Array {
  return Buffer.from(value, 'latin1');
}

/**
 * Room `net`: what a program may send as one datagram: bytes, a string, or an array of both.
 *
 * A newcomer would get wrong: an array is one datagram, never several.
 */
export type Payload = Uint8Array | string | readonly (Uint8Array | string)[];

const encoder = new TextEncoder();

/** The payload's bytes; a Uint8Array is not copied. @throws TypeError for anything else */
export function payloadBytes(payload: Payload): Uint8Array {
  return Array.isArray(payload) ? concatenated(payload) : bytesOf(payload as Uint8Array | string);
}

function bytesOf(payload: Uint8Array | string): Uint8Array {
  if (typeof payload === 'string') return encoder.encode(payload);
  if (payload instanceof Uint8Array) return payload;
  throw new TypeError('send takes a Uint8Array, a string or an array of both');
}

function concatenated(parts: readonly (Uint8Array | string)[]): Uint8Array {
  const chunks = parts.map(bytesOf);
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

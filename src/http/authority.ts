/**
 * Room `http`: checks an authority, which is the Host field, the middle of an absolute-form target, or CONNECT's whole target.
 *
 * A newcomer would get wrong: user information is no part of it. RFC 9110 section 4.2.4 wants it treated as an error,
 * because `http://bank.example@attacker.example/` is made to mislead.
 */
import { COLON, HEXADECIMAL, HOST_NAME, PERCENT } from './characters.ts';

const LEFT_BRACKET = 0x5b;
const RIGHT_BRACKET = 0x5d;
const DOT = 0x2e;
const PORT_MAX = 65535;

/**
 * Whether `bytes[start, end)` is `uri-host [ ":" port ]` (RFC 9110 section 7.2) with a host that is not empty (section 4.2.1).
 * The port may be empty unless `portRequired`.
 */
export function isAuthority(bytes: Uint8Array, start: number, end: number, portRequired: boolean): boolean {
  if (start === end) return false;
  let position = start;
  if (bytes[position] === LEFT_BRACKET) {
    while (position < end && bytes[position] !== RIGHT_BRACKET) position++;
    if (position === end || !isIpv6(bytes, start + 1, position)) return false;
    position++;
  } else {
    for (;;) {
      while (position < end && HOST_NAME[bytes[position]] !== 0) position++;
      if (position === end || bytes[position] !== PERCENT) break;
      if (position + 2 >= end) return false;
      if (HEXADECIMAL[bytes[position + 1]] === 0 || HEXADECIMAL[bytes[position + 2]] === 0) return false;
      position += 3;
    }
    if (position === start) return false;
  }
  if (position === end) return !portRequired;
  if (bytes[position] !== COLON) return false;
  position++;
  if (position === end) return !portRequired;
  let port = 0;
  for (; position < end; position++) {
    const digit = bytes[position] - 0x30;
    if (digit < 0 || digit > 9) return false;
    port = port * 10 + digit;
    if (port > PORT_MAX) return false;
  }
  return true;
}

/** IPv6address of RFC 3986 section 3.2.2: eight groups, or fewer around one `::`; the last two may be written as IPv4. */
function isIpv6(bytes: Uint8Array, start: number, end: number): boolean {
  let groups = 0;
  let compressed = false;
  let position = start;
  if (position + 1 < end && bytes[position] === COLON && bytes[position + 1] === COLON) {
    compressed = true;
    position += 2;
  }
  while (position < end) {
    const groupStart = position;
    while (position < end && HEXADECIMAL[bytes[position]] !== 0) position++;
    if (position < end && bytes[position] === DOT) {
      if (!isIpv4(bytes, groupStart, end)) return false;
      groups += 2;
      break;
    }
    if (position === groupStart || position - groupStart > 4) return false;
    groups++;
    if (position === end) break;
    if (bytes[position] !== COLON) return false;
    position++;
    if (position === end) return false;
    if (bytes[position] === COLON) {
      if (compressed) return false;
      compressed = true;
      position++;
    }
  }
  return compressed ? groups < 8 : groups === 8;
}

function isIpv4(bytes: Uint8Array, start: number, end: number): boolean {
  let position = start;
  for (let part = 0; part < 4; part++) {
    if (part > 0 && bytes[position++] !== DOT) return false;
    const partStart = position;
    let value = 0;
    while (position < end && bytes[position] >= 0x30 && bytes[position] <= 0x39)
      value = value * 10 + bytes[position++] - 0x30;
    const digits = position - partStart;
    if (digits === 0 || digits > 3 || value > 255 || (digits > 1 && bytes[partStart] === 0x30)) return false;
  }
  return position === end;
}

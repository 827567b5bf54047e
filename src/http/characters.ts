/**
 * Room `http`: which octets may stand where on the wire, as tables of 256 entries, and the few octets that have names here.
 *
 * A newcomer would get wrong: in the tables 0 means "not allowed here", so that a scan is a loop `while (TABLE[byte] !== 0)`
 * and whoever stands at the first other octet decides what it means.
 */

export const HT = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SP = 0x20;
export const QUOTE = 0x22;
export const PERCENT = 0x25;
export const ASTERISK = 0x2a;
export const COMMA = 0x2c;
export const SLASH = 0x2f;
export const COLON = 0x3a;
export const SEMICOLON = 0x3b;
export const EQUALS = 0x3d;
export const QUESTION = 0x3f;
export const BACKSLASH = 0x5c;

const TOKEN_PUNCTUATION = "!#$%&'*+-.^_`|~";
const UNRESERVED_PUNCTUATION = '-._~';
const SUB_DELIMITERS = "!$&'()*+,;=";

function table(allowed: (octet: number, character: string) => boolean): Uint8Array {
  const classes = new Uint8Array(256);
  for (let octet = 0; octet < 256; octet++) classes[octet] = allowed(octet, String.fromCharCode(octet)) ? 1 : 0;
  return classes;
}

function isAlphanumeric(character: string): boolean {
  return /^[0-9A-Za-z]$/.test(character);
}

/** tchar (RFC 9110 section 5.6.2): methods, field names, codings, options. */
export const TOKEN = table((_, character) => isAlphanumeric(character) || TOKEN_PUNCTUATION.includes(character));

/** field-vchar, SP and HTAB (RFC 9110 section 5.5). obs-text is allowed; every control octet, DEL too, is not. */
export const FIELD_VALUE = table((octet) => octet === HT || (octet >= SP && octet !== 0x7f));

/** What may stand between the quotes of a quoted-string (RFC 9110 section 5.6.4), apart from a backslash and its octet. */
export const QUOTED = table((octet) => FIELD_VALUE[octet] !== 0 && octet !== QUOTE && octet !== BACKSLASH);

/** reg-name (RFC 3986 section 3.2.2) without `%`, which needs two digits behind it. */
export const HOST_NAME = table(
  (_, character) =>
    isAlphanumeric(character) || UNRESERVED_PUNCTUATION.includes(character) || SUB_DELIMITERS.includes(character),
);

export const TARGET_PLAIN = 1;
export const TARGET_PERCENT = 2;
export const TARGET_QUERY = 3;

/**
 * Octets of a request-target: TARGET_PLAIN, or one of the two that need a look. SP, control octets and `#` are 0: a fragment
 * is part of no form (RFC 9112 section 3.2). What RFC 3986 forbids but browsers send (`"<>[\]^{|}`, the grave accent and
 * octets above 7F) is let through: no message boundary depends on it.
 */
export const TARGET = table((octet, character) => octet > SP && octet !== 0x7f && character !== '#');
TARGET[PERCENT] = TARGET_PERCENT;
TARGET[QUESTION] = TARGET_QUERY;

/** The value of a hexadecimal digit plus one, so that 0 means "no digit". */
export const HEXADECIMAL = new Uint8Array(256);
for (let digit = 0; digit < 16; digit++) {
  const character = digit.toString(16);
  HEXADECIMAL[character.charCodeAt(0)] = digit + 1;
  HEXADECIMAL[character.toUpperCase().charCodeAt(0)] = digit + 1;
}

/**
 * Room `http`: from the path of a request-target to a name below a root: decoded, without dot segments, never above the root.
 *
 * A newcomer would get wrong: decode once and only once, then look. Checking before decoding lets `%2e%2e%2f` through, decoding
 * twice makes `%252e` a dot. A separator that was encoded is refused instead of guessed at: `/a%2Fb` is one segment to
 * RFC 3986 and two to a file system.
 */

/** Why a path has no name below any root. */
export type PathRefusal =
  /** Does not begin with a slash. */
  | 'not-absolute'
  /** `%` without two hexadecimal digits. */
  | 'bad-encoding'
  /** Decoded, it is not UTF-8; overlong forms and surrogates are not either. */
  | 'not-utf-8'
  /** An encoded slash, a backslash in any form, NUL or another control character. */
  | 'forbidden-character'
  /** Its dot segments lead above the root. */
  | 'above-root';

export type PathVerdict =
  | { readonly ok: true; readonly path: string }
  | { readonly ok: false; readonly refusal: PathRefusal };

/** Nothing to decode, no dot segment, no empty segment: such a path is its own name. */
const PLAIN = /^(?:\/(?!\.{1,2}(?:\/|$))[\w.~!$&'()*+,;=:@-]+)*\/?$/;
const PERCENT_ENCODED = /%([0-9A-Fa-f]{2})?/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
const FORBIDDEN = /[\x00-\x1f\x7f\\]/;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The name for a path as it stands in a request-target (one character per octet, no query). It begins with a slash, has no
 * segments `.`, `..` or empty ones, and ends in a slash where the path does, or in a dot segment. Joined to a root it stays
 * below it as far as names go; links are the file system's matter.
 */
export function resolvePath(path: string): PathVerdict {
  if (path.charCodeAt(0) !== 0x2f) return refuse('not-absolute');
  if (PLAIN.test(path)) return { ok: true, path };
  const decoded = decode(path);
  if (!decoded.ok) return decoded;
  const segments: string[] = [];
  const given = decoded.path.split('/');
  for (let index = 1; index < given.length; index++) {
    const segment = given[index];
    if (segment === '' || segment === '.') continue;
    if (segment !== '..') segments.push(segment);
    else if (segments.pop() === undefined) return refuse('above-root');
  }
  const last = given[given.length - 1];
  const endsInSlash = segments.length > 0 && (last === '' || last === '.' || last === '..');
  return { ok: true, path: `/${segments.join('/')}${endsInSlash ? '/' : ''}` };
}

/** Decodes the percent-encodings, whose octets have to be UTF-8 together with what stands between them. */
function decode(path: string): PathVerdict {
  let isBroken = false;
  let hidesSlash = false;
  const octets = path.replace(PERCENT_ENCODED, (_, digits: string | undefined) => {
    if (digits === undefined) {
      isBroken = true;
      return '';
    }
    const octet = Number.parseInt(digits, 16);
    if (octet === 0x2f) hidesSlash = true;
    return String.fromCharCode(octet);
  });
  if (isBroken) return refuse('bad-encoding');
  let decoded: string;
  try {
    decoded = utf8.decode(Buffer.from(octets, 'latin1'));
  } catch {
    return refuse('not-utf-8');
  }
  if (hidesSlash || FORBIDDEN.test(decoded)) return refuse('forbidden-character');
  return { ok: true, path: decoded };
}

function refuse(refusal: PathRefusal): PathVerdict {
  return { ok: false, refusal };
}

/**
 * Room `http`: numbers for the field names that the wire is full of, so that a field is found by an array read instead of by
 * comparing strings.
 *
 * A newcomer would get wrong: 0 is "no known name", not a name. A hash alone never decides: the octets are always compared,
 * because a crafted name that merely collided with `content-length` would move a message boundary.
 */

/** Lower-case names by number. */
export const FIELD_NAMES: readonly string[] = [
  '',
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'expect',
  'upgrade',
  'te',
  'trailer',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'http2-settings',
  'range',
  'if-range',
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
  'accept',
  'accept-encoding',
  'accept-language',
  'accept-ranges',
  'age',
  'allow',
  'alt-svc',
  'authorization',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-location',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'dnt',
  'etag',
  'expires',
  'forwarded',
  'last-modified',
  'link',
  'location',
  'max-forwards',
  'origin',
  'pragma',
  'priority',
  'referer',
  'retry-after',
  'sec-ch-ua',
  'sec-ch-ua-mobile',
  'sec-ch-ua-platform',
  'sec-fetch-dest',
  'sec-fetch-mode',
  'sec-fetch-site',
  'sec-fetch-user',
  'sec-websocket-accept',
  'sec-websocket-extensions',
  'sec-websocket-key',
  'sec-websocket-protocol',
  'sec-websocket-version',
  'server',
  'set-cookie',
  'upgrade-insecure-requests',
  'user-agent',
  'vary',
  'via',
  'www-authenticate',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip',
  'x-request-id',
];

export const FIELD_OTHER = 0;
export const FIELD_HOST = 1;
export const FIELD_CONTENT_LENGTH = 2;
export const FIELD_TRANSFER_ENCODING = 3;
export const FIELD_CONNECTION = 4;
export const FIELD_EXPECT = 5;
export const FIELD_UPGRADE = 6;
export const FIELD_TE = 7;
export const FIELD_TRAILER = 8;
export const FIELD_KEEP_ALIVE = 9;
export const FIELD_PROXY_CONNECTION = 10;
export const FIELD_PROXY_AUTHENTICATE = 11;
export const FIELD_PROXY_AUTHORIZATION = 12;
export const FIELD_HTTP2_SETTINGS = 13;
export const FIELD_RANGE = 14;
export const FIELD_IF_RANGE = 15;
export const FIELD_IF_MATCH = 16;
export const FIELD_IF_NONE_MATCH = 17;
export const FIELD_IF_MODIFIED_SINCE = 18;
export const FIELD_IF_UNMODIFIED_SINCE = 19;
export const FIELD_ACCEPT = 20;
export const FIELD_ACCEPT_ENCODING = 21;
export const FIELD_ACCEPT_LANGUAGE = 22;
export const FIELD_ACCEPT_RANGES = 23;
export const FIELD_AGE = 24;
export const FIELD_ALLOW = 25;
export const FIELD_ALT_SVC = 26;
export const FIELD_AUTHORIZATION = 27;
export const FIELD_CACHE_CONTROL = 28;
export const FIELD_CONTENT_DISPOSITION = 29;
export const FIELD_CONTENT_ENCODING = 30;
export const FIELD_CONTENT_LANGUAGE = 31;
export const FIELD_CONTENT_LOCATION = 32;
export const FIELD_CONTENT_RANGE = 33;
export const FIELD_CONTENT_TYPE = 34;
export const FIELD_COOKIE = 35;
export const FIELD_DATE = 36;
export const FIELD_DNT = 37;
export const FIELD_ETAG = 38;
export const FIELD_EXPIRES = 39;
export const FIELD_FORWARDED = 40;
export const FIELD_LAST_MODIFIED = 41;
export const FIELD_LINK = 42;
export const FIELD_LOCATION = 43;
export const FIELD_MAX_FORWARDS = 44;
export const FIELD_ORIGIN = 45;
export const FIELD_PRAGMA = 46;
export const FIELD_PRIORITY = 47;
export const FIELD_REFERER = 48;
export const FIELD_RETRY_AFTER = 49;
export const FIELD_SEC_CH_UA = 50;
export const FIELD_SEC_CH_UA_MOBILE = 51;
export const FIELD_SEC_CH_UA_PLATFORM = 52;
export const FIELD_SEC_FETCH_DEST = 53;
export const FIELD_SEC_FETCH_MODE = 54;
export const FIELD_SEC_FETCH_SITE = 55;
export const FIELD_SEC_FETCH_USER = 56;
export const FIELD_SEC_WEBSOCKET_ACCEPT = 57;
export const FIELD_SEC_WEBSOCKET_EXTENSIONS = 58;
export const FIELD_SEC_WEBSOCKET_KEY = 59;
export const FIELD_SEC_WEBSOCKET_PROTOCOL = 60;
export const FIELD_SEC_WEBSOCKET_VERSION = 61;
export const FIELD_SERVER = 62;
export const FIELD_SET_COOKIE = 63;
export const FIELD_UPGRADE_INSECURE_REQUESTS = 64;
export const FIELD_USER_AGENT = 65;
export const FIELD_VARY = 66;
export const FIELD_VIA = 67;
export const FIELD_WWW_AUTHENTICATE = 68;
export const FIELD_X_FORWARDED_FOR = 69;
export const FIELD_X_FORWARDED_HOST = 70;
export const FIELD_X_FORWARDED_PROTO = 71;
export const FIELD_X_REAL_IP = 72;
export const FIELD_X_REQUEST_ID = 73;

/** How many numbers there are, 0 included. */
export const FIELD_COUNT: number = FIELD_NAMES.length;

const SLOTS = 256;
const SPELLING_WORDS_MAX = 8;
/** Slot to the first number of its chain. */
const firstInSlot = new Uint8Array(SLOTS);
/** Number to the next of the same slot. */
const nextInSlot = new Uint8Array(FIELD_COUNT);
const lengths = new Uint8Array(FIELD_COUNT);
/** Spellings as little-endian words of four octets. */
const words = new Int32Array(FIELD_COUNT * SPELLING_WORDS_MAX);
/** The last four octets of each, which overlap the word before them. */
const lastWords = new Int32Array(FIELD_COUNT);
/** Makes letters lower-case; `-` and digits stay what they are. */
const LOWER_CASE = 0x20202020;

/** Length, first and last octet tell nearly all known names apart. */
function slotOf(length: number, first: number, last: number): number {
  return (length * 11 + (first | 0x20) * 7 + (last | 0x20) * 3) & (SLOTS - 1);
}

for (let id = 1; id < FIELD_COUNT; id++) {
  const spelling = Buffer.from(FIELD_NAMES[id]);
  const length = spelling.length;
  lengths[id] = length;
  const slot = slotOf(length, spelling[0], spelling[length - 1]);
  nextInSlot[id] = firstInSlot[slot];
  firstInSlot[slot] = id;
  for (let index = 0; index * 4 + 4 <= length; index++)
    words[id * SPELLING_WORDS_MAX + index] = spelling.readInt32LE(index * 4);
  lastWords[id] = length >= 4 ? spelling.readInt32LE(length - 4) : shortWord(spelling, 0, length);
}

function shortWord(bytes: Uint8Array, start: number, end: number): number {
  let word = 0;
  for (let position = start; position < end; position++) word = (word << 8) | bytes[position] | 0x20;
  return word;
}

/**
 * The number of the name `bytes[start, end)`, at least one octet, in any case; FIELD_OTHER when it is none of ours. `view` shows
 * the same octets. They have to be tokens already: `| 0x20` would also take CR for a hyphen.
 */
export function fieldIdOf(bytes: Uint8Array, view: DataView, start: number, end: number): number {
  const length = end - start;
  for (let id = firstInSlot[slotOf(length, bytes[start], bytes[end - 1])]; id !== FIELD_OTHER; id = nextInSlot[id]) {
    if (lengths[id] !== length) continue;
    if (length < 4) {
      if (shortWord(bytes, start, end) === lastWords[id]) return id;
      continue;
    }
    if ((view.getInt32(end - 4, true) | LOWER_CASE) !== lastWords[id]) continue;
    let word = id * SPELLING_WORDS_MAX;
    let position = start;
    while (position + 4 < end && (view.getInt32(position, true) | LOWER_CASE) === words[word]) {
      position += 4;
      word++;
    }
    if (position + 4 >= end) return id;
  }
  return FIELD_OTHER;
}

const idByName = new Map(FIELD_NAMES.map((name, id) => [name, id] as const).slice(1));

/** The number of a lower-case name, for set-up code; FIELD_OTHER when it is none of ours. */
export function fieldIdOfName(name: string): number {
  return idByName.get(name) ?? FIELD_OTHER;
}

/**
 * Room `http`: dates on the wire (RFC 9110 section 5.6.7). Written as IMF-fixdate only; read in all three forms.
 *
 * A newcomer would get wrong: a Date field is the same for a whole second, so it is made once a second and not once a response.
 */

export const DATE_BYTES = 29;

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `Sun, 06 Nov 1994 08:49:37 GMT` for milliseconds since 1970; years 0 to 9999. */
export function formatDate(timeMs: number): string {
  // ECMAScript defines toUTCString as just this form for these years (ECMA-262, Date.prototype.toUTCString).
  return new Date(timeMs).toUTCString();
}

/** The current Date value as octets, made anew when the second has changed. One per thread. */
export class DateCache {
  /** The DATE_BYTES octets of the last `update`. */
  readonly bytes: Uint8Array = new Uint8Array(DATE_BYTES);
  #second = Number.NaN;

  /** Brings `bytes` up to date for `timeMs` (as of `Date.now()`). Answers whether they changed. */
  update(timeMs: number): boolean {
    const second = Math.floor(timeMs / 1000);
    if (second === this.#second) return false;
    this.#second = second;
    const value = formatDate(second * 1000);
    for (let index = 0; index < DATE_BYTES; index++) this.bytes[index] = value.charCodeAt(index);
    return true;
  }
}

const TIME = '(\\d{2}):(\\d{2}):(\\d{2})';
const MONTH = `(${MONTHS.join('|')})`;
const IMF_FIXDATE = new RegExp(`^(?:${DAYS.join('|')}), (\\d{2}) ${MONTH} (\\d{4}) ${TIME} GMT$`);
const RFC_850 = new RegExp(
  `^(?:Sunday|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday), (\\d{2})-${MONTH}-(\\d{2}) ${TIME} GMT$`,
);
const ASCTIME = new RegExp(`^(?:${DAYS.join('|')}) ${MONTH} ([ \\d]\\d) ${TIME} (\\d{4})$`);

/** Milliseconds since 1970, or NaN for what is no date in one of the three forms. `nowMs` places two-digit years. */
export function parseDate(value: string, nowMs: number = Date.now()): number {
  let match = IMF_FIXDATE.exec(value);
  if (match !== null) return timeOf(Number(match[3]), match[2], match[1], match[4], match[5], match[6]);
  match = ASCTIME.exec(value);
  if (match !== null) return timeOf(Number(match[6]), match[1], match[2], match[3], match[4], match[5]);
  match = RFC_850.exec(value);
  if (match === null) return Number.NaN;
  // A year that looks more than 50 years ahead is the last one with these digits in the past (section 5.6.7).
  const thisYear = new Date(nowMs).getUTCFullYear();
  let year = thisYear - (thisYear % 100) + Number(match[3]);
  if (year > thisYear + 50) year -= 100;
  return timeOf(year, match[2], match[1], match[4], match[5], match[6]);
}

function timeOf(year: number, month: string, day: string, hour: string, minute: string, second: string): number {
  const monthIndex = MONTHS.indexOf(month);
  // 60 is a leap second, which POSIX time counts as the first of the next minute.
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60) return Number.NaN;
  const date = new Date(0);
  date.setUTCFullYear(year, monthIndex, Number(day));
  // A day that the month does not have rolls over.
  if (date.getUTCDate() !== Number(day) || date.getUTCMonth() !== monthIndex) return Number.NaN;
  return date.setUTCHours(Number(hour), Number(minute), Number(second), 0);
}

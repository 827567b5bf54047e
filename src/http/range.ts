/**
 * Room `http`: byte ranges (RFC 9110 section 14): what a Range field asks of a representation of known size.
 *
 * A newcomer would get wrong: a Range that cannot be read is ignored and answered with the whole (section 14.2); 416 is only for
 * one that can be read but lies beyond the end. And many small or overlapping ranges are an attack (section 17.15).
 */

/** Octets `start` to `end`, the latter not included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export type RangeVerdict =
  /** Send the whole with 200. */
  | { readonly kind: 'whole' }
  /** Send these with 206, in this order. At least one, none empty. */
  | { readonly kind: 'ranges'; readonly ranges: readonly ByteRange[] }
  /** 416 with `Content-Range: bytes *\/size`. */
  | { readonly kind: 'unsatisfiable' };

const WHOLE: RangeVerdict = { kind: 'whole' };
const UNSATISFIABLE: RangeVerdict = { kind: 'unsatisfiable' };
const RANGE_SPEC = /^[ \t]*(?:(\d+)-(\d*)|-(\d+))[ \t]*$/;

/** More ranges than this are answered with the whole; a viewer of documents asks for a handful. */
const RANGES_MAX = 16;
/** Two ranges that overlap are a careless client, more are an attack (section 17.15 advises to ignore or join them). */
const OVERLAPS_MAX = 2;

/** Reads the value of a Range field for a representation of `size` octets. */
export function parseRange(value: string, size: number): RangeVerdict {
  const equals = value.indexOf('=');
  // The unit has no case (section 14.1); one that is unknown is ignored.
  if (equals < 0 || value.slice(0, equals).trimEnd().toLowerCase() !== 'bytes') return WHOLE;
  const ranges: ByteRange[] = [];
  const specs = value.slice(equals + 1).split(',');
  if (specs.length > RANGES_MAX) return WHOLE;
  let readable = 0;
  for (const spec of specs) {
    if (spec.trim() === '') continue;
    const match = RANGE_SPEC.exec(spec);
    if (match === null) return WHOLE;
    readable++;
    const [, first, last, suffix] = match;
    if (suffix !== undefined) {
      const length = Math.min(Number(suffix), size);
      if (length > 0) ranges.push({ start: size - length, end: size });
      continue;
    }
    const start = Number(first);
    const end = last === '' ? size : Math.min(Number(last) + 1, size);
    if (last !== '' && Number(last) < start) return WHOLE;
    if (start < size) ranges.push({ start, end });
  }
  if (readable === 0) return WHOLE;
  if (ranges.length === 0) return UNSATISFIABLE;
  if (overlaps(ranges) > OVERLAPS_MAX) return WHOLE;
  return { kind: 'ranges', ranges };
}

function overlaps(ranges: readonly ByteRange[]): number {
  let count = 0;
  for (let one = 0; one < ranges.length; one++) {
    for (let other = 0; other < one; other++) {
      if (ranges[one].start < ranges[other].end && ranges[other].start < ranges[one].end) count++;
    }
  }
  return count;
}

/** The value of Content-Range for a part. */
export function contentRange(range: ByteRange, size: number): string {
  return `bytes ${range.start}-${range.end - 1}/${size}`;
}

/** The value of Content-Range beside 416. */
export function unsatisfiedRange(size: number): string {
  return `bytes */${size}`;
}

/**
 * Room `http`: conditional requests (RFC 9110 section 13) as pure functions of the fields and the selected representation.
 *
 * A newcomer would get wrong: the order matters (section 13.2.2), an entity tag makes the date beside it meaningless, and a date
 * that cannot be read is ignored rather than refused.
 */
import { parseDate } from './date.ts';
import { entityTagsOf, strongMatch, weakMatch } from './entity-tag.ts';

/** What the server would send, as far as conditions ask. */
export interface Representation {
  /** With its quotes, weak ones with `W/`; null where there is none. */
  readonly entityTag: string | null;
  /** Milliseconds since 1970, null where unknown. Only whole seconds count, because dates hold no more. */
  readonly modifiedMs: number | null;
}

/** Values of the fields, null where absent. */
export interface Conditions {
  readonly ifMatch: string | null;
  readonly ifNoneMatch: string | null;
  readonly ifModifiedSince: string | null;
  readonly ifUnmodifiedSince: string | null;
}

export const PROCEED = 0;
export const NOT_MODIFIED = 304;
export const PRECONDITION_FAILED = 412;

/**
 * Evaluates the conditions in the order of section 13.2.2, for a representation that exists, or null for one that does not.
 * `isRead`: the method is GET or HEAD, for which alone 304 exists.
 */
export function evaluateConditions(
  conditions: Conditions,
  representation: Representation | null,
  isRead: boolean,
): typeof PROCEED | typeof NOT_MODIFIED | typeof PRECONDITION_FAILED {
  const { ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince } = conditions;
  if (ifMatch !== null) {
    if (!matchesAny(ifMatch, representation, strongMatch)) return PRECONDITION_FAILED;
  } else if (ifUnmodifiedSince !== null && representation !== null && representation.modifiedMs !== null) {
    const since = parseDate(ifUnmodifiedSince);
    if (!Number.isNaN(since) && wholeSeconds(representation.modifiedMs) > since) return PRECONDITION_FAILED;
  }
  if (ifNoneMatch !== null) {
    if (matchesAny(ifNoneMatch, representation, weakMatch)) return isRead ? NOT_MODIFIED : PRECONDITION_FAILED;
  } else if (isRead && ifModifiedSince !== null && representation !== null && representation.modifiedMs !== null) {
    const since = parseDate(ifModifiedSince);
    if (!Number.isNaN(since) && wholeSeconds(representation.modifiedMs) <= since) return NOT_MODIFIED;
  }
  return PROCEED;
}

/**
 * Whether Range may be applied although If-Range is there (section 13.1.5): its validator has to be a strong one and exactly
 * that of the representation. A date is strong only when it lies at least a second before `nowMs`, because a file may change
 * twice in its last second (section 8.8.2.2).
 */
export function ifRangeHolds(ifRange: string, representation: Representation, nowMs: number): boolean {
  if (ifRange.startsWith('"') || ifRange.startsWith('W/')) {
    return representation.entityTag !== null && strongMatch(ifRange, representation.entityTag);
  }
  if (representation.modifiedMs === null) return false;
  const modified = wholeSeconds(representation.modifiedMs);
  return parseDate(ifRange, nowMs) === modified && nowMs - modified >= 1000;
}

function matchesAny(
  value: string,
  representation: Representation | null,
  isMatch: (one: string, other: string) => boolean,
): boolean {
  if (representation === null) return false;
  if (value === '*') return true;
  const { entityTag } = representation;
  if (entityTag === null) return false;
  // A list that cannot be read matches nothing: If-Match then fails, the safe side, and If-None-Match sends the whole.
  return entityTagsOf(value)?.some((tag) => isMatch(tag, entityTag)) ?? false;
}

function wholeSeconds(timeMs: number): number {
  return Math.floor(timeMs / 1000) * 1000;
}

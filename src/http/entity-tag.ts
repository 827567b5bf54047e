/**
 * Room `http`: entity tags (RFC 9110 section 8.8.3) and the lists of them in If-Match and If-None-Match.
 *
 * A newcomer would get wrong: a tag may hold commas and its quotes are part of it, so a list cannot be split at commas; and
 * there are two comparisons, of which the weak one is only good enough for "has it changed at all".
 */

/** etagc: `!`, 0x23 to 0x7E, obs-text. */
const TAG = /^(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"$/;
const LIST_ITEM = /[ \t]*((?:W\/)?"[\x21\x23-\x7e\x80-\xff]*")?[ \t]*(?:,|$)/y;

export function isEntityTag(value: string): boolean {
  return TAG.test(value);
}

/** Equal, and neither weak (section 8.8.3.2). */
export function strongMatch(one: string, other: string): boolean {
  return one === other && !one.startsWith('W/');
}

/** Equal but for weakness. */
export function weakMatch(one: string, other: string): boolean {
  return opaque(one) === opaque(other);
}

function opaque(tag: string): string {
  return tag.startsWith('W/') ? tag.slice(2) : tag;
}

/** The tags of a list, or null where it is none. `*` is no list; ask for it first. */
export function entityTagsOf(value: string): string[] | null {
  const tags: string[] = [];
  LIST_ITEM.lastIndex = 0;
  while (LIST_ITEM.lastIndex < value.length) {
    const match = LIST_ITEM.exec(value);
    if (match === null) return null;
    if (match[1] !== undefined) tags.push(match[1]);
  }
  return tags.length > 0 ? tags : null;
}

/**
 * A strong tag for a file from what stat(2) says. With nanoseconds, unlike nginx's: two writes within one second that leave the
 * size as it was still give two tags.
 */
export function fileEntityTag(sizeBytes: number, modifiedSeconds: number, modifiedNanoseconds: number): string {
  return `"${modifiedSeconds.toString(36)}-${modifiedNanoseconds.toString(36)}-${sizeBytes.toString(36)}"`;
}

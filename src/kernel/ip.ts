/**
 * Room `kernel`: IP addresses between text and bytes in network order.
 *
 * A newcomer would get wrong: the parsers trust that `node:net` has found the text valid; and an IPv6 address has one canonical
 * text (RFC 5952), so that texts can be compared.
 */

/** Writes the four bytes of a valid dotted address. */
export function parseIpv4(text: string, bytes: Uint8Array, offset: number): void {
  let value = 0;
  let position = offset;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === 46) {
      bytes[position++] = value;
      value = 0;
    } else {
      value = value * 10 + code - 48;
    }
  }
  bytes[position] = value;
}

/** Writes the groups of one side of `::`, 2 bytes each or 4 for a dotted tail; returns how many bytes they took. */
function writeGroups(text: string, bytes: Uint8Array, offset: number): number {
  if (text === '') return 0;
  let position = offset;
  for (const group of text.split(':')) {
    if (group.includes('.')) {
      parseIpv4(group, bytes, position);
      position += 4;
    } else {
      const value = Number.parseInt(group, 16);
      bytes[position++] = value >> 8;
      bytes[position++] = value & 255;
    }
  }
  return position - offset;
}

/** Writes the sixteen bytes of a valid address without an interface (RFC 4291 section 2.2). */
export function parseIpv6(text: string, bytes: Uint8Array, offset: number): void {
  bytes.fill(0, offset, offset + 16);
  const gap = text.indexOf('::');
  if (gap < 0) {
    writeGroups(text, bytes, offset);
    return;
  }
  writeGroups(text.slice(0, gap), bytes, offset);
  // The right side's length is known only once it is written.
  const right = new Uint8Array(16);
  const length = writeGroups(text.slice(gap + 2), right, 0);
  bytes.set(right.subarray(0, length), offset + 16 - length);
}

/** Whether bytes 0 to 11 are ::ffff:0:0/96, an IPv4 address seen through an IPv6 socket. */
function isMapped(bytes: Uint8Array, offset: number): boolean {
  for (let index = 0; index < 10; index++) if (bytes[offset + index] !== 0) return false;
  return bytes[offset + 10] === 255 && bytes[offset + 11] === 255;
}

/** The canonical text of RFC 5952: lower case, the first longest run of two or more zero groups as `::`. */
export function formatIpv6(bytes: Uint8Array, offset: number): string {
  if (isMapped(bytes, offset)) {
    return `::ffff:${bytes[offset + 12]}.${bytes[offset + 13]}.${bytes[offset + 14]}.${bytes[offset + 15]}`;
  }
  let gapStart = 8;
  let gapLength = 1;
  let runLength = 0;
  for (let group = 0; group < 8; group++) {
    const zero = bytes[offset + group * 2] === 0 && bytes[offset + group * 2 + 1] === 0;
    runLength = zero ? runLength + 1 : 0;
    if (runLength > gapLength) {
      gapLength = runLength;
      gapStart = group - runLength + 1;
    }
  }
  let text = '';
  for (let group = 0; group < 8; group++) {
    if (group === gapStart) {
      text += '::';
      group += gapLength - 1;
      continue;
    }
    if (text !== '' && !text.endsWith('::')) text += ':';
    text += ((bytes[offset + group * 2] << 8) | bytes[offset + group * 2 + 1]).toString(16);
  }
  return text;
}

/**
 * Room `bpf`: BTF's outer shape: the two sections behind its header, and where each record begins.
 *
 * A newcomer would get wrong: offsets in the header count from the header's end, whose length the header itself gives.
 */
import {
  BTF_HEADER,
  BTF_KIND_ARRAY,
  BTF_KIND_DATASEC,
  BTF_KIND_DECL_TAG,
  BTF_KIND_ENUM,
  BTF_KIND_ENUM64,
  BTF_KIND_FUNC_PROTO,
  BTF_KIND_INT,
  BTF_KIND_STRUCT,
  BTF_KIND_UNION,
  BTF_KIND_VAR,
  BTF_MAGIC,
  BTF_VERSION,
} from '../../../kernel/btf-abi.ts';
import { BtfError, KINDS } from './records.ts';

/** 32-bit words that a record begins with: name_off, info, and size or type. */
export const HEAD_WORDS = 3;

/** Words behind the head, by kind: for the whole record, and for each of its members. */
const fixedWords = new Uint8Array(KINDS.length);
const memberWords = new Uint8Array(KINDS.length);
fixedWords[BTF_KIND_INT] = 1;
fixedWords[BTF_KIND_ARRAY] = 3;
fixedWords[BTF_KIND_VAR] = 1;
fixedWords[BTF_KIND_DECL_TAG] = 1;
memberWords[BTF_KIND_STRUCT] = 3;
memberWords[BTF_KIND_UNION] = 3;
memberWords[BTF_KIND_ENUM] = 2;
memberWords[BTF_KIND_FUNC_PROTO] = 2;
memberWords[BTF_KIND_DATASEC] = 3;
memberWords[BTF_KIND_ENUM64] = 3;

/** Both sections of a table. */
export interface Sections {
  readonly words: Uint32Array;
  readonly strings: Uint8Array;
}

/** The two sections behind the header. @throws BtfError where they are not wholly inside the bytes */
export function sectionsOf(bytes: Uint8Array): Sections {
  if (bytes.length < BTF_HEADER.size) throw new BtfError(`BTF of ${bytes.length} bytes is too short for its header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint16(BTF_HEADER.magic, true);
  if (magic !== BTF_MAGIC) {
    const swapped = ((magic & 0xff) << 8) | (magic >> 8);
    throw new BtfError(swapped === BTF_MAGIC ? 'BTF of a big-endian machine' : 'these bytes are not BTF (wrong magic)');
  }
  const version = view.getUint8(BTF_HEADER.version);
  if (version !== BTF_VERSION) throw new BtfError(`BTF version ${version}; version ${BTF_VERSION} is known`);
  const headerBytes = view.getUint32(BTF_HEADER.hdr_len, true);
  const section = (name: string, offsetAt: number, lengthAt: number): Uint8Array => {
    const offset = headerBytes + view.getUint32(offsetAt, true);
    const length = view.getUint32(lengthAt, true);
    if (headerBytes < BTF_HEADER.size || offset + length > bytes.length) {
      throw new BtfError(`BTF ${name} at ${offset}, ${length} bytes, reach beyond its ${bytes.length} bytes`);
    }
    return bytes.subarray(offset, offset + length);
  };
  let types = section('types', BTF_HEADER.type_off, BTF_HEADER.type_len);
  const strings = section('strings', BTF_HEADER.str_off, BTF_HEADER.str_len);
  if (types.length % 4 !== 0) throw new BtfError(`BTF types of ${types.length} bytes: no multiple of 4`);
  if (types.byteOffset % 4 !== 0) types = Uint8Array.from(types);
  if (strings.length > 0 && strings[strings.length - 1] !== 0) throw new BtfError('BTF strings do not end with a zero');
  return { words: new Uint32Array(types.buffer, types.byteOffset, types.length / 4), strings };
}

/** Where each record begins, in words. @throws BtfError for a record that is cut off, and for an unknown kind */
export function indexRecords(words: Uint32Array, firstId: number): Uint32Array {
  let starts = new Uint32Array(Math.max(16, words.length >> 2));
  let count = 0;
  let at = 0;
  while (at < words.length) {
    const info = words[at + 1];
    const kind = (info >>> 24) & 0x1f;
    if (at + HEAD_WORDS > words.length || kind === 0 || kind >= KINDS.length) {
      const problem = at + HEAD_WORDS > words.length ? 'is cut off' : `has the unknown kind ${kind}`;
      throw new BtfError(`BTF type ${firstId + count} ${problem}`);
    }
    if (count === starts.length) {
      const longer = new Uint32Array(count * 2);
      longer.set(starts);
      starts = longer;
    }
    starts[count++] = at;
    at += HEAD_WORDS + fixedWords[kind] + memberWords[kind] * (info & 0xffff);
  }
  if (at !== words.length) throw new BtfError(`BTF type ${firstId + count - 1} is cut off`);
  return starts.subarray(0, count);
}

/**
 * Room `bpf`: the newer capture format, pcapng (draft-ietf-opsawg-pcapng): blocks of a type and a length. Read are
 * sections, interfaces and packets (enhanced and simple); other blocks are passed over, as the format wants it. Written
 * is one section with one interface.
 *
 * A newcomer would get wrong: byte order may change with each section, and the unit of time with each interface.
 */
import { CaptureError, type Frame, LINKTYPE_ETHERNET } from './frame.ts';

export const SECTION_HEADER = 0x0a0d0d0a;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const INTERFACE_DESCRIPTION = 1;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
const OPTION_END = 0;
const OPTION_RESOLUTION = 9;
const OPTION_TIME_OFFSET = 14;
const NANOSECONDS = 1_000_000_000n;
/** Bytes of a block around its body: type and length before, length behind. */
const BLOCK_BYTES = 12;

interface Interface {
  readonly linkType: number;
  readonly snapshotBytes: number;
  /** Units of its times in a second. */
  readonly unitsPerSecond: bigint;
  readonly offsetSeconds: bigint;
}

const roundUp = (size: number): number => Math.ceil(size / 4) * 4;

/** if_tsresol: a power of ten, or with the highest bit of two. */
const unitsOf = (resolution: number): bigint =>
  (resolution & 0x80) !== 0 ? 2n ** BigInt(resolution & 0x7f) : 10n ** BigInt(resolution);

class Reader {
  readonly frames: Frame[] = [];
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  #little = true;
  #interfaces: Interface[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  read(): Frame[] {
    for (let at = 0; at < this.#bytes.length; ) at = this.#block(at);
    return this.frames;
  }

  #word(at: number): number {
    return this.#view.getUint32(at, this.#little);
  }

  #block(at: number): number {
    if (at + BLOCK_BYTES > this.#bytes.length) throw new CaptureError(at, 'a block is cut');
    const isSection = this.#view.getUint32(at, true) === SECTION_HEADER;
    if (isSection) this.#beginSection(at);
    const length = this.#word(at + 4);
    if (length < BLOCK_BYTES || length % 4 !== 0 || at + length > this.#bytes.length) {
      throw new CaptureError(at, `a block says that it has ${length} bytes`);
    }
    const end = at + length - 4;
    const type = this.#word(at);
    if (type === INTERFACE_DESCRIPTION) this.#interfaces.push(this.#interface(at + 8, end));
    else if (type === ENHANCED_PACKET) this.#enhanced(at + 8, end);
    else if (type === SIMPLE_PACKET) this.#simple(at + 8, end);
    return at + length;
  }

  #beginSection(at: number): void {
    this.#little = this.#view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC;
    if (this.#word(at + 8) !== BYTE_ORDER_MAGIC) throw new CaptureError(at + 8, 'no byte-order magic');
    this.#interfaces = [];
  }

  #interface(at: number, end: number): Interface {
    if (at + 8 > end) throw new CaptureError(at, 'an interface is cut');
    let unitsPerSecond = 1_000_000n;
    let offsetSeconds = 0n;
    for (let option = at + 8; option + 4 <= end; ) {
      const code = this.#view.getUint16(option, this.#little);
      const length = this.#view.getUint16(option + 2, this.#little);
      if (code === OPTION_END || option + 4 + length > end) break;
      if (code === OPTION_RESOLUTION && length === 1) unitsPerSecond = unitsOf(this.#view.getUint8(option + 4));
      if (code === OPTION_TIME_OFFSET && length === 8) {
        offsetSeconds = this.#view.getBigInt64(option + 4, this.#little);
      }
      option += 4 + roundUp(length);
    }
    const linkType = this.#view.getUint16(at, this.#little);
    return { linkType, snapshotBytes: this.#word(at + 4), unitsPerSecond, offsetSeconds };
  }

  #interfaceAt(number: number, at: number): Interface {
    const found = this.#interfaces[number];
    if (found === undefined) throw new CaptureError(at, `a packet of interface ${number}, which is not described`);
    return found;
  }

  #data(at: number, length: number, end: number): Uint8Array {
    if (at + length > end) throw new CaptureError(at, `a packet of ${length} bytes does not fit its block`);
    return this.#bytes.slice(at, at + length);
  }

  #enhanced(at: number, end: number): void {
    if (at + 20 > end) throw new CaptureError(at, 'a packet is cut');
    const { linkType, unitsPerSecond, offsetSeconds } = this.#interfaceAt(this.#word(at), at);
    const units = (BigInt(this.#word(at + 4)) << 32n) | BigInt(this.#word(at + 8));
    const timeNs = (units * NANOSECONDS) / unitsPerSecond + offsetSeconds * NANOSECONDS;
    const data = this.#data(at + 20, this.#word(at + 12), end);
    this.frames.push({ data, length: this.#word(at + 16), timeNs, linkType });
  }

  /** Has no time, and is cut where the interface's snapshot length says so. */
  #simple(at: number, end: number): void {
    if (at + 4 > end) throw new CaptureError(at, 'a packet is cut');
    const { linkType, snapshotBytes } = this.#interfaceAt(0, at);
    const length = this.#word(at);
    const captured = snapshotBytes === 0 ? length : Math.min(length, snapshotBytes);
    this.frames.push({ data: this.#data(at + 4, captured, end), length, timeNs: 0n, linkType });
  }
}

/** The frames of a pcapng file, in order. @throws CaptureError */
export function readPcapng(bytes: Uint8Array): Frame[] {
  return new Reader(bytes).read();
}

function block(type: number, body: Uint8Array): Uint8Array {
  const length = BLOCK_BYTES + roundUp(body.length);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  bytes.set(body, 8);
  view.setUint32(length - 4, length, true);
  return bytes;
}

function words(...values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

function packet({ data, length = data.length, timeNs = 0n }: Frame): Uint8Array {
  const header = words(0, Number(timeNs >> 32n), Number(timeNs & 0xffffffffn), data.length, length);
  const body = new Uint8Array(header.length + data.length);
  body.set(header);
  body.set(data, header.length);
  return block(ENHANCED_PACKET, body);
}

/** A file of these frames, all of the first one's link type, with times in nanoseconds. @throws RangeError where link types differ */
export function writePcapng(frames: readonly Frame[]): Uint8Array {
  const linkType = commonLinkType(frames);
  // Major version 1, minor 0; the length of the section is not told (all ones).
  const section = block(SECTION_HEADER, words(BYTE_ORDER_MAGIC, 1, 0xffffffff, 0xffffffff));
  const resolution = words(OPTION_RESOLUTION | (1 << 16), 9, OPTION_END);
  const described = block(INTERFACE_DESCRIPTION, Uint8Array.from([...words(linkType, 0), ...resolution]));
  return new Uint8Array(Buffer.concat([section, described, ...frames.map(packet)]));
}

/** The link type of all frames. @throws RangeError where they differ: a file with one interface has one */
export function commonLinkType(frames: readonly Frame[]): number {
  const types = new Set(frames.map(({ linkType = LINKTYPE_ETHERNET }) => linkType));
  if (types.size > 1) throw new RangeError(`frames of link types ${[...types].join(' and ')} in one capture`);
  const [first = LINKTYPE_ETHERNET] = types;
  return first;
}

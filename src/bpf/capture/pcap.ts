/**
 * Room `bpf`: captures as tcpdump and Wireshark write and read them: the classic format (pcap, draft-ietf-opsawg-pcap:
 * a header of 24 bytes, then records) here, the newer one (pcapng) beside.
 *
 * A newcomer would get wrong: the byte order is the writing machine's, and the magic number also says whether times
 * count microseconds or nanoseconds.
 */
import { CaptureError, type Frame } from './frame.ts';
import { commonLinkType, readPcapng, SECTION_HEADER } from './pcapng.ts';

export { CaptureError, type Frame, LINKTYPE_ETHERNET } from './frame.ts';
export { writePcapng } from './pcapng.ts';

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const HEADER_BYTES = 24;
const RECORD_BYTES = 16;
const SNAPSHOT_BYTES = 262_144;
const NANOSECONDS = 1_000_000_000n;

function readPcap(bytes: Uint8Array, view: DataView, little: boolean): Frame[] {
  if (bytes.length < HEADER_BYTES) throw new CaptureError(0, 'the header is cut');
  const unitNs = view.getUint32(0, little) === MAGIC_NANOSECONDS ? 1n : 1000n;
  // The upper bits say whether and how many bytes of frame check sequence follow each frame.
  const linkType = view.getUint32(20, little) & 0xffff;
  const frames: Frame[] = [];
  for (let at = HEADER_BYTES; at < bytes.length; ) {
    if (at + RECORD_BYTES > bytes.length) throw new CaptureError(at, 'a record is cut');
    const captured = view.getUint32(at + 8, little);
    const begin = at + RECORD_BYTES;
    if (begin + captured > bytes.length) throw new CaptureError(at, `a frame of ${captured} bytes is cut`);
    const timeNs = BigInt(view.getUint32(at, little)) * NANOSECONDS + BigInt(view.getUint32(at + 4, little)) * unitNs;
    const data = bytes.slice(begin, begin + captured);
    frames.push({ data, length: view.getUint32(at + 12, little), timeNs, linkType });
    at = begin + captured;
  }
  return frames;
}

/**
 * The frames of a capture, in order, from a file of either format.
 * @throws CaptureError for another format, and where the file ends within a frame
 */
export function readCapture(file: Uint8Array): Frame[] {
  // Not a Buffer, whose slice() is no copy.
  const bytes = new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
  if (bytes.length < 4) throw new CaptureError(0, 'it has no header');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isMagic = (word: number) => word === MAGIC_MICROSECONDS || word === MAGIC_NANOSECONDS;
  if (isMagic(view.getUint32(0, true))) return readPcap(bytes, view, true);
  if (isMagic(view.getUint32(0, false))) return readPcap(bytes, view, false);
  if (view.getUint32(0, true) === SECTION_HEADER) return readPcapng(bytes);
  throw new CaptureError(0, 'it is neither pcap nor pcapng');
}

/** A pcap file of these frames, with times in nanoseconds. @throws RangeError where their link types differ */
export function writePcap(frames: readonly Frame[]): Uint8Array {
  const total = frames.reduce((sum, { data }) => sum + RECORD_BYTES + data.length, HEADER_BYTES);
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC_NANOSECONDS, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, SNAPSHOT_BYTES, true);
  view.setUint32(20, commonLinkType(frames), true);
  let at = HEADER_BYTES;
  for (const { data, length = data.length, timeNs = 0n } of frames) {
    view.setUint32(at, Number(timeNs / NANOSECONDS), true);
    view.setUint32(at + 4, Number(timeNs % NANOSECONDS), true);
    view.setUint32(at + 8, data.length, true);
    view.setUint32(at + 12, length, true);
    bytes.set(data, at + RECORD_BYTES);
    at += RECORD_BYTES + data.length;
  }
  return bytes;
}

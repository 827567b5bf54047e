/**
 * Test support: reads captures as tcpdump writes them (pcap, draft-ietf-opsawg-pcap): a header of 24 bytes, then records.
 */
import { readFileSync } from 'node:fs';

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const LINKTYPE_ETHERNET = 1;

/** The frames of a capture, in order. @throws Error for another format, another link type, or a record that was cut */
export function readCapture(path: string | URL): Uint8Array[] {
  const file = readFileSync(path);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const little = [MAGIC_MICROSECONDS, MAGIC_NANOSECONDS].includes(view.getUint32(0, true));
  if (!little && ![MAGIC_MICROSECONDS, MAGIC_NANOSECONDS].includes(view.getUint32(0, false))) {
    throw new Error(`${path} is no pcap file`);
  }
  const linkType = view.getUint32(20, little) & 0xffff;
  if (linkType !== LINKTYPE_ETHERNET) throw new Error(`${path} has frames of link type ${linkType}, not Ethernet`);
  const frames: Uint8Array[] = [];
  for (let at = 24; at < file.length; ) {
    const captured = view.getUint32(at + 8, little);
    if (at + 16 + captured > file.length) throw new Error(`${path}: the record at byte ${at} is cut`);
    frames.push(Uint8Array.from(file.subarray(at + 16, at + 16 + captured)));
    at += 16 + captured;
  }
  return frames;
}

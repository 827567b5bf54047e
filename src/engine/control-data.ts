/**
 * Room `engine`: control data that came with a message (cmsg(3)), as far as an engine has to understand it.
 *
 * A newcomer would get wrong: UDP_GRO arrives as a 4-byte int, while UDP_SEGMENT, its counterpart on send, is 16 bits.
 */
import { SOL_UDP, UDP_GRO } from '../kernel/constants.ts';
import { CMSGHDR } from '../kernel/layouts.ts';

/** The segment size that UDP_GRO reports within control data [start, start + length), or 0: one datagram. */
export function segmentSize(view: DataView, start: number, length: number): number {
  let at = start;
  const end = start + length;
  while (at + CMSGHDR.size <= end) {
    const size = view.getUint32(at + CMSGHDR.cmsg_len, true);
    if (size < CMSGHDR.size || at + size > end) return 0;
    if (
      view.getInt32(at + CMSGHDR.cmsg_level, true) === SOL_UDP &&
      view.getInt32(at + CMSGHDR.cmsg_type, true) === UDP_GRO
    ) {
      return view.getInt32(at + CMSGHDR.size, true);
    }
    at += (size + 7) & -8;
  }
  return 0;
}

/**
 * Room `engine`: descriptors that came with a message over a Unix socket (SCM_RIGHTS, unix(7)).
 *
 * A newcomer would get wrong: they are open in this process whether anybody wants them or not. A peer could use up all of our
 * descriptors with them, so those that the sink does not take are closed at once.
 */
import { SCM_RIGHTS, SOL_SOCKET } from '../kernel/constants.ts';
import { CMSGHDR } from '../kernel/layouts.ts';
import { call, SYS } from '../kernel/syscall.ts';
import type { Sink } from './engine.ts';

/** Hands every descriptor within control data [start, start + length) to the sink, or closes it. */
export function handDescriptors(view: DataView, start: number, length: number, sink: Sink | null): void {
  let at = start;
  const end = start + length;
  while (at + CMSGHDR.size <= end) {
    const size = view.getUint32(at + CMSGHDR.cmsg_len, true);
    if (size < CMSGHDR.size || at + size > end) return;
    const isRights =
      view.getInt32(at + CMSGHDR.cmsg_level, true) === SOL_SOCKET &&
      view.getInt32(at + CMSGHDR.cmsg_type, true) === SCM_RIGHTS;
    if (isRights) {
      for (let word = at + CMSGHDR.size; word + 4 <= at + size; word += 4) hand(view.getInt32(word, true), sink);
    }
    at += (size + 7) & -8;
  }
}

function hand(descriptor: number, sink: Sink | null): void {
  if (sink?.passed === undefined) call(SYS.close, descriptor);
  else sink.passed(descriptor);
}

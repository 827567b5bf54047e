/**
 * Room `bpf`: programs at sockets: filters, the choice among SO_REUSEPORT sockets, and what acts on the sockets in a socket map.
 *
 * A newcomer would get wrong: a socket holds its program itself, without a link. Closing the socket takes the program away; so does
 * disposing of the handle here, unless the socket is closed by then and its descriptor is another's.
 */
import * as abi from '../../../kernel/bpf-attributes.ts';
import { ATTACH_TYPES, type AttachTypeName } from '../../../kernel/bpf-names.ts';
import {
  SO_ATTACH_BPF,
  SO_ATTACH_REUSEPORT_EBPF,
  SO_DETACH_FILTER,
  SO_DETACH_REUSEPORT_BPF,
  SOL_SOCKET,
} from '../../../kernel/constants.ts';
import { KernelError } from '../../../kernel/error.ts';
import { setsockoptInt } from '../../../kernel/socket.ts';
import { bpf, bpfError } from '../bpf.ts';
import type { Holder } from '../codec.ts';
import { type Attachment, createLink } from './link.ts';

function setOption(socket: number, option: number, value: number, what: string): void {
  const result = setsockoptInt(socket, SOL_SOCKET, option, value);
  if (result < 0) throw new KernelError('setsockopt', result, { object: what });
}

/** A program that a socket holds. */
class SocketAttachment implements Attachment {
  readonly kind: 'socket' | 'reuseport';
  readonly #socket: number;
  readonly #detach: number;

  constructor(kind: 'socket' | 'reuseport', socket: number, detach: number) {
    this.kind = kind;
    this.#socket = socket;
    this.#detach = detach;
  }

  [Symbol.dispose](): void {
    // A failure means that the socket is closed, and then the program is gone with it.
    setsockoptInt(this.#socket, SOL_SOCKET, this.#detach, 0);
  }
}

/** Attaches a filter to a socket: its answer is how many bytes of each packet are kept, 0 for none. */
export function attachSocketFilter(program: Holder, socket: number): Attachment {
  setOption(socket, SO_ATTACH_BPF, program.descriptor, `SO_ATTACH_BPF on socket ${socket}`);
  return new SocketAttachment('socket', socket, SO_DETACH_FILTER);
}

/**
 * Attaches a program that chooses among the sockets of a SO_REUSEPORT group, by any of its sockets (Linux 4.19 for sk_reuseport
 * programs; socket filters answer the socket's index). Taking it away is possible since Linux 5.3.
 */
export function attachReuseport(program: Holder, socket: number): Attachment {
  setOption(socket, SO_ATTACH_REUSEPORT_EBPF, program.descriptor, `SO_ATTACH_REUSEPORT_EBPF on socket ${socket}`);
  return new SocketAttachment('reuseport', socket, SO_DETACH_REUSEPORT_BPF);
}

/** Hooks of socket maps. */
export type SocketMapHook = Extract<
  AttachTypeName,
  'sk_skb_stream_parser' | 'sk_skb_stream_verdict' | 'sk_skb_verdict' | 'sk_msg_verdict'
>;

/**
 * Attaches a program to a socket map or hash: it acts on each socket that is put in from now on. By a link since Linux 6.10; before,
 * what is attached stays until it is taken away or the map ends.
 */
export function attachSocketMap(program: Holder, map: Holder, hook: SocketMapHook): Attachment {
  try {
    const fields = { 'link_create.target_fd': map.descriptor };
    return createLink({ kind: 'sockmap', program, attachType: hook, fields, where: 'a socket map' });
  } catch (error) {
    if (!(error instanceof KernelError) || error.code !== 'EINVAL') throw error;
    return attachWithoutLink(program, map, hook);
  }
}

function attachWithoutLink(program: Holder, map: Holder, hook: SocketMapHook): Attachment {
  const fields = {
    target_fd: map.descriptor,
    attach_bpf_fd: program.descriptor,
    attach_type: ATTACH_TYPES[hook],
  } as const;
  const result = bpf(abi.BPF_PROG_ATTACH, fields);
  if (result < 0) throw bpfError(result, `attachment (${hook}) to a socket map`);
  return {
    kind: 'sockmap',
    [Symbol.dispose]: () => {
      // Whoever disposes of map or program first has ended the attachment with it.
      if (map.descriptor !== -1 && program.descriptor !== -1) bpf(abi.BPF_PROG_DETACH, fields);
    },
  };
}

/**
 * Room `bpf`: programs at sockets: messages and streams of sockets in maps, TCP's events, the choice of the socket that takes a
 * packet.
 *
 * A newcomer would get wrong: sk_msg and sk_skb programs are attached to a map of sockets, not to a socket: they see the data of
 * every socket in it.
 */
import { bpf_sk_lookup, bpf_sock_ops, sk_msg_md } from '../contexts/messages.ts';
import { __sk_buff, type StreamBuffer, sk_reuseport_md } from '../contexts/packets.ts';
import { direct, structContext } from './program.ts';

const buffer = structContext(__sk_buff, ['tc_index', 'priority']);
const reuseport = structContext(sk_reuseport_md);

/** SK_DROP and SK_PASS; in sockops programs, 0 and 1. */
const verdicts = [0, 1];

/** At events in the life of TCP connections of a cgroup. `context.reply` answers; a body without a return gives 1. */
export const sockOps = direct<'sockOps', bpf_sock_ops, number | void>(
  {
    name: 'sockOps',
    type: 'sock_ops',
    attachType: 'cgroup_sock_ops',
    section: 'sockops',
    verdicts: verdicts,
    defaultResult: 1,
  },
  structContext(bpf_sock_ops),
);

/** On what is sent through a socket of a map. Returns SK_PASS or SK_DROP. */
export const skMsg = direct<'skMsg', sk_msg_md>(
  { name: 'skMsg', type: 'sk_msg', attachType: 'sk_msg_verdict', section: 'sk_msg', verdicts: verdicts },
  structContext(sk_msg_md),
);

/** On what a socket of a map receives, without a parser; since 5.13. Returns SK_PASS or SK_DROP. */
export const skSkb = direct<'skSkb', StreamBuffer>(
  { name: 'skSkb', type: 'sk_skb', attachType: 'sk_skb_verdict', section: 'sk_skb/verdict', verdicts: verdicts },
  buffer,
);

/** Says how long the next message of a stream is: its bytes, 0 for `not known yet`, or a negative errno. */
export const skSkbParser = direct<'skSkbParser', StreamBuffer>(
  { name: 'skSkbParser', type: 'sk_skb', attachType: 'sk_skb_stream_parser', section: 'sk_skb/stream_parser' },
  buffer,
);

/** On each message that the parser found. Returns SK_PASS or SK_DROP. */
export const skSkbVerdict = direct<'skSkbVerdict', StreamBuffer>(
  {
    name: 'skSkbVerdict',
    type: 'sk_skb',
    attachType: 'sk_skb_stream_verdict',
    section: 'sk_skb/stream_verdict',
    verdicts: verdicts,
  },
  buffer,
);

/** Before the kernel looks for the socket that takes a packet, in a network namespace. Returns SK_PASS or SK_DROP. */
export const skLookup = direct<'skLookup', bpf_sk_lookup>(
  { name: 'skLookup', type: 'sk_lookup', attachType: 'sk_lookup', section: 'sk_lookup', verdicts: verdicts },
  structContext(bpf_sk_lookup),
);

/** Chooses the socket of a SO_REUSEPORT group. Returns SK_PASS or SK_DROP. */
export const skReuseport = direct<'skReuseport', sk_reuseport_md>(
  {
    name: 'skReuseport',
    type: 'sk_reuseport',
    attachType: 'sk_reuseport_select',
    section: 'sk_reuseport',
    verdicts: verdicts,
  },
  reuseport,
);

/** The same, and for connections whose socket closes; since 5.14. */
export const skReuseportMigrate = direct<'skReuseportMigrate', sk_reuseport_md>(
  {
    name: 'skReuseportMigrate',
    type: 'sk_reuseport',
    attachType: 'sk_reuseport_select_or_migrate',
    section: 'sk_reuseport/migrate',
    verdicts: verdicts,
  },
  reuseport,
);

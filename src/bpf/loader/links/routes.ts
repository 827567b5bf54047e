/**
 * Room `bpf`: programs at routes (lightweight tunnels): packets that take the route pass them on their way in, out, or at transmission.
 *
 * A newcomer would get wrong: the route is the attachment. It is made here, in the thread's network namespace, and disposing of the
 * handle removes it; a route of the same destination that is there already is refused, not changed.
 */
import { isIP } from 'node:net';
import { AF_INET, AF_INET6 } from '../../../kernel/constants.ts';
import { KernelError } from '../../../kernel/error.ts';
import { interfaceIndex } from '../../../kernel/interface.ts';
import { parseIpv4, parseIpv6 } from '../../../kernel/ip.ts';
import { type NetlinkAttribute, netlinkText, requestNetlink } from '../../../kernel/netlink.ts';
import * as netlink from '../../../kernel/netlink-abi.ts';
import type { Holder } from '../codec.ts';
import type { Attachment } from './link.ts';

/** A route that shall hold programs. */
export interface RouteTarget {
  /** `10.9.0.0/16`, `fd00::/64`. */
  readonly destination: string;
  readonly interface: string | number;
  /** The next hop; without one the destination is on the link. */
  readonly via?: string;
  /** For lwt_xmit programs that put headers before the packet: how many bytes at most (256). */
  readonly headroomBytes?: number;
}

/** Programs by where packets meet them. */
export interface RoutePrograms {
  readonly in?: Holder;
  readonly out?: Holder;
  readonly transmit?: Holder;
  /** lwt_seg6local: the action of an IPv6 segment (End.BPF). */
  readonly segment?: Holder;
}

function addressBytes(text: string): Uint8Array {
  const version = isIP(text);
  if (version === 0) throw new TypeError(`${text} is no IP address`);
  const bytes = new Uint8Array(version === 4 ? 4 : 16);
  if (version === 4) parseIpv4(text, bytes, 0);
  else parseIpv6(text, bytes, 0);
  return bytes;
}

function splitDestination(text: string): { readonly address: Uint8Array; readonly prefix: number } {
  const [host, length] = text.split('/');
  const address = addressBytes(host);
  const prefix = length === undefined ? address.length * 8 : Number(length);
  if (!Number.isInteger(prefix) || prefix < 0 || prefix > address.length * 8) {
    throw new TypeError(`destination is ${text}: a form like 10.9.0.0/16 is allowed`);
  }
  return { address, prefix };
}

/** A program as both families of tunnels name it: its descriptor, and any name, which must be there. */
function programAttributes(program: Holder, descriptor: number, name: number): readonly NetlinkAttribute[] {
  return [
    [descriptor, program.descriptor],
    [name, netlinkText('millrace')],
  ];
}

function encapsulation(programs: RoutePrograms, headroomBytes: number | undefined): readonly NetlinkAttribute[] {
  const { segment } = programs;
  if (segment !== undefined) {
    const { SEG6_LOCAL_BPF_PROG, SEG6_LOCAL_BPF_PROG_NAME } = netlink;
    return [
      [netlink.SEG6_LOCAL_ACTION, netlink.SEG6_LOCAL_ACTION_END_BPF],
      [netlink.SEG6_LOCAL_BPF, programAttributes(segment, SEG6_LOCAL_BPF_PROG, SEG6_LOCAL_BPF_PROG_NAME)],
    ];
  }
  const places = [
    [netlink.LWT_BPF_IN, programs.in],
    [netlink.LWT_BPF_OUT, programs.out],
    [netlink.LWT_BPF_XMIT, programs.transmit],
  ] as const;
  const found: NetlinkAttribute[] = places.flatMap(([place, program]): NetlinkAttribute[] =>
    program === undefined
      ? []
      : [[place, programAttributes(program, netlink.LWT_BPF_PROG_FD, netlink.LWT_BPF_PROG_NAME)]],
  );
  if (headroomBytes !== undefined) found.push([netlink.LWT_BPF_XMIT_HEADROOM, headroomBytes]);
  return found;
}

/** A 16-bit attribute. */
const short = (value: number): Uint8Array => new Uint8Array(Uint16Array.of(value).buffer);

/** Makes a route that holds programs. @throws KernelError: EEXIST, ENODEV, EINVAL for a program of another type */
export function attachRoute(programs: RoutePrograms, target: RouteTarget): Attachment {
  const { address, prefix } = splitDestination(target.destination);
  const index = typeof target.interface === 'number' ? target.interface : interfaceIndex(target.interface);
  const header = new Uint8Array(netlink.RTMSG.size);
  header[netlink.RTMSG.rtm_family] = address.length === 4 ? AF_INET : AF_INET6;
  header[netlink.RTMSG.rtm_dst_len] = prefix;
  header[netlink.RTMSG.rtm_table] = netlink.RT_TABLE_MAIN;
  header[netlink.RTMSG.rtm_protocol] = netlink.RTPROT_STATIC;
  header[netlink.RTMSG.rtm_scope] = target.via === undefined ? netlink.RT_SCOPE_LINK : netlink.RT_SCOPE_UNIVERSE;
  header[netlink.RTMSG.rtm_type] = netlink.RTN_UNICAST;
  const place: readonly NetlinkAttribute[] = [
    [netlink.RTA_DST, address],
    [netlink.RTA_OIF, index],
    ...(target.via === undefined ? [] : ([[netlink.RTA_GATEWAY, addressBytes(target.via)]] as const)),
  ];
  const kind = programs.segment === undefined ? netlink.LWTUNNEL_ENCAP_BPF : netlink.LWTUNNEL_ENCAP_SEG6_LOCAL;
  const result = requestNetlink({
    type: netlink.RTM_NEWROUTE,
    flags: netlink.NLM_F_CREATE | netlink.NLM_F_EXCL,
    header,
    attributes: [
      ...place,
      [netlink.RTA_ENCAP_TYPE, short(kind)],
      [netlink.RTA_ENCAP, encapsulation(programs, target.headroomBytes)],
    ],
  });
  if (result < 0) throw new KernelError('netlink', result, { object: `route to ${target.destination}` });
  return {
    kind: 'route',
    [Symbol.dispose]: () => {
      // A failure means that the route has gone, by somebody else or with its interface.
      requestNetlink({ type: netlink.RTM_DELROUTE, header, attributes: place });
    },
  };
}

/**
 * Describes each packet in a nested event of a ring buffer: what an observer in user space reads without parsing.
 */
import {
  array,
  atomicAdd,
  ETH_P_IP,
  ETH_P_IPV6,
  Ethernet,
  global,
  IPPROTO_TCP,
  IPPROTO_UDP,
  Ipv4,
  Ipv6,
  packet,
  range,
  ringBuffer,
  struct,
  TC_ACT_OK,
  Tcp,
  tc,
  Udp,
  u8,
  u16,
  u32,
  u64,
  type Value,
} from '../../../src/bpf/library/index.ts';

const Link = struct({ destination: array(u8, 6), source: array(u8, 6), type: u16, unused: u16 });
const Network = struct({
  source: array(u32, 4),
  destination: array(u32, 4),
  version: u8,
  protocol: u8,
  hops: u8,
  service: u8,
  length: u16,
  header: u16,
});
const Transport = struct({
  source: u16,
  destination: u16,
  sequence: u32,
  acknowledgement: u32,
  window: u16,
  flags: u16,
});
type Transport = Value<typeof Transport>;
const Event = struct({ number: u64, length: u32, mark: u32, link: Link, network: Network, transport: Transport });

export const events = ringBuffer({ value: Event, maxEntries: 1 << 18 });
export const number = global(u64, 0n);

function describeTcp(transport: Transport, tcp: Tcp): void {
  transport.source = tcp.source;
  transport.destination = tcp.destination;
  transport.sequence = tcp.sequence;
  transport.acknowledgement = tcp.acknowledgement;
  transport.window = tcp.window;
  transport.flags = tcp.flags;
}

function describeUdp(transport: Transport, udp: Udp): void {
  transport.source = udp.source;
  transport.destination = udp.destination;
}

export const eventBuilder = tc((context) => {
  const ethernet = packet(context, Ethernet, 0);
  if (ethernet === null) return TC_ACT_OK;
  const event = events.reserve(Event);
  if (event === null) return TC_ACT_OK;
  event.number = atomicAdd(number, 'value', 1n);
  event.length = context.len;
  event.mark = context.mark;
  event.link = {
    destination: ethernet.destination,
    source: ethernet.source,
    type: ethernet.protocol,
    unused: 0,
  };
  event.network = {
    source: [0, 0, 0, 0],
    destination: [0, 0, 0, 0],
    version: 0,
    protocol: 0,
    hops: 0,
    service: 0,
    length: 0,
    header: 0,
  };
  event.transport = { source: 0, destination: 0, sequence: 0, acknowledgement: 0, window: 0, flags: 0 };
  let protocol: u8 = 0;
  let offset: u32 = 0;
  const { network } = event;
  if (ethernet.protocol === ETH_P_IP) {
    const ip = packet(context, Ipv4, Ethernet.size);
    if (ip !== null) {
      protocol = ip.protocol;
      offset = Ethernet.size + ip.headerLength * 4;
      network.version = 4;
      network.source[0] = ip.source;
      network.destination[0] = ip.destination;
      network.protocol = protocol;
      network.hops = ip.timeToLive;
      network.service = ip.typeOfService;
      network.length = ip.totalLength;
      network.header = ip.headerLength * 4;
    }
  } else if (ethernet.protocol === ETH_P_IPV6) {
    const ip = packet(context, Ipv6, Ethernet.size);
    if (ip !== null) {
      protocol = ip.nextHeader;
      offset = Ethernet.size + Ipv6.size;
      network.version = 6;
      for (const i of range(4)) {
        network.source[i] = ip.source[i];
        network.destination[i] = ip.destination[i];
      }
      network.protocol = protocol;
      network.hops = ip.hopLimit;
      network.length = ip.payloadLength;
      network.header = Ipv6.size;
    }
  }
  if (protocol === IPPROTO_TCP) {
    const tcp = packet(context, Tcp, offset);
    if (tcp !== null) describeTcp(event.transport, tcp);
  } else if (protocol === IPPROTO_UDP) {
    const udp = packet(context, Udp, offset);
    if (udp !== null) describeUdp(event.transport, udp);
  }
  events.submit(event);
  return TC_ACT_OK;
});

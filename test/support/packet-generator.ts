/**
 * Test support: random packets that look like traffic, and damaged ones. The same seed gives the same packets.
 *
 * A newcomer would get wrong: addresses and ports are drawn from few. A program that keeps state by flow would otherwise never
 * see a flow twice, and a look-up would never hit.
 */
import * as make from './packets.ts';
import type { RandomSource } from './random.ts';

const addresses4 = ['192.0.2.1', '192.0.2.2', '192.0.2.77', '198.51.100.7', '203.0.113.9', '10.1.2.3'];
const addresses6 = ['2001:db8::1', '2001:db8::2', '2001:db8:1::77', '2001:db8:ffff::9', 'fe80::1'];
const ports = [22, 53, 80, 443, 1001, 2002, 3003, 4789, 8080, 40000, 40001, 65535];
const names = ['example.org', 'www.example.org', 'blocked.example', 'a.b.c.d.example.net', 'x', ''];

const pick = <T>(random: RandomSource, list: readonly T[]): T => list[random.integer(list.length)];
const chance = (random: RandomSource, percent: number): boolean => random.integer(100) < percent;

/** `length` random bytes. */
export function randomBytes(random: RandomSource, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.integer(256));
}

function randomTcpOptions(random: RandomSource): Uint8Array {
  const option = make.tcpOption;
  const one = (): Uint8Array => {
    switch (random.integer(7)) {
      case 0:
        return option.maximumSegmentSize(pick(random, [536, 1200, 1460, 8960, random.integer(65536)]));
      case 1:
        return option.windowScale(random.integer(15));
      case 2:
        return option.selectiveAllowed;
      case 3:
        return option.selective([[random.integer(1e9), random.integer(1e9)]]);
      case 4:
        return option.timestamps(random.integer(2 ** 32), random.integer(2 ** 32));
      case 5:
        // One that nobody knows.
        return make.bytes(254, 4, random.integer(256), random.integer(256));
      default:
        return option.nothing;
    }
  };
  let options = new Uint8Array(0);
  for (let count = random.integer(6); count > 0; count--) {
    const longer = make.bytes(options, one());
    if (longer.length <= 40) options = longer.slice();
  }
  return options;
}

function randomTcp(random: RandomSource): Uint8Array {
  const { syn, ack, fin, rst, psh } = make.TCP_FLAG;
  return make.tcp(
    {
      source: pick(random, ports),
      destination: pick(random, ports),
      sequence: random.integer(2 ** 32),
      acknowledgement: random.integer(2 ** 32),
      flags: pick(random, [syn, syn | ack, ack, ack | psh, fin | ack, rst, random.integer(64)]),
      window: random.integer(65536),
      options: randomTcpOptions(random),
    },
    randomBytes(random, random.integer(3) * random.integer(200)),
  );
}

function randomUdp(random: RandomSource, depth: number): Uint8Array {
  const source = pick(random, ports);
  switch (random.integer(depth > 0 ? 4 : 3)) {
    case 0:
      return make.udp({ source, destination: 53 }, make.dnsQuery(pick(random, names), pick(random, [1, 28, 255])));
    case 1:
      return make.udp({ source: 53, destination: source }, randomBytes(random, random.integer(100)));
    case 2:
      return make.udp({ source, destination: pick(random, ports) }, randomBytes(random, random.integer(300)));
    default: {
      const network = pick(random, [1, 42, 0xabcdef]);
      return make.udp({ source, destination: 4789 }, make.vxlan(network, randomFrame(random, depth - 1)));
    }
  }
}

interface Inner {
  readonly protocol: number;
  readonly payload: Uint8Array;
}

function randomInner(random: RandomSource, depth: number, version: 4 | 6): Inner {
  const kind = random.integer(depth > 0 ? 12 : 9);
  if (kind < 5) return { protocol: make.PROTOCOL.tcp, payload: randomTcp(random) };
  if (kind < 8) return { protocol: make.PROTOCOL.udp, payload: randomUdp(random, depth) };
  if (kind === 8) {
    const identifier = random.integer(65536);
    const payload = randomBytes(random, random.integer(120));
    const sequence = random.integer(65536);
    return version === 4
      ? {
          protocol: make.PROTOCOL.icmp,
          payload: make.icmp({ type: pick(random, [0, 3, 8, 11]), identifier, sequence }, payload),
        }
      : {
          protocol: make.PROTOCOL.icmp6,
          payload: make.icmp6({ type: pick(random, [128, 129, 135]), identifier, sequence }, payload),
        };
  }
  if (kind === 9) return { protocol: make.PROTOCOL.ipip, payload: randomIpv4(random, depth - 1) };
  if (kind === 10) return { protocol: make.PROTOCOL.ipv6, payload: randomIpv6(random, depth - 1) };
  const type = pick(random, [make.ETHERTYPE.ipv4, make.ETHERTYPE.ipv6, make.ETHERTYPE.teb]);
  const carried =
    type === make.ETHERTYPE.ipv4
      ? randomIpv4(random, depth - 1)
      : type === make.ETHERTYPE.ipv6
        ? randomIpv6(random, depth - 1)
        : randomFrame(random, depth - 1);
  const key = chance(random, 50) ? random.integer(2 ** 32) : undefined;
  const sequence = chance(random, 30) ? random.integer(2 ** 32) : undefined;
  return {
    protocol: make.PROTOCOL.gre,
    payload: make.gre({ type, key, sequence, checksum: chance(random, 30) }, carried),
  };
}

function randomIpv4(random: RandomSource, depth: number): Uint8Array {
  const { protocol, payload } = randomInner(random, depth, 4);
  const isFragment = chance(random, 8);
  return make.ipv4(
    {
      source: pick(random, addresses4),
      destination: pick(random, addresses4),
      protocol,
      ttl: pick(random, [0, 1, 2, 64, 255]),
      service: pick(random, [0, 0, 0x10, 0xb8, random.integer(256)]),
      identification: random.integer(65536),
      fragmentOffset: isFragment ? random.integer(100) : 0,
      moreFragments: isFragment && chance(random, 50),
      options: chance(random, 15) ? new Uint8Array(4 * (1 + random.integer(10))).fill(1) : undefined,
    },
    payload,
  );
}

function randomExtensions(random: RandomSource): make.Extension[] {
  return Array.from({ length: random.integer(4) }, (): make.Extension => {
    switch (random.integer(4)) {
      case 0:
        return { kind: 'fragment', offset: chance(random, 50) ? 0 : random.integer(100), more: chance(random, 50) };
      case 1:
        return { kind: 'authentication' };
      default:
        return { kind: 'options', type: pick(random, [0, 43, 60]), data: new Uint8Array(6 + 8 * random.integer(3)) };
    }
  });
}

function randomIpv6(random: RandomSource, depth: number): Uint8Array {
  const { protocol, payload } = randomInner(random, depth, 6);
  return make.ipv6(
    {
      source: pick(random, addresses6),
      destination: pick(random, addresses6),
      protocol,
      hopLimit: pick(random, [0, 1, 2, 64, 255]),
      trafficClass: random.integer(256),
      flowLabel: random.integer(0x100000),
      extensions: chance(random, 40) ? randomExtensions(random) : [],
    },
    payload,
  );
}

function randomTags(random: RandomSource): make.EthernetOptions['tags'] {
  const kind = random.integer(10);
  const tag = (type: number) => ({ type, id: pick(random, [1, 42, 4094]), priority: random.integer(8) });
  if (kind < 7) return [];
  return kind < 9 ? [tag(make.ETHERTYPE.vlan)] : [tag(make.ETHERTYPE.qinq), tag(make.ETHERTYPE.vlan)];
}

/** A frame; tunnels nest up to `depth` deep. */
export function randomFrame(random: RandomSource, depth = 1): Uint8Array {
  const tags = randomTags(random);
  const kind = random.integer(20);
  if (kind < 12) return make.ethernet({ type: make.ETHERTYPE.ipv4, tags }, randomIpv4(random, depth));
  if (kind < 18) return make.ethernet({ type: make.ETHERTYPE.ipv6, tags }, randomIpv6(random, depth));
  if (kind === 18) {
    const [sender, target] = [pick(random, addresses4), pick(random, addresses4)];
    return make.ethernet(
      { type: make.ETHERTYPE.arp, tags },
      make.arp({ operation: 1 + random.integer(2), sender, target }),
    );
  }
  return make.ethernet({ type: random.integer(65536), tags }, randomBytes(random, random.integer(100)));
}

/** The frame with bytes changed, or cut, or with something behind it. Never shorter than an Ethernet header. */
export function damaged(frame: Uint8Array, random: RandomSource): Uint8Array {
  const shortest = 14;
  const result = frame.slice();
  switch (random.integer(4)) {
    case 0:
      return result.slice(0, shortest + random.integer(result.length - shortest + 1));
    case 1:
      return make.bytes(result, randomBytes(random, 1 + random.integer(40)));
    default:
      for (let count = 1 + random.integer(4); count > 0; count--) {
        // The first bytes hold what programs look at; damage in the payload shows little.
        result[random.integer(Math.min(result.length, 100))] = random.integer(256);
      }
      return result;
  }
}

/** `count` frames, one in four of them damaged. */
export function randomTraffic(random: RandomSource, count: number): Uint8Array[] {
  return Array.from({ length: count }, () => {
    const frame = randomFrame(random);
    return chance(random, 25) ? damaged(frame, random) : frame;
  });
}

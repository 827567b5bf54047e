/**
 * Test support: the suite's programs that see packets, what their maps hold, and the frames made for each beside the capture and the
 * random ones.
 *
 * A newcomer would get wrong: map contents are bytes as the kernel sees them: addresses and ports in network order where a field is
 * be32 or be16, everything else in the host's.
 */
import { type Input, le16, le32, le64, type Setup, type SuiteCase } from './bpf-suite-case.ts';
import { randomTraffic } from './packet-generator.ts';
import * as make from './packets.ts';
import { readCapture } from './pcap.ts';
import { randomSource } from './random.ts';

const {
  address4,
  address6,
  bytes,
  ethernet,
  ETHERTYPE,
  ipv4,
  ipv6,
  mac,
  PROTOCOL,
  tcp,
  TCP_FLAG,
  tcpOption,
  udp,
  word,
} = make;

const RANDOM_FRAMES = 400;
/** struct __sk_buff, so that mark and priority come back. */
const SK_BUFF_BYTES = 192;

const captured = readCapture(new URL('../bpf/fixtures/traffic.pcap', import.meta.url));
const generated = randomTraffic(randomSource(20261124), RANDOM_FRAMES);

/** The capture, random frames, and those made for the case. */
const frames = (own: readonly Uint8Array[] = []): Input[] =>
  [...own, ...captured, ...generated].map((data) => ({ data }));

const ip4 = (protocol: number, payload: Uint8Array, options: Partial<make.Ipv4Options> = {}): Uint8Array =>
  ethernet({ type: ETHERTYPE.ipv4 }, ipv4({ protocol, ...options }, payload));
const ip6 = (protocol: number, payload: Uint8Array, options: Partial<make.Ipv6Options> = {}): Uint8Array =>
  ethernet({ type: ETHERTYPE.ipv6 }, ipv6({ protocol, ...options }, payload));

const zeros = (count: number): Uint8Array => new Uint8Array(count);
const prefix4 = (bits: number, address: string): Uint8Array => bytes(le32(bits), address4(address));
const prefix6 = (bits: number, address: string): Uint8Array => bytes(le32(bits), address6(address));

type Packets = Omit<SuiteCase, 'kernel' | 'inputs'> & { readonly frames?: () => Uint8Array[] };

const xdp = (one: Packets): SuiteCase => ({ ...one, kernel: true, inputs: () => frames(one.frames?.()) });

/** Whether the kernel makes a socket buffer of the frame for a test run: IP headers must be whole, and something must be in it. */
function isWhole({ data }: Input): boolean {
  if (data === undefined) return false;
  const type = (data[12] << 8) | data[13];
  const least = type === ETHERTYPE.ipv4 ? 20 : type === ETHERTYPE.ipv6 ? 40 : 1;
  return data.length >= 14 + least;
}

/** For programs that see socket buffers. */
const buffer = (one: Packets): SuiteCase => ({
  ...one,
  kernel: true,
  inputs: () =>
    frames(one.frames?.())
      .filter(isWhole)
      .map((input) => ({ ...input, context: new Uint8Array(SK_BUFF_BYTES) })),
});

const rule = (verdict: number, id: number): Uint8Array => bytes(le64(0n), le32(verdict), le32(id));

function firewallRules(setup: Setup): void {
  setup.set('rules4', prefix4(0, '0.0.0.0'), rule(2, 1));
  setup.set('rules4', prefix4(24, '192.0.2.0'), rule(2, 2));
  setup.set('rules4', prefix4(32, '192.0.2.77'), rule(1, 3));
  setup.set('rules4', prefix4(8, '10.0.0.0'), rule(1, 4));
  setup.set('rules6', prefix6(32, '2001:db8::'), rule(2, 5));
  setup.set('rules6', prefix6(48, '2001:db8:1::'), rule(1, 6));
  setup.set('rules6', prefix6(128, '2001:db8::2'), rule(1, 7));
}

/** A ring with five backends; which goes where is not Maglev's choice here, only as even. */
function fillRing(setup: Setup): void {
  for (let slot = 0; slot < 65537; slot++) setup.set('ring', bytes(le32(slot)), bytes(le32((slot * 7) % 5)));
  for (let index = 0; index < 5; index++) {
    setup.set('backends', bytes(le32(index)), bytes(mac(`02:00:00:00:01:0${index}`), le16(0), le64(0n)));
  }
}

const endpoint = (address: string, port: number, protocol: number): Uint8Array =>
  bytes(address4(address), word(port), protocol, 0);

function natServices(setup: Setup): void {
  for (const protocol of [PROTOCOL.tcp, PROTOCOL.udp]) {
    for (const [index, port] of [53, 80, 443, 8080].entries()) {
      const server = endpoint(`198.51.100.${10 + index}`, 9000 + index, protocol);
      setup.set('services', endpoint('192.0.2.2', port, protocol), server);
      setup.set('services', endpoint('203.0.113.9', port, protocol), server);
    }
  }
}

const hop = (index: number): Uint8Array =>
  bytes(mac(`02:00:00:00:02:0${index}`), mac('02:00:00:00:00:01'), le32(index === 3 ? 9 : 0));

function routes(setup: Setup): void {
  // The loopback device is there in every network namespace.
  setup.set('devices', bytes(le32(0)), bytes(le32(1)));
  setup.set('routes4', prefix4(24, '192.0.2.0'), hop(1));
  setup.set('routes4', prefix4(32, '192.0.2.77'), hop(2));
  setup.set('routes4', prefix4(24, '198.51.100.0'), hop(3));
  setup.set('routes6', prefix6(32, '2001:db8::'), hop(4));
  setup.set('routes6', prefix6(128, '2001:db8::2'), hop(3));
}

/** What the DNS parser makes of a name (FNV-1a over labels with their lengths, in lower case). */
function nameHash(name: string): number {
  let hash = 2166136261;
  for (const label of name.split('.')) {
    for (const byte of [label.length, ...Buffer.from(label)]) hash = Math.imul(hash ^ byte, 16777619) >>> 0;
  }
  return hash;
}

/** The cookie of `syn`’s default addresses and ports, by the keys that both programs begin with (SipHash-2-4, Aumasson and Bernstein). */
function synCookie(minute: number): number {
  const cut = (value: bigint): bigint => BigInt.asUintN(64, value);
  const rotate = (value: bigint, by: bigint): bigint => cut((value << by) | (value >> (64n - by)));
  const [key0, key1] = [0x0706050403020100n, 0x0f0e0d0c0b0a0908n];
  let [a, b, c, d] = [key0, key1, key0, key1];
  a ^= 0x736f6d6570736575n;
  b ^= 0x646f72616e646f6dn;
  c ^= 0x6c7967656e657261n;
  d ^= 0x7465646279746573n;
  const rounds = (count: number) => {
    for (let round = 0; round < count; round++) {
      a = cut(a + b);
      b = rotate(b, 13n) ^ a;
      a = rotate(a, 32n);
      c = cut(c + d);
      d = rotate(d, 16n) ^ c;
      a = cut(a + d);
      d = rotate(d, 21n) ^ a;
      c = cut(c + b);
      b = rotate(b, 17n) ^ c;
      c = rotate(c, 32n);
    }
  };
  const addresses = (0xc0000202n << 32n) | 0xc0000201n;
  const ports = (40000n << 16n) | 80n;
  for (const word of [addresses, (BigInt(minute) << 32n) | ports, 16n << 56n]) {
    d ^= word;
    rounds(2);
    a ^= word;
  }
  c ^= 0xffn;
  rounds(4);
  return Number((a ^ b ^ c ^ d) & 0xffffffffn);
}

const syn = (options: make.TcpOptions = {}, payload?: Uint8Array): Uint8Array =>
  ip4(PROTOCOL.tcp, tcp(options, payload));

const synOptions = bytes(
  tcpOption.maximumSegmentSize(1460),
  tcpOption.selectiveAllowed,
  tcpOption.timestamps(0x01020304, 0),
  tcpOption.nothing,
  tcpOption.windowScale(7),
);

const knock = (port: number, source = '203.0.113.50'): Uint8Array =>
  ip4(PROTOCOL.udp, udp({ destination: port }), { source });

export const packetCases: readonly SuiteCase[] = [
  buffer({
    name: 'packet-filter',
    program: 'packetFilter',
    prepare: (setup) => {
      for (const port of [53, 80, 443]) setup.set('allowed', bytes(word(port)), bytes(le64(0n)));
    },
    observed: ['allowed'],
  }),
  xdp({
    name: 'l4-parser',
    program: 'l4Parser',
    frames: () => {
      const all: make.Extension[] = [
        { kind: 'options', type: 0 },
        { kind: 'options', type: 43, data: zeros(14) },
        { kind: 'fragment', more: true },
        { kind: 'authentication' },
        { kind: 'options', type: 60 },
      ];
      return [1, 3, 5].map((count) => ip6(PROTOCOL.tcp, tcp(), { extensions: all.slice(0, count) }));
    },
    observed: ['flows'],
  }),
  xdp({ name: 'lpm-firewall', program: 'lpmFirewall', prepare: firewallRules, observed: ['rules4', 'rules6'] }),
  xdp({
    name: 'token-bucket',
    program: 'tokenBucket',
    // Without refilling, time does not matter.
    constants: { rate: 0n, burst: 5000n },
    observed: ['buckets'],
    ignored: { buckets: [[8, 16]] },
  }),
  xdp({ name: 'maglev', program: 'maglev', prepare: fillRing, observed: ['backends'] }),
  xdp({
    name: 'tcp-options',
    program: 'tcpOptions',
    frames: () => [
      syn({ options: synOptions }),
      syn({ options: bytes(new Uint8Array(20).fill(1)) }),
      syn({ options: bytes(254, 1) }),
      syn({ options: bytes(254, 40, zeros(10)) }),
    ],
    observed: ['offers'],
  }),
  xdp({ name: 'nat', program: 'nat', prepare: natServices }),
  xdp({
    name: 'ipip-encapsulate',
    program: 'ipipEncapsulate',
    prepare: (setup) => {
      const tunnel = bytes(address4('192.0.2.254'), address4('203.0.113.1'), mac('02:00:00:00:03:01'), le16(0x4711));
      for (const address of ['192.0.2.2', '198.51.100.2', '203.0.113.9'])
        setup.set('tunnels', address4(address), tunnel);
    },
  }),
  xdp({
    name: 'decapsulate',
    program: 'decapsulate',
    prepare: (setup) => {
      for (const address of ['192.0.2.1', '192.0.2.2', '10.1.2.3'])
        setup.set('endpoints', address4(address), zeros(16));
    },
    frames: () => [
      ip4(PROTOCOL.ipip, ipv4({ protocol: PROTOCOL.tcp }, tcp())),
      ip4(PROTOCOL.ipv6, ipv6({ protocol: PROTOCOL.udp }, udp())),
      ip4(PROTOCOL.ipip, zeros(0)),
    ],
    observed: ['endpoints'],
  }),
  xdp({
    name: 'syn-cookie',
    program: 'synCookie',
    frames: () => [
      syn(),
      syn({ options: synOptions }),
      ...[0, 1, 2].map((age) => syn({ flags: TCP_FLAG.ack, acknowledgement: synCookie(5 - age) + 1 })),
      syn({ flags: TCP_FLAG.syn | TCP_FLAG.ack }),
    ],
    prepare: (setup) => setup.assign('minute', 5),
    observed: ['outcomes'],
  }),
  xdp({
    name: 'arp-responder',
    program: 'arpResponder',
    prepare: (setup) => setup.set('neighbours', address4('192.0.2.2'), mac('02:00:00:00:00:99')),
  }),
  xdp({ name: 'icmp-echo', program: 'icmpEcho' }),
  xdp({
    name: 'port-knocking',
    program: 'portKnocking',
    frames: () => [22, 1001, 2002, 3003, 22, 1001, 22].map((port) => knock(port)),
    observed: ['visitors'],
    ignored: { visitors: [[0, 8]] },
  }),
  xdp({
    name: 'dns-parser',
    program: 'dnsParser',
    prepare: (setup) => setup.set('blocked', bytes(le32(nameHash('blocked.example'))), bytes(le64(0n))),
    frames: () =>
      ['blocked.example', 'BLOCKED.Example', 'example.org', `${'a'.repeat(63)}.org`].map((name) =>
        ip4(PROTOCOL.udp, udp({}, make.dnsQuery(name))),
      ),
    observed: ['blocked', 'queries'],
  }),
  buffer({
    name: 'tunnel-parser',
    program: 'tunnelParser',
    frames: () => [
      ip4(
        PROTOCOL.gre,
        make.gre({ type: ETHERTYPE.ipv4, key: 7, checksum: true }, ipv4({ protocol: PROTOCOL.tcp }, tcp())),
      ),
      ip4(PROTOCOL.udp, udp({ destination: 4789 }, make.vxlan(42, syn()))),
    ],
    observed: ['tenants'],
  }),
  buffer({ name: 'flow-hash', program: 'flowHash', observed: ['classes'] }),
  xdp({ name: 'ttl-router', program: 'ttlRouter', prepare: routes }),
  xdp({
    name: 'tcp-reset',
    program: 'tcpReset',
    prepare: (setup) => {
      for (const port of [22, 80, 81, 8080]) setup.set('closed', bytes(word(port)), bytes(le64(0n)));
    },
    observed: ['closed'],
  }),
  xdp({ name: 'packet-sampler', program: 'packetSampler', records: ['samples'], globals: ['seen', 'lost'] }),
  xdp({
    name: 'heavy-hitters',
    program: 'heavyHitters',
    constants: { threshold: 5000 },
    observed: ['sketches', 'heavy'],
  }),
  xdp({ name: 'deduplicator', program: 'deduplicator', frames: () => captured.slice(0, 40) }),
  xdp({ name: 'tail-call-pipeline', program: 'tailCallPipeline', observed: ['visits'] }),
  xdp({ name: 'byte-counter', program: 'byteCounter', observed: ['values'] }),
  buffer({
    name: 'dscp-marker',
    program: 'dscpMarker',
    prepare: (setup) => {
      for (const [port, service] of [
        [22, 16],
        [53, 46],
        [80, 10],
        [443, 10],
      ]) {
        setup.set('services', bytes(word(port)), bytes(service));
      }
    },
  }),
  buffer({
    name: 'mss-clamp',
    program: 'mssClamp',
    frames: () => [
      syn({ options: synOptions }),
      syn({ options: bytes(1, tcpOption.maximumSegmentSize(1460)) }),
      syn({ options: tcpOption.maximumSegmentSize(1200) }),
    ],
    globals: ['clamped'],
  }),
  buffer({ name: 'event-builder', program: 'eventBuilder', records: ['events'], globals: ['number'] }),
  buffer({ name: 'egress-quota', program: 'egressQuota', observed: ['usages'] }),
];

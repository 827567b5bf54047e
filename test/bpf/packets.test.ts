/**
 * The packets that the suite makes, against captured ones: a maker that computed checksums wrongly would test nothing but itself.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { damaged, randomTraffic } from '../support/packet-generator.ts';
import * as make from '../support/packets.ts';
import { readCapture } from '../support/pcap.ts';
import { randomSource } from '../support/random.ts';

const captured = readCapture(new URL('./fixtures/traffic.pcap', import.meta.url));
const typeOf = (frame: Uint8Array): number => (frame[12] << 8) | frame[13];
const text4 = (address: Uint8Array): string => address.join('.');
const text6 = (address: Uint8Array): string =>
  Array.from({ length: 8 }, (_, at) => ((address[2 * at] << 8) | address[2 * at + 1]).toString(16)).join(':');

/** The layer 4 part with its checksum cleared, as a maker is given it. */
function cleared(protocol: number, payload: Uint8Array): Uint8Array {
  const at = { [make.PROTOCOL.tcp]: 16, [make.PROTOCOL.udp]: 6, [make.PROTOCOL.icmp6]: 2 }[protocol];
  const copy = payload.slice();
  if (at !== undefined) copy.fill(0, at, at + 2);
  return copy;
}

test('a captured IPv4 packet is made again, checksums included', () => {
  const plain = captured.filter(
    (frame) => typeOf(frame) === make.ETHERTYPE.ipv4 && frame[14] === 0x45 && ((frame[20] << 8) | frame[21]) === 0x4000,
  );
  assert.ok(plain.length > 20);
  for (const frame of plain) {
    const ip = frame.subarray(14, 14 + ((frame[16] << 8) | frame[17]));
    const made = make.ipv4(
      {
        source: text4(ip.subarray(12, 16)),
        destination: text4(ip.subarray(16, 20)),
        protocol: ip[9],
        ttl: ip[8],
        service: ip[1],
        identification: (ip[4] << 8) | ip[5],
        doNotFragment: true,
      },
      cleared(ip[9], ip.slice(20)),
    );
    assert.deepEqual(made, ip.slice());
  }
});

test('a captured IPv6 packet is made again, checksums included', () => {
  const plain = captured.filter(
    (frame) =>
      typeOf(frame) === make.ETHERTYPE.ipv6 &&
      [make.PROTOCOL.tcp, make.PROTOCOL.udp, make.PROTOCOL.icmp6].some((protocol) => protocol === frame[20]),
  );
  assert.ok(plain.length > 20);
  for (const frame of plain) {
    const ip = frame.subarray(14);
    const made = make.ipv6(
      {
        source: text6(ip.subarray(8, 24)),
        destination: text6(ip.subarray(24, 40)),
        protocol: ip[6],
        hopLimit: ip[7],
        trafficClass: ((ip[0] & 15) << 4) | (ip[1] >> 4),
        flowLabel: ((ip[1] & 15) << 16) | (ip[2] << 8) | ip[3],
      },
      cleared(ip[6], ip.slice(40)),
    );
    assert.deepEqual(made, ip.slice());
  }
});

test('the capture holds what the suite needs', () => {
  const count = (holds: (frame: Uint8Array) => boolean): number => captured.filter(holds).length;
  assert.ok(count((frame) => typeOf(frame) === make.ETHERTYPE.vlan) > 10);
  assert.ok(count((frame) => typeOf(frame) === make.ETHERTYPE.arp) > 1);
  assert.ok(count((frame) => typeOf(frame) === make.ETHERTYPE.ipv4 && frame[14] > 0x45) > 0, 'IPv4 options');
  assert.ok(count((frame) => typeOf(frame) === make.ETHERTYPE.ipv6 && frame[20] === 44) > 0, 'IPv6 fragments');
});

test('the same seed gives the same traffic, and damage leaves an Ethernet header', () => {
  const traffic = randomTraffic(randomSource(3), 200);
  assert.deepEqual(traffic, randomTraffic(randomSource(3), 200));
  assert.notDeepEqual(traffic, randomTraffic(randomSource(4), 200));
  const random = randomSource(5);
  for (const frame of traffic) assert.ok(damaged(frame, random).length >= 14);
});

test('addresses are read as they are written', () => {
  assert.deepEqual([...make.address4('192.0.2.1')], [192, 0, 2, 1]);
  assert.deepEqual([...make.address6('2001:db8::1')], [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  assert.throws(() => make.address4('192.0.2'), /is no address/);
  assert.throws(() => make.address6('1:2:3'), /is no address/);
});

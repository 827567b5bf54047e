/**
 * Programs at the driver: drop, answer, redirect to another device, CPU or process, packets in fragments, and what a device map and a
 * CPU map run behind the redirect.
 */
import {
  bpf_cpumap_val,
  bpf_devmap_val,
  bpf_get_smp_processor_id,
  bpf_xdp_get_buff_len,
  bpf_xdp_load_bytes,
  cpuMap,
  deviceHash,
  deviceMap,
  Ethernet,
  global,
  hash,
  IPPROTO_UDP,
  Ipv4,
  local,
  packet,
  packetLength,
  readOnly,
  Udp,
  u8,
  u16,
  u32,
  u64,
  XDP_DROP,
  XDP_PASS,
  XDP_TX,
  xdp,
  type xdp_md,
  xdpCpuMap,
  xdpDeviceMap,
  xdpFragments,
  xskMap,
} from '../../../src/bpf/library/index.ts';

export const ports = hash({ key: u16, value: u64, maxEntries: 16 });

/** The UDP header of an IPv4 datagram without options; null for anything else. */
function udpOf(context: xdp_md): Udp | null {
  const ethernet = packet(context, Ethernet, 0);
  if (ethernet === null || ethernet.protocol !== 0x0800) return null;
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null || ip.protocol !== IPPROTO_UDP || ip.headerLength !== 5) return null;
  return packet(context, Udp, Ethernet.size + Ipv4.size);
}

/** Drops what goes to the ports in the table, and counts it there. */
export const dropPorts = xdp((context) => {
  const udp = udpOf(context);
  if (udp === null) return XDP_PASS;
  const hits = ports.lookup(udp.destination);
  if (hits === null) return XDP_PASS;
  hits.value += 1n;
  return XDP_DROP;
});

export const reflectedPort = readOnly(u16, 0);
export const reflected = global(u32);

/** Sends datagrams of one port back to where they came from, with addresses and ports exchanged: checksums stay right. */
export const reflect = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  const udp = udpOf(context);
  if (ethernet === null || ip === null || udp === null || udp.destination !== reflectedPort.value) return XDP_PASS;
  for (let index = 0; index < 6; index += 1) {
    const byte: u8 = ethernet.source[index];
    ethernet.source[index] = ethernet.destination[index];
    ethernet.destination[index] = byte;
  }
  const address = ip.source;
  ip.source = ip.destination;
  ip.destination = address;
  const port = udp.source;
  udp.source = udp.destination;
  udp.destination = port;
  reflected.value += 1;
  return XDP_TX;
});

export const longest = global(u64);
export const inOnePiece = global(u32);
export const lastByte = global(u8);

/** Sees jumbo packets, of which only the beginning lies in one piece. */
export const jumbo = xdpFragments((context) => {
  const length = bpf_xdp_get_buff_len(context);
  if (length <= longest.value) return XDP_PASS;
  longest.value = length;
  inOnePiece.value = packetLength(context);
  const last = local(u8);
  if (bpf_xdp_load_bytes(context, u32(length) - 1, last) === 0) lastByte.value = last.value;
  return XDP_PASS;
});

export const devices = deviceMap({ value: bpf_devmap_val, maxEntries: 2 });
export const leaving = global(u32);

/** Sends everything on by the device at 0. */
export const forward = xdp(() => devices.redirect(0, XDP_DROP));

export const devicesByName = deviceHash({ maxEntries: 4 });

/** Sends everything on by the device that has this number of ours. */
export const forwardByName = xdp(() => devicesByName.redirect(0x1234_5678, XDP_DROP));

/** Runs at that device: TypeScript's redirect has chosen it already. */
export const atDevice = xdpDeviceMap((context) => {
  leaving.value = context.egress_ifindex;
  return XDP_PASS;
});

export const cpus = cpuMap({ value: bpf_cpumap_val, maxEntries: 8 });
export const chosenCpu = readOnly(u32, 0);
export const ranOn = global(u32, 0xffff_ffff);

/** Hands packets to another CPU's part of the stack. */
export const toCpu = xdp(() => cpus.redirect(chosenCpu.value, XDP_DROP));

export const atCpu = xdpCpuMap(() => {
  ranOn.value = bpf_get_smp_processor_id();
  return XDP_PASS;
});

export const xsks = xskMap({ maxEntries: 4 });
export const taken = global(u32);

/** Gives datagrams to the AF_XDP socket of the queue, where there is one. */
export const toProcess = xdp((context) => {
  if (udpOf(context) === null) return XDP_PASS;
  const socket = xsks.lookup(context.rx_queue_index);
  if (socket === null) return XDP_PASS;
  taken.value += 1;
  return xsks.redirect(socket.queue_id, XDP_PASS);
});

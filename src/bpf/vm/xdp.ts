/**
 * Room `bpf`: XDP programs in the VM: a packet in, a verdict and the packet out, as BPF_PROG_TEST_RUN does it in the
 * kernel.
 *
 * A newcomer would get wrong: bpf_xdp_adjust_head and _tail move the packet's ends, and every pointer into the packet
 * that was loaded before is worthless afterwards. The verifier refuses its use; here the old region is gone.
 */
import * as abi from '../../kernel/bpf-abi.ts';
import { ERRNO } from '../../kernel/errno.ts';
import type { Instruction } from '../instructions.ts';
import { ContextGuard } from './context.ts';
import type { Helper, HelperCall } from './helper-call.ts';
import { helpersIn, type World } from './helpers.ts';
import { Machine, type MachineOptions } from './machine.ts';
import type { Region } from './memory.ts';
import { Packet } from './packet.ts';

/** XDP_PACKET_HEADROOM, and the part of it that the kernel keeps for itself (struct xdp_frame). */
const HEADROOM = 256;
const FRAME_HEADER = 40;
/** A page less what the end of an sk_buff takes (struct skb_shared_info): where a packet's tail may reach. */
const FRAME_END = 4096 - 320;
/** ETH_HLEN: a packet is never made shorter. */
const ETHERNET_BYTES = 14;

export interface XdpResult {
  /** XDP_PASS and others; the low 32 bits of r0. */
  readonly action: number;
  /** A copy of the packet as the program left it. */
  readonly packet: Uint8Array;
}

export interface XdpOptions extends Omit<MachineOptions, 'helpers'> {
  readonly world?: World;
  readonly helpers?: ReadonlyMap<number, Helper>;
}

export interface XdpInput {
  /** From 14 bytes up to 3,520, with its Ethernet header. */
  readonly packet: Uint8Array;
  /** xdp_md.ingress_ifindex; 1 unless told. */
  readonly interfaceIndex?: number;
  /** xdp_md.rx_queue_index; 0 unless told. */
  readonly queue?: number;
}

/** An XDP program, to be run over any number of packets. */
export class XdpMachine {
  readonly machine: Machine;
  readonly #packet: Packet;
  readonly #context: Region;

  /** @throws VmFault, as {@link Machine} */
  constructor(instructions: readonly Instruction[], { world = {}, helpers, ...options }: XdpOptions = {}) {
    const own: [number, Helper][] = [
      [abi.BPF_FUNC_xdp_adjust_head, { name: 'xdp_adjust_head', arguments: 2, run: (call) => this.#adjustHead(call) }],
      [abi.BPF_FUNC_xdp_adjust_tail, { name: 'xdp_adjust_tail', arguments: 2, run: (call) => this.#adjustTail(call) }],
    ];
    const table = new Map([...helpersIn(world), ...own, ...(helpers ?? [])]);
    this.machine = new Machine(instructions, { entries: [{ slot: 0, set: 2 }], ...options, helpers: table });
    const packet = new Packet(this.machine, FRAME_END);
    const guard = new ContextGuard();
    guard.pointers.set(abi.XDP_MD.data, { bytes: 4, address: () => packet.data });
    guard.pointers.set(abi.XDP_MD.data_end, { bytes: 4, address: () => packet.dataEnd });
    guard.pointers.set(abi.XDP_MD.data_meta, { bytes: 4, address: () => packet.dataMeta });
    this.#packet = packet;
    const bytes = new Uint8Array(abi.XDP_MD.size);
    this.#context = this.machine.space.add({ name: 'the context', bytes, writable: false, guard });
  }

  /** Runs the program over a packet. @throws VmFault; RangeError for a packet that no frame holds */
  run({ packet, interfaceIndex = 1, queue = 0 }: XdpInput): XdpResult {
    const largest = FRAME_END - HEADROOM;
    if (packet.length < ETHERNET_BYTES || packet.length > largest) {
      throw new RangeError(`the packet has ${packet.length} bytes: ${ETHERNET_BYTES} to ${largest} are allowed`);
    }
    this.#packet.begin(packet, HEADROOM);
    this.#context.view.setUint32(abi.XDP_MD.ingress_ifindex, interfaceIndex, true);
    this.#context.view.setUint32(abi.XDP_MD.rx_queue_index, queue, true);
    this.machine.start([this.#context.address()], 0);
    return { action: this.machine.file[0] >>> 0, packet: this.#packet.bytes() };
  }

  #adjustHead(call: HelperCall): void {
    call.expect(1, this.#context);
    const { end, start } = this.#packet;
    const moved = start + call.signed(2);
    if (moved < FRAME_HEADER || moved > end - ETHERNET_BYTES) {
      call.returns(-ERRNO.EINVAL);
      return;
    }
    this.#packet.place(moved, moved, end);
    call.returns(0);
  }

  #adjustTail(call: HelperCall): void {
    call.expect(1, this.#context);
    const { end, start } = this.#packet;
    const moved = end + call.signed(2);
    if (moved > FRAME_END || moved < start + ETHERNET_BYTES) {
      call.returns(-ERRNO.EINVAL);
      return;
    }
    // net/core/filter.c clears what a packet grows by, so that nothing of an earlier one shows.
    if (moved > end) this.#packet.frame.fill(0, end, moved);
    this.#packet.place(start, start, moved);
    call.returns(0);
  }
}

/**
 * Room `bpf`: one program of an object in the VM: what it is run with, and what it leaves behind.
 *
 * A newcomer would get wrong: `action` is the low 32 bits, signed, as the kernel takes a verdict; all 64 are in
 * `value`.
 */
import type { FunctionSpec, ProgramKind } from '../object/spec.ts';
import type { Effect, Environment, SysctlInput } from './environment.ts';
import { ETHERNET_BYTES, XDP_FRAME_END, XDP_HEADROOM } from './helpers-xdp.ts';
import type { Region } from './memory.ts';
import { Packet } from './packet.ts';
import { argumentsContext, type ContextFields, contextStructOf, StructContext } from './run-context.ts';
import { verdictsOf } from './verdicts.ts';

/** Room in front of an sk_buff's packet, and for its largest: 64 KB of IP behind an Ethernet header, and what programs add. */
const SKB_HEADROOM = 16384;
const SKB_FRAME = SKB_HEADROOM + 65536 + ETHERNET_BYTES + 256;

export interface RunInput {
  /** The packet from its Ethernet header on (for sk_msg and sk_reuseport what the program sees). */
  readonly packet?: Uint8Array;
  /** In front of an XDP packet: data_meta to data. */
  readonly metadata?: Uint8Array;
  /** Fields of the context with the kernel's names; or its struct as bytes, as BPF_PROG_TEST_RUN takes it. */
  readonly context?: ContextFields | Uint8Array;
  /** For programs whose context is a list of arguments (raw and BTF tracepoints, fentry, LSM): numbers, or memory. */
  readonly arguments?: readonly unknown[];
  /** For programs whose context is plain memory: a tracepoint's record, a syscall program's argument, which it may write. */
  readonly memory?: Uint8Array;
  /** For cgroup's sysctl programs. */
  readonly sysctl?: SysctlInput;
}

export interface RunResult {
  /** The verdict: r0's low 32 bits, signed. */
  readonly action: number;
  /** All of r0. */
  readonly value: bigint;
  /** The packet as the program left it; null where there was none. */
  readonly packet: Uint8Array | null;
  readonly metadata: Uint8Array | null;
  /** The context's fields afterwards, without pointers; empty where it has none. */
  readonly context: Readonly<Record<string, unknown>>;
  /** The same as bytes, as BPF_PROG_TEST_RUN gives it; for arguments and plain memory the whole of it. */
  readonly contextBytes: Uint8Array;
  /** What the program had done besides, in order. */
  readonly effects: readonly Effect[];
  /** What bpf_sysctl_set_new_value wrote. */
  readonly sysctlValue: string | null;
  /** Instructions executed; a wide load counts as one. */
  readonly executed: number;
}

/** Program types whose packet begins with the Ethernet header. */
const linkLayer = /^(?:xdp|sched_cls|sched_act|flow_dissector)$/;
/** Those whose packet is given as they see it. */
const payload = /^(?:sk_msg|sk_reuseport|sk_skb)$/;
/** Those whose context is a list of arguments. */
const withArguments = /^(?:tracing|raw_tracepoint|raw_tracepoint_writable|lsm|struct_ops|ext)$/;

const ETH_P_IP = 0x0800;
const ETH_P_IPV6 = 0x86dd;
const AF_INET = 2;
const AF_INET6 = 10;
/** PACKET_HOST, _BROADCAST, _MULTICAST, _OTHERHOST. The test run's device is the loopback, whose address is all zeroes. */
function packetTypeOf(packet: Uint8Array): number {
  let ones = 0;
  let zeroes = 0;
  for (let at = 0; at < 6; at++) {
    if (packet[at] === 0xff) ones++;
    if (packet[at] === 0) zeroes++;
  }
  if (zeroes === 6) return 0;
  if (ones === 6) return 1;
  return (packet[0] & 1) !== 0 ? 2 : 3;
}

/** Fills the fields that the kernel's test run fills from the packet (eth_type_trans). */
function putPacketFields(struct: StructContext, packet: Uint8Array): void {
  const type = packet.length >= ETHERNET_BYTES ? (packet[12] << 8) | packet[13] : 0;
  struct.put('protocol', type);
  struct.put('pkt_type', packetTypeOf(packet));
  struct.put('ifindex', 1);
  struct.put('family', type === ETH_P_IP ? AF_INET : type === ETH_P_IPV6 ? AF_INET6 : 0);
}

/** A program, to be run any number of times. */
export class VmProgram {
  readonly name: string;
  readonly kind: ProgramKind;
  readonly #environment: Environment;
  /** Where it begins in the object's code; by it a prog array knows the program. */
  readonly slot: number;
  readonly #isChecked: boolean;
  #context: StructContext | null = null;
  #packet: Packet | null = null;

  constructor(environment: Environment, spec: FunctionSpec, entry: number, isChecked: boolean) {
    if (spec.kind === null) throw new TypeError(`${spec.name} is no program`);
    this.name = spec.name;
    this.kind = spec.kind;
    this.#environment = environment;
    this.slot = entry;
    this.#isChecked = isChecked;
  }

  /** Runs it once. @throws VmFault where the verifier would have refused the program; TypeError for input that does not fit */
  run(input: RunInput = {}): RunResult {
    const environment = this.#environment;
    const { machine } = environment;
    const packet = this.#givePacket(input);
    const struct = this.#giveContext(input, packet);
    const { region, isOwn } = struct === null ? this.#plainContext(input) : { region: struct.region, isOwn: false };
    environment.begin(this.kind.type, region, packet, struct);
    environment.sysctl = input.sysctl ?? null;
    try {
      machine.start([region.address()], this.slot);
      const problem = this.#problemAtEnd();
      if (problem !== null) throw machine.faultAtEnd(problem);
      return this.#result(input, region, struct, packet);
    } finally {
      if (isOwn) {
        machine.space.retire(region, 'the run has ended');
        machine.space.reuse(region);
      }
    }
  }

  /** Runs it over one packet and gives the verdict: the fast way, which makes no objects. What it did can't be asked for. */
  verdict(packet: Uint8Array): number {
    const environment = this.#environment;
    const found = this.#givePacket({ packet });
    const struct = this.#giveContext({ packet }, found);
    if (struct === null) throw new TypeError(`${this.name} is no program for packets`);
    environment.begin(this.kind.type, struct.region, found, struct);
    environment.machine.start(struct.arguments, this.slot);
    const problem = this.#problemAtEnd();
    if (problem !== null) throw environment.machine.faultAtEnd(problem);
    return environment.machine.file[0];
  }

  #givePacket({ packet: bytes, metadata }: RunInput): Packet | null {
    const { type } = this.kind;
    if (bytes === undefined) return null;
    const isXdp = type === 'xdp';
    const frame = isXdp ? XDP_FRAME_END : SKB_FRAME;
    const headroom = isXdp ? XDP_HEADROOM : SKB_HEADROOM;
    const smallest = payload.test(type) ? 0 : ETHERNET_BYTES;
    if (bytes.length < smallest || bytes.length > frame - headroom) {
      throw new RangeError(`the packet has ${bytes.length} bytes: ${smallest} to ${frame - headroom} are allowed`);
    }
    this.#packet ??= new Packet(this.#environment.machine, frame, this.#isChecked);
    this.#packet.begin(bytes, headroom, metadata);
    if (!linkLayer.test(type) && smallest > 0) {
      // eth_type_trans pulls the header before such a program runs.
      const start = headroom + ETHERNET_BYTES;
      this.#packet.frame.fill(0, headroom, start);
      this.#packet.place(start, start, headroom + bytes.length);
    }
    return this.#packet;
  }

  #giveContext({ context, packet: bytes }: RunInput, packet: Packet | null): StructContext | null {
    const layout = contextStructOf(this.kind.type);
    if (layout === null) return null;
    this.#context ??= new StructContext(this.#environment, layout);
    const struct = this.#context;
    struct.clear();
    if (this.kind.type === 'xdp') struct.put('ingress_ifindex', 1);
    else if (bytes !== undefined && layout.struct.name === '__sk_buff') putPacketFields(struct, bytes);
    if (context instanceof Uint8Array) struct.putBytes(context);
    else if (context !== undefined) struct.putAll(context);
    if (packet !== null) {
      struct.put('len', packet.length);
      struct.put('wire_len', packet.length);
    }
    return struct;
  }

  #plainContext(input: RunInput): { readonly region: Region; readonly isOwn: boolean } {
    const environment = this.#environment;
    if (withArguments.test(this.kind.type)) {
      const given = input.arguments ?? (input.context instanceof Uint8Array ? input.context : []);
      return { region: argumentsContext(environment, given), isOwn: true };
    }
    const bytes = input.memory ?? new Uint8Array(0);
    const writable = this.kind.type === 'syscall';
    return { region: environment.machine.space.add({ name: 'the context', bytes, writable }), isOwn: true };
  }

  #result(input: RunInput, region: Region, struct: StructContext | null, packet: Packet | null): RunResult {
    const given = input.context instanceof Uint8Array ? input.context : new Uint8Array(0);
    const { effects, sysctlValue, machine } = this.#environment;
    const [low, high] = machine.file;
    // Programs above the link layer get their packet back with an Ethernet header of zeroes, as the kernel's test run gives it.
    const isPulled = packet !== null && !linkLayer.test(this.kind.type) && !payload.test(this.kind.type);
    const start = (packet?.start ?? 0) - (isPulled ? ETHERNET_BYTES : 0);
    if (isPulled) packet.frame.fill(0, start, packet.start);
    return {
      action: low,
      value: BigInt.asUintN(64, (BigInt(high) << 32n) | BigInt(low >>> 0)),
      packet: packet?.frame.slice(start, packet.end) ?? null,
      metadata: packet?.frame.slice(packet.metadata, packet.start) ?? null,
      context: struct?.fields() ?? {},
      contextBytes: struct?.bytes(given) ?? region.bytes.slice(),
      effects,
      sysctlValue,
      executed: machine.executed,
    };
  }

  /** What the verifier would say of how the program ended; null for nothing. */
  #problemAtEnd(): string | null {
    const { leaked, machine } = this.#environment;
    if (leaked !== null) return `ends without giving back ${leaked}`;
    if (machine.locks > 0) return 'ends while it holds a lock';
    const range = verdictsOf(this.kind);
    const [low, high] = machine.file;
    if (range === null || (low >= range[0] && low <= range[1] && high === 0)) return null;
    return `returns ${low}: ${range[0] === range[1] ? range[0] : `${range[0]} to ${range[1]}`} is allowed`;
  }
}

/**
 * Room `bpf`: what a program of an object runs in: its context, its packet, memory of the kernel's that a test gives,
 * and what the program did to the world (redirections, sockets it chose, options it set), kept for the test to see.
 *
 * A newcomer would get wrong: all of it is of the current run. The machine and the maps stay, this is cleared before
 * each run.
 */
import type { VmRingBuffer } from './buffers.ts';
import { Violation } from './fault.ts';
import type { HelperCall } from './helper-call.ts';
import type { Machine } from './machine.ts';
import type { Region } from './memory.ts';
import type { Packet } from './packet.ts';
import type { World } from './world.ts';

/** What a program had done with the packet or the connection besides its verdict. */
export type Effect =
  | {
      readonly kind: 'redirect' | 'redirectPeer' | 'redirectNeighbour';
      readonly interfaceIndex: number;
      readonly flags: number;
    }
  | { readonly kind: 'redirectMap'; readonly map: string; readonly key: Uint8Array; readonly flags: bigint }
  /** A copy of the packet as it was then goes out. */
  | { readonly kind: 'clone'; readonly interfaceIndex: number; readonly flags: number; readonly packet: Uint8Array }
  /** A socket was chosen: sk_assign, sk_select_reuseport. Null: the choice was taken back. */
  | { readonly kind: 'socket'; readonly socket: unknown; readonly flags: number }
  /** A socket was put into a map by the program. */
  | { readonly kind: 'socketMap'; readonly map: string; readonly key: Uint8Array }
  | { readonly kind: 'socketOption'; readonly level: number; readonly name: number; readonly value: Uint8Array }
  /** bpf_msg_apply_bytes, bpf_msg_cork_bytes. */
  | { readonly kind: 'applyBytes' | 'corkBytes'; readonly bytes: number }
  | { readonly kind: 'signal'; readonly signal: number };

/** The texts of a cgroup's sysctl program. */
export interface SysctlInput {
  readonly name: string;
  readonly current: string;
  /** What is written; absent where it is read. */
  readonly next?: string;
}

/** Numbers in a context's fields, by name. Fields that the struct does not have are 0 and stay so. */
export interface FieldAccess {
  number(name: string): number;
  put(name: string, value: number): void;
}

/** One environment serves all programs of an object. */
export class Environment {
  readonly machine: Machine;
  readonly world: World;
  /** enum bpf_prog_type, lower case, of what runs. */
  programType = '';
  context: Region | null = null;
  packet: Packet | null = null;
  /** The context's fields, where it is a struct. */
  fields: FieldAccess | null = null;
  effects: Effect[] = [];
  sysctl: SysctlInput | null = null;
  /** What bpf_sysctl_set_new_value wrote. */
  sysctlValue: string | null = null;
  tailCalls = 0;
  /** Records that were reserved, and sockets that were looked up: what the program must give back. */
  readonly held = new Map<Region, { readonly what: string; readonly buffer: VmRingBuffer | null }>();
  /** Memory that was given back. Its place is taken again only after the run, so that a pointer to it is seen. */
  readonly #given: Region[] = [];
  readonly #memory = new Map<Uint8Array, Region>();
  readonly #options = new Map<string, Uint8Array>();

  constructor(machine: Machine, world: World) {
    this.machine = machine;
    this.world = world;
  }

  /** Before a run. */
  begin(programType: string, context: Region, packet: Packet | null, fields: FieldAccess | null): void {
    this.fields = fields;
    this.programType = programType;
    this.context = context;
    this.packet = packet;
    if (this.effects.length > 0) this.effects = [];
    this.sysctl = null;
    this.sysctlValue = null;
    this.tailCalls = 0;
    if (this.held.size > 0) for (const region of this.held.keys()) this.give(region, 'the run has ended');
    for (const region of this.#given) this.machine.space.reuse(region);
    this.#given.length = 0;
  }

  /** Memory of the kernel's that a test gives: the same bytes are the same object in every run. */
  memory(bytes: Uint8Array, name: string, writable = false): Region {
    const known = this.#memory.get(bytes);
    if (known !== undefined) return known;
    const region = this.machine.space.add({ name, bytes, writable });
    this.#memory.set(bytes, region);
    return region;
  }

  /** Makes memory that the program must give back before it ends. */
  hold(bytes: Uint8Array, what: string, buffer: VmRingBuffer | null): Region {
    const region = this.machine.space.add({ name: what, bytes, writable: buffer !== null });
    this.held.set(region, { what, buffer });
    return region;
  }

  /** The program gives memory back; pointers to it are worthless then. */
  give(region: Region, reason: string): void {
    this.held.delete(region);
    this.machine.space.retire(region, reason);
    this.#given.push(region);
  }

  /** What the program has not given back. */
  get leaked(): string | null {
    const [first] = this.held.values();
    return first?.what ?? null;
  }

  /** Options of sockets, as programs set them. */
  option(level: number, name: number): Uint8Array | undefined {
    return this.#options.get(`${level} ${name}`);
  }

  setOption(level: number, name: number, value: Uint8Array): void {
    this.#options.set(`${level} ${name}`, value);
    this.effects.push({ kind: 'socketOption', level, name, value });
  }

  /** The packet, where argument 1 is the context of a program that has one. @throws Violation where not */
  packetOf(call: HelperCall): Packet {
    this.expectContext(call, 1);
    if (this.packet === null) throw new Violation('the program has no packet');
    return this.packet;
  }

  /** @throws Violation where argument `n` is not the context */
  expectContext(call: HelperCall, n: number): void {
    if (this.context === null) throw new Violation(`argument ${n} is not the context`);
    call.expect(n, this.context);
  }

  /** Moves the packet's ends, or, with them as they are, only makes old pointers worthless. */
  movePacket(packet: Packet, metadata: number, start: number, end: number): void {
    packet.place(metadata, start, end);
    this.fields?.put('len', packet.length);
  }
}

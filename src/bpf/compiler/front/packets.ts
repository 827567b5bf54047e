/**
 * Room `bpf`: `packet(context, Struct, offset)`: bytes of the packet, with the comparison that the verifier wants.
 *
 * A newcomer would get wrong: nothing is compared here. The pointer carries its test with it, and the source's `if (ip === null)` becomes
 * the comparison with the packet's end: as many branches as a C program has.
 */
import { bytesOf, type StructType, U32 } from '../../types.ts';
import { refuse } from '../diagnostics.ts';
import type { Value, Width } from '../ir.ts';
import { operandOf } from './arithmetic.ts';
import type { Frame } from './frame.ts';
import { argumentsOf, type Call, type Expression } from './syntax.ts';
import { computed, describe, type Operand, type Pointer, pointerTo, type Scalar, type Test } from './values.ts';

/**
 * How far into a packet a variable offset may lead. The verifier gives up on pointers that may be more than 65535 behind the beginning
 * (MAX_PACKET_OFF), and this is the next lower number that a mask can keep to.
 */
const OFFSET_MAX = 0x7fff;

/** Where contexts say that their bytes begin: of a packet, of a socket option's value (bpf_sockopt), of a TCP header (bpf_sock_ops). */
const BEGINNINGS = ['data', 'optval', 'skb_data'] as const;

/** A context and its fields that bound the bytes. */
interface Bounded {
  readonly context: Pointer;
  readonly begin: (typeof BEGINNINGS)[number];
}

/** The context, which must be of a program that may see its packet. */
function packetContext(frame: Frame, node: Expression): Bounded {
  const operand = frame.value(node);
  const pointers = operand.kind === 'pointer' ? operand.context?.pointers : undefined;
  const begin = BEGINNINGS.find((name) => pointers?.[name]?.space === 'packet');
  if (operand.kind !== 'pointer' || begin === undefined) {
    refuse(
      node,
      `${describe(operand)} gives no access to a packet`,
      'pass the context of an xdp, tc, sk_msg or sk_skb program',
    );
  }
  return { context: operand, begin };
}

function boundary(frame: Frame, { context, begin }: Bounded, which: 'packet' | 'packetEnd'): Value {
  const name = which === 'packet' ? begin : `${begin}_end`;
  const field = (context.type as StructType).fields.find((one) => one.name === name);
  const offset = context.offset + (field?.offset ?? 0);
  const width = bytesOf(field?.type ?? U32) as Width;
  return frame.builder.load(width, false, context.address, which, { offset });
}

interface Start {
  readonly address: Value;
  readonly offset: number;
  readonly tests: readonly Test[];
}

/** Where the bytes begin. A variable offset is kept within what the verifier can follow; beyond that the packet ends. */
function startAt(frame: Frame, node: Expression, data: Value, offset: Scalar): Start {
  const { builder } = frame;
  if (offset.constant !== null) {
    if (offset.constant < 0n || offset.constant > BigInt(OFFSET_MAX)) {
      refuse(node, `${offset.constant} is not between 0 and ${OFFSET_MAX}`);
    }
    return { address: data, offset: Number(offset.constant), tests: [] };
  }
  const bits = offset.type.kind === 'integer' && offset.type.bytes === 8 ? 64 : 32;
  const value = operandOf(builder, offset, 64);
  if (offset.low >= 0n && offset.high <= BigInt(OFFSET_MAX)) {
    return { address: builder.binary('add', 64, data, value, 'packet'), offset: 0, tests: [] };
  }
  const masked = builder.binary('and', bits, value, builder.constant(OFFSET_MAX));
  const within: Test = { condition: 'ule', bits, left: value, right: builder.constant(OFFSET_MAX) };
  return { address: builder.binary('add', 64, data, masked, 'packet'), offset: 0, tests: [within] };
}

/** `packet(context, Type, offset)`. */
export function packet(frame: Frame, node: Call): Operand {
  const { builder } = frame;
  const [contextNode, typeNode, offsetNode, ...rest] = argumentsOf(node);
  if (contextNode === undefined || typeNode === undefined || offsetNode === undefined || rest.length > 0) {
    refuse(node, 'packet takes the context, a type and an offset', 'write packet(context, Ethernet, 0)');
  }
  const context = packetContext(frame, contextNode);
  const layout = frame.expression(typeNode);
  if (layout.kind !== 'type') refuse(typeNode, `${describe(layout)} is no type`, 'pass a struct such as Ipv4');
  const bytes = bytesOf(layout.type);
  if (bytes === 0) refuse(typeNode, `${describe(layout)} has no bytes`);
  const offset = frame.scalar(offsetNode);
  frame.at(node);
  const start = startAt(frame, offsetNode, boundary(frame, context, 'packet'), offset);
  const end = boundary(frame, context, 'packetEnd');
  const past = builder.binary('add', 64, start.address, builder.constant(start.offset + bytes), 'packet');
  const fits: Test = { condition: 'ule', bits: 64, left: past, right: end };
  return pointerTo(layout.type, start.address, 'packet', {
    offset: start.offset,
    alignment: 1,
    nullable: true,
    tests: [...start.tests, fits],
    packet: frame.packet,
  });
}

/** `packetLength(context)`: bytes that lie in one piece. */
export function packetLength(frame: Frame, node: Call): Operand {
  const [contextNode] = argumentsOf(node);
  if (contextNode === undefined) refuse(node, 'packetLength takes the context');
  const context = packetContext(frame, contextNode);
  frame.at(node);
  const data = boundary(frame, context, 'packet');
  const end = boundary(frame, context, 'packetEnd');
  const length = frame.builder.binary('sub', 64, end, data);
  // The verifier knows nothing of the difference of two pointers. Cut to 32 bits it can be bounded by comparisons of 32 bits.
  return computed(U32, frame.builder.unary('zext', 4, length), [0n, 0xffffn]);
}

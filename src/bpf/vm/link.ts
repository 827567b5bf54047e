/**
 * Room `bpf`: puts addresses into a prepared program: of maps, of values and of functions; and sees that every helper
 * is there.
 */
import * as abi from '../../kernel/bpf-abi.ts';
import { WIDE_LOAD } from '../instructions.ts';
import { VmArena } from './arena.ts';
import { VmFault } from './fault.ts';
import type { Helper } from './helper-call.ts';
import { VmMap } from './maps.ts';
import type { Address } from './memory.ts';
import { type Program, SLOT_WORDS, WORD_OPERAND, WORD_SOURCE } from './program.ts';
import type { AnyMap, ValueRegions } from './value-regions.ts';

type Found = NonNullable<ReturnType<Program['at']>>;

function mapAddress(slot: number, found: Found, values: ValueRegions, maps: ReadonlyMap<number, AnyMap>): Address {
  const map = maps.get(found.immediate);
  if (map === undefined) throw new VmFault(slot, found, `names map ${found.immediate}, which the VM was not given`);
  const isValue = found.source === abi.BPF_PSEUDO_MAP_VALUE || found.source === abi.BPF_PSEUDO_MAP_IDX_VALUE;
  if (!isValue) return values.handle(map).address();
  if (map instanceof VmArena) return map.addressAt(found.nextImmediate);
  if (!(map instanceof VmMap) || map.spec.type !== 'array')
    throw new VmFault(slot, found, 'takes the address of a value, which only arrays and arenas allow');
  return values.region(map, 0).address(found.nextImmediate);
}

/** @throws VmFault for a map or helper that is not there */
export function linkProgram(
  program: Program,
  values: ValueRegions,
  helpers: ReadonlyMap<number, Helper>,
  maps: ReadonlyMap<number, AnyMap>,
): void {
  for (let slot = 0; slot < program.slots; slot++) {
    const found = program.at(slot);
    if (found === undefined) continue;
    const isHelper = found.opcode === (abi.BPF_JMP | abi.BPF_CALL) && found.source === 0;
    if (isHelper && !helpers.has(found.immediate)) {
      throw new VmFault(slot, found, `calls helper ${found.immediate}, which the VM does not have`);
    }
    if (found.opcode !== WIDE_LOAD || found.source === 0) continue;
    const isFunction = found.source === abi.BPF_PSEUDO_FUNC;
    const { low, high } = isFunction
      ? values.functionAddress(slot + 1 + found.immediate)
      : mapAddress(slot, found, values, maps);
    program.code[slot * SLOT_WORDS + WORD_SOURCE] = low;
    program.code[slot * SLOT_WORDS + WORD_OPERAND] = high;
  }
}

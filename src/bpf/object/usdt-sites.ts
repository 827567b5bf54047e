/**
 * Room `bpf`: the table by which one compiled program finds the arguments of a USDT probe at each place that has it: the compiler's code
 * reads it (`compiler/front/usdt.ts`), the loader fills it when it attaches (`loader/links/usdt-sites.ts`).
 *
 * A newcomer would get wrong: nothing of this is known when compiling. Where an argument lies differs between builds of the probed
 * binary, and between two places of one build. The program learns from the attachment's cookie which row is its own.
 */
import { I64, layOut, type StructType, type Type, U8, U16, U32, U64 } from '../types.ts';

/** The map's name. A map of the source with this name is refused where probes' arguments are read. */
export const USDT_SITES = 'usdt_sites';
/** Rows unless the loader is told another number: places with different arguments, of all attachments of an object. The first is empty. */
export const USDT_SITES_MAX = 256;
/** Probes have at most as many arguments as the macros of sys/sdt.h go to: STAP_PROBE12. */
export const USDT_ARGUMENTS_MAX = 12;

/** What `flags` says of an argument. */
export const USDT_BASE = 1;
export const USDT_INDEX = 2;
export const USDT_IN_MEMORY = 4;
export const USDT_SIGNED = 8;

/**
 * One argument: `displacement`, and with USDT_BASE the register at byte `base` of pt_regs, and with USDT_INDEX the one at `index`
 * shifted left by `scale`. With USDT_IN_MEMORY the sum is an address in the process, from which `bytes` are taken. Of the result all
 * but the low bits is cut off: `shift` is how many.
 */
export const USDT_ARGUMENT: StructType = layOut('usdt_argument', [
  { name: 'displacement', type: I64 },
  { name: 'base', type: U16 },
  { name: 'index', type: U16 },
  { name: 'scale', type: U8 },
  { name: 'bytes', type: U8 },
  { name: 'shift', type: U8 },
  { name: 'flags', type: U8 },
]);

const ALL_ARGUMENTS: Type = { kind: 'array', element: USDT_ARGUMENT, length: USDT_ARGUMENTS_MAX };

/** A row of the table. `cookie` is the one that user space gave, as the kernel's names the row. */
export const USDT_SITE: StructType = layOut('usdt_site', [
  { name: 'cookie', type: U64 },
  { name: 'count', type: U32 },
  { name: 'arguments', type: ALL_ARGUMENTS },
]);

/**
 * Test support: what a case of the program suite consists of. The cases themselves are in `bpf-suite-packets.ts` and
 * `bpf-suite-sockets.ts`.
 */

/** One run of a program. */
export interface Input {
  /** Which of the object's programs, by its name in TypeScript; the case's unless told. */
  readonly program?: string;
  readonly data?: Uint8Array;
  /** The context's bytes, where the program's type takes one. */
  readonly context?: Uint8Array;
  /** What bpf_sysctl_get_name gives. */
  readonly sysctlName?: string;
}

/** Keys in hexadecimal, in order, and values. */
export type MapContent = ReadonlyMap<string, Uint8Array>;

/** What a case may do before the first run. */
export interface Setup {
  set(map: string, key: Uint8Array, value: Uint8Array): void;
  /** Puts a listening TCP socket into a map; in the VM something stands for it. */
  listen(map: string, key: Uint8Array): void;
  /** Gives a global variable a value. */
  assign(variable: string, value: number | bigint): void;
}

export interface SuiteCase {
  /** The files' name. */
  readonly name: string;
  /** The program's name in TypeScript. */
  readonly program: string;
  /** Where both are run over the inputs: the kernel has no test run for some types. */
  readonly kernel: boolean;
  readonly prepare?: (setup: Setup) => void;
  /** Values of `.rodata`, by the names in TypeScript. */
  readonly constants?: Readonly<Record<string, unknown>>;
  readonly inputs: () => readonly Input[];
  /** What it sees depends on the machine: ids of tasks, cookies of sockets. In the VM others are seen than in the kernel. */
  readonly seesMachine?: boolean;
  /** Maps whose content is compared in the end. */
  readonly observed?: readonly string[];
  /** Ring buffers whose records are compared in the end. */
  readonly records?: readonly string[];
  /** Global variables whose values are compared in the end. */
  readonly globals?: readonly string[];
  /** Bytes of values, from and to, that hold times. */
  readonly ignored?: Readonly<Record<string, readonly (readonly [number, number])[]>>;
}

/** Numbers in the host's order, as they lie in maps and contexts. */
export const le16 = (value: number): number[] => [value & 255, (value >> 8) & 255];
export const le32 = (value: number): number[] => [...le16(value & 0xffff), ...le16(value >>> 16)];
export const le64 = (value: bigint): number[] => [
  ...le32(Number(value & 0xffffffffn)),
  ...le32(Number((value >> 32n) & 0xffffffffn)),
];

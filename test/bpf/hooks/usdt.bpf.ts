/**
 * Programs at USDT probes: their arguments as parameters and by number, how many there are, and what was said when they were attached.
 */
import {
  array,
  bpf_get_attach_cookie,
  bpf_probe_read_user_str,
  global,
  i16,
  i32,
  i64,
  local,
  ringBuffer,
  struct,
  u8,
  u32,
  u64,
  usdt,
  usdtArgument,
  usdtArgumentCount,
  usdtCookie,
  usdtSleepable,
} from '../../../src/bpf/library/index.ts';

export const Hit = struct({ place: u32, count: u32, value: u64, cookie: u64 });
export const hits = ringBuffer({ value: Hit, maxEntries: 65_536 });
export const Choice = struct({ first: i32, third: i16, shared: i32, constant: i32, second: i64 });
export const choices = ringBuffer({ value: Choice, maxEntries: 65_536 });

/** The arguments by number. */
export const onPlace = usdt('', (registers) => {
  hits.output(
    local(Hit, {
      place: u32(usdtArgument(registers, 0)),
      count: usdtArgumentCount(registers),
      value: usdtArgument(registers, 1),
      cookie: usdtCookie(registers),
    }),
  );
});

/** As parameters, each of the type that it has in the source of what is probed. */
export const onChosen = usdt('', (_registers, first: i32, second: i64, third: i16, shared: i32, constant: i32) => {
  choices.output(local(Choice, { first, second, third, shared, constant }));
});

/** What {@link onMany} has added up. */
export const total = global(u64);

/** One after the other, by a number that is not known when compiling; and one beyond the last. */
export const onMany = usdt('', (registers) => {
  let sum: u64 = 0n;
  for (let index: u32 = 0; index < 12; index += 1) sum = sum * 2n + usdtArgument(registers, index);
  const count = usdtArgumentCount(registers);
  total.value += sum;
  hits.output(local(Hit, { count, value: sum, cookie: usdtArgument(registers, count) }));
});

export const onPage = usdt('', (_registers, value: u64) => {
  hits.output(local(Hit, { value }));
});

/** The same, where the page of the argument is fetched if it is not there. */
export const onPageSleepable = usdtSleepable('', (_registers, value: u64) => {
  hits.output(local(Hit, { value }));
});

/** Reads no arguments: the cookie is the kernel's, and any probe will do. */
export const onAny = usdt('', (registers) => {
  hits.output(local(Hit, { cookie: bpf_get_attach_cookie(registers) }));
});

export const Module = struct({ found: i32, name: array(u8, 32) });
export const modules = ringBuffer({ value: Module, maxEntries: 1 << 20 });

/** CPython's probe where an import ends: the module's name, and whether it was found. */
export const onImport = usdt(
  '/usr/bin/python3:python:import__find__load__done',
  (_registers, name: u64, found: i32) => {
    const module = local(Module, { found });
    if (bpf_probe_read_user_str(module.name, name) > 0) modules.output(module);
  },
);

/** CPython's probe where the collector begins, with the generation. */
export const onCollect = usdt('/usr/bin/python3:python:gc__start', (_registers, generation: i32) => {
  hits.output(local(Hit, { place: generation }));
});

/**
 * Programs at USDT probes: their arguments as parameters and by number, how many there are, and what was said when they were attached.
 */
import {
  bpf_get_attach_cookie,
  i16,
  i32,
  i64,
  local,
  ringBuffer,
  struct,
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

/** One after the other, by a number that is not known when compiling; and one beyond the last. */
export const onMany = usdt('', (registers) => {
  let sum: u64 = 0n;
  for (let index: u32 = 0; index < 12; index += 1) sum = sum * 2n + usdtArgument(registers, index);
  const count = usdtArgumentCount(registers);
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

const Audit = struct({ length: u32 });
export const audits = ringBuffer({ value: Audit, maxEntries: 65_536 });

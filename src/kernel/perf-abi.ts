/**
 * Room `kernel`: perf_event_open(2): constants and layouts (include/uapi/linux/perf_event.h). `test/kernel/headers.test.ts` pins them.
 *
 * A newcomer would get wrong: the bit fields of struct perf_event_attr are one 64-bit word at `flags` here; and tracepoints, uprobes
 * and kprobes are events, too: it is through one that a program is attached to them.
 */

export const PERF_TYPE_HARDWARE = 0;
export const PERF_TYPE_SOFTWARE = 1;
export const PERF_TYPE_TRACEPOINT = 2;
export const PERF_COUNT_SW_CPU_CLOCK = 0;
export const PERF_COUNT_SW_TASK_CLOCK = 1;
export const PERF_COUNT_SW_BPF_OUTPUT = 10;
export const PERF_SAMPLE_RAW = 1024;
export const PERF_FLAG_FD_CLOEXEC = 8;

export const PERF_EVENT_IOC_ENABLE = 0x2400;
export const PERF_EVENT_IOC_DISABLE = 0x2401;
export const PERF_EVENT_IOC_SET_BPF = 0x40042408;

export const PERF_RECORD_LOST = 2;
export const PERF_RECORD_SAMPLE = 9;

/** The version of the attribute that Linux 4.1 and newer know. */
export const PERF_ATTR_SIZE_VER5 = 112;

/** struct perf_event_attr, in bytes. The bit fields follow `read_format`. */
export const PERF_EVENT_ATTR = {
  type: 0,
  size: 4,
  config: 8,
  sample_period: 16,
  sample_type: 24,
  read_format: 32,
  wakeup_events: 48,
  config1: 56,
  config2: 64,
} as const;

/** struct perf_event_mmap_page, in bytes. */
export const PERF_EVENT_MMAP_PAGE = { data_head: 1024, data_tail: 1032, data_offset: 1040, data_size: 1048 } as const;

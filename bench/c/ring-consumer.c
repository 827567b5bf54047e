// Reads a BPF ring buffer with libbpf, as a careful C program does, and prints what each part of the load cost as a line of JSON.
//
//   cc -O2 -o ring-consumer bench/c/ring-consumer.c -lbpf && ./ring-consumer ID_OF_THE_MAP
//
// Prints `ready`. A record whose number is UINT64_MAX ends a part: then a line tells the records since the last one, their sum, and
// the processor time that this process used meanwhile. A record is a u64 number and a u64 time, 16 bytes, as
// bench/bpf/ring-producer.bpf.ts writes them. It runs until its standard input or the ring is closed from outside (a signal).
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

struct record {
  uint64_t number;
  uint64_t time;
};

static uint64_t records;
static uint64_t sum;
static struct rusage before;

static double microseconds(const struct timeval *time) { return time->tv_sec * 1e6 + time->tv_usec; }

static void tell(void) {
  struct rusage now;
  getrusage(RUSAGE_SELF, &now);
  printf("{\"records\":%llu,\"sum\":\"%llu\",\"userUs\":%.0f,\"systemUs\":%.0f}\n", (unsigned long long)records,
         (unsigned long long)sum, microseconds(&now.ru_utime) - microseconds(&before.ru_utime),
         microseconds(&now.ru_stime) - microseconds(&before.ru_stime));
  fflush(stdout);
  records = 0;
  sum = 0;
  getrusage(RUSAGE_SELF, &before);
}

static int take(void *context, void *data, size_t size) {
  (void)context;
  if (size < sizeof(struct record)) return 0;
  const struct record *record = data;
  if (record->number == UINT64_MAX) {
    tell();
    return 0;
  }
  records++;
  sum += record->number;
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "ring-consumer ID_OF_THE_MAP\n");
    return 2;
  }
  int map = bpf_map_get_fd_by_id(strtoul(argv[1], NULL, 10));
  if (map < 0) {
    perror("bpf_map_get_fd_by_id");
    return 1;
  }
  struct ring_buffer *ring = ring_buffer__new(map, take, NULL, NULL);
  if (ring == NULL) {
    perror("ring_buffer__new");
    return 1;
  }
  getrusage(RUSAGE_SELF, &before);
  puts("ready");
  fflush(stdout);
  while (ring_buffer__poll(ring, -1) >= 0);
  ring_buffer__free(ring);
  return 0;
}

// One io_uring instance with mapped rings, a provided buffer ring and a table of direct descriptors, for the C programs of
// bench/. Raw system calls only, so that what is measured is the kernel and nothing that a library adds.
//
// A newcomer would get wrong: with DEFER_TASKRUN completions are made only while this thread is inside io_uring_enter with
// GETEVENTS; so one call a batch submits, runs that work and waits.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// Younger than the headers of Debian 12 (Linux 6.1): 6.6.
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

enum { BUFFER_GROUP = 0 };

struct ring {
  int descriptor;
  int registered;  // its index in the thread's table of registered rings: entering by it spares a descriptor look-up
  unsigned *sq_tail, *cq_head, *cq_tail;
  unsigned sq_mask, cq_mask;
  unsigned tail, submitted;
  struct io_uring_sqe *entries;
  struct io_uring_cqe *completions;
  struct io_uring_buf *buffer_ring;  // entry 0's resv is the ring's tail (union in struct io_uring_buf_ring)
  unsigned buffer_mask, buffer_size;
  uint16_t buffer_tail;
  char *buffers;
};

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void *map_memory(size_t length, int flags, int descriptor, off_t offset) {
  void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, descriptor, offset);
  if (memory == MAP_FAILED) fail("mmap");
  return memory;
}

static void ring_register(struct ring *ring, unsigned operation, void *argument, unsigned count, const char *what) {
  if (syscall(SYS_io_uring_register, ring->descriptor, operation, argument, count) < 0) fail(what);
}

// The completion ring takes eight times as many entries as the submission ring, so that it does not overflow.
static void ring_open(struct ring *ring, unsigned entries) {
  struct io_uring_params parameters = {
      .flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
               IORING_SETUP_NO_SQARRAY,
      .cq_entries = entries * 8,
  };
  ring->descriptor = (int)syscall(SYS_io_uring_setup, entries, &parameters);
  if (ring->descriptor < 0) fail("io_uring_setup (needs Linux 6.6 and kernel.io_uring_disabled=0)");

  size_t length = parameters.cq_off.cqes + parameters.cq_entries * sizeof(struct io_uring_cqe);
  char *rings = map_memory(length, MAP_SHARED, ring->descriptor, IORING_OFF_SQ_RING);
  ring->sq_tail = (unsigned *)(rings + parameters.sq_off.tail);
  ring->cq_head = (unsigned *)(rings + parameters.cq_off.head);
  ring->cq_tail = (unsigned *)(rings + parameters.cq_off.tail);
  ring->sq_mask = parameters.sq_entries - 1;
  ring->cq_mask = parameters.cq_entries - 1;
  ring->completions = (struct io_uring_cqe *)(rings + parameters.cq_off.cqes);
  ring->entries =
      map_memory(parameters.sq_entries * sizeof(struct io_uring_sqe), MAP_SHARED, ring->descriptor, IORING_OFF_SQES);
  ring->tail = ring->submitted = 0;

  struct io_uring_rsrc_update update = {.offset = (unsigned)-1, .data = (unsigned)ring->descriptor};
  ring_register(ring, IORING_REGISTER_RING_FDS, &update, 1, "IORING_REGISTER_RING_FDS");
  ring->registered = (int)update.offset;
}

// An empty table of direct descriptors, which spare each operation the reference counting of the process's own table.
static void ring_open_files(struct ring *ring, unsigned count) {
  struct io_uring_rsrc_register files = {.nr = count, .flags = IORING_RSRC_REGISTER_SPARSE};
  ring_register(ring, IORING_REGISTER_FILES2, &files, sizeof files, "IORING_REGISTER_FILES2");
}

// Makes buffer `id` the kernel's again; seen after buffers_publish.
static void buffer_give(struct ring *ring, uint16_t id) {
  struct io_uring_buf *buffer = &ring->buffer_ring[ring->buffer_tail++ & ring->buffer_mask];
  buffer->addr = (uintptr_t)(ring->buffers + (size_t)id * ring->buffer_size);
  buffer->len = ring->buffer_size;
  buffer->bid = id;
}

static void buffers_publish(struct ring *ring) {
  __atomic_store_n(&ring->buffer_ring[0].resv, ring->buffer_tail, __ATOMIC_RELEASE);
}

// `count` is a power of two.
static void ring_open_buffers(struct ring *ring, unsigned count, unsigned size) {
  ring->buffer_ring = map_memory(count * sizeof(struct io_uring_buf), MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ring->buffers = map_memory((size_t)count * size, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ring->buffer_mask = count - 1;
  ring->buffer_size = size;
  ring->buffer_tail = 0;
  struct io_uring_buf_reg registration = {
      .ring_addr = (uintptr_t)ring->buffer_ring, .ring_entries = count, .bgid = BUFFER_GROUP};
  ring_register(ring, IORING_REGISTER_PBUF_RING, &registration, 1, "IORING_REGISTER_PBUF_RING");
  for (unsigned id = 0; id < count; id++) buffer_give(ring, (uint16_t)id);
  buffers_publish(ring);
}

// Submits what is queued and waits until at least `wait` completions are there.
static void ring_enter(struct ring *ring, unsigned wait) {
  __atomic_store_n(ring->sq_tail, ring->tail, __ATOMIC_RELEASE);
  int result = (int)syscall(SYS_io_uring_enter, ring->registered, ring->tail - ring->submitted, wait,
                            IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING, NULL, 0);
  if (result >= 0) ring->submitted += (unsigned)result;
  // EBUSY: completions have to be read first. The entries stay queued.
  else if (errno != EINTR && errno != EBUSY && errno != EAGAIN) fail("io_uring_enter");
}

// The next free submission entry, zeroed.
static struct io_uring_sqe *ring_entry(struct ring *ring) {
  while (ring->tail - ring->submitted > ring->sq_mask) ring_enter(ring, 0);
  struct io_uring_sqe *entry = &ring->entries[ring->tail++ & ring->sq_mask];
  *entry = (struct io_uring_sqe){0};
  return entry;
}

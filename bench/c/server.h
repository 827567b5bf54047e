// The server that uring-http-floor.c and uring-echo.c share: one multishot accept, one multishot receive a connection into a
// provided buffer ring, one send for each receive, one io_uring_enter for each batch. The including file defines ANSWER, what
// is sent for the bytes received.
//
// Connections are direct descriptors: they need no entry in the process's table and no close(2) of their own. A connection's
// slot in that table is all that this server knows of it.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "ring.h"

enum { ACCEPT = 1, RECEIVE, SEND, CLOSE };
enum { ENTRIES = 1024, CONNECTIONS_MAX = 16384, BUFFERS = 256, BUFFER_SIZE = 2048 };

static struct ring ring;

static uint64_t tag(unsigned operation, unsigned slot, unsigned buffer) {
  return (uint64_t)operation << 56 | (uint64_t)buffer << 32 | slot;
}

static int open_listener(uint16_t port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // Inherited by what is accepted (tcp_create_openreq_child copies the socket).
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
  if (listen(listener, 4096) < 0) fail("listen");
  return listener;
}

static void start_accept(int listener) {
  struct io_uring_sqe *entry = ring_entry(&ring);
  entry->opcode = IORING_OP_ACCEPT;
  entry->fd = listener;
  entry->ioprio = IORING_ACCEPT_MULTISHOT;
  entry->file_index = IORING_FILE_INDEX_ALLOC;
  entry->user_data = tag(ACCEPT, 0, 0);
}

static void start_receive(unsigned slot) {
  struct io_uring_sqe *entry = ring_entry(&ring);
  entry->opcode = IORING_OP_RECV;
  entry->flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
  entry->fd = (int)slot;
  entry->ioprio = IORING_RECV_MULTISHOT;
  entry->buf_group = BUFFER_GROUP;
  entry->user_data = tag(RECEIVE, slot, 0);
}

// MSG_WAITALL makes the kernel finish a short send by itself, so success means that everything was taken.
static void start_send(unsigned slot, const void *bytes, unsigned length, unsigned flags, uint64_t user_data) {
  struct io_uring_sqe *entry = ring_entry(&ring);
  entry->opcode = IORING_OP_SEND;
  entry->flags = (uint8_t)(IOSQE_FIXED_FILE | flags);
  entry->fd = (int)slot;
  entry->addr = (uintptr_t)bytes;
  entry->len = length;
  entry->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
  entry->user_data = user_data;
}

static void start_close(unsigned slot) {
  struct io_uring_sqe *entry = ring_entry(&ring);
  entry->opcode = IORING_OP_CLOSE;
  entry->file_index = slot + 1;
  entry->flags = IOSQE_CQE_SKIP_SUCCESS;
  entry->user_data = tag(CLOSE, slot, 0);
}

static void received(unsigned slot, const struct io_uring_cqe *completion) {
  if (completion->res > 0) {
    ANSWER(slot, (unsigned)completion->res, (uint16_t)(completion->flags >> IORING_CQE_BUFFER_SHIFT));
    if (!(completion->flags & IORING_CQE_F_MORE)) start_receive(slot);
  } else if (completion->res == -ENOBUFS) {
    start_receive(slot);
  } else {
    start_close(slot);
  }
}

static int serve(int argument_count, char **arguments) {
  if (argument_count != 2) {
    fprintf(stderr, "usage: %s PORT\n", arguments[0]);
    return 2;
  }
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  ring_open(&ring, ENTRIES);
  // The kernel allows a table as large as the limit on descriptors (io_sqe_files_register).
  ring_open_files(&ring, limit.rlim_cur < CONNECTIONS_MAX ? (unsigned)limit.rlim_cur : CONNECTIONS_MAX);
  ring_open_buffers(&ring, BUFFERS, BUFFER_SIZE);
  int listener = open_listener((uint16_t)atoi(arguments[1]));
  start_accept(listener);
  puts("ready");
  fflush(stdout);

  unsigned head = __atomic_load_n(ring.cq_head, __ATOMIC_RELAXED);
  for (;;) {
    ring_enter(&ring, 1);
    unsigned tail = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE);
    for (; head != tail; head++) {
      const struct io_uring_cqe *completion = &ring.completions[head & ring.cq_mask];
      unsigned slot = (unsigned)completion->user_data;
      switch (completion->user_data >> 56) {
        case ACCEPT:
          if (completion->res >= 0) start_receive((unsigned)completion->res);
          if (!(completion->flags & IORING_CQE_F_MORE)) start_accept(listener);
          break;
        case RECEIVE:
          received(slot, completion);
          break;
        case SEND:
          SENT(completion);
          break;
      }
    }
    __atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
    buffers_publish(&ring);
  }
}

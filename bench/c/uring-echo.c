// An echo server on io_uring, the peer of Millrace's in `npm run bench -- echo`.
//
//   cc -O2 -o uring-echo bench/c/uring-echo.c && ./uring-echo 7000
//   cc -O2 -o echo-load bench/c/echo-load.c && ./echo-load 7000 64 50000 5
//
// What arrived is sent from the buffer that it arrived in, without a copy; the buffer is the kernel's again when the send's
// completion tells so. Sends of one connection are not chained to each other: a peer that sends faster than it reads may
// find bytes out of order once its socket is full, which a fixed rate of small messages never makes.
static void answer(unsigned slot, unsigned length, unsigned short buffer);
#define ANSWER answer
#define SENT(completion) buffer_give(&ring, (unsigned short)((completion)->user_data >> 32))
#include "server.h"

static void answer(unsigned slot, unsigned length, unsigned short buffer) {
  start_send(slot, ring.buffers + (size_t)buffer * BUFFER_SIZE, length, 0, tag(SEND, slot, buffer));
}

int main(int argument_count, char **arguments) { return serve(argument_count, arguments); }

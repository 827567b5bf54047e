// The floor that the kernel sets for HTTP over TCP: every receive is answered with one fixed response, nothing is parsed.
// What a real server costs above this is its own.
//
//   cc -O2 -o uring-http-floor bench/c/uring-http-floor.c && ./uring-http-floor 8080
//   wrk -t1 -c64 -d5 http://127.0.0.1:8080/
//
// One send per receive is right only for clients that have one request under way on a connection, as wrk has. The response
// is as long as that of nginx 1.22 for `return 200 "Hello, World!"`.
static void answer(unsigned slot, unsigned length, unsigned short buffer);
#define ANSWER answer
#define SENT(completion) ((void)(completion))
#include "server.h"

static const char response[] =
    "HTTP/1.1 200 OK\r\nServer: floor/1.22.1\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\n"
    "Content-Length: 13\r\nConnection: keep-alive\r\n\r\nHello, World!";

// A send that succeeds posts no completion. One that fails needs no answer here: receiving on that connection ends too.
static void answer(unsigned slot, unsigned length, unsigned short buffer) {
  (void)length;
  start_send(slot, response, sizeof response - 1, IOSQE_CQE_SKIP_SUCCESS, tag(SEND, slot, 0));
  buffer_give(&ring, buffer);
}

int main(int argument_count, char **arguments) { return serve(argument_count, arguments); }

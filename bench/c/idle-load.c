// Opens many connections and holds them: the load of `npm run bench -- idle`.
//
//   cc -O2 -o idle-load bench/c/idle-load.c && ./idle-load PORT CONNECTIONS
//
// It connects, prints "open", then obeys a line at a time on standard input: "request" sends one HTTP request over every
// connection, reads the whole answer and prints "answered". At the end of the input it closes everything and ends.
//
// Each source address gives about 28,000 ports; the connections take turns over eight of them, 127.0.0.2 to 127.0.0.9. They
// come in batches with a pause between, so that no server's backlog overflows: a dropped SYN is sent again a second later.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { SOURCES = 8, BATCH = 100, BATCH_PAUSE_US = 5000, RESPONSE_MAX = 4096, ANSWER_SECONDS_MAX = 5 };

static const char request[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int open_connection(uint16_t port, unsigned index) {
  struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + index % SOURCES)};
  struct sockaddr_in target = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct timeval timeout = {.tv_sec = ANSWER_SECONDS_MAX};
  int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  if (descriptor < 0) fail("socket");
  // The port is chosen at connect, when the target is known too; otherwise no two connections could share one.
  setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  if (bind(descriptor, (struct sockaddr *)&source, sizeof source) < 0) fail("bind");
  if (connect(descriptor, (struct sockaddr *)&target, sizeof target) < 0) fail("connect");
  return descriptor;
}

// Reads a response with Content-Length to its last byte. Returns its status.
static int read_response(int descriptor) {
  char response[RESPONSE_MAX + 1];
  size_t have = 0, whole = 0;
  while (whole == 0 || have < whole) {
    ssize_t result = recv(descriptor, response + have, RESPONSE_MAX - have, 0);
    if (result <= 0) fail("the server did not answer whole");
    response[have += (size_t)result] = 0;
    char *end = strstr(response, "\r\n\r\n"), *length = strcasestr(response, "\r\ncontent-length:");
    if (end == NULL) continue;
    if (length == NULL) {
      fprintf(stderr, "idle-load: the response has no Content-Length\n");
      exit(1);
    }
    whole = (size_t)(end + 4 - response) + strtoul(length + 17, NULL, 10);
  }
  return atoi(response + sizeof "HTTP/1.1");
}

static void request_on(const int *descriptors, unsigned count) {
  for (unsigned index = 0; index < count; index++)
    if (send(descriptors[index], request, sizeof request - 1, MSG_NOSIGNAL) < 0) fail("send");
  for (unsigned index = 0; index < count; index++) {
    int status = read_response(descriptors[index]);
    if (status == 200) continue;
    fprintf(stderr, "idle-load: status %d\n", status);
    exit(1);
  }
}

int main(int argument_count, char **arguments) {
  if (argument_count != 3) {
    fprintf(stderr, "usage: %s PORT CONNECTIONS\n", arguments[0]);
    return 2;
  }
  unsigned count = (unsigned)atoi(arguments[2]);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  int *descriptors = calloc(count, sizeof *descriptors);
  for (unsigned index = 0; index < count; index++) {
    descriptors[index] = open_connection((uint16_t)atoi(arguments[1]), index);
    if (index % BATCH == BATCH - 1) usleep(BATCH_PAUSE_US);
  }
  puts("open");
  fflush(stdout);
  char line[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (strcmp(line, "request\n") != 0) continue;
    for (unsigned index = 0; index < count; index += BATCH)
      request_on(descriptors + index, count - index < BATCH ? count - index : BATCH);
    puts("answered");
    fflush(stdout);
  }
  return 0;
}

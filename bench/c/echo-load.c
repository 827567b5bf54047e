// Sends 64-byte messages to an echo server at a fixed rate and prints how long each took to come back, as one line of JSON.
//
//   cc -O2 -o echo-load bench/c/echo-load.c && ./echo-load PORT CONNECTIONS RATE_PER_SECOND SECONDS [WARM_UP_SECONDS]
//   ./echo-load 7000 64 50000 5 1
//
// The load is open: message k leaves when its time has come, whether or not earlier ones were answered, and its latency runs
// from that intended time, not from when the send call was reached. So a server that stalls is charged for every message
// that waited behind the stall (no "coordinated omission"). What arrives during the warm-up is not recorded.
//
// It spins instead of sleeping, because a sleeping sender would add its own wake-up to every figure; give it a core of its own.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"

enum { MESSAGE_SIZE = 64, CONNECTIONS_MAX = 4096, DRAIN_SECONDS_MAX = 2 };
static const uint64_t NANOSECONDS = 1000000000;

struct connection {
  int descriptor;
  uint64_t sent;      // messages given to the kernel
  uint64_t received;  // messages that came back whole
  unsigned have;      // bytes of the next one that are here
  char message[MESSAGE_SIZE];
};

static struct connection connections[CONNECTIONS_MAX];
static unsigned connection_count;
static struct histogram latencies;
static uint64_t start, warm_up_messages;
static double interval;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * NANOSECONDS + (uint64_t)time.tv_nsec;
}

static uint64_t intended(uint64_t message) { return start + (uint64_t)((double)message * interval); }

static void open_connection(struct connection *connection, uint16_t port, int poller) {
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int on = 1;
  connection->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(connection->descriptor, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
  setsockopt(connection->descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(connection->descriptor, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, connection->descriptor, &event) < 0) fail("epoll_ctl");
}

// Message k goes over connection k modulo the number of connections, and carries its number so that the echo can be checked.
static void send_message(uint64_t message) {
  struct connection *connection = &connections[message % connection_count];
  uint64_t words[MESSAGE_SIZE / sizeof(uint64_t)];
  for (unsigned index = 0; index < MESSAGE_SIZE / sizeof(uint64_t); index++) words[index] = message + index;
  ssize_t result = send(connection->descriptor, words, sizeof words, MSG_NOSIGNAL);
  if (result != MESSAGE_SIZE) {
    fprintf(stderr, "echo-load: message %llu did not fit its socket (%s): the server cannot hold this rate\n",
            (unsigned long long)message, result < 0 ? strerror(errno) : "sent in part");
    exit(3);
  }
  connection->sent++;
}

static void check_message(const struct connection *connection, uint64_t message) {
  uint64_t words[MESSAGE_SIZE / sizeof(uint64_t)];
  memcpy(words, connection->message, sizeof words);
  for (unsigned index = 0; index < MESSAGE_SIZE / sizeof(uint64_t); index++) {
    if (words[index] == message + index) continue;
    fprintf(stderr, "echo-load: the echo of message %llu differs\n", (unsigned long long)message);
    exit(3);
  }
}

// Returns how many messages came back whole.
static uint64_t receive(struct connection *connection) {
  uint64_t whole = 0;
  for (;;) {
    ssize_t result = recv(connection->descriptor, connection->message + connection->have, MESSAGE_SIZE - connection->have, 0);
    if (result < 0 && errno == EAGAIN) return whole;
    if (result <= 0) {
      fprintf(stderr, "echo-load: the server ended a connection\n");
      exit(3);
    }
    connection->have += (unsigned)result;
    if (connection->have < MESSAGE_SIZE) continue;
    uint64_t arrival = now(), message = connection->received * connection_count + (uint64_t)(connection - connections);
    check_message(connection, message);
    if (message >= warm_up_messages) histogram_record(&latencies, arrival - intended(message));
    connection->have = 0;
    connection->received++;
    whole++;
    // Nothing more can be here when every message sent came back: spares the call that would say EAGAIN.
    if (connection->received == connection->sent) return whole;
  }
}

int main(int argument_count, char **arguments) {
  if (argument_count < 5 || argument_count > 6) {
    fprintf(stderr, "usage: %s PORT CONNECTIONS RATE_PER_SECOND SECONDS [WARM_UP_SECONDS]\n", arguments[0]);
    return 2;
  }
  connection_count = (unsigned)atoi(arguments[2]);
  double rate = atof(arguments[3]), seconds = atof(arguments[4]), warm_up = argument_count > 5 ? atof(arguments[5]) : 0;
  if (connection_count < 1 || connection_count > CONNECTIONS_MAX || rate <= 0 || seconds <= 0 || warm_up < 0) {
    fprintf(stderr, "echo-load: 1 to %d connections, a rate and a time above 0\n", CONNECTIONS_MAX);
    return 2;
  }
  int poller = epoll_create1(EPOLL_CLOEXEC);
  for (unsigned index = 0; index < connection_count; index++)
    open_connection(&connections[index], (uint16_t)atoi(arguments[1]), poller);

  interval = (double)NANOSECONDS / rate;
  warm_up_messages = (uint64_t)(rate * warm_up);
  uint64_t messages = warm_up_messages + (uint64_t)(rate * seconds), sent = 0, received = 0;
  uint64_t latest = 0;
  start = now() + NANOSECONDS / 100;
  uint64_t deadline = intended(messages) + DRAIN_SECONDS_MAX * NANOSECONDS;
  while (received < messages) {
    uint64_t time = now();
    if (time > deadline) break;
    for (; sent < messages && intended(sent) <= time; sent++) {
      if (time - intended(sent) > latest) latest = time - intended(sent);
      send_message(sent);
    }
    struct epoll_event events[64];
    int count = epoll_wait(poller, events, 64, 0);
    for (int index = 0; index < count; index++) received += receive(events[index].data.ptr);
  }
  printf("{\"messages\":%llu,\"lost\":%llu,\"p50\":%llu,\"p90\":%llu,\"p99\":%llu,\"p999\":%llu,\"max\":%llu,"
         "\"sender_behind_max\":%llu}\n",
         (unsigned long long)latencies.total, (unsigned long long)(messages - received),
         (unsigned long long)histogram_percentile(&latencies, 50), (unsigned long long)histogram_percentile(&latencies, 90),
         (unsigned long long)histogram_percentile(&latencies, 99), (unsigned long long)histogram_percentile(&latencies, 99.9),
         (unsigned long long)latencies.max, (unsigned long long)latest);
  return received == messages ? 0 : 3;
}

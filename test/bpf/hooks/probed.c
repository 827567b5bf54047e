/*
 * What the tests of USDT arguments look at: one probe at many places, whose arguments lie at each where an assembler's operand can name
 * it. The notes are what sys/sdt.h makes, written out here so that no header is needed.
 */
#include <fcntl.h>
#include <sys/mman.h>

#define PROBE(name, places, ...)                                                                                      \
  __asm__ volatile(                                                                                                   \
      "990: nop\n"                                                                                                    \
      ".pushsection .note.stapsdt,\"?\",\"note\"\n"                                                                   \
      ".balign 4\n"                                                                                                   \
      ".4byte 992f-991f, 994f-993f, 3\n"                                                                              \
      "991: .asciz \"stapsdt\"\n"                                                                                     \
      "992: .balign 4\n"                                                                                              \
      "993: .8byte 990b, _.stapsdt.base, probed_" #name "_semaphore\n"                                                \
      ".asciz \"probed\"\n"                                                                                           \
      ".asciz \"" #name "\"\n"                                                                                        \
      ".asciz \"" places "\"\n"                                                                                       \
      "994: .balign 4\n"                                                                                              \
      ".popsection\n"                                                                                                 \
      :                                                                                                               \
      : __VA_ARGS__)

/* Tells by how much a prelinker has moved the addresses in the notes. */
__asm__(
    ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"
    ".weak _.stapsdt.base\n"
    ".hidden _.stapsdt.base\n"
    "_.stapsdt.base: .space 1\n"
    ".size _.stapsdt.base,1\n"
    ".popsection\n");

#define SEMAPHORE(name) unsigned short probed_##name##_semaphore __attribute__((section(".probes")))

SEMAPHORE(place);
SEMAPHORE(chosen);
SEMAPHORE(many);
SEMAPHORE(page);
SEMAPHORE(vector);
SEMAPHORE(lost);

static int small[4] = {10, -20, 30, -40};
static long wide[3] = {100, -200, 300};
int shared = -9;

/* Each place says its number first. */
static void places(void) {
  long word = 0x1122334455667788;
  register long eighth __asm__("r8") = 0x80ff;
  PROBE(place, "4@$1 8@%%rbx", "b"(word));
  PROBE(place, "4@$2 -4@%%ecx", "c"(-5));
  PROBE(place, "4@$3 4@%%ecx", "c"(-5));
  PROBE(place, "4@$4 -2@%%dx", "d"(0x7777fffeL));
  PROBE(place, "4@$5 1@%%al", "a"(word));
  PROBE(place, "4@$6 1@%%ah", "a"(word));
  PROBE(place, "4@$7 -1@%%r8b", "r"(eighth));
  PROBE(place, "4@$8 8@$-7", "i"(0));
  PROBE(place, "4@$9 -4@8(%%rdi)", "D"(small), "m"(small));
  PROBE(place, "4@$10 -4@-4(%%rdi,%%rsi,4)", "D"(small), "S"(2L), "m"(small));
  PROBE(place, "4@$11 -8@( %%rdi, %%rsi, 8 )", "D"(wide), "S"(1L), "m"(wide));
  PROBE(place, "4@$12 -8@16(,%%rax)", "a"(wide), "m"(wide));
  PROBE(place, "4@$13 -4@shared(%%rip)", "m"(shared));
  PROBE(place, "4@$14 -8@8+wide(%%rip)", "m"(wide));
  PROBE(place, "4@$15 %%rbx", "b"(word));
  PROBE(place, "4@$16 -4@%%dx", "d"(0x7777fffeL));
#ifndef __pie__
  PROBE(place, "4@$17 -4@shared", "m"(shared));
  PROBE(place, "4@$18 -4@small-4(,%%rsi,4)", "S"(2L), "m"(small));
#endif
}

/* Here the compiler chooses, as it does for the macros of sys/sdt.h. */
__attribute__((noinline)) static void chosen(int first, long second, short third) {
  PROBE(chosen, "-4@%0 -8@%1 -2@%2 -4@%3 -4@%4", "nor"(first), "nor"(second), "nor"(third), "nor"(shared), "nor"(-3));
}

int main(int argc, char **arguments) {
  places();
  for (int i = 0; i < argc; i++) chosen(i + 1, -1000000000000 - i, -7);
  PROBE(many, "8@$1 8@$2 8@$3 8@$4 8@$5 8@$6 8@$7 8@$8 8@$9 8@$10 8@$11 8@$12", "i"(0));
  /* A page that nobody has touched yet; it begins with the four bytes of every ELF file. */
  int file = open(arguments[0], O_RDONLY);
  void *page = mmap(0, 4096, PROT_READ, MAP_PRIVATE, file, 0);
  PROBE(page, "4@(%%rdi)", "D"(page));
  PROBE(vector, "4@%%eax 8f@%%xmm0", "a"(1));
  PROBE(lost, "4@nowhere(%%rip)", "a"(1));
  return probed_place_semaphore;
}

/*
 * What the tracing tests look at: functions with numbers and a text, called three times, and a USDT probe with one argument, which
 * stands in a register. The note is what sys/sdt.h makes of DTRACE_PROBE1(traced, step, i), without a semaphore.
 */
__attribute__((noinline)) int add(int left, int right, const char *text) {
  __asm__ volatile("" : : "r"(text));
  return left + right;
}

__attribute__((noinline)) int multiply(int left, int right) {
  __asm__ volatile("");
  return left * right;
}

int main(int argc, char **arguments __attribute__((unused))) {
  static const char text[] = "from the process";
  /* With any argument the text's page is not there when the function is called first: only a program that may sleep can read it. */
  if (argc == 1) *(volatile const char *)text;
  for (int i = 1; i <= 3; i++) {
    add(i, i * 10, text);
    multiply(i, 100);
    __asm__ volatile(
        "990: nop\n"
        ".pushsection .note.stapsdt,\"?\",\"note\"\n"
        ".balign 4\n"
        ".4byte 992f-991f, 994f-993f, 3\n"
        "991: .asciz \"stapsdt\"\n"
        "992: .balign 4\n"
        "993: .8byte 990b, 0, 0\n"
        ".asciz \"traced\"\n"
        ".asciz \"step\"\n"
        ".asciz \"-4@%%edi\"\n"
        "994: .balign 4\n"
        ".popsection\n"
        :
        : "D"(i));
  }
  return 0;
}

// Latencies in buckets whose width grows with the value, as in HdrHistogram: 1,024 buckets for each doubling, so a
// percentile is at most 0.1 % above the true one. Recording costs one bit scan and one addition.
//
// A newcomer would get wrong: group 0 holds the values below 1,024 one by one; group g holds those whose highest bit is
// 9 + g, in buckets 2^(g-1) wide.
#include <stdint.h>

enum { SUB_BUCKET_BITS = 10, SUB_BUCKETS = 1 << SUB_BUCKET_BITS, GROUPS = 31 };

struct histogram {
  uint64_t counts[GROUPS * SUB_BUCKETS];
  uint64_t total, max;
};

static const uint64_t HISTOGRAM_VALUE_MAX = (1ULL << (SUB_BUCKET_BITS + GROUPS - 1)) - 1;  // 2^40 ns are 18 minutes

static void histogram_record(struct histogram *histogram, uint64_t value) {
  if (value > HISTOGRAM_VALUE_MAX) value = HISTOGRAM_VALUE_MAX;
  unsigned group = value < SUB_BUCKETS ? 0 : 64 - SUB_BUCKET_BITS - (unsigned)__builtin_clzll(value);
  unsigned shift = group == 0 ? 0 : group - 1;
  histogram->counts[group * SUB_BUCKETS + (value >> shift) % SUB_BUCKETS]++;
  histogram->total++;
  if (value > histogram->max) histogram->max = value;
}

// The largest value of the bucket that holds the given percentile (0 to 100).
static uint64_t histogram_percentile(const struct histogram *histogram, double percentile) {
  double wanted = (double)histogram->total * percentile / 100;
  uint64_t seen = 0;
  for (unsigned index = 0; index < GROUPS * SUB_BUCKETS; index++) {
    seen += histogram->counts[index];
    if (seen == 0 || (double)seen < wanted) continue;
    unsigned group = index / SUB_BUCKETS, shift = group == 0 ? 0 : group - 1;
    uint64_t low = (uint64_t)(index % SUB_BUCKETS + (group == 0 ? 0 : SUB_BUCKETS)) << shift;
    return low + (1ULL << shift) - 1;
  }
  return histogram->max;
}

/* Bob Jenkins's hash of three words, as the kernel's jhash_3words mixes them. */
#pragma once

#include <linux/types.h>

#define HASH_SEED 0xdeadbeef

static __always_inline __u32 rotate(__u32 value, __u32 by)
{
	return (value << by) | (value >> (32 - by));
}

static __always_inline __u32 hash3(__u32 a, __u32 b, __u32 c, __u32 seed)
{
	a += HASH_SEED + 12 + seed;
	b += HASH_SEED + 12 + seed;
	c += HASH_SEED + 12 + seed;
	c ^= b;
	c -= rotate(b, 14);
	a ^= c;
	a -= rotate(c, 11);
	b ^= a;
	b -= rotate(a, 25);
	c ^= b;
	c -= rotate(b, 16);
	a ^= c;
	a -= rotate(c, 4);
	b ^= a;
	b -= rotate(a, 14);
	c ^= b;
	c -= rotate(b, 24);
	return c;
}

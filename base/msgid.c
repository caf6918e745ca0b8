// SPDX-License-Identifier: Apache-2.0
#include "base/msgid.h"

#include "base/clock.h"
#include "base/crypto.h"

static const char set[] = "0123456789abcdefghijklmnopqrstuv";

/* Two bytes an id are not worth a system call each. */
static uint16_t
next_random(void)
{
	static uint16_t pool[128];
	static unsigned left;

	if (left == 0) {
		crypto_random(pool, sizeof(pool));
		left = sizeof(pool) / sizeof(pool[0]);
	}
	return pool[--left];
}

struct msgid
msgid_new(unsigned relay_index)
{
	static uint16_t counter;
	uint16_t rnd = next_random();
	struct msgid id;

	uint64_t high = ((uint64_t)clock_wall_ms() & ((1ULL << 42) - 1)) << 22 |
	    (uint64_t)(relay_index & 63) << 16 | counter++;
	for (int i = 0; i < 8; i++)
		id.b[i] = (uint8_t)(high >> (56 - 8 * i));
	id.b[8] = (uint8_t)(rnd >> 8);
	id.b[9] = (uint8_t)rnd;
	return id;
}

void
msgid_print(struct msgid id, char out[MSGID_TEXT + 1])
{
	for (int half = 0; half < 2; half++) {
		uint64_t v = 0;
		for (int i = 0; i < 5; i++)
			v = v << 8 | id.b[half * 5 + i];
		for (int i = 0; i < 8; i++)
			out[half * 8 + i] = set[v >> (35 - 5 * i) & 31];
	}
	out[MSGID_TEXT] = '\0';
}

int64_t
msgid_ms(struct msgid id)
{
	uint64_t high = 0;

	for (int i = 0; i < 8; i++)
		high = high << 8 | id.b[i];
	return (int64_t)(high >> 22);
}

int
msgid_parse(struct slice s, struct msgid *id)
{
	if (s.n != MSGID_TEXT)
		return -1;
	for (int half = 0; half < 2; half++) {
		uint64_t v = 0;
		for (int i = 0; i < 8; i++) {
			const char *at = memchr(set, ascii_lower(s.p[half * 8 + i]), 32);
			if (at == NULL)
				return -1;
			v = v << 5 | (uint64_t)(at - set);
		}
		for (int i = 0; i < 5; i++)
			id->b[half * 5 + i] = (uint8_t)(v >> (32 - 8 * i));
	}
	return 0;
}

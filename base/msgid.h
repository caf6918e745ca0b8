// SPDX-License-Identifier: Apache-2.0
/*
 * Message ids: 80 bits, 42 of wall milliseconds, 6 of the relay's index, 16 of
 * a counter, 16 random; unique over restarts, printed as 16 characters of
 * base32hex lower case, and sorting by time of arrival.
 */
#ifndef BASE_MSGID_H
#define BASE_MSGID_H

#include <stdint.h>

#include "base/slice.h"

enum { MSGID_LEN = 10, MSGID_TEXT = 16 };

struct msgid {
	uint8_t b[MSGID_LEN];
};

struct msgid msgid_new(unsigned relay_index);
void msgid_print(struct msgid id, char out[MSGID_TEXT + 1]);
int64_t msgid_ms(struct msgid id);	/* wall clock when it was made */
int msgid_parse(struct slice s, struct msgid *id);	/* 0 or -1 */

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * The words of `salvaposta why` for what the spool keeps as one token: rules that hold a copy
 * back, notes of legs, classes, what our own client ran into. A sentence each that can be read
 * aloud. Pure; none of them names a recovery address (P4).
 */
#ifndef QUEUE_WHY_WORDS_H
#define QUEUE_WHY_WORDS_H

#include "queue/history.h"

enum { WHY_WORDS_MAX = 240 };

/* envelope.reason, in words; "" for one that is not known here. */
const char *why_reason(struct slice reason);
const char *why_class(unsigned triage);		/* "" above 3 */

/* A leg's note, or a directory's reason. An unknown one comes out as it is. */
void why_note(const char *note, char out[WHY_WORDS_MAX]);

/* "refused 550 5.1.1 class nouser", or why it came to no reply. */
void why_result(const struct history_entry *h, char out[WHY_WORDS_MAX]);

#endif

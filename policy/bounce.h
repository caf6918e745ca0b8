// SPDX-License-Identifier: Apache-2.0
/*
 * Reads what comes back to a return path (spec 2.2.3 - 2.2.6): a delivery report of RFC
 * 3464 and 6522, an automatic answer, or something else. Pure; any bytes are survived.
 *
 * No text of the message is in the result but the token it may have brought back: what
 * is learned fits in a few numbers, so nothing of the body can be stored or leak (2.2.5).
 * A Final-Recipient, which is the recovery address, is compared here and forgotten.
 *
 * A report is believed only as one: nothing is guessed from human text, and of a message
 * that a report carries with it only our own X-Fwd-Loop is read, for its token.
 */
#ifndef POLICY_BOUNCE_H
#define POLICY_BOUNCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bounce.h"
#include "base/slice.h"
#include "policy/srs.h"

enum {	/* 2.2.6; of a larger message only the beginning is looked at */
	BOUNCE_SIZE_MAX = 1024 * 1024,
	BOUNCE_DEPTH_MAX = 8,		/* multiparts inside each other */
	BOUNCE_PARTS_MAX = 64,		/* parts looked at, over all levels */
	BOUNCE_STATUS_MAX = 64 * 1024,	/* octets of the delivery-status part */
	BOUNCE_RCPT_MAX = 32
};

enum bounce_match { BOUNCE_ABSENT, BOUNCE_SAME, BOUNCE_DIFFERENT };

struct bounce_result {
	uint8_t		action;		/* enum bounce_action */
	uint8_t		match;		/* enum bounce_match: Final-Recipient, when expected */
	uint8_t		status;		/* class of Status: 2, 4, 5; 0 for none (RFC 3463) */
	uint16_t	subject, detail;	/* of Status, 0..999 */
	uint16_t	code;		/* SMTP reply in Diagnostic-Code; 0 for none */
};

struct bounce {
	enum bounce_kind kind;
	const char	*sign;		/* static text: why an auto-reply, "" otherwise */
	struct bounce_result leg;	/* of a report: the recipient that decides for the leg */
	struct bounce_result rcpt[BOUNCE_RCPT_MAX];	/* as in the report */
	size_t		 nrcpt;
	bool		 more;		/* there were more; they did not count */
	enum bounce_match envid;	/* Original-Envelope-Id against the expected token */
	char		 token[SRS_TOKEN_LEN + 1];	/* Original-Envelope-Id if it can be one of
							 * ours, lower case; else that of our
							 * X-Fwd-Loop in what came back with the
							 * report; "" otherwise */
};

/* What is known from elsewhere, only to be compared (2.2.3); "" when it is not. */
struct bounce_expect {
	struct slice	token;		/* of the return path it came to */
	struct slice	recipient;	/* whom the forward copy was sent to */
};

void bounce_parse(struct slice msg, const struct bounce_expect *x, struct bounce *out);

#endif

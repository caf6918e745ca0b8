// SPDX-License-Identifier: Apache-2.0
/*
 * The first mailbox of a From value, as a mail program would show it to its reader:
 * name and address. For texts and names only; what DMARC believes is decided in
 * policy/dmarc_author.h, and nothing here is fit to send mail to. Pure.
 */
#ifndef POLICY_MAILBOX_H
#define POLICY_MAILBOX_H

#include "policy/mime_text.h"

enum {
	MAILBOX_NAME_MAX = 128,		/* octets; longer names are cut */
	MAILBOX_ADDRESS_MAX = 320,
	MAILBOX_WORDS_MAX = 400
};

struct mailbox {
	struct mime_text name;		/* "" for none; a comment behind a bare address counts */
	struct mime_text address;	/* as written, comments and space gone; maybe bad */
	char		 words[MAILBOX_WORDS_MAX];	/* a name wholly in encoded words of a
							 * charset we do not know: it can be
							 * written again, but not read */
	size_t		 nwords;	/* octets of it, 0 otherwise */
};

/* False when there is no address in the value. */
bool mailbox_first(struct slice value, struct mailbox *m);

#endif

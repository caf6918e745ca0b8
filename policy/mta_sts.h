// SPDX-License-Identifier: Apache-2.0
/*
 * MTA-STS (RFC 8461) as text: the TXT record that says which policy is in force, the
 * policy itself, and whether a mail server is one it names. Pure. What cannot be read as
 * the RFC says is no policy, never half of one.
 */
#ifndef POLICY_MTA_STS_H
#define POLICY_MTA_STS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum {
	MTA_STS_ID_MAX = 32,			/* characters of an id (3.1) */
	MTA_STS_TEXT_MAX = 64 * 1024,		/* bytes of a policy (3.3) */
	MTA_STS_MX_MAX = 256,			/* patterns in it */
	MTA_STS_AGE_MAX_S = 31557600		/* a year (3.2) */
};

enum mta_sts_mode { MTA_STS_NONE, MTA_STS_TESTING, MTA_STS_ENFORCE, MTA_STS_MODE_MAX };

struct mta_sts {
	uint8_t		 mode;		/* enum mta_sts_mode */
	uint32_t	 max_age_s;
	char		*mx;		/* owned: patterns in lower case, each ended by '\n' */
};

/* One TXT record's text: is it an MTA-STS record? Then its id, "" when it is malformed. */
bool mta_sts_record(struct slice txt, char id[MTA_STS_ID_MAX + 1]);

/* 0 and *out filled (mta_sts_fini), or -1. `text` is the body of the HTTPS reply. */
int mta_sts_parse(struct slice text, struct mta_sts *out);
void mta_sts_fini(struct mta_sts *p);
void mta_sts_copy(struct mta_sts *to, const struct mta_sts *from);

/* RFC 8461 4.1: "*.example.net" stands for exactly one label more. */
bool mta_sts_match(const struct mta_sts *p, const char *host);

#endif

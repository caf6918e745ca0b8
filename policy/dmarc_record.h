// SPDX-License-Identifier: Apache-2.0
/*
 * DMARC Policy Records (RFC 9989 4.7, 4.8), strictly where the RFC is strict and only
 * there: "v=DMARC1" is the first tag, to the letter, or it is no record at all; a fault
 * anywhere else takes back that one tag. Pure.
 *
 * Tag names are case-sensitive, as in all tag lists of RFC 6376 3.2; values are not,
 * but for the version. A tag that occurs twice has no value that could be trusted and
 * counts as faulty.
 */
#ifndef POLICY_DMARC_RECORD_H
#define POLICY_DMARC_RECORD_H

#include <stdbool.h>

#include "base/slice.h"

enum dmarc_policy { DMARC_NONE, DMARC_QUARANTINE, DMARC_REJECT };
const char *dmarc_policy_name(enum dmarc_policy p);

/* How a p=, sp= or np= tag was written. */
enum dmarc_tag_state { DMARC_TAG_ABSENT, DMARC_TAG_VALID, DMARC_TAG_INVALID };

struct dmarc_request {
	enum dmarc_tag_state	state;
	enum dmarc_policy	policy;		/* DMARC_NONE unless valid */
};

enum dmarc_psd { DMARC_PSD_UNKNOWN, DMARC_PSD_YES, DMARC_PSD_NO };

struct dmarc_record {
	struct dmarc_request p, sp, np;
	enum dmarc_psd	 psd;
	bool		 strict_dkim;	/* adkim=s */
	bool		 strict_spf;	/* aspf=s */
	bool		 testing;	/* t=y */
	bool		 reported;	/* rua= has at least one valid URI */
};

/* 0, or -1 when the text is no DMARC Policy Record. */
int dmarc_record_parse(struct slice txt, struct dmarc_record *r);

/*
 * The policy for mail that fails (RFC 9989 4.7, 4.10.1; spec 6.4), t= applied. With
 * `own` the record stands at the author domain; otherwise sp=, or np= when the author
 * domain does not exist. -1: the record is such that there is no DMARC here.
 */
int dmarc_record_policy(const struct dmarc_record *r, bool own, bool exists,
    enum dmarc_policy *policy);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * DMARC by RFC 9989 (spec 6): the policy of the author domain, found by walking up the
 * DNS tree, and whether SPF or DKIM passed for a domain that is aligned with it. Pure:
 * answers come from the view, misses go to it as wants.
 *
 *	dmarc_wants as soon as the identifiers are known; when nothing is missing and
 *	SPF and DKIM are decided: dmarc_check, then dmarc_dispose.
 */
#ifndef POLICY_DMARC_H
#define POLICY_DMARC_H

#include "base/envelope.h"
#include "policy/dmarc_author.h"
#include "policy/dmarc_record.h"
#include "policy/dnsview.h"

enum { DMARC_QUERIES_MAX = 8 /* of one walk, RFC 9989 4.10 */ };

/* A domain that SPF or a DKIM signature speaks for. */
struct dmarc_id {
	struct slice	 domain;	/* borrowed, any case; "" for none */
	enum auth_result result;	/* AUTH_UNSET: not decided yet, may pass */
};

struct dmarc_input {
	const struct dmarc_author *author;
	struct dmarc_id	 spf;		/* MAIL FROM, or HELO of a null sender (RFC 7208 2.4) */
	const struct dmarc_id *dkim;	/* one for each signature, d= */
	size_t		 ndkim;
};

struct dmarc_output {
	enum auth_result result;	/* none, pass, fail, temperror, permerror */
	enum dmarc_policy policy;	/* policy.dmarc; DMARC_NONE when there is no record */
	bool		 policy_known;	/* false: DNS did not tell */
	bool		 spf_aligned;	/* passed and aligned */
	bool		 dkim_aligned;	/* likewise, one signature at least */
	bool		 survivable;	/* spec 7.1 */
	bool		 authenticated;	/* SPF or DKIM passed, for whatever domain */
	char		 domain[DNS_NAME_MAX + 1];	/* header.from; "" with permerror */
	char		 found_at[DNS_NAME_MAX + 1];	/* domain of the record used, "" */
	const char	*why;		/* static words for the log, "" */
};

/* Asks for everything dmarc_check will look at: each walk as a whole, those of
 * identifiers that can be aligned, and whether the author domain exists if that counts. */
void dmarc_wants(struct dnsview *v, const struct dmarc_input *in);

/* With misses in the view the result means nothing. */
void dmarc_check(struct dnsview *v, const struct dmarc_input *in, struct dmarc_output *out);

/* Writes the names of a walk from `domain`, without "_dmarc."; parts of it. How many. */
size_t dmarc_walk_names(struct slice domain, struct slice names[DMARC_QUERIES_MAX]);

/* The organizational domain (6.3): part of `domain`, which is canonical. 0, or -1 when DNS
 * does not tell, or not yet. */
int dmarc_organizational(struct dnsview *v, struct slice domain, struct slice *org);

/* --- what is done with the message, spec 6.5 and 6.6 --- */

enum dmarc_action {
	DMARC_FORWARD,
	DMARC_FORWARD_LAST,	/* in the lowest class */
	DMARC_RETRY,		/* evaluate again later (0.4) */
	DMARC_HOLD_ONLY
};

enum dmarc_override { DMARC_NO_OVERRIDE, DMARC_OVERRIDE_ARC, DMARC_OVERRIDE_LIST };

struct dmarc_facts {
	bool	forward_unauthenticated;	/* as configured */
	bool	clean;			/* a spam verdict said so */
	bool	retry;			/* the evaluation may still be repeated */
	enum dmarc_override override;	/* 6.6: trusted sealer, known list */
};

struct dmarc_disposition {
	enum dmarc_action action;
	const char	*rule;		/* id, for envelope.reason and log; "" for plain forward */
};

struct dmarc_disposition dmarc_dispose(const struct dmarc_output *out,
    const struct dmarc_facts *facts);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * What becomes of a message at a relay that forwards: the table of spec 6.5 with its
 * exceptions (6.6, 6.7) and the rules that stand beside it (3.11, 3.16, 4.3, 9.2, 9.5).
 * Every message is kept for its primary; the question is whether a copy may leave, and the
 * one answer that is harsher is the refusal that an administrator has asked for. Pure.
 */
#ifndef POLICY_DISPOSITION_H
#define POLICY_DISPOSITION_H

#include "base/conf.h"
#include "policy/dmarc.h"

enum disposition_action {
	DISPOSITION_FORWARD,
	DISPOSITION_FORWARD_LAST,	/* in the lowest class */
	DISPOSITION_RECHECK,		/* no copy before it is evaluated again (0.4) */
	DISPOSITION_HOLD,		/* no forward leg */
	DISPOSITION_REFUSE		/* 550, by DMARC policy and configuration */
};

struct disposition_facts {
	/* the message */
	bool	nul;		/* in the body, 3.11 */
	bool	hops;		/* nearly too many, 9.2 */
	bool	delivered_to;	/* its recipient already, 9.2 */
	bool	loop_tag;	/* an X-Fwd-Loop field, whoever's: never refused (9.1) */
	bool	forged_signed;	/* our Authentication-Results, under a good signature, 4.3 */
	bool	duplicates;	/* of a field that may be there once, 3.16 */
	bool	null_sender;	/* 9.5 */
	bool	bulk;		/* rule T5 of 10.2 */
	bool	temperror;	/* of SPF or DKIM */
	const struct dmarc_output *dmarc;
	enum dmarc_override override;
	bool	clean;		/* a spam filter's word, 6.5 */
	/* the configuration */
	bool	dmarc_reject, forward_unauthenticated, forward_bulk;
	enum conf_null_sender forward_null_sender;
};

struct disposition {
	enum disposition_action	 action;
	const char		*rule;	/* id for envelope.reason; "" for a plain forward */
};

/* The first rule that keeps it here is the one that is named. */
struct disposition disposition_of(const struct disposition_facts *f);

#endif

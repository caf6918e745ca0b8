// SPDX-License-Identifier: Apache-2.0
/*
 * Which mail goes first (spec 10.2): envelope, header fields, size and authentication
 * results make a class of 0 (codes and alarms) to 3 (bulk). Neither the body nor the
 * subject is looked at, and of the fields nothing is kept but the number of the rule
 * (10.1). What a sender can set freely counts only together with a DMARC pass. Pure.
 *
 *	triage_start, triage_field for each field, then triage_judge.
 */
#ifndef POLICY_TRIAGE_H
#define POLICY_TRIAGE_H

#include "policy/address.h"
#include "policy/header.h"

struct triage {
	unsigned	seen;		/* bits of triage.c */
	unsigned	from;		/* From fields */
	char		local[ADDRESS_LOCAL_MAX + 1];	/* of the only mailbox in From, lower
						 * case, without +tag; "" when there is none */
};

struct triage_facts {
	bool		 dmarc_pass;
	bool		 null_sender;
	uint64_t	 size;		/* octets */
	uint32_t	 nrcpt;		/* local recipients */
	struct slice	 author;	/* domain, lower case; "" for none */
	char		*const *critical;	/* domains of T2, lower case; borrowed */
	size_t		 ncritical;
};

struct triage_verdict {
	uint8_t	class;		/* 0..3 */
	uint8_t	rule;		/* 2..10, the T of spec 10.2; T1 is the disposition's */
};

void triage_start(struct triage *t);
void triage_field(struct triage *t, const struct header_field *f);
struct triage_verdict triage_judge(const struct triage *t, const struct triage_facts *f);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * What a server of ours in front found out about the sender (spec 0.5, third choice): the
 * SPF result in its Authentication-Results field. Believed only of a name that is
 * configured (trust-authserv-id), only near the top, and only about this sender.
 */
#ifndef POLICY_FRONT_SPF_H
#define POLICY_FRONT_SPF_H

#include "policy/spf.h"

struct front_spf {
	char *const	*id;		/* of the configuration; borrowed */
	size_t		 nid;
	struct slice	 mail_from;
	unsigned	 received;	/* Received fields seen so far */
	bool		 done;		/* the topmost field was seen */
	struct spf_output out;		/* AUTH_NONE until it is known */
};

void front_spf_start(struct front_spf *f, char *const *id, size_t nid, struct slice mail_from);
/* Each field from the top: a Received, or the value of an Authentication-Results. */
void front_spf_received(struct front_spf *f);
void front_spf_authres(struct front_spf *f, struct slice value);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * All that the seal role takes from configuration and resources: return-path secrets, keys
 * that sign and seal, templates of notices. Loaded as a whole and replaced as a whole; what is
 * secret is wiped.
 */
#ifndef POLICY_SEAL_KEYS_H
#define POLICY_SEAL_KEYS_H

#include "base/role.h"
#include "policy/forward.h"
#include "policy/notice_template.h"

struct notify_key {		/* signs notifications in a domain's name */
	char		*domain, *selector;	/* owned */
	struct sign_key	*key;			/* owned */
};

struct seal_keys {
	struct forward_keys	 fwd;		/* slices into the rest */
	char			*domain;	/* owned; NULL: there is no forwarder */
	char			*node, *selector, *arc_selector;	/* owned */
	struct sign_key		*arc_own;	/* owned; NULL when the DKIM key seals */
	struct notify_key	*notify;	/* owned; of the domains that have one */
	size_t			 nnotify;
	char			*secrets;	/* owned, wiped */
	size_t			 nsecrets;	/* octets of it */
	unsigned		 stop_max_age;	/* days */
	char			*notice[NOTICE_LANGUAGES];	/* owned; NULL: built in */
};

/* What the configuration asks for; 0, or -1 with everything said. `k` starts empty, `body` is
 * borrowed. */
int seal_keys_load(struct role *r, struct sign_body *body, struct seal_keys *k);
void seal_keys_fini(struct seal_keys *k);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * One message of a drill over SMTP to the relay's own listener, as a stranger would send it:
 * nothing of the chain is left out. Blocking, with a bound on each answer.
 */
#ifndef ADMIN_DRILL_MAIL_H
#define ADMIN_DRILL_MAIL_H

#include <stddef.h>

struct drill_mail {		/* all borrowed */
	const char	*server;	/* "ip:port" or "[ip6]:port" */
	const char	*helo, *from, *to;
	const char	*token;		/* in the subject and in X-Salvaposta-Drill */
};

/* 0 and the relay's id of the message, or -1 and what went wrong in `why`. */
int drill_mail_send(const struct drill_mail *m, char *id, size_t idcap, char *why, size_t cap);

#endif

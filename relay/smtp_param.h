// SPDX-License-Identifier: Apache-2.0
/*
 * What may follow the path of MAIL and RCPT: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8
 * (RFC 6531), REQUIRETLS (RFC 8689), RET, ENVID, NOTIFY and ORCPT (RFC 3461). Strict: what is passed on unchanged
 * to the primary and copied into reports has to be what its grammar says. Pure.
 */
#ifndef RELAY_SMTP_PARAM_H
#define RELAY_SMTP_PARAM_H

#include "base/slice.h"

enum {	/* encoded, RFC 3461 4.4 and 4.2 */
	SMTP_ENVID_MAX	= 100,
	SMTP_ORCPT_MAX	= 500
};

enum smtp_param { SMTP_PARAM_OK, SMTP_PARAM_UNKNOWN, SMTP_PARAM_BAD, SMTP_PARAM_TOO_BIG };

struct smtp_mail_params {
	uint64_t	size;		/* 0 when not given */
	bool		body_8bit, utf8, requiretls;
	struct slice	ret;		/* "FULL", "HDRS" or ""; static */
	struct slice	envid;		/* xtext as given; borrowed from the line */
};
/* `s`: all behind the path. */
enum smtp_param smtp_mail_params(struct slice s, uint64_t size_max,
    struct smtp_mail_params *out);

struct smtp_rcpt_params {
	uint8_t		notify;		/* NOTIFY_*, 0 when not given */
	char		orcpt[SMTP_ORCPT_MAX + 1];	/* ASCII; "" when not given */
};
enum smtp_param smtp_rcpt_params(struct slice s, bool utf8, struct smtp_rcpt_params *out);

/* xtext of RFC 3461 4 whose decoded text is printable ASCII; fits when out is not NULL.
 * A closing NUL is written. 0 or -1. */
int smtp_xtext(struct slice s, char *out, size_t cap);

#endif

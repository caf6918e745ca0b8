// SPDX-License-Identifier: Apache-2.0
/*
 * XCLIENT, by which a front server says whose mail it brings: attributes in xtext, as
 * Postfix's XCLIENT_README describes them. Pure.
 */
#ifndef RELAY_SMTP_XCLIENT_H
#define RELAY_SMTP_XCLIENT_H

#include "base/network.h"

#define SMTP_XCLIENT_NAMES	"NAME ADDR PORT PROTO HELO LOGIN"

enum smtp_xproto { SMTP_XPROTO_NONE, SMTP_XPROTO_SMTP, SMTP_XPROTO_ESMTP };

struct smtp_xclient {
	bool	 has_addr, has_helo, has_login;	/* which were given */
	uint8_t	 proto;				/* enum smtp_xproto */
	char	 addr[NETWORK_TEXT];		/* "": the front does not know it */
	char	 helo[256];			/* likewise */
	char	 login[256];			/* likewise */
};

/* 0, or -1: unknown or broken. NAME and PORT are checked and forgotten, we look up names
 * ourselves. */
int smtp_xclient_parse(struct slice args, struct smtp_xclient *out);

#endif

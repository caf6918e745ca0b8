// SPDX-License-Identifier: Apache-2.0
/*
 * libcurl is met here only: one GET over HTTPS, for MTA-STS policies. Driven by our loop;
 * the addresses come from the caller (libcurl resolves nothing and reads no file), the
 * certificate must be right by our trust store, redirects and proxies are not followed,
 * size and time are bounded.
 */
#ifndef RELAY_HTTPS_H
#define RELAY_HTTPS_H

#include "base/loop.h"
#include "base/slice.h"
#include "relay/tls.h"

struct https;
struct https_get;

struct https_reply {
	unsigned	status;		/* of HTTP; 0: there was no whole reply */
	struct slice	type;		/* Content-Type, "" for none */
	struct slice	body;
	const char	*error;		/* why status is 0 */
};

/* `r` is borrowed until return. Never from within https_fetch. */
typedef void https_fn(void *arg, const struct https_reply *r);

/* The trust store of `tls` is shared; it must outlive us. NULL after logging why. */
struct https *https_new(struct loop *l, struct tls_context *tls);
void https_free(struct https **hp);	/* no fetch may be under way */

struct https_want {
	const char	*host;		/* name: of the URL and of the certificate */
	uint16_t	 port;
	const char	*path;		/* "/..." */
	const char	*addresses;	/* "192.0.2.1,2001:db8::1": connected to one of them */
	size_t		 size_max;	/* bytes of the body */
	int64_t		 timeout_ms;	/* altogether */
};
/* All is copied. Owned by us until fn runs or https_cancel; NULL: cannot even start. */
struct https_get *https_fetch(struct https *h, const struct https_want *w, https_fn *fn,
    void *arg);
void https_cancel(struct https_get **gp);

#endif

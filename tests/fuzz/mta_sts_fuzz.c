// SPDX-License-Identifier: Apache-2.0
/* MTA-STS records and policies: bytes of a stranger's web server. What is a policy must say
 * the same when it is written out and read again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "policy/mta_sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
again(const struct mta_sts *p)
{
	static const char *const modes[] = { "none", "testing", "enforce" };
	struct mta_sts q;
	struct buf b;
	const char *mx, *nl;

	buf_init(&b, 1 << 20);
	if (buf_printf(&b, "version: STSv1\nmode: %s\nmax_age: %u\n", modes[p->mode],
	    p->max_age_s) != 0)
		abort();
	for (mx = p->mx; (nl = strchr(mx, '\n')) != NULL; mx = nl + 1)
		if (buf_printf(&b, "mx: %.*s\n", (int)(nl - mx), mx) != 0)
			abort();
	if (buf_len(&b) <= MTA_STS_TEXT_MAX && (mta_sts_parse(buf_slice(&b), &q) != 0 ||
	    q.mode != p->mode || q.max_age_s != p->max_age_s || strcmp(q.mx, p->mx) != 0))
		abort();
	if (buf_len(&b) <= MTA_STS_TEXT_MAX)
		mta_sts_fini(&q);
	buf_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char id[MTA_STS_ID_MAX + 1], host[64];
	struct slice s = slice_make(data, n);
	struct mta_sts p;

	if (!mta_sts_record(s, id) && id[0] != '\0')
		abort();
	if (mta_sts_parse(s, &p) != 0)
		return 0;
	(void)snprintf(host, sizeof(host), "%.*s", n > 60 ? 60 : (int)n, (const char *)data);
	(void)mta_sts_match(&p, host);
	(void)mta_sts_match(&p, "mail.example.com");
	again(&p);
	mta_sts_fini(&p);
	return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "policy/return_path.h"

#include "policy/token.h"

/* All secrets are tried: a new one may sign what an older one sealed. */
static bool
open_token(const struct srs *s, struct slice token, struct token_leg *leg)
{
	for (size_t i = 0; i < s->nsecret; i++)
		if (token_open(s->secret[i], token, leg))
			return true;
	return false;
}

static void
check_leg(const struct srs *s, struct seal_checked *a)
{
	struct token_leg leg;

	if (!slice_eq(a->node, s->node)) {
		a->leg = BOUNCE_LEG_OTHER_NODE;		/* 1.4.4 */
		return;
	}
	if (!open_token(s, a->token, &leg)) {
		a->leg = BOUNCE_LEG_UNKNOWN;		/* 1.4.3 */
		return;
	}
	a->leg = BOUNCE_LEG_OURS;
	a->id = leg.id;
	a->rcpt_index = leg.rcpt_index;
	a->attempt = leg.attempt;
}

/* Opaque first: its form is the narrower one (1.4). */
void
return_path_check(const struct srs *s, uint32_t day, struct slice address, struct buf *text,
    struct seal_checked *a)
{
	struct slice node, token;
	enum srs_result res = srs_opaque_check(s, day, address, &node, &token);

	a->status = SEAL_INVALID;
	if (res == SRS_OK) {
		/* relays fold case; the journal knows lower case only */
		if (buf_put_slice(text, node) < 0 || buf_put_slice(text, token) < 0)
			return;
		bytes_lower(text->p + text->off, buf_len(text));
		a->status = SEAL_VALID_OPAQUE;
		a->node = slice_sub(buf_slice(text), 0, node.n);
		a->token = slice_sub(buf_slice(text), node.n, node.n + token.n);
		check_leg(s, a);
		return;
	}
	if (res == SRS_NOT_SRS)
		res = srs_reverse(s, day, address, text);
	if (res == SRS_OK) {
		a->status = SEAL_VALID_SRS;
		a->leg = BOUNCE_LEG_SRS;
		a->original = buf_slice(text);
	} else if (res == SRS_EXPIRED) {
		a->status = SEAL_EXPIRED;
	}
}

void
return_path_named(const struct srs *s, uint32_t day, const struct seal_name *q, struct buf *text,
    struct seal_named *a)
{
	struct token_leg leg;

	if (srs_reverse(s, day, q->address, text) != SRS_OK || !open_token(s, q->token, &leg))
		return;
	a->named = 1;
	a->id = leg.id;
	a->rcpt_index = leg.rcpt_index;
	a->attempt = leg.attempt;
	a->sender = buf_slice(text);
}

// SPDX-License-Identifier: Apache-2.0
#include "policy/arc_seal.h"
#include "policy/forward_priv.h"

enum { SIGNATURE_MAX = 16 * 1024, FROM_MAX = 2 /* as often as h= lists it */ };

/* Spec 3.17. From twice: nobody can put a second one above ours. */
#define DKIM_NAMES \
	"From:From:To:Cc:Subject:Date:Message-ID:MIME-Version:Content-Type:" \
	"Content-Transfer-Encoding"

/* The body as it will arrive: without the cuts. */
static void
hash_body(const struct forward_scan *s, uint8_t out[SIGN_HASH])
{
	struct sign_body *b = s->keys->body;
	struct slice content = s->rq->content;
	size_t at = s->body;

	sign_body_start(b);
	sign_body_put(b, s->body_head);
	for (size_t i = 0; i < s->ncut; i++) {
		uint64_t end = s->cut[i].off + s->cut[i].len;

		if (end <= at)
			continue;
		if (s->cut[i].off > at)
			sign_body_put(b, slice_sub(content, at, (size_t)s->cut[i].off));
		at = (size_t)end;
	}
	sign_body_put(b, slice_sub(content, at, content.n));
	sign_body_put(b, s->body_tail);
	sign_body_end(b, out);
}

/* Our own signature (3.17), which the seal covers as well (5.6). */
static int
put_dkim(struct forward_scan *s, const uint8_t hash[SIGN_HASH], struct buf *out)
{
	const struct forward_keys *k = s->keys;
	const struct sign_spec spec = {
		.name = SLICE_LIT("DKIM-Signature"), .first = SLICE_LIT("v=1;"),
		.domain = k->srs.domain, .selector = k->selector,
		.when = s->rq->now_ms / 1000, .h = SLICE_LIT(DKIM_NAMES),
	};

	if (k->dkim == NULL)
		return 0;
	if (sign_field(out, k->dkim, &spec, &s->fields, hash) < 0)
		return -1;
	s->fields.field[0] = (struct sign_field){ spec.name, buf_slice(out) };
	return 0;
}

/* Spec 5.2 - 5.8. A copy that cannot be sealed goes out without: nothing depends on it (5.0). */
static enum arc_seal_result
put_seal(const struct forward_scan *s, const uint8_t hash[SIGN_HASH], struct buf *out)
{
	const struct envelope *env = s->rq->env;
	struct arc_seal a = {
		.key = s->keys->arc, .domain = s->keys->srs.domain,
		.selector = s->keys->arc_selector, .when = s->rq->now_ms / 1000,
		.chain = (enum auth_result)env->arc, .authres = env->authres,
	};

	if (s->keys->arc == NULL || env->authres.n == 0)
		return ARC_NOT_SEALED;
	memcpy(a.body_hash, hash, SIGN_HASH);
	return arc_seal_put(out, &a, &s->fields);
}

int
forward_sign(struct forward_scan *s, bool chain, struct forward_copy *c)
{
	uint8_t hash[SIGN_HASH];
	struct buf dkim;
	int ret = -1;

	if ((s->keys->dkim == NULL && s->keys->arc == NULL) || s->junk || s->odd ||
	    s->from == 0 || s->from > FROM_MAX)
		return 0;
	hash_body(s, hash);
	buf_init(&dkim, SIGNATURE_MAX);
	if (put_dkim(s, hash, &dkim) == 0) {
		c->sealed = chain && put_seal(s, hash, &c->prefix) == ARC_SEALED;
		ret = buf_put_slice(&c->prefix, buf_slice(&dkim));
	}
	s->fields.field[0] = (struct sign_field){ SLICE_NONE, SLICE_NONE };
	buf_fini(&dkim);
	return ret;
}

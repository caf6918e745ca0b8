// SPDX-License-Identifier: Apache-2.0
#include "policy/notify.h"

#include "policy/address.h"

static enum dsn_action
action_of(uint8_t action)
{
	switch ((enum seal_notice)action) {
	case NOTICE_DELAYED:
		return DSN_DELAYED;
	case NOTICE_DELIVERED:
		return DSN_DELIVERED;
	case NOTICE_RELAYED:
		return DSN_RELAYED;
	case NOTICE_FAILED:
	case NOTICE_MAX:
		break;
	}
	return DSN_FAILED;
}

/* Verify found that the sender is of the author's organization: then its own domain stands
 * for the author's, which the envelope does not tell. */
static void
author_of(const struct envelope *env, char out[ADDRESS_DOMAIN_MAX + 1])
{
	size_t at = slice_rfind(env->mail_from, '@');

	if ((env->flags & ENV_ALIGNED) == 0 || at >= env->mail_from.n ||
	    address_domain_canonical(slice_sub(env->mail_from, at + 1, env->mail_from.n), out,
	    ADDRESS_DOMAIN_MAX + 1) != 0)
		out[0] = '\0';
}

static void
answer(struct seal_notified *a, enum seal_notified_status st, const char *reason)
{
	a->status = (uint8_t)st;
	a->reason = slice_str(reason);
}

void
notify_build(const struct notify_from *f, const struct seal_notify *q,
    const struct envelope *env, const struct envelope_rcpt *rcpt, struct slice content,
    struct dsn_limits *l, struct dsn *d, struct seal_notified *a)
{
	char author[ADDRESS_DOMAIN_MAX + 1];
	const struct dsn_request rq = {
		.env = env, .rcpt = rcpt, .action = action_of(q->action), .status = q->status,
		.source = q->primary ? DSN_TEXT_PRIMARY : DSN_TEXT_OURS, .text = q->text,
		.content = content, .mta = f->mta, .now_ms = (int64_t)q->now_ms,
		.retry_until_ms = (int64_t)q->until_ms, .seven_bit = q->seven_bit != 0, .key = f->key,
		.selector = f->selector, .body = f->body,
	};
	struct dsn_question ask = {
		.env = env, .rcpt = rcpt, .action = rq.action, .content = content,
		.return_path = f->return_path, .now_ms = f->mono_ms,
	};

	author_of(env, author);
	ask.author = slice_str(author);
	/* Built first: what cannot be built must not count as sent. */
	if (env->mail_from.n > 0 && dsn_build(&rq, d) < 0) {
		answer(a, NOTIFIED_ERROR, d->reason);
		return;
	}
	const char *no = dsn_gate(&ask, l);
	if (no[0] != '\0') {
		answer(a, NOTIFIED_SUPPRESSED, no);
		return;
	}
	answer(a, NOTIFIED_OK, "");
	a->flags = (d->eightbit ? ENV_HAS_8BIT : 0u) | (d->utf8 ? ENV_SMTPUTF8 : 0u) |
	    (d->requiretls ? ENV_REQUIRETLS : 0u) | (d->tls_optional ? ENV_TLS_OPTIONAL : 0u);
}

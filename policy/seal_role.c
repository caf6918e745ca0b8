// SPDX-License-Identifier: Apache-2.0
#include "policy/seal_role.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proto/queue_seal.h"
#include "base/proto/relay_seal.h"
#include "policy/address.h"
#include "policy/forward.h"
#include "policy/header.h"
#include "policy/notify.h"
#include "policy/return_path.h"
#include "policy/seal_keys.h"
#include "policy/token.h"
#include "policy/user_notice.h"

struct seal {
	struct seal_keys	 keys;
	struct sign_body	*body;		/* owned; work space of all keys */
	uint64_t		 prepared, held, errors;	/* answers to SEAL_PREPARE */
	uint64_t		 sealed, rewritten;	/* of the prepared: with an ARC set, spec 7 */
	uint64_t		 receipts;		/* requests that had to stay, 2.3.10 */
	uint64_t		 checked, invalid;		/* answers to SEAL_CHECK */
	struct dsn_limits	*limits;		/* owned; of notifications */
	unsigned		 per_target, per_domain;	/* what they were made for */
	uint64_t		 notified[NOTIFIED_MAX];	/* answers to SEAL_NOTIFY */
	uint64_t		 announced;	/* notices to users */
};

/* New limits forget what was counted under the old ones. */
static void
limits_make(struct role *r, struct seal *s)
{
	const struct conf *c = r->conf;

	if (s->limits != NULL && s->per_target == c->dsn_per_target &&
	    s->per_domain == c->dsn_per_domain)
		return;
	dsn_limits_free(&s->limits);
	s->per_target = c->dsn_per_target;
	s->per_domain = c->dsn_per_domain;
	s->limits = dsn_limits_with(NOTIFY_TARGETS, s->per_target, NOTIFY_DOMAINS, s->per_domain);
}

static int
seal_start(struct role *r)
{
	struct seal *s = mem_new(sizeof(*s));

	s->body = sign_body_new();
	limits_make(r, s);
	if (seal_keys_load(r, s->body, &s->keys) < 0) {
		sign_body_free(&s->body);
		dsn_limits_free(&s->limits);
		free(s);
		return -1;
	}
	r->priv = s;
	return 0;
}

static void
seal_reload(struct role *r)
{
	struct seal *s = r->priv;
	struct seal_keys k = { 0 };

	if (s == NULL)
		return;
	limits_make(r, s);
	if (seal_keys_load(r, s->body, &k) < 0) {
		log_error("seal-keys", "action=\"the keys from before stay in force\"");
		return;
	}
	seal_keys_fini(&s->keys);
	s->keys = k;
}

/* The recipient of that index, 0 or -1. */
static int
find_rcpt(const struct envelope *env, unsigned index, struct envelope_rcpt *out)
{
	struct slice list = env->rcpts;

	do {
		if (wire_item_next(&list, &envelope_rcpt_wire, out) != 1)
			return -1;
	} while (index-- > 0);
	return 0;
}

static enum forward_result
copy_refused(struct forward_copy *c, enum forward_result r, const char *reason)
{
	c->reason = reason;
	return r;
}

static enum rewrite_mode
form_mode(enum conf_unsurvivable u)
{
	switch (u) {
	case UNSURVIVABLE_AUTO:
		return REWRITE_AUTO;
	case UNSURVIVABLE_MUNGE:
		return REWRITE_MUNGE;
	case UNSURVIVABLE_WRAP:
		return REWRITE_WRAP;
	case UNSURVIVABLE_TRY:
		return REWRITE_TRY;
	case UNSURVIVABLE_HOLD:
		break;
	}
	return REWRITE_NEVER;
}

static struct rewrite_case
form_case(const struct seal_prepare *q, enum conf_unsurvivable u)
{
	return (struct rewrite_case){
		.mode = form_mode(u), .marked = q->marked != 0, .accepted = q->accepted != 0,
		.auth_refusals = q->auth_refusals, .transformed = q->transformed != 0,
		.refusal = q->refusal == SEAL_REFUSED_AUTH ? REWRITE_REFUSED_AUTH :
		    q->refusal == SEAL_REFUSED_STRUCTURE ? REWRITE_REFUSED_STRUCTURE :
		    REWRITE_NOT_REFUSED,
	};
}

/* The leg's token: that of an earlier attempt (1.4.3) while the present secret made it. */
static void
leg_token(const struct seal_keys *k, const struct seal_prepare *q, const struct envelope *env,
    char out[SRS_TOKEN_LEN + 1])
{
	struct token_leg leg = {
		.id = env->id, .rcpt_index = q->rcpt_index,
		.attempt = q->attempt < UINT8_MAX ? (uint8_t)q->attempt : UINT8_MAX,
	}, old;

	out[0] = '\0';
	if (k->fwd.srs.nsecret == 0)
		return;
	if (token_open(k->fwd.srs.secret[0], q->token, &old) &&
	    memcmp(&old.id, &leg.id, sizeof(leg.id)) == 0 && old.rcpt_index == leg.rcpt_index)
		leg.attempt = old.attempt;
	token_seal(k->fwd.srs.secret[0], &leg, out);
}

/* 8.9: 64 bits that stand for the Message-ID; 0 when there is none. */
static uint64_t
message_id_hash(struct slice content)
{
	struct header_field f;
	struct header h;
	uint8_t sum[32];
	uint64_t out = 0;

	header_start(&h, content);
	while (header_next(&h, &f)) {
		if (!header_is(&f, "Message-ID"))
			continue;
		crypto_sha256(slice_trim(f.value), sum);
		memcpy(&out, sum, sizeof(out));
		return out == 0 ? 1 : out;
	}
	return 0;
}

/* Its SRS address could not be taken back: a reversed address must not be of ours (1.2.12). */
static bool
sender_is_served(const struct conf *c, struct slice sender)
{
	char domain[ADDRESS_DOMAIN_MAX + 1];
	size_t at = slice_rfind(sender, '@');

	return at < sender.n && address_domain_canonical(slice_sub(sender, at + 1, sender.n),
	    domain, sizeof(domain)) == 0 && conf_domain_find(c, slice_str(domain)) != NULL;
}

static enum forward_result
build_copy(struct role *r, const struct seal_prepare *q, const struct envelope *env, int fd,
    struct forward_copy *c, uint64_t *message_id)
{
	struct seal *s = r->priv;
	const struct conf_domain *d;
	struct envelope_rcpt rcpt;
	char token[SRS_TOKEN_LEN + 1];
	struct forward_request rq = {
		.env = env, .rcpt = &rcpt, .now_ms = (int64_t)q->now_ms
	};
	enum forward_result res;

	if ((env->flags & (ENV_HOLD_ONLY | ENV_RECHECK)) != 0)
		return copy_refused(c, FORWARD_HOLD, "hold-only");
	if (find_rcpt(env, q->rcpt_index, &rcpt) < 0)
		return copy_refused(c, FORWARD_ERROR, "no-such-recipient");
	d = conf_domain_find(r->conf, rcpt.domain);
	rq.mode = d == NULL || q->opaque != 0 ? RETURN_OPAQUE : d->return_path;
	rq.local = sender_is_served(r->conf, env->mail_from);
	rq.brand = d == NULL ? SLICE_NONE : slice_str(d->brand);
	rq.form = form_case(q, d == NULL ? UNSURVIVABLE_AUTO : d->unsurvivable);
	if (s->keys.domain == NULL && rq.mode != RETURN_NULL)
		return copy_refused(c, FORWARD_HOLD, "no-forwarder");
	leg_token(&s->keys, q, env, token);
	rq.token = slice_str(token);
	if (body_map(fd, &rq.content) < 0)
		return copy_refused(c, FORWARD_ERROR, "body-not-sealed");
	if (rq.content.n != env->body_size)
		res = copy_refused(c, FORWARD_ERROR, "body-size");
	else
		res = forward_build(&s->keys.fwd, &rq, c);
	*message_id = message_id_hash(rq.content);
	body_unmap(&rq.content);
	return res;
}

static enum seal_status
count_status(struct seal *s, enum forward_result res)
{
	switch (res) {
	case FORWARD_OK:
		s->prepared++;
		return SEAL_OK;
	case FORWARD_HOLD:
		s->held++;
		return SEAL_HOLD;
	case FORWARD_ERROR:
		break;
	}
	s->errors++;
	return SEAL_ERROR;
}

static void
count_copy(struct seal *s, const struct forward_copy *c)
{
	s->sealed += c->sealed;
	s->rewritten += c->form[0] != '\0';
	s->receipts += c->receipts;
}

static void
on_prepare(struct role *r, struct ipc *ch, struct slice body, int fd)
{
	struct seal_prepare q;
	struct seal_prepared a = { 0 };
	struct envelope env = { 0 };
	struct forward_copy c;
	char id[MSGID_TEXT + 1];
	enum forward_result res;

	if (wire_get(body, &seal_prepare_wire, &q) < 0) {
		log_error("seal-prepare", "error=malformed bytes=%zu", body.n);
		return;
	}
	forward_copy_init(&c);
	if (envelope_get(q.envelope, &env) < 0)
		res = copy_refused(&c, FORWARD_ERROR, "bad-envelope");
	else
		res = build_copy(r, &q, &env, fd, &c, &a.message_id);
	a.req = q.req;
	a.status = (uint8_t)count_status(r->priv, res);
	a.reason = slice_str(c.reason);
	/* the rule that verify or the queue named is the better answer */
	if (res == FORWARD_HOLD && (env.flags & (ENV_HOLD_ONLY | ENV_RECHECK)) != 0 &&
	    env.reason.n > 0)
		a.reason = env.reason;
	if (res == FORWARD_OK) {
		a.token = slice_str(c.token);
		a.mail_from = buf_slice(&c.mail_from);
		a.prefix = buf_slice(&c.prefix);
		a.cuts = buf_slice(&c.cuts);
		a.suffix = buf_slice(&c.suffix);
		a.reason = slice_str(c.form);
		count_copy(r->priv, &c);
	} else if (res == FORWARD_ERROR) {
		msgid_print(env.id, id);
		log_error("seal-prepare", "id=%s error=%s", id, c.reason);
	}
	if (ipc_send(ch, SEAL_PREPARED, &seal_prepared_wire, &a, -1) < 0)
		log_error("seal-prepare", "error=\"no answer could be sent\"");
	forward_copy_fini(&c);
}

/* --- copies that came back, spec 9.1 --- */

static enum seal_tag_status
read_tag(struct role *r, const struct seal_tag *q, int fd, struct seal_tagged *a)
{
	struct seal *s = r->priv;
	struct envelope_rcpt rcpt;
	struct envelope env;
	struct forward_request rq = { .env = &env, .rcpt = &rcpt };
	struct token_leg leg;
	enum forward_tag tag;

	if (envelope_get(q->envelope, &env) < 0 || find_rcpt(&env, q->rcpt_index, &rcpt) < 0 ||
	    body_map(fd, &rq.content) < 0)
		return TAG_ERROR;
	tag = forward_tag_read(&s->keys.fwd, &rq, &leg);
	body_unmap(&rq.content);
	if (tag != FORWARD_TAG_COPY)
		return tag == FORWARD_TAG_OURS ? TAG_OURS : TAG_NOT_OURS;
	a->id = leg.id;
	a->rcpt_index = leg.rcpt_index;
	return TAG_COPY;
}

static void
on_tag(struct role *r, struct ipc *ch, struct slice body, int fd)
{
	struct seal_tagged a = { 0 };
	struct seal_tag q;

	if (wire_get(body, &seal_tag_wire, &q) < 0) {
		log_error("seal-tag", "error=malformed bytes=%zu", body.n);
		return;
	}
	a.req = q.req;
	a.status = (uint8_t)read_tag(r, &q, fd, &a);
	if (ipc_send(ch, SEAL_TAGGED, &seal_tagged_wire, &a, -1) < 0)
		log_error("seal-tag", "error=\"no answer could be sent\"");
}

/* --- notifications, spec 2.3 --- */

static void
build_notice(struct role *r, const struct seal_notify *q, int fd, struct dsn *d,
    struct seal_notified *a)
{
	struct seal *s = r->priv;
	struct envelope_rcpt rcpt;
	struct envelope env;
	struct slice content;
	struct notify_from from = {
		.mta = slice_str(r->conf->hostname), .body = s->body,
		.return_path = s->keys.domain == NULL ? SLICE_NONE : slice_str(s->keys.domain),
		.mono_ms = clock_mono_ms(),
	};

	a->status = NOTIFIED_ERROR;
	a->reason = SLICE_LIT("bad-envelope");
	if (envelope_get(q->envelope, &env) < 0 || find_rcpt(&env, q->rcpt_index, &rcpt) < 0 ||
	    body_map(fd, &content) < 0)
		return;
	for (size_t i = 0; i < s->keys.nnotify; i++) {
		const struct notify_key *k = &s->keys.notify[i];

		if (slice_ieq(slice_str(k->domain), rcpt.domain)) {
			from.key = k->key;
			from.selector = slice_str(k->selector);
		}
	}
	notify_build(&from, q, &env, &rcpt, content, s->limits, d, a);
	body_unmap(&content);
}

static void
on_notify(struct role *r, struct ipc *ch, struct slice body, int fd)
{
	struct seal *s = r->priv;
	struct seal_notified a = { 0 };
	struct seal_notify q;
	struct dsn d;
	int out = -1;

	if (wire_get(body, &seal_notify_wire, &q) < 0) {
		log_error("seal-notify", "error=malformed bytes=%zu", body.n);
		return;
	}
	dsn_init(&d);
	build_notice(r, &q, fd, &d, &a);
	a.req = q.req;
	if (a.status == NOTIFIED_OK) {
		out = body_make(buf_slice(&d.message));
		if (out < 0) {
			a.status = NOTIFIED_ERROR;
			a.reason = SLICE_LIT("no-memory");
		}
	}
	s->notified[a.status]++;
	if (ipc_send(ch, SEAL_NOTIFIED, &seal_notified_wire, &a, out) < 0)
		log_error("seal-notify", "error=\"no answer could be sent\"");
	if (out >= 0)
		close(out);
	dsn_fini(&d);
}

/* --- notices to users, spec 12.3 --- */

static enum seal_status
build_announcement(struct role *r, const struct seal_announce *q, struct user_notice *n)
{
	const struct seal *s = r->priv;
	const struct conf_domain *d = conf_domain_find(r->conf, q->domain);
	struct slice text[NOTICE_LANGUAGES];

	if (s->keys.domain == NULL || d == NULL || !d->user_notice)
		return SEAL_HOLD;
	for (int l = 0; l < NOTICE_LANGUAGES; l++)
		text[l] = s->keys.notice[l] != NULL ? slice_str(s->keys.notice[l]) :
		    notice_builtin((enum notice_language)l);
	const struct user_notice_request rq = {
		.user = q->user, .domain = q->domain, .brand = slice_str(d->brand),
		.status_page = slice_str(d->status_page), .language = q->language,
		.fallback = d->notice_language, .stop = { q->user_key, q->handle },
		.leg = { .id = q->id, .rcpt_index = q->rcpt_index, .attempt = q->attempt < UINT8_MAX ?
		    (uint8_t)q->attempt : UINT8_MAX },
		.null_path = d->return_path == RETURN_NULL,
		.now_ms = (int64_t)q->now_ms, .since_ms = (int64_t)q->since_ms,
	};
	return user_notice_build(&s->keys.fwd, text, &rq, n) < 0 ? SEAL_ERROR : SEAL_OK;
}

static void
on_announce(struct role *r, struct ipc *ch, struct slice body)
{
	struct seal *s = r->priv;
	struct seal_announced a = { 0 };
	struct seal_announce q;
	struct user_notice n;
	int out = -1;

	if (wire_get(body, &seal_announce_wire, &q) < 0) {
		log_error("seal-announce", "error=malformed bytes=%zu", body.n);
		return;
	}
	user_notice_init(&n);
	a.req = q.req;
	a.status = (uint8_t)build_announcement(r, &q, &n);
	if (a.status == SEAL_OK) {
		out = body_make(buf_slice(&n.message));
		if (out < 0)
			a.status = SEAL_ERROR;
	}
	if (a.status == SEAL_OK) {
		s->announced++;
		a.token = slice_str(n.token);
		a.mail_from = buf_slice(&n.mail_from);
	}
	if (ipc_send(ch, SEAL_ANNOUNCED, &seal_announced_wire, &a, out) < 0)
		log_error("seal-announce", "error=\"no answer could be sent\"");
	if (out >= 0)
		close(out);
	user_notice_fini(&n);
}

/* 12.3. */
static bool
check_stop(const struct srs *s, unsigned max_age, struct slice address, struct buf *text,
    struct seal_checked *a)
{
	struct stop x;

	switch (stop_check(s, srs_day(clock_wall_ms()), max_age, address, &x)) {
	case SRS_OK:
		if (buf_printf(text, "%016llx", (unsigned long long)x.handle) < 0)
			return true;
		a->status = SEAL_VALID_STOP;
		a->leg = BOUNCE_LEG_STOP;
		a->id = x.user;
		a->token = buf_slice(text);
		return true;
	case SRS_EXPIRED:
		a->status = SEAL_EXPIRED;
		return true;
	case SRS_NOT_SRS:
		return false;
	case SRS_UNCHANGED:
	case SRS_TOO_LONG:
	case SRS_BAD_HASH:
	case SRS_BAD_ADDRESS:
		break;
	}
	return true;
}

static void
on_check(struct role *r, struct ipc *ch, struct slice body)
{
	struct seal *s = r->priv;
	struct seal_check q;
	struct seal_checked a = { 0 };
	struct buf text;

	if (wire_get(body, &seal_check_wire, &q) < 0) {
		log_error("seal-check", "error=malformed bytes=%zu", body.n);
		return;
	}
	buf_init(&text, 2 * ADDRESS_PATH_MAX);
	a.status = SEAL_INVALID;
	if (s->keys.domain != NULL && !check_stop(&s->keys.fwd.srs, s->keys.stop_max_age, q.address,
	    &text, &a))
		return_path_check(&s->keys.fwd.srs, srs_day(clock_wall_ms()), q.address, &text, &a);
	a.req = q.req;
	s->checked++;
	s->invalid += a.status == SEAL_INVALID || a.status == SEAL_EXPIRED;
	if (ipc_send(ch, SEAL_CHECKED, &seal_checked_wire, &a, -1) < 0)
		log_error("seal-check", "error=\"no answer could be sent\"");
	buf_fini(&text);
}

/* --- what came back to an SRS address, spec 1.2.12 --- */

static void
on_named(struct role *r, struct ipc *ch, struct slice body)
{
	struct seal *s = r->priv;
	struct seal_named a = { 0 };
	struct seal_name q;
	struct buf text;

	if (wire_get(body, &seal_name_wire, &q) < 0) {
		log_error("seal-name", "error=malformed bytes=%zu", body.n);
		return;
	}
	buf_init(&text, 2 * ADDRESS_PATH_MAX);
	if (s->keys.domain != NULL)
		return_path_named(&s->keys.fwd.srs, srs_day(clock_wall_ms()), &q, &text, &a);
	a.req = q.req;
	if (ipc_send(ch, SEAL_NAMED, &seal_named_wire, &a, -1) < 0)
		log_error("seal-name", "error=\"no answer could be sent\"");
	buf_fini(&text);
}

static void
seal_message(struct role *r, enum role_kind peer, unsigned index, struct ipc *ch,
    uint32_t type, struct slice body, int fd)
{
	(void)index;
	/* what still comes while we stop is asked again of our successor */
	if (r->priv == NULL)
		log_debug("seal-message", "type=%u error=stopping", type);
	else if (peer == ROLE_QUEUE && type == SEAL_PREPARE)
		on_prepare(r, ch, body, fd);
	else if (peer == ROLE_QUEUE && type == SEAL_NOTIFY)
		on_notify(r, ch, body, fd);
	else if (peer == ROLE_QUEUE && type == SEAL_ANNOUNCE)
		on_announce(r, ch, body);
	else if (peer == ROLE_QUEUE && type == SEAL_TAG)
		on_tag(r, ch, body, fd);
	else if (peer == ROLE_QUEUE && type == SEAL_NAME)
		on_named(r, ch, body);
	else if (peer == ROLE_RELAY && type == SEAL_CHECK)
		on_check(r, ch, body);
	else
		log_error("seal-message", "peer=%u type=%u error=unexpected", (unsigned)peer, type);
	if (fd >= 0)
		close(fd);
}

static void
seal_status(struct role *r, struct buf *out)
{
	const struct seal *s = r->priv;

	if (s == NULL)
		return;
	/* a status line that does not fit is left out; nobody waits for it */
	if (buf_printf(out, "\"prepared\":%llu,\"held\":%llu,\"errors\":%llu,\"checked\":%llu,"
	    "\"invalid\":%llu,\"sealed\":%llu,\"rewritten\":%llu,\"receipts\":%llu,\"signs\":%s,"
	    "\"seals\":%s,\"notices\":%llu,\"notices_suppressed\":%llu,"
	    "\"notice_errors\":%llu,\"user_notices\":%llu",
	    (unsigned long long)s->prepared, (unsigned long long)s->held,
	    (unsigned long long)s->errors, (unsigned long long)s->checked,
	    (unsigned long long)s->invalid, (unsigned long long)s->sealed,
	    (unsigned long long)s->rewritten, (unsigned long long)s->receipts,
	    s->keys.fwd.dkim != NULL ? "true" : "false",
	    s->keys.fwd.arc != NULL ? "true" : "false",
	    (unsigned long long)s->notified[NOTIFIED_OK],
	    (unsigned long long)s->notified[NOTIFIED_SUPPRESSED],
	    (unsigned long long)s->notified[NOTIFIED_ERROR],
	    (unsigned long long)s->announced) < 0)
		return;
}

static void
seal_stop(struct role *r)
{
	struct seal *s = r->priv;

	/* every request was answered in the turn it came */
	seal_keys_fini(&s->keys);
	sign_body_free(&s->body);
	dsn_limits_free(&s->limits);
	free(s);
	r->priv = NULL;
	role_done(r);
}

const struct role_ops seal_ops = {
	.kind = ROLE_SEAL,
	.start = seal_start,
	.message = seal_message,
	.reload = seal_reload,
	.stop = seal_stop,
	.status = seal_status,
};

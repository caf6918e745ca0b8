// SPDX-License-Identifier: Apache-2.0
#include "policy/seal_role.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proto/queue_seal.h"
#include "base/proto/relay_seal.h"
#include "policy/address.h"
#include "policy/forward.h"
#include "policy/notify.h"
#include "policy/return_path.h"
#include "policy/stop.h"
#include "policy/token.h"
#include "base/crypto.h"
#include "policy/header.h"

enum {
	SECRET_FILE_MAX = 16 * 1024,
	KEY_FILE_MAX = 64 * 1024,
	RSA_ADVISED = 2048,		/* bits; RFC 8301 3.2 */
	/* room for hash and node in a local part: 64 without "SRS0=" "=TT=" "=" and token */
	OPAQUE_ROOM = ADDRESS_LOCAL_MAX - 5 - 4 - 1 - SRS_TOKEN_LEN
};

struct notify_key {		/* signs notifications in a domain's name */
	char		*domain, *selector;	/* owned */
	struct sign_key	*key;			/* owned */
};

/* Everything that comes from the configuration; replaced as a whole. */
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
};

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
};

static void
wipe(char **p, size_t n)
{
	if (*p != NULL)
		OPENSSL_cleanse(*p, n);
	free(*p);
	*p = NULL;
}

static void
keys_fini(struct seal_keys *k)
{
	sign_key_free(&k->fwd.dkim);
	sign_key_free(&k->arc_own);
	for (size_t i = 0; i < k->nnotify; i++) {
		sign_key_free(&k->notify[i].key);
		free(k->notify[i].domain);
		free(k->notify[i].selector);
	}
	free(k->notify);
	wipe(&k->secrets, k->nsecrets);
	free(k->domain);
	free(k->node);
	free(k->selector);
	free(k->arc_selector);
	*k = (struct seal_keys){ 0 };
}

static bool
is_rsa(const struct sign_key *k)
{
	return strcmp(sign_key_algorithm(k), "rsa-sha256") == 0;
}

static int
load_secrets(struct role *r, struct seal_keys *k)
{
	const char *file = r->conf->forwarder.secret_file;

	k->secrets = role_resource_text(r, "forward-secret", SECRET_FILE_MAX, &k->nsecrets);
	if (k->secrets == NULL) {
		log_error("seal-keys", "key=forwarder.secret-file file=%s error=\"cannot be read\" "
		    "fix=\"create it with mode 0600, one secret a line: openssl rand -hex 32\"",
		    log_escs(file));
		return -1;
	}
	if (srs_secrets(&k->fwd.srs, slice_make(k->secrets, k->nsecrets)) < 0) {
		log_error("seal-keys", "key=forwarder.secret-file file=%s error=\"holds no secret, "
		    "or more than %d\" fix=\"one secret a line, the newest first\"",
		    log_escs(file), SRS_SECRETS_MAX);
		return -1;
	}
	return 0;
}

/* NULL with the trouble said. `name` is a resource, `key` the configuration's word. */
static struct sign_key *
load_key(struct role *r, const char *name, const char *key, const char *file)
{
	const char *why = "cannot be read";
	struct sign_key *k = NULL;
	size_t n = 0;
	char *pem = role_resource_text(r, name, KEY_FILE_MAX, &n);

	if (pem != NULL)
		k = sign_key_new(slice_make(pem, n), &why);
	wipe(&pem, n);
	if (k == NULL)
		log_error("seal-keys", "key=%s file=%s error=\"%s\" fix=\"openssl genrsa "
		    "-out FILE 2048, mode 0600; or leave selector and key file out\"", key,
		    log_escs(file), why);
	else if (is_rsa(k) && sign_key_bits(k) < RSA_ADVISED)
		log_warn("seal-keys", "key=%s file=%s bits=%u fix=\"use 2048 bits\"", key,
		    log_escs(file), sign_key_bits(k));
	return k;
}

static int
load_dkim(struct role *r, struct seal_keys *k)
{
	const struct conf_forwarder *f = &r->conf->forwarder;

	if (f->dkim_selector == NULL || f->dkim_key_file == NULL)
		return 0;
	k->fwd.dkim = load_key(r, "forward-dkim-key", "forwarder.dkim-key-file", f->dkim_key_file);
	k->selector = mem_str(f->dkim_selector);
	k->fwd.selector = slice_str(k->selector);
	return k->fwd.dkim != NULL ? 0 : -1;
}

/* A key of its own, or the DKIM key. Verifiers of ARC know RSA (RFC 8617 4.1.3, RFC 8301). */
static int
load_arc(struct role *r, struct seal_keys *k)
{
	const struct conf_forwarder *f = &r->conf->forwarder;

	if (!f->arc)
		return 0;
	if (f->arc_selector == NULL || f->arc_key_file == NULL) {
		if (k->fwd.dkim != NULL && !is_rsa(k->fwd.dkim)) {
			log_warn("seal-keys", "key=forwarder.dkim-key-file effect=\"copies get no ARC "
			    "seal\" fix=\"give arc-selector and arc-key-file with an RSA key\"");
			return 0;
		}
		k->fwd.arc = k->fwd.dkim;
		k->fwd.arc_selector = k->fwd.selector;
		return 0;
	}
	k->arc_own = load_key(r, "forward-arc-key", "forwarder.arc-key-file", f->arc_key_file);
	if (k->arc_own != NULL && !is_rsa(k->arc_own)) {
		log_error("seal-keys", "key=forwarder.arc-key-file file=%s error=\"not an RSA key, "
		    "which ARC asks for\" fix=\"openssl genrsa -out FILE 2048\"",
		    log_escs(f->arc_key_file));
		return -1;
	}
	k->arc_selector = mem_str(f->arc_selector);
	k->fwd.arc = k->arc_own;
	k->fwd.arc_selector = slice_str(k->arc_selector);
	return k->arc_own != NULL ? 0 : -1;
}

static int
load_notify(struct role *r, struct seal_keys *k)
{
	const struct conf *c = r->conf;
	char name[48];

	for (size_t i = 0; i < c->ndomain; i++) {
		const struct conf_domain *d = &c->domain[i];

		if (d->dkim_selector == NULL || d->dkim_key_file == NULL)
			continue;
		(void)snprintf(name, sizeof(name), "domain-dkim-key:%zu", i);
		struct sign_key *key = load_key(r, name, "domain.dkim-key-file",
		    d->dkim_key_file);
		if (key == NULL)
			return -1;
		k->notify = mem_resize(k->notify, k->nnotify + 1, sizeof(*k->notify));
		k->notify[k->nnotify++] = (struct notify_key){ mem_str(d->name),
			mem_str(d->dkim_selector), key };
	}
	return 0;
}

/* Lengths that could never work are said at start, not with every message. */
static int
check_lengths(const struct conf_forwarder *f)
{
	if (f->hash_length + strlen(f->node) > OPAQUE_ROOM) {
		log_error("seal-keys", "key=forwarder.hash-length value=%u error=\"the return path "
		    "would be over 64 octets\" fix=\"at most %zu with node %s\"", f->hash_length,
		    OPAQUE_ROOM - strlen(f->node), f->node);
		return -1;
	}
	if (f->hash_min > f->hash_length) {
		log_error("seal-keys", "key=forwarder.hash-min value=%u error=\"no return path of "
		    "ours would be valid\" fix=\"at most hash-length, %u\"", f->hash_min,
		    f->hash_length);
		return -1;
	}
	return 0;
}

/* What the configuration asks for; 0, or -1 with everything said. `k` starts empty. */
static int
keys_load(struct role *r, struct sign_body *body, struct seal_keys *k)
{
	const struct conf_forwarder *f = &r->conf->forwarder;
	struct srs *s = &k->fwd.srs;
	int bad = load_notify(r, k);

	if (f->domain == NULL) {
		if (bad != 0)
			keys_fini(k);
		return bad;
	}
	k->domain = mem_str(f->domain);
	k->node = mem_str(f->node);
	k->fwd.body = body;
	k->stop_max_age = f->stop_max_age_days;
	*s = (struct srs){
		.domain = slice_str(k->domain), .node = slice_str(k->node),
		.hash_length = f->hash_length, .hash_min = f->hash_min,
		.max_age_days = f->max_age_days, .base64 = f->alphabet_base64,
		.separator = '='
	};
	/* all of them, so that one start tells of all that is wrong */
	bad |= check_lengths(f);
	bad |= load_secrets(r, k);
	bad |= load_dkim(r, k);
	bad |= load_arc(r, k);
	if (bad != 0)
		keys_fini(k);
	return bad != 0 ? -1 : 0;
}

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
	if (keys_load(r, s->body, &s->keys) < 0) {
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
	if (keys_load(r, s->body, &k) < 0) {
		log_error("seal-keys", "action=\"the keys from before stay in force\"");
		return;
	}
	keys_fini(&s->keys);
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
	    "\"notice_errors\":%llu",
	    (unsigned long long)s->prepared, (unsigned long long)s->held,
	    (unsigned long long)s->errors, (unsigned long long)s->checked,
	    (unsigned long long)s->invalid, (unsigned long long)s->sealed,
	    (unsigned long long)s->rewritten, (unsigned long long)s->receipts,
	    s->keys.fwd.dkim != NULL ? "true" : "false",
	    s->keys.fwd.arc != NULL ? "true" : "false",
	    (unsigned long long)s->notified[NOTIFIED_OK],
	    (unsigned long long)s->notified[NOTIFIED_SUPPRESSED],
	    (unsigned long long)s->notified[NOTIFIED_ERROR]) < 0)
		return;
}

static void
seal_stop(struct role *r)
{
	struct seal *s = r->priv;

	/* every request was answered in the turn it came */
	keys_fini(&s->keys);
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

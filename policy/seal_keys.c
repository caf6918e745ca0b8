// SPDX-License-Identifier: Apache-2.0
#include "policy/seal_keys.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "policy/address.h"

enum {
	SECRET_FILE_MAX = 16 * 1024,
	KEY_FILE_MAX = 64 * 1024,
	RSA_ADVISED = 2048,		/* bits; RFC 8301 3.2 */
	/* room for hash and node in a local part: 64 without "SRS0=" "=TT=" "=" and token */
	OPAQUE_ROOM = ADDRESS_LOCAL_MAX - 5 - 4 - 1 - SRS_TOKEN_LEN
};

static void
wipe(char **p, size_t n)
{
	if (*p != NULL)
		OPENSSL_cleanse(*p, n);
	free(*p);
	*p = NULL;
}

void
seal_keys_fini(struct seal_keys *k)
{
	sign_key_free(&k->fwd.dkim);
	sign_key_free(&k->arc_own);
	for (size_t i = 0; i < k->nnotify; i++) {
		sign_key_free(&k->notify[i].key);
		free(k->notify[i].domain);
		free(k->notify[i].selector);
	}
	free(k->notify);
	for (size_t i = 0; i < NOTICE_LANGUAGES; i++)
		free(k->notice[i]);
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

/* A template that is missing or wrong must not keep anybody's mail waiting. */
static void
load_notices(struct role *r, struct seal_keys *k)
{
	char name[32];
	unsigned line;
	size_t n;

	for (int l = 0; l < NOTICE_LANGUAGES; l++) {
		const char *word = notice_language_name((enum notice_language)l), *why;

		(void)snprintf(name, sizeof(name), "notice:%s", word);
		char *text = role_resource_text(r, name, NOTICE_TEMPLATE_MAX + 1, &n);
		if (text == NULL)
			continue;	/* the built-in one */
		why = notice_template_check(slice_make(text, n), &line);
		if (why == NULL) {
			k->notice[l] = text;
			continue;
		}
		log_error("user-notice", "file=%s/%s.txt error=%s effect=%s fix=%s",
		    log_escs(r->conf->notice_templates), word, log_escs(why),
		    log_escs("the text that is built in is used"), log_escs("salvaposta check"));
		free(text);
	}
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

int
seal_keys_load(struct role *r, struct sign_body *body, struct seal_keys *k)
{
	const struct conf_forwarder *f = &r->conf->forwarder;
	struct srs *s = &k->fwd.srs;
	int bad = load_notify(r, k);

	if (f->domain == NULL) {
		if (bad != 0)
			seal_keys_fini(k);
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
		.separator = CONF_SEPARATOR_CHARS[f->separator]
	};
	/* all of them, so that one start tells of all that is wrong */
	bad |= check_lengths(f);
	bad |= load_secrets(r, k);
	bad |= load_dkim(r, k);
	bad |= load_arc(r, k);
	load_notices(r, k);
	if (bad != 0)
		seal_keys_fini(k);
	return bad != 0 ? -1 : 0;
}

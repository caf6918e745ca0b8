// SPDX-License-Identifier: Apache-2.0
/* Selector records of DKIM and ARC against the private keys at hand. */
#include <stdlib.h>
#include <string.h>

#include "admin/doctor.h"
#include "admin/keyfile.h"
#include "policy/dkim_tags.h"
#include "policy/sign.h"

enum {
	KEY_RECORD_MAX = 4096,
	/* base64 characters of a 2048 bit RSA key's p=; one of 1024 bits has 216 */
	KEY_BASE64_2048 = 380,
};

struct selector {
	const char	*check;
	const char	*file;
	char		 name[2 * DNS_NAME_MAX + 32];
	struct buf	 want;		/* the record that fits the private key, "" unknown */
	char		 why[4600];	/* why it is unknown */
};

static void
read_private(struct selector *s)
{
	struct keyfile k = { .mode = 0 };
	struct sign_key *key = NULL;
	const char *why = "";

	s->why[0] = '\0';
	if (keyfile_read(s->file, &k, s->why, sizeof(s->why)) == 0)
		key = sign_key_new(buf_slice(&k.text), &why);
	if (key != NULL && sign_key_record(key, &s->want) != 0)
		buf_clear(&s->want);
	else if (key == NULL && s->why[0] == '\0')
		(void)snprintf(s->why, sizeof(s->why), "%s: %s", s->file, why);
	sign_key_free(&key);
	keyfile_fini(&k);
}

static struct finding *
say(const struct selector *s, struct findings *out, enum finding_level level, const char *text)
{
	struct finding *f = finding_add(out, level, s->check, s->name, "%s", text);

	if (buf_len(&s->want) > 0)
		finding_publish(f, s->name, "TXT", buf_slice(&s->want));
	else
		finding_fix(f, "publish the public half of %s; run doctor as root to have the "
		    "record printed", s->file);
	return f;
}

/* Both without white space; what is no tag list is no key. */
static bool
public_half(struct slice record, char out[KEY_RECORD_MAX])
{
	struct dkim_tags t;

	return dkim_tags_parse(record, &t) == 0 &&
	    dkim_tag_text(dkim_tag(&t, "p"), out, KEY_RECORD_MAX) == 0;
}

static const char *
type_of(const struct dkim_tags *t)
{
	struct slice k = dkim_tag(t, "k");

	return k.p == NULL || slice_eq(k, SLICE_LIT("rsa")) ? "rsa" :
	    slice_eq(k, SLICE_LIT("ed25519")) ? "ed25519" : "";
}

/* What is wrong with the record whatever the private key is; NULL for nothing. */
static const char *
syntax(const struct dkim_tags *t)
{
	struct slice v = dkim_tag(t, "v"), h = dkim_tag(t, "h"), use = dkim_tag(t, "s");

	if (v.p != NULL && !slice_eq(v, SLICE_LIT("DKIM1")))
		return "its record has another version than v=DKIM1";
	if (dkim_tag(t, "p").p == NULL)
		return "its record has no p=";
	if (dkim_tag(t, "p").n == 0)
		return "its record says that the key is revoked (p= is empty)";
	if (type_of(t)[0] == '\0')
		return "its record has a k= that is neither rsa nor ed25519";
	if (h.p != NULL && dkim_list_count(h, SLICE_LIT("sha256")) == 0)
		return "its record has an h= without sha256, which we sign with";
	if (use.p != NULL && dkim_list_count(use, SLICE_LIT("*")) == 0 &&
	    dkim_list_count(use, SLICE_LIT("email")) == 0)
		return "its record has an s= that is not for mail";
	return NULL;
}

static void
judge_small(const struct selector *s, const struct dkim_tags *t, const char *p,
    struct findings *out)
{
	struct slice flags = dkim_tag(t, "t");
	struct finding *f;

	if (strcmp(type_of(t), "rsa") == 0 && strlen(p) < KEY_BASE64_2048) {
		f = finding_add(out, FINDING_WARNING, s->check, s->name, "its key is shorter "
		    "than %d bits: some receivers do not count it", DOCTOR_KEY_BITS);
		finding_fix(f, "make a longer one under a new selector: openssl genrsa -out FILE "
		    "%d; publish it, then change relay.conf", DOCTOR_KEY_BITS);
	}
	if (flags.p != NULL && dkim_list_count(flags, SLICE_LIT("y")) > 0) {
		f = finding_add(out, FINDING_WARNING, s->check, s->name, "its record says that "
		    "it is a test (t=y): receivers may treat signed mail as unsigned");
		finding_fix(f, "take t=y out of it");
	}
}

static void
judge_record(const struct selector *s, struct slice record, struct findings *out)
{
	char have[KEY_RECORD_MAX], want[KEY_RECORD_MAX];
	struct dkim_tags t;
	struct finding *f;
	const char *bad;

	if (dkim_tags_parse(record, &t) != 0) {
		(void)say(s, out, FINDING_PROBLEM, "its record cannot be read as a list of tags");
		return;
	}
	bad = syntax(&t);
	if (bad == NULL && !public_half(record, have))
		bad = "its record is too long";
	if (bad != NULL) {
		(void)say(s, out, FINDING_PROBLEM, bad);
		return;
	}
	if (buf_len(&s->want) == 0) {
		f = finding_add(out, FINDING_WARNING, s->check, s->name, "its record is there, "
		    "but cannot be compared with the key: %s", s->why);
		finding_fix(f, "run doctor as root");
	} else if (!public_half(buf_slice(&s->want), want) || strcmp(have, want) != 0) {
		(void)say(s, out, FINDING_PROBLEM, "its record does not belong to the key that "
		    "we sign with, so our signatures fail");
		return;
	} else {
		finding_add(out, FINDING_OK, s->check, s->name, "the key is published (%s)",
		    type_of(&t));
	}
	judge_small(s, &t, have, out);
}

static void
judge_selector(struct dnsview *v, const char *check, const char *domain, const char *selector,
    const char *file, struct findings *out)
{
	struct selector s = { .check = check, .file = file };
	struct slice rrs, record = SLICE_NONE;
	struct dns_rr rr;
	unsigned n = 0;
	int st;

	(void)snprintf(s.name, sizeof(s.name), "%s._domainkey.%s", selector, domain);
	st = dnsview_ask(v, DNS_TXT, slice_str(s.name), &rrs);
	if (st == DNSVIEW_MISS)
		return;		/* the key file is read once, not in each round */
	if (st == DNS_FAIL) {
		doctor_dns_failed(out, check, s.name, "its record");
		return;
	}
	buf_init(&s.want, KEY_RECORD_MAX);
	read_private(&s);
	for (; wire_item_next(&rrs, &dns_rr_wire, &rr) == 1; n++)
		record = rr.data;
	if (n == 0)
		(void)say(&s, out, FINDING_PROBLEM, "it is not published, so our signatures "
		    "fail");
	else if (n > 1)
		(void)say(&s, out, FINDING_PROBLEM, "it has several records, and which one "
		    "counts is anybody's guess (RFC 6376 3.6.2.2)");
	else
		judge_record(&s, record, out);
	buf_fini(&s.want);
}

void
doctor_keys(const struct doctor *d, struct dnsview *v, const struct conf_domain *domain,
    struct findings *out)
{
	const struct conf_forwarder *w = &d->conf->forwarder;

	(void)domain;
	if (w->domain == NULL)
		return;
	if (w->dkim_selector == NULL || w->dkim_key_file == NULL) {
		struct finding *f = finding_add(out, FINDING_WARNING, "return-dkim", w->domain,
		    "copies are not signed: the large providers want mail of a sender like us "
		    "signed");
		finding_fix(f, "set dkim-selector and dkim-key-file in the section forwarder");
	} else {
		judge_selector(v, "return-dkim", w->domain, w->dkim_selector,
		    w->dkim_key_file, out);
	}
	if (w->arc && w->arc_selector != NULL && w->arc_key_file != NULL)
		judge_selector(v, "return-arc", w->domain, w->arc_selector, w->arc_key_file, out);
}

void
doctor_domain_key(const struct doctor *d, struct dnsview *v, const struct conf_domain *domain,
    struct findings *out)
{
	(void)d;
	if (domain->dkim_selector != NULL && domain->dkim_key_file != NULL)
		judge_selector(v, "domain-dkim", domain->name, domain->dkim_selector,
		    domain->dkim_key_file, out);
}

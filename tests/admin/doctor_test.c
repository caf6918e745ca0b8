// SPDX-License-Identifier: Apache-2.0
/*
 * The judges of `salvaposta doctor` over a zone in a table: one in which all is well, and for
 * each row what is taken away from it, what is added, and the one thing that is said then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "admin/doctor.h"
#include "tests/policy/zone.h"

enum { ZONE_MAX = 16 * 1024, ROUNDS_MAX = 40 };

#define N(a)	(sizeof(a) / sizeof((a)[0]))
#define HOST	"mx2.relay.example"
#define FWD	"fwd.relay.example"
#define SHOP	"shop.example"
#define KEY	"s1._domainkey." FWD
/* RFC 8463 A.2 */
#define PEM	"-----BEGIN PRIVATE KEY-----\n" \
		"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n" \
		"-----END PRIVATE KEY-----\n"
#define PUBLIC	"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static const char *const well[] = {
	HOST " A 192.0.2.25",
	HOST " AAAA 2001:db8::25",
	HOST " TXT v=spf1 a -all",
	"25.2.0.192.in-addr.arpa PTR " HOST,
	"5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR " HOST,
	FWD " MX 10 " HOST,
	FWD " TXT v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 -all",
	"_dmarc." FWD " TXT v=DMARC1; p=reject",
	KEY " TXT v=DKIM1; k=ed25519; p=" PUBLIC,
	SHOP " MX 10 mx1." SHOP,
	SHOP " TXT other text",
	SHOP " TXT v=spf1 ip4:192.0.2.80 -all",
	"mx1." SHOP " A 192.0.2.80",
	"_dmarc." SHOP " TXT v=DMARC1; p=quarantine",
};

struct world {
	char		 dir[64];
	struct conf	*conf;
	struct doctor	 doctor;
};

static void
write_file(const char *dir, const char *name, const char *text, char *path, size_t cap)
{
	(void)snprintf(path, cap, "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void
configure(struct world *w, const char *top, const char *in_domain)
{
	struct conf_errors e = { .count = 0 };
	char text[4096];

	conf_free(&w->conf);
	(void)snprintf(text, sizeof(text), "hostname = \"" HOST "\"\n"
	    "state-dir = \"%s\"\nlisten \"127.0.0.1:2525\" { }\n%s\n"
	    "forwarder {\n domain = \"" FWD "\"\n secret-file = \"%s/secret\"\n node = \"n1\"\n"
	    " dkim-selector = \"s1\"\n dkim-key-file = \"%s/key\"\n}\n"
	    "domain \"" SHOP "\" {\n primary = \"lmtp://127.0.0.1:24\"\n%s\n}\n", w->dir, top,
	    w->dir, w->dir, in_domain);
	w->conf = conf_parse(slice_str(text), "relay.conf", &e);
	if (w->conf == NULL)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&e.text)));
	buf_fini(&e.text);
	w->doctor.conf = w->conf;
}

static int
setup(void **state)
{
	struct world *w = mem_new(sizeof(*w));
	char path[128];

	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/salvaposta-doctor-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	write_file(w->dir, "key", PEM, path, sizeof(path));
	w->doctor.spf = spf_new();
	configure(w, "", "");
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/key", w->dir);
	(void)unlink(path);
	assert_int_equal(rmdir(w->dir), 0);
	spf_free(&w->doctor.spf);
	conf_free(&w->conf);
	free(w);
	return 0;
}

/* All judges, each asked again until it misses nothing. */
static void
judge_all(struct world *w, const char *zone, struct findings *out)
{
	static doctor_judge *const judges[] = { doctor_hostname, doctor_return_path,
	    doctor_dmarc_return, doctor_keys, doctor_domain, doctor_dmarc_domain,
	    doctor_domain_key };

	for (size_t i = 0; i < N(judges); i++) {
		struct findings found = { .n = 0 };
		struct buf answers, wants;
		struct dnsview v;

		dnsview_init(&v);
		buf_init(&answers, 1 << 20);
		buf_init(&wants, 1 << 20);
		for (unsigned round = 0;; round++) {
			assert_true(round < ROUNDS_MAX);
			assert_int_equal(dnsview_load(&v, buf_slice(&answers), false), 0);
			findings_fini(&found);
			judges[i](&w->doctor, &v, &w->conf->domain[0], &found);
			if (v.nwant == 0)
				break;
			buf_clear(&wants);
			assert_int_equal(dnsview_wants(&v, &wants), 0);
			zone_answers(zone, buf_slice(&wants), &answers);
		}
		findings_move(out, &found);
		dnsview_fini(&v);
		buf_fini(&answers);
		buf_fini(&wants);
	}
}

/* The good zone without the lines that begin with `without` (up to a '|' each), and `with`. */
static void
make_zone(const char *without, const char *with, char out[ZONE_MAX])
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < N(well); i++) {
		struct slice list = slice_str(without);
		bool drop = false;

		while (list.n > 0 && !drop) {
			size_t bar = slice_find(list, '|');
			drop = slice_istarts(slice_str(well[i]), slice_sub(list, 0, bar));
			list = slice_sub(list, bar + 1, list.n);
		}
		if (!drop)
			n += (size_t)snprintf(out + n, ZONE_MAX - n, "%s\n", well[i]);
	}
	assert_true((size_t)snprintf(out + n, ZONE_MAX - n, "%s", with) < ZONE_MAX - n);
}

struct row {
	const char	*without, *with;
	enum finding_level level;	/* FINDING_OK: nothing is wrong */
	const char	*check, *about, *text, *fix;	/* parts of them */
};

static void
expect(const struct row *r, const struct findings *fs)
{
	size_t bad = 0;

	for (size_t i = 0; i < fs->n; i++) {
		const struct finding *f = &fs->f[i];
		if (f->level == FINDING_OK) {
			assert_null(f->fix);
			continue;
		}
		bad++;
		if (f->level != r->level || strcmp(f->check, r->check) != 0 ||
		    strcmp(f->about, r->about) != 0 || strstr(f->text, r->text) == NULL ||
		    f->fix == NULL || strstr(f->fix, r->fix) == NULL)
			fail_msg("-%s +%s: level %d %s %s: %s -> %s", r->without, r->with, f->level,
			    f->check, f->about, f->text, f->fix == NULL ? "" : f->fix);
	}
	if ((bad > 0) != (r->level != FINDING_OK))
		fail_msg("-%s +%s: %zu things are wrong", r->without, r->with, bad);
}

static void
run_rows(struct world *w, const struct row *rows, size_t n)
{
	char zone[ZONE_MAX];

	for (size_t i = 0; i < n; i++) {
		struct findings fs = { .n = 0 };
		make_zone(rows[i].without, rows[i].with, zone);
		judge_all(w, zone, &fs);
		expect(&rows[i], &fs);
		findings_fini(&fs);
	}
}

static void
test_all_well(void **state)
{
	static const struct row rows[] = {
		/* zone.h gives every MX preference 10 */
		{ SHOP " MX", "shop.example MX 10 mx1.shop.example\nshop.example MX 10 " HOST "\n",
		  FINDING_WARNING, "domain-mx", SHOP, "half of the mail", "MX 20 " HOST "." },
	};

	run_rows(*state, rows, N(rows));
}

static void
test_spec_6_10_spf(void **state)
{
#define SPF(r)	SHOP " TXT v=spf1", SHOP " TXT " r "\n", FINDING_PROBLEM, "domain-spf", SHOP, \
		"rule 6.10"
#define FINE(r)	{ SHOP " TXT v=spf1", SHOP " TXT " r "\n", FINDING_OK, NULL, NULL, NULL, NULL }
	static const struct row rows[] = {
		{ SPF("v=spf1 ip4:192.0.2.25 -all"), "take the term ip4:192.0.2.25/32 out of" },
		{ SPF("v=spf1 ip4:192.0.2.0/27 -all"), "ip4:192.0.2.0/27" },
		{ SPF("v=spf1 ip6:2001:db8::/32 -all"), "ip6:2001:db8::/32" },
		{ SPF("v=spf1 a:" HOST " -all"), "one of its include:" },
		{ SPF("v=spf1 include:" FWD " ?all"), "one of its include:" },
		{ SPF("v=spf1 redirect=" FWD), "one of its include:" },
		{ SPF("v=spf1 all"), "+all" },
		{ SPF("v=spf1 exists:" HOST " -all"), "one of its" },
		{ SPF("v=spf1 ip4:192.0.2.24/30 ip4:192.0.2.25 -all"), "ip4:192.0.2.24/30" },
		FINE("v=spf1 ip4:192.0.2.24/32 -all"),
		FINE("v=spf1 -ip4:192.0.2.25 -ip6:2001:db8::25 +all"),
		FINE("v=spf1 ~all"),
		FINE("v=spf1 ?all"),
		FINE("no record at all"),
		{ SHOP " TXT v=spf1", SHOP " TXT v=spf1 ip4:nonsense -all\n", FINDING_WARNING,
		  "domain-spf", SHOP, "as if it had none", "ip4:nonsense" },
		{ SHOP " TXT v=spf1", SHOP " TXT v=spf1 -all\n" SHOP " TXT v=spf1 ~all\n",
		  FINDING_WARNING, "domain-spf", SHOP, "as if it had none", "two records" },
		{ SHOP " TXT v=spf1", SHOP " TXT v=spf1 include:temp.example -all\n"
		  "temp.example FAIL x\n", FINDING_PROBLEM, "domain-spf", SHOP,
		  "DNS does not answer", "try again" },
	};
	struct world *w = *state;

	configure(w, "trusted-relay = { \"192.0.2.64/28\" }", "");
	run_rows(w, rows, N(rows));
}

static void
test_spec_6_10_dmarc(void **state)
{
#define DMARC(r) "_dmarc." SHOP, "_dmarc." SHOP " TXT " r "\n"
	static const struct row rows[] = {
		{ "_dmarc." SHOP, "", FINDING_PROBLEM, "domain-dmarc", SHOP, "rule 6.10",
		  "publish: _dmarc.shop.example. IN TXT \"v=DMARC1; p=quarantine; rua=" },
		{ "_dmarc." FWD, "", FINDING_PROBLEM, "return-dmarc", FWD, "rule 6.10",
		  "publish: _dmarc." FWD ". IN TXT \"v=DMARC1; p=reject; psd=n\"" },
		{ DMARC("v=DMARC2; p=reject"), FINDING_PROBLEM, "domain-dmarc", SHOP, "no DMARC", "" },
		{ DMARC(" v=DMARC1; p=reject"), FINDING_PROBLEM, "domain-dmarc", SHOP, "no DMARC", "" },
		{ DMARC("v=DMARC1; p=regect"), FINDING_PROBLEM, "domain-dmarc", SHOP,
		  "none of none, quarantine and reject", "publish" },
		{ DMARC("v=DMARC1; p=reject; sp=no"), FINDING_PROBLEM, "domain-dmarc", SHOP, "sp=", "" },
		{ DMARC("v=DMARC1"), FINDING_WARNING, "domain-dmarc", SHOP, "do nothing", "publish" },
		{ DMARC("v=DMARC1; p=none"), FINDING_WARNING, "domain-dmarc", SHOP, "p=none", "" },
		{ DMARC("v=DMARC1; p=quarantine; t=y"), FINDING_WARNING, "domain-dmarc", SHOP,
		  "t=y", "" },
		{ DMARC("v=DMARC1; p=reject; t=y"), FINDING_OK, NULL, NULL, NULL, NULL },
		{ DMARC("v=DMARC1;p=reject;adkim=s;aspf=s"), FINDING_OK, NULL, NULL, NULL, NULL },
		{ "", "_dmarc." SHOP " TXT v=DMARC1; p=reject\n", FINDING_PROBLEM, "domain-dmarc",
		  SHOP, "2 DMARC records", "leave one" },
		{ "", "_dmarc." SHOP " TXT not one\n", FINDING_OK, NULL, NULL, NULL, NULL },
		{ "_dmarc." SHOP, "_dmarc." SHOP " FAIL x\n", FINDING_PROBLEM, "domain-dmarc", SHOP,
		  "DNS does not answer", "try again" },
		/* the organizational domain's counts, a registry's does not */
		{ "_dmarc." FWD, "_dmarc.relay.example TXT v=DMARC1; p=reject\n", FINDING_OK, NULL,
		  NULL, NULL, NULL },
		{ "_dmarc." FWD, "_dmarc.relay.example TXT v=DMARC1; p=reject; sp=none\n",
		  FINDING_WARNING, "return-dmarc", FWD, "_dmarc.relay.example", "p=reject; psd=n" },
		{ "_dmarc." FWD, "_dmarc.example TXT v=DMARC1; p=reject; psd=y\n", FINDING_PROBLEM,
		  "return-dmarc", FWD, "no DMARC record", "publish" },
	};
	struct world *w = *state;

	configure(w, "trusted-relay = { \"192.0.2.64/28\" }", "");
	run_rows(w, rows, N(rows));
}

static void
test_spec_6_10_alignment(void **state)
{
	/* one organization over both: _dmarc.example is what makes it so */
#define ORG	"_dmarc.example TXT v=DMARC1; p=reject\n"
	static const struct row rows[] = {
		{ "", ORG, FINDING_WARNING, "domain-alignment", SHOP, FWD " counts as aligned",
		  "psd=n\" to _dmarc." FWD },
		{ DMARC("v=DMARC1; p=reject; aspf=s; adkim=s") ORG, FINDING_OK, NULL, NULL, NULL, NULL },
		{ DMARC("v=DMARC1; p=reject; aspf=s") ORG, FINDING_WARNING, "domain-alignment", SHOP,
		  "aligned", "adkim=s" },
		{ "_dmarc." FWD, "_dmarc." FWD " TXT v=DMARC1; p=reject; psd=n\n" ORG, FINDING_OK,
		  NULL, NULL, NULL, NULL },
	};
	struct world *w = *state;

	configure(w, "trusted-relay = { \"192.0.2.64/28\" }", "");
	run_rows(w, rows, N(rows));
}

static void
test_mx(void **state)
{
	static const struct row rows[] = {
		{ "", "", FINDING_PROBLEM, "domain-mx", SHOP, "none of its 1 MX hosts is " HOST,
		  "publish: shop.example. IN MX 20 " HOST "." },
		{ SHOP " MX", "", FINDING_PROBLEM, "domain-mx", SHOP, "no MX record", "IN MX 20" },
		{ SHOP " MX", SHOP " MX 0 .\n", FINDING_PROBLEM, "domain-null-mx", SHOP, "RFC 7505",
		  "remove" },
		{ SHOP " MX", SHOP " MX 10 " HOST "\n", FINDING_WARNING, "domain-mx", SHOP,
		  "only MX host", "in front" },
		/* by its address */
		{ SHOP " MX", SHOP " MX 10 b.example\nb.example A 192.0.2.99\n"
		  "b.example AAAA 2001:db8::25\n",
		  FINDING_WARNING, "domain-mx", SHOP, "only MX host", "in front" },
	};
	struct row nxdomain = { SHOP " ", "", FINDING_PROBLEM, "domain-mx", SHOP,
	    "no such domain", "register" };
	struct world *w = *state;

	run_rows(w, rows, N(rows));
	run_rows(w, &nxdomain, 1);
	configure(w, "", "standby = defer");
	nxdomain = (struct row){ SHOP " MX", SHOP " MX 10 " HOST "\n", FINDING_PROBLEM, "domain-mx",
	    SHOP, "standby = defer sends everybody away", "or set standby = relay" };
	run_rows(w, &nxdomain, 1);
}

static void
test_return_path(void **state)
{
#define KEYS(r)	KEY, KEY " TXT " r "\n"
	static const struct row rows[] = {
		{ FWD " MX", "", FINDING_PROBLEM, "return-mx", FWD, "do not come back", "MX 10 " HOST },
		{ FWD " MX", FWD " MX 0 .\n", FINDING_PROBLEM, "return-mx", FWD, "RFC 7505", "MX 10" },
		{ FWD " MX", FWD " MX 10 b.example\nb.example A 192.0.2.25\n", FINDING_OK, NULL, NULL,
		  NULL, NULL },
		{ FWD " TXT", FWD " TXT v=spf1 ip4:192.0.2.25 -all\n", FINDING_PROBLEM, "return-spf",
		  FWD, "2001:db8::25 do not pass SPF (fail)",
		  "\"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 -all\"" },
		{ FWD " TXT", FWD " TXT v=spf1 all\n", FINDING_PROBLEM, "return-spf", FWD,
		  "lets everybody pass", "-all" },
		{ FWD " TXT", FWD " TXT v=spf1 mx ?all\n", FINDING_WARNING, "return-spf", FWD,
		  "does not end in -all (others get neutral)", "-all" },
		{ KEY, "", FINDING_PROBLEM, "return-dkim", KEY, "not published",
		  KEY ". IN TXT \"v=DKIM1; k=ed25519; p=" PUBLIC "\"" },
		{ KEYS("v=DKIM1; k=ed25519; p=AAAA"), FINDING_PROBLEM, "return-dkim", KEY,
		  "does not belong", PUBLIC },
		{ KEYS("v=DKIM1; k=ed25519; p="), FINDING_PROBLEM, "return-dkim", KEY, "revoked", "" },
		{ KEYS("v=DKIM1; k=dsa; p=AA"), FINDING_PROBLEM, "return-dkim", KEY, "neither rsa", "" },
		{ KEYS("k=ed25519; s=tlsrpt; p=" PUBLIC), FINDING_PROBLEM, "return-dkim", KEY,
		  "not for mail", "" },
		{ KEYS("k=ed25519; p=" PUBLIC "; p=" PUBLIC), FINDING_PROBLEM, "return-dkim", KEY,
		  "list of tags", "" },
		{ KEYS("k=ed25519; t=s:y; p=" PUBLIC), FINDING_WARNING, "return-dkim", KEY, "t=y",
		  "take t=y out" },
		{ KEYS("k=ed25519; t=s; p=11qYAYKxCrfVS/7TyWQHOg7h cvPapiMlrwIaaPcHURo="), FINDING_OK,
		  NULL, NULL, NULL, NULL },
		{ HOST " TXT", "", FINDING_PROBLEM, "hostname-spf", HOST, "(none)", "v=spf1 a -all" },
		{ "25.2.0.192", "", FINDING_PROBLEM, "reverse", "192.0.2.25", "no reverse name",
		  "25.2.0.192.in-addr.arpa. IN PTR " HOST "." },
		{ "25.2.0.192", "25.2.0.192.in-addr.arpa PTR other.example\nother.example A "
		  "192.0.2.25\n", FINDING_WARNING, "reverse", "192.0.2.25", "is other.example, not",
		  "IN PTR " HOST "." },
		{ "25.2.0.192", "25.2.0.192.in-addr.arpa FAIL x\n", FINDING_PROBLEM, "reverse",
		  "192.0.2.25", "DNS does not answer", "try again" },
	};
	struct world *w = *state;

	configure(w, "trusted-relay = { \"192.0.2.64/28\" }", "");
	run_rows(w, rows, N(rows));
}

static void
test_sources_that_dns_does_not_know(void **state)
{
	static const struct {
		const char *source, *about;	/* NULL: nothing is said */
	} rows[] = {
		{ "192.0.2.25", NULL }, { "2001:db8::25", NULL }, { "10.0.0.7", NULL },
		{ "fe80::1", NULL }, { "198.51.100.7", "198.51.100.7" },
		{ "2001:db8::f00d", "2001:db8::f00d" },
	};
	struct world *w = *state;

	configure(w, "trusted-relay = { \"192.0.2.64/28\" }", "");
	for (size_t i = 0; i < N(rows); i++) {
		struct row row = { "", "", rows[i].about == NULL ? FINDING_OK : FINDING_WARNING,
		    "source-address", rows[i].about, "by the routing table", "--address" };
		w->doctor.source[0] = iprev_parse(slice_str(rows[i].source));
		w->doctor.nsource = 1;
		run_rows(w, &row, 1);
	}
}

/* A key file we may not read, or that is none: said, and not called wrong. */
static void
test_key_that_cannot_be_read(void **state)
{
	static const struct row row = { "", "", FINDING_WARNING, "return-dkim", KEY,
	    "cannot be compared with the key", "as root" };
	struct world *w = *state;
	char path[128];

	configure(w, "trusted-relay = { \"192.0.2.64/28\" }", "");
	write_file(w->dir, "key", "-----BEGIN PRIVATE KEY-----\nAAAA\n", path, sizeof(path));
	run_rows(w, &row, 1);
	assert_int_equal(unlink(path), 0);
	run_rows(w, &row, 1);
}

static void
test_names_and_addresses_that_are_not_public(void **state)
{
	static const char *const names[] = { "localhost", "mx2", "[192.0.2.25]", "192.0.2.25",
	    "mx2.home.arpa", "mx2.local" };
	static const char *const addresses[] = { "10.1.2.3", "127.0.0.1", "172.31.0.1",
	    "192.168.1.1", "100.64.0.1", "169.254.1.1", "fd00::1", "fe80::1", "::1" };
	struct world *w = *state;
	char zone[ZONE_MAX];

	make_zone("", "", zone);
	for (size_t i = 0; i < N(names) + N(addresses); i++) {
		struct findings fs = { .n = 0 };
		struct dnsview v;

		dnsview_init(&v);
		w->doctor.naddress = 0;
		if (i < N(names)) {
			free(w->conf->hostname);
			w->conf->hostname = mem_str(names[i]);
		} else {
			free(w->conf->hostname);
			w->conf->hostname = mem_str(HOST);
			w->doctor.address[0] = iprev_parse(slice_str(addresses[i - N(names)]));
			w->doctor.naddress = 1;
		}
		doctor_hostname(&w->doctor, &v, NULL, &fs);
		assert_true(fs.n > 0 && fs.f[0].level == FINDING_PROBLEM);
		assert_string_equal(fs.f[0].check, i < N(names) ? "hostname" : "hostname-address");
		findings_fini(&fs);
		dnsview_fini(&v);
	}
	w->doctor.naddress = 0;
}

/* Whatever strangers publish, it is shown without control octets and within bounds. */
static void
test_hostile_bytes(void **state)
{
	struct world *w = *state;
	char with[8192], zone[ZONE_MAX];
	struct findings fs = { .n = 0 };
	json_t *list;

	(void)snprintf(with, sizeof(with), SHOP " TXT v=spf1 ip4:192.0.2.25 x=\033[2J\xff%04000d\n"
	    "_dmarc." SHOP " TXT v=DMARC1; p=\033[31m\xe2\x80\xae\n", 0);
	make_zone(SHOP " TXT v=spf1|_dmarc." SHOP, with, zone);
	judge_all(w, zone, &fs);
	assert_true(findings_count(&fs, FINDING_PROBLEM) > 0);
	for (size_t i = 0; i < fs.n; i++) {
		const char *s = fs.f[i].fix == NULL ? "" : fs.f[i].fix;
		assert_null(strpbrk(s, "\033\xff\n"));
		assert_null(strpbrk(fs.f[i].text, "\033\xff\n"));
		assert_null(strstr(fs.f[i].text, "\xe2\x80\xae"));
		assert_true(strlen(fs.f[i].text) < 4 * DOCTOR_TEXT_MAX);
		assert_true(strlen(s) < 4 * DOCTOR_FIX_MAX);
	}
	list = findings_json(&fs);
	assert_int_equal(json_array_size(list), fs.n);
	json_decref(list);
	findings_fini(&fs);
}

static void
test_long_records_are_printed_in_strings(void **state)
{
	struct findings fs = { .n = 0 };
	struct finding *f = finding_add(&fs, FINDING_PROBLEM, "x", "y", "%2000d", 1);
	char data[601];

	(void)state;
	assert_int_equal(strlen(f->text), DOCTOR_TEXT_MAX - 1);
	assert_string_equal(f->text + strlen(f->text) - 3, "...");
	memset(data, 'a', 600);
	data[600] = '\0';
	finding_publish(f, "k.example", "TXT", slice_str(data));
	assert_int_equal(strlen(f->fix), strlen("publish: k.example. IN TXT") + 600 + 3 * 3);
	finding_publish(f, "example", "MX", SLICE_LIT("10 a."));
	assert_string_equal(f->fix, "publish: example. IN MX 10 a.");
	findings_fini(&fs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_well, setup, teardown),
		cmocka_unit_test_setup_teardown(test_spec_6_10_spf, setup, teardown),
		cmocka_unit_test_setup_teardown(test_spec_6_10_dmarc, setup, teardown),
		cmocka_unit_test_setup_teardown(test_spec_6_10_alignment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mx, setup, teardown),
		cmocka_unit_test_setup_teardown(test_return_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sources_that_dns_does_not_know, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_key_that_cannot_be_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names_and_addresses_that_are_not_public, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_hostile_bytes, setup, teardown),
		cmocka_unit_test(test_long_records_are_printed_in_strings),
	};

	return cmocka_run_group_tests_name("admin/doctor", tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <unistd.h>

#include "base/conf.h"
#include "base/conf_priv.h"
#include "base/mem.h"

#define DOM	"hostname = mx.it\ndomain a.it { primary = mx }\n"
#define N(a)	(sizeof(a) / sizeof((a)[0]))

static struct conf *
parse(const char *text, struct conf_errors *e)
{
	*e = (struct conf_errors){ .count = 0 };
	return conf_parse(slice_str(text), "f", e);
}

static char *
messages(const struct conf_errors *e)
{
	return slice_dup(buf_slice(&e->text));
}

static unsigned
lines(const char *s)
{
	unsigned n = 0;

	for (; *s != '\0'; s++)
		n += *s == '\n';
	return n;
}

/* One fault each: what is said, in which line, and nothing else beside it. */
static const struct bad {
	const char *text, *want;
} bad[] = {
	/* what libconfuse is silent about or stops at */
	{ DOM "forwarder { domain = f.it\nsecret-file = /s\n",
	  "f:3: forwarder: section is not closed at the end of the file: add the missing }" },
	{ DOM "retry-min = 5s\nretry-min = 6s\n", "f:4: retry-min: given twice, first in line 3" },
	{ DOM "domain A.it { primary = mx }\n",
	  "f:3: domain a.it: section given twice, first in line 2" },
	{ DOM "listen \"1.2.3.4:25\" { }\nlisten \"1.2.3.4:25\" { }\n",
	  "f:4: listen 1.2.3.4:25: section given twice, first in line 3" },
	{ "hostname=mx.it domain a.it {\nprimary = mx\nprimary = mx }",
	  "f:3: primary: given twice, first in line 2" },
	{ DOM "state-dir = \"${CONF_TEST_UNSET}/x\"\n",
	  "f:3: CONF_TEST_UNSET: environment variable is not set" },
	{ DOM "state-dir = ${CONF_TEST_UNSET}\n",
	  "f:3: CONF_TEST_UNSET: environment variable is not set" },
	{ DOM "state-dir = \"${CONF_TEST\"\n", "f:3: ${: variable is not closed" },
	{ DOM "state-dir = \"${}\"\n", "f:3: ${: not the name of a variable" },
	{ DOM "state-dir = \"/a\n", "f:3: string: not closed on its line: add the missing \"" },
	{ DOM "state-dir = '/a\nretry-min = 5s\n",
	  "f:3: string: not closed on its line: add the missing '" },
	{ DOM "/* never\nretry-min = 0s", "f:3: /*: comment is not closed" },
	{ DOM "state-dir = \"\\057\"\n", "f:3: \\: unknown escape in a string" },
	{ DOM "state-dir = \"\\x2f\"\n", "f:3: \\: unknown escape in a string" },
	{ DOM "state-dir = \"/a\\", "f:3: string: not closed on its line" },
	{ DOM "state-dir = \"/a\001\"\n", "f:3: string: control character 0x01" },
	{ DOM "\001\n", "f:3: byte: 0x01 does not belong" },
	{ DOM "certificate x { cert-file = \"/c\" }\n", "needs key-file beside it" },
	{ DOM "certificate x { cert-file = \"/c\" key-file = \"/k\" }\n",
	  "needs tls-cert-file too" },
	/* form */
	{ DOM "commandtimeout = 5s\n", "f:3: commandtimeout: unknown key: did you mean "
	  "command-timeout?" },
	{ DOM "command_timeout = 5s\n", "did you mean command-timeout?" },
	{ DOM "zzzzzzzzzzzz = 5s\n", "f:3: zzzzzzzzzzzz: unknown key: see relay.conf(5)" },
	{ DOM "domian b.it { primary = mx }\n", "f:3: domian: unknown key: did you mean domain?" },
	{ DOM "xyzzy \"a\" { b = 1 c { d = {1, 2} } }\n", "f:3: xyzzy: unknown key" },
	{ DOM "include(\"/etc/passwd\")\n", "f:3: (: does not belong here" },
	{ DOM "node = a\n", "f:3: node: belongs into a forwarder section" },
	{ "hostname = mx.it domain a.it { primary = mx\n relays = 2 }\n",
	  "f:2: relays: does not belong into a domain section" },
	{ DOM "shard s { primary = mx }\n", "f:3: shard: section does not belong here: move it "
	  "into a domain" },
	{ DOM "relays\n", "f:3: relays: stands alone" },
	{ DOM "relays 4\n", "f:3: relays: has no =: write relays = value" },
	{ DOM "relays =\n", "f:3: relays: value is missing after =" },
	{ DOM "relays = { 1 }\n", "f:3: relays: takes one value: remove the { and }" },
	{ DOM "relays += 1\n", "f:3: relays: takes one value, nothing can be added" },
	{ DOM "relays = 4;\n", "f:3: ;: lines do not end like this" },
	{ DOM "}\n", "f:3: }: closes nothing" },
	{ DOM "= 4\n", "f:3: syntax: a key was expected here" },
	{ DOM "resolver = { 1.1.1.1 2.2.2.2 }\n", "f:3: resolver: list is not closed or lacks a "
	  "comma" },
	{ DOM "resolver = { 1.1.1.1,\nretry-min = 5s\n", "f:3: resolver: list is not closed" },
	{ DOM "domain { primary = mx }\n", "f:3: domain: has no name" },
	{ DOM "forwarder x { domain = f.it secret-file = /s }\n",
	  "f:3: forwarder: takes no name" },
	{ DOM "domain b.it\nretry-min = 5s\n", "f:3: domain: has no {" },
	{ DOM "domain \"b\\\"it\" { primary = mx }\n", "f:3: domain: name is not plain text" },
	{ "hostname = mx.it\ndomain a.it { primary = mx\ndomain b.it { primary = mx }\n",
	  "f:2: domain: section is not closed before the one in line 3" },
	/* values */
	{ DOM "retry-min = 5\n", "f:3: retry-min: \"5\" has no unit: write a time, 1s to 1d" },
	{ DOM "retry-min = 0s\n", "\"0s\" is out of range" },
	{ DOM "retry-min = 2d\n", "\"2d\" is out of range" },
	{ DOM "retry-min = 5x\n", "\"5x\" is not understood" },
	{ DOM "retry-min = -5s\n", "\"-5s\" is not understood" },
	{ DOM "retry-min = 1.5h\n", "is not understood" },
	{ DOM "retry-min = 99999999999999999999s\n", "is not understood" },
	{ DOM "retry-min = 9999999999999999999d\n", "is not understood" },
	{ DOM "retry-min = \"\"\n", "is not understood" },
	{ DOM "message-size-max = 99T\n", "is out of range" },
	{ DOM "message-size-max = 50Q\n", "is not understood" },
	{ DOM "relays = 65\n", "\"65\" is out of range: write a number, 0 to 64" },
	{ DOM "relays = -1\n", "\"-1\" is not a number" },
	{ DOM "relays = many\n", "is not a number" },
	{ DOM "smtp-port = 65536\n", "is out of range: write a number, 1 to 65535" },
	{ DOM "deliver-to-loopback = true\n", "is neither yes nor no" },
	{ DOM "log-level = loud\n", "is none of its words: write error, warn, info or debug" },
	{ DOM "bare-newline = keep\n", "write normalize or reject" },
	{ DOM "state-dir = var\n", "is not an absolute path" },
	{ DOM "postmaster = root\n", "is not a mail address" },
	{ DOM "postmaster = \"a b@c.it\"\n", "is not a mail address" },
	{ DOM "authserv-id = \"a b\"\n", "is not a host name" },
	{ DOM "authserv-id = a..b\n", "is not a host name" },
	{ DOM "authserv-id = -a.b\n", "is not a host name" },
	{ DOM "authserv-id = a.b.\n", "is not a host name" },
	{ DOM "resolver = { 1.1.1.1:0 }\n", "is not an address" },
	{ DOM "resolver = { \"[1.1.1.1]:53\" }\n", "is not an address" },
	{ DOM "resolver = dns.it\n", "is not an address" },
	{ DOM "known-lists = { a.it, \"b c\" }\n", "f:3: known-lists: \"b c\" is not a domain name" },
	{ DOM "critical-domains = { .it }\n", "is not a domain name" },
	{ DOM "domain b.it { primary = mx brand = \"\" }\n", "is not a name: write up to 64" },
	{ DOM "domain b.it { primary = mx brand = \"caff\xc3\xa8\" }\n", "is not a name" },
	{ DOM "domain b.it { primary = mx unsurvivable = x }\n", "auto, munge, wrap, try or hold" },
	{ DOM "forward-null-sender = some\n", "write authenticated, all or none" },
	{ DOM "listen 1.2.3.4 { }\n", "f:3: listen: \"1.2.3.4\" is not an address with a port" },
	{ DOM "listen \"::1:25\" { }\n", "is not an address with a port" },
	{ DOM "listen \"localhost:25\" { }\n", "is not an address with a port" },
	{ DOM "domain c\xc3\xa9.it { primary = mx }\n", "is not a domain name" },
	{ DOM "domain b.it { primary = http://x }\n", "f:3: primary: \"http://x\" is not a route" },
	{ DOM "domain b.it { primary = lmtp://x:0 }\n", "is not a route" },
	{ DOM "domain b.it { primary = \"lmtp://::1:24\" }\n", "is not a route" },
	{ DOM "domain b.it { primary = lmtp://[x]:24 }\n", "is not a route" },
	{ DOM "domain b.it { primary = smtp:// }\n", "is not a route" },
	{ DOM "domain b.it { primary = mx subaddress = ab }\n", "is not a set of separators" },
	{ DOM "domain b.it { primary = mx shard a/b { primary = mx } }\n",
	  "f:3: shard: \"a/b\" is not a name" },
	{ DOM "forwarder { domain = f.it secret-file = /s\n node = A }\n",
	  "f:4: node: \"A\" is not a node name" },
	{ DOM "forwarder { domain = f.it secret-file = /s\n max-age = 36h }\n",
	  "f:4: max-age: \"36h\" is not in whole days" },
	{ DOM "forwarder { domain = f.it secret-file = /s\n hash-length = 28 }\n",
	  "is out of range: write a number, 4 to 27" },
	/* the whole */
	{ "hostname = mx.it\n", "f: domain: there is none" },
	{ "", "f: domain: there is none" },
	{ DOM "domain b.it { }\n", "f:3: domain b.it: primary is missing" },
	{ DOM "domain b.it { primary = mx probe { depth = data } }\n",
	  "f:3: depth: needs a recipient: add canary = \"canary@b.it\"" },
	{ DOM "domain b.it { primary = mx probe { every = 0s } }\n", "f:3: every: \"0s\" is out of "
	  "range" },
	{ DOM "domain b.it { primary = mx failover = maybe }\n", "write off, on or auto" },
	{ DOM "probe { }\n", "f:3: probe: section does not belong here: move it into a domain" },
	{ DOM "probe-reference = { \"ns.example.net\" }\n", "is not a host with a port" },
	{ DOM "probe-reference = { \"::1:53\" }\n", "is not a host with a port" },
	{ DOM "domain b.it { primary = mx\nshard s { } }\n",
	  "f:4: domain b.it/shard s: primary is missing" },
	{ DOM "forwarder { secret-file = /s }\n", "f:3: forwarder: domain is missing" },
	{ DOM "forwarder { domain = f.it }\n", "f:3: forwarder: secret-file is missing" },
	{ DOM "forwarder { domain = A.it secret-file = /s }\n",
	  "f:2: a.it: is the forwarder's domain too" },
	{ DOM "forwarder { domain = f.it secret-file = /s dkim-selector = s }\n",
	  "f:3: dkim-selector: needs dkim-key-file beside it" },
	{ DOM "forwarder { domain = f.it secret-file = /s dkim-key-file = /s }\n",
	  "f:3: dkim-key-file: needs dkim-selector beside it" },
	{ DOM "forwarder { domain = f.it secret-file = /s arc-selector = s }\n",
	  "f:3: arc-selector: needs arc-key-file beside it" },
	{ DOM "forwarder { domain = f.it secret-file = /s\narc = on }\n",
	  "f:4: arc: needs a key" },
	{ DOM "forwarder { domain = f.it secret-file = /s hash-length = 4 }\n",
	  "f:3: hash-min: is greater than hash-length" },
	{ DOM "refresh-format = xml\n", "f:3: refresh-format: \"xml\"" },
	{ DOM "refresh-format = ldif\n", "f:3: refresh-format: ldif needs ldif-recovery" },
	{ DOM "ldif-address = \"a b\"\n", "f:3: ldif-address: \"a b\" is not an LDAP attribute" },
	{ DOM "ldif-state = \";x\"\n", "f:3: ldif-state: \";x\" is not an LDAP attribute" },
	{ DOM "ldif-recovery = \"\"\n", "is not an LDAP attribute" },
	{ DOM "ldif-recovery = m\nldif-aliases = MAIL\n",
	  "f:4: ldif-aliases: \"MAIL\" is ldif-address already" },
	{ DOM "tls-cert-file = /c\n", "f:3: tls-cert-file: needs tls-key-file beside it" },
	{ DOM "tls-key-file = /c\n", "f:3: tls-key-file: needs tls-cert-file beside it" },
	{ DOM "listen \"1.2.3.4:25\" {\ntls = yes }\n", "f:4: tls: is on without a certificate" },
	{ DOM "listen \"1.2.3.4:25\" {\nproxy = yes }\n", "f:4: proxy: is on, but nobody may" },
	{ DOM "trusted-relay = { \"192.0.2.1/24\" }\n",
	    "f:3: trusted-relay: \"192.0.2.1/24\" is not a network" },
	{ DOM "domain b.it { primary = mx\nreturn-path = srs }\n",
	  "f:4: return-path: needs a forwarder section" },
	{ DOM "domain b.it { primary = smtp://MX.it:25 }\n",
	  "f:3: primary: leads back into this relay" },
	{ DOM "domain b.it { primary = mx\nbaseline-share = 5 }\n",
	  "f:4: baseline-share: needs a forwarder section" },
	{ DOM "forwarder { domain = f.it secret-file = /s }\ndomain b.it { primary = mx\n"
	  "baseline-share = 5 standby = defer }\n",
	  "f:5: baseline-share: finds no mail while standby is defer" },
	{ DOM "domain b.it { primary = mx\nbaseline-share = 51 }\n", "write a number, 0 to 50" },
	{ DOM "retry-min = 2h\n", "f:3: retry-min: is greater than retry-max" },
	{ DOM "message-size-max = 300M\n", "f:3: message-size-max: is greater than "
	  "body-memory-max" },
	{ DOM "session-timeout = 200s\n", "f:3: command-timeout: is greater than session-timeout" },
	{ DOM "state-dir = /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
	  "f:3: control-socket: path is longer than a socket's may be" },
};

static void
test_bad(void **state)
{
	struct conf_errors e;
	unsigned failed = 0;

	(void)state;
	for (size_t i = 0; i < N(bad); i++) {
		struct conf *c = parse(bad[i].text, &e);
		char *got = messages(&e);
		if (c != NULL || e.count != 1 || strstr(got, bad[i].want) == NULL) {
			print_error("%zu: \"%s\"\nwant %s\ngot  %s\n", i, bad[i].text, bad[i].want,
			    got);
			failed++;
		}
		free(got);
		conf_free(&c);
		buf_fini(&e.text);
	}
	assert_int_equal(failed, 0);
}

/* Every fault of a file, each under its own line: the order of the file does not
 * matter, that none hides another does. */
static void
test_all_errors_at_once(void **state)
{
	static const char text[] =
	    "hostname = \"mx 2\"\n"		/* 1 value */
	    "state_dir = /x\n"			/* 2 unknown */
	    "command-timeout = 5\n"		/* 3 unit */
	    "# comment\n/* long\ncomment */\n"
	    "retry-max = 1h\n"
	    "retry-max = 3h\n"			/* 8 twice */
	    "tls-cert-file = \"/a\n"		/* 9 string; not also 'key missing' */
	    "relays = 99\n"			/* 10 range */
	    "zork \"x\" { a = 1\n b = {1,2} }\n"/* 11 unknown */
	    "domain \"a.it\" {\n"		/* 13 primary missing, not closed */
	    "  failover = maybe\n"		/* 14 choice */
	    "domain \"b.it\" { primary = \"lmtp://x:99999\" }\n" /* 15 route */
	    "forwarder { domain = b.it\n"	/* 16 secret-file */
	    "  dkim-selector = x\n";		/* 16 not closed, 17 pair; 15 same domain */
	static const char *const want[] = { "f:1: hostname", "f:2: state_dir",
	    "f:3: command-timeout", "f:8: retry-max", "f:9: string", "f:10: relays",
	    "f:11: zork", "f:13: domain a.it: primary", "f:13: domain: section is not closed",
	    "f:14: failover", "f:15: primary", "f:15: b.it: is the forwarder's",
	    "f:16: forwarder: secret-file", "f:16: forwarder: section is not closed",
	    "f:17: dkim-selector" };
	struct conf_errors e;

	(void)state;
	assert_null(parse(text, &e));
	char *got = messages(&e);
	for (size_t i = 0; i < N(want); i++)
		if (strstr(got, want[i]) == NULL)
			fail_msg("%s is missing in\n%s", want[i], got);
	assert_int_equal(e.count, N(want) + 1);	/* and tls-key-file, which is not there */
	assert_int_equal(lines(got), e.count);
	/* In the order of the file. */
	unsigned long last = 0;
	for (const char *p = got; *p != '\0'; p = strchr(p, '\n') + 1) {
		unsigned long line = strtoul(p + 2, NULL, 10);
		assert_true(line >= last);
		last = line;
	}
	free(got);
	buf_fini(&e.text);
}

static void
test_values(void **state)
{
	static const char text[] =
	    "\xef\xbb\xbfhostname = \"MX.Example.IT\"\r\n"
	    "// comment\r\n"
	    "state-dir = '/var/lib/it s' # comment\n"
	    "message-size-max = 1g\n"
	    "body-memory-max = 2G data-timeout = 2M session-timeout = 1d\n"
	    "command-timeout = 15m\n"
	    "relays = 3 verifiers = 4 sealers = 5 bare-newline = REJECT deliver-to-loopback = yes\n"
	    "resolver = { 127.0.0.1, \"::1\", \"[::1]:5353\", }\n"
	    "resolver += 9.9.9.9:54\n"
	    "refresh-format = ldif ldif-recovery = \"mail;x-recovery\" ldif-state = 2.25.1\n"
	    "listen \"[::1]:2525\" { tls = no } listen 127.0.0.1:25 { }\n"
	    "forwarder { domain = FWD.example.it secret-file = \"/etc/s\" node = n1 max-age = 2w\n"
	    " alphabet = base64 hash-length = 10 separator = minus }\n"
	    "domain \"Example.IT\" { primary = lmtp://Store.example.it subaddress = +-\n"
	    " failover = on return-path = srs forward-to = opted-in fold-local = no\n"
	    " shard s2 { primary = \"smtp://[2001:db8::1]:26\" } shard s3 { primary = mx } }\n"
	    "domain b.it { primary = 'smtp://10.0.0.1' subaddress = \"\" }\n";
	struct conf_errors e;
	struct conf *c = parse(text, &e);

	(void)state;
	if (c == NULL)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&e.text)));
	assert_string_equal(c->hostname, "mx.example.it");
	assert_string_equal(c->authserv_id, "mx.example.it");
	assert_string_equal(c->state_dir, "/var/lib/it s");
	assert_string_equal(c->control_socket, "/var/lib/it s/control.sock");
	assert_int_equal(c->command_timeout_ms, 15 * 60 * 1000);
	assert_int_equal(c->data_timeout_ms, 2 * 60 * 1000);
	assert_int_equal(c->message_size_max, 1 << 30);
	assert_true(c->bare_newline_reject && c->deliver_to_loopback);
	assert_int_equal(c->relays * 100 + c->verifiers * 10 + c->sealers, 345);
	assert_true(c->refresh_ldif);
	assert_string_equal(c->ldif_address, "mail");
	assert_string_equal(c->ldif_recovery, "mail;x-recovery");
	assert_string_equal(c->ldif_state, "2.25.1");
	assert_null(c->ldif_aliases);
	assert_int_equal(c->nresolver, 4);
	assert_string_equal(c->resolver[0], "127.0.0.1:53");
	assert_string_equal(c->resolver[1], "[::1]:53");
	assert_string_equal(c->resolver[2], "[::1]:5353");
	assert_string_equal(c->resolver[3], "9.9.9.9:54");
	assert_int_equal(c->nlisten, 2);
	assert_string_equal(c->listen[0].address, "[::1]:2525");
	assert_false(c->listen[0].tls);
	assert_true(c->listen[1].tls);
	assert_string_equal(c->forwarder.domain, "fwd.example.it");
	assert_string_equal(c->forwarder.node, "n1");
	assert_int_equal(c->forwarder.max_age_days, 14);
	assert_int_equal(c->forwarder.hash_length, 10);
	assert_true(c->forwarder.alphabet_base64);
	assert_int_equal(CONF_SEPARATOR_CHARS[c->forwarder.separator], '-');
	const struct conf_domain *d = conf_domain_find(c, SLICE_LIT("EXAMPLE.it"));
	assert_non_null(d);
	assert_string_equal(d->name, "example.it");
	assert_int_equal(d->failover, FAILOVER_ON);
	assert_int_equal(d->return_path, RETURN_SRS);
	assert_true(d->forward_opted_in_only);
	assert_false(d->fold_local);
	assert_string_equal(d->subaddress, "+-");
	const struct conf_route *r = conf_primary(d, SLICE_LIT("s2"));
	assert_int_equal(r->kind, ROUTE_SMTP);
	assert_string_equal(r->host, "2001:db8::1");
	assert_int_equal(r->port, 26);
	assert_int_equal(conf_primary(d, SLICE_LIT("s3"))->kind, ROUTE_MX);
	r = conf_primary(d, SLICE_LIT("nowhere"));
	assert_int_equal(r->kind, ROUTE_LMTP);
	assert_string_equal(r->host, "store.example.it");
	assert_int_equal(r->port, 24);
	assert_string_equal(c->domain[1].subaddress, "");
	assert_null(conf_domain_find(c, SLICE_LIT("fwd.example.it")));
	conf_free(&c);
	assert_null(c);
	conf_free(&c);
	buf_fini(&e.text);
}

static void
test_defaults(void **state)
{
	struct conf_errors e;
	struct conf *c = parse("domain a.it { primary = mx }", &e);

	(void)state;
	assert_non_null(c);
	assert_int_equal(e.count, 0);
	assert_true(strlen(c->hostname) > 0);
	assert_string_equal(c->authserv_id, c->hostname);
	assert_string_equal(c->state_dir, "/var/lib/salvaposta");
	assert_string_equal(c->log_level, "info");
	assert_true(c->relays >= 1 && c->verifiers >= 1 && c->sealers >= 1);
	assert_int_equal(c->nlisten, 2);
	assert_string_equal(c->listen[0].address, "0.0.0.0:25");
	assert_string_equal(c->listen[1].address, "[::]:25");
	assert_true(c->listen[0].tls && c->listen[1].tls);
	assert_null(c->forwarder.domain);
	assert_null(c->tls_cert_file);
	assert_int_equal(c->nresolver, 0);
	assert_int_equal(c->message_size_max, 50 << 20);
	assert_int_equal(c->body_memory_max, 256 << 20);
	assert_int_equal(c->command_timeout_ms, 300000);
	assert_int_equal(c->forward_ttl_ms, 48 * 3600 * 1000);
	assert_int_equal(c->hold_retention_ms, 30LL * 86400 * 1000);
	assert_int_equal(c->smtp_port, 25);
	assert_false(c->deliver_to_loopback);
	assert_string_equal(c->domain[0].subaddress, "+");
	assert_true(c->domain[0].fold_local);
	/* Nothing is forwarded: said, but no error. */
	char *got = messages(&e);
	assert_non_null(strstr(got, "warning: forwarder: there is no such section"));
	free(got);
	conf_free(&c);
	buf_fini(&e.text);
}

static void
test_environment(void **state)
{
	struct conf_errors e;

	(void)state;
	assert_int_equal(setenv("CONF_TEST_DIR", "/srv/\"x\\", 1), 0);
	struct conf *c = parse(DOM "state-dir = \"${CONF_TEST_DIR}/a\"\n"
	    "tls-ca-file = ${CONF_TEST_DIR}\n"
	    "control-socket = \"${CONF_TEST_UNSET:-/run}/s\"\n"
	    "log-level = ${CONF_TEST_UNSET:-debug}\n"
	    "authserv-id = 'x'\n"
	    "forwarder { domain = f.it secret-file = '/${CONF_TEST_UNSET}' }\n", &e);
	if (c == NULL)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&e.text)));
	assert_string_equal(c->state_dir, "/srv/\"x\\/a");
	assert_string_equal(c->tls_ca_file, "/srv/\"x\\");
	assert_string_equal(c->control_socket, "/run/s");
	assert_string_equal(c->log_level, "debug");
	assert_string_equal(c->forwarder.secret_file, "/${CONF_TEST_UNSET}");

	/* As text it needs no environment, and says the same. */
	struct buf text;
	buf_init(&text, 1 << 20);
	conf_print_text(c, &text);
	conf_free(&c);
	buf_fini(&e.text);
	assert_int_equal(unsetenv("CONF_TEST_DIR"), 0);
	e = (struct conf_errors){ .count = 0 };
	c = conf_parse(buf_slice(&text), "f", &e);
	if (c == NULL)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&e.text)));
	assert_string_equal(c->state_dir, "/srv/\"x\\/a");
	assert_string_equal(c->forwarder.secret_file, "/${CONF_TEST_UNSET}");
	conf_free(&c);
	buf_fini(&e.text);
	buf_fini(&text);
}

static char *
printed(int (*fn)(FILE *))
{
	char *p = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&p, &n);

	assert_non_null(f);
	assert_int_equal(fn(f), 0);
	fclose(f);
	return p;
}

static char *
json_of(const struct conf *c)
{
	char *p = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&p, &n);

	assert_non_null(f);
	assert_int_equal(conf_print_json(c, f), 0);
	fclose(f);
	return p;
}

static char *
file_text(const char *name)
{
	char *p = mem_new(1 << 20);
	FILE *f = fopen(name, "r");

	if (f == NULL)
		fail_msg("%s: run the tests from the top of the tree", name);
	size_t n = fread(p, 1, (1 << 20) - 1, f);
	p[n] = '\0';
	fclose(f);
	return p;
}

/* 8.2: a table of the large receivers that the administrator edits. */
static void
test_spec_8_2_providers(void **state)
{
	static const char file[] = DOM "connections-max = 7\n"
	    "provider \".Google.com\" { tls = offered messages-per-connection = 9 }\n"
	    "provider \".mail.google.com\" { connections = 2 volume-start = 7 }\nvolume-start = 9\n"
	    "provider \"default\" { slow-start = 0s }\n";
	struct conf_errors e;
	struct conf *c = parse(file, &e), *again;
	struct buf text;

	(void)state;
	if (c == NULL)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&e.text)));
	buf_fini(&e.text);
	buf_init(&text, 1 << 20);
	conf_print_text(c, &text);	/* what the roles get says the same */
	char *copy = slice_dup(buf_slice(&text));
	again = parse(copy, &e);
	free(copy);
	assert_non_null(again);
	buf_fini(&e.text);
	for (int i = 0; i < 2; i++) {
		const struct conf *k = i == 0 ? c : again;
		const struct conf_provider *g = conf_provider_of_host(k, SLICE_LIT("MX.google.com"));
		assert_string_equal(g->name, "google.com");
		assert_int_equal(g->connections, 5);
		assert_int_equal(g->messages_per_connection, 9);
		assert_false(g->tls_required);		/* written, against the table */
		assert_int_equal(g->rate_pause_ms, 600000);
		assert_int_equal(g->slow_start_ms, 60000);
		g = conf_provider_of_host(k, SLICE_LIT("a.mail.google.com"));
		assert_string_equal(g->name, "mail.google.com");
		assert_int_equal(g->connections, 2);
		assert_int_equal(g->volume_start, 7);
		assert_int_equal(g->volume_factor, 2);
		assert_null(conf_provider_of_host(k, SLICE_LIT("notgoogle.com")));
		g = conf_provider_find(k, SLICE_LIT("yahoodns.net"));
		assert_int_equal(g->messages_per_connection, 20);
		assert_int_equal(g->rate_pause_ms, 7200000);
		assert_true(conf_provider_find(k, SLICE_LIT("googlemail.com"))->tls_required);
		g = conf_provider_find(k, SLICE_LIT("elsewhere.example"));
		assert_string_equal(g->name, CONF_PROVIDER_DEFAULT);
		assert_int_equal(g->connections, 7);
		assert_int_equal(g->volume_start, 9);
		assert_int_equal(g->slow_start_ms, 0);
		assert_int_equal(g->messages_per_connection, 100);
		assert_false(g->tls_required);
	}
	buf_fini(&text);
	conf_free(&c);
	conf_free(&again);
	assert_null(parse(DOM "provider \"a b\" { }\n", &e));
	buf_fini(&e.text);
}

/* Content filters, in the order of the file; bounds and faults are told. */
static void
test_milters(void **state)
{
	static const char file[] = DOM
	    "milter \"b\" { address = \"inet:127.0.0.1:11332\" on-failure = tempfail timeout = 3s }\n"
	    "milter \"a\" { address = \"[::1]:7357\" fields-max = 1 fields-size = 1k }\n";
	static const struct { const char *text, *says; } wrong[] = {
		{ "milter \"a\" { }", "address is missing" },
		{ "milter \"a\" { address = \"/run/x\" }", "is not an address with a port" },
		{ "milter \"a\" { address = \"unix:/run/x\" }", "is not an address with a port" },
		{ "milter \"a\" { address = \"127.0.0.1\" }", "is not an address with a port" },
		{ "milter \"a\" { address = \"127.0.0.1:1\" timeout = 6m }", "timeout" },
		{ "milter \"a\" { address = \"127.0.0.1:1\" fields-size = 9k }", "fields-size" },
		{ "milter \"a\" { address = \"127.0.0.1:1\" fields-max = 101 }", "fields-max" },
		{ "milter \"a\" { address = \"127.0.0.1:1\" on-failure = reject }", "on-failure" },
	};
	struct conf_errors e;
	struct conf *c = parse(file, &e), *again;
	struct buf text;

	(void)state;
	assert_non_null(c);
	buf_fini(&e.text);
	buf_init(&text, 1 << 20);
	conf_print_text(c, &text);
	char *copy = slice_dup(buf_slice(&text));
	again = parse(copy, &e);
	free(copy);
	buf_fini(&text);
	assert_non_null(again);
	buf_fini(&e.text);
	for (int i = 0; i < 2; i++) {
		const struct conf *k = i == 0 ? c : again;

		assert_int_equal(k->nmilter, 2);
		assert_string_equal(k->milter[0].name, "b");
		assert_string_equal(k->milter[0].address, "127.0.0.1:11332");
		assert_int_equal(k->milter[0].timeout_ms, 3000);
		assert_true(k->milter[0].tempfail);
		assert_int_equal(k->milter[0].fields_max, 20);
		assert_int_equal(k->milter[0].fields_size, 4096);
		assert_string_equal(k->milter[1].address, "[::1]:7357");
		assert_int_equal(k->milter[1].timeout_ms, 10000);
		assert_false(k->milter[1].tempfail);
		assert_int_equal(k->milter[1].fields_max, 1);
	}
	conf_free(&c);
	conf_free(&again);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char full[400];

		(void)snprintf(full, sizeof(full), DOM "%s\n", wrong[i].text);
		assert_null(parse(full, &e));
		copy = slice_dup(buf_slice(&e.text));
		if (strstr(copy, wrong[i].says) == NULL)
			fail_msg("%s: %s", wrong[i].text, copy);
		free(copy);
		buf_fini(&e.text);
	}
	buf_init(&text, 4096);
	assert_int_equal(buf_puts(&text, DOM), 0);
	for (int i = 0; i <= CONF_MILTERS_MAX; i++)
		assert_int_equal(buf_printf(&text, "milter \"m%d\" { address = \"127.0.0.1:%d\" }\n", i,
		    1000 + i), 0);
	copy = slice_dup(buf_slice(&text));
	assert_null(parse(copy, &e));
	free(copy);
	buf_fini(&text);
	buf_fini(&e.text);
}

/* The example file is the table's; it is a good configuration; with every key's
 * comment sign removed it still is one. */
static void
test_example(void **state)
{
	char *text = printed(conf_print_example), *file = file_text("relay.conf.example");
	struct conf_errors e;

	(void)state;
	if (strcmp(text, file) != 0)
		fail_msg("relay.conf.example is old: salvaposta check --example > it");
	struct conf *c = parse(text, &e);
	assert_non_null(c);
	assert_int_equal(buf_len(&e.text), 0);
	conf_free(&c);
	buf_fini(&e.text);

	for (char *p = text; (p = strchr(p, '#')) != NULL; p++) {
		size_t n = strcspn(p + 1, "\n");
		char *eq = memmem(p + 1, n, " = ", 3);
		bool key = p[1] >= 'a' && p[1] <= 'z' && eq != NULL;
		bool inner = p > text && p[-1] == '\t' && (p[1] == '\t' || p[1] == '}' ||
		    strncmp(p + 1, "shard", 5) == 0 || strncmp(p + 1, "probe {", 7) == 0);
		if (key || inner)
			*p = ' ';
		else
			p += n;
	}
	c = parse(text, &e);
	if (c == NULL)
		fail_msg("%.*s\n%s", SLICE_FMT(buf_slice(&e.text)), text);
	assert_int_equal(c->domain[0].nshard, 1);
	assert_string_equal(c->domain[0].probe.canary, "canary@example.it");
	assert_string_equal(c->forwarder.dkim_selector, "s2026");
	conf_free(&c);
	buf_fini(&e.text);
	free(text);
	free(file);
}

static void
test_man_is_current(void **state)
{
	char *keys = printed(conf_print_man), *file = file_text("docs/relay.conf.5");

	(void)state;
	char *from = strstr(file, ".\\\" BEGIN of the list from conf_print_man\n");
	assert_non_null(from);
	from = strchr(from, '\n') + 1;
	char *to = strstr(from, ".\\\" END of the list from conf_print_man\n");
	assert_non_null(to);
	*to = '\0';
	if (strcmp(from, keys) != 0)
		fail_msg("docs/relay.conf.5 is old: put `salvaposta check --man' between the marks");
	free(keys);
	free(file);
}

/* Each row of the table: it has help, its default passes its own check and is printed
 * as it is read, its name is written once. */
static void
test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < conf_nkeys; i++) {
		const struct conf_key *k = &conf_keys[i];
		assert_true(strlen(k->help) > 10);
		assert_true(k->def != NULL || k->def_words != NULL || k->required);
		assert_true(k->def != NULL || k->example != NULL);
		assert_ptr_equal(conf_key_find(k->section, slice_str(k->name)), k);
		assert_true(k->min <= k->max);
	}
}

/* conf -> text -> conf gives the same JSON. */
static void
test_text_round_trip(void **state)
{
	static const char *const texts[] = {
		DOM,
		"domain a.it { primary = mx return-path = null }",
		DOM "listen 127.0.0.1:2525 { } retry-min = 7s segment-size = 65537\n"
		"tls-cert-file = /c tls-key-file = /k resolver = { 127.0.0.1, ::1 }\n"
		"trusted-arc-sealers = { A.it, b.it } dmarc-reject = reject\n"
		"forwarder { domain = f.it secret-file = /s dkim-selector = x dkim-key-file = /k\n"
		"arc = off }\n"
		"domain b.it { primary = lmtp://[::1]:24 subaddress = \"\" failover = on\n"
		"brand = \"Posta \\\"B\\\"\" unsurvivable = hold\n"
		"shard s1 { primary = smtp://h.it:26 } shard s2 { primary = mx } }\n",
	};

	(void)state;
	for (size_t i = 0; i < N(texts); i++) {
		struct conf_errors e;
		struct conf *a = parse(texts[i], &e);
		struct buf text;
		assert_non_null(a);
		buf_fini(&e.text);
		buf_init(&text, 1 << 20);
		conf_print_text(a, &text);
		e = (struct conf_errors){ .count = 0 };
		struct conf *b = conf_parse(buf_slice(&text), "f", &e);
		if (b == NULL)
			fail_msg("%.*s\n%.*s", SLICE_FMT(buf_slice(&e.text)),
			    SLICE_FMT(buf_slice(&text)));
		char *ja = json_of(a), *jb = json_of(b);
		assert_string_equal(ja, jb);
		free(ja);
		free(jb);
		conf_free(&a);
		conf_free(&b);
		buf_fini(&text);
		buf_fini(&e.text);
	}
}

static const char full[] =
    "hostname = \"mx.it\" # c\n/* c */ state-dir = '/v\\'s' // d\n"
    "resolver = { 127.0.0.1, \"${CONF_TEST_UNSET:-::1}\" }\nresolver += { 1.1.1.1 }\n"
    "listen \"[::]:25\" { tls = no }\n"
    "forwarder {\n domain = f.it\n secret-file = \"/s\\\"\"\n}\n"
    "domain \"a.it\" { primary = lmtp://[::1]:24 subaddress = \"+\"\n"
    " shard \"s\" { primary = mx } }\n";

static void
try_bytes(const char *p, size_t n)
{
	struct conf_errors e = { .count = 0 };
	struct conf *c = conf_parse(slice_make(p, n), "f", &e);

	assert_true((c == NULL) == (e.count > 0));
	/* libconfuse must never be the one to find a fault. */
	char *got = messages(&e);
	if (strstr(got, "libconfuse") != NULL)
		fail_msg("%s\n%.*s", got, (int)n, p);
	free(got);
	conf_free(&c);
	buf_fini(&e.text);
}

/* Cut at each byte; and each byte replaced by each sign that means something. After
 * all of it a good file is still read well: no state is left behind in the lexer. */
static void
test_cut_and_changed(void **state)
{
	static const char signs[] = "{}=,+\"'#/*$\\ \n\r\t;()a0\001\377";
	struct conf_errors e;

	(void)state;
	for (size_t n = 0; n <= sizeof(full) - 1; n++) {
		char *exact = malloc(n > 0 ? n : 1);	/* so that ASan sees a step too far */
		assert_non_null(exact);
		memcpy(exact, full, n);
		try_bytes(exact, n);
		free(exact);
	}
	for (size_t i = 0; i < sizeof(full) - 1; i++) {
		char copy[sizeof(full)];
		for (size_t j = 0; j < sizeof(signs); j++) {	/* with the NUL */
			memcpy(copy, full, sizeof(full));
			copy[i] = signs[j];
			try_bytes(copy, sizeof(full) - 1);
		}
	}
	struct conf *c = parse(full, &e);
	assert_non_null(c);
	assert_string_equal(c->state_dir, "/v's");
	assert_string_equal(c->forwarder.secret_file, "/s\"");
	conf_free(&c);
	buf_fini(&e.text);
}

static void
test_many_domains(void **state)
{
	struct buf b;
	struct conf_errors e = { .count = 0 };

	(void)state;
	buf_init(&b, 8 << 20);
	for (int i = 0; i < 3000; i++)
		assert_int_equal(buf_printf(&b, "domain d%d.it { primary = mx }\n", i), 0);
	struct conf *c = conf_parse(buf_slice(&b), "f", &e);
	assert_non_null(c);
	assert_int_equal(c->ndomain, 3000);
	assert_non_null(conf_domain_find(c, SLICE_LIT("d2999.it")));
	conf_free(&c);
	buf_fini(&b);
	buf_fini(&e.text);
}

static void
test_files(void **state)
{
	static const struct {
		const char *file, *want;
	} rows[] = {
		{ "/nonexistent/relay.conf", "file: does not exist" },
		{ "/", "file: not a plain file" },
		{ "/dev/zero", "file: not a plain file" },
	};

	(void)state;
	for (size_t i = 0; i < N(rows); i++) {
		struct conf_errors e = { .count = 0 };
		assert_null(conf_load(rows[i].file, &e));
		char *got = messages(&e);
		assert_int_equal(e.count, 1);
		if (strstr(got, rows[i].want) == NULL)
			fail_msg("want %s, got %s", rows[i].want, got);
		free(got);
		buf_fini(&e.text);
	}
}

/* A file of nothing but faults: the text of errors is bounded, the count is true. */
static void
test_errors_are_bounded(void **state)
{
	struct conf_errors e = { .count = 0 };
	struct buf b;

	(void)state;
	buf_init(&b, 4 << 20);
	for (int i = 0; i < 20000; i++)
		assert_int_equal(buf_printf(&b, "nokey%d = 1\n", i), 0);
	assert_null(conf_parse(buf_slice(&b), "f", &e));
	assert_int_equal(e.count, 20001);
	assert_true(buf_len(&e.text) <= 64 * 1024);
	buf_fini(&b);
	buf_fini(&e.text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_all_errors_at_once),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_spec_8_2_providers),
		cmocka_unit_test(test_milters),
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_man_is_current),
		cmocka_unit_test(test_text_round_trip),
		cmocka_unit_test(test_cut_and_changed),
		cmocka_unit_test(test_many_domains),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_errors_are_bounded),
	};

	return cmocka_run_group_tests_name("base/conf", tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/* SPF: records and messages in tables, each with the section of RFC 7208 it is about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "policy/spf.h"
#include "policy/spf_record.h"
#include "tests/policy/zone.h"

struct fixture {
	struct spf	*spf;
	struct dnsview	 view;
	struct buf	 answers, wants;
	unsigned	 rounds;	/* of the last check */
};

static int
setup(void **state)
{
	struct fixture *f = mem_new(sizeof(*f));

	f->spf = spf_new();
	dnsview_init(&f->view);
	buf_init(&f->answers, 1 << 20);
	buf_init(&f->wants, 1 << 20);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	spf_free(&f->spf);
	dnsview_fini(&f->view);
	buf_fini(&f->answers);
	buf_fini(&f->wants);
	free(f);
	return 0;
}

static struct spf_output
check(struct fixture *f, const char *zone, const char *ip, const char *helo, const char *from)
{
	struct iprev_ip addr = iprev_parse(slice_str(ip));
	struct spf_input in = { &addr, slice_str(helo), slice_str(from) };
	struct spf_output out;

	buf_clear(&f->answers);
	for (f->rounds = 1;; f->rounds++) {
		assert_true(f->rounds < 40);
		assert_int_equal(dnsview_load(&f->view, buf_slice(&f->answers), false), 0);
		spf_check(f->spf, &f->view, &in, &out);
		if (f->view.nwant == 0)
			return out;
		buf_clear(&f->wants);
		assert_int_equal(dnsview_wants(&f->view, &f->wants), 0);
		zone_answers(zone, buf_slice(&f->wants), &f->answers);
	}
}

struct spf_case {
	const char	*section;
	enum auth_result expect;
	const char	*record;	/* of e.example.com, NULL when `zone` has it */
	const char	*ip;		/* default 192.0.2.1 */
	const char	*from;		/* default user@e.example.com */
	const char	*zone;		/* beside COMMON */
};

#define COMMON \
	"host.example.com A 192.0.2.1\n" \
	"host.example.com AAAA 2001:db8::1\n" \
	"other.example.com A 192.0.2.99\n" \
	"mail.example.com MX 10 other.example.com\n" \
	"mail.example.com MX 20 host.example.com\n" \
	"nullmx.example.com MX 0 .\n" \
	"pass.example.com TXT v=spf1 ip4:192.0.2.1 -all\n" \
	"fail.example.com TXT v=spf1 -all\n" \
	"soft.example.com TXT v=spf1 ~all\n" \
	"bad.example.com TXT v=spf1 mechanism-of-mine -all\n" \
	"norec.example.com TXT hello\n" \
	"temp.example.com FAIL x\n" \
	"loop127.example.com A 127.0.0.1\n" \
	"loop6.example.com AAAA ::1\n" \
	"1.2.0.192.in-addr.arpa PTR host.example.com\n" \
	"1.2.0.192.in-addr.arpa PTR liar.example.com\n" \
	"liar.example.com A 192.0.2.77\n" \
	"1.0.0.127.in-addr.arpa PTR loop127.example.com\n"

static const struct spf_case cases[] = {
	/* 4.3, 4.4, 4.5: no domain, no record, several */
	{ "4.3 no domain", AUTH_NONE, .record = "v=spf1 -all", .from = "user@com" },
	{ "4.3 empty label", AUTH_NONE, .record = "v=spf1 -all", .from = "user@a..example.com" },
	{ "4.4 nxdomain", AUTH_NONE, .from = "u@nowhere.example.com" },
	{ "4.4 temporary", AUTH_TEMPERROR, .from = "u@temp.example.com" },
	{ "4.5 no spf among txt", AUTH_NONE, .from = "u@norec.example.com" },
	{ "4.5 v=spf10", AUTH_NONE, .record = "v=spf10 -all" },
	{ "4.5 case", AUTH_FAIL, .record = "V=SpF1 -all" },
	{ "4.5 version only", AUTH_NEUTRAL, .record = "v=spf1" },
	{ "4.5 trailing spaces", AUTH_FAIL, .record = "v=spf1  -all  " },
	{ "4.5 two records", AUTH_PERMERROR, .zone = "e.example.com TXT v=spf1 +all\n"
	    "e.example.com TXT v=spf1 -all\n" },
	/* 4.6: one error anywhere is permerror, even behind a match */
	{ "4.6 unknown mechanism", AUTH_PERMERROR, .record = "v=spf1 ip4:192.0.2.1 nosuch -all" },
	{ "4.6 error after all", AUTH_PERMERROR, .record = "v=spf1 +all nosuch" },
	{ "4.6 tab", AUTH_PERMERROR, .record = "v=spf1 ip4:192.0.2.1\t-all" },
	{ "4.6 8-bit", AUTH_PERMERROR, .record = "v=spf1 ip4:192.0.2.1 -all x=\xc3\xa9" },
	{ "4.6 qualifier on modifier", AUTH_PERMERROR,
	    .record = "v=spf1 -redirect=pass.example.com" },
	{ "4.6.2 qualifiers", AUTH_SOFTFAIL, .record = "v=spf1 ~ip4:192.0.2.1 -all" },
	{ "4.6.2 neutral", AUTH_NEUTRAL, .record = "v=spf1 ?ip4:192.0.2.1 -all" },
	{ "4.7 default neutral", AUTH_NEUTRAL, .record = "v=spf1 ip4:198.51.100.1" },
	{ "4.6.1 mechanism case", AUTH_PASS, .record = "v=spf1 IP4:192.0.2.1 -ALL" },
	/* 5.1 all */
	{ "5.1 all with argument", AUTH_PERMERROR, .record = "v=spf1 -all:x.com" },
	{ "5.1 all with prefix", AUTH_PERMERROR, .record = "v=spf1 all/8" },
	{ "5.1 all.", AUTH_PERMERROR, .record = "v=spf1 -all." },
	{ "5.1 terms after all ignored", AUTH_FAIL, .record = "v=spf1 -all ip4:192.0.2.1" },
	/* 5.2 include */
	{ "5.2 pass", AUTH_PASS, .record = "v=spf1 include:pass.example.com -all" },
	{ "5.2 qualified", AUTH_SOFTFAIL, .record = "v=spf1 ~include:pass.example.com -all" },
	{ "5.2 fail goes on", AUTH_NEUTRAL, .record = "v=spf1 include:fail.example.com ?all" },
	{ "5.2 softfail goes on", AUTH_FAIL, .record = "v=spf1 include:soft.example.com -all" },
	{ "5.2 permerror", AUTH_PERMERROR, .record = "v=spf1 include:bad.example.com +all" },
	{ "5.2 none", AUTH_PERMERROR, .record = "v=spf1 include:norec.example.com +all" },
	{ "5.2 nxdomain", AUTH_PERMERROR, .record = "v=spf1 include:none.example.com +all" },
	{ "5.2 temperror", AUTH_TEMPERROR, .record = "v=spf1 include:temp.example.com +all" },
	{ "5.2 empty", AUTH_PERMERROR, .record = "v=spf1 include: -all" },
	{ "5.2 missing", AUTH_PERMERROR, .record = "v=spf1 include -all" },
	{ "5.2 prefix", AUTH_PERMERROR, .record = "v=spf1 include:pass.example.com/24 -all" },
	{ "5.2 itself", AUTH_PERMERROR, .record = "v=spf1 include:e.example.com -all" },
	/* 5.3 a */
	{ "5.3 own name", AUTH_PASS, .from = "u@host.example.com",
	    .zone = "host.example.com TXT v=spf1 a -all\n" },
	{ "5.3 named", AUTH_PASS, .record = "v=spf1 a:host.example.com -all" },
	{ "5.3 other", AUTH_FAIL, .record = "v=spf1 a:other.example.com -all" },
	{ "5.3 prefix", AUTH_PASS, .record = "v=spf1 a:other.example.com/24 -all" },
	{ "5.3 /0", AUTH_PASS, .record = "v=spf1 a:loop127.example.com/0 -all" },
	{ "5.3 /0 without address", AUTH_FAIL, .record = "v=spf1 a:norec.example.com/0 -all" },
	{ "5.3 ipv6", AUTH_PASS, .record = "v=spf1 a:host.example.com -all", .ip = "2001:db8::1" },
	{ "5.3 ipv6 prefix", AUTH_PASS, .record = "v=spf1 a:host.example.com/32//64 -all",
	    .ip = "2001:db8::7" },
	{ "5.3 ipv6 /0", AUTH_PASS, .record = "v=spf1 a:host.example.com//0 -all",
	    .ip = "2001:db9::7" },
	{ "5.3 ipv6 only prefix", AUTH_FAIL, .record = "v=spf1 a:host.example.com/0 -all",
	    .ip = "2001:db8::7" },
	{ "5.3 mapped", AUTH_PASS, .record = "v=spf1 a:host.example.com -all",
	    .ip = "::ffff:192.0.2.1" },
	{ "5.3 temperror", AUTH_TEMPERROR, .record = "v=spf1 a:temp.example.com +all" },
	{ "5.3 /33", AUTH_PERMERROR, .record = "v=spf1 a:host.example.com/33 -all" },
	{ "5.3 //129", AUTH_PERMERROR, .record = "v=spf1 a:host.example.com//129 -all" },
	{ "5.3 leading zero", AUTH_PERMERROR, .record = "v=spf1 a:host.example.com/024 -all" },
	{ "5.3 /24/64", AUTH_PERMERROR, .record = "v=spf1 a:host.example.com/24/64 -all" },
	{ "5.3 empty", AUTH_PERMERROR, .record = "v=spf1 a: -all" },
	{ "5.3 slash only", AUTH_PERMERROR, .record = "v=spf1 a/ -all" },
	{ "7.1 toplabel digits", AUTH_PERMERROR, .record = "v=spf1 a:111.222.33.44 -all" },
	{ "7.1 toplabel alone", AUTH_PERMERROR, .record = "v=spf1 a:museum -all" },
	{ "7.1 toplabel alone, dot", AUTH_PERMERROR, .record = "v=spf1 a:museum. -all" },
	{ "7.1 toplabel hyphen", AUTH_PERMERROR, .record = "v=spf1 a:example.-com -all" },
	{ "7.1 port", AUTH_PERMERROR, .record = "v=spf1 a:host.example.com:25 -all" },
	{ "7.1 last dot", AUTH_PASS, .record = "v=spf1 a:host.example.com. -all" },
	{ "4.8 odd name", AUTH_FAIL, .record = "v=spf1 a:x!y$.example.com -all" },
	/* 5.4 mx */
	{ "5.4 second host", AUTH_PASS, .record = "v=spf1 mx:mail.example.com -all" },
	{ "5.4 none", AUTH_FAIL, .record = "v=spf1 mx:host.example.com -all" },
	{ "5.4 null mx", AUTH_FAIL, .record = "v=spf1 mx:nullmx.example.com -all" },
	{ "5.4 prefix", AUTH_PASS, .record = "v=spf1 mx:mail.example.com/24 -all",
	    .ip = "192.0.2.250" },
	{ "5.4 /0", AUTH_PASS, .record = "v=spf1 mx:mail.example.com/0 -all", .ip = "203.0.113.5" },
	{ "5.4 temperror", AUTH_TEMPERROR, .record = "v=spf1 mx:temp.example.com +all" },
	{ "5.4 odd octets in the host", AUTH_PASS, .record = "v=spf1 mx:odd.example.com -all",
	    .zone = "odd.example.com MX 10 a\\058b.example.com\na:b.example.com A 192.0.2.1\n" },
	/* 5.5 ptr */
	{ "5.5 odd octets in the name", AUTH_PASS, .record = "v=spf1 ptr:example.com -all",
	    .ip = "192.0.2.51", .zone = "51.2.0.192.in-addr.arpa PTR a\\058b.example.com\n"
	    "a:b.example.com A 192.0.2.51\n" },
	{ "5.5 match", AUTH_PASS, .record = "v=spf1 ptr:example.com -all" },
	{ "5.5 exact", AUTH_PASS, .record = "v=spf1 ptr:host.example.com -all" },
	{ "5.5 unconfirmed name", AUTH_FAIL, .record = "v=spf1 ptr:liar.example.com -all" },
	{ "5.5 not a label border", AUTH_FAIL, .record = "v=spf1 ptr:ost.example.com -all" },
	{ "5.5 no name", AUTH_FAIL, .record = "v=spf1 ptr:example.com -all", .ip = "192.0.2.9" },
	{ "5.5 prefix", AUTH_PERMERROR, .record = "v=spf1 ptr/8 -all" },
	{ "5.5 dns failure is no match", AUTH_FAIL, .record = "v=spf1 ptr:example.com -all",
	    .ip = "192.0.2.50",
	    .zone = "50.2.0.192.in-addr.arpa FAIL x\n" },
	/* 5.6 ip4, ip6 */
	{ "5.6 network", AUTH_PASS, .record = "v=spf1 ip4:192.0.0.0/16 -all" },
	{ "5.6 /0", AUTH_PASS, .record = "v=spf1 ip4:10.0.0.0/0 -all" },
	{ "5.6 /31", AUTH_FAIL, .record = "v=spf1 ip4:192.0.2.2/31 -all" },
	{ "5.6 /33", AUTH_PERMERROR, .record = "v=spf1 ip4:192.0.2.1/33 -all" },
	{ "5.6 short", AUTH_PERMERROR, .record = "v=spf1 ip4:192.0.2 -all" },
	{ "5.6 port", AUTH_PERMERROR, .record = "v=spf1 ip4:192.0.2.1:25 -all" },
	{ "5.6 empty", AUTH_PERMERROR, .record = "v=spf1 ip4 -all" },
	{ "5.6 //", AUTH_PERMERROR, .record = "v=spf1 ip4:192.0.2.1//32 -all" },
	{ "5.6 ip6", AUTH_PASS, .record = "v=spf1 ip6:2001:db8::/32 -all", .ip = "2001:db8:1::1" },
	{ "5.6 ip6 /0", AUTH_PASS, .record = "v=spf1 ip6:::/0 -all", .ip = "2001:db8:1::1" },
	{ "5.6 ip6 /129", AUTH_PERMERROR, .record = "v=spf1 ip6:::/129 -all" },
	{ "5.6 ip6 bad", AUTH_PERMERROR, .record = "v=spf1 ip6::CAFE::BABE -all" },
	{ "5.6 ip6 for ip4", AUTH_FAIL, .record = "v=spf1 ip6:::ffff:192.0.2.1 -all" },
	/* 5.7 exists */
	{ "5.7 found", AUTH_PASS, .record = "v=spf1 exists:host.example.com -all" },
	{ "5.7 not", AUTH_FAIL, .record = "v=spf1 exists:mail.example.com -all" },
	{ "5.7 a record for ipv6 client", AUTH_PASS,
	    .record = "v=spf1 exists:host.example.com -all",
	    .ip = "2001:db8::2" },
	{ "5.7 empty", AUTH_PERMERROR, .record = "v=spf1 exists: -all" },
	{ "5.7 bare", AUTH_PERMERROR, .record = "v=spf1 exists -all" },
	{ "5.7 temperror", AUTH_TEMPERROR, .record = "v=spf1 exists:temp.example.com -all" },
	{ "RFC 8616 4", AUTH_SOFTFAIL, .from = "\xc3\xa9@e.example.com",
	    .record = "v=spf1 exists:%{L}.example.com include:%{s}.example.com ~all",
	    .zone = "%c3%a9.example.com A 192.0.2.1\n" },
	/* 6 modifiers */
	{ "6.1 redirect", AUTH_PASS, .record = "v=spf1 redirect=pass.example.com" },
	{ "6.1 fail", AUTH_FAIL, .record = "v=spf1 redirect=fail.example.com" },
	{ "6.1 after match", AUTH_PASS,
	    .record = "v=spf1 redirect=fail.example.com ip4:192.0.2.1" },
	{ "6.1 all wins", AUTH_SOFTFAIL, .record = "v=spf1 redirect=fail.example.com ~all" },
	{ "6.1 none", AUTH_PERMERROR, .record = "v=spf1 redirect=norec.example.com" },
	{ "6.1 twice", AUTH_PERMERROR,
	    .record = "v=spf1 redirect=pass.example.com redirect=pass.example.com" },
	{ "6.1 empty", AUTH_PERMERROR, .record = "v=spf1 redirect=" },
	{ "6.1 domain is the new one", AUTH_PASS, .record = "v=spf1 redirect=host.example.com",
	    .zone = "host.example.com TXT v=spf1 a -all\n" },
	{ "6.2 exp ignored", AUTH_FAIL, .record = "v=spf1 -all exp=nosuch.example.com" },
	{ "6.2 exp twice", AUTH_PERMERROR, .record = "v=spf1 -all exp=a.com exp=b.com" },
	{ "6.2 exp empty", AUTH_PERMERROR, .record = "v=spf1 -all exp=" },
	{ "6 unknown", AUTH_FAIL, .record = "v=spf1 moo.x-y_z=%{d}%%/:! -all" },
	{ "6 unknown, bad macro", AUTH_PERMERROR, .record = "v=spf1 moo=%{x} -all" },
	{ "6 modifier name", AUTH_PERMERROR, .record = "v=spf1 1moo=x -all" },
	{ "6 no name", AUTH_PERMERROR, .record = "v=spf1 =all" },
	/* 7 macros */
	{ "7.2 i", AUTH_PASS, .record = "v=spf1 exists:%{i}.ip.example.com -all",
	    .zone = "192.0.2.1.ip.example.com A 127.0.0.2\n" },
	{ "7.2 ir", AUTH_PASS, .record = "v=spf1 exists:%{ir}.%{v}.example.com -all",
	    .zone = "1.2.0.192.in-addr.example.com A 127.0.0.2\n" },
	{ "7.2 l o d", AUTH_PASS, .record = "v=spf1 exists:%{l}.at.%{o}.%{d2} -all",
	    .zone = "user.at.e.example.com.example.com A 127.0.0.2\n" },
	{ "7.3 local parts", AUTH_PASS, .record = "v=spf1 exists:%{l1r-}.example.com -all",
	    .from = "strong-bad@e.example.com", .zone = "strong.example.com A 127.0.0.2\n" },
	{ "7.3 digits over the parts", AUTH_PASS,
	    .record = "v=spf1 exists:%{d99}.x.example.com -all",
	    .zone = "e.example.com.x.example.com A 127.0.0.2\n" },
	{ "7.3 upper case escapes", AUTH_PASS, .record = "v=spf1 exists:%{L}.example.com -all",
	    .from = "jack&jill=up@e.example.com",
	    .zone = "jack%26jill%3Dup.example.com A 127.0.0.2\n" },
	{ "7.2 s", AUTH_PASS, .record = "v=spf1 exists:%{s}.example.com -all",
	    .zone = "user@e.example.com.example.com A 127.0.0.2\n" },
	{ "7.2 h", AUTH_PASS, .record = "v=spf1 exists:%{h}.example.com -all",
	    .zone = "helo.example.net.example.com A 127.0.0.2\n" },
	{ "7.2 p", AUTH_PASS, .record = "v=spf1 exists:%{p}.p.example.com -all",
	    .zone = "host.example.com.p.example.com A 127.0.0.2\n" },
	{ "7.2 p unknown", AUTH_PASS, .record = "v=spf1 exists:%{p}.p.example.com -all",
	    .ip = "192.0.2.3",
	    .zone = "unknown.p.example.com A 127.0.0.2\n" },
	{ "7.1 %%", AUTH_PASS, .record = "v=spf1 exists:a%%b%-c.example.com -all",
	    .zone = "a%b%20c.example.com A 127.0.0.2\n" },
	{ "7.1 bare percent", AUTH_PERMERROR, .record = "v=spf1 exists:%{i.example.com -all" },
	{ "7.1 bad letter", AUTH_PERMERROR, .record = "v=spf1 exists:%{q}.example.com -all" },
	{ "7.1 c only in exp", AUTH_PERMERROR, .record = "v=spf1 exists:%{c}.example.com -all" },
	{ "7.1 zero", AUTH_PERMERROR, .record = "v=spf1 exists:%{i0}.example.com -all" },
	{ "7.1 ends in macro", AUTH_PASS, .record = "v=spf1 include:pass.%{d2} -all" },
	{ "7.1 literal after macro", AUTH_PERMERROR, .record = "v=spf1 include:pass.%{d2}x -all" },
	{ "7.2 ipv6", AUTH_PASS, .record = "v=spf1 exists:%{ir}.%{v}.arpa -all",
	    .ip = "2001:db8::cb01",
	    .zone = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
	    " A 127.0.0.2\n" },
	/* 2.4 identity */
	{ "2.4 null sender", AUTH_PASS, .from = "", .zone =
	    "helo.example.net TXT v=spf1 exists:%{l}.%{o}.x.example.com -all\n"
	    "postmaster.helo.example.net.x.example.com A 127.0.0.2\n" },
	/* clients on loopback are judged like all others */
	{ "loopback fail", AUTH_FAIL, .record = "v=spf1 ip4:192.0.2.1 -all", .ip = "127.0.0.1" },
	{ "loopback none", AUTH_NONE, .ip = "127.0.0.1", .from = "u@norec.example.com" },
	{ "loopback ip4", AUTH_PASS, .record = "v=spf1 ip4:127.0.0.0/8 -all", .ip = "127.0.0.1" },
	{ "loopback a", AUTH_PASS, .record = "v=spf1 a:loop127.example.com -all",
	    .ip = "127.0.0.1" },
	{ "loopback a prefix", AUTH_PASS, .record = "v=spf1 a:loop127.example.com/30 -all",
	    .ip = "127.0.0.2" },
	{ "loopback a other", AUTH_FAIL, .record = "v=spf1 a:host.example.com/1 -all",
	    .ip = "127.0.0.2" },
	{ "loopback ptr", AUTH_PASS, .record = "v=spf1 ptr:example.com -all", .ip = "127.0.0.1" },
	{ "loopback %{i}", AUTH_PASS, .record = "v=spf1 exists:%{i}.x.example.com -all",
	    .ip = "127.0.0.9",
	    .zone = "127.0.0.9.x.example.com A 127.0.0.2\n" },
	{ "loopback ::1", AUTH_FAIL, .record = "v=spf1 a:host.example.com -all", .ip = "::1" },
	{ "loopback ::1 a", AUTH_PASS, .record = "v=spf1 a:loop6.example.com -all", .ip = "::1" },
	{ "loopback ::1 ip6", AUTH_PASS, .record = "v=spf1 ip6:::1 -all", .ip = "::1" },
	{ "shadow of loopback", AUTH_FAIL, .record = "v=spf1 a:loop127.example.com -all",
	    .ip = "255.0.0.1" },
};

static void
table(void **state)
{
	struct fixture *f = *state;
	unsigned bad = 0;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct spf_case *c = &cases[i];
		struct spf_output out;
		char zone[8192];

		snprintf(zone, sizeof(zone), "%s%s\n%s\n%s",
		    c->record != NULL ? "e.example.com TXT " : "", c->record != NULL ? c->record : "", c->zone != NULL ? c->zone : "", COMMON);
		out = check(f, zone, c->ip != NULL ? c->ip : "192.0.2.1", "helo.example.net",
		    c->from != NULL ? c->from : "user@e.example.com");
		if (out.result == c->expect)
			continue;
		print_message("%s: %s, expected %s\n", c->section, auth_result_name(out.result),
		    auth_result_name(c->expect));
		bad++;
	}
	assert_int_equal(bad, 0);
}

/* 4.6.4: the limits hold over the whole check, not per record. */
static void
limits(void **state)
{
	struct fixture *f = *state;
	struct spf_output out;
	char zone[16384], *p;

	/* ten terms are fine, eleven are not, a match before the eleventh is */
	out = check(f, "e.example.com TXT v=spf1 a a a a a a a a a a ip4:192.0.2.1 -all\n"
	    "e.example.com A 192.0.2.5\n", "192.0.2.1", "h", "u@e.example.com");
	assert_int_equal(out.result, AUTH_PASS);
	out = check(f, "e.example.com TXT v=spf1 a a a a a a a a a a a ip4:192.0.2.1 -all\n"
	    "e.example.com A 192.0.2.5\n", "192.0.2.1", "h", "u@e.example.com");
	assert_int_equal(out.result, AUTH_PERMERROR);
	out = check(f, "e.example.com TXT v=spf1 ip4:192.0.2.1 a a a a a a a a a a a a -all\n"
	    "e.example.com A 192.0.2.5\n", "192.0.2.1", "h", "u@e.example.com");
	assert_int_equal(out.result, AUTH_PASS);
	/* counted through includes: 1 + 5 + 1 + 5 */
	out = check(f, "e.example.com TXT v=spf1 include:i.example.com include:i.example.com +all\n"
	    "i.example.com TXT v=spf1 a a a a a -all\ni.example.com A 192.0.2.5\n",
	    "192.0.2.1", "h", "u@e.example.com");
	assert_int_equal(out.result, AUTH_PERMERROR);
	/* two void look-ups are fine, the third ends it */
	out = check(f, "e.example.com TXT v=spf1 a:v1.x.com a:v2.x.com +all\n", "192.0.2.1", "h",
	    "u@e.example.com");
	assert_int_equal(out.result, AUTH_PASS);
	out = check(f, "e.example.com TXT v=spf1 a:v1.x.com exists:v2.x.com mx:v3.x.com +all\n",
	    "192.0.2.1", "h", "u@e.example.com");
	assert_int_equal(out.result, AUTH_PERMERROR);
	/* eleven MX are permerror, of eleven PTR names ten are used */
	p = zone + snprintf(zone, sizeof(zone), "e.example.com TXT v=spf1 mx +all\n");
	for (int i = 0; i < 11; i++)
		p += snprintf(p, 100, "e.example.com MX 1 m%d.x.com\n"
		    "m%d.x.com A 192.0.2.7\n", i, i);
	out = check(f, zone, "192.0.2.1", "h", "u@e.example.com");
	assert_int_equal(out.result, AUTH_PERMERROR);
	p = zone + snprintf(zone, sizeof(zone), "e.example.com TXT v=spf1 ptr:p9.x.com -all\n"
	    "f.example.com TXT v=spf1 ptr:p10.x.com -all\n");
	for (int i = 0; i < 11; i++)
		p += snprintf(p, 100, "1.2.0.192.in-addr.arpa PTR p%d.x.com\n"
		    "p%d.x.com A 192.0.2.1\n", i, i);
	assert_int_equal(check(f, zone, "192.0.2.1", "h", "u@e.example.com").result, AUTH_PASS);
	assert_int_equal(check(f, zone, "192.0.2.1", "h", "u@f.example.com").result, AUTH_FAIL);
	/* a circle of includes ends */
	out = check(f, "e.example.com TXT v=spf1 include:i.example.com +all\n"
	    "i.example.com TXT v=spf1 include:e.example.com +all\n", "192.0.2.1", "h",
	    "u@e.example.com");
	assert_int_equal(out.result, AUTH_PERMERROR);
	out = check(f, "e.example.com TXT v=spf1 redirect=e.example.com\n", "192.0.2.1", "h",
	    "u@e.example.com");
	assert_int_equal(out.result, AUTH_PERMERROR);
}

/* Records longer than the library can compile: 300 networks, the last one matches. */
static void
long_record(void **state)
{
	struct fixture *f = *state;
	static char zone[16384];
	char *p = zone + snprintf(zone, sizeof(zone), "e.example.com TXT v=spf1");

	for (int i = 0; i < 300; i++)
		p += snprintf(p, 64, " ip4:10.%d.%d.0/24", i / 250, i % 250);
	snprintf(p, 64, " ip4:192.0.2.1 -all\n");
	assert_int_equal(check(f, zone, "192.0.2.1", "h", "u@e.example.com").result, AUTH_PASS);
	assert_int_equal(check(f, zone, "192.0.2.2", "h", "u@e.example.com").result, AUTH_FAIL);
}

/* Design 6: names are asked for together, and after the last answers a miss is temperror. */
static void
rounds(void **state)
{
	struct fixture *f = *state;
	struct iprev_ip ip = iprev_parse(SLICE_LIT("192.0.2.1"));
	struct spf_input in = { &ip, SLICE_LIT("h.example.com"), SLICE_LIT("u@e.example.com") };
	struct spf_output out;

	out = check(f, "e.example.com TXT v=spf1 a:other.example.com mx:mail.example.com "
	    "include:fail.example.com include:soft.example.com include:pass.example.com -all\n"
	    COMMON, "192.0.2.1", "h", "u@e.example.com");
	assert_int_equal(out.result, AUTH_PASS);
	assert_true(f->rounds <= 4);	/* record; its terms; the MX hosts; and the end */

	assert_int_equal(dnsview_load(&f->view, SLICE_NONE, true), 0);
	spf_check(f->spf, &f->view, &in, &out);
	assert_int_equal(f->view.nwant, 0);
	assert_int_equal(out.result, AUTH_TEMPERROR);
}

static void
identity(void **state)
{
	struct fixture *f = *state;
	struct spf_output out;

	out = check(f, "", "192.0.2.1", "Mail.Example.NET", "");
	assert_true(out.helo);
	assert_string_equal(out.domain, "mail.example.net");
	out = check(f, "", "192.0.2.1", "[192.0.2.1]", "");
	assert_int_equal(out.result, AUTH_NONE);
	assert_string_equal(out.domain, "");
	out = check(f, "", "192.0.2.1", "h", "\"a@b\"@Example.ORG");
	assert_false(out.helo);
	assert_string_equal(out.domain, "example.org");
	out = check(f, "", "not an address", "h", "u@example.org");
	assert_int_equal(out.result, AUTH_NONE);
}

/* For spf_diff.py: "ip helo from" (from "-" is null), zone lines, an empty line; one
 * result a line comes back. */
static int
serve(void)
{
	static char zone[1 << 16];
	char line[8192], ip[256], helo[256], from[512];
	struct fixture *f;
	void *state;

	setup(&state);
	f = state;
	while (fgets(line, sizeof(line), stdin) != NULL) {
		size_t n = 0;

		if (sscanf(line, "%255s %255s %511s", ip, helo, from) != 3)
			break;
		while (fgets(line, sizeof(line), stdin) != NULL && line[0] != '\n')
			n += (size_t)snprintf(zone + n, sizeof(zone) - n, "%s", line);
		zone[n] = '\0';
		puts(auth_result_name(check(f, zone, ip, helo,
		    strcmp(from, "-") == 0 ? "" : from).result));
	}
	return teardown(&state);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(table, setup, teardown),
		cmocka_unit_test_setup_teardown(limits, setup, teardown),
		cmocka_unit_test_setup_teardown(long_record, setup, teardown),
		cmocka_unit_test_setup_teardown(rounds, setup, teardown),
		cmocka_unit_test_setup_teardown(identity, setup, teardown),
	};

	if (argc > 1 && strcmp(argv[1], "--serve") == 0)
		return serve();
	return cmocka_run_group_tests_name("policy/spf", tests, NULL, NULL);
}

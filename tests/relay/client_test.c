// SPDX-License-Identifier: Apache-2.0
/*
 * Dialogues with the client machine: S is what the server says, C what we must say, M
 * starts the message, T is a finished handshake, Q quits, X loses the connection, U
 * loses it with bytes unsent. Each is played with input and output in pieces of 1, 2, 7
 * bytes and whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "relay/smtp_client.h"
#include "relay/smtp_client_data.h"

#define NONE		255
#define OPEN		"S220 hi\nCEHLO us.example\n"
#define PIPE		OPEN "S250-srv\nS250-PIPELINING\nS250-8BITMIME\nS250-DSN\nS250-SMTPUTF8\nS250 SIZE 1000\n"
#define BARE		OPEN "S250 srv\n"
#define GROUP		"CMAIL FROM:<a@x> SIZE=11\nCRCPT TO:<b@y>\nCDATA\n"
#define CONTENT		"CH: 1\nC\nCx\nC.\n"	/* see message_make: 11 octets */

struct dialogue {
	const char	*name;
	const char	*text;
	bool		 lmtp, tls, eight, utf8, dsn;
	bool		 utf8_header;
	unsigned	 nrcpt;
	enum client_need need;		/* at the end */
	uint8_t		 outcome[3];	/* NONE: not finished */
	uint8_t		 scope[3];
	uint16_t	 code[3];
	const char	*enhanced;	/* of the first */
};

static const struct dialogue dialogues[] = {
	{ "pipelined", PIPE "M" GROUP "S250 ok\nS250 ok\nS354 go\n" CONTENT "S250 2.0.0 kept\n",
	  .need = CLIENT_READY, .outcome = { DELIVER_OK }, .scope = { SCOPE_MESSAGE },
	  .code = { 250 }, .enhanced = "2.0.0" },
	{ "one by one", BARE "MCMAIL FROM:<a@x>\nS250 ok\nCRCPT TO:<b@y>\nS250 ok\nCDATA\nS354 go\n"
	  CONTENT "S250 kept\n",
	  .need = CLIENT_READY, .outcome = { DELIVER_OK }, .scope = { SCOPE_MESSAGE },
	  .code = { 250 } },
	{ "helo", OPEN "S500 what\nCHELO us.example\nS250 srv\nMCMAIL FROM:<a@x>\nS250 ok\n"
	  "CRCPT TO:<b@y>\nS251 forwarded\nCDATA\nS354 go\n" CONTENT "S250 kept\n",
	  .need = CLIENT_READY, .outcome = { DELIVER_OK }, .scope = { SCOPE_MESSAGE },
	  .code = { 250 } },
	{ "helo refused too", OPEN "S500 what\nCHELO us.example\nS502 no\n", .need = CLIENT_DEAD,
	  .outcome = { NONE }, .code = { 502 } },
	{ "ehlo 421", OPEN "S421 4.3.2 later\n", .need = CLIENT_DEAD, .outcome = { NONE },
	  .code = { 421 } },
	{ "lmtp has no helo", "S220 hi\nCLHLO us.example\nS500 what\n", .lmtp = true,
	  .need = CLIENT_DEAD, .outcome = { NONE }, .code = { 500 } },
	{ "greeting 554", "S554 go away\n", .need = CLIENT_DEAD, .outcome = { NONE },
	  .code = { 554 } },
	{ "greeting of many lines", "S220-a\nS220-b\nS220 c\nCEHLO us.example\nS250 srv\n",
	  .need = CLIENT_READY, .outcome = { NONE } },
	{ "mail refused, rsets", PIPE "M" GROUP "S550 5.7.1 no\nS503 no\nS503 no\nCRSET\nS250 ok\n",
	  .need = CLIENT_READY, .outcome = { DELIVER_PERM }, .scope = { SCOPE_MESSAGE },
	  .code = { 550 }, .enhanced = "5.7.1" },
	{ "mail 4yz", PIPE "M" GROUP "S451 no\nS503 no\nS503 no\nCRSET\nS250 ok\n",
	  .need = CLIENT_READY, .outcome = { DELIVER_TEMP }, .scope = { SCOPE_MESSAGE },
	  .code = { 451 } },
	{ "mail refused one by one", BARE "MCMAIL FROM:<a@x>\nS550 no\nCRSET\nS250 ok\n",
	  .need = CLIENT_READY, .outcome = { DELIVER_PERM }, .scope = { SCOPE_MESSAGE },
	  .code = { 550 } },
	{ "rcpt refused, 354 all the same", PIPE "M" GROUP "S250 ok\nS550 5.1.1 no\nS354 go\nC.\n"
	  "S554 no recipients\nCRSET\nS250 ok\n",
	  .need = CLIENT_READY, .outcome = { DELIVER_PERM }, .scope = { SCOPE_RCPT },
	  .code = { 550 }, .enhanced = "5.1.1" },
	{ "rcpt refused one by one", BARE "MCMAIL FROM:<a@x>\nS250 ok\nCRCPT TO:<b@y>\nS452 full\n"
	  "CRSET\nS250 ok\n",
	  .need = CLIENT_READY, .outcome = { DELIVER_TEMP }, .scope = { SCOPE_RCPT },
	  .code = { 452 } },
	{ "data refused", PIPE "M" GROUP "S250 ok\nS250 ok\nS451 4.3.0 no\nCRSET\nS250 ok\n",
	  .need = CLIENT_READY, .outcome = { DELIVER_TEMP }, .scope = { SCOPE_MESSAGE },
	  .code = { 451 }, .enhanced = "4.3.0" },
	{ "250 to DATA is nonsense", PIPE "M" GROUP "S250 ok\nS250 ok\nS250 ok\nCRSET\nS250 ok\n",
	  .need = CLIENT_READY, .outcome = { DELIVER_TEMP }, .scope = { SCOPE_MESSAGE },
	  .code = { 250 } },
	{ "content refused", PIPE "M" GROUP "S250 ok\nS250 ok\nS354 go\n" CONTENT "S554 5.6.0 no\n",
	  .need = CLIENT_READY, .outcome = { DELIVER_PERM }, .scope = { SCOPE_MESSAGE },
	  .code = { 554 }, .enhanced = "5.6.0" },
	{ "421 after the content", PIPE "M" GROUP "S250 ok\nS250 ok\nS354 go\n" CONTENT "S421 no\n",
	  .need = CLIENT_DEAD, .outcome = { DELIVER_TEMP }, .scope = { SCOPE_HOST },
	  .code = { 421 } },
	{ "421 at rcpt", PIPE "M" GROUP "S250 ok\nS421 4.7.0 slow\n", .need = CLIENT_DEAD,
	  .outcome = { DELIVER_TEMP }, .scope = { SCOPE_HOST }, .code = { 421 } },
	{ "lost at mail", PIPE "M" GROUP "X", .need = CLIENT_DEAD, .outcome = { DELIVER_TEMP },
	  .scope = { SCOPE_HOST }, .enhanced = "4.4.2" },
	{ "lost in the content", PIPE "M" GROUP "S250 ok\nS250 ok\nS354 go\nCH: 1\nX",
	  .need = CLIENT_DEAD, .outcome = { DELIVER_TEMP }, .scope = { SCOPE_MESSAGE } },
	{ "lost with the dot still here", PIPE "M" GROUP "S250 ok\nS250 ok\nS354 go\n" CONTENT "U",
	  .need = CLIENT_DEAD, .outcome = { DELIVER_TEMP }, .scope = { SCOPE_MESSAGE } },
	{ "lost after the dot", PIPE "M" GROUP "S250 ok\nS250 ok\nS354 go\n" CONTENT "X",
	  .need = CLIENT_DEAD, .outcome = { DELIVER_UNKNOWN }, .scope = { SCOPE_MESSAGE } },
	{ "half a reply after the dot", PIPE "M" GROUP "S250 ok\nS250 ok\nS354 go\n" CONTENT
	  "S250-almost\nX",
	  .need = CLIENT_DEAD, .outcome = { DELIVER_UNKNOWN }, .scope = { SCOPE_MESSAGE } },
	{ "354 after the dot", PIPE "M" GROUP "S250 ok\nS250 ok\nS354 go\n" CONTENT "S354 again\n",
	  .need = CLIENT_DEAD, .outcome = { DELIVER_UNKNOWN }, .scope = { SCOPE_MESSAGE },
	  .code = { 354 } },
	{ "gibberish after the dot", PIPE "M" GROUP "S250 ok\nS250 ok\nS354 go\n" CONTENT "Swhat\n",
	  .need = CLIENT_DEAD, .outcome = { DELIVER_UNKNOWN }, .scope = { SCOPE_MESSAGE } },
	{ "refused in mid content", PIPE "M" GROUP "S250 ok\nS250 ok\nS354 go\nCH: 1\nS552 5.3.4 big\n",
	  .need = CLIENT_DEAD, .outcome = { DELIVER_PERM }, .scope = { SCOPE_MESSAGE },
	  .code = { 552 }, .enhanced = "5.3.4" },
	{ "accepted in mid content: a lie", PIPE "M" GROUP "S250 ok\nS250 ok\nS354 go\nCH: 1\nS250 ok\n",
	  .need = CLIENT_DEAD, .outcome = { DELIVER_TEMP }, .scope = { SCOPE_MESSAGE },
	  .code = { 250 } },
	{ "rset refused", BARE "MCMAIL FROM:<a@x>\nS550 no\nCRSET\nS500 no\n",
	  .need = CLIENT_DEAD, .outcome = { DELIVER_PERM }, .scope = { SCOPE_MESSAGE },
	  .code = { 550 } },
	{ "unasked 421", BARE "S421 idle\n", .need = CLIENT_DEAD, .outcome = { NONE },
	  .code = { 421 } },
	{ "quit", BARE "QCQUIT\nS221 bye\n", .need = CLIENT_DEAD, .outcome = { NONE } },
	{ "8bit (3.7)", PIPE "MCMAIL FROM:<a@x> SIZE=11 BODY=8BITMIME\nCRCPT TO:<b@y>\nCDATA\n",
	  .eight = true, .need = CLIENT_BUSY, .outcome = { NONE } },
	{ "8bit not offered (3.7)", BARE "M", .eight = true, .need = CLIENT_READY,
	  .outcome = { DELIVER_LOCAL }, .scope = { SCOPE_MESSAGE }, .enhanced = "5.6.3" },
	{ "utf8 (3.9)", PIPE "MCMAIL FROM:<a@x> SIZE=11 SMTPUTF8\nCRCPT TO:<b@y>\nCDATA\n",
	  .utf8 = true, .need = CLIENT_BUSY, .outcome = { NONE } },
	{ "utf8 asked for and not needed (3.9)", BARE "MCMAIL FROM:<a@x>\nS250 ok\nCRCPT TO:<b@y>\n",
	  .utf8 = true, .need = CLIENT_BUSY, .outcome = { NONE } },
	{ "utf8 not offered (3.9)", BARE "M", .utf8 = true, .utf8_header = true, .need = CLIENT_READY,
	  .outcome = { DELIVER_LOCAL }, .scope = { SCOPE_MESSAGE }, .enhanced = "5.6.7" },
	{ "too large (8.13)", OPEN "S250-srv\nS250 SIZE 7\nM", .need = CLIENT_READY,
	  .outcome = { DELIVER_LOCAL }, .scope = { SCOPE_MESSAGE }, .enhanced = "5.3.4" },
	{ "size without a limit", OPEN "S250-srv\nS250 SIZE\nMCMAIL FROM:<a@x> SIZE=11\n",
	  .need = CLIENT_BUSY, .outcome = { NONE } },
	{ "size 0 is no limit", OPEN "S250-srv\nS250 size 0\nMCMAIL FROM:<a@x> SIZE=11\n",
	  .need = CLIENT_BUSY, .outcome = { NONE } },
	{ "dsn offered", PIPE "MCMAIL FROM:<a@x> SIZE=11 RET=HDRS ENVID=tok\n"
	  "CRCPT TO:<b@y> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o@z\nCDATA\n",
	  .dsn = true, .need = CLIENT_BUSY, .outcome = { NONE } },
	{ "dsn not offered", BARE "MCMAIL FROM:<a@x>\nS250 ok\nCRCPT TO:<b@y>\n",
	  .dsn = true, .need = CLIENT_BUSY, .outcome = { NONE } },
	{ "starttls", OPEN "S250-srv\nS250 STARTTLS\nCSTARTTLS\nS220 go\nTCEHLO us.example\n"
	  "S250-srv\nS250 STARTTLS\nMCMAIL FROM:<a@x>\n", .tls = true,
	  .need = CLIENT_BUSY, .outcome = { NONE } },
	{ "capabilities of before TLS are forgotten", OPEN "S250-srv\nS250-PIPELINING\nS250-SIZE\n"
	  "S250 STARTTLS\nCSTARTTLS\nS220 go\nTCEHLO us.example\nS250 srv\nMCMAIL FROM:<a@x>\n",
	  .tls = true, .need = CLIENT_BUSY, .outcome = { NONE } },
	{ "starttls without a context of ours", OPEN "S250-srv\nS250 STARTTLS\n",
	  .need = CLIENT_READY, .outcome = { NONE } },
	{ "starttls refused: no plaintext (13.1)", OPEN "S250-srv\nS250 STARTTLS\nCSTARTTLS\n"
	  "S454 4.7.0 not now\n", .tls = true, .need = CLIENT_DEAD, .outcome = { NONE },
	  .code = { 454 } },
	{ "handshake failed", OPEN "S250-srv\nS250 STARTTLS\nCSTARTTLS\nS220 go\nX", .tls = true,
	  .need = CLIENT_DEAD, .outcome = { NONE } },
	{ "lmtp, one reply each (RFC 2033)", "S220 hi\nCLHLO us.example\nS250-srv\nS250 PIPELINING\n"
	  "MCMAIL FROM:<a@x>\nCRCPT TO:<b@y>\nCRCPT TO:<b@y>\nCRCPT TO:<b@y>\nCDATA\n"
	  "S250 ok\nS250 ok\nS550 5.1.1 no\nS250 ok\nS354 go\n" CONTENT
	  "S250 2.1.5 kept\nS452 4.2.2 full\n",
	  .lmtp = true, .nrcpt = 3, .need = CLIENT_READY,
	  .outcome = { DELIVER_OK, DELIVER_PERM, DELIVER_TEMP },
	  .scope = { SCOPE_RCPT, SCOPE_RCPT, SCOPE_RCPT }, .code = { 250, 550, 452 } },
	{ "lmtp lost between two replies", "S220 hi\nCLHLO us.example\nS250-srv\nS250 PIPELINING\n"
	  "MCMAIL FROM:<a@x>\nCRCPT TO:<b@y>\nCRCPT TO:<b@y>\nCDATA\n"
	  "S250 ok\nS250 ok\nS250 ok\nS354 go\n" CONTENT "S250 kept\nX",
	  .lmtp = true, .nrcpt = 2, .need = CLIENT_DEAD,
	  .outcome = { DELIVER_OK, DELIVER_UNKNOWN }, .scope = { SCOPE_RCPT, SCOPE_MESSAGE },
	  .code = { 250, 0 } },
	{ "smtp, one reply for all accepted", PIPE "MCMAIL FROM:<a@x> SIZE=11\nCRCPT TO:<b@y>\n"
	  "CRCPT TO:<b@y>\nCDATA\nS250 ok\nS450 no\nS250 ok\nS354 go\n" CONTENT "S250 kept\n",
	  .nrcpt = 2, .need = CLIENT_READY, .outcome = { DELIVER_TEMP, DELIVER_OK },
	  .scope = { SCOPE_RCPT, SCOPE_MESSAGE }, .code = { 450, 250 } },
};

struct play {
	struct smtp_client	*c;
	struct client_message	 m;
	struct client_rcpt	 rcpt[3];
	size_t			 piece;
	char			 said[4096];	/* by the machine, not yet compared */
	size_t			 nsaid;
};

static void
feed(struct play *p, const char *line, size_t n)
{
	char text[512];
	size_t at, used;
	int len = snprintf(text, sizeof(text), "%.*s\r\n", (int)n, line);

	for (at = 0; at < (size_t)len; at += used) {
		size_t k = (size_t)len - at < p->piece ? (size_t)len - at : p->piece;

		used = client_input(p->c, slice_make(text + at, k));
		if (used == 0)
			break;		/* what follows an accepted STARTTLS */
	}
}

/* As much as is needed for the line that is compared, so that a dialogue can stop in
 * the middle of the content. */
static void
pull(struct play *p, size_t upto)
{
	struct slice out;

	while (p->nsaid < upto &&
	    (out = client_output(p->c, p->piece < upto - p->nsaid ? p->piece :
	    upto - p->nsaid)).n > 0) {
		memcpy(p->said + p->nsaid, out.p, out.n);
		p->nsaid += out.n;
		client_sent(p->c, out.n);
	}
}

static void
expect(struct play *p, const struct dialogue *d, const char *line, size_t n)
{
	char want[512];
	size_t len = (size_t)snprintf(want, sizeof(want), "%.*s\r\n", (int)n, line);

	pull(p, len);
	if (p->nsaid < len || memcmp(p->said, want, len) != 0)
		fail_msg("%s (piece %zu): wanted \"%.*s\", got \"%.*s\"", d->name, p->piece,
		    (int)n, line, (int)p->nsaid, p->said);
	p->nsaid -= len;
	memmove(p->said, p->said + len, p->nsaid);
}

static void
message_make(struct play *p, const struct dialogue *d)
{
	size_t i;

	memset(&p->m, 0, sizeof(p->m));
	p->m.mail_from = SLICE_LIT("a@x");
	p->m.prefix = d->utf8_header ? SLICE_LIT("H: \xc3\xa9") : SLICE_LIT("H: 1");
	p->m.body = SLICE_LIT("\r\n\r\n");
	p->m.suffix = SLICE_LIT("x");	/* its CRLF is missing: 3.13 */
	p->m.need_8bit = d->eight;
	p->m.need_utf8 = d->utf8;
	if (d->dsn) {
		p->m.ret = SLICE_LIT("HDRS");
		p->m.envid = SLICE_LIT("tok");
	}
	for (i = 0; i < 3; i++) {
		p->rcpt[i] = (struct client_rcpt){ .address = SLICE_LIT("b@y") };
		if (d->dsn) {
			p->rcpt[i].notify = NOTIFY_SUCCESS | NOTIFY_DELAY;
			p->rcpt[i].orcpt = SLICE_LIT("rfc822;o@z");
		}
	}
}

static void
play_step(struct play *p, const struct dialogue *d, char what, const char *line, size_t n)
{
	switch (what) {
	case 'S':
		feed(p, line, n);
		break;
	case 'C':
		expect(p, d, line, n);
		break;
	case 'M':
		client_send(p->c, &p->m, p->rcpt, d->nrcpt == 0 ? 1 : d->nrcpt);
		break;
	case 'T':
		assert_int_equal(client_need(p->c), CLIENT_NEED_TLS);
		client_tls_done(p->c);
		break;
	case 'Q':
		client_quit(p->c);
		break;
	case 'X':
		client_lost(p->c, 0, "lost");
		break;
	case 'U':
		client_lost(p->c, 3, "lost");
		break;
	default:
		fail();
	}
}

static void
check_end(struct play *p, const struct dialogue *d)
{
	const struct client_result *r;
	size_t i, n = d->nrcpt == 0 ? 1 : d->nrcpt;

	if (d->need == CLIENT_DEAD || d->need == CLIENT_READY)
		assert_int_equal(client_output(p->c, 100).n, 0);
	assert_int_equal(client_need(p->c), d->need);
	assert_int_equal(client_finished(p->c), d->outcome[0] != NONE);
	if (!client_finished(p->c)) {
		if (d->need == CLIENT_DEAD) {
			assert_int_equal(client_failure(p->c)->code, d->code[0]);
			assert_int_equal(client_failure(p->c)->outcome, DELIVER_TEMP);
			assert_int_equal(client_failure(p->c)->scope, SCOPE_HOST);
		}
		return;
	}
	r = client_results(p->c);
	for (i = 0; i < n; i++) {
		assert_int_equal(r[i].outcome, d->outcome[i]);
		assert_int_equal(r[i].scope, d->scope[i]);
		assert_int_equal(r[i].code, d->code[i]);
	}
	if (d->enhanced != NULL)
		assert_string_equal(r[0].enhanced, d->enhanced);
}

static void
play(const struct dialogue *d, size_t piece)
{
	struct client_config cfg = { .lmtp = d->lmtp, .tls = d->tls, .helo = "us.example" };
	struct play *p = mem_new(sizeof(*p));
	const char *t = d->text;
	size_t n;

	p->piece = piece;
	p->c = client_new(&cfg);
	message_make(p, d);
	while (*t != '\0') {
		n = *t == 'S' || *t == 'C' ? strcspn(t, "\n") - 1 : 0;
		play_step(p, d, *t, t + 1, n);
		t += *t == 'S' || *t == 'C' ? n + 2 : 1;
	}
	check_end(p, d);
	client_free(&p->c);
	free(p);
}

static void
spec_3_7_and_3_9_dialogues(void **state)
{
	static const size_t pieces[] = { 1, 2, 7, 4096 };
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(dialogues) / sizeof(dialogues[0]); i++)
		for (k = 0; k < 4; k++) {
			const struct dialogue *d = &dialogues[i];

			print_message("%s%s", k == 0 ? d->name : "", k == 3 ? "\n" : "");
			play(d, pieces[k]);
		}
}

/* Spec 13.6: what comes in the same packet as the 220 to STARTTLS is nobody's. */
static void
test_starttls_injection(void **state)
{
	struct client_config cfg = { .tls = true, .helo = "us.example" };
	struct slice in = SLICE_LIT("220 go\r\n250-evil\r\n250 SIZE 1\r\n");
	struct smtp_client *c = client_new(&cfg);

	(void)state;
	client_input(c, SLICE_LIT("220 hi\r\n"));
	client_input(c, SLICE_LIT("250-srv\r\n250 STARTTLS\r\n"));
	assert_int_equal(client_input(c, in), 8);
	assert_int_equal(client_need(c), CLIENT_NEED_TLS);
	assert_int_equal(client_input(c, slice_sub(in, 8, in.n)), 0);
	client_sent(c, client_output(c, 1000).n);
	client_tls_done(c);
	assert_true(slice_eq(client_output(c, 1000), SLICE_LIT("EHLO us.example\r\n")));
	client_free(&c);
}

/* Addresses as a hostile client may once have written them. */
static void
test_addresses(void **state)
{
	static const struct { const char *a; uint8_t outcome; } c[] = {
		{ "b@y", NONE }, { "\"b c\"@y", NONE }, { "\"b>\\\"<\"@y", NONE },
		{ "b@y> SIZE=1", DELIVER_LOCAL }, { "b@y\r\nDATA", DELIVER_LOCAL },
		{ "b@y\n", DELIVER_LOCAL }, { "b c@y", DELIVER_LOCAL }, { "<b@y", DELIVER_LOCAL },
		{ "\"b@y", DELIVER_LOCAL }, { "", DELIVER_LOCAL }, { "\"b\\\r\"@y", DELIVER_LOCAL },
		{ "b\x7f@y", DELIVER_LOCAL }, { "\xc3\xa9@y", DELIVER_LOCAL },	/* no SMTPUTF8 */
	};
	struct client_config cfg = { .helo = "us.example" };
	struct client_message m = { .mail_from = SLICE_LIT("") };
	struct client_rcpt r = { .notify = 0 };
	struct smtp_client *cl;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		cl = client_new(&cfg);
		client_input(cl, SLICE_LIT("220 hi\r\n"));
		client_input(cl, SLICE_LIT("250 srv\r\n"));
		client_sent(cl, client_output(cl, 1000).n);
		r.address = slice_str(c[i].a);
		client_send(cl, &m, &r, 1);
		assert_int_equal(client_finished(cl), c[i].outcome != NONE);
		if (c[i].outcome != NONE) {
			assert_int_equal(client_results(cl)[0].outcome, c[i].outcome);
			assert_int_equal(client_output(cl, 10).n, 0);
		} else {
			assert_true(slice_eq(client_output(cl, 1000),
			    SLICE_LIT("MAIL FROM:<>\r\n")));
		}
		client_free(&cl);
	}
}

/* What a receiver makes of it: unstuffed content and nothing behind the final dot. */
static void
unstuff(const char *in, size_t n, char *out, size_t *no)
{
	size_t i, o = 0;
	bool bol = true;

	assert_true(n >= 3 && memcmp(in + n - 3, ".\r\n", 3) == 0);
	for (i = 0; i < n - 3; i++) {
		if (bol && in[i] == '.') {
			i++;
			assert_true(in[i] != '\r');	/* an end of data in the middle */
		}
		out[o++] = in[i];
		bol = in[i] == '\n';
	}
	*no = o;
}

static size_t
pump(struct client_data *d, char *out, size_t cap, size_t max)
{
	struct slice s;
	size_t n = 0, took;

	while ((s = client_data_next(d, max)).n > 0) {
		took = s.n > 1 && max == 5 ? s.n / 2 : s.n;	/* partial sends too */
		assert_true(n + took <= cap);
		memcpy(out + n, s.p, took);
		n += took;
		client_data_sent(d, took);
	}
	assert_true(client_data_done(d));
	return n;
}

static void
put_cut(struct buf *b, uint64_t off, uint64_t len)
{
	struct body_cut c = { off, len };

	assert_int_equal(wire_item_put(b, &body_cut_wire, &c), 0);
}

static void
spec_3_6_and_3_13_content(void **state)
{
	static const struct { const char *prefix, *body, *suffix; uint64_t cut[4]; const char *wire; }
	c[] = {
		{ "", "", "", { 0 }, ".\r\n" },
		{ "a\r\n", "", "", { 0 }, "a\r\n.\r\n" },
		{ "", "a", "", { 0 }, "a\r\n.\r\n" },
		{ "", "a\r", "", { 0 }, "a\r\n.\r\n" },
		{ "", "a\r\n", "", { 0 }, "a\r\n.\r\n" },
		{ "", ".", "", { 0 }, "..\r\n.\r\n" },
		{ "", "..\r\n.a\r\n", "", { 0 }, "...\r\n..a\r\n.\r\n" },
		{ "p\r\n", ".b\r\n", ".s\r\n", { 0 }, "p\r\n..b\r\n..s\r\n.\r\n" },
		{ "p", ".b", ".s", { 0 }, "p.b.s\r\n.\r\n" },
		{ "p\r", "\n.b\r", "\n.\r\n", { 0 }, "p\r\n..b\r\n..\r\n.\r\n" },
		{ "", "a\r\nXYZ.b\r\n", "", { 3, 3 }, "a\r\n..b\r\n.\r\n" },
		{ "", "XYa\r\n.b\r\nZ", "", { 0, 2, 9, 1 }, "a\r\n..b\r\n.\r\n" },
		{ "", "abc", "", { 0, 3 }, ".\r\n" },
		{ "", "a\n.\nb\r\n", "", { 0 }, "a\n..\nb\r\n.\r\n" },	/* 3.10: no smuggling */
	};
	struct client_data d;
	char out[256];
	struct buf cuts;
	size_t i, n, max;

	(void)state;
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		for (max = 1; max < 40; max++) {
			buf_init(&cuts, 1024);
			if (c[i].cut[1] > 0)
				put_cut(&cuts, c[i].cut[0], c[i].cut[1]);
			if (c[i].cut[3] > 0)
				put_cut(&cuts, c[i].cut[2], c[i].cut[3]);
			assert_int_equal(client_data_init(&d, slice_str(c[i].prefix),
			    slice_str(c[i].body), buf_slice(&cuts), slice_str(c[i].suffix)), 0);
			n = pump(&d, out, sizeof(out), max);
			assert_int_equal(n, strlen(c[i].wire));
			assert_memory_equal(out, c[i].wire, n);
			buf_fini(&cuts);
		}
}

/* Random content of few letters: what arrives is what was given, P3. */
static void
test_content_random(void **state)
{
	static const char letters[] = "..\r\n\r\n.ab";
	char in[64], out[512], back[512];
	struct client_data d;
	unsigned seed = 1;
	size_t i, k, n, no, want;

	(void)state;
	for (i = 0; i < 20000; i++) {
		n = (size_t)rand_r(&seed) % sizeof(in);
		for (k = 0; k < n; k++) {
			in[k] = letters[(size_t)rand_r(&seed) % 9];
			/* kept content has CRLF only as a pair (3.10) */
			if (in[k] == '\n' && (k == 0 || in[k - 1] != '\r'))
				in[k] = '.';
			if (k > 0 && in[k - 1] == '\r')
				in[k] = '\n';
		}
		k = n == 0 ? 0 : (size_t)rand_r(&seed) % n;
		assert_int_equal(client_data_init(&d, slice_make(in, k), slice_make(in + k, n - k),
		    SLICE_NONE, SLICE_NONE), 0);
		want = client_data_size(&d);
		no = pump(&d, out, sizeof(out), 1 + (size_t)rand_r(&seed) % 9);
		unstuff(out, no, back, &no);
		assert_int_equal(no, want);
		assert_memory_equal(back, in, n);
		if (no > n)
			assert_true(no - n <= 2 && back[no - 1] == '\n');
	}
}

static void
test_cuts_hostile(void **state)
{
	static const uint64_t bad[][4] = {
		{ 0, 11, 0, 0 }, { 11, 1, 0, 0 }, { UINT64_MAX, 2, 0, 0 }, { 5, 2, 6, 1 }, { 5, 2, 1, 1 },
	};
	struct client_data d;
	struct buf cuts;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		buf_init(&cuts, 1024);
		put_cut(&cuts, bad[i][0], bad[i][1]);
		if (bad[i][3] > 0)
			put_cut(&cuts, bad[i][2], bad[i][3]);
		assert_int_equal(client_data_init(&d, SLICE_NONE, SLICE_LIT("0123456789"),
		    buf_slice(&cuts), SLICE_NONE), -1);
		buf_fini(&cuts);
	}
	assert_int_equal(client_data_init(&d, SLICE_NONE, SLICE_LIT("0123456789"),
	    SLICE_LIT("abc"), SLICE_NONE), -1);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(spec_3_7_and_3_9_dialogues),
		cmocka_unit_test(test_starttls_injection),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(spec_3_6_and_3_13_content),
		cmocka_unit_test(test_content_random),
		cmocka_unit_test(test_cuts_hostile),
	};

	return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/*
 * The SMTP server machine under a hostile client and capricious neighbours. The input is
 * what the client sends, up to the first octet 0xff; behind it are the answers of directory,
 * seal, memory, verify and queue, one octet each. Every command gets one well-formed reply
 * with an enhanced code, commands are read only where the machine says so, bounds hold,
 * and 250 for a message comes from smtp_machine_kept alone (P1).
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "relay/smtp_machine.h"

enum { REPLY_MAX = 64 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bench {
	struct smtp_machine	 m;
	struct smtp_lexer	 lex;
	enum smtp_state		 st;
	struct buf		 reply;
	struct slice		 in, answers;
	uint64_t		 chunk;		/* octets of it that are still to come */
	bool			 open;
};

static const char text[] =
    "hostname = \"mx.example.net\"\nstate-dir = \"/nonexistent\"\n"
    "recipients-max = 3\nerrors-max = 5\njunk-commands-max = 9\nmessages-max = 3\n"
    "message-size-max = 64k\nheader-size-max = 16k\n"
    "listen \"127.0.0.1:2525\" { }\n"
    "forwarder { domain = \"fwd.example.net\" secret-file = \"/nonexistent/s\" }\n"
    "domain \"example.it\" { primary = \"lmtp://127.0.0.1:24\" }\n";

static const struct conf *
conf_of_all(void)
{
	static struct conf *c;
	struct conf_errors e = { 0 };

	if (c == NULL) {
		buf_init(&e.text, REPLY_MAX);
		c = conf_parse(slice_str(text), "fuzz", &e);
		CHECK(c != NULL);
		buf_fini(&e.text);
	}
	return c;
}

static unsigned
answer(struct bench *b)
{
	unsigned v = b->answers.n > 0 ? (unsigned char)b->answers.p[0] : 0;

	b->answers = slice_sub(b->answers, 1, b->answers.n);
	return v;
}

static bool
digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Lines of one reply after the other: codes agree, '-' on all lines but the last. */
static void
check_reply(struct slice r)
{
	char code[3] = "";
	bool more = false;

	while (r.n > 0) {
		size_t end = slice_find(r, '\n');
		struct slice line = slice_sub(r, 0, end);

		r = slice_sub(r, end + 1, r.n);
		CHECK(line.n >= 5 && line.n <= 510 && line.p[line.n - 1] == '\r');
		CHECK(line.p[0] >= '2' && line.p[0] <= '5' && digit(line.p[1]) && digit(line.p[2]));
		CHECK(line.p[3] == ' ' || line.p[3] == '-');
		CHECK(!more || memcmp(code, line.p, 3) == 0);
		memcpy(code, line.p, 3);
		more = line.p[3] == '-';
		for (size_t i = 0; i + 1 < line.n; i++)
			CHECK((unsigned char)line.p[i] >= ' ' && line.p[i] != 0x7f);
		/* RFC 2034: the class of the enhanced code is that of the reply */
		if (line.n > 9 && digit(line.p[4]) && line.p[5] == '.')
			CHECK(line.p[4] == line.p[0]);
	}
	CHECK(!more);
}

static void
step(struct bench *b, struct smtp_step s);

static void
neighbour(struct bench *b, enum smtp_action what)
{
	struct smtp_rcpt_answer a = { .user = SLICE_LIT("user@example.it") };
	unsigned v = answer(b);
	enum smtp_kept kept;

	if (what == SMTP_DO_DIRECTORY || what == SMTP_DO_SEAL) {
		a.verdict = (enum smtp_rcpt_verdict)(v % (SMTP_RCPT_STANDBY + 1));
		a.return_path = what == SMTP_DO_SEAL;
		CHECK(b->m.pending != NULL);
		step(b, smtp_machine_rcpt(&b->m, &a, &b->reply));
	} else if (what == SMTP_DO_BODY) {
		step(b, smtp_machine_body(&b->m, v % 4 != 3, &b->reply));
	} else if (what == SMTP_DO_KEEP) {
		CHECK(b->m.nrcpt > 0 && b->m.nrcpt <= b->m.conf->recipients_max);
		CHECK(b->m.mail_from != NULL);
		kept = (enum smtp_kept)(v % (SMTP_KEPT_REFUSED + 1));
		step(b, smtp_machine_kept(&b->m, kept, kept == SMTP_KEPT_REFUSED ?
		    SLICE_LIT("550 5.7.1 no\r\n") : SLICE_LIT("0123456789abcdef"), &b->reply));
	} else if (what == SMTP_DO_TLS) {
		b->m.tls_active = true;
		step(b, smtp_machine_tls(&b->m));
	}
}

static void
step(struct bench *b, struct smtp_step s)
{
	enum smtp_state was = b->st;
	struct slice r = buf_slice(&b->reply);

	check_reply(r);
	if (s.action == SMTP_DO_KEEP)
		CHECK(r.n == 0);	/* nothing is said of it before the queue has it */
	buf_clear(&b->reply);
	CHECK(s.next < SMTP_STATE_MAX);
	CHECK(was != SMTP_CLOSING);
	b->st = s.next;
	switch (s.action) {
	case SMTP_DO_CLOSE:
		b->open = false;
		return;
	case SMTP_DO_CHUNK:
		b->chunk = b->m.chunk;
		return;
	case SMTP_DO_NOTHING:
	case SMTP_DO_SENDER:
		break;
	default:
		neighbour(b, s.action);
		return;
	}
	if (b->st == SMTP_DATA && was != SMTP_DATA)
		smtp_lexer_begin(&b->lex, b->m.conf->header_size_max);
}

static bool
content(struct bench *b)
{
	struct slice out;
	size_t used;
	enum smtp_lexeme lex = smtp_lexer_data(&b->lex, b->in, &used, &out);

	b->in = slice_sub(b->in, used, b->in.n);
	if (lex == SMTP_LEX_END)
		step(b, smtp_machine_end(&b->m, b->lex.faults, &b->reply));
	return lex != SMTP_LEX_MORE;
}

static bool
octets(struct bench *b)
{
	size_t n = b->chunk < b->in.n ? (size_t)b->chunk : b->in.n;

	b->in = slice_sub(b->in, n, b->in.n);
	b->chunk -= n;
	if (b->chunk > 0)
		return false;
	step(b, smtp_machine_chunk(&b->m, answer(b) % 8 == 7 ? SMTP_FAULT_SIZE : 0, &b->reply));
	return true;
}

static bool
command(struct bench *b)
{
	struct slice line;
	size_t used;
	enum smtp_lexeme lex = smtp_lexer_line(&b->lex, b->in, &used, &line);
	struct smtp_step s;

	if (lex == SMTP_LEX_MORE)
		return false;
	b->in = slice_sub(b->in, used, b->in.n);
	s = smtp_machine_line(&b->m, b->st, lex, line, &b->reply);
	/* It is answered now, or by whom it is passed on to. */
	CHECK(buf_len(&b->reply) > 0 || (s.action >= SMTP_DO_DIRECTORY && s.action <= SMTP_DO_KEEP));
	step(b, s);
	return true;
}

static bool
turn(struct bench *b)
{
	switch (b->st) {
	case SMTP_GREETED:
	case SMTP_READY:
	case SMTP_MAIL:
	case SMTP_RCPT:
	case SMTP_BDAT:
		return command(b);
	case SMTP_DATA:
		return content(b);
	case SMTP_CHUNK:
		return octets(b);
	default:
		CHECK(0);	/* nobody is waited for here */
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice all = slice_make((const char *)data, size);
	size_t end = slice_find(all, '\xff');
	struct bench b = { .in = slice_sub(all, 0, end), .answers = slice_sub(all, end + 1, all.n),
		.open = true };

	smtp_lexer_init(&b.lex);
	smtp_machine_init(&b.m, conf_of_all());
	b.m.tls_offered = true;
	buf_init(&b.reply, REPLY_MAX);
	b.m.lmtp = answer(&b) % 2 == 1;
	b.m.front = answer(&b) % 2 == 1;
	step(&b, smtp_machine_greet(&b.m, &b.reply));
	while (b.open && turn(&b))
		CHECK(b.m.nrcpt <= b.m.conf->recipients_max);
	smtp_machine_fini(&b.m);
	buf_fini(&b.reply);
	return 0;
}

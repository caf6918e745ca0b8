// SPDX-License-Identifier: Apache-2.0
/* Content: how it begins, what may be wrong with it, and the answer to it. */
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "relay/smtp_machine_priv.h"

/* The answer to a message and the end of its transaction. In LMTP each recipient that was
 * taken hears it (RFC 2033 4.2); ours share one fate, as they share one commit. */
__attribute__((format(printf, 3, 4))) static struct smtp_step
machine_answer(struct smtp_machine *m, struct buf *reply, const char *fmt, ...)
{
	unsigned times = m->lmtp ? m->taken : 1;
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	CHECK(n > 0 && (size_t)n < sizeof(line));
	for (unsigned i = 0; i < times; i++)
		machine_say(reply, "%s", line);
	machine_reset(m);
	return machine_step(SMTP_READY, SMTP_DO_NOTHING);
}

/* Why there can be no content without recipients. A pipelining client sees this after the
 * answers to its recipients: if one of them may come back later, a 5yz here would make it
 * give up for good (P2). */
static const char *
machine_no_rcpt(const struct smtp_machine *m)
{
	if (m->rcpt_deferred)
		return "451 4.5.1 no recipient was taken, try again later";
	if (!m->rcpt_refused)
		return "503 5.5.1 RCPT comes first";
	/* RFC 2033 4.2 knows 503 only, RFC 2920 3.1 asks for 554 */
	return m->lmtp ? "503 5.5.1 no valid recipients" : "554 5.5.1 no valid recipients";
}

struct smtp_step
machine_cmd_data(struct smtp_machine *m, enum smtp_state st, struct slice arg,
    struct buf *reply)
{
	(void)arg;
	if (st == SMTP_RCPT)
		return machine_step(SMTP_WAIT_MEMORY, SMTP_DO_BODY);
	if (!m->rcpt_deferred && !m->rcpt_refused)
		return machine_wrong(m, st, reply, "%s", machine_no_rcpt(m));
	machine_say(reply, "%s", machine_no_rcpt(m));
	return machine_step(st, SMTP_DO_NOTHING);
}

/* "size [LAST]" (RFC 3030 2). 0 or -1. */
static int
bdat_args(struct slice arg, uint64_t *size, bool *last)
{
	struct slice n = slice_sub(arg, 0, slice_find(arg, ' '));
	struct slice rest = slice_trim(slice_sub(arg, n.n, arg.n));

	*last = rest.n > 0;
	if (n.n > 20 || slice_u64(n, size) != 0)
		return -1;
	return rest.n == 0 || slice_ieq(rest, SLICE_LIT("LAST")) ? 0 : -1;
}

/* Why this chunk is read and thrown away, or NULL. */
static const char *
bdat_obstacle(struct smtp_machine *m, enum smtp_state st)
{
	if (st == SMTP_GREETED)
		return "503 5.5.1 EHLO comes first";
	if (st == SMTP_READY)
		return "503 5.5.1 MAIL comes first";
	if (st == SMTP_MAIL)
		return machine_no_rcpt(m);
	if (m->chunk_error != NULL)	/* of a chunk before, for all that follow it */
		return m->chunk_error;
	if (!__builtin_add_overflow(m->chunks, m->chunk, &m->chunks) &&
	    m->chunks <= m->conf->message_size_max)
		return NULL;
	machine_count(m, SMTP_COUNT_SIZE);
	return "552 5.3.4 message too big";
}

/*
 * Octets follow a BDAT whatever we think of it. Where their number is not understood, what
 * follows cannot be told from commands, and somebody could smuggle some: the session ends.
 */
struct smtp_step
machine_cmd_bdat(struct smtp_machine *m, enum smtp_state st, struct slice arg,
    struct buf *reply)
{
	bool begun = m->bdat;

	if (bdat_args(arg, &m->chunk, &m->chunk_last) != 0) {
		machine_say(reply, "501 5.5.4 BDAT takes a size and perhaps LAST");
		return machine_enough(m, SMTP_COUNT_BAD_CHUNKS, reply);
	}
	if (m->chunk == 0 && !m->chunk_last && machine_tires(m))
		return machine_enough(m, SMTP_COUNT_COMMANDS, reply);
	m->chunk_back = (uint8_t)st;
	m->bdat = st == SMTP_RCPT || st == SMTP_BDAT;
	m->chunk_error = bdat_obstacle(m, st);
	if (!m->bdat && m->chunk_error[0] == '5' && m->chunk_error[1] == '0' &&
	    ++m->errors > m->conf->errors_max)
		return machine_enough(m, SMTP_COUNT_ERRORS, reply);
	if (m->chunk_error != NULL || begun)
		return machine_step(SMTP_CHUNK, SMTP_DO_CHUNK);
	return machine_step(SMTP_WAIT_MEMORY, SMTP_DO_BODY);
}

struct smtp_step
smtp_machine_body(struct smtp_machine *m, bool room, struct buf *reply)
{
	if (!room)
		machine_count(m, SMTP_COUNT_MEMORY);
	if (m->bdat) {
		if (!room)
			m->chunk_error = "452 4.3.1 no room for a message now, try again later";
		return machine_step(SMTP_CHUNK, SMTP_DO_CHUNK);
	}
	if (!room) {
		machine_reset(m);
		machine_say(reply, "452 4.3.1 no room for a message now, try again later");
		return machine_step(SMTP_READY, SMTP_DO_NOTHING);
	}
	machine_say(reply, "354 end with CR LF . CR LF");
	return machine_step(SMTP_DATA, SMTP_DO_NOTHING);
}

/* The reply to content that is not taken, NULL when it is. What is our own trouble comes
 * first: then nothing is said about the message (P2). */
static const char *
machine_fault(struct smtp_machine *m, unsigned faults)
{
	static const struct {
		unsigned fault;
		enum smtp_count count;
		const char *reply;
	} t[] = {
		{ SMTP_FAULT_LOCAL, SMTP_COUNT_MAX,
		  "451 4.3.0 could not keep the message, try again later" },
		{ SMTP_FAULT_SIZE, SMTP_COUNT_SIZE, "552 5.3.4 message too big" },
		{ SMTP_FAULT_MEMORY, SMTP_COUNT_MEMORY,
		  "452 4.3.1 no room for the message now, try again later" },
		{ SMTP_FAULT_HEADER, SMTP_COUNT_HEADER, "552 5.3.4 message header too big" },
		{ SMTP_FAULT_HEADER_NUL, SMTP_COUNT_CONTENT,
		  "550 5.6.0 NUL in the message header" },
		{ SMTP_FAULT_LONG, SMTP_COUNT_CONTENT,
		  "554 5.6.0 a line of the message is too long" },
		{ SMTP_FAULT_BARE, SMTP_COUNT_CONTENT, "550 5.5.2 bare CR or LF in the message" },
	};

	if (m->conf->bare_newline_reject == m->bare_other)	/* 3.10: normalize, for this peer */
		faults &= ~(unsigned)SMTP_FAULT_BARE;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if ((faults & t[i].fault) == 0)
			continue;
		if (t[i].count != SMTP_COUNT_MAX)
			machine_count(m, t[i].count);
		return t[i].reply;
	}
	return NULL;
}

struct smtp_step
smtp_machine_end(struct smtp_machine *m, unsigned faults, struct buf *reply)
{
	const char *text = machine_fault(m, faults);

	m->messages++;
	m->junk = m->commands = 0;
	if (text == NULL)
		return machine_step(SMTP_WAIT_VERDICT, SMTP_DO_KEEP);
	return machine_answer(m, reply, "%s", text);
}

/* RFC 3030 4.2: after a chunk that failed the message is lost, and each further chunk of it
 * gets the same answer, until the client begins again. */
struct smtp_step
smtp_machine_chunk(struct smtp_machine *m, unsigned faults, struct buf *reply)
{
	const char *error = m->chunk_error;

	if (error == NULL)
		error = m->chunk_error = machine_fault(m, faults);
	if (!m->bdat) {		/* where there was no message to begin with */
		machine_say(reply, "%s", error);
		m->chunk_error = NULL;
		return machine_step(m->chunk_back, SMTP_DO_NOTHING);
	}
	if (!m->chunk_last) {
		if (error != NULL)
			machine_say(reply, "%s", error);
		else
			machine_say(reply, "250 2.0.0 %llu octets taken",
			    (unsigned long long)m->chunk);
		return machine_step(SMTP_BDAT, SMTP_DO_NOTHING);
	}
	if (error == NULL)
		return smtp_machine_end(m, 0, reply);
	m->messages++;
	m->junk = m->commands = 0;
	return machine_answer(m, reply, "%s", error);
}

/* A refusal is worded by another process; it must still be one reply line. */
static bool
refusal_valid(struct slice s)
{
	if (s.n < 5 || s.n > 400 || (s.p[0] != '4' && s.p[0] != '5') || s.p[3] != ' ')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < ' ' || s.p[i] > '~')
			return false;
		if ((i == 1 || i == 2) && (s.p[i] < '0' || s.p[i] > '9'))
			return false;
	}
	return true;
}

struct smtp_step
smtp_machine_kept(struct smtp_machine *m, enum smtp_kept what, struct slice text,
    struct buf *reply)
{
	if (what == SMTP_KEPT_REFUSED && !refusal_valid(text))
		what = SMTP_KEPT_ERROR;	/* refused for what? Doubt is 4yz */
	switch (what) {
	case SMTP_KEPT:
		return machine_answer(m, reply, "250 2.0.0 kept as %.*s", SLICE_FMT(text));
	case SMTP_KEPT_FULL:
		return machine_answer(m, reply, "452 4.3.1 no room on disk now, try again later");
	case SMTP_KEPT_REFUSED:
		if (slice_istarts(text, SLICE_LIT("554 5.4.6 ")))
			machine_count(m, SMTP_COUNT_HOPS);	/* the only such word of verify */
		return machine_answer(m, reply, "%.*s", SLICE_FMT(text));
	case SMTP_KEPT_ERROR:
		break;
	}
	return machine_answer(m, reply, "451 4.3.0 could not keep the message, try again later");
}

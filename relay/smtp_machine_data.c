// SPDX-License-Identifier: Apache-2.0
/* Content: how it begins, what may be wrong with it, and the answer to it. */
#include "base/mem.h"
#include "relay/smtp_machine_priv.h"

struct smtp_step
machine_cmd_data(struct smtp_machine *m, enum smtp_state st, struct slice arg, struct buf *reply)
{
	(void)arg;
	if (st == SMTP_RCPT)
		return machine_step(SMTP_WAIT_MEMORY, SMTP_DO_BODY);
	/* A pipelining client sees this after the answers to its recipients: if one of them
	 * may come back later, a 5yz here would make it give up for good (P2). */
	if (m->rcpt_deferred) {
		machine_say(reply, "451 4.5.1 no recipient was taken, try again later");
		return machine_step(st, SMTP_DO_NOTHING);
	}
	if (m->rcpt_refused) {
		machine_say(reply, "554 5.5.1 no valid recipients");
		return machine_step(st, SMTP_DO_NOTHING);
	}
	return machine_wrong(m, st, reply, "503 5.5.1 RCPT comes first");
}

struct smtp_step
smtp_machine_body(struct smtp_machine *m, bool room, struct buf *reply)
{
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
machine_fault(const struct smtp_machine *m, unsigned faults)
{
	if (faults & SMTP_FAULT_LOCAL)
		return "451 4.3.0 could not keep the message, try again later";
	if (faults & SMTP_FAULT_SIZE)
		return "552 5.3.4 message too big";
	if (faults & SMTP_FAULT_MEMORY)
		return "452 4.3.1 no room for the message now, try again later";
	if (faults & SMTP_FAULT_HEADER)
		return "552 5.3.4 message header too big";
	if (faults & SMTP_FAULT_HEADER_NUL)
		return "550 5.6.0 NUL in the message header";
	if (faults & SMTP_FAULT_LONG)
		return "554 5.6.0 a line of the message is too long";
	if ((faults & SMTP_FAULT_BARE) && m->conf->bare_newline_reject)
		return "550 5.5.2 bare CR or LF in the message";
	return NULL;
}

struct smtp_step
smtp_machine_end(struct smtp_machine *m, unsigned faults, struct buf *reply)
{
	const char *text = machine_fault(m, faults);

	m->messages++;
	if (text == NULL)
		return machine_step(SMTP_WAIT_VERDICT, SMTP_DO_KEEP);
	machine_reset(m);
	machine_say(reply, "%s", text);
	return machine_step(SMTP_READY, SMTP_DO_NOTHING);
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
	machine_reset(m);
	if (what == SMTP_KEPT_REFUSED && !refusal_valid(text))
		what = SMTP_KEPT_ERROR;	/* refused for what? Doubt is 4yz */
	switch (what) {
	case SMTP_KEPT:
		machine_say(reply, "250 2.0.0 kept as %.*s", SLICE_FMT(text));
		break;
	case SMTP_KEPT_FULL:
		machine_say(reply, "452 4.3.1 no room on disk now, try again later");
		break;
	case SMTP_KEPT_REFUSED:
		machine_say(reply, "%.*s", SLICE_FMT(text));
		break;
	case SMTP_KEPT_ERROR:
		machine_say(reply, "451 4.3.0 could not keep the message, try again later");
		break;
	}
	return machine_step(SMTP_READY, SMTP_DO_NOTHING);
}

// SPDX-License-Identifier: Apache-2.0
/* Content on its way into a sealed memfd. */
#include <errno.h>
#include <unistd.h>

#include "base/body.h"
#include "base/log.h"
#include "relay/smtp_session_priv.h"

/* The message is gone from here: kept elsewhere, refused or given up. */
void
session_drop_body(struct session *s)
{
	if (s->body_fd >= 0)
		(void)close(s->body_fd);
	s->body_fd = -1;
	if (s->reserved > 0)
		server_release(s->sv, s->reserved);
	s->reserved = 0;
	s->body_size = 0;
	s->faults = 0;
	buf_fini(&s->gather);
	buf_init(&s->gather, GATHER_MAX);
}

static int
session_flush_gather(struct session *s)
{
	int r = body_append(s->body_fd, buf_slice(&s->gather));

	buf_clear(&s->gather);
	return r;
}

/* Grows the reservation ahead of the content, in steps that grow with it. */
static bool
session_room_for(struct session *s, uint64_t size)
{
	uint64_t more;

	if (size <= s->reserved)
		return true;
	more = size - s->reserved;
	if (more < s->reserved / 2 && server_reserve(s->sv, s->reserved / 2)) {
		s->reserved += s->reserved / 2;
		return true;
	}
	if (!server_reserve(s->sv, more))
		return false;
	s->reserved += more;
	return true;
}

static int
session_write(struct session *s, struct slice run)
{
	if (s->body_fd < 0) {
		s->body_fd = body_create();
		if (s->body_fd < 0)
			return -1;
	}
	if (run.n < RUN_DIRECT) {
		if (buf_len(&s->gather) + run.n > GATHER_MAX && session_flush_gather(s) != 0)
			return -1;
		return buf_put_slice(&s->gather, run);
	}
	if (session_flush_gather(s) != 0)
		return -1;
	return body_append(s->body_fd, run);
}

/* What cannot be kept is read to its end all the same: the answer comes after it. */
void
session_content(struct session *s, struct slice run)
{
	const unsigned fatal = SMTP_FAULT_SIZE | SMTP_FAULT_MEMORY | SMTP_FAULT_LOCAL;

	s->body_size += run.n;
	if (s->faults & fatal)
		return;
	if (s->body_size > s->sv->conf->message_size_max) {
		s->faults |= SMTP_FAULT_SIZE;
	} else if (!session_room_for(s, s->body_size)) {
		s->faults |= SMTP_FAULT_MEMORY;
	} else if (session_write(s, run) != 0) {
		log_error("body", "client=%s error=%s", s->ip, strerror(errno));
		s->faults |= SMTP_FAULT_LOCAL;
	}
	if (s->faults & fatal) {
		unsigned faults = s->faults;
		uint64_t size = s->body_size;

		session_drop_body(s);
		s->faults = faults;
		s->body_size = size;
	}
}

static int
session_seal(struct session *s)
{
	uint64_t spare;

	if (s->body_fd < 0) {
		s->body_fd = body_create();
		if (s->body_fd < 0)
			return -1;
	}
	if (session_flush_gather(s) != 0 || body_seal(s->body_fd) != 0)
		return -1;
	buf_fini(&s->gather);
	buf_init(&s->gather, GATHER_MAX);
	spare = s->reserved - s->body_size;
	s->reserved -= spare;
	server_release(s->sv, spare);
	return 0;
}

void
session_end_of_data(struct session *s)
{
	unsigned faults = s->faults | s->lex.faults;
	struct smtp_step step;

	smtp_lexer_init(&s->lex);
	if (faults == 0 || (faults & ~(unsigned)SMTP_FAULT_BARE) == 0) {
		if (session_seal(s) != 0) {
			log_error("body", "client=%s error=%s", s->ip, strerror(errno));
			faults |= SMTP_FAULT_LOCAL;
		}
	}
	s->id = msgid_new(ingest_relay_index(s->sv->ingest));
	step = s->m.bdat ? smtp_machine_chunk(&s->m, faults, &s->sv->reply) :
	    smtp_machine_end(&s->m, faults, &s->sv->reply);
	if (step.action != SMTP_DO_KEEP)
		session_drop_body(s);
	session_step(s, step);
}

/* -- chunks ---------------------------------------------------------------------- */

static void
session_chunk_end(struct session *s)
{
	struct smtp_step step;

	if (s->m.chunk_last && s->m.chunk_error == NULL) {
		struct slice rest = smtp_lexer_octets_end(&s->lex);

		if (rest.n > 0)
			session_content(s, rest);
		session_end_of_data(s);
		return;
	}
	step = smtp_machine_chunk(&s->m, s->faults | s->lex.faults, &s->sv->reply);
	if (s->m.chunk_error != NULL)
		session_drop_body(s);
	session_step(s, step);
}

void
session_chunk(struct session *s)
{
	s->chunk_left = s->m.chunk;
	if (s->m.chunk_error != NULL)
		session_drop_body(s);
	else if (s->m.chunks == s->m.chunk && s->body_size == 0)
		smtp_lexer_begin(&s->lex, s->sv->conf->header_size_max);
	if (s->chunk_left == 0)
		session_chunk_end(s);
}

/* Of a chunk that is not kept the octets are only counted. */
size_t
session_octets(struct session *s, struct slice in)
{
	size_t done = 0;

	in = slice_sub(in, 0, s->chunk_left < in.n ? (size_t)s->chunk_left : in.n);
	while (s->m.chunk_error == NULL) {
		struct slice out, rest = slice_sub(in, done, in.n);
		size_t used;
		enum smtp_lexeme lex = smtp_lexer_octets(&s->lex, rest,
		    in.n == s->chunk_left, &used, &out);

		done += used;
		if (lex == SMTP_LEX_MORE)
			break;
		session_content(s, out);
	}
	if (s->m.chunk_error != NULL)
		done = in.n;
	s->chunk_left -= done;
	if (s->chunk_left == 0)
		session_chunk_end(s);
	return done;
}

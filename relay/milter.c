// SPDX-License-Identifier: Apache-2.0
#include "relay/milter.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/dnsrr.h"
#include "base/envelope.h"
#include "base/log.h"
#include "base/mem.h"
#include "policy/header.h"
#include "relay/conn.h"
#include "relay/dns_net.h"
#include "relay/milter_proto.h"

enum {
	BODY_CHUNK	= 32 * 1024,
	OUT_MAX		= 2 * MILTER_DATA_MAX,	/* a command and its macros */
	LOG_EVERY_MS	= 10 * 1000		/* a filter that is down is down for every message */
};

enum step {			/* what is said next; the answer to it is waited for */
	STEP_OPTNEG, STEP_CONNECT, STEP_HELO, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_HEADER,
	STEP_EOH, STEP_BODY, STEP_EOM, STEP_END
};

struct milter_run {
	struct loop		*loop;
	struct conf_milter	*milter;	/* owned copies; nmilter of them */
	size_t			 nmilter, at;	/* the one being asked */
	char			*hostname;	/* owned */
	struct milter_mail	 m;
	struct milter_stats	*stats;
	milter_fn		*fn;
	void			*arg;
	struct timer		*soon;		/* never call back from within */
	struct slice		 map;		/* the message */
	struct buf		 fields;	/* added so far, by all */
	char			 reply[MILTER_REPLY_MAX];
	bool			 hold, discarded, clean;
	/* of the present filter */
	struct conn		*conn;
	struct milter_reader	 in;
	struct buf		 out;		/* what conn did not take yet */
	enum step		 step;
	bool			 waiting;	/* for the answer to `step` */
	uint32_t		 steps;		/* MILTER_NO_*, MILTER_MUTE_* */
	struct slice		 rcpts;		/* those not said yet */
	unsigned		 nrcpt, nrefused;	/* recipients said, refused by it */
	char			 rcpt_reply[MILTER_REPLY_MAX];
	struct header		 header;
	size_t			 body;		/* octets of `map` said so far */
	size_t			 nfields, fields_from;
};

/* -- life ------------------------------------------------------------------------------ */

static void
filter_close(struct milter_run *r)
{
	if (r->conn != NULL)
		conn_close(&r->conn);
	milter_reader_fini(&r->in);
	buf_fini(&r->out);
}

static void
run_free(struct milter_run *r)
{
	filter_close(r);
	timer_free(&r->soon);
	body_unmap(&r->map);
	buf_fini(&r->fields);
	for (size_t i = 0; i < r->nmilter; i++) {
		free(r->milter[i].name);
		free(r->milter[i].address);
	}
	free(r->milter);
	free(r->hostname);
	free(r);
}

void
milter_cancel(struct milter_run **rp)
{
	if (*rp != NULL)
		run_free(*rp);
	*rp = NULL;
}

static void
run_end(struct milter_run *r)
{
	struct milter_outcome o = { .reply = slice_str(r->reply), .hold = r->hold,
	    .clean = r->clean && !r->hold,
		.fields = buf_slice(&r->fields) };

	if (r->reply[0] == '5')
		r->stats->refused++;
	else if (r->reply[0] != '\0')
		r->stats->tempfailed++;
	else if (r->hold)
		r->stats->held++;
	if (r->reply[0] == '\0' && r->discarded)
		r->stats->discarded++;
	r->fn(r->arg, &o);
	run_free(r);
}

/* This filter has said what it has to say, or all of it is said now. */
static void
filter_done(struct milter_run *r)
{
	struct buf quit;

	buf_init(&quit, 16);
	if (r->conn != NULL && milter_put(&quit, MILTER_QUIT, SLICE_NONE) == 0 &&
	    conn_write(r->conn, buf_slice(&quit)) == 0)
		conn_finish(&r->conn);
	buf_fini(&quit);
	filter_close(r);
	r->at = r->reply[0] != '\0' ? r->nmilter : r->at + 1;
	timer_arm(r->soon, 0);
}

static void
filter_failed(struct milter_run *r, const char *why)
{
	const struct conf_milter *f = &r->milter[r->at];
	int64_t now = clock_mono_ms();

	r->stats->failed++;
	if (r->stats->logged_ms == 0 || now - r->stats->logged_ms >= LOG_EVERY_MS) {
		r->stats->logged_ms = now;
		log_warn("filter-failed", "name=%s address=%s reason=%s effect=%s failed=%llu",
		    log_escs(f->name), f->address, log_escs(why),
		    f->tempfail ? "tempfail" : "accept", (unsigned long long)r->stats->failed);
	}
	/* What it said before it fell silent about spam holds; a field may be half of a set. */
	r->fields.n = r->fields.off + r->fields_from;
	if (f->tempfail)
		(void)snprintf(r->reply, sizeof(r->reply),
		    "451 4.7.1 the content filter is not available, try again later");
	filter_done(r);
}

static void
filter_says(struct milter_run *r, const char *reply)
{
	(void)snprintf(r->reply, sizeof(r->reply), "%s", reply);
	filter_done(r);
}

/* -- what is said ---------------------------------------------------------------------- */

static int
say_optneg(struct milter_run *r)
{
	return milter_put_optneg(&r->out);
}

static int
say_connect(struct milter_run *r)
{
	struct milter_macros m;
	struct slice name = r->m.client_name.n > 0 ? r->m.client_name : SLICE_LIT("unknown");
	char client[DNS_NAME_MAX + 80];

	(void)snprintf(client, sizeof(client), "%.*s [%.*s]", SLICE_FMT(name),
	    SLICE_FMT(r->m.client_ip));
	milter_macros(&m, &r->out, MILTER_CONNECT);
	milter_macro(&m, "j", slice_str(r->hostname));
	milter_macro(&m, "{daemon_name}", slice_str(r->hostname));
	milter_macro(&m, "{client_addr}", r->m.client_ip);
	milter_macro(&m, "{client_name}", name);
	milter_macro(&m, "_", slice_str(client));
	return milter_macros_end(&m) != 0 ? -1 :
	    milter_put_connect(&r->out, name, r->m.client_ip);
}

static int
say_helo(struct milter_run *r)
{
	struct milter_macros m;
	size_t sp = slice_find(r->m.tls, ' ');

	milter_macros(&m, &r->out, MILTER_HELO);
	if (r->m.tls.n > 0) {	/* "TLSv1.3 TLS_AES_256_GCM_SHA384" */
		milter_macro(&m, "{tls_version}", slice_sub(r->m.tls, 0, sp));
		milter_macro(&m, "{cipher}", slice_sub(r->m.tls, sp + 1, r->m.tls.n));
	}
	return milter_macros_end(&m) != 0 ? -1 : milter_put_text(&r->out, MILTER_HELO, r->m.helo);
}

static int
say_mail(struct milter_run *r)
{
	struct milter_macros m;

	milter_macros(&m, &r->out, MILTER_MAIL);
	milter_macro(&m, "i", r->m.id);
	milter_macro(&m, "{mail_addr}", r->m.mail_from);
	return milter_macros_end(&m) != 0 ? -1 :
	    milter_put_path(&r->out, MILTER_MAIL, r->m.mail_from);
}

static int
say_rcpt(struct milter_run *r)
{
	struct envelope_rcpt rcpt;
	struct milter_macros m;

	CHECK(wire_item_next(&r->rcpts, &envelope_rcpt_wire, &rcpt) == 1);
	r->nrcpt++;
	milter_macros(&m, &r->out, MILTER_RCPT);
	milter_macro(&m, "{rcpt_addr}", rcpt.address);
	return milter_macros_end(&m) != 0 ? -1 :
	    milter_put_path(&r->out, MILTER_RCPT, rcpt.address);
}

/* DATA and the end of the message: the id alone goes with them. */
static int
say_with_id(struct milter_run *r, enum milter_command c)
{
	struct milter_macros m;

	milter_macros(&m, &r->out, c);
	milter_macro(&m, "i", r->m.id);
	return milter_macros_end(&m) != 0 ? -1 : milter_put(&r->out, c, SLICE_NONE);
}

static int
say_body(struct milter_run *r)
{
	struct slice part = slice_sub(r->map, r->body, r->body + BODY_CHUNK);

	r->body += part.n;
	return milter_put(&r->out, MILTER_BODY, part);
}

/* The others find out for themselves when they are over. */
static bool
step_is_once(enum step s)
{
	return s != STEP_RCPT && s != STEP_HEADER && s != STEP_BODY;
}

static bool
wants(const struct milter_run *r, uint32_t no)
{
	return (r->steps & no) == 0;
}

/* Steps that have nothing to say, or that the filter does not want, are passed over. True:
 * the command is in `out`; *mute when no answer comes. -1 in *rc when it does not fit. */
static bool
say_step(struct milter_run *r, bool *mute, int *rc)
{
	struct header_field f;
	struct slice rest = r->rcpts;
	struct envelope_rcpt rcpt;

	*mute = false;
	switch (r->step) {
	case STEP_OPTNEG:
		*rc = say_optneg(r);
		return true;
	case STEP_CONNECT:
		*mute = !wants(r, MILTER_MUTE_CONNECT);
		return wants(r, MILTER_NO_CONNECT) && (*rc = say_connect(r), true);
	case STEP_HELO:
		*mute = !wants(r, MILTER_MUTE_HELO);
		return wants(r, MILTER_NO_HELO) && (*rc = say_helo(r), true);
	case STEP_MAIL:
		*mute = !wants(r, MILTER_MUTE_MAIL);
		return wants(r, MILTER_NO_MAIL) && (*rc = say_mail(r), true);
	case STEP_RCPT:
		*mute = !wants(r, MILTER_MUTE_RCPT);
		return wants(r, MILTER_NO_RCPT) &&
		    wire_item_next(&rest, &envelope_rcpt_wire, &rcpt) == 1 &&
		    (*rc = say_rcpt(r), true);
	case STEP_DATA:
		*mute = !wants(r, MILTER_MUTE_DATA);
		return wants(r, MILTER_NO_DATA) && (*rc = say_with_id(r, MILTER_DATA), true);
	case STEP_HEADER:
		*mute = !wants(r, MILTER_MUTE_HEADER);
		if (!header_next(&r->header, &f)) {
			r->body = r->header.body;
			return false;
		}
		*rc = wants(r, MILTER_NO_HEADER) ? milter_put_header(&r->out, f.name, f.value,
		    !wants(r, MILTER_LEADING_SPACE)) : 0;
		*mute = *mute || !wants(r, MILTER_NO_HEADER);
		return true;
	case STEP_EOH:
		*mute = !wants(r, MILTER_MUTE_EOH);
		return wants(r, MILTER_NO_EOH) &&
		    (*rc = milter_put(&r->out, MILTER_EOH, SLICE_NONE), true);
	case STEP_BODY:
		*mute = !wants(r, MILTER_MUTE_BODY);
		return wants(r, MILTER_NO_BODY) && r->body < r->map.n && (*rc = say_body(r), true);
	case STEP_EOM:
		*rc = say_with_id(r, MILTER_EOM);
		return true;
	case STEP_END:
		break;
	}
	return false;
}

/* Says what can be said until an answer is due or the connection has enough. */
static void
filter_advance(struct milter_run *r)
{
	while (!r->waiting && r->step < STEP_END) {
		bool mute;
		int rc = 0;

		if (buf_len(&r->out) > 0) {
			struct slice s = slice_sub(buf_slice(&r->out), 0, CONN_WRITE_MAX);

			if (conn_write(r->conn, s) != 0)
				return;		/* CONN_WRITABLE comes */
			buf_drop(&r->out, s.n);
			continue;
		}
		if (!say_step(r, &mute, &rc)) {
			r->step++;
			continue;
		}
		if (rc != 0) {
			filter_failed(r, "a command is too long for it");
			return;
		}
		r->waiting = !mute;
		if (mute && step_is_once(r->step))
			r->step++;
	}
	while (buf_len(&r->out) > 0) {
		struct slice s = slice_sub(buf_slice(&r->out), 0, CONN_WRITE_MAX);

		if (conn_write(r->conn, s) != 0)
			return;
		buf_drop(&r->out, s.n);
	}
}

/* -- what is answered ------------------------------------------------------------------- */

static void
field_add(struct milter_run *r, struct slice name, struct slice value)
{
	const struct conf_milter *f = &r->milter[r->at];

	if (milter_field_spam(name, value))
		r->hold = true;
	r->clean = r->clean || milter_field_clean(name, value);
	r->fields.max = r->fields_from + f->fields_size;
	if (!milter_field_allowed(name) || r->nfields >= f->fields_max ||
	    milter_put_field(&r->fields, name, value) != 0) {
		r->stats->ignored++;
		return;
	}
	r->nfields++;
	r->stats->fields++;
}

/* 0; -1 when it is nonsense. */
static int
filter_changes(struct milter_run *r, const struct milter_frame *f)
{
	struct slice name, value;

	switch (f->answer) {
	case MILTER_ADDHEADER:
	case MILTER_INSHEADER:
	case MILTER_CHGHEADER:
		if (f->cut) {
			r->stats->ignored++;
			return 0;
		}
		if (milter_get_header(f->data, f->answer != MILTER_ADDHEADER, &name, &value) != 0)
			return -1;
		/* A field that is to be changed stays; the new one is put above all. Without a
		 * value it would be deleted, and stays too. */
		if (f->answer == MILTER_CHGHEADER)
			r->stats->ignored++;
		if (f->answer != MILTER_CHGHEADER || value.n > 0)
			field_add(r, name, value);
		return 0;
	case MILTER_QUARANTINE:
		r->hold = true;
		return 0;
	case MILTER_REPLBODY:
	case MILTER_CHGFROM:
	case MILTER_ADDRCPT:
	case MILTER_ADDRCPT_PAR:
	case MILTER_DELRCPT:
		r->stats->ignored++;
		return 0;
	case MILTER_PROGRESS:		/* the deadline stays */
		return 0;
	}
	return -1;
}

/* A recipient that has 250 already cannot be refused alone; when all are, the message is. */
static bool
filter_rcpt_refused(struct milter_run *r, const char *reply)
{
	struct slice rest = r->rcpts;
	struct envelope_rcpt rcpt;

	r->nrefused++;
	/* One that may come again later is worth a whole later try. */
	if (r->rcpt_reply[0] == '\0' || reply[0] == '4')
		(void)snprintf(r->rcpt_reply, sizeof(r->rcpt_reply), "%s", reply);
	if (r->nrefused == r->nrcpt && wire_item_next(&rest, &envelope_rcpt_wire, &rcpt) != 1) {
		r->stats->ignored -= r->nrefused - 1;
		return true;
	}
	r->stats->ignored++;
	return false;
}

static void
filter_refuses(struct milter_run *r, const char *reply)
{
	if (r->step == STEP_RCPT && !filter_rcpt_refused(r, reply)) {
		r->waiting = false;
		filter_advance(r);
		return;
	}
	filter_says(r, r->step == STEP_RCPT ? r->rcpt_reply : reply);
}

static void
filter_optneg(struct milter_run *r, const struct milter_frame *f)
{
	if (f->answer != MILTER_OPTNEG || milter_get_optneg(f->data, &r->steps) != 0) {
		filter_failed(r, "it does not speak our version of the protocol");
		return;
	}
	r->waiting = false;
	r->step = STEP_CONNECT;
	filter_advance(r);
}

/* It has seen the message, or needs not see more of it. */
static void
filter_takes(struct milter_run *r)
{
	r->clean = r->clean || r->milter[r->at].spam;
	filter_done(r);
}

static void
filter_continues(struct milter_run *r)
{
	if (r->step == STEP_EOM) {
		filter_takes(r);
		return;
	}
	if (step_is_once(r->step))
		r->step++;
	r->waiting = false;
	filter_advance(r);
}

static void
filter_answer(struct milter_run *r, const struct milter_frame *f)
{
	char text[MILTER_REPLY_MAX];

	if (r->step == STEP_OPTNEG) {
		filter_optneg(r, f);
		return;
	}
	switch (f->answer) {
	case MILTER_CONTINUE:
		filter_continues(r);
		return;
	case MILTER_SKIP:
		if (r->step == STEP_BODY)
			r->body = r->map.n;
		filter_continues(r);
		return;
	case MILTER_ACCEPT:
		filter_takes(r);
		return;
	case MILTER_DISCARD:
		r->hold = r->discarded = true;
		filter_done(r);
		return;
	case MILTER_REJECT:
		filter_refuses(r, "550 5.7.1 the message is refused by a content filter");
		return;
	case MILTER_TEMPFAIL:
	case MILTER_CONNFAIL:
		filter_refuses(r, "451 4.7.1 try again later, says a content filter");
		return;
	case MILTER_REPLYCODE:
		if (milter_reply(f->data, text) == 0)
			filter_refuses(r, text);
		else
			filter_failed(r, "its reply code is none");
		return;
	}
	if (f->answer != MILTER_PROGRESS && r->step != STEP_EOM)
		filter_failed(r, "it changes the message before its end");
	else if (filter_changes(r, f) != 0)
		filter_failed(r, "its answer is none of the protocol");
}

/* Only while an answer is due; what comes unasked is nonsense. */
static size_t
filter_input(void *arg, struct slice in)
{
	struct milter_run *r = arg;
	struct milter_frame f;
	size_t done = 0, used;

	while (r->conn != NULL && done < in.n) {
		enum milter_read rd = milter_reader_feed(&r->in, slice_sub(in, done, in.n), &used,
		    &f);

		done += used;
		if (rd == MILTER_MORE)
			break;
		if (rd == MILTER_NONSENSE || !r->waiting) {
			filter_failed(r, rd == MILTER_NONSENSE ? "its answer is no frame" :
			    "it answers what was not asked");
			break;
		}
		filter_answer(r, &f);
	}
	return in.n;
}

static void
filter_event(void *arg, enum conn_event ev)
{
	struct milter_run *r = arg;

	switch (ev) {
	case CONN_CONNECTED:
	case CONN_WRITABLE:
		filter_advance(r);
		return;
	case CONN_TLS:
		return;
	case CONN_EOF:
		filter_failed(r, "it closed the connection");
		return;
	case CONN_ERROR:
		filter_failed(r, conn_error(r->conn));
		return;
	case CONN_TIMEOUT:
		filter_failed(r, "it takes too long");
		return;
	}
}

/* -- one after the other ---------------------------------------------------------------- */

static socklen_t
filter_sockaddr(const char *address, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	struct dns_server s;

	memset(out, 0, sizeof(*out));
	if (dns_server_parse(slice_str(address), &s) != 0)
		return 0;
	if (s.family == AF_INET) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(s.port);
		memcpy(&v4->sin_addr, &s.addr, sizeof(v4->sin_addr));
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(s.port);
	memcpy(&v6->sin6_addr, &s.addr, sizeof(v6->sin6_addr));
	return sizeof(*v6);
}

static void
run_next(struct milter_run *r)
{
	static const struct conn_ops ops = { filter_input, filter_event };
	const struct conf_milter *f = &r->milter[r->at];
	struct sockaddr_storage to;
	socklen_t len = filter_sockaddr(f->address, &to);

	r->step = STEP_OPTNEG;
	r->waiting = false;
	r->steps = 0;
	r->rcpts = r->m.rcpts;
	r->nrcpt = r->nrefused = 0;
	r->rcpt_reply[0] = '\0';
	r->body = 0;
	r->nfields = 0;
	r->fields_from = buf_len(&r->fields);
	header_start(&r->header, r->map);
	milter_reader_init(&r->in);
	buf_init(&r->out, OUT_MAX);
	r->stats->asked++;
	r->conn = len == 0 ? NULL :
	    conn_connect(r->loop, (struct sockaddr *)&to, len, NULL, 0, &ops, r);
	if (r->conn == NULL)
		filter_failed(r, "no connection can be made");
	else
		conn_deadline(r->conn, f->timeout_ms);
}

static void
run_soon(void *arg)
{
	struct milter_run *r = arg;

	if (r->at < r->nmilter)
		run_next(r);
	else
		run_end(r);
}

static void
run_copy_conf(struct milter_run *r, const struct conf *c)
{
	r->nmilter = c->nmilter;
	r->milter = mem_array(c->nmilter, sizeof(*r->milter));
	for (size_t i = 0; i < c->nmilter; i++) {
		r->milter[i] = c->milter[i];
		r->milter[i].name = mem_str(c->milter[i].name);
		r->milter[i].address = mem_str(c->milter[i].address);
	}
	r->hostname = mem_str(c->hostname);
}

struct milter_run *
milter_start(struct loop *l, const struct conf *c, const struct milter_mail *m,
    struct milter_stats *stats, milter_fn *fn, void *arg)
{
	struct milter_run *r;

	if (c->nmilter == 0)
		return NULL;
	r = mem_new(sizeof(*r));
	r->loop = l;
	r->m = *m;
	r->stats = stats;
	r->fn = fn;
	r->arg = arg;
	run_copy_conf(r, c);
	milter_reader_init(&r->in);
	buf_init(&r->out, OUT_MAX);
	buf_init(&r->fields, 0);
	r->soon = timer_new(l, run_soon, r);
	if (body_map(m->body_fd, &r->map) != 0) {
		/* Our own trouble: as if the filters could not be reached. */
		log_error("filter-map", "fd=%d", m->body_fd);
		for (size_t i = 0; i < r->nmilter; i++) {
			if (r->milter[i].tempfail)
				(void)snprintf(r->reply, sizeof(r->reply),
				    "451 4.3.0 the message could not be shown to the filter");
		}
		r->at = r->nmilter;
	}
	timer_arm(r->soon, 0);
	return r;
}

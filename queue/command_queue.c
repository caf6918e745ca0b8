// SPDX-License-Identifier: Apache-2.0
/* Looking at the queue: queue-list and queue-show. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "queue/control_priv.h"
#include "queue/report.h"

enum {
	LIST_DEFAULT = 100,
	LIST_MAX = 1000,
	LIST_WAIT_MS = 1000,
	SHOW_RCPT_MAX = 10000,
	SHOW_CONTENT_MAX = 11 * 1024 * 1024	/* base64 of it fits a reply */
};
#define AGE_MAX_MS	(100LL * 366 * 24 * 3600 * 1000)

/* ---- queue list ---- */

static bool
list_visit(void *arg, const struct spool_entry *e)
{
	struct request *rq = arg;
	struct spool_message m;

	if (!operate_fits_entry(&rq->filter, rq->queue->failover, e))
		return true;
	bool have = spool_read(rq->queue->spool, e->ref, false, &m) == 0;
	if (operate_needs_record(&rq->filter) &&
	    (!have || !operate_fits_record(&rq->filter, &m, e->rcpt_index))) {
		if (have)
			spool_message_fini(&m);
		return true;
	}
	json_array_append_new(rq->list, report_recipient(rq->queue->spool, e, have ? &m : NULL));
	if (have)
		spool_message_fini(&m);
	return ++rq->count < rq->limit;
}

static void
list_done(void *arg, bool end, struct spool_cursor at)
{
	struct request *rq = arg;
	char after[64];
	uint64_t looked = walk_looked(rq->walk);

	rq->walk = NULL;
	(void)snprintf(after, sizeof(after), "%llx:%x", (unsigned long long)at.segment, at.entry);
	json_t *o = command_ok();
	json_object_set(o, "messages", rq->list);
	json_object_set_new(o, "more", json_boolean(!end));
	json_object_set_new(o, "after", end ? json_null() : json_string(after));
	json_object_set_new(o, "looked", json_integer((json_int_t)looked));
	control_reply(rq, o);
}

static int
hex_u64(struct slice s, uint64_t *out)
{
	*out = 0;
	if (s.n == 0 || s.n > 16)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		char c = ascii_lower(s.p[i]);

		if (c >= '0' && c <= '9')
			*out = *out << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*out = *out << 4 | (uint64_t)(c - 'a' + 10);
		else
			return -1;
	}
	return 0;
}

static int
cursor_parse(const char *text, struct spool_cursor *out)
{
	struct slice s = slice_str(text);
	size_t colon = slice_find(s, ':');
	uint64_t entry;

	*out = (struct spool_cursor){ 0 };
	if (s.n == 0)
		return 0;
	if (hex_u64(slice_sub(s, 0, colon), &out->segment) < 0 || colon == s.n ||
	    hex_u64(slice_sub(s, colon + 1, s.n), &entry) < 0 || entry > UINT32_MAX)
		return -1;
	out->entry = (uint32_t)entry;
	return 0;
}

/* The directory's own form of a user: domain in lower case, local part too when folded. */
static uint64_t
user_hash(const struct conf *c, const char *user)
{
	char *copy = mem_str(user);
	size_t n = strlen(copy), at = slice_rfind(slice_make(copy, n), '@');

	if (at < n) {
		const struct conf_domain *d = conf_domain_find(c, slice_make(copy + at + 1, n - at - 1));

		bytes_lower(copy + at, n - at);
		if (d == NULL || d->fold_local)
			bytes_lower(copy, at);
	}
	uint64_t h = spool_user(slice_make(copy, n));
	free(copy);
	return h;
}

/* Its value, or NULL when it was not given. */
static const char *
filter_text(const struct request *rq, const char *name)
{
	const char *s = request_string(rq, name);

	return s[0] == '\0' ? NULL : s;
}

/* Served, or not any more and its mail is here. A slip of the pen would else look like a
 * queue with nothing in it. */
static bool
domain_known(struct queue *q, const char *domain)
{
	char lower[256];
	struct spool_sums s;

	for (size_t i = 0; i < failover_count(q->failover); i++)
		if (slice_ieq(slice_str(failover_at(q->failover, i)->domain), slice_str(domain)))
			return true;
	if (slice_cstr(slice_str(domain), lower, sizeof(lower)) < 0)
		return false;
	bytes_lower(lower, strlen(lower));
	spool_total(q->spool, spool_group(slice_str(lower), SLICE_NONE), &s);
	return s.received > 0;
}

int
command_filter(struct request *rq)
{
	struct operate_filter *f = &rq->filter;
	int64_t now = clock_wall_ms(), older = request_int(rq, "older_ms", 0),
	    newer = request_int(rq, "newer_ms", 0);

	*f = (struct operate_filter){ 0 };
	if (operate_state(request_string(rq, "state"), &f->state) < 0) {
		control_fail(rq, "%s: unknown state \"%.32s\": all, held, on-hold, refused, backlog, "
		    "or the state of a leg as queue show has it", rq->command->name,
		    request_string(rq, "state"));
		return -1;
	}
	if (older < 0 || newer < 0 || older > AGE_MAX_MS || newer > AGE_MAX_MS) {
		control_fail(rq, "%s: an age is 0 to 100 years", rq->command->name);
		return -1;
	}
	if (older > 0)
		f->to_ms = now - older;
	if (newer > 0)
		f->from_ms = now - newer;
	if (request_string(rq, "user")[0] != '\0')
		f->user = user_hash(rq->queue->role->conf, request_string(rq, "user"));
	f->domain = filter_text(rq, "domain");
	if (f->domain != NULL && !domain_known(rq->queue, f->domain)) {
		control_fail(rq, "%s: no mail of %.255s is here, and it is no domain of the "
		    "configuration", rq->command->name, f->domain);
		return -1;
	}
	f->sender = filter_text(rq, "sender");
	f->client = filter_text(rq, "client");
	f->match = filter_text(rq, "match");
	return 0;
}

void
command_list(struct request *rq)
{
	struct spool_filter f;
	struct spool_cursor from;
	int64_t limit = request_int(rq, "limit", LIST_DEFAULT);

	if (limit < 1) {
		control_fail(rq, "queue-list: limit is 1 to %d", LIST_MAX);
		return;
	}
	if (command_filter(rq) < 0)
		return;
	if (cursor_parse(request_string(rq, "after"), &from) < 0) {
		control_fail(rq, "queue-list: \"after\" is not from an earlier reply");
		return;
	}
	operate_spool_filter(&rq->filter, rq->queue->failover, &f);
	rq->limit = limit > LIST_MAX ? LIST_MAX : (uint64_t)limit;
	rq->list = json_array();
	rq->walk = walk_start(rq->queue->role->loop, rq->queue->spool, &f, from, list_visit,
	    list_done, rq);
	/* A page that is not full after that says how far it came. */
	walk_hurry(rq->walk, LIST_WAIT_MS);
}

/* ---- queue show ---- */

int
command_message(struct request *rq, struct spool_ref **refs)
{
	struct msgid id;

	if (msgid_parse(slice_str(request_string(rq, "id")), &id) < 0) {
		control_fail(rq, "\"%.32s\" is not a message id", request_string(rq, "id"));
		return -1;
	}
	*refs = mem_array(SHOW_RCPT_MAX, sizeof(**refs));
	int n = spool_find(rq->queue->spool, id, *refs, SHOW_RCPT_MAX);
	if (n > 0)
		return n < SHOW_RCPT_MAX ? n : SHOW_RCPT_MAX;
	free(*refs);
	*refs = NULL;
	control_fail(rq, "no message %s here: never seen, or all of it is settled and gone",
	    request_string(rq, "id"));
	return -1;
}

/* The bytes of a message are personal: who looks at them is written down first. 0 or -1. */
static int
show_allowed(struct request *rq)
{
	const struct audit_record r = { .event = "content-shown", .who = rq->who,
		.id = request_string(rq, "id") };

	if (audit_write(rq->queue->audit, &r) == 0)
		return 0;
	control_fail(rq, "the audit log cannot be written, so content is not shown: %s",
	    strerror(errno));
	return -1;
}

static int
show_content(struct request *rq, const struct spool_message *m, json_t *o)
{
	struct slice body;
	struct buf text;

	if (m->env.body_size > SHOW_CONTENT_MAX) {
		control_fail(rq, "the message has %llu bytes, more than a reply can carry (%d)",
		    (unsigned long long)m->env.body_size, SHOW_CONTENT_MAX);
		return -1;
	}
	if (show_allowed(rq) < 0)
		return -1;
	if (body_map(m->body_fd, &body) < 0) {
		control_fail(rq, "the content cannot be read: %s", strerror(errno));
		return -1;
	}
	buf_init(&text, CONTROL_REPLY_MAX);
	int rc = crypto_base64(&text, body);
	body_unmap(&body);
	if (rc == 0) {
		struct slice s = buf_slice(&text);
		json_object_set_new(o, "content", json_stringn(s.n == 0 ? "" : s.p, s.n));
	}
	buf_fini(&text);
	if (rc < 0)
		control_fail(rq, "the content does not fit a reply");
	return rc;
}

/* A bounce whose body is kept (2.2.5, bounce-debug-key-file); its record may be gone. False:
 * it is none. */
static bool
show_debris(struct request *rq)
{
	struct msgid id;
	struct buf body, text;
	bool found;

	buf_init(&body, DEBRIS_ONE_MAX);
	buf_init(&text, CONTROL_REPLY_MAX);
	found = msgid_parse(slice_str(request_string(rq, "id")), &id) == 0 &&
	    debris_get(rq->queue->debris, id, &body) == 0;
	if (found && show_allowed(rq) == 0) {
		if (crypto_base64(&text, buf_slice(&body)) != 0) {
			control_fail(rq, "the content does not fit a reply");
		} else {
			json_t *o = command_ok();
			struct slice s = buf_slice(&text);

			json_object_set_new(o, "content", json_stringn(s.n == 0 ? "" : s.p, s.n));
			control_reply(rq, o);
		}
	}
	buf_fini(&body);
	buf_fini(&text);
	return found;
}

void
command_show(struct request *rq)
{
	struct spool_ref *refs = NULL;
	struct spool_message m;
	bool content = request_bool(rq, "content");

	if (content && show_debris(rq))
		return;
	int n = command_message(rq, &refs);

	if (n < 0)
		return;
	if (spool_read(rq->queue->spool, refs[0], content, &m) < 0) {
		free(refs);
		control_fail(rq, "the record of %s is damaged and was set aside",
		    request_string(rq, "id"));
		return;
	}
	json_t *o = command_ok();
	json_object_set_new(o, "message", report_message(rq->queue->spool, &m, refs, (size_t)n));
	free(refs);
	if (!content || show_content(rq, &m, o) == 0)
		control_reply(rq, o);
	else
		json_decref(o);
	spool_message_fini(&m);
}

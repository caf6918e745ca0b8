// SPDX-License-Identifier: Apache-2.0
/* The control socket, from outside: requests well and badly made, several clients, long
 * replies, and that no recovery address is ever told (P4). */
#include "queue/control.h"
#include "tests/queue/queue_house.h"

#include <jansson.h>

static int
connect_to(struct house *h)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/control.sock", h->dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

struct reader {
	int		fd;
	struct buf	in;
	bool		eof;
};

static bool
reader_has_line(struct house *h, const void *arg)
{
	struct reader *r = (struct reader *)(uintptr_t)arg;
	char piece[65536];
	ssize_t n;

	(void)h;
	while ((n = recv(r->fd, piece, sizeof(piece), MSG_DONTWAIT)) > 0)
		assert_int_equal(buf_put(&r->in, piece, (size_t)n), 0);
	if (n == 0)
		r->eof = true;
	return r->eof || slice_find(buf_slice(&r->in), '\n') < buf_len(&r->in);
}

/* One reply, owned; NULL when the server closed. */
static json_t *
reply(struct house *h, struct reader *r)
{
	house_until(h, reader_has_line, r);
	struct slice s = buf_slice(&r->in);
	size_t n = slice_find(s, '\n');
	if (n >= s.n)
		return NULL;
	json_t *o = json_loadb(s.p, n, 0, NULL);
	assert_non_null(o);
	buf_drop(&r->in, n + 1);
	return o;
}

static void
say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void
reader_open(struct house *h, struct reader *r)
{
	*r = (struct reader){ .fd = connect_to(h) };
	buf_init(&r->in, 20 * 1024 * 1024);
	house_turn(h);		/* or the backlog of the listener fills, and connect waits */
}

static void
reader_close(struct reader *r)
{
	close(r->fd);
	buf_fini(&r->in);
}

/* Asks once on a fresh connection. */
static json_t *
ask(struct house *h, const char *request)
{
	struct reader r;

	reader_open(h, &r);
	say(r.fd, request);
	say(r.fd, "\n");
	json_t *o = reply(h, &r);
	assert_non_null(o);
	reader_close(&r);
	return o;
}

static const char *
str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s == NULL ? "(none)" : s;
}

static json_int_t
num(const json_t *o, const char *key)
{
	assert_true(json_is_integer(json_object_get(o, key)));
	return json_integer_value(json_object_get(o, key));
}

static void
bad_requests_are_told_why(void **state)
{
	struct house *h = *state;
	static const struct { const char *request, *error; } cases[] = {
		{ "junk", "a request is one JSON object" },
		{ "[]", "a request is one JSON object on a line: this is an array" },
		{ "{\"cmd\":\"status\",\"cmd\":\"status\"}", "a request is one JSON object" },
		{ "{}", "unknown command \"\"" },
		{ "{\"cmd\":\"reboot\"}", "unknown command \"reboot\"" },
		{ "{\"cmd\":\"status\",\"x\":1}", "status: unknown field \"x\"" },
		{ "{\"cmd\":\"queue-list\",\"limit\":\"9\"}", "field \"limit\" has the wrong type, it is a whole number" },
		{ "{\"cmd\":\"queue-show\",\"id\":5}", "it is a string" },
		{ "{\"cmd\":\"queue-show\",\"id\":\"x\",\"content\":1}", "it is true or false" },
		{ "{\"cmd\":\"123456789012345678901234567890123456789012345678901234567890123\u00e8\"}",
		  "123\\xc3\"" },
		{ "{\"cmd\":\"why\",\"user\":\"\"}", "\"user\" is empty" },
		{ "{\"cmd\":\"failover-windows\",\"domain\":\"c.example\"}", "no such domain" },
		{ "{\"cmd\":\"report\",\"domain\":\"c.example\",\"since_ms\":1}", "no such domain" },
		{ "{\"cmd\":\"queue-list\",\"limit\":0}", "limit is 1 to" },
		{ "{\"cmd\":\"queue-list\",\"state\":\"odd\"}", "unknown state" },
		{ "{\"cmd\":\"queue-list\",\"after\":\"zz\"}", "not from an earlier reply" },
		{ "{\"cmd\":\"queue-list\",\"after\":\"1:fffffffff\"}", "not from an earlier reply" },
		{ "{\"cmd\":\"queue-show\"}", "\"id\" is required" },
		{ "{\"cmd\":\"queue-show\",\"id\":\"nope\"}", "not a message id" },
		{ "{\"cmd\":\"queue-show\",\"id\":\"0000000000000000\"}", "no message" },
		{ "{\"cmd\":\"queue-retry\"}", "give an id or say which" },
		{ "{\"cmd\":\"queue-hold\",\"id\":\"0000000000000000\",\"user\":\"u@a.example\"}",
		  "give an id or say which" },
		{ "{\"cmd\":\"queue-hold\",\"dry_run\":true}", "give an id or say which" },
		{ "{\"cmd\":\"queue-drop\",\"domain\":\"b.example\"}", "\"reason\" is required" },
		{ "{\"cmd\":\"queue-drop\",\"domain\":\"b.example\",\"reason\":\" \"}",
		  "\"reason\" is required" },
		{ "{\"cmd\":\"queue-release\",\"older_ms\":-1,\"user\":\"x\"}", "an age is" },
		{ "{\"cmd\":\"queue-summary\",\"state\":\"odd\"}", "unknown state \"odd\": all, held" },
		{ "{\"cmd\":\"failover-set\",\"domain\":\"a.example\",\"mode\":\"on\"}",
		  "\"reason\" is required" },
		{ "{\"cmd\":\"failover-set\",\"domain\":\"a.example\",\"mode\":\"on\","
		  "\"reason\":\" \\t\"}", "\"reason\" is required" },
		{ "{\"cmd\":\"failover-set\",\"domain\":\"a.example\",\"mode\":\"up\","
		  "\"reason\":\"r\"}", "mode is" },
		{ "{\"cmd\":\"failover-set\",\"domain\":\"c.example\",\"mode\":\"on\","
		  "\"reason\":\"r\"}", "no such domain" },
		{ "{\"cmd\":\"failover-set\",\"domain\":\"a.example\",\"shard\":\"s9\","
		  "\"mode\":\"on\",\"reason\":\"r\"}", "no such domain or shard in the configuration: a.example, shard \"s9\"" },
		{ "{\"cmd\":\"failover-show\",\"domain\":\"c.example\"}", "no such domain" },
		{ "{\"cmd\":\"report\",\"domain\":\"c.example\"}", "no such domain" },
		{ "{\"cmd\":\"replay-status\",\"domain\":\"c.example\"}", "no such domain" },
		{ "{\"cmd\":\"queue-list\",\"domain\":\"c.example\"}", "no mail of c.example" },
		{ "{\"cmd\":\"queue-drop\",\"domain\":\"b.example\",\"user\":\"\",\"reason\":\"r\"}",
		  "\"user\" is empty" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *o = ask(h, cases[i].request);

		assert_true(json_is_false(json_object_get(o, "ok")));
		if (strstr(str(o, "error"), cases[i].error) == NULL)
			fail_msg("%s: %s", cases[i].request, str(o, "error"));
		json_decref(o);
	}
}

static void
failover_switches_persist_and_are_audited(void **state)
{
	struct house *h = *state;
	char audit[4096];
	json_t *o = ask(h, "{\"cmd\":\"failover-set\",\"domain\":\"A.example\",\"mode\":\"on\","
	    "\"reason\":\"storage down\"}");

	assert_true(json_is_true(json_object_get(o, "ok")));
	assert_string_equal(str(o, "domain"), "a.example");
	assert_string_equal(str(o, "mode"), "on");
	assert_string_equal(str(o, "phase"), "active");
	json_decref(o);
	o = ask(h, "{\"cmd\":\"failover-show\",\"domain\":\"a.example\"}");
	json_t *list = json_object_get(o, "domains");
	assert_int_equal(json_array_size(list), 2);	/* the domain and its shard */
	const json_t *d = json_array_get(list, 0);
	assert_string_equal(str(d, "reason"), "storage down");
	assert_string_equal(str(d, "phase"), "active");
	assert_int_equal(strlen(str(d, "since")), 24);
	assert_int_equal(num(d, "held"), 0);
	json_decref(o);
	o = ask(h, "{\"cmd\":\"failover-set\",\"domain\":\"a.example\",\"shard\":\"s2\","
	    "\"mode\":\"off\",\"reason\":\"shard is back\"}");
	assert_string_equal(str(o, "phase"), "replay");
	json_decref(o);
	int fd = openat(h->dirfd, "audit.log", O_RDONLY);
	ssize_t n = read(fd, audit, sizeof(audit) - 1);
	audit[n] = '\0';
	close(fd);
	assert_non_null(strstr(audit, "\"reason\":\"storage down\""));
	assert_non_null(strstr(audit, "\"reason\":\"shard is back\""));
	char uid[64];
	(void)snprintf(uid, sizeof(uid), "\"uid\":%u,\"pid\":%d", (unsigned)getuid(), (int)getpid());
	assert_non_null(strstr(audit, uid));
}

static void
windows_and_ends_over_the_socket(void **state)
{
	static const struct { const char *request, *error; } bad[] = {
		{ "{\"cmd\":\"failover-set\",\"domain\":\"a.example\",\"mode\":\"on\",\"reason\":\"r\","
		  "\"until_ms\":5}", "the end must lie after the present" },
		{ "{\"cmd\":\"failover-set\",\"domain\":\"a.example\",\"mode\":\"on\",\"reason\":\"r\","
		  "\"for_ms\":9223372036854775807}", "the end must lie" },
		{ "{\"cmd\":\"failover-set\",\"domain\":\"a.example\",\"mode\":\"on\",\"reason\":\"r\","
		  "\"for_ms\":5,\"until_ms\":5}", "either until_ms or for_ms" },
		{ "{\"cmd\":\"failover-schedule\",\"domain\":\"a.example\",\"reason\":\"r\","
		  "\"from_ms\":5}", "needs an end" },
		{ "{\"cmd\":\"failover-schedule\",\"domain\":\"c.example\",\"reason\":\"r\","
		  "\"from_ms\":5,\"for_ms\":5}", "no such domain" },
		{ "{\"cmd\":\"failover-schedule\",\"domain\":\"a.example\",\"reason\":\"r\","
		  "\"from_ms\":32503680000000,\"for_ms\":5}", "within 366 days" },
		{ "{\"cmd\":\"failover-cancel\",\"window\":9}", "no such window: 9" },
	};
	struct house *h = *state;
	char request[256];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *o = ask(h, bad[i].request);

		if (strstr(str(o, "error"), bad[i].error) == NULL)
			fail_msg("%s: %s", bad[i].request, str(o, "error"));
		json_decref(o);
	}
	json_t *o = ask(h, "{\"cmd\":\"failover-set\",\"domain\":\"a.example\",\"mode\":\"auto\","
	    "\"reason\":\"r\",\"for_ms\":3600000}");
	assert_string_equal(str(o, "mode"), "auto");
	assert_string_equal(str(o, "then"), "off");
	json_decref(o);
	(void)snprintf(request, sizeof(request), "{\"cmd\":\"failover-schedule\",\"domain\":"
	    "\"A.example\",\"shard\":\"s2\",\"reason\":\"disks\",\"from_ms\":%lld,\"for_ms\":60000}",
	    (long long)clock_wall_ms() + 60000);
	o = ask(h, request);
	assert_int_equal(num(o, "window"), 1);
	json_decref(o);
	o = ask(h, "{\"cmd\":\"failover-windows\",\"domain\":\"A.example\"}");
	const json_t *w = json_array_get(json_object_get(o, "windows"), 0);
	assert_string_equal(str(w, "shard"), "s2");
	assert_string_equal(str(w, "reason"), "disks");
	json_decref(o);
	o = ask(h, "{\"cmd\":\"failover-cancel\",\"window\":1}");
	assert_true(json_is_true(json_object_get(o, "ok")));
	json_decref(o);
}

static void
list_show_and_retry(void **state)
{
	struct house *h = *state;
	const struct house_rcpt r[2] = {
		{ RCPT_USER, "berta@b.example", "b.example", "" },
		{ RCPT_USER, "bruno@b.example", "b.example", "" } };
	char request[256], id[MSGID_TEXT + 1];
	struct queue_deliver q;

	house_committed(h, house_commit(h, r, 2, 0, 0), COMMIT_OK);
	house_target(h, TARGET_OK, "secret@recovery.example", "");
	house_target(h, TARGET_NONE, "", "opted-out");
	house_prepare(h, SEAL_OK, "");
	unsigned at = house_delivery(h, &q, NULL);
	house_deliver_answer(h, at, q.req, DELIVER_PERM, SCOPE_RCPT, 550);
	house_until_leg(h, 0, LEG_FORWARD, LEG_FAILED);
	house_until_leg(h, 1, LEG_FORWARD, LEG_SKIPPED);
	msgid_print(house_entry(h, 0)->id, id);

	json_t *o = ask(h, "{\"cmd\":\"queue-list\",\"domain\":\"b.example\",\"limit\":1}");
	assert_int_equal(json_array_size(json_object_get(o, "messages")), 1);
	assert_true(json_is_true(json_object_get(o, "more")));
	(void)snprintf(request, sizeof(request), "{\"cmd\":\"queue-list\",\"after\":\"%s\"}",
	    str(o, "after"));
	const json_t *m = json_array_get(json_object_get(o, "messages"), 0);
	assert_string_equal(str(m, "id"), id);
	assert_string_equal(str(m, "rcpt"), "berta@b.example");
	assert_string_equal(str(m, "sender"), "bob@sender.example");
	assert_string_equal(str(json_object_get(m, "hold"), "state"), "parked");
	assert_string_equal(str(json_object_get(m, "forward"), "state"), "failed");
	assert_string_equal(str(json_object_get(m, "forward"), "note"), "refused nouser 5.1.1");
	assert_int_equal(num(json_object_get(m, "forward"), "code"), 550);
	json_decref(o);
	o = ask(h, request);
	assert_int_equal(json_array_size(json_object_get(o, "messages")), 1);
	assert_string_equal(str(json_array_get(json_object_get(o, "messages"), 0), "rcpt"),
	    "bruno@b.example");
	assert_true(json_is_false(json_object_get(o, "more")));
	json_decref(o);
	static const struct { const char *request; size_t n; } lists[] = {
		{ "{\"cmd\":\"queue-list\",\"user\":\"Bruno@B.example\"}", 1 },
		{ "{\"cmd\":\"queue-list\",\"state\":\"failed\"}", 1 },
		{ "{\"cmd\":\"queue-list\",\"state\":\"held\"}", 2 },
		{ "{\"cmd\":\"queue-list\",\"state\":\"delivered\"}", 0 },
		{ "{\"cmd\":\"queue-list\",\"state\":\"all\"}", 2 },
		{ "{\"cmd\":\"queue-list\",\"domain\":\"a.example\"}", 0 },
	};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		o = ask(h, lists[i].request);
		assert_int_equal(json_array_size(json_object_get(o, "messages")), lists[i].n);
		json_decref(o);
	}

	(void)snprintf(request, sizeof(request), "{\"cmd\":\"queue-show\",\"id\":\"%s\","
	    "\"content\":true}", id);
	o = ask(h, request);
	const json_t *show = json_object_get(o, "message");
	assert_string_equal(str(show, "trace"), "Received: from client.example\r\n");
	assert_int_equal(json_array_size(json_object_get(show, "recipients")), 2);
	assert_string_equal(str(o, "content"), "U3ViamVjdDogaGVsbG8NCg0KdGhlIGJvZHkNCg==");
	char *text = json_dumps(o, 0);
	assert_null(strstr(text, "recovery.example"));	/* P4 */
	free(text);
	json_decref(o);
	char audit[4096];
	int fd = openat(h->dirfd, "audit.log", O_RDONLY);
	ssize_t n = read(fd, audit, sizeof(audit) - 1);
	audit[n] = '\0';
	close(fd);
	assert_non_null(strstr(audit, "content-shown"));
	assert_non_null(strstr(audit, id));

	(void)snprintf(request, sizeof(request), "{\"cmd\":\"queue-retry\",\"id\":\"%s\"}", id);
	o = ask(h, request);
	assert_int_equal(num(o, "count"), 1);	/* 8.5: the refused copy is not tried again */
	json_decref(o);
	house_target(h, TARGET_NONE, "", "opted-out");
	house_until_leg(h, 1, LEG_FORWARD, LEG_SKIPPED);
	o = ask(h, "{\"cmd\":\"queue-retry\",\"domain\":\"b.example\"}");
	assert_int_equal(num(o, "count"), 1);
	json_decref(o);
	house_target(h, TARGET_NONE, "", "opted-out");
}

/* ---- hold, release, drop ---- */

static json_int_t
count_of(struct house *h, const char *request)
{
	json_t *o = ask(h, request);

	if (!json_is_true(json_object_get(o, "ok")))
		fail_msg("%s: %s", request, str(o, "error"));
	json_int_t n = num(o, "count");
	json_decref(o);
	return n;
}

static size_t
listed(struct house *h, const char *request)
{
	json_t *o = ask(h, request);
	size_t n = json_array_size(json_object_get(o, "messages"));

	json_decref(o);
	return n;
}

/* The whole audit log. */
static const char *
audit_text(struct house *h)
{
	static char text[256 * 1024];
	int fd = openat(h->dirfd, "audit.log", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static void
balance_is(struct house *h, uint64_t held, uint64_t dropped)
{
	struct spool_sums t;

	spool_total(house_queue(h)->spool, spool_group(SLICE_LIT("b.example"), SLICE_NONE), &t);
	assert_int_equal(t.held, held);
	assert_int_equal(t.dropped, dropped);
	assert_int_equal(t.received, t.replayed + t.forwarded_only + t.bounced + t.dropped + t.held);
}

#define Q(verb, rest)	"{\"cmd\":\"queue-" verb "\"," rest "}"

static void
operators_hold_release_and_drop(void **state)
{
	struct house *h = *state;
	const struct house_rcpt r[2] = {
		{ RCPT_USER, "berta@b.example", "b.example", "" },
		{ RCPT_USER, "bruno@b.example", "b.example", "" } };
	char request[256], id[MSGID_TEXT + 1];

	for (int i = 0; i < 3; i++)
		house_committed(h, house_commit(h, r, 2, ENV_HOLD_ONLY, 0), COMMIT_OK);
	balance_is(h, 6, 0);
	assert_int_equal(count_of(h, Q("hold", "\"user\":\"berta@b.example\",\"dry_run\":true")), 3);
	assert_int_equal(listed(h, Q("list", "\"state\":\"on-hold\"")), 0);
	assert_int_equal(strlen(audit_text(h)), 0);	/* counting is no event */
	assert_int_equal(count_of(h, Q("hold", "\"user\":\"berta@b.example\",\"reason\":\"odd\"")),
	    3);
	assert_int_equal(count_of(h, Q("hold", "\"user\":\"berta@b.example\"")), 0);
	assert_int_equal(listed(h, Q("list", "\"state\":\"on-hold\"")), 3);
	assert_int_equal(count_of(h, Q("retry", "\"domain\":\"b.example\"")), 0);
	assert_non_null(strstr(audit_text(h), "\"event\":\"hold\""));
	assert_non_null(strstr(audit_text(h), "\"reason\":\"odd\""));
	assert_non_null(strstr(audit_text(h), "\"event\":\"hold-done\""));
	json_t *o = ask(h, Q("summary", "\"progress\":true"));
	const json_t *d = json_array_get(json_object_get(o, "domains"), 0);
	assert_string_equal(str(d, "domain"), "b.example");
	assert_int_equal(num(d, "held"), 6);
	assert_int_equal(num(d, "on_hold"), 3);
	assert_int_equal(num(d, "backlog"), 3);
	assert_int_equal(num(json_object_get(d, "ages"), "1h"), 6);
	json_decref(o);

	/* Replay: what is not on hold goes to the primary, the rest stays. */
	o = ask(h, "{\"cmd\":\"failover-set\",\"domain\":\"b.example\",\"mode\":\"off\","
	    "\"reason\":\"back\"}");
	json_decref(o);
	for (int i = 0; i < 3; i++) {
		struct queue_deliver q;
		unsigned at = house_delivery(h, &q, NULL);

		assert_true(slice_eq(q.rcpt, SLICE_LIT("bruno@b.example")));
		/* Being delivered: neither held nor dropped. */
		o = ask(h, Q("drop", "\"user\":\"bruno@b.example\",\"reason\":\"x\",\"dry_run\":true"));
		assert_true(num(o, "busy") >= 1);
		json_decref(o);
		house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	}
	for (unsigned i = 1; i < 6; i += 2)
		house_until_leg(h, i, LEG_HOLD, LEG_DELIVERED);
	balance_is(h, 3, 0);

	/* Of the held: one recipient dropped by id, the rest released and delivered. */
	msgid_print(house_entry(h, 0)->id, id);
	(void)snprintf(request, sizeof(request), Q("drop", "\"id\":\"%s\",\"rcpt_index\":0,"
	    "\"reason\":\"court order 7\""), id);
	assert_int_equal(count_of(h, request), 1);
	assert_int_equal(count_of(h, request), 0);
	balance_is(h, 2, 1);
	(void)snprintf(request, sizeof(request), "\"ids\":[\"%s/0\"]", id);
	assert_non_null(strstr(audit_text(h), request));
	assert_non_null(strstr(audit_text(h), "court order 7"));
	assert_int_equal(count_of(h, Q("release", "\"sender\":\"@SENDER.example\"")), 2);
	for (int i = 0; i < 2; i++) {
		struct queue_deliver q;
		unsigned at = house_delivery(h, &q, NULL);

		house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	}
	house_until_leg(h, 4, LEG_HOLD, LEG_DELIVERED);
	balance_is(h, 0, 1);
}

/* A copy on hold keeps its token, and goes out when it is released. */
static void
forward_copies_are_held_with_their_message(void **state)
{
	struct house *h = *state;
	const struct house_rcpt r = { RCPT_USER, "berta@b.example", "b.example", "" };
	struct queue_deliver q;

	house_committed(h, house_commit(h, &r, 1, 0, 0), COMMIT_OK);
	assert_int_equal(count_of(h, Q("hold", "\"user\":\"berta@b.example\"")), 1);
	house_target(h, TARGET_OK, "secret@recovery.example", "");
	house_turn(h);
	assert_int_equal(house_entry(h, 0)->leg[LEG_FORWARD].state, LEG_PARKED);
	assert_int_equal(count_of(h, Q("release", "\"user\":\"berta@b.example\"")), 1);
	house_target(h, TARGET_OK, "secret@recovery.example", "");
	house_prepare(h, SEAL_OK, "");
	unsigned at = house_delivery(h, &q, NULL);
	house_deliver_answer(h, at, q.req, DELIVER_OK, SCOPE_RCPT, 250);
	house_until_leg(h, 0, LEG_FORWARD, LEG_DELIVERED);
	assert_int_equal(count_of(h, Q("drop", "\"state\":\"held\",\"reason\":\"r\"")), 1);
	balance_is(h, 0, 1);
}

/* More than the audit log lists: the filter stands there, and then the count. */
static void
large_jobs_name_their_filter(void **state)
{
	struct house *h = *state;
	struct house_rcpt r[15];

	for (size_t i = 0; i < 15; i++)
		r[i] = (struct house_rcpt){ RCPT_USER, "berta@b.example", "b.example", "" };
	for (int i = 0; i < 80; i++)
		house_committed(h, house_commit(h, r, 15, ENV_HOLD_ONLY, 0), COMMIT_OK);
	assert_int_equal(count_of(h, Q("drop", "\"domain\":\"b.example\",\"reason\":\"spam run\","
	    "\"dry_run\":true")), 1200);
	assert_int_equal(count_of(h, Q("drop", "\"domain\":\"b.example\",\"older_ms\":3600000,"
	    "\"reason\":\"spam run\"")), 0);
	balance_is(h, 1200, 0);
	assert_int_equal(count_of(h, Q("drop", "\"domain\":\"b.example\",\"newer_ms\":3600000,"
	    "\"reason\":\"spam run\"")), 1200);
	balance_is(h, 0, 1200);
	const char *text = audit_text(h);
	assert_non_null(strstr(text, "\"event\":\"drop\""));
	assert_non_null(strstr(text, "\"filter\":{\"domain\":\"b.example\",\"newer_ms\":3600000}"));
	assert_null(strstr(text, "\"ids\""));
	assert_non_null(strstr(text, "\"event\":\"drop-done\""));
	assert_non_null(strstr(text, "\"count\":1200"));
}

static void
search_looks_into_envelopes(void **state)
{
	struct house *h = *state;
	const struct house_rcpt r[2] = {
		{ RCPT_USER, "berta@b.example", "b.example", "" },
		{ RCPT_USER, "bruno@b.example", "b.example", "" } };
	char request[256], id[MSGID_TEXT + 1];

	house_committed(h, house_commit(h, r, 2, ENV_HOLD_ONLY, 0), COMMIT_OK);
	msgid_print(house_entry(h, 0)->id, id);
	id[10] = '\0';
	(void)snprintf(request, sizeof(request), Q("list", "\"match\":\"%s\""), id);
	assert_int_equal(listed(h, request), 2);
	static const struct { const char *request; size_t n; } lists[] = {
		{ Q("list", "\"match\":\"SENDER.ex\""), 2 },
		{ Q("list", "\"match\":\"bert\""), 1 },
		{ Q("list", "\"match\":\"192.0.2.7\""), 2 },
		{ Q("list", "\"match\":\"nobody\""), 0 },
		{ Q("list", "\"sender\":\"Bob@sender.example\""), 2 },
		{ Q("list", "\"sender\":\"@sender.example\""), 2 },
		{ Q("list", "\"sender\":\"@ender.example\""), 0 },
		{ Q("list", "\"sender\":\"<>\""), 0 },
		{ Q("list", "\"client\":\"192.0.2.7\""), 2 },
		{ Q("list", "\"client\":\"192.0.2\""), 0 },
		{ Q("list", "\"newer_ms\":60000"), 2 },
		{ Q("list", "\"older_ms\":60000"), 0 },
		{ Q("list", "\"state\":\"backlog\""), 2 },
		{ Q("list", "\"state\":\"refused\""), 0 },
	};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (listed(h, lists[i].request) != lists[i].n)
			fail_msg("%s: not %zu", lists[i].request, lists[i].n);
}

static void
status_and_report_balance(void **state)
{
	struct house *h = *state;
	const struct house_rcpt r = { RCPT_USER, "berta@b.example", "b.example", "" };

	house_committed(h, house_commit(h, &r, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
	json_t *o = ask(h, "{\"cmd\":\"status\"}");
	assert_true(json_is_true(json_object_get(o, "ok")));
	assert_int_equal(json_array_size(json_object_get(o, "roles")), 1);
	assert_int_equal(num(json_object_get(o, "queue"), "accepted"), 1);
	assert_int_equal(json_array_size(json_object_get(o, "domains")), 3);
	json_decref(o);
	o = ask(h, "{\"cmd\":\"report\",\"domain\":\"b.example\"}");
	const json_t *d = json_array_get(json_object_get(o, "domains"), 0);
	assert_int_equal(num(d, "received"), 1);
	assert_int_equal(num(d, "held"), 1);
	assert_true(json_is_true(json_object_get(d, "balanced")));
	json_decref(o);
}

static void
directory_reload_waits_for_the_answer(void **state)
{
	struct house *h = *state;
	struct reader r;
	struct dir_reload q;
	static const struct { uint8_t ok; const char *text; } cases[] = {
		{ 1, "" }, { 0, "snapshot is damaged" } };

	for (size_t i = 0; i < 2; i++) {
		reader_open(h, &r);
		say(r.fd, "{\"cmd\":\"directory-reload\",\"source\":\"x.csv\"}\n");
		(void)house_next(h, H_DIRECTORY, DIR_RELOAD, &dir_reload_wire, &q);
		const struct dir_reloaded a = { q.req, cases[i].ok, 5, slice_str(cases[i].text) };
		assert_int_equal(ipc_send(h->peer[H_DIRECTORY].ours, DIR_RELOADED,
		    &dir_reloaded_wire, &a, -1), 0);
		json_t *o = reply(h, &r);
		assert_int_equal(json_is_true(json_object_get(o, "ok")), cases[i].ok);
		if (cases[i].ok)
			assert_int_equal(num(o, "users"), 5);
		else
			assert_non_null(strstr(str(o, "error"), "snapshot is damaged"));
		json_decref(o);
		reader_close(&r);
	}
	/* The directory dies while it is asked; then it is not there at all. */
	reader_open(h, &r);
	say(r.fd, "{\"cmd\":\"directory-reload\"}\n");
	(void)house_next(h, H_DIRECTORY, DIR_RELOAD, &dir_reload_wire, &q);
	house_unlink(h, H_DIRECTORY);
	json_t *o = reply(h, &r);
	assert_true(json_is_false(json_object_get(o, "ok")));
	json_decref(o);
	reader_close(&r);
	o = ask(h, "{\"cmd\":\"directory-reload\",\"users\":3,\"source\":\"x.csv\"}");
	assert_true(json_is_false(json_object_get(o, "ok")));
	json_decref(o);
	house_link(h, H_DIRECTORY);
	/* A client that does not wait: the late answer finds nobody. */
	reader_open(h, &r);
	say(r.fd, "{\"cmd\":\"directory-reload\"}\n");
	(void)house_next(h, H_DIRECTORY, DIR_RELOAD, &dir_reload_wire, &q);
	reader_close(&r);
	const struct dir_reloaded a = { q.req, 1, 5, SLICE_NONE };
	assert_int_equal(ipc_send(h->peer[H_DIRECTORY].ours, DIR_RELOADED, &dir_reloaded_wire, &a,
	    -1), 0);
	json_decref(ask(h, "{\"cmd\":\"status\"}"));
}

static void
many_requests_on_one_connection_in_odd_pieces(void **state)
{
	struct house *h = *state;
	static const char text[] = "{\"cmd\":\"report\"}\n\n{\"cmd\":\"queue-list\"}\r\n"
	    "{\"cmd\":\"status\"}\n{\"cmd\":\"x\"}\n";
	struct reader r;

	for (size_t cut = 1; cut < sizeof(text) - 1; cut += 3) {
		reader_open(h, &r);
		assert_int_equal(send(r.fd, text, cut, MSG_NOSIGNAL), (ssize_t)cut);
		house_turn(h);
		say(r.fd, text + cut);
		assert_int_equal(shutdown(r.fd, SHUT_WR), 0);
		for (int i = 0; i < 4; i++) {
			json_t *o = reply(h, &r);
			assert_int_equal(json_is_true(json_object_get(o, "ok")), i < 3);
			json_decref(o);
		}
		assert_null(reply(h, &r));	/* then it is closed */
		reader_close(&r);
	}
}

static void
overlong_request_is_refused_and_closed(void **state)
{
	struct house *h = *state;
	struct reader r;
	char *big = mem_new(CONTROL_REQUEST_MAX + 2);

	memset(big, ' ', CONTROL_REQUEST_MAX + 1);
	reader_open(h, &r);
	say(r.fd, big);
	json_t *o = reply(h, &r);
	assert_non_null(strstr(str(o, "error"), "64 KiB"));
	json_decref(o);
	assert_null(reply(h, &r));
	reader_close(&r);
	free(big);
}

/* Cut off: a shorter request is not what was meant. */
static void
half_a_request_is_answered_and_not_done(void **state)
{
	struct house *h = *state;
	struct reader r;

	reader_open(h, &r);
	say(r.fd, "{\"cmd\":\"failover-windows\"}\n{\"cmd\":\"failover-show\"}");
	assert_int_equal(shutdown(r.fd, SHUT_WR), 0);
	json_t *o = reply(h, &r);
	assert_true(json_is_true(json_object_get(o, "ok")));
	json_decref(o);
	o = reply(h, &r);
	assert_non_null(o);
	assert_string_equal(str(o, "error"), "a request ends with a newline: nothing was done");
	json_decref(o);
	assert_null(reply(h, &r));
	reader_close(&r);
}

static void
clients_are_bounded_and_independent(void **state)
{
	struct house *h = *state;
	struct reader r[CONTROL_CLIENTS_MAX + 1];
	json_t *o;

	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		reader_open(h, &r[i]);
		say(r[i].fd, "{\"cmd\":");	/* not a whole line: it stays */
	}
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		say(r[i].fd, "\"report\"}\n");
		o = reply(h, &r[i]);
		assert_true(json_is_true(json_object_get(o, "ok")));
		json_decref(o);
	}
	reader_open(h, &r[CONTROL_CLIENTS_MAX]);
	o = reply(h, &r[CONTROL_CLIENTS_MAX]);
	assert_non_null(strstr(str(o, "error"), "too many"));
	json_decref(o);
	for (size_t i = 0; i <= CONTROL_CLIENTS_MAX; i++)
		reader_close(&r[i]);
}

/* A client that asks for much and reads slowly gets all of it. */
static void
long_reply_to_a_slow_reader(void **state)
{
	struct house *h = *state;
	const struct house_rcpt rcpt = { RCPT_USER, "berta@b.example", "b.example", "" };
	struct reader r;

	for (int i = 0; i < 200; i++)
		house_committed(h, house_commit(h, &rcpt, 1, ENV_HOLD_ONLY, 0), COMMIT_OK);
	reader_open(h, &r);
	int small = 1;
	assert_int_equal(setsockopt(r.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	say(r.fd, "{\"cmd\":\"queue-list\",\"limit\":1000}\n{\"cmd\":\"queue-list\"}\n");
	json_t *o = reply(h, &r);
	assert_int_equal(json_array_size(json_object_get(o, "messages")), 200);
	json_decref(o);
	o = reply(h, &r);
	assert_int_equal(json_array_size(json_object_get(o, "messages")), 100);
	json_decref(o);
	reader_close(&r);
}

#define T(f) cmocka_unit_test_setup_teardown(f, house_setup, house_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(bad_requests_are_told_why),
		T(failover_switches_persist_and_are_audited),
		T(windows_and_ends_over_the_socket),
		T(list_show_and_retry),
		T(operators_hold_release_and_drop),
		T(forward_copies_are_held_with_their_message),
		T(large_jobs_name_their_filter),
		T(search_looks_into_envelopes),
		T(status_and_report_balance),
		T(directory_reload_waits_for_the_answer),
		T(many_requests_on_one_connection_in_odd_pieces),
		T(overlong_request_is_refused_and_closed),
		T(half_a_request_is_answered_and_not_done),
		T(clients_are_bounded_and_independent),
		T(long_reply_to_a_slow_reader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

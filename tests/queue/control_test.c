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
		{ "[]", "a request is one JSON object" },
		{ "{\"cmd\":\"status\",\"cmd\":\"status\"}", "a request is one JSON object" },
		{ "{}", "unknown command \"\"" },
		{ "{\"cmd\":\"reboot\"}", "unknown command \"reboot\"" },
		{ "{\"cmd\":\"status\",\"x\":1}", "status: unknown field \"x\"" },
		{ "{\"cmd\":\"queue-list\",\"limit\":\"9\"}", "field \"limit\" has the wrong type" },
		{ "{\"cmd\":\"queue-list\",\"limit\":0}", "limit is 1 to" },
		{ "{\"cmd\":\"queue-list\",\"state\":\"odd\"}", "unknown state" },
		{ "{\"cmd\":\"queue-list\",\"after\":\"zz\"}", "not from an earlier reply" },
		{ "{\"cmd\":\"queue-list\",\"after\":\"1:fffffffff\"}", "not from an earlier reply" },
		{ "{\"cmd\":\"queue-show\"}", "\"id\" is required" },
		{ "{\"cmd\":\"queue-show\",\"id\":\"nope\"}", "not a message id" },
		{ "{\"cmd\":\"queue-show\",\"id\":\"0000000000000000\"}", "no message" },
		{ "{\"cmd\":\"queue-retry\"}", "give an id or a domain" },
		{ "{\"cmd\":\"failover-set\",\"domain\":\"a.example\",\"mode\":\"on\"}",
		  "\"reason\" is required" },
		{ "{\"cmd\":\"failover-set\",\"domain\":\"a.example\",\"mode\":\"on\","
		  "\"reason\":\" \\t\"}", "\"reason\" is required" },
		{ "{\"cmd\":\"failover-set\",\"domain\":\"a.example\",\"mode\":\"up\","
		  "\"reason\":\"r\"}", "mode is" },
		{ "{\"cmd\":\"failover-set\",\"domain\":\"c.example\",\"mode\":\"on\","
		  "\"reason\":\"r\"}", "no such domain" },
		{ "{\"cmd\":\"failover-set\",\"domain\":\"a.example\",\"shard\":\"s9\","
		  "\"mode\":\"on\",\"reason\":\"r\"}", "no such domain or shard" },
		{ "{\"cmd\":\"failover-show\",\"domain\":\"c.example\"}", "no such domain" },
		{ "{\"cmd\":\"report\",\"domain\":\"c.example\"}", "no such domain" },
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
	assert_string_equal(str(json_object_get(m, "forward"), "note"), "refused 5.1.1");
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
		say(r.fd, "{\"cmd\":\"directory-reload\"}\n");
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
		T(list_show_and_retry),
		T(status_and_report_balance),
		T(directory_reload_waits_for_the_answer),
		T(many_requests_on_one_connection_in_odd_pieces),
		T(overlong_request_is_refused_and_closed),
		T(clients_are_bounded_and_independent),
		T(long_reply_to_a_slow_reader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

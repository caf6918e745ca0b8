// SPDX-License-Identifier: Apache-2.0
#include "admin/control_client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
	REPLY_MAX = 512 * 1024 * 1024,	/* a shown message in base64 */
	REPLY_TIMEOUT_MS = 60 * 1000,	/* from one line to the next */
	PROGRESS_LINE_MAX = 512
};

__attribute__((format(printf, 3, 4))) static void
say(char *why, size_t cap, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, cap, fmt, ap);
	va_end(ap);
}

static void
explain_connect(int err, const char *path, char *why, size_t cap)
{
	if (err == ENOENT)
		say(why, cap, "%s: there is no such socket: is the relay running? Start it with "
		    "`salvaposta run', or name its configuration with -c", path);
	else if (err == ECONNREFUSED)
		say(why, cap, "%s: nobody answers: is the relay running? Its socket is left over "
		    "from one that has stopped", path);
	else if (err == EACCES || err == EPERM)
		say(why, cap, "%s: permission denied: run this as root or as the user that started "
		    "the relay", path);
	else if (err == EAGAIN)
		say(why, cap, "%s: the relay has too many callers: try again", path);
	else
		say(why, cap, "%s: %s: is the relay running?", path, strerror(err));
}

static int
open_socket(const char *path, char *why, size_t cap)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (slice_cstr(slice_str(path), un.sun_path, sizeof(un.sun_path)) != 0) {
		say(why, cap, "%s: too long for a socket's name (107 bytes)", path);
		return -1;
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1 || connect(fd, (struct sockaddr *)&un, sizeof(un)) != 0) {
		explain_connect(errno, path, why, cap);
		if (fd != -1)
			close(fd);
		return -1;
	}
	return fd;
}

static int
send_all(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		s = slice_sub(s, (size_t)n, s.n);
	}
	return 0;
}

/* Until there is a whole line. 0, or -1 with why. */
static int
read_line(int fd, struct buf *in, char *why, size_t cap)
{
	int64_t deadline = clock_mono_ms() + REPLY_TIMEOUT_MS;
	struct slice have = buf_slice(in);

	if (slice_find(have, '\n') < have.n)
		return 0;
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = deadline - clock_mono_ms();
		int r = poll(&p, 1, left > 0 ? (int)left : 0);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			say(why, cap, "the relay does not answer: look at its log");
			return -1;
		}
		char *to = buf_reserve(in, 64 * 1024);
		if (to == NULL) {
			say(why, cap, "the relay's answer is too long");
			return -1;
		}
		ssize_t n = recv(fd, to, 64 * 1024, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			say(why, cap, "the relay closed the connection without an answer: it may "
			    "be stopping, or this user may not ask; look at its log");
			return -1;
		}
		buf_commit(in, (size_t)n);
		if (to[n - 1] == '\n' || memchr(to, '\n', (size_t)n) != NULL)
			return 0;
	}
}

/* A line on the way to the answer: {"progress":true,"looked":N,"count":M}. On a terminal
 * one is written over the other. */
static bool
is_progress(struct slice line)
{
	json_t *o = json_loadb(line.p, line.n, 0, NULL);
	bool yes = json_is_true(json_object_get(o, "progress"));

	if (yes)
		fprintf(stderr, "looked at %lld recipients, %lld so far%s",
		    (long long)json_integer_value(json_object_get(o, "looked")),
		    (long long)json_integer_value(json_object_get(o, "count")),
		    isatty(STDERR_FILENO) ? "\r" : "\n");
	json_decref(o);
	return yes;
}

static int
read_answer(int fd, struct buf *in, char *why, size_t cap)
{
	while (read_line(fd, in, why, cap) == 0) {
		struct slice s = buf_slice(in);
		size_t end = slice_find(s, '\n');
		if (end > PROGRESS_LINE_MAX || !is_progress(slice_sub(s, 0, end)))
			return 0;
		buf_drop(in, end + 1);
	}
	return -1;
}

/* What the line says. Owned, or NULL with why. */
static json_t *
understand(struct slice line, char *why, size_t cap)
{
	json_error_t err;
	json_t *o = json_loadb(line.p, slice_find(line, '\n'), 0, &err);
	const char *text;

	if (!json_is_object(o)) {
		say(why, cap, "the relay's answer is not understood (%s): are both of the same "
		    "version?", err.text);
		json_decref(o);
		return NULL;
	}
	if (json_is_true(json_object_get(o, "ok")))
		return o;
	text = json_string_value(json_object_get(o, "error"));
	say(why, cap, "%s", text != NULL ? text : "the relay refused without a reason");
	json_decref(o);
	return NULL;
}

json_t *
control_ask(const char *path, json_t *request, char *why, size_t cap)
{
	json_t *reply = NULL;
	struct buf in;
	char *text = json_dumps(request, JSON_COMPACT);
	int fd = -1;

	json_decref(request);
	buf_init(&in, REPLY_MAX);
	CHECK(text != NULL);
	fd = open_socket(path, why, cap);
	if (fd == -1)
		goto out;
	/* A full answer may be there even when the rest of the request was not taken. */
	if (send_all(fd, slice_str(text)) == 0)
		(void)send_all(fd, SLICE_LIT("\n"));
	if (read_answer(fd, &in, why, cap) != 0)
		goto out;
	reply = understand(buf_slice(&in), why, cap);
out:
	if (fd != -1)
		close(fd);
	buf_fini(&in);
	free(text);
	return reply;
}

json_t *
control_call(const struct cli *cli, json_t *request)
{
	char why[1024] = "";
	const char *path = cli->socket;
	struct conf *c = NULL;
	json_t *reply = NULL;

	if (path == NULL) {
		c = cli_conf(cli);
		if (c == NULL) {
			json_decref(request);
			return NULL;
		}
		path = c->control_socket;
	}
	if (request != NULL)
		reply = control_ask(path, request, why, sizeof(why));
	else
		say(why, sizeof(why), "what is asked for must be UTF-8 text");
	conf_free(&c);
	if (reply == NULL && cli->json) {
		json_t *o = json_pack("{s:b, s:s}", "ok", 0, "error", why);
		control_print(o);
		json_decref(o);
	}
	if (reply == NULL)
		fprintf(stderr, "salvaposta: %s\n", why);
	return reply;
}

void
control_print(const json_t *reply)
{
	if (json_dumpf(reply, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | CONTROL_REAL) == 0)
		putchar('\n');
}

// SPDX-License-Identifier: Apache-2.0
#include "queue/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "queue/control_priv.h"
#include "queue/report.h"

struct client {
	struct control	*control;
	int		 fd;		/* owned */
	struct watch	*watch;
	struct buf	 in, out;
	struct audit_who who;
	struct request	*request;	/* being answered: nothing more is read */
	bool		 eof;		/* nothing more will come */
	bool		 last;		/* close when out is empty */
	struct client	*next, *prev;
};

struct control {
	struct queue	*queue;
	int		 fd;		/* borrowed */
	struct watch	*watch;
	struct client	*clients;
	unsigned	 nclient;
	struct request	*requests;
	uint64_t	 req;
};

/* ---- requests ---- */

const char *
request_string(const struct request *rq, const char *name)
{
	const char *s = json_string_value(json_object_get(rq->in, name));

	return s == NULL ? "" : s;
}

int64_t
request_int(const struct request *rq, const char *name, int64_t other)
{
	const json_t *v = json_object_get(rq->in, name);

	return v == NULL ? other : (int64_t)json_integer_value(v);
}

bool
request_bool(const struct request *rq, const char *name)
{
	return json_is_true(json_object_get(rq->in, name));
}

bool
request_has(const struct request *rq, const char *name)
{
	return json_object_get(rq->in, name) != NULL;
}

struct request *
control_find(struct control *c, uint64_t req)
{
	for (struct request *rq = c->requests; rq != NULL; rq = rq->next)
		if (rq->req == req && req != 0 && !rq->answered)
			return rq;
	return NULL;
}

uint64_t
control_next_req(struct control *c)
{
	return ++c->req;
}

/* Everything but the struct itself, which the supervisor's answer may still point to. */
static void
request_empty(struct request *rq)
{
	walk_cancel(&rq->walk);
	command_job_free(rq);
	timer_free(&rq->timer);
	json_decref(rq->in);
	json_decref(rq->list);
	free(rq->why);
	rq->in = rq->list = NULL;
	if (rq->client != NULL)
		rq->client->request = NULL;
	rq->client = NULL;
}

static void
request_free(struct request *rq)
{
	struct control *c = rq->control;

	request_empty(rq);
	if (rq->asked) {
		rq->answered = true;
		return;		/* freed when the supervisor's answer comes */
	}
	if (rq->prev != NULL)
		rq->prev->next = rq->next;
	else
		c->requests = rq->next;
	if (rq->next != NULL)
		rq->next->prev = rq->prev;
	free(rq);
}

static void
client_put(struct client *cl, json_t *reply)
{
	char *text = json_dumps(reply, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));

	json_decref(reply);
	if (text == NULL || buf_puts(&cl->out, text) < 0 || buf_puts(&cl->out, "\n") < 0) {
		buf_clear(&cl->out);
		(void)!buf_puts(&cl->out,
		    "{\"ok\":false,\"error\":\"the reply is too large: ask for less\"}\n");
		cl->last = true;
	}
	free(text);
}

void
control_reply(struct request *rq, json_t *reply)
{
	struct client *cl = rq->client;

	if (cl == NULL) {
		json_decref(reply);
		request_free(rq);
		return;
	}
	client_put(cl, reply);
	request_free(rq);
	watch_want(cl->watch, LOOP_WRITE);	/* writes, then goes on with what was read */
}

void
control_progress(struct request *rq, json_t *line)
{
	struct client *cl = rq->client;

	if (cl == NULL || !request_bool(rq, "progress") || buf_len(&cl->out) > 0) {
		json_decref(line);
		return;
	}
	client_put(cl, line);
	watch_want(cl->watch, LOOP_WRITE);
}

void
control_fail(struct request *rq, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* What a client said may have been cut within a character. */
	control_reply(rq, json_pack("{s:b, s:o}", "ok", 0, "error", report_text(slice_str(text))));
}

bool
control_asked(struct request *rq)
{
	rq->asked = false;
	if (!rq->answered)
		return true;
	if (rq->control == NULL)
		free(rq);
	else
		request_free(rq);
	return false;
}

static void
request_overdue(void *arg)
{
	control_fail(arg, "no answer in time; look at the log for the role concerned");
}

void
control_patience(struct request *rq, int64_t ms)
{
	if (rq->timer == NULL)
		rq->timer = timer_new(rq->queue->role->loop, request_overdue, rq);
	timer_arm(rq->timer, ms);
}

/* ---- checking ---- */

static const struct command *
command_find(const char *name)
{
	const struct command *c = control_commands;

	while (c->name != NULL && strcmp(c->name, name) != 0)
		c++;
	return c->name == NULL ? NULL : c;
}

static const struct field *
field_find(const struct command *c, const char *name)
{
	for (size_t i = 0; i < COMMAND_FIELDS_MAX && c->field[i].name != NULL; i++)
		if (strcmp(c->field[i].name, name) == 0)
			return &c->field[i];
	return NULL;
}

static bool
field_fits(const struct field *f, const json_t *v)
{
	if (f->type == JSON_TRUE)
		return json_is_boolean(v);
	return json_typeof(v) == f->type;
}

static const char *
field_type(const struct field *f)
{
	switch (f->type) {
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a whole number";
	default:
		return "true or false";
	}
}

static bool
blank(const char *s)
{
	return s == NULL || s[strspn(s, " \t\r\n")] == '\0';
}

/* True when all fields are known, of their type, and the required ones are there. */
static bool
request_check(struct request *rq, char *why, size_t cap)
{
	const struct command *c = rq->command;
	const char *key;
	json_t *v;

	json_object_foreach(rq->in, key, v) {
		const struct field *f = field_find(c, key);

		if (strcmp(key, "cmd") == 0)
			continue;
		if (f == NULL) {
			(void)snprintf(why, cap, "%s: unknown field \"%.64s\"", c->name, key);
			return false;
		}
		if (!field_fits(f, v)) {
			(void)snprintf(why, cap, "%s: field \"%s\" has the wrong type, it is %s",
			    c->name, key, field_type(f));
			return false;
		}
	}
	for (size_t i = 0; i < COMMAND_FIELDS_MAX && c->field[i].name != NULL; i++) {
		v = json_object_get(rq->in, c->field[i].name);
		if (!c->field[i].required)
			continue;
		if (v == NULL || (json_is_string(v) && blank(json_string_value(v)))) {
			(void)snprintf(why, cap, "%s: \"%s\" is required and must not be empty",
			    c->name, c->field[i].name);
			return false;
		}
	}
	return true;
}

static void
request_start(struct client *cl, struct slice line)
{
	struct control *c = cl->control;
	struct request *rq = mem_new(sizeof(*rq));
	char why[256];
	json_error_t e;

	rq->control = c;
	rq->queue = c->queue;
	rq->client = cl;
	rq->who = cl->who;
	rq->next = c->requests;
	if (rq->next != NULL)
		rq->next->prev = rq;
	c->requests = rq;
	cl->request = rq;
	rq->in = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &e);
	if (!json_is_object(rq->in)) {
		control_fail(rq, "a request is one JSON object on a line: %s",
		    rq->in == NULL ? e.text : "this is an array");
		return;
	}
	const char *name = request_string(rq, "cmd");
	rq->command = command_find(name);
	if (rq->command == NULL) {
		control_fail(rq, "unknown command \"%.64s\"", name);
		return;
	}
	if (!request_check(rq, why, sizeof(why))) {
		control_fail(rq, "%s", why);
		return;
	}
	rq->command->run(rq);
}

/* ---- clients ---- */

static void
client_free(struct client *cl)
{
	struct control *c = cl->control;

	if (cl->request != NULL) {
		struct request *rq = cl->request;

		rq->client = NULL;
		cl->request = NULL;
		/* A walk for nobody would only cost time; a switch is already done. */
		request_free(rq);
	}
	watch_free(&cl->watch);
	close(cl->fd);
	buf_fini(&cl->in);
	buf_fini(&cl->out);
	if (cl->prev != NULL)
		cl->prev->next = cl->next;
	else
		c->clients = cl->next;
	if (cl->next != NULL)
		cl->next->prev = cl->prev;
	c->nclient--;
	free(cl);
}

/* -1 when the client is gone. */
static int
client_write(struct client *cl)
{
	while (buf_len(&cl->out) > 0) {
		struct slice s = buf_slice(&cl->out);
		ssize_t n = send(cl->fd, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
		buf_drop(&cl->out, (size_t)n);
	}
	return 0;
}

/* -1 when the client is gone. */
static int
client_read(struct client *cl)
{
	char piece[4096];
	size_t room = CONTROL_REQUEST_MAX + 1 - buf_len(&cl->in);
	ssize_t n = recv(cl->fd, piece, room < sizeof(piece) ? room : sizeof(piece), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
	if (n == 0) {
		cl->eof = true;
		return 0;
	}
	return buf_put(&cl->in, piece, (size_t)n);
}

static void
client_lines(struct client *cl)
{
	while (cl->request == NULL && !cl->last && buf_len(&cl->out) == 0) {
		struct slice in = buf_slice(&cl->in);
		size_t end = slice_find(in, '\n');

		if (end >= in.n)
			break;
		struct slice line = slice_trim(slice_sub(in, 0, end));
		if (line.n > 0)
			request_start(cl, line);	/* copies what it needs of the line */
		buf_drop(&cl->in, end + 1);
	}
	if (cl->request == NULL && buf_len(&cl->in) > CONTROL_REQUEST_MAX) {
		cl->last = true;
		client_put(cl, json_pack("{s:b, s:s}", "ok", 0, "error",
		    "a request is at most 64 KiB on one line"));
	} else if (cl->eof && cl->request == NULL && !cl->last && buf_len(&cl->out) == 0 &&
	    slice_trim(buf_slice(&cl->in)).n > 0) {
		/* It may have been cut off: half a request is none. */
		cl->last = true;
		client_put(cl, json_pack("{s:b, s:s}", "ok", 0, "error",
		    "a request ends with a newline: nothing was done"));
	}
}

/* Does what can be done, then says what to wait for. May free the client. */
static void
client_work(struct client *cl)
{
	client_lines(cl);
	if (client_write(cl) < 0) {
		client_free(cl);
		return;
	}
	if (buf_len(&cl->out) > 0) {
		watch_want(cl->watch, LOOP_WRITE);
		return;
	}
	if (cl->last || (cl->eof && cl->request == NULL &&
	    slice_find(buf_slice(&cl->in), '\n') >= buf_len(&cl->in))) {
		client_free(cl);
		return;
	}
	if (cl->request != NULL) {
		watch_want(cl->watch, 0);
		return;
	}
	watch_want(cl->watch, slice_find(buf_slice(&cl->in), '\n') < buf_len(&cl->in) ?
	    LOOP_WRITE : LOOP_READ);
}

static void
client_ready(void *arg, int fd, unsigned ready)
{
	struct client *cl = arg;

	(void)fd;
	if ((ready & LOOP_READ) != 0 && client_read(cl) < 0) {
		client_free(cl);
		return;
	}
	client_work(cl);
}

static bool
peer_allowed(int fd, struct audit_who *who)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
		return false;
	*who = (struct audit_who){ cred.uid, cred.pid };
	return cred.uid == 0 || cred.uid == geteuid() || cred.uid == getuid();
}

static void
client_new(struct control *c, int fd)
{
	struct client *cl = mem_new(sizeof(*cl));
	bool allowed = peer_allowed(fd, &cl->who);

	cl->control = c;
	cl->fd = fd;
	buf_init(&cl->in, CONTROL_REQUEST_MAX + 4096);
	buf_init(&cl->out, CONTROL_REPLY_MAX);
	cl->next = c->clients;
	if (cl->next != NULL)
		cl->next->prev = cl;
	c->clients = cl;
	c->nclient++;
	cl->watch = watch_new(c->queue->role->loop, fd, client_ready, cl);
	if (!allowed || c->nclient > CONTROL_CLIENTS_MAX) {
		log_warn("control-refused", "uid=%u pid=%d clients=%u", (unsigned)cl->who.uid,
		    (int)cl->who.pid, c->nclient);
		cl->last = true;
		client_put(cl, json_pack("{s:b, s:s}", "ok", 0, "error", allowed ?
		    "too many control clients, try again" :
		    "permission denied: run this as root or as the relay's user"));
		watch_want(cl->watch, LOOP_WRITE);
		return;
	}
	watch_want(cl->watch, LOOP_READ);
}

static void
control_accept(void *arg, int fd, unsigned ready)
{
	struct control *c = arg;
	int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)ready;
	if (got >= 0)
		client_new(c, got);
	else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		log_warn("control-accept", "error=%s", log_escs(strerror(errno)));
}

struct control *
control_new(struct queue *q, int fd)
{
	struct control *c = mem_new(sizeof(*c));

	c->queue = q;
	c->fd = fd;
	c->watch = watch_new(q->role->loop, fd, control_accept, c);
	watch_want(c->watch, LOOP_READ);
	return c;
}

void
control_free(struct control **cp)
{
	struct control *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	watch_free(&c->watch);
	while (c->clients != NULL)
		client_free(c->clients);
	/* Those the supervisor still holds are freed by its answer (control_asked). */
	while (c->requests != NULL) {
		struct request *rq = c->requests;

		c->requests = rq->next;
		request_empty(rq);
		rq->control = NULL;
		rq->answered = true;
		if (!rq->asked)
			free(rq);
	}
	free(c);
}

void
control_directory_down(struct control *c)
{
	struct request *rq = c == NULL ? NULL : c->requests, *next;

	for (; rq != NULL; rq = next) {
		next = rq->next;
		if (rq->req != 0 && !rq->answered)
			control_fail(rq, "the directory was restarted; it reads the newest snapshot");
	}
}

// SPDX-License-Identifier: Apache-2.0
/* What all sessions share: memory for bodies, and the end of them all. */
#include <stdlib.h>

#include "base/mem.h"
#include "relay/smtp_guard.h"

/* -- body memory ---------------------------------------------------------------- */

bool
server_reserve(struct smtp_server *sv, uint64_t n)
{
	uint64_t max = sv->conf->body_memory_max;

	if (n > max || sv->stats.body_bytes > max - n)
		return false;
	sv->stats.body_bytes += n;
	return true;
}

/* What is set aside before the first octet. A promised size counts up to a bound: a handful
 * of clients that promise much and send nothing must not take the memory of all. */
static uint64_t
body_first(const struct session *s)
{
	if (s->m.size == 0)
		return BODY_START;
	return s->m.size < BODY_PROMISED ? s->m.size : BODY_PROMISED;
}

static void
server_wake(void *arg)
{
	struct smtp_server *sv = arg;

	sv->waking = false;
	while (sv->wait_head != NULL) {
		struct session *s = sv->wait_head;
		uint64_t n = body_first(s);

		if (!server_reserve(sv, n))
			break;
		sv->wait_head = s->wait_next;
		if (sv->wait_head == NULL)
			sv->wait_tail = &sv->wait_head;
		sv->stats.waiting--;
		s->wait_next = NULL;
		s->reserved = n;
		session_step(s, smtp_machine_body(&s->m, true, &sv->reply));
	}
}

void
server_release(struct smtp_server *sv, uint64_t n)
{
	sv->stats.body_bytes -= n;
	if (sv->wait_head == NULL || sv->waking)
		return;
	sv->waking = true;
	loop_later(sv->loop, server_wake, sv);
}

void
session_unwait(struct session *s)
{
	struct smtp_server *sv = s->sv;
	struct session **p = &sv->wait_head;

	while (*p != NULL && *p != s)
		p = &(*p)->wait_next;
	if (*p == NULL)
		return;
	*p = s->wait_next;
	if (*p == NULL)
		sv->wait_tail = p;
	s->wait_next = NULL;
	sv->stats.waiting--;
}

void
session_room(struct session *s)
{
	struct smtp_server *sv = s->sv;
	uint64_t n = body_first(s);

	if (sv->wait_head == NULL && server_reserve(sv, n)) {
		s->reserved = n;
		session_step(s, smtp_machine_body(&s->m, true, &sv->reply));
		return;
	}
	if (n > sv->conf->body_memory_max) {
		session_step(s, smtp_machine_body(&s->m, false, &sv->reply));
		return;
	}
	s->wait_next = NULL;
	*sv->wait_tail = s;
	sv->wait_tail = &s->wait_next;
	sv->stats.waiting++;
	guard_memory(sv);
}

/* -- life ------------------------------------------------------------------ */

static void
server_stop_due(void *arg)
{
	struct smtp_server *sv = arg;

	while (sv->head != NULL)
		session_step(sv->head, smtp_machine_bye(&sv->head->m, SMTP_END_STOP,
		    &sv->reply));
	if (sv->stop_fn != NULL) {
		timer_fn *fn = sv->stop_fn;

		/* The last words leave at the end of this turn. */
		sv->stop_fn = NULL;
		loop_later(sv->loop, fn, sv->stop_arg);
	}
}

static void
networks_read(struct network **list, size_t *n, char *const *text, size_t ntext)
{
	free(*list);
	*list = mem_array(ntext + 1, sizeof(**list));
	*n = 0;
	for (size_t i = 0; i < ntext; i++) {
		if (network_parse(slice_str(text[i]), &(*list)[*n]) == 0)
			(*n)++;
	}
}

static void
server_networks(struct smtp_server *sv, const struct conf *c)
{
	networks_read(&sv->trusted, &sv->ntrusted, c->trusted_relay, c->ntrusted_relay);
	networks_read(&sv->exempt, &sv->nexempt, c->exempt_network, c->nexempt_network);
	networks_read(&sv->bare, &sv->nbare, c->bare_network, c->nbare_network);
}

static bool
networks_have(const struct network *list, size_t n, const char *ip)
{
	uint8_t addr[16];

	if (network_addr(slice_str(ip), addr) != 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (network_has(&list[i], addr))
			return true;
	}
	return false;
}

bool
server_trusts(const struct smtp_server *sv, const char *ip)
{
	return networks_have(sv->trusted, sv->ntrusted, ip);
}

bool
server_exempts(const struct smtp_server *sv, const char *ip)
{
	return networks_have(sv->exempt, sv->nexempt, ip);
}

bool
server_bare_except(const struct smtp_server *sv, const char *ip)
{
	return networks_have(sv->bare, sv->nbare, ip);
}

struct smtp_server *
smtp_server_new(struct loop *l, const struct conf *c, struct ingest *g, struct tls_context *tls)
{
	struct smtp_server *sv = mem_new(sizeof(*sv));

	sv->loop = l;
	sv->conf = c;
	sv->ingest = g;
	sv->tls = tls;
	sv->wait_tail = &sv->wait_head;
	buf_init(&sv->reply, REPLY_MAX);
	sv->crowd = crowd_new();
	sv->rate = rate_new();
	sv->guess = guess_new();
	TAILQ_INIT(&sv->strangers);
	TAILQ_INIT(&sv->engaged);
	server_networks(sv, c);
	sv->stop_timer = timer_new(l, server_stop_due, sv);
	return sv;
}

void
smtp_server_greylist(struct smtp_server *sv, int fd)
{
	sv->greylist = greylist_map(fd);
}

void
smtp_server_reload(struct smtp_server *sv, const struct conf *c, struct tls_context *tls)
{
	sv->conf = c;
	sv->tls = tls;
	server_networks(sv, c);
	for (struct session *s = sv->head; s != NULL; s = s->next)
		s->m.conf = c;
}

void
smtp_server_stop(struct smtp_server *sv, int64_t grace_ms, timer_fn *fn, void *arg)
{
	struct session *next;

	sv->stopping = true;
	sv->stop_fn = fn;
	sv->stop_arg = arg;
	for (struct session *s = sv->head; s != NULL; s = next) {
		next = s->next;
		if (s->state == SMTP_PROXY)
			session_closed(s);
		else if (s->state == SMTP_PAUSE || s->state == SMTP_LATE ||
		    s->state == SMTP_GREETED || s->state == SMTP_READY || s->state == SMTP_TLS)
			session_step(s, smtp_machine_bye(&s->m, SMTP_END_STOP, &sv->reply));
	}
	timer_arm(sv->stop_timer, sv->head == NULL ? 0 : grace_ms);
}

void
smtp_server_free(struct smtp_server **sp)
{
	struct smtp_server *sv = *sp;

	if (sv == NULL)
		return;
	sv->stopping = false;
	while (sv->head != NULL)
		session_closed(sv->head);
	timer_free(&sv->stop_timer);
	crowd_free(&sv->crowd);
	rate_free(&sv->rate);
	guess_free(&sv->guess);
	greylist_unmap(&sv->greylist);
	free(sv->trusted);
	free(sv->exempt);
	free(sv->bare);
	buf_fini(&sv->reply);
	free(sv);
	*sp = NULL;
}

void
smtp_server_stats(const struct smtp_server *sv, struct smtp_server_stats *out)
{
	*out = sv->stats;
}

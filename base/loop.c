// SPDX-License-Identifier: Apache-2.0
#include "base/loop.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

struct later {
	struct later	*next;
	timer_fn	*fn;
	void		*arg;
};

struct loop {
	struct event_base	*base;
	struct event		*turn;	/* runs what is in `later` */
	bool			 turning;	/* it is running */
	struct later		*head, **tail;
	struct later		*spare;	/* a few kept nodes: this is on the hot path */
	unsigned		 nspare;
	struct signal_watch	*signals;
};

struct watch {
	struct event	*ev;
	struct loop	*loop;
	watch_fn	*fn;
	void		*arg;
	int		 fd;
	unsigned	 want;
};

struct timer {
	struct event	*ev;
	timer_fn	*fn;
	void		*arg;
};

struct signal_watch {
	struct signal_watch	*next;
	struct event		*ev;
	timer_fn		*fn;
	void			*arg;
};

enum { LATER_SPARE = 64 };

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;

	(void)fd;
	(void)what;
	/* Only what was there when the turn began: a callback that asks for another
	 * `later` gets the next turn, so that I/O is never starved. */
	struct later *list = l->head;
	l->head = NULL;
	l->tail = &l->head;
	l->turning = true;
	while (list != NULL) {
		struct later *t = list;
		list = t->next;
		t->fn(t->arg);
		if (l->nspare < LATER_SPARE) {
			t->next = l->spare;
			l->spare = t;
			l->nspare++;
		} else {
			free(t);
		}
	}
	l->turning = false;
	/* Not event_active: the library would run it again in this same pass. */
	if (l->head != NULL)
		event_add(l->turn, &(struct timeval){ 0, 0 });
}

struct loop *
loop_new(void)
{
	struct loop *l = mem_new(sizeof(*l));
	struct event_config *ec = event_config_new();

	CHECK(ec != NULL);
	event_config_set_flag(ec, EVENT_BASE_FLAG_NOLOCK);
	event_config_set_flag(ec, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
	l->base = event_base_new_with_config(ec);
	event_config_free(ec);
	CHECK(l->base != NULL);
	l->turn = event_new(l->base, -1, 0, on_turn, l);
	CHECK(l->turn != NULL);
	l->tail = &l->head;
	return l;
}

static void
free_laters(struct later *t)
{
	while (t != NULL) {
		struct later *next = t->next;
		free(t);
		t = next;
	}
}

void
loop_free(struct loop **lp)
{
	struct loop *l = *lp;

	if (l == NULL)
		return;
	/* What was to be reaped at the end of the turn is reaped now. */
	while (l->head != NULL)
		on_turn(-1, 0, l);
	free_laters(l->spare);
	while (l->signals != NULL) {
		struct signal_watch *s = l->signals;
		l->signals = s->next;
		event_free(s->ev);
		free(s);
	}
	event_free(l->turn);
	event_base_free(l->base);
	free(l);
	*lp = NULL;
}

int
loop_run(struct loop *l)
{
	return event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0 ? -1 : 0;
}

void
loop_stop(struct loop *l)
{
	event_base_loopbreak(l->base);
}

void
loop_later(struct loop *l, timer_fn *fn, void *arg)
{
	struct later *t = l->spare;

	if (t != NULL) {
		l->spare = t->next;
		l->nspare--;
	} else {
		t = mem_new(sizeof(*t));
	}
	*t = (struct later){ NULL, fn, arg };
	if (l->head == NULL && !l->turning)
		event_active(l->turn, EV_TIMEOUT, 0);
	*l->tail = t;
	l->tail = &t->next;
}

static void
on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;
	unsigned ready = 0;

	if (what & EV_READ)
		ready |= LOOP_READ;
	if (what & EV_WRITE)
		ready |= LOOP_WRITE;
	w->fn(w->arg, (int)fd, ready);
}

struct watch *
watch_new(struct loop *l, int fd, watch_fn *fn, void *arg)
{
	struct watch *w = mem_new(sizeof(*w));

	w->loop = l;
	w->fd = fd;
	w->fn = fn;
	w->arg = arg;
	w->ev = event_new(l->base, fd, EV_READ | EV_PERSIST, on_watch, w);
	CHECK(w->ev != NULL);
	return w;
}

void
watch_want(struct watch *w, unsigned what)
{
	if (what == w->want)
		return;
	event_del(w->ev);
	w->want = what;
	if (what == 0)
		return;
	short bits = EV_PERSIST;
	if (what & LOOP_READ)
		bits |= EV_READ;
	if (what & LOOP_WRITE)
		bits |= EV_WRITE;
	event_assign(w->ev, w->loop->base, w->fd, bits, on_watch, w);
	event_add(w->ev, NULL);
}

void
watch_free(struct watch **wp)
{
	if (*wp == NULL)
		return;
	event_free((*wp)->ev);
	free(*wp);
	*wp = NULL;
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct timer *t = arg;

	(void)fd;
	(void)what;
	t->fn(t->arg);
}

struct timer *
timer_new(struct loop *l, timer_fn *fn, void *arg)
{
	struct timer *t = mem_new(sizeof(*t));

	t->fn = fn;
	t->arg = arg;
	t->ev = event_new(l->base, -1, 0, on_timer, t);
	CHECK(t->ev != NULL);
	return t;
}

void
timer_arm(struct timer *t, int64_t after_ms)
{
	if (after_ms < 0)
		after_ms = 0;
	struct timeval tv = { (time_t)(after_ms / 1000), (suseconds_t)(after_ms % 1000 * 1000) };
	event_add(t->ev, &tv);
}

void
timer_cancel(struct timer *t)
{
	event_del(t->ev);
}

void
timer_free(struct timer **tp)
{
	if (*tp == NULL)
		return;
	event_free((*tp)->ev);
	free(*tp);
	*tp = NULL;
}

static void
on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct signal_watch *s = arg;

	(void)fd;
	(void)what;
	s->fn(s->arg);
}

void
loop_signal(struct loop *l, int signo, timer_fn *fn, void *arg)
{
	struct signal_watch *s = mem_new(sizeof(*s));

	s->fn = fn;
	s->arg = arg;
	s->ev = evsignal_new(l->base, signo, on_signal, s);
	CHECK(s->ev != NULL);
	event_add(s->ev, NULL);
	s->next = l->signals;
	l->signals = s;
}

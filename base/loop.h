// SPDX-License-Identifier: Apache-2.0
/*
 * The event loop (libevent core behind it): descriptors, timers and "at the
 * end of this turn". Callbacks may free any watch or timer, their own too.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdint.h>

struct loop;
struct watch;
struct timer;

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

typedef void watch_fn(void *arg, int fd, unsigned ready);	/* LOOP_* bits */
typedef void timer_fn(void *arg);

struct loop *loop_new(void);
void loop_free(struct loop **lp);
int loop_run(struct loop *l);		/* until loop_stop; 0 */
void loop_stop(struct loop *l);

/* The descriptor stays the caller's; it must be removed before it is closed. */
struct watch *watch_new(struct loop *l, int fd, watch_fn *fn, void *arg);
void watch_want(struct watch *w, unsigned what);	/* 0 pauses it */
void watch_free(struct watch **wp);

struct timer *timer_new(struct loop *l, timer_fn *fn, void *arg);
void timer_arm(struct timer *t, int64_t after_ms);	/* once; re-arms */
void timer_cancel(struct timer *t);
void timer_free(struct timer **tp);

/* Calls fn(arg) once, after the present callback has returned and before the
 * loop sleeps: the place to reap what was marked closed. Cannot be cancelled. */
void loop_later(struct loop *l, timer_fn *fn, void *arg);

/* Calls fn(arg) on a signal; for the supervisor and for clean stops. */
void loop_signal(struct loop *l, int signo, timer_fn *fn, void *arg);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * Two threads write: one appends and syncs logs, so that a commit never waits for
 * housekeeping; the other does all the rest. Others read: for deliveries, and for logs
 * that are rewritten. They start when the loop first turns
 * (after the role gave up its privileges); until then jobs wait, or are run by
 * drain itself, which is how start-up recovers without a thread.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/store_local_priv.h"

static bool
joins(const struct job *last, const struct job *j, uint64_t bytes, size_t pieces)
{
	return j != NULL && j->kind == JOB_APPEND && j->segment == last->segment &&
	    j->off == last->off + last->len && bytes + j->len <= STORE_BATCH_BYTES &&
	    pieces + j->n <= STORE_BATCH_IOV;
}

/* Everything that waited while the last sync ran becomes one batch. Lock held. */
static struct job *
take_batch(struct worker *w, size_t *n)
{
	struct job *first = w->head, *last = first;
	uint64_t bytes = first->len;
	size_t pieces = first->n;

	*n = 1;
	if (first->kind == JOB_APPEND)
		while (joins(last, last->next, bytes, pieces)) {
			last = last->next;
			bytes += last->len;
			pieces += last->n;
			++*n;
		}
	w->head = last->next;
	if (w->head == NULL)
		w->tail = &w->head;
	last->next = NULL;
	w->queued -= *n;
	return first;
}

/*
 * On a fast disk a sync returns before the next commits have arrived, and a crowd of
 * sessions would pay one sync for every few messages. So when the last batch shows a
 * crowd, its followers are waited for: until they are twice as many, or a short gap
 * says that no more are coming. Somebody alone never waits. Lock held.
 */
static void
gather(struct worker *w, size_t last)
{
	const struct timespec gap = { .tv_nsec = STORE_GATHER_US * 1000 };
	size_t want = 2 * last < STORE_GATHER_MAX ? 2 * last : STORE_GATHER_MAX;

	if (last < STORE_GATHER_MIN)
		return;
	w->gathering = true;
	for (unsigned i = 0; i < STORE_GATHER_TURNS && w->queued < want; i++) {
		size_t seen = w->queued;
		pthread_mutex_unlock(&w->store->lock);
		nanosleep(&gap, NULL);
		pthread_mutex_lock(&w->store->lock);
		if (w->queued == seen)
			break;
	}
	w->gathering = false;
}

static void
run_batch(struct worker *w, struct job *first, size_t n)
{
	if (first->kind == JOB_APPEND)
		file_append(w, first, n);
	else
		first->result = file_job(w->store, first);
	for (struct job *j = first; j != NULL; j = j->next)
		if (j->result > STORE_OK_LOCAL)
			__atomic_add_fetch(&w->store->failures, 1, __ATOMIC_RELAXED);
}

/* Lock held. */
static void
put_done(struct store *s, struct job *first)
{
	*s->done_tail = first;
	while (*s->done_tail != NULL)
		s->done_tail = &(*s->done_tail)->next;
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;
	struct store *s = w->store;
	const uint64_t one = 1;
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		while (w->head == NULL && !s->stopping)
			pthread_cond_wait(&w->wake, &s->lock);
		if (w->head == NULL)
			break;
		if (w->head->kind == JOB_APPEND)
			gather(w, n);
		struct job *first = take_batch(w, &n);
		pthread_mutex_unlock(&s->lock);
		run_batch(w, first, n);
		pthread_mutex_lock(&s->lock);
		bool quiet = s->done == NULL;
		put_done(s, first);
		/* One wake-up per batch; none if the loop has not seen the last. */
		if (quiet && write(s->event_fd, &one, sizeof(one)) < 0)
			log_error("spool-eventfd", "errno=%d", errno);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* Completions may submit more jobs and may not close the store. */
static void
complete(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	struct job *j = s->done;
	s->done = NULL;
	s->done_tail = &s->done;
	pthread_mutex_unlock(&s->lock);
	while (j != NULL) {
		struct job *next = j->next;
		s->pending--;
		if (j->kind == JOB_ADOPT)
			file_adopted(s, j);
		j->done(j->arg, j->result);
		free(j->span);
		free(j);
		j = next;
	}
}

static void
on_event(void *arg, int fd, unsigned ready)
{
	struct store *s = arg;
	uint64_t v;

	(void)ready;
	if (read(fd, &v, sizeof(v)) < 0 && errno != EAGAIN)
		log_error("spool-eventfd", "errno=%d", errno);
	complete(s);
}

/* Without threads (start-up, or none to be had): one pass over both lists. */
static bool
run_inline(struct store *s)
{
	bool any = false;

	for (int i = 0; i < WORKER_MAX; i++) {
		struct worker *w = &s->worker[i];
		while (w->nthread == 0 && w->head != NULL) {
			size_t n;
			struct job *first = take_batch(w, &n);
			run_batch(w, first, n);
			pthread_mutex_lock(&s->lock);
			put_done(s, first);
			pthread_mutex_unlock(&s->lock);
			any = true;
		}
	}
	return any;
}

static void
start_threads(void *arg)
{
	struct store *s = arg;
	sigset_t all, old;

	s->started = true;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (int i = 0; i < WORKER_MAX; i++) {
		struct worker *w = &s->worker[i];
		unsigned n = i == WORKER_READ ? STORE_READERS : 1;
		int e = 0;
		while (w->nthread < n && e == 0) {
			e = pthread_create(&w->thread[w->nthread], NULL, worker_main, w);
			w->nthread += e == 0;
		}
		if (e != 0)
			log_error("spool-thread", "errno=%d effect=\"syncs block the loop\"", e);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (run_inline(s))
		complete(s);
}

void
work_submit(struct store *s, enum worker_kind k, struct job *j)
{
	struct worker *w = &s->worker[k];

	pthread_mutex_lock(&s->lock);
	*w->tail = j;
	w->tail = &j->next;
	w->queued++;
	s->pending++;
	if (w->nthread > 0 && !w->gathering)
		pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&s->lock);
	if (w->nthread == 0)
		timer_arm(s->starter, 0);
}

int
work_drain(struct store *s, int timeout_ms)
{
	int64_t end = clock_mono_us() / 1000 + timeout_ms;

	complete(s);
	while (s->pending > 0) {
		struct pollfd p = { .fd = s->event_fd, .events = POLLIN };
		uint64_t v;
		if (run_inline(s)) {
			complete(s);
			continue;	/* a completion may have asked for more */
		}
		int64_t left = end - clock_mono_us() / 1000;
		if (timeout_ms <= 0 || left <= 0)
			return -1;
		/* A fake clock stands still: never wait longer than this at once. */
		if (poll(&p, 1, left < 100 ? (int)left : 100) == 0)
			timeout_ms -= left < 100 ? (int)left : 100;
		else if (read(s->event_fd, &v, sizeof(v)) < 0 && errno != EAGAIN)
			return -1;
		complete(s);
	}
	return 0;
}

static void
restart_or_run(void *arg)
{
	struct store *s = arg;

	if (!s->started)
		start_threads(s);
	else if (run_inline(s))
		complete(s);
}

int
work_init(struct store *s)
{
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->files_lock, NULL);
	s->done_tail = &s->done;
	for (int i = 0; i < WORKER_MAX; i++) {
		struct worker *w = &s->worker[i];
		w->store = s;
		w->tail = &w->head;
		pthread_cond_init(&w->wake, NULL);
	}
	s->worker[WORKER_LOG].iov = mem_array(STORE_BATCH_IOV, sizeof(struct iovec));
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->event_fd < 0)
		return -1;
	s->watch = watch_new(s->loop, s->event_fd, on_event, s);
	watch_want(s->watch, LOOP_READ);
	s->starter = timer_new(s->loop, restart_or_run, s);
	return 0;
}

static bool
stop_threads(struct store *s)
{
	struct timespec until;
	bool stuck = false;

	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	for (int i = 0; i < WORKER_MAX; i++)
		pthread_cond_broadcast(&s->worker[i].wake);
	pthread_mutex_unlock(&s->lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += STORE_CLOSE_MS / 1000;
	for (int i = 0; i < WORKER_MAX; i++) {
		struct worker *w = &s->worker[i];
		for (unsigned k = 0; k < w->nthread; k++)
			if (pthread_clockjoin_np(w->thread[k], NULL, CLOCK_MONOTONIC, &until) != 0)
				stuck = true;
	}
	return !stuck;
}

/* A thread stuck in the kernel keeps what it uses: the process is about to end. */
void
work_fini(struct store *s)
{
	bool ok = stop_threads(s);

	if (!ok) {
		log_error("spool-stuck", "effect=\"a write did not end in %d s\"",
		    STORE_CLOSE_MS / 1000);
		watch_free(&s->watch);
		timer_free(&s->starter);
		return;
	}
	for (int i = 0; i < WORKER_MAX; i++)
		s->worker[i].nthread = 0;
	run_inline(s);
	complete(s);
	watch_free(&s->watch);
	timer_free(&s->starter);
	if (s->event_fd >= 0)
		close(s->event_fd);
	for (int i = 0; i < WORKER_MAX; i++) {
		pthread_cond_destroy(&s->worker[i].wake);
		free(s->worker[i].iov);
		free(s->worker[i].chunk);
	}
	files_close(s);
	close(s->seg);
	close(s->dir);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->files_lock);
	free(s);
}

// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/failover_priv.h"

void
failover_window_put(struct failover *f, const struct failover_window *w)
{
	f->window = mem_resize(f->window, f->nwindow + 1, sizeof(*f->window));
	struct failover_window *to = &f->window[f->nwindow++];

	*to = *w;
	to->domain = mem_str(w->domain);
	to->shard = mem_str(w->shard);
	to->reason = mem_str(w->reason);
}

static void
window_fini(struct failover_window *w)
{
	free(w->domain);
	free(w->shard);
	free(w->reason);
}

/* Takes it out of the list; the caller has its strings now. */
static struct failover_window
window_take(struct failover *f, size_t i)
{
	struct failover_window w = f->window[i];

	f->nwindow--;
	memmove(&f->window[i], &f->window[i + 1], (f->nwindow - i) * sizeof(w));
	return w;
}

void
failover_window_drop(struct failover *f, size_t i)
{
	struct failover_window w = window_take(f, i);

	window_fini(&w);
}

size_t
failover_windows(const struct failover *f)
{
	return f->nwindow;
}

const struct failover_window *
failover_window(const struct failover *f, size_t i)
{
	return i < f->nwindow ? &f->window[i] : NULL;
}

const struct failover_window *
failover_window_due(const struct failover *f, int64_t wall_ms)
{
	for (size_t i = 0; i < f->nwindow; i++)
		if (f->window[i].from_ms <= wall_ms)
			return &f->window[i];
	return NULL;
}

static size_t
window_find(const struct failover *f, uint64_t id)
{
	size_t i = 0;

	while (i < f->nwindow && f->window[i].id != id)
		i++;
	return i;
}

struct window_times {
	char	from[40], until[40];
};

static struct audit_record
window_record(const struct failover_window *w, const char *event, struct window_times *t)
{
	clock_iso8601(w->from_ms, t->from, sizeof(t->from));
	clock_iso8601(w->until_ms, t->until, sizeof(t->until));
	return (struct audit_record){ .event = event, .who = w->who, .domain = w->domain,
		.shard = w->shard, .from = t->from, .until = t->until, .reason = w->reason,
		.window = &w->id };
}

int
failover_window_add(struct failover *f, const struct failover_window *w, uint64_t *id)
{
	struct failover_window mine = *w;
	struct window_times t;

	if (f->nwindow >= FAILOVER_WINDOWS_MAX) {
		errno = ENOSPC;
		return -1;
	}
	mine.id = f->last_window + 1;
	const struct audit_record r = window_record(&mine, "window", &t);
	if (audit_write(f->audit, &r) < 0)
		return -1;
	f->last_window++;
	failover_window_put(f, &mine);
	if (failover_save(f) < 0) {
		int saved = errno;

		failover_window_drop(f, f->nwindow - 1);
		failover_undo(f, &r);
		errno = saved;
		return -1;
	}
	f->serial++;
	*id = mine.id;
	return 0;
}

static int
window_end(struct failover *f, uint64_t id, const char *event, const struct audit_who *who,
    const char *reason)
{
	size_t i = window_find(f, id);
	struct window_times t;

	if (i == f->nwindow) {
		errno = ENOENT;
		return -1;
	}
	struct audit_record r = window_record(&f->window[i], event, &t);
	r.who = *who;
	r.window = &id;		/* the list moves before failover_undo */
	if (reason != NULL)
		r.reason = reason;
	if (audit_write(f->audit, &r) < 0)
		return -1;
	struct failover_window w = window_take(f, i);
	if (failover_save(f) < 0) {
		int saved = errno;

		failover_window_put(f, &w);
		failover_undo(f, &r);
		window_fini(&w);
		errno = saved;
		return -1;
	}
	window_fini(&w);
	f->serial++;
	return 0;
}

int
failover_window_cancel(struct failover *f, uint64_t id, struct audit_who who, const char *reason)
{
	return window_end(f, id, "window-cancelled", &who, reason);
}

int
failover_window_begun(struct failover *f, uint64_t id, bool missed)
{
	const struct audit_who queue = { geteuid(), 0 };

	if (missed)
		log_warn("window-missed", "window=%llu fix=%s", (unsigned long long)id,
		    log_escs("the relay did not run in that time; nothing was switched"));
	return window_end(f, id, missed ? "window-missed" : "window-begun", &queue, NULL);
}

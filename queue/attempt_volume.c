// SPDX-License-Identifier: Apache-2.0
/*
 * A provider's day (spec 8.11, queue/volume.h): what waits when it is full, who is told, and
 * what status shows of it.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/attempt_priv.h"
#include "queue/volume.h"

enum { VOLUME_SHOWN_MAX = 32, HOUR_MS = 3600 * 1000 };

/* Said once a day; the count goes on. */
static void
volume_alarm(struct attempts *a, const struct work *w, const struct volume *v)
{
	const char *name = attempt_group_name(a, w->group);
	struct provider_alarm *x = attempt_alarm_slot(a, "volume", name);
	bool said = x->until_ms == v->ends_ms;

	x->until_ms = v->ends_ms;
	x->last_ms = clock_wall_ms();
	x->count++;
	if (!said)
		log_warn("alarm", "what=provider-volume provider=%s sent=%u allowed=%llu effect=%s "
		    "fix=%s", name, v->today, (unsigned long long)v->allowed,
		    log_escs("copies of class 1 to 3 wait for the next day; urgent ones go, held mail "
		    "is not touched"), log_escs("raise volume-start only when this provider knows the "
		    "address; baseline-share and drills make it known"));
}

bool
attempt_volume_stops(struct attempts *a, struct work *w, int64_t now)
{
	struct volume v;

	/* an emergency exceeds the day with what is urgent, and with nothing else */
	if (forward_class(a->role->conf, &w->item->e, now) == 0 ||
	    !volume_look(a->marks, conf_provider_find(a->role->conf, slice_str(w->group)),
	    w->group_key, now, &v) || !volume_full(&v))
		return false;
	volume_alarm(a, w, &v);
	attempt_put_off(a, w, v.ends_ms + (int64_t)(attempt_random() % HOUR_MS));
	return true;
}

struct shown {
	struct attempts	*a;
	struct buf	*out;
	unsigned	 n;
	int		 rc;
};

static void
show(struct shown *s, const char *group)
{
	struct attempts *a = s->a;
	struct volume v;

	if (s->n >= VOLUME_SHOWN_MAX || !volume_look(a->marks, conf_provider_find(a->role->conf,
	    slice_str(group)), marks_key(a->marks, slice_str(group), SLICE_NONE),
	    schedule_now(a->schedule), &v))
		return;
	s->rc |= buf_printf(s->out, "%s{\"provider\":\"%s\",\"today\":%u,\"largest\":%u,\"allowed\":",
	    s->n++ == 0 ? "" : ",", attempt_group_name(a, group), v.today, v.largest);
	s->rc |= v.allowed == UINT64_MAX ? buf_puts(s->out, "null") :
	    buf_printf(s->out, "%llu", (unsigned long long)v.allowed);
	s->rc |= buf_printf(s->out, ",\"until\":%lld}", (long long)(v.ends_ms / 1000));
}

/* Those without a section of their own, while something goes there. */
static void
show_other(void *arg, const char *group)
{
	struct shown *s = arg;
	const struct conf_provider *p = conf_provider_find(s->a->role->conf, slice_str(group));

	if (strcmp(p->name, CONF_PROVIDER_DEFAULT) == 0)
		show(s, group);
}

int
attempt_volume_status(struct attempts *a, struct buf *out)
{
	const struct conf *c = a->role->conf;
	struct shown s = { .a = a, .out = out };

	s.rc = buf_puts(out, ",\"volumes\":[");
	for (size_t i = 0; i < c->nprovider; i++)
		if (strcmp(c->provider[i].name, CONF_PROVIDER_DEFAULT) != 0)
			show(&s, c->provider[i].name);
	schedule_providers(a->schedule, show_other, &s);
	return s.rc | buf_puts(out, "]");
}

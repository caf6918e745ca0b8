// SPDX-License-Identifier: Apache-2.0
#include "queue/alarm.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/report.h"

struct alarm {
	char		*what, *domain, *shard, *text, *fix;	/* owned */
	int64_t		 since_ms;	/* wall clock */
	int64_t		 end_ms;	/* monotonic; 0: when it is cleared */
	uint64_t	 count;
};

struct alarms {
	struct alarm	*list;		/* owned */
	size_t		 n;
};

struct alarms *
alarms_new(void)
{
	return mem_new(sizeof(struct alarms));
}

static void
alarm_fini(struct alarm *m)
{
	free(m->what);
	free(m->domain);
	free(m->shard);
	free(m->text);
	free(m->fix);
}

void
alarms_free(struct alarms **ap)
{
	struct alarms *a = *ap;

	*ap = NULL;
	if (a == NULL)
		return;
	for (size_t i = 0; i < a->n; i++)
		alarm_fini(&a->list[i]);
	free(a->list);
	free(a);
}

static size_t
alarm_find(const struct alarms *a, const char *what, const char *domain, const char *shard)
{
	size_t i = 0;

	while (i < a->n && (strcmp(a->list[i].what, what) != 0 ||
	    strcmp(a->list[i].domain, domain) != 0 || strcmp(a->list[i].shard, shard) != 0))
		i++;
	return i;
}

bool
alarm_raise(struct alarms *a, const char *what, const char *domain, const char *shard,
    int64_t keep_ms, const char *text, const char *fix)
{
	size_t i = alarm_find(a, what, domain, shard);
	bool new = i == a->n;

	if (new) {
		log_warn("alarm", "what=%s domain=%s shard=%s text=%s fix=%s", what, log_escs(domain),
		    log_escs(shard), log_escs(text), log_escs(fix));
		if (a->n >= ALARMS_MAX)
			return true;
		a->list = mem_resize(a->list, a->n + 1, sizeof(*a->list));
		a->list[a->n++] = (struct alarm){ .what = mem_str(what), .domain = mem_str(domain),
			.shard = mem_str(shard), .fix = mem_str(fix), .since_ms = clock_wall_ms() };
	}
	struct alarm *m = &a->list[i];
	free(m->text);
	m->text = mem_str(text);
	m->count++;
	m->end_ms = keep_ms == 0 ? 0 : clock_mono_ms() + keep_ms;
	return new;
}

static void
alarm_end(struct alarms *a, size_t i)
{
	struct alarm m = a->list[i];

	log_warn("alarm-over", "what=%s domain=%s shard=%s count=%llu", m.what,
	    log_escs(m.domain), log_escs(m.shard), (unsigned long long)m.count);
	a->n--;
	memmove(&a->list[i], &a->list[i + 1], (a->n - i) * sizeof(m));
	alarm_fini(&m);
}

bool
alarm_clear(struct alarms *a, const char *what, const char *domain, const char *shard)
{
	size_t i = alarm_find(a, what, domain, shard);

	if (i == a->n)
		return false;
	alarm_end(a, i);
	return true;
}

void
alarms_sweep(struct alarms *a)
{
	int64_t now = clock_mono_ms();

	for (size_t i = a->n; i > 0; i--)
		if (a->list[i - 1].end_ms != 0 && a->list[i - 1].end_ms <= now)
			alarm_end(a, i - 1);
}

json_t *
alarms_json(const struct alarms *a)
{
	json_t *list = json_array();

	for (size_t i = 0; i < a->n; i++) {
		const struct alarm *m = &a->list[i];

		json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o, s:I, s:o, s:o}",
		    "alarm", report_text(slice_str(m->what)), "domain",
		    report_text(slice_str(m->domain)), "shard", report_text(slice_str(m->shard)),
		    "since", report_time(m->since_ms), "count", (json_int_t)m->count,
		    "text", report_text(slice_str(m->text)), "fix",
		    report_text(slice_str(m->fix))));
	}
	return list;
}

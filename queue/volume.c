// SPDX-License-Identifier: Apache-2.0
#include "queue/volume.h"

/*
 * MARK_VOLUME ends VOLUME_KEEP_MS after its day began, so a day that is over is still known
 * when the next copy leaves, be that days later; then it goes into MARK_VOLUME_BEFORE, the
 * largest day of a week, whose predecessor is MARK_VOLUME_OLDER. Marks of a release that
 * kept only the day before end sooner; they count as a day that is over.
 */
#define DAY_MS		INT64_C(86400000)
#define WEEK_MS		(7 * DAY_MS)
#define VOLUME_KEEP_MS	(2 * WEEK_MS + DAY_MS)
#define BEFORE_KEEP_MS	(2 * WEEK_MS)

static bool
under_way(const struct mark *day, int64_t now)
{
	return day->until_ms - now > VOLUME_KEEP_MS - DAY_MS;
}

static void
larger(uint32_t *most, uint32_t n)
{
	if (n > *most)
		*most = n;
}

bool
volume_look(const struct marks *m, const struct conf_provider *c, uint64_t provider, int64_t now,
    struct volume *out)
{
	struct mark day = { 0, 0 }, before = { 0, 0 }, older = { 0, 0 };
	bool known = marks_get(m, MARK_VOLUME, provider, now, &day);

	known |= marks_get(m, MARK_VOLUME_BEFORE, provider, now, &before);
	known |= marks_get(m, MARK_VOLUME_OLDER, provider, now, &older);
	*out = (struct volume){ .allowed = UINT64_MAX };
	larger(&out->largest, before.value);
	larger(&out->largest, older.value);
	if (day.until_ms != 0 && under_way(&day, now)) {
		out->today = day.value;
		out->ends_ms = day.until_ms - (VOLUME_KEEP_MS - DAY_MS);
	} else {
		larger(&out->largest, day.value);
	}
	if (c->volume_start == 0)
		return known;
	out->allowed = (uint64_t)out->largest * c->volume_factor;
	if (out->allowed < c->volume_start)
		out->allowed = c->volume_start;
	return known;
}

bool
volume_full(const struct volume *v)
{
	return v->today >= v->allowed;
}

/* A day is over. */
static void
turn(struct marks *m, uint64_t provider, uint32_t count, int64_t now)
{
	struct mark before;
	bool had = marks_get(m, MARK_VOLUME_BEFORE, provider, now, &before);

	if (had && before.until_ms - now > BEFORE_KEEP_MS - WEEK_MS) {	/* of the same week */
		if (count > before.value)
			marks_set(m, MARK_VOLUME_BEFORE, provider, before.until_ms, count, now);
	} else {
		if (had)
			marks_set(m, MARK_VOLUME_OLDER, provider, before.until_ms, before.value, now);
		marks_set(m, MARK_VOLUME_BEFORE, provider, now + BEFORE_KEEP_MS, count, now);
	}
	marks_clear(m, MARK_VOLUME, provider, now);
}

void
volume_count(struct marks *m, const struct conf_provider *c, uint64_t provider, int64_t now)
{
	struct mark day;
	int64_t until;

	if (c->volume_start == 0)
		return;
	if (marks_get(m, MARK_VOLUME, provider, now, &day) && !under_way(&day, now))
		turn(m, provider, day.value, now);
	(void)marks_take(m, MARK_VOLUME, provider, UINT32_MAX, VOLUME_KEEP_MS, now, &until);
}

void
volume_uncount(struct marks *m, uint64_t provider, int64_t now)
{
	struct mark day;

	if (marks_get(m, MARK_VOLUME, provider, now, &day) && under_way(&day, now))
		marks_untake(m, MARK_VOLUME, provider, now);
}

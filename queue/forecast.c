// SPDX-License-Identifier: Apache-2.0
#include "queue/forecast.h"

enum { HOUR_MS = 3600 * 1000 };

static const struct forecast_sample *
sample(const struct forecast *f, unsigned i)
{
	return &f->s[(f->first + i) % FORECAST_SAMPLES];
}

void
forecast_put(struct forecast *f, int64_t mono_ms, uint64_t bytes, uint64_t held)
{
	if (f->n > 0 && mono_ms - sample(f, f->n - 1)->mono_ms < FORECAST_STEP_MS)
		return;
	if (f->n == FORECAST_SAMPLES) {
		f->first = (f->first + 1) % FORECAST_SAMPLES;
		f->n--;
	}
	f->s[(f->first + f->n++) % FORECAST_SAMPLES] =
	    (struct forecast_sample){ mono_ms, bytes, held };
}

uint64_t
forecast_growth(const struct forecast *f)
{
	if (f->n < 2)
		return 0;
	const struct forecast_sample *a = sample(f, 0), *b = sample(f, f->n - 1);
	if (b->bytes <= a->bytes || b->mono_ms <= a->mono_ms)
		return 0;
	double rate = (double)(b->bytes - a->bytes) / (double)(b->mono_ms - a->mono_ms) * HOUR_MS;
	return rate >= (double)(INT64_MAX / 2) ? INT64_MAX / 2 : (uint64_t)rate;
}

double
forecast_hours(const struct forecast *f, uint64_t room)
{
	uint64_t growth = forecast_growth(f);

	return growth == 0 ? -1 : (double)room / (double)growth;
}

bool
forecast_log_due(struct forecast *f, int64_t mono_ms)
{
	if (f->n < 2 || sample(f, f->n - 1)->held <= sample(f, 0)->held || forecast_growth(f) == 0)
		return false;
	if (f->logged_ms != 0 && mono_ms - f->logged_ms < FORECAST_LOG_MS)
		return false;
	f->logged_ms = mono_ms;
	return true;
}

const char *
water_name(enum water w)
{
	static const char *const name[WATER_MAX] = { "fine", "warn", "bulk", "full" };

	return w < WATER_MAX ? name[w] : "?";
}

/* A mark below the next one would say nothing: it is taken as high as that. */
static uint64_t
mark(const struct conf *c, enum water w)
{
	uint64_t at = c->disk_reserve;

	if (w <= WATER_BULK && c->disk_bulk_reserve > at)
		at = c->disk_bulk_reserve;
	if (w <= WATER_WARN && c->disk_warn > at)
		at = c->disk_warn;
	return at;
}

enum water
water_next(enum water now, const struct conf *c, uint64_t free)
{
	for (enum water w = WATER_FULL; w > WATER_FINE; w--) {
		uint64_t at = mark(c, w);

		if (now >= w)
			at += at / 20;
		if (free < at)
			return w;
	}
	return WATER_FINE;
}

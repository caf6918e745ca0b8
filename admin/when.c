// SPDX-License-Identifier: Apache-2.0
#include "admin/when.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

int
when_span(const char *text, int64_t *ms)
{
	static const struct { char unit; int64_t ms; } units[] = {
		{ 's', 1000 }, { 'm', 60 * 1000 }, { 'h', 3600 * 1000 },
		{ 'd', 24 * 3600 * 1000LL }, { 'w', 7 * 24 * 3600 * 1000LL },
	};
	int64_t sum = 0;

	while (*text != '\0') {
		size_t n = strspn(text, "0123456789"), u = 0;
		int64_t v = 0, part;

		while (u < sizeof(units) / sizeof(units[0]) && units[u].unit != text[n])
			u++;
		if (n == 0 || n > 9 || u == sizeof(units) / sizeof(units[0]))
			return -1;
		for (size_t i = 0; i < n; i++)
			v = v * 10 + (text[i] - '0');
		if (__builtin_mul_overflow(v, units[u].ms, &part) ||
		    __builtin_add_overflow(sum, part, &sum))
			return -1;
		text += n + 1;
	}
	*ms = sum;
	return sum > 0 ? 0 : -1;
}

/* n digits at *p, which moves on. -1 when there are none. */
static int
digits(const char **p, unsigned n)
{
	int v = 0;

	for (unsigned i = 0; i < n; i++, (*p)++) {
		if (**p < '0' || **p > '9')
			return -1;
		v = v * 10 + (**p - '0');
	}
	return v;
}

/* "12:00" or "12:00:30" at *p into tm. */
static int
clock_part(const char **p, struct tm *tm)
{
	tm->tm_hour = digits(p, 2);
	if (tm->tm_hour < 0 || tm->tm_hour > 23 || *(*p)++ != ':')
		return -1;
	tm->tm_min = digits(p, 2);
	if (tm->tm_min < 0 || tm->tm_min > 59)
		return -1;
	if (**p != ':')
		return 0;
	(*p)++;
	tm->tm_sec = digits(p, 2);
	return tm->tm_sec < 0 || tm->tm_sec > 59 ? -1 : 0;
}

static int
date_part(const char **p, struct tm *tm)
{
	int year = digits(p, 4), month, day;

	if (year < 1970 || *(*p)++ != '-')
		return -1;
	month = digits(p, 2);
	if (month < 1 || month > 12 || *(*p)++ != '-')
		return -1;
	day = digits(p, 2);
	if (day < 1 || day > 31 || (**p != 'T' && **p != ' '))
		return -1;
	(*p)++;
	tm->tm_year = year - 1900;
	tm->tm_mon = month - 1;
	tm->tm_mday = day;
	return 0;
}

/* The zones put a 31 February into March: that is not what was meant. */
static int
when_made(struct tm *tm, bool utc, int64_t *ms)
{
	int day = tm->tm_mday;
	time_t t = utc ? timegm(tm) : mktime(tm);

	if (t == (time_t)-1 || tm->tm_mday != day)
		return -1;
	*ms = (int64_t)t * 1000;
	return 0;
}

static int
when_today(const char *text, int64_t now_ms, int64_t *ms)
{
	time_t now = (time_t)(now_ms / 1000);
	struct tm tm;

	if (localtime_r(&now, &tm) == NULL)
		return -1;
	tm.tm_sec = 0;
	tm.tm_isdst = -1;
	if (clock_part(&text, &tm) != 0 || *text != '\0')
		return -1;
	struct tm later = tm;
	if (when_made(&tm, false, ms) != 0)
		return -1;
	if (*ms > now_ms)
		return 0;
	later.tm_mday++;
	time_t t = mktime(&later);
	*ms = (int64_t)t * 1000;
	return t == (time_t)-1 ? -1 : 0;
}

int
when_time(const char *text, int64_t now_ms, int64_t *ms)
{
	struct tm tm = { .tm_isdst = -1 };
	const char *p = text;

	if (strlen(text) < 10)
		return when_today(text, now_ms, ms);
	if (date_part(&p, &tm) != 0 || clock_part(&p, &tm) != 0)
		return -1;
	bool utc = strcmp(p, "Z") == 0;
	if (!utc && *p != '\0')
		return -1;
	if (utc)
		tm.tm_isdst = 0;
	return when_made(&tm, utc, ms);
}

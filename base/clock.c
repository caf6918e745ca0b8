// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

/* The one process-wide thing here: tests set it before anything runs. */
static struct {
	int64_t wall_ms, mono_ms;	/* -1: the real clock */
} fake = { -1, -1 };

static int64_t
read_us(clockid_t which)
{
	struct timespec t;

	clock_gettime(which, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void
clock_fake(int64_t wall_ms, int64_t mono_ms)
{
	fake.wall_ms = wall_ms;
	fake.mono_ms = mono_ms;
}

int64_t
clock_wall_ms(void)
{
	return fake.wall_ms >= 0 ? fake.wall_ms : read_us(CLOCK_REALTIME) / 1000;
}

int64_t
clock_mono_us(void)
{
	return fake.mono_ms >= 0 ? fake.mono_ms * 1000 : read_us(CLOCK_BOOTTIME);
}

int64_t
clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

void
clock_rfc5322(int64_t wall_ms, char *out, size_t cap)
{
	static const char day[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char mon[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
		"Sep", "Oct", "Nov", "Dec" };
	time_t s = (time_t)(wall_ms / 1000);
	struct tm tm;

	/* Not strftime: names must be English whatever the locale. */
	localtime_r(&s, &tm);
	long off = tm.tm_gmtoff / 60, mag = off < 0 ? -off : off;
	snprintf(out, cap, "%s, %d %s %d %02d:%02d:%02d %c%02ld%02ld", day[tm.tm_wday], tm.tm_mday,
	    mon[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec,
	    off < 0 ? '-' : '+', mag / 60, mag % 60);
}

void
clock_iso8601(int64_t wall_ms, char *out, size_t cap)
{
	time_t s = (time_t)(wall_ms / 1000);
	struct tm tm;

	gmtime_r(&s, &tm);
	snprintf(out, cap, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
	    tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall_ms % 1000));
}

// SPDX-License-Identifier: Apache-2.0
/*
 * LD_PRELOAD=clock.so: a wall clock that jumps. CLOCK_CONTROL=FILE holds one signed 64-bit
 * number, milliseconds that are added to the real time; a test changes it at any time. The
 * file is mapped before main, as the roles give up their rights soon after.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *shift_ms;

static int
(*real_gettime(void))(clockid_t, struct timespec *)
{
	static int (*real)(clockid_t, struct timespec *);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	return real;
}

__attribute__((constructor)) static void
start(void)
{
	const char *path = getenv("CLOCK_CONTROL");
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	void *p = mmap(NULL, sizeof(*shift_ms), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p != MAP_FAILED)
		shift_ms = p;
}

int
clock_gettime(clockid_t which, struct timespec *t)
{
	int rc = real_gettime()(which, t);

	if (rc == 0 && shift_ms != NULL &&
	    (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
		t->tv_sec += *shift_ms / 1000;
		t->tv_nsec += *shift_ms % 1000 * 1000000;
		if (t->tv_nsec < 0) {
			t->tv_sec--;
			t->tv_nsec += 1000000000;
		} else if (t->tv_nsec >= 1000000000) {
			t->tv_sec++;
			t->tv_nsec -= 1000000000;
		}
	}
	return rc;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec t;

	(void)tz;
	if (clock_gettime(CLOCK_REALTIME, &t) != 0)
		return -1;
	*tv = (struct timeval){ t.tv_sec, t.tv_nsec / 1000 };
	return 0;
}

time_t
time(time_t *out)
{
	struct timespec t;

	if (clock_gettime(CLOCK_REALTIME, &t) != 0)
		return (time_t)-1;
	if (out != NULL)
		*out = t.tv_sec;
	return t.tv_sec;
}

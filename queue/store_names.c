// SPDX-License-Identifier: Apache-2.0
#include "queue/store_names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"

/* "000000000012.log" */
static bool
segment_of(const char *name, uint64_t *no)
{
	struct slice s = slice_str(name);

	if (s.n != 16 || s.p[12] != '.' || slice_u64(slice_sub(s, 0, 12), no) != 0 || *no == 0)
		return false;
	s = slice_sub(s, 13, 16);
	return slice_eq(s, SLICE_LIT("log")) || slice_eq(s, SLICE_LIT("prg")) ||
	    slice_eq(s, SLICE_LIT("idx"));
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int
store_names_list(int dirfd, void (*fn)(void *arg, uint64_t segment), void *arg)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	uint64_t *no = NULL, v;
	size_t n = 0, cap = 0;

	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	errno = 0;
	for (struct dirent *e = readdir(d); e != NULL; errno = 0, e = readdir(d)) {
		if (!segment_of(e->d_name, &v))
			continue;
		if (n == cap) {
			cap = cap == 0 ? 64 : cap * 2;
			no = mem_resize(no, cap, sizeof(*no));
		}
		no[n++] = v;
	}
	int rc = errno == 0 ? 0 : -1;
	closedir(d);
	if (n > 0)
		qsort(no, n, sizeof(*no), by_number);
	for (size_t i = 0; i < n && rc == 0; i++)
		if (i == 0 || no[i] != no[i - 1])
			fn(arg, no[i]);
	free(no);
	return rc;
}

// SPDX-License-Identifier: Apache-2.0
#include "base/body.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEALS = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

int
body_create(void)
{
	return memfd_create("body", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

int
body_append(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t w = write(fd, s.p, s.n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return -1;
		s.p += w;
		s.n -= (size_t)w;
	}
	return 0;
}

int
body_seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS, SEALS) < 0 ? -1 : 0;
}

int
body_make(struct slice s)
{
	int fd = body_create();

	if (fd >= 0 && (body_append(fd, s) != 0 || body_seal(fd) != 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

int
body_map(int fd, struct slice *out)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	*out = SLICE_NONE;
	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) != 0)
		return -1;
	if (st.st_size == 0)
		return 0;
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (p == MAP_FAILED)
		return -1;
	*out = slice_make(p, (size_t)st.st_size);
	return 0;
}

void
body_unmap(struct slice *s)
{
	if (s->n > 0)
		munmap((void *)(uintptr_t)s->p, s->n);
	*s = SLICE_NONE;
}

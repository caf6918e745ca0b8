// SPDX-License-Identifier: Apache-2.0
#include "admin/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEYFILE_MAX = 1024 * 1024 };

int
keyfile_read(const char *path, struct keyfile *out, char *why, size_t cap)
{
	struct stat st;
	int r = -1;

	buf_init(&out->text, KEYFILE_MAX);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd == -1) {
		(void)snprintf(why, cap, "%s: %s: %s", path, strerror(errno), errno == ENOENT ?
		    "create it, or correct its name" :
		    "run this as root, or as the user that starts the relay");
		return -1;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > KEYFILE_MAX) {
		(void)snprintf(why, cap, "%s: is not a plain file of at most 1 MiB: correct its "
		    "name", path);
		goto out;
	}
	out->mode = st.st_mode & 07777;
	for (;;) {
		char *to = buf_reserve(&out->text, 4096);
		ssize_t n = to == NULL ? -1 : read(fd, to, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			(void)snprintf(why, cap, "%s: cannot be read: %s", path, strerror(errno));
			goto out;
		}
		if (n == 0)
			break;
		buf_commit(&out->text, (size_t)n);
	}
	r = 0;
out:
	close(fd);
	if (r != 0)
		keyfile_fini(out);
	return r;
}

void
keyfile_fini(struct keyfile *k)
{
	if (k->text.p != NULL)
		explicit_bzero(k->text.p, k->text.cap);
	buf_fini(&k->text);
}

// SPDX-License-Identifier: Apache-2.0
#include "queue/squeeze.h"

#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

#include "base/body.h"

/* Ours has no members: it is zstd's own context under another name. */
struct squeeze *
squeeze_new(unsigned level)
{
	ZSTD_CCtx *z = ZSTD_createCCtx();

	if (z != NULL &&
	    (ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, (int)level)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1)))) {
		ZSTD_freeCCtx(z);
		z = NULL;
	}
	return (struct squeeze *)z;
}

void
squeeze_free(struct squeeze **qp)
{
	ZSTD_freeCCtx((ZSTD_CCtx *)*qp);
	*qp = NULL;
}

size_t
squeeze_pack(struct squeeze *q, struct slice in, void *out)
{
	if (in.n < SQUEEZE_MIN)
		return 0;
	/* Too little room is an error: then it is not worth it. */
	size_t n = ZSTD_compress2((ZSTD_CCtx *)q, out, in.n - in.n / 16, in.p, in.n);

	return ZSTD_isError(n) ? 0 : n;
}

/* What is behind the frame, or missing from it, makes it another frame than ours. */
static int
unpack(ZSTD_DCtx *z, struct slice in, uint64_t size, int fd, char *chunk)
{
	ZSTD_inBuffer from = { in.p, in.n, 0 };
	uint64_t done = 0;
	size_t left;

	do {
		ZSTD_outBuffer to = { chunk, SQUEEZE_CHUNK, 0 };
		size_t before = from.pos;
		left = ZSTD_decompressStream(z, &to, &from);
		if (ZSTD_isError(left) || to.pos > size - done ||
		    (to.pos == 0 && from.pos == before)) {
			errno = EBADMSG;
			return -1;
		}
		if (body_append(fd, slice_make(chunk, to.pos)) != 0)
			return -1;
		done += to.pos;
	} while (left != 0);
	if (done == size && from.pos == in.n)
		return 0;
	errno = EBADMSG;
	return -1;
}

int
squeeze_unpack(struct slice in, uint64_t size, int fd)
{
	/* Said before anything is unpacked: a bomb does not even begin. */
	if (ZSTD_getFrameContentSize(in.p, in.n) != size) {
		errno = EBADMSG;
		return -1;
	}
	ZSTD_DCtx *z = ZSTD_createDCtx();
	char *chunk = malloc(SQUEEZE_CHUNK);
	int rc = -1;

	errno = ENOMEM;
	if (z != NULL && chunk != NULL && !ZSTD_isError(ZSTD_DCtx_setParameter(z,
	    ZSTD_d_windowLogMax, SQUEEZE_WINDOW_LOG)))
		rc = unpack(z, in, size, fd, chunk);
	int e = errno;
	free(chunk);
	ZSTD_freeDCtx(z);
	errno = e;
	return rc;
}

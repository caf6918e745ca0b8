// SPDX-License-Identifier: Apache-2.0
#include "queue/squeeze.h"

#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

#include "base/body.h"

size_t
squeeze_pack(struct slice in, unsigned level, void *out)
{
	ZSTD_CCtx *z = ZSTD_createCCtx();
	size_t n = 0, want = in.n - in.n / 16;

	if (z == NULL)
		return 0;
	if (!ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, (int)level)) &&
	    !ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1)) &&
	    !ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(z, in.n))) {
		/* Too little room is an error: then it is not worth it. */
		n = ZSTD_compress2(z, out, want, in.p, in.n);
		if (ZSTD_isError(n))
			n = 0;
	}
	ZSTD_freeCCtx(z);
	return n;
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

// SPDX-License-Identifier: Apache-2.0
/*
 * What the spool reads from a disk that lies. The first byte picks what the rest is: a
 * record, progress, a head, a page, or a compressed body, which is never unpacked past
 * the size it should have. Checksums are made good, or nothing would come through.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/body.h"
#include "base/crypto.h"
#include "queue/record.h"
#include "queue/squeeze.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { STAMP = 0x5eed };

static void
record(const uint8_t *data, size_t n)
{
	uint8_t b[RECORD_HEAD] = { 0 };
	struct record r;

	memcpy(b, data, n < 60 ? n : 60);
	le_put(b, 0x63527653u, 4);
	b[4] = RECORD_VERSION;
	le_put(b + 8, STAMP, 8);
	le_put(b + 60, record_crc(STAMP, slice_make(b, 60)), 4);
	if (record_get(b, STAMP, &r) != 0)
		return;
	if (record_len(&r) < RECORD_HEAD || record_len(&r) % RECORD_ALIGN != 0 ||
	    record_meta_len(&r) > ENVELOPE_MAX + UINT16_MAX)
		abort();
}

static void
progress(const uint8_t *data, size_t n)
{
	struct progress p;
	size_t used = progress_get(slice_make(data, n), STAMP, &p);

	if (used > n || used > PROGRESS_MAX || (used > 0 && p.note.n > NOTE_MAX))
		abort();
}

static void
fixed(const uint8_t *data, size_t n)
{
	uint8_t b[PAGE_BYTES] = { 0 };
	struct segment_head h;
	struct index_head x;
	struct entry e;
	uint64_t group;

	memcpy(b, data, n < sizeof(b) ? n : sizeof(b));
	(void)segment_head_get(b, &h);
	(void)index_head_get(b, &x);
	(void)page_get(b, STAMP, 0);
	settled_get(b, &e, &group);
	if (e.leg[LEG_HOLD].state >= LEG_STATE_MAX || e.leg[LEG_FORWARD].state >= LEG_STATE_MAX)
		abort();
}

static void
unpack(const uint8_t *data, size_t n)
{
	uint64_t size = n < 4 ? 0 : le_get(data, 4);
	int fd = body_create();
	struct stat st;

	if (fd < 0 || n < 4 || size > 1 << 24) {
		if (fd >= 0)
			close(fd);
		return;
	}
	int rc = squeeze_unpack(slice_make(data + 4, n - 4), size, fd);
	if (fstat(fd, &st) != 0 || (uint64_t)st.st_size > size ||
	    (rc == 0 && (uint64_t)st.st_size != size))
		abort();
	close(fd);
}

/* What was packed comes back. */
static void
round_trip(const uint8_t *data, size_t n)
{
	char *out = malloc(n + 1);
	struct squeeze *q = squeeze_new(1 + (unsigned)n % 3);
	size_t got = out == NULL || q == NULL ? 0 : squeeze_pack(q, slice_make(data, n), out);
	int fd = body_create();
	struct slice map;

	if (got > 0 && fd >= 0) {
		if (got >= n || squeeze_unpack(slice_make(out, got), n, fd) != 0 ||
		    body_seal(fd) != 0 || body_map(fd, &map) != 0 || map.n != n ||
		    memcmp(map.p, data, n) != 0)
			abort();
		body_unmap(&map);
	}
	if (fd >= 0)
		close(fd);
	squeeze_free(&q);
	free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n < 1)
		return 0;
	switch (data[0] % 5) {
	case 0:
		record(data + 1, n - 1);
		break;
	case 1:
		progress(data + 1, n - 1);
		break;
	case 2:
		fixed(data + 1, n - 1);
		break;
	case 3:
		unpack(data + 1, n - 1);
		break;
	case 4:
		round_trip(data + 1, n - 1);
		break;
	}
	return 0;
}

// SPDX-License-Identifier: Apache-2.0
/*
 * Time that only passes. What waits on disk waits for days, and over restarts, so it is
 * told by a clock on disk; the wall clock can jump by years either way, the monotonic one
 * begins again at each boot. spool_now is the wall clock as it was agreed once, carried on
 * by the monotonic clock: small corrections are followed, jumps are not.
 *
 * Over a restart within the same boot the monotonic clock says exactly what passed. Over a
 * reboot nobody does: the wall clock is believed up to CLOCK_REBOOT_MS, more than that may
 * be a jump and does not count. So nothing is ever older than it has really been here;
 * mail that lay in a machine that was off expires later by that time.
 *
 * `shift` is spool_now minus the wall clock. Each segment keeps the one it was made under
 * and takes no more mail once a jump changed it, so the age of an entry is known from
 * its wall clock and its segment's shift.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "queue/spool_priv.h"

enum {
	CLOCK_STEP_MS = 2 * 60 * 1000,		/* corrections of the wall clock taken at once */
	CLOCK_REBOOT_MS = 15 * 60 * 1000,	/* what a reboot may take */
	CLOCK_SAVE_MS = 60 * 1000,
	CLOCK_LATE_MS = 60 * 60 * 1000		/* from the client's first byte to the commit */
};
#define CLOCK_MAGIC	0x316b6c4370765300ull	/* "\0SvpClk1" */

/* Which boot of the machine this is; 0 when it cannot be told. */
static uint64_t
boot_now(void)
{
	char text[64];
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof(text));
	close(fd);
	return n < 16 ? 0 : spool_user(slice_make(text, (size_t)n));
}

static void
encode(struct spool *sp)
{
	struct steady *k = &sp->clock;
	uint8_t *p = le_put(k->saved, CLOCK_MAGIC, 8);

	p = le_put(p, k->boot, 8);
	p = le_put(p, (uint64_t)k->mono_ms, 8);
	p = le_put(p, (uint64_t)k->now_ms, 8);
	p = le_put(p, (uint64_t)k->shift_ms, 8);
	le_put(p, crc32c(0, k->saved, (size_t)(p - k->saved)), 4);
}

static void
on_saved(void *arg, enum store_result r)
{
	struct spool *sp = arg;

	sp->clock.saving = false;
	if (r != STORE_OK && r != STORE_OK_LOCAL)
		sp->clock.save_ms = clock_mono_ms() + CLOCK_SAVE_MS;
}

void
steady_save(struct spool *sp)
{
	struct steady *k = &sp->clock;

	if (k->saving || sp->read_only)
		return;
	(void)spool_now(sp);
	encode(sp);
	k->saving = true;
	k->save_ms = k->mono_ms + CLOCK_SAVE_MS;
	sp->ops->put_meta(sp->store, "clock", slice_make(k->saved, sizeof(k->saved)), on_saved, sp);
}

void
steady_tick(struct spool *sp)
{
	if (clock_mono_ms() >= sp->clock.save_ms)
		steady_save(sp);
}

/* The wall clock is somewhere else: mail from now on goes to segments that know it. */
static void
jumped(struct spool *sp, int64_t shift)
{
	log_warn("clock-jump", "by_ms=%lld effect=\"nothing expires or is tried earlier or later\"",
	    (long long)(sp->clock.shift_ms - shift));
	sp->clock.shift_ms = shift;
	for (int c = 0; c < STORE_CLASS_MAX; c++)
		if (sp->active[c] != NULL)
			house_close_seg(sp, sp->active[c]);
	sp->clock.save_ms = 0;
	house_wake(sp);
}

int64_t
spool_now(struct spool *sp)
{
	struct steady *k = &sp->clock;
	int64_t mono = clock_mono_ms(), wall = clock_wall_ms();
	int64_t now = k->now_ms + (mono > k->mono_ms ? mono - k->mono_ms : 0);
	int64_t off = wall + k->shift_ms - now;

	if (off <= CLOCK_STEP_MS && off >= -CLOCK_STEP_MS)
		now = wall + k->shift_ms;
	k->now_ms = now;
	k->mono_ms = mono;
	if (off > CLOCK_STEP_MS || off < -CLOCK_STEP_MS)
		jumped(sp, now - wall);
	return now;
}

int64_t
spool_shift(struct spool *sp)
{
	(void)spool_now(sp);
	return sp->clock.shift_ms;
}

static bool
load(struct spool *sp, struct steady *old)
{
	struct buf b;
	bool ok = false;

	buf_init(&b, 4096);
	if (sp->ops->get_meta(sp->store, "clock", &b) == 0 && buf_len(&b) == sizeof(old->saved)) {
		const uint8_t *p = (const uint8_t *)buf_slice(&b).p;

		ok = le_get(p, 8) == CLOCK_MAGIC && le_get(p + 40, 4) == crc32c(0, p, 40);
		old->boot = le_get(p + 8, 8);
		old->mono_ms = (int64_t)le_get(p + 16, 8);
		old->now_ms = (int64_t)le_get(p + 24, 8);
		old->shift_ms = (int64_t)le_get(p + 32, 8);
	}
	buf_fini(&b);
	return ok;
}

/* Before the segments are read. */
void
steady_open(struct spool *sp)
{
	struct steady *k = &sp->clock, old = { 0 };
	int64_t mono = clock_mono_ms(), wall = clock_wall_ms();

	*k = (struct steady){ .boot = boot_now(), .mono_ms = mono, .now_ms = wall,
		.save_ms = mono + CLOCK_SAVE_MS };
	if (!load(sp, &old))
		return;
	int64_t passed = mono - old.mono_ms;	/* exact within one boot */
	if (k->boot == 0 || k->boot != old.boot || passed < 0) {
		passed = wall + old.shift_ms - old.now_ms;
		if (passed < 0 || passed > CLOCK_REBOOT_MS)
			passed = 0;
	}
	k->now_ms = old.now_ms + passed;
	k->shift_ms = old.shift_ms;
	/* A jump meanwhile is noticed here; nothing is open yet. */
	(void)spool_now(sp);
}

/* What to add to an entry's wall clock for the time it came in spool_now's terms: never
 * before its segment was made. */
int64_t
steady_shift_of(const struct seg *s, int64_t received_ms)
{
	int64_t earliest = s->created_ms - CLOCK_LATE_MS;

	return s->shift_ms + (received_ms < earliest ? earliest - received_ms : 0);
}

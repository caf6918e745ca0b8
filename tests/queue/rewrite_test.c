// SPDX-License-Identifier: Apache-2.0
/*
 * Logs that are written again: compaction and compression. Promises P1 and P7: through
 * every step, and a crash after any of them, no message is lost or doubled, references
 * mean what they meant, sums are exact (docs/spool.md, "Rewriting").
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "queue/spool_priv.h"
#include "queue/spool_verify.h"
#include "queue/store_view.h"
#include "tests/queue/spool_kit.h"

enum { MESSAGES = 48, RCPTS = 2, SIZE = 6000 };

struct sent {
	struct msgid	 id;
	struct spool_ref ref[RCPTS];
	uint8_t		 state[RCPTS];	/* of the hold leg */
	char		 note[RCPTS][32];
};

struct world {
	struct kit	 k;
	struct store_script script;
	struct sent	 sent[MESSAGES];
};

/* Housekeeping is due at once, not within the second. */
static void
turn(struct world *w, int64_t ms)
{
	house_tick(w->k.sp);
	kit_run(&w->k, ms);
}

static void
set(struct world *w, int m, int r, enum leg_state st)
{
	const struct spool_leg now = { .state = (uint8_t)st, .attempts = 3, .code = 451,
	    .next_ms = st == LEG_WAITING ? 1700000000000 + m : 0 };
	struct sent *s = &w->sent[m];

	snprintf(s->note[r], sizeof(s->note[r]), "note-%d-%d", m, r);
	assert_int_equal(spool_set(w->k.sp, s->ref[r], LEG_HOLD, &now,
	    slice_str(s->note[r])), 0);
	s->state[r] = (uint8_t)st;
}

/* Messages of 6 kB in segments of 64 KiB: about ten in each. */
static void
begin(struct world *w, bool held, bool text)
{
	*w = (struct world){ .script = { .n = 0 } };
	kit_text = text;
	kit_init(&w->k);
	w->k.ops = &store_fake;
	store_fake_where(&w->script, &store_local, w->k.dir, w->k.where, sizeof(w->k.where));
	w->k.conf.segment_size = 64 * 1024;
	w->k.conf.compact_below = 50;
	kit_start(&w->k, false);
	for (int m = 0; m < MESSAGES; m++) {
		struct sent *s = &w->sent[m];
		s->id = kit_commit(&w->k, "j@example.it", RCPTS,
		    held ? LEG_PARKED : LEG_WAITING, LEG_ABSENT, SIZE);
		memcpy(s->ref, w->k.ref, sizeof(s->ref));
		s->state[0] = s->state[1] = held ? LEG_PARKED : LEG_WAITING;
	}
}

/* Of each message one recipient, of four in five both. */
static void
settle(struct world *w)
{
	for (int m = 0; m < MESSAGES; m++) {
		set(w, m, 0, m % 3 == 0 ? LEG_FAILED : LEG_DELIVERED);
		if (m % 5 != 0)
			set(w, m, 1, LEG_DELIVERED);
	}
}

static uint64_t
seg_bytes(struct world *w, const char *suffix)
{
	char path[512];
	uint64_t n = 0;
	struct stat st;

	snprintf(path, sizeof(path), "%s/seg", w->k.dir);
	DIR *d = opendir(path);
	for (struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
		if (strstr(e->d_name, suffix) == NULL)
			continue;
		snprintf(path, sizeof(path), "%s/seg/%.30s", w->k.dir, e->d_name);
		n += stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
	}
	if (d != NULL)
		closedir(d);
	return n;
}

static bool
live(const struct sent *s)
{
	return !leg_settled(s->state[0]) || !leg_settled(s->state[1]);
}

static void
check_sums(struct world *w)
{
	uint64_t n[LEG_STATE_MAX] = { 0 };
	struct spool_sums t;

	for (int m = 0; m < MESSAGES; m++)
		for (int r = 0; r < RCPTS; r++)
			n[w->sent[m].state[r]]++;
	spool_total(w->k.sp, 0, &t);
	kit_check_balance(&t);
	assert_int_equal(t.received, MESSAGES * RCPTS);
	assert_int_equal(t.replayed, n[LEG_DELIVERED]);
	assert_int_equal(t.bounced, n[LEG_FAILED]);
	assert_int_equal(t.held, n[LEG_PARKED] + n[LEG_WAITING]);
	assert_int_equal(t.held_bytes, t.held * SIZE);
}

/* Everything that was said, by the references of old. */
static void
check(struct world *w)
{
	struct spool_entry e;
	char note[NOTE_MAX + 1];

	for (int m = 0; m < MESSAGES; m++) {
		struct sent *s = &w->sent[m];
		for (int r = 0; r < RCPTS; r++) {
			if (spool_get(w->k.sp, s->ref[r], &e) != 0) {
				assert_false(live(s));	/* its segment was dropped */
				continue;
			}
			assert_memory_equal(e.id.b, s->id.b, MSGID_LEN);
			assert_int_equal(e.rcpt_index, r);
			assert_int_equal(e.leg[LEG_HOLD].state, s->state[r]);
			if (s->note[r][0] == '\0')
				continue;
			assert_int_equal(e.leg[LEG_HOLD].attempts, 3);
			if (s->state[r] == LEG_WAITING)
				assert_int_equal(e.leg[LEG_HOLD].next_ms, 1700000000000 + m);
			assert_int_equal(spool_note(w->k.sp, s->ref[r], LEG_HOLD, note,
			    sizeof(note)), 0);
			assert_string_equal(note, s->note[r]);
		}
		if (live(s)) {
			kit_check_message(&w->k, s->ref[0], s->id, SIZE);
			kit_check_message(&w->k, s->ref[1], s->id, SIZE);
		}
	}
	assert_int_equal(w->k.sp->damaged, 0);
	check_sums(w);
}

static void
until_rewritten(struct world *w, uint64_t n)
{
	for (int i = 0; i < 400 && w->k.sp->rewritten < n; i++)
		turn(w, 20);
	assert_true(w->k.sp->rewritten >= n);
}

static void
until_idle(struct world *w)
{
	for (int i = 0; i < 400 && (w->k.sp->rewrite.step != REWRITE_IDLE ||
	    w->k.sp->ckpt.step != CHECKPOINT_IDLE); i++)
		turn(w, 20);
	assert_int_equal(w->k.sp->rewrite.step, REWRITE_IDLE);
}

static void
remove_indexes(struct world *w)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/seg", w->k.dir);
	DIR *d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		snprintf(path, sizeof(path), "%s/seg/%.30s", w->k.dir, e->d_name);
		if (strstr(e->d_name, ".idx") != NULL)
			assert_int_equal(unlink(path), 0);
	}
	closedir(d);
}

static void
count_damage(void *arg, const struct spool_finding *f)
{
	if (f->damage)
		print_message("%s at %llu\n", f->what, (unsigned long long)f->off);
	*(unsigned *)arg += f->damage;
}

/* What `salvaposta spool verify` would say of the closed spool. */
static unsigned
damage_found(struct world *w)
{
	const struct spool_verify_ops to = { .finding = count_damage };
	struct store *s = store_view.open(w->k.loop, w->k.dir, true);
	unsigned n = 0;

	assert_non_null(s);
	assert_int_equal(spool_verify(&store_view, s, false, &to, &n), 0);
	store_view.close(&s);
	return n;
}

static void
end(struct world *w)
{
	w->script.release = true;
	kit_close(&w->k);
	kit_text = false;
}

static void
test_compaction_keeps_everything_but_settled_mail(void **state)
{
	static struct world w;
	struct spool_message m;

	(void)state;
	begin(&w, false, false);
	uint64_t before = seg_bytes(&w, ".log");
	settle(&w);
	until_rewritten(&w, 3);
	until_idle(&w);
	check(&w);
	/* A fifth of the messages is left, and the open segment. */
	assert_true(seg_bytes(&w, ".log") < before / 2);
	assert_int_equal(seg_bytes(&w, ".new"), 0);
	/* Settled and not there any more: no damage, and no way back. */
	assert_int_equal(spool_read(w.k.sp, w.sent[1].ref[0], true, &m), -1);
	const struct spool_leg again = { .state = LEG_WAITING };
	assert_int_equal(spool_set(w.k.sp, w.sent[1].ref[0], LEG_HOLD, &again, SLICE_NONE), -1);
	check(&w);
	/* One recipient of a message that is still there may be tried again. */
	set(&w, 0, 0, LEG_WAITING);
	kit_restart(&w.k);
	check(&w);
	spool_close(&w.k.sp);
	assert_int_equal(damage_found(&w), 0);
	/* Log and progress alone say the same. */
	remove_indexes(&w);
	assert_int_equal(damage_found(&w), 0);
	kit_start(&w.k, false);
	check(&w);
	end(&w);
}

static void
test_compacted_again_and_dropped_at_last(void **state)
{
	static struct world w;

	(void)state;
	begin(&w, false, false);
	settle(&w);
	until_rewritten(&w, 3);
	until_idle(&w);
	uint64_t once = w.k.sp->rewritten;
	kit_restart(&w.k);
	for (int m = 0; m < MESSAGES; m += 5)
		if (m % 2 == 0)
			set(&w, m, 1, LEG_DROPPED);
	/* Not in the sums' check: dropped by an operator. */
	for (int i = 0; i < 100; i++)
		turn(&w, 20);
	until_idle(&w);
	assert_true(once > 0);
	for (int m = 0; m < MESSAGES; m += 5)
		if (live(&w.sent[m]))
			kit_check_message(&w.k, w.sent[m].ref[1], w.sent[m].id, SIZE);
	for (int m = 0; m < MESSAGES; m++)
		if (live(&w.sent[m]))
			set(&w, m, 1, LEG_DELIVERED);
	for (int i = 0; i < 200 && seg_bytes(&w, ".log") > 128 * 1024; i++)
		turn(&w, 20);
	struct spool_sums t;
	spool_total(w.k.sp, 0, &t);
	kit_check_balance(&t);
	assert_int_equal(t.received, MESSAGES * RCPTS);
	assert_int_equal(t.held, 0);
	end(&w);
}

/* The disk, and who looks, at one instant. */
static void
crash_and_check(struct world *w)
{
	static struct world copy;
	char cmd[300];

	copy = *w;
	copy.k.loop = loop_new();
	copy.k.stop = timer_new(copy.k.loop, kit_tick, copy.k.loop);
	snprintf(copy.k.dir, sizeof(copy.k.dir), "%.50s.copy", w->k.dir);
	snprintf(cmd, sizeof(cmd), "cp -r %s %s", w->k.dir, copy.k.dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(damage_found(&copy), 0);
	copy.k.ops = &store_local;
	snprintf(copy.k.where, sizeof(copy.k.where), "%s", copy.k.dir);
	kit_start(&copy.k, false);
	check(&copy);
	kit_restart(&copy.k);
	check(&copy);
	assert_int_equal(seg_bytes(&copy, ".new"), 0);
	kit_close(&copy.k);
}

/* The call is done on the disk, or not even begun, and then the machine dies. */
static void
test_crash_after_each_step(void **state)
{
	static const struct { enum fake_op op; unsigned skip; } step[] = {
		{ FAKE_WORK, 0 }, { FAKE_REWRITE, 0 }, { FAKE_ADOPT, 0 }, { FAKE_INDEX, 0 },
		{ FAKE_INDEX, 1 }, { FAKE_WORK, 1 }, { FAKE_REWRITE, 1 }, { FAKE_ADOPT, 1 },
	};
	static struct world w;

	(void)state;
	for (size_t i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
		begin(&w, false, false);
		settle(&w);
		/* Checkpoints before the rewriting are not what is meant here. */
		until_idle(&w);
		w.script.n = 1;
		w.script.rule[0] = (struct fake_rule){ .op = step[i].op, .act = FAKE_HANG,
		    .skip = step[i].skip, .count = 1 };
		for (int t = 0; t < 400 && w.script.rule[0].hits <= step[i].skip; t++)
			turn(&w, 10);
		assert_true(w.script.rule[0].hits > step[i].skip);
		turn(&w, 30);	/* so that the call has reached the disk */
		crash_and_check(&w);
		w.script.release = true;
		until_rewritten(&w, 2);
		until_idle(&w);
		check(&w);
		end(&w);
	}
}

static void
test_errors_leave_the_old_log(void **state)
{
	static const struct { enum fake_op op; enum store_result r; } fault[] = {
		{ FAKE_REWRITE, STORE_FULL }, { FAKE_REWRITE, STORE_IO_ERROR },
		{ FAKE_ADOPT, STORE_IO_ERROR }, { FAKE_READ, STORE_IO_ERROR },
	};
	static struct world w;

	(void)state;
	for (size_t i = 0; i < sizeof(fault) / sizeof(fault[0]); i++) {
		begin(&w, false, false);
		settle(&w);
		until_idle(&w);
		w.script.rule[0] = (struct fake_rule){ .op = fault[i].op, .act = FAKE_REFUSE,
		    .result = fault[i].r };
		w.script.n = 1;
		for (int t = 0; t < 400 && w.script.rule[0].hits == 0; t++)
			turn(&w, 10);
		turn(&w, 50);
		assert_true(w.script.rule[0].hits > 0);
		assert_int_equal(w.k.sp->rewritten, 0);
		w.script.n = 0;
		until_idle(&w);
		assert_int_equal(seg_bytes(&w, ".new"), 0);
		check(&w);
		kit_restart(&w.k);
		check(&w);
		until_rewritten(&w, 3);
		check(&w);
		end(&w);
	}
}

/* Between the plan and the switch the world goes on. */
static void
test_results_arrive_while_the_log_is_copied(void **state)
{
	static struct world w;

	(void)state;
	begin(&w, false, false);
	settle(&w);
	until_idle(&w);
	w.script.rule[0] = (struct fake_rule){ .op = FAKE_REWRITE, .act = FAKE_HANG, .count = 1 };
	w.script.n = 1;
	for (int t = 0; t < 400 && w.script.rule[0].hits == 0; t++)
		turn(&w, 10);
	struct seg *s = w.k.sp->rewrite.seg;
	int settled = -1, open = -1;
	for (int m = 0; m < MESSAGES; m++) {
		if (w.sent[m].ref[0].segment != s->no)
			continue;
		if (live(&w.sent[m]))
			open = m;
		else
			settled = m;
	}
	assert_true(settled >= 0 && open >= 0);
	uint64_t n = w.k.sp->rewritten;
	/* Somebody wants to try again what the plan left out: the plan is dropped. */
	set(&w, settled, 1, LEG_WAITING);
	w.script.release = true;
	for (int t = 0; t < 200 && w.k.sp->rewrite.seg == s; t++)
		turn(&w, 2);
	assert_int_equal(w.k.sp->rewritten, n);
	check(&w);
	/* Then with that message, and another delivered under way. */
	set(&w, open, 1, LEG_DELIVERED);
	until_rewritten(&w, 4);
	until_idle(&w);
	check(&w);
	kit_restart(&w.k);
	check(&w);
	end(&w);
}

/* Once the rename is on its way a message that was left out is gone. */
static void
test_no_way_back_while_adopting(void **state)
{
	static struct world w;
	const struct spool_leg again = { .state = LEG_WAITING };

	(void)state;
	begin(&w, false, false);
	settle(&w);
	until_idle(&w);
	w.script.rule[0] = (struct fake_rule){ .op = FAKE_ADOPT, .act = FAKE_HANG, .count = 1 };
	w.script.n = 1;
	for (int t = 0; t < 400 && w.script.rule[0].hits == 0; t++)
		turn(&w, 10);
	struct seg *s = w.k.sp->rewrite.seg;
	for (int m = 0; m < MESSAGES; m++)
		if (w.sent[m].ref[0].segment == s->no && !live(&w.sent[m]))
			assert_int_equal(spool_set(w.k.sp, w.sent[m].ref[0], LEG_HOLD, &again,
			    SLICE_NONE), -1);
	w.script.release = true;
	until_rewritten(&w, 3);
	until_idle(&w);
	check(&w);
	end(&w);
}

/* The log says how a message ended, and the progress log, cut short by a power cut,
 * knows only what came before: no leg wakes up whose message is gone. */
static void
test_older_progress_wakes_nothing_that_was_left_out(void **state)
{
	static struct world w, copy;
	struct spool_entry e;
	char cmd[300];
	unsigned gone = 0;

	(void)state;
	begin(&w, false, false);
	for (int m = 0; m < MESSAGES; m++)
		for (int r = 0; r < RCPTS; r++)
			set(&w, m, r, LEG_WAITING);
	turn(&w, 20);
	until_idle(&w);
	/* A disk that lies: nothing of what is said from now on gets there. */
	w.script.rule[0] = (struct fake_rule){ .op = FAKE_PROGRESS, .act = FAKE_REFUSE,
	    .result = STORE_OK };
	w.script.n = 1;
	settle(&w);
	until_rewritten(&w, 3);
	copy = w;
	copy.k.loop = loop_new();
	copy.k.stop = timer_new(copy.k.loop, kit_tick, copy.k.loop);
	snprintf(copy.k.dir, sizeof(copy.k.dir), "%.50s.copy", w.k.dir);
	snprintf(cmd, sizeof(cmd), "cp -r %s %s", w.k.dir, copy.k.dir);
	assert_int_equal(system(cmd), 0);
	remove_indexes(&copy);
	copy.k.ops = &store_local;
	snprintf(copy.k.where, sizeof(copy.k.where), "%s", copy.k.dir);
	assert_int_equal(damage_found(&copy), 0);
	kit_start(&copy.k, false);
	for (int m = 0; m < MESSAGES; m++)
		for (int r = 0; r < RCPTS; r++) {
			if (spool_get(copy.k.sp, w.sent[m].ref[r], &e) != 0)
				continue;
			if (kit_message_good(&copy.k, w.sent[m].ref[r], w.sent[m].id, SIZE))
				continue;
			assert_true(leg_settled(e.leg[LEG_HOLD].state));
			gone++;
		}
	assert_true(gone > 0);
	struct spool_sums t;
	spool_total(copy.k.sp, 0, &t);
	kit_check_balance(&t);
	assert_int_equal(t.received, MESSAGES * RCPTS);
	kit_close(&copy.k);
	end(&w);
}

static void
damage(struct world *w, struct spool_ref ref)
{
	char path[512], c;
	struct entry e;

	struct seg *s = seg_find(w->k.sp, ref.segment);
	assert_int_equal(index_get(w->k.sp, s, ref.entry, &e), 0);
	snprintf(path, sizeof(path), "%s/seg/%012llu.log", w->k.dir, (unsigned long long)s->no);
	int fd = open(path, O_RDWR);
	off_t at = (off_t)e.off8 * RECORD_ALIGN + RECORD_HEAD + 700;
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 0x10;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	close(fd);
}

static void
test_damage_is_set_aside_not_copied(void **state)
{
	static struct world w;
	struct spool_entry e;
	char note[NOTE_MAX + 1];

	(void)state;
	begin(&w, false, false);
	settle(&w);
	damage(&w, w.sent[5].ref[1]);
	until_rewritten(&w, 3);
	until_idle(&w);
	assert_int_equal(w.k.sp->damaged, 1);
	assert_int_equal(spool_get(w.k.sp, w.sent[5].ref[1], &e), 0);
	assert_int_equal(e.leg[LEG_HOLD].state, LEG_FAILED);
	assert_int_equal(spool_note(w.k.sp, w.sent[5].ref[1], LEG_HOLD, note, sizeof(note)), 0);
	assert_string_equal(note, "damaged");
	w.sent[5].state[1] = LEG_FAILED;
	snprintf(w.sent[5].note[1], sizeof(w.sent[5].note[1]), "damaged");
	check_sums(&w);
	for (int m = 0; m < MESSAGES; m++)
		if (live(&w.sent[m]))
			kit_check_message(&w.k, w.sent[m].ref[1], w.sent[m].id, SIZE);
	end(&w);
}

/* ---- compression ---- */

static void
test_held_mail_is_compressed(void **state)
{
	static struct world w;

	(void)state;
	begin(&w, true, true);
	w.k.conf.held_compression = 3;
	uint64_t before = seg_bytes(&w, ".log");
	kit_restart(&w.k);
	until_rewritten(&w, 3);
	until_idle(&w);
	check(&w);
	assert_true(seg_bytes(&w, ".log") < before / 3 * 2);
	kit_restart(&w.k);
	check(&w);
	spool_close(&w.k.sp);
	assert_int_equal(damage_found(&w), 0);
	remove_indexes(&w);
	kit_start(&w.k, false);
	check(&w);
	/* Not again and again. */
	uint64_t n = w.k.sp->rewritten;
	for (int i = 0; i < 30; i++)
		turn(&w, 50);
	assert_int_equal(w.k.sp->rewritten, n);
	/* What is compressed is compacted later, and stays compressed. */
	settle(&w);
	until_rewritten(&w, 1);
	until_idle(&w);
	check(&w);
	kit_restart(&w.k);
	check(&w);
	end(&w);
}

static void
test_noise_is_left_as_it_is(void **state)
{
	static struct world w;

	(void)state;
	begin(&w, true, false);
	w.k.conf.held_compression = 3;
	kit_restart(&w.k);
	for (int i = 0; i < 60; i++)
		turn(&w, 50);
	until_idle(&w);
	assert_int_equal(w.k.sp->rewritten, 0);
	assert_int_equal(seg_bytes(&w, ".new"), 0);
	check(&w);
	end(&w);
}

/* A frame that does not hold, and one whose checksum was made to fit. */
static void
test_a_damaged_frame_is_never_handed_out(void **state)
{
	static struct world w;
	struct spool_message m;

	(void)state;
	begin(&w, true, true);
	w.k.conf.held_compression = 3;
	kit_restart(&w.k);
	until_rewritten(&w, 3);
	until_idle(&w);
	struct spool_ref ref = w.sent[2].ref[0];
	struct seg *s = seg_find(w.k.sp, ref.segment);
	assert_true(s->packed && s->generation == 1);
	char path[512];
	uint8_t head[RECORD_HEAD];
	struct record r;
	struct entry e;
	assert_int_equal(index_get(w.k.sp, s, ref.entry, &e), 0);
	snprintf(path, sizeof(path), "%s/seg/%012llu.log", w.k.dir, (unsigned long long)s->no);
	int fd = open(path, O_RDWR);
	off_t off = (off_t)e.off8 * RECORD_ALIGN;
	assert_int_equal(pread(fd, head, sizeof(head), off), RECORD_HEAD);
	assert_int_equal(record_get(head, s->stamp, &r), 0);
	assert_int_equal(r.flags, RECORD_ZSTD);
	assert_true(r.body_len < SIZE && r.size == SIZE);
	/* The content claims to be shorter than it is: a bomb, seen from its head. */
	r.size = 100;
	record_put(head, &r);
	assert_int_equal(pwrite(fd, head, sizeof(head), off), RECORD_HEAD);
	close(fd);
	assert_int_equal(spool_read(w.k.sp, ref, true, &m), -1);
	assert_int_equal(errno, EBADMSG);
	struct spool_entry se;
	assert_int_equal(spool_get(w.k.sp, ref, &se), 0);
	assert_int_equal(se.leg[LEG_HOLD].state, LEG_FAILED);
	spool_close(&w.k.sp);
	assert_true(damage_found(&w) > 0);
	kit_start(&w.k, false);
	kit_check_message(&w.k, w.sent[3].ref[1], w.sent[3].id, SIZE);
	end(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compaction_keeps_everything_but_settled_mail),
		cmocka_unit_test(test_compacted_again_and_dropped_at_last),
		cmocka_unit_test(test_crash_after_each_step),
		cmocka_unit_test(test_errors_leave_the_old_log),
		cmocka_unit_test(test_results_arrive_while_the_log_is_copied),
		cmocka_unit_test(test_no_way_back_while_adopting),
		cmocka_unit_test(test_older_progress_wakes_nothing_that_was_left_out),
		cmocka_unit_test(test_damage_is_set_aside_not_copied),
		cmocka_unit_test(test_held_mail_is_compressed),
		cmocka_unit_test(test_noise_is_left_as_it_is),
		cmocka_unit_test(test_a_damaged_frame_is_never_handed_out),
	};

	log_open("test", LOG_LVL_ERROR);
	return cmocka_run_group_tests_name("rewrite", tests, NULL, NULL);
}

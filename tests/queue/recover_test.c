// SPDX-License-Identifier: Apache-2.0
/*
 * Start-up over what a crash or a bad disk leaves: torn tails, flipped bits, zeroed
 * blocks, missing and swapped files, crashes between any two steps. Promises P1,
 * P7: nothing acknowledged is lost, no damaged byte is handed out, sums are exact.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "queue/spool_priv.h"
#include "tests/queue/spool_kit.h"

struct file {			/* one file of a spool, in memory */
	char		 name[64];	/* below the queue directory */
	char		*b;
	size_t		 n;
};

enum { FILES_MAX = 512 };

struct image {			/* a spool's files at one instant */
	struct file	file[FILES_MAX];
	size_t		n;
};

static void
image_add(struct image *im, const char *dir, const char *sub)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, sub);
	DIR *d = opendir(path);
	for (struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
		if (e->d_name[0] == '.' || strlen(e->d_name) > 30)
			continue;
		struct file *f = &im->file[im->n];
		snprintf(f->name, sizeof(f->name), "%.20s%.40s", sub, e->d_name);
		snprintf(path, sizeof(path), "%s/%s", dir, f->name);
		int fd = open(path, O_RDONLY | O_NONBLOCK);
		if (fd < 0)
			continue;
		if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
			assert_true(im->n < FILES_MAX - 1);
			f->n = (size_t)st.st_size;
			f->b = malloc(f->n + 1);
			assert_true(read(fd, f->b, f->n) == (ssize_t)f->n);
			im->n++;
		}
		close(fd);
	}
	if (d != NULL)
		closedir(d);
}

static void
image_take(struct image *im, const char *dir)
{
	*im = (struct image){ .n = 0 };
	image_add(im, dir, "");
	image_add(im, dir, "seg/");
}

static void
image_free(struct image *im)
{
	for (size_t i = 0; i < im->n; i++)
		free(im->file[i].b);
	im->n = 0;
}

/* The directory holds exactly this afterwards; files without bytes stay away. */
static void
image_put(const struct image *im, const char *dir)
{
	char path[512];

	kit_rm(dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/seg", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	for (size_t i = 0; i < im->n; i++) {
		if (im->file[i].b == NULL)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, im->file[i].name);
		int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
		assert_true(fd >= 0);
		assert_true(write(fd, im->file[i].b, im->file[i].n) == (ssize_t)im->file[i].n);
		close(fd);
	}
}

static struct file *
image_find(struct image *im, const char *end)
{
	for (size_t i = 0; i < im->n; i++) {
		size_t n = strlen(im->file[i].name);
		if (n >= strlen(end) && strcmp(im->file[i].name + n - strlen(end), end) == 0)
			return &im->file[i];
	}
	fail_msg("no file %s", end);
	return NULL;
}

enum { MODEL_MAX = 2000, MODEL_RCPT = 3 };

struct model_message {
	struct msgid	 id;
	size_t		 size;
	unsigned	 group;		/* of 3 */
	unsigned	 nrcpt;
	uint8_t		 state[MODEL_RCPT][LEG_KIND_MAX];
	struct spool_ref ref;		/* of the first recipient */
	bool		 acked, refused;
};

struct model {
	struct model_message	m[MODEL_MAX];
	unsigned		n;
};

static const char *const model_user[3] = { "u@example.it", "u@example.net", "u@example.org" };

static uint32_t rng_state = 1;

static uint32_t
rng(uint32_t n)
{
	rng_state = rng_state * 1664525u + 1013904223u;
	return (rng_state >> 8) % n;
}

static void
model_sums(const struct model *mo, unsigned group, struct spool_sums *t)
{
	*t = (struct spool_sums){ 0 };
	for (unsigned i = 0; i < mo->n; i++) {
		const struct model_message *m = &mo->m[i];
		if (!m->acked || (group < 3 && m->group != group))
			continue;
		for (unsigned r = 0; r < m->nrcpt; r++) {
			t->received++;
			switch ((enum leg_state)m->state[r][LEG_HOLD]) {
			case LEG_DELIVERED:
				t->replayed++;
				break;
			case LEG_FAILED:
				t->bounced++;
				break;
			case LEG_DROPPED:
				t->dropped++;
				break;
			case LEG_PARKED:
			case LEG_WAITING:
				t->held++;
				t->held_bytes += m->size;
				break;
			case LEG_ABSENT:
			case LEG_SKIPPED:
			case LEG_STATE_MAX:
				fail_msg("not in this model");
			}
			t->forwarded += m->state[r][LEG_FORWARD] == LEG_DELIVERED;
			t->forward_waiting += m->state[r][LEG_FORWARD] == LEG_WAITING ||
			    m->state[r][LEG_FORWARD] == LEG_PARKED;
			t->forward_failed += m->state[r][LEG_FORWARD] == LEG_FAILED;
			t->forward_skipped += m->state[r][LEG_FORWARD] == LEG_SKIPPED;
		}
	}
}

static bool
message_settled(const struct model_message *m)
{
	for (unsigned r = 0; r < m->nrcpt; r++)
		if (!leg_settled(m->state[r][0]) || !leg_settled(m->state[r][1]))
			return false;
	return true;
}

/* Sums, states and bytes are what the model says. */
static void
model_check(struct kit *k, const struct model *mo)
{
	struct spool_sums want, got;
	struct spool_entry e;

	for (unsigned g = 0; g < 4; g++) {
		const char *at = g < 3 ? strchr(model_user[g], '@') + 1 : NULL;
		model_sums(mo, g, &want);
		spool_total(k->sp, at == NULL ? 0 : spool_group(slice_str(at), SLICE_NONE), &got);
		assert_memory_equal(&want, &got, sizeof(want));
	}
	for (unsigned i = 0; i < mo->n; i++) {
		const struct model_message *m = &mo->m[i];
		if (!m->acked || message_settled(m))
			continue;
		for (unsigned r = 0; r < m->nrcpt; r++) {
			struct spool_ref ref = { m->ref.segment, m->ref.entry + r };
			assert_int_equal(spool_get(k->sp, ref, &e), 0);
			assert_memory_equal(e.id.b, m->id.b, MSGID_LEN);
			assert_int_equal(e.leg[0].state, m->state[r][0]);
			assert_int_equal(e.leg[1].state, m->state[r][1]);
		}
		if (rng(4) == 0)
			kit_check_message(k, m->ref, m->id, m->size);
	}
}

static void
on_model_commit(void *arg, enum queue_commit_status st, const struct spool_ref *ref, size_t n)
{
	struct model_message *m = arg;

	m->acked = st == COMMIT_OK;
	m->refused = !m->acked;
	if (n > 0)
		m->ref = ref[0];
}

static void
model_commit(struct kit *k, struct model *mo)
{
	static const uint8_t hold[] = { LEG_PARKED, LEG_WAITING };
	static const uint8_t forward[] = { LEG_ABSENT, LEG_WAITING, LEG_PARKED };
	struct model_message *m = &mo->m[mo->n++];

	*m = (struct model_message){ .group = rng(3), .nrcpt = 1 + rng(MODEL_RCPT),
	    .size = rng(20) == 0 ? rng(100000) : rng(3000) };
	uint8_t h = hold[rng(2)], f = forward[rng(3)];
	for (unsigned r = 0; r < m->nrcpt; r++) {
		m->state[r][LEG_HOLD] = h;
		m->state[r][LEG_FORWARD] = f;
	}
	m->id = kit_send(k, model_user[m->group], m->nrcpt, h, f, m->size, on_model_commit, m);
}

static void
model_set(struct kit *k, struct model *mo)
{
	static const enum leg_state next[] = { LEG_DELIVERED, LEG_FAILED, LEG_DROPPED, LEG_WAITING,
	    LEG_PARKED, LEG_DELIVERED, LEG_DELIVERED };
	struct model_message *m = &mo->m[rng(mo->n)];
	unsigned r = rng(m->nrcpt);
	enum leg_kind leg = (enum leg_kind)rng(2);
	const struct spool_leg now = {
		.state = (uint8_t)next[rng(7)], .attempts = (uint16_t)rng(9),
		.next_ms = rng(100000),
	};

	if (!m->acked || message_settled(m) || m->state[r][leg] == LEG_ABSENT)
		return;
	struct slice note = rng(2) ? SLICE_LIT("a note") : SLICE_NONE;
	assert_int_equal(spool_set(k->sp, (struct spool_ref){ m->ref.segment, m->ref.entry + r },
	    leg, &now, note), 0);
	m->state[r][leg] = now.state;
}

static void
model_wait(struct kit *k, const struct model *mo)
{
	for (int i = 0; i < 5000; i++) {
		bool all = true;
		for (unsigned m = 0; m < mo->n; m++)
			all = all && (mo->m[m].acked || mo->m[m].refused);
		if (all)
			return;
		kit_run(k, 1);
	}
	fail_msg("a commit was never answered");
}

/* Random work; now and then the files are taken as they are (a crash) and the
 * spool goes on from there. */
static void
test_model_with_crashes(void **state)
{
	struct model *mo = calloc(1, sizeof(*mo));
	struct image im;
	struct kit k;

	(void)state;
	rng_state = 20261122;
	kit_init(&k);
	k.conf.segment_size = 128 * 1024;
	kit_start(&k, false);
	for (int step = 0; step < 12000 && mo->n < MODEL_MAX - 1; step++) {
		uint32_t what = rng(1000);
		if (mo->n == 0 || what < 120)
			model_commit(&k, mo);
		else if (what < 985)
			model_set(&k, mo);
		else if (what < 986)
			kit_run(&k, 300);
		else
			kit_run(&k, 2);
		if (step % 600 == 599) {
			model_wait(&k, mo);
			kit_run(&k, 5);		/* this turn's progress is written */
			model_check(&k, mo);
			if (step % 1200 == 599) {
				image_take(&im, k.dir);
				spool_close(&k.sp);
				image_put(&im, k.dir);
				image_free(&im);
				kit_start(&k, false);
			} else {
				kit_restart(&k);
			}
			model_check(&k, mo);
		}
	}
	kit_run(&k, 2500);
	model_check(&k, mo);
	kit_close(&k);
	free(mo);
}

struct killed_report {		/* child to parent */
	enum { CHILD_SENT, CHILD_ACKED, CHILD_SETTLED } what;
	struct msgid	 id;
	uint32_t	 size;
	struct spool_ref ref;
};

struct child {
	struct kit	k;
	int		out;
	struct killed_report live[64];
	unsigned	nlive;
};

struct child_commit {
	struct child	*c;
	struct killed_report r;
};

static void
child_ack(void *arg, enum queue_commit_status st, const struct spool_ref *ref, size_t n)
{
	struct child_commit *cc = arg;

	if (st == COMMIT_OK && n == 1) {
		struct killed_report r = cc->r;
		r.what = CHILD_ACKED;
		r.ref = ref[0];
		if (write(cc->c->out, &r, sizeof(r)) != sizeof(r))
			_exit(1);
		cc->c->live[cc->c->nlive++ % 64] = r;
	}
	free(cc);
}

static void
child_turn(void *arg)
{
	struct child *c = arg;

	for (int i = 0; i < 5; i++) {
		struct child_commit *cc = calloc(1, sizeof(*cc));
		cc->c = c;
		cc->r.size = rng(6000);
		cc->r.id = kit_send(&c->k, model_user[0], 1, LEG_WAITING, LEG_ABSENT, cc->r.size,
		    child_ack, cc);
	}
	for (int i = 0; i < 3 && c->nlive > 0; i++) {
		struct killed_report *r = &c->live[rng(c->nlive < 64 ? c->nlive : 64)];
		const struct spool_leg now = { .state = LEG_DELIVERED };
		r->what = CHILD_SETTLED;
		if (write(c->out, r, sizeof(*r)) != sizeof(*r))
			_exit(1);
		spool_set(c->k.sp, r->ref, LEG_HOLD, &now, SLICE_NONE);
	}
	timer_arm(c->k.stop, 0);
}

static _Noreturn void
child_main(const struct kit *parent, int out, uint32_t seed)
{
	struct child *c = calloc(1, sizeof(*c));

	rng_state = seed;
	c->out = out;
	c->k = *parent;
	c->k.loop = loop_new();
	c->k.stop = timer_new(c->k.loop, child_turn, c);
	c->k.sp = spool_open(c->k.loop, &c->k.conf, c->k.ops, c->k.where, false);
	if (c->k.sp == NULL)
		_exit(1);
	timer_arm(c->k.stop, 0);
	loop_run(c->k.loop);
	_exit(0);
}

struct known {			/* what the parent heard, over all lives of the child */
	struct killed_report	*r;
	bool			*settled;
	unsigned		 n;
};

static void
hear(struct known *kn, int fd)
{
	struct killed_report r;

	while (read(fd, &r, sizeof(r)) == sizeof(r)) {
		if (r.what == CHILD_SETTLED) {
			for (unsigned i = kn->n; i-- > 0;)
				if (memcmp(kn->r[i].id.b, r.id.b, MSGID_LEN) == 0) {
					kn->settled[i] = true;
					break;
				}
			continue;
		}
		kn->r = realloc(kn->r, (kn->n + 1) * sizeof(*kn->r));
		kn->settled = realloc(kn->settled, kn->n + 1);
		kn->settled[kn->n] = false;
		kn->r[kn->n++] = r;
	}
}

/* kill -9 at random instants: what was acknowledged is there, byte for byte. */
static void
test_kill(void **state)
{
	enum { LIVES = 12 };
	struct known kn = { NULL, NULL, 0 };
	struct spool_entry e;
	struct spool_sums t;
	struct kit k;
	int fd[2], st;

	(void)state;
	rng_state = 4711;
	kit_init(&k);
	k.conf.segment_size = 256 * 1024;
	for (int life = 0; life < LIVES; life++) {
		assert_int_equal(pipe(fd), 0);
		assert_true(fcntl(fd[1], F_SETPIPE_SZ, 1 << 20) > 0);
		pid_t pid = fork();
		if (pid == 0) {
			close(fd[0]);
			child_main(&k, fd[1], (uint32_t)life + 1);
		}
		close(fd[1]);
		usleep(20000 + rng(150000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &st, 0), pid);
		assert_true(WIFSIGNALED(st));
		hear(&kn, fd[0]);
		close(fd[0]);
		kit_start(&k, false);
		for (unsigned i = 0; i < kn.n; i++) {
			if (kn.settled[i])	/* perhaps: the set may not have been written */
				continue;
			assert_int_equal(spool_get(k.sp, kn.r[i].ref, &e), 0);
			assert_memory_equal(e.id.b, kn.r[i].id.b, MSGID_LEN);
			assert_int_equal(e.leg[LEG_HOLD].state, LEG_WAITING);
			if (i % 7 == 0)
				kit_check_message(&k, kn.r[i].ref, kn.r[i].id, kn.r[i].size);
		}
		spool_total(k.sp, 0, &t);
		kit_check_balance(&t);
		assert_true(t.received >= kn.n);
		spool_close(&k.sp);
	}
	assert_true(kn.n > 50);
	free(kn.r);
	free(kn.settled);
	kit_fini(&k);
}

enum { PLAIN = 4 };

struct plain {			/* a few messages and what is known of them */
	struct kit	k;
	struct msgid	id[PLAIN];
	struct spool_ref ref[PLAIN];
	size_t		size[PLAIN];
	struct image	im;
};

/* Crashed (log and progress only) or closed (with an index). Message 1 was replayed,
 * message 2 waits. */
static void
plain_make(struct plain *p, bool crashed)
{
	struct kit *k = &p->k;

	kit_open(k, NULL);
	for (int i = 0; i < PLAIN; i++) {
		p->size[i] = (size_t)(200 + i * 37);
		p->id[i] = kit_commit(k, "z@example.it", 1, LEG_PARKED, LEG_ABSENT, p->size[i]);
		assert_int_equal(k->last, COMMIT_OK);
		p->ref[i] = k->ref[0];
	}
	kit_set(k, p->ref[1], LEG_HOLD, LEG_DELIVERED);
	kit_set(k, p->ref[2], LEG_HOLD, LEG_WAITING);
	kit_run(k, 5);
	/* What a crash image shows is what was written: all of it, on a slow machine too. */
	assert_int_equal(k->sp->ops->drain(k->sp->store, 20000), 0);
	if (crashed)
		image_take(&p->im, k->dir);
	spool_close(&k->sp);
	if (!crashed)
		image_take(&p->im, k->dir);
}

static void
plain_free(struct plain *p)
{
	image_free(&p->im);
	kit_fini(&p->k);
}

/* Each message is there as it was, or (where `may_miss` says so) not at all. */
static void
plain_check(struct plain *p, unsigned may_miss, bool may_regress)
{
	static const uint8_t want[PLAIN] = { LEG_PARKED, LEG_DELIVERED, LEG_WAITING, LEG_PARKED };
	struct spool_ref ref[4];
	struct spool_entry e;
	struct spool_sums t;
	struct kit *k = &p->k;

	for (int i = 0; i < PLAIN; i++) {
		int n = spool_find(k->sp, p->id[i], ref, 4);
		assert_true(n <= 1);
		bool good = n == 1 && kit_message_good(k, ref[0], p->id[i], p->size[i]);
		if (!good) {
			assert_true(may_miss & 1u << i);
			continue;
		}
		assert_int_equal(spool_get(k->sp, ref[0], &e), 0);
		if (e.leg[LEG_HOLD].state != want[i]) {
			assert_true(may_regress);
			assert_int_equal(e.leg[LEG_HOLD].state, LEG_PARKED);
		}
	}
	spool_total(k->sp, 0, &t);
	kit_check_balance(&t);
	assert_true(t.received <= PLAIN);
}

/* The end of the last record of a crashed log. */
static size_t
last_record(struct plain *p)
{
	return image_find(&p->im, ".log")->n;
}

static void
test_torn_tail(void **state)
{
	struct plain p;

	(void)state;
	plain_make(&p, true);
	struct file *log = image_find(&p.im, ".log");
	size_t end = last_record(&p), start = end - 4;
	/* the last record begins at the last magic */
	while (memcmp(log->b + start, "SvRc", 4) != 0)
		start--;
	char *whole = log->b;
	for (size_t cut = start; cut <= end; cut++)
		for (int how = 0; how < 3; how++) {
			log->b = malloc(end);
			memcpy(log->b, whole, end);
			log->n = how == 0 ? cut : end;
			if (how > 0)
				memset(log->b + cut, how == 1 ? 0 : 0x5a, end - cut);
			image_put(&p.im, p.k.dir);
			kit_start(&p.k, cut % 40 != 0);
			/* up to seven bytes of padding may be missing or odd */
			plain_check(&p, cut < end ? 1u << 3 : 0, false);
			if (cut == start && how == 0) {
				struct spool_sums t;
				spool_total(p.k.sp, 0, &t);
				assert_int_equal(t.received, PLAIN - 1);
			}
			spool_close(&p.k.sp);
			free(log->b);
		}
	log->b = whole;
	log->n = end;
	plain_free(&p);
}

/* After recovery the spool takes mail again, in the right place. */
static void
test_goes_on(void **state)
{
	struct plain p;
	struct spool_entry e;

	(void)state;
	plain_make(&p, true);
	image_find(&p.im, ".log")->n -= 20;
	image_put(&p.im, p.k.dir);
	kit_start(&p.k, false);
	struct msgid id = kit_commit(&p.k, "z@example.it", 1, LEG_PARKED, LEG_ABSENT, 900);
	assert_int_equal(p.k.last, COMMIT_OK);
	struct spool_ref ref = p.k.ref[0];
	for (int i = 0; i < 3; i++) {
		plain_check(&p, 1u << 3, false);
		kit_check_message(&p.k, ref, id, 900);
		assert_int_equal(spool_get(p.k.sp, ref, &e), 0);
		kit_restart(&p.k);
	}
	spool_close(&p.k.sp);
	plain_free(&p);
}

/* One flipped bit anywhere: start succeeds, one message at most is gone, and none
 * is other than it was. */
static void
test_bit_flips(void **state)
{
	static const struct {
		bool crashed;
		const char *file;
		bool hurts_content, hurts_state;
		size_t step;
	} row[] = {
		{ true, ".log", true, false, 1 }, { true, ".prg", false, true, 1 },
		{ false, ".log", true, false, 3 }, { false, ".prg", false, false, 1 },
		{ false, ".idx", false, false, 5 },
	};

	(void)state;
	for (size_t r = 0; r < sizeof(row) / sizeof(row[0]); r++) {
		struct plain p;
		plain_make(&p, row[r].crashed);
		struct file *f = image_find(&p.im, row[r].file);
		for (size_t at = 0; at < f->n; at += row[r].step) {
			f->b[at] ^= (char)(1 << at % 8);
			image_put(&p.im, p.k.dir);
			kit_start(&p.k, at % 50 != 0);
			unsigned gone = 0;
			struct spool_ref ref[2];
			for (int i = 0; i < PLAIN; i++)
				if (spool_find(p.k.sp, p.id[i], ref, 2) != 1 ||
				    !kit_message_good(&p.k, ref[0], p.id[i], p.size[i]))
					gone |= 1u << i;
			assert_true((gone & (gone - 1)) == 0);
			assert_true(gone == 0 || row[r].hurts_content);
			/* the others keep their state: progress still means them */
			plain_check(&p, gone, row[r].hurts_state);
			spool_close(&p.k.sp);
			f->b[at] ^= (char)(1 << at % 8);
		}
		plain_free(&p);
	}
}

/* Missing files, alone and together. */
static void
test_missing_files(void **state)
{
	static const char *const part[3] = { ".log", ".prg", ".idx" };

	(void)state;
	for (int mask = 0; mask < 8; mask++) {
		struct plain p;
		plain_make(&p, false);
		for (int i = 0; i < 3; i++)
			if (mask & 1 << i) {
				struct file *f = image_find(&p.im, part[i]);
				free(f->b);
				f->b = NULL;
			}
		image_put(&p.im, p.k.dir);
		kit_start(&p.k, false);
		plain_check(&p, mask & 1 ? 15 : 0, (mask & 6) == 6);
		kit_restart(&p.k);
		struct msgid id = kit_commit(&p.k, "z@example.it", 1, LEG_PARKED, LEG_ABSENT, 10);
		assert_int_equal(p.k.last, COMMIT_OK);
		kit_check_message(&p.k, p.k.ref[0], id, 10);
		spool_close(&p.k.sp);
		plain_free(&p);
	}
}

/* Files cut at any byte, and blocks that became zeros. */
static void
test_cuts_and_zeroes(void **state)
{
	static const char *const part[3] = { ".log", ".prg", ".idx" };

	(void)state;
	for (int i = 0; i < 3; i++)
		for (int zero = 0; zero < 2; zero++) {
			struct plain p;
			plain_make(&p, false);
			struct file *f = image_find(&p.im, part[i]);
			char *whole = f->b;
			size_t n = f->n;
			for (size_t at = 0; at < n; at += 1 + n / 150) {
				f->b = malloc(n + 1);
				memcpy(f->b, whole, n);
				f->n = zero ? n : at;
				if (zero)
					memset(f->b + at, 0, n - at < 512 ? n - at : 512);
				image_put(&p.im, p.k.dir);
				kit_start(&p.k, at % 20 != 0);
				plain_check(&p, i == 0 ? 15 : 0, i == 1);
				spool_close(&p.k.sp);
				free(f->b);
			}
			f->b = whole;
			f->n = n;
			plain_free(&p);
		}
}

/* Two segments whose files changed places: the mail is all there, at worst sent twice. */
static void
test_swapped_files(void **state)
{
	static const char *const part[3] = { ".log", ".prg", ".idx" };
	struct msgid id[2];
	struct spool_ref ref[4];
	struct image im;
	char a[64], b[64];
	struct kit k;

	(void)state;
	for (int mask = 1; mask < 8; mask++) {
		kit_open(&k, NULL);
		for (int i = 0; i < 2; i++) {
			id[i] = kit_commit(&k, "y@example.it", 1, LEG_PARKED, LEG_ABSENT, 300);
			kit_restart(&k);
		}
		spool_close(&k.sp);
		image_take(&im, k.dir);
		for (int i = 0; i < 3; i++) {
			if (!(mask & 1 << i))
				continue;
			snprintf(a, sizeof(a), "000000000001%s", part[i]);
			snprintf(b, sizeof(b), "000000000002%s", part[i]);
			struct file *x = image_find(&im, a), *y = image_find(&im, b), t = *x;
			x->b = y->b;
			x->n = y->n;
			y->b = t.b;
			y->n = t.n;
		}
		image_put(&im, k.dir);
		image_free(&im);
		for (int round = 0; round < 2; round++) {
			kit_start(&k, false);
			for (int i = 0; i < 2; i++) {
				assert_int_equal(spool_find(k.sp, id[i], ref, 4), 1);
				kit_check_message(&k, ref[0], id[i], 300);
			}
			spool_close(&k.sp);
		}
		kit_fini(&k);
	}
}

/* A file of noise where a segment should be is kept for a human, not cut. */
static void
test_noise(void **state)
{
	struct plain p;
	struct stat st;
	char path[128];

	(void)state;
	plain_make(&p, true);
	struct file *f = image_find(&p.im, ".log");
	struct file *g = image_find(&p.im, ".prg");
	for (size_t i = 0; i < f->n; i++)
		f->b[i] = (char)rng(256);
	memset(g->b, 0x77, g->n);
	image_put(&p.im, p.k.dir);
	kit_start(&p.k, false);
	kit_commit(&p.k, "z@example.it", 1, LEG_PARKED, LEG_ABSENT, 10);
	assert_int_equal(p.k.last, COMMIT_OK);
	kit_run(&p.k, 1200);
	kit_restart(&p.k);
	snprintf(path, sizeof(path), "%s/seg/000000000001.log", p.k.dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, f->n);
	spool_close(&p.k.sp);
	plain_free(&p);
}

/* A record of ours inside somebody's mail is content, whatever happens around it. */
static void
test_record_in_body(void **state)
{
	struct plain p;
	struct spool_sums t;

	(void)state;
	plain_make(&p, true);
	struct file *f = image_find(&p.im, ".log");
	struct kit *k = &p.k;
	/* A whole segment file as the body of a message in another spool. */
	kit_rm(k->dir);
	assert_int_equal(mkdir(k->dir, 0700), 0);
	kit_start(k, false);
	int body = body_make(slice_make(f->b, f->n));
	const struct spool_birth birth = { LEG_PARKED, LEG_ABSENT };
	struct buf env;
	buf_init(&env, ENVELOPE_MAX);
	kit_envelope(&env, msgid_new(0), "x@example.it", 1, f->n);
	unsigned done = k->done;
	spool_commit(k->sp, buf_slice(&env), body, &birth, 1, kit_done, k);
	kit_until(k, done + 1);
	kit_commit(k, "x@example.it", 1, LEG_PARKED, LEG_ABSENT, 10);
	image_free(&p.im);
	image_take(&p.im, k->dir);
	spool_close(&k->sp);
	/* Hurt the head of the outer record, so that the scan has to search. */
	f = image_find(&p.im, ".log");
	f->b[64 + 40] ^= 1;
	image_put(&p.im, k->dir);
	kit_start(k, false);
	spool_total(k->sp, 0, &t);
	assert_int_equal(t.received, 1);
	spool_close(&k->sp);
	buf_fini(&env);
	close(body);
	plain_free(&p);
}

/* Dropped segments count once, whatever happens between sums and files. */
static void
test_crash_while_dropping(void **state)
{
	static const struct {
		enum fake_op op;
		unsigned skip;
	} row[] = { { FAKE_META, 0 }, { FAKE_META, 1 }, { FAKE_DROP, 0 } };
	struct spool_sums t;
	struct image im;
	struct kit k;

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct store_script s = { .n = 1 };
		s.rule[0] = (struct fake_rule){ .op = row[i].op, .act = FAKE_REFUSE,
		    .skip = row[i].skip, .result = STORE_IO_ERROR };
		kit_open(&k, &s);
		for (int m = 0; m < 3; m++) {
			kit_commit(&k, "w@example.it", 1, LEG_WAITING, LEG_ABSENT, 100);
			kit_set(&k, k.ref[0], LEG_HOLD, LEG_DELIVERED);
		}
		kit_commit(&k, "w@example.it", 1, LEG_PARKED, LEG_ABSENT, 100);
		spool_close(&k.sp);	/* drops the relay segment, as far as it can */
		for (int round = 0; round < 3; round++) {
			image_take(&im, k.dir);
			kit_start(&k, false);
			spool_total(k.sp, 0, &t);
			assert_int_equal(t.received, 4);
			assert_int_equal(t.replayed, 3);
			kit_run(&k, 1100);
			spool_total(k.sp, 0, &t);
			assert_int_equal(t.received, 4);
			spool_close(&k.sp);
			if (round == 1)		/* the crash: go back to before */
				image_put(&im, k.dir);
			image_free(&im);
			s.n = round == 0 ? 1 : 0;
		}
		kit_fini(&k);
	}
}

/* One copy of the totals may be damaged. */
static void
test_totals_damage(void **state)
{
	struct spool_sums t;
	struct image im;
	struct kit k;

	(void)state;
	for (int which = 0; which < 3; which++) {
		kit_open(&k, NULL);
		kit_commit(&k, "v@example.it", 1, LEG_WAITING, LEG_ABSENT, 100);
		kit_set(&k, k.ref[0], LEG_HOLD, LEG_DELIVERED);
		kit_commit(&k, "v@example.it", 1, LEG_PARKED, LEG_ABSENT, 100);
		spool_close(&k.sp);
		image_take(&im, k.dir);
		if (which != 1)
			image_find(&im, "totals.a")->b[30] ^= 4;
		if (which != 0)
			image_find(&im, "totals.b")->n -= 3;
		image_put(&im, k.dir);
		image_free(&im);
		kit_start(&k, false);
		spool_total(k.sp, 0, &t);
		kit_check_balance(&t);
		assert_int_equal(t.received, which == 2 ? 1 : 2);
		assert_int_equal(t.held, 1);
		kit_close(&k);
	}
}

/* The outcome of a sync was unknown, the mail went to a new segment, the old one
 * could not be cut, then the crash: it must not be there twice. */
static void
test_abandoned_tail(void **state)
{
	struct store_script s = { .n = 2 };
	struct spool_sums t;
	struct spool_ref ref[4];
	struct image im;
	struct kit k;

	(void)state;
	s.rule[0] = (struct fake_rule){ .op = FAKE_APPEND, .act = FAKE_DONE, .skip = 1,
	    .count = 1, .result = STORE_UNKNOWN };
	s.rule[1] = (struct fake_rule){ .op = FAKE_SEAL, .act = FAKE_REFUSE,
	    .result = STORE_IO_ERROR };
	kit_open(&k, &s);
	kit_commit(&k, "t@example.it", 1, LEG_PARKED, LEG_ABSENT, 100);
	struct msgid id = kit_commit(&k, "t@example.it", 1, LEG_PARKED, LEG_ABSENT, 200);
	assert_int_equal(k.last, COMMIT_OK);
	image_take(&im, k.dir);
	spool_close(&k.sp);
	image_put(&im, k.dir);
	image_free(&im);
	s.n = 0;
	for (int round = 0; round < 2; round++) {
		kit_start(&k, false);
		spool_total(k.sp, 0, &t);
		assert_int_equal(t.received, 2);
		assert_int_equal(spool_find(k.sp, id, ref, 4), 1);
		kit_check_message(&k, ref[0], id, 200);
		spool_close(&k.sp);
	}
	kit_fini(&k);
}

/* A log that the disk does not read at one start is neither cut nor dropped: at the
 * next start all is there. */
static void
test_unreadable_start(void **state)
{
	(void)state;
	for (unsigned skip = 0; skip < 12; skip++)
		for (int crashed = 0; crashed < 2; crashed++) {
			struct store_script s = { 0 };
			struct plain p;
			plain_make(&p, crashed);
			image_put(&p.im, p.k.dir);
			p.k.ops = &store_fake;
			store_fake_where(&s, &store_local, p.k.dir, p.k.where, sizeof(p.k.where));
			s.n = 1;
			s.rule[0] = (struct fake_rule){ .op = FAKE_READ, .act = FAKE_REFUSE,
			    .skip = skip };
			kit_start(&p.k, false);
			kit_run(&p.k, 1100);
			spool_close(&p.k.sp);
			s.n = 0;
			kit_start(&p.k, false);
			plain_check(&p, 0, true);	/* progress: repeated at worst */
			spool_close(&p.k.sp);
			plain_free(&p);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model_with_crashes),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_torn_tail),
		cmocka_unit_test(test_goes_on),
		cmocka_unit_test(test_bit_flips),
		cmocka_unit_test(test_missing_files),
		cmocka_unit_test(test_cuts_and_zeroes),
		cmocka_unit_test(test_swapped_files),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_record_in_body),
		cmocka_unit_test(test_crash_while_dropping),
		cmocka_unit_test(test_totals_damage),
		cmocka_unit_test(test_abandoned_tail),
		cmocka_unit_test(test_unreadable_start),
	};

	log_open("test", LOG_LVL_ERROR);
	return cmocka_run_group_tests_name("recover", tests, NULL, NULL);
}

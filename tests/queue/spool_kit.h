// SPDX-License-Identifier: Apache-2.0
/* What the spool's tests share: a spool in a fresh directory, messages whose bytes
 * follow from their size, and a loop that turns until a condition holds. */
#ifndef TESTS_QUEUE_SPOOL_KIT_H
#define TESTS_QUEUE_SPOOL_KIT_H

#include <dirent.h>
#include <errno.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/spool.h"
#include "queue/store_fake.h"

enum { KIT_REFS = 64 };

struct kit {
	struct loop		*loop;
	struct conf		 conf;
	const struct store_ops	*ops;
	char			 dir[64];
	char			 where[128];
	struct spool		*sp;
	struct timer		*stop;
	/* of the last commit that completed */
	enum queue_commit_status last;
	struct spool_ref	 ref[KIT_REFS];
	size_t			 nref;
	unsigned		 done, ok;	/* completions seen */
	unsigned		 counter;	/* of message ids */
};

static inline void
kit_tick(void *arg)
{
	loop_stop(arg);
}

/* Turns the loop for that long. */
static inline void
kit_run(struct kit *k, int64_t ms)
{
	timer_arm(k->stop, ms);
	loop_run(k->loop);
}

static inline void
kit_start(struct kit *k, bool read_only)
{
	k->sp = spool_open(k->loop, &k->conf, k->ops, k->where, read_only);
	assert_non_null(k->sp);
}

static inline void
kit_init_at(struct kit *k, const char *tmp)
{
	*k = (struct kit){ .ops = &store_local, .last = COMMIT_STATUS_MAX };
	k->loop = loop_new();
	k->stop = timer_new(k->loop, kit_tick, k->loop);
	k->conf.segment_size = 1 << 20;
	snprintf(k->dir, sizeof(k->dir), "%.40s/spool-test-XXXXXX", tmp);
	assert_non_null(mkdtemp(k->dir));
	snprintf(k->where, sizeof(k->where), "%s", k->dir);
}

/* Most tests are about order and content, not the disk: memory is quicker. */
static inline void
kit_init(struct kit *k)
{
	kit_init_at(k, access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
}

/* `script` NULL: the local store itself. */
static inline void
kit_open(struct kit *k, struct store_script *script)
{
	kit_init(k);
	if (script != NULL) {
		k->ops = &store_fake;
		store_fake_where(script, &store_local, k->dir, k->where, sizeof(k->where));
	}
	kit_start(k, false);
}

static inline void
kit_restart(struct kit *k)
{
	spool_close(&k->sp);
	kit_start(k, false);
}

static inline void
kit_rm(const char *dir)
{
	char path[1024];
	DIR *d = opendir(dir);

	if (d == NULL)
		return;
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) >= (int)sizeof(path))
			continue;
		if (unlink(path) != 0)
			kit_rm(path);
	}
	closedir(d);
	rmdir(dir);
}

static inline void
kit_fini(struct kit *k)
{
	timer_free(&k->stop);
	loop_free(&k->loop);
	kit_rm(k->dir);
}

static inline void
kit_close(struct kit *k)
{
	spool_close(&k->sp);
	kit_fini(k);
}

/* Bodies are noise, or with this something that can be compressed. */
static bool kit_text;

static inline void
kit_fill(char *p, size_t n, struct msgid id)
{
	uint32_t x = crc32c(0, id.b, MSGID_LEN) | 1;

	for (size_t i = 0; i < n; i++) {
		x = x * 1664525u + 1013904223u;
		p[i] = kit_text && i % 64 > 20 ? "the quick brown fox\r\n"[i % 21] : (char)(x >> 24);
	}
}

static inline void
kit_envelope(struct buf *out, struct msgid id, const char *user, size_t nrcpt, size_t size)
{
	struct buf rcpts;
	char text[128];

	buf_init(&rcpts, ENVELOPE_MAX);
	for (size_t i = 0; i < nrcpt; i++) {
		if (i == 0)
			snprintf(text, sizeof(text), "%s", user);
		else
			snprintf(text, sizeof(text), "%zu.%s", i, user);
		const char *at = strchr(text, '@');
		struct envelope_rcpt r = {
			.kind = RCPT_USER, .address = slice_str(text), .user = slice_str(text),
			.domain = slice_str(at == NULL ? "example.it" : at + 1),
		};
		assert_int_equal(wire_item_put(&rcpts, &envelope_rcpt_wire, &r), 0);
	}
	struct envelope env = {
		.version = ENVELOPE_VERSION, .id = id,
		.received_ms = (uint64_t)clock_wall_ms(), .body_size = size, .triage = 2,
		.client_ip = SLICE_LIT("192.0.2.1"), .helo = SLICE_LIT("client.example"),
		.mail_from = SLICE_LIT("sender@example.org"),
		.trace = SLICE_LIT("Received: from client.example\r\n"),
		.rcpts = buf_slice(&rcpts),
	};
	assert_int_equal(wire_put(out, &envelope_wire, &env), 0);
	buf_fini(&rcpts);
}

static inline void
kit_done(void *arg, enum queue_commit_status st, const struct spool_ref *ref, size_t n)
{
	struct kit *k = arg;

	k->last = st;
	k->done++;
	k->ok += st == COMMIT_OK;
	k->nref = n < KIT_REFS ? n : KIT_REFS;
	if (n > 0)
		memcpy(k->ref, ref, k->nref * sizeof(*ref));
}

/* Starts a commit; the completion goes to `fn`. */
static inline struct msgid
kit_send(struct kit *k, const char *user, size_t nrcpt, uint8_t hold, uint8_t forward,
    size_t size, spool_commit_fn *fn, void *arg)
{
	struct msgid id = msgid_new(k->counter++ % 8);
	struct spool_birth birth[KIT_REFS];
	char *body = malloc(size + 1);
	struct buf env;

	assert_non_null(body);
	for (size_t i = 0; i < nrcpt; i++)
		birth[i] = (struct spool_birth){ hold, forward };
	kit_fill(body, size, id);
	int fd = body_make(slice_make(body, size));
	assert_true(fd >= 0);
	buf_init(&env, ENVELOPE_MAX);
	kit_envelope(&env, id, user, nrcpt, size);
	spool_commit(k->sp, buf_slice(&env), fd, birth, nrcpt, fn, arg);
	buf_fini(&env);
	close(fd);
	free(body);
	return id;
}

static inline void
kit_until(struct kit *k, unsigned done)
{
	for (int i = 0; i < 10000 && k->done < done; i++)
		kit_run(k, 1);
	assert_true(k->done >= done);
}

/* Commits and waits for the answer. */
static inline struct msgid
kit_commit(struct kit *k, const char *user, size_t nrcpt, uint8_t hold, uint8_t forward,
    size_t size)
{
	unsigned want = k->done + 1;
	struct msgid id = kit_send(k, user, nrcpt, hold, forward, size, kit_done, k);

	kit_until(k, want);
	return id;
}

static inline bool
kit_message_good(struct kit *k, struct spool_ref ref, struct msgid id, size_t size)
{
	struct spool_message m;
	struct slice map;
	bool ok = false;

	if (spool_read(k->sp, ref, true, &m) != 0)
		return false;
	char *want = malloc(size + 1);
	kit_fill(want, size, id);
	if (body_map(m.body_fd, &map) == 0) {
		ok = map.n == size && (size == 0 || memcmp(map.p, want, size) == 0) &&
		    memcmp(m.env.id.b, id.b, MSGID_LEN) == 0;
		body_unmap(&map);
	}
	free(want);
	spool_message_fini(&m);
	return ok;
}

static inline void
kit_check_message(struct kit *k, struct spool_ref ref, struct msgid id, size_t size)
{
	assert_true(kit_message_good(k, ref, id, size));
}

static inline void
kit_set(struct kit *k, struct spool_ref ref, enum leg_kind leg, enum leg_state st)
{
	const struct spool_leg now = { .state = (uint8_t)st, .attempts = 1 };

	assert_int_equal(spool_set(k->sp, ref, leg, &now, SLICE_NONE), 0);
}

static inline void
kit_check_balance(const struct spool_sums *t)
{
	assert_int_equal(t->received,
	    t->replayed + t->forwarded_only + t->bounced + t->dropped + t->held);
}

#endif

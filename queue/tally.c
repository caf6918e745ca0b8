// SPDX-License-Identifier: Apache-2.0
#include "queue/tally.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "queue/report.h"

#define TALLY_FILE	"tally.json"
#define TALLY_TEMP	"tally.json.new"

enum { TALLY_FORMAT = 1, TALLY_HASH = 1024 };

struct histogram {
	uint64_t	count;
	int64_t		max_ms;
	uint32_t	bucket[TALLY_BUCKETS];
};

struct reply_count {
	uint8_t		leg;		/* enum leg_kind */
	uint16_t	code;
	char		enhanced[12];
	uint64_t	count;
};

struct period {
	int64_t		from_ms, to_ms;	/* of its first and last count */
	struct histogram *delay[LEG_KIND_MAX][TALLY_CLASSES];	/* owned, NULL: none yet */
	struct reply_count reply[TALLY_REPLIES];
	unsigned	nreply;
	uint64_t	other;		/* replies of further kinds */
};

struct tally_group {
	uint64_t	 id;
	struct period	*period[TALLY_PERIODS];	/* owned; the newest first */
	unsigned	 n;
	struct tally_group *next;	/* same hash bucket */
};

struct tally {
	int			 dirfd;		/* borrowed; -1: nothing is kept */
	struct tally_group	*bucket[TALLY_HASH];
	unsigned		 ngroup;
	bool			 dirty;
	int64_t			 saved_ms;	/* monotonic */
};

/* ---- delays ---- */

/* The upper end of bucket i: 2^(i/2) ms. */
static int64_t
bucket_top(unsigned i)
{
	int64_t whole = (int64_t)1 << (i / 2);

	return i % 2 == 0 ? whole : whole + whole * 414 / 1000 + 1;
}

static unsigned
bucket_of(int64_t ms)
{
	unsigned i = 0;

	while (i < TALLY_BUCKETS - 1 && bucket_top(i) < ms)
		i++;
	return i;
}

static int64_t
percentile(const struct histogram *h, unsigned percent)
{
	uint64_t sum = 0, at = (h->count * percent + 99) / 100;

	for (unsigned i = 0; i < TALLY_BUCKETS; i++) {
		sum += h->bucket[i];
		if (sum >= at && sum > 0)
			return bucket_top(i) < h->max_ms ? bucket_top(i) : h->max_ms;
	}
	return h->max_ms;
}

static void
histogram_add(struct histogram *to, const struct histogram *h)
{
	to->count += h->count;
	to->max_ms = h->max_ms > to->max_ms ? h->max_ms : to->max_ms;
	for (unsigned i = 0; i < TALLY_BUCKETS; i++)
		to->bucket[i] += h->bucket[i];
}

/* ---- groups and periods ---- */

static struct tally_group *
group_find(const struct tally *t, uint64_t id)
{
	struct tally_group *g = t->bucket[(id ^ id >> 32) % TALLY_HASH];

	while (g != NULL && g->id != id)
		g = g->next;
	return g;
}

static struct tally_group *
group_get(struct tally *t, uint64_t id)
{
	struct tally_group *g = group_find(t, id);

	if (g != NULL || t->ngroup >= TALLY_GROUPS_MAX)
		return g;
	g = mem_new(sizeof(*g));
	g->id = id;
	g->next = t->bucket[(id ^ id >> 32) % TALLY_HASH];
	t->bucket[(id ^ id >> 32) % TALLY_HASH] = g;
	t->ngroup++;
	return g;
}

static void
period_free(struct period *p)
{
	for (unsigned leg = 0; leg < LEG_KIND_MAX; leg++)
		for (unsigned c = 0; c < TALLY_CLASSES; c++)
			free(p->delay[leg][c]);
	free(p);
}

static struct period *
period_new(struct tally_group *g, int64_t now)
{
	struct period *p = mem_new(sizeof(*p));

	if (g->n == TALLY_PERIODS)
		period_free(g->period[--g->n]);
	memmove(&g->period[1], &g->period[0], g->n * sizeof(g->period[0]));
	g->period[0] = p;
	g->n++;
	p->from_ms = p->to_ms = now;
	return p;
}

static struct period *
period_now(struct tally *t, uint64_t group, int64_t now)
{
	struct tally_group *g = group_get(t, group);

	if (g == NULL)
		return NULL;
	struct period *p = g->n > 0 ? g->period[0] : period_new(g, now);
	p->to_ms = now;
	t->dirty = true;
	return p;
}

void
tally_period(struct tally *t, uint64_t group, int64_t since)
{
	struct tally_group *g = group_get(t, group);

	if (g == NULL || (g->n > 0 && g->period[0]->from_ms >= since))
		return;
	(void)period_new(g, since);
	t->dirty = true;
}

void
tally_delivered(struct tally *t, uint64_t group, enum leg_kind leg, unsigned triage,
    int64_t delay_ms, int64_t now)
{
	struct period *p = period_now(t, group, now);

	if (p == NULL)
		return;
	struct histogram **h = &p->delay[leg][triage < TALLY_CLASSES ? triage : TALLY_CLASSES - 1];
	if (*h == NULL)
		*h = mem_new(sizeof(**h));
	delay_ms = delay_ms < 0 ? 0 : delay_ms;		/* the wall clock may have been set back */
	(*h)->count++;
	(*h)->max_ms = delay_ms > (*h)->max_ms ? delay_ms : (*h)->max_ms;
	(*h)->bucket[bucket_of(delay_ms)]++;
}

static void
reply_add(struct period *p, uint8_t leg, uint16_t code, const char *enhanced, uint64_t n)
{
	for (unsigned i = 0; i < p->nreply; i++) {
		struct reply_count *r = &p->reply[i];

		if (r->leg != leg || r->code != code || strcmp(r->enhanced, enhanced) != 0)
			continue;
		r->count += n;
		return;
	}
	if (p->nreply == TALLY_REPLIES) {
		p->other += n;
		return;
	}
	struct reply_count *r = &p->reply[p->nreply++];
	*r = (struct reply_count){ .leg = leg, .code = code, .count = n };
	(void)snprintf(r->enhanced, sizeof(r->enhanced), "%s", enhanced);
}

void
tally_refused(struct tally *t, uint64_t group, enum leg_kind leg, unsigned code,
    struct slice enhanced, int64_t now)
{
	struct period *p = period_now(t, group, now);
	char text[12] = "";

	/* What a server made up must not fill the table: only a status code counts as one. */
	for (size_t i = 0; i < enhanced.n && i < sizeof(text) - 1; i++)
		if (strchr("0123456789.", enhanced.p[i]) == NULL)
			enhanced.n = 0;
	(void)slice_cstr(enhanced, text, sizeof(text));
	if (p != NULL)
		reply_add(p, (uint8_t)leg, (uint16_t)code, text, 1);
}

/* ---- reports ---- */

static const char *const leg_words[LEG_KIND_MAX] = { "replayed", "forwarded" };
static const char *const class_words[TALLY_CLASSES] = { "0", "1", "2", "3", "X" };

static json_t *
delays_json(const struct period *sum, unsigned leg)
{
	json_t *o = json_object();

	for (unsigned c = 0; c < TALLY_CLASSES; c++) {
		const struct histogram *h = sum->delay[leg][c];

		if (h == NULL)
			continue;
		json_object_set_new(o, class_words[c], json_pack("{s:I, s:I, s:I, s:I, s:I}",
		    "count", (json_int_t)h->count, "p50_ms", (json_int_t)percentile(h, 50),
		    "p95_ms", (json_int_t)percentile(h, 95), "p99_ms", (json_int_t)percentile(h, 99),
		    "max_ms", (json_int_t)h->max_ms));
	}
	return o;
}

static void
period_add(struct period *sum, const struct period *p)
{
	for (unsigned leg = 0; leg < LEG_KIND_MAX; leg++) {
		for (unsigned c = 0; c < TALLY_CLASSES; c++) {
			if (p->delay[leg][c] == NULL)
				continue;
			if (sum->delay[leg][c] == NULL)
				sum->delay[leg][c] = mem_new(sizeof(struct histogram));
			histogram_add(sum->delay[leg][c], p->delay[leg][c]);
		}
	}
	for (unsigned i = 0; i < p->nreply; i++)
		reply_add(sum, p->reply[i].leg, p->reply[i].code, p->reply[i].enhanced,
		    p->reply[i].count);
	sum->other += p->other;
	if (sum->from_ms == 0 || p->from_ms < sum->from_ms)
		sum->from_ms = p->from_ms;
}

static json_t *
replies_json(const struct period *p)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < p->nreply; i++)
		json_array_append_new(list, json_pack("{s:s, s:i, s:s, s:I}", "leg",
		    p->reply[i].leg == LEG_HOLD ? "hold" : "forward", "code", (int)p->reply[i].code,
		    "enhanced", p->reply[i].enhanced, "count", (json_int_t)p->reply[i].count));
	if (p->other > 0)
		json_array_append_new(list, json_pack("{s:s, s:i, s:s, s:I}", "leg", "any", "code", 0,
		    "enhanced", "other", "count", (json_int_t)p->other));
	return list;
}

json_t *
tally_json(const struct tally *t, uint64_t group, int64_t since)
{
	const struct tally_group *g = group_find(t, group);
	struct period *sum = mem_new(sizeof(*sum));
	json_t *o = json_object();

	for (unsigned i = 0; g != NULL && i < g->n; i++)
		if (g->period[i]->to_ms >= since)
			period_add(sum, g->period[i]);
	for (unsigned leg = 0; leg < LEG_KIND_MAX; leg++)
		json_object_set_new(o, leg_words[leg], delays_json(sum, leg));
	json_object_set_new(o, "replies", replies_json(sum));
	json_object_set_new(o, "from", report_time(sum->from_ms));
	period_free(sum);
	return o;
}

/* ---- the file ---- */

static json_t *
histogram_pack(const struct histogram *h)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < TALLY_BUCKETS; i++)
		if (h->bucket[i] > 0)
			json_array_append_new(list, json_pack("[i, I]", (int)i,
			    (json_int_t)h->bucket[i]));
	return json_pack("{s:I, s:o}", "max_ms", (json_int_t)h->max_ms, "buckets", list);
}

static json_t *
period_pack(const struct period *p)
{
	json_t *o = json_pack("{s:I, s:I, s:I, s:o}", "from_ms", (json_int_t)p->from_ms, "to_ms",
	    (json_int_t)p->to_ms, "other", (json_int_t)p->other, "replies", replies_json(p));

	for (unsigned leg = 0; leg < LEG_KIND_MAX; leg++) {
		json_t *classes = json_object();

		for (unsigned c = 0; c < TALLY_CLASSES; c++)
			if (p->delay[leg][c] != NULL)
				json_object_set_new(classes, class_words[c],
				    histogram_pack(p->delay[leg][c]));
		json_object_set_new(o, leg_words[leg], classes);
	}
	return o;
}

static json_t *
tally_pack(const struct tally *t)
{
	json_t *list = json_array();

	for (size_t i = 0; i < TALLY_HASH; i++) {
		for (const struct tally_group *g = t->bucket[i]; g != NULL; g = g->next) {
			json_t *periods = json_array();
			char id[20];

			for (unsigned n = 0; n < g->n; n++)
				json_array_append_new(periods, period_pack(g->period[n]));
			(void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)g->id);
			json_array_append_new(list, json_pack("{s:s, s:o}", "group", id, "periods",
			    periods));
		}
	}
	return json_pack("{s:i, s:o}", "format", TALLY_FORMAT, "groups", list);
}

static int
write_dump(const char *p, size_t n, void *arg)
{
	const int *fd = arg;

	while (n > 0) {
		ssize_t put = write(*fd, p, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		p += put;
		n -= (size_t)put;
	}
	return 0;
}

static void
tally_save(struct tally *t)
{
	int fd = openat(t->dirfd, TALLY_TEMP, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
	    0640);

	t->dirty = false;
	if (fd < 0)
		return;
	json_t *top = tally_pack(t);
	int rc = json_dump_callback(top, write_dump, &fd, JSON_COMPACT);
	json_decref(top);
	if (close(fd) < 0)
		rc = -1;
	if (rc < 0 || renameat(t->dirfd, TALLY_TEMP, t->dirfd, TALLY_FILE) < 0) {
		log_warn("tally", "file=" TALLY_FILE " error=%s", log_escs(strerror(errno)));
		(void)unlinkat(t->dirfd, TALLY_TEMP, 0);
	}
}

void
tally_tick(struct tally *t, int64_t mono_ms)
{
	if (!t->dirty || t->dirfd < 0 || mono_ms - t->saved_ms < TALLY_SAVE_MS)
		return;
	t->saved_ms = mono_ms;
	tally_save(t);
}

static void
histogram_unpack(struct period *p, unsigned leg, unsigned c, json_t *o)
{
	struct histogram *h;
	json_t *pair;
	size_t i;

	if (!json_is_object(o))
		return;
	h = p->delay[leg][c] = mem_new(sizeof(*h));
	h->max_ms = json_integer_value(json_object_get(o, "max_ms"));
	json_array_foreach(json_object_get(o, "buckets"), i, pair) {
		json_int_t at = json_integer_value(json_array_get(pair, 0)),
		    n = json_integer_value(json_array_get(pair, 1));

		if (at < 0 || at >= TALLY_BUCKETS || n < 0 || n > UINT32_MAX)
			continue;
		h->bucket[at] = (uint32_t)n;
		h->count += (uint64_t)n;
	}
}

static void
period_unpack(struct period *p, json_t *o)
{
	json_t *r;
	size_t i;

	p->to_ms = json_integer_value(json_object_get(o, "to_ms"));
	p->other = (uint64_t)json_integer_value(json_object_get(o, "other"));
	for (unsigned leg = 0; leg < LEG_KIND_MAX; leg++)
		for (unsigned c = 0; c < TALLY_CLASSES; c++)
			histogram_unpack(p, leg, c, json_object_get(json_object_get(o,
			    leg_words[leg]), class_words[c]));
	json_array_foreach(json_object_get(o, "replies"), i, r) {
		const char *leg = json_string_value(json_object_get(r, "leg")),
		    *enhanced = json_string_value(json_object_get(r, "enhanced"));

		if (leg == NULL || enhanced == NULL || strcmp(leg, "any") == 0)
			continue;
		reply_add(p, strcmp(leg, "hold") == 0 ? LEG_HOLD : LEG_FORWARD,
		    (uint16_t)json_integer_value(json_object_get(r, "code")), enhanced,
		    (uint64_t)json_integer_value(json_object_get(r, "count")));
	}
}

static void
tally_unpack(struct tally *t, json_t *top)
{
	json_t *g, *p;
	size_t i, j;

	json_array_foreach(json_object_get(top, "groups"), i, g) {
		json_t *list = json_object_get(g, "periods");
		const char *id = json_string_value(json_object_get(g, "group"));
		struct tally_group *to = id == NULL ? NULL : group_get(t, strtoull(id, NULL, 16));

		if (to == NULL || to->n > 0)
			continue;
		for (j = json_array_size(list); j-- > 0;) {	/* the oldest first */
			p = json_array_get(list, j);
			period_unpack(period_new(to,
			    json_integer_value(json_object_get(p, "from_ms"))), p);
		}
	}
}

static size_t
read_load(void *to, size_t n, void *arg)
{
	const int *fd = arg;
	ssize_t got = read(*fd, to, n);

	return got < 0 ? (size_t)-1 : (size_t)got;
}

struct tally *
tally_open(int dirfd)
{
	struct tally *t = mem_new(sizeof(*t));
	json_error_t e;

	t->dirfd = dirfd;
	int fd = dirfd < 0 ? -1 : openat(dirfd, TALLY_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return t;
	json_t *top = json_load_callback(read_load, &fd, JSON_REJECT_DUPLICATES, &e);
	close(fd);
	if (json_integer_value(json_object_get(top, "format")) == TALLY_FORMAT)
		tally_unpack(t, top);
	else
		log_warn("tally", "file=" TALLY_FILE " error=\"damaged: begun anew\"");
	json_decref(top);
	return t;
}

void
tally_close(struct tally **tp)
{
	struct tally *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	if (t->dirty && t->dirfd >= 0)
		tally_save(t);
	for (size_t i = 0; i < TALLY_HASH; i++) {
		while (t->bucket[i] != NULL) {
			struct tally_group *g = t->bucket[i];

			t->bucket[i] = g->next;
			while (g->n > 0)
				period_free(g->period[--g->n]);
			free(g);
		}
	}
	free(t);
}

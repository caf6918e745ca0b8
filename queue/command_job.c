// SPDX-License-Identifier: Apache-2.0
/*
 * Jobs over many recipients: queue-hold, -release, -retry, -drop, -bounce and queue-summary.
 *
 * A job that changes something first finds out what it is about, and the audit log has
 * that on stable storage before the first leg is touched: each id while they are few, else
 * the filter. Then it works through them in turns of the loop, and says in a second line
 * how many they were; a job whose client went away stops there and says so too.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/control_priv.h"
#include "queue/report.h"

enum { JOB_IDS_MAX = 1000, JOB_PROGRESS_MS = 1000 };

enum job_phase { JOB_COLLECT, JOB_APPLY, JOB_DONE };

struct job {
	enum operate_verb verb;
	enum job_phase	 phase;
	bool		 dry;
	bool		 many;		/* more than JOB_IDS_MAX: found again while working */
	struct spool_ref *ref;		/* owned, up to JOB_IDS_MAX */
	size_t		 nref;
	uint64_t	 count;		/* recipients that are changed, or would be */
	uint64_t	 bytes;		/* of their content */
	uint64_t	 busy;		/* left alone: a delivery of theirs is under way */
	uint64_t	 looked;	/* in an earlier walk */
	int64_t		 oldest_ms;	/* received, wall clock; 0 none */
	int64_t		 since_ms;	/* AGAIN: delivered since then, wall clock */
	struct timer	*timer;		/* progress */
	struct summary	*summary;	/* owned; queue-summary only */
};

/* ---- life ---- */

static void
job_progress(void *arg)
{
	struct request *rq = arg;
	struct job *j = rq->job;
	uint64_t looked = j->looked + (rq->walk == NULL ? 0 : walk_looked(rq->walk));

	timer_arm(j->timer, JOB_PROGRESS_MS);
	control_progress(rq, json_pack("{s:b, s:I, s:I}", "progress", 1, "looked",
	    (json_int_t)looked, "count", (json_int_t)j->count));
}

static struct job *
job_new(struct request *rq)
{
	struct job *j = mem_new(sizeof(*j));

	rq->job = j;
	j->dry = request_bool(rq, "dry_run");
	j->timer = timer_new(rq->queue->role->loop, job_progress, rq);
	timer_arm(j->timer, JOB_PROGRESS_MS);
	return j;
}

/* Who, what and why, without what only concerns the reply. 0 or -1 with errno. */
static int
job_audit(struct request *rq, const char *what)
{
	static const char *const apart[] = { "cmd", "reason", "dry_run", "progress" };
	struct job *j = rq->job;
	char event[32];
	json_t *filter = json_copy(rq->in), *ids = NULL;

	(void)snprintf(event, sizeof(event), "%s%s", operate_name(j->verb), what);
	for (size_t i = 0; i < sizeof(apart) / sizeof(apart[0]); i++)
		json_object_del(filter, apart[i]);
	if (!j->many && what[0] == '\0') {
		ids = json_array();
		for (size_t i = 0; i < j->nref; i++) {
			char id[MSGID_TEXT + 1], text[MSGID_TEXT + 16];
			struct spool_entry e;

			if (spool_get(rq->queue->spool, j->ref[i], &e) < 0)
				continue;
			msgid_print(e.id, id);
			(void)snprintf(text, sizeof(text), "%s/%u", id, e.rcpt_index);
			json_array_append_new(ids, json_string(text));
		}
	}
	const char *reason = request_string(rq, "reason");
	const struct audit_record r = { .event = event, .who = rq->who,
		.reason = reason[0] == '\0' ? NULL : reason, .filter = filter, .ids = ids,
		.count = j->many && what[0] == '\0' ? NULL : &j->count };
	int rc = audit_write(rq->queue->audit, &r), saved = errno;
	json_decref(filter);
	json_decref(ids);
	errno = saved;
	return rc;
}

void
command_job_free(struct request *rq)
{
	struct job *j = rq->job;

	if (j == NULL)
		return;
	if (j->phase == JOB_APPLY && job_audit(rq, "-stopped") < 0)
		log_error("audit", "error=%s", log_escs(strerror(errno)));
	rq->job = NULL;
	timer_free(&j->timer);
	free(j->ref);
	free(j->summary);
	free(j);
}

static void
job_reply(struct request *rq)
{
	struct job *j = rq->job;
	json_t *o = command_ok();

	if (j->phase == JOB_APPLY && job_audit(rq, "-done") < 0)
		log_error("audit", "event=%s count=%llu error=%s", operate_name(j->verb),
		    (unsigned long long)j->count, log_escs(strerror(errno)));
	if (j->phase == JOB_APPLY && j->count > 0)
		log_info("operator", "verb=%s count=%llu busy=%llu uid=%u",
		    operate_name(j->verb), (unsigned long long)j->count,
		    (unsigned long long)j->busy, (unsigned)rq->who.uid);
	j->phase = JOB_DONE;
	json_object_set_new(o, "count", json_integer((json_int_t)j->count));
	json_object_set_new(o, "bytes", json_integer((json_int_t)j->bytes));
	json_object_set_new(o, "oldest", report_time(j->oldest_ms));
	json_object_set_new(o, "busy", json_integer((json_int_t)j->busy));
	json_object_set_new(o, "dry_run", json_boolean(j->dry));
	control_reply(rq, o);
}

/* ---- one recipient ---- */

static bool
job_leg(struct request *rq, const struct spool_entry *e, enum leg_kind leg,
    struct legs_change *to)
{
	struct queue *q = rq->queue;
	uint8_t st = e->leg[leg].state;
	char note[LEGS_NOTE_MAX] = "";

	/* Of a refused hold leg it is what the sender will be told. */
	if (leg == LEG_HOLD && rq->job->verb == OPERATE_BOUNCE &&
	    spool_note(q->spool, e->ref, leg, note, sizeof(note)) < 0)
		note[0] = '\0';
	/* Of a forward leg the note is its token, by which bounces are known. */
	if (leg == LEG_FORWARD && (st == LEG_WAITING || st == LEG_PARKED) &&
	    (spool_note(q->spool, e->ref, leg, note, sizeof(note)) < 0 ||
	    strcspn(note, " ") != LEGS_TOKEN_LEN))
		note[0] = '\0';
	return operate_leg(rq->job->verb, q->role->conf, failover_find(q->failover, e->group), e,
	    leg, note, schedule_now(q->schedule), to);
}

/* Whether the verb means this one. A delivery under way ends as it ends: its result must
 * not meet a leg that was changed meanwhile. */
static bool
job_means(struct request *rq, const struct spool_entry *e)
{
	struct job *j = rq->job;
	struct legs_change to;
	bool any = false;

	for (unsigned leg = 0; leg < LEG_KIND_MAX && !any; leg++)
		any = job_leg(rq, e, (enum leg_kind)leg, &to);
	if (!any || j->verb == OPERATE_RETRY || j->verb == OPERATE_RELEASE)
		return any;
	for (unsigned leg = 0; leg < LEG_KIND_MAX; leg++) {
		if (schedule_running(rq->queue->schedule, e->ref, (enum leg_kind)leg)) {
			j->busy++;
			return false;
		}
	}
	return true;
}

static void
job_count(struct job *j, const struct spool_entry *e)
{
	j->count++;
	j->bytes += e->size;
	if (j->oldest_ms == 0 || e->received_ms < j->oldest_ms)
		j->oldest_ms = e->received_ms;
}

static void
job_change(struct request *rq, const struct spool_entry *e)
{
	struct job *j = rq->job;
	struct legs_change to;

	job_count(j, e);
	for (unsigned leg = 0; leg < LEG_KIND_MAX; leg++)
		if (job_leg(rq, e, (enum leg_kind)leg, &to))
			schedule_write(rq->queue->schedule, e, (enum leg_kind)leg, &to);
}

static bool
job_fits(struct request *rq, const struct spool_entry *e)
{
	struct spool_message m;
	struct legs_change to;

	if (!operate_fits_entry(&rq->filter, rq->queue->failover, e))
		return false;
	if (rq->job->verb == OPERATE_AGAIN && !legs_again(e, rq->job->since_ms, &to))
		return false;
	if (!operate_needs_record(&rq->filter))
		return true;
	if (spool_read(rq->queue->spool, e->ref, false, &m) < 0)
		return false;
	bool fits = operate_fits_record(&rq->filter, &m, e->rcpt_index);
	spool_message_fini(&m);
	return fits;
}

/* ---- the walks ---- */

static void
job_walk(struct request *rq, walk_visit_fn *visit, walk_done_fn *done)
{
	struct spool_filter f;

	operate_spool_filter(&rq->filter, rq->queue->failover, &f);
	/* What has its end with the primary is beyond all verbs. */
	if (rq->job->verb == OPERATE_AGAIN)
		f.states[LEG_HOLD] = 1u << LEG_DELIVERED;
	else if (f.states[LEG_HOLD] == 0)
		f.states[LEG_HOLD] = 1u << LEG_PARKED | 1u << LEG_WAITING;
	rq->walk = walk_start(rq->queue->role->loop, rq->queue->spool, &f,
	    (struct spool_cursor){ 0 }, visit, done, rq);
	walk_hurry(rq->walk, 0);
}

/* The legs are written; now somebody has to look at them. What is to be replayed once more
 * is backlog, and in standby there would be no replay. */
static void
job_changed(struct request *rq)
{
	struct failover *f = rq->queue->failover;

	for (size_t i = 0; rq->job->verb == OPERATE_AGAIN && i < failover_count(f); i++) {
		struct failover_group *g = command_group(rq, i);

		if (g != NULL && rq->job->count > 0 && g->phase == PHASE_STANDBY &&
		    failover_set_phase(f, g, PHASE_REPLAY, "operator: replay again") < 0)
			log_error("failover-state", "error=%s", log_escs(strerror(errno)));
	}
	schedule_restart_all(rq->queue->schedule);
}

static bool
apply_visit(void *arg, const struct spool_entry *e)
{
	struct request *rq = arg;

	if (job_fits(rq, e) && job_means(rq, e))
		job_change(rq, e);
	return true;
}

static void
apply_done(void *arg, bool end, struct spool_cursor at)
{
	struct request *rq = arg;

	(void)end;
	(void)at;
	rq->walk = NULL;
	job_changed(rq);
	job_reply(rq);
}

static void
job_apply(struct request *rq)
{
	struct job *j = rq->job;
	struct spool_entry e;

	if (j->dry || (!j->many && j->nref == 0)) {
		job_reply(rq);
		return;
	}
	if (job_audit(rq, "") < 0) {
		control_fail(rq, "the audit log cannot be written, so nothing is changed: %s",
		    strerror(errno));
		return;
	}
	j->phase = JOB_APPLY;
	j->count = j->bytes = j->busy = 0;
	j->oldest_ms = 0;
	if (j->many) {
		job_walk(rq, apply_visit, apply_done);
		return;
	}
	for (size_t i = 0; i < j->nref; i++)
		if (spool_get(rq->queue->spool, j->ref[i], &e) == 0 && job_means(rq, &e))
			job_change(rq, &e);
	job_changed(rq);
	job_reply(rq);
}

static void
job_collect(struct request *rq, const struct spool_entry *e)
{
	struct job *j = rq->job;

	if (!job_means(rq, e))
		return;
	job_count(j, e);
	if (j->dry || j->many)
		return;
	if (j->nref == JOB_IDS_MAX) {
		j->many = true;
		return;
	}
	if (j->ref == NULL)
		j->ref = mem_array(JOB_IDS_MAX, sizeof(*j->ref));
	j->ref[j->nref++] = e->ref;
}

static bool
collect_visit(void *arg, const struct spool_entry *e)
{
	struct request *rq = arg;

	if (job_fits(rq, e))
		job_collect(rq, e);
	return !rq->job->many;
}

static void
collect_done(void *arg, bool end, struct spool_cursor at)
{
	struct request *rq = arg;

	(void)end;
	(void)at;
	rq->job->looked = walk_looked(rq->walk);
	rq->walk = NULL;
	job_apply(rq);
}

/* ---- the commands ---- */

static const char *const job_by[] = { "domain", "user", "sender", "client", "state", "match" };
enum { JOB_BY = sizeof(job_by) / sizeof(job_by[0]) };

/* Given and empty: what a script meant cannot be known, and it is not "any". */
static const char *
job_empty(const struct request *rq)
{
	for (size_t i = 0; i < JOB_BY; i++)
		if (request_has(rq, job_by[i]) && request_string(rq, job_by[i])[0] == '\0')
			return job_by[i];
	return NULL;
}

static bool
job_named(const struct request *rq)
{
	for (size_t i = 0; i < JOB_BY; i++)
		if (request_string(rq, job_by[i])[0] != '\0')
			return true;
	return request_int(rq, "older_ms", 0) > 0 || request_int(rq, "newer_ms", 0) > 0;
}

static enum operate_verb
job_verb(const struct request *rq)
{
	const char *name = rq->command->name + strlen("queue-");
	unsigned v = 0;

	while (v < OPERATE_MAX - 1 && strcmp(name, operate_name((enum operate_verb)v)) != 0)
		v++;
	return (enum operate_verb)v;
}

static void
job_message(struct request *rq)
{
	struct spool_ref *refs = NULL;
	struct spool_entry e;
	int n = command_message(rq, &refs);
	int64_t only = request_int(rq, "rcpt_index", -1);
	bool found = false;

	if (n < 0)
		return;
	for (int i = 0; i < n; i++) {
		if (spool_get(rq->queue->spool, refs[i], &e) < 0 ||
		    (only >= 0 && only != e.rcpt_index))
			continue;
		found = true;
		job_collect(rq, &e);
	}
	free(refs);
	if (!found && only >= 0) {
		control_fail(rq, "message %s has no recipient %lld here: queue show lists them",
		    request_string(rq, "id"), (long long)only);
		return;
	}
	rq->filter.to_ms = 0;
	job_apply(rq);
}

void
command_job(struct request *rq)
{
	bool id = request_string(rq, "id")[0] != '\0';

	if (id == job_named(rq)) {
		control_fail(rq, "%s: give an id or say which: by domain, user, sender, client, "
		    "state or age", rq->command->name);
		return;
	}
	if (job_empty(rq) != NULL) {
		control_fail(rq, "%s: \"%s\" is empty: leave it out, or say which",
		    rq->command->name, job_empty(rq));
		return;
	}
	if (command_filter(rq) < 0)
		return;
	/* What comes in from now on was not meant. */
	if (rq->filter.to_ms == 0)
		rq->filter.to_ms = clock_wall_ms();
	job_new(rq)->verb = job_verb(rq);
	if (id)
		job_message(rq);
	else
		job_walk(rq, collect_visit, collect_done);
}

void
command_job_retry(struct request *rq)
{
	if (command_filter(rq) < 0)
		return;
	rq->filter.to_ms = clock_wall_ms();
	if (request_has(rq, "shard"))
		rq->filter.shard = request_string(rq, "shard");
	job_new(rq)->verb = OPERATE_RETRY;
	job_walk(rq, collect_visit, collect_done);
}

void
command_job_again(struct request *rq)
{
	if (command_filter(rq) < 0)
		return;
	rq->filter.state = OPERATE_ALL;
	rq->filter.to_ms = clock_wall_ms();
	if (request_has(rq, "shard"))
		rq->filter.shard = request_string(rq, "shard");
	struct job *j = job_new(rq);
	j->verb = OPERATE_AGAIN;
	j->since_ms = request_int(rq, "since_ms", 0);
	job_walk(rq, collect_visit, collect_done);
}

/* ---- queue-summary ---- */

enum { AGES = 6, SUMMARY_GROUPS_MAX = 4096, SUMMARY_WAIT_MS = 2000 };
static const struct { const char *name; int64_t below_ms; } ages[AGES] = {
	{ "1h", 3600LL * 1000 }, { "6h", 6 * 3600LL * 1000 }, { "1d", 24 * 3600LL * 1000 },
	{ "3d", 72 * 3600LL * 1000 }, { "7d", 168 * 3600LL * 1000 }, { "older", INT64_MAX },
};

struct sums {
	uint64_t	group;
	uint64_t	held, bytes, waiting, backlog, refused, on_hold, other, forward_waiting;
	uint64_t	age[AGES];
	int64_t		oldest_ms;
};

struct summary {
	int64_t		 now_ms;	/* wall clock */
	size_t		 n, last;
	struct sums	 all;
	struct sums	 of[SUMMARY_GROUPS_MAX];	/* the last one is all that find no room */
};

static struct sums *
summary_of(struct summary *s, uint64_t group)
{
	if (s->last < s->n && s->of[s->last].group == group)
		return &s->of[s->last];
	for (s->last = 0; s->last < s->n; s->last++)
		if (s->of[s->last].group == group)
			return &s->of[s->last];
	if (s->n == SUMMARY_GROUPS_MAX)
		return &s->of[--s->last];
	s->of[s->n].group = group;
	return &s->of[s->n++];
}

static void
sums_add(struct sums *s, const struct spool_entry *e, int64_t age)
{
	const struct spool_leg *h = &e->leg[LEG_HOLD];
	int a = 0;

	s->held++;
	s->bytes += e->size;
	if (h->state == LEG_WAITING)
		s->waiting++;
	else if (legs_on_hold(h))
		s->on_hold++;
	else if (h->attempts > 0)
		s->refused++;
	else if (legs_is_backlog(e))
		s->backlog++;
	else
		s->other++;
	s->forward_waiting += !leg_settled((enum leg_state)e->leg[LEG_FORWARD].state);
	while (a < AGES - 1 && age >= ages[a].below_ms)
		a++;
	s->age[a]++;
	if (s->oldest_ms == 0 || e->received_ms < s->oldest_ms)
		s->oldest_ms = e->received_ms;
}

static bool
summary_visit(void *arg, const struct spool_entry *e)
{
	struct request *rq = arg;
	struct summary *s = rq->job->summary;
	int64_t age = s->now_ms - e->received_ms;

	if (!job_fits(rq, e))
		return true;
	rq->job->count++;
	sums_add(summary_of(s, e->group), e, age);
	sums_add(&s->all, e, age);
	return true;
}

static json_t *
sums_json(const struct sums *s, const struct failover_group *g)
{
	json_t *age = json_object();
	json_t *o = json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
	    "domain", report_text(g == NULL ? SLICE_LIT("") : slice_str(g->domain)),
	    "shard", report_text(g == NULL ? SLICE_LIT("") : slice_str(g->shard)),
	    "held", (json_int_t)s->held, "held_bytes", (json_int_t)s->bytes,
	    "waiting", (json_int_t)s->waiting, "backlog", (json_int_t)s->backlog,
	    "refused", (json_int_t)s->refused, "on_hold", (json_int_t)s->on_hold,
	    "other", (json_int_t)s->other, "forward_waiting", (json_int_t)s->forward_waiting,
	    "oldest", report_time(s->oldest_ms));

	for (int a = 0; a < AGES; a++)
		json_object_set_new(age, ages[a].name, json_integer((json_int_t)s->age[a]));
	json_object_set_new(o, "ages", age);
	return o;
}

/* Only a domain, or nothing, was asked for: then the spool's sums are the answer. */
static bool
summary_plain(const struct operate_filter *f)
{
	return f->user == 0 && f->from_ms == 0 && f->to_ms == 0 && f->state == OPERATE_HELD &&
	    !operate_needs_record(f);
}

static void
sums_exact(struct sums *s, const struct spool_sums *t)
{
	s->held += t->held;
	s->bytes += t->held_bytes;
	s->forward_waiting += t->forward_waiting;
}

/* The walk was given up: what the spool's sums know is exact, the rest (states, ages) is of
 * the recipients that were looked at. */
static void
summary_from_sums(struct request *rq, struct summary *s)
{
	struct failover *f = rq->queue->failover;

	for (size_t i = 0; i < s->n; i++)
		s->of[i].held = s->of[i].bytes = s->of[i].forward_waiting = 0;
	s->all.held = s->all.bytes = s->all.forward_waiting = 0;
	for (size_t i = 0; i < failover_count(f); i++) {
		const struct failover_group *g = failover_at(f, i);
		struct spool_sums t;

		spool_total(rq->queue->spool, g->id, &t);
		if (t.held == 0 || (rq->filter.domain != NULL &&
		    !slice_ieq(slice_str(g->domain), slice_str(rq->filter.domain))))
			continue;
		sums_exact(summary_of(s, g->id), &t);
		sums_exact(&s->all, &t);
	}
}

static void
summary_done(void *arg, bool end, struct spool_cursor at)
{
	struct request *rq = arg;
	struct summary *s = rq->job->summary;
	json_t *o = command_ok(), *list = json_array();

	(void)at;
	rq->walk = NULL;
	json_object_set_new(o, "complete", json_boolean(end));
	json_object_set_new(o, "counted", json_integer((json_int_t)rq->job->count));
	if (!end)
		summary_from_sums(rq, s);
	for (size_t i = 0; i < s->n; i++)
		json_array_append_new(list, sums_json(&s->of[i],
		    failover_find(rq->queue->failover, s->of[i].group)));
	json_object_set_new(o, "domains", list);
	json_object_set_new(o, "all", sums_json(&s->all, NULL));
	control_reply(rq, o);
}

void
command_summary(struct request *rq)
{
	if (command_filter(rq) < 0)
		return;
	if (rq->filter.state == OPERATE_UNSETTLED)
		rq->filter.state = OPERATE_HELD;
	struct job *j = job_new(rq);
	j->phase = JOB_DONE;
	j->summary = mem_new(sizeof(*j->summary));
	j->summary->now_ms = clock_wall_ms();
	job_walk(rq, summary_visit, summary_done);
	if (summary_plain(&rq->filter))
		walk_hurry(rq->walk, SUMMARY_WAIT_MS);
}

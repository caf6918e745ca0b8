// SPDX-License-Identifier: Apache-2.0
#include "queue/queue_role.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proto/queue_directory.h"
#include "queue/alarm.h"
#include "queue/baseline.h"
#include "queue/control.h"
#include "queue/legs_forward.h"
#include "queue/lookout.h"
#include "queue/optout.h"
#include "queue/phases.h"
#include "queue/retention.h"
#include "queue/stranded.h"
#include "queue/switch.h"

enum {
	QUEUE_RCPT_MAX = 10000,
	QUEUE_TICK_MS = 5000,
	QUEUE_STOP_TICK_MS = 20,
	QUEUE_STOP_MAX_MS = 5000,
	QUEUE_MEASURE_MS = 1000,
	QUEUE_BULK_CLASS = 3,	/* spec 10.2 */
	DEBRIS_KEY_MIN = 16
};

/* ---- space ---- */

static void
log_forecast(struct queue *q, const struct spool_status *st, uint64_t held)
{
	uint64_t room = st->bytes_free > q->role->conf->disk_reserve ?
	    st->bytes_free - q->role->conf->disk_reserve : 0;

	log_info("forecast", "hours_until_full=%.1f growth_bytes_hour=%llu free=%llu held_bytes=%llu",
	    forecast_hours(&q->forecast, room),
	    (unsigned long long)forecast_growth(&q->forecast),
	    (unsigned long long)st->bytes_free, (unsigned long long)held);
}

void
queue_measure(struct queue *q)
{
	struct spool_status st;
	struct spool_sums all;
	int64_t now = clock_mono_ms();

	if (q->measured_ms != 0 && now - q->measured_ms < QUEUE_MEASURE_MS)
		return;
	q->measured_ms = now;
	spool_status(q->spool, &st);
	spool_total(q->spool, 0, &all);
	enum water w = water_next(q->water, q->role->conf, st.bytes_free);
	if (w != q->water) {
		enum log_level level = w == WATER_FINE ? LOG_LVL_INFO : LOG_LVL_WARN;
		log_event(level, "disk-space", "level=%s was=%s free=%llu", water_name(w),
		    water_name(q->water), (unsigned long long)st.bytes_free);
	}
	q->water = w;
	forecast_put(&q->forecast, now, st.bytes, all.held_bytes);
	if (forecast_log_due(&q->forecast, now))
		log_forecast(q, &st, all.held_bytes);
}

/* ---- commits ---- */

struct commit {
	struct queue		*queue;
	uint64_t		 req;
	unsigned		 relay;
	uint32_t		 link;		/* generation: the link it came over */
	size_t			 nrcpt;
	struct spool_birth	*birth;		/* owned, one per recipient */
	uint8_t			*notify;	/* owned, likewise: NOTIFY_* */
	bool			 recheck;	/* ENV_RECHECK */
	bool			 ordinary;	/* baseline_ordinary */
	bool			 tagged;	/* ENV_TAGGED */
	struct commit		*next, *prev;
};

static void
commit_free(struct commit *c)
{
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		c->queue->commits = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	free(c->birth);
	free(c->notify);
	free(c);
}

static void
commit_answer(struct queue *q, unsigned relay, uint64_t req, enum queue_commit_status st)
{
	struct ipc *ch = role_link(q->role, ROLE_RELAY, relay);
	const struct queue_committed m = { req, (uint8_t)st };

	if (st == COMMIT_OK)
		q->accepted++;
	else
		q->refused++;
	if (ch != NULL)
		(void)ipc_send(ch, QUEUE_COMMITTED, &queue_committed_wire, &m, -1);
}

/* The phase may have changed between the birth of the legs and the sync. */
static void
commit_catch_up(struct queue *q, struct spool_ref ref)
{
	struct spool_entry e;
	struct legs_change to;
	int64_t now = schedule_now(q->schedule);

	if (spool_get(q->spool, ref, &e) < 0 || e.kind != RCPT_USER)
		return;
	const struct failover_group *g = failover_find(q->failover, e.group);
	if (g == NULL || !g->served)
		return;
	if (g->phase == PHASE_ACTIVE) {
		for (unsigned leg = 0; leg < LEG_KIND_MAX; leg++)
			if (legs_switch_on(q->role->conf, &e, (enum leg_kind)leg, "", now, &to))
				schedule_write(q->schedule, &e, (enum leg_kind)leg, &to);
		return;
	}
	if (legs_switch_off(&e, LEG_FORWARD, "", &to))
		schedule_write(q->schedule, &e, LEG_FORWARD, &to);
	if (g->phase == PHASE_STANDBY && legs_is_backlog(&e)) {
		to.leg = e.leg[LEG_HOLD];
		to.leg.state = LEG_WAITING;
		to.leg.next_ms = now;
		to.note[0] = '\0';
		schedule_write(q->schedule, &e, LEG_HOLD, &to);
	}
}

static void
commit_remind(struct queue *q, struct spool_ref ref)
{
	struct spool_entry e;

	if (q->notices != NULL && spool_get(q->spool, ref, &e) == 0 && e.kind == RCPT_USER)
		notices_remind(q->notices, &e);
}

/* 0.4: DNS gets some time before it is asked again. Lost in a crash: then it is sooner. */
static void
commit_put_off(struct queue *q, struct spool_ref ref)
{
	int64_t now = schedule_now(q->schedule);
	struct spool_entry e;
	struct legs_change to;

	if (spool_get(q->spool, ref, &e) < 0 || e.leg[LEG_FORWARD].state != LEG_WAITING)
		return;
	forward_put_off_to(q->role->conf, &e, "", now + q->role->conf->recheck_interval_ms, now,
	    &to);
	schedule_write(q->schedule, &e, LEG_FORWARD, &to);
}

/* 8.11: not before the commit, whose format on disk knows nothing of it. */
static void
commit_baseline(struct queue *q, struct spool_ref ref, bool tagged)
{
	struct spool_entry e;
	struct legs_change to;

	if (spool_get(q->spool, ref, &e) == 0 && baseline_start(q->role->conf,
	    failover_find(q->failover, e.group), &e, tagged, schedule_now(q->schedule), &to))
		schedule_write(q->schedule, &e, LEG_FORWARD, &to);
}

/* The only place that says COMMIT_OK, and the spool is the only one that calls it. */
static void
commit_done(void *arg, enum queue_commit_status st, const struct spool_ref *ref, size_t nref)
{
	struct commit *c = arg;
	struct queue *q = c->queue;

	if (c->link == q->link[c->relay])
		commit_answer(q, c->relay, c->req, st);
	for (size_t i = 0; st == COMMIT_OK && i < nref && q->schedule != NULL; i++) {
		commit_catch_up(q, ref[i]);
		if (c->recheck)
			commit_put_off(q, ref[i]);
		if (c->ordinary || c->tagged)
			commit_baseline(q, ref[i], c->tagged);
		if ((c->notify[i] & NOTIFY_DELAY) != 0)
			commit_remind(q, ref[i]);
		schedule_fresh(q->schedule, ref[i]);
	}
	commit_free(c);
}

/* Reads the recipients; their births go to c. 0 or -1: not a sound envelope. */
static int
commit_births(struct queue *q, struct commit *c, const struct envelope *e)
{
	struct slice list = e->rcpts;
	struct envelope_rcpt r;
	int rc;

	while ((rc = wire_item_next(&list, &envelope_rcpt_wire, &r)) == 1) {
		if (c->nrcpt >= QUEUE_RCPT_MAX || r.kind > RCPT_RETURN_PATH || r.domain.n == 0)
			return -1;
		if ((c->nrcpt & (c->nrcpt - 1)) == 0) {
			size_t cap = c->nrcpt == 0 ? 1 : c->nrcpt * 2;

			c->birth = mem_resize(c->birth, cap, sizeof(*c->birth));
			c->notify = mem_resize(c->notify, cap, sizeof(*c->notify));
		}
		c->notify[c->nrcpt] = r.notify;
		/* The group the spool knows it by is the one that decides its life. */
		const struct failover_group *g = r.kind != RCPT_USER ? NULL :
		    failover_ensure(q->failover, r.domain, r.shard);
		legs_birth(q->role->conf, g, e, &r, &c->birth[c->nrcpt++]);
	}
	return rc == 0 && c->nrcpt > 0 ? 0 : -1;
}

static bool
commit_sound(const struct queue_commit *m, int fd, struct envelope *e)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return false;
	if (envelope_get(m->envelope, e) < 0)
		return false;
	return (uint64_t)st.st_size == e->body_size;
}

static void
commit_start(struct queue *q, unsigned relay, const struct queue_commit *m, int fd)
{
	struct envelope e;
	struct commit *c;

	if (!commit_sound(m, fd, &e)) {
		log_error("commit", "relay=%u error=envelope", relay);
		commit_answer(q, relay, m->req, COMMIT_ERROR);
		return;
	}
	c = mem_new(sizeof(*c));
	c->queue = q;
	c->req = m->req;
	c->relay = relay;
	c->link = q->link[relay];
	c->recheck = (e.flags & ENV_RECHECK) != 0;
	c->ordinary = q->warm && baseline_ordinary(&e);
	c->tagged = q->warm && (e.flags & ENV_TAGGED) != 0;
	c->next = q->commits;
	if (c->next != NULL)
		c->next->prev = c;
	q->commits = c;
	queue_measure(q);
	if (e.triage >= QUEUE_BULK_CLASS && q->water >= WATER_BULK) {
		commit_answer(q, relay, m->req, COMMIT_FULL);
		commit_free(c);
		return;
	}
	if (commit_births(q, c, &e) < 0) {
		log_error("commit", "relay=%u error=recipients", relay);
		commit_answer(q, relay, m->req, COMMIT_ERROR);
		commit_free(c);
		return;
	}
	spool_commit(q->spool, m->envelope, fd, c->birth, c->nrcpt, commit_done, c);
}

static int
on_commit(struct queue *q, unsigned relay, struct slice body, int fd)
{
	struct queue_commit m;

	if (relay >= ROLE_PEERS_MAX || wire_get(body, &queue_commit_wire, &m) < 0)
		return -1;
	commit_start(q, relay, &m, fd);
	return 0;
}

/* ---- `why` asks the directory, too ---- */

static bool
control_asked_it(struct slice body)
{
	struct dir_targeted m;

	return wire_get(body, &dir_targeted_wire, &m) == 0 && (m.req & CONTROL_ASKS) != 0;
}

static int
on_targeted(struct queue *q, struct slice body)
{
	struct dir_targeted m;

	if (wire_get(body, &dir_targeted_wire, &m) < 0)
		return -1;
	control_targeted(q->control, &m);
	return 0;
}

/* ---- the schedule's callbacks ---- */

static void
queue_resolve(void *arg, struct item *it)
{
	attempt_resolve(((struct queue *)arg)->attempts, it);
}

static void
queue_start_leg(void *arg, struct item *it)
{
	attempt_start(((struct queue *)arg)->attempts, it);
}

static void
queue_forget(void *arg, struct item *it)
{
	attempt_forget(((struct queue *)arg)->attempts, it);
}

static bool
queue_read(void *arg, const struct spool_entry *e)
{
	struct queue *q = arg;

	return e->kind == RCPT_REMINDER ? notices_due(q->notices, e) :
	    returned_start(q->returned, e);
}

static bool
queue_bounce(void *arg, const struct spool_entry *e, const struct legs_change *to)
{
	return notices_bounce(((struct queue *)arg)->notices, e, to);
}

static void
queue_drained(void *arg, uint64_t group)
{
	struct queue *q = arg;
	struct failover_group *g = failover_find(q->failover, group);

	if (switch_sweeping(q, group))
		return;		/* it may still turn refused legs into backlog */
	if (g == NULL || g->mode == FAILOVER_ON)
		return;
	if (queue_phase(q, g, PHASE_STANDBY, "backlog drained", NULL) == 0)
		replay_over(replay_get(q->replay, group));
}

static void
queue_hold_result(void *arg, uint64_t group, const struct queue_delivered *r)
{
	lookout_delivered(((struct queue *)arg)->lookout, group, r);
}

static const struct schedule_ops queue_schedule_ops = {
	queue_resolve, queue_start_leg, queue_forget, queue_read,
	queue_bounce, queue_drained
};

/* ---- role ---- */

static void
queue_tick(void *arg)
{
	struct queue *q = arg;

	attempts_sweep(q->attempts);
	tally_tick(q->tally, clock_mono_ms());
	marks_sweep(q->marks, schedule_now(q->schedule));
	marks_sweep(q->told, schedule_now(q->schedule));
	history_flush(q->history);
	debris_sweep(q->debris, clock_wall_ms());
	queue_measure(q);
	if (keep_save(q->keep, clock_wall_ms()) < 0)
		log_warn("kept-unsaved", "error=%s", log_escs(strerror(errno)));
	timer_arm(q->tick, QUEUE_TICK_MS);
}

static void
queue_close(struct queue *q)
{
	control_free(&q->control);
	lookout_free(&q->lookout);
	retention_free(&q->retention);
	switch_fini(q);
	optout_fini(q);
	timer_free(&q->tick);
	returned_free(&q->returned);
	notices_free(&q->notices);
	if (q->schedule != NULL)
		schedule_free(&q->schedule);
	replay_free(&q->replay);
	tally_close(&q->tally);
	if (q->attempts != NULL)
		attempts_free(&q->attempts);
	if (q->spool != NULL)
		spool_close(&q->spool);		/* completes what is pending: answers still go out */
	keep_close(&q->keep);
	history_close(&q->history);
	debris_close(&q->debris);
	marks_close(&q->marks);
	marks_close(&q->told);
	consent_close(&q->consent);
	failover_close(&q->failover);
	audit_close(&q->audit);
	alarms_free(&q->alarms);
	if (q->dir >= 0)
		close(q->dir);
	q->dir = -1;
}

static struct debris_bounds
debris_bounds(const struct conf_forwarder *f)
{
	return (struct debris_bounds){ f->debug_max, f->debug_size, f->debug_time_ms };
}

static void
queue_open_debris(struct queue *q, int dir)
{
	const struct debris_bounds b = debris_bounds(&q->role->conf->forwarder);
	size_t n = 0;
	char *key = role_resource_text(q->role, "bounce-debug-key", 4096, &n);
	struct slice k = key == NULL ? SLICE_NONE : slice_trim(slice_make(key, n));

	if (key != NULL && k.n < DEBRIS_KEY_MIN)
		log_error("bounce-debug", "error=\"the key is too short\" effect=\"no bounce is "
		    "kept\" fix=\"write 32 random characters into bounce-debug-key-file\"");
	q->debris = debris_open(dir, k.n < DEBRIS_KEY_MIN ? SLICE_NONE : k, &b);
	if (debris_keeps(q->debris))
		log_warn("bounce-debug", "effect=%s", log_escs("bodies of bounces are kept, encrypted"));
	if (key != NULL)
		explicit_bzero(key, n);
	free(key);
}

/* What it cannot keep it does not keep. */
static int
on_debris(struct queue *q, struct slice body, int fd)
{
	struct queue_debris m;
	struct slice map;

	if (wire_get(body, &queue_debris_wire, &m) < 0 || fd < 0)
		return -1;
	if (!debris_keeps(q->debris) || body_map(fd, &map) < 0)
		return 0;
	if (debris_put(q->debris, m.id, map, clock_wall_ms()) < 0)
		log_warn("bounce-debug", "error=\"%m\"");
	body_unmap(&map);
	return 0;
}

static int
queue_open(struct queue *q, int dir)
{
	struct role *r = q->role;
	char where[32];
	size_t n = 0;

	(void)snprintf(where, sizeof(where), "fd:%d", dir);
	q->spool = spool_open(r->loop, r->conf, &store_local, where, false);
	if (q->spool == NULL)
		return -1;
	q->audit = audit_open(dir);
	if (q->audit == NULL) {
		log_error("audit", "file=audit.log error=%s fix=%s", log_escs(strerror(errno)),
		    log_escs("make the queue directory writable for this user"));
		return -1;
	}
	q->consent = consent_open(dir, r->conf->opt_outs_max, false);
	if (q->consent == NULL)
		return -1;
	q->keep = keep_open(dir);
	q->failover = failover_open(dir, r->conf, q->audit);
	if (q->failover == NULL)
		return -1;
	q->tally = tally_open(dir);
	q->replay = replay_open(dir, q->failover, q->audit);
	if (q->replay == NULL)
		return -1;
	char *key = role_resource_text(r, "log-key", 64, &n);
	q->marks = marks_open(dir, key, key == NULL ? 0 : n, r->conf->marks_max);
	q->told = marks_open_as(dir, "told", key, key == NULL ? 0 : n, r->conf->notices_max);
	free(key);
	q->history = history_open(dir, r->conf->history_max);
	queue_open_debris(q, dir);
	return 0;
}

static int
queue_start(struct role *r)
{
	struct queue *q = mem_new(sizeof(*q));
	int given = role_resource(r, "queue-dir");

	q->role = r;
	/* Ours for life: a reload closes what the role was given before. */
	q->dir = given < 0 ? -1 : fcntl(given, F_DUPFD_CLOEXEC, 3);
	if (q->dir < 0) {
		log_error("start", "error=%s", log_escs("the supervisor gave no queue directory"));
		goto fail;
	}
	if (queue_open(q, q->dir) < 0)
		goto fail;
	q->attempts = attempts_new(r, q->spool, q->failover, q->replay, q->tally, q->marks,
	    q->history, q->consent, q->told);
	q->schedule = schedule_new(r->loop, r->conf, q->spool, q->failover, q->replay,
	    &queue_schedule_ops, q);
	q->notices = notices_new(q);
	q->returned = returned_new(q);
	attempts_bind(q->attempts, q->schedule, q->notices);
	q->tick = timer_new(r->loop, queue_tick, q);
	timer_arm(q->tick, QUEUE_TICK_MS);
	q->warm = baseline_any(r->conf);
	q->alarms = alarms_new();
	stranded_tell(q);
	q->lookout = lookout_new(q);
	attempts_watch(q->attempts, queue_hold_result, q);
	switch_init(q);
	q->retention = retention_new(q);
	if (role_resource(r, "control") >= 0)
		q->control = control_new(q, role_resource(r, "control"));
	r->priv = q;
	return 0;
fail:
	queue_close(q);
	free(q);
	return -1;
}

struct keep_news {
	struct queue	*queue;
	unsigned	 relay;
};

static void
keep_tell(void *arg, const struct queue_keep *v)
{
	const struct keep_news *n = arg;
	struct ipc *ch = role_link(n->queue->role, ROLE_RELAY, n->relay);

	if (ch != NULL)
		(void)ipc_send(ch, QUEUE_KEEP, &queue_keep_wire, v, -1);
}

/* What one relay found out the others need not ask again. */
static int
on_keep(struct queue *q, unsigned from, struct slice body)
{
	struct keep_news n = { .queue = q };
	struct queue_keep v;

	if (wire_get(body, &queue_keep_wire, &v) < 0)
		return -1;
	if (keep_set(q->keep, &v, clock_wall_ms()))
		for (n.relay = 0; n.relay < q->role->conf->relays; n.relay++)
			if (n.relay != from)
				keep_tell(&n, &v);
	return 0;
}

static void
queue_message(struct role *r, enum role_kind peer, unsigned index, struct ipc *ch, uint32_t type,
    struct slice body, int fd)
{
	struct queue *q = r->priv;
	int rc;

	(void)ch;
	if (q == NULL)
		rc = 0;		/* stopped: a relay without an answer says 451 */
	else if (peer == ROLE_RELAY && type == QUEUE_COMMIT)
		rc = on_commit(q, index, body, fd);
	else if (peer == ROLE_RELAY && type == QUEUE_PROBED)
		rc = lookout_answer(q->lookout, index, body);
	else if (peer == ROLE_RELAY && type == QUEUE_DEBRIS)
		rc = on_debris(q, body, fd);
	else if (peer == ROLE_RELAY && type == QUEUE_KEEP)
		rc = on_keep(q, index, body);
	else if (peer == ROLE_DIRECTORY && type == DIR_RELOADED)
		rc = control_directory(q->control, body);
	else if (peer == ROLE_DIRECTORY && type == DIR_TARGETED && control_asked_it(body))
		rc = on_targeted(q, body);
	else if (peer == ROLE_SEAL && type == SEAL_NOTIFIED)
		rc = notices_message(q->notices, index, body, fd);
	else if (peer == ROLE_SEAL && type == SEAL_NAMED)
		rc = returned_message(q->returned, index, body);
	else if (peer == ROLE_SEAL && type == SEAL_ANNOUNCED)
		rc = attempts_announced(q->attempts, index, body, fd);
	else
		rc = attempts_message(q->attempts, peer, index, type, body);
	if (fd >= 0)
		close(fd);
	if (rc < 0)
		log_error("bad-message", "peer=%s index=%u type=%#x", role_name(peer), index, type);
}

static void
queue_link_up(struct role *r, enum role_kind peer, unsigned index)
{
	struct keep_news n = { r->priv, index };

	log_debug("link-up", "peer=%s index=%u", role_name(peer), index);
	if (peer == ROLE_RELAY && n.queue != NULL) {
		phases_tell_relay(n.queue, index);
		keep_each(n.queue->keep, clock_wall_ms(), keep_tell, &n);
	}
}

static void
queue_link_down(struct role *r, enum role_kind peer, unsigned index)
{
	struct queue *q = r->priv;

	if (q == NULL)
		return;
	if (peer == ROLE_RELAY && index < ROLE_PEERS_MAX)
		q->link[index]++;
	if (peer == ROLE_DIRECTORY)
		control_directory_down(q->control);
	if (peer == ROLE_RELAY)
		lookout_link_down(q->lookout, index);
	if (peer == ROLE_SEAL) {
		notices_link_down(q->notices, index);
		returned_link_down(q->returned, index);
	}
	attempts_link_down(q->attempts, peer, index);
}

static void
queue_reload(struct role *r)
{
	struct queue *q = r->priv;

	spool_reload(q->spool, r->conf);
	marks_limit(q->marks, r->conf->marks_max);
	marks_limit(q->told, r->conf->notices_max);
	consent_limit(q->consent, r->conf->opt_outs_max);
	history_limit(q->history, r->conf->history_max);
	const struct debris_bounds b = debris_bounds(&r->conf->forwarder);
	debris_limit(q->debris, &b);
	if (failover_reload(q->failover, r->conf) < 0)
		log_error("failover-state", "error=%s", log_escs(strerror(errno)));
	schedule_reload(q->schedule, r->conf);
	q->warm = baseline_any(r->conf);
	lookout_reload(q->lookout);
	phases_tell_all(q);
	stranded_tell(q);
}

static void
queue_stop_tick(void *arg)
{
	struct queue *q = arg;
	struct role *r = q->role;

	if ((schedule_in_flight(q->schedule) > 0 || q->commits != NULL || notices_busy(q->notices) ||
	    returned_busy(q->returned)) && clock_mono_ms() < q->stop_ms) {
		timer_arm(q->tick, QUEUE_STOP_TICK_MS);
		return;
	}
	queue_close(q);
	r->priv = NULL;
	free(q);
	role_done(r);
}

/* Relays still finish sessions: commits are taken until the end, deliveries are not begun. */
static void
queue_stop(struct role *r)
{
	struct queue *q = r->priv;

	if (q->stopping)
		return;
	q->stopping = true;
	q->stop_ms = clock_mono_ms() + QUEUE_STOP_MAX_MS;
	schedule_stop(q->schedule);
	timer_free(&q->tick);
	q->tick = timer_new(r->loop, queue_stop_tick, q);
	timer_arm(q->tick, 0);
}

static void
queue_status(struct role *r, struct buf *out)
{
	struct queue *q = r->priv;
	struct schedule_stats st;
	struct spool_sums all;

	if (q == NULL)
		return;
	schedule_stats(q->schedule, &st);
	spool_total(q->spool, 0, &all);
	(void)!buf_printf(out, "\"accepted\":%llu,\"refused\":%llu,\"held\":%llu,\"window\":%u,"
	    "\"in_flight\":%u,\"started\":%llu,\"destinations\":%u,\"destinations_down\":%u",
	    (unsigned long long)q->accepted, (unsigned long long)q->refused,
	    (unsigned long long)all.held, st.window, st.in_flight,
	    (unsigned long long)st.started, st.destinations, st.closed);
	returned_status(q->returned, out);
	attempts_status(q->attempts, out);
	notices_status(q->notices, out);
	(void)!buf_printf(out, ",\"opted_out\":%u", consent_count(q->consent));
}

const struct role_ops queue_ops = {
	.kind = ROLE_QUEUE,
	.needs = SANDBOX_ACCEPT | SANDBOX_READ | SANDBOX_WRITE | SANDBOX_THREADS,
	.folder = "queue-dir",
	.start = queue_start,
	.message = queue_message,
	.link_up = queue_link_up,
	.link_down = queue_link_down,
	.reload = queue_reload,
	.stop = queue_stop,
	.status = queue_status,
};

// SPDX-License-Identifier: Apache-2.0
#include "relay/smtp_guard.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
	EVICT_LOOKS	= 64,		/* sessions looked at to make room for one */
	EVICT_NEW_MS	= 100,		/* idle, or busy with no message: may be asked to leave */
	EVICT_BUSY_MS	= 2000,		/* ... so long after its last message, in between chunks */
	EVICT_SLOW_MS	= 1000,		/* below data-rate-min in a message for so long */
	LATE_MAX	= CONN_SMALL	/* bytes of a reply that comes late */
};

/* ---- at the door ---- */

/* Tests, monitoring and local tools: bounds per address would only be in their way. */
static bool
addr_is_loopback(const uint8_t addr[16])
{
	static const uint8_t one[16] = { [15] = 1 };

	return network_addr_is_v4(addr) ? addr[12] == 127 : memcmp(addr, one, sizeof(one)) == 0;
}

static void
guard_refuse(struct session *s, enum smtp_end why, uint64_t *counter)
{
	s->sv->stats.crowded++;
	(*counter)++;
	session_step(s, smtp_machine_bye(&s->m, why, &s->sv->reply));
}

/* True when it was let in; otherwise it was told why not. */
static bool
guard_count(struct session *s)
{
	struct smtp_server *sv = s->sv;
	const struct conf *c = sv->conf;

	if (!rate_take(sv->rate, s->addr, c->connection_rate, clock_mono_ms())) {
		guard_refuse(s, SMTP_END_RATE, &sv->stats.crowded_rate);
		return false;
	}
	switch (crowd_enter(sv->crowd, s->addr, c->address_max, c->network_max)) {
	case CROWD_OK:
		s->counted = true;
		return true;
	case CROWD_ADDRESS:
		guard_refuse(s, SMTP_END_ADDRESS, &sv->stats.crowded_address);
		return false;
	case CROWD_NETWORK:
		break;
	}
	guard_refuse(s, SMTP_END_NETWORK, &sv->stats.crowded_network);
	return false;
}

static void
guard_greet(struct session *s)
{
	blocklist_cancel(&s->listing);
	session_step(s, smtp_machine_greet(&s->m, &s->sv->reply));
}

static void
guard_listed(void *arg, size_t zone)
{
	struct session *s = arg;
	const struct conf *c = s->sv->conf;
	int64_t left = s->pause_ms - clock_mono_ms();

	s->listing = NULL;
	if (zone < c->nblocklist) {
		s->sv->stats.listed++;
		log_info("listed", "client=%s zone=%s", s->ip, c->blocklist[zone]);
		s->m.listed = mem_str(c->blocklist[zone]);
	}
	if (left > 0)
		conn_deadline(s->conn, left);
	else
		guard_greet(s);
}

void
guard_paused(struct session *s)
{
	if (s->listing != NULL && clock_mono_ms() < s->pause_ms + BLOCKLIST_WAIT_MS)
		conn_deadline(s->conn, BLOCKLIST_WAIT_MS);
	else
		guard_greet(s);
}

static void
guard_pause(struct session *s)
{
	struct smtp_server *sv = s->sv;

	s->pause_ms = clock_mono_ms() + sv->conf->greet_pause_ms;
	s->listing = blocklist_ask(ingest_dns(sv->ingest), sv->conf, s->addr, guard_listed, s);
	if (s->listing == NULL && sv->conf->greet_pause_ms == 0)
		guard_greet(s);
	else
		session_enter(s, SMTP_PAUSE);
}

void
guard_admit(struct session *s)
{
	struct smtp_server *sv = s->sv;

	s->m.front = server_trusts(sv, s->ip);
	s->m.relayed = s->m.relayed || s->m.front;
	s->m.bare_other = server_bare_except(sv, s->ip);
	s->exempt = s->m.front || server_exempts(sv, s->ip);
	if (s->exempt || network_addr(slice_str(s->ip), s->addr) != 0) {
		guard_greet(s);
		return;
	}
	if (addr_is_loopback(s->addr) || guard_count(s))
		guard_pause(s);
}

/* Not a front server that names nobody: behind it stand all the clients there are. */
static bool
guard_guesser(const struct session *s, uint8_t addr[16])
{
	return !session_unknown_client(s) && (s->m.front || !s->exempt) &&
	    network_addr(slice_str(session_client(s)), addr) == 0;
}

bool
guard_guesses(struct session *s)
{
	uint8_t addr[16];

	if (!guard_guesser(s, addr) || !guess_barred(s->sv->guess, addr, clock_mono_ms()))
		return false;
	s->sv->stats.guesses++;
	return true;
}

static void
guard_guessed(struct session *s)
{
	const struct conf *c = s->sv->conf;
	const struct guess_bounds b = { c->guesses_max, c->guess_window_ms, c->guess_pause_ms };
	uint8_t addr[16];

	if (guard_guesser(s, addr) && guess_failed(s->sv->guess, &b, addr, clock_mono_ms()))
		log_warn("guesses", "client=%s effect=%s", session_client(s),
		    log_escs("421 at the return-path domain for guess-pause"));
}

enum smtp_rcpt_verdict
guard_rcpt(struct session *s, const struct smtp_rcpt_answer *a)
{
	const struct conf *c = s->sv->conf;
	const struct greylist_bounds b = { c->greylist_delay_ms, c->greylist_window_ms,
		c->greylist_keep_ms };

	if (a->return_path && a->verdict == SMTP_RCPT_UNKNOWN)
		guard_guessed(s);
	/* Reports do not come twice from some hosts, and there is a token on their address. */
	if (!c->greylist || s->sv->greylist == NULL || s->exempt || a->return_path ||
	    a->verdict != SMTP_RCPT_KNOWN || s->m.mail_from[0] == '\0' ||
	    greylist_pass(s->sv->greylist, &b, s->addr, slice_str(s->m.mail_from), a->user,
	    clock_wall_ms()))
		return a->verdict;
	s->sv->stats.greylisted++;
	return SMTP_RCPT_GREYLISTED;
}

void
guard_early(struct session *s)
{
	s->sv->stats.early++;
	log_info("early-talker", "client=%s", s->ip);
	session_step(s, smtp_machine_bye(&s->m, SMTP_END_EARLY, &s->sv->reply));
}

/* ---- all slots taken ---- */

/*
 * Naming senders and recipients, taking them back and naming them again brings no mail: what
 * counts of a client with a sender is when it named its first, or brought its last message.
 */
static bool
guard_evictable(const struct session *s, int64_t now)
{
	int64_t since = s->engaged ? s->mail_ms : s->progress_ms;

	if (s->exempt)
		return false;
	switch ((enum smtp_state)s->state) {
	case SMTP_PROXY:
	case SMTP_PAUSE:
	case SMTP_GREETED:
	case SMTP_READY:
	case SMTP_MAIL:
	case SMTP_RCPT:
	case SMTP_TLS:
	case SMTP_LATE:
		return now - since >= (s->brought ? EVICT_BUSY_MS : EVICT_NEW_MS);
	case SMTP_BDAT:
		return now - s->progress_ms >= EVICT_BUSY_MS || session_below_rate(s, EVICT_SLOW_MS);
	case SMTP_DATA:
	case SMTP_CHUNK:
		return session_below_rate(s, EVICT_SLOW_MS);
	case SMTP_NEW:
	case SMTP_WAIT_RCPT:
	case SMTP_WAIT_MEMORY:
	case SMTP_WAIT_VERDICT:
	case SMTP_WAIT_COMMIT:
	case SMTP_CLOSING:
	case SMTP_STATE_MAX:
		break;
	}
	return false;
}

static struct session *
guard_victim(struct session_list *list, int64_t now)
{
	struct session *s = TAILQ_FIRST(list);

	for (unsigned i = 0; s != NULL && i < EVICT_LOOKS; i++, s = TAILQ_NEXT(s, age)) {
		if (guard_evictable(s, now))
			return s;
	}
	return NULL;
}

bool
guard_room(struct smtp_server *sv)
{
	int64_t now = clock_mono_ms();
	struct session *s, *t;

	if (sv->stats.sessions < sv->conf->sessions_max)
		return true;
	s = guard_victim(&sv->strangers, now);
	t = guard_victim(&sv->engaged, now);
	if (s == NULL || (t != NULL && t->progress_ms < s->progress_ms))
		s = t;
	if (s == NULL)
		return false;
	sv->stats.evicted++;
	log_debug("evicted", "client=%s state=%s idle_ms=%lld", s->ip, smtp_state_name(s->state),
	    (long long)(now - s->progress_ms));
	if (s->state == SMTP_TLS || s->state == SMTP_PROXY)
		session_closed(s);
	else
		session_step(s, smtp_machine_bye(&s->m, SMTP_END_CROWD, &sv->reply));
	return true;
}

void
guard_memory(struct smtp_server *sv)
{
	struct session *s = TAILQ_FIRST(&sv->engaged), *next;

	for (unsigned i = 0; s != NULL && i < EVICT_LOOKS; i++, s = next) {
		next = TAILQ_NEXT(s, age);
		if ((s->state != SMTP_DATA && s->state != SMTP_CHUNK) || s->exempt || !session_below_rate(s, EVICT_SLOW_MS))
			continue;
		sv->stats.slow++;
		session_step(s, smtp_machine_bye(&s->m, SMTP_END_SLOW, &sv->reply));
	}
}

void
guard_progress(struct session *s, bool engaged)
{
	struct smtp_server *sv = s->sv;

	guard_forget(s);
	s->progress_ms = clock_mono_ms();
	if (engaged && !s->engaged)
		s->mail_ms = s->progress_ms;
	s->engaged = s->engaged || engaged;
	s->listed = true;
	TAILQ_INSERT_TAIL(s->engaged ? &sv->engaged : &sv->strangers, s, age);
}

void
guard_forget(struct session *s)
{
	if (!s->listed)
		return;
	s->listed = false;
	TAILQ_REMOVE(s->engaged ? &s->sv->engaged : &s->sv->strangers, s, age);
}

/* ---- errors ---- */

unsigned
guard_bad(const struct session *s)
{
	return s->m.errors + s->m.refusals;
}

void
guard_answer(struct session *s, unsigned bad_before, struct smtp_step step)
{
	const struct conf *c = s->sv->conf;
	struct slice reply = buf_slice(&s->sv->reply);
	unsigned bad = guard_bad(s);

	if (bad == bad_before || bad <= c->tarpit_after || c->tarpit_delay_ms == 0 || s->exempt ||
	    step.action != SMTP_DO_NOTHING || reply.n > LATE_MAX) {
		session_step(s, step);
		return;
	}
	s->sv->stats.tarpitted++;
	buf_clear(&s->late);
	CHECK(buf_put_slice(&s->late, reply) == 0);
	buf_clear(&s->sv->reply);
	s->late_next = (uint8_t)step.next;
	session_enter(s, SMTP_LATE);
}

void
guard_late(struct session *s)
{
	const struct smtp_step step = { (enum smtp_state)s->late_next, SMTP_DO_NOTHING };

	CHECK(buf_put_slice(&s->sv->reply, buf_slice(&s->late)) == 0);
	buf_fini(&s->late);
	buf_init(&s->late, LATE_MAX);
	session_step(s, step);
}

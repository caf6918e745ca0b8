// SPDX-License-Identifier: Apache-2.0
/*
 * A fire drill: the whole chain for test users, while real users notice nothing. The test
 * users are a shard of their own in the directory, so failover can be switched on for them
 * alone; their mail is held, forwarded and replayed by the very code of an outage.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/control_client.h"
#include "admin/drill_mail.h"
#include "admin/table.h"
#include "base/clock.h"
#include "base/crypto.h"

enum { DRILL_TIMEOUT_S = 60, DRILL_POLL_MS = 200, DRILL_RCPTS_MAX = 20 };

static const char help[] =
    "usage: salvaposta drill DOMAIN --to ADDRESS[,ADDRESS...] [--shard NAME]\n"
    "                        [--from ADDRESS] [--smtp HOST:PORT] [--timeout SECONDS]\n"
    "\n"
    "Rehearses an outage for test users: switches failover on for their shard, sends each\n"
    "of them a message over SMTP, sees that it is kept, held and forwarded to the recovery\n"
    "address, switches failover off, and sees that it is replayed into the store. Exit\n"
    "status 1 when any step fails; failover of the shard is switched off in any case.\n"
    "\n"
    "The test users need the shard (`drill' unless --shard names another) in the directory,\n"
    "and the domain a section for it in relay.conf: shard \"drill\" { primary = ... }, which\n"
    "says where their mail is replayed to. Users of other shards are not touched. It is\n"
    "refused while failover is on for the domain.\n"
    "\n"
    "      --to LIST          the test users\n"
    "      --from ADDRESS     the sender (default drill@ the return-path domain); it must\n"
    "                         pass SPF or DKIM from here, or the copy is not forwarded\n"
    "      --smtp HOST:PORT   the listener (default the first one of relay.conf)\n"
    "      --timeout SECONDS  for each step (default 60)\n";

struct step {
	const char	*what;
	bool		 done, ok;
	int64_t		 ms;		/* it took */
	char		 detail[600];
};

enum { STEP_READY, STEP_ON, STEP_SENT, STEP_HELD, STEP_FORWARDED, STEP_OFF, STEP_REPLAYED,
	STEP_MAX };

struct drill {
	const struct cli *cli;
	struct conf	*conf;		/* owned */
	const char	*domain, *shard, *from, *server;
	const char	*socket;
	int64_t		 timeout_ms;
	char		*to[DRILL_RCPTS_MAX];
	char		 id[DRILL_RCPTS_MAX][64];	/* of its message, "" not sent */
	size_t		 nto;
	bool		 switched;
	char		 sender[320], token[33];
	struct step	 step[STEP_MAX];
};

/* ---- asking ---- */

static json_t *
ask(struct drill *d, json_t *q, char *why, size_t cap)
{
	return control_ask(d->socket, q, why, cap);
}

static json_t *
mode_request(const struct drill *d, const char *mode, const char *reason)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "cmd", "failover-set", "domain", d->domain,
	    "shard", d->shard, "mode", mode, "reason", reason);
}

/* The leg of the one recipient of a message; NULL with why. Owned. */
static json_t *
leg_of(struct drill *d, const char *id, const char *leg, char *why, size_t cap)
{
	json_t *r = ask(d, json_pack("{s:s, s:s}", "cmd", "queue-show", "id", id), why, cap);
	json_t *rcpt = json_array_get(json_object_get(json_object_get(r, "message"), "recipients"), 0);
	json_t *l = json_incref(json_object_get(rcpt, leg));

	if (r != NULL && strcmp(member_text(rcpt, "shard"), d->shard) != 0) {
		(void)snprintf(why, cap, "%s is not in shard \"%s\" of the directory but in \"%s\"",
		    member_text(rcpt, "rcpt"), d->shard, member_text(rcpt, "shard"));
		json_decref(l);
		l = NULL;
	}
	json_decref(r);
	return l;
}

/* Until the leg of every message is in that state. `final`: another one that ends it. */
static bool
wait_legs(struct drill *d, struct step *s, const char *leg, const char *want, bool forward)
{
	int64_t end = clock_mono_ms() + d->timeout_ms;

	for (size_t i = 0; i < d->nto; i++) {
		for (;;) {
			json_t *l = leg_of(d, d->id[i], leg, s->detail, sizeof(s->detail));
			const char *state = member_text(l, "state");
			bool there = strcmp(state, want) == 0, over = l == NULL || (forward &&
			    (strcmp(state, "failed") == 0 || strcmp(state, "skipped") == 0 ||
			    strcmp(state, "absent") == 0));

			if (l != NULL && !there)
				(void)snprintf(s->detail, sizeof(s->detail), "%s: %s %s (%lld) %s",
				    d->to[i], leg, state, (long long)member_int(l, "code"),
				    member_text(l, "note"));
			json_decref(l);
			if (there)
				break;
			if (over || clock_mono_ms() > end)
				return false;
			(void)usleep(DRILL_POLL_MS * 1000);
		}
	}
	s->detail[0] = '\0';
	return true;
}

/* ---- the steps ---- */

/* Nothing is wrong with the domain now, and the shard is there. */
static bool
step_ready(struct drill *d, struct step *s)
{
	json_t *r = ask(d, json_pack("{s:s, s:s}", "cmd", "failover-show", "domain", d->domain),
	    s->detail, sizeof(s->detail));
	const json_t *g;
	bool shard = false, calm = r != NULL;
	size_t i;

	json_array_foreach(json_object_get(r, "domains"), i, g) {
		const char *phase = member_text(g, "phase");

		shard |= strcmp(member_text(g, "shard"), d->shard) == 0;
		if (strcmp(phase, "standby") == 0)
			continue;
		(void)snprintf(s->detail, sizeof(s->detail), "shard \"%s\" is in phase %s: no drill "
		    "during an incident", member_text(g, "shard"), phase);
		calm = false;
	}
	if (calm && !shard)
		(void)snprintf(s->detail, sizeof(s->detail), "the domain has no shard \"%s\": write "
		    "shard \"%s\" { primary = ... } into its section", d->shard, d->shard);
	json_decref(r);
	return calm && shard;
}

static bool
step_switch(struct drill *d, struct step *s, const char *mode)
{
	json_t *r = ask(d, mode_request(d, mode, "drill"), s->detail, sizeof(s->detail));

	d->switched = r != NULL ? strcmp(mode, "on") == 0 : d->switched;
	json_decref(r);
	return r != NULL;
}

static bool
step_sent(struct drill *d, struct step *s)
{
	for (size_t i = 0; i < d->nto; i++) {
		const struct drill_mail m = { .server = d->server, .helo = d->conf->hostname,
			.from = d->from, .to = d->to[i], .token = d->token };

		if (drill_mail_send(&m, d->id[i], sizeof(d->id[i]), s->detail,
		    sizeof(s->detail)) < 0)
			return false;
	}
	return true;
}

static bool
in_standby(struct drill *d, struct step *s)
{
	json_t *r = ask(d, json_pack("{s:s, s:s}", "cmd", "failover-show", "domain", d->domain),
	    s->detail, sizeof(s->detail));
	bool yes = false;
	const json_t *g;
	size_t i;

	json_array_foreach(json_object_get(r, "domains"), i, g)
		if (strcmp(member_text(g, "shard"), d->shard) == 0) {
			yes = strcmp(member_text(g, "phase"), "standby") == 0;
			(void)snprintf(s->detail, sizeof(s->detail), "shard \"%s\" stays in phase %s",
			    d->shard, member_text(g, "phase"));
		}
	json_decref(r);
	return yes;
}

/* A replay ends a moment after its last message; a drill that begins in between would take
 * it for an incident. */
static bool
wait_standby(struct drill *d, struct step *s)
{
	int64_t end = clock_mono_ms() + d->timeout_ms;

	while (!in_standby(d, s)) {
		if (clock_mono_ms() > end)
			return false;
		(void)usleep(DRILL_POLL_MS * 1000);
	}
	s->detail[0] = '\0';
	return true;
}

static bool
step_run(struct drill *d, unsigned i)
{
	struct step *s = &d->step[i];

	switch (i) {
	case STEP_READY:
		return step_ready(d, s);
	case STEP_ON:
		return step_switch(d, s, "on");
	case STEP_SENT:
		return step_sent(d, s);
	case STEP_HELD:
		return wait_legs(d, s, "hold", "parked", false);
	case STEP_FORWARDED:
		return wait_legs(d, s, "forward", "delivered", true);
	case STEP_OFF:
		return step_switch(d, s, "off");
	case STEP_REPLAYED:
		return wait_legs(d, s, "hold", "delivered", false) && wait_standby(d, s);
	}
	return false;
}

static bool
run(struct drill *d)
{
	static const char *const what[STEP_MAX] = { "no incident, shard is there",
	    "failover on for the shard", "message taken by the relay", "held for the store",
	    "copy taken by the recovery host", "failover off", "replayed into the store" };
	bool all = true, sent = false;

	for (unsigned i = 0; i < STEP_MAX; i++)
		d->step[i].what = what[i];
	for (unsigned i = 0; i < STEP_MAX; i++) {
		/* A copy that fails does not keep the message from its store (0.1). */
		if (!all && !(sent && i >= STEP_OFF))
			continue;
		int64_t began = clock_mono_ms();
		d->step[i].ok = step_run(d, i);
		d->step[i].done = true;
		d->step[i].ms = clock_mono_ms() - began;
		sent |= i == STEP_SENT && d->step[i].ok;
		all &= d->step[i].ok;
	}
	if (d->switched && !step_switch(d, &d->step[STEP_OFF], "off"))
		fprintf(stderr, "salvaposta: failover is still on for shard %s of %s: switch it off\n",
		    d->shard, d->domain);
	return all;
}

/* ---- the report ---- */

static void
print_json(const struct drill *d, bool ok)
{
	json_t *steps = json_array(), *ids = json_array();

	for (unsigned i = 0; i < STEP_MAX; i++)
		json_array_append_new(steps, json_pack("{s:s, s:s, s:I, s:s}", "step",
		    d->step[i].what, "result", !d->step[i].done ? "not-done" : d->step[i].ok ? "ok" :
		    "failed", "ms", (json_int_t)d->step[i].ms, "detail", d->step[i].detail));
	for (size_t i = 0; i < d->nto; i++)
		if (d->id[i][0] != '\0')
			json_array_append_new(ids, json_string(d->id[i]));
	json_t *o = json_pack("{s:b, s:s, s:s, s:s, s:o, s:o}", "ok", (int)ok, "domain", d->domain,
	    "shard", d->shard, "token", d->token, "messages", ids, "steps", steps);
	control_print(o);
	json_decref(o);
}

static void
print_text(const struct drill *d, bool ok)
{
	static const char *const head[] = { "STEP", "RESULT", "#TOOK", "DETAIL", NULL };
	struct table t;

	table_init(&t, head);
	for (unsigned i = 0; i < STEP_MAX; i++) {
		table_cell(&t, d->step[i].what);
		table_cell(&t, !d->step[i].done ? "not done" : d->step[i].ok ? "ok" : "FAILED");
		table_cellf(&t, "%lld ms", (long long)d->step[i].ms);
		table_cell(&t, d->step[i].detail);
	}
	table_print(&t, stdout);
	printf("\n%s: drill %s for %zu test user%s of shard %s, message %s\n", d->domain,
	    ok ? "PASSED" : "FAILED", d->nto, d->nto == 1 ? "" : "s", d->shard, d->token);
}

/* ---- the command ---- */

static int
take_recipients(struct drill *d, char *list)
{
	char *save = NULL;

	for (char *a = strtok_r(list, ", ", &save); a != NULL; a = strtok_r(NULL, ", ", &save)) {
		const char *at = strrchr(a, '@');

		if (d->nto == DRILL_RCPTS_MAX)
			return cli_usage("drill", "takes at most %d recipients", DRILL_RCPTS_MAX);
		if (at == NULL || strcasecmp(at + 1, d->domain) != 0)
			return cli_usage("drill", "%.200s is not an address of %.200s", a, d->domain);
		d->to[d->nto++] = a;
	}
	return d->nto > 0 ? 0 : cli_usage("drill", "--to names no recipient");
}

/* Where strangers knock; on a wildcard address, here. */
static const char *
listener(const struct conf *c, char *out, size_t cap)
{
	for (size_t i = 0; i < c->nlisten; i++) {
		const char *a = c->listen[i].address;

		if (c->listen[i].proxy || c->listen[i].lmtp)
			continue;
		if (strncmp(a, "0.0.0.0:", 8) == 0)
			(void)snprintf(out, cap, "127.0.0.1:%s", a + 8);
		else if (strncmp(a, "[::]:", 5) == 0)
			(void)snprintf(out, cap, "[::1]:%s", a + 5);
		else
			(void)snprintf(out, cap, "%s", a);
		return out;
	}
	return NULL;
}

static int
prepare(struct drill *d, char *server, size_t cap)
{
	uint8_t r[8];

	d->conf = cli_conf(d->cli);
	if (d->conf == NULL)
		return CLI_FAILED;
	d->socket = d->cli->socket != NULL ? d->cli->socket : d->conf->control_socket;
	if (d->server == NULL)
		d->server = listener(d->conf, server, cap);
	if (d->server == NULL)
		return cli_usage("drill", "no listener speaks plain SMTP: give one with --smtp");
	if (d->from == NULL) {
		(void)snprintf(d->sender, sizeof(d->sender), "drill@%s",
		    d->conf->forwarder.domain != NULL ? d->conf->forwarder.domain : d->conf->hostname);
		d->from = d->sender;
	}
	crypto_random(r, sizeof(r));
	for (size_t i = 0; i < sizeof(r); i++)
		(void)snprintf(d->token + 2 * i, 3, "%02x", r[i]);
	return CLI_OK;
}

int
cmd_drill(int argc, char **argv)
{
	struct drill *d = calloc(1, sizeof(*d));
	const char *to = NULL, *timeout = NULL;
	char server[300], *list = NULL;
	struct cli cli;
	int status = CLI_FAILED;

	if (d == NULL)
		abort();
	const struct cli_option opt[] = { { "to", &to, NULL }, { "shard", &d->shard, NULL },
	    { "from", &d->from, NULL }, { "smtp", &d->server, NULL }, { "timeout", &timeout, NULL } };
	if (cli_options(&argc, argv, opt, sizeof(opt) / sizeof(opt[0]), help, &cli, &status) != 0)
		goto out;
	long seconds = timeout == NULL ? DRILL_TIMEOUT_S : strtol(timeout, NULL, 10);
	if (argc != 2 || to == NULL || seconds < 1 || seconds > 86400) {
		status = cli_usage("drill", argc != 2 ? "takes one domain" : to == NULL ?
		    "needs --to: the test users" : "a timeout is 1 to 86400 seconds");
		goto out;
	}
	d->cli = &cli;
	d->domain = argv[1];
	d->timeout_ms = seconds * 1000;
	if (d->shard == NULL)
		d->shard = "drill";
	list = strdup(to);
	status = list == NULL ? CLI_FAILED : take_recipients(d, list);
	if (status == CLI_OK)
		status = prepare(d, server, sizeof(server));
	if (status != CLI_OK)
		goto out;
	bool ok = run(d);
	if (cli.json)
		print_json(d, ok);
	else
		print_text(d, ok);
	status = ok ? CLI_OK : CLI_FAILED;
out:
	conf_free(&d->conf);
	free(list);
	free(d);
	return status;
}

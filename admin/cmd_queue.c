// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/control_client.h"
#include "admin/table.h"
#include "admin/when.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"

enum { LIST_LIMIT = 100, PAGE = 500, CONTENT_MAX = 512 * 1024 * 1024 };

static const char help[] =
    "usage: salvaposta queue summary [WHICH]\n"
    "       salvaposta queue list    [WHICH] [--limit N] [--after CURSOR]\n"
    "       salvaposta queue search  TEXT [WHICH] [--limit N] [--after CURSOR]\n"
    "       salvaposta queue show    ID [--content]\n"
    "       salvaposta queue hold    ID | WHICH [--reason TEXT] [--dry-run]\n"
    "       salvaposta queue release ID | WHICH [--reason TEXT] [--dry-run]\n"
    "       salvaposta queue retry   ID | WHICH [--reason TEXT] [--dry-run]\n"
    "       salvaposta queue drop    ID | WHICH --reason TEXT [--dry-run]\n"
    "       salvaposta queue bounce  ID | WHICH --reason TEXT [--dry-run]\n"
    "\n"
    "Each recipient of a message has two legs: hold, the delivery to the primary, and\n"
    "forward, the copy to the recovery address. ID is a message, ID/N one recipient of it.\n"
    "\n"
    "summary: what is held, per domain and shard, by state and by age.\n"
    "list:    oldest first, one line a recipient; what is settled only when asked for.\n"
    "search:  the same for TEXT in sender, recipient or client address, or as the start\n"
    "         of an id; settled or not.\n"
    "show:    all that is known of one message; with --content its bytes and nothing\n"
    "         else, as they are kept (this is written to the audit log).\n"
    "hold:    neither replay nor forwarding touches it until it is released.\n"
    "release: ends a hold.\n"
    "retry:   what waits is tried now; what was refused or parked is tried again.\n"
    "drop:    it is given up: neither delivered nor bounced. The reason, who asked and\n"
    "         which they were is written to the audit log first.\n"
    "bounce:  the primary was right to refuse it: it is given up and its sender told, if\n"
    "         he is known to be the sender and no copy was accepted. Only what the primary\n"
    "         refused. The reason is for the audit log, not for the sender.\n"
    "\n"
    "WHICH is any of these, all of them must be true:\n"
    "      --domain D        only of this domain\n"
    "      --user U          only to this address\n"
    "      --sender S        only from this address, @D a domain, <> the null sender\n"
    "      --client IP       only from this client\n"
    "      --state S         all, held (not yet with the primary), on-hold (by an operator),\n"
    "                        backlog (waits for replay), refused (by the primary), or only\n"
    "                        where a leg is waiting, parked, delivered, failed, skipped or\n"
    "                        dropped\n"
    "      --older-than AGE  only what came longer ago: 90m, 12h, 3d\n"
    "      --newer-than AGE  only what came since then\n"
    "      --limit N         at most N lines (default 100; 0: all)\n"
    "      --after CURSOR    goes on where an earlier list ended\n"
    "      --dry-run         counts, changes nothing\n";

struct filter {
	const char	*domain, *user, *sender, *client, *state;	/* NULL: any */
	const char	*older, *newer;	/* as typed, or NULL */
	int64_t		 older_ms, newer_ms;	/* 0: any */
	const char	*match;		/* TEXT of search, or NULL */
	const char	*after, *reason;	/* NULL: none */
	uint64_t	 limit;		/* UINT64_MAX: none */
	bool		 content, dry_run;
};

/* A request with what --domain and so on say; NULL after saying what is wrong. */
static json_t *
request_new(const char *cmd, const struct filter *f)
{
	json_t *q = json_pack("{s:s, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*}", "cmd", cmd, "domain",
	    f->domain, "user", f->user, "sender", f->sender, "client", f->client, "state", f->state,
	    "match", f->match);

	if (q == NULL) {
		(void)cli_usage("queue", "domain, user, sender and text must be UTF-8 text");
		return NULL;
	}
	if (f->older_ms > 0)
		json_object_set_new(q, "older_ms", json_integer((json_int_t)f->older_ms));
	if (f->newer_ms > 0)
		json_object_set_new(q, "newer_ms", json_integer((json_int_t)f->newer_ms));
	return q;
}

/* "waiting 3x in 12m 451". */
static void
leg_cell(struct table *t, const json_t *leg)
{
	char span[32] = "", code[16] = "", tries[24] = "";
	int64_t next = member_time(leg, "next"), n = member_int(leg, "attempts");
	const char *state = member_text(leg, "state");

	if (strcmp(state, "waiting") == 0 && next > 0) {
		int64_t left = next - clock_wall_ms();
		char words[24];
		span_words(left, words, sizeof(words));
		(void)snprintf(span, sizeof(span), left > 0 ? " in %s" : " now", words);
	}
	if (n > 0)
		(void)snprintf(tries, sizeof(tries), " %lldx", (long long)n);
	if (member_int(leg, "code") != 0)
		(void)snprintf(code, sizeof(code), " %lld", (long long)member_int(leg, "code"));
	const char *note = member_text(leg, "note");
	table_cellf(t, "%.40s%s%s%s%s%.64s", state[0] == '\0' ? "-" : state, tries, span, code,
	    note[0] != '\0' ? " " : "", note);
}

static void
print_messages(const json_t *list)
{
	static const char *const head[] = { "ID", "RECEIVED", "#SIZE", "SENDER", "RECIPIENT",
	    "SHARD", "HOLD", "FORWARD", NULL };
	struct table t;
	size_t i;
	const json_t *m;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, m) {
		char when[32], size[32];
		const char *sender = member_text(m, "sender");
		time_words(member_time(m, "received"), when, sizeof(when));
		size_words((uint64_t)member_int(m, "size"), size, sizeof(size));
		table_cellf(&t, "%s/%lld", member_text(m, "id"),
		    (long long)member_int(m, "rcpt_index"));
		table_cell(&t, when);
		table_cell(&t, size);
		table_cell(&t, sender[0] == '\0' ? "<>" : sender);
		table_cell(&t, member_text(m, "rcpt"));
		table_cell(&t, member_text(m, "shard"));
		leg_cell(&t, json_object_get(m, "hold"));
		leg_cell(&t, json_object_get(m, "forward"));
	}
	table_print(&t, stdout);
}

static json_t *
list_page(const struct cli *cli, const struct filter *f, uint64_t want, json_t *after)
{
	json_t *q = request_new("queue-list", f);

	if (q == NULL)
		return NULL;
	json_object_set_new(q, "limit", json_integer((json_int_t)(want < PAGE ? want : PAGE)));
	if (after != NULL)
		(void)json_object_set(q, "after", after);
	return control_call(cli, q);
}

/* A page that took a second says how far it came; on a terminal in one place. */
static void
list_progress(const struct cli *cli, int64_t began, uint64_t looked, uint64_t seen)
{
	if (clock_mono_ms() - began > 1000 && (cli->json || seen == 0))
		fprintf(stderr, "looked at %llu recipients, %llu so far%s",
		    (unsigned long long)looked, (unsigned long long)seen,
		    isatty(STDERR_FILENO) ? "\r" : "\n");
}

/* Page after page: neither we nor the relay hold a long list whole, except --json,
 * which is one value. */
static int
list(const struct cli *cli, const struct filter *f)
{
	uint64_t seen = 0, looked = 0;
	json_t *all = json_array(), *after = f->after == NULL ? NULL : json_string(f->after);
	int64_t began = clock_mono_ms();
	bool more = true;
	int status = CLI_FAILED;

	while (more && seen < f->limit) {
		json_t *r = list_page(cli, f, f->limit - seen, after);
		if (r == NULL)
			goto out;
		json_t *messages = json_object_get(r, "messages");
		seen += json_array_size(messages);
		looked += (uint64_t)member_int(r, "looked");
		json_t *next = json_object_get(r, "after");
		/* A page may be empty while the walk goes on; a cursor that stands is an end. */
		more = json_is_true(json_object_get(r, "more")) && next != NULL &&
		    !json_equal(next, after);
		json_decref(after);
		after = json_incref(next);
		if (cli->json)
			(void)json_array_extend(all, messages);
		else if (json_array_size(messages) > 0)
			print_messages(messages);
		json_decref(r);
		if (more)
			list_progress(cli, began, looked, seen);
	}
	if (cli->json) {
		json_t *o = json_pack("{s:b, s:O, s:b, s:O?, s:I}", "ok", 1, "messages", all, "more",
		    more, "after", after, "looked", (json_int_t)looked);
		control_print(o);
		json_decref(o);
	} else if (seen == 0) {
		printf("nothing\n");
	} else if (more) {
		printf("there is more: --limit 0 shows all, --after %s the next\n",
		    json_is_string(after) ? json_string_value(after) : "?");
	}
	status = CLI_OK;
out:
	json_decref(after);
	json_decref(all);
	return status;
}

/* A string member that may have lines of its own, indented. */
static void
print_block(const char *name, const char *text)
{
	if (text[0] == '\0')
		return;
	printf("%s\n", name);
	while (*text != '\0') {
		size_t n = strcspn(text, "\r\n");
		char *line = slice_dup(slice_make(text, n));
		printf("    ");
		for (char *p = line; *p != '\0'; p++)
			if (*p == '\t')
				*p = ' ';
		text_print(stdout, line);
		printf("\n");
		free(line);
		text += n;
		if (text[0] == '\r' && text[1] == '\n')
			text++;
		if (text[0] != '\0')
			text++;
	}
}

static void
print_member(const char *key, const json_t *v)
{
	char words[64];

	if (strcmp(key, "received") == 0)
		time_words(json_time(v), words, sizeof(words));
	else if (json_is_integer(v) && strcmp(key, "size") == 0)
		size_words((uint64_t)json_integer_value(v), words, sizeof(words));
	else
		words[0] = '\0';
	printf("%-14s ", key);
	if (words[0] != '\0') {
		printf("%s\n", words);
		return;
	}
	char *text = json_is_string(v) ? mem_str(json_string_value(v)) :
	    json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
	text_print(stdout, text == NULL ? "" : text);
	printf("\n");
	free(text);
}

static void
print_message(const json_t *m)
{
	static const char *const head[] = { "#RCPT", "ADDRESS", "SHARD", "HOLD", "FORWARD",
	    NULL };
	const char *key;
	json_t *v;
	const json_t *r;
	size_t i;
	struct table t;

	json_object_foreach((json_t *)(uintptr_t)m, key, v) {
		if (strcmp(key, "recipients") != 0 && strcmp(key, "trace") != 0 &&
		    strcmp(key, "authres") != 0)
			print_member(key, v);
	}
	print_block("authres", member_text(m, "authres"));
	print_block("trace", member_text(m, "trace"));
	printf("\n");
	table_init(&t, head);
	json_array_foreach(json_object_get(m, "recipients"), i, r) {
		table_cellf(&t, "%lld", json_object_get(r, "rcpt_index") == NULL ? (long long)i :
		    (long long)member_int(r, "rcpt_index"));
		table_cell(&t, member_text(r, "rcpt"));
		table_cell(&t, member_text(r, "shard"));
		leg_cell(&t, json_object_get(r, "hold"));
		leg_cell(&t, json_object_get(r, "forward"));
	}
	table_print(&t, stdout);
}

static int
write_content(const json_t *r)
{
	const char *text = json_string_value(json_object_get(r, "content"));
	struct buf raw;
	int status = CLI_FAILED;

	buf_init(&raw, CONTENT_MAX);
	if (text == NULL) {
		fprintf(stderr, "salvaposta: the relay sent no content\n");
	} else if (crypto_unbase64(&raw, slice_str(text)) != 0) {
		fprintf(stderr, "salvaposta: the relay's answer is not understood\n");
	} else {
		struct slice s = buf_slice(&raw);
		if (fwrite(s.p, 1, s.n, stdout) == s.n)
			status = CLI_OK;
		else
			perror("salvaposta: writing the message");
	}
	buf_fini(&raw);
	return status;
}

/* "ID" or "ID/1" as the list prints it; the message is meant either way. */
static char *
id_of(const char *arg)
{
	struct slice s = slice_str(arg);

	return slice_dup(slice_sub(s, 0, slice_find(s, '/')));
}

static int
show(const struct cli *cli, const char *arg, bool content)
{
	char *id = id_of(arg);
	json_t *q = json_pack("{s:s, s:s, s:b}", "cmd", "queue-show", "id", id, "content",
	    content);
	int status = CLI_OK;

	free(id);
	if (q == NULL)
		return cli_usage("queue", "%.64s is not an id", arg);
	json_t *r = control_call(cli, q);
	if (r == NULL)
		return CLI_FAILED;
	if (cli->json)
		control_print(r);
	else if (content)
		status = write_content(r);
	else
		print_message(json_object_get(r, "message"));
	json_decref(r);
	return status;
}

/* ---- hold, release, retry, drop ---- */

static const struct verb {
	const char	*name, *cmd, *done, *would;
} verbs[] = {
	{ "hold", "queue-hold", "on hold now", "would be put on hold" },
	{ "release", "queue-release", "released", "would be released" },
	{ "retry", "queue-retry", "to be tried now", "would be tried now" },
	{ "drop", "queue-drop", "dropped", "would be dropped" },
	{ "bounce", "queue-bounce", "to be bounced", "would be bounced" },
};

static int
job_put_id(json_t *q, const char *arg)
{
	const char *slash = strchr(arg, '/');
	char *id = id_of(arg);
	uint64_t n;
	int rc = json_object_set_new(q, "id", json_string(id));

	free(id);
	if (rc == 0 && slash != NULL)
		rc = slice_u64(slice_str(slash + 1), &n) != 0 || n > UINT16_MAX ? -1 :
		    json_object_set_new(q, "rcpt_index", json_integer((json_int_t)n));
	return rc;
}

static void
print_job(const struct verb *v, const struct filter *f, const json_t *r)
{
	char size[32];

	printf("%lld %s", (long long)member_int(r, "count"), f->dry_run ? v->would : v->done);
	if (member_int(r, "bytes") > 0) {
		size_words((uint64_t)member_int(r, "bytes"), size, sizeof(size));
		printf(", %s", size);
	}
	printf("\n");
	if (member_int(r, "busy") > 0)
		printf("%lld left alone: they are being delivered right now\n",
		    (long long)member_int(r, "busy"));
}

static int
job(const struct cli *cli, const struct verb *v, const char *arg, const struct filter *f)
{
	json_t *q = request_new(v->cmd, f);

	if (q == NULL)
		return CLI_USAGE;
	if (arg != NULL && job_put_id(q, arg) != 0) {
		json_decref(q);
		return cli_usage("queue", "%.64s is not an id", arg);
	}
	if (f->reason != NULL && json_object_set_new(q, "reason", json_string(f->reason)) != 0) {
		json_decref(q);
		return cli_usage("queue", "the reason must be UTF-8 text");
	}
	if (f->dry_run)
		json_object_set_new(q, "dry_run", json_true());
	json_object_set_new(q, "progress", json_true());
	json_t *r = control_call(cli, q);
	if (r == NULL)
		return CLI_FAILED;
	if (cli->json)
		control_print(r);
	else
		print_job(v, f, r);
	json_decref(r);
	return CLI_OK;
}

/* ---- summary ---- */

static void
summary_state(struct table *t, const json_t *d)
{
	static const char *const counts[] = { "backlog", "waiting", "refused", "on_hold", "other",
		"forward_waiting", NULL };
	char words[32];
	int64_t oldest = member_time(d, "oldest");

	table_cellf(t, "%lld", (long long)member_int(d, "held"));
	size_words((uint64_t)member_int(d, "held_bytes"), words, sizeof(words));
	table_cell(t, words);
	if (oldest > 0)
		span_words(clock_wall_ms() - oldest, words, sizeof(words));
	table_cell(t, oldest > 0 ? words : "-");
	for (size_t i = 0; counts[i] != NULL; i++)
		table_cellf(t, "%lld", (long long)member_int(d, counts[i]));
}

static void
summary_ages(struct table *t, const json_t *d)
{
	static const char *const ages[] = { "1h", "6h", "1d", "3d", "7d", "older", NULL };

	for (size_t i = 0; ages[i] != NULL; i++)
		table_cellf(t, "%lld", (long long)member_int(json_object_get(d, "ages"), ages[i]));
}

static void
summary_table(const json_t *r, const char *const *head,
    void (*rest)(struct table *t, const json_t *d))
{
	const json_t *list = json_object_get(r, "domains"), *d;
	struct table t;
	size_t i;

	table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, d) {
		table_cell(&t, member_text(d, "domain"));
		table_cell(&t, member_text(d, "shard"));
		rest(&t, d);
	}
	if (json_array_size(list) > 1) {
		table_cell(&t, "(all)");
		table_cell(&t, "");
		rest(&t, json_object_get(r, "all"));
	}
	table_print(&t, stdout);
}

static int
summary(const struct cli *cli, const struct filter *f)
{
	static const char *const states[] = { "DOMAIN", "SHARD", "#HELD", "#SIZE", "#OLDEST",
	    "#BACKLOG", "#WAITING", "#REFUSED", "#ON-HOLD", "#OTHER", "#FORWARD", NULL };
	static const char *const ages[] = { "DOMAIN", "SHARD", "#<1H", "#<6H", "#<1D", "#<3D",
	    "#<7D", "#OLDER", NULL };
	json_t *q = request_new("queue-summary", f);

	if (q == NULL)
		return CLI_USAGE;
	json_object_set_new(q, "progress", json_true());
	json_t *r = control_call(cli, q);
	if (r == NULL)
		return CLI_FAILED;
	if (cli->json) {
		control_print(r);
	} else if (json_array_size(json_object_get(r, "domains")) == 0) {
		printf("nothing\n");
	} else {
		summary_table(r, states, summary_state);
		printf("\n");
		summary_table(r, ages, summary_ages);
		if (!json_is_true(json_object_get(r, "complete")))
			printf("\nthe queue is long: what is held is exact, states and ages are of the "
			    "oldest %lld recipients\n", (long long)member_int(r, "counted"));
	}
	json_decref(r);
	return CLI_OK;
}

/* ---- the command ---- */

static bool
filter_any(const struct filter *f)
{
	return f->domain != NULL || f->user != NULL || f->sender != NULL || f->client != NULL ||
	    f->state != NULL || f->older_ms > 0 || f->newer_ms > 0;
}

static int
run_job(const struct cli *cli, const struct verb *v, int argc, char **argv,
    const struct filter *f)
{
	if (argc > 3 || (argc == 3) == filter_any(f))
		return cli_usage("queue", "%s takes one id, or options that say which", v->name);
	bool final = strcmp(v->name, "drop") == 0 || strcmp(v->name, "bounce") == 0;
	if (final && (f->reason == NULL || f->reason[0] == '\0'))
		return cli_usage("queue", "%s needs --reason; it goes to the audit log", v->name);
	return job(cli, v, argc == 3 ? argv[2] : NULL, f);
}

static int
run(const struct cli *cli, int argc, char **argv, struct filter *f)
{
	const char *verb = argc < 2 ? "" : argv[1];

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verb, verbs[i].name) == 0)
			return run_job(cli, &verbs[i], argc, argv, f);
	if (f->reason != NULL || f->dry_run)
		return cli_usage("queue", "--reason and --dry-run are for hold, release, retry, "
		    "drop and bounce");
	if (strcmp(verb, "list") == 0 || strcmp(verb, "summary") == 0) {
		if (argc != 2)
			return cli_usage("queue", "%s takes options only", verb);
		return verb[0] == 'l' ? list(cli, f) : summary(cli, f);
	}
	if (strcmp(verb, "search") == 0) {
		if (argc != 3 || argv[2][0] == '\0')
			return cli_usage("queue", "search takes one text");
		f->match = argv[2];
		if (f->state == NULL)
			f->state = "all";
		return list(cli, f);
	}
	if (strcmp(verb, "show") == 0) {
		if (argc != 3)
			return cli_usage("queue", "show takes one id");
		return show(cli, argv[2], f->content);
	}
	return cli_usage("queue", "say summary, list, search, show, hold, release, retry, drop or "
	    "bounce");
}

int
cmd_queue(int argc, char **argv)
{
	struct filter f = { .limit = LIST_LIMIT };
	const char *limit = NULL;
	const struct cli_option opt[] = {
		{ "domain", &f.domain, NULL }, { "user", &f.user, NULL },
		{ "sender", &f.sender, NULL }, { "client", &f.client, NULL },
		{ "state", &f.state, NULL }, { "older-than", &f.older, NULL },
		{ "newer-than", &f.newer, NULL }, { "limit", &limit, NULL },
		{ "after", &f.after, NULL }, { "reason", &f.reason, NULL },
		{ "content", NULL, &f.content }, { "dry-run", NULL, &f.dry_run },
	};
	struct cli cli;
	int status;

	if (cli_options(&argc, argv, opt, sizeof(opt) / sizeof(opt[0]), help, &cli, &status) != 0)
		return status;
	/* A variable of a script that is not set must not mean everything. */
	for (size_t i = 0; i < sizeof(opt) / sizeof(opt[0]); i++)
		if (opt[i].value != NULL && *opt[i].value != NULL && **opt[i].value == '\0' &&
		    opt[i].value != &f.reason)
			return cli_usage("queue", "--%s is empty: leave it out, or say which",
			    opt[i].name);
	if (limit != NULL && slice_u64(slice_str(limit), &f.limit) != 0)
		return cli_usage("queue", "--limit takes a number");
	if ((f.older != NULL && when_span(f.older, &f.older_ms) != 0) ||
	    (f.newer != NULL && when_span(f.newer, &f.newer_ms) != 0))
		return cli_usage("queue", "an age is a number and a unit: 90m, 12h, 3d");
	if (f.limit == 0)
		f.limit = UINT64_MAX;
	return run(&cli, argc, argv, &f);
}

// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "admin/control_client.h"
#include "admin/table.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"

enum { LIST_LIMIT = 100, PAGE = 500, CONTENT_MAX = 512 * 1024 * 1024 };

static const char help[] =
    "usage: salvaposta queue list  [--domain D] [--user U] [--state S] [--limit N]\n"
    "       salvaposta queue show  ID [--content]\n"
    "       salvaposta queue retry ID | --domain D\n"
    "\n"
    "Each recipient of a message has two legs: hold, the delivery to the primary, and\n"
    "forward, the copy to the recovery address.\n"
    "\n"
    "list:  oldest first, one line a recipient; what is settled only when asked for.\n"
    "show:  all that is known of one message; with --content its bytes and nothing\n"
    "       else, as they are kept (this is written to the audit log).\n"
    "retry: what waits is tried now; what was refused or parked is tried again.\n"
    "\n"
    "      --domain D     only of this domain\n"
    "      --user U       only to this address\n"
    "      --state S      all, held (not yet with the primary), or only where a leg is\n"
    "                     waiting, parked, delivered, failed, skipped or dropped\n"
    "      --limit N      at most N lines (default 100; 0: all)\n";

struct filter {
	const char	*domain, *user, *state;	/* NULL: any */
	uint64_t	 limit;			/* UINT64_MAX: none */
};

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
	json_t *q = json_pack("{s:s, s:s*, s:s*, s:s*, s:I}", "cmd", "queue-list", "domain",
	    f->domain, "user", f->user, "state", f->state, "limit",
	    (json_int_t)(want < PAGE ? want : PAGE));

	if (q == NULL) {
		(void)cli_usage("queue", "domain, user and state must be UTF-8 text");
		return NULL;
	}
	if (after != NULL)
		(void)json_object_set(q, "after", after);
	return control_call(cli, q);
}

/* Page after page: neither we nor the relay hold a long list whole, except --json,
 * which is one value. */
static int
list(const struct cli *cli, const struct filter *f)
{
	uint64_t seen = 0;
	json_t *all = json_array(), *after = NULL;
	bool more = true;
	int status = CLI_FAILED;

	while (more && seen < f->limit) {
		json_t *r = list_page(cli, f, f->limit - seen, after);
		if (r == NULL)
			goto out;
		json_t *messages = json_object_get(r, "messages");
		seen += json_array_size(messages);
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
	}
	if (cli->json) {
		json_t *o = json_pack("{s:b, s:O, s:b}", "ok", 1, "messages", all, "more", more);
		control_print(o);
		json_decref(o);
	} else if (seen == 0) {
		printf("nothing\n");
	} else if (more) {
		printf("there is more: --limit 0 shows all\n");
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

static int
retry(const struct cli *cli, const char *arg, const char *domain)
{
	char *id = arg == NULL ? NULL : id_of(arg);
	json_t *q = json_pack("{s:s, s:s*, s:s*}", "cmd", "queue-retry", "id", id, "domain",
	    domain);

	free(id);
	if (q == NULL)
		return cli_usage("queue", "an id or a domain must be UTF-8 text");
	json_t *r = control_call(cli, q);
	if (r == NULL)
		return CLI_FAILED;
	if (cli->json)
		control_print(r);
	else
		printf("%lld to be tried now\n", (long long)member_int(r, "count"));
	json_decref(r);
	return CLI_OK;
}

static int
run(const struct cli *cli, int argc, char **argv, const struct filter *f, bool content)
{
	const char *verb = argc < 2 ? "" : argv[1];

	if (strcmp(verb, "list") == 0) {
		if (argc != 2)
			return cli_usage("queue", "list takes options only");
		return list(cli, f);
	}
	if (strcmp(verb, "show") == 0) {
		if (argc != 3)
			return cli_usage("queue", "show takes one id");
		return show(cli, argv[2], content);
	}
	if (strcmp(verb, "retry") == 0) {
		if (argc > 3 || (argc == 3) == (f->domain != NULL))
			return cli_usage("queue", "retry takes one id or --domain");
		return retry(cli, argc == 3 ? argv[2] : NULL, f->domain);
	}
	return cli_usage("queue", "say list, show or retry");
}

int
cmd_queue(int argc, char **argv)
{
	struct filter f = { .limit = LIST_LIMIT };
	const char *limit = NULL;
	bool content = false;
	const struct cli_option opt[] = {
		{ "domain", &f.domain, NULL }, { "user", &f.user, NULL },
		{ "state", &f.state, NULL }, { "limit", &limit, NULL },
		{ "content", NULL, &content },
	};
	struct cli cli;
	int status;

	if (cli_options(&argc, argv, opt, 5, help, &cli, &status) != 0)
		return status;
	if (limit != NULL && slice_u64(slice_str(limit), &f.limit) != 0)
		return cli_usage("queue", "--limit takes a number");
	if (f.limit == 0)
		f.limit = UINT64_MAX;
	return run(&cli, argc, argv, &f, content);
}

// SPDX-License-Identifier: Apache-2.0
#include "policy/srs.h"

#include <string.h>

#include "admin/control_client.h"
#include "admin/keyfile.h"
#include "admin/table.h"
#include "base/clock.h"

static const char help[] =
    "usage: salvaposta srs encode ADDRESS [--day N]\n"
    "       salvaposta srs decode ADDRESS [--day N]\n"
    "\n"
    "What the relay makes of a sender, and what a return path stands for, with the\n"
    "secrets and settings of the configuration's forwarder section. Needs to read the\n"
    "secret file; the relay need not run.\n"
    "\n"
    "      --day N        as if today were N days after 1970-01-01\n";

static const char *
explain(enum srs_result r)
{
	switch (r) {
	case SRS_OK:
		return "";
	case SRS_UNCHANGED:
		return "is used as it is: the null sender, or already in the return-path domain";
	case SRS_TOO_LONG:
		return "would be longer than RFC 5321 allows: the relay uses an opaque return "
		    "path instead";
	case SRS_NOT_SRS:
		return "is not a return path of this relay's domain";
	case SRS_BAD_HASH:
		return "has a wrong hash: changed on the way, forged, or made with another secret";
	case SRS_EXPIRED:
		return "is older than max-age (or of the future)";
	case SRS_BAD_ADDRESS:
		return "is not a mail address, or does not hold one";
	}
	return "?";
}

static void
set_up(struct srs *s, const struct conf_forwarder *f)
{
	*s = (struct srs){ .domain = slice_str(f->domain), .node = slice_str(f->node),
	    .hash_length = f->hash_length, .hash_min = f->hash_min,
	    .max_age_days = f->max_age_days, .base64 = f->alphabet_base64,
	    .separator = CONF_SEPARATOR_CHARS[f->separator] };
}

/* Prints the outcome of either direction. */
static int
answer(const struct cli *cli, const char *address, enum srs_result r, struct slice out,
    struct slice node)
{
	bool good = r == SRS_OK || r == SRS_UNCHANGED;

	if (cli->json) {
		json_t *o = json_pack("{s:b, s:s, s:s, s:s%}", "ok", good, "address", address,
		    "result", srs_result_name(r), good ? node.n > 0 ? "token" : "answer" : "error",
		    good ? out.p : explain(r), good ? out.n : strlen(explain(r)));
		if (o != NULL && node.n > 0)
			(void)json_object_set_new(o, "node", json_stringn(node.p, node.n));
		if (o != NULL)
			control_print(o);
		json_decref(o);
		return good ? CLI_OK : CLI_FAILED;
	}
	if (!good) {
		fprintf(stderr, "salvaposta: %s: %s\n", address, explain(r));
		return CLI_FAILED;
	}
	if (r == SRS_UNCHANGED)
		fprintf(stderr, "salvaposta: %s %s\n", address, explain(r));
	if (node.n > 0)
		printf("token %.*s of node %.*s; the queue of that relay knows its message\n",
		    SLICE_FMT(out), SLICE_FMT(node));
	else
		printf("%.*s\n", SLICE_FMT(out));
	return CLI_OK;
}

static int
decode(const struct cli *cli, const struct srs *s, uint32_t day, const char *address)
{
	struct slice node = SLICE_NONE, token = SLICE_NONE, in = slice_str(address);
	struct buf out;

	buf_init(&out, 2048);
	enum srs_result r = srs_opaque_check(s, day, in, &node, &token);
	if (r == SRS_OK)
		(void)!buf_put_slice(&out, token);
	else
		node = SLICE_NONE;
	if (r == SRS_NOT_SRS) {
		buf_clear(&out);
		r = srs_reverse(s, day, in, &out);
	}
	int status = answer(cli, address, r, buf_slice(&out), node);
	buf_fini(&out);
	return status;
}

static int
encode(const struct cli *cli, const struct srs *s, uint32_t day, const char *address)
{
	struct buf out;

	buf_init(&out, 2048);
	/* the null sender is written "<>" as well */
	enum srs_result r = srs_forward(s, day, slice_str(strcmp(address, "<>") == 0 ? "" : address),
	    &out);
	struct slice shown = r == SRS_UNCHANGED ? slice_str(address) : buf_slice(&out);
	int status = answer(cli, address, r, shown, SLICE_NONE);
	buf_fini(&out);
	return status;
}

static int
with_secrets(const struct cli *cli, const char *verb, const char *address, uint32_t day)
{
	struct conf *c = cli_conf(cli);
	struct keyfile k = { .mode = 0 };
	struct srs s;
	char why[4500];
	int status = CLI_FAILED;

	if (c == NULL)
		return CLI_FAILED;
	if (c->forwarder.domain == NULL) {
		fprintf(stderr, "%s: forwarder: there is no such section, so there are no return "
		    "paths: add it\n", cli->conf_file);
		goto out;
	}
	if (keyfile_read(c->forwarder.secret_file, &k, why, sizeof(why)) != 0) {
		fprintf(stderr, "salvaposta: secret-file: %s\n", why);
		goto out;
	}
	set_up(&s, &c->forwarder);
	if (srs_secrets(&s, buf_slice(&k.text)) != 0) {
		fprintf(stderr, "salvaposta: secret-file: %s: holds no secret: write one a line\n",
		    c->forwarder.secret_file);
		goto out;
	}
	status = strcmp(verb, "encode") == 0 ? encode(cli, &s, day, address) :
	    decode(cli, &s, day, address);
out:
	keyfile_fini(&k);
	conf_free(&c);
	return status;
}

int
cmd_srs(int argc, char **argv)
{
	const char *day_text = NULL;
	const struct cli_option opt[] = { { "day", &day_text, NULL } };
	uint64_t day = srs_day(clock_wall_ms());
	struct cli cli;
	int status;

	if (cli_options(&argc, argv, opt, 1, help, &cli, &status) != 0)
		return status;
	if (argc != 3 || (strcmp(argv[1], "encode") != 0 && strcmp(argv[1], "decode") != 0))
		return cli_usage("srs", "say encode or decode and one address");
	if (day_text != NULL && (slice_u64(slice_str(day_text), &day) != 0 || day > UINT32_MAX))
		return cli_usage("srs", "--day takes a number of days");
	return with_secrets(&cli, argv[1], argv[2], (uint32_t)day);
}

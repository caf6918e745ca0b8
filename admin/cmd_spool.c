// SPDX-License-Identifier: Apache-2.0
/* `spool verify`: every byte of a spool that no relay owns at the moment, or all but
 * the indexes of one that has an owner. */
#include <stdlib.h>
#include <string.h>

#include "admin/control_client.h"
#include "admin/progress.h"
#include "admin/spool_reader.h"
#include "admin/table.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/spool_verify.h"
#include "queue/store_view.h"

enum { LISTED_MAX = 10000 };	/* findings in the JSON, and lines of them */

static const char help[] =
    "usage: salvaposta spool verify [--spool DIR | -c FILE] [--live]\n"
    "\n"
    "Reads the whole spool of a stopped or dead relay: every record with its checksums\n"
    "and envelope, the progress logs, each index against its log, the totals. Nothing\n"
    "is written. Each damage is named with segment, file and offset; what a crash leaves\n"
    "behind and was never acknowledged is a note.\n"
    "\n"
    "      --spool DIR    the queue directory; needs no configuration\n"
    "      --live         beside a running relay: logs only, as far as they are written\n"
    "\n"
    "Exit status 1 when there was any damage.\n";

struct verify_run {
	struct cli	 cli;
	struct spool_reader reader;
	struct progress_line line;
	struct spool_segment_report *segment;	/* owned; newest first */
	size_t		 nsegment, capsegment;
	uint64_t	 bytes, records, recipients, unsettled, damage, notes, lost;
	json_t		*findings;
};

static const char *
part_name(enum store_part p)
{
	switch (p) {
	case STORE_LOG:
		return "log";
	case STORE_PROGRESS:
		return "prg";
	case STORE_INDEX:
		return "idx";
	case STORE_NEW:
		return "new";
	case STORE_PART_MAX:
		break;
	}
	return "totals";
}

static const char *
index_name(enum spool_index_state s)
{
	switch (s) {
	case INDEX_ABSENT:
		return "none";
	case INDEX_GOOD:
		return "good";
	case INDEX_BAD:
		return "damaged";
	case INDEX_UNCHECKED:
		break;
	}
	return "not checked";
}

static void
print_finding(const struct spool_finding *f, const char *id)
{
	FILE *out = stdout;

	if (f->segment == 0) {
		fprintf(out, "damage: %s\n", f->what);
		return;
	}
	fprintf(out, "%s: segment %llu, %012llu.%s, offset %llu, %llu bytes: %s",
	    f->damage ? "damage" : "note", (unsigned long long)f->segment,
	    (unsigned long long)f->segment, part_name(f->part), (unsigned long long)f->off,
	    (unsigned long long)f->len, f->what);
	if (id[0] != '\0')
		fprintf(out, "; message %s%s, %u recipients, %u not settled", id,
		    f->recipients > 1 ? " and what follows" : "", f->recipients, f->unsettled);
	if (f->damage && f->part == STORE_LOG && !f->promised)
		fputs("; perhaps never acknowledged", out);
	fputc('\n', out);
}

static void
on_finding(void *arg, const struct spool_finding *f)
{
	struct verify_run *r = arg;
	char id[MSGID_TEXT + 1] = "";

	r->damage += f->damage;
	r->notes += !f->damage;
	if (f->damage && f->part == STORE_LOG)
		r->lost += f->unsettled;
	if (r->damage + r->notes > LISTED_MAX)
		return;
	if (f->has_id)
		msgid_print(f->id, id);
	progress_end(&r->line);
	if (!r->cli.json) {
		print_finding(f, id);
		return;
	}
	json_array_append_new(r->findings, json_pack(
	    "{s:b, s:I, s:s, s:I, s:I, s:s, s:s?, s:i, s:i, s:b}", "damage", (int)f->damage,
	    "segment", (json_int_t)f->segment, "file", part_name(f->part), "offset",
	    (json_int_t)f->off, "bytes", (json_int_t)f->len, "what", f->what, "id",
	    f->has_id ? id : NULL, "recipients", (int)f->recipients, "unsettled",
	    (int)f->unsettled, "promised", (int)f->promised));
}

static void
on_segment(void *arg, const struct spool_segment_report *s)
{
	struct verify_run *r = arg;

	if (r->nsegment == r->capsegment) {
		r->capsegment = r->capsegment == 0 ? 64 : r->capsegment * 2;
		r->segment = mem_resize(r->segment, r->capsegment, sizeof(*r->segment));
	}
	r->segment[r->nsegment++] = *s;
	r->bytes += s->log_bytes;
	r->records += s->records;
	r->recipients += s->recipients;
	r->unsettled += s->unsettled;
}

static bool
on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct verify_run *r = arg;

	if (progress_due(&r->line))
		progress_bytes(&r->line, done, total);
	return true;
}

static void
print_segments(const struct verify_run *r)
{
	static const char *const head[] = { "#SEGMENT", "CLASS", "#LOG", "#RECORDS", "#RECIPIENTS",
	    "#UNSETTLED", "#PROGRESS", "INDEX", "#DAMAGE", "#NOTES", NULL };
	static const char *const class[STORE_CLASS_MAX] = { "held", "relay" };
	struct table t;
	char size[32];

	if (r->nsegment == 0)
		return;
	table_init(&t, head);
	for (size_t i = r->nsegment; i-- > 0;) {
		const struct spool_segment_report *s = &r->segment[i];
		size_words(s->log_bytes, size, sizeof(size));
		table_cellf(&t, "%llu", (unsigned long long)s->segment);
		table_cell(&t, s->dropped ? "dropped" : class[s->cls < STORE_CLASS_MAX ? s->cls :
		    STORE_HELD]);
		table_cell(&t, size);
		table_cellf(&t, "%llu", (unsigned long long)s->records);
		table_cellf(&t, "%llu", (unsigned long long)s->recipients);
		table_cellf(&t, "%llu", (unsigned long long)s->unsettled);
		table_cellf(&t, "%llu", (unsigned long long)s->progress);
		table_cell(&t, index_name(s->index));
		table_cellf(&t, "%u", s->damage);
		table_cellf(&t, "%u", s->notes);
	}
	table_print(&t, stdout);
}

static void
print_text(const struct verify_run *r)
{
	unsigned aside = spool_reader_set_aside(&r->reader);
	char size[32];

	size_words(r->bytes, size, sizeof(size));
	print_segments(r);
	printf("%llu records of %llu recipients, %llu not settled, in %zu segments, %s\n",
	    (unsigned long long)r->records, (unsigned long long)r->recipients,
	    (unsigned long long)r->unsettled, r->nsegment, size);
	if (aside > 0)
		printf("%u pieces were set aside in damaged/ before\n", aside);
	if (r->damage + r->notes > LISTED_MAX)
		printf("only the first %d findings are shown\n", (int)LISTED_MAX);
	if (r->damage == 0)
		printf("no damage\n");
	else
		printf("%llu damaged places; %llu recipients not settled are in damaged records\n",
		    (unsigned long long)r->damage, (unsigned long long)r->lost);
}

static void
print_json(const struct verify_run *r)
{
	json_t *list = json_array();

	for (size_t i = r->nsegment; i-- > 0;) {
		const struct spool_segment_report *s = &r->segment[i];
		json_array_append_new(list, json_pack(
		    "{s:I, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:s, s:i, s:i}", "segment",
		    (json_int_t)s->segment, "class", s->cls == STORE_RELAY ? "relay" : "held",
		    "dropped", (int)s->dropped, "log_bytes", (json_int_t)s->log_bytes, "records",
		    (json_int_t)s->records, "recipients", (json_int_t)s->recipients, "unsettled",
		    (json_int_t)s->unsettled, "progress", (json_int_t)s->progress, "index",
		    index_name(s->index), "damage", (int)s->damage, "notes", (int)s->notes));
	}
	json_t *o = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:O, s:o}", "ok",
	    (int)(r->damage == 0), "damage", (json_int_t)r->damage, "notes", (json_int_t)r->notes,
	    "records", (json_int_t)r->records, "recipients", (json_int_t)r->recipients,
	    "unsettled", (json_int_t)r->unsettled, "unsettled_damaged", (json_int_t)r->lost,
	    "log_bytes", (json_int_t)r->bytes, "set_aside",
	    (int)spool_reader_set_aside(&r->reader), "findings", r->findings, "segments", list);
	control_print(o);
	json_decref(o);
}

static int
verify(struct verify_run *r)
{
	static const struct spool_verify_ops to = { on_finding, on_segment, on_progress };
	struct store *s = store_view.open(NULL, r->reader.dir, true);

	if (s == NULL) {
		spool_reader_fail(&r->cli, "spool", r->reader.dir, "the spool cannot be opened");
		return CLI_FAILED;
	}
	r->findings = json_array();
	progress_begin(&r->line);
	int rc = spool_verify(&store_view, s, r->reader.live, &to, r);
	progress_end(&r->line);
	store_view.close(&s);
	if (rc != 0)
		spool_reader_fail(&r->cli, "spool", r->reader.dir, "its segments cannot be listed");
	else if (r->cli.json)
		print_json(r);
	else
		print_text(r);
	json_decref(r->findings);
	free(r->segment);
	return rc == 0 && r->damage == 0 ? CLI_OK : CLI_FAILED;
}

int
cmd_spool(int argc, char **argv)
{
	struct verify_run r = { .damage = 0 };
	const char *dir = NULL;
	bool live = false;
	const struct cli_option opt[] = { { "spool", &dir, NULL }, { "live", NULL, &live } };
	int status;

	if (cli_options(&argc, argv, opt, 2, help, &r.cli, &status) != 0)
		return status;
	if (argc != 2 || strcmp(argv[1], "verify") != 0)
		return cli_usage("spool", "say verify");
	log_open("spool", LOG_LVL_ERROR);
	if (spool_reader_open(&r.reader, &r.cli, "spool", dir, live) != 0)
		return CLI_FAILED;
	status = verify(&r);
	spool_reader_close(&r.reader);
	return status;
}

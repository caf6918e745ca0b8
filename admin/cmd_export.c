// SPDX-License-Identifier: Apache-2.0
/*
 * The spool with bare hands: what a relay kept, as Maildir or mbox per user, without
 * the relay. The spool is only read. A message that cannot be read whole is not
 * written at all; it is named, and the exit status says that there was one.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "admin/control_client.h"
#include "admin/export.h"
#include "admin/progress.h"
#include "admin/spool_reader.h"
#include "admin/table.h"
#include "base/body.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "queue/store_view.h"

enum { SCAN_BUDGET = 4096, NAMED_MAX = 1000, WANTED_MIN = 1024 };

static const char help[] =
    "usage: salvaposta export --to FOLDER [--spool DIR | -c FILE] [--format maildir|mbox]\n"
    "                         [--domain D] [--user U] [--state held|all] [--since T]\n"
    "\n"
    "Writes what a stopped or dead relay keeps into FOLDER, one Maildir (or mbox) per user\n"
    "below the name of the domain: FOLDER/example.it/mario/new. The spool is only read: a\n"
    "copy of it, or a disk mounted read-only, will do. Each message has a Return-Path and\n"
    "our trace fields on top of its bytes as they came in. A second run into the same\n"
    "FOLDER adds what is new.\n"
    "\n"
    "      --to FOLDER    made when it is not there\n"
    "      --spool DIR    the queue directory; needs no configuration\n"
    "      --format F     maildir (default) or mbox\n"
    "      --lf           in Maildirs end lines with LF instead of CRLF, as they came\n"
    "      --domain D     only of this domain\n"
    "      --user U       only of this user, as the directory writes the address\n"
    "      --state S      held (default: not yet with the primary), or all that is on disk\n"
    "      --since T      only what came in since: 2026-11-22, 2026-11-22T18:30:00 (local\n"
    "                     time; UTC with a Z), or 90m, 12h, 3d ago\n"
    "      --live         beside a running relay: a snapshot\n"
    "\n"
    "Exit status 1 when something could not be exported.\n";

struct wanted {			/* answer for one pair of group and user */
	uint64_t	group, user;
	bool		used, yes;
};

struct export {
	struct cli	 cli;
	const char	*to, *spool_dir, *format, *domain, *user, *state, *since;
	bool		 live, lf;
	int64_t		 since_ms;

	struct spool_reader reader;
	struct loop	*loop;
	struct spool	*spool;
	int		 folder;
	const struct export_format *ops;
	void		*x;
	struct buf	 block;		/* header block of the message in hand */
	struct progress_line line;

	struct wanted	*wanted;	/* hash table; NULL without --domain and --user */
	size_t		 nwanted, capwanted;

	uint64_t	 total;		/* recipients expected; 0 not known */
	uint64_t	 seen, written, bytes, present, damaged, gone;
	uint64_t	 bad_reads;	/* the spool counts each as damage, too */
	json_t		*named;		/* of what is damaged, the first NAMED_MAX */
	bool		 failed;
	char		 why[EXPORT_WHY];
};

/* Set by the signal handler: what is begun is finished, then we stop. */
static volatile sig_atomic_t interrupted;

static void
on_signal(int signo)
{
	(void)signo;
	interrupted = 1;
}

int
export_fail(char why[EXPORT_WHY], const struct export_user *u, const char *name, int error)
{
	if (u == NULL)
		(void)snprintf(why, EXPORT_WHY, "%s", strerror(error));
	else
		(void)snprintf(why, EXPORT_WHY, "%.160s/%.160s%s%.80s: %s", u->domain, u->local,
		    name != NULL ? ": " : "", name != NULL ? name : "", strerror(error));
	return -1;
}

int
export_folder(int at, const char *name)
{
	if (mkdirat(at, name, 0700) != 0 && errno != EEXIST)
		return -1;
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* ---- arguments ---- */

/* "90m", "12h", "3d": ms, or -1. */
static int64_t
span_parse(const char *s)
{
	static const struct { char unit; int64_t ms; } units[] = {
		{ 's', 1000 }, { 'm', 60000 }, { 'h', 3600000 }, { 'd', 86400000 },
		{ 'w', 7 * 86400000ll },
	};
	struct slice in = slice_str(s);
	uint64_t n;

	if (in.n < 2 || slice_u64(slice_sub(in, 0, in.n - 1), &n) != 0 || n > INT32_MAX)
		return -1;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (units[i].unit == in.p[in.n - 1])
			return (int64_t)n * units[i].ms;
	return -1;
}

static int
since_parse(const char *s, int64_t *out)
{
	static const char *const form[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S",
	    "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d" };
	int64_t ago = span_parse(s);

	if (ago >= 0) {
		*out = clock_wall_ms() - ago;
		return 0;
	}
	for (size_t i = 0; i < sizeof(form) / sizeof(form[0]); i++) {
		struct tm tm = { .tm_isdst = -1 };
		const char *end = strptime(s, form[i], &tm);
		bool utc = end != NULL && strcmp(end, "Z") == 0;
		if (end == NULL || (*end != '\0' && !utc))
			continue;
		time_t t = utc ? timegm(&tm) : mktime(&tm);
		*out = (int64_t)t * 1000;
		return t < 0 ? -1 : 0;
	}
	return -1;
}

static int
check_arguments(struct export *e, int argc)
{
	if (argc != 1)
		return cli_usage("export", "takes options only");
	if (e->to == NULL)
		return cli_usage("export", "--to FOLDER is missing: where shall the mail go?");
	if (e->state != NULL && strcmp(e->state, "held") != 0 && strcmp(e->state, "all") != 0)
		return cli_usage("export", "--state is held or all");
	if (e->format == NULL || strcmp(e->format, "maildir") == 0)
		e->ops = &export_maildir;
	else if (strcmp(e->format, "mbox") == 0)
		e->ops = &export_mbox;
	else
		return cli_usage("export", "--format is maildir or mbox");
	if (e->since != NULL && since_parse(e->since, &e->since_ms) != 0)
		return cli_usage("export", "--since takes 2026-11-22, 2026-11-22T18:30:00, or 90m, "
		    "12h, 3d");
	return CLI_OK;
}

/* ---- the folder ---- */

/* Is that the spool, or in it? */
static bool
inside_spool(const struct export *e, const char *path)
{
	char *to = realpath(path, NULL), *spool = realpath(e->reader.dir, NULL);
	size_t n = spool == NULL ? 0 : strlen(spool);
	bool in = to != NULL && n > 0 && strncmp(to, spool, n) == 0 &&
	    (to[n] == '/' || to[n] == '\0');

	free(to);
	free(spool);
	return in;
}

static int
folder_open(struct export *e)
{
	static const char inside[] = "this is inside the spool: nothing is ever written there";
	char *copy = mem_str(e->to);
	const char *what = NULL;

	if (inside_spool(e, e->to) || inside_spool(e, dirname(copy)))
		what = inside;
	else if (mkdir(e->to, 0700) != 0 && errno != EEXIST)
		what = strerror(errno);
	else if ((e->folder = open(e->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		what = strerror(errno);
	else if (flock(e->folder, LOCK_EX | LOCK_NB) != 0)
		what = errno == EWOULDBLOCK ? "another export writes there" : strerror(errno);
	free(copy);
	if (what == NULL)
		return 0;
	return spool_reader_fail(&e->cli, "export", e->to, what);
}

/* ---- messages ---- */

/* The user's own form; a recipient of ours without a mailbox has only an address. */
static struct slice
mailbox_of(const struct envelope_rcpt *r)
{
	return r->user.n > 0 ? r->user : r->address;
}

static void
user_names(const struct envelope_rcpt *r, struct export_user *u)
{
	struct slice box = mailbox_of(r);
	size_t at = slice_rfind(box, '@');

	mailfile_name(at < box.n ? slice_sub(box, at + 1, box.n) : r->domain, u->domain);
	mailfile_name(slice_sub(box, 0, at), u->local);
}

static struct wanted *
wanted_slot(struct wanted *t, size_t cap, uint64_t group, uint64_t user)
{
	size_t at = (size_t)((group ^ user * 0x9e3779b97f4a7c15ull) >> 20) & (cap - 1);

	while (t[at].used && (t[at].group != group || t[at].user != user))
		at = (at + 1) & (cap - 1);
	return &t[at];
}

static void
wanted_grow(struct export *e)
{
	size_t cap = e->capwanted == 0 ? WANTED_MIN : e->capwanted * 2;
	struct wanted *t = mem_array(cap, sizeof(*t));

	for (size_t i = 0; i < e->capwanted; i++)
		if (e->wanted[i].used)
			*wanted_slot(t, cap, e->wanted[i].group, e->wanted[i].user) = e->wanted[i];
	free(e->wanted);
	e->wanted = t;
	e->capwanted = cap;
}

/* The index knows hashes only, so one envelope of each pair tells for all of them.
 * true when it cannot be told: then the message is damaged and gets its say. */
static bool
is_wanted(struct export *e, const struct spool_entry *s)
{
	struct spool_message m;
	struct envelope_rcpt r;

	if (e->domain == NULL && e->user == NULL)
		return true;
	if (e->nwanted * 2 >= e->capwanted)
		wanted_grow(e);
	struct wanted *w = wanted_slot(e->wanted, e->capwanted, s->group, s->user);
	if (w->used)
		return w->yes;
	if (spool_read(e->spool, s->ref, false, &m) != 0) {
		e->bad_reads += errno == EBADMSG;
		return true;
	}
	if (spool_message_rcpt(&m, s->rcpt_index, &r) == 0) {
		*w = (struct wanted){ s->group, s->user, true, true };
		e->nwanted++;
		if (e->domain != NULL && !slice_ieq(r.domain, slice_str(e->domain)))
			w->yes = false;
		if (e->user != NULL && !slice_ieq(mailbox_of(&r), slice_str(e->user)))
			w->yes = false;
	}
	spool_message_fini(&m);
	return !w->used || w->yes;
}

/* What cannot be exported: on standard error now, in the JSON at the end. */
static void
name_damaged(struct export *e, const struct spool_entry *s, const char *what)
{
	char id[MSGID_TEXT + 1], when[40];

	if (e->live && !spool_reader_has(&e->reader, s->ref.segment)) {
		e->gone++;	/* all of it was settled meanwhile */
		return;
	}
	msgid_print(s->id, id);
	clock_iso8601(s->received_ms, when, sizeof(when));
	if (++e->damaged > NAMED_MAX)
		return;
	progress_end(&e->line);
	fprintf(stderr, "salvaposta export: %s/%u (segment %llu, came in %s, %llu bytes): %s; "
	    "skipped\n", id, s->rcpt_index, (unsigned long long)s->ref.segment, when,
	    (unsigned long long)s->size, what);
	json_array_append_new(e->named, json_pack("{s:s, s:i, s:I, s:s, s:I, s:s}", "id", id,
	    "rcpt_index", (int)s->rcpt_index, "segment", (json_int_t)s->ref.segment, "received",
	    when, "size", (json_int_t)s->size, "what", what));
}

static void
put_message(struct export *e, const struct spool_entry *s, const struct spool_message *msg)
{
	struct slice content = SLICE_NONE;
	struct envelope_rcpt rcpt;
	struct export_user user;
	struct mailfile m;
	uint64_t bytes;

	if (spool_message_rcpt(msg, s->rcpt_index, &rcpt) != 0 ||
	    body_map(msg->body_fd, &content) != 0) {
		name_damaged(e, s, "it cannot be read");
		return;
	}
	if (mailfile_make(&m, msg, &rcpt, s->rcpt_index, content, &e->block) != 0) {
		name_damaged(e, s, "its list of left-out fields is damaged");
		goto out;
	}
	user_names(&rcpt, &user);
	switch (e->ops->put(e->x, &user, &m, &bytes, e->why)) {
	case EXPORT_WRITTEN:
		e->written++;
		e->bytes += bytes;
		break;
	case EXPORT_PRESENT:
		e->present++;
		break;
	case EXPORT_ERROR:
		e->failed = true;
		break;
	}
out:
	body_unmap(&content);
}

static bool
on_entry(void *arg, const struct spool_entry *s)
{
	struct export *e = arg;
	struct spool_message m;

	if (interrupted)
		return false;
	e->seen++;
	if (progress_due(&e->line))
		progress_show(&e->line, e->seen, e->total, "messages", e->bytes);
	/* A bounce of one of our copies is nobody's mail, and names a recovery address. */
	if (s->kind >= RCPT_RETURN_PATH || s->received_ms < e->since_ms || !is_wanted(e, s))
		return true;
	if (spool_read(e->spool, s->ref, true, &m) != 0) {
		bool bad = errno == EBADMSG;
		e->bad_reads += bad;
		name_damaged(e, s, bad ? "its record is damaged" : "its record cannot be read");
		return true;
	}
	put_message(e, s, &m);
	spool_message_fini(&m);
	return !e->failed;
}

static void
scan(struct export *e)
{
	struct spool_filter f = { .due_ms = INT64_MAX };
	struct spool_cursor at = { 0 };
	bool end = false;

	if (e->state == NULL || strcmp(e->state, "held") == 0)
		f.states[LEG_HOLD] = 1u << LEG_PARKED | 1u << LEG_WAITING;
	while (!end && !e->failed && !interrupted)
		(void)spool_scan(e->spool, &at, &f, SCAN_BUDGET, on_entry, e, &end);
}

/* ---- the whole ---- */

static int
open_all(struct export *e)
{
	static const struct conf none = { .segment_size = 64 << 20 };
	struct spool_sums sums;

	e->folder = -1;
	if (spool_reader_open(&e->reader, &e->cli, "export", e->spool_dir, e->live) != 0)
		return -1;
	if (folder_open(e) != 0)
		return -1;
	e->loop = loop_new();
	e->spool = spool_open(e->loop, e->reader.conf != NULL ? e->reader.conf : &none, &store_view,
	    e->reader.dir, true);
	if (e->spool == NULL)
		return spool_reader_fail(&e->cli, "export", e->reader.dir,
		    "the spool cannot be opened");
	spool_total(e->spool, 0, &sums);
	if (e->state == NULL || strcmp(e->state, "held") == 0)
		e->total = sums.held;
	e->x = e->ops->open(e->folder, e->lf);
	buf_init(&e->block, MAILFILE_BLOCK_MAX);
	return 0;
}

static void
close_all(struct export *e)
{
	if (e->x != NULL)
		e->ops->close(e->x);
	spool_close(&e->spool);
	loop_free(&e->loop);
	if (e->folder >= 0)
		close(e->folder);
	spool_reader_close(&e->reader);
	buf_fini(&e->block);
	free(e->wanted);
	json_decref(e->named);
}

static void
print_summary(const struct export *e, uint64_t unclear)
{
	char size[32];

	size_words(e->bytes, size, sizeof(size));
	printf("%llu messages, %s, written to %s; %llu were there already\n",
	    (unsigned long long)e->written, size, e->to, (unsigned long long)e->present);
	if (e->gone > 0)
		printf("%llu were settled by the relay meanwhile\n", (unsigned long long)e->gone);
	if (e->damaged > 0)
		printf("%llu could not be read and were skipped; all of them, and why: salvaposta "
		    "spool verify\n", (unsigned long long)e->damaged);
	if (unclear > 0)
		printf("%llu places of the spool %s: %s\n", (unsigned long long)unclear, e->live ?
		    "changed while they were read" : "are damaged", e->live ? "run it once more" :
		    "mail may be missing; to see what: salvaposta spool verify");
	if (interrupted)
		printf("interrupted: run it again, it goes on from here\n");
}

static int
finish(struct export *e)
{
	struct spool_status st;

	if (e->ops->settle(e->x, e->why) != 0)
		e->failed = true;
	progress_end(&e->line);
	spool_status(e->spool, &st);
	uint64_t unclear = st.damaged > e->bad_reads ? st.damaged - e->bad_reads : 0;
	bool ok = !e->failed && !interrupted && e->damaged == 0 && unclear == 0;
	if (e->failed)
		fprintf(stderr, "salvaposta export: %s: %s\nWhat was whole before is there; mend "
		    "this and run it again.\n", e->to, e->why);
	if (!e->cli.json) {
		print_summary(e, unclear);
		return ok ? CLI_OK : CLI_FAILED;
	}
	json_t *o = json_pack("{s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:O, s:b}", "ok", (int)ok,
	    "format", e->ops->name, "written", (json_int_t)e->written, "bytes",
	    (json_int_t)e->bytes, "present", (json_int_t)e->present, "damaged",
	    (json_int_t)e->damaged, "damaged_places", (json_int_t)unclear, "settled_meanwhile",
	    (json_int_t)e->gone, "skipped", e->named, "interrupted", (int)interrupted);
	if (e->failed)
		json_object_set_new(o, "error", json_string(e->why));
	control_print(o);
	json_decref(o);
	return ok ? CLI_OK : CLI_FAILED;
}

int
cmd_export(int argc, char **argv)
{
	struct export *e = mem_new(sizeof(*e));
	const struct cli_option opt[] = {
		{ "to", &e->to, NULL }, { "spool", &e->spool_dir, NULL },
		{ "format", &e->format, NULL }, { "domain", &e->domain, NULL },
		{ "user", &e->user, NULL }, { "state", &e->state, NULL },
		{ "since", &e->since, NULL }, { "live", NULL, &e->live }, { "lf", NULL, &e->lf },
	};
	const struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	int status;

	e->named = json_array();
	e->folder = -1;
	e->reader = (struct spool_reader){ .dir_fd = -1, .lock_fd = -1 };
	if (cli_options(&argc, argv, opt, sizeof(opt) / sizeof(opt[0]), help, &e->cli,
	    &status) != 0)
		goto out;
	status = check_arguments(e, argc);
	if (status != CLI_OK)
		goto out;
	status = CLI_FAILED;
	log_open("export", LOG_LVL_ERROR);
	if (open_all(e) != 0)
		goto out;
	(void)sigaction(SIGINT, &act, NULL);
	(void)sigaction(SIGTERM, &act, NULL);
	(void)sigaction(SIGHUP, &act, NULL);
	progress_begin(&e->line);
	scan(e);
	status = finish(e);
out:
	close_all(e);
	free(e);
	return status;
}

// SPDX-License-Identifier: Apache-2.0
/* What is remembered of a recovery mailbox and its provider, for `salvaposta why`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/attempt_priv.h"
#include "queue/report.h"
#include "queue/volume.h"

static const struct { enum mark_kind kind; const char *words; bool counts; } mailbox_marks[] = {
	{ MARK_NOUSER, "it does not exist, as its provider said; nothing is sent until it changes",
	  false },
	{ MARK_FULL, "it is full", false },
	{ MARK_USERRATE, "its provider says it gets too much", false },
	{ MARK_BURST, "copies in the present mailbox-burst-time", true },
	{ MARK_DAY, "copies in the present day", true },
};

static void
add(json_t *known, json_t *words, enum mark_kind kind, const struct mark *m, const char *what,
    bool counts)
{
	char line[256], until[48] = "for ever", value[24] = "";
	json_t *list = json_object_get(known, "marks");

	if (m->until_ms != MARK_FOR_EVER) {
		memcpy(until, "until ", 6);
		clock_iso8601(m->until_ms, until + 6, sizeof(until) - 6);
	}
	if (counts)
		(void)snprintf(value, sizeof(value), ": %u", m->value);
	(void)snprintf(line, sizeof(line), "  %s%s (%s)", what, value, until);
	if (!counts || m->value > 0)
		json_array_append_new(words, json_string(line));
	json_array_append_new(list, json_pack("{s:s, s:o, s:I}", "mark", mark_kind_name(kind), "until",
	    m->until_ms == MARK_FOR_EVER ? json_null() : report_time(m->until_ms), "value",
	    (json_int_t)m->value));
}

static void
add_volume(struct attempts *a, const char *group, json_t *known, json_t *words, int64_t now)
{
	const struct conf_provider *p = conf_provider_find(a->role->conf, slice_str(group));
	uint64_t key = marks_key(a->marks, slice_str(group), SLICE_NONE);
	char line[160], until[40] = "";
	struct volume v;

	if (!volume_look(a->marks, p, key, now, &v) || v.allowed == UINT64_MAX)
		return;
	if (v.ends_ms != 0)
		clock_iso8601(v.ends_ms, until, sizeof(until));
	(void)snprintf(line, sizeof(line), "  %u copies today of %llu it may get in a day (largest "
	    "lately: %u)%s%s%s", v.today, (unsigned long long)v.allowed, v.largest,
	    !volume_full(&v) ? "" : "; until ", !volume_full(&v) ? "" : until,
	    !volume_full(&v) ? "" : " only class 0 goes");
	json_array_append_new(words, json_string(line));
	json_object_set_new(known, "volume", json_pack("{s:I, s:I, s:I, s:o}", "today",
	    (json_int_t)v.today, "allowed", (json_int_t)v.allowed, "largest", (json_int_t)v.largest,
	    "until", report_time(v.ends_ms)));
}

static void
add_provider(struct attempts *a, const struct route *r, json_t *known, json_t *words, int64_t now)
{
	const char *name = attempt_group_name(a, r->group);
	uint64_t key = marks_key(a->marks, slice_str(r->group), SLICE_NONE);
	char line[300];
	struct mark m;

	json_object_set_new(known, "provider", json_string(name));
	(void)snprintf(line, sizeof(line), "provider %.200s:", name);
	json_array_append_new(words, json_string(line));
	if (marks_get(a->marks, MARK_PROVIDER, key, now, &m)) {
		(void)snprintf(line, sizeof(line), "closed after a reply of class %s",
		    m.value < REPLY_CLASS_MAX ? reply_class_name((enum reply_class)m.value) : "?");
		add(known, words, MARK_PROVIDER, &m, line, false);
	} else {
		json_array_append_new(words, json_string("  open"));
	}
	add_volume(a, r->group, known, words, now);
	if (marks_get(a->marks, MARK_AUTH, key, now, &m))
		add(known, words, MARK_AUTH, &m, "refusals of copies that could not align", true);
}

/* 12.3 */
static void
say_notice(struct attempts *a, struct slice user, struct slice recovery, json_t *known,
    json_t *words)
{
	int64_t told = attempt_announce_time(a, user, recovery);
	char line[100], when[40];

	json_object_set_new(known, "notice", told == 0 ? json_null() : report_time(told));
	if (told == 0)
		return;
	clock_iso8601(told, when, sizeof(when));
	(void)snprintf(line, sizeof(line), "  the notice of the outage was sent, or refused, %s", when);
	json_array_append_new(words, json_string(line));
}

/* P4: the address itself stays here; its hash is the one of the log. */
void
attempts_known(struct attempts *a, struct slice user, struct slice recovery, json_t *known,
    json_t *words)
{
	int64_t now = schedule_now(a->schedule);
	uint64_t key = marks_key(a->marks, recovery, SLICE_NONE);
	size_t at = slice_rfind(recovery, '@');
	char line[200];
	struct mark m;

	json_object_set_new(known, "hash", json_string(log_hash(recovery)));
	json_object_set_new(known, "marks", json_array());
	(void)snprintf(line, sizeof(line), "recovery mailbox %s:", log_hash(recovery));
	json_array_append_new(words, json_string(line));
	size_t said = json_array_size(words);
	say_notice(a, user, recovery, known, words);
	if (marks_get(a->marks, MARK_LOOP, marks_key(a->marks, user, SLICE_NONE), now, &m))
		add(known, words, MARK_LOOP, &m, "mail came back from it", false);
	for (size_t i = 0; i < sizeof(mailbox_marks) / sizeof(mailbox_marks[0]); i++)
		if (marks_get(a->marks, mailbox_marks[i].kind, key, now, &m))
			add(known, words, mailbox_marks[i].kind, &m, mailbox_marks[i].words,
			    mailbox_marks[i].counts);
	char *domain = slice_dup(slice_sub(recovery, at < recovery.n ? at + 1 : recovery.n,
	    recovery.n));
	bytes_lower(domain, strlen(domain));
	const struct route *r = routes_get(a->routes, domain, clock_mono_ms());
	free(domain);
	if (json_array_size(words) == said)
		json_array_append_new(words, json_string("  nothing is remembered of it"));
	if (r != NULL && r->status == ROUTED_OK)
		add_provider(a, r, known, words, now);
	else
		json_array_append_new(words, json_string("provider: not known now; DNS is asked when a "
		    "copy is due"));
}

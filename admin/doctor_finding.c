// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "admin/doctor.h"
#include "admin/table.h"
#include "base/mem.h"

enum { TXT_STRING_MAX = 250, TEXT_ROOM = 4 /* an octet may become "\x1b" */ };

static const char *const level_name[] = { "ok", "warning", "problem" };

/* Owned. What does not fit ends in "...". */
static char *
harmless(const char *text)
{
	size_t n = strlen(text);
	struct buf b;
	char *s;

	buf_init(&b, n * TEXT_ROOM + 1);
	text_safe(slice_make(text, n), &b);
	s = buf_len(&b) == 0 ? mem_str("") : slice_dup(buf_slice(&b));
	buf_fini(&b);
	return s;
}

struct finding *
finding_add(struct findings *fs, enum finding_level level, const char *check, const char *about,
    const char *fmt, ...)
{
	char text[DOCTOR_TEXT_MAX];
	struct finding *f;
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) >= (int)sizeof(text))
		memcpy(text + sizeof(text) - 4, "...", 4);
	va_end(ap);
	if (fs->n == fs->cap) {
		fs->cap = fs->cap == 0 ? 16 : fs->cap * 2;
		fs->f = mem_resize(fs->f, fs->cap, sizeof(*fs->f));
	}
	f = &fs->f[fs->n++];
	*f = (struct finding){ .level = level, .check = check, .about = harmless(about),
	    .text = harmless(text) };
	return f;
}

void
finding_fix(struct finding *f, const char *fmt, ...)
{
	char text[DOCTOR_FIX_MAX];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) >= (int)sizeof(text))
		memcpy(text + sizeof(text) - 4, "...", 4);
	va_end(ap);
	free(f->fix);
	f->fix = harmless(text);
}

void
finding_publish(struct finding *f, const char *owner, const char *type, struct slice data)
{
	struct buf b;

	buf_init(&b, DOCTOR_FIX_MAX);
	(void)!buf_printf(&b, "publish: %s. IN %s", owner, type);
	if (strcmp(type, "TXT") != 0) {
		(void)!buf_printf(&b, " %.*s", SLICE_FMT(data));
		data = SLICE_NONE;
	}
	for (; data.n > 0; data = slice_sub(data, TXT_STRING_MAX, data.n))
		(void)!buf_printf(&b, " \"%.*s\"", SLICE_FMT(slice_sub(data, 0, TXT_STRING_MAX)));
	finding_fix(f, "%.*s", SLICE_FMT(buf_slice(&b)));
	buf_fini(&b);
}

void
findings_move(struct findings *to, struct findings *from)
{
	if (to->cap - to->n < from->n) {
		to->cap = to->n + from->n + 64;
		to->f = mem_resize(to->f, to->cap, sizeof(*to->f));
	}
	if (from->n > 0)
		memcpy(to->f + to->n, from->f, from->n * sizeof(*from->f));
	to->n += from->n;
	from->n = 0;
	findings_fini(from);
}

void
findings_fini(struct findings *fs)
{
	for (size_t i = 0; i < fs->n; i++) {
		free(fs->f[i].about);
		free(fs->f[i].text);
		free(fs->f[i].fix);
	}
	free(fs->f);
	*fs = (struct findings){ .n = 0 };
}

size_t
findings_count(const struct findings *fs, enum finding_level level)
{
	size_t n = 0;

	for (size_t i = 0; i < fs->n; i++)
		n += fs->f[i].level == level;
	return n;
}

void
findings_print(const struct findings *fs, bool all, FILE *out)
{
	for (size_t i = 0; i < fs->n; i++) {
		const struct finding *f = &fs->f[i];

		if (f->level == FINDING_OK && !all)
			continue;
		fprintf(out, "%-7s  %-16s %s: %s\n", level_name[f->level], f->check, f->about,
		    f->text);
		if (f->fix != NULL)
			fprintf(out, "         %-16s -> %s\n", "", f->fix);
	}
}

json_t *
findings_json(const struct findings *fs)
{
	json_t *list = json_array();

	for (size_t i = 0; i < fs->n; i++) {
		const struct finding *f = &fs->f[i];
		json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "level", level_name[f->level],
		    "check", f->check, "about", f->about, "text", f->text);

		if (o != NULL && f->fix != NULL)
			(void)json_object_set_new(o, "fix", json_string(f->fix));
		(void)json_array_append_new(list, o);
	}
	return list;
}

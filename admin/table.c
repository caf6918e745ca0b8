// SPDX-License-Identifier: Apache-2.0
#include "admin/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"

enum { CELL_MAX = 512 };

void
table_init(struct table *t, const char *const *head)
{
	*t = (struct table){ .ncolumn = 0 };
	while (head[t->ncolumn] != NULL) {
		CHECK(t->ncolumn < TABLE_COLUMNS_MAX);
		t->head[t->ncolumn] = head[t->ncolumn];
		t->ncolumn++;
	}
}

void
table_cell(struct table *t, const char *text)
{
	struct buf b;

	buf_init(&b, 8 * CELL_MAX);
	struct slice s = slice_str(text);
	text_safe(slice_sub(s, 0, CELL_MAX), &b);
	t->cell = mem_resize(t->cell, t->ncell + 1, sizeof(*t->cell));
	t->cell[t->ncell++] = s.n == 0 ? mem_str("-") : slice_dup(buf_slice(&b));
	buf_fini(&b);
}

void
table_cellf(struct table *t, const char *fmt, ...)
{
	char text[CELL_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	table_cell(t, text);
}

/* Columns on a terminal, near enough: code points. */
static size_t
width(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void
print_row(const struct table *t, const char *const *cell, const size_t *w, FILE *out)
{
	for (size_t i = 0; i < t->ncolumn; i++) {
		const char *s = cell[i];
		int pad = (int)(w[i] - width(s));
		bool right = t->head[i][0] == '#', last = i + 1 == t->ncolumn;
		if (i > 0)
			fputs("  ", out);
		if (right)
			fprintf(out, "%*s%s", pad, "", s);
		else
			fprintf(out, "%s%*s", s, last ? 0 : pad, "");
	}
	fputc('\n', out);
}

void
table_print(struct table *t, FILE *out)
{
	size_t w[TABLE_COLUMNS_MAX];
	const char *head[TABLE_COLUMNS_MAX];

	for (size_t i = 0; i < t->ncolumn; i++) {
		head[i] = t->head[i] + (t->head[i][0] == '#');
		w[i] = width(head[i]);
	}
	CHECK(t->ncell % t->ncolumn == 0);
	for (size_t i = 0; i < t->ncell; i++)
		if (width(t->cell[i]) > w[i % t->ncolumn])
			w[i % t->ncolumn] = width(t->cell[i]);
	print_row(t, head, w, out);
	for (size_t i = 0; i < t->ncell; i += t->ncolumn)
		print_row(t, (const char *const *)t->cell + i, w, out);
	for (size_t i = 0; i < t->ncell; i++)
		free(t->cell[i]);
	free(t->cell);
	*t = (struct table){ .ncolumn = 0 };
}

/* Length of the UTF-8 sequence at p and its code point; 0 when it is none. */
static size_t
utf8(const unsigned char *p, size_t n, uint32_t *cp)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;

	if (len == 0 || len > n || p[0] > 0xf4)
		return 0;
	*cp = len == 1 ? p[0] : p[0] & (0x7fU >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*cp = *cp << 6 | (p[i] & 0x3fU);
	}
	return len;
}

static bool
harmless(uint32_t cp)
{
	bool control = cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
	bool turns = (cp >= 0x200e && cp <= 0x200f) || (cp >= 0x2028 && cp <= 0x202e) ||
	    (cp >= 0x2066 && cp <= 0x2069) || cp == 0x061c || cp == 0xfeff;

	return !control && !turns;
}

void
text_safe(struct slice in, struct buf *out)
{
	for (size_t i = 0; i < in.n;) {
		const unsigned char *p = (const unsigned char *)in.p + i;
		uint32_t cp = 0;
		size_t n = utf8(p, in.n - i, &cp);
		if (n > 0 && harmless(cp)) {
			CHECK(buf_put(out, p, n) == 0);
			i += n;
			continue;
		}
		CHECK(buf_printf(out, "\\x%02x", (unsigned)*p) == 0);
		i++;
	}
}

void
text_print(FILE *out, const char *s)
{
	struct buf b;

	buf_init(&b, 4 * strlen(s) + 1);
	text_safe(slice_str(s), &b);
	struct slice safe = buf_slice(&b);
	fprintf(out, "%.*s", SLICE_FMT(safe));
	buf_fini(&b);
}

const char *
member_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s == NULL ? "" : s;
}

int64_t
member_int(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_integer(v) ? (int64_t)json_integer_value(v) : 0;
}

int64_t
json_time(const json_t *v)
{
	struct tm tm = { .tm_year = 0 };
	const char *s = json_string_value(v);

	if (json_is_integer(v))
		return (int64_t)json_integer_value(v);
	if (s == NULL || strptime(s, "%Y-%m-%dT%H:%M:%S", &tm) == NULL)
		return 0;
	time_t t = timegm(&tm);
	return t < 0 ? 0 : (int64_t)t * 1000;
}

int64_t
member_time(const json_t *o, const char *key)
{
	return json_time(json_object_get(o, key));
}

void
size_words(uint64_t bytes, char *out, size_t cap)
{
	static const char units[] = "BkMGTP";
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1000 && i + 2 < sizeof(units)) {
		v /= 1024;
		i++;
	}
	if (i == 0)
		(void)snprintf(out, cap, "%llu", (unsigned long long)bytes);
	else
		(void)snprintf(out, cap, v < 10 ? "%.1f%c" : "%.0f%c", v, units[i]);
}

void
time_words(int64_t wall_ms, char *out, size_t cap)
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;

	if (wall_ms <= 0 || localtime_r(&t, &tm) == NULL ||
	    strftime(out, cap, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		(void)snprintf(out, cap, "-");
}

void
span_words(int64_t ms, char *out, size_t cap)
{
	int64_t s = ms < 0 ? 0 : ms / 1000;

	if (s < 120)
		(void)snprintf(out, cap, "%llds", (long long)s);
	else if (s < 120 * 60)
		(void)snprintf(out, cap, "%lldm", (long long)s / 60);
	else if (s < 48 * 3600)
		(void)snprintf(out, cap, "%lldh", (long long)s / 3600);
	else
		(void)snprintf(out, cap, "%lldd", (long long)s / 86400);
}

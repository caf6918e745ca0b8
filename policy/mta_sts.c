// SPDX-License-Identifier: Apache-2.0
#include "policy/mta_sts.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/buf.h"

enum { MTA_STS_NAME_MAX = 253 };

static bool
sts_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static struct slice
sts_wsp(struct slice s)		/* without SP and HTAB at both ends */
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = slice_sub(s, 1, s.n);
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

static bool
sts_id(struct slice v, char id[MTA_STS_ID_MAX + 1])
{
	size_t i;

	for (i = 0; i < v.n; i++)
		if (!sts_alnum(v.p[i]))
			return false;
	return v.n > 0 && slice_cstr(v, id, MTA_STS_ID_MAX + 1) == 0;
}

bool
mta_sts_record(struct slice txt, char id[MTA_STS_ID_MAX + 1])
{
	struct slice version = SLICE_LIT("v=STSv1"), field;
	size_t semi = slice_find(txt, ';'), eq;
	bool have = false;

	id[0] = '\0';
	if (semi >= txt.n || !slice_eq(sts_wsp(slice_sub(txt, 0, semi)), version) ||
	    txt.p[0] != 'v')
		return false;
	while (semi < txt.n) {
		txt = slice_sub(txt, semi + 1, txt.n);
		semi = slice_find(txt, ';');
		field = sts_wsp(slice_sub(txt, 0, semi));
		eq = slice_find(field, '=');
		if (have || !slice_eq(slice_sub(field, 0, eq), SLICE_LIT("id")))
			continue;	/* extensions; of two ids the first */
		have = true;
		if (!sts_id(slice_sub(field, eq + 1, field.n), id))
			id[0] = '\0';
	}
	return true;
}

/* A host name in ASCII, or "*." and one. */
static bool
sts_pattern_ok(struct slice s)
{
	size_t i, label = 0;

	if (s.n > 2 && s.p[0] == '*' && s.p[1] == '.')
		s = slice_sub(s, 2, s.n);
	if (s.n == 0 || s.n > MTA_STS_NAME_MAX)
		return false;
	for (i = 0; i < s.n; i++) {
		if (s.p[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if ((!sts_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_') ||
		    ++label > 63) {
			return false;
		}
	}
	return label > 0;
}

struct sts_parse {
	bool		version, mode, age;
	size_t		nmx;
	struct mta_sts	p;
	struct buf	mx;
};

static int
sts_mode(struct slice v, uint8_t *mode)
{
	static const char *const words[MTA_STS_MODE_MAX] = {
		[MTA_STS_NONE] = "none", [MTA_STS_TESTING] = "testing",
		[MTA_STS_ENFORCE] = "enforce",
	};

	for (uint8_t i = 0; i < MTA_STS_MODE_MAX; i++)
		if (slice_eq(v, slice_str(words[i]))) {
			*mode = i;
			return 0;
		}
	return -1;
}

static int
sts_mx(struct sts_parse *k, struct slice v)
{
	size_t from = buf_len(&k->mx);

	if (v.n > 0 && v.p[v.n - 1] == '.')	/* seen in the wild; means the same */
		v.n--;
	if (!sts_pattern_ok(v) || ++k->nmx > MTA_STS_MX_MAX ||
	    buf_put_slice(&k->mx, v) != 0 || buf_puts(&k->mx, "\n") != 0)
		return -1;
	bytes_lower(k->mx.p + k->mx.off + from, v.n);
	return 0;
}

/* One "name: value"; of a name that may come once the first counts (3.2). */
static int
sts_field(struct sts_parse *k, struct slice name, struct slice v)
{
	uint64_t n;

	if (slice_eq(name, SLICE_LIT("version")) && !k->version) {
		k->version = true;
		return slice_eq(v, SLICE_LIT("STSv1")) ? 0 : -1;
	}
	if (slice_eq(name, SLICE_LIT("mode")) && !k->mode) {
		k->mode = true;
		return sts_mode(v, &k->p.mode);
	}
	if (slice_eq(name, SLICE_LIT("max_age")) && !k->age) {
		k->age = true;
		if (v.n == 0 || v.n > 10 || slice_u64(v, &n) != 0)
			return -1;
		k->p.max_age_s = (uint32_t)(n > MTA_STS_AGE_MAX_S ? MTA_STS_AGE_MAX_S : n);
		return 0;
	}
	if (slice_eq(name, SLICE_LIT("mx")))
		return sts_mx(k, v);
	return 0;
}

static int
sts_line(struct sts_parse *k, struct slice line)
{
	size_t i, colon = slice_find(line, ':');
	struct slice name = slice_sub(line, 0, colon);

	for (i = 0; i < line.n; i++)
		if ((unsigned char)line.p[i] < 32 && line.p[i] != '\t')
			return -1;
	if (sts_wsp(line).n == 0)
		return 0;
	if (colon >= line.n || name.n == 0)
		return -1;
	return sts_field(k, name, sts_wsp(slice_sub(line, colon + 1, line.n)));
}

int
mta_sts_parse(struct slice text, struct mta_sts *out)
{
	struct sts_parse k = { .nmx = 0 };
	struct slice line;
	size_t nl;
	int r = text.n > 0 && text.n <= MTA_STS_TEXT_MAX ? 0 : -1;

	memset(out, 0, sizeof(*out));
	buf_init(&k.mx, MTA_STS_TEXT_MAX + MTA_STS_MX_MAX);
	while (r == 0 && text.n > 0) {
		nl = slice_find(text, '\n');
		line = slice_sub(text, 0, nl);
		text = slice_sub(text, nl + 1, text.n);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		r = sts_line(&k, line);
	}
	if (!k.version || !k.mode || !k.age || (k.nmx == 0 && k.p.mode != MTA_STS_NONE))
		r = -1;
	if (r == 0) {
		*out = k.p;
		out->mx = slice_dup(buf_slice(&k.mx));
	}
	buf_fini(&k.mx);
	return r;
}

void
mta_sts_fini(struct mta_sts *p)
{
	free(p->mx);
	memset(p, 0, sizeof(*p));
}

void
mta_sts_copy(struct mta_sts *to, const struct mta_sts *from)
{
	*to = *from;
	to->mx = mem_str(from->mx);
}

bool
mta_sts_match(const struct mta_sts *p, const char *host)
{
	struct slice list = slice_str(p->mx), h = slice_str(host), one, rest;
	size_t nl, dot;

	if (h.n > 0 && h.p[h.n - 1] == '.')
		h.n--;
	dot = slice_find(h, '.');
	rest = slice_sub(h, dot + 1, h.n);
	while (list.n > 0) {
		nl = slice_find(list, '\n');
		one = slice_sub(list, 0, nl);
		list = slice_sub(list, nl + 1, list.n);
		if (slice_ieq(one, h))
			return true;
		if (one.n > 2 && one.p[0] == '*' && dot > 0 && dot < h.n &&
		    slice_ieq(slice_sub(one, 2, one.n), rest))
			return true;
	}
	return false;
}

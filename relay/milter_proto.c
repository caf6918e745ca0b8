// SPDX-License-Identifier: Apache-2.0
#include "relay/milter_proto.h"

#include <arpa/inet.h>

#include "base/mem.h"

enum {
	FOLD_AT		= 78,		/* RFC 5322 2.1.1 */
	LINE_LONGEST	= 998,
	NAME_LONGEST	= 64
};

/* -- to the filter ------------------------------------------------------------------- */

static void
u32_put(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static uint32_t
u32_get(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A frame's head of unknown length; its place, for frame_end. -1: full. */
static int
frame_begin(struct buf *out, uint8_t command, size_t *at)
{
	const uint8_t head[5] = { 0, 0, 0, 0, command };

	*at = buf_len(out);
	return buf_put(out, head, sizeof(head));
}

static int
frame_end(struct buf *out, size_t at, bool bad)
{
	size_t n = buf_len(out) - at;

	if (bad || n < 5 || n - 5 > MILTER_DATA_MAX) {
		out->n = out->off + at;		/* all of it or nothing */
		return -1;
	}
	u32_put((uint8_t *)out->p + out->off + at, (uint32_t)(n - 4));
	return 0;
}

/* With its closing NUL; a NUL inside would end it early. */
static int
put_text(struct buf *out, struct slice s)
{
	size_t nul = slice_find(s, '\0');

	return buf_put_slice(out, slice_sub(s, 0, nul)) != 0 || buf_put(out, "", 1) != 0 ? -1 : 0;
}

int
milter_put(struct buf *out, enum milter_command c, struct slice data)
{
	size_t at;
	bool bad = frame_begin(out, (uint8_t)c, &at) != 0;

	bad = bad || buf_put_slice(out, data) != 0;
	return frame_end(out, at, bad);
}

int
milter_put_optneg(struct buf *out)
{
	uint8_t b[12];

	u32_put(b, MILTER_VERSION);
	u32_put(b + 4, MILTER_ACTIONS);
	u32_put(b + 8, MILTER_STEPS);
	return milter_put(out, MILTER_OPTNEG, slice_make(b, sizeof(b)));
}

int
milter_put_connect(struct buf *out, struct slice name, struct slice ip)
{
	char text[INET6_ADDRSTRLEN];
	uint8_t a[16];
	size_t at;
	char family = slice_cstr(ip, text, sizeof(text)) != 0 ? 'U' :
	    inet_pton(AF_INET, text, a) == 1 ? '4' : inet_pton(AF_INET6, text, a) == 1 ? '6' : 'U';
	bool bad = frame_begin(out, MILTER_CONNECT, &at) != 0;

	bad = bad || put_text(out, name) != 0 || buf_put(out, &family, 1) != 0;
	if (family != 'U')	/* the port is not known here: 0 */
		bad = bad || buf_put(out, "\0", 2) != 0 ||
		    (family == '6' && buf_puts(out, "IPv6:") != 0) || put_text(out, ip) != 0;
	return frame_end(out, at, bad);
}

int
milter_put_text(struct buf *out, enum milter_command c, struct slice text)
{
	size_t at;
	bool bad = frame_begin(out, (uint8_t)c, &at) != 0;

	bad = bad || put_text(out, text) != 0;
	return frame_end(out, at, bad);
}

int
milter_put_path(struct buf *out, enum milter_command c, struct slice address)
{
	size_t at;
	bool bad = frame_begin(out, (uint8_t)c, &at) != 0;

	address = slice_sub(address, 0, slice_find(address, '\0'));
	bad = bad || buf_puts(out, "<") != 0 || buf_put_slice(out, address) != 0 ||
	    buf_put(out, ">", 2) != 0;
	return frame_end(out, at, bad);
}

int
milter_put_header(struct buf *out, struct slice name, struct slice value, bool leading_space)
{
	size_t at, room;
	bool bad = frame_begin(out, MILTER_HEADER, &at) != 0;

	name = slice_sub(name, 0, MILTER_DATA_MAX / 2);
	bad = bad || put_text(out, name) != 0;
	if (!leading_space && value.n > 0 && (value.p[0] == ' ' || value.p[0] == '\t'))
		value = slice_sub(value, 1, value.n);
	room = MILTER_DATA_MAX - name.n - 2;
	for (size_t i = 0; i < value.n && room > 0 && !bad; i++) {
		char c = value.p[i];

		if (c == '\r' && i + 1 < value.n && value.p[i + 1] == '\n')
			continue;
		if (c == '\0')
			c = ' ';
		bad = buf_put(out, &c, 1) != 0;
		room--;
	}
	bad = bad || buf_put(out, "", 1) != 0;
	return frame_end(out, at, bad);
}

void
milter_macros(struct milter_macros *m, struct buf *out, enum milter_command c)
{
	const char command = (char)c;

	m->out = out;
	m->bad = frame_begin(out, MILTER_MACRO, &m->at) != 0 || buf_put(out, &command, 1) != 0;
}

void
milter_macro(struct milter_macros *m, const char *name, struct slice value)
{
	m->bad = m->bad || put_text(m->out, slice_str(name)) != 0 ||
	    put_text(m->out, value) != 0;
}

int
milter_macros_end(struct milter_macros *m)
{
	return frame_end(m->out, m->at, m->bad);
}

/* -- of the filter ------------------------------------------------------------------- */

void
milter_reader_init(struct milter_reader *r)
{
	*r = (struct milter_reader){ .nhead = 0 };
	buf_init(&r->data, MILTER_KEEP_MAX);
}

void
milter_reader_fini(struct milter_reader *r)
{
	buf_fini(&r->data);
}

/* Takes bytes of the head; false: it is not whole yet, or no frame begins so. */
static bool
reader_head(struct milter_reader *r, struct slice in, size_t *used, bool *nonsense)
{
	uint32_t n;

	while (r->nhead < sizeof(r->head) && *used < in.n)
		r->head[r->nhead++] = (uint8_t)in.p[(*used)++];
	if (r->nhead < sizeof(r->head))
		return false;
	n = u32_get(r->head);
	if (n == 0 || n > MILTER_FRAME_MAX) {
		*nonsense = true;
		return false;
	}
	r->left = n - 1;
	buf_clear(&r->data);
	return true;
}

enum milter_read
milter_reader_feed(struct milter_reader *r, struct slice in, size_t *used,
    struct milter_frame *out)
{
	bool nonsense = false;
	size_t take, keep;

	*used = 0;
	if (r->nhead < sizeof(r->head) && !reader_head(r, in, used, &nonsense))
		return nonsense ? MILTER_NONSENSE : MILTER_MORE;
	take = in.n - *used < r->left ? in.n - *used : r->left;
	keep = MILTER_KEEP_MAX - buf_len(&r->data);
	CHECK(buf_put(&r->data, in.p + *used, take < keep ? take : keep) == 0);
	*used += take;
	r->left -= (uint32_t)take;
	if (r->left > 0)
		return MILTER_MORE;
	*out = (struct milter_frame){ .answer = r->head[4], .data = buf_slice(&r->data),
		.cut = u32_get(r->head) - 1 > MILTER_KEEP_MAX };
	r->nhead = 0;
	return MILTER_FRAME;
}

int
milter_get_optneg(struct slice data, uint32_t *steps)
{
	const uint8_t *p = (const uint8_t *)data.p;
	uint32_t version;

	if (data.n < 12)
		return -1;
	version = u32_get(p);
	if (version < MILTER_OLDEST || version > MILTER_VERSION)
		return -1;
	/* Actions beyond ours are not heeded, so need no answer; of the steps the sizes of
	 * chunks (the high bits) are left alone, ours are smaller. */
	*steps = u32_get(p + 8) & MILTER_STEPS;
	return 0;
}

int
milter_get_header(struct slice data, bool index, struct slice *name, struct slice *value)
{
	size_t nul;

	if (index && data.n < 4)
		return -1;
	if (index)
		data = slice_sub(data, 4, data.n);
	nul = slice_find(data, '\0');
	if (nul == 0 || nul >= data.n)
		return -1;
	*name = slice_sub(data, 0, nul);
	data = slice_sub(data, nul + 1, data.n);
	nul = slice_find(data, '\0');
	if (nul >= data.n)
		return -1;
	*value = slice_sub(data, 0, nul);
	return 0;
}

/* -- what a filter may say ------------------------------------------------------------ */

static bool
digit(char c)
{
	return c >= '0' && c <= '9';
}

int
milter_reply(struct slice data, char out[MILTER_REPLY_MAX])
{
	size_t o = 0;

	data = slice_sub(data, 0, slice_find(data, '\0'));
	data = slice_sub(data, 0, slice_find(data, '\n'));
	data = slice_trim(data);
	if (data.n < 3 || (data.p[0] != '4' && data.p[0] != '5') || !digit(data.p[1]) ||
	    !digit(data.p[2]) || (data.n > 3 && data.p[3] != ' ' && data.p[3] != '-'))
		return -1;
	for (size_t i = 0; i < data.n && o < MILTER_REPLY_MAX - 1; i++) {
		char c = data.p[i];

		if (c == '%' && i + 1 < data.n && data.p[i + 1] == '%')
			i++;		/* libmilter's way to write one */
		out[o++] = i == 3 ? ' ' : c < ' ' || c > '~' ? '?' : c;
	}
	out[o] = '\0';
	if (strncmp(out, "421", 3) == 0)
		memcpy(out, "451", 3);
	if (o <= 4)
		memcpy(out + 3, " refused by a filter", sizeof(" refused by a filter"));
	return 0;
}

bool
milter_field_allowed(struct slice name)
{
	static const char *const ours[] = { "X-Fwd-", "X-Salvaposta-" };

	if (name.n < 3 || name.n > NAME_LONGEST || !slice_istarts(name, SLICE_LIT("X-")))
		return false;
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		if (slice_istarts(name, slice_str(ours[i])))
			return false;
	}
	for (size_t i = 0; i < name.n; i++) {	/* ftext, RFC 5322 2.2 */
		if (name.p[i] <= ' ' || name.p[i] > '~' || name.p[i] == ':')
			return false;
	}
	return true;
}

/* The next word: all that is not white space, a line end or another control. */
static struct slice
next_word(struct slice *rest)
{
	size_t from = 0, to;

	while (from < rest->n && (unsigned char)rest->p[from] <= ' ')
		from++;
	for (to = from; to < rest->n && (unsigned char)rest->p[to] > ' '; to++)
		continue;
	struct slice w = slice_sub(*rest, from, to);
	*rest = slice_sub(*rest, to, rest->n);
	return w;
}

static int
put_word(struct buf *out, struct slice w)
{
	for (size_t i = 0; i < w.n; i++) {
		const char c = w.p[i] > '~' || w.p[i] < ' ' ? '?' : w.p[i];

		if (buf_put(out, &c, 1) != 0)
			return -1;
	}
	return 0;
}

int
milter_put_field(struct buf *out, struct slice name, struct slice value)
{
	size_t before = buf_len(out), col = name.n + 1;
	bool bad = buf_put_slice(out, name) != 0 || buf_puts(out, ":") != 0, first = true;
	struct slice w;

	while (!bad && (w = next_word(&value)).n > 0) {
		bool fold = !first && col + 1 + w.n > FOLD_AT;

		bad = buf_puts(out, fold ? "\r\n\t" : " ") != 0 || put_word(out, w) != 0;
		col = (fold ? 1 : col + 1) + w.n;
		bad = bad || col > LINE_LONGEST;
		first = false;
	}
	if (!bad && buf_puts(out, first ? " \r\n" : "\r\n") == 0)
		return 0;
	out->n = out->off + before;
	return -1;
}

struct saying { const char *name, *start; };

static bool
is_letter(struct slice s, size_t at)
{
	char c = at < s.n ? (char)(s.p[at] | 0x20) : ' ';

	return c >= 'a' && c <= 'z';
}

/* As a whole word: "No, score=0.1", not "none". */
static bool
field_says(struct slice name, struct slice value, const struct saying *says, size_t n)
{
	value = slice_trim(value);
	for (size_t i = 0; i < n; i++) {
		struct slice word = slice_str(says[i].start);

		if (slice_ieq(name, slice_str(says[i].name)) && slice_istarts(value, word) &&
		    !is_letter(value, word.n))
			return true;
	}
	return false;
}

bool
milter_field_spam(struct slice name, struct slice value)
{
	static const struct saying says[] = {
		{ "X-Spam", "yes" }, { "X-Spam-Flag", "yes" }, { "X-Spam-Status", "yes" },
		{ "X-Spam", "true" }, { "X-Spam-Flag", "true" },
		{ "X-Virus-Status", "infected" }
	};

	return field_says(name, value, says, sizeof(says) / sizeof(says[0]));
}

bool
milter_field_clean(struct slice name, struct slice value)
{
	static const struct saying says[] = {
		{ "X-Spam", "no" }, { "X-Spam-Flag", "no" }, { "X-Spam-Status", "no" },
		{ "X-Spam", "false" }, { "X-Spam-Flag", "false" }
	};

	return field_says(name, value, says, sizeof(says) / sizeof(says[0]));
}

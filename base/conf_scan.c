// SPDX-License-Identifier: Apache-2.0
/*
 * The scanner in front of libconfuse. The library stops at the first fault, is
 * silent about an unclosed section at the end of the file, about scalars and
 * sections given twice and about unset environment variables, counts lines wrong
 * after a comment, and keeps the state of its lexer after an unclosed string, so
 * that the next file of the same process is misread. So it only ever sees text
 * that went through here.
 */
#include <search.h>
#include <stdlib.h>

#include "base/conf_priv.h"
#include "base/mem.h"

enum { WORD_MAX_LEN = 4096, DEPTH_MAX = 16 };

enum token_kind {
	TOKEN_END, TOKEN_WORD, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_EQ, TOKEN_ADD, TOKEN_COMMA,
	TOKEN_BAD	/* already reported */
};

struct token {
	enum token_kind	 kind;
	struct slice	 raw;		/* as written, without quotes; borrowed from the text */
	char		 quote;		/* '"', '\'' or 0 */
	int		 line;
};

struct place {
	char	*path;	/* owned */
	int	 line;
};

struct conf_places {
	void	*root;	/* tsearch tree of struct place */
};

struct scan {
	struct slice	 text;		/* borrowed */
	size_t		 pos;
	int		 line;
	const char	*file;		/* borrowed */
	struct conf_errors *err;	/* borrowed */
	struct token	 tok;		/* the next one */
	int		 mute_line;	/* tokens skipped on this line are not reported; 0 none */
	struct buf	*clean;		/* borrowed */
	int		 clean_line;	/* line the end of clean is on */
	struct conf_places *places;
};

static int
place_cmp(const void *a, const void *b)
{
	return strcmp(((const struct place *)a)->path, ((const struct place *)b)->path);
}

/* The line it was on before, or 0 when it is new; then it is known from now on. */
static int
place_add(struct conf_places *p, const char *path, int line)
{
	struct place *n = mem_new(sizeof(*n));

	n->path = mem_str(path);
	n->line = line;
	struct place **at = tsearch(n, &p->root, place_cmp);
	CHECK(at != NULL);
	if (*at == n)
		return 0;
	int old = (*at)->line;
	free(n->path);
	free(n);
	return old;
}

int
conf_place(const struct conf_places *p, const char *path)
{
	struct place key = { .path = mem_str(path) };
	struct place **at = tfind(&key, &p->root, place_cmp);

	free(key.path);
	return at == NULL ? 0 : (*at)->line;
}

static void
place_free(void *v)
{
	struct place *p = v;

	free(p->path);
	free(p);
}

void
conf_places_free(struct conf_places **pp)
{
	if (*pp == NULL)
		return;
	tdestroy((*pp)->root, place_free);
	free(*pp);
	*pp = NULL;
}

static int
peek(const struct scan *s, size_t ahead)
{
	return s->pos + ahead < s->text.n ? (unsigned char)s->text.p[s->pos + ahead] : -1;
}

/* Over a C comment; an unclosed one would swallow the rest of the file. */
static void
skip_long_comment(struct scan *s)
{
	int start = s->line;

	for (s->pos += 2; peek(s, 0) != -1; s->pos++) {
		if (peek(s, 0) == '*' && peek(s, 1) == '/') {
			s->pos += 2;
			return;
		}
		if (peek(s, 0) == '\n')
			s->line++;
	}
	conf_error(s->err, s->file, start, "/*", "comment is not closed: end it with */");
}

static void
skip_blank(struct scan *s)
{
	for (;;) {
		int c = peek(s, 0);
		if (c == '\n') {
			s->line++;
			s->pos++;
		} else if (c == ' ' || c == '\t' || c == '\r') {
			s->pos++;
		} else if (c == '#' || (c == '/' && peek(s, 1) == '/')) {
			while (peek(s, 0) != -1 && peek(s, 0) != '\n')
				s->pos++;
		} else if (c == '/' && peek(s, 1) == '*') {
			skip_long_comment(s);
		} else {
			return;
		}
	}
}

/* A fault of the line being read. One is enough while the rest of a faulty
 * statement is skipped. */
#define lex_error(s, ...) \
	do { \
		if ((s)->line != (s)->mute_line) \
			conf_error((s)->err, (s)->file, (s)->line, __VA_ARGS__); \
	} while (0)

/* At "${": over "${NAME}" or "${NAME:-default}". false after reporting a fault. */
static bool
lex_variable(struct scan *s)
{
	char name[128];
	size_t from = s->pos + 2, end = from;

	while (end < s->text.n && strchr("}\"'\n", s->text.p[end]) == NULL)
		end++;
	if (end == s->text.n || s->text.p[end] != '}') {
		lex_error(s, "${",
		    "variable is not closed: write ${NAME} or ${NAME:-default}");
		s->pos += 2;
		return false;
	}
	s->pos = end + 1;
	struct slice in = slice_sub(s->text, from, end);
	size_t colon = slice_find(in, ':');
	bool has_default = colon + 1 < in.n && in.p[colon + 1] == '-';
	if (slice_cstr(has_default ? slice_sub(in, 0, colon) : in, name, sizeof(name)) != 0 ||
	    name[0] == '\0') {
		lex_error(s, "${", "not the name of a variable: "
		    "write ${NAME} or ${NAME:-default}");
		return false;
	}
	if (!has_default && getenv(name) == NULL) {
		lex_error(s, name, "environment variable is not set: set "
		    "it where salvaposta is started, or write ${%s:-default}", name);
		return false;
	}
	return true;
}

static bool
is_control(int c)
{
	return (c >= 0 && c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f;
}

static bool
lex_escape(struct scan *s, char q)
{
	int next = peek(s, 1);

	s->pos++;
	if (next == -1 || next == '\n')
		return false;	/* the string is not closed, which is said anyway */
	if (next == '\\' || next == q || (q == '"' && next == '$')) {
		s->pos++;
		return true;
	}
	lex_error(s, "\\",
	    "unknown escape in a string: write \\\\ for a backslash");
	return false;
}

/* A string ends on its line: an unclosed one is found where it is, not at the
 * next quote pages below. */
static enum token_kind
lex_quoted(struct scan *s, struct token *t)
{
	char q = (char)peek(s, 0);
	size_t from = ++s->pos;
	bool good = true;

	for (;;) {
		int c = peek(s, 0);
		if (c == -1 || c == '\n') {
			lex_error(s, "string",
			    "not closed on its line: add the missing %c", q);
			return TOKEN_BAD;
		}
		if (c == q)
			break;
		if (c == '\\') {
			good = lex_escape(s, q) && good;
		} else if (q == '"' && c == '$' && peek(s, 1) == '{') {
			good = lex_variable(s) && good;
		} else {
			if (is_control(c)) {
				lex_error(s, "string",
				    "control character 0x%02x: remove it", (unsigned)c);
				good = false;
			}
			s->pos++;
		}
	}
	t->raw = slice_sub(s->text, from, s->pos);
	t->quote = q;
	s->pos++;
	return good ? TOKEN_WORD : TOKEN_BAD;
}

static enum token_kind
lex_bare(struct scan *s, struct token *t)
{
	size_t from = s->pos;
	bool good = true;

	for (;;) {
		int c = peek(s, 0);
		if (c == -1 || is_control(c) || strchr(" \t\r\n#\"'={}(),;", c) != NULL ||
		    (c == '+' && peek(s, 1) == '='))
			break;
		if (c == '$' && peek(s, 1) == '{')
			good = lex_variable(s) && good;
		else
			s->pos++;
	}
	t->raw = slice_sub(s->text, from, s->pos);
	return good ? TOKEN_WORD : TOKEN_BAD;
}

static enum token_kind
lex_sign(struct scan *s)
{
	int c = peek(s, 0);

	s->pos++;
	switch (c) {
	case '{':
		return TOKEN_OPEN;
	case '}':
		return TOKEN_CLOSE;
	case '=':
		return TOKEN_EQ;
	case ',':
		return TOKEN_COMMA;
	case '+':
		s->pos++;
		return TOKEN_ADD;
	case ';':
		lex_error(s, ";", "lines do not end like this: remove it");
		return TOKEN_BAD;
	case '(':
	case ')':
		lex_error(s, c == '(' ? "(" : ")",
		    "does not belong here: lists and sections use { and }");
		return TOKEN_BAD;
	default:	/* a byte, not an enum */
		lex_error(s, "byte", "0x%02x does not belong into a "
		    "configuration: remove it", (unsigned)c);
		return TOKEN_BAD;
	}
}

static void
advance(struct scan *s)
{
	skip_blank(s);
	s->tok = (struct token){ .line = s->line };
	int c = peek(s, 0);
	if (c == -1)
		s->tok.kind = TOKEN_END;
	else if (c == '"' || c == '\'')
		s->tok.kind = lex_quoted(s, &s->tok);
	else if (is_control(c) || strchr("{}=,();", c) != NULL || (c == '+' && peek(s, 1) == '='))
		s->tok.kind = lex_sign(s);
	else
		s->tok.kind = lex_bare(s, &s->tok);
	if (s->tok.kind == TOKEN_WORD && s->tok.raw.n > WORD_MAX_LEN) {
		lex_error(s, "value", "longer than %d bytes: shorten it",
		    (int)WORD_MAX_LEN);
		s->tok.kind = TOKEN_BAD;
	}
}

/* clean is at most twice the text and some; CHECK is for our own arithmetic. */
static void
emit(struct scan *s, int line, const char *p, size_t n)
{
	for (; s->clean_line < line; s->clean_line++)
		CHECK(buf_put(s->clean, "\n", 1) == 0);
	CHECK(buf_put(s->clean, p, n) == 0);
	CHECK(buf_put(s->clean, " ", 1) == 0);
}

static void
emit_word(struct scan *s, const struct token *t)
{
	struct buf b;

	buf_init(&b, 2 * WORD_MAX_LEN + 8);
	char q = t->quote == '\'' ? '\'' : '"';
	CHECK(buf_put(&b, &q, 1) == 0);
	for (size_t i = 0; i < t->raw.n; i++) {
		if (t->quote == 0 && t->raw.p[i] == '\\')
			CHECK(buf_put(&b, "\\", 1) == 0);
		CHECK(buf_put(&b, t->raw.p + i, 1) == 0);
	}
	CHECK(buf_put(&b, &q, 1) == 0);
	struct slice out = buf_slice(&b);
	emit(s, t->line, out.p, out.n);
	buf_fini(&b);
}

/* A word of the file inside a message or a path: short, printable. */
static const char *
shown(struct slice w, char out[80])
{
	size_t n = w.n < 64 ? w.n : 64;

	for (size_t i = 0; i < n; i++)
		out[i] = (w.p[i] >= 0x20 && w.p[i] < 0x7f) ? w.p[i] : '?';
	memcpy(out + n, n < w.n ? "..." : "", n < w.n ? 4 : 1);
	return out;
}

/* After a fault: on to the next line that can begin a statement. */
static void
recover(struct scan *s, int line)
{
	unsigned depth = 0;

	s->mute_line = line;
	while (s->tok.kind != TOKEN_END) {
		if (depth == 0 && (s->tok.kind == TOKEN_CLOSE ||
		    (s->tok.kind == TOKEN_WORD && s->tok.line > line)))
			break;
		if (s->tok.kind == TOKEN_OPEN)
			depth++;
		if (s->tok.kind == TOKEN_CLOSE)
			depth--;
		advance(s);
	}
	s->mute_line = 0;
}

/* At "{": over the balanced rest of something we do not know. */
static void
skip_block(struct scan *s, const char *what)
{
	unsigned depth = 0;
	int start = s->tok.line;

	do {
		if (s->tok.kind == TOKEN_END) {
			conf_error(s->err, s->file, start, what,
			    "not closed at the end of the file: add the missing }");
			return;
		}
		if (s->tok.kind == TOKEN_OPEN)
			depth++;
		if (s->tok.kind == TOKEN_CLOSE)
			depth--;
		advance(s);
	} while (depth > 0);
}

static void
report_unknown(struct scan *s, enum conf_section sec, struct slice name, int line)
{
	char w[80];
	const char *near = conf_nearest(sec, name);
	enum conf_section other = CONF_SECTION_MAX;

	for (size_t i = 0; i < conf_nkeys && other == CONF_SECTION_MAX; i++)
		if (slice_eq(slice_str(conf_keys[i].name), name))
			other = conf_keys[i].section;
	if (other == CONF_ROOT)
		conf_error(s->err, s->file, line, shown(name, w), "does not belong into a %s "
		    "section: move it out, or add the } that is missing above",
		    conf_sections[sec].name);
	else if (other != CONF_SECTION_MAX)
		conf_error(s->err, s->file, line, shown(name, w), "belongs into a %s section: "
		    "move it there", conf_sections[other].name);
	else if (near != NULL)
		conf_error(s->err, s->file, line, shown(name, w), "unknown key: did you mean %s?",
		    near);
	else
		conf_error(s->err, s->file, line, shown(name, w),
		    "unknown key: see relay.conf(5) for all keys, or remove it");
}

/* "path/name" of a key; long names are unknown and have been refused. */
static void
key_path(const char *path, const char *name, char *out, size_t cap)
{
	if ((size_t)snprintf(out, cap, "%s/%s", path, name) >= cap)
		out[0] = '\0';
}

/* At "{" after "key =". true when all of it is well-formed. */
static bool
scan_list(struct scan *s, const char *name)
{
	int start = s->tok.line;
	bool want = true, good = true;

	emit(s, s->tok.line, "{", 1);
	for (advance(s); s->tok.kind != TOKEN_CLOSE; advance(s)) {
		if (s->tok.kind == TOKEN_WORD && want) {
			emit_word(s, &s->tok);
			want = false;
		} else if (s->tok.kind == TOKEN_COMMA && !want) {
			emit(s, s->tok.line, ",", 1);
			want = true;
		} else if (s->tok.kind == TOKEN_BAD) {
			good = want = false;
		} else {
			conf_error(s->err, s->file, start, name, "list is not closed or lacks a "
			    "comma: write { \"one\", \"two\" }");
			recover(s, s->tok.line);
			if (s->tok.kind == TOKEN_CLOSE)		/* this list's own */
				advance(s);
			return false;
		}
	}
	emit(s, s->tok.line, "}", 1);
	advance(s);
	return good;
}

/* After the "=": one value or a list. */
static bool
scan_value(struct scan *s, const struct conf_key *k, int line)
{
	bool list = k != NULL && conf_key_is_list(k);
	const char *name = k != NULL ? k->name : "value";

	switch (s->tok.kind) {
	case TOKEN_WORD:
		emit_word(s, &s->tok);
		advance(s);
		return true;
	case TOKEN_OPEN:
		if (k != NULL && !list)
			conf_error(s->err, s->file, s->tok.line, name,
			    "takes one value: remove the { and }");
		if (!list) {
			skip_block(s, name);
			return false;
		}
		return scan_list(s, name);
	case TOKEN_BAD:
		break;
	case TOKEN_END:
	case TOKEN_CLOSE:
	case TOKEN_EQ:
	case TOKEN_ADD:
	case TOKEN_COMMA:
		conf_error(s->err, s->file, line, name, "value is missing after =: write it, or "
		    "remove the line");
		break;
	}
	recover(s, line);
	return false;
}

static void
scan_assignment(struct scan *s, enum conf_section sec, const char *path,
    const struct token *name)
{
	size_t mark = buf_len(s->clean);
	int mark_line = s->clean_line, line = name->line;
	const struct conf_key *k = conf_key_find(sec, name->raw);
	bool add = s->tok.kind == TOKEN_ADD, good = k != NULL;
	char full[512];

	if (k == NULL) {
		report_unknown(s, sec, name->raw, line);
	} else {
		if (add && !conf_key_is_list(k)) {
			conf_error(s->err, s->file, line, k->name,
			    "takes one value, nothing can be added: write =");
			good = false;
		}
		key_path(path, k->name, full, sizeof(full));
		int before = place_add(s->places, full, line);
		if (before != 0 && !add) {
			conf_error(s->err, s->file, line, k->name,
			    "given twice, first in line %d: remove one", before);
			good = false;
		}
		emit(s, line, k->name, strlen(k->name));
		emit(s, line, add ? "+=" : "=", add ? 2 : 1);
	}
	advance(s);
	good = scan_value(s, k, line) && good;
	if (!good) {
		s->clean->n = s->clean->off + mark;
		s->clean_line = mark_line;
	}
}

static void scan_body(struct scan *s, enum conf_section sec, const char *path, int start);

/* The title of a section as it may be: plain and short. */
static bool
scan_title(struct scan *s, enum conf_section sec, struct token *title)
{
	const struct conf_section_info *in = &conf_sections[sec];

	*title = s->tok;
	if (s->tok.kind == TOKEN_WORD)
		advance(s);
	else
		title->kind = TOKEN_END;
	if (in->titled && (title->kind == TOKEN_END || title->raw.n == 0)) {
		conf_error(s->err, s->file, s->tok.line, in->name, "has no %s: write %s \"%s\" { "
		    "... }", in->title_words, in->name, in->example_title);
		return false;
	}
	if (!in->titled && title->kind == TOKEN_WORD) {
		conf_error(s->err, s->file, title->line, in->name,
		    "takes no name: write %s { ... }", in->name);
		return false;
	}
	if (title->kind == TOKEN_WORD && (title->raw.n > 255 ||
	    memchr(title->raw.p, '\\', title->raw.n) != NULL ||
	    memchr(title->raw.p, '$', title->raw.n) != NULL)) {
		conf_error(s->err, s->file, title->line, in->name,
		    "%s is not plain text: write it without \\ and $", in->title_words);
		return false;
	}
	return true;
}

static void
scan_section(struct scan *s, enum conf_section parent, const char *path,
    const struct token *name)
{
	enum conf_section sec = conf_section_find(name->raw);
	size_t mark = buf_len(s->clean);
	int mark_line = s->clean_line;
	struct token title;
	char full[800], w[80];

	if (sec == CONF_SECTION_MAX || conf_sections[sec].parent != parent) {
		if (sec != CONF_SECTION_MAX)
			conf_error(s->err, s->file, name->line, shown(name->raw, w),
			    "section does not belong here: move it%s%s, or look for a missing }",
			    conf_sections[sec].parent == CONF_ROOT ? " out" : " into a ",
			    conf_sections[conf_sections[sec].parent].name);
		else if (conf_key_find(parent, name->raw) != NULL)
			conf_error(s->err, s->file, name->line, shown(name->raw, w),
			    "has no =: write %s = value", shown(name->raw, w));
		else
			report_unknown(s, parent, name->raw, name->line);
		while (s->tok.kind == TOKEN_WORD && s->tok.line == name->line)
			advance(s);
		if (s->tok.kind == TOKEN_OPEN)
			skip_block(s, shown(name->raw, w));
		return;
	}
	bool good = scan_title(s, sec, &title);
	if (s->tok.kind != TOKEN_OPEN) {
		if (s->tok.kind != TOKEN_BAD)
			conf_error(s->err, s->file, name->line, conf_sections[sec].name,
			    "has no {: write %s %s{ ... }", conf_sections[sec].name,
			    conf_sections[sec].titled ? "\"name\" " : "");
		recover(s, name->line);
		return;
	}
	struct slice called = title.kind == TOKEN_WORD ? title.raw : SLICE_NONE;
	int n = snprintf(full, sizeof(full), "%s%s%s%s%.*s", path, path[0] != '\0' ? "/" : "",
	    conf_sections[sec].name, called.n > 0 ? " " : "", SLICE_FMT(called));
	CHECK(n >= 0 && (size_t)n < sizeof(full));
	bytes_lower(full, (size_t)n);
	if (sec == CONF_DOMAIN)		/* that there is one at all, for conf_check */
		(void)place_add(s->places, "any domain", name->line);
	int before = good ? place_add(s->places, full, name->line) : 0;
	if (before != 0) {
		conf_error(s->err, s->file, name->line, shown(slice_str(full), w),
		    "section given twice, first in line %d: put all into one", before);
		good = false;
	}
	emit(s, name->line, conf_sections[sec].name, strlen(conf_sections[sec].name));
	if (title.kind == TOKEN_WORD)
		emit_word(s, &title);
	emit(s, s->tok.line, "{", 1);
	advance(s);
	/* Keys of a refused section are looked at under a path of their own, or
	 * they would all be called duplicates. */
	if (!good)
		CHECK(snprintf(full, sizeof(full), "refused line %d", name->line) > 0);
	scan_body(s, sec, full, name->line);
	if (!good) {
		s->clean->n = s->clean->off + mark;
		s->clean_line = mark_line;
	}
}

static void
scan_statement(struct scan *s, enum conf_section sec, const char *path)
{
	struct token name = s->tok;
	char w[80];

	advance(s);
	switch (s->tok.kind) {
	case TOKEN_EQ:
	case TOKEN_ADD:
		scan_assignment(s, sec, path, &name);
		return;
	case TOKEN_WORD:
	case TOKEN_OPEN:
		scan_section(s, sec, path, &name);
		return;
	case TOKEN_BAD:
		break;
	case TOKEN_END:
	case TOKEN_CLOSE:
	case TOKEN_COMMA:
		conf_error(s->err, s->file, name.line, shown(name.raw, w),
		    "stands alone: write key = value, or remove it");
		break;
	}
	recover(s, name.line);
}

/* A section name of the root that opens a section inside another one: the } above
 * is missing, and the rest of the file should not be refused for it. */
static bool
is_new_root_section(const struct scan *s)
{
	struct scan look = *s;
	struct conf_errors quiet = { .count = 0 };
	enum conf_section sec = CONF_SECTION_MAX;

	if (s->tok.kind == TOKEN_WORD)
		sec = conf_section_find(s->tok.raw);
	if (sec == CONF_SECTION_MAX || conf_sections[sec].parent != CONF_ROOT)
		return false;
	buf_init(&quiet.text, 4096);
	look.err = &quiet;
	advance(&look);
	bool yes = look.tok.kind == TOKEN_WORD || look.tok.kind == TOKEN_OPEN;
	buf_fini(&quiet.text);
	return yes;
}

/* Statements up to the "}" of this section (start > 0: its line) or the end. */
static void
scan_body(struct scan *s, enum conf_section sec, const char *path, int start)
{
	for (;;) {
		if (start > 0 && (s->tok.kind == TOKEN_END || is_new_root_section(s))) {
			if (s->tok.kind == TOKEN_END)
				conf_error(s->err, s->file, start, conf_sections[sec].name,
				    "section is not closed at the end of the file: add the "
				    "missing }");
			else
				conf_error(s->err, s->file, start, conf_sections[sec].name,
				    "section is not closed before the one in line %d: add the "
				    "missing }", s->tok.line);
			emit(s, s->clean_line, "}", 1);
			return;
		}
		if (s->tok.kind == TOKEN_END)
			return;
		if (s->tok.kind == TOKEN_WORD) {
			scan_statement(s, sec, path);
			continue;
		}
		if (s->tok.kind == TOKEN_CLOSE && start > 0) {
			emit(s, s->tok.line, "}", 1);
			advance(s);
			return;
		}
		int line = s->tok.line;
		if (s->tok.kind == TOKEN_CLOSE)
			conf_error(s->err, s->file, line, "}", "closes nothing: remove it");
		else if (s->tok.kind != TOKEN_BAD)
			conf_error(s->err, s->file, line, "syntax",
			    "a key was expected here: write key = value");
		advance(s);
		recover(s, line);
	}
}

struct conf_places *
conf_scan(struct slice text, const char *file, struct conf_errors *e, struct buf *clean)
{
	struct scan s = { .text = text, .line = 1, .file = file, .err = e, .clean = clean,
	    .clean_line = 1, .places = mem_new(sizeof(struct conf_places)) };

	if (text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0)
		s.pos = 3;	/* some editors leave a byte order mark */
	advance(&s);
	scan_body(&s, CONF_ROOT, "", 0);
	return s.places;
}

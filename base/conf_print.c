// SPDX-License-Identifier: Apache-2.0
/* What the table gives beside the parser: example file, manual, JSON, text. */
#include <stdlib.h>

#include "base/conf_priv.h"
#include "base/mem.h"

enum { COMMENT_WIDTH = 88, PRINT_MAX = 64 * 1024 * 1024 };

static void
put(struct buf *b, const char *s)
{
	CHECK(buf_puts(b, s) == 0);
}

/* Words of `text` in lines of at most `width`, each behind `prefix`. */
static void
put_wrapped(struct buf *b, const char *prefix, const char *text, size_t width)
{
	size_t col = 0;

	while (*text != '\0') {
		size_t n = strcspn(text, " ");
		if (col > 0 && col + 1 + n > width) {
			put(b, "\n");
			col = 0;
		}
		put(b, col == 0 ? prefix : " ");
		col += (col == 0 ? strlen(prefix) : 1) + n;
		CHECK(buf_put(b, text, n) == 0);
		text += n;
		while (*text == ' ')
			text++;
	}
	put(b, "\n");
}

/* The default as written in a file, in the file's own spelling. */
static void
put_default(const struct conf_key *k, struct buf *b)
{
	bool quoted = k->type == CONF_HOSTNAME || k->type == CONF_PATH || k->type == CONF_EMAIL ||
	    k->type == CONF_NODE || k->type == CONF_SELECTOR || k->type == CONF_SEPARATORS ||
	    k->type == CONF_ROUTE || k->type == CONF_WORDS || k->type == CONF_ATTRIBUTE || k->type == CONF_ADDRESS;
	const char *v = k->example != NULL ? k->example : k->def;

	CHECK(buf_printf(b, "%s%s%s", quoted ? "\"" : "", v, quoted ? "\"" : "") == 0);
}

static void
example_key(const struct conf_key *k, const char *indent, struct buf *b)
{
	char prefix[32];
	struct buf note;

	buf_init(&note, 1024);
	if (k->group != NULL) {
		CHECK(buf_printf(b, "\n%s# ---- %s ", indent, k->group) == 0);
		for (size_t n = strlen(k->group) + 8; n < 78; n++)
			put(b, "-");
		put(b, "\n");
	}
	put(b, "\n");
	CHECK((size_t)snprintf(prefix, sizeof(prefix), "%s# ", indent) < sizeof(prefix));
	put_wrapped(b, prefix, k->help, COMMENT_WIDTH);
	put(&note, "(");
	conf_value_range(k, &note);
	if (k->required)
		put(&note, "; must be given)");
	else
		CHECK(buf_printf(&note, "; default: %s)", k->def == NULL ? k->def_words :
		    k->def[0] == '\0' ? "none" : k->def) == 0);
	CHECK(buf_put(&note, "", 1) == 0);
	put_wrapped(b, prefix, note.p + note.off, COMMENT_WIDTH);
	CHECK(buf_printf(b, "%s%s%s = ", indent, k->shown ? "" : "#", k->name) == 0);
	put_default(k, b);
	put(b, "\n");
	buf_fini(&note);
}

static void
example_section(enum conf_section s, struct buf *b)
{
	const struct conf_section_info *in = &conf_sections[s];
	bool inner = in->parent != CONF_ROOT;
	const char *out = inner ? "\t" : "", *indent = inner ? "\t#\t" : "\t";
	char prefix[32];

	put(b, "\n");
	CHECK((size_t)snprintf(prefix, sizeof(prefix), "%s# ", out) < sizeof(prefix));
	put_wrapped(b, prefix, in->help, COMMENT_WIDTH);
	CHECK(buf_printf(b, "%s%s%s ", out, inner ? "#" : "", in->name) == 0);
	if (in->titled)
		CHECK(buf_printf(b, "\"%s\" ", in->example_title) == 0);
	put(b, "{\n");
	size_t first = buf_len(b);
	for (size_t i = 0; i < conf_nkeys; i++) {
		if (conf_keys[i].section != s)
			continue;
		if (inner) {	/* the whole is a comment; what to write is all it needs */
			CHECK(buf_printf(b, "\t#\t%s = ", conf_keys[i].name) == 0);
			put_default(&conf_keys[i], b);
			put(b, "\n");
			continue;
		}
		example_key(&conf_keys[i], indent, b);
		if (buf_len(b) > first && b->p[b->off + first] == '\n') {	/* no gap after { */
			memmove(b->p + b->off + first, b->p + b->off + first + 1,
			    buf_len(b) - first - 1);
			b->n--;
		}
		first = SIZE_MAX / 2;
	}
	for (enum conf_section t = CONF_LISTEN; t < CONF_SECTION_MAX; t++)
		if (conf_sections[t].parent == s)
			example_section(t, b);
	CHECK(buf_printf(b, "%s%s}\n", out, inner ? "#" : "") == 0);
}

static int
write_out(struct buf *b, FILE *out)
{
	struct slice s = buf_slice(b);
	bool good = fwrite(s.p, 1, s.n, out) == s.n && fflush(out) == 0;

	buf_fini(b);
	return good ? 0 : -1;
}

int
conf_print_example(FILE *out)
{
	struct buf b;

	buf_init(&b, PRINT_MAX);
	put(&b, "# relay.conf - configuration of Salvaposta; see relay.conf(5)\n#\n"
	    "# What is commented out shows its default, or an example where the default is\n"
	    "# none or found out at start. Check a changed file with `salvaposta check`, then\n"
	    "# send the running relay SIGHUP.\n#\n"
	    "# Times are written 90s, 5m, 2h, 30d; sizes 64k, 50M, 1G. \"${NAME}\" is an\n"
	    "# environment variable, \"${NAME:-value}\" one with a default.\n");
	for (size_t i = 0; i < conf_nkeys; i++)
		if (conf_keys[i].section == CONF_ROOT)
			example_key(&conf_keys[i], "", &b);
	put(&b, "\n# ---- Sections ");
	for (int n = 16; n < 78; n++)
		put(&b, "-");
	put(&b, "\n");
	for (enum conf_section s = CONF_LISTEN; s < CONF_SECTION_MAX; s++)
		if (conf_sections[s].parent == CONF_ROOT)
			example_section(s, &b);
	return write_out(&b, out);
}

/* Text for roff: backslashes, hyphens that are minus signs, dots at line starts. */
static void
put_roff(struct buf *b, const char *s)
{
	if (*s == '.' || *s == '\'')
		put(b, "\\&");
	for (; *s != '\0'; s++) {
		if (*s == '\\')
			put(b, "\\e");
		else if (*s == '-')
			put(b, "\\-");
		else
			CHECK(buf_put(b, s, 1) == 0);
	}
}

static void
man_key(const struct conf_key *k, struct buf *b)
{
	struct buf range;

	buf_init(&range, 1024);
	if (k->group != NULL) {
		put(b, ".SS ");
		put_roff(b, k->group);
		put(b, "\n");
	}
	put(b, ".TP\n.B ");
	put_roff(b, k->name);
	put(b, "\n");
	put_roff(b, k->help);
	put(b, "\n.br\n");
	put(&range, "Value: ");
	conf_value_range(k, &range);
	if (k->required)
		put(&range, ". Must be given.");
	else
		CHECK(buf_printf(&range, ". Default: %s.", k->def == NULL ? k->def_words :
		    k->def[0] == '\0' ? "none" : k->def) == 0);
	CHECK(buf_put(&range, "", 1) == 0);
	put_roff(b, range.p + range.off);
	put(b, "\n");
	buf_fini(&range);
}

int
conf_print_man(FILE *out)
{
	struct buf b;

	buf_init(&b, PRINT_MAX);
	put(&b, ".SH KEYS\n");
	for (enum conf_section s = CONF_ROOT; s < CONF_SECTION_MAX; s++) {
		const struct conf_section_info *in = &conf_sections[s];
		if (s != CONF_ROOT) {
			CHECK(buf_printf(&b, ".SS Section %s%s%s%s\n", in->name,
			    in->titled ? " \\(dq" : "", in->titled ? in->title_words : "",
			    in->titled ? "\\(dq" : "") == 0);
			put_roff(&b, in->help);
			put(&b, "\n");
		}
		for (size_t i = 0; i < conf_nkeys; i++)
			if (conf_keys[i].section == s)
				man_key(&conf_keys[i], &b);
	}
	return write_out(&b, out);
}

static void
put_json_string(struct buf *b, struct slice s)
{
	put(b, "\"");
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '"' || c == '\\')
			CHECK(buf_printf(b, "\\%c", c) == 0);
		else if (c < 0x20 || c >= 0x7f)	/* no value has them; a path may */
			CHECK(buf_printf(b, "\\u%04x", (unsigned)c) == 0);
		else
			CHECK(buf_put(b, &c, 1) == 0);
	}
	put(b, "\"");
}

static void
json_value(const struct conf_key *k, const void *base, struct buf *b)
{
	const char *at = (const char *)base + k->offset;
	struct buf text;

	switch (k->type) {
	case CONF_COUNT:
	case CONF_DAYS:
		CHECK(buf_printf(b, "%llu", (unsigned long long)*(const unsigned *)(const void *)at *
		    (k->type == CONF_DAYS ? 86400ULL : 1ULL)) == 0);
		return;
	case CONF_PORT:
		CHECK(buf_printf(b, "%u", (unsigned)*(const uint16_t *)(const void *)at) == 0);
		return;
	case CONF_SIZE:
		CHECK(buf_printf(b, "%llu",
		    (unsigned long long)*(const uint64_t *)(const void *)at) == 0);
		return;
	case CONF_TIME:
		CHECK(buf_printf(b, "%lld",
		    (long long)*(const int64_t *)(const void *)at / 1000) == 0);
		return;
	case CONF_BOOL:
		put(b, *(const bool *)at ? "true" : "false");
		return;
	case CONF_ADDRESSES:
	case CONF_NAMES:
	case CONF_NODE_ROUTES:
	case CONF_NETWORKS:
	case CONF_HOSTS: {
		char *const *list = *(char *const *const *)(const void *)at;
		size_t n = *(const size_t *)(const void *)((const char *)base + k->count);
		put(b, "[");
		for (size_t i = 0; i < n; i++) {
			put(b, i > 0 ? ", " : "");
			put_json_string(b, slice_str(list[i]));
		}
		put(b, "]");
		return;
	}
	case CONF_HOSTNAME: case CONF_PATH: case CONF_EMAIL: case CONF_NODE: case CONF_SELECTOR:
	case CONF_SEPARATORS: case CONF_WORDS: case CONF_ATTRIBUTE: case CONF_CHOICE_STR:
	case CONF_ADDRESS: {
		const char *s = *(const char *const *)(const void *)at;
		if (s == NULL)
			put(b, "null");
		else
			put_json_string(b, slice_str(s));
		return;
	}
	case CONF_CHOICE:
	case CONF_CHOICE_BOOL:
	case CONF_ROUTE:
		break;
	}
	buf_init(&text, 1024);	/* the form of the file, without quotes */
	conf_value_print(k, base, &text);
	struct slice s = buf_slice(&text);
	if (s.n > 1 && s.p[0] == '"')
		s = slice_sub(s, 1, s.n - 1);
	put_json_string(b, s);
	buf_fini(&text);
}

static void
json_keys(enum conf_section s, const void *base, const char *indent, struct buf *b)
{
	for (size_t i = 0; i < conf_nkeys; i++) {
		if (conf_keys[i].section != s)
			continue;
		CHECK(buf_printf(b, ",\n%s\"%s\": ", indent, conf_keys[i].name) == 0);
		json_value(&conf_keys[i], base, b);
	}
}

static void
json_domain(const struct conf_domain *d, struct buf *b)
{
	put(b, "\n    {\"name\": ");
	put_json_string(b, slice_str(d->name));
	json_keys(CONF_DOMAIN, d, "     ", b);
	put(b, ",\n     \"probe\": {");
	struct buf probe;
	buf_init(&probe, PRINT_MAX);
	json_keys(CONF_PROBE, &d->probe, "       ", &probe);
	struct slice keys = buf_slice(&probe);
	CHECK(buf_put_slice(b, slice_sub(keys, 1, keys.n)) == 0);	/* without its comma */
	buf_fini(&probe);
	put(b, "},\n     \"shard\": [");
	for (size_t j = 0; j < d->nshard; j++) {
		put(b, j > 0 ? ", {\"name\": " : "{\"name\": ");
		put_json_string(b, slice_str(d->shard[j].name));
		json_keys(CONF_SHARD, &d->shard[j], "       ", b);
		put(b, "}");
	}
	put(b, "]}");
}

int
conf_print_json(const struct conf *c, FILE *out)
{
	struct buf b;

	buf_init(&b, PRINT_MAX);
	put(&b, "{\n  \"file\": ");
	put_json_string(&b, slice_str(c->file));
	json_keys(CONF_ROOT, c, "  ", &b);
	put(&b, ",\n  \"listen\": [");
	for (size_t i = 0; i < c->nlisten; i++) {
		put(&b, i > 0 ? ",\n    {\"address\": " : "\n    {\"address\": ");
		put_json_string(&b, slice_str(c->listen[i].address));
		json_keys(CONF_LISTEN, &c->listen[i], "     ", &b);
		put(&b, "}");
	}
	put(&b, "\n  ],\n  \"certificate\": [");
	for (size_t i = 0; i < c->ncertificate; i++) {
		put(&b, i > 0 ? ",\n    {\"name\": " : "\n    {\"name\": ");
		put_json_string(&b, slice_str(c->certificate[i].name));
		json_keys(CONF_CERTIFICATE, &c->certificate[i], "     ", &b);
		put(&b, "}");
	}
	put(&b, "\n  ],\n  \"forwarder\": ");
	if (c->forwarder.domain == NULL) {
		put(&b, "null");
	} else {
		size_t at = buf_len(&b);
		json_keys(CONF_FORWARDER, &c->forwarder, "    ", &b);
		b.p[b.off + at] = '{';	/* in the place of the first comma */
		put(&b, "}");
	}
	put(&b, ",\n  \"domain\": [");
	for (size_t i = 0; i < c->ndomain; i++) {
		put(&b, i > 0 ? "," : "");
		json_domain(&c->domain[i], &b);
	}
	put(&b, "\n  ],\n  \"provider\": [");
	for (size_t i = 0; i < c->nprovider; i++) {
		put(&b, i > 0 ? ",\n    {\"name\": " : "\n    {\"name\": ");
		put_json_string(&b, slice_str(c->provider[i].name));
		json_keys(CONF_PROVIDER, &c->provider[i], "     ", &b);
		put(&b, "}");
	}
	put(&b, "\n  ],\n  \"milter\": [");
	for (size_t i = 0; i < c->nmilter; i++) {
		put(&b, i > 0 ? ",\n    {\"name\": " : "\n    {\"name\": ");
		put_json_string(&b, slice_str(c->milter[i].name));
		json_keys(CONF_MILTER, &c->milter[i], "     ", &b);
		put(&b, "}");
	}
	put(&b, "\n  ]\n}\n");
	return write_out(&b, out);
}

static void
text_keys(enum conf_section s, const void *base, struct buf *b)
{
	for (size_t i = 0; i < conf_nkeys; i++) {
		if (conf_keys[i].section != s)
			continue;
		size_t before = buf_len(b);
		CHECK(buf_printf(b, "%s = ", conf_keys[i].name) == 0);
		size_t at = buf_len(b);
		conf_value_print(&conf_keys[i], base, b);
		struct slice v = slice_sub(buf_slice(b), at, SIZE_MAX);
		if (v.n > 1 && v.p[0] == '"')
			v = slice_sub(v, 1, v.n - 1);
		/* Unset, or the default: a few defaults would be faults if written out
		 * (tls = yes without a certificate). */
		if (buf_len(b) == at || (s != CONF_PROVIDER && slice_eq(v,
		    slice_str(conf_keys[i].def))))	/* built-in providers have their own */
			b->n = b->off + before;
		else
			put(b, "\n");
	}
}

void
conf_print_text(const struct conf *c, struct buf *out)
{
	text_keys(CONF_ROOT, c, out);
	for (size_t i = 0; i < c->nlisten; i++) {
		CHECK(buf_printf(out, "listen \"%s\" {\n", c->listen[i].address) == 0);
		text_keys(CONF_LISTEN, &c->listen[i], out);
		put(out, "}\n");
	}
	for (size_t i = 0; i < c->ncertificate; i++) {
		CHECK(buf_printf(out, "certificate \"%s\" {\n", c->certificate[i].name) == 0);
		text_keys(CONF_CERTIFICATE, &c->certificate[i], out);
		put(out, "}\n");
	}
	if (c->forwarder.domain != NULL) {
		put(out, "forwarder {\n");
		text_keys(CONF_FORWARDER, &c->forwarder, out);
		put(out, "}\n");
	}
	for (size_t i = 0; i < c->ndomain; i++) {
		const struct conf_domain *d = &c->domain[i];
		CHECK(buf_printf(out, "domain \"%s\" {\n", d->name) == 0);
		text_keys(CONF_DOMAIN, d, out);
		put(out, "probe {\n");
		text_keys(CONF_PROBE, &d->probe, out);
		put(out, "}\n");
		for (size_t j = 0; j < d->nshard; j++) {
			CHECK(buf_printf(out, "shard \"%s\" {\n", d->shard[j].name) == 0);
			text_keys(CONF_SHARD, &d->shard[j], out);
			put(out, "}\n");
		}
		put(out, "}\n");
	}
	for (size_t i = 0; i < c->nprovider; i++) {
		CHECK(buf_printf(out, "provider \"%s\" {\n", c->provider[i].name) == 0);
		text_keys(CONF_PROVIDER, &c->provider[i], out);
		put(out, "}\n");
	}
	for (size_t i = 0; i < c->nmilter; i++) {
		CHECK(buf_printf(out, "milter \"%s\" {\n", c->milter[i].name) == 0);
		text_keys(CONF_MILTER, &c->milter[i], out);
		put(out, "}\n");
	}
}

// SPDX-License-Identifier: Apache-2.0
#include "queue/audit_chain.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crypto.h"

#define HASH_MEMBER	",\"hash\":\""
#define ZEROS		"0000000000000000000000000000000000000000000000000000000000000000"

enum {
	HASH_TAIL = sizeof(HASH_MEMBER) - 1 + 64 + 2,	/* with the closing quote and brace */
	LINE_MAX_BYTES = 4 * 1024 * 1024		/* the longest we write has 1000 ids */
};

void
audit_chain_init(struct audit_chain *c)
{
	*c = (struct audit_chain){ .head = ZEROS };
}

void
audit_chain_hash(struct slice text, char out[AUDIT_HEX])
{
	uint8_t h[32];

	crypto_sha256(text, h);
	crypto_hex(h, sizeof(h), out);
}

static bool
is_hash(const char *s)
{
	return s != NULL && strlen(s) == 64 && s[strspn(s, "0123456789abcdef")] == '\0';
}

/* What the line is, NULL when it is no chained one. Owned by the caller. */
static json_t *
chain_object(struct slice line)
{
	json_error_t e;

	if (line.n < HASH_TAIL || line.n > LINE_MAX_BYTES)
		return NULL;
	if (memcmp(line.p + line.n - HASH_TAIL, HASH_MEMBER, sizeof(HASH_MEMBER) - 1) != 0)
		return NULL;
	json_t *o = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &e);
	if (json_integer_value(json_object_get(o, "seq")) > 0 &&
	    is_hash(json_string_value(json_object_get(o, "prev"))) &&
	    is_hash(json_string_value(json_object_get(o, "hash"))))
		return o;
	json_decref(o);
	return NULL;
}

static void
chain_members(const json_t *o, uint64_t *seq, char prev[AUDIT_HEX], char hash[AUDIT_HEX])
{
	*seq = (uint64_t)json_integer_value(json_object_get(o, "seq"));
	memcpy(prev, json_string_value(json_object_get(o, "prev")), AUDIT_HEX);
	memcpy(hash, json_string_value(json_object_get(o, "hash")), AUDIT_HEX);
}

/* Is the hash in the line that of its text? */
static bool
hash_fits(struct slice line, const char *hash)
{
	size_t n = line.n - HASH_TAIL;
	char *text = malloc(n + 1), is[AUDIT_HEX];

	if (text == NULL)
		return false;
	memcpy(text, line.p, n);
	text[n] = '}';
	audit_chain_hash(slice_make(text, n + 1), is);
	free(text);
	return strcmp(is, hash) == 0;
}

bool
audit_chain_parse(struct slice line, uint64_t *seq, char prev[AUDIT_HEX], char hash[AUDIT_HEX])
{
	json_t *o = chain_object(line);

	if (o == NULL)
		return false;
	chain_members(o, seq, prev, hash);
	json_decref(o);
	return hash_fits(line, hash);
}

__attribute__((format(printf, 3, 4))) static void
chain_broken(struct audit_chain *c, uint64_t line, const char *fmt, ...)
{
	va_list ap;

	if (c->broken != 0)
		return;
	c->broken = line;
	va_start(ap, fmt);
	(void)vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
}

/* Lines without a chain before it, and a torn one: the line has to vouch for them. */
static void
chain_vouch(struct audit_chain *c, const json_t *o)
{
	const json_t *before = json_object_get(o, "before");
	const char *torn = json_string_value(json_object_get(o, "torn"));
	char rolled[AUDIT_HEX];

	if (c->odd != 0) {
		if (torn == NULL || strcmp(torn, c->odd_hash) != 0)
			chain_broken(c, c->odd, "this is no line of the log");
		c->torn++;
		c->odd = 0;
	}
	if (c->seq > 0 || c->older == 0)
		return;
	crypto_hex(c->rolled, sizeof(c->rolled), rolled);
	const char *sealed = json_string_value(json_object_get(before, "sha256"));
	uint64_t n = (uint64_t)json_integer_value(json_object_get(before, "lines"));
	if (sealed == NULL || n != c->older || strcmp(sealed, rolled) != 0)
		chain_broken(c, 1, "lines 1 to %llu are older than the chain and not what they were "
		    "when it began (%llu lines)", (unsigned long long)c->older, (unsigned long long)n);
}

static void
chain_link(struct audit_chain *c, struct slice line, const json_t *o)
{
	char prev[AUDIT_HEX], hash[AUDIT_HEX];
	uint64_t seq;

	chain_members(o, &seq, prev, hash);
	chain_vouch(c, o);
	if (!hash_fits(line, hash))
		chain_broken(c, c->lines, "the line was changed");
	else if (seq != c->seq + 1)
		chain_broken(c, c->lines, "number %llu follows %llu: lines are missing or moved",
		    (unsigned long long)seq, (unsigned long long)c->seq);
	else if (strcmp(prev, c->head) != 0)
		chain_broken(c, c->lines, "it does not follow the line before: that was changed or "
		    "replaced");
	c->seq = seq;
	memcpy(c->head, hash, sizeof(c->head));
}

/* rolled = SHA-256(rolled, line), an older line's part in the seal. */
static void
chain_roll(struct audit_chain *c, struct slice line)
{
	char *text = malloc(line.n + 32);

	c->older++;
	if (text == NULL)
		return;
	memcpy(text, c->rolled, 32);
	if (line.n > 0)
		memcpy(text + 32, line.p, line.n);
	crypto_sha256(slice_make(text, line.n + 32), c->rolled);
	free(text);
}

static void
chain_odd(struct audit_chain *c, struct slice line, bool whole)
{
	json_error_t e;
	json_t *o = json_loadb(line.n == 0 ? "" : line.p, line.n, 0, &e);
	bool json = json_is_object(o);

	json_decref(o);
	if (!whole) {
		c->torn_tail = true;
		audit_chain_hash(line, c->odd_hash);
	}
	if (c->seq == 0)	/* older logs had torn lines too */
		chain_roll(c, line);
	if (c->seq == 0 || !whole)
		return;
	if (json)
		chain_broken(c, c->lines, "it is not part of the chain: changed, or written by "
		    "something else");
	c->odd = c->lines;
	audit_chain_hash(line, c->odd_hash);
}

void
audit_chain_feed(struct audit_chain *c, struct slice line, bool whole)
{
	json_t *o;

	c->lines++;
	if (c->broken != 0)
		return;
	o = chain_object(line);
	c->no_newline = o != NULL && !whole;
	if (c->odd != 0 && o == NULL)
		chain_broken(c, c->odd, "this is no line of the log");
	else if (o != NULL)
		chain_link(c, line, o);
	else
		chain_odd(c, line, whole);
	json_decref(o);
}

void
audit_chain_end(struct audit_chain *c)
{
	/* Whole, and nothing after it: a crash leaves no newline. */
	if (c->odd != 0)
		chain_broken(c, c->odd, "this is no line of the log");
	c->odd = 0;
}

int
audit_chain_read(int fd, struct audit_chain *c)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int mine = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	FILE *in = mine < 0 ? NULL : fdopen(mine, "r");

	if (in == NULL) {
		if (mine >= 0)
			close(mine);
		return -1;
	}
	audit_chain_init(c);
	errno = 0;
	rewind(in);
	while ((n = getline(&line, &cap, in)) > 0) {
		bool whole = line[n - 1] == '\n';

		audit_chain_feed(c, slice_make(line, (size_t)n - whole), whole);
	}
	int failed = ferror(in) ? (errno != 0 ? errno : EIO) : 0;
	audit_chain_end(c);
	free(line);
	(void)fclose(in);
	errno = failed;
	return failed != 0 ? -1 : 0;
}

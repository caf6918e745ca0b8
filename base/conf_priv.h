// SPDX-License-Identifier: Apache-2.0
/*
 * Shared by base/conf*.c only: the table of keys, the scanner that stands in
 * front of libconfuse, and the text forms of values.
 */
#ifndef BASE_CONF_PRIV_H
#define BASE_CONF_PRIV_H

#include "base/conf.h"

enum conf_section {
	CONF_ROOT, CONF_LISTEN, CONF_FORWARDER, CONF_DOMAIN, CONF_SHARD, CONF_PROBE, CONF_PROVIDER,
	CONF_CERTIFICATE, CONF_MILTER, CONF_SECTION_MAX
};

enum conf_type {
	CONF_HOSTNAME,		/* char *: host name, lower-cased */
	CONF_PATH,		/* char *: absolute path */
	CONF_EMAIL,		/* char *: mailbox, roughly checked (policy knows more) */
	CONF_NODE,		/* char *: 1-8 of [a-z0-9] */
	CONF_SELECTOR,		/* char *: DKIM selector, labels as in a host name */
	CONF_ATTRIBUTE,		/* char *: LDAP attribute description */
	CONF_WORDS,		/* char *: printable ASCII for people, up to 64 */
	CONF_SEPARATORS,	/* char *: 0-4 punctuation characters */
	CONF_COUNT,		/* unsigned */
	CONF_PORT,		/* uint16_t */
	CONF_SIZE,		/* uint64_t: bytes */
	CONF_TIME,		/* int64_t: ms; written in s, m, h, d */
	CONF_DAYS,		/* unsigned: days; written as a time */
	CONF_BOOL,		/* bool: yes, no */
	CONF_CHOICE,		/* an enum: index into choices */
	CONF_CHOICE_BOOL,	/* bool: the second of two choices is true */
	CONF_CHOICE_STR,	/* char *: one of choices */
	CONF_ROUTE,		/* struct conf_route */
	CONF_ADDRESS,		/* char *: ip:port */
	CONF_ADDRESSES,		/* char ** with a size_t at `count`: list of ip[:port] */
	CONF_NAMES,		/* likewise, of domain names in lower case */
	CONF_NODE_ROUTES,	/* likewise, of "node=host:port" in lower case */
	CONF_NETWORKS,		/* likewise, of address/bits */
	CONF_HOSTS,		/* likewise, of host:port */
};

struct conf_key {
	const char	*name;
	enum conf_section section;
	enum conf_type	 type;
	size_t		 offset;	/* of the member in the section's struct */
	size_t		 count;		/* of lists: offset of the number of items */
	const char	*def;		/* default as written in a file; NULL: none */
	const char	*def_words;	/* what the manual says when def is NULL */
	uint64_t	 min, max;	/* count; bytes; seconds for times and days */
	const char *const *choices;	/* ends with NULL */
	bool		 required;
	const char	*example;	/* for the example file when def says too little */
	bool		 shown;		/* not commented out in the example file */
	const char	*group;		/* heading that starts before this key, or NULL */
	const char	*help;		/* sentences; '\n' only between paragraphs */
};

static inline bool
conf_key_is_list(const struct conf_key *k)
{
	return k->type == CONF_ADDRESSES || k->type == CONF_NAMES ||
	    k->type == CONF_NODE_ROUTES ||
	    k->type == CONF_NETWORKS || k->type == CONF_HOSTS;
}

extern const struct conf_key conf_keys[];
extern const size_t conf_nkeys;

struct conf_section_info {
	const char	*name;		/* "" for the root */
	enum conf_section parent;
	bool		 titled;	/* may come again under another title */
	const char	*title_words;	/* what the title is */
	const char	*example_title;
	const char	*help;
};
extern const struct conf_section_info conf_sections[CONF_SECTION_MAX];

const struct conf_key *conf_key_find(enum conf_section s, struct slice name);
/* CONF_SECTION_MAX when there is none of that name. */
enum conf_section conf_section_find(struct slice name);
/* The name of a key or section most like `name`, NULL when none is near. */
const char *conf_nearest(enum conf_section s, struct slice name);

/* "file:line: key: what: fix"; a warning is marked as such and not counted. */
void conf_error(struct conf_errors *e, const char *file, int line, const char *key,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void conf_warn(struct conf_errors *e, const char *file, int line, const char *key,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Where things stand in the file: "domain example.it/primary" -> line. */
struct conf_places;
void conf_places_free(struct conf_places **pp);
/* The line where it was written first, or 0. */
int conf_place(const struct conf_places *p, const char *path);

/*
 * Reads `text`, reports every fault of form (and what libconfuse is silent about),
 * and leaves in `clean` a text libconfuse takes without complaint: comments and
 * faulty statements are gone, lines are where they were. A known value is checked
 * later from there, so a broken line does not hide a wrong value on another.
 */
struct conf_places *conf_scan(struct slice text, const char *file, struct conf_errors *e,
    struct buf *clean);

/* Stores the value; NULL, or what is wrong in words, written to why. */
const char *conf_value_set(const struct conf_key *k, void *base, const char *text,
    char *why, size_t cap);
void conf_value_free(const struct conf_key *k, void *base);
/* As it would be written in a file, quoted where needed. "" when there is none. */
void conf_value_print(const struct conf_key *k, const void *base, struct buf *out);
/* "1s to 1d", "one of: mx, ..."; the unit in words. */
void conf_value_range(const struct conf_key *k, struct buf *out);

void conf_size_print(uint64_t bytes, char *out, size_t cap);
void conf_time_print(uint64_t seconds, char *out, size_t cap);
/* "ip", "ip:port", "[ip6]:port" -> the same with port. -1 when it is not one; port 0:
 * a port must be there. */
int conf_sockaddr(const char *text, unsigned port, char *out, size_t cap);
bool conf_hostname_ok(struct slice s);

/* conf_provider.c: the built-in ones, and what a section leaves open. */
size_t conf_providers_builtin(void);
const char *conf_provider_builtin_name(size_t i);	/* i == their number: the default one */
void conf_provider_complete(const struct conf *c, struct conf_provider *p,
    bool (*written)(void *arg, const char *key), void *arg);

/* What only the whole can tell. `explicit` tells by path what was written. */
void conf_check(const struct conf *c, const struct conf_places *p, struct conf_errors *e);


#endif

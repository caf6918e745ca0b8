// SPDX-License-Identifier: Apache-2.0
/* Tag lists of DKIM signatures and keys (RFC 6376 3.2), strictly. Pure. */
#ifndef POLICY_DKIM_TAGS_H
#define POLICY_DKIM_TAGS_H

#include "base/buf.h"
#include "base/slice.h"

enum { DKIM_TAGS_MAX = 32 };

struct dkim_tags {
	struct {
		struct slice name, value;	/* value trimmed, folding inside kept */
	} tag[DKIM_TAGS_MAX];
	size_t n;
};

/* 0, or -1: not a list of tag=value, a name twice, more than DKIM_TAGS_MAX. */
int dkim_tags_parse(struct slice text, struct dkim_tags *t);
/* The value, or .p == NULL when there is no such tag. Names are case-sensitive. */
struct slice dkim_tag(const struct dkim_tags *t, const char *name);

/* l= (RFC 6376 3.5): up to 76 digits; UINT64_MAX stands for all that is more. 0 or -1. */
int dkim_tag_length(struct slice value, uint64_t *out);
/* Copies without white space and folding; -1 when it does not fit or a NUL is inside. */
int dkim_tag_text(struct slice value, char *out, size_t cap);
/* Can it be d= or s= (RFC 6376 3.5)? Names in DNS, written without a last dot. */
bool dkim_name_ok(const char *name);
/* Does the list "a : b : c" have this item (any case)? How many times? */
unsigned dkim_list_count(struct slice list, struct slice item);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * The text of a notice to a user (spec 12.3), in one language: a file of UTF-8 whose first
 * line is "Subject: ...", then an empty line, then the text. In braces stand names of what is
 * filled in: {address} the user's own, {brand}, {domain}, {since} when the outage began,
 * {status-page}. A line with {status-page} is left out where none is configured.
 *
 * A template may hold no link and no form: phishing follows every outage. Checked by
 * `salvaposta check`; one that fails is not used. Pure.
 */
#ifndef POLICY_NOTICE_TEMPLATE_H
#define POLICY_NOTICE_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum notice_language { NOTICE_ITALIAN, NOTICE_ENGLISH, NOTICE_LANGUAGES };

enum {	/* octets */
	NOTICE_TEMPLATE_MAX = 16 * 1024, NOTICE_SUBJECT_MAX = 200,
	NOTICE_NAMES_MAX = 64,		/* names in braces */
	NOTICE_TEXT_MAX = 64 * 1024	/* of a text that is filled in; no word is over 512 */
};

struct notice_words {		/* what is filled in: clean text of one line each */
	struct slice	address, brand, domain, since;
	struct slice	status_page;	/* "" none */
};

const char *notice_language_name(enum notice_language l);	/* "it", "en": also of its file */
/* "it", "it-IT", "IT": by the first two letters. 0, or -1: none of ours. */
int notice_language_parse(struct slice s, enum notice_language *out);

struct slice notice_builtin(enum notice_language l);

/* NULL when it can be used; else what is wrong and how to mend it (static text), and the
 * number of the line, from 1. */
const char *notice_template_check(struct slice text, unsigned *line);

/* Of a template that was checked. They append; 0, or -1 over the buffer's max. Lines of the
 * text end in CRLF; the subject is one line without an end. */
int notice_subject(struct slice text, const struct notice_words *w, struct buf *out);
int notice_text(struct slice text, const struct notice_words *w, struct buf *out);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * Text in mail: what strangers wrote becomes a line of clean UTF-8 for people, and such
 * a line becomes something that may stand in a header or a body of 7 bits. Pure.
 *
 * Clean means: valid UTF-8 on one line, one space where there was any white space or
 * control, no marks that turn the direction of reading (they would let a name swallow
 * what we write behind it).
 */
#ifndef POLICY_MIME_TEXT_H
#define POLICY_MIME_TEXT_H

#include <stdbool.h>

#include "base/buf.h"

enum { MIME_TEXT_MAX = 1024 };

/* Runs into its max silently: the text ends there, between two characters. */
struct mime_text {
	char	p[MIME_TEXT_MAX];
	size_t	n;		/* octets in use */
	size_t	max;		/* of n, <= MIME_TEXT_MAX */
	bool	full;		/* something did not fit */
	bool	foreign;	/* encoded words of a charset we do not know were kept as written */
};

void mime_text_start(struct mime_text *t, size_t max);
/* Octets without a known charset: UTF-8 if they are, else windows-1252. */
void mime_text_raw(struct mime_text *t, struct slice s);
/* The same, with encoded words decoded (RFC 2047; UTF-8, ASCII, ISO-8859-1 and -15,
 * windows-1252). Quotes do not hide an encoded word: mail programs show it decoded. */
void mime_text_words(struct mime_text *t, struct slice s);
/* Without the space at the end. Borrowed until the next call. */
struct slice mime_text_get(struct mime_text *t);

/* Length of the encoded word at the start of `s`, 0 when there is none. */
size_t mime_word_length(struct slice s);

/* All of these: 0, or -1 over the buffer's max. */

/* Clean text as a phrase (RFC 5322 3.2.5): a quoted string, or encoded words, folded. */
__attribute__((warn_unused_result)) int mime_put_phrase(struct buf *out, struct slice text);
/* Clean text as unstructured field text, in encoded words when it needs them. */
__attribute__((warn_unused_result)) int mime_put_unstructured(struct buf *out,
    struct slice text);
/* Quoted-printable (RFC 2045 6.7); CRLF is an end of line, all other octets survive. */
__attribute__((warn_unused_result)) int mime_put_qp(struct buf *out, struct slice body);

/* Decodes quoted-printable; what is not well formed stays as written. */
__attribute__((warn_unused_result)) int mime_unqp(struct buf *out, struct slice body);
/* Decodes xtext (RFC 3461 4). Also -1 when it is none. */
__attribute__((warn_unused_result)) int mime_unxtext(struct buf *out, struct slice s);

#endif

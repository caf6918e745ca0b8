// SPDX-License-Identifier: Apache-2.0
/* What the files of forward copies share: the walk over what is sent, and signing it. */
#ifndef POLICY_FORWARD_PRIV_H
#define POLICY_FORWARD_PRIV_H

#include "policy/forward.h"
#include "policy/header.h"

/* A field that we want to add, unless a signature of the message says it is not there. */
struct forward_added {
	const char	*name;
	unsigned	 occurs;	/* in the message */
	unsigned	 listed;	/* most often in the h= of one DKIM-Signature */
};

enum { FORWARD_TAGS_MAX = 64 /* X-Fwd-Loop fields looked at */ };
enum { FORWARD_ADD_LOOP, FORWARD_ADD_FORWARDED_FOR, FORWARD_ADD_MAX };

/* The copy as it will arrive, below the fields that are about it. Slices point into the
 * content, and into the parts that munge or wrap made. */
struct forward_scan {
	const struct forward_keys	*keys;
	const struct forward_request	*rq;
	struct body_cut		cut[FORWARD_CUTS_MAX];
	size_t			ncut;
	struct sign_fields	fields;		/* that are signed, behind one that is empty */
	struct forward_added	add[FORWARD_ADD_MAX];
	size_t			kept;		/* fields that are not cut */
	unsigned		from;
	struct slice		body_head;	/* of a wrapped copy: above the content ... */
	size_t			body;		/* offset in the content, 0 when wrapped */
	struct slice		body_tail;	/* ... and below it */
	bool			junk;		/* a line that is no field ended the header */
	bool			odd;		/* not to be signed: readers would disagree */
	bool			full;		/* there were more cuts than can be told */
	bool			loop;		/* one of our own tags (9.1) */
	unsigned		tags;		/* X-Fwd-Loop fields */
	struct slice		message_id;	/* of the copy, "" for none */
	unsigned		receipts;	/* requests left in, because they are signed */
};

/* Starts over, also after a walk. */
void forward_scan_start(struct forward_scan *s, const struct forward_keys *k,
    const struct forward_request *rq);
void forward_scan_fini(struct forward_scan *s);
/* Fields that stand above the content. */
void forward_scan_header(struct forward_scan *s, struct slice text);
/* The content without these cuts; takes out what 2.3.10 wants out. 0, or -1 when the cuts
 * are not what the queue could have stored. */
int forward_scan_content(struct forward_scan *s, struct slice cuts);
bool forward_may_add(const struct forward_scan *s, int which);

/* policy/forward_tag.c */
/* Appends X-Fwd-Loop for a copy with that Message-ID, "" for none. 0 or -1. */
int forward_tag_put(const struct forward_keys *k, const struct forward_request *rq,
    struct slice message_id, struct buf *out);
/* One of ours, for this recipient? */
bool forward_tag_is_own(const struct forward_keys *k, const struct envelope_rcpt *rcpt,
    struct slice value);

/*
 * Appends seal and signature to c->prefix, seal above. Neither without a From field (RFC
 * 6376 5.4 wants it signed) or with more than two (8.15: all of them), nor where verifiers may not agree with us on where the header
 * ends; no seal without `chain`, on a message that is not the one that came. 0 or -1.
 */
int forward_sign(struct forward_scan *s, bool chain, struct forward_copy *c);

#endif

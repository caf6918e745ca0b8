// SPDX-License-Identifier: Apache-2.0
/* Shared by relay/ingest.c (the table of requests, what peers answer, what is lost),
 * relay/ingest_rcpt.c (recipients), relay/ingest_keep.c (messages: filters, verify with
 * its DNS answers, commit) and relay/ingest_name.c (what filters hear of the client). Nobody
 * else includes it. */
#ifndef RELAY_INGEST_PRIV_H
#define RELAY_INGEST_PRIV_H

#include "base/proto/relay_directory.h"
#include "base/proto/relay_queue.h"
#include "base/proto/relay_seal.h"
#include "base/proto/relay_verify.h"
#include "relay/ingest.h"

enum ask {
	ASK_DIRECTORY,
	ASK_SEAL,
	ASK_NAME,
	ASK_SENDER,	/* DNS: does mail to the sender of an SRS address have a way? */
	ASK_FILTER,	/* they end in time by themselves */
	ASK_VERIFIER,	/* there is no verify process now */
	ASK_VERIFY,
	ASK_DNS,
	ASK_COMMIT
};

struct ingest_req {
	struct ingest		*g;
	uint64_t		 id;		/* generation << 32 | slot; new at each question */
	uint32_t		 slot;
	enum ask		 ask;
	unsigned		 index;		/* of the process that was asked */
	int64_t			 deadline;	/* mono ms, of the present question */
	struct ingest_req	**owner;	/* where the caller keeps us; set NULL at the end */
	ingest_rcpt_fn		*rcpt_fn;
	char			*defer;		/* of a recipient whose domain defers in standby:
						 * the domain, owned; else NULL */
	const struct ingest_keep_ops *keep;
	ingest_judged_fn	*judged;	/* only to be evaluated; else NULL */
	void			*arg;
	/* of a message only */
	struct ingest_mail	 mail;
	struct dns_batch	*batch;		/* owned; in ASK_DNS, ASK_NAME, ASK_SENDER */
	struct buf		 answers;	/* items of struct dns_answer */
	struct buf		 wants;		/* all names wanted so far, for the memo */
	int64_t			 dns_end;	/* mono ms; 0 before the first names were wanted */
	unsigned		 rounds, tries;
	struct milter_run	*filter;	/* owned; in ASK_FILTER */
	struct buf		 fields;	/* of filters, for the trace block */
	char			 id_text[MSGID_TEXT + 1];
	char			 client_name[DNS_NAME_MAX + 1];	/* for filters; "" unknown */
	bool			 spam;		/* they say: not to be sent on */
	bool			 clean;		/* one says: no spam */
	bool			 last;		/* no more answers will come */
	uint8_t			 spf, dkim;	/* for the log line */
};

struct ingest {
	struct loop		*loop;
	const struct conf	*conf;
	struct dns		*dns;		/* borrowed */
	struct ingest_links	 links;
	unsigned		 relay_index;
	struct ingest_req	**slot;		/* NULL: free */
	uint32_t		*free_slot;	/* stack of free ones */
	uint32_t		 nslot, nfree;
	uint32_t		 generation;
	struct timer		*sweep;
	bool			 sweeping;	/* the timer is armed */
	struct buf		 scratch;	/* one encoded envelope */
	struct ingest_memo	*memo;
	struct ingest_stats	 stats;
	const struct phases	*phases;	/* borrowed, or NULL */
	const uint8_t		*canary_key;	/* borrowed, or NULL */
};

/* ingest.c */
struct ingest_req *ingest_req_new(struct ingest *g, void *arg, struct ingest_req **owner);
/* The owner forgets it before its function is called, which may start the next one. */
void ingest_req_free(struct ingest_req *r);
/* A new question of this request: answers to the one before are void. */
void ingest_req_ask(struct ingest_req *r, enum ask ask, int64_t timeout_ms);
struct ingest_req *ingest_req_find(struct ingest *g, uint64_t id, enum ask ask);

/* ingest_rcpt.c; an answer to no request is ignored */
void ingest_dir_found(struct ingest *g, const struct dir_found *f);
void ingest_seal_checked(struct ingest *g, const struct seal_checked *c);
void ingest_rcpt_unavailable(struct ingest_req *r);
void ingest_sender_unknown(struct ingest_req *r);	/* DNS says nothing: no reason to refuse */

/* ingest_keep.c */
void ingest_verify_done(struct ingest *g, const struct verify_done *v);
void ingest_committed(struct ingest *g, const struct queue_committed *c);
void ingest_keep_filter(struct ingest_req *r);
void ingest_keep_evaluate(struct ingest_req *r);
/* The process died over it, or says nothing: one other may try. */
void ingest_keep_verify_lost(struct ingest_req *r);
/* Nobody could judge it: it is kept for the primary, and not sent on. */
void ingest_keep_unevaluated(struct ingest_req *r, struct slice trace);
void ingest_keep_done(struct ingest_req *r, enum smtp_kept what, struct slice text);

/* ingest_name.c; ends in ingest_keep_filter */
void ingest_name_find(struct ingest_req *r);
void ingest_name_lost(struct ingest_req *r);

#endif

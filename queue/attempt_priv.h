// SPDX-License-Identifier: Apache-2.0
/* Shared by queue/attempt.c (work in flight, hold legs), queue/attempt_forward.c (forward
 * legs: from the recovery address to the copy that leaves), queue/attempt_reply.c (what
 * destinations said) and queue/attempt_notice.c. Nobody else includes it. */
#ifndef QUEUE_ATTEMPT_PRIV_H
#define QUEUE_ATTEMPT_PRIV_H

#include "queue/attempt.h"
#include "queue/legs_forward.h"
#include "queue/routes.h"

enum {
	ATTEMPT_SOON_MS = 1000,		/* a role is being restarted */
	ATTEMPT_DIRECTORY_MS = 5000,	/* the directory cannot answer now */
	ATTEMPT_SPACING_MS = 2,		/* between two legs that come back for that */
	ATTEMPT_READ_MAX_MS = 20 * 1000,	/* a disk that hangs; the place is for others then */
	ATTEMPT_DISK_MS = 2000,		/* the spool could not be read */
	ATTEMPT_ROUTE_MS = 60 * 1000,	/* the DNS cannot answer now */
	ATTEMPT_ASK_MAX_MS = 60 * 1000,	/* directory, seal, DNS answer within this */
	ATTEMPT_DELIVER_MAX_MS = 3 * 3600 * 1000,	/* above the sum of all SMTP timeouts */
	ATTEMPT_RECOVERY_MAX = 320,
	ATTEMPT_RELAY_STEP = 4,		/* legs to one destination before a second relay helps */
	ATTEMPT_BUCKETS = 4096,
	ATTEMPT_ALARMS = 16
};

#define ATTEMPT_NOUSER	(1ULL << 61)	/* requests to the directory of attempts_nouser */

struct work {			/* what is in flight for an item: item->work */
	uint64_t	 req;
	struct item	*item;
	uint8_t		 peer;		/* enum role_kind asked */
	uint8_t		 index;		/* ... which of them */
	bool		 asked;		/* an answer is awaited */
	int64_t		 until_ms;	/* monotonic: given up then */
	struct spool_message msg;	/* while have_msg */
	bool		 have_msg;
	struct attempts	*attempts;
	struct spool_fetch *fetch;	/* under way, or NULL */
	void		(*then)(struct attempts *a, struct work *w);
	uint8_t		 notify;	/* hold: NOTIFY_* of the sender */
	bool		 lmtp;		/* hold: the primary speaks it */
	struct legs_change taken;	/* hold: written when the sender's notification is kept */
	struct work	*next;		/* same hash bucket */
	struct work	*all_next, *all_prev;

	/* of forward legs */
	char		*recovery;	/* owned */
	char		*domain;	/* of recovery, lower case; owned */
	char		*author;	/* domain in From as evaluated, owned; NULL not known */
	char		*group;		/* provider, owned; NULL for a store of ours */
	uint64_t	 user_key, address_key;	/* marks: directory's form, as written */
	struct msgid	 consent_key;
	uint64_t	 recovery_key, pair_key;	/* ... pair: provider and author */
	uint64_t	 group_key;
	uint64_t	 message_key;	/* provider and Message-ID; 0: none */
	struct forward_note note;
	bool		 breaks;	/* it will not align, and its policy is against that */
	bool		 trial;		/* sent as it is although it will not align (7.3 try) */
	bool		 counted;	/* in MARK_BURST and MARK_DAY */
	bool		 message_counted;
	bool		 volume_counted;	/* in the provider's day */
	uint8_t		 form;		/* enum history_form of the copy */
	bool		 direct;	/* into a store of ours (9.3) */
	bool		 tag_read;	/* its X-Fwd-Loop is not ours */
	char		 language[17];	/* the directory's, "" not known */
	bool		 announcing;	/* its user's notice is under way (attempt_announce.c) */
	bool		 announced;	/* that is over */
	struct work	*announce_next;
	struct buf	 fresh;		/* the envelope as evaluated again (0.4), or empty */
};

struct provider_alarm {
	char		 what[12];	/* "block", "setup", "addr" */
	char		 group[ROUTE_GROUP_MAX];	/* known providers by name, others hashed */
	int64_t		 first_ms, last_ms;	/* wall clock */
	int64_t		 until_ms;
	uint64_t	 count;
	uint16_t	 code;
	char		 enhanced[13];
};

struct attempts {
	struct role	*role;
	struct spool	*spool;
	struct failover	*failover;
	struct replay	*replay;
	struct tally	*tally;
	struct schedule	*schedule;
	struct notices	*notices;
	attempts_result_fn *result;	/* NULL: nobody watches */
	void		*result_arg;
	int64_t		 directory_ms;	/* monotonic: when the next leg may ask again */
	struct marks	*marks;
	struct history	*history;
	const struct consent *consent;
	struct marks	*told;		/* who had a notice (12.3) */
	struct work	*announcing;	/* by announce_next */
	uint64_t	 notices_sent, notices_refused, notices_later;
	struct routes	*routes;	/* owned */
	uint64_t	 req;		/* the last one given */
	struct work	*bucket[ATTEMPT_BUCKETS];	/* asked ones by req */
	struct work	*all;
	struct provider_alarm alarm[ATTEMPT_ALARMS];
	uint64_t	 class[REPLY_CLASS_MAX];	/* replies to forward legs */
};

/* attempt.c */
uint32_t attempt_random(void);
struct work *work_new(struct attempts *a, struct item *it);
void work_ask(struct attempts *a, struct work *w, enum role_kind peer, unsigned index,
    int64_t patience);
struct work *work_take(struct attempts *a, enum role_kind peer, unsigned index, uint64_t req);
void attempt_write(struct attempts *a, struct item *it, const struct legs_change *to);
void attempt_skip(struct attempts *a, struct item *it, enum leg_state st, struct slice note);
void attempt_later(struct attempts *a, struct item *it, int64_t after_ms);
void attempt_unread(struct attempts *a, struct item *it);
void attempt_ask_later(struct attempts *a, struct item *it);	/* the directory cannot answer */
/* Goes on with `then` when the message is here, maybe before returning. */
void work_read(struct attempts *a, struct work *w, bool with_body,
    void (*then)(struct attempts *a, struct work *w));
void work_drop_message(struct work *w);
void attempt_deliver(struct attempts *a, struct work *w, struct queue_deliver *q);
void attempt_send(struct attempts *a, struct work *w, struct queue_deliver *q, int body_fd);

/* Remembers the attempt that ended so; `to` NULL: the leg is untouched. */
void attempt_remember(struct attempts *a, const struct work *w, const struct queue_delivered *m,
    enum reply_class class, const struct legs_change *to);

/* attempt_forward.c */
bool attempt_in_peace(const struct attempts *a, const struct item *it);	/* queue/baseline.h */
void attempt_forward_start(struct attempts *a, struct work *w);
int attempt_directory_answer(struct attempts *a, unsigned index, struct slice body);
int attempt_route_answer(struct attempts *a, unsigned index, struct slice body);
int attempt_seal_answer(struct attempts *a, unsigned index, struct slice body);
/* Its leg waits until `until` (wall clock); that was no attempt. */
void attempt_put_off(struct attempts *a, struct work *w, int64_t until);
/* 8.8, 9.4: counted from now on. False: the leg has ended or waits. */
bool attempt_room(struct attempts *a, struct work *w);
void attempt_uncount(struct attempts *a, struct work *w);	/* it was not delivered */
void attempt_forward_counted(struct attempts *a, struct work *w);	/* it was */

void attempt_resolve_message(struct attempts *a, struct work *w);	/* w->msg is at hand */
void attempt_survival(struct work *w, const struct envelope *env);	/* as last evaluated (7.1) */

/* attempt_tag.c: is a message with an X-Fwd-Loop a copy of ours that came back (9.1)? If so,
 * it ends here; if not, on to attempt_resolve_message. */
void attempt_tag_start(struct attempts *a, struct work *w);
int attempt_tag_answer(struct attempts *a, unsigned index, struct slice body);

/* attempt_recheck.c: no copy of what DNS did not let us judge, before that is done (0.4) */
bool attempt_recheck_needed(const struct work *w);
void attempt_recheck_start(struct attempts *a, struct work *w);
int attempt_recheck_answer(struct attempts *a, unsigned index, struct slice body);

/* attempt_notice.c: notifications of ours to senders (2.3), which know no directory, no
 * provider's limits and no seal: they go as they were kept */
void attempt_notice_place(struct attempts *a, struct work *w, struct slice address);
void attempt_notice_start(struct attempts *a, struct work *w);
void attempt_notice_reply(struct attempts *a, struct work *w, const struct queue_delivered *m);

/* attempt_node.c: what came back for another node of ours, to its relay (1.4.4) */
void attempt_node_place(struct attempts *a, struct work *w, const struct envelope_rcpt *rcpt);
void attempt_node_start(struct attempts *a, struct work *w);
void attempt_node_reply(struct attempts *a, struct work *w, const struct queue_delivered *m);

/* attempt_announce.c: the notice to a user before the first copy of an outage (12.3) */
/* True: it goes first, or another copy waits for it; nothing more to be done now. */
bool attempt_announce(struct attempts *a, struct work *w);
void attempt_announce_reply(struct attempts *a, struct work *w, const struct queue_delivered *m);
void attempt_announce_end(struct attempts *a, struct work *w);	/* also when there is none */
/* When this user had the last one, or it was given up; 0 not known. */
int64_t attempt_announce_time(const struct attempts *a, struct slice user, struct slice recovery);
void attempt_announce_status(const struct attempts *a, struct buf *out);

/* attempt_reply.c */
struct reply_verdict attempt_verdict(const struct work *w, const struct queue_delivered *m);
bool attempt_untried(const struct queue_delivered *m);	/* its provider was closed */
/* What a class means beyond this leg; until when the leg waits, 0: as 8.6 says. */
int64_t attempt_class(struct attempts *a, struct work *w, const struct forward_reply *f);
void attempt_forward_reply(struct attempts *a, struct work *w, const struct queue_delivered *m);
const char *attempt_group_name(const struct attempts *a, const char *group);

/* The alarm of that kind and provider, begun if there is none. */
struct provider_alarm *attempt_alarm_slot(struct attempts *a, const char *what,
    const char *name);

/* attempt_volume.c */
/* Its provider has had its day (8.11). True: the leg waits for the next one. */
bool attempt_volume_stops(struct attempts *a, struct work *w, int64_t now);
int attempt_volume_status(struct attempts *a, struct buf *out);	/* 0 or -1: no room */

#endif

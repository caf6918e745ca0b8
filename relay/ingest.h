// SPDX-License-Identifier: Apache-2.0
/*
 * The way of a message inside: is this recipient ours (directory, seal), what is to be
 * thought of the message (content filters, then verify, with DNS answers fetched for it),
 * and then the commit (queue). Each question is a request with a number; answers of the dead, late or made up
 * find no request and are ignored.
 *
 * Every request ends in exactly one call of its function, however badly the other roles
 * fare, unless it is cancelled. Our own troubles end as "try again later" or, when only the
 * verdict is missing, as a message that is held and not forwarded (P2).
 */
#ifndef RELAY_INGEST_H
#define RELAY_INGEST_H

#include "base/role.h"
#include "relay/dns.h"
#include "relay/milter.h"
#include "relay/smtp_machine.h"

struct ingest;
struct ingest_req;

/* Where the other roles are: role_link and role_any, or a test's doubles. */
struct ingest_links {
	struct ipc	*(*link)(void *arg, enum role_kind peer, unsigned index);
	struct ipc	*(*any)(void *arg, enum role_kind peer, unsigned *index);
	void		*arg;
};

struct ingest *ingest_new(struct loop *l, const struct conf *c, struct dns *d,
    const struct ingest_links *links, unsigned relay_index);
void ingest_reload(struct ingest *g, const struct conf *c);
/* What the queue tells of phases, and the key of canaries (CANARY_KEY bytes); both borrowed for
 * its life. Without: nobody is sent to the primary, no canary is known. */
struct phases;
void ingest_watch(struct ingest *g, const struct phases *p, const uint8_t *canary_key);
unsigned ingest_relay_index(const struct ingest *g);
struct dns *ingest_dns(const struct ingest *g);	/* borrowed; NULL in some tests */
void ingest_free(struct ingest **gp);	/* requests end without a call */

/* An answer of a peer. True when it was of a kind that is ours. */
bool ingest_message(struct ingest *g, enum role_kind peer, unsigned index, uint32_t type,
    struct slice body);
void ingest_link_down(struct ingest *g, enum role_kind peer, unsigned index);

/* Functions may be called from within the request itself, when it cannot even be sent;
 * `*out` is then NULL already. Slices are borrowed until return. */
typedef void ingest_rcpt_fn(void *arg, const struct smtp_rcpt_answer *a);
void ingest_rcpt(struct ingest *g, bool return_path, struct slice address,
    ingest_rcpt_fn *fn, void *arg, struct ingest_req **out);

/* The names that the verdict on this sender will need, asked for early. */
void ingest_prefetch(struct ingest *g, struct slice client_ip, struct slice mail_from);

/* All of it, body_fd (sealed) too, is borrowed until the end of the request. */
struct ingest_mail {
	struct msgid	id;
	int64_t		received_ms;	/* wall clock */
	uint64_t	body_size;
	uint32_t	flags;		/* ENV_BODY_8BIT, ENV_SMTPUTF8, ENV_TLS, ENV_TRUSTED,
				 * ENV_REQUIRETLS */
	uint32_t	nrcpt;
	struct slice	client_ip, helo, mail_from;
	struct slice	envid, ret;	/* RFC 3461, "" when not given */
	struct slice	rcpts;		/* items of struct envelope_rcpt */
	struct slice	rcpt;		/* the only one as written, or "" */
	const struct envelope_bounce *bounce;	/* it came to a return path; NULL: ordinary mail */
	struct slice	token;		/* ... that one's, "" for none */
	struct slice	protocol, tls;	/* as in struct verify_eval */
	int		body_fd;
};
struct ingest_keep_ops {
	void (*committing)(void *arg);	/* the verdict is there, the queue has it now */
	/* `text`: the refusal's reply, "" otherwise. */
	void (*done)(void *arg, enum smtp_kept what, struct slice text);
};
void ingest_keep(struct ingest *g, const struct ingest_mail *m,
    const struct ingest_keep_ops *ops, void *arg, struct ingest_req **out);

/* Evaluates it again (0.4) and keeps nothing; no filter is asked. `v` is NULL when nobody
 * could judge it; borrowed until return, its status is VERIFY_OK or VERIFY_REFUSE. */
struct verify_done;
typedef void ingest_judged_fn(void *arg, const struct verify_done *v);
void ingest_judge(struct ingest *g, const struct ingest_mail *m, ingest_judged_fn *fn,
    void *arg, struct ingest_req **out);

void ingest_cancel(struct ingest *g, struct ingest_req **rp);

struct ingest_stats {
	uint64_t accepted, refused, deferred;	/* messages */
	uint64_t unevaluated;			/* of the accepted: held for lack of a verdict */
	uint64_t runs;				/* evaluations asked for */
	struct milter_stats filter;
	uint64_t canaries;			/* our own that came round; in none of the above */
	unsigned in_flight;
};
void ingest_stats(const struct ingest *g, struct ingest_stats *out);

#endif

// SPDX-License-Identifier: Apache-2.0
/* Shared by queue/control.c (socket, clients, checking of requests) and queue/command*.c
 * (what the commands do). Nobody else includes it. */
#ifndef QUEUE_CONTROL_PRIV_H
#define QUEUE_CONTROL_PRIV_H

#include <jansson.h>

#include "queue/control.h"
#include "queue/operate.h"
#include "queue/walk.h"

struct client;
struct job;

struct request {		/* one being answered; lives until control_reply */
	struct control	*control;
	struct queue	*queue;
	struct client	*client;	/* NULL once it went away */
	const struct command *command;
	json_t		*in;		/* owned; checked against the command's fields */
	struct audit_who who;
	struct walk	*walk;		/* while one runs */
	bool		 asked;		/* role_ask holds a pointer to this */
	bool		 answered;	/* replied, kept only for the role_ask */
	uint64_t	 req;		/* directory-reload */
	struct timer	*timer;		/* patience */
	struct operate_filter filter;	/* borrows from in */
	/* queue-list */
	json_t		*list;		/* owned */
	uint64_t	 count, limit;
	struct why_last	*why;		/* owned; queue/command_why.c */
	struct job	*job;		/* owned; queue/command_job.c */
	struct request	*next, *prev;
};

struct field {
	const char	*name;
	json_type	 type;		/* JSON_TRUE stands for both booleans */
	bool		 required;	/* and not empty */
};

enum { COMMAND_FIELDS_MAX = 14 };

struct command {
	const char	*name;
	void		(*run)(struct request *rq);
	struct field	 field[COMMAND_FIELDS_MAX];	/* up to name NULL */
};
extern const struct command control_commands[];	/* queue/command.c; up to name NULL */

/* Sends the reply (takes the reference), frees the request. */
void control_reply(struct request *rq, json_t *reply);
void control_fail(struct request *rq, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A line before the reply, when the client asked for "progress" and reads what it gets.
 * Takes the reference. */
void control_progress(struct request *rq, json_t *line);
/* Fails the request with `text` unless it is answered within ms. */
void control_patience(struct request *rq, int64_t ms);

/* The supervisor's answer came. False: nobody waits for it any more, and rq is gone. */
bool control_asked(struct request *rq);

/* The request's field, "" or `other` when it was not given. Borrowed. */
const char *request_string(const struct request *rq, const char *name);
int64_t request_int(const struct request *rq, const char *name, int64_t other);
bool request_bool(const struct request *rq, const char *name);
bool request_has(const struct request *rq, const char *name);

/* The unanswered one with that directory request, or NULL. */
struct request *control_find(struct control *c, uint64_t req);
uint64_t control_next_req(struct control *c);

/* command.c */
json_t *command_ok(void);
/* The i-th group when the request (domain, shard) means it, else NULL. */
struct failover_group *command_group(struct request *rq, size_t i);
/* Whether it means any at all. */
bool command_means(struct request *rq);
/* Fails the request: no group is meant, and says what was asked for. */
void command_no_such(struct request *rq);
/* command_replay.c */
void command_replay_status(struct request *rq);
void command_replay_set(struct request *rq);
void command_replay_start(struct request *rq);
/* command_failover.c */
void command_failover_set(struct request *rq);
void command_failover_show(struct request *rq);
json_t *command_failover_list(struct queue *q);
void command_failover_schedule(struct request *rq);
void command_failover_windows(struct request *rq);
void command_failover_cancel(struct request *rq);
/* Calls `make` for each group the request names; the reply `o` (taken) has them as "domains". */
void command_domains(struct request *rq, json_t *o,
    json_t *(*make)(struct queue *q, const struct failover_group *g));
void command_replay_again(struct request *rq);
/* command_queue.c */
void command_list(struct request *rq);
void command_show(struct request *rq);
int command_filter(struct request *rq);	/* into rq->filter; -1 after failing it */
/* The message of the field "id". Count, or -1 after failing the request; refs owned. */
int command_message(struct request *rq, struct spool_ref **refs);
/* command_consent.c */
void command_consent_set(struct request *rq);
/* Adds "opted_out" to a user's object; says whether he has stopped his copies (12.3). */
bool command_consent_put(const struct queue *q, struct slice user, json_t *o);
/* command_why.c */
void command_why(struct request *rq);
/* command_job.c */
void command_job(struct request *rq);
/* A queue-retry of all of the request's domain (and shard), audited as such. */
void command_job_retry(struct request *rq);
/* Replays what was replayed since then once more, as long as it is on disk. */
void command_job_again(struct request *rq);
void command_summary(struct request *rq);
void command_job_free(struct request *rq);

#endif

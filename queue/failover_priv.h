// SPDX-License-Identifier: Apache-2.0
/* Shared by queue/failover.c (groups and changes), queue/failover_file.c (the state file) and
 * queue/failover_window.c (windows). Nobody else includes it. */
#ifndef QUEUE_FAILOVER_PRIV_H
#define QUEUE_FAILOVER_PRIV_H

#include "queue/failover.h"

#define FAILOVER_FILE	"failover.json"

struct failover {
	int			 dirfd;		/* owned */
	struct audit		*audit;		/* borrowed */
	struct failover_group	**group;	/* owned */
	size_t			 ngroup;
	struct failover_group	**slot;		/* the same by id, open addressing */
	size_t			 nslot;		/* a power of two */
	struct failover_window	*window;	/* owned, with their strings */
	size_t			 nwindow;
	uint64_t		 last_window;	/* the last id given */
	uint64_t		 serial;
};

/* failover.c */
int failover_phase_parse(const char *s, enum failover_phase *out);
struct failover_group *failover_group_add(struct failover *f, const char *domain,
    const char *shard);
struct failover_group *failover_group_named(struct failover *f, struct slice domain,
    struct slice shard);
/* Copies; what was there is freed. */
void failover_text_set(char **at, const char *text);
/* The change of that record could not be persisted: says so in the audit log. */
void failover_undo(struct failover *f, const struct audit_record *r);

/* failover_file.c: all of the state, on stable storage when it returns 0; -1 with errno. */
int failover_save(struct failover *f);
int failover_load(struct failover *f);	/* 0 loaded or not there yet, -1 after logging */

/* failover_window.c */
void failover_window_put(struct failover *f, const struct failover_window *w);	/* copies */
void failover_window_drop(struct failover *f, size_t i);

#endif

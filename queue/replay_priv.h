// SPDX-License-Identifier: Apache-2.0
/* Shared by queue/replay.c and queue/replay_state.c (the file). Nobody else includes it. */
#ifndef QUEUE_REPLAY_PRIV_H
#define QUEUE_REPLAY_PRIV_H

#include "queue/replay.h"

enum { REPLAY_BUCKETS = 1024 };

struct replay {
	int			 dirfd;		/* borrowed; -1: nothing is persisted */
	struct failover		*failover;	/* borrowed */
	struct audit		*audit;		/* borrowed */
	struct replay_group	*bucket[REPLAY_BUCKETS];
};

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * A second look at messages whose DNS did not answer when they came (spec 0.4): what the
 * queue hands over is evaluated as at the end of data, with the client's address, HELO, MAIL
 * FROM and time of then. Nothing is kept or refused here; the queue gets the new envelope.
 */
#ifndef RELAY_RECHECK_H
#define RELAY_RECHECK_H

#include "base/proto/relay_queue.h"
#include "relay/ingest.h"

struct rechecks;

/* `arg`: as given; `m` is borrowed until return. Called once for each start that is not
 * cancelled, maybe from within it. */
typedef void recheck_fn(void *arg, const struct queue_evaluated *m);
/* `g` is borrowed. */
struct rechecks *rechecks_new(struct ingest *g, recheck_fn *fn, void *arg);
void rechecks_free(struct rechecks **cp);	/* cancels; before its ingest is freed */
/* Takes the descriptor. */
void recheck_start(struct rechecks *c, const struct queue_evaluate *q, int body_fd);

#endif

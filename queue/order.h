// SPDX-License-Identifier: Apache-2.0
/*
 * The order in which a provider's legs are served (spec 10.4-10.6). Pure: legs come in
 * with their class, user, sender and time; the next one goes out.
 *
 *	class 0   newest first, while younger than urgent-ttl, then class 2
 *	class 1   before class 2; each user in turn by bytes, the oldest of a user first
 *	class 2   likewise
 *	class 3   only when nothing else waits
 *
 * Class 1 gets every 10th start and class 2 every 20th whatever waits above them. One
 * sender's domain gets at most 30 of the last 100 starts in class 0; what is more is
 * class 2.
 */
#ifndef QUEUE_ORDER_H
#define QUEUE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

enum { ORDER_CLASSES = 4 };

struct item;
struct order;

struct order *order_new(void);
void order_free(struct order **op);	/* nothing may be queued any more */

/* Borrowed until it is taken, shed or removed. it->sender and it->e are read. */
void order_put(struct order *o, struct item *it, unsigned class);
/* The next one, NULL when none waits. `now`: wall clock, as e.received_ms. */
struct item *order_take(struct order *o, int64_t urgent_ttl_ms, int64_t now);
/* The one that is served last, if its class is behind `class`; else NULL. */
struct item *order_shed(struct order *o, unsigned class);
void order_remove(struct order *o, struct item *it);

unsigned order_count(const struct order *o, unsigned class);

#endif

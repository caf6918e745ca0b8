// SPDX-License-Identifier: Apache-2.0
#include "queue/order.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "queue/schedule.h"

enum {
	ORDER_QUANTUM = 32 * 1024,	/* bytes a user gets in a round */
	ORDER_COST_MIN = 16 * 1024, ORDER_COST_MAX = 256 * 1024,	/* of one leg */
	ORDER_RECENT = 100,		/* starts that are remembered */
	ORDER_SENDER_MAX = 30,		/* ... of one sender's domain in class 0 */
	ORDER_BUCKETS_MIN = 16
};
/* Per cent of the starts: of classes 1 and 2 at least. */
static const unsigned order_share[ORDER_CLASSES] = { 0, 10, 5, 0 };

struct order_user {		/* one user in one class */
	uint64_t		 id;
	uint8_t			 class;
	int64_t			 deficit;	/* bytes it may send in this round */
	struct item_list	 items;		/* oldest first */
	TAILQ_ENTRY(order_user)	 ring;
	struct order_user	*next;		/* same hash bucket */
};
TAILQ_HEAD(order_ring, order_user);

struct order {
	struct item_list	 urgent;		/* class 0, newest first */
	struct order_ring	 ring[ORDER_CLASSES];	/* users with something, in turn */
	struct order_user	**bucket;		/* users of all classes */
	size_t			 nbucket, nuser;
	unsigned		 count[ORDER_CLASSES];
	unsigned		 credit[ORDER_CLASSES];	/* 100: one start is due */
	uint64_t		 recent[ORDER_RECENT];	/* senders of class 0; 0 others */
	unsigned		 recent_at;
};

struct order *
order_new(void)
{
	struct order *o = mem_new(sizeof(*o));

	TAILQ_INIT(&o->urgent);
	for (unsigned c = 0; c < ORDER_CLASSES; c++)
		TAILQ_INIT(&o->ring[c]);
	o->nbucket = ORDER_BUCKETS_MIN;
	o->bucket = mem_array(o->nbucket, sizeof(*o->bucket));
	return o;
}

void
order_free(struct order **op)
{
	struct order *o = *op;

	*op = NULL;
	if (o == NULL)
		return;
	CHECK(o->nuser == 0 && TAILQ_EMPTY(&o->urgent));
	free(o->bucket);
	free(o);
}

/* ---- users ---- */

static size_t
user_bucket(const struct order *o, uint64_t id, unsigned class)
{
	return (size_t)((id ^ class * 0x9e3779b97f4a7c15ULL) % o->nbucket);
}

static void
users_grow(struct order *o)
{
	struct order_user **old = o->bucket, *u, *next;
	size_t n = o->nbucket;

	o->nbucket = n * 4;
	o->bucket = mem_array(o->nbucket, sizeof(*o->bucket));
	for (size_t i = 0; i < n; i++)
		for (u = old[i]; u != NULL; u = next) {
			size_t b = user_bucket(o, u->id, u->class);

			next = u->next;
			u->next = o->bucket[b];
			o->bucket[b] = u;
		}
	free(old);
}

static struct order_user *
user_get(struct order *o, uint64_t id, unsigned class)
{
	size_t b = user_bucket(o, id, class);
	struct order_user *u = o->bucket[b];

	while (u != NULL && (u->id != id || u->class != class))
		u = u->next;
	if (u != NULL)
		return u;
	if (o->nuser >= 2 * o->nbucket) {
		users_grow(o);
		b = user_bucket(o, id, class);
	}
	u = mem_new(sizeof(*u));
	u->id = id;
	u->class = (uint8_t)class;
	TAILQ_INIT(&u->items);
	u->next = o->bucket[b];
	o->bucket[b] = u;
	o->nuser++;
	TAILQ_INSERT_TAIL(&o->ring[class], u, ring);
	return u;
}

static void
user_drop_empty(struct order *o, struct order_user *u)
{
	struct order_user **at = &o->bucket[user_bucket(o, u->id, u->class)];

	if (!TAILQ_EMPTY(&u->items))
		return;
	while (*at != u)
		at = &(*at)->next;
	*at = u->next;
	o->nuser--;
	TAILQ_REMOVE(&o->ring[u->class], u, ring);
	free(u);
}

static int64_t
item_cost(const struct item *it)
{
	return it->e.size < ORDER_COST_MIN ? ORDER_COST_MIN :
	    it->e.size > ORDER_COST_MAX ? ORDER_COST_MAX : (int64_t)it->e.size;
}

/* ---- in and out ---- */

void
order_put(struct order *o, struct item *it, unsigned class)
{
	struct item *at;

	it->class = (uint8_t)class;
	o->count[class]++;
	if (class == 0) {
		TAILQ_FOREACH(at, &o->urgent, link)
			if (at->e.received_ms <= it->e.received_ms)
				break;
		if (at != NULL)
			TAILQ_INSERT_BEFORE(at, it, link);
		else
			TAILQ_INSERT_TAIL(&o->urgent, it, link);
		it->user = NULL;
		return;
	}
	it->user = user_get(o, it->e.user, class);
	TAILQ_FOREACH_REVERSE(at, &it->user->items, item_list, link)
		if (at->e.received_ms <= it->e.received_ms)
			break;
	if (at != NULL)
		TAILQ_INSERT_AFTER(&it->user->items, at, it, link);
	else
		TAILQ_INSERT_HEAD(&it->user->items, it, link);
}

void
order_remove(struct order *o, struct item *it)
{
	o->count[it->class]--;
	if (it->user == NULL) {
		TAILQ_REMOVE(&o->urgent, it, link);
		return;
	}
	TAILQ_REMOVE(&it->user->items, it, link);
	user_drop_empty(o, it->user);
	it->user = NULL;
}

static void
demote(struct order *o, struct item *it)
{
	order_remove(o, it);
	order_put(o, it, 2);
}

static bool
sender_has_enough(const struct order *o, uint64_t sender)
{
	unsigned n = 0;

	for (unsigned i = 0; sender != 0 && i < ORDER_RECENT; i++)
		n += o->recent[i] == sender;
	return n >= ORDER_SENDER_MAX;
}

static struct item *
take_urgent(struct order *o)
{
	struct item *it;

	while ((it = TAILQ_FIRST(&o->urgent)) != NULL) {
		if (!sender_has_enough(o, it->sender))
			return it;
		demote(o, it);
	}
	return NULL;
}

/* Deficit round robin: bounded by ORDER_COST_MAX / ORDER_QUANTUM rounds. */
static struct item *
take_fair(struct order *o, unsigned class)
{
	struct order_user *u;

	while ((u = TAILQ_FIRST(&o->ring[class])) != NULL) {
		struct item *it = TAILQ_FIRST(&u->items);

		if (u->deficit >= item_cost(it)) {
			u->deficit -= item_cost(it);
			return it;
		}
		u->deficit += ORDER_QUANTUM;
		TAILQ_REMOVE(&o->ring[class], u, ring);
		TAILQ_INSERT_TAIL(&o->ring[class], u, ring);
	}
	return NULL;
}

/* The class whose share is due although better ones wait; 0: none. */
static unsigned
due_class(struct order *o)
{
	for (unsigned c = 1; c < ORDER_CLASSES; c++)
		if (o->count[c] == 0)
			o->credit[c] = 0;
		else if (o->credit[c] < 100)
			o->credit[c] += order_share[c];
	for (unsigned c = 1; c < ORDER_CLASSES; c++)
		if (o->credit[c] >= 100)
			return c;
	return 0;
}

struct item *
order_take(struct order *o, int64_t urgent_ttl_ms, int64_t now)
{
	struct item *it = NULL, *old;
	unsigned due;

	while ((old = TAILQ_LAST(&o->urgent, item_list)) != NULL &&
	    now - (old->e.received_ms + old->e.shift_ms) > urgent_ttl_ms)
		demote(o, old);
	due = due_class(o);
	if (due != 0)
		it = take_fair(o, due);
	if (it == NULL)
		it = take_urgent(o);
	for (unsigned c = 1; it == NULL && c < ORDER_CLASSES; c++)
		it = take_fair(o, c);
	if (it == NULL)
		return NULL;
	if (order_share[it->class] > 0 && o->credit[it->class] >= 100)
		o->credit[it->class] -= 100;
	o->recent[o->recent_at++ % ORDER_RECENT] = it->class == 0 ? it->sender : 0;
	order_remove(o, it);
	return it;
}

struct item *
order_shed(struct order *o, unsigned class)
{
	for (unsigned c = ORDER_CLASSES - 1; c > class; c--) {
		struct order_user *u = TAILQ_LAST(&o->ring[c], order_ring);

		if (u == NULL)
			continue;
		struct item *it = TAILQ_LAST(&u->items, item_list);
		order_remove(o, it);
		return it;
	}
	return NULL;
}

unsigned
order_count(const struct order *o, unsigned class)
{
	return o->count[class];
}

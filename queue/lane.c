// SPDX-License-Identifier: Apache-2.0
#include "queue/lane.h"

#include <stdlib.h>

#include "base/mem.h"
#include "queue/schedule.h"

enum { LANE_BUCKETS = 4096 };

struct lane_box {
	uint64_t	 user;
	struct item_list items;		/* oldest first */
	unsigned	 queued;	/* items */
	unsigned	 urgent;	/* ... of the urgent classes */
	bool		 running;
	uint8_t		 on;		/* 0: on no list, else 1 + index into lane.ready */
	TAILQ_ENTRY(lane_box) link;
	struct lane_box	*next;		/* same hash bucket */
};

void
lane_init(struct lane *l)
{
	*l = (struct lane){ .queued = 0 };
	TAILQ_INIT(&l->ready[0]);
	TAILQ_INIT(&l->ready[1]);
}

void
lane_fini(struct lane *l)
{
	CHECK(l->queued == 0 && l->boxes == 0);
	free(l->bucket);
	l->bucket = NULL;
}

static bool
item_urgent(const struct item *it)
{
	return it->e.triage <= LANE_URGENT_CLASS;
}

static struct lane_box **
box_slot(struct lane *l, uint64_t user)
{
	struct lane_box **at = &l->bucket[(user ^ user >> 32) % LANE_BUCKETS];

	while (*at != NULL && (*at)->user != user)
		at = &(*at)->next;
	return at;
}

/* On the list it belongs to now, at its end; a box that only changes its list keeps no
 * place in the new one, which is fair: there it is the newest. */
static void
box_list(struct lane *l, struct lane_box *b)
{
	uint8_t on = b->running || b->queued == 0 ? 0 : b->urgent > 0 ? 1 : 2;

	if (on == b->on)
		return;
	if (b->on != 0)
		TAILQ_REMOVE(&l->ready[b->on - 1], b, link);
	if (on != 0)
		TAILQ_INSERT_TAIL(&l->ready[on - 1], b, link);
	b->on = on;
}

static void
box_forget(struct lane *l, struct lane_box *b)
{
	if (b->queued > 0 || b->running)
		return;
	struct lane_box **at = box_slot(l, b->user);
	*at = b->next;
	l->boxes--;
	free(b);
}

void
lane_put(struct lane *l, struct item *it)
{
	if (l->bucket == NULL)
		l->bucket = mem_array(LANE_BUCKETS, sizeof(struct lane_box *));
	struct lane_box **at = box_slot(l, it->e.user), *b = *at;
	if (b == NULL) {
		b = *at = mem_new(sizeof(*b));
		b->user = it->e.user;
		TAILQ_INIT(&b->items);
		l->boxes++;
	}
	TAILQ_INSERT_TAIL(&b->items, it, link);
	b->queued++;
	b->urgent += item_urgent(it);
	l->queued++;
	it->box = b;
	box_list(l, b);
}

static void
box_drop(struct lane *l, struct lane_box *b, struct item *it)
{
	TAILQ_REMOVE(&b->items, it, link);
	b->queued--;
	b->urgent -= item_urgent(it);
	l->queued--;
}

bool
lane_ready(const struct lane *l)
{
	return !TAILQ_EMPTY(&l->ready[0]) || !TAILQ_EMPTY(&l->ready[1]);
}

struct item *
lane_take(struct lane *l)
{
	struct lane_box *b = TAILQ_FIRST(&l->ready[0]);

	if (b == NULL)
		b = TAILQ_FIRST(&l->ready[1]);
	if (b == NULL)
		return NULL;
	struct item *it = TAILQ_FIRST(&b->items);
	box_drop(l, b, it);
	b->running = true;
	box_list(l, b);
	return it;
}

void
lane_done(struct lane *l, struct item *it)
{
	struct lane_box *b = it->box;

	it->box = NULL;
	b->running = false;
	box_list(l, b);
	box_forget(l, b);
}

void
lane_remove(struct lane *l, struct item *it)
{
	struct lane_box *b = it->box;

	it->box = NULL;
	box_drop(l, b, it);
	box_list(l, b);
	box_forget(l, b);
}

struct item *
lane_evict(struct lane *l)
{
	for (size_t i = 0; i < 2; i++) {
		struct lane_box *b = TAILQ_FIRST(&l->ready[i]);

		if (b == NULL)
			continue;
		struct item *it = TAILQ_FIRST(&b->items);
		lane_remove(l, it);
		return it;
	}
	/* Behind a delivery that runs. */
	for (size_t i = 0; l->queued > 0 && i < LANE_BUCKETS; i++) {
		for (struct lane_box *b = l->bucket[i]; b != NULL; b = b->next) {
			struct item *it = TAILQ_FIRST(&b->items);

			if (it == NULL)
				continue;
			lane_remove(l, it);
			return it;
		}
	}
	return NULL;
}

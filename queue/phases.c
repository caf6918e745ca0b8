// SPDX-License-Identifier: Apache-2.0
#include "queue/phases.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/proto/relay_probe.h"

static void
phases_send(struct queue *q, unsigned relay, const struct buf *list, bool reset)
{
	struct ipc *ch = role_link(q->role, ROLE_RELAY, relay);
	const struct queue_phases m = { .reset = reset, .list = buf_slice(list) };

	if (ch != NULL && ipc_send(ch, QUEUE_PHASES, &queue_phases_wire, &m, -1) < 0)
		log_warn("phases", "relay=%u error=%s", relay, log_escs(strerror(errno)));
}

static int
phases_put(struct buf *list, const struct failover_group *g)
{
	const struct queue_phase p = { .phase = (uint8_t)g->phase,
		.domain = slice_str(g->domain), .shard = slice_str(g->shard) };

	return wire_item_put(list, &queue_phase_wire, &p);
}

void
phases_tell(struct queue *q, const struct failover_group *g)
{
	struct buf list;

	if (!g->served)
		return;
	buf_init(&list, PHASES_LIST_MAX);
	CHECK(phases_put(&list, g) == 0);
	for (unsigned i = 0; i < ROLE_PEERS_MAX; i++)
		phases_send(q, i, &list, false);
	buf_fini(&list);
}

void
phases_tell_relay(struct queue *q, unsigned relay)
{
	bool reset = true;
	struct buf list;

	buf_init(&list, PHASES_LIST_MAX);
	for (size_t i = 0; i < failover_count(q->failover); i++) {
		const struct failover_group *g = failover_at(q->failover, i);

		if (!g->served || phases_put(&list, g) == 0)
			continue;
		phases_send(q, relay, &list, reset);
		reset = false;
		buf_clear(&list);
		CHECK(phases_put(&list, g) == 0);
	}
	phases_send(q, relay, &list, reset);
	buf_fini(&list);
}

void
phases_tell_all(struct queue *q)
{
	for (unsigned i = 0; i < ROLE_PEERS_MAX; i++)
		if (role_link(q->role, ROLE_RELAY, i) != NULL)
			phases_tell_relay(q, i);
}

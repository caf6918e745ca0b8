// SPDX-License-Identifier: Apache-2.0
#include "queue/stranded.h"

#include <stdio.h>

#include "queue/alarm.h"

void
stranded_tell(struct queue *q)
{
	for (size_t i = 0; i < failover_count(q->failover); i++) {
		struct failover_group *g = failover_at(q->failover, i);
		struct spool_sums s = { 0 };
		char text[128];

		if (!g->served)
			spool_total(q->spool, g->id, &s);
		if ((s.held > 0) == g->stranded)
			continue;
		g->stranded = s.held > 0;
		if (!g->stranded) {
			(void)alarm_clear(q->alarms, "domain-gone", g->domain, g->shard);
			continue;
		}
		(void)snprintf(text, sizeof(text), "the domain is not in the configuration, and mail of "
		    "%llu recipients is held for it", (unsigned long long)s.held);
		(void)alarm_raise(q->alarms, "domain-gone", g->domain, g->shard, 0, text, "put its "
		    "section back and reload until it is replayed; else: salvaposta export, and "
		    "salvaposta queue drop");
	}
}

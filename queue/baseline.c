// SPDX-License-Identifier: Apache-2.0
#include "queue/baseline.h"

enum { BASELINE_CLASS_MIN = 1, BASELINE_CLASS_MAX = 2 };	/* spec 10.2 */

bool
baseline_any(const struct conf *c)
{
	for (size_t i = 0; i < c->ndomain; i++)
		if (c->domain[i].baseline_share > 0)
			return true;
	return false;
}

bool
baseline_ordinary(const struct envelope *e)
{
	if ((e->flags & (ENV_HOLD_ONLY | ENV_TAGGED | ENV_RECHECK)) != 0 || e->mail_from.n == 0)
		return false;
	if (e->triage < BASELINE_CLASS_MIN || e->triage > BASELINE_CLASS_MAX)
		return false;
	/* forward-unauthenticated is for the day when there is no other way */
	return e->dmarc == AUTH_PASS ||
	    (e->dmarc == AUTH_NONE && (e->spf == AUTH_PASS || e->dkim == AUTH_PASS));
}

bool
baseline_drawn(struct msgid id, uint16_t rcpt_index, unsigned percent)
{
	uint64_t h = 0xcbf29ce484222325ULL ^ rcpt_index;

	for (size_t i = 0; i < MSGID_LEN; i++)
		h = (h ^ id.b[i]) * 0x100000001b3ULL;
	h ^= h >> 33;		/* the id's random part comes last: spread it over all bits */
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	h ^= h >> 33;
	return h % 100 < percent;
}

static unsigned
share(const struct conf *c, const struct failover_group *g)
{
	if (g == NULL || !g->served || g->phase != PHASE_STANDBY || c->forwarder.domain == NULL)
		return 0;
	const struct conf_domain *d = conf_domain_find(c, slice_str(g->domain));
	return d == NULL ? 0 : d->baseline_share;
}

bool
baseline_start(const struct conf *c, const struct failover_group *g,
    const struct spool_entry *e, bool tagged, int64_t now, struct legs_change *to)
{
	unsigned percent = share(c, g);

	if (e->kind != RCPT_USER || e->leg[LEG_FORWARD].state != LEG_ABSENT || percent == 0)
		return false;
	if (!tagged && (e->hold_only || !baseline_drawn(e->id, e->rcpt_index, percent)))
		return false;
	legs_end(e, LEG_FORWARD, LEG_WAITING, LEGS_CODE_BASELINE, SLICE_NONE, to);
	to->leg.next_ms = now;
	return true;
}

bool
baseline_leg(const struct spool_entry *e)
{
	return e->leg[LEG_FORWARD].state == LEG_WAITING &&
	    e->leg[LEG_FORWARD].code == LEGS_CODE_BASELINE;
}

bool
baseline_runs(const struct conf *c, const struct failover_group *g, const struct spool_entry *e)
{
	return baseline_leg(e) && share(c, g) > 0;
}

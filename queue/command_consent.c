// SPDX-License-Identifier: Apache-2.0
/* `consent-set`: an operator stops a user's copies, or lets them go again. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "queue/control_priv.h"
#include "queue/optout.h"

enum { CONSENT_REASON_MAX = 512 };

bool
command_consent_put(const struct queue *q, struct slice user, json_t *o)
{
	struct consent_row row;

	if (!consent_stopped(q->consent, consent_key(user), &row))
		return false;
	json_object_set_new(o, "opted_out", json_pack("{s:s, s:I}", "by", row.by == CONSENT_BY_MAIL ?
	    "mail" : "operator", "time", (json_int_t)(row.time_ms / 1000)));
	return true;
}

void
command_consent_set(struct request *rq)
{
	const char *user = request_string(rq, "user"), *state = request_string(rq, "state");
	const char *reason = request_string(rq, "reason");
	struct queue *q = rq->queue;
	struct slice u = slice_str(user);
	bool stop = strcmp(state, "stop") == 0;
	int rc;

	if (!stop && strcmp(state, "resume") != 0) {
		control_fail(rq, "consent-set: the state is stop or resume");
		return;
	}
	if (strlen(reason) >= CONSENT_REASON_MAX) {
		control_fail(rq, "consent-set: the reason is longer than %d bytes",
		    CONSENT_REASON_MAX - 1);
		return;
	}
	rc = stop ? optout_stop(q, consent_key(u), spool_user(u), CONSENT_BY_OPERATOR, rq->who,
	    reason, NULL) : optout_resume(q, consent_key(u), rq->who, reason);
	if (rc < 0) {
		control_fail(rq, "nothing was changed: %s", errno == ENOSPC &&
		    consent_count(q->consent) >= q->role->conf->opt_outs_max ?
		    "opt-outs-max is reached; raise it and reload" : strerror(errno));
		return;
	}
	json_t *o = command_ok();
	json_object_set_new(o, "changed", json_boolean(rc > 0));
	json_object_set_new(o, "count", json_integer(consent_count(q->consent)));
	control_reply(rq, o);
}

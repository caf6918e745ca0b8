// SPDX-License-Identifier: Apache-2.0
#include "policy/verify_role.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proto/relay_verify.h"
#include "policy/evaluate.h"

struct verify {
	struct evaluate	*evaluate;
	uint64_t	 runs;
	uint64_t	 status[VERIFY_STATUS_MAX];	/* answers given */
	uint64_t	 malformed;	/* requests that could not be read */
};

/* Libraries read openssl.cnf and the time zone at their first use. That is now: once
 * the role is confined there are no files any more. */
static void
warm_up(void)
{
	uint8_t digest[32];
	char date[64];

	crypto_sha256(SLICE_LIT(""), digest);
	clock_rfc5322(0, date, sizeof(date));
}

static int
verify_start(struct role *r)
{
	struct verify *v = mem_new(sizeof(*v));

	warm_up();
	v->evaluate = evaluate_new();
	r->priv = v;
	return 0;
}

static void
log_verdict(const struct verify_eval *in, const struct verify_done *out)
{
	char id[MSGID_TEXT + 1];

	msgid_print(in->id, id);
	log_debug("evaluated", "id=%s spf=%s dkim=%s dmarc=%s arc=%s iprev=%s flags=%" PRIu32
	    " class=%u rule=T%" PRIu32 " reason=%s", id, auth_result_name(out->spf),
	    auth_result_name(out->dkim), auth_result_name(out->dmarc),
	    auth_result_name(out->arc), auth_result_name(out->iprev), out->flags,
	    out->triage, (out->flags & ENV_TRIAGE_RULE) >> ENV_TRIAGE_SHIFT,
	    log_esc(out->reason));
	/* Forwarded in spite of the author's policy: somebody may want to know why (6.6). */
	if (out->status == VERIFY_OK && out->reason.n > 0 &&
	    (out->flags & (ENV_HOLD_ONLY | ENV_RECHECK)) == 0)
		log_info("forwarded-by-exception", "id=%s dmarc=%s rule=%s", id,
		    auth_result_name(out->dmarc), log_esc(out->reason));
}

static void
verify_answer(struct role *r, struct ipc *ch, const struct verify_eval *in, int fd)
{
	struct verify *v = r->priv;
	struct verify_done out;
	struct slice msg;

	v->runs++;
	if (fd < 0 || body_map(fd, &msg) != 0) {
		log_error("body-unreadable", "req=%" PRIu64, in->req);
		evaluate_failed(v->evaluate, r->conf, in, &out);
	} else {
		if (in->bounce)
			evaluate_bounce(v->evaluate, r->conf, in, msg, &out);
		else
			evaluate_run(v->evaluate, r->conf, in, msg, &out);
		body_unmap(&msg);
	}
	v->status[out.status]++;
	if (out.status != VERIFY_WANT)
		log_verdict(in, &out);
	if (ipc_send(ch, VERIFY_DONE, &verify_done_wire, &out, -1) != 0)
		log_warn("answer-lost", "req=%" PRIu64, in->req);
}

static void
verify_message(struct role *r, enum role_kind peer, unsigned index, struct ipc *ch,
    uint32_t type, struct slice body, int fd)
{
	struct verify *v = r->priv;
	struct verify_eval in;

	if (v == NULL) {
		/* stopped: the relay asks another */
	} else if (peer == ROLE_RELAY && type == VERIFY_EVAL &&
	    wire_get(body, &verify_eval_wire, &in) == 0) {
		verify_answer(r, ch, &in, fd);
	} else {
		v->malformed++;
		log_error("request-malformed", "peer=%s index=%u type=%" PRIu32,
		    role_name(peer), index, type);
	}
	if (fd >= 0)
		close(fd);
}

static void
verify_status(struct role *r, struct buf *out)
{
	const struct verify *v = r->priv;

	if (v == NULL)
		return;
	(void)!buf_printf(out, "\"runs\":%" PRIu64 ",\"ok\":%" PRIu64 ",\"want\":%" PRIu64
	    ",\"failed\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"malformed\":%" PRIu64,
	    v->runs, v->status[VERIFY_OK], v->status[VERIFY_WANT], v->status[VERIFY_FAILED],
	    v->status[VERIFY_REFUSE], v->malformed);
}

static void
verify_stop(struct role *r)
{
	struct verify *v = r->priv;

	evaluate_free(&v->evaluate);
	free(v);
	r->priv = NULL;
	role_done(r);
}

const struct role_ops verify_ops = {
	.kind = ROLE_VERIFY,
	.start = verify_start,
	.message = verify_message,
	.stop = verify_stop,
	.status = verify_status,
};

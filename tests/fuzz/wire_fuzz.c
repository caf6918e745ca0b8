// SPDX-License-Identifier: Apache-2.0
/*
 * The messages between roles. A role that was taken over by what it read may send anything
 * (P8): each message is taken exactly when it is one, its strings lie inside it, its numbers
 * are within their bounds, and it is written again the same.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/bounce.h"
#include "base/dnsrr.h"
#include "base/envelope.h"
#include "base/mem.h"
#include "base/proto/queue_directory.h"
#include "base/proto/queue_seal.h"
#include "base/proto/relay_directory.h"
#include "base/proto/relay_probe.h"
#include "base/proto/relay_queue.h"
#include "base/proto/relay_seal.h"
#include "base/proto/relay_verify.h"
#include "base/proto/super.h"

enum { OUT_MAX = 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct wire_desc *const desc[] = {
	&envelope_bounce_wire, &dns_rr_wire, &dns_answer_wire, &dns_want_wire, &envelope_wire,
	&body_cut_wire, &envelope_rcpt_wire, &dir_target_wire, &dir_targeted_wire, &dir_reload_wire,
	&dir_reloaded_wire, &seal_prepare_wire, &seal_prepared_wire, &seal_notify_wire,
	&seal_notified_wire, &seal_tag_wire, &seal_tagged_wire, &seal_name_wire, &seal_named_wire,
	&seal_announce_wire, &seal_announced_wire, &dir_lookup_wire, &dir_found_wire,
	&queue_phase_wire, &queue_phases_wire, &queue_probe_wire, &queue_probed_wire,
	&queue_commit_wire, &queue_committed_wire, &queue_route_wire, &queue_routed_wire,
	&queue_close_wire, &queue_evaluate_wire, &queue_evaluated_wire, &queue_deliver_wire,
	&queue_delivered_wire, &queue_debris_wire, &queue_keep_wire, &seal_check_wire,
	&seal_checked_wire, &verify_eval_wire, &verify_done_wire, &super_name_wire, &super_text_wire,
};
enum { DESCS = sizeof(desc) / sizeof(desc[0]) };

static void
check_field(const struct wire_field *f, const char *msg, struct slice in)
{
	struct slice s;

	if (f->type == WIRE_T_STR) {
		memcpy(&s, msg + f->off, sizeof(s));
		CHECK(s.n <= f->max);
		CHECK(s.n == 0 || (s.p >= in.p && s.p + s.n <= in.p + in.n));
	} else if (f->type == WIRE_T_U32) {
		uint32_t v;

		memcpy(&v, msg + f->off, sizeof(v));
		CHECK(v <= f->max);
	} else if (f->type == WIRE_T_U16) {
		uint16_t v;

		memcpy(&v, msg + f->off, sizeof(v));
		CHECK(v <= f->max);
	} else if (f->type == WIRE_T_U8) {
		CHECK((uint8_t)msg[f->off] <= f->max);
	}
}

static void
check_items(const struct wire_desc *d, struct slice in)
{
	char *msg = mem_new(d->size);
	size_t left = in.n;

	while (wire_item_next(&in, d, msg) == 1) {
		CHECK(in.n < left);
		left = in.n;
	}
	free(msg);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	const struct wire_desc *d;
	struct buf again;
	char *msg;

	if (size == 0)
		return 0;
	d = desc[data[0] % DESCS];
	in = slice_sub(in, 1, in.n);
	check_items(d, in);
	msg = mem_new(d->size);
	if (wire_get(in, d, msg) == 0) {
		for (size_t i = 0; i < d->nfield; i++)
			check_field(&d->field[i], msg, in);
		buf_init(&again, OUT_MAX);
		CHECK(wire_put(&again, d, msg) == 0);
		CHECK(slice_eq(buf_slice(&again), in));
		buf_fini(&again);
	}
	free(msg);
	return 0;
}

// SPDX-License-Identifier: Apache-2.0
/*
 * The reply parser and the client machine behind it, with everything a server could say.
 * The first byte of the input chooses LMTP, TLS, pipelining luck and the size of pieces.
 * Whatever comes, a transaction is OK only when a reply of class 2 stood after its dot.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "relay/reply.h"
#include "relay/smtp_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
drain(struct smtp_client *c, size_t max)
{
	struct slice out;
	int rounds = 0;

	while (rounds++ < 10000 && (out = client_output(c, max)).n > 0)
		client_sent(c, out.n);
}

static void
talk(struct smtp_client *c, struct slice in, size_t piece, bool *sent)
{
	struct client_message m = { .mail_from = SLICE_LIT("a@x"), .prefix = SLICE_LIT("H: 1\r\n\r\n"),
		.body = SLICE_LIT(".\r\n..x\r\ny") };
	struct client_rcpt r[2] = { { .address = SLICE_LIT("b@y") }, { .address = SLICE_LIT("c@y") } };
	size_t at = 0, used;

	while (at < in.n && client_need(c) != CLIENT_DEAD) {
		drain(c, piece);
		if (client_need(c) == CLIENT_NEED_TLS)
			client_tls_done(c);
		if (client_need(c) == CLIENT_READY && !*sent) {
			client_send(c, &m, r, 2);
			*sent = true;
			drain(c, piece);
		}
		used = client_input(c, slice_sub(in, at, at + piece));
		if (used == 0 && client_need(c) != CLIENT_NEED_TLS)
			abort();
		at += used;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct client_config cfg = { .helo = "us.example" };
	struct smtp_client *c;
	bool sent = false;
	size_t i;

	if (n == 0)
		return 0;
	cfg.lmtp = (data[0] & 1) != 0;
	cfg.tls = (data[0] & 2) != 0;
	c = client_new(&cfg);
	talk(c, slice_make(data + 1, n - 1), 1 + (data[0] >> 2), &sent);
	client_lost(c, 0, "end");
	if (client_need(c) != CLIENT_DEAD || client_finished(c) != sent)
		abort();
	for (i = 0; sent && i < 2; i++)
		if (client_results(c)[i].outcome == DELIVER_OK &&
		    client_results(c)[i].code / 100 != 2)
			abort();
	client_free(&c);
	return 0;
}

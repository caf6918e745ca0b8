// SPDX-License-Identifier: Apache-2.0
/* What comes back to a return path: any bytes, and a result that fits its own rules. The
 * first octet chooses a frame, so that the fuzzer starts inside of a report. */
#include "base/mem.h"
#include "policy/bounce.h"
#include "policy/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define FRAME	"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n" \
	"--b\r\nContent-Type: message/delivery-status\r\n"

static void
check_result(const struct bounce_result *r)
{
	CHECK(r->action <= BOUNCE_FAILED && r->match <= BOUNCE_DIFFERENT);
	CHECK(r->status == 0 || r->status == 2 || r->status == 4 || r->status == 5);
	CHECK(r->subject <= 999 && r->detail <= 999);
	CHECK(r->code == 0 || (r->code >= 200 && r->code <= 599));
}

static void
check(const struct bounce *b)
{
	CHECK(b->kind < BOUNCE_KIND_MAX && b->kind != BOUNCE_UNREAD && b->nrcpt <= BOUNCE_RCPT_MAX);
	CHECK((b->kind == BOUNCE_AUTO_REPLY || b->kind == BOUNCE_GENERATED) == (b->sign[0] != '\0'));
	CHECK((b->kind == BOUNCE_REPORT) == (b->nrcpt > 0));
	CHECK(strlen(b->token) == 0 || strlen(b->token) == SRS_TOKEN_LEN);
	check_result(&b->leg);
	for (size_t i = 0; i < b->nrcpt; i++) {
		check_result(&b->rcpt[i]);
		CHECK(b->rcpt[i].action <= b->leg.action);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const char *const frames[] = { "", FRAME, FRAME "\r\n",
		FRAME "Content-Transfer-Encoding: base64\r\n\r\n",
		FRAME "Content-Transfer-Encoding: quoted-printable\r\n\r\n" };
	static const struct bounce_expect known = {
		SLICE_LIT("0f3k9qv2m7c1t8ubd5g6h4jn"), SLICE_LIT("r@m.it")
	};
	static const struct bounce_expect none = { SLICE_NONE, SLICE_NONE };
	struct bounce b;
	struct buf msg;

	if (n == 0)
		return 0;
	buf_init(&msg, n + 512);
	if (buf_puts(&msg, frames[p[0] % (sizeof(frames) / sizeof(frames[0]))]) < 0 ||
	    buf_put(&msg, p + 1, n - 1) < 0)
		mem_bug("room", __FILE__, __LINE__);
	bounce_parse(buf_slice(&msg), &known, &b);
	check(&b);
	bounce_parse(buf_slice(&msg), &none, &b);	/* to an SRS address (1.2.12) */
	check(&b);
	buf_fini(&msg);
	return 0;
}

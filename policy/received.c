// SPDX-License-Identifier: Apache-2.0
#include "policy/received.h"

#include "base/clock.h"

enum { HELO_MAX = 255 };

/*
 * What a client says in HELO lands in a header that people and programs read, so
 * only what a Domain or an address literal can be made of passes (RFC 5321 4.1.2);
 * every other octet becomes '?': no spaces, no parentheses, no line ends.
 */
static int
put_helo(struct buf *out, struct slice helo)
{
	static const char more[] = ".-_:[]";

	if (helo.n == 0)
		return buf_puts(out, "unknown");
	for (size_t i = 0; i < helo.n && i < HELO_MAX; i++) {
		char c = helo.p[i];
		bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || (c != '\0' && strchr(more, c) != NULL);

		if (buf_put(out, ok ? &c : "?", 1) != 0)
			return -1;
	}
	return 0;
}

/* Comment text of our own or of DNS: the same caution. */
static int
put_text(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool ok = c >= ' ' && c < 0x7f && c != '(' && c != ')' && c != '\\' && c != '"';

		if (buf_put(out, ok ? &c : "?", 1) != 0)
			return -1;
	}
	return 0;
}

/* A path may hold spaces and '>' inside its quotes, but no controls; an address that
 * needs UTF-8 is left out: the field must stay ASCII for hops without SMTPUTF8. */
static bool
rcpt_printable(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > 0x7e)
			return false;
	return s.n > 0 && s.n <= 320;
}

static int
put_from(struct buf *out, const struct received *r)
{
	bool v6 = slice_find(r->client_ip, ':') < r->client_ip.n;

	if (buf_puts(out, "Received: from ") != 0 || put_helo(out, r->helo) != 0 ||
	    buf_puts(out, " (") != 0 ||
	    put_text(out, r->rdns.n > 0 ? r->rdns : SLICE_LIT("unknown")) != 0 ||
	    buf_puts(out, v6 ? " [IPv6:" : " [") != 0 || put_text(out, r->client_ip) != 0 ||
	    buf_puts(out, "])") != 0)
		return -1;
	if (r->tls.n > 0 && (buf_puts(out, "\r\n\t(using ") != 0 || put_text(out, r->tls) != 0 ||
	    buf_puts(out, ")") != 0))
		return -1;
	return 0;
}

int
received_put(struct buf *out, const struct received *r)
{
	char id[MSGID_TEXT + 1], date[64];

	msgid_print(r->id, id);
	clock_rfc5322(r->when_ms, date, sizeof(date));
	if (put_from(out, r) != 0 || buf_puts(out, "\r\n\tby ") != 0 || put_text(out, r->by) != 0 ||
	    buf_puts(out, " with ") != 0 || put_text(out, r->protocol) != 0 ||
	    buf_puts(out, " id ") != 0 || buf_puts(out, id) != 0)
		return -1;
	if (rcpt_printable(r->rcpt) && (buf_puts(out, "\r\n\tfor <") != 0 ||
	    buf_put_slice(out, r->rcpt) != 0 || buf_puts(out, ">") != 0))
		return -1;
	return buf_printf(out, ";\r\n\t%s\r\n", date);
}

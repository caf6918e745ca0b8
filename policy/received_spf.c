// SPDX-License-Identifier: Apache-2.0
#include "policy/received_spf.h"

enum { VALUE_MAX = 320 };	/* octets; the longest path and some */

/* RFC 7208 9.1: dot-atom or quoted-string; always the latter but for plain names. */
static bool
is_dot_atom(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = ascii_lower(s.p[i]);
		bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';

		if (!word && (c != '.' || i == 0 || i + 1 == s.n || s.p[i - 1] == '.'))
			return false;
	}
	return s.n > 0;
}

static bool
is_text(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > 0x7e)
			return false;
	return s.n <= VALUE_MAX;
}

static int
put_value(struct buf *out, struct slice v)
{
	if (is_dot_atom(v))
		return buf_put_slice(out, v);
	if (buf_puts(out, "\"") != 0)
		return -1;
	for (size_t i = 0; i < v.n; i++) {
		if ((v.p[i] == '"' || v.p[i] == '\\') && buf_puts(out, "\\") != 0)
			return -1;
		if (buf_put(out, &v.p[i], 1) != 0)
			return -1;
	}
	return buf_puts(out, "\"");
}

int
received_spf_put(struct buf *out, const struct received_spf *r)
{
	const struct { const char *key; struct slice value; } pair[] = {
		{ "client-ip", r->client_ip }, { "envelope-from", r->envelope_from },
		{ "helo", r->helo_name }, { "receiver", r->receiver },
		{ "identity", r->helo ? SLICE_LIT("helo") : SLICE_LIT("mailfrom") },
	};
	const char *between = "";

	if (buf_printf(out, "Received-SPF: %s", auth_result_name(r->result)) != 0)
		return -1;
	for (size_t i = 0; i < sizeof(pair) / sizeof(pair[0]); i++) {
		if (!is_text(pair[i].value))
			continue;
		if (buf_printf(out, "%s\r\n\t%s=", between, pair[i].key) != 0 ||
		    put_value(out, pair[i].value) != 0)
			return -1;
		between = ";";
	}
	return buf_puts(out, "\r\n");
}

// SPDX-License-Identifier: Apache-2.0
#include "relay/smtp_xclient.h"

#include "relay/smtp_param.h"

static bool
unavailable(const char *v)
{
	struct slice s = slice_str(v);

	return slice_ieq(s, SLICE_LIT("[UNAVAILABLE]")) ||
	    slice_ieq(s, SLICE_LIT("[TEMPUNAVAIL]"));
}

static int
xclient_addr(struct smtp_xclient *x, struct slice v)
{
	bool v6 = slice_istarts(v, SLICE_LIT("IPV6:"));
	uint8_t addr[16];

	if (v6)
		v = slice_sub(v, 5, v.n);
	/* Fronts exist that leave the prefix out. */
	if (network_addr(v, addr) != 0 || (v6 && slice_find(v, ':') == v.n))
		return -1;
	network_addr_print(addr, x->addr);
	return 0;
}

static bool
visible(const char *v)
{
	for (; *v != '\0'; v++) {
		if (*v <= ' ' || *v > '~')
			return false;
	}
	return true;
}

static int
xclient_port(struct slice v)
{
	uint64_t n;

	return v.n <= 5 && slice_u64(v, &n) == 0 && n <= 65535 ? 0 : -1;
}

static int
xclient_proto(struct smtp_xclient *x, struct slice v)
{
	if (slice_ieq(v, SLICE_LIT("SMTP")))
		x->proto = SMTP_XPROTO_SMTP;
	else if (slice_ieq(v, SLICE_LIT("ESMTP")))
		x->proto = SMTP_XPROTO_ESMTP;
	return x->proto == SMTP_XPROTO_NONE ? -1 : 0;
}

/* `v` is decoded and not empty. */
static int
xclient_set(struct smtp_xclient *x, struct slice key, const char *v)
{
	bool none = unavailable(v);
	struct slice s = slice_str(v);

	if (slice_ieq(key, SLICE_LIT("NAME")))
		return none || visible(v) ? 0 : -1;
	if (slice_ieq(key, SLICE_LIT("PORT")))
		return none ? 0 : xclient_port(s);
	if (slice_ieq(key, SLICE_LIT("PROTO")))
		return none ? 0 : xclient_proto(x, s);
	if (slice_ieq(key, SLICE_LIT("ADDR"))) {
		x->has_addr = true;
		return none ? 0 : xclient_addr(x, s);
	}
	if (slice_ieq(key, SLICE_LIT("HELO"))) {
		/* Of "EHLO MY COMPUTER" the first word is the name, as if it were said here. */
		s = slice_sub(s, 0, slice_find(s, ' '));
		x->has_helo = true;
		return none ? 0 : slice_cstr(s, x->helo, sizeof(x->helo));
	}
	if (slice_ieq(key, SLICE_LIT("LOGIN"))) {
		x->has_login = true;
		return none ? 0 : slice_cstr(s, x->login, sizeof(x->login));
	}
	return -1;
}

int
smtp_xclient_parse(struct slice args, struct smtp_xclient *out)
{
	*out = (struct smtp_xclient){ 0 };
	for (args = slice_trim(args); args.n > 0; args = slice_trim(args)) {
		struct slice word = slice_sub(args, 0, slice_find(args, ' '));
		size_t eq = slice_find(word, '=');
		struct slice value = slice_sub(word, eq + 1, word.n);
		char v[256];

		if (value.n == 0 || smtp_xtext(value, v, sizeof(v)) != 0 ||
		    xclient_set(out, slice_sub(word, 0, eq), v) != 0)
			return -1;
		args = slice_sub(args, word.n, args.n);
	}
	return 0;
}

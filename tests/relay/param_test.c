// SPDX-License-Identifier: Apache-2.0
/* Parameters of MAIL and RCPT: RFC 3461 4.1 to 4.4, RFC 1870, RFC 6152, RFC 6531. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/envelope.h"
#include "relay/smtp_param.h"

#define X10	"xxxxxxxxxx"
#define X100	X10 X10 X10 X10 X10 X10 X10 X10 X10 X10

static void
test_mail(void **state)
{
	static const struct {
		const char *text;
		enum smtp_param r;
		const char *envid, *ret;
	} t[] = {
		{ "", SMTP_PARAM_OK, "", "" },
		{ " ENVID=" X100, SMTP_PARAM_OK, X100, "" },
		{ " ENVID=" X100 "x", SMTP_PARAM_BAD, "", "" },
		{ " ENVID=a+3Db  RET=full ", SMTP_PARAM_OK, "a+3Db", "FULL" },
		{ "RET=HDRS BODY=8BITMIME SIZE=1000 SMTPUTF8", SMTP_PARAM_OK, "", "HDRS" },
		{ "REQUIRETLS", SMTP_PARAM_OK, "", "" },
		{ "requiretls RET=FULL", SMTP_PARAM_OK, "", "FULL" },
		{ "REQUIRETLS=1", SMTP_PARAM_BAD, "", "" },
		{ "REQUIRETLS REQUIRETLS", SMTP_PARAM_BAD, "", "" },
		{ "SIZE=1001", SMTP_PARAM_TOO_BIG, "", "" },
		{ "SIZE=99999999999999999999", SMTP_PARAM_TOO_BIG, "", "" },
		{ "SIZE=", SMTP_PARAM_BAD, "", "" },
		{ "SIZE=1 SIZE=1", SMTP_PARAM_BAD, "", "" },
		{ "BODY=BINARYMIME", SMTP_PARAM_BAD, "", "" },
		{ "ENVID", SMTP_PARAM_BAD, "", "" },
		{ "ENVID=", SMTP_PARAM_BAD, "", "" },
		{ "ENVID=a+", SMTP_PARAM_BAD, "", "" },
		{ "ENVID=a+4", SMTP_PARAM_BAD, "", "" },
		{ "ENVID=a+4g", SMTP_PARAM_BAD, "", "" },
		{ "ENVID=a+3d", SMTP_PARAM_BAD, "", "" },	/* upper case only */
		{ "ENVID=a=b", SMTP_PARAM_BAD, "", "" },
		{ "ENVID=a+00", SMTP_PARAM_BAD, "", "" },
		{ "ENVID=a+7F", SMTP_PARAM_BAD, "", "" },
		{ "ENVID=a\xc3\xa9", SMTP_PARAM_BAD, "", "" },
		{ "ENVID=a+C3+A9", SMTP_PARAM_BAD, "", "" },
		{ "RETS=FULL", SMTP_PARAM_UNKNOWN, "", "" },
		{ "=", SMTP_PARAM_UNKNOWN, "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct smtp_mail_params p;
		enum smtp_param r = smtp_mail_params(slice_str(t[i].text), 1000, &p);

		if (r != t[i].r)
			fail_msg("%s: %d", t[i].text, (int)r);
		if (r != SMTP_PARAM_OK)
			continue;
		assert_int_equal(p.requiretls, slice_istarts(slice_str(t[i].text),
		    SLICE_LIT("REQUIRETLS")));
		assert_true(slice_eq(p.envid, slice_str(t[i].envid)));
		assert_true(slice_eq(p.ret, slice_str(t[i].ret)));
	}
}

static void
test_rcpt(void **state)
{
	static const struct {
		const char *text;
		bool utf8;
		enum smtp_param r;
		unsigned notify;
		const char *orcpt;
	} t[] = {
		{ "", false, SMTP_PARAM_OK, 0, "" },
		{ "NOTIFY=NEVER", false, SMTP_PARAM_OK, NOTIFY_NEVER, "" },
		{ "notify=success,FAILURE,delay", false, SMTP_PARAM_OK,
		  NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY, "" },
		{ "NOTIFY=NEVER,DELAY", false, SMTP_PARAM_BAD, 0, "" },
		{ "NOTIFY=DELAY,NEVER", false, SMTP_PARAM_BAD, 0, "" },
		{ "NOTIFY=DELAY,DELAY", false, SMTP_PARAM_BAD, 0, "" },
		{ "NOTIFY=DELAY,", false, SMTP_PARAM_BAD, 0, "" },
		{ "NOTIFY=,DELAY", false, SMTP_PARAM_BAD, 0, "" },
		{ "NOTIFY=DELAY NOTIFY=DELAY", false, SMTP_PARAM_BAD, 0, "" },
		{ "NOTIFY=SOMETIMES", false, SMTP_PARAM_BAD, 0, "" },
		{ "NOTIFY", false, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=rfc822;a@b NOTIFY=DELAY", false, SMTP_PARAM_OK, NOTIFY_DELAY,
		  "rfc822;a@b" },
		{ "ORCPT=x-local;a;b", false, SMTP_PARAM_OK, 0, "x-local;a;b" },
		{ "ORCPT=;a", false, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=rfc822;", false, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=rfc 822;a", false, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=rf(c;a", false, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=rfc822;a=b", false, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=rfc822;a+0D+0Ab", false, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=rfc822;" X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 "xxx",
		  false, SMTP_PARAM_OK, 0,
		  "rfc822;" X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 "xxx" },
		{ "ORCPT=rfc822;" X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 "xxxx",
		  false, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=utf-8;\\x{E9}@b", false, SMTP_PARAM_OK, 0, "utf-8;\\x{E9}@b" },
		{ "ORCPT=utf-8;\xc3\xa9@b", false, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=UTF-8;\xc3\xa9\xe6\xbc\xa2\xf0\x9f\x98\x80@b", true, SMTP_PARAM_OK, 0,
		  "utf-8;\\x{E9}\\x{6F22}\\x{1F600}@b" },
		{ "ORCPT=rfc822;\xc3\xa9@b", true, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=utf-8;\xc3(@b", true, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=utf-8;\xc3", true, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=utf-8;\xc0\x80", true, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=utf-8;\xe0\x80\x80", true, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=utf-8;\xed\xa0\x80", true, SMTP_PARAM_BAD, 0, "" },
		{ "ORCPT=utf-8;\xf4\x90\x80\x80", true, SMTP_PARAM_BAD, 0, "" },
		{ "SIZE=1", false, SMTP_PARAM_UNKNOWN, 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct smtp_rcpt_params p;
		enum smtp_param r = smtp_rcpt_params(slice_str(t[i].text), t[i].utf8, &p);

		if (r != t[i].r)
			fail_msg("%s: %d", t[i].text, (int)r);
		if (r != SMTP_PARAM_OK)
			continue;
		assert_int_equal(p.notify, t[i].notify);
		assert_string_equal(p.orcpt, t[i].orcpt);
	}
	/* What grows too long in ASCII is refused, not cut. */
	struct smtp_rcpt_params p;
	char text[400] = "ORCPT=utf-8;";
	for (size_t n = strlen(text); n < 300; n += 3)
		memcpy(text + n, "\xe6\xbc\xa2", 4);
	assert_int_equal(smtp_rcpt_params(slice_str(text), true, &p), SMTP_PARAM_BAD);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mail),
		cmocka_unit_test(test_rcpt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/* Spec 12.3: the message itself. That its signature holds is for dkimpy to say
 * (tests/e2e/test_user_notice.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/bounce.h"
#include "policy/header.h"
#include "policy/mime.h"
#include "policy/user_notice.h"

#define DAY_20000 (INT64_C(20000) * 86400000)

static const struct forward_keys keys = {
	.srs = { .secret = { { "correct-horse-battery", 21 } }, .nsecret = 1,
	    .domain = { "fwd.example.it", 14 }, .node = { "n1", 2 }, .hash_length = 8,
	    .hash_min = 8, .max_age_days = 21, .separator = '=' },
};

static struct user_notice_request
request(void)
{
	return (struct user_notice_request){
		.user = SLICE_LIT("mario@example.it"), .domain = SLICE_LIT("example.it"),
		.brand = SLICE_LIT("Posta Esempio"), .language = SLICE_LIT("it"),
		.stop = { { { 1, 2, 3 } }, 77 }, .leg = { .rcpt_index = 5, .attempt = 2 },
		.now_ms = DAY_20000, .since_ms = DAY_20000 - 3600000,
	};
}

static int
build(const struct user_notice_request *rq, struct user_notice *n)
{
	const struct slice text[NOTICE_LANGUAGES] = { notice_builtin(NOTICE_ITALIAN),
		notice_builtin(NOTICE_ENGLISH) };

	user_notice_init(n);
	return user_notice_build(&keys, text, rq, n);
}

static struct slice
field(const struct user_notice *n, const char *name)
{
	struct header_field f;
	struct header h;

	header_start(&h, buf_slice(&n->message));
	while (header_next(&h, &f))
		if (header_is(&f, name))
			return slice_trim(f.value);
	return SLICE_NONE;
}

static void
assert_field(const struct user_notice *n, const char *name, const char *want)
{
	struct slice v = field(n, name);

	if (!slice_eq(v, slice_str(want)))
		fail_msg("%s: %.*s", name, SLICE_FMT(v));
}

static void
spec_12_3_the_header(void **state)
{
	struct user_notice_request rq = request();
	struct stop stop;
	struct user_notice n;
	struct slice unsubscribe;

	(void)state;
	assert_int_equal(build(&rq, &n), 0);
	assert_field(&n, "From", "\"Posta Esempio\"\r\n <fwd@fwd.example.it>");
	assert_field(&n, "To", "<mario@example.it>");
	assert_field(&n, "Auto-Submitted", "auto-generated");
	assert_field(&n, "Message-ID", "<notice.192549c9180.01020300000000000000@fwd.example.it>");
	assert_field(&n, "Content-Language", "it");
	assert_int_equal(field(&n, "List-Unsubscribe-Post").n, 0);	/* RFC 8058: HTTPS only */
	unsubscribe = field(&n, "List-Unsubscribe");
	assert_true(slice_istarts(unsubscribe, SLICE_LIT("<mailto:stop+")));
	assert_int_equal(stop_check(&keys.srs, 20000, 400, slice_sub(unsubscribe, 8,
	    unsubscribe.n - 1), &stop), SRS_OK);
	assert_memory_equal(&stop.user, &rq.stop.user, sizeof(stop.user));
	assert_true(stop.handle == 77);
	assert_false(mime_has_8bit(buf_slice(&n.message)));
	user_notice_fini(&n);
	/* the same user and outage: the same message to a mailbox that gets it twice */
	rq.now_ms += 60000;
	rq.leg.attempt++;
	assert_int_equal(build(&rq, &n), 0);
	assert_field(&n, "Message-ID", "<notice.192549c9180.01020300000000000000@fwd.example.it>");
	user_notice_fini(&n);
}

static void
spec_9_1_it_carries_the_tag_of_its_user(void **state)
{
	struct user_notice_request rq = request();
	const struct envelope_rcpt rcpt = { .address = SLICE_LIT("Alias@example.it"),
		.user = rq.user, .domain = rq.domain };
	struct user_notice n;
	struct token_leg leg;

	(void)state;
	assert_int_equal(build(&rq, &n), 0);
	const struct forward_request back = { .rcpt = &rcpt, .content = buf_slice(&n.message) };
	assert_int_equal(forward_tag_read(&keys, &back, &leg), FORWARD_TAG_OURS);
	user_notice_fini(&n);
}

static void
the_return_path_says_that_it_was_the_notice(void **state)
{
	struct user_notice_request rq = request();
	struct slice node, token;
	struct user_notice n;
	struct token_leg leg;

	(void)state;
	assert_int_equal(build(&rq, &n), 0);
	assert_int_equal(srs_opaque_check(&keys.srs, 20000, buf_slice(&n.mail_from), &node, &token),
	    SRS_OK);
	assert_true(slice_eq(token, slice_str(n.token)));
	assert_true(token_open(keys.srs.secret[0], token, &leg));
	assert_int_equal(leg.rcpt_index, 5 | BOUNCE_RCPT_NOTICE);
	user_notice_fini(&n);
	rq.null_path = true;
	assert_int_equal(build(&rq, &n), 0);
	assert_int_equal(buf_len(&n.mail_from), 0);
	user_notice_fini(&n);
}

static void
languages(void **state)
{
	static const struct {
		const char *language;
		enum conf_notice_language fallback;
		const char *want;
	} cases[] = {
		{ "it", NOTICE_IN_ENGLISH, "it" }, { "en-US", NOTICE_IN_BOTH, "en" },
		{ "", NOTICE_IN_BOTH, "it, en" }, { "de", NOTICE_IN_BOTH, "it, en" },
		{ "de", NOTICE_IN_ENGLISH, "en" }, { "", NOTICE_IN_ITALIAN, "it" },
	};
	struct user_notice_request rq = request();
	struct user_notice n;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rq.language = slice_str(cases[i].language);
		rq.fallback = cases[i].fallback;
		assert_int_equal(build(&rq, &n), 0);
		assert_field(&n, "Content-Language", cases[i].want);
		user_notice_fini(&n);
	}
}

static void
nothing_breaks_out_of_its_line(void **state)
{
	static const char *const bad[] = { "", "a\r\nBcc: b@c.example", "a\n@b", "a\x7f@b" };
	struct user_notice_request rq = request();
	struct user_notice n;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rq.user = slice_str(bad[i]);
		assert_int_equal(build(&rq, &n), -1);
		user_notice_fini(&n);
	}
	rq = request();
	rq.user = SLICE_LIT("perch\xc3\xa9@example.it");	/* no header of 7 bits can hold it */
	rq.brand = SLICE_LIT("Po\r\nsta: \xff");
	assert_int_equal(build(&rq, &n), 0);
	assert_field(&n, "To", "undisclosed-recipients:;");
	assert_false(mime_has_8bit(buf_slice(&n.message)));
	assert_int_equal(field(&n, "sta").n, 0);
	user_notice_fini(&n);
}

static void
without_a_secret_there_is_none(void **state)
{
	const struct slice text[NOTICE_LANGUAGES] = { notice_builtin(NOTICE_ITALIAN),
		notice_builtin(NOTICE_ENGLISH) };
	const struct user_notice_request rq = request();
	struct forward_keys none = keys;
	struct user_notice n;

	(void)state;
	none.srs.nsecret = 0;
	user_notice_init(&n);
	assert_int_equal(user_notice_build(&none, text, &rq, &n), -1);
	user_notice_fini(&n);
}

int
main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(spec_12_3_the_header),
		cmocka_unit_test(spec_9_1_it_carries_the_tag_of_its_user),
		cmocka_unit_test(the_return_path_says_that_it_was_the_notice),
		cmocka_unit_test(languages),
		cmocka_unit_test(nothing_breaks_out_of_its_line),
		cmocka_unit_test(without_a_secret_there_is_none),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/* What `salvaposta why` says of tokens: every rule and note has words, and none is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/proto/relay_queue.h"
#include "queue/reply_class.h"
#include "queue/why_words.h"

static void
test_notes(void **state)
{
	static const struct { const char *note, *words; } t[] = {
		{ "no-recovery", "the user has no recovery address" },
		{ "dmarc-reject", "DMARC fails, and the author's domain asks to reject such mail" },
		{ "refused nouser 5.1.1", "its provider refused it: there is no such mailbox (5.1.1)" },
		{ "refused 5.3.0", "its provider refused it (5.3.0)" },
		{ "refused auth", "its provider refused it: it does not pass the checks of the author's "
		    "domain" },
		{ "refused", "it was refused, and there is no other form to try" },
		{ "primary-refused 550 5.1.1", "the primary refused it (550 5.1.1)" },
		{ "not-sendable size 5.3.4", "it cannot be sent there: it is too large (5.3.4)" },
		{ "held userrate 4.2.1", "its provider said later, and bulk does not wait: that mailbox "
		    "gets too much (4.2.1)" },
		{ "bounced 5.1.1", "it was bounced (5.1.1)" },
		{ "451 4.3.0", "its last answer was 451 4.3.0" },
		{ "what is that", "note: what is that" },
		{ "", "note: " },
	};
	char words[WHY_WORDS_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		why_note(t[i].note, words);
		assert_string_equal(words, t[i].words);
	}
}

static void
test_rules_and_classes(void **state)
{
	(void)state;
	assert_string_equal(why_reason(SLICE_LIT("bulk")), "bulk mail, and forward-bulk is off");
	assert_string_equal(why_reason(SLICE_LIT("strange")), "");
	assert_string_equal(why_class(2), "ordinary");
	assert_string_equal(why_class(4), "");
}

static void
test_results(void **state)
{
	struct history_entry h = { .outcome = DELIVER_TEMP, .class = REPLY_FULL, .code = 452,
		.status = 4, .subject = 2, .detail = 2 };
	char words[WHY_WORDS_MAX];

	(void)state;
	why_result(&h, words);
	assert_string_equal(words, "not now 452 4.2.2 class full");
	h.code = 0;
	why_result(&h, words);
	assert_string_equal(words, "not now, no reply (4.2.2)");
	h.subject = 4;
	h.detail = 1;
	why_result(&h, words);
	assert_string_equal(words, "not now, no connection (4.4.1)");
	h.status = 0;
	h.outcome = 200;
	why_result(&h, words);
	assert_string_equal(words, "?, no reply");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_rules_and_classes),
		cmocka_unit_test(test_results),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/* The table of spec 6.5, its exceptions, and the order in which reasons are named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/disposition.h"

enum {	/* what the message is, what is configured */
	NUL = 1, HOPS = 2, DELIVERED = 4, LOOP_TAG = 8, FORGED = 16, TWICE = 32, NO_SENDER = 64,
	BULK = 128, REFUSE = 256, UNAUTH = 512, NO_BULK = 1024, ALL_NULL = 2048, NO_NULL = 4096,
	AUTHENTICATED = 8192, ARC = 16384, LIST = 32768, UNKNOWN = 65536,
	TEMP = 131072
};

static struct disposition
of(enum auth_result result, enum dmarc_policy policy, unsigned what)
{
	const struct dmarc_output dmarc = {
		.result = result, .policy = policy, .policy_known = (what & UNKNOWN) == 0,
		.authenticated = (what & AUTHENTICATED) != 0 || result == AUTH_PASS, .why = ""
	};
	const struct disposition_facts f = {
		.nul = (what & NUL) != 0, .hops = (what & HOPS) != 0,
		.delivered_to = (what & DELIVERED) != 0, .loop_tag = (what & LOOP_TAG) != 0,
		.forged_signed = (what & FORGED) != 0, .duplicates = (what & TWICE) != 0,
		.null_sender = (what & NO_SENDER) != 0, .bulk = (what & BULK) != 0,
		.temperror = (what & TEMP) != 0,
		.dmarc = &dmarc,
		.override = (what & ARC) != 0 ? DMARC_OVERRIDE_ARC : (what & LIST) != 0 ?
		    DMARC_OVERRIDE_LIST : DMARC_NO_OVERRIDE,
		.dmarc_reject = (what & REFUSE) != 0,
		.forward_unauthenticated = (what & UNAUTH) != 0,
		.forward_bulk = (what & NO_BULK) == 0,
		.forward_null_sender = (what & ALL_NULL) != 0 ? NULL_SENDER_ALL :
		    (what & NO_NULL) != 0 ? NULL_SENDER_NONE : NULL_SENDER_AUTHENTICATED,
	};

	return disposition_of(&f);
}

static void
spec_6_5_and_9_2_and_9_5_table(void **state)
{
	enum { P_NONE = DMARC_NONE, P_QUAR = DMARC_QUARANTINE, P_REJ = DMARC_REJECT };
	static const struct {
		enum auth_result result;
		int		 policy;
		unsigned	 what;
		enum disposition_action action;
		const char	*rule;
	} t[] = {
		/* 6.5, row by row */
		{ AUTH_PASS, P_REJ, 0, DISPOSITION_FORWARD, "" },
		{ AUTH_PASS, P_NONE, 0, DISPOSITION_FORWARD, "" },
		{ AUTH_NONE, P_NONE, AUTHENTICATED, DISPOSITION_FORWARD, "" },
		{ AUTH_NONE, P_NONE, UNAUTH, DISPOSITION_FORWARD, "" },
		{ AUTH_NONE, P_NONE, 0, DISPOSITION_HOLD, "dmarc-unauthenticated" },
		{ AUTH_FAIL, P_NONE, 0, DISPOSITION_HOLD, "dmarc-fail" },
		{ AUTH_FAIL, P_NONE, UNAUTH | AUTHENTICATED, DISPOSITION_HOLD, "dmarc-fail" },
		{ AUTH_FAIL, P_QUAR, UNAUTH | AUTHENTICATED, DISPOSITION_HOLD, "dmarc-quarantine" },
		{ AUTH_FAIL, P_REJ, UNAUTH | AUTHENTICATED, DISPOSITION_HOLD, "dmarc-reject" },
		{ AUTH_TEMPERROR, P_REJ, 0, DISPOSITION_RECHECK, "dmarc-temperror" },
		{ AUTH_TEMPERROR, P_NONE, 0, DISPOSITION_RECHECK, "dmarc-temperror" },
		{ AUTH_TEMPERROR, P_NONE, UNKNOWN | UNAUTH, DISPOSITION_RECHECK,
		  "dmarc-temperror" },
		/* 0.4: only what nothing else keeps here, and nothing that DNS cannot mend */
		{ AUTH_NONE, P_NONE, TEMP, DISPOSITION_RECHECK, "dmarc-temperror" },
		{ AUTH_NONE, P_NONE, TEMP | UNAUTH, DISPOSITION_FORWARD, "" },
		{ AUTH_FAIL, P_REJ, TEMP, DISPOSITION_HOLD, "dmarc-reject" },
		{ AUTH_PASS, P_REJ, TEMP, DISPOSITION_FORWARD, "" },
		{ AUTH_TEMPERROR, P_REJ, ARC, DISPOSITION_FORWARD, "dmarc-override-arc" },
		{ AUTH_TEMPERROR, P_REJ, NUL, DISPOSITION_HOLD, "nul" },
		{ AUTH_TEMPERROR, P_REJ, TWICE, DISPOSITION_RECHECK, "dmarc-temperror" },
		{ AUTH_TEMPERROR, P_REJ, NO_SENDER, DISPOSITION_RECHECK, "dmarc-temperror" },
		{ AUTH_TEMPERROR, P_REJ, NO_SENDER | NO_NULL, DISPOSITION_HOLD, "null-sender" },
		{ AUTH_TEMPERROR, P_REJ, BULK | NO_BULK, DISPOSITION_HOLD, "bulk" },
		{ AUTH_PERMERROR, P_NONE, UNAUTH | AUTHENTICATED, DISPOSITION_HOLD,
		  "dmarc-permerror" },
		{ AUTH_UNSET, P_NONE, UNAUTH, DISPOSITION_HOLD, "dmarc-unset" },
		/* 6.6 */
		{ AUTH_FAIL, P_REJ, ARC, DISPOSITION_FORWARD, "dmarc-override-arc" },
		{ AUTH_FAIL, P_QUAR, LIST, DISPOSITION_FORWARD, "dmarc-override-list" },
		{ AUTH_FAIL, P_REJ, ARC | REFUSE, DISPOSITION_FORWARD, "dmarc-override-arc" },
		{ AUTH_FAIL, P_NONE, ARC, DISPOSITION_HOLD, "dmarc-fail" },
		{ AUTH_NONE, P_NONE, LIST, DISPOSITION_HOLD, "dmarc-unauthenticated" },
		{ AUTH_PERMERROR, P_NONE, ARC, DISPOSITION_HOLD, "dmarc-permerror" },
		/* 6.7: only a failure, only of p=reject, never what may be a loop of ours */
		{ AUTH_FAIL, P_REJ, REFUSE, DISPOSITION_REFUSE, "dmarc-reject" },
		{ AUTH_FAIL, P_QUAR, REFUSE, DISPOSITION_HOLD, "dmarc-quarantine" },
		{ AUTH_TEMPERROR, P_REJ, REFUSE, DISPOSITION_RECHECK, "dmarc-temperror" },
		{ AUTH_PERMERROR, P_REJ, REFUSE, DISPOSITION_HOLD, "dmarc-permerror" },
		{ AUTH_FAIL, P_REJ, REFUSE | LOOP_TAG, DISPOSITION_HOLD, "dmarc-reject" },
		{ AUTH_FAIL, P_REJ, REFUSE | DELIVERED, DISPOSITION_HOLD, "delivered-to" },
		{ AUTH_FAIL, P_REJ, REFUSE | HOPS, DISPOSITION_HOLD, "hops" },
		{ AUTH_FAIL, P_REJ, REFUSE | NUL, DISPOSITION_HOLD, "nul" },
		/* 3.11, 9.2, 4.3 */
		{ AUTH_PASS, P_REJ, NUL, DISPOSITION_HOLD, "nul" },
		{ AUTH_PASS, P_REJ, HOPS, DISPOSITION_HOLD, "hops" },
		{ AUTH_PASS, P_REJ, DELIVERED, DISPOSITION_HOLD, "delivered-to" },
		{ AUTH_PASS, P_REJ, FORGED, DISPOSITION_HOLD, "forged-authres" },
		{ AUTH_PASS, P_REJ, LOOP_TAG, DISPOSITION_FORWARD, "" },
		/* 3.16 */
		{ AUTH_PASS, P_REJ, TWICE, DISPOSITION_FORWARD, "" },
		{ AUTH_NONE, P_NONE, TWICE | AUTHENTICATED, DISPOSITION_HOLD, "duplicate-fields" },
		{ AUTH_FAIL, P_REJ, TWICE | ARC, DISPOSITION_HOLD, "duplicate-fields" },
		/* 9.5 */
		{ AUTH_PASS, P_REJ, NO_SENDER, DISPOSITION_FORWARD, "" },
		{ AUTH_NONE, P_NONE, NO_SENDER | AUTHENTICATED, DISPOSITION_HOLD, "null-sender" },
		{ AUTH_NONE, P_NONE, NO_SENDER | AUTHENTICATED | ALL_NULL, DISPOSITION_FORWARD, "" },
		{ AUTH_FAIL, P_REJ, NO_SENDER | ALL_NULL, DISPOSITION_HOLD, "dmarc-reject" },
		{ AUTH_PASS, P_REJ, NO_SENDER | NO_NULL, DISPOSITION_HOLD, "null-sender" },
		/* 10.2 T5 */
		{ AUTH_PASS, P_REJ, BULK, DISPOSITION_FORWARD, "" },
		{ AUTH_PASS, P_REJ, BULK | NO_BULK, DISPOSITION_HOLD, "bulk" },
		{ AUTH_PASS, P_REJ, NO_BULK, DISPOSITION_FORWARD, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct disposition d = of(t[i].result, (enum dmarc_policy)t[i].policy, t[i].what);

		if (d.action != t[i].action || strcmp(d.rule, t[i].rule) != 0)
			print_error("%zu: %d %s\n", i, (int)d.action, d.rule);
		assert_int_equal(d.action, t[i].action);
		assert_string_equal(d.rule, t[i].rule);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(spec_6_5_and_9_2_and_9_5_table) };

	return cmocka_run_group_tests_name("policy/disposition", tests, NULL, NULL);
}

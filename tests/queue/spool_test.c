// SPDX-License-Identifier: Apache-2.0
/* The spool through its header, over the local store. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/queue/spool_kit.h"

static void
test_commit_read_restart(void **state)
{
	struct kit k;
	struct spool_entry e;

	(void)state;
	kit_open(&k, NULL);
	struct msgid id = kit_commit(&k, "a@example.it", 1, LEG_PARKED, LEG_WAITING, 500);
	assert_int_equal(k.last, COMMIT_OK);
	struct spool_ref ref = k.ref[0];
	kit_check_message(&k, ref, id, 500);
	assert_int_equal(spool_get(k.sp, ref, &e), 0);
	assert_int_equal(e.leg[LEG_HOLD].state, LEG_PARKED);
	assert_int_equal(e.leg[LEG_FORWARD].state, LEG_WAITING);
	kit_restart(&k);
	assert_int_equal(spool_get(k.sp, ref, &e), 0);
	assert_int_equal(e.leg[LEG_HOLD].state, LEG_PARKED);
	assert_memory_equal(e.id.b, id.b, MSGID_LEN);
	kit_check_message(&k, ref, id, 500);
	kit_close(&k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commit_read_restart),
	};

	return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}

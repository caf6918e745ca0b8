// SPDX-License-Identifier: Apache-2.0
/* The role's answers over real channels; role.c is replaced by the four functions the
 * role calls, so that no process is needed. */
#include "tests/policy/snapshot_fixture.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/proto/queue_directory.h"
#include "base/proto/relay_directory.h"
#include "policy/directory_role.h"

struct house {
	struct fixture	*f;
	struct role	 role;
	int		 dirfd;		/* what the role is given; -1 for none */
	struct ipc	*in[ROLE_MAX];	/* the role's ends */
	struct ipc	*out[ROLE_MAX];	/* ours */
	uint32_t	 type;		/* of the last answer, 0 for none */
	struct dir_found found;
	struct dir_targeted targeted;
	struct dir_reloaded reloaded;
	char		 text[1024];	/* the answer's slice of interest */
	bool		 done;
};

static struct house house;

int
role_resource(struct role *r, const char *name)
{
	(void)r;
	assert_string_equal(name, "directory-dir");
	return house.dirfd;
}

struct ipc *
role_link(struct role *r, enum role_kind peer, unsigned index)
{
	(void)r;
	return index == 0 ? house.in[peer] : NULL;
}

const char *
role_name(enum role_kind k)
{
	return k == ROLE_RELAY ? "relay" : "other";
}

void
role_done(struct role *r)
{
	(void)r;
	house.done = true;
}

static void
keep(struct slice s)
{
	snprintf(house.text, sizeof(house.text), "%.*s", SLICE_FMT(s));
}

static void
on_answer(void *arg, struct ipc *ch, uint32_t type, struct slice body, int fd)
{
	(void)arg, (void)ch;
	assert_int_equal(fd, -1);
	house.type = type;
	switch (type) {
	case DIR_FOUND:
		assert_int_equal(wire_get(body, &dir_found_wire, &house.found), 0);
		keep(house.found.user);
		break;
	case DIR_TARGETED:
		assert_int_equal(wire_get(body, &dir_targeted_wire, &house.targeted), 0);
		keep(house.targeted.recovery.n != 0 ? house.targeted.recovery :
		    house.targeted.reason);
		break;
	case DIR_RELOADED:
		assert_int_equal(wire_get(body, &dir_reloaded_wire, &house.reloaded), 0);
		keep(house.reloaded.text);
		break;
	default:
		fail_msg("type %u", type);
	}
	loop_stop(house.role.loop);
}

static void
on_message(void *arg, struct ipc *ch, uint32_t type, struct slice body, int fd)
{
	directory_ops.message(&house.role, (enum role_kind)(intptr_t)arg, 0, ch, type, body, fd);
}

static void
on_close(void *arg, struct ipc *ch)
{
	(void)arg, (void)ch;
}

static void
on_timeout(void *arg)
{
	loop_stop(arg);
}

/* Sends and waits for an answer; house.type is 0 when none came in 300 ms. */
static void
ask(enum role_kind as, uint32_t type, const struct wire_desc *d, const void *msg)
{
	struct timer *t = timer_new(house.role.loop, on_timeout, house.role.loop);

	house.type = 0;
	house.text[0] = '\0';
	assert_int_equal(ipc_send(house.out[as], type, d, msg, -1), 0);
	timer_arm(t, 300);
	loop_run(house.role.loop);
	timer_free(&t);
}

static int
setup(void **state)
{
	static const enum role_kind peers[] = { ROLE_RELAY, ROLE_QUEUE };

	if (fixture_setup(state) != 0)
		return -1;
	memset(&house, 0, sizeof(house));
	house.f = *state;
	house.dirfd = -1;
	house.role = (struct role){ .ops = &directory_ops, .loop = loop_new(),
	    .conf = house.f->conf };
	for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
		enum role_kind k = peers[i];
		int fd[2];

		if (ipc_pair(fd) != 0)
			return -1;
		house.in[k] = ipc_new(house.role.loop, fd[0], on_message, on_close,
		    (void *)(intptr_t)k);
		house.out[k] = ipc_new(house.role.loop, fd[1], on_answer, on_close, NULL);
	}
	return 0;
}

static int
teardown(void **state)
{
	if (house.role.priv != NULL)
		directory_ops.stop(&house.role);
	for (int k = 0; k < ROLE_MAX; k++) {
		if (house.in[k] != NULL)
			ipc_free(&house.in[k]);
		if (house.out[k] != NULL)
			ipc_free(&house.out[k]);
	}
	loop_free(&house.role.loop);
	return fixture_teardown(state);
}

static const struct fixture_row one[] = {
	{ 2, "Mario@example.it", "mario@mail.example.com", "", "s1", "m.rossi", "it", "" },
	{ 3, "out@example.it", "o@mail.example.com", "opted-out", "", "", "", "" },
	{ 0 }
};

static const struct fixture_row two[] = {
	{ 2, "Mario@example.it", "new@mail.example.com", "", "", "", "", "" },
	{ 3, "anna@example.it", "", "", "", "", "", "" },
	{ 4, "luca@example.it", "", "", "", "", "", "" },
	{ 0 }
};

static void
import(const struct fixture_row *rows)
{
	assert_int_equal(fixture_import(house.f, rows), SNAPSHOT_OK);
	house.dirfd = house.f->dirfd;
}

static enum dir_status
lookup(const char *address)
{
	struct dir_lookup m = { 7, slice_str(address) };

	ask(ROLE_RELAY, DIR_LOOKUP, &dir_lookup_wire, &m);
	assert_int_equal(house.type, DIR_FOUND);
	assert_int_equal(house.found.req, 7);
	return (enum dir_status)house.found.status;
}

static enum dir_target_status
target_for(const char *user, bool baseline)
{
	struct dir_target m = { 8, slice_str(user), baseline };

	ask(ROLE_QUEUE, DIR_TARGET, &dir_target_wire, &m);
	assert_int_equal(house.type, DIR_TARGETED);
	assert_int_equal(house.targeted.req, 8);
	return (enum dir_target_status)house.targeted.status;
}

static enum dir_target_status
target(const char *user)
{
	return target_for(user, false);
}

static bool
reload(void)
{
	struct dir_reload m = { 9 };

	ask(ROLE_QUEUE, DIR_RELOAD, &dir_reload_wire, &m);
	assert_int_equal(house.type, DIR_RELOADED);
	assert_int_equal(house.reloaded.req, 9);
	return house.reloaded.ok;
}

static void
test_answers(void **state)
{
	(void)state;
	import(one);
	assert_int_equal(directory_ops.start(&house.role), 0);
	assert_int_equal(lookup("MARIO+tag@example.it"), DIR_KNOWN);
	assert_string_equal(house.text, "mario@example.it");
	assert_int_equal(lookup("nobody@example.it"), DIR_UNKNOWN);
	assert_int_equal(lookup("x@elsewhere.example"), DIR_UNAVAILABLE);
	assert_int_equal(target("Mario@example.it"), TARGET_OK);
	assert_string_equal(house.text, "mario@mail.example.com");
	assert_int_equal(target("out@example.it"), TARGET_NONE);
	assert_string_equal(house.text, "opted-out");
	assert_int_equal(target("nobody@example.it"), TARGET_UNKNOWN);
}

/* 8.11: copies in peace time go to those who asked for them, and to nobody else. */
static void
test_spec_8_11_baseline_needs_consent(void **state)
{
	(void)state;
	import(one);
	assert_int_equal(directory_ops.start(&house.role), 0);
	assert_int_equal(target_for("mario@example.it", true), TARGET_NONE);
	assert_string_equal(house.text, TARGET_NO_BASELINE);
	assert_int_equal(target("mario@example.it"), TARGET_OK);
	house.f->baseline = true;
	import(one);
	assert_true(reload());
	assert_int_equal(target_for("mario@example.it", true), TARGET_OK);
	assert_string_equal(house.text, "mario@mail.example.com");
	assert_int_equal(target_for("out@example.it", true), TARGET_NONE);
	assert_string_equal(house.text, "opted-out");
	assert_int_equal(target_for("nobody@example.it", true), TARGET_UNKNOWN);
}

/* P4: a relay is told no recovery address, whatever it asks. */
static void
test_p4_relay_cannot_ask_for_targets(void **state)
{
	struct dir_target m = { 8, SLICE_LIT("Mario@example.it"), 0 };
	struct dir_lookup l = { 8, SLICE_LIT("Mario@example.it") };

	(void)state;
	import(one);
	assert_int_equal(directory_ops.start(&house.role), 0);
	ask(ROLE_RELAY, DIR_TARGET, &dir_target_wire, &m);
	assert_int_equal(house.type, 0);
	ask(ROLE_QUEUE, DIR_LOOKUP, &dir_lookup_wire, &l);
	assert_int_equal(house.type, 0);
	/* malformed: a look-up in the place of a reload */
	ask(ROLE_QUEUE, DIR_RELOAD, &dir_lookup_wire, &l);
	assert_int_equal(house.type, 0);
	assert_int_equal(lookup("mario@example.it"), DIR_KNOWN);
}

/* No snapshot is no answer; the first import is taken over without a restart. */
static void
test_empty_then_import(void **state)
{
	(void)state;
	import(one);
	assert_int_equal(unlinkat(house.dirfd, "users.db", 0), 0);
	assert_int_equal(directory_ops.start(&house.role), 0);
	assert_int_equal(lookup("mario@example.it"), DIR_UNAVAILABLE);
	assert_int_equal(target("mario@example.it"), TARGET_UNAVAILABLE);
	assert_false(reload());
	import(two);
	assert_true(reload());
	assert_int_equal(house.reloaded.users, 3);
	assert_int_equal(lookup("mario@example.it"), DIR_KNOWN);
}

static void
test_reload(void **state)
{
	(void)state;
	import(one);
	assert_int_equal(directory_ops.start(&house.role), 0);
	assert_int_equal(target("mario@example.it"), TARGET_OK);
	import(two);
	assert_int_equal(target("mario@example.it"), TARGET_OK);
	assert_string_equal(house.text, "mario@mail.example.com");
	assert_true(reload());
	assert_int_equal(target("mario@example.it"), TARGET_OK);
	assert_string_equal(house.text, "new@mail.example.com");
	assert_int_equal(lookup("anna@example.it"), DIR_KNOWN);
	assert_int_equal(lookup("m.rossi@example.it"), DIR_UNKNOWN);
}

static void
damage(const char *name)
{
	int fd = openat(house.dirfd, name, O_RDWR);
	char c = 0;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &c, 1, 4096 + 100), 1);
	c ^= 0x55;
	assert_int_equal(pwrite(fd, &c, 1, 4096 + 100), 1);
	close(fd);
}

static void
test_damaged_reload_keeps_the_old(void **state)
{
	(void)state;
	import(one);
	assert_int_equal(directory_ops.start(&house.role), 0);
	import(two);
	damage("users.db");
	assert_false(reload());
	assert_true(house.text[0] != '\0');
	assert_int_equal(house.reloaded.users, 2);
	assert_int_equal(lookup("m.rossi@example.it"), DIR_KNOWN);
	assert_int_equal(target("mario@example.it"), TARGET_OK);
	assert_string_equal(house.text, "mario@mail.example.com");
}

static void
test_damaged_start_falls_back(void **state)
{
	(void)state;
	import(one);
	import(two);
	damage("users.db");
	assert_int_equal(directory_ops.start(&house.role), 0);
	assert_int_equal(lookup("m.rossi@example.it"), DIR_KNOWN);
	assert_int_equal(lookup("luca@example.it"), DIR_UNKNOWN);
}

static void
test_status_and_stop(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	import(one);
	assert_int_equal(directory_ops.start(&house.role), 0);
	assert_int_equal(lookup("mario@example.it"), DIR_KNOWN);
	directory_ops.status(&house.role, &out);
	assert_int_equal(buf_put(&out, "", 1), 0);
	assert_non_null(strstr(buf_slice(&out).p, "\"users\":2"));
	assert_non_null(strstr(buf_slice(&out).p, "\"lookups\":1"));
	directory_ops.reload(&house.role);
	directory_ops.stop(&house.role);
	assert_true(house.done);
	/* what still comes in after the stop falls on nothing */
	struct dir_lookup l = { 8, SLICE_LIT("Mario@example.it") };

	ask(ROLE_RELAY, DIR_LOOKUP, &dir_lookup_wire, &l);
	assert_int_equal(house.type, 0);
	buf_clear(&out);
	directory_ops.status(&house.role, &out);
	directory_ops.link_down(&house.role, ROLE_QUEUE, 0);
	directory_ops.reload(&house.role);
	buf_fini(&out);
}

static void
test_no_folder(void **state)
{
	(void)state;
	assert_int_equal(directory_ops.start(&house.role), -1);
}

#define T(fn)	cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_answers), T(test_spec_8_11_baseline_needs_consent),
		T(test_p4_relay_cannot_ask_for_targets), T(test_empty_then_import), T(test_reload),
		T(test_damaged_reload_keeps_the_old),
		T(test_damaged_start_falls_back), T(test_status_and_stop), T(test_no_folder),
	};

	return cmocka_run_group_tests_name("policy/directory_role", tests, NULL, NULL);
}

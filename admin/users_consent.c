// SPDX-License-Identifier: Apache-2.0
/* `salvaposta users optout` and `optin`, and what `show` says of it. Opt-outs are the
 * queue's (queue/consent.h), no part of the directory: an import cannot undo them. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin/control_client.h"
#include "admin/users.h"
#include "base/clock.h"
#include "base/log.h"
#include "policy/address.h"
#include "policy/directory.h"
#include "queue/consent.h"

enum { ADDRESS_MAX = 512 };

static json_t *
wish(const char *user, bool stop, const char *reason)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "cmd", "consent-set", "user", user, "state", stop ?
	    "stop" : "resume", "reason", reason);
}

/* A name as it would be written were it the user's address. False: it has none. */
static bool
as_address(struct slice name, char out[ADDRESS_MAX])
{
	size_t at = slice_rfind(name, '@');
	struct buf b;
	bool ok;

	buf_init(&b, ADDRESS_MAX);
	ok = address_quote(slice_sub(name, 0, at), &b) == 0 &&
	    buf_put_slice(&b, slice_sub(name, at, name.n)) == 0 &&
	    slice_cstr(buf_slice(&b), out, ADDRESS_MAX) == 0;
	buf_fini(&b);
	return ok;
}

/* A stop may be from the time when the user had another address. */
static bool
resume_former(const struct cli *cli, const char *user, const char *reason, json_t *former)
{
	bool changed = false;
	json_t *name, *r;
	char address[ADDRESS_MAX];
	size_t i;

	json_array_foreach(former, i, name) {
		if (!as_address(slice_str(json_string_value(name)), address) ||
		    strcmp(address, user) == 0)
			continue;
		r = control_call(cli, wish(address, false, reason));
		changed = changed || json_is_true(json_object_get(r, "changed"));
		json_decref(r);
	}
	return changed;
}

int
users_consent(const struct cli *cli, const char *user, bool stop, const char *reason,
    json_t *former)
{
	bool before;
	json_t *q, *r;

	if (reason == NULL || reason[0] == '\0')
		return cli_usage("users", "%s needs --reason TEXT, for the audit log", stop ?
		    "optout" : "optin");
	q = wish(user, stop, reason);
	if (q == NULL)
		return cli_usage("users", "address and reason must be UTF-8 text");
	before = !stop && resume_former(cli, user, reason, former);
	r = control_call(cli, q);
	if (r == NULL)
		return CLI_FAILED;
	if (before)
		json_object_set_new(r, "changed", json_true());
	if (cli->json)
		control_print(r);
	else if (!json_is_true(json_object_get(r, "changed")))
		printf("%s: %s already; nothing was changed\n", user, stop ? "has opted out" :
		    "had not opted out");
	else
		printf("%s: %s\n", user, stop ? "gets no more copies; mail is held for the store" :
		    "gets copies again, of mail that comes from now on");
	json_decref(r);
	return CLI_OK;
}

/* The table as it is on disk, so that it works without a relay; *dirfd is to be closed after
 * it. NULL: there is none. */
static struct consent *
open_consent(const struct conf *c, int *dirfd)
{
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/queue", c->state_dir);
	*dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*dirfd < 0)
		return NULL;		/* no relay ever ran here */
	return consent_open(*dirfd, c->opt_outs_max, true);
}

static void
close_consent(struct consent **k, int dirfd)
{
	consent_close(k);
	if (dirfd >= 0)
		close(dirfd);
}

struct follow {
	struct consent	*consent;
	json_t		*users;		/* addresses that are to be stopped */
};

static void
follow_alias(void *arg, struct slice name, struct slice address)
{
	struct follow *f = arg;
	char former[ADDRESS_MAX];

	if (as_address(name, former) &&
	    consent_stopped(f->consent, consent_key(slice_str(former)), NULL) &&
	    !consent_stopped(f->consent, consent_key(address), NULL))
		json_array_append_new(f->users, json_stringn(address.p, address.n));
}

/* The aliases of the directory in place, against the table. */
static void
find_followers(const struct conf *c, struct follow *f)
{
	char path[4096];
	struct directory *d = NULL;
	int fd, which;

	(void)snprintf(path, sizeof(path), "%s/%s", c->state_dir, DIRECTORY_FOLDER);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		d = directory_open_best(fd, &which);
		close(fd);
	}
	if (d != NULL && directory_aliases(d, follow_alias, f) != 0)
		fprintf(stderr, "salvaposta users: the aliases could not be read\n");
	directory_close(&d);
}

void
users_consent_follow(const struct conf *c, const char *path)
{
	int dirfd;
	struct follow f = { open_consent(c, &dirfd), json_array() };
	char why[512];
	json_t *user, *r;
	size_t i, done = 0;

	if (f.consent != NULL && consent_count(f.consent) > 0)
		find_followers(c, &f);
	close_consent(&f.consent, dirfd);
	json_array_foreach(f.users, i, user) {
		r = control_ask(path, wish(json_string_value(user), true, "had opted out under a "
		    "former address"), why, sizeof(why));
		if (r == NULL)
			fprintf(stderr, "salvaposta users: %s had opted out under a former address, "
			    "and could not be stopped: %s\n", json_string_value(user), why);
		done += r != NULL;
		json_decref(r);
	}
	if (done > 0)
		fprintf(stderr, "salvaposta users: %zu users have another address than when they "
		    "opted out; they stay opted out\n", done);
	json_decref(f.users);
}

bool
users_consent_show(const struct conf *c, struct slice user, json_t *o)
{
	struct consent_row row = { 0 };
	struct consent *k;
	char when[40], hex[2 * MSGID_LEN + 1];
	bool stopped;
	int dirfd;

	consent_print(consent_key(user), hex);
	json_object_set_new(o, "user_hash", json_string(hex));
	k = open_consent(c, &dirfd);
	stopped = k != NULL && consent_stopped(k, consent_key(user), &row);
	close_consent(&k, dirfd);
	if (!stopped)
		return false;
	clock_iso8601(row.time_ms, when, sizeof(when));
	json_object_set_new(o, "opted_out", json_pack("{s:s, s:s}", "by", row.by ==
	    CONSENT_BY_MAIL ? "mail" : "operator", "time", when));
	json_object_set_new(o, "forwarded", json_false());
	json_object_set_new(o, "reason", json_string("opted-out"));
	return true;
}

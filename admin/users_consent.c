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
#include "queue/consent.h"

int
users_consent(const struct cli *cli, const char *user, bool stop, const char *reason)
{
	json_t *q, *r;

	if (reason == NULL || reason[0] == '\0')
		return cli_usage("users", "%s needs --reason TEXT, for the audit log", stop ?
		    "optout" : "optin");
	q = json_pack("{s:s, s:s, s:s, s:s}", "cmd", "consent-set", "user", user, "state", stop ?
	    "stop" : "resume", "reason", reason);
	if (q == NULL)
		return cli_usage("users", "address and reason must be UTF-8 text");
	r = control_call(cli, q);
	if (r == NULL)
		return CLI_FAILED;
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

/* From the file, so that it works without a relay. */
bool
users_consent_show(const struct conf *c, struct slice user, json_t *o)
{
	struct consent_row row = { 0 };
	struct consent *k;
	char path[4096], when[40], hex[2 * MSGID_LEN + 1];
	bool stopped;
	int fd;

	consent_print(consent_key(user), hex);
	json_object_set_new(o, "user_hash", json_string(hex));
	(void)snprintf(path, sizeof(path), "%s/queue", c->state_dir);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return false;		/* no relay ever ran here */
	k = consent_open(fd, c->opt_outs_max, true);
	stopped = k != NULL && consent_stopped(k, consent_key(user), &row);
	consent_close(&k);
	close(fd);
	if (!stopped)
		return false;
	clock_iso8601(row.time_ms, when, sizeof(when));
	json_object_set_new(o, "opted_out", json_pack("{s:s, s:s}", "by", row.by ==
	    CONSENT_BY_MAIL ? "mail" : "operator", "time", when));
	json_object_set_new(o, "forwarded", json_false());
	json_object_set_new(o, "reason", json_string("opted-out"));
	return true;
}

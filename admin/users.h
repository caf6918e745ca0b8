// SPDX-License-Identifier: Apache-2.0
/* `salvaposta users import` and rollback, beside show and audit in admin/users.c. */
#ifndef ADMIN_USERS_H
#define ADMIN_USERS_H

#include <jansson.h>

#include <jansson.h>

#include "admin/cli.h"
#include "base/slice.h"

struct users_import {
	const char	*file;		/* "-" is standard input */
	bool		 refresh;	/* file is a program that writes it */
	const char	*separator;	/* one character; NULL: comma */
	const char	*confirm;	/* recovery addresses that may be shared, by commas */
	bool		 ldif;		/* it is LDIF, else CSV */
	const char	*reason;	/* of optout and optin */
	bool		 force, skip_bad, quiet;
};

/* The exit status. */
int users_import(const struct cli *cli, const struct conf *c, const struct users_import *u);

/* `salvaposta users rollback`. The exit status. */
int users_rollback(const struct cli *cli, const struct conf *c);

/* `salvaposta users optout` and `optin` of this user, in the directory's form. `former`: his
 * other names, an array; optin lets them go as well. The exit status. */
int users_consent(const struct cli *cli, const char *user, bool stop, const char *reason,
    json_t *former);
/* A user whose address has become an alias of a new one: his stop goes with him, by the
 * running relay at `path`. */
void users_consent_follow(const struct conf *c, const char *path);
/* Adds to a user's object whether he has stopped his copies; so it says. */
bool users_consent_show(const struct conf *c, struct slice user, json_t *o);

/* Tells the running relay, if there is one, of the directory put in place, for its audit
 * log too. What came of it, for people, and in one word in *state. */
const char *users_tell_relay(const struct cli *cli, const struct conf *c, const char *source,
    uint64_t users, const char **state);

/* "1,234,567". Valid until four more calls. */
const char *users_number(uint64_t n);

#endif

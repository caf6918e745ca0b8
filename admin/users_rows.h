// SPDX-License-Identifier: Apache-2.0
/*
 * Rows of users out of the bytes of an export, whatever its form: bytes go in, in pieces of
 * any size, rows come out. What is wrong with one row goes to the sink and reading goes on;
 * what makes the whole export useless (a header without its columns) stops it, in `why`.
 */
#ifndef ADMIN_USERS_ROWS_H
#define ADMIN_USERS_ROWS_H

#include "base/conf.h"
#include "policy/snapshot.h"

struct users_sink {
	void	*arg;		/* for all of them */
	/* 0, or -1 with a reason in `why`: it stops. The row is borrowed until return. */
	int	(*row)(void *arg, const struct snapshot_row *row);
	/* A row that could not be read. */
	void	(*bad)(void *arg, uint64_t line, const char *column, const char *text);
	/* To be told, but no fault; line 0 is none. */
	void	(*note)(void *arg, uint64_t line, const char *column, const char *text);
	char	*why;		/* SNAPSHOT_WHY bytes */
};

struct users_rows;

/* The sink is copied; the configuration is borrowed for the reader's life. */
struct users_rows *users_rows_csv(char separator, const struct users_sink *sink);
/* NULL with `why` when the configuration does not say which attributes are what. */
struct users_rows *users_rows_ldif(const struct conf *c, const struct users_sink *sink);
void users_rows_free(struct users_rows **rp);

/* 0, or -1 with `why`: nothing more is to be fed. */
int users_rows_feed(struct users_rows *r, struct slice s);
int users_rows_end(struct users_rows *r);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * The control socket: one JSON request a line, one JSON reply a line, as many as the
 * client likes, one at a time. Who asks is known from the kernel (SO_PEERCRED): root and
 * our own user, nobody else. docs/control.md lists requests and replies.
 */
#ifndef QUEUE_CONTROL_H
#define QUEUE_CONTROL_H

#include "base/proto/queue_directory.h"
#include "queue/queue_role.h"

enum { CONTROL_REQUEST_MAX = 64 * 1024, CONTROL_REPLY_MAX = 16 * 1024 * 1024,
	CONTROL_CLIENTS_MAX = 32 };

/* `fd` listens; borrowed. Never NULL. */
struct control *control_new(struct queue *q, int fd);
void control_free(struct control **cp);
/* DIR_RELOADED came, or the directory went away. `c` may be NULL. */
int control_directory(struct control *c, struct slice body);
void control_directory_down(struct control *c);

/* Numbers of requests to the directory that are ours and no attempt's. */
#define CONTROL_ASKS	(1ULL << 62)
struct dir_targeted;
void control_targeted(struct control *c, const struct dir_targeted *m);

#endif

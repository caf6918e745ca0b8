// SPDX-License-Identifier: Apache-2.0
/*
 * A listening socket, bound by the supervisor: accepts a few clients a turn and makes
 * sessions of them. Out of descriptors it pauses instead of spinning.
 */
#ifndef RELAY_LISTENER_H
#define RELAY_LISTENER_H

#include "relay/smtp_session.h"

struct listener;

/* `fd` is borrowed and must stay open until listener_free. */
/* `how`: SESSION_* of its clients. */
struct listener *listener_new(struct loop *l, int fd, struct smtp_server *sv, unsigned how);
void listener_free(struct listener **lp);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * Client of the control socket: one JSON request a line, one JSON reply a line. The
 * server is queue/control.c.
 */
#ifndef ADMIN_CONTROL_CLIENT_H
#define ADMIN_CONTROL_CLIENT_H

#include <jansson.h>

#include "admin/cli.h"

/* Flags of jansson for numbers that people read: not 29382.700000000001. */
#define CONTROL_REAL	JSON_REAL_PRECISION(12)
#define CONTROL_COMPACT	(JSON_COMPACT | CONTROL_REAL)

/*
 * Sends the request (takes the reference) and returns the reply object, owned by the
 * caller, or NULL with a reason for people in `why`: no such socket, refused, denied, no
 * answer in time, or the relay's own "error".
 */
json_t *control_ask(const char *path, json_t *request, char *why, size_t cap);

/* The same over the socket the command line or the configuration names; prints what
 * went wrong (as JSON with --json) and gives NULL. */
json_t *control_call(const struct cli *cli, json_t *request);

/* The reply as JSON on standard output. */
void control_print(const json_t *reply);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * What may be put into a command we send: what a hostile client once wrote must not
 * become a parameter or a second command here. Pure.
 */
#ifndef RELAY_SMTP_PATH_H
#define RELAY_SMTP_PATH_H

#include "base/slice.h"

enum { SMTP_PATH_MAX = 1024 };	/* bytes; RFC 5321 says 256, local policy is elsewhere */

/* An address may go between < and >: no control, no space or bracket outside quotes,
 * quotes closed. *eight is set when it has octets beyond ASCII. */
bool smtp_path_ok(struct slice a, bool *eight);
/* The value of a parameter: printable ASCII without space. */
bool smtp_value_ok(struct slice s);

#endif

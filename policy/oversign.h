// SPDX-License-Identifier: Apache-2.0
/*
 * Spec 3.2: a signer may list a field more often than it occurs, so that nobody can add
 * one (RFC 6376 5.4). Whoever prepends a field asks here first, of each DKIM-Signature
 * of the message, valid or not; so tags are read leniently. Pure.
 */
#ifndef POLICY_OVERSIGN_H
#define POLICY_OVERSIGN_H

#include "base/slice.h"

/* How often h= in the value of a DKIM-Signature field names `name`. */
unsigned oversign_listed(struct slice signature, struct slice name);

#endif

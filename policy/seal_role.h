// SPDX-License-Identifier: Apache-2.0
/*
 * The seal role: the only process that has the return-path secrets and the signing keys.
 * It builds forward copies for the queue and tells the relays which addresses of the
 * return-path domain are ours. It remembers nothing of a message; any number of them may
 * run. It reads the resources "forward-secret", "forward-dkim-key" and "forward-arc-key" at
 * start and on reload; keys it cannot use stop it at start, and on reload leave the old in force.
 * Templates of notices to users ("notice:it", "notice:en") that it cannot use are left aside.
 */
#ifndef POLICY_SEAL_ROLE_H
#define POLICY_SEAL_ROLE_H

#include "base/role.h"

extern const struct role_ops seal_ops;

#endif

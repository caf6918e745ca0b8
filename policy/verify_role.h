// SPDX-License-Identifier: Apache-2.0
/* The verify process: evaluates what relays hand it (base/proto/relay_verify.h). */
#ifndef POLICY_VERIFY_ROLE_H
#define POLICY_VERIFY_ROLE_H

#include "base/role.h"

extern const struct role_ops verify_ops;

#endif

// SPDX-License-Identifier: Apache-2.0
/* The relay role: the listener's sessions on one side, deliveries on the other. */
#ifndef RELAY_RELAY_ROLE_H
#define RELAY_RELAY_ROLE_H

#include "base/role.h"

extern const struct role_ops relay_ops;

#endif

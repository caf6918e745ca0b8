// SPDX-License-Identifier: Apache-2.0
/* What `salvaposta check` says of a configuration that could be read; doctor says it too. */
#ifndef ADMIN_CHECK_H
#define ADMIN_CHECK_H

#include "base/conf.h"

/* The files, keys, folders and addresses it names, as the relay would meet them at start.
 * Appends "FILE: KEY: what" or "FILE: warning: KEY: what" lines to `e`. */
void check_files(const struct conf *c, struct conf_errors *e);

#endif

// SPDX-License-Identifier: Apache-2.0
/* `salvaposta check` of the templates of notices to users (policy/notice_template.h). */
#ifndef ADMIN_CHECK_NOTICE_H
#define ADMIN_CHECK_NOTICE_H

#include "base/conf.h"

/* Calls `say` with each thing that is wrong: file, line, how to mend it. */
typedef void check_notice_fn(void *arg, const char *text);
void check_notices(const struct conf *c, check_notice_fn *say, void *arg);

#endif

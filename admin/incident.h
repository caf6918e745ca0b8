// SPDX-License-Identifier: Apache-2.0
/*
 * The report after an incident: what happened when and who decided it (the audit log, whose
 * hash chain is checked), what became of the mail, how long it took by class, and what was
 * refused and why.
 */
#ifndef ADMIN_INCIDENT_H
#define ADMIN_INCIDENT_H

#include "admin/cli.h"

/* `since`: as typed, a time or a span. The exit status. */
int incident_report(const struct cli *cli, const char *domain, const char *since);

#endif

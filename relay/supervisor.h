// SPDX-License-Identifier: Apache-2.0
/*
 * `salvaposta run`: opens what needs privileges (ports, key files, directories),
 * starts one process per role with just the descriptors it needs, joins each pair
 * that talks with a fresh channel, restarts what dies, reloads on SIGHUP, stops on
 * SIGTERM: relays first, the queue last.
 */
#ifndef RELAY_SUPERVISOR_H
#define RELAY_SUPERVISOR_H

/* Returns the exit status; does not return before the relay has stopped. */
int supervisor_main(const char *conf_file);
/* `salvaposta role NAME INDEX`, with the supervisor's channel as descriptor 3. */
int supervisor_role(const char *name, unsigned index);

#endif

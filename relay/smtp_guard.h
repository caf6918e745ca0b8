// SPDX-License-Identifier: Apache-2.0
/*
 * Who may hold a session, and how patient we are with him: the bounds that keep a normal
 * client served while thousands of others hold on. Shared by the files of the sessions.
 *
 *	at the door	sessions and new connections per address, sessions per network, a
 *			pause before the banner in which only a spammer talks and blocklists
 *			are asked
 *	all slots taken	the session that has been idle longest makes room, and one that names
 *			senders and sends nothing like one that says nothing; whoever is
 *			sending mail stays
 *	while it lasts	replies to errors come late; commands that bring no mail are counted
 *
 * Front servers (trusted-relay) and exempt-networks are never held up by any of it, and
 * loopback not by what is counted per address.
 */
#ifndef RELAY_SMTP_GUARD_H
#define RELAY_SMTP_GUARD_H

#include "relay/smtp_session_priv.h"

/* The client is known as well as it will be: the banner, a pause before it, or 421. */
void guard_admit(struct session *s);
/* The time of the pause before the banner is over. */
void guard_paused(struct session *s);
/* It talked in that pause. */
void guard_early(struct session *s);

/* Who has guessed too many return paths may not ask for one now (spec 1.2.11). */
bool guard_guesses(struct session *s);
/* The directory's answer about a recipient, or "not at the first try". */
enum smtp_rcpt_verdict guard_rcpt(struct session *s, const struct smtp_rcpt_answer *a);

/* A slot for one more session: true when there is one, perhaps somebody else's. */
bool guard_room(struct smtp_server *sv);
/* There is no room for a message: whoever holds some and sends too slowly gives it back. */
void guard_memory(struct smtp_server *sv);
/* It made progress: it is the last to be asked to leave. `engaged`: a sender was taken. */
void guard_progress(struct session *s, bool engaged);
void guard_forget(struct session *s);	/* it is closing */

/* The reply to a line: at once, or late when it was one error more after too many. */
void guard_answer(struct session *s, unsigned bad_before, struct smtp_step step);
/* The late reply is due. */
void guard_late(struct session *s);
unsigned guard_bad(const struct session *s);	/* errors and refused recipients so far */

#endif

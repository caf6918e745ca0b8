// SPDX-License-Identifier: Apache-2.0
#include "queue/why_words.h"

#include <stdio.h>
#include <string.h>

#include "base/proto/queue_directory.h"
#include "base/proto/relay_queue.h"
#include "queue/legs.h"
#include "queue/reply_class.h"

struct word { const char *token, *words; };

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))

static const char *
word_find(const struct word *list, size_t n, struct slice token)
{
	for (size_t i = 0; i < n; i++)
		if (slice_eq(token, slice_str(list[i].token)))
			return list[i].words;
	return "";
}

/* docs/triage.md */
static const struct word reasons[] = {
	{ "nul", "there is a NUL octet in the body; no mail server would take it" },
	{ "hops", "it has been through so many servers that it looks like a loop" },
	{ "delivered-to", "Delivered-To names this recipient: it came back" },
	{ "forged-authres", "it brings results in our name under a good signature" },
	{ "dmarc-reject", "DMARC fails, and the author's domain asks to reject such mail" },
	{ "dmarc-quarantine", "DMARC fails, and the author's domain asks to quarantine such mail" },
	{ "dmarc-fail", "DMARC fails, and no spam filter called it clean" },
	{ "dmarc-fail-clean", "DMARC fails, but nobody asks to refuse that, and a spam filter found it clean" },
	{ "dmarc-temperror", "DNS did not say what its author's policy is" },
	{ "dmarc-permerror", "it has no author, or several, so nobody vouches for it" },
	{ "dmarc-unauthenticated", "neither SPF nor DKIM passed for anybody" },
	{ "dmarc-override-arc", "DMARC fails, but a trusted sealer saw it pass before changing it" },
	{ "dmarc-override-list", "DMARC fails, but a known list signed it" },
	{ "duplicate-fields", "a field that may be there once is there twice, and DMARC does not pass" },
	{ "null-sender", "a bounce or an automatic reply that nobody vouches for" },
	{ "bulk", "bulk mail, and forward-bulk is off" },
	{ "not-evaluated", "our own trouble: it could not be judged" },
	{ "milter", "a content filter called it spam, or quarantined it" },
	{ "loop", "it is a copy of ours that came back" },
	{ "unsurvivable", "it passed by SPF alone, and would be refused where it goes" },
};

const char *
why_reason(struct slice reason)
{
	return word_find(reasons, COUNT(reasons), reason);
}

const char *
why_class(unsigned triage)
{
	static const char *const words[] = {
		"urgent: newest first, before all others", "vouched for: before ordinary mail",
		"ordinary", "bulk and automatic: last in line"
	};

	return triage < COUNT(words) ? words[triage] : "";
}

static const struct word notes[] = {
	{ "nouser", "the recovery address does not exist, as its provider said" },
	{ "userrate", "the recovery mailbox gets too much; bulk is held" },
	{ "loop", "mail of this user came back to us lately" },
	{ LEGS_NOTE_CAME_BACK, "it is our own copy of a message that is here" },
	{ "chain", "the recovery address is in a domain of ours that is in failover, too" },
	{ "self", "the recovery address leads back to this relay" },
	{ "bad-recovery", "the recovery address is none that mail could be sent to" },
	{ "null-mx", "the recovery domain takes no mail (null MX)" },
	{ "no-domain", "the recovery domain does not exist, or has no mail server" },
	{ "unroutable", "the recovery domain's mail servers have no address on the Internet" },
	{ "no-recovery", "the user has no recovery address" },
	{ "recovery-new", "the recovery address was changed lately (recovery-age)" },
	{ "opted-out", "the user has opted out" },
	{ "unverified", "the recovery address is not verified" },
	{ TARGET_NO_BASELINE, "failover is off: only users who agreed (baseline) get some copies then, "
	    "up to half of mailbox-day-max" },
	{ "not-opted-in", "the user has not opted in, and forward-to asks for that" },
	{ "shared", "too many users have this recovery address" },
	{ "mailbox-day-max", "the recovery mailbox got its mailbox-day-max already" },
	{ "message-id-max", "its provider got this Message-ID already (message-id-bulk-max)" },
	{ "settled", "the primary had it before the copy left" },
	{ LEGS_NOTE_OFF, "failover was switched off before it left" },
	{ LEGS_NOTE_EXPIRED, "its time was over (forward-ttl or hold-retention)" },
	{ "bounced", "it was bounced" },
	{ "delayed", "its provider reports a delay" },
	{ "operator-drop", "an operator gave it up (queue drop); the audit log says who and why" },
	{ "user-unknown", "the directory has no such user any more" },
	{ "too-large", "it is larger than can be handed over" },
	{ "no-route", "no primary is configured for it" },
	{ "node-unknown", "no route to the relay whose return path it came to is configured" },
	{ "munge-unauthenticated", "it would have to be munged, and DMARC did not pass" },
	{ "wrap-unauthenticated", "it would have to be wrapped, and nothing vouches for it" },
	{ "munge-not-one-from", "it would have to be munged, and has not one From field" },
	{ "munge-no-author", "it would have to be munged, and its From names nobody" },
	{ "munge-too-many-cuts", "it would have to be munged, and has too many fields for that" },
	{ "nul-octet", "there is a NUL octet in the body; no mail server would take it" },
	{ "refused", "it was refused, and there is no other form to try" },
	{ "lost-after-data", "the connection was lost after the message was sent: it is sent again" },
};

/* What a class says of the destination's mind. */
static const struct word classes[] = {
	{ "rate", "too much mail from us" }, { "block", "our address is blocked" },
	{ "userrate", "that mailbox gets too much" }, { "full", "that mailbox is full" },
	{ "nouser", "there is no such mailbox" },
	{ "auth", "it does not pass the checks of the author's domain" },
	{ "setup", "our own DNS or TLS is wrong" }, { "spam", "it looks like spam" },
	{ "structure", "its form is not right" }, { "size", "it is too large" },
	{ "loop", "it goes in a circle" }, { "addr", "our return path is not wanted" },
};

static bool
digits(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((s.p[i] < '0' || s.p[i] > '9') && s.p[i] != '.')
			return false;
	return s.n > 0;
}

/* "refused nouser 5.1.1", "primary-refused 550 5.1.1", "not-sendable size 5.3.4", "held userrate
 * 4.2.1", "bounced ...": who, then class and codes, any of them missing. */
static bool
note_refusal(struct slice note, char out[WHY_WORDS_MAX])
{
	static const struct word who[] = {
		{ "refused", "its provider refused it" },
		{ "primary-refused", "the primary refused it" },
		{ "not-sendable", "it cannot be sent there" },
		{ "bounced", "it was bounced" },
		{ "delayed", "its provider reports a delay" },
		{ "held", "its provider said later, and bulk does not wait" },
	};
	struct slice word = slice_sub(note, 0, slice_find(note, ' '));
	struct slice rest = slice_trim(slice_sub(note, word.n, note.n));
	struct slice class = slice_sub(rest, 0, slice_find(rest, ' '));
	const char *start = word_find(who, COUNT(who), word);
	const char *mind = word_find(classes, COUNT(classes), class);

	if (mind[0] != '\0')
		rest = slice_trim(slice_sub(rest, class.n, rest.n));
	if (start[0] == '\0' || rest.n > 40)
		return false;
	(void)snprintf(out, WHY_WORDS_MAX, "%s%s%s%s%.*s%s", start, mind[0] != '\0' ? ": " : "", mind,
	    rest.n > 0 ? " (" : "", SLICE_FMT(rest), rest.n > 0 ? ")" : "");
	return true;
}

void
why_note(const char *note, char out[WHY_WORDS_MAX])
{
	const char *words = word_find(notes, COUNT(notes), slice_str(note));

	if (words[0] == '\0')
		words = why_reason(slice_str(note));
	if (words[0] != '\0')
		(void)snprintf(out, WHY_WORDS_MAX, "%s", words);
	else if (digits(slice_sub(slice_str(note), 0, slice_find(slice_str(note), ' '))))
		(void)snprintf(out, WHY_WORDS_MAX, "its last answer was %.40s", note);
	else if (!note_refusal(slice_str(note), out))
		(void)snprintf(out, WHY_WORDS_MAX, "note: %.200s", note);
}

/* What our own client calls what no reply was given to. */
static const struct word local[] = {
	{ "4.4.1", "no connection" }, { "4.4.2", "the connection was lost" },
	{ "4.4.3", "DNS does not answer" }, { "4.4.4", "no mail server has an address" },
	{ "4.7.5", "TLS is not as it has to be" }, { "4.7.30", "REQUIRETLS is not offered" },
	{ "5.3.4", "larger than is taken there" }, { "5.6.3", "8-bit text is not taken there" },
	{ "5.6.7", "international addresses are not taken there" },
	{ "5.4.6", "the way leads back to us" },
};

void
why_result(const struct history_entry *h, char out[WHY_WORDS_MAX])
{
	static const char *const outcomes[DELIVER_MAX] = { "taken", "not now", "refused",
		"lost after the data", "not sent" };
	const char *outcome = h->outcome < DELIVER_MAX ? outcomes[h->outcome] : "?", *words;
	char enhanced[24] = "";

	if (h->status > 0)
		(void)snprintf(enhanced, sizeof(enhanced), "%u.%u.%u", h->status, h->subject, h->detail);
	words = word_find(local, COUNT(local), slice_str(enhanced));
	if (h->code == 0)
		(void)snprintf(out, WHY_WORDS_MAX, "%s, %s%s%s%s", outcome,
		    words[0] != '\0' ? words : "no reply", enhanced[0] != '\0' ? " (" : "", enhanced,
		    enhanced[0] != '\0' ? ")" : "");
	else
		(void)snprintf(out, WHY_WORDS_MAX, "%s %u %s class %s", outcome, h->code, enhanced,
		    reply_class_name((enum reply_class)h->class));
}

// SPDX-License-Identifier: Apache-2.0
#include "policy/triage.h"

enum {	/* triage.seen */
	SEEN_LIST	= 1,	/* any List-* field */
	SEEN_LIST_ID	= 2,
	SEEN_UNSUBSCRIBE = 4,	/* List-Unsubscribe, List-Unsubscribe-Post */
	SEEN_PRECEDENCE	= 8,
	SEEN_BULK	= 16,	/* Precedence: bulk, list or junk */
	SEEN_FEEDBACK	= 32,	/* Feedback-ID */
	SEEN_ESP	= 64,	/* where to complain about a sending service */
	SEEN_GENERATED	= 128,	/* Auto-Submitted: auto-generated */
	SEEN_REPLIED	= 256,	/* Auto-Submitted: auto-replied */
	SEEN_ANSWER	= 512,	/* In-Reply-To, References */
};

enum { SMALL = 128 * 1024, MEDIUM = 1024 * 1024 /* octets */ };

/* Fields by which senders of much mail take complaints. */
static const char *const esp_fields[] = {
	"X-CSA-Complaints", "X-Complaints-To", "X-Report-Abuse", "X-Report-Abuse-To",
	"X-Abuse-Reports-To", "X-SES-Outgoing", "X-SG-EID", "X-Mailgun-Sid", "CFBL-Address",
};

/* From local parts of T4. This list is public and part of docs/triage.md. */
static const char *const urgent_locals[] = {
	"no-reply", "noreply", "no_reply", "do-not-reply", "donotreply", "non-rispondere",
	"nonrispondere", "otp", "pin", "token", "code", "codes", "codice", "codici", "2fa", "mfa",
	"login", "signin", "password", "auth", "authentication", "verify", "verification",
	"verifica", "confirm", "confirmation", "conferma", "security", "sicurezza", "account",
	"accounts", "alert", "alerts", "avvisi",
};

#define N(a) (sizeof(a) / sizeof((a)[0]))

static bool
is_one_of(struct slice s, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (slice_ieq(s, slice_str(list[i])))
			return true;
	return false;
}

void
triage_start(struct triage *t)
{
	*t = (struct triage){ .seen = 0 };
}

/* The first word of a value: up to white space, a comment or parameters. */
static struct slice
first_word(struct slice value)
{
	size_t n = 0;

	value = slice_trim(value);
	while (n < value.n && strchr(" \t\r\n(;", value.p[n]) == NULL)
		n++;
	return slice_sub(value, 0, n);
}

/*
 * The text of the only address: inside "<...>", or all there is. Quoted strings and comments
 * in front of it are passed over. -1 when there are several, or it is too long to be one.
 */
static int
only_address(struct slice s, char *out, size_t cap, size_t *len)
{
	bool quoted = false, closed = false;
	size_t depth = 0, n = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '\\' && (quoted || depth > 0)) {
			i++;
		} else if (quoted) {
			quoted = c != '"';
		} else if (c == '(') {
			depth++;
		} else if (depth > 0) {
			depth -= c == ')';
		} else if (c == '"') {
			quoted = true;
		} else if (c == ',' || c == ';' || (closed && c == '<')) {
			return -1;
		} else if (c == '<') {
			n = 0;		/* what came before was the name */
		} else if (c == '>') {
			closed = true;
		} else if (!closed) {
			if (n == cap)
				return -1;
			out[n++] = c;
		}
	}
	*len = n;
	return 0;
}

static void
read_from(struct triage *t, struct slice value)
{
	char text[1024];
	struct address a;
	size_t n = 0;

	t->local[0] = '\0';
	if (++t->from > 1 || only_address(value, text, sizeof(text), &n) != 0 ||
	    address_parse(slice_trim(slice_make(text, n)), true, &a) != 0 || a.quoted)
		return;
	if (slice_cstr(slice_sub(a.local, 0, slice_find(a.local, '+')), t->local,
	    sizeof(t->local)) == 0)
		bytes_lower(t->local, strlen(t->local));
}

static unsigned
list_field(const struct header_field *f)
{
	if (header_is(f, "List-Id"))
		return SEEN_LIST | SEEN_LIST_ID;
	if (slice_istarts(f->name, SLICE_LIT("List-Unsubscribe")))
		return SEEN_LIST | SEEN_UNSUBSCRIBE;
	return SEEN_LIST;
}

static unsigned
precedence_field(const struct header_field *f)
{
	static const char *const bulk[] = { "bulk", "list", "junk" };

	return is_one_of(first_word(f->value), bulk, N(bulk)) ? SEEN_PRECEDENCE | SEEN_BULK :
	    SEEN_PRECEDENCE;
}

static unsigned
auto_submitted_field(const struct header_field *f)
{
	struct slice word = first_word(f->value);

	if (slice_ieq(word, SLICE_LIT("auto-generated")))
		return SEEN_GENERATED;
	return slice_ieq(word, SLICE_LIT("auto-replied")) ? SEEN_REPLIED : 0;
}

void
triage_field(struct triage *t, const struct header_field *f)
{
	/* by the first letter: most fields are of no interest here */
	switch (f->name.n == 0 ? '\0' : ascii_lower(f->name.p[0])) {
	case 'a':
		if (header_is(f, "Auto-Submitted"))
			t->seen |= auto_submitted_field(f);
		break;
	case 'c':
	case 'x':
		if (is_one_of(f->name, esp_fields, N(esp_fields)))
			t->seen |= SEEN_ESP;
		break;
	case 'f':
		if (header_is(f, "From"))
			read_from(t, f->value);
		else if (header_is(f, "Feedback-ID"))
			t->seen |= SEEN_FEEDBACK;
		break;
	case 'i':
	case 'r':
		if (header_is(f, "In-Reply-To") || header_is(f, "References"))
			t->seen |= SEEN_ANSWER;
		break;
	case 'l':
		if (slice_istarts(f->name, SLICE_LIT("List-")))
			t->seen |= list_field(f);
		break;
	case 'p':
		if (header_is(f, "Precedence"))
			t->seen |= precedence_field(f);
		break;
	}
}

/* The author domain or one above it is listed. */
static bool
is_critical(const struct triage_facts *f)
{
	for (size_t i = 0; i < f->ncritical; i++) {
		struct slice c = slice_str(f->critical[i]), end;

		if (c.n == 0 || c.n > f->author.n)
			continue;
		end = slice_sub(f->author, f->author.n - c.n, f->author.n);
		if (slice_ieq(end, c) &&
		    (end.n == f->author.n || f->author.p[f->author.n - c.n - 1] == '.'))
			return true;
	}
	return false;
}

/* The size and shape of a message that brings one person a code. */
static bool
is_personal(const struct triage_facts *f)
{
	return f->size <= SMALL && f->nrcpt == 1;
}

static unsigned
rule_0(const struct triage *t, const struct triage_facts *f)
{
	if (!f->dmarc_pass || f->null_sender)	/* 9.5: the null sender is class 3 */
		return 0;
	if ((t->seen & SEEN_LIST_ID) == 0 && is_critical(f))
		return 2;
	if (!is_personal(f))
		return 0;
	if ((t->seen & (SEEN_GENERATED | SEEN_REPLIED)) == SEEN_GENERATED &&
	    (t->seen & (SEEN_LIST | SEEN_PRECEDENCE | SEEN_FEEDBACK)) == 0)
		return 3;
	if ((t->seen & (SEEN_UNSUBSCRIBE | SEEN_PRECEDENCE)) == 0 && t->from == 1 &&
	    is_one_of(slice_str(t->local), urgent_locals, N(urgent_locals)))
		return 4;
	return 0;
}

struct triage_verdict
triage_judge(const struct triage *t, const struct triage_facts *f)
{
	unsigned rule = rule_0(t, f);

	if (rule != 0)
		return (struct triage_verdict){ 0, (uint8_t)rule };
	if ((t->seen & (SEEN_BULK | SEEN_LIST_ID | SEEN_UNSUBSCRIBE)) != 0)
		return (struct triage_verdict){ 3, 5 };
	if (f->null_sender)	/* before T6: class 3 in any dress (9.5) */
		return (struct triage_verdict){ 3, 7 };
	if (f->dmarc_pass && (t->seen & (SEEN_FEEDBACK | SEEN_ESP)) != 0)
		return (struct triage_verdict){ 2, 6 };
	if ((t->seen & SEEN_REPLIED) != 0)
		return (struct triage_verdict){ 3, 7 };
	if (f->dmarc_pass && (t->seen & SEEN_ANSWER) != 0)
		return (struct triage_verdict){ 1, 8 };
	if (f->dmarc_pass && f->size <= MEDIUM)
		return (struct triage_verdict){ 1, 9 };
	return (struct triage_verdict){ 2, 10 };
}

// SPDX-License-Identifier: Apache-2.0
#include "policy/notice_template.h"

static const char builtin_it[] =
    "Subject: La casella {address} non è raggiungibile: copie della posta arrivano qui\n"
    "\n"
    "La casella {address} di {brand} al momento non è raggiungibile, dal\n"
    "{since}.\n"
    "\n"
    "Che cosa succede alla posta\n"
    "La posta che le arriva non va persa: è conservata e sarà consegnata nella\n"
    "casella appena tornerà raggiungibile. Intanto una copia dei messaggi arriva\n"
    "qui, all'indirizzo di recupero che lei ha indicato a {brand}.\n"
    "\n"
    "Se non vuole le copie\n"
    "Usi il comando del suo programma di posta per annullare l'iscrizione, su\n"
    "questo avviso. Vale da subito e resta valido; la posta continua a essere\n"
    "conservata per la casella.\n"
    "\n"
    "Attenzione ai falsi avvisi\n"
    "Questo avviso non ha collegamenti né moduli e non le chiede nulla. {brand}\n"
    "non le chiederà mai password o codici per ridarle la posta. Le risposte a\n"
    "questo avviso non arrivano a nessuno, e nessuna risposta può cambiare il suo\n"
    "indirizzo di recupero.\n"
    "Lo stato del servizio si legge alla pagina {status-page}, da cercare a mano.\n";

static const char builtin_en[] =
    "Subject: The mailbox {address} cannot be reached: copies of its mail come here\n"
    "\n"
    "The mailbox {address} of {brand} cannot be reached at the moment, since\n"
    "{since}.\n"
    "\n"
    "What happens to your mail\n"
    "Mail sent to you is not lost: it is kept and will be delivered to the mailbox\n"
    "as soon as it can be reached again. Meanwhile a copy of each message comes\n"
    "here, to the recovery address you gave to {brand}.\n"
    "\n"
    "If you do not want the copies\n"
    "Use your mail program's command to unsubscribe, on this notice. It takes\n"
    "effect at once and stays so; your mail is still kept for the mailbox.\n"
    "\n"
    "Beware of false notices\n"
    "This notice has no links and no forms, and asks you for nothing. {brand} will\n"
    "never ask for a password or a code to give you back your mail. Replies to this\n"
    "notice reach nobody, and no reply can change your recovery address.\n"
    "The state of the service is at {status-page}, to be typed by hand.\n";

static const char subject_word[] = "Subject:";
static const char status_word[] = "{status-page}";

const char *
notice_language_name(enum notice_language l)
{
	return l == NOTICE_ITALIAN ? "it" : "en";
}

int
notice_language_parse(struct slice s, enum notice_language *out)
{
	for (int l = 0; l < NOTICE_LANGUAGES; l++) {
		struct slice name = slice_str(notice_language_name((enum notice_language)l));

		if (slice_istarts(s, name) && (s.n == 2 || s.p[2] == '-' || s.p[2] == '_')) {
			*out = (enum notice_language)l;
			return 0;
		}
	}
	return -1;
}

struct slice
notice_builtin(enum notice_language l)
{
	return l == NOTICE_ITALIAN ? slice_str(builtin_it) : slice_str(builtin_en);
}

/* ---- lines and names ---- */

/* The next line without its end; false when there is none. */
static bool
line_next(struct slice *text, struct slice *line)
{
	size_t n = slice_find(*text, '\n');

	if (text->n == 0)
		return false;
	*line = slice_sub(*text, 0, n);
	*text = slice_sub(*text, n + 1, text->n);
	if (line->n > 0 && line->p[line->n - 1] == '\r')
		line->n--;
	return true;
}

/* The word of that name, braces and all at the start of `s`; its length, 0: no such name. */
static size_t
name_at(struct slice s, const struct notice_words *w, struct slice *word)
{
	const struct {
		const char	*name;
		struct slice	 word;
	} known[] = {
		{ "{address}", w->address }, { "{brand}", w->brand }, { "{domain}", w->domain },
		{ "{since}", w->since }, { status_word, w->status_page },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		size_t n = strlen(known[i].name);

		if (s.n >= n && memcmp(s.p, known[i].name, n) == 0) {
			*word = known[i].word;
			return n;
		}
	}
	return 0;
}

static bool
contains(struct slice s, const char *what)
{
	struct slice w = slice_str(what);

	for (size_t i = 0; i + w.n <= s.n; i++)
		if (slice_ieq(slice_sub(s, i, i + w.n), w))
			return true;
	return false;
}

/* ---- the check ---- */

/* Length of the UTF-8 character at the start, 0 when there is none (RFC 3629). */
static size_t
utf8_length(struct slice s)
{
	static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char c = (unsigned char)s.p[0];
	size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 :
	    c >= 0xf0 && c < 0xf5 ? 4 : 0;
	unsigned v = c & (0xffu >> (n + 1));

	if (n < 2)
		return n;
	if (n > s.n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		unsigned char d = (unsigned char)s.p[i];

		if ((d & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (d & 0x3fu);
	}
	return v < least[n] || (v >= 0xd800 && v < 0xe000) || v > 0x10ffff ? 0 : n;
}

static const char *
check_characters(struct slice line)
{
	static const struct notice_words none;
	struct slice word;
	size_t n;

	for (; line.n > 0; line = slice_sub(line, n, line.n)) {
		n = utf8_length(line);
		if (n == 0)
			return "is not UTF-8: save it so";
		if ((line.p[0] >= 0 && line.p[0] < ' ' && line.p[0] != '\t') || line.p[0] == 127)
			return "has a control character: take it out";
		if (line.p[0] == '{')
			n = name_at(line, &none, &word);
		if (n == 0 || line.p[0] == '}')
			return "has a brace that is no name: the names are {address}, {brand}, {domain}, "
			    "{since} and {status-page}";
	}
	return NULL;
}

/* 12.3. Programs make a link of a mail address as well, but {address} is one that does no harm. */
static const char *
check_link(struct slice line)
{
	static const char *const links[] = { "://", "www.", "mailto:", "href", "<form", "<a ", "@" };

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (contains(line, links[i]))
			return "has a link, an address or a form: name the place in words (phishing follows "
			    "every outage; spec 12.3)";
	return NULL;
}

static const char *
check_line(unsigned number, struct slice line)
{
	const char *why = check_characters(line);

	if (why == NULL)
		why = check_link(line);
	if (why != NULL)
		return why;
	if (number == 1) {
		struct slice word = slice_str(subject_word);

		if (!slice_istarts(line, word) || slice_trim(slice_sub(line, word.n, line.n)).n == 0)
			return "is not \"Subject: ...\": the first line names the subject";
		if (line.n > NOTICE_SUBJECT_MAX)
			return "is too long a subject: 200 octets at most";
		if (contains(line, status_word))
			return "has {status-page} in the subject: it may be none; put it in the text";
	}
	if (number == 2 && line.n > 0)
		return "is not empty: an empty line parts the subject from the text";
	return NULL;
}

const char *
notice_template_check(struct slice text, unsigned *line)
{
	struct slice one;
	const char *why;
	size_t names = 0;
	bool any = false;

	*line = 1;
	if (text.n > NOTICE_TEMPLATE_MAX)
		return "is a file of more than 16 KiB: shorten it";
	for (unsigned number = 1; line_next(&text, &one); number++) {
		*line = number;
		why = check_line(number, one);
		if (why != NULL)
			return why;
		for (size_t i = 0; i < one.n; i++)
			names += one.p[i] == '{';
		if (names > NOTICE_NAMES_MAX)
			return "has the 65th name in braces: fewer will do";
		any = any || (number > 2 && slice_trim(one).n > 0);
	}
	return any ? NULL : "is the end, and there is no text: write it below the empty line";
}

/* ---- filling in ---- */

static int
fill(struct slice line, const struct notice_words *w, struct buf *out)
{
	struct slice word;
	size_t n;

	while (line.n > 0) {
		size_t brace = slice_find(line, '{');

		if (buf_put_slice(out, slice_sub(line, 0, brace)) < 0)
			return -1;
		line = slice_sub(line, brace, line.n);
		if (line.n == 0)
			break;
		n = name_at(line, w, &word);
		if (n == 0) {		/* not after the check */
			word = slice_sub(line, 0, 1);
			n = 1;
		}
		if (buf_put_slice(out, word) < 0)
			return -1;
		line = slice_sub(line, n, line.n);
	}
	return 0;
}

int
notice_subject(struct slice text, const struct notice_words *w, struct buf *out)
{
	struct slice line;

	if (!line_next(&text, &line))
		return 0;
	return fill(slice_trim(slice_sub(line, sizeof(subject_word) - 1, line.n)), w, out);
}

int
notice_text(struct slice text, const struct notice_words *w, struct buf *out)
{
	struct slice line;

	for (unsigned number = 1; line_next(&text, &line); number++) {
		if (number <= 2 || (w->status_page.n == 0 && contains(line, status_word)))
			continue;
		if (fill(line, w, out) < 0 || buf_puts(out, "\r\n") < 0)
			return -1;
	}
	return 0;
}

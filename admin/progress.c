// SPDX-License-Identifier: Apache-2.0
#include "admin/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "admin/table.h"
#include "base/clock.h"

enum { TTY_MS = 500, LINE_MS = 5000 };

void
progress_begin(struct progress_line *p)
{
	*p = (struct progress_line){ .tty = isatty(STDERR_FILENO) != 0,
	    .start_ms = clock_mono_ms() };
	p->next_ms = p->start_ms + (p->tty ? TTY_MS : LINE_MS);
}

bool
progress_due(struct progress_line *p)
{
	return clock_mono_ms() >= p->next_ms;
}

/* ", about 3m left", or "" when it cannot be told yet. */
static void
left_words(const struct progress_line *p, uint64_t done, uint64_t total, char out[48])
{
	int64_t ms = clock_mono_ms() - p->start_ms;
	char span[24];

	out[0] = '\0';
	if (done == 0 || total <= done || ms < 2000)
		return;
	span_words((int64_t)((double)ms / (double)done * (double)(total - done)), span,
	    sizeof(span));
	(void)snprintf(out, 48, ", about %s left", span);
}

/* Starts the line; the seconds so far, for rates. */
static uint64_t
begin_line(struct progress_line *p)
{
	int64_t now = clock_mono_ms(), ms = now - p->start_ms;

	p->next_ms = now + (p->tty ? TTY_MS : LINE_MS);
	p->shown = p->tty;
	if (p->tty)
		fputs("\r\033[K", stderr);
	return ms < 1000 ? 1 : (uint64_t)ms / 1000;
}

static void
end_line(const struct progress_line *p)
{
	if (!p->tty)
		fputc('\n', stderr);
	fflush(stderr);
}

void
progress_show(struct progress_line *p, uint64_t done, uint64_t total, const char *what,
    uint64_t bytes)
{
	char size[32], rate[32], left[48], of[48] = "";
	uint64_t seconds = begin_line(p);

	size_words(bytes, size, sizeof(size));
	size_words(bytes / seconds, rate, sizeof(rate));
	left_words(p, done, total, left);
	if (total > 0)
		(void)snprintf(of, sizeof(of), " of %llu", (unsigned long long)total);
	fprintf(stderr, "%llu%s %s, %s, %llu/s, %s/s%s", (unsigned long long)done, of, what, size,
	    (unsigned long long)(done / seconds), rate, left);
	end_line(p);
}

void
progress_bytes(struct progress_line *p, uint64_t done, uint64_t total)
{
	char size[32], of[32], rate[32], left[48];
	uint64_t seconds = begin_line(p);

	size_words(done, size, sizeof(size));
	size_words(total, of, sizeof(of));
	size_words(done / seconds, rate, sizeof(rate));
	left_words(p, done, total, left);
	fprintf(stderr, "%s of %s, %s/s%s", size, of, rate, left);
	end_line(p);
}

void
progress_count(struct progress_line *p, uint64_t done, uint64_t total, const char *what)
{
	char left[48];

	(void)begin_line(p);
	left_words(p, done, total, left);
	fprintf(stderr, "%llu of %llu %s%s", (unsigned long long)done, (unsigned long long)total, what,
	    left);
	end_line(p);
}

void
progress_end(struct progress_line *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}

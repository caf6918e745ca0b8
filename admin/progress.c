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

void
progress_show(struct progress_line *p, uint64_t done, uint64_t total, const char *what,
    uint64_t bytes)
{
	char size[32], rate[32], left[48] = "", of[48] = "", span[24];
	int64_t now = clock_mono_ms(), ms = now - p->start_ms;
	uint64_t seconds = ms < 1000 ? 1 : (uint64_t)ms / 1000;

	p->next_ms = now + (p->tty ? TTY_MS : LINE_MS);
	p->shown = p->tty;
	size_words(bytes, size, sizeof(size));
	size_words(bytes / seconds, rate, sizeof(rate));
	if (total > 0)
		(void)snprintf(of, sizeof(of), " of %llu", (unsigned long long)total);
	if (done > 0 && total > done && ms >= 2000) {
		span_words((int64_t)((double)ms / (double)done * (double)(total - done)), span,
		    sizeof(span));
		(void)snprintf(left, sizeof(left), ", about %s left", span);
	}
	fprintf(stderr, "%s%llu%s %s, %s, %llu/s, %s/s%s%s", p->tty ? "\r\033[K" : "",
	    (unsigned long long)done, of, what, size, (unsigned long long)(done / seconds), rate,
	    left, p->tty ? "" : "\n");
	fflush(stderr);
}

void
progress_end(struct progress_line *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}

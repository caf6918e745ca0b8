// SPDX-License-Identifier: Apache-2.0
#include "admin/drill_mail.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { DRILL_ANSWER_S = 30, DRILL_LINE = 1024 };

static int
dial(const char *server, char *why, size_t cap)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	const struct timeval patience = { DRILL_ANSWER_S, 0 };
	char host[256];
	const char *colon = strrchr(server, ':');
	int fd = -1;

	if (colon == NULL || (size_t)(colon - server) >= sizeof(host)) {
		(void)snprintf(why, cap, "%.200s is not host:port", server);
		return -1;
	}
	(void)snprintf(host, sizeof(host), "%.*s", (int)(colon - server), server);
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		memmove(host, host + 1, strlen(host));
		host[strlen(host) - 1] = '\0';
	}
	int rc = getaddrinfo(host, colon + 1, &hints, &list);
	for (struct addrinfo *a = list; rc == 0 && a != NULL && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
		if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
			break;
		int saved = errno;
		close(fd);
		errno = saved;
		fd = -1;
	}
	if (fd < 0)
		(void)snprintf(why, cap, "no connection to %.200s: %s", server,
		    rc != 0 ? gai_strerror(rc) : strerror(errno));
	if (list != NULL)
		freeaddrinfo(list);
	return fd;
}

/* The last line of a reply. Its code, or -1. */
static int
answer(FILE *f, char line[DRILL_LINE])
{
	do {
		if (fgets(line, DRILL_LINE, f) == NULL)
			return -1;
	} while (strlen(line) > 3 && line[3] == '-');
	line[strcspn(line, "\r\n")] = '\0';
	if (strspn(line, "0123456789") != 3)
		return -1;
	return (line[0] - '0') * 100 + (line[1] - '0') * 10 + line[2] - '0';
}

__attribute__((format(printf, 4, 5))) static int
say(FILE *f, int want, char line[DRILL_LINE], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int rc = vfprintf(f, fmt, ap);
	va_end(ap);
	if (rc < 0 || fflush(f) != 0)
		return -1;
	return answer(f, line) == want ? 0 : -1;
}

static int
talk(FILE *f, const struct drill_mail *m, char line[DRILL_LINE])
{
	time_t now = time(NULL);
	struct tm tm;
	char date[64];

	gmtime_r(&now, &tm);
	(void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
	if (answer(f, line) != 220 || say(f, 250, line, "EHLO %s\r\n", m->helo) < 0 ||
	    say(f, 250, line, "MAIL FROM:<%s>\r\n", m->from) < 0 ||
	    say(f, 250, line, "RCPT TO:<%s>\r\n", m->to) < 0 || say(f, 354, line, "DATA\r\n") < 0)
		return -1;
	return say(f, 250, line, "From: <%s>\r\nTo: <%s>\r\nSubject: [drill] %s\r\nDate: %s\r\n"
	    "Message-ID: <drill.%s@%s>\r\nAuto-Submitted: auto-generated\r\nX-Salvaposta-Drill: %s\r\n"
	    "MIME-Version: 1.0\r\n\r\n"
	    "This is a drill of the mail relay: a test user's message that is held, forwarded and\r\n"
	    "replayed as in an outage. Nothing has happened and nothing needs to be done.\r\n.\r\n",
	    m->from, m->to, m->token, date, m->token, m->helo, m->token);
}

int
drill_mail_send(const struct drill_mail *m, char *id, size_t idcap, char *why, size_t cap)
{
	static const char kept[] = "kept as ";
	char line[DRILL_LINE] = "";
	int rc = -1, fd = dial(m->server, why, cap);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r+");

	if (f == NULL) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (talk(f, m, line) < 0) {
		(void)snprintf(why, cap, "the relay does not take it: %.400s",
		    line[0] == '\0' ? "no answer in time" : line);
	} else {
		const char *at = strstr(line, kept);

		(void)snprintf(id, idcap, "%s", at == NULL ? "" : at + strlen(kept));
		id[strcspn(id, " ")] = '\0';
		rc = id[0] == '\0' ? -1 : 0;
		if (rc < 0)
			(void)snprintf(why, cap, "the answer has no message id: %.400s", line);
	}
	(void)fputs("QUIT\r\n", f);
	(void)fclose(f);
	return rc;
}

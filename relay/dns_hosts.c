// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "relay/dns_hosts.h"
#include "relay/dns_packet.h"

enum { HOSTS_MAX = 2048 };	/* names; searched one by one */

struct hosts_entry {
	char	*name;		/* owned, clean */
	uint8_t	 addr[16];
	size_t	 n;		/* 4 or 16 */
};

struct dns_hosts {
	struct hosts_entry	*e;	/* owned */
	size_t			 n;
};

static void
hosts_add(struct dns_hosts *h, const char *name, const void *addr, size_t n)
{
	struct hosts_entry *e;

	h->e = mem_resize(h->e, h->n + 1, sizeof(*h->e));
	e = &h->e[h->n++];
	e->name = mem_str(name);
	memcpy(e->addr, addr, n);
	e->n = n;
}

static struct slice
hosts_word(struct slice *line)
{
	struct slice w;
	size_t i = 0;

	*line = slice_trim(*line);
	while (i < line->n && line->p[i] != ' ' && line->p[i] != '\t')
		i++;
	w = slice_sub(*line, 0, i);
	*line = slice_sub(*line, i, line->n);
	return w;
}

static void
hosts_line(struct dns_hosts *h, struct slice line)
{
	char text[64], name[DNS_NAME_MAX + 1];
	uint8_t addr[16];
	struct slice w;
	size_t n;

	line = slice_sub(line, 0, slice_find(line, '#'));
	if (slice_cstr(hosts_word(&line), text, sizeof(text)) != 0)
		return;
	if (inet_pton(AF_INET, text, addr) == 1)
		n = 4;
	else if (inet_pton(AF_INET6, text, addr) == 1)
		n = 16;
	else
		return;
	while ((w = hosts_word(&line)).n > 0 && h->n < HOSTS_MAX)
		if (dns_name_clean(w, name) == 0 && strcmp(name, "localhost") != 0)
			hosts_add(h, name, addr, n);
}

struct dns_hosts *
dns_hosts_new(const char *text)
{
	static const uint8_t v4[4] = { 127, 0, 0, 1 }, v6[16] = { [15] = 1 };
	struct dns_hosts *h = mem_new(sizeof(*h));
	struct slice rest = slice_str(text);
	size_t nl;

	hosts_add(h, "localhost", v4, sizeof(v4));
	hosts_add(h, "localhost", v6, sizeof(v6));
	while (rest.n > 0 && h->n < HOSTS_MAX) {
		nl = slice_find(rest, '\n');
		hosts_line(h, slice_sub(rest, 0, nl));
		rest = slice_sub(rest, nl + 1, rest.n);
	}
	if (h->n >= HOSTS_MAX)
		log_warn("hosts-cut", "max=%d", HOSTS_MAX);
	return h;
}

void
dns_hosts_free(struct dns_hosts **hp)
{
	struct dns_hosts *h = *hp;
	size_t i;

	*hp = NULL;
	if (h == NULL)
		return;
	for (i = 0; i < h->n; i++)
		free(h->e[i].name);
	free(h->e);
	free(h);
}

bool
dns_hosts_find(const struct dns_hosts *h, uint16_t type, const char *name, struct buf *rrs)
{
	size_t i, want = type == DNS_A ? 4 : 16;
	struct dns_rr rr;
	bool found = false;

	if (type != DNS_A && type != DNS_AAAA)
		return false;
	for (i = 0; i < h->n; i++) {
		if (strcmp(h->e[i].name, name) != 0)
			continue;
		found = true;
		rr = (struct dns_rr){ 0, slice_make(h->e[i].addr, h->e[i].n) };
		if (h->e[i].n == want && wire_item_put(rrs, &dns_rr_wire, &rr) != 0)
			break;
	}
	return found;
}

// SPDX-License-Identifier: Apache-2.0
/* What is known of large receivers (spec 8.2), under what the administrator wrote. */
#include <stdlib.h>

#include "base/conf_priv.h"
#include "base/mem.h"

enum { SECOND_MS = 1000, MINUTE_MS = 60 * SECOND_MS, HOUR_MS = 60 * MINUTE_MS };

struct builtin {
	const char	*name;
	unsigned	 connections, messages;
	bool		 tls_required;
	int64_t		 rate_pause_ms;	/* 0: as the key's default */
};

static const struct builtin builtins[] = {
	/* plaintext is rate-limited there (4.7.29) */
	{ "google.com", 5, 50, true, 0 },
	{ "googlemail.com", 5, 50, true, 0 },
	{ "olc.protection.outlook.com", 5, 50, false, 0 },
	{ "mail.protection.outlook.com", 5, 50, false, 0 },
	{ "mx.microsoft", 5, 50, false, 0 },
	{ "yahoodns.net", 5, 20, false, 2 * HOUR_MS },	/* 8.4: Yahoo is silent for longer */
	{ "icloud.com", 10, 5, false, 0 },
};
enum { NBUILTIN = sizeof(builtins) / sizeof(builtins[0]) };

size_t
conf_providers_builtin(void)
{
	return NBUILTIN;
}

const char *
conf_provider_builtin_name(size_t i)
{
	return i < NBUILTIN ? builtins[i].name : CONF_PROVIDER_DEFAULT;
}

void
conf_provider_complete(const struct conf *c, struct conf_provider *p,
    bool (*written)(void *arg, const char *key), void *arg)
{
	const struct builtin *b = NULL;

	for (size_t i = 0; i < NBUILTIN; i++)
		if (strcmp(builtins[i].name, p->name) == 0)
			b = &builtins[i];
	if (!written(arg, "connections"))
		p->connections = b != NULL ? b->connections : c->connections_max;
	if (!written(arg, "messages-per-connection"))
		p->messages_per_connection = b != NULL ? b->messages :
		    c->messages_per_connection;
	if (!written(arg, "tls"))
		p->tls_required = b != NULL && b->tls_required;
	if (!written(arg, "volume-start"))
		p->volume_start = c->volume_start;
	if (!written(arg, "volume-factor"))
		p->volume_factor = c->volume_factor;
	if (!written(arg, "rate-pause") && b != NULL && b->rate_pause_ms > 0)
		p->rate_pause_ms = b->rate_pause_ms;
}

/* Is host at or below suffix? */
static bool
below(struct slice host, struct slice suffix)
{
	if (host.n < suffix.n || suffix.n == 0 ||
	    !slice_ieq(slice_sub(host, host.n - suffix.n, host.n), suffix))
		return false;
	return host.n == suffix.n || host.p[host.n - suffix.n - 1] == '.';
}

const struct conf_provider *
conf_provider_of_host(const struct conf *c, struct slice host)
{
	const struct conf_provider *best = NULL;
	size_t longest = 0;

	for (size_t i = 0; i < c->nprovider; i++) {
		struct slice s = slice_str(c->provider[i].name);

		if (s.n > longest && below(host, s)) {
			longest = s.n;
			best = &c->provider[i];
		}
	}
	return best;
}

const struct conf_provider *
conf_provider_find(const struct conf *c, struct slice group)
{
	const struct conf_provider *other = &c->provider[0];

	for (size_t i = 0; i < c->nprovider; i++) {
		struct slice s = slice_str(c->provider[i].name);

		if (slice_ieq(s, group))
			return &c->provider[i];
		if (slice_eq(s, SLICE_LIT(CONF_PROVIDER_DEFAULT)))
			other = &c->provider[i];
	}
	return other;
}

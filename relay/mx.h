// SPDX-License-Identifier: Apache-2.0
/*
 * Where a delivery connects: the addresses of a route in the order to try them (RFC 5321
 * 5.1). MX by preference, equals shuffled, IPv6 before IPv4 of a host; no MX means the
 * domain's own addresses; null MX and missing domains are told apart from DNS trouble.
 * Never ourselves (spec 9.3): not our name, not our listeners.
 *
 * Beside each address stands what TLS has to be there (spec 13.1): DANE where MX, address
 * and TLSA records came with DNSSEC, else the domain's MTA-STS policy, else as usual. A host whose TLSA records cannot be
 * had is left out: an attacker who stops them must not win (RFC 7672 2.1).
 */
#ifndef RELAY_MX_H
#define RELAY_MX_H

#include <netinet/in.h>

#include "base/conf.h"
#include "base/proto/relay_queue.h"
#include "relay/dns.h"
#include "relay/sts.h"
#include "relay/tlsa.h"

enum {
	MX_HOSTS_MAX = 16,	/* of one domain, best preferences first */
	MX_TARGETS_MAX = 10,	/* addresses tried for one delivery */
	MX_PER_HOST_MAX = 4,	/* of them of one host */
};

enum mx_tls {		/* least that must be there before a transaction */
	MX_TLS_MAY,		/* TLS where offered */
	MX_TLS_ENCRYPT,		/* TLS, with whomever */
	MX_TLS_PKIX,		/* a certificate of that name, from the trust store */
	MX_TLS_DANE		/* a certificate that the TLSA records name */
};

enum mx_testing { MX_TESTING_NO, MX_TESTING_CERTIFICATE, MX_TESTING_NOT_LISTED };
enum mx_policy { MX_POLICY_NONE, MX_POLICY_TLSA, MX_POLICY_STS, MX_POLICY_MAX };

struct mx_target {
	char		host[DNS_NAME_MAX + 1];	/* name, or the literal address */
	char		peer[DNS_NAME_MAX + 64];	/* "name[ip]:port" */
	uint8_t		tls;		/* enum mx_tls */
	uint8_t		policy;		/* enum mx_policy: whose, for the counters */
	uint8_t		testing;	/* enum mx_testing: would it do, were it enforced? */
	struct tlsa	*tlsa;		/* MX_TLS_DANE; the result's reference */
	uint16_t	pref;
	socklen_t	len;
	union {
		struct sockaddr		sa;
		struct sockaddr_in	v4;
		struct sockaddr_in6	v6;
	} addr;
};

struct mx_result {
	uint8_t		outcome;	/* DELIVER_OK: targets are there; TEMP; LOCAL */
	char		enhanced[12];
	char		text[128];	/* "null-mx", "no such domain", ... */
	char		group[DNS_NAME_MAX + 1];	/* MX roll-up; "" for explicit routes */
	size_t		n;		/* targets, 1 or more when DELIVER_OK */
	struct mx_target target[MX_TARGETS_MAX];
};

/* Our own addresses: listeners of the configuration, and the addresses of this machine
 * for those that listen on all of them. */
struct mx_self;
/* `old` (or NULL): an earlier one, whose addresses of this machine are taken over. */
struct mx_self *mx_self_new(const struct conf *c, const struct mx_self *old);
void mx_self_free(struct mx_self **sp);
bool mx_self_is(const struct mx_self *s, const struct sockaddr *sa);

/* `r` is borrowed until return; always called later. */
typedef void mx_fn(void *arg, const struct mx_result *r);

struct mx_lookup;
/* host: the domain of ROUTE_MX (then port is ignored: conf's smtp_port), else a name or
 * address. tls: enum deliver_tls. What env points to must outlive the lookup. */
struct mx_env {
	struct dns		*dns;
	const struct conf	*conf;
	const struct mx_self	*self;
	struct sts		*sts;	/* NULL: no MTA-STS */
};
struct mx_lookup *mx_resolve(const struct mx_env *env, uint8_t route, struct slice host,
    uint16_t port, uint8_t tls, mx_fn *fn, void *arg);
void mx_cancel(struct mx_lookup **mp);

/* The provider group of an MX host (spec 8.1): the suffix of a provider section or a
 * built-in one, else the registrable part as far as labels tell. */
void mx_group(const struct conf *c, const char *host, char out[DNS_NAME_MAX + 1]);

#endif

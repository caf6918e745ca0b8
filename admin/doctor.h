// SPDX-License-Identifier: Apache-2.0
/*
 * `salvaposta doctor`: what it looks at and what it finds. A judge is pure: it reads the
 * configuration and a view of DNS (policy/dnsview.h) and says what is right, what is wrong
 * and how to mend it. What it misses becomes a want of the view; then it is asked again
 * with the answers and its findings so far are thrown away, so it never waits for anything.
 */
#ifndef ADMIN_DOCTOR_H
#define ADMIN_DOCTOR_H

#include <jansson.h>
#include <stdio.h>

#include "base/conf.h"
#include "policy/dnsview.h"
#include "policy/mta_sts.h"
#include "policy/spf.h"

enum {
	DOCTOR_ADDRESSES_MAX = 16,	/* we send from; more are not looked at */
	DOCTOR_MX_MAX = 16,		/* hosts of one domain whose addresses are looked at */
	DOCTOR_TEXT_MAX = 1536,		/* bytes of what is said of one finding */
	DOCTOR_FIX_MAX = 4096,		/* bytes of how to mend it: a record may be in it */
	DOCTOR_CERTIFICATE_DAYS = 21,	/* fewer left are worth a warning */
	DOCTOR_KEY_BITS = 2048,		/* shorter RSA keys likewise (RFC 8301 3.2) */
};

/* --- findings (admin/doctor_finding.c) --- */

enum finding_level { FINDING_OK, FINDING_WARNING, FINDING_PROBLEM };

struct finding {
	enum finding_level level;
	const char	*check;		/* static: a short name that stays the same over versions */
	char		*about;		/* owned: a domain, host name, file ... */
	char		*text, *fix;	/* owned, without control octets; fix NULL for none */
};

struct findings {
	struct finding	*f;		/* owned */
	size_t		 n, cap;
};

/* Texts are cut at their bounds, and what strangers wrote is made harmless. The result is
 * borrowed until the next one is added. */
struct finding *finding_add(struct findings *fs, enum finding_level level, const char *check,
    const char *about, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void finding_fix(struct finding *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* ... "publish: OWNER. IN TYPE DATA", TXT data in quotes and in strings of at most 255. */
void finding_publish(struct finding *f, const char *owner, const char *type, struct slice data);
void findings_move(struct findings *to, struct findings *from);	/* from is empty then */
void findings_fini(struct findings *fs);
size_t findings_count(const struct findings *fs, enum finding_level level);
/* For people; `all`: also what is right. */
void findings_print(const struct findings *fs, bool all, FILE *out);
json_t *findings_json(const struct findings *fs);	/* the caller's */

/* --- judges --- */

struct doctor {
	const struct conf	*conf;		/* borrowed */
	struct spf		*spf;		/* borrowed */
	struct iprev_ip		 address[DOCTOR_ADDRESSES_MAX];	/* as named on the command line */
	size_t			 naddress;	/* 0: those of hostname */
	struct iprev_ip		 source[2];	/* as the routing table has it, IPv4 and IPv6 */
	size_t			 nsource;
};

/* `domain` is that of a protected domain's judge, else NULL. */
typedef void doctor_judge(const struct doctor *d, struct dnsview *v,
    const struct conf_domain *domain, struct findings *out);

doctor_judge doctor_dnssec;		/* admin/doctor_self.c: does the resolver validate? */
doctor_judge doctor_hostname;		/* admin/doctor_self.c: name, addresses, reverse, SPF */
doctor_judge doctor_tlsa;		/* admin/doctor_tls.c */
doctor_judge doctor_return_path;	/* admin/doctor_self.c: forwarder.domain */
doctor_judge doctor_keys;		/* admin/doctor_key.c: DKIM and ARC of forwarder.domain */
doctor_judge doctor_domain;		/* admin/doctor_domain.c: MX, SPF (spec 6.10), DMARC */
doctor_judge doctor_domain_key;		/* admin/doctor_key.c: of notifications */
doctor_judge doctor_dmarc_return;	/* admin/doctor_dmarc.c */
doctor_judge doctor_dmarc_domain;	/* admin/doctor_dmarc.c: published, and not aligned with
					 * the return-path domain */

/* Whether the domain's MTA-STS policy is to be fetched, and what it says: NULL, it could not
 * be had (admin/doctor_tls.c). */
bool doctor_sts_wanted(const struct doctor *d, struct dnsview *v, const struct conf_domain *domain,
    struct findings *out);
void doctor_sts(const struct doctor *d, const struct conf_domain *domain, const struct mta_sts *p,
    struct findings *out);

/* The addresses we send from: how many. 0 may mean that they are wanted. */
size_t doctor_addresses(const struct doctor *d, struct dnsview *v,
    struct iprev_ip out[DOCTOR_ADDRESSES_MAX]);
const char *doctor_ip_text(const struct iprev_ip *ip, char out[64]);
/* What SPF says of mail from postmaster@domain (helo: of the null sender there). */
enum auth_result doctor_spf(const struct doctor *d, struct dnsview *v, const struct iprev_ip *ip,
    const char *domain, bool helo);
/* The domain's SPF record, "" for none. Borrowed from the view. */
struct slice doctor_spf_record(struct dnsview *v, const char *domain);

/* Did the answer in the view come with DNSSEC? */
bool doctor_secure(const struct dnsview *v, uint16_t type, const char *name);

/* The MX records of a domain as they concern us. */
struct doctor_mx {
	int		status;		/* enum dns_status or DNSVIEW_MISS */
	size_t		hosts;		/* records */
	bool		null;		/* RFC 7505 */
	bool		ours;		/* one is our name, or leads to one of our addresses */
	bool		others;
	uint16_t	our_pref, other_pref;	/* the best of each */
};
void doctor_mx(const struct doctor *d, struct dnsview *v, const char *domain,
    struct doctor_mx *out);

/* "DNS does not answer": a finding of its own kind, for whatever check. */
void doctor_dns_failed(struct findings *out, const char *check, const char *about,
    const char *what);

/* --- the world --- */

/* The local ones (admin/doctor_host.c); no DNS. `e`: what was said when the configuration
 * was read, which is added to. */
void doctor_host(const struct conf *c, struct conf_errors *e, struct findings *out);
/* Fills in d->source. */
void doctor_sources(struct doctor *d);
/* Whether the relay runs and is well; else whether its ports are free. */
void doctor_relay(const struct conf *c, const char *socket, struct findings *out);

/*
 * Runs all judges against the configured resolver (admin/doctor_dns.c), for all domains or
 * for `only`, at most DOCTOR_WINDOW of them at a time and no longer than total_ms; what
 * is not done by then is one finding.
 */
void doctor_look(struct doctor *d, const struct conf_domain *only, int64_t total_ms,
    struct findings *out);

#endif

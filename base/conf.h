// SPDX-License-Identifier: Apache-2.0
/*
 * relay.conf as one value. One table (base/conf_table.c) describes each key:
 * name, type, unit, default, minimum, maximum, help; the parser, `salvaposta
 * check`, relay.conf.example and the key list of relay.conf(5) come from it.
 *
 * A struct conf is complete and checked or does not exist: every error found is
 * reported with file, line, key and the fix, not just the first. Strings are
 * owned by the conf and live until conf_free. Times are milliseconds, sizes
 * bytes. Reload builds a new one and swaps.
 */
#ifndef BASE_CONF_H
#define BASE_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/sandbox.h"

enum conf_route_kind { ROUTE_MX, ROUTE_SMTP, ROUTE_LMTP };

struct conf_route {		/* "mx", "smtp://host:25", "lmtp://[::1]:24" */
	enum conf_route_kind	 kind;
	char			*host;	/* name or address without brackets; NULL for mx */
	uint16_t		 port;
};

/* The mode a domain is born with. AUTO: probes decide (queue/lookout.h). */
enum conf_failover { FAILOVER_OFF, FAILOVER_ON, FAILOVER_AUTO, FAILOVER_MAX };
enum conf_return_path { RETURN_OPAQUE, RETURN_SRS, RETURN_NULL };
enum conf_unsurvivable {		/* spec 7.3 */
	UNSURVIVABLE_AUTO, UNSURVIVABLE_MUNGE, UNSURVIVABLE_WRAP, UNSURVIVABLE_TRY,
	UNSURVIVABLE_HOLD
};
/* When the resolver is believed that DNSSEC proved an answer. */
enum conf_resolver_trust { RESOLVER_LOOPBACK, RESOLVER_ALWAYS, RESOLVER_NEVER };
enum conf_null_sender { NULL_SENDER_AUTHENTICATED, NULL_SENDER_ALL, NULL_SENDER_NONE };

/* Of notices to users whose language is not known. */
enum conf_notice_language { NOTICE_IN_BOTH, NOTICE_IN_ITALIAN, NOTICE_IN_ENGLISH };

struct conf_listen {		/* listen "0.0.0.0:25" { } */
	char	*address;	/* "ip:port" or "[ip6]:port" as written */
	bool	 tls;		/* offer STARTTLS (needs tls-cert-file); default yes */
	bool	 proxy;		/* each connection begins with a PROXY header (trusted-relay) */
	bool	 lmtp;		/* LMTP is spoken, not SMTP (RFC 2033) */
};

enum { CONF_CERTIFICATES_MAX = 64 };
struct conf_certificate {	/* certificate "mx.other.example" { }: beside tls-cert-file */
	char	*name;		/* for people; the names served are the certificate's */
	char	*cert_file, *key_file;	/* both, or none: an empty section */
};

struct conf_shard {		/* inside a domain: shard "s2" { primary = ... } */
	char			*name;
	struct conf_route	 primary;
};

enum conf_probe_depth { PROBE_CONNECT, PROBE_GREETING, PROBE_RCPT, PROBE_DATA };

struct conf_probe {		/* inside a domain: probe { }; queue/health.h says what for */
	enum conf_probe_depth	 depth;
	char			*canary;	/* address at the primary; set for RCPT and DATA */
	int64_t			 every_ms, timeout_ms;
	unsigned		 enter_after, leave_after;	/* probes in a row */
	int64_t			 latency_max_ms;
	unsigned		 latency_percentile;
	unsigned		 bad_share;	/* percent of deliveries in 60 s */
	unsigned		 bad_min;	/* fewer deliveries say nothing */
	int64_t			 settle_ms;	/* least time in active */
};

struct conf_domain {		/* domain "example.it" { } */
	char			*name;		/* lower case A-label */
	struct conf_route	 primary;
	struct conf_shard	*shard;
	size_t			 nshard;
	enum conf_failover	 failover;
	struct conf_probe	 probe;
	bool			 standby_defer;	/* standby = relay | defer */
	unsigned		 baseline_share;	/* percent of the mail in standby (8.11) */
	enum conf_return_path	 return_path;
	enum conf_unsurvivable	 unsurvivable;
	char			*brand;		/* in From of munged copies, NULL: the name */
	bool			 user_notice;	/* before the first copy of an outage (12.3) */
	enum conf_notice_language notice_language;
	char			*status_page;	/* plain text in notices; NULL none */
	char			*dkim_selector;	/* NULL: notifications are not signed */
	char			*dkim_key_file;
	bool			 forward_opted_in_only;	/* forward-to = opted-in */
	bool			 primary_trusted;	/* REQUIRETLS mail goes there without */
	bool			 fold_local;	/* local part compared without case */
	char			*subaddress;	/* separators, "" for none; default "+" */
};

struct conf_forwarder {		/* forwarder { }: absent when domain is NULL */
	char		*domain;		/* return-path domain, lower case */
	char		*secret_file;		/* one secret a line, first signs */
	char		*node;			/* 1-8 of [a-z0-9] */
	char		**node_route;		/* "n2=host:port", of the other relays; see below */
	size_t		 nnode_route;
	char		*dkim_selector;		/* NULL: copies are not signed by us */
	char		*dkim_key_file;
	bool		 arc;			/* seal copies, if there is a key for it */
	char		*arc_selector;		/* NULL: the DKIM key seals as well */
	char		*arc_key_file;
	unsigned	 hash_length;		/* SRS N, 4..27 */
	unsigned	 hash_min;
	unsigned	 max_age_days;
	unsigned	 stop_max_age_days;	/* of the address in a notice (12.3) */
	bool		 alphabet_base64;	/* true: '+' '/', for old peers (1.2.8) */
	unsigned	 separator;		/* index into CONF_SEPARATOR_CHARS (1.2.3) */
	char		*debug_key_file;	/* NULL: no bounce is kept (2.2.5) */
	unsigned	 debug_max;
	uint64_t	 debug_size;
	int64_t		 debug_time_ms;
	bool		 nonnull_bounces;	/* return paths take what has a sender (2.2.2) */
};

#define CONF_SEPARATOR_CHARS	"=+-"

#define CONF_PROVIDER_DEFAULT	"default"	/* every group without a section of its own */

struct conf_provider {		/* provider "google.com" { }: by suffix of its MX hosts (spec 8.1) */
	char		*name;			/* lower case, no dot in front */
	unsigned	 connections;
	unsigned	 messages_per_connection;
	bool		 tls_required;
	int64_t		 slow_start_ms;		/* one more connection after this; 0: all at once */
	int64_t		 rate_pause_ms, block_pause_ms, setup_pause_ms;	/* spec 8.4 */
	unsigned	 volume_start, volume_factor;	/* of all unless written (8.11) */
};

enum { CONF_MILTERS_MAX = 8 };
struct conf_milter {		/* milter "name" { }: asked in the order of the file */
	char		*name;
	char		*address;		/* "ip:port" */
	int64_t		 timeout_ms;		/* one message, all of it */
	bool		 tempfail;		/* on-failure = accept | tempfail */
	bool		 spam;			/* judges spam: its silence means clean (6.5) */
	unsigned	 fields_max;		/* added to one message */
	uint64_t	 fields_size;		/* bytes of them together */
};

struct conf {
	char	*file;			/* where it came from, for messages */
	char	*hostname;		/* EHLO and banner name; default this host's */
	char	*authserv_id;		/* default hostname */
	char	*state_dir;
	char	*control_socket;	/* default state_dir "/control.sock" */
	char	*postmaster;		/* address mail for postmaster/abuse goes to, or NULL */
	char	*log_level;		/* error warn info debug */
	unsigned relays, verifiers, sealers;	/* processes; never 0 after loading */
	enum sandbox_mode sandbox;
	unsigned uid_base;		/* roles run as uid_base+1.. when started as root */

	struct conf_listen	*listen;	size_t nlisten;
	struct conf_certificate	*certificate;	size_t ncertificate;
	struct conf_domain	*domain;	size_t ndomain;
	struct conf_forwarder	 forwarder;
	struct conf_provider	*provider;	size_t nprovider;	/* built-in ones too, and
					 * CONF_PROVIDER_DEFAULT: never empty after loading */
	struct conf_milter	*milter;	size_t nmilter;
	char	**resolver;		/* "ip:port"; none: /etc/resolv.conf */
	size_t	  nresolver;

	char	*tls_cert_file, *tls_key_file;	/* both or none */
	char	*tls_ca_file;		/* NULL: OpenSSL's default trust store */

	/* bounds of the listener */
	uint64_t message_size_max;
	uint64_t body_memory_max;	/* memfd bytes per relay over all sessions */
	uint64_t header_size_max;
	unsigned recipients_max;	/* per transaction */
	unsigned sessions_max;		/* per relay */
	unsigned errors_max;		/* bad commands per session, then 421 */
	unsigned messages_max;		/* per session, then 421 */
	unsigned received_max;		/* Received fields, then 554 5.4.6 */
	bool	 bare_newline_reject;	/* bare-newline = normalize | reject */
	char	**bare_network;	size_t nbare_network;	/* for which it is the other way round */
	int64_t	 command_timeout_ms, data_timeout_ms;	/* client silent; RFC 5321 4.5.3.2 */
	int64_t	 session_timeout_ms;	/* whole session */
	int64_t	 evaluate_timeout_ms;	/* DNS for one message's verdict */
	unsigned address_max;		/* sessions of one client address, per relay */
	unsigned network_max;		/* ... of one /24 or IPv6 /64 */
	unsigned connection_rate;	/* new sessions of one address in a minute, per relay */
	unsigned refusals_max;	/* refused recipients per session, then 421 */
	unsigned junk_max;	/* commands in a row that bring no mail, then 421 */
	unsigned commands_max;	/* of all kinds since the last message, then 421 */
	unsigned tarpit_after;	/* errors and refusals answered at once */
	int64_t	 tarpit_delay_ms;	/* ... then each of them after so long; 0: never */
	int64_t	 greet_pause_ms;	/* before the banner; 0: none */
	char	**blocklist;	size_t nblocklist;	/* zones */
	bool	 blocklist_refuse;	/* dns-blocklist-action = defer | refuse */
	bool	 greylist;
	unsigned guesses_max;		/* return paths that did not verify (spec 1.2.11) ... */
	int64_t	 guess_window_ms, guess_pause_ms;	/* ... in this time; 421 for that one */
	int64_t	 greylist_delay_ms, greylist_window_ms, greylist_keep_ms;
	char	**exempt_network;	size_t nexempt_network;	/* as trusted_relay */
	uint64_t data_rate_min;		/* bytes/s of content after 30 s; 0: none */
	char	**trusted_relay;	size_t ntrusted_relay;	/* networks, as network_print */

	/* salvaposta users refresh (admin/users_command.h) */
	char	*refresh_command;	/* NULL: none */
	int64_t	 refresh_timeout_ms;
	bool	 refresh_ldif;		/* refresh-format = csv | ldif */
	/* attributes of an LDIF import; address is always there, the others may be NULL */
	char	*ldif_address, *ldif_recovery, *ldif_state, *ldif_shard, *ldif_aliases;
	char	*ldif_language, *ldif_verified_at, *ldif_baseline;

	/* for front servers (relay/routing.h) */
	char	**routing_listen;	size_t nrouting_listen;	/* "ip:port" */
	char	*routing_answer;	/* NULL: smtp:[hostname]:port */
	unsigned routing_clients_max;	/* per relay */

	/* DNS */
	enum conf_resolver_trust resolver_trust;
	int64_t	 dns_timeout_ms;	/* one try */
	unsigned dns_tries;
	unsigned dns_cache_max;		/* names per relay */
	int64_t	 dns_ttl_max_ms, dns_ttl_min_ms;

	/* verdict and forwarding (spec 4, 6, 9, 10) */
	bool	 received_spf;		/* add the field (4.4) */
	bool	 dmarc_reject;		/* 550 for p=reject, instead of hold (6.7) */
	bool	 forward_unauthenticated;	/* no DMARC record, no SPF, no DKIM (6.5) */
	enum conf_null_sender forward_null_sender;	/* 9.5 */
	bool	 forward_bulk;		/* class 3 of T5 (10.2) */
	char	**trust_authserv;	size_t ntrust_authserv;	/* fronts' A-R, 0.5 */
	char	**trusted_sealer;	size_t ntrusted_sealer;	/* ARC d=, 6.6 */
	char	**known_list;		size_t nknown_list;	/* DKIM d=, 6.6 */
	char	**critical_domain;	size_t ncritical_domain;	/* author, T2 */

	/* deliveries */
	char	**probe_reference;	size_t nprobe_reference;	/* "host:port" */
	int64_t	 forward_backlog_age_ms;	/* held longer: no copy when failover begins */
	bool	 forward_backlog_bulk;	/* ... of class 3 */
	uint16_t smtp_port;		/* where MX hosts listen; 25 but in tests */
	bool	 plaintext_after_tls_failure;	/* spec 13.2 */
	bool	 honour_tls_required_no;	/* on forward legs too (13.5) */
	bool	 mta_sts;		/* spec 13.3 */
	uint16_t mta_sts_port;		/* of policy hosts; 443 but in tests */
	int64_t	 mta_sts_timeout_ms;	/* of one fetch */
	bool	 deliver_to_loopback;	/* MX hosts on 127/8, ::1: tests and demos only */
	unsigned connections_max;	/* per destination */
	unsigned deliveries_max;	/* in flight over all destinations */
	unsigned messages_per_connection;
	int64_t	 connect_timeout_ms, reply_timeout_ms, send_timeout_ms, idle_timeout_ms;
	int64_t	 retry_min_ms, retry_max_ms;	/* back-off doubles from min to max */
	int64_t	 recheck_interval_ms;	/* between evaluations while DNS fails (0.4) */
	unsigned recheck_tries;
	int64_t	 forward_ttl_ms;	/* age at which a forward leg is given up (class 2) */
	int64_t	 urgent_ttl_ms;		/* class 0 counts as class 2 after this (10.4) */
	int64_t	 personal_ttl_ms, bulk_ttl_ms;	/* as forward_ttl_ms, for classes 1 and 3 */
	unsigned mailbox_burst_max;	/* to one mailbox in mailbox_burst_ms, then it waits (8.8) */
	int64_t	 mailbox_burst_ms;
	unsigned mailbox_day_max;	/* in a day, then held only (8.8, 9.4) */
	unsigned message_id_max;	/* copies of one Message-ID to one provider, an hour (8.9) */
	unsigned message_id_bulk_max;	/* ... of class 3, beside the first */
	unsigned volume_start;		/* a day to one provider without history (8.11); 0: no ramp */
	unsigned volume_factor;		/* of the day before */
	int64_t	 mailbox_full_ms;	/* pause of a mailbox that is full (8.4 FULL) */
	int64_t	 user_rate_ms;		/* first pause of one that gets too much (USERRATE) */
	int64_t	 munge_time_ms;		/* how long an AUTH refusal is remembered (7.5) */
	unsigned marks_max;		/* marks kept */
	unsigned recovery_users_max;	/* of one recovery address (spec 9.3) */
	int64_t	 recovery_age_ms;	/* a changed one is not used before (spec 12.8); 0: at once */
	int64_t	 max_verified_age_ms;	/* of verified_at (spec 12.2); 0: any */
	unsigned opt_outs_max;		/* users who stopped their copies */
	char	*notice_templates;	/* folder of it.txt, en.txt; NULL: built in */
	int64_t	 notice_pause_ms;	/* no second notice to a user within */
	unsigned notices_max;		/* users remembered to have had one */
	uint64_t history_max;		/* bytes of the attempts remembered for `why` */
	int64_t	 hold_retention_ms;	/* default 30 d */
	unsigned retention_attempts;	/* and not before so many tries */

	/* notifications to senders (spec 2.3) */
	int64_t	 delay_notice_ms;	/* age of held mail at which DSN_DELAYED is due */
	unsigned dsn_per_target, dsn_per_domain;	/* in an hour */

	/* replay into the primary (spec 11) */
	unsigned replay_connections_max;	/* deliveries of one primary, the ramp's ceiling */
	int64_t	 replay_step_ms, replay_latency_ms;	/* 11.5 */
	int64_t	 replay_grace_ms;	/* held copies kept after replay (12.5) */

	/* spool */
	int64_t	 commit_timeout_ms;	/* relay: no answer of the queue by then is a 451 */
	uint64_t segment_size;
	unsigned compact_below;		/* percent of recipients unsettled; 0 never */
	unsigned held_compression;	/* zstd level; 0 off */
	uint64_t disk_reserve;		/* free bytes below which new mail gets 452 */
	uint64_t disk_bulk_reserve;	/* ... mail of class 3 */
	uint64_t disk_warn;		/* ... nothing but a line in the log */
	unsigned window_max;		/* due legs held in memory */
};

/* Collects messages, one line each: "file:line: key: what: fix". Starts as { 0 };
 * free with buf_fini(&e.text). Warnings are in the text too, so show it even when
 * there is a conf. */
struct conf_errors {
	struct buf	text;
	unsigned	count;		/* of errors */
};

/* NULL when there was any error; warnings do not stop it. `file` names the text. */
struct conf *conf_parse(struct slice text, const char *file, struct conf_errors *e);
struct conf *conf_load(const char *file, struct conf_errors *e);
void conf_free(struct conf **cp);

/* The served domain of that name (case-blind), or NULL. Borrowed. */
/* The relay of another node, borrowed. 0, or -1: it has none here. */
int conf_node_route(const struct conf *c, struct slice node, struct slice *host, uint16_t *port);
const struct conf_domain *conf_domain_find(const struct conf *c, struct slice name);
/* Where mail for that shard goes; an unknown shard goes to the domain's primary. */
const struct conf_route *conf_primary(const struct conf_domain *d, struct slice shard);

/* The section of that group, or the default one. Never NULL, borrowed. */
const struct conf_provider *conf_provider_find(const struct conf *c, struct slice group);
/* The section whose suffix the MX host ends in, the longest; NULL for none. */
const struct conf_provider *conf_provider_of_host(const struct conf *c, struct slice host);

/* A route as it stands in a file, for those that come in by another way. NULL, or what is
 * wrong with it; `r` is then untouched. */
const char *conf_route_parse(struct conf_route *r, const char *text);
void conf_route_fini(struct conf_route *r);

/* From the table: the commented example file, the man page part (roff), JSON. */
int conf_print_example(FILE *out);
int conf_print_man(FILE *out);
/* The effective values; times in seconds, sizes in bytes. */
int conf_print_json(const struct conf *c, FILE *out);
/* The effective values as text for conf_parse: host name, numbers of processes and
 * environment variables are resolved. For the roles, which have neither files nor
 * the environment and must not each find values of their own. */
void conf_print_text(const struct conf *c, struct buf *out);

#endif

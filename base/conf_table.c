// SPDX-License-Identifier: Apache-2.0
/*
 * The table of keys. A new key is one row here and one member in struct conf;
 * parser, check, example, manual and JSON follow.
 */
#include <stddef.h>

#include "base/conf_priv.h"

#define KB	1024ULL
#define MB	(1024ULL * KB)
#define GB	(1024ULL * MB)
#define TB	(1024ULL * GB)
#define MIN	60ULL
#define HOUR	(60ULL * MIN)
#define DAY	(24ULL * HOUR)

#define ROOT(m)		.section = CONF_ROOT, .offset = offsetof(struct conf, m)
#define LISTEN(m)	.section = CONF_LISTEN, .offset = offsetof(struct conf_listen, m)
#define FORWARDER(m)	.section = CONF_FORWARDER, .offset = offsetof(struct conf_forwarder, m)
#define DOMAIN(m)	.section = CONF_DOMAIN, .offset = offsetof(struct conf_domain, m)
#define SHARD(m)	.section = CONF_SHARD, .offset = offsetof(struct conf_shard, m)
#define PROBE(m)	.section = CONF_PROBE, .offset = offsetof(struct conf_probe, m)
#define CERTIFICATE(m)	.section = CONF_CERTIFICATE, .offset = offsetof(struct conf_certificate, m)
#define MILTER(m)	.section = CONF_MILTER, .offset = offsetof(struct conf_milter, m)
#define PROVIDER(m)	.section = CONF_PROVIDER, .offset = offsetof(struct conf_provider, m)
#define TIME(d, lo, hi)	.type = CONF_TIME, .def = (d), .min = (lo), .max = (hi)
#define SIZE(d, lo, hi)	.type = CONF_SIZE, .def = (d), .min = (lo), .max = (hi)
#define NAMES(m, n)	.section = CONF_ROOT, .type = CONF_NAMES, \
			.offset = offsetof(struct conf, m), .count = offsetof(struct conf, n)
#define NETWORKS(m, n)	.section = CONF_ROOT, .type = CONF_NETWORKS, \
			.offset = offsetof(struct conf, m), .count = offsetof(struct conf, n)
#define COUNT(d, lo, hi) .type = CONF_COUNT, .def = (d), .min = (lo), .max = (hi)

static const char *const log_levels[] = { "error", "warn", "info", "debug", NULL };
static const char *const sandbox_modes[] = { "off", "refuse", "kill", NULL };
static const char *const newline_modes[] = { "normalize", "reject", NULL };
static const char *const failover_modes[] = { "off", "on", "auto", NULL };
static const char *const probe_depths[] = { "connect", "greeting", "rcpt", "data", NULL };
static const char *const standbys[] = { "relay", "defer", NULL };
static const char *const return_paths[] = { "opaque", "srs", "null", NULL };
static const char *const forward_to[] = { "registered", "opted-in", NULL };
static const char *const hold_reject[] = { "hold", "reject", NULL };
static const char *const blocklist_actions[] = { "defer", "refuse", NULL };
static const char *const listen_protocols[] = { "smtp", "lmtp", NULL };
static const char *const null_senders[] = { "authenticated", "all", "none", NULL };
static const char *const unsurvivables[] = { "auto", "munge", "wrap", "try", "hold", NULL };
static const char *const resolver_trusts[] = { "loopback", "always", "never", NULL };
static const char *const notice_languages[] = { "both", "it", "en", NULL };
static const char *const off_on[] = { "off", "on", NULL };
static const char *const offered_required[] = { "offered", "required", NULL };
static const char *const filter_failures[] = { "accept", "tempfail", NULL };
static const char *const csv_ldif[] = { "csv", "ldif", NULL };
static const char *const alphabets[] = { "base64url", "base64", NULL };
static const char *const separators[] = { "equal", "plus", "minus", NULL };

const struct conf_key conf_keys[] = {
	/* who we are */
	{ .name = "hostname", ROOT(hostname), .type = CONF_HOSTNAME, .shown = true,
	  .def_words = "this host's full name", .example = "mx2.example.it",
	  .group = "Who we are",
	  .help = "The name said in the banner and in EHLO. It should resolve to this host's "
	    "address, the address back to it, and have an SPF record of its own: bounces are "
	    "judged by it." },
	{ .name = "authserv-id", ROOT(authserv_id), .type = CONF_HOSTNAME,
	  .def_words = "hostname", .example = "mx2.example.it",
	  .help = "The name in our Authentication-Results fields (RFC 8601). Fields that come "
	    "in under this name are forged and are not sent on." },
	{ .name = "postmaster", ROOT(postmaster), .type = CONF_EMAIL,
	  .def_words = "none; such mail needs a mailbox of that name in the directory",
	  .example = "postmaster@example.net",
	  .help = "Where mail for postmaster and abuse of the served domains goes when the "
	    "directory has no such mailbox. Best outside of the domains served here." },
	{ .name = "state-dir", ROOT(state_dir), .type = CONF_PATH, .def = "/var/lib/salvaposta",
	  .help = "The spool, the directory snapshots and the failover state live here. Put it "
	    "on a disk that survives a power cut." },
	{ .name = "control-socket", ROOT(control_socket), .type = CONF_PATH,
	  .def_words = "control.sock in state-dir", .example = "/run/salvaposta/control.sock",
	  .help = "The socket the command line speaks to." },
	{ .name = "log-level", ROOT(log_level), .type = CONF_CHOICE_STR, .def = "info",
	  .choices = log_levels,
	  .help = "How much is logged, on standard error." },
	{ .name = "relays", ROOT(relays), COUNT("0", 0, 64),
	  .help = "Processes that speak SMTP. 0: half of the cores, at least one." },
	{ .name = "verifiers", ROOT(verifiers), COUNT("0", 0, 64),
	  .help = "Processes that check SPF and DKIM. 0: one a core." },
	{ .name = "sealers", ROOT(sealers), COUNT("0", 0, 64),
	  .help = "Processes that build and sign the forwarded copies. 0: one a core." },
	{ .name = "sandbox", ROOT(sandbox), .type = CONF_CHOICE, .def = "refuse",
	  .choices = sandbox_modes,
	  .help = "What becomes of a process that does what its kind never does, such as opening a "
	    "file or starting a program: nothing is done and it is told so, or it is ended. off is for "
	    "debuggers." },
	{ .name = "uid-base", ROOT(uid_base), COUNT("60800", 1, 2000000000),
	  .help = "When started as root each kind of process runs under a user id of its own, "
	    "counted up from this one. They need no entry in /etc/passwd and must not be used "
	    "by anybody else." },

	/* TLS */
	{ .name = "tls-cert-file", ROOT(tls_cert_file), .type = CONF_PATH,
	  .def_words = "none; STARTTLS is not offered", .group = "TLS",
	  .example = "/etc/salvaposta/tls/fullchain.pem",
	  .help = "Certificate chain for STARTTLS, PEM." },
	{ .name = "tls-key-file", ROOT(tls_key_file), .type = CONF_PATH,
	  .def_words = "none", .example = "/etc/salvaposta/tls/privkey.pem",
	  .help = "Its private key, PEM, readable for root only." },
	{ .name = "tls-ca-file", ROOT(tls_ca_file), .type = CONF_PATH,
	  .def_words = "the trust store of OpenSSL",
	  .example = "/etc/ssl/certs/ca-certificates.crt",
	  .help = "Certificates trusted when a destination has to prove its name." },

	/* listener */
	{ .name = "message-size-max", ROOT(message_size_max), SIZE("50M", KB, 2 * GB),
	  .group = "Bounds of the listener",
	  .help = "A larger message is refused with 552 (RFC 1870). Not below what the primary "
	    "takes." },
	{ .name = "body-memory-max", ROOT(body_memory_max), SIZE("256M", 64 * KB, 256 * GB),
	  .help = "Memory for message bodies, per relay process over all sessions. Over it a new "
	    "DATA waits, then gets 452." },
	{ .name = "header-size-max", ROOT(header_size_max), SIZE("256k", KB, 16 * MB),
	  .help = "Size of the header section of a message." },
	{ .name = "recipients-max", ROOT(recipients_max), COUNT("100", 1, 10000),
	  .help = "Recipients of one transaction; more get 452 and come in the next one. RFC 5321 "
	    "4.5.3.1.8 asks for at least 100." },
	{ .name = "sessions-max", ROOT(sessions_max), COUNT("5000", 1, 100000),
	  .help = "Open SMTP sessions per relay process. One more takes the place of the session "
	    "that has been idle longest, or gets 421 when all are at work. An idle session takes up "
	    "to 8 KiB of memory, one with TLS up to 48 KiB." },
	{ .name = "errors-max", ROOT(errors_max), COUNT("20", 1, 10000),
	  .help = "Bad commands in one session before 421." },
	{ .name = "messages-max", ROOT(messages_max), COUNT("1000", 1, 1000000),
	  .help = "Messages in one session before 421." },
	{ .name = "received-max", ROOT(received_max), COUNT("100", 1, 10000),
	  .help = "A message with so many Received fields is a loop and gets 554 5.4.6. RFC 5321 "
	    "6.3 asks for at least 100." },
	{ .name = "bare-newline", ROOT(bare_newline_reject), .type = CONF_CHOICE_BOOL,
	  .def = "normalize", .choices = newline_modes,
	  .help = "A line feed or carriage return that stands alone in a message is made a CRLF "
	    "or a space, or the message is refused. Neither ever ends a message (SMTP "
	    "smuggling)." },
	{ .name = "bare-newline-except", NETWORKS(bare_network, nbare_network),
	  .def_words = "none", .example = "{ \"192.0.2.0/24\" }",
	  .help = "Clients for which the other of the two holds: with bare-newline = reject those "
	    "whose old software is to be borne with, with normalize those that must know better." },
	{ .name = "command-timeout", ROOT(command_timeout_ms), TIME("300s", 1, HOUR),
	  .help = "How long a client may be silent between commands (RFC 5321 4.5.3.2: 5 "
	    "minutes)." },
	{ .name = "data-timeout", ROOT(data_timeout_ms), TIME("180s", 1, HOUR),
	  .help = "How long a client may be silent inside a message." },
	{ .name = "session-timeout", ROOT(session_timeout_ms), TIME("1h", 1, DAY),
	  .help = "How long a session may last altogether." },
	{ .name = "evaluate-timeout", ROOT(evaluate_timeout_ms), TIME("20s", 1, 10 * MIN),
	  .help = "How long one message may wait for the DNS answers its verdict needs. After it "
	    "the missing ones count as temporary errors; so does a name that takes more than "
	    "half of the time that is left, as others may depend on what comes next." },
	{ .name = "connections-per-address", ROOT(address_max), COUNT("50", 1, 100000),
	  .help = "Open SMTP sessions of one client address, per relay process; more get 421. "
	    "trusted-relay is exempt." },
	{ .name = "connections-per-network", ROOT(network_max), COUNT("200", 1, 100000),
	  .help = "The same for all addresses of an IPv4 /24 or an IPv6 /64 together." },
	{ .name = "connection-rate", ROOT(connection_rate), COUNT("300", 1, 1000000),
	  .help = "New SMTP sessions of one client address in a minute, per relay process; more "
	    "get 421." },
	{ .name = "exempt-networks", NETWORKS(exempt_network, nexempt_network),
	  .def_words = "none", .example = "{ \"192.0.2.0/24\" }",
	  .help = "Clients that no bound of the listener is meant for: monitoring, other servers "
	    "of ours. trusted-relay is exempt as well." },
	{ .name = "greet-pause", ROOT(greet_pause_ms), TIME("0s", 0, MIN),
	  .help = "Pause before the banner. Who talks in it does not speak SMTP but shouts it, "
	    "and gets 421. 0: no pause." },
	{ .name = "dns-blocklists", NAMES(blocklist, nblocklist),
	  .def_words = "none", .example = "{ \"zen.example.org\" }",
	  .help = "DNS blocklists (RFC 5782) asked about each client before the banner. One that "
	    "does not answer within five seconds counts as silent." },
	{ .name = "dns-blocklist-action", ROOT(blocklist_refuse), .type = CONF_CHOICE_BOOL,
	  .def = "defer", .choices = blocklist_actions,
	  .help = "What a listed client hears about each recipient but postmaster and abuse: 451, "
	    "or 550." },
	{ .name = "greylist", ROOT(greylist), .type = CONF_BOOL, .def = "no",
	  .help = "Whether the first try of an unknown client network, sender and recipient is put "
	    "off (RFC 6647). One-time codes come late then; in front of a store that is down "
	    "that is a high price." },
	{ .name = "greylist-delay", ROOT(greylist_delay_ms), TIME("5m", 0, DAY),
	  .help = "A second try counts after this time." },
	{ .name = "greylist-window", ROOT(greylist_window_ms), TIME("1d", MIN, 30 * DAY),
	  .help = "... and up to this time." },
	{ .name = "greylist-keep", ROOT(greylist_keep_ms), TIME("35d", HOUR, 400 * DAY),
	  .help = "How long a network that came back stays known without a word from it." },
	{ .name = "guesses-max", ROOT(guesses_max), COUNT("20", 1, 1000000),
	  .help = "Addresses at the return-path domain that do not verify, from one client address "
	    "in guess-window, before it gets 421 there for guess-pause." },
	{ .name = "guess-window", ROOT(guess_window_ms), TIME("10m", 1, DAY),
	  .help = "See guesses-max." },
	{ .name = "guess-pause", ROOT(guess_pause_ms), TIME("1h", 1, 30 * DAY),
	  .help = "See guesses-max. Other mail of that client is not concerned." },
	{ .name = "refusals-max", ROOT(refusals_max), COUNT("200", 1, 100000),
	  .help = "Recipients refused in one session before 421: somebody is guessing addresses." },
	{ .name = "junk-commands-max", ROOT(junk_max), COUNT("100", 1, 100000),
	  .help = "Commands in a row that bring no mail (NOOP, RSET, VRFY, EHLO, HELP) before "
	    "421." },
	{ .name = "commands-max", ROOT(commands_max), COUNT("5000", 100, 1000000),
	  .help = "Commands of all kinds in one session since its last message before 421. BDAT "
	    "counts when it brings nothing." },
	{ .name = "tarpit-after", ROOT(tarpit_after), COUNT("10", 0, 100000),
	  .help = "Bad commands and refused recipients of one session that are answered at once." },
	{ .name = "tarpit-delay", ROOT(tarpit_delay_ms), TIME("1s", 0, MIN),
	  .help = "Each one beyond tarpit-after is answered after this pause. 0: at once." },
	{ .name = "data-rate-min", ROOT(data_rate_min), SIZE("256", 0, MB),
	  .help = "Bytes a second a message has to come in at, on average from its 30th second "
	    "on; a slower client gets 421. 0: no such bound." },

	/* the directory of users */
	{ .name = "refresh-command", ROOT(refresh_command), .type = CONF_PATH,
	  .group = "The directory of users", .def_words = "none",
	  .example = "/usr/local/sbin/users-export",
	  .help = "The program that salvaposta users refresh runs, without a shell and without "
	    "arguments: it writes the users on its standard output and ends with status 0. "
	    "Only its caller and root may be able to write it. See docs/directory.md." },
	{ .name = "refresh-timeout", ROOT(refresh_timeout_ms), TIME("10m", 1, DAY),
	  .help = "It is ended after this time, and nothing is imported." },
	{ .name = "refresh-format", ROOT(refresh_ldif), .type = CONF_CHOICE_BOOL, .def = "csv",
	  .choices = csv_ldif,
	  .help = "What it writes. ldif is what ldapsearch -LLL writes (RFC 2849); the keys below "
	    "say which attributes are what." },
	{ .name = "ldif-address", ROOT(ldif_address), .type = CONF_ATTRIBUTE, .def = "mail",
	  .help = "The attribute with the user's mailbox, with one value. Entries without it are "
	    "left aside. This and the next keys are for users import --ldif too." },
	{ .name = "ldif-recovery", ROOT(ldif_recovery), .type = CONF_ATTRIBUTE,
	  .def_words = "none; needed to read LDIF", .example = "mailRecoveryAddress",
	  .help = "The attribute with the recovery address." },
	{ .name = "ldif-aliases", ROOT(ldif_aliases), .type = CONF_ATTRIBUTE,
	  .def_words = "none", .example = "mailAlternateAddress",
	  .help = "The attribute with further addresses of the user, with any number of values." },
	{ .name = "ldif-state", ROOT(ldif_state), .type = CONF_ATTRIBUTE,
	  .def_words = "none", .example = "mailRecoveryState",
	  .help = "The attribute with registered, opted-in, opted-out or unverified." },
	{ .name = "ldif-shard", ROOT(ldif_shard), .type = CONF_ATTRIBUTE,
	  .def_words = "none", .example = "mailStoreGroup",
	  .help = "The attribute with the store group, as the shard sections are named." },
	{ .name = "ldif-language", ROOT(ldif_language), .type = CONF_ATTRIBUTE,
	  .def_words = "none", .example = "preferredLanguage",
	  .help = "The attribute with the language for notices; of a list like it-IT, en;q=0.5 "
	    "(RFC 2798) the first is taken." },
	{ .name = "ldif-verified-at", ROOT(ldif_verified_at), .type = CONF_ATTRIBUTE,
	  .def_words = "none", .example = "mailRecoveryVerified",
	  .help = "The attribute with the time when the recovery address was last proved: as in "
	    "CSV, or a generalized time like 20261122203600Z." },
	{ .name = "ldif-baseline", ROOT(ldif_baseline), .type = CONF_ATTRIBUTE,
	  .def_words = "none", .example = "mailRecoveryBaseline",
	  .help = "The attribute that says whether a share of the user's mail may be copied to the "
	    "recovery address in peace time, too (baseline-share): TRUE or yes, FALSE or no." },

	/* front servers */
	{ .name = "trusted-relay", NETWORKS(trusted_relay, ntrusted_relay),
	  .group = "Front servers",
	  .def_words = "none", .example = "{ \"192.0.2.10\", \"2001:db8:1::/64\" }",
	  .help = "Servers of ours that take mail from the Internet and pass it on to this relay, "
	    "and monitoring. They may say who their client is, with XCLIENT or a PROXY header; "
	    "without that SPF is not checked on their mail, as their own address says nothing "
	    "of the sender. A sender that is no address (<foo@>) is taken from them: they have "
	    "accepted the message already." },
	{ .name = "routing-listen", ROOT(routing_listen), .type = CONF_ADDRESSES,
	  .count = offsetof(struct conf, nrouting_listen), .def_words = "none",
	  .example = "{ \"127.0.0.1:10025\" }",
	  .help = "Where Postfix front servers ask whether a domain's mail shall come here, by "
	    "socketmap or tcp_table: it does while the domain is not in standby. Only this host "
	    "and trusted-relay are answered. See docs/wiring.md." },
	{ .name = "routing-answer", ROOT(routing_answer), .type = CONF_WORDS,
	  .def_words = "smtp:[hostname]:port of the first listen",
	  .example = "lmtp:[mx2.example.it]:24",
	  .help = "What they are told then, as in transport(5)." },
	{ .name = "routing-clients-max", ROOT(routing_clients_max), COUNT("500", 1, 100000),
	  .help = "Connections of front servers that ask, per relay process. One more, and the one "
	    "that was silent longest is closed." },

	/* DNS */
	{ .name = "resolver", ROOT(resolver), .type = CONF_ADDRESSES,
	  .count = offsetof(struct conf, nresolver), .group = "DNS",
	  .def_words = "those of /etc/resolv.conf", .example = "{ \"127.0.0.1:53\" }",
	  .help = "DNS servers, as address or address:port. A validating resolver on this host "
	    "is recommended." },
	{ .name = "resolver-trusted", ROOT(resolver_trust), .type = CONF_CHOICE,
	  .def = "loopback", .choices = resolver_trusts,
	  .help = "When the resolver's word is taken that DNSSEC proved an answer, which is what "
	    "DANE stands on: when all resolvers are on this host, always (they validate and "
	    "nobody can get between them and this host), or never, which turns DANE off." },
	{ .name = "dns-timeout", ROOT(dns_timeout_ms), TIME("3s", 1, MIN),
	  .help = "Waiting time of one try." },
	{ .name = "dns-tries", ROOT(dns_tries), COUNT("3", 1, 10),
	  .help = "Tries per name." },
	{ .name = "dns-cache-max", ROOT(dns_cache_max), COUNT("20000", 1, 10000000),
	  .help = "Names kept in memory, per relay process." },
	{ .name = "dns-ttl-max", ROOT(dns_ttl_max_ms), TIME("1d", 1, 7 * DAY),
	  .help = "Answers are kept no longer than this, whatever their own time to live." },
	{ .name = "dns-ttl-min", ROOT(dns_ttl_min_ms), TIME("5s", 1, HOUR),
	  .help = "Answers are kept at least this long." },

	/* verdict and forwarding */
	{ .name = "received-spf", ROOT(received_spf), .type = CONF_BOOL, .def = "no",
	  .group = "Verdict and forwarding",
	  .help = "Whether a Received-SPF field (RFC 7208 9.1) goes with our "
	    "Authentication-Results." },
	{ .name = "dmarc-reject", ROOT(dmarc_reject), .type = CONF_CHOICE_BOOL, .def = "hold",
	  .choices = hold_reject,
	  .help = "Mail that fails DMARC while its author's domain asks for p=reject: it is held "
	    "for the primary and not forwarded, or refused with 550 at the end of DATA." },
	{ .name = "forward-unauthenticated", ROOT(forward_unauthenticated), .type = CONF_BOOL,
	  .def = "no",
	  .help = "Whether mail whose author's domain has no DMARC record is forwarded even when "
	    "neither SPF nor DKIM passed for any domain. Such mail costs the forwarding "
	    "addresses their name." },
	{ .name = "forward-null-sender", ROOT(forward_null_sender), .type = CONF_CHOICE,
	  .def = "authenticated", .choices = null_senders,
	  .help = "Which mail with the null sender (bounces, vacation notices) is forwarded: what "
	    "passes DMARC, all that other mail rules let through, or none. The rest is held." },
	{ .name = "forward-bulk", ROOT(forward_bulk), .type = CONF_BOOL, .def = "yes",
	  .help = "Whether newsletters and mailing lists are forwarded, last in line, or only "
	    "held." },
	{ .name = "trust-authserv-id", NAMES(trust_authserv, ntrust_authserv),
	  .def_words = "none", .example = "{ \"mx1.example.it\" }",
	  .help = "Names of trusted-relay servers in Authentication-Results. Of a front server "
	    "that does not say who its client is, the SPF result is taken from its field, the "
	    "topmost of that name. Such a server must remove fields of its name that come in "
	    "from outside (RFC 8601 5)." },
	{ .name = "trusted-arc-sealers", NAMES(trusted_sealer, ntrusted_sealer),
	  .def_words = "none", .example = "{ \"arc.example.net\" }",
	  .help = "Domains (d= of ARC-Seal) that are believed when they say that a message passed "
	    "DMARC before they changed it. Such mail is forwarded although it fails now." },
	{ .name = "known-lists", NAMES(known_list, nknown_list),
	  .def_words = "none", .example = "{ \"lists.example.net\" }",
	  .help = "Mailing lists, by the domain that signs their mail (d= of a DKIM signature "
	    "that passes): it is forwarded although it fails the author's DMARC policy." },
	{ .name = "critical-domains", NAMES(critical_domain, ncritical_domain),
	  .def_words = "none", .example = "{ \"bank.example\", \"id.example\" }",
	  .help = "Authors whose mail goes first (class 0) when it passes DMARC: identity "
	    "providers, payment, health, tax, banks. Subdomains are included." },

	{ .name = "forward-backlog-age", ROOT(forward_backlog_age_ms), TIME("24h", 0, 365 * DAY),
	  .help = "When failover begins, mail that waits here already gets its copy too, unless "
	    "it has waited longer than this." },
	{ .name = "forward-backlog-bulk", ROOT(forward_backlog_bulk), .type = CONF_BOOL,
	  .def = "yes",
	  .help = "Whether that is so for newsletters and mailing lists (class 3), too." },

	/* probes */
	{ .name = "probe-reference", .section = CONF_ROOT, .type = CONF_HOSTS,
	  .offset = offsetof(struct conf, probe_reference),
	  .count = offsetof(struct conf, nprobe_reference), .group = "Probes",
	  .def_words = "none; when the primaries of several domains fail at once it is taken for "
	    "a fault of this relay's network",
	  .example = "{ \"ns.example.net:53\", \"192.0.2.1:443\" }",
	  .help = "Hosts elsewhere that take TCP connections as long as this relay's own network "
	    "works. They are tried while a primary cannot be reached: if none of them can, "
	    "failover does not begin by itself. Name two that have nothing in common." },

	/* deliveries */
	{ .name = "smtp-port", ROOT(smtp_port), .type = CONF_PORT, .def = "25",
	  .min = 1, .max = 65535, .group = "Deliveries",
	  .help = "The port of MX hosts. Another one than 25 is for tests." },
	{ .name = "honour-tls-required-no", ROOT(honour_tls_required_no), .type = CONF_BOOL,
	  .def = "no",
	  .help = "Whether `TLS-Required: No' in a message (RFC 8689) also sets aside the TLS "
	    "policies of the recovery address's domain. The sender wrote to somebody else. On "
	    "the way to the primary the field always counts." },
	{ .name = "mta-sts", ROOT(mta_sts), .type = CONF_BOOL, .def = "yes",
	  .help = "Whether MTA-STS policies of destinations (RFC 8461) are fetched and obeyed. It "
	    "needs HTTPS outwards from this host." },
	{ .name = "mta-sts-timeout", ROOT(mta_sts_timeout_ms), TIME("30s", 1, 10 * MIN),
	  .help = "Waiting time for such a policy. The first mail to a domain that has one "
	    "waits for it." },
	{ .name = "mta-sts-port", ROOT(mta_sts_port), .type = CONF_PORT, .def = "443",
	  .min = 1, .max = 65535,
	  .help = "The port policies are fetched from. Another one than 443 is for tests." },
	{ .name = "plaintext-after-tls-failure", ROOT(plaintext_after_tls_failure),
	  .type = CONF_BOOL, .def = "no",
	  .help = "Whether a destination whose TLS does not work gets mail in the clear, once in "
	    "each connection, where neither DANE, MTA-STS nor the message asks for TLS. "
	    "Somebody in the middle can make TLS fail." },
	{ .name = "deliver-to-loopback", ROOT(deliver_to_loopback), .type = CONF_BOOL,
	  .def = "no",
	  .help = "Whether MX hosts may be on loopback addresses. For tests and demos only; "
	    "routes to a primary may always be." },
	{ .name = "connections-max", ROOT(connections_max), COUNT("10", 1, 1000),
	  .help = "Connections to one destination at a time." },
	{ .name = "deliveries-max", ROOT(deliveries_max), COUNT("500", 1, 100000),
	  .help = "Deliveries under way over all destinations." },
	{ .name = "messages-per-connection", ROOT(messages_per_connection),
	  COUNT("100", 1, 100000),
	  .help = "Messages sent over one connection before it is closed." },
	{ .name = "connect-timeout", ROOT(connect_timeout_ms), TIME("30s", 1, 10 * MIN),
	  .help = "Waiting time for a connection to one address." },
	{ .name = "reply-timeout", ROOT(reply_timeout_ms), TIME("300s", 1, HOUR),
	  .help = "Waiting time for the reply to a command (RFC 5321 4.5.3.2: 5 minutes); twice "
	    "as long for the reply to a message." },
	{ .name = "send-timeout", ROOT(send_timeout_ms), TIME("180s", 1, HOUR),
	  .help = "How long a destination may take nothing while a message is sent." },
	{ .name = "idle-timeout", ROOT(idle_timeout_ms), TIME("10s", 1, 10 * MIN),
	  .help = "How long a connection is kept open for the next message." },
	{ .name = "retry-min", ROOT(retry_min_ms), TIME("60s", 1, DAY),
	  .help = "First pause after a temporary failure; it doubles up to retry-max." },
	{ .name = "retry-max", ROOT(retry_max_ms), TIME("1h", 1, 7 * DAY),
	  .help = "Longest pause between tries." },
	{ .name = "recheck-interval", ROOT(recheck_interval_ms), TIME("5m", 1, DAY),
	  .help = "When the sender's DNS did not answer, the message is kept and judged again after "
	    "this time, before a copy may leave." },
	{ .name = "recheck-tries", ROOT(recheck_tries), COUNT("3", 1, 1000),
	  .help = "How often it is judged again; after that it is for the primary only." },
	{ .name = "forward-ttl", ROOT(forward_ttl_ms), TIME("48h", 1, 30 * DAY),
	  .help = "Age at which a forwarded copy is given up. The held message is not touched." },
	{ .name = "urgent-ttl", ROOT(urgent_ttl_ms), TIME("15m", 1, DAY),
	  .help = "How long urgent mail (class 0: codes, alerts) goes before everything else, the "
	    "newest first. After that it waits its turn like other mail: an old code is of no "
	    "use." },
	{ .name = "personal-ttl", ROOT(personal_ttl_ms), TIME("24h", 1, 30 * DAY),
	  .help = "As forward-ttl, for mail between people (class 1)." },
	{ .name = "bulk-ttl", ROOT(bulk_ttl_ms), TIME("24h", 1, 30 * DAY),
	  .help = "As forward-ttl, for newsletters and mailing lists (class 3)." },
	{ .name = "mailbox-burst-max", ROOT(mailbox_burst_max), COUNT("30", 1, 1000000),
	  .help = "Copies to one recovery mailbox within mailbox-burst-time; more wait. A provider "
	    "that sees too many closes the mailbox for a day, for all its mail." },
	{ .name = "mailbox-burst-time", ROOT(mailbox_burst_ms), TIME("10m", 1, DAY),
	  .help = "The time mailbox-burst-max counts in." },
	{ .name = "mailbox-day-max", ROOT(mailbox_day_max), COUNT("200", 1, 10000000),
	  .help = "Copies to one recovery mailbox in 24 hours; what is more is held for the "
	    "primary only." },
	{ .name = "message-id-max", ROOT(message_id_max), COUNT("200", 1, 10000000),
	  .help = "Copies with one Message-ID to one provider in an hour; more wait." },
	{ .name = "message-id-bulk-max", ROOT(message_id_bulk_max), COUNT("0", 0, 10000000),
	  .help = "The same for newsletters and mailing lists, beside the first; more are held for "
	    "the primary only." },
	{ .name = "volume-start", ROOT(volume_start), COUNT("20000", 0, 1000000000),
	  .help = "Copies sent to one provider on the first day; on the next ones volume-factor "
	    "times the largest day of the last one to two weeks, but never less than this. "
	    "Addresses that were silent and suddenly send a lot are blocked. What is more waits for "
	    "the next day; urgent mail (class 0) is sent all the same. 0: no bound." },
	{ .name = "volume-factor", ROOT(volume_factor), COUNT("2", 1, 100),
	  .help = "How many times the largest day of the last one to two weeks a provider gets in a day." },
	{ .name = "mailbox-full-pause", ROOT(mailbox_full_ms), TIME("24h", 1, 7 * DAY),
	  .help = "How long nothing is sent to a recovery mailbox that is full." },
	{ .name = "mailbox-rate-pause", ROOT(user_rate_ms), TIME("1h", 1, DAY),
	  .help = "How long nothing is sent to a mailbox whose provider says it gets too much; it "
	    "doubles each time." },
	{ .name = "munge-time", ROOT(munge_time_ms), TIME("24h", 1, 30 * DAY),
	  .help = "How long it is remembered that a provider refused mail of an author's domain "
	    "for DMARC; so long From is rewritten at once for that pair." },
	{ .name = "marks-max", ROOT(marks_max), COUNT("200000", 16, 100000000),
	  .help = "Such memories kept (32 bytes each, on disk and in memory). Beyond it those that "
	    "end soonest go first." },
	{ .name = "recovery-age", ROOT(recovery_age_ms), TIME("7d", 0, 365 * DAY),
	  .help = "A recovery address that an import brings in the place of another is not used before "
	    "it is that old: who took over an account changes that, too. With 0s it is used at "
	    "once." },
	{ .name = "max-verified-age", ROOT(max_verified_age_ms), TIME("0s", 0, 36500 * DAY),
	  .help = "Users whose verified_at is older, or missing, are unverified: held, not forwarded. "
	    "0s: verified_at is not looked at." },
	{ .name = "recovery-users-max", ROOT(recovery_users_max), COUNT("5", 1, 100000),
	  .help = "Users who may have the same recovery address. Of one that more have nothing is "
	    "forwarded until `users import --confirm-shared' names it. Takes effect with the next "
	    "import." },
	{ .name = "opt-outs-max", ROOT(opt_outs_max), COUNT("1000000", 1, 100000000),
	  .help = "Users who stopped their copies by mail or through an operator, remembered for "
	    "good (32 bytes each, on disk and in memory). One more than that is not taken: the "
	    "request waits here and the log says so." },
	{ .name = "user-notice-templates", ROOT(notice_templates), .type = CONF_PATH,
	  .def_words = "none; the texts that are built in", .example = "/etc/salvaposta/notices",
	  .help = "Folder with it.txt and en.txt, or one of them: the text of the notice to a user, "
	    "instead of what is built in. Their form is in docs/notices.md; `salvaposta check' "
	    "checks them." },
	{ .name = "user-notice-pause", ROOT(notice_pause_ms), TIME("24h", 0, 365 * DAY),
	  .help = "A user who had a notice gets no other one within this time, whatever begins and "
	    "ends meanwhile. 0s: one for each outage." },
	{ .name = "user-notices-max", ROOT(notices_max), COUNT("1000000", 16, 100000000),
	  .help = "Users remembered to have had their notice (32 bytes each on disk, up to 48 in "
	    "memory). Beyond it the oldest are forgotten and get another one." },
	{ .name = "hold-retention", ROOT(hold_retention_ms), TIME("30d", 1, 3650 * DAY),
	  .help = "How long mail is held for the primary. After that a message that the primary "
	    "keeps putting off, in a domain that is in standby, comes to its end." },
	{ .name = "retention-attempts", ROOT(retention_attempts), COUNT("3", 1, 10000),
	  .help = "Tries that the primary must have put off itself before hold-retention ends a "
	    "message. An outage, whoever's, is no try." },

	/* replay */
	{ .name = "replay-connections-max", ROOT(replay_connections_max), COUNT("20", 1, 1000),
	  .group = "Replay into the primary",
	  .help = "Most deliveries of held mail to one primary at a time. A replay begins with one "
	    "and doubles while the primary keeps up; new mail has connections-max beside it." },
	{ .name = "replay-step", ROOT(replay_step_ms), TIME("30s", 1, HOUR),
	  .help = "How long the primary has to do well before a replay doubles its deliveries." },
	{ .name = "replay-grace", ROOT(replay_grace_ms), TIME("72h", 0, 30 * DAY),
	  .help = "How long replayed mail stays on disk, for `salvaposta replay again` when the "
	    "primary loses it once more; counted anew from each start of the queue. Below "
	    "disk-warn it goes at once. 0s: never kept." },
	{ .name = "replay-latency", ROOT(replay_latency_ms), TIME("2s", 1, 10 * MIN),
	  .help = "A replay grows while 95 of 100 deliveries to the primary take less than this, "
	    "and shrinks when they take twice as long or are deferred." },

	{ .name = "history-max", ROOT(history_max), SIZE("16M", 0, 16 * GB),
	  .help = "Disk for the list of attempts that `salvaposta why` tells of, 56 bytes each; the "
	    "oldest are forgotten. 0: none." },

	/* notifications */
	{ .name = "delay-notice", ROOT(delay_notice_ms), TIME("4h", 1, 30 * DAY),
	  .group = "Notifications to senders",
	  .help = "Age of held mail at which a sender who asked for it (NOTIFY=DELAY) is told "
	    "once that it takes long." },
	{ .name = "dsn-per-target", ROOT(dsn_per_target), COUNT("10", 1, 1000),
	  .help = "Delivery notifications to one address in an hour; more are not sent." },
	{ .name = "dsn-per-domain", ROOT(dsn_per_domain), COUNT("100", 1, 1000),
	  .help = "The same for all addresses of one domain together." },

	/* spool */
	{ .name = "segment-size", ROOT(segment_size), SIZE("64M", 64 * KB, 16 * GB),
	  .group = "Spool",
	  .help = "Size at which a spool file is closed and the next begun. Space comes back "
	    "file by file." },
	{ .name = "commit-timeout", ROOT(commit_timeout_ms), TIME("4s", 1, 10 * MIN),
	  .help = "How long a client waits for its message to be on disk before it gets 451. "
	    "One that comes again after that may leave the message twice, never not at all." },
	{ .name = "compact-below", ROOT(compact_below), COUNT("50", 0, 95),
	  .help = "Percentage: a closed spool file of whose recipients fewer are unsettled is "
	    "written again without the settled messages, to return their space. 0 keeps every "
	    "file until its last message is settled." },
	{ .name = "held-compression", ROOT(held_compression), COUNT("3", 0, 19),
	  .help = "Level of zstd by which the messages of a closed file of held mail are "
	    "compressed; 0 leaves them as they are. Levels above 9 take much time and memory "
	    "for little." },
	{ .name = "disk-reserve", ROOT(disk_reserve), SIZE("512M", 0, 16 * TB),
	  .help = "Free space on the disk of state-dir below which new mail gets 452." },
	{ .name = "disk-bulk-reserve", ROOT(disk_bulk_reserve), SIZE("1G", 0, 16 * TB),
	  .help = "Free space below which newsletters and mailing lists (class 3) get 452, so "
	    "that the rest is kept for mail between people." },
	{ .name = "disk-warn", ROOT(disk_warn), SIZE("2G", 0, 16 * TB),
	  .help = "Free space below which a warning is logged, and replayed mail is no longer kept "
	    "(replay-grace)." },
	{ .name = "window-max", ROOT(window_max), COUNT("100000", 1, 10000000),
	  .help = "Deliveries held in memory because they are due soon. The rest stays on disk, "
	    "however many they are." },

	/* listen "address:port" */
	{ .name = "tls", LISTEN(tls), .type = CONF_BOOL, .def = "yes",
	  .help = "Whether STARTTLS is offered here, once there is a tls-cert-file." },
	{ .name = "proxy", LISTEN(proxy), .type = CONF_BOOL, .def = "no",
	  .help = "Whether each connection begins with a PROXY header, version 1 or 2, that "
	    "names the client. Only networks of trusted-relay may connect then." },
	{ .name = "protocol", LISTEN(lmtp), .type = CONF_CHOICE_BOOL, .def = "smtp",
	  .choices = listen_protocols,
	  .help = "What is spoken here: SMTP, or LMTP (RFC 2033) for front servers that hand "
	    "mail to a store by LMTP. An LMTP listener belongs on an address that only they "
	    "can reach." },

	/* certificate "name" */
	{ .name = "cert-file", CERTIFICATE(cert_file), .type = CONF_PATH,
	  .def_words = "none", .example = "/etc/salvaposta/tls/other.pem",
	  .help = "Certificate chain, PEM." },
	{ .name = "key-file", CERTIFICATE(key_file), .type = CONF_PATH,
	  .def_words = "none", .example = "/etc/salvaposta/tls/other.key",
	  .help = "Its private key, PEM, readable for root only." },

	/* forwarder */
	{ .name = "domain", FORWARDER(domain), .type = CONF_HOSTNAME, .required = true,
	  .example = "fwd.example.it", .shown = true,
	  .help = "The return-path domain. Its MX is this relay, its SPF record names this "
	    "relay's addresses, and it serves nothing else." },
	{ .name = "secret-file", FORWARDER(secret_file), .type = CONF_PATH, .required = true,
	  .example = "/etc/salvaposta/forward.secret", .shown = true,
	  .help = "Secrets that sign return paths, one a line; the first signs, all verify. To "
	    "rotate, put a new one on top and drop the old one after max-age and a day." },
	{ .name = "node", FORWARDER(node), .type = CONF_NODE, .def = "a",
	  .help = "This relay's own word in its return paths: 1 to 8 of a-z and 0-9, different "
	    "on each relay that shares the domain." },
	{ .name = "node-route", FORWARDER(node_route), .type = CONF_NODE_ROUTES,
	  .count = offsetof(struct conf_forwarder, nnode_route),
	  .def_words = "none; what comes back for other nodes is counted and gone",
	  .example = "{ \"n2=10.0.0.2:25\" }",
	  .help = "Where the other relays that share the domain are: a bounce that came here and "
	    "names another node is handed to its relay. Each lists the others." },
	{ .name = "dkim-selector", FORWARDER(dkim_selector), .type = CONF_SELECTOR,
	  .def_words = "none; copies are not signed by us", .example = "s2026",
	  .help = "Selector of the key that signs forwarded copies in the name of the "
	    "return-path domain." },
	{ .name = "dkim-key-file", FORWARDER(dkim_key_file), .type = CONF_PATH,
	  .def_words = "none", .example = "/etc/salvaposta/dkim/s2026.pem",
	  .help = "Its private key, PEM, RSA or Ed25519." },
	{ .name = "arc", FORWARDER(arc), .type = CONF_CHOICE_BOOL, .def = "on",
	  .choices = off_on,
	  .help = "Whether forwarded copies get an ARC seal (RFC 8617) that tells what we found "
	    "when the message came. It needs an RSA key." },
	{ .name = "arc-selector", FORWARDER(arc_selector), .type = CONF_SELECTOR,
	  .def_words = "dkim-selector", .example = "s2026",
	  .help = "Selector of the key that seals, in the return-path domain." },
	{ .name = "arc-key-file", FORWARDER(arc_key_file), .type = CONF_PATH,
	  .def_words = "dkim-key-file", .example = "/etc/salvaposta/dkim/s2026.pem",
	  .help = "Its private key, PEM, RSA." },
	{ .name = "hash-length", FORWARDER(hash_length), COUNT("8", 4, 27),
	  .help = "Characters of the hash in a return path." },
	{ .name = "hash-min", FORWARDER(hash_min), COUNT("8", 4, 27),
	  .help = "Shorter hashes are refused. 4 is for sites that share their secret with "
	    "older software; 4 characters can be guessed." },
	{ .name = "max-age", FORWARDER(max_age_days), .type = CONF_DAYS, .def = "21d",
	  .min = DAY, .max = 1000 * DAY,
	  .help = "How long a return path takes bounces, in whole days." },
	{ .name = "stop-max-age", FORWARDER(stop_max_age_days), .type = CONF_DAYS, .def = "400d",
	  .min = DAY, .max = 1000 * DAY,
	  .help = "How long the address in a user's notice stops his copies, in whole days. A "
	    "secret that is dropped from secret-file ends the addresses it signed." },
	{ .name = "alphabet", FORWARDER(alphabet_base64), .type = CONF_CHOICE_BOOL,
	  .def = "base64url", .choices = alphabets,
	  .help = "Alphabet of the hash. base64 is for sites that share their secret with "
	    "postsrsd before 2.2.6, libsrs2 or Mail::SRS." },
	{ .name = "separator", FORWARDER(separator), .type = CONF_CHOICE, .def = "equal",
	  .choices = separators,
	  .help = "The sign behind SRS0 and SRS1 in return paths: = + or -. Any of them is taken "
	    "back." },
	{ .name = "bounce-debug-key-file", FORWARDER(debug_key_file), .type = CONF_PATH,
	  .def_words = "none; no bounce is kept", .example = "/etc/salvaposta/bounce.key",
	  .help = "A secret of 32 bytes or more, to find out why bounces are not understood: each one "
	    "is kept for bounce-debug-time, encrypted, and shown by `queue show ID --content'. They "
	    "name recovery addresses: leave it out otherwise. Taking it out and a restart erase them." },
	{ .name = "bounce-debug-max", FORWARDER(debug_max), COUNT("1000", 1, 100000),
	  .help = "Bounces kept at a time; the oldest go first." },
	{ .name = "bounce-debug-size", FORWARDER(debug_size), SIZE("64M", 64 * 1024, 16 * GB),
	  .help = "Their bytes together." },
	{ .name = "bounce-debug-time", FORWARDER(debug_time_ms), TIME("1d", 1, DAY),
	  .help = "How long one is kept, a day at most." },
	{ .name = "accept-nonnull-bounces", FORWARDER(nonnull_bounces), .type = CONF_BOOL,
	  .def = "no",
	  .help = "Whether return paths also take mail that names a sender, from servers that "
	    "send their bounces so. It is read like a bounce and never passed on." },

	/* domain "name" */
	{ .name = "primary", DOMAIN(primary), .type = CONF_ROUTE, .required = true,
	  .example = "lmtp://store.example.it:24", .shown = true,
	  .help = "Where the mailboxes are: lmtp://host:port, smtp://host:port, or mx for the "
	    "MX hosts of the domain that are better than this one. The port is 24 for lmtp and "
	    "25 for smtp when left out." },
	{ .name = "failover", DOMAIN(failover), .type = CONF_CHOICE, .def = "off",
	  .choices = failover_modes,
	  .help = "The mode the domain has until the first `salvaposta failover` command: off "
	    "hands mail on to the primary, on holds and forwards it, auto lets the state of the "
	    "primary decide." },
	{ .name = "standby", DOMAIN(standby_defer), .type = CONF_CHOICE_BOOL, .def = "relay",
	  .choices = standbys,
	  .help = "What becomes of mail that comes here although the primary is well. relay: it is "
	    "taken and handed on at once; defer: known users get 451, so that senders go to the "
	    "better MX, which keeps those away who look for a back door. Users the directory "
	    "does not know are refused either way. defer is for domains whose failover is auto or "
	    "switched in time: while it is off, nothing is taken." },
	{ .name = "baseline-share", DOMAIN(baseline_share), COUNT("0", 0, 50),
	  .help = "Of a hundred ordinary messages that come in peace time for users who have agreed "
	    "to it (column baseline of the directory), so many are copied to the recovery address "
	    "as well. A receiver that sees a little mail every day does not take the flood of an "
	    "outage for an attack. Never mail of class 0 or 3, nor what did not prove its author. "
	    "0: none." },
	{ .name = "return-path", DOMAIN(return_path), .type = CONF_CHOICE, .def = "opaque",
	  .choices = return_paths,
	  .help = "Sender of the forwarded copies: a token that only this relay can resolve, "
	    "the sender in SRS form (which shows bounces, and so the recovery address, to "
	    "strangers), or the null sender." },
	{ .name = "unsurvivable", DOMAIN(unsurvivable), .type = CONF_CHOICE, .def = "auto",
	  .choices = unsurvivables,
	  .help = "Mail that passed DMARC by SPF alone fails it once it is forwarded, and its "
	    "author's domain asks to quarantine or reject that. munge: From is an address of the "
	    "return-path domain, the author stands beside it; wrap: the message is attached to "
	    "one of ours; try: it is sent as it is; hold: no copy. auto munges for quarantine, "
	    "where nobody would tell us, and tries for reject." },
	{ .name = "brand", DOMAIN(brand), .type = CONF_WORDS, .def_words = "the domain's name",
	  .example = "Posta Esempio",
	  .help = "The provider's name as users know it, in From of such copies: \"Mario Rossi via "
	    "Posta Esempio\"." },
	{ .name = "user-notice", DOMAIN(user_notice), .type = CONF_CHOICE_BOOL, .def = "on",
	  .choices = off_on,
	  .help = "Whether a user's first copy of an outage is preceded by a notice to the recovery "
	    "address: who writes and why, what happens to the mail, how to stop the copies." },
	{ .name = "user-notice-language", DOMAIN(notice_language), .type = CONF_CHOICE,
	  .def = "both", .choices = notice_languages,
	  .help = "Its language for users whose language (column of the import) is neither it nor "
	    "en: Italian, English, or one below the other." },
	{ .name = "status-page", DOMAIN(status_page), .type = CONF_WORDS,
	  .def_words = "none; not mentioned", .example = "status.example.it",
	  .help = "Where users read how things stand. It is in the notice as plain text; a link is "
	    "refused, as phishing follows every outage." },
	{ .name = "dkim-selector", DOMAIN(dkim_selector), .type = CONF_SELECTOR,
	  .def_words = "none; notifications are not signed", .example = "s2026",
	  .help = "Selector of the key that signs delivery notifications to senders, which are "
	    "from postmaster of this domain. It never signs anything else." },
	{ .name = "dkim-key-file", DOMAIN(dkim_key_file), .type = CONF_PATH,
	  .def_words = "none", .example = "/etc/salvaposta/dkim/example.it.pem",
	  .help = "Its private key, PEM, RSA or Ed25519." },
	{ .name = "forward-to", DOMAIN(forward_opted_in_only), .type = CONF_CHOICE_BOOL,
	  .def = "registered", .choices = forward_to,
	  .help = "Whose mail is forwarded: every user with a registered recovery address, or "
	    "only who has opted in. Who has opted out never is." },
	{ .name = "primary-trusted", DOMAIN(primary_trusted), .type = CONF_BOOL, .def = "no",
	  .help = "Whether the way to the primary is the operator's own and safe. Mail that came "
	    "with REQUIRETLS (RFC 8689) then goes there as other mail does; otherwise it is held "
	    "until the primary offers REQUIRETLS with a right certificate, which LMTP servers "
	    "do not." },
	{ .name = "fold-local", DOMAIN(fold_local), .type = CONF_BOOL, .def = "yes",
	  .help = "Whether upper and lower case are the same before the @." },
	{ .name = "subaddress", DOMAIN(subaddress), .type = CONF_SEPARATORS, .def = "+",
	  .help = "Characters that separate a user from a tag (user+tag), none to have no "
	    "tags." },

	/* probe { } inside a domain */
	{ .name = "depth", PROBE(depth), .type = CONF_CHOICE, .def = "greeting",
	  .choices = probe_depths,
	  .help = "How far a probe goes: a connection; greeting, EHLO and TLS; the recipient "
	    "canary named and taken; a message delivered to it. The deeper, the more kinds of "
	    "failure it sees: a store that answers but cannot write shows with data only." },
	{ .name = "canary", PROBE(canary), .type = CONF_EMAIL, .def_words = "none",
	  .example = "canary@example.it",
	  .help = "A mailbox at the primary for nothing else, needed for depth rcpt and data. "
	    "Messages to it may be deleted at any time. They carry a mark and are neither "
	    "forwarded nor counted should they come back here." },
	{ .name = "every", PROBE(every_ms), TIME("10s", 1, HOUR),
	  .help = "Time from one probe to the next." },
	{ .name = "timeout", PROBE(timeout_ms), TIME("10s", 1, 10 * MIN),
	  .help = "A probe that takes longer has failed." },
	{ .name = "enter-after", PROBE(enter_after), COUNT("3", 1, 1000),
	  .help = "Failed probes in a row until failover begins." },
	{ .name = "leave-after", PROBE(leave_after), COUNT("6", 1, 1000),
	  .help = "Good probes in a row until it ends, not before settle." },
	{ .name = "latency-max", PROBE(latency_max_ms), TIME("5s", 1, HOUR),
	  .help = "A primary that takes longer counts as failing." },
	{ .name = "latency-percentile", PROBE(latency_percentile), COUNT("90", 1, 100),
	  .help = "How many of a hundred probes (the last ten are kept) have to be faster than "
	    "latency-max." },
	{ .name = "bad-share", PROBE(bad_share), COUNT("50", 1, 100),
	  .help = "Failover begins as well when more than so many of a hundred deliveries to the "
	    "primary were put off (4xx, timeouts) within 60 seconds." },
	{ .name = "bad-min", PROBE(bad_min), COUNT("10", 1, 100000),
	  .help = "With fewer deliveries in that time their share says nothing." },
	{ .name = "settle", PROBE(settle_ms), TIME("5m", 1, 7 * DAY),
	  .help = "Failover lasts at least this long. When it begins again within an hour of its "
	    "end, twice as long, up to eight times: a primary that comes and goes is left "
	    "alone." },

	/* provider ".suffix" */
	{ .name = "connections", PROVIDER(connections), COUNT(NULL, 1, 1000),
	  .def_words = "what is known of it, else connections-max", .example = "5",
	  .help = "Connections at a time." },
	{ .name = "messages-per-connection", PROVIDER(messages_per_connection),
	  COUNT(NULL, 1, 100000), .def_words = "what is known of it, else that of all",
	  .example = "50",
	  .help = "Messages sent over one connection before it is closed." },
	{ .name = "tls", PROVIDER(tls_required), .type = CONF_CHOICE_BOOL,
	  .def_words = "required for Google, offered for others", .example = "required",
	  .choices = offered_required,
	  .help = "Whether mail may go there without TLS where it is not offered." },
	{ .name = "slow-start", PROVIDER(slow_start_ms), TIME("60s", 0, DAY),
	  .help = "It begins with one connection and gets one more after each such time without "
	    "a word about our rate. 0s: all at once." },
	{ .name = "rate-pause", PROVIDER(rate_pause_ms), TIME("10m", 1, 7 * DAY),
	  .help = "How long nothing is sent after the provider said we send too fast (2 hours for "
	    "Yahoo unless written); then one connection, and slowly more." },
	{ .name = "block-pause", PROVIDER(block_pause_ms), TIME("24h", 1, 7 * DAY),
	  .help = "How long nothing is sent after the provider said our address is blocked. See "
	    "the alarm in the log and in status." },
	{ .name = "setup-pause", PROVIDER(setup_pause_ms), TIME("1h", 1, 7 * DAY),
	  .help = "How long nothing is sent after the provider said that our DNS or TLS is wrong." },
	{ .name = "volume-start", PROVIDER(volume_start), COUNT(NULL, 0, 1000000000),
	  .def_words = "that of all", .example = "100000",
	  .help = "Copies a day it takes without history: more for one that knows this relay's "
	    "address, fewer for one that is easily upset. 0: no bound." },
	{ .name = "volume-factor", PROVIDER(volume_factor), COUNT(NULL, 1, 100),
	  .def_words = "that of all", .example = "3",
	  .help = "How many times its largest day of the last one to two weeks it gets in a day." },

	/* milter "name" */
	{ .name = "address", MILTER(address), .type = CONF_ADDRESS, .required = true,
	  .example = "inet:127.0.0.1:11332", .shown = true,
	  .help = "Where the filter listens. Only Internet sockets: the processes that speak SMTP "
	    "cannot reach a socket in the file system. Best on this host, as messages go there "
	    "unencrypted." },
	{ .name = "timeout", MILTER(timeout_ms), TIME("10s", 1, 5 * MIN),
	  .help = "How long the filter may take for one message, connecting and all. The client "
	    "waits meanwhile; RFC 5321 4.5.3.2.6 lets it wait ten minutes." },
	{ .name = "on-failure", MILTER(tempfail), .type = CONF_CHOICE_BOOL, .def = "accept",
	  .choices = filter_failures,
	  .help = "What becomes of a message while the filter cannot be reached, is too slow or "
	    "talks nonsense: it is taken as if the filter had found nothing, or the client is "
	    "told to come again (451)." },
	{ .name = "spam-filter", MILTER(spam), .type = CONF_BOOL, .def = "no",
	  .help = "Whether this filter judges spam, so that what it takes without a mark is clean. "
	    "Copies of clean mail are sent, last of all, even where DMARC fails under p=none." },
	{ .name = "fields-max", MILTER(fields_max), COUNT("20", 0, 100),
	  .help = "Header fields the filter may add to one message; more are left out." },
	{ .name = "fields-size", MILTER(fields_size), SIZE("4k", 0, 8 * KB),
	  .help = "Size of all of them together." },

	/* shard "name" inside a domain */
	{ .name = "primary", SHARD(primary), .type = CONF_ROUTE, .required = true,
	  .example = "lmtp://store2.example.it:24", .shown = true,
	  .help = "Where the mailboxes of this shard are; as primary of the domain." },
};
const size_t conf_nkeys = sizeof(conf_keys) / sizeof(conf_keys[0]);

const struct conf_section_info conf_sections[CONF_SECTION_MAX] = {
	[CONF_ROOT] = { .name = "" },
	[CONF_LISTEN] = { .name = "listen", .titled = true,
	    .title_words = "address:port", .example_title = "0.0.0.0:25",
	    .help = "An address this relay takes mail on; may be given several times. Without "
	    "any it is 0.0.0.0:25 and [::]:25." },
	[CONF_CERTIFICATE] = { .name = "certificate", .titled = true,
	    .title_words = "name", .example_title = "mx.other.example",
	    .help = "One more certificate beside tls-cert-file, shown to clients that ask for one "
	    "of its names (SNI); who asks for none sees tls-cert-file. The title is for you." },
	[CONF_FORWARDER] = { .name = "forwarder",
	    .help = "How forwarded copies are sent. Without this section mail is held and "
	    "replayed, not forwarded, unless return-path is null." },
	[CONF_DOMAIN] = { .name = "domain", .titled = true,
	    .title_words = "name", .example_title = "example.it",
	    .help = "A domain whose mail is taken; at least one. Names beyond ASCII are written "
	    "in their xn-- form." },
	[CONF_PROBE] = { .name = "probe", .parent = CONF_DOMAIN,
	    .help = "How the primary of this domain, and those of its shards, are looked at while "
	    "failover is auto or on." },
	[CONF_PROVIDER] = { .name = "provider", .titled = true,
	    .title_words = "MX suffix", .example_title = ".google.com",
	    .help = "How copies go to one large receiver, known by the end of its MX hosts' names; "
	    "all domains it hosts count together. Google, Microsoft, Yahoo and iCloud are known "
	    "without a section; \"default\" is for all others." },
	[CONF_MILTER] = { .name = "milter", .titled = true,
	    .title_words = "name", .example_title = "rspamd",
	    .help = "A content filter that speaks the milter protocol (rspamd, clamav-milter), asked "
	    "about each message before it is taken; up to 8, in the order of this file. What it "
	    "refuses is refused, what it calls spam or quarantines is held for the primary and not "
	    "forwarded. See docs/filters.md." },
	[CONF_SHARD] = { .name = "shard", .parent = CONF_DOMAIN, .titled = true,
	    .title_words = "name", .example_title = "s2",
	    .help = "A group of users with a store of its own, inside a domain section. The "
	    "directory's column `shard' says who belongs to it; who belongs to none is at the "
	    "domain's primary." },
};

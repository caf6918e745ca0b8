// SPDX-License-Identifier: Apache-2.0
/* This host: what `check` says, and what it does not look at because the relay would start
 * all the same: the clock, space, limits, the kernel, ports. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include "admin/check.h"
#include "admin/control_client.h"
#include "admin/doctor.h"
#include "admin/keyfile.h"
#include "admin/table.h"
#include "base/clock.h"
#include "base/sandbox.h"
#include "relay/dns_net.h"
#include "relay/tls.h"

enum {
	DOCTOR_FILES_SPARE = 256,	/* descriptors beside sessions and deliveries */
	DOCTOR_INODES_MIN = 1000,
	DOCTOR_SOURCE_PORT = 25
};

/* 2026-01-01: this program is younger. */
static const int64_t clock_least_ms = INT64_C(1767225600000);

/* "FILE[:LINE]: [warning: ]KEY: what is wrong, and how to mend it", from `check`. */
static void
say_line(const char *file, struct slice line, struct findings *out)
{
	struct slice warning = SLICE_LIT("warning: "), about = slice_str(file);
	enum finding_level level = FINDING_PROBLEM;
	char text[DOCTOR_TEXT_MAX], name[4200];
	size_t n = about.n;

	while (n < line.n && line.p[n] != ' ')	/* the line number */
		n++;
	if (line.n > about.n && slice_eq(slice_sub(line, 0, about.n), about)) {
		about = slice_sub(line, 0, n - 1);
		line = slice_sub(line, n + 1, line.n);
	}
	if (slice_istarts(line, warning)) {
		level = FINDING_WARNING;
		line = slice_sub(line, warning.n, line.n);
	}
	(void)snprintf(text, sizeof(text), "%.*s", SLICE_FMT(line));
	(void)snprintf(name, sizeof(name), "%.*s", SLICE_FMT(about));
	/* The relay may read what we may not: no fault of the configuration. */
	if (geteuid() != 0 && (strstr(text, strerror(EACCES)) != NULL ||
	    strstr(text, strerror(EPERM)) != NULL))
		level = FINDING_WARNING;
	finding_fix(finding_add(out, level, "check", name, "%s", text),
	    "see above; then try salvaposta check -c %s", file);
}

static void
judge_check(const struct conf *c, struct conf_errors *e, struct findings *out)
{
	struct slice s;

	check_files(c, e);
	s = buf_slice(&e->text);
	if (s.n == 0)
		finding_add(out, FINDING_OK, "check", c->file, "the files, keys and addresses it "
		    "names are good");
	while (s.n > 0) {
		size_t n = slice_find(s, '\n');
		say_line(c->file, slice_sub(s, 0, n), out);
		s = slice_sub(s, n + 1, s.n);
	}
}

static void
judge_certificate(const struct conf *c, struct findings *out)
{
	const char *file = c->tls_cert_file;
	struct keyfile k = { .mode = 0 };
	struct finding *f;
	char why[4600];
	int days;

	if (file == NULL) {
		f = finding_add(out, FINDING_WARNING, "certificate", "tls-cert-file", "none is "
		    "named, so mail comes in without encryption");
		finding_fix(f, "get a certificate for %s, and set tls-cert-file and tls-key-file",
		    c->hostname);
		return;
	}
	/* What cannot be read, is expired or has no such name: check has said it. */
	if (keyfile_read(file, &k, why, sizeof(why)) != 0)
		return;
	if (tls_days_left(buf_slice(&k.text), &days) == 0 && days >= DOCTOR_CERTIFICATE_DAYS) {
		finding_add(out, FINDING_OK, "certificate", file, "good for %d days", days);
	} else if (tls_days_left(buf_slice(&k.text), &days) == 0 && days >= 0) {
		f = finding_add(out, FINDING_WARNING, "certificate", file, "it expires in %d "
		    "days",
		    days);
		finding_fix(f, "renew it, then SIGHUP the relay; see that both happen by "
		    "themselves");
	}
	keyfile_fini(&k);
}

static void
judge_clock(struct findings *out)
{
	struct timex t = { .modes = 0 };
	struct finding *f;
	char now[32];

	clock_iso8601(clock_wall_ms(), now, sizeof(now));
	if (clock_wall_ms() < clock_least_ms) {
		f = finding_add(out, FINDING_PROBLEM, "clock", now, "the clock of this host is "
		    "wrong: signatures, certificates and return paths depend on it");
		finding_fix(f, "set it, and run an NTP client");
	} else if (adjtimex(&t) == TIME_ERROR || (t.status & STA_UNSYNC) != 0) {
		f = finding_add(out, FINDING_WARNING, "clock", now, "the kernel says that nobody "
		    "keeps the clock right");
		finding_fix(f, "run an NTP client (chrony, systemd-timesyncd); in a container "
		    "its host does");
	} else {
		finding_add(out, FINDING_OK, "clock", now, "kept right by NTP");
	}
}

static void
judge_space(const struct conf *c, const struct statvfs *v, struct findings *out)
{
	uint64_t bytes = (uint64_t)v->f_bavail * v->f_frsize;
	char space[32], want[32];
	struct finding *f;

	size_words(bytes, space, sizeof(space));
	size_words(c->disk_warn, want, sizeof(want));
	if (v->f_files > 0 && v->f_favail < DOCTOR_INODES_MIN) {
		f = finding_add(out, FINDING_PROBLEM, "disk", c->state_dir, "%llu inodes are "
		    "free",
		    (unsigned long long)v->f_favail);
		finding_fix(f, "make room, or take another file system");
	} else if (bytes < c->disk_warn) {
		f = finding_add(out, FINDING_WARNING, "disk", c->state_dir, "%s are free, less "
		    "than disk-warn (%s)", space, want);
		finding_fix(f, "make room: an outage fills it with days of mail");
	} else {
		finding_add(out, FINDING_OK, "disk", c->state_dir, "%s are free", space);
	}
}

static void
judge_state_dir(const struct conf *c, struct findings *out)
{
	struct statvfs v;
	struct stat st;

	/* Not there: check has said it, or it will be made at start. */
	if (stat(c->state_dir, &st) != 0 || statvfs(c->state_dir, &v) != 0)
		return;
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		struct finding *f = finding_add(out, FINDING_PROBLEM, "state-dir", c->state_dir,
		    "others than its owner may write in it (mode %04o)", st.st_mode & 07777u);
		finding_fix(f, "chmod go-w %s", c->state_dir);
	} else {
		finding_add(out, FINDING_OK, "state-dir", c->state_dir, "only its owner writes "
		    "in it");
	}
	judge_space(c, &v, out);
}

static void
judge_files(const struct conf *c, struct findings *out)
{
	uint64_t want = (uint64_t)c->sessions_max + c->deliveries_max + DOCTOR_FILES_SPARE;
	struct finding *f;
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0)
		return;
	if (r.rlim_max == RLIM_INFINITY || r.rlim_max >= want) {
		finding_add(out, FINDING_OK, "descriptors", "limit", "%llu open files may be had",
		    (unsigned long long)r.rlim_max);
		return;
	}
	f = finding_add(out, FINDING_WARNING, "descriptors", "limit", "here %llu open files may "
	    "be had; sessions-max and deliveries-max together need %llu",
	    (unsigned long long)r.rlim_max, (unsigned long long)want);
	finding_fix(f, "start the relay with more (LimitNOFILE= in its unit, ulimit -Hn), or "
	    "lower them");
}

static void
judge_kernel(const struct conf *c, struct findings *out)
{
	const char *mode = sandbox_mode_name(c->sandbox);
	int abi = sandbox_landlock_abi();
	struct finding *f;

	if (c->sandbox == SANDBOX_OFF) {
		f = finding_add(out, FINDING_WARNING, "sandbox", "sandbox = off", "the processes "
		    "of the relay are not confined");
		finding_fix(f, "take the line out of relay.conf");
	} else if (!sandbox_has_seccomp()) {
		f = finding_add(out, FINDING_PROBLEM, "sandbox", mode, "this kernel has no "
		    "seccomp filters, so the relay will not start");
		finding_fix(f, "use a kernel with CONFIG_SECCOMP_FILTER, or set sandbox = off");
	} else if (abi == 0) {
		f = finding_add(out, FINDING_WARNING, "sandbox", mode, "seccomp is there, "
		    "Landlock is not: files are guarded by user ids only");
		finding_fix(f, "boot with lsm=landlock,... on Linux 5.13 or later");
	} else {
		finding_add(out, FINDING_OK, "sandbox", mode, "seccomp and Landlock (ABI %d) are "
		    "there",
		    abi);
	}
}

void
doctor_host(const struct conf *c, struct conf_errors *e, struct findings *out)
{
	judge_check(c, e, out);
	judge_certificate(c, out);
	judge_clock(out);
	judge_state_dir(c, out);
	judge_files(c, out);
	judge_kernel(c, out);
}

/* --- the relay --- */

static void
judge_port(const char *address, struct findings *out)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in a4 = { .sin_family = AF_INET };
	struct dns_server s;	/* "ip:port" is the same syntax */
	int fd, one = 1;

	if (dns_server_parse(slice_str(address), &s) != 0)
		return;
	a6.sin6_port = a4.sin_port = htons(s.port);
	a6.sin6_addr = s.addr.v6;
	if (s.family == AF_INET)
		a4.sin_addr = s.addr.v4;
	fd = socket(s.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return;		/* check has said it */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (s.family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, s.family == AF_INET ? (struct sockaddr *)&a4 : (struct sockaddr *)&a6,
	    s.family == AF_INET ? sizeof(a4) : sizeof(a6)) == 0) {
		finding_add(out, FINDING_OK, "port", address, "is free for the relay");
	} else if (errno == EADDRINUSE) {
		struct finding *f = finding_add(out, FINDING_PROBLEM, "port", address,
		    "something else listens there, so the relay cannot start");
		finding_fix(f, "ss -ltnp shows who; stop it, or give one of them another "
		    "address");
	}	/* not allowed to: nothing can be told */
	close(fd);
}

static void
judge_status(const json_t *reply, const char *path, struct findings *out)
{
	size_t i, waiting = 0;
	struct finding *f;
	const json_t *r;

	json_array_foreach(json_object_get(reply, "roles"), i, r)
		waiting += !json_is_true(json_object_get(r, "ready"));
	if (waiting > 0) {
		f = finding_add(out, FINDING_PROBLEM, "relay", path, "%zu of its processes are "
		    "not ready", waiting);
		finding_fix(f, "salvaposta status, and the relay's log, say more");
	} else {
		finding_add(out, FINDING_OK, "relay", path, "it runs, and all its processes are "
		    "ready");
	}
	json_array_foreach(json_object_get(reply, "alarms"), i, r) {
		f = finding_add(out, FINDING_WARNING, "relay", path, "alarm %s %s: %s",
		    member_text(r, "alarm"), member_text(r, "domain"), member_text(r, "text"));
		finding_fix(f, "%s", member_text(r, "fix"));
	}
}

void
doctor_relay(const struct conf *c, const char *socket_path, struct findings *out)
{
	char why[4600];
	json_t *reply;

	if (access(socket_path, F_OK) != 0) {
		finding_add(out, FINDING_OK, "relay", socket_path, "it does not run");
		for (size_t i = 0; i < c->nlisten; i++)
			judge_port(c->listen[i].address, out);
		return;
	}
	reply = control_ask(socket_path, json_pack("{s:s}", "cmd", "status"), why, sizeof(why));
	if (reply == NULL) {
		struct finding *f = finding_add(out, FINDING_WARNING, "relay", socket_path,
		    "%s", why);
		finding_fix(f, "start it, or look at its log");
	} else {
		judge_status(reply, socket_path, out);
	}
	json_decref(reply);
}

/* --- where mail leaves from --- */

/* Connecting a UDP socket sends nothing: it asks the routing table. */
static void
add_source(struct doctor *d, const struct sockaddr *to, socklen_t len)
{
	struct iprev_ip *ip = &d->source[d->nsource];
	struct sockaddr_in6 a6 = { .sin6_family = AF_UNSPEC };
	struct sockaddr_in a4;
	socklen_t n = sizeof(a6);
	int fd = socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return;		/* no such family here */
	if (connect(fd, to, len) == 0 && getsockname(fd, (struct sockaddr *)&a6, &n) == 0) {
		memcpy(&a4, &a6, sizeof(a4));
		ip->n = a4.sin_family == AF_INET ? 4 : 16;
		memcpy(ip->b, ip->n == 4 ? (void *)&a4.sin_addr : (void *)&a6.sin6_addr, ip->n);
		d->nsource++;
	}
	close(fd);
}

void
doctor_sources(struct doctor *d)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(DOCTOR_SOURCE_PORT) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6,
	    .sin6_port = htons(DOCTOR_SOURCE_PORT) };

	/* Addresses of the documentation networks: by way of the default route. */
	(void)inet_pton(AF_INET, "203.0.113.254", &a4.sin_addr);
	(void)inet_pton(AF_INET6, "2001:db8:ffff::254", &a6.sin6_addr);
	d->nsource = 0;
	add_source(d, (struct sockaddr *)&a4, sizeof(a4));
	add_source(d, (struct sockaddr *)&a6, sizeof(a6));
}

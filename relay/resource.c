// SPDX-License-Identifier: Apache-2.0
#include "relay/resource.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/body.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "policy/notice_template.h"
#include "relay/tls.h"
#include "relay/greylist.h"

enum {
	BACKLOG = 1024, LOG_KEY_LEN = 32,
	TAKEN_TRIES = 60, TAKEN_NAP_US = 50 * 1000
};

static int
add(struct resource_set *s, enum role_kind role, int index, const char *name, int fd)
{
	CHECK(s->n < RESOURCE_MAX);
	struct resource_item *i = &s->item[s->n++];
	*i = (struct resource_item){ .role = role, .index = index, .fd = fd };
	CHECK(slice_cstr(slice_str(name), i->name, sizeof(i->name)) == 0);
	return 0;
}

void
resource_close(struct resource_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->item[i].fd >= 0)
			close(s->item[i].fd);
	s->n = 0;
}

static int
folder(const char *path, mode_t mode, const struct conf *c, enum role_kind owner)
{
	if (mkdir(path, mode) != 0 && errno != EEXIST) {
		log_error("start", "state-dir=%s path=%s error=\"%m\" fix=\"create it, or set "
		    "state-dir to a folder on a writable file system\"", c->state_dir, path);
		return -1;
	}
	if (geteuid() == 0 && owner != ROLE_SUPER) {
		unsigned id = c->uid_base + (unsigned)owner;
		if (chown(path, id, id) != 0 || chmod(path, mode) != 0) {
			log_error("start", "path=%s uid=%u error=\"%m\" fix=\"let state-dir be on a "
			    "local, writable file system\"", path, id);
			return -1;
		}
	}
	if (owner != ROLE_SUPER && geteuid() != 0 && access(path, W_OK | X_OK) != 0) {
		log_error("start", "path=%s error=\"%m\" fix=\"give it to the user that runs "
		    "salvaposta, or start as root\"", path);
		return -1;
	}
	return 0;
}

int
resource_folders(const struct conf *c)
{
	char path[4096];
	int r = folder(c->state_dir, 0711, c, ROLE_SUPER);

	if (r == 0 && snprintf(path, sizeof(path), "%s/queue", c->state_dir) < (int)sizeof(path))
		r = folder(path, 0700, c, ROLE_QUEUE);
	if (r == 0 && snprintf(path, sizeof(path), "%s/directory", c->state_dir) < (int)sizeof(path))
		r = folder(path, 0700, c, ROLE_DIRECTORY);
	return r;
}

/* "1.2.3.4:25" or "[::1]:25"; conf has checked the form. */
static int
parse_address(const char *text, struct sockaddr_storage *ss, socklen_t *len)
{
	struct slice s = slice_str(text);
	size_t colon = slice_rfind(s, ':');
	uint64_t port;
	char host[64];

	memset(ss, 0, sizeof(*ss));
	if (slice_u64(slice_sub(s, colon + 1, s.n), &port) != 0 || port == 0 || port > 65535)
		return -1;
	if (text[0] == '[') {
		struct sockaddr_in6 *a = (struct sockaddr_in6 *)(void *)ss;
		if (slice_cstr(slice_sub(s, 1, colon - 1), host, sizeof(host)) != 0)
			return -1;
		a->sin6_family = AF_INET6;
		a->sin6_port = htons((uint16_t)port);
		*len = sizeof(*a);
		return inet_pton(AF_INET6, host, &a->sin6_addr) == 1 ? 0 : -1;
	}
	struct sockaddr_in *a = (struct sockaddr_in *)(void *)ss;
	if (slice_cstr(slice_sub(s, 0, colon), host, sizeof(host)) != 0)
		return -1;
	a->sin_family = AF_INET;
	a->sin_port = htons((uint16_t)port);
	*len = sizeof(*a);
	return inet_pton(AF_INET, host, &a->sin_addr) == 1 ? 0 : -1;
}

static int
listen_one(const char *address)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int on = 1;

	if (parse_address(address, &ss, &len) != 0) {
		log_error("start", "listen=%s error=\"not an address\" fix=\"write ip:port or "
		    "[ip6]:port\"", log_escs(address));
		return -1;
	}
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		goto bad;
	/* One socket per relay process: the kernel spreads the connections, and what
	 * waits in the socket of a relay that died is served by its successor, because
	 * the supervisor keeps the socket open. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (ss.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&ss, len) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
bad:
	log_error("start", "listen=%s error=\"%m\" fix=\"%s\"", address,
	    errno == EADDRINUSE ? "another program has this port: stop it or listen elsewhere"
	    : errno == EACCES ? "ports below 1024 need root or CAP_NET_BIND_SERVICE"
			      : "check the address of this host");
	if (fd >= 0)
		close(fd);
	return -1;
}

/* SO_REUSEPORT would let two relays of one user share a port unnoticed. */
static bool
port_taken(const char *address)
{
	struct sockaddr_storage ss;
	socklen_t len;

	if (parse_address(address, &ss, &len) != 0)
		return false;
	int on = 1, fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ss.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	bool taken = bind(fd, (struct sockaddr *)&ss, len) != 0 && errno == EADDRINUSE;
	close(fd);
	return taken;
}

static bool
control_answers(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	bool yes = fd >= 0 && slice_cstr(slice_str(path), un.sun_path, sizeof(un.sun_path)) == 0 &&
	    connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0;
	if (fd >= 0)
		close(fd);
	return yes;
}

/*
 * A relay that was just killed can hold its sockets for a moment: its queue dies only
 * when the sync under way returns. So a place that is taken is asked again for some
 * seconds before it counts as somebody else's.
 */
static bool
still_taken(bool (*taken)(const char *), const char *what)
{
	for (int i = 0; i < TAKEN_TRIES; i++) {
		if (!taken(what))
			return false;
		usleep(TAKEN_NAP_US);
	}
	return taken(what);
}

/* What a relay that was killed left may go, and nothing else: a slip of the pen in
 * control-socket must not cost a file. */
static bool
control_clear(const char *path)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return errno == ENOENT;
	if (S_ISSOCK(st.st_mode))
		return unlink(path) == 0;
	errno = EEXIST;
	return false;
}

static int
control_socket(const struct conf *c)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (slice_cstr(slice_str(c->control_socket), un.sun_path, sizeof(un.sun_path)) != 0) {
		log_error("start", "control-socket=%s error=\"path too long\" fix=\"choose one of "
		    "at most 107 bytes\"", c->control_socket);
		goto bad;
	}
	if (fd < 0)
		goto bad;
	if (still_taken(control_answers, c->control_socket)) {
		log_error("start", "control-socket=%s error=\"a relay is running with this "
		    "state\" fix=\"stop it first\"", c->control_socket);
		goto bad;
	}
	if (!control_clear(c->control_socket)) {
		log_error("start", "control-socket=%s error=\"%m\" fix=\"what is there is no socket "
		    "that may be replaced: name another path or move it away\"", c->control_socket);
		goto bad;
	}
	mode_t old = umask(0117);
	int r = bind(fd, (struct sockaddr *)&un, sizeof(un));
	umask(old);
	if (r == 0 && listen(fd, 64) == 0)
		return fd;
	log_error("start", "control-socket=%s error=\"%m\" fix=\"its folder must exist and be "
	    "writable\"", c->control_socket);
bad:
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Of the tickets that resume TLS sessions: one for all relays and all their lives, but not
 * longer than ours. */
static int
ticket_secret(struct resource_set *s)
{
	char secret[TLS_TICKET_SECRET];

	crypto_random(secret, sizeof(secret));
	int fd = body_make(slice_make(secret, sizeof(secret)));
	explicit_bzero(secret, sizeof(secret));
	if (fd < 0) {
		log_error("start", "error=\"no memory file for the ticket key: %m\"");
		return -1;
	}
	return add(s, ROLE_RELAY, -1, "tls-ticket", fd);
}

/* One socket for each relay process. */
static int
listen_all(const struct conf *c, struct resource_set *s, const char *name, const char *address)
{
	if (still_taken(port_taken, address)) {
		log_error("start", "listen=%s error=\"address already in use\" fix=\"another "
		    "program has this port: stop it or listen elsewhere\"", address);
		return -1;
	}
	for (unsigned k = 0; k < c->relays; k++) {
		int fd = listen_one(address);
		if (fd < 0)
			return -1;
		add(s, ROLE_RELAY, (int)k, name, fd);
	}
	return 0;
}

int
resource_sockets(const struct conf *c, struct resource_set *s)
{
	char name[32];

	for (size_t i = 0; i < c->nlisten; i++) {
		snprintf(name, sizeof(name), "listen:%zu", i);
		if (listen_all(c, s, name, c->listen[i].address) != 0)
			return -1;
	}
	for (size_t i = 0; i < c->nrouting_listen; i++) {
		snprintf(name, sizeof(name), "routing:%zu", i);
		if (listen_all(c, s, name, c->routing_listen[i]) != 0)
			return -1;
	}
	int seen = greylist_create();	/* also when it is off: a reload may turn it on */
	if (seen < 0) {
		log_error("start", "error=\"%m\" fix=\"there must be memory for files\"");
		return -1;
	}
	add(s, ROLE_RELAY, -1, "greylist", seen);
	if (ticket_secret(s) != 0)
		return -1;
	int fd = control_socket(c);
	return fd < 0 ? -1 : add(s, ROLE_QUEUE, -1, "control", fd);
}

static int
open_file(const char *path, const char *key, int *fd)
{
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		log_error("config", "%s=%s error=\"%m\" fix=\"the file must exist and be readable "
		    "by the user that starts salvaposta\"", key, path);
	return *fd < 0 ? -1 : 0;
}

/* Spec 1.2.10. Said and no more: a relay that does not start for it would lose mail. */
static void
warn_if_open(int fd, const char *path, const char *key)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && (st.st_mode & 0007) != 0)
		log_warn("config", "%s=%s mode=%04o error=\"everybody on this host may read or "
		    "change it\" fix=\"chmod 0600, and a new secret or key\"", key, log_escs(path),
		    (unsigned)(st.st_mode & 07777));
}

static int
add_file(struct resource_set *s, enum role_kind role, const char *name, const char *path,
    const char *key)
{
	int fd;

	if (path == NULL)
		return 0;
	if (open_file(path, key, &fd) != 0)
		return -1;
	if (strncmp(name, "tls-cert", 8) != 0)	/* the one kind that is no secret */
		warn_if_open(fd, path, key);
	return add(s, role, -1, name, fd);
}

/* Missing is no error: a host without the file has other ways. */
static void
add_if_there(struct resource_set *s, enum role_kind role, const char *name, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		add(s, role, -1, name, fd);
}

/* Without one the notice has the text that is built in; nobody's mail waits for it. */
static void
add_templates(const struct conf *c, struct resource_set *s)
{
	char path[4200], name[32];

	for (int l = 0; l < NOTICE_LANGUAGES; l++) {
		const char *word = notice_language_name((enum notice_language)l);

		(void)snprintf(path, sizeof(path), "%s/%s.txt", c->notice_templates, word);
		(void)snprintf(name, sizeof(name), "notice:%s", word);
		add_if_there(s, ROLE_SEAL, name, path);
	}
}

static int
add_folder(const struct conf *c, struct resource_set *s, enum role_kind role, const char *name,
    const char *sub)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", c->state_dir, sub);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		log_error("start", "path=%s error=\"%m\"", path);
		return -1;
	}
	return add(s, role, -1, name, fd);
}

/* The key of log_hash: made once per installation, so that one address has one hash
 * over restarts (P4). */
static int
log_key(const struct conf *c)
{
	char path[4096], key[LOG_KEY_LEN];

	snprintf(path, sizeof(path), "%s/log.key", c->state_dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || pread(fd, key, sizeof(key), 0) == (ssize_t)sizeof(key))
		return fd;
	crypto_random(key, sizeof(key));
	if (pwrite(fd, key, sizeof(key), 0) != (ssize_t)sizeof(key))
		log_warn("log-key", "path=%s error=\"%m\" effect=\"hashes differ after a restart\"",
		    path);
	return fd;
}

int
resource_files(const struct conf *c, struct resource_set *s)
{
	if (add_folder(c, s, ROLE_QUEUE, "queue-dir", "queue") != 0 ||
	    add_folder(c, s, ROLE_DIRECTORY, "directory-dir", "directory") != 0 ||
	    add_file(s, ROLE_RELAY, "tls-cert", c->tls_cert_file, "tls-cert-file") != 0 ||
	    add_file(s, ROLE_RELAY, "tls-key", c->tls_key_file, "tls-key-file") != 0 ||
	    add_file(s, ROLE_SEAL, "forward-secret", c->forwarder.secret_file,
		"forwarder.secret-file") != 0 ||
	    add_file(s, ROLE_QUEUE, "bounce-debug-key", c->forwarder.debug_key_file,
		"forwarder.bounce-debug-key-file") != 0 ||
	    add_file(s, ROLE_SEAL, "forward-dkim-key", c->forwarder.dkim_key_file,
		"forwarder.dkim-key-file") != 0 ||
	    add_file(s, ROLE_SEAL, "forward-arc-key", c->forwarder.arc_key_file,
		"forwarder.arc-key-file") != 0)
		return -1;
	for (size_t i = 0; i < c->ncertificate; i++) {
		char cert[32], key[32];

		snprintf(cert, sizeof(cert), "tls-cert:%zu", i);
		snprintf(key, sizeof(key), "tls-key:%zu", i);
		if (add_file(s, ROLE_RELAY, cert, c->certificate[i].cert_file,
		    "certificate.cert-file") != 0 ||
		    add_file(s, ROLE_RELAY, key, c->certificate[i].key_file,
		    "certificate.key-file") != 0)
			return -1;
	}
	for (size_t i = 0; i < c->ndomain; i++) {
		char name[48];

		(void)snprintf(name, sizeof(name), "domain-dkim-key:%zu", i);
		if (add_file(s, ROLE_SEAL, name, c->domain[i].dkim_key_file,
		    "domain.dkim-key-file") != 0)
			return -1;
	}
	if (c->notice_templates != NULL)
		add_templates(c, s);
	add_if_there(s, ROLE_RELAY, "resolv.conf", "/etc/resolv.conf");
	add_if_there(s, ROLE_RELAY, "hosts", "/etc/hosts");
	int fd = log_key(c);
	if (fd >= 0) {
		add(s, ROLE_QUEUE, -1, "log-key", fd);
		add(s, ROLE_RELAY, -1, "log-key", fcntl(fd, F_DUPFD_CLOEXEC, 3));
	}
	return 0;
}

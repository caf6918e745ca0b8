// SPDX-License-Identifier: Apache-2.0
/*
 * `salvaposta check`: the configuration, and the files, keys and addresses it names,
 * as the relay would meet them at start. All that is wrong is said at once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "admin/check.h"
#include "admin/check_notice.h"
#include "admin/control_client.h"
#include "admin/keyfile.h"
#include "admin/table.h"
#include "admin/users_command.h"
#include "policy/sign.h"
#include "policy/srs.h"
#include "relay/tls.h"	/* the same loader the relay uses: what passes here starts there */

static const char help[] =
    "usage: salvaposta check\n"
    "       salvaposta check --example | --man\n"
    "\n"
    "Checks the configuration and the files, keys and addresses it names, and says all\n"
    "that is wrong. Exit status 0 when the relay can start with it. With --json the\n"
    "effective values are printed, defaults included; times in seconds, sizes in bytes.\n"
    "\n"
    "      --example      print a configuration file with every key explained\n"
    "      --man          print the manual's list of keys (roff)\n"
    "      --values       print the effective values as a configuration file\n";

struct found {
	const struct conf	*c;
	struct conf_errors	*e;
};

__attribute__((format(printf, 3, 4))) static void
wrong(const struct found *f, const char *key, const char *fmt, ...)
{
	char text[4600];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)!buf_printf(&f->e->text, "%s: %s: %s\n", f->c->file, key, text);
	f->e->count++;
}

__attribute__((format(printf, 3, 4))) static void
doubt(const struct found *f, const char *key, const char *fmt, ...)
{
	char text[4600];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)!buf_printf(&f->e->text, "%s: warning: %s: %s\n", f->c->file, key, text);
}

/* The text of a key file. false after reporting. Private ones must be private. */
static bool
read_file(const struct found *f, const char *key, const char *path, bool private,
    struct keyfile *out)
{
	char why[4500];

	if (keyfile_read(path, out, why, sizeof(why)) != 0) {
		wrong(f, key, "%s", why);
		return false;
	}
	if (private && (out->mode & 0007) != 0)
		wrong(f, key, "%s: may be read by everybody: chmod 0600 %s", path, path);
	else if (private && (out->mode & 0070) != 0)
		doubt(f, key, "%s: may be read by its group: chmod 0600 %s, unless meant so",
		    path, path);
	return true;
}

struct examined {
	const struct found	*f;
	const char		*key, *path;
};

static void
say_of_certificate(void *arg, bool bad, const char *text)
{
	const struct examined *x = arg;

	if (bad)
		wrong(x->f, x->key, "%s: the certificate %s", x->path, text);
	else
		doubt(x->f, x->key, "%s: the certificate %s", x->path, text);
}

/* hostname NULL: it need not carry that name. */
static void
check_certificate(const struct found *f, const char *ckey, const char *cpath, const char *kkey,
    const char *kpath, const char *hostname)
{
	struct keyfile cert = { .mode = 0 }, key = { .mode = 0 };
	struct examined x = { f, ckey, cpath };
	char why[512] = "";
	bool have;

	have = read_file(f, ckey, cpath, false, &cert);
	have = read_file(f, kkey, kpath, true, &key) && have;
	if (have) {
		struct tls_context *t = tls_server_new(buf_slice(&cert.text), buf_slice(&key.text),
		    why, sizeof(why));
		if (t == NULL)
			wrong(f, ckey, "%s with %s: %s", cpath, kpath, why);
		else
			tls_examine(buf_slice(&cert.text), hostname, f->c->tls_ca_file,
			    say_of_certificate, &x);
		tls_context_free(&t);
	}
	keyfile_fini(&cert);
	keyfile_fini(&key);
}

static void
check_tls(const struct found *f)
{
	char why[512] = "";

	if (f->c->tls_cert_file != NULL)
		check_certificate(f, "tls-cert-file", f->c->tls_cert_file, "tls-key-file",
		    f->c->tls_key_file, f->c->hostname);
	for (size_t i = 0; i < f->c->ncertificate; i++)
		if (f->c->certificate[i].cert_file != NULL)
			check_certificate(f, "cert-file", f->c->certificate[i].cert_file, "key-file",
			    f->c->certificate[i].key_file, NULL);
	if (f->c->tls_ca_file != NULL) {
		struct tls_context *t = tls_client_new(f->c->tls_ca_file, why, sizeof(why));
		if (t == NULL)
			wrong(f, "tls-ca-file", "%s: %s", f->c->tls_ca_file, why);
		tls_context_free(&t);
	}
}

static void
check_secrets(const struct found *f)
{
	const struct conf_forwarder *w = &f->c->forwarder;
	struct keyfile k = { .mode = 0 };
	struct srs s = { .nsecret = 0 };

	if (w->domain != NULL && read_file(f, "secret-file", w->secret_file, true, &k)) {
		if (srs_secrets(&s, buf_slice(&k.text)) != 0)
			wrong(f, "secret-file", "%s: holds no secret: write one a line, as from "
			    "`openssl rand -base64 32'", w->secret_file);
		for (size_t i = 0; i < s.nsecret; i++)
			if (s.secret[i].n < 16)
				doubt(f, "secret-file", "%s: secret %zu is short: 16 characters or "
				    "more cannot be guessed", w->secret_file, i + 1);
	}
	keyfile_fini(&k);
	k = (struct keyfile){ .mode = 0 };
	if (w->domain != NULL && w->dkim_key_file != NULL &&
	    read_file(f, "dkim-key-file", w->dkim_key_file, true, &k)) {
		const char *why = "";
		struct sign_key *key = sign_key_new(buf_slice(&k.text), &why);
		if (key == NULL)
			wrong(f, "dkim-key-file", "%s: %s", w->dkim_key_file, why);
		sign_key_free(&key);
	}
	keyfile_fini(&k);
}

/* Keys that sign notifications (spec 2.3.6). */
static void
check_domain_keys(const struct found *f)
{
	for (size_t i = 0; i < f->c->ndomain; i++) {
		const char *file = f->c->domain[i].dkim_key_file, *why = "";
		struct keyfile k = { .mode = 0 };

		if (file != NULL && read_file(f, "dkim-key-file", file, true, &k)) {
			struct sign_key *key = sign_key_new(buf_slice(&k.text), &why);
			if (key == NULL)
				wrong(f, "dkim-key-file", "%s: %s", file, why);
			sign_key_free(&key);
		}
		keyfile_fini(&k);
	}
}

static void
wrong_notice(void *arg, const char *text)
{
	wrong(arg, "user-notice-templates", "%s", text);
}

static void
check_space(const struct found *f)
{
	struct statvfs v;
	char have[32], want[32];

	if (statvfs(f->c->state_dir, &v) != 0)
		return;
	uint64_t space = (uint64_t)v.f_bavail * v.f_frsize;
	if (space >= f->c->disk_reserve)
		return;
	size_words(space, have, sizeof(have));
	size_words(f->c->disk_reserve, want, sizeof(want));
	wrong(f, "state-dir", "%s: %s are free, less than disk-reserve (%s), so all mail would "
	    "get 452: make room, or lower disk-reserve", f->c->state_dir, have, want);
}

/* The folder, or the one it would be made in. */
static void
check_state_dir(const struct found *f)
{
	const char *dir = f->c->state_dir;
	struct stat st;
	char parent[4096];

	if (stat(dir, &st) == 0) {
		if (!S_ISDIR(st.st_mode))
			wrong(f, "state-dir", "%s: is not a folder: name one", dir);
		else if (faccessat(AT_FDCWD, dir, R_OK | W_OK | X_OK, AT_EACCESS) != 0)
			wrong(f, "state-dir", "%s: %s: %s", dir, strerror(errno), errno == EROFS ?
			    "mount it read-write, or name another" :
			    "give it to the user that starts the relay");
		else
			check_space(f);
		return;
	}
	if (errno != ENOENT) {
		wrong(f, "state-dir", "%s: %s", dir, strerror(errno));
		return;
	}
	(void)snprintf(parent, sizeof(parent), "%s", dir);
	char *slash = strrchr(parent, '/');
	if (slash != NULL)
		slash[slash == parent ? 1 : 0] = '\0';
	if (faccessat(AT_FDCWD, parent, W_OK | X_OK, AT_EACCESS) != 0)
		wrong(f, "state-dir", "%s: does not exist and cannot be made (%s): mkdir -p it", dir,
		    strerror(errno));
}

static void
check_control_socket(const struct found *f)
{
	char dir[4096];
	struct stat st;

	(void)snprintf(dir, sizeof(dir), "%s", f->c->control_socket);
	char *slash = strrchr(dir, '/');
	if (slash == NULL)
		return;
	slash[slash == dir ? 1 : 0] = '\0';
	/* state-dir is made at start and has been looked at. */
	if (strcmp(dir, f->c->state_dir) != 0 && (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)))
		wrong(f, "control-socket", "%s: the folder %s does not exist: make it",
		    f->c->control_socket, dir);
}

/* Whether this host has the address; the port may be the running relay's. */
static void
check_listen(const struct found *f, const char *address)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in a4 = { .sin_family = AF_INET };
	bool v6 = address[0] == '[';
	char host[64];
	struct slice s = slice_str(address);
	size_t colon = slice_rfind(s, ':');
	struct slice h = v6 ? slice_sub(s, 1, colon > 0 ? colon - 1 : 0) : slice_sub(s, 0, colon);

	if (slice_cstr(h, host, sizeof(host)) != 0 ||
	    inet_pton(v6 ? AF_INET6 : AF_INET, host, v6 ? (void *)&a6.sin6_addr :
	    (void *)&a4.sin_addr) != 1)
		return;		/* conf has said so */
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1) {
		wrong(f, "listen", "%s: this host has no %s: remove it", address,
		    v6 ? "IPv6" : "IPv4");
		return;
	}
	if (bind(fd, v6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4,
	    v6 ? sizeof(a6) : sizeof(a4)) != 0 && errno == EADDRNOTAVAIL)
		wrong(f, "listen", "%s: is not an address of this host: correct it", address);
	close(fd);
}

/* The relay starts without it. */
static void
check_refresh(const struct found *f)
{
	const char *path = f->c->refresh_command;
	char why[512] = "";

	if (path != NULL && users_command_check(path, why, sizeof(why)) != 0)
		doubt(f, "refresh-command", "%s: %s", path, why);
}

static int
finish(const struct cli *cli, const struct conf *c, struct conf_errors *e)
{
	struct slice s = buf_slice(&e->text);

	fprintf(stderr, "%.*s", SLICE_FMT(s));
	if (e->count > 0)
		fprintf(stderr, "%s: %u %s\n", cli->conf_file, e->count,
		    e->count == 1 ? "error" : "errors");
	if (cli->json && e->count > 0) {
		/* Bytes of the file may be in the messages; JSON takes UTF-8 only. */
		struct buf safe;
		json_t *list = json_array();
		while (s.n > 0) {
			size_t n = slice_find(s, '\n');
			buf_init(&safe, 64 * 1024);
			text_safe(slice_sub(s, 0, n), &safe);
			struct slice t = buf_slice(&safe);
			(void)json_array_append_new(list, json_stringn(t.p, t.n));
			buf_fini(&safe);
			s = slice_sub(s, n + 1, s.n);
		}
		json_t *o = json_pack("{s:b, s:i, s:o}", "ok", 0, "count", (int)e->count,
		    "messages", list);
		control_print(o);
		json_decref(o);
	} else if (cli->json && c != NULL) {
		(void)conf_print_json(c, stdout);
	}
	return e->count == 0 ? CLI_OK : CLI_FAILED;
}

void
check_files(const struct conf *c, struct conf_errors *e)
{
	struct found f = { .c = c, .e = e };

	if (e->text.max == 0)
		buf_init(&e->text, 256 * 1024);
	check_state_dir(&f);
	check_control_socket(&f);
	for (size_t i = 0; i < c->nlisten; i++)
		check_listen(&f, c->listen[i].address);
	check_tls(&f);
	check_domain_keys(&f);
	check_secrets(&f);
	check_refresh(&f);
	check_notices(c, wrong_notice, &f);
}

static int
check(const struct cli *cli, bool values)
{
	struct conf_errors e = { .count = 0 };
	struct conf *c = conf_load(cli->conf_file, &e);

	if (c != NULL)
		check_files(c, &e);
	int status = finish(cli, c, &e);
	if (status == CLI_OK && values) {
		struct buf b;
		buf_init(&b, 64 * 1024 * 1024);
		conf_print_text(c, &b);
		struct slice s = buf_slice(&b);
		(void)fwrite(s.p, 1, s.n, stdout);
		buf_fini(&b);
	} else if (status == CLI_OK && !cli->json) {
		printf("%s: good: %zu domain%s, %s\n", cli->conf_file, c->ndomain,
		    c->ndomain == 1 ? "" : "s", c->forwarder.domain == NULL ?
		    "held and replayed, not forwarded" : "held, forwarded and replayed");
	}
	conf_free(&c);
	buf_fini(&e.text);
	return status;
}

int
cmd_check(int argc, char **argv)
{
	bool example = false, man = false, values = false;
	const struct cli_option opt[] = {
		{ "example", NULL, &example }, { "man", NULL, &man }, { "values", NULL, &values },
	};
	struct cli cli;
	int status;

	if (cli_options(&argc, argv, opt, 3, help, &cli, &status) != 0)
		return status;
	if (argc != 1)
		return cli_usage("check", "takes no arguments; the file is named with -c");
	if (example)
		return conf_print_example(stdout) == 0 ? CLI_OK : CLI_FAILED;
	if (man)
		return conf_print_man(stdout) == 0 ? CLI_OK : CLI_FAILED;
	return check(&cli, values);
}

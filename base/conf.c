// SPDX-License-Identifier: Apache-2.0
/*
 * From text to struct conf: the scanner cleans the text, libconfuse reads it (all
 * values as strings), the table turns strings into members, conf_check looks at
 * the whole.
 */
#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conf_priv.h"
#include "base/mem.h"

enum { CONF_TEXT_MAX = 8 * 1024 * 1024, ERRORS_TEXT_MAX = 64 * 1024, KEYS_MAX = 192 };

__attribute__((format(printf, 6, 0))) static void
report(struct conf_errors *e, const char *file, int line, const char *key, const char *mark,
    const char *fmt, va_list ap)
{
	char what[1024];

	(void)vsnprintf(what, sizeof(what), fmt, ap);
	for (char *p = what; *p != '\0'; p++)	/* values from the environment may hold any */
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	if (e->text.max == 0)
		buf_init(&e->text, ERRORS_TEXT_MAX);
	/* Beyond the maximum errors are counted only; there is enough to mend. */
	if (line > 0)
		(void)!buf_printf(&e->text, "%s:%d: %s%s: %s\n", file, line, mark, key, what);
	else
		(void)!buf_printf(&e->text, "%s: %s%s: %s\n", file, mark, key, what);
}

void
conf_error(struct conf_errors *e, const char *file, int line, const char *key,
    const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(e, file, line, key, "", fmt, ap);
	va_end(ap);
	e->count++;
}

void
conf_warn(struct conf_errors *e, const char *file, int line, const char *key,
    const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(e, file, line, key, "warning: ", fmt, ap);
	va_end(ap);
}

const struct conf_key *
conf_key_find(enum conf_section s, struct slice name)
{
	for (size_t i = 0; i < conf_nkeys; i++)
		if (conf_keys[i].section == s && slice_eq(slice_str(conf_keys[i].name), name))
			return &conf_keys[i];
	return NULL;
}

enum conf_section
conf_section_find(struct slice name)
{
	enum conf_section s;

	for (s = CONF_LISTEN; s < CONF_SECTION_MAX; s++)
		if (slice_eq(slice_str(conf_sections[s].name), name))
			break;
	return s;
}

/* Edits from a to b; '_' counts as '-', a favourite slip. */
static unsigned
distance(struct slice a, struct slice b)
{
	unsigned row[65], diag, up;

	if (a.n > 64 || b.n > 64)
		return 999;
	for (unsigned j = 0; j <= b.n; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.n; i++) {
		diag = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= b.n; j++) {
			char x = a.p[i - 1] == '_' ? '-' : ascii_lower(a.p[i - 1]);
			up = row[j];
			unsigned best = diag + (x != b.p[j - 1]);
			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
			diag = up;
		}
	}
	return row[b.n];
}

const char *
conf_nearest(enum conf_section s, struct slice name)
{
	const char *best = NULL;
	unsigned least = name.n < 6 ? 3 : 5;	/* farther than this is no help */

	for (size_t i = 0; i < conf_nkeys; i++) {
		unsigned d = distance(name, slice_str(conf_keys[i].name));
		if (conf_keys[i].section == s && d < least) {
			least = d;
			best = conf_keys[i].name;
		}
	}
	for (enum conf_section t = CONF_LISTEN; t < CONF_SECTION_MAX; t++) {
		unsigned d = distance(name, slice_str(conf_sections[t].name));
		if (conf_sections[t].parent == s && d < least) {
			least = d;
			best = conf_sections[t].name;
		}
	}
	return best;
}

/* One load: what is passed around between the steps below. */
struct load {
	struct conf		*conf;
	const char		*file;
	struct conf_errors	*err;
	struct conf_places	*places;
};

static int
place_of(const struct load *l, const char *path, const char *key)
{
	char full[1300];

	(void)snprintf(full, sizeof(full), "%s/%s", path, key);
	bytes_lower(full, strlen(full));
	return conf_place(l->places, full);
}

/* Fills one section's struct from what libconfuse found, or the defaults. */
static void
fill(struct load *l, enum conf_section s, cfg_t *sec, const char *path, void *base)
{
	char why[600];

	for (size_t i = 0; i < conf_nkeys; i++) {
		const struct conf_key *k = &conf_keys[i];
		if (k->section != s)
			continue;
		unsigned n = sec == NULL ? 0 : cfg_size(sec, k->name);
		int line = place_of(l, path, k->name);
		if (k->def != NULL)
			CHECK(conf_value_set(k, base, k->def, why, sizeof(why)) == NULL);
		for (unsigned j = 0; j < n; j++) {
			const char *text = cfg_getnstr(sec, k->name, j);
			if (text == NULL)
				continue;
			const char *bad = conf_value_set(k, base, text, why, sizeof(why));
			if (bad != NULL)
				conf_error(l->err, l->file, line, k->name, "\"%.64s\" %s", text,
				    bad);
		}
		if (k->required && line == 0 && sec != NULL)
			conf_error(l->err, l->file, conf_place(l->places, path), path,
			    "%s is missing: add %s = \"%s\"", k->name, k->name, k->example);
	}
}

static void
fill_listens(struct load *l, cfg_t *root)
{
	static const char *const by_default[] = { "0.0.0.0:25", "[::]:25" };
	struct conf *c = l->conf;
	unsigned n = cfg_size(root, "listen");
	char path[800], norm[80];

	c->nlisten = n > 0 ? n : 2;
	c->listen = mem_array(c->nlisten, sizeof(*c->listen));
	for (unsigned i = 0; i < c->nlisten; i++) {
		cfg_t *sec = n > 0 ? cfg_getnsec(root, "listen", i) : NULL;
		const char *title = n > 0 ? cfg_title(sec) : by_default[i];
		(void)snprintf(path, sizeof(path), "listen %s", title);
		bytes_lower(path, strlen(path));
		c->listen[i].address = mem_str(title);
		if (conf_sockaddr(title, 0, norm, sizeof(norm)) != 0)
			conf_error(l->err, l->file, conf_place(l->places, path), "listen",
			    "\"%.64s\" is not an address with a port: write \"0.0.0.0:25\" or "
			    "\"[::]:25\"", title);
		fill(l, CONF_LISTEN, sec, path, &c->listen[i]);
	}
}

static void
fill_certificates(struct load *l, cfg_t *root)
{
	struct conf *c = l->conf;
	char path[400];

	c->ncertificate = cfg_size(root, "certificate");
	c->certificate = mem_array(c->ncertificate + 1, sizeof(*c->certificate));
	for (unsigned i = 0; i < c->ncertificate; i++) {
		cfg_t *sec = cfg_getnsec(root, "certificate", i);
		(void)snprintf(path, sizeof(path), "certificate %s", cfg_title(sec));
		bytes_lower(path, strlen(path));
		c->certificate[i].name = mem_str(cfg_title(sec));
		fill(l, CONF_CERTIFICATE, sec, path, &c->certificate[i]);
	}
}

static void
fill_shards(struct load *l, cfg_t *sec, const char *parent, struct conf_domain *d)
{
	char path[1200];

	d->nshard = cfg_size(sec, "shard");
	d->shard = mem_array(d->nshard > 0 ? d->nshard : 1, sizeof(*d->shard));
	for (unsigned i = 0; i < d->nshard; i++) {
		cfg_t *sub = cfg_getnsec(sec, "shard", i);
		const char *title = cfg_title(sub);
		(void)snprintf(path, sizeof(path), "%s/shard %.255s", parent, title);
		bytes_lower(path, strlen(path));
		d->shard[i].name = mem_str(title);
		if (title[strspn(title, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		    "0123456789._-")] != '\0' || strlen(title) > 64)
			conf_error(l->err, l->file, conf_place(l->places, path), "shard",
			    "\"%.64s\" is not a name: write up to 64 letters, digits, '.', '_', "
			    "'-'", title);
		fill(l, CONF_SHARD, sub, path, &d->shard[i]);
	}
}

static void
fill_probe(struct load *l, cfg_t *sec, const char *parent, struct conf_domain *d)
{
	char path[1200];

	(void)snprintf(path, sizeof(path), "%s/probe", parent);
	fill(l, CONF_PROBE, cfg_size(sec, "probe") > 0 ? cfg_getnsec(sec, "probe", 0) : NULL, path,
	    &d->probe);
}

static void
fill_domains(struct load *l, cfg_t *root)
{
	struct conf *c = l->conf;
	char path[800];

	c->ndomain = cfg_size(root, "domain");
	c->domain = mem_array(c->ndomain > 0 ? c->ndomain : 1, sizeof(*c->domain));
	for (unsigned i = 0; i < c->ndomain; i++) {
		cfg_t *sec = cfg_getnsec(root, "domain", i);
		struct conf_domain *d = &c->domain[i];
		d->name = mem_str(cfg_title(sec));
		bytes_lower(d->name, strlen(d->name));
		(void)snprintf(path, sizeof(path), "domain %s", d->name);
		if (!conf_hostname_ok(slice_str(d->name)))
			conf_error(l->err, l->file, conf_place(l->places, path), "domain",
			    "\"%.64s\" is not a domain name: write letters, digits, hyphens and "
			    "dots, no dot at the end; beyond ASCII the xn-- form (idn2 NAME)",
			    d->name);
		fill(l, CONF_DOMAIN, sec, path, d);
		fill_probe(l, sec, path, d);
		fill_shards(l, sec, path, d);
	}
}

/* ---- providers ---- */

struct provider_at {
	const struct load	*load;
	const char		*path;
};

static bool
provider_written(void *arg, const char *key)
{
	const struct provider_at *at = arg;

	return place_of(at->load, at->path, key) != 0;
}

static void
add_provider(struct load *l, cfg_t *sec, const char *title)
{
	struct conf_provider *p = &l->conf->provider[l->conf->nprovider++];
	char path[800];
	struct provider_at at = { l, path };

	(void)snprintf(path, sizeof(path), "provider %s", title);
	bytes_lower(path, strlen(path));
	while (*title == '.')
		title++;
	p->name = mem_str(title);
	bytes_lower(p->name, strlen(p->name));
	if (!conf_hostname_ok(slice_str(p->name)))
		conf_error(l->err, l->file, conf_place(l->places, path), "provider",
		    "\"%.64s\" is not the end of a host name: write \".google.com\"", title);
	fill(l, CONF_PROVIDER, sec, path, p);
	conf_provider_complete(l->conf, p, provider_written, &at);
}

/* Those of the file, then the built-in ones it does not name, then the default one. */
static void
fill_providers(struct load *l, cfg_t *root)
{
	unsigned n = cfg_size(root, "provider");
	struct conf *c = l->conf;

	c->provider = mem_array(n + conf_providers_builtin() + 1, sizeof(*c->provider));
	for (unsigned i = 0; i < n; i++)
		add_provider(l, cfg_getnsec(root, "provider", i),
		    cfg_title(cfg_getnsec(root, "provider", i)));
	for (size_t i = 0; i <= conf_providers_builtin(); i++) {
		const char *name = conf_provider_builtin_name(i);
		size_t j = 0;

		while (j < c->nprovider && strcmp(c->provider[j].name, name) != 0)
			j++;
		if (j == c->nprovider)
			add_provider(l, NULL, name);
	}
}

static void
fill_milters(struct load *l, cfg_t *root)
{
	struct conf *c = l->conf;
	char path[800];

	c->nmilter = cfg_size(root, "milter");
	c->milter = mem_array(c->nmilter > 0 ? c->nmilter : 1, sizeof(*c->milter));
	for (unsigned i = 0; i < c->nmilter; i++) {
		cfg_t *sec = cfg_getnsec(root, "milter", i);
		const char *title = cfg_title(sec);

		(void)snprintf(path, sizeof(path), "milter %s", title);
		bytes_lower(path, strlen(path));
		c->milter[i].name = mem_str(title);
		if (i == CONF_MILTERS_MAX)
			conf_error(l->err, l->file, conf_place(l->places, path), "milter",
			    "are more than %d: remove some", CONF_MILTERS_MAX);
		fill(l, CONF_MILTER, sec, path, &c->milter[i]);
	}
}

/* libconfuse's view of one section's keys; all values are strings to it. */
static void
options(enum conf_section s, cfg_opt_t *to)
{
	size_t n = 0;

	for (size_t i = 0; i < conf_nkeys; i++) {
		const struct conf_key *k = &conf_keys[i];
		if (k->section != s)
			continue;
		CHECK(n + 6 < KEYS_MAX);
		if (conf_key_is_list(k))
			to[n++] = (cfg_opt_t)CFG_STR_LIST(k->name, NULL, CFGF_NODEFAULT);
		else
			to[n++] = (cfg_opt_t)CFG_STR(k->name, NULL, CFGF_NODEFAULT);
	}
	to[n] = (cfg_opt_t)CFG_END();
}

static void
section_option(cfg_opt_t *to, enum conf_section s, cfg_opt_t *keys)
{
	size_t n = 0;
	cfg_flag_t flags = conf_sections[s].titled ? CFGF_MULTI | CFGF_TITLE : CFGF_MULTI;

	while (to[n].name != NULL)
		n++;
	to[n] = (cfg_opt_t)CFG_SEC(conf_sections[s].name, keys, flags);
	to[n + 1] = (cfg_opt_t)CFG_END();
}

static void
quiet(cfg_t *cfg, const char *fmt, va_list ap)
{
	(void)cfg;
	(void)fmt;
	(void)ap;
}

static cfg_t *
new_parser(void)
{
	cfg_opt_t *o = mem_array((size_t)CONF_SECTION_MAX * KEYS_MAX, sizeof(*o));

	for (int s = 0; s < CONF_SECTION_MAX; s++)
		options((enum conf_section)s, o + s * KEYS_MAX);
	section_option(o + CONF_DOMAIN * KEYS_MAX, CONF_SHARD, o + CONF_SHARD * KEYS_MAX);
	section_option(o + CONF_DOMAIN * KEYS_MAX, CONF_PROBE, o + CONF_PROBE * KEYS_MAX);
	section_option(o, CONF_LISTEN, o + CONF_LISTEN * KEYS_MAX);
	section_option(o, CONF_FORWARDER, o + CONF_FORWARDER * KEYS_MAX);
	section_option(o, CONF_DOMAIN, o + CONF_DOMAIN * KEYS_MAX);
	section_option(o, CONF_MILTER, o + CONF_MILTER * KEYS_MAX);
	section_option(o, CONF_PROVIDER, o + CONF_PROVIDER * KEYS_MAX);
	section_option(o, CONF_CERTIFICATE, o + CONF_CERTIFICATE * KEYS_MAX);
	cfg_t *cfg = cfg_init(o, CFGF_NONE);	/* copies the options */
	CHECK(cfg != NULL);
	(void)cfg_set_error_function(cfg, quiet);
	free(o);
	return cfg;
}

/* This host's full name, or its short one, or "localhost". */
static char *
own_name(void)
{
	char name[256] = "";
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_CANONNAME }, *list = NULL;
	char *out = NULL;

	if (gethostname(name, sizeof(name) - 1) != 0 || !conf_hostname_ok(slice_str(name)))
		return mem_str("localhost");
	if (strchr(name, '.') == NULL && getaddrinfo(name, NULL, &hints, &list) == 0) {
		if (list->ai_canonname != NULL && strchr(list->ai_canonname, '.') != NULL &&
		    conf_hostname_ok(slice_str(list->ai_canonname)))
			out = mem_str(list->ai_canonname);
		freeaddrinfo(list);
	}
	if (out == NULL)
		out = mem_str(name);
	bytes_lower(out, strlen(out));
	return out;
}

/* Cores this process may use; asks the kernel, not files (roles have none). */
static unsigned
cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 1;
	int n = CPU_COUNT(&set);
	return n < 1 ? 1 : n > 64 ? 64 : (unsigned)n;
}

/* Defaults that are not constants. */
static void
complete(struct load *l)
{
	struct conf *c = l->conf;
	unsigned n = cores();

	if (c->hostname == NULL) {
		c->hostname = own_name();
		if (strchr(c->hostname, '.') == NULL && conf_place(l->places, "/hostname") == 0)
			conf_warn(l->err, l->file, 0, "hostname", "this host calls itself \"%s\", "
			    "which is no full name: set hostname", c->hostname);
	}
	if (c->authserv_id == NULL)
		c->authserv_id = mem_str(c->hostname);
	if (c->control_socket == NULL) {
		size_t cap = strlen(c->state_dir) + sizeof("/control.sock");
		c->control_socket = mem_new(cap);
		(void)snprintf(c->control_socket, cap, "%s/control.sock", c->state_dir);
	}
	if (c->relays == 0)
		c->relays = n / 2 > 0 ? n / 2 : 1;
	if (c->verifiers == 0)
		c->verifiers = n;
	if (c->sealers == 0)
		c->sealers = n;
}

static void
build(struct load *l, struct slice clean)
{
	cfg_t *root = new_parser();
	char *text = slice_dup(clean);

	if (cfg_parse_buf(root, text) != CFG_SUCCESS)
		conf_error(l->err, l->file, root->line, "syntax",
		    "libconfuse does not take this: write it more plainly");
	fill(l, CONF_ROOT, root, "", l->conf);
	fill_listens(l, root);
	fill_certificates(l, root);
	cfg_t *fwd = cfg_size(root, "forwarder") > 0 ? cfg_getnsec(root, "forwarder", 0) : NULL;
	fill(l, CONF_FORWARDER, fwd, "forwarder", &l->conf->forwarder);
	fill_domains(l, root);
	fill_providers(l, root);
	fill_milters(l, root);
	complete(l);
	conf_check(l->conf, l->places, l->err);
	free(text);
	(void)cfg_free(root);
}

struct message {
	struct slice	text;	/* with its newline */
	uint64_t	line;	/* of the file; 0: none, comes last */
	size_t		order;
};

static int
message_cmp(const void *a, const void *b)
{
	const struct message *x = a, *y = b;
	uint64_t lx = x->line == 0 ? UINT64_MAX : x->line;
	uint64_t ly = y->line == 0 ? UINT64_MAX : y->line;

	if (lx != ly)
		return lx < ly ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

/* Messages from `from` on in the order of the file: the steps of a load find form,
 * values and the whole one after the other, people mend from top to bottom. */
static void
sort_messages(struct conf_errors *e, size_t from, const char *file)
{
	struct slice s = slice_sub(buf_slice(&e->text), from, SIZE_MAX);
	size_t n = 0, at = strlen(file) + 1;
	char *copy, *to;

	if (s.n == 0)
		return;
	copy = slice_dup(s);
	to = e->text.p + e->text.off + from;
	s.p = copy;
	for (size_t i = 0; i < s.n; i++)
		n += copy[i] == '\n';
	struct message *m = mem_array(n + 1, sizeof(*m));
	for (size_t i = 0; i < n; i++) {
		size_t len = slice_find(s, '\n') + 1;
		m[i] = (struct message){ .text = slice_sub(s, 0, len), .order = i };
		struct slice num = slice_sub(m[i].text, at, len);
		num = slice_sub(num, 0, slice_find(num, ':'));
		if (slice_u64(num, &m[i].line) != 0)
			m[i].line = 0;
		s = slice_sub(s, len, s.n);
	}
	qsort(m, n, sizeof(*m), message_cmp);
	for (size_t i = 0; i < n; i++) {
		memcpy(to, m[i].text.p, m[i].text.n);
		to += m[i].text.n;
	}
	free(m);
	free(copy);
}

struct conf *
conf_parse(struct slice text, const char *file, struct conf_errors *e)
{
	struct load l = { .file = file, .err = e };
	unsigned before = e->count;
	size_t from = buf_len(&e->text);
	struct buf clean;

	if (text.n > CONF_TEXT_MAX) {
		conf_error(e, file, 0, "file", "larger than 8 MiB: is this the right file?");
		return NULL;
	}
	l.conf = mem_new(sizeof(*l.conf));
	l.conf->file = mem_str(file);
	buf_init(&clean, 5 * text.n + 4096);
	l.places = conf_scan(text, file, e, &clean);
	build(&l, buf_slice(&clean));
	conf_places_free(&l.places);
	buf_fini(&clean);
	sort_messages(e, from, file);
	if (e->count != before)
		conf_free(&l.conf);
	return l.conf;
}

struct conf *
conf_load(const char *file, struct conf_errors *e)
{
	struct conf *c = NULL;
	struct stat st;
	char *text = NULL;
	size_t n = 0;

	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd == -1) {
		conf_error(e, file, 0, "file", errno == ENOENT ?
		    "does not exist: write one (salvaposta check --example), or name it with -c" :
		    errno == EACCES ? "may not be read: run as root, or mend its permissions" :
		    "cannot be opened: name another with -c");
		return NULL;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > CONF_TEXT_MAX) {
		conf_error(e, file, 0, "file", "not a plain file of less than 8 MiB: name another "
		    "with -c");
		goto out;
	}
	text = mem_new((size_t)st.st_size + 1);
	while (n < (size_t)st.st_size) {
		ssize_t got = read(fd, text + n, (size_t)st.st_size - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			conf_error(e, file, 0, "file", "cannot be read: %s", strerror(errno));
			goto out;
		}
		if (got == 0)
			break;
		n += (size_t)got;
	}
	c = conf_parse(slice_make(text, n), file, e);
out:
	free(text);
	close(fd);
	return c;
}

static void
free_section(enum conf_section s, void *base)
{
	for (size_t i = 0; i < conf_nkeys; i++)
		if (conf_keys[i].section == s)
			conf_value_free(&conf_keys[i], base);
}

void
conf_free(struct conf **cp)
{
	struct conf *c = *cp;

	if (c == NULL)
		return;
	for (size_t i = 0; i < c->nlisten; i++) {
		free_section(CONF_LISTEN, &c->listen[i]);
		free(c->listen[i].address);
	}
	for (size_t i = 0; i < c->ncertificate; i++) {
		free_section(CONF_CERTIFICATE, &c->certificate[i]);
		free(c->certificate[i].name);
	}
	free(c->certificate);
	for (size_t i = 0; i < c->ndomain; i++) {
		struct conf_domain *d = &c->domain[i];
		for (size_t j = 0; j < d->nshard; j++) {
			free_section(CONF_SHARD, &d->shard[j]);
			free(d->shard[j].name);
		}
		free(d->shard);
		free_section(CONF_PROBE, &d->probe);
		free_section(CONF_DOMAIN, d);
		free(d->name);
	}
	for (size_t i = 0; i < c->nprovider; i++) {
		free_section(CONF_PROVIDER, &c->provider[i]);
		free(c->provider[i].name);
	}
	for (size_t i = 0; i < c->nmilter; i++) {
		free_section(CONF_MILTER, &c->milter[i]);
		free(c->milter[i].name);
	}
	free(c->milter);
	free(c->listen);
	free(c->domain);
	free(c->provider);
	free_section(CONF_FORWARDER, &c->forwarder);
	free_section(CONF_ROOT, c);
	free(c->file);
	free(c);
	*cp = NULL;
}

const struct conf_domain *
conf_domain_find(const struct conf *c, struct slice name)
{
	for (size_t i = 0; i < c->ndomain; i++)
		if (slice_ieq(slice_str(c->domain[i].name), name))
			return &c->domain[i];
	return NULL;
}

int
conf_node_route(const struct conf *c, struct slice node, struct slice *host, uint16_t *port)
{
	for (size_t i = 0; i < c->forwarder.nnode_route; i++) {
		struct slice r = slice_str(c->forwarder.node_route[i]);
		size_t eq = slice_find(r, '='), colon = slice_rfind(r, ':');
		uint64_t n;

		if (!slice_eq(slice_sub(r, 0, eq), node) || colon <= eq ||
		    slice_u64(slice_sub(r, colon + 1, r.n), &n) != 0 || n == 0 || n > UINT16_MAX)
			continue;
		*host = slice_sub(r, eq + 1, colon);
		if (host->n > 2 && host->p[0] == '[')
			*host = slice_sub(*host, 1, host->n - 1);
		*port = (uint16_t)n;
		return 0;
	}
	return -1;
}

const struct conf_route *
conf_primary(const struct conf_domain *d, struct slice shard)
{
	for (size_t i = 0; i < d->nshard; i++)
		if (slice_eq(slice_str(d->shard[i].name), shard))
			return &d->shard[i].primary;
	return &d->primary;
}

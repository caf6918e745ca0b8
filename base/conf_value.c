// SPDX-License-Identifier: Apache-2.0
/*
 * Values of relay.conf: from text into the members of struct conf and back. Each
 * type is one case in conf_value_set, _free, _print and _range.
 */
#include <arpa/inet.h>
#include <stdlib.h>

#include "base/conf_priv.h"
#include "base/mem.h"
#include "base/network.h"

static const struct unit {
	char	 letter;
	uint64_t scale;
} time_units[] = { { 'w', 7 * 86400 }, { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } },
  size_units[] = { { 'T', 1ULL << 40 }, { 'G', 1ULL << 30 }, { 'M', 1ULL << 20 },
	{ 'k', 1ULL << 10 } };

enum { NAMES_MAX = 2000 };

#define NUNITS(u)	(sizeof(u) / sizeof((u)[0]))

/* Digits, then one letter (or none where `bare`). NULL or what is wrong. */
static const char *
parse_scaled(const char *text, const struct unit *u, size_t n, bool bare, uint64_t *out)
{
	struct slice s = slice_str(text);
	uint64_t scale = 0;

	if (s.n > 0 && (s.p[s.n - 1] < '0' || s.p[s.n - 1] > '9')) {
		for (size_t i = 0; i < n; i++)
			if (ascii_lower(s.p[s.n - 1]) == ascii_lower(u[i].letter))
				scale = u[i].scale;
		s.n--;
	} else if (bare) {
		scale = 1;
	} else if (s.n > 0) {
		return "has no unit";
	}
	if (scale == 0 || slice_u64(s, out) != 0 || __builtin_mul_overflow(*out, scale, out))
		return "is not understood";
	return NULL;
}

static void
print_scaled(uint64_t v, const struct unit *u, size_t n, const char *bare, char *out, size_t cap)
{
	for (size_t i = 0; i < n; i++) {
		if (v != 0 && v % u[i].scale == 0 && u[i].letter != 'w') {
			(void)snprintf(out, cap, "%llu%c", (unsigned long long)(v / u[i].scale),
			    u[i].letter);
			return;
		}
	}
	(void)snprintf(out, cap, "%llu%s", (unsigned long long)v, bare);
}

void
conf_size_print(uint64_t bytes, char *out, size_t cap)
{
	print_scaled(bytes, size_units, NUNITS(size_units), "", out, cap);
}

void
conf_time_print(uint64_t seconds, char *out, size_t cap)
{
	print_scaled(seconds, time_units, NUNITS(time_units), "s", out, cap);
}

bool
conf_hostname_ok(struct slice s)
{
	size_t label = 0;

	if (s.n == 0 || s.n > 253)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = ascii_lower(s.p[i]);
		bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
		if (c == '.') {
			if (label == 0 || s.p[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!alnum && (c != '-' || label == 0))
			return false;
		if (++label > 63)
			return false;
	}
	return label > 0 && s.p[s.n - 1] != '-';
}

static int
parse_port(struct slice s, uint16_t *out)
{
	uint64_t v;

	if (s.n > 5 || slice_u64(s, &v) != 0 || v < 1 || v > 65535)
		return -1;
	*out = (uint16_t)v;
	return 0;
}

/*
 * "host", "host:port", "[ip6]", "[ip6]:port". An IPv6 address without brackets
 * is refused: its last group would read as a port.
 */
static int
split_host_port(struct slice s, struct slice *host, uint16_t *port)
{
	size_t end;

	if (s.n > 0 && s.p[0] == '[') {
		end = slice_find(s, ']');
		if (end == s.n)
			return -1;
		*host = slice_sub(s, 1, end);
		end++;
	} else {
		end = slice_find(s, ':');
		*host = slice_sub(s, 0, end);
	}
	if (end == s.n)
		return 0;
	if (s.p[end] != ':')
		return -1;
	return parse_port(slice_sub(s, end + 1, s.n), port);
}

static bool
is_ip(struct slice s, int family)
{
	char text[INET6_ADDRSTRLEN + 1];
	struct in6_addr to;

	return slice_cstr(s, text, sizeof(text)) == 0 && inet_pton(family, text, &to) == 1;
}

int
conf_sockaddr(const char *text, unsigned port, char *out, size_t cap)
{
	struct slice s = slice_str(text), host;
	uint16_t p = (uint16_t)port;
	int n;

	if (is_ip(s, AF_INET6))
		host = s;
	else if (split_host_port(s, &host, &p) != 0)
		return -1;
	if (p == 0)
		return -1;
	if (is_ip(host, AF_INET) && (s.n == 0 || s.p[0] != '['))
		n = snprintf(out, cap, "%.*s:%u", SLICE_FMT(host), (unsigned)p);
	else if (is_ip(host, AF_INET6))
		n = snprintf(out, cap, "[%.*s]:%u", SLICE_FMT(host), (unsigned)p);
	else
		return -1;
	return n > 0 && (size_t)n < cap ? 0 : -1;
}

const char *
conf_route_parse(struct conf_route *r, const char *text)
{
	static const char *const wrong =
	    "is not a route: write mx, smtp://host:port or lmtp://host:port, an IPv6 address "
	    "in [ ]";
	struct slice s = slice_str(text), host;

	if (slice_ieq(s, SLICE_LIT("mx"))) {
		*r = (struct conf_route){ .kind = ROUTE_MX };
		return NULL;
	}
	uint16_t port = 0;
	enum conf_route_kind kind;
	if (slice_istarts(s, SLICE_LIT("smtp://"))) {
		kind = ROUTE_SMTP;
		port = 25;
	} else if (slice_istarts(s, SLICE_LIT("lmtp://"))) {
		kind = ROUTE_LMTP;
		port = 24;	/* private mail system; what stores usually listen on */
	} else {
		return wrong;
	}
	struct slice rest = slice_sub(s, 7, s.n);
	if (split_host_port(rest, &host, &port) != 0)
		return wrong;
	bool bracket = rest.n > 0 && rest.p[0] == '[';
	if (bracket ? !is_ip(host, AF_INET6) : !conf_hostname_ok(host))
		return wrong;
	char *copy = slice_dup(host);
	bytes_lower(copy, host.n);
	*r = (struct conf_route){ .kind = kind, .host = copy, .port = port };
	return NULL;
}

static bool
is_printable(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s == 0x7f)
			return false;
	return true;
}

static bool
is_ascii(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s > 0x7e)
			return false;
	return true;
}

static bool
is_email(const char *text)
{
	struct slice s = slice_str(text);
	size_t at = slice_rfind(s, '@');

	return at < s.n && at > 0 && at <= 64 && conf_hostname_ok(slice_sub(s, at + 1, s.n)) &&
	    slice_find(s, ' ') == s.n && slice_find(s, '<') == s.n && slice_find(s, '>') == s.n;
}

/* Every character of s is in set. */
static bool
only(const char *s, const char *set)
{
	return s[strspn(s, set)] == '\0';
}

#define LOWER_DIGITS	"abcdefghijklmnopqrstuvwxyz0123456789"
#define ATTRIBUTE	LOWER_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZ-.;"

/* The string types. NULL or what is wrong. */
static const char *
set_string(const struct conf_key *k, char **at, const char *text)
{
	size_t n = strlen(text);
	bool lower = false;

	switch (k->type) {
	case CONF_HOSTNAME:
		if (!is_printable(text) || !conf_hostname_ok(slice_str(text)))
			return "is not a host name: write letters, digits, hyphens and dots, no "
			    "dot at the end; beyond ASCII the xn-- form";
		lower = true;
		break;
	case CONF_SELECTOR:
		if (!conf_hostname_ok(slice_str(text)))
			return "is not a selector: write letters, digits, hyphens and dots";
		break;
	case CONF_ATTRIBUTE:
		if (n < 1 || n > 128 || !only(text, ATTRIBUTE) || strchr("-.;", text[0]) != NULL)
			return "is not an LDAP attribute: write letters, digits and hyphens";
		break;
	case CONF_WORDS:
		if (n < 1 || n > 64 || !is_printable(text) || !is_ascii(text))
			return "is not a name: write up to 64 characters of ASCII";
		break;
	case CONF_PATH:
		if (text[0] != '/' || n > 4000 || !is_printable(text))
			return "is not an absolute path: write it from / on";
		break;
	case CONF_EMAIL:
		if (n > 254 || !is_printable(text) || !is_email(text))
			return "is not a mail address: write name@domain";
		break;
	case CONF_NODE:
		if (n < 1 || n > 8 || !only(text, LOWER_DIGITS))
			return "is not a node name: write 1 to 8 of a-z and 0-9";
		break;
	case CONF_SEPARATORS:
		if (n > 4 || !only(text, "+-_=.#!~/|%&*^$"))
			return "is not a set of separators: write up to 4 of +-_=.#!~/|%&*^$, or "
			    "\"\" for none";
		break;
	case CONF_COUNT: case CONF_PORT: case CONF_SIZE: case CONF_TIME: case CONF_DAYS:
	case CONF_BOOL: case CONF_CHOICE: case CONF_CHOICE_BOOL: case CONF_CHOICE_STR:
	case CONF_ROUTE: case CONF_ADDRESS: case CONF_ADDRESSES: case CONF_NAMES:
	case CONF_NODE_ROUTES:
	case CONF_NETWORKS: case CONF_HOSTS:
		CHECK(k->type == CONF_HOSTNAME);
	}
	free(*at);
	*at = mem_str(text);
	if (lower)
		bytes_lower(*at, n);
	return NULL;
}

/* The types with min and max. */
static const char *
set_number(const struct conf_key *k, void *at, const char *text, char *why, size_t cap)
{
	uint64_t v;
	const char *bad;
	bool time = k->type == CONF_TIME || k->type == CONF_DAYS;
	struct buf range;

	if (time)
		bad = parse_scaled(text, time_units, NUNITS(time_units), false, &v);
	else if (k->type == CONF_SIZE)
		bad = parse_scaled(text, size_units, NUNITS(size_units), true, &v);
	else
		bad = slice_u64(slice_str(text), &v) == 0 ? NULL : "is not a number";
	if (bad == NULL && (v < k->min || v > k->max))
		bad = "is out of range";
	if (bad == NULL && k->type == CONF_DAYS && v % 86400 != 0)
		bad = "is not in whole days";
	if (bad != NULL) {
		buf_init(&range, 512);
		conf_value_range(k, &range);
		struct slice r = buf_slice(&range);
		(void)snprintf(why, cap, "%s: write a %.*s", bad, SLICE_FMT(r));
		buf_fini(&range);
		return why;
	}
	if (k->type == CONF_SIZE)
		*(uint64_t *)at = v;
	else if (k->type == CONF_TIME)
		*(int64_t *)at = (int64_t)v * 1000;
	else if (k->type == CONF_PORT)
		*(uint16_t *)at = (uint16_t)v;
	else
		*(unsigned *)at = (unsigned)(k->type == CONF_DAYS ? v / 86400 : v);
	return NULL;
}

static const char *
set_choice(const struct conf_key *k, void *at, const char *text, char *why, size_t cap)
{
	for (unsigned i = 0; k->choices[i] != NULL; i++) {
		if (strcasecmp(k->choices[i], text) != 0)
			continue;
		if (k->type == CONF_CHOICE) {
			*(unsigned *)at = i;
		} else if (k->type == CONF_CHOICE_BOOL) {
			*(bool *)at = i == 1;
		} else {
			free(*(char **)at);
			*(char **)at = mem_str(k->choices[i]);
		}
		return NULL;
	}
	struct buf range;
	buf_init(&range, 512);
	conf_value_range(k, &range);
	struct slice r = buf_slice(&range);
	(void)snprintf(why, cap, "is none of its words: write %.*s", SLICE_FMT(r));
	buf_fini(&range);
	return why;
}

static const char *
set_bool(bool *at, const char *text)
{
	bool yes = strcasecmp(text, "yes") == 0;

	if (!yes && strcasecmp(text, "no") != 0)
		return "is neither yes nor no: write one of them";
	*at = yes;
	return NULL;
}

/* Appends to the list; called once an item. */
static const char *
add_address(const struct conf_key *k, void *base, const char *text)
{
	char norm[80], ***list = (char ***)((char *)base + k->offset);
	size_t *n = (size_t *)((char *)base + k->count);

	if (*n >= 16)
		return "are more than 16: remove some";
	if (conf_sockaddr(text, 53, norm, sizeof(norm)) != 0)
		return "is not an address: write 127.0.0.1, 127.0.0.1:53 or [::1]:53";
	*list = mem_resize(*list, *n + 1, sizeof(char *));
	(*list)[(*n)++] = mem_str(norm);
	return NULL;
}

/* "inet:" in front is how such addresses are written elsewhere. */
static const char *
set_address(char **at, const char *text)
{
	char norm[80];

	if (strncmp(text, "inet:", 5) == 0)
		text += 5;
	if (conf_sockaddr(text, 0, norm, sizeof(norm)) != 0)
		return "is not an address with a port: write 127.0.0.1:11332 or [::1]:11332";
	free(*at);
	*at = mem_str(norm);
	return NULL;
}

/* Likewise. */
static const char *
add_name(const struct conf_key *k, void *base, const char *text)
{
	char ***list = (char ***)((char *)base + k->offset);
	size_t *n = (size_t *)((char *)base + k->count);

	if (*n >= NAMES_MAX)
		return "are more than 2000: remove some";
	if (!conf_hostname_ok(slice_str(text)))
		return "is not a domain name: write letters, digits, hyphens and dots, no dot at "
		    "the end; beyond ASCII the xn-- form";
	*list = mem_resize(*list, *n + 1, sizeof(char *));
	(*list)[*n] = mem_str(text);
	bytes_lower((*list)[(*n)++], strlen(text));
	return NULL;
}

/* Likewise. */
static const char *
add_network(const struct conf_key *k, void *base, const char *text)
{
	char norm[NETWORK_TEXT], ***list = (char ***)((char *)base + k->offset);
	size_t *n = (size_t *)((char *)base + k->count);
	struct network net;

	if (*n >= NAMES_MAX)
		return "are more than 2000: remove some";
	if (network_parse(slice_str(text), &net) != 0)
		return "is not a network: write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32, with "
		    "nothing but zeros after the prefix";
	network_print(&net, norm);
	*list = mem_resize(*list, *n + 1, sizeof(char *));
	(*list)[(*n)++] = mem_str(norm);
	return NULL;
}

/* Likewise: "host:port", "[ip6]:port". */
static const char *
add_host(const struct conf_key *k, void *base, const char *text)
{
	char ***list = (char ***)((char *)base + k->offset);
	size_t *n = (size_t *)((char *)base + k->count);
	struct slice host = SLICE_NONE;
	uint16_t port = 0;

	if (*n >= 16)
		return "are more than 16: remove some";
	if (split_host_port(slice_str(text), &host, &port) != 0 || port == 0 ||
	    (text[0] == '[' ? !is_ip(host, AF_INET6) : !conf_hostname_ok(host)))
		return "is not a host with a port: write ns.example.net:53, 192.0.2.1:443 or "
		    "[2001:db8::1]:443";
	*list = mem_resize(*list, *n + 1, sizeof(char *));
	(*list)[*n] = mem_str(text);
	bytes_lower((*list)[(*n)++], strlen(text));
	return NULL;
}

/* Likewise: "n2=host:port", blanks around '=' allowed. */
static const char *
add_node_route(const struct conf_key *k, void *base, const char *text)
{
	char ***list = (char ***)((char *)base + k->offset), norm[300];
	size_t *n = (size_t *)((char *)base + k->count), eq = slice_find(slice_str(text), '=');
	struct slice node = slice_trim(slice_sub(slice_str(text), 0, eq)), host = SLICE_NONE;
	struct slice to = slice_trim(slice_sub(slice_str(text), eq + 1, strlen(text)));
	uint16_t port = 0;

	text += strspn(text, " \t");

	if (*n >= 64)
		return "are more than 64: remove some";
	if (node.n < 1 || node.n > 8 || strspn(text, LOWER_DIGITS) < node.n || split_host_port(to, &host, &port) != 0 || port == 0 || to.n == 0 ||
	    (to.p[0] == '[' ? !is_ip(host, AF_INET6) : !conf_hostname_ok(host)) ||
	    node.n + to.n + 2 > sizeof(norm))
		return "is not a node and its relay: write n2=mx3.example.net:25, n2=192.0.2.1:25 "
		    "or n2=[2001:db8::1]:25";
	(void)snprintf(norm, sizeof(norm), "%.*s=%.*s", SLICE_FMT(node), SLICE_FMT(to));
	bytes_lower(norm, strlen(norm));
	for (size_t i = 0; i < *n; i++)
		if (strncmp((*list)[i], norm, node.n + 1) == 0)
			return "names a node twice: one node, one relay";
	*list = mem_resize(*list, *n + 1, sizeof(char *));
	(*list)[(*n)++] = mem_str(norm);
	return NULL;
}

const char *
conf_value_set(const struct conf_key *k, void *base, const char *text, char *why, size_t cap)
{
	void *at = (char *)base + k->offset;

	switch (k->type) {
	case CONF_HOSTNAME:
	case CONF_PATH:
	case CONF_EMAIL:
	case CONF_NODE:
	case CONF_SELECTOR:
	case CONF_ATTRIBUTE:
	case CONF_WORDS:
	case CONF_SEPARATORS:
		return set_string(k, at, text);
	case CONF_COUNT:
	case CONF_PORT:
	case CONF_SIZE:
	case CONF_TIME:
	case CONF_DAYS:
		return set_number(k, at, text, why, cap);
	case CONF_BOOL:
		return set_bool(at, text);
	case CONF_CHOICE:
	case CONF_CHOICE_BOOL:
	case CONF_CHOICE_STR:
		return set_choice(k, at, text, why, cap);
	case CONF_ROUTE:
		return conf_route_parse(at, text);
	case CONF_ADDRESS:
		return set_address(at, text);
	case CONF_ADDRESSES:
		return add_address(k, base, text);
	case CONF_NAMES:
		return add_name(k, base, text);
	case CONF_NETWORKS:
		return add_network(k, base, text);
	case CONF_HOSTS:
		return add_host(k, base, text);
	case CONF_NODE_ROUTES:
		return add_node_route(k, base, text);
	}
	return "has a type unknown to us";
}

void
conf_route_fini(struct conf_route *r)
{
	free(r->host);
	r->host = NULL;
}

void
conf_value_free(const struct conf_key *k, void *base)
{
	void *at = (char *)base + k->offset;

	switch (k->type) {
	case CONF_HOSTNAME:
	case CONF_PATH:
	case CONF_EMAIL:
	case CONF_NODE:
	case CONF_SELECTOR:
	case CONF_ATTRIBUTE:
	case CONF_WORDS:
	case CONF_SEPARATORS:
	case CONF_CHOICE_STR:
	case CONF_ADDRESS:
		free(*(char **)at);
		*(char **)at = NULL;
		break;
	case CONF_ROUTE:
		conf_route_fini(at);
		break;
	case CONF_ADDRESSES:
	case CONF_NAMES:
	case CONF_NODE_ROUTES:
	case CONF_HOSTS:
	case CONF_NETWORKS: {
		char **list = *(char ***)at;
		size_t *n = (size_t *)((char *)base + k->count);
		for (size_t i = 0; i < *n; i++)
			free(list[i]);
		free(list);
		*(char ***)at = NULL;
		*n = 0;
		break;
	}
	case CONF_COUNT: case CONF_PORT: case CONF_SIZE: case CONF_TIME: case CONF_DAYS:
	case CONF_BOOL: case CONF_CHOICE: case CONF_CHOICE_BOOL:
		break;
	}
}

static void
put(struct buf *out, const char *s)
{
	CHECK(buf_puts(out, s) == 0);
}

static void
put_quoted(struct buf *out, const char *s)
{
	put(out, "\"");
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\' || *s == '$')
			put(out, "\\");
		CHECK(buf_put(out, s, 1) == 0);
	}
	put(out, "\"");
}

static void
put_route(struct buf *out, const struct conf_route *r)
{
	if (r->kind == ROUTE_MX) {
		put(out, "mx");
		return;
	}
	bool ip6 = strchr(r->host, ':') != NULL;
	CHECK(buf_printf(out, "\"%s://%s%s%s:%u\"", r->kind == ROUTE_SMTP ? "smtp" : "lmtp",
	    ip6 ? "[" : "", r->host, ip6 ? "]" : "", (unsigned)r->port) == 0);
}

static void
put_list(struct buf *out, char *const *list, size_t n)
{
	if (n == 0)
		return;
	put(out, "{ ");
	for (size_t i = 0; i < n; i++) {
		put(out, i > 0 ? ", " : "");
		put_quoted(out, list[i]);
	}
	put(out, " }");
}

void
conf_value_print(const struct conf_key *k, const void *base, struct buf *out)
{
	const void *at = (const char *)base + k->offset;
	char num[32];

	switch (k->type) {
	case CONF_HOSTNAME:
	case CONF_PATH:
	case CONF_EMAIL:
	case CONF_NODE:
	case CONF_SELECTOR:
	case CONF_ATTRIBUTE:
	case CONF_WORDS:
	case CONF_SEPARATORS:
	case CONF_CHOICE_STR:
	case CONF_ADDRESS:
		if (*(char *const *)at != NULL)
			put_quoted(out, *(char *const *)at);
		break;
	case CONF_COUNT:
		CHECK(buf_printf(out, "%u", *(const unsigned *)at) == 0);
		break;
	case CONF_PORT:
		CHECK(buf_printf(out, "%u", (unsigned)*(const uint16_t *)at) == 0);
		break;
	case CONF_SIZE:
		conf_size_print(*(const uint64_t *)at, num, sizeof(num));
		put(out, num);
		break;
	case CONF_TIME:
		conf_time_print((uint64_t)*(const int64_t *)at / 1000, num, sizeof(num));
		put(out, num);
		break;
	case CONF_DAYS:
		CHECK(buf_printf(out, "%ud", *(const unsigned *)at) == 0);
		break;
	case CONF_BOOL:
		put(out, *(const bool *)at ? "yes" : "no");
		break;
	case CONF_CHOICE:
		put(out, k->choices[*(const unsigned *)at]);
		break;
	case CONF_CHOICE_BOOL:
		put(out, k->choices[*(const bool *)at ? 1 : 0]);
		break;
	case CONF_ROUTE:
		put_route(out, at);
		break;
	case CONF_ADDRESSES:
	case CONF_NAMES:
	case CONF_NODE_ROUTES:
	case CONF_HOSTS:
	case CONF_NETWORKS:
		put_list(out, *(char *const *const *)at,
		    *(const size_t *)((const char *)base + k->count));
		break;
	}
}

void
conf_value_range(const struct conf_key *k, struct buf *out)
{
	char lo[32], hi[32];

	switch (k->type) {
	case CONF_HOSTNAME:
		put(out, "host name");
		break;
	case CONF_PATH:
		put(out, "path from / on");
		break;
	case CONF_EMAIL:
		put(out, "mail address");
		break;
	case CONF_NODE:
		put(out, "1 to 8 of a-z and 0-9");
		break;
	case CONF_SELECTOR:
		put(out, "DKIM selector");
		break;
	case CONF_ATTRIBUTE:
		put(out, "LDAP attribute");
		break;
	case CONF_WORDS:
		put(out, "up to 64 characters of ASCII");
		break;
	case CONF_SEPARATORS:
		put(out, "up to 4 characters");
		break;
	case CONF_COUNT:
	case CONF_PORT:
		CHECK(buf_printf(out, "number, %llu to %llu", (unsigned long long)k->min,
		    (unsigned long long)k->max) == 0);
		break;
	case CONF_SIZE:
		conf_size_print(k->min, lo, sizeof(lo));
		conf_size_print(k->max, hi, sizeof(hi));
		CHECK(buf_printf(out, "size, %s to %s, in bytes, k, M, G or T", lo, hi) == 0);
		break;
	case CONF_TIME:
	case CONF_DAYS:
		conf_time_print(k->min, lo, sizeof(lo));
		conf_time_print(k->max, hi, sizeof(hi));
		CHECK(buf_printf(out, "time, %s to %s, in s, m, h, d or w", lo, hi) == 0);
		break;
	case CONF_BOOL:
		put(out, "yes or no");
		break;
	case CONF_CHOICE:
	case CONF_CHOICE_BOOL:
	case CONF_CHOICE_STR:
		for (size_t i = 0; k->choices[i] != NULL; i++)
			CHECK(buf_printf(out, "%s%s", i == 0 ? "" :
			    k->choices[i + 1] == NULL ? " or " : ", ", k->choices[i]) == 0);
		break;
	case CONF_ROUTE:
		put(out, "route: mx, smtp://host:port or lmtp://host:port");
		break;
	case CONF_ADDRESS:
		put(out, "address with port");
		break;
	case CONF_ADDRESSES:
		put(out, "list of addresses");
		break;
	case CONF_NAMES:
		put(out, "list of domain names");
		break;
	case CONF_NETWORKS:
		put(out, "list of networks");
		break;
	case CONF_HOSTS:
		put(out, "list of host:port");
		break;
	case CONF_NODE_ROUTES:
		put(out, "list of node=host:port");
		break;
	}
}

// SPDX-License-Identifier: Apache-2.0
/*
 * libcurl is loaded by the relays when they start, not linked: it brings 25 more libraries,
 * about a megabyte of memory in each process, and all other roles are the same binary.
 *
 * libcurl tells which descriptors and which timeout it wants, as c-ares does
 * (relay/dns_net.c). It must not be called back into from its own callbacks, so finished
 * transfers are handed out from a timer of zero.
 */
#include "relay/https.h"

#define CURL_DISABLE_TYPECHECK	/* its macros would name the functions */
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"

enum { HTTPS_SOCKETS_MAX = 256 };

#define HTTPS_LIBRARY	"libcurl.so.4"
#define HTTPS_FUNCTIONS(X) X(global_init) X(global_cleanup) X(multi_init) X(multi_cleanup) \
	X(multi_setopt) X(multi_socket_action) X(multi_info_read) X(multi_add_handle) \
	X(multi_remove_handle) X(easy_init) X(easy_cleanup) X(easy_setopt) X(easy_getinfo) \
	X(easy_strerror) X(slist_append) X(slist_free_all)

struct https_library {
	void	*handle;
#define X(f) __typeof__(&curl_##f) f;
	HTTPS_FUNCTIONS(X)
#undef X
};

struct https_get {
	TAILQ_ENTRY(https_get)	 link;
	struct https		*https;		/* borrowed */
	CURL			*easy;		/* owned */
	struct curl_slist	*resolve;	/* owned */
	struct buf		 body;
	bool			 too_large;
	bool			 done;
	CURLcode		 result;
	char			 error[CURL_ERROR_SIZE];
	https_fn		*fn;
	void			*arg;
};

struct https_socket {
	struct https	*https;
	struct watch	*watch;		/* NULL: slot free */
	int		 fd;		/* libcurl's */
};

struct https {
	struct https_library	 curl;
	struct loop		*loop;		/* borrowed, as the next */
	struct tls_context	*tls;
	CURLM			*multi;		/* owned */
	struct timer		*timer;		/* libcurl's next timeout */
	struct timer		*finish;	/* hands out what is done */
	TAILQ_HEAD(, https_get)	 gets;
	struct https_socket	 socket[HTTPS_SOCKETS_MAX];
};

static void
https_collect(struct https *h)
{
	struct https_get *g;
	CURLMsg *m;
	int left;

	while ((m = h->curl.multi_info_read(h->multi, &left)) != NULL) {
		if (m->msg != CURLMSG_DONE)
			continue;
		g = NULL;
		(void)h->curl.easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&g);
		if (g == NULL)
			continue;
		g->done = true;
		g->result = m->data.result;
		timer_arm(h->finish, 0);
	}
}

static void
https_ready(void *arg, int fd, unsigned ready)
{
	struct https_socket *s = arg;
	struct https *h = s->https;
	int running;

	(void)h->curl.multi_socket_action(h->multi, fd,
	    ((ready & LOOP_READ) != 0 ? CURL_CSELECT_IN : 0) |
	    ((ready & LOOP_WRITE) != 0 ? CURL_CSELECT_OUT : 0), &running);
	https_collect(h);
}

static void
https_timeout(void *arg)
{
	struct https *h = arg;
	int running;

	(void)h->curl.multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	https_collect(h);
}

static int
https_on_timer(CURLM *multi, long ms, void *arg)
{
	struct https *h = arg;

	(void)multi;
	if (ms < 0)
		timer_cancel(h->timer);
	else
		timer_arm(h->timer, ms);
	return 0;
}

static struct https_socket *
https_slot(struct https *h, int fd)
{
	struct https_socket *unused = NULL;
	size_t i;

	for (i = 0; i < HTTPS_SOCKETS_MAX; i++) {
		if (h->socket[i].watch != NULL && h->socket[i].fd == fd)
			return &h->socket[i];
		if (h->socket[i].watch == NULL)
			unused = &h->socket[i];
	}
	return unused;
}

static int
https_on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *slot)
{
	struct https *h = arg;
	struct https_socket *s = https_slot(h, fd);

	(void)easy;
	(void)slot;
	if (s == NULL)
		return -1;
	if (what == CURL_POLL_REMOVE) {
		watch_free(&s->watch);
		return 0;
	}
	if (s->watch == NULL) {
		s->https = h;
		s->fd = fd;
		s->watch = watch_new(h->loop, fd, https_ready, s);
	}
	watch_want(s->watch, ((what & CURL_POLL_IN) != 0 ? LOOP_READ : 0u) |
	    ((what & CURL_POLL_OUT) != 0 ? LOOP_WRITE : 0u));
	return 0;
}

static size_t
https_on_body(char *p, size_t size, size_t n, void *arg)
{
	struct https_get *g = arg;

	if (buf_put(&g->body, p, size * n) == 0)
		return size * n;
	g->too_large = true;
	return 0;	/* ends the transfer */
}

/* libcurl would read the store anew from the disk for each connection, which costs tens of
 * milliseconds and, confined, fails. */
static CURLcode
https_on_tls(CURL *easy, void *ctx, void *arg)
{
	struct https *h = arg;

	(void)easy;
	tls_context_lend(h->tls, ctx);
	return CURLE_OK;
}

static void
https_get_free(struct https_get *g)
{
	struct https *h = g->https;

	TAILQ_REMOVE(&h->gets, g, link);
	(void)h->curl.multi_remove_handle(h->multi, g->easy);
	h->curl.easy_cleanup(g->easy);
	h->curl.slist_free_all(g->resolve);
	buf_fini(&g->body);
	free(g);
}

static void
https_tell(struct https_get *g)
{
	struct https_reply r = { .error = "" };
	struct https *h = g->https;
	char *type = NULL;
	long status = 0;

	if (g->result == CURLE_OK) {
		(void)h->curl.easy_getinfo(g->easy, CURLINFO_RESPONSE_CODE, &status);
		(void)h->curl.easy_getinfo(g->easy, CURLINFO_CONTENT_TYPE, &type);
		r.status = (unsigned)status;
		r.type = slice_str(type);
		r.body = buf_slice(&g->body);
	} else if (g->too_large) {
		r.error = "the reply is too large";
	} else {
		r.error = g->error[0] != '\0' ? g->error : h->curl.easy_strerror(g->result);
	}
	g->fn(g->arg, &r);
}

static void
https_finish(void *arg)
{
	struct https *h = arg;
	struct https_get *g;

	do {	/* a callback may start and cancel others */
		TAILQ_FOREACH(g, &h->gets, link)
			if (g->done)
				break;
		if (g != NULL) {
			https_tell(g);
			https_get_free(g);
		}
	} while (g != NULL);
}

/* 0 or -1. */
static int
https_load(struct https_library *c)
{
	c->handle = dlopen(HTTPS_LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (c->handle == NULL)
		return -1;
#define X(f) if ((c->f = (__typeof__(c->f))dlsym(c->handle, "curl_" #f)) == NULL) return -1;
	HTTPS_FUNCTIONS(X)
#undef X
	return 0;
}

struct https *
https_new(struct loop *l, struct tls_context *tls)
{
	struct https *h = mem_new(sizeof(*h));

	h->loop = l;
	h->tls = tls;
	TAILQ_INIT(&h->gets);
	if (https_load(&h->curl) != 0) {
		const char *why = dlerror();

		log_error("https-start", "error=%s fix=\"install libcurl4, or write mta-sts = "
		    "no\"", log_escs(why == NULL ? HTTPS_LIBRARY " cannot be used" : why));
		free(h);
		return NULL;
	}
	if (h->curl.global_init(CURL_GLOBAL_NOTHING) != CURLE_OK ||
	    (h->multi = h->curl.multi_init()) == NULL) {
		log_error("https-start", "error=\"libcurl does not start\"");
		free(h);
		return NULL;
	}
	h->timer = timer_new(l, https_timeout, h);
	h->finish = timer_new(l, https_finish, h);
	(void)h->curl.multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, https_on_socket);
	(void)h->curl.multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	(void)h->curl.multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, https_on_timer);
	(void)h->curl.multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	(void)h->curl.multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, 4L);
	return h;
}

void
https_free(struct https **hp)
{
	struct https *h = *hp;
	size_t i;

	*hp = NULL;
	if (h == NULL)
		return;
	CHECK(TAILQ_EMPTY(&h->gets));
	(void)h->curl.multi_cleanup(h->multi);
	for (i = 0; i < HTTPS_SOCKETS_MAX; i++)
		watch_free(&h->socket[i].watch);
	timer_free(&h->timer);
	timer_free(&h->finish);
	h->curl.global_cleanup();
	free(h);
}

/* Each of these is one thing libcurl would otherwise decide by files, environment or the
 * server's word. */
static bool
https_options(struct https_get *g, const struct https_want *w, const char *url)
{
	struct https *h = g->https;
	CURL *e = g->easy;
	CURLcode r = CURLE_OK;

#define SET(option, value) (r = r != CURLE_OK ? r : h->curl.easy_setopt(e, option, value))
	SET(CURLOPT_URL, url);
	SET(CURLOPT_PRIVATE, (void *)g);
	SET(CURLOPT_ERRORBUFFER, g->error);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);	/* RFC 8461 3.3 */
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOPROXY, "*");
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_RESOLVE, g->resolve);
	SET(CURLOPT_TIMEOUT_MS, (long)w->timeout_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)w->timeout_ms);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_CAINFO, NULL);
	SET(CURLOPT_CAPATH, NULL);
	SET(CURLOPT_SSL_CTX_FUNCTION, https_on_tls);
	SET(CURLOPT_SSL_CTX_DATA, h);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_USERAGENT, "Salvaposta");
	SET(CURLOPT_WRITEFUNCTION, https_on_body);
	SET(CURLOPT_WRITEDATA, g);
	SET(CURLOPT_FORBID_REUSE, 1L);
#undef SET
	return r == CURLE_OK;
}

struct https_get *
https_fetch(struct https *h, const struct https_want *w, https_fn *fn, void *arg)
{
	struct https_get *g = mem_new(sizeof(*g));
	char url[1024], resolve[1024];

	g->https = h;
	g->fn = fn;
	g->arg = arg;
	buf_init(&g->body, w->size_max);
	TAILQ_INSERT_TAIL(&h->gets, g, link);
	g->easy = h->curl.easy_init();
	if (g->easy == NULL ||
	    snprintf(url, sizeof(url), "https://%s:%u%s", w->host, w->port, w->path) >=
	    (int)sizeof(url) ||
	    snprintf(resolve, sizeof(resolve), "%s:%u:%s", w->host, w->port, w->addresses) >=
	    (int)sizeof(resolve))
		goto fail;
	g->resolve = h->curl.slist_append(NULL, resolve);
	if (g->resolve == NULL || !https_options(g, w, url) ||
	    h->curl.multi_add_handle(h->multi, g->easy) != CURLM_OK)
		goto fail;
	return g;
fail:
	https_get_free(g);
	return NULL;
}

void
https_cancel(struct https_get **gp)
{
	struct https_get *g = *gp;

	*gp = NULL;
	if (g != NULL)
		https_get_free(g);
}

// SPDX-License-Identifier: Apache-2.0
#include "relay/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proto/super.h"
#include "policy/directory_role.h"
#include "policy/seal_role.h"
#include "policy/verify_role.h"
#include "queue/queue_role.h"
#include "relay/relay_role.h"
#include "relay/resource.h"

enum {
	CHILDREN_MAX = 3 * ROLE_PEERS_MAX + 2,
	ROLE_FD = 3,			/* where a role finds the supervisor's channel */
	RESTART_FIRST_MS = 50, RESTART_MAX_MS = 5000,
	STABLE_MS = 10000,		/* a role that ran this long is restarted at once */
	STOP_STAGE_MS = 10000,		/* then it is killed: nothing acknowledged is lost */
	ASK_MS = 1000
};

struct super;

struct child {
	struct super	*super;
	enum role_kind	 kind;
	unsigned	 index;
	pid_t		 pid;		/* 0: not running */
	struct ipc	*ch;
	struct timer	*restart;
	int64_t		 born_ms;	/* monotonic */
	int64_t		 wait_ms;	/* before the next restart */
	unsigned	 restarts;
	bool		 ready;
	char		*answer;	/* to the ask under way; owned */
	uint64_t	 answered;	/* its number */
};

struct ask {				/* a question of the queue about all roles */
	struct ask	*next;
	struct super	*super;
	uint64_t	 req;		/* the queue's */
	uint64_t	 own;		/* ours, to the roles */
	unsigned	 waiting;
	struct timer	*timer;
};

struct super {
	struct loop		*loop;
	struct conf		*conf;
	const char		*file;
	int			 conf_fd;	/* the text in force, sealed */
	char		*control_socket; /* as we bound it, whatever is configured by now; or NULL */
	struct resource_set	 sockets, files;
	struct child		 child[CHILDREN_MAX];
	unsigned		 nchild;
	struct ask		*asks;
	uint64_t		 last_ask;
	int64_t			 born_ms;
	struct timer		*stop_timer;
	bool			 ready;		/* all roles were ready once */
	int			 stage;		/* of stopping; -1: running */
	int			 status;
};

/* Who talks with whom (design 2); every process of the one with every of the other. */
static const enum role_kind pairs[][2] = {
	{ ROLE_RELAY, ROLE_DIRECTORY }, { ROLE_RELAY, ROLE_VERIFY }, { ROLE_RELAY, ROLE_SEAL },
	{ ROLE_RELAY, ROLE_QUEUE }, { ROLE_QUEUE, ROLE_DIRECTORY }, { ROLE_QUEUE, ROLE_SEAL },
};

/* The relays first: no new mail while the rest goes. The queue last: it settles what
 * the others still tell it. */
static const enum role_kind stop_order[] = { ROLE_RELAY, ROLE_VERIFY, ROLE_SEAL,
	ROLE_DIRECTORY, ROLE_QUEUE };
enum { STOP_STAGES = sizeof(stop_order) / sizeof(stop_order[0]) };

static const struct role_ops *
role_ops_of(enum role_kind k)
{
	switch (k) {
	case ROLE_RELAY:
		return &relay_ops;
	case ROLE_VERIFY:
		return &verify_ops;
	case ROLE_DIRECTORY:
		return &directory_ops;
	case ROLE_SEAL:
		return &seal_ops;
	case ROLE_QUEUE:
		return &queue_ops;
	case ROLE_SUPER:
	case ROLE_MAX:
		break;
	}
	return NULL;
}

int
supervisor_role(const char *name, unsigned index)
{
	for (enum role_kind k = ROLE_RELAY; k < ROLE_MAX; k++)
		if (strcmp(role_name(k), name) == 0)
			return role_main(role_ops_of(k), index, ROLE_FD);
	log_error("start", "role=%s error=\"no such role\"", log_escs(name));
	return 1;
}

static void
say(struct child *c, uint32_t type, struct slice name, enum role_kind peer, unsigned index, int fd)
{
	struct super_name m = { (uint8_t)peer, (uint16_t)index, name };

	/* A dead child is noticed by SIGCHLD. */
	if (c->ch != NULL)
		(void)ipc_send(c->ch, type, &super_name_wire, &m, fd);
}

static void
give_resources(struct child *c, const struct resource_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->item[i].role == c->kind &&
		    (s->item[i].index < 0 || s->item[i].index == (int)c->index))
			say(c, SUPER_RESOURCE, slice_str(s->item[i].name), 0, 0, s->item[i].fd);
}

static bool
talks(enum role_kind a, enum role_kind b)
{
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if ((pairs[i][0] == a && pairs[i][1] == b) || (pairs[i][0] == b && pairs[i][1] == a))
			return true;
	return false;
}

static void
join(struct child *a, struct child *b)
{
	int fd[2];

	if (ipc_pair(fd) != 0) {
		log_error("link", "error=\"%m\"");
		return;
	}
	say(a, SUPER_LINK, SLICE_NONE, b->kind, b->index, fd[0]);
	say(b, SUPER_LINK, SLICE_NONE, a->kind, a->index, fd[1]);
	close(fd[0]);
	close(fd[1]);
}

static void check_ready(struct super *s);
static void answer_done(struct super *s, struct ask *a);

static void
keep_answer(struct child *c, const struct super_text *m)
{
	free(c->answer);
	c->answer = slice_dup(m->text);
	c->answered = m->req;
	for (struct ask *a = c->super->asks; a != NULL; a = a->next)
		if (a->own == m->req && --a->waiting == 0) {
			answer_done(c->super, a);
			return;
		}
}

static void begin_ask(struct super *s, uint64_t req);

static void
on_child(void *arg, struct ipc *ch, uint32_t type, struct slice body, int fd)
{
	struct child *c = arg;
	struct super_text m;

	(void)ch;
	if (fd >= 0)
		close(fd);	/* roles give us nothing */
	if (type == SUPER_READY) {
		c->ready = true;
		check_ready(c->super);
	} else if ((type == SUPER_ANSWER || type == SUPER_ASK) &&
	    wire_get(body, &super_text_wire, &m) == 0) {
		if (type == SUPER_ANSWER)
			keep_answer(c, &m);
		else if (c->kind == ROLE_QUEUE)
			begin_ask(c->super, m.req);
	}
}

static void
on_child_close(void *arg, struct ipc *ch)
{
	struct child *c = arg;

	if (c->ch == ch)
		ipc_free(&c->ch);
}

static int
spawn(struct child *c)
{
	int fd[2];
	char index[12];

	if (ipc_pair(fd) != 0)
		return -1;
	snprintf(index, sizeof(index), "%u", c->index);
	pid_t pid = fork();
	if (pid < 0) {
		close(fd[0]);
		close(fd[1]);
		return -1;
	}
	if (pid == 0) {
		/* Everything of ours is close-on-exec; only the channel survives. */
		if (dup2(fd[1], ROLE_FD) < 0 || close_range(ROLE_FD + 1, ~0u, 0) != 0)
			_exit(127);
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl("/proc/self/exe", "salvaposta", "role", role_name(c->kind), index, (char *)NULL);
		_exit(127);
	}
	close(fd[1]);
	c->pid = pid;
	c->ready = false;
	c->born_ms = clock_mono_ms();
	c->ch = ipc_new(c->super->loop, fd[0], on_child, on_child_close, c);
	say(c, SUPER_CONF, slice_str(c->super->file), 0, 0, c->super->conf_fd);
	give_resources(c, &c->super->sockets);
	give_resources(c, &c->super->files);
	return 0;
}

static void
bring_back(void *arg)
{
	struct child *c = arg;
	struct super *s = c->super;

	if (s->stage >= 0)
		return;
	if (spawn(c) != 0) {
		log_error("restart", "role=%s index=%u error=\"%m\"", role_name(c->kind), c->index);
		timer_arm(c->restart, RESTART_MAX_MS);
		return;
	}
	c->restarts++;
	for (unsigned i = 0; i < s->nchild; i++)
		if (s->child[i].pid > 0 && talks(c->kind, s->child[i].kind))
			join(c, &s->child[i]);
	say(c, SUPER_GO, SLICE_NONE, 0, 0, -1);
}

static void
fail_start(struct super *s, const struct child *c)
{
	log_error("start", "role=%s index=%u error=\"did not start\" fix=\"see the lines above\"",
	    role_name(c->kind), c->index);
	s->status = 1;
	for (unsigned i = 0; i < s->nchild; i++)
		if (s->child[i].pid > 0)
			kill(s->child[i].pid, SIGKILL);
	loop_stop(s->loop);
}

static void next_stage(struct super *s);

static void
on_death(struct child *c, int status)
{
	struct super *s = c->super;
	int64_t ran = clock_mono_ms() - c->born_ms;

	c->pid = 0;
	ipc_free(&c->ch);
	if (s->stage >= 0) {
		next_stage(s);
		return;
	}
	log_error("role-died", "role=%s index=%u %s=%d after_ms=%lld", role_name(c->kind), c->index,
	    WIFSIGNALED(status) ? "signal" : "exit",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), (long long)ran);
	if (!s->ready) {
		fail_start(s, c);
		return;
	}
	if (ran >= STABLE_MS || c->wait_ms == 0)
		c->wait_ms = RESTART_FIRST_MS;
	else
		c->wait_ms = c->wait_ms * 2 < RESTART_MAX_MS ? c->wait_ms * 2 : RESTART_MAX_MS;
	timer_arm(c->restart, ran >= STABLE_MS ? 0 : c->wait_ms);
}

static void
on_sigchld(void *arg)
{
	struct super *s = arg;

	for (unsigned i = 0; i < s->nchild; i++) {
		int status;
		if (s->child[i].pid > 0 && waitpid(s->child[i].pid, &status, WNOHANG) > 0)
			on_death(&s->child[i], status);
	}
}

/* A service manager that wants to know (sd_notify's protocol: one datagram). */
static void
notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (path == NULL || slice_cstr(slice_str(path), un.sun_path, sizeof(un.sun_path)) != 0)
		return;
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (un.sun_path[0] == '@')
		un.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&un, len);
	close(fd);
}

static void
check_ready(struct super *s)
{
	for (unsigned i = 0; i < s->nchild; i++)
		if (!s->child[i].ready)
			return;
	if (s->ready)
		return;
	s->ready = true;
	log_info("ready", "hostname=%s domains=%zu relays=%u verifiers=%u sealers=%u start_ms=%lld",
	    s->conf->hostname, s->conf->ndomain, s->conf->relays, s->conf->verifiers,
	    s->conf->sealers, (long long)(clock_mono_ms() - s->born_ms));
	notify("READY=1\n");
}

/* --- status of all roles, for the queue's control socket --- */

static void
answer_done(struct super *s, struct ask *a)
{
	struct buf out;
	int bad = 0;

	buf_init(&out, 100 * 1024);
	bad |= buf_printf(&out, "{\"pid\":%d,\"uptime_s\":%lld,\"roles\":[", getpid(),
	    (long long)(clock_mono_ms() - s->born_ms) / 1000);
	for (unsigned i = 0; i < s->nchild; i++) {
		struct child *c = &s->child[i];
		bool has = c->answer != NULL && c->answered == a->own && strlen(c->answer) > 2;
		bad |= buf_printf(&out, "%s{\"role\":\"%s\",\"index\":%u,\"pid\":%d,\"ready\":%s,"
		    "\"restarts\":%u%s%s", i > 0 ? "," : "", role_name(c->kind), c->index,
		    (int)c->pid, c->ready && c->pid > 0 ? "true" : "false", c->restarts,
		    has ? "," : "", has ? c->answer + 1 : "}");
	}
	bad |= buf_puts(&out, "]}");
	for (unsigned i = 0; i < s->nchild; i++)
		if (s->child[i].kind == ROLE_QUEUE && s->child[i].ch != NULL) {
			struct super_text m = { a->req, bad == 0 ? buf_slice(&out) : SLICE_LIT("{}") };
			(void)ipc_send(s->child[i].ch, SUPER_ANSWER, &super_text_wire, &m, -1);
		}
	buf_fini(&out);
	for (struct ask **ap = &s->asks; *ap != NULL; ap = &(*ap)->next)
		if (*ap == a) {
			*ap = a->next;
			break;
		}
	timer_free(&a->timer);
	free(a);
}

static void
on_ask_timeout(void *arg)
{
	struct ask *a = arg;
	answer_done(a->super, a);
}

static void
begin_ask(struct super *s, uint64_t req)
{
	struct ask *a = mem_new(sizeof(*a));

	*a = (struct ask){ .next = s->asks, .super = s, .req = req, .own = ++s->last_ask };
	s->asks = a;
	a->timer = timer_new(s->loop, on_ask_timeout, a);
	timer_arm(a->timer, ASK_MS);
	struct super_text m = { a->own, SLICE_LIT("status") };
	for (unsigned i = 0; i < s->nchild; i++)
		if (s->child[i].ch != NULL && s->child[i].ready &&
		    ipc_send(s->child[i].ch, SUPER_ASK, &super_text_wire, &m, -1) == 0)
			a->waiting++;
	if (a->waiting == 0)
		answer_done(s, a);
}

/* --- stop and reload --- */

static bool
stage_runs(const struct super *s)
{
	for (unsigned i = 0; i < s->nchild; i++)
		if (s->child[i].pid > 0 && s->child[i].kind == stop_order[s->stage])
			return true;
	return false;
}

static void
next_stage(struct super *s)
{
	if (s->stage >= 0 && s->stage < STOP_STAGES && stage_runs(s))
		return;
	do {
		s->stage++;
		if (s->stage == STOP_STAGES) {
			loop_stop(s->loop);
			return;
		}
	} while (!stage_runs(s));
	for (unsigned i = 0; i < s->nchild; i++)
		if (s->child[i].pid > 0 && s->child[i].kind == stop_order[s->stage])
			say(&s->child[i], SUPER_STOP, SLICE_NONE, 0, 0, -1);
	timer_arm(s->stop_timer, STOP_STAGE_MS);
}

static void
on_stop_timeout(void *arg)
{
	struct super *s = arg;

	for (unsigned i = 0; i < s->nchild; i++)
		if (s->child[i].pid > 0 && s->child[i].kind == stop_order[s->stage]) {
			log_warn("stop-slow", "role=%s index=%u action=kill",
			    role_name(s->child[i].kind), s->child[i].index);
			kill(s->child[i].pid, SIGKILL);
		}
}

static void
on_stop(void *arg)
{
	struct super *s = arg;

	if (s->stage >= 0)
		return;
	log_info("stopping", "reason=signal");
	notify("STOPPING=1\n");
	next_stage(s);
}

static void
log_conf_errors(const struct conf_errors *e)
{
	struct slice rest = buf_slice(&e->text);

	while (rest.n > 0) {
		size_t nl = slice_find(rest, '\n');
		fprintf(stderr, "%.*s\n", (int)nl, rest.p);
		rest = slice_sub(rest, nl + 1, rest.n);
	}
}

/* What the roles get is the checked value written out again, so that all of them have
 * the same host name, environment and process counts. */
static struct conf *
load(const char *file, int *text_fd)
{
	struct conf_errors e = { .text = { .max = 256 * 1024 } };
	struct conf *c = NULL;
	struct buf text;
	FILE *f = fopen(file, "re");

	buf_init(&text, 4 * 1024 * 1024);
	if (f == NULL) {
		fprintf(stderr, "%s: %s: name the configuration with -c FILE\n", file, strerror(errno));
	} else {
		char *at;
		size_t n = 1;
		while (n > 0 && (at = buf_reserve(&text, 4096)) != NULL) {
			n = fread(at, 1, 4096, f);
			buf_commit(&text, n);
		}
		c = conf_parse(buf_slice(&text), file, &e);
		log_conf_errors(&e);
		fclose(f);
	}
	if (c != NULL) {
		buf_clear(&text);
		conf_print_text(c, &text);
		*text_fd = body_make(buf_slice(&text));
	}
	buf_fini(&text);
	buf_fini(&e.text);
	return c;
}

static void
warn_unchangeable(const struct conf *was, const struct conf *is)
{
	if (was->nlisten != is->nlisten ||
	    was->nrouting_listen != is->nrouting_listen || was->relays != is->relays ||
	    was->verifiers != is->verifiers || was->sealers != is->sealers ||
	    strcmp(was->state_dir, is->state_dir) != 0 ||
	    strcmp(was->control_socket, is->control_socket) != 0)
		log_warn("reload", "note=\"listen, routing-listen, state-dir, control-socket and the number of "
		    "processes change only with a restart\"");
}

static void
on_reload(void *arg)
{
	struct super *s = arg;
	struct resource_set files = { .n = 0 };
	int fd = -1;

	if (s->stage >= 0)
		return;
	struct conf *c = load(s->file, &fd);
	if (c == NULL || resource_files(c, &files) != 0) {
		log_error("reload", "file=%s result=kept-old fix=\"mend what is named above, then "
		    "send SIGHUP again\"", s->file);
		resource_close(&files);
		conf_free(&c);
		if (fd >= 0)
			close(fd);
		return;
	}
	warn_unchangeable(s->conf, c);
	conf_free(&s->conf);
	resource_close(&s->files);
	close(s->conf_fd);
	s->conf = c;
	s->files = files;
	s->conf_fd = fd;
	for (unsigned i = 0; i < s->nchild; i++) {
		say(&s->child[i], SUPER_CONF, slice_str(s->file), 0, 0, fd);
		give_resources(&s->child[i], &s->files);
		say(&s->child[i], SUPER_RELOAD, SLICE_NONE, 0, 0, -1);
	}
	log_info("reload", "file=%s result=ok", s->file);
}

/* Other servers open their logs anew on SIGUSR1, and some script takes us for one: by
 * default that would end the relay. */
static void
on_foreign_signal(void *arg)
{
	const struct super *s = arg;

	log_warn("signal", "file=%s note=\"SIGUSR1 and SIGUSR2 mean nothing here: SIGHUP reads the "
	    "configuration again, the log goes to standard error\"", s->file);
}

/* --- start --- */

static void
plan(struct super *s, enum role_kind kind, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		CHECK(s->nchild < CHILDREN_MAX && i < ROLE_PEERS_MAX);
		struct child *c = &s->child[s->nchild++];
		c->super = s;
		c->kind = kind;
		c->index = i;
		c->restart = timer_new(s->loop, bring_back, c);
	}
}

static int
start_all(struct super *s)
{
	plan(s, ROLE_QUEUE, 1);
	plan(s, ROLE_DIRECTORY, 1);
	plan(s, ROLE_VERIFY, s->conf->verifiers);
	plan(s, ROLE_SEAL, s->conf->sealers);
	plan(s, ROLE_RELAY, s->conf->relays);
	for (unsigned i = 0; i < s->nchild; i++)
		if (spawn(&s->child[i]) != 0) {
			log_error("start", "role=%s error=\"%m\"", role_name(s->child[i].kind));
			return -1;
		}
	for (unsigned i = 0; i < s->nchild; i++)
		for (unsigned k = 0; k < i; k++)
			if (talks(s->child[i].kind, s->child[k].kind))
				join(&s->child[i], &s->child[k]);
	for (unsigned i = 0; i < s->nchild; i++)
		say(&s->child[i], SUPER_GO, SLICE_NONE, 0, 0, -1);
	return 0;
}

static void
raise_limits(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

static void
finish(struct super *s)
{
	for (unsigned i = 0; i < s->nchild; i++) {
		if (s->child[i].pid > 0)
			waitpid(s->child[i].pid, NULL, 0);
		ipc_free(&s->child[i].ch);
		timer_free(&s->child[i].restart);
		free(s->child[i].answer);
	}
	if (s->control_socket != NULL)
		unlink(s->control_socket);
	free(s->control_socket);
	timer_free(&s->stop_timer);
	loop_free(&s->loop);
	resource_close(&s->sockets);
	resource_close(&s->files);
	close(s->conf_fd);
	conf_free(&s->conf);
}

/* From here on the control socket is ours, and goes when we go: before, it may be that of a
 * relay that runs with this state. */
static int
open_sockets(struct super *s)
{
	if (resource_sockets(s->conf, &s->sockets) != 0)
		return -1;
	s->control_socket = mem_str(s->conf->control_socket);
	return 0;
}

int
supervisor_main(const char *conf_file)
{
	struct super s = { .file = conf_file, .conf_fd = -1, .stage = -1 };

	log_open("supervisor", LOG_LVL_INFO);
	signal(SIGPIPE, SIG_IGN);
	s.born_ms = clock_mono_ms();
	s.conf = load(conf_file, &s.conf_fd);
	if (s.conf == NULL)
		return 1;
	raise_limits();
	s.loop = loop_new();
	s.stop_timer = timer_new(s.loop, on_stop_timeout, &s);
	loop_signal(s.loop, SIGCHLD, on_sigchld, &s);
	loop_signal(s.loop, SIGTERM, on_stop, &s);
	loop_signal(s.loop, SIGINT, on_stop, &s);
	loop_signal(s.loop, SIGHUP, on_reload, &s);
	loop_signal(s.loop, SIGUSR1, on_foreign_signal, &s);
	loop_signal(s.loop, SIGUSR2, on_foreign_signal, &s);
	if (resource_folders(s.conf) != 0 || resource_files(s.conf, &s.files) != 0 ||
	    open_sockets(&s) != 0 || start_all(&s) != 0)
		s.status = 1;
	else
		loop_run(s.loop);
	for (unsigned i = 0; i < s.nchild && s.status != 0; i++)
		if (s.child[i].pid > 0)
			kill(s.child[i].pid, SIGKILL);
	finish(&s);
	if (s.status == 0)
		log_info("stopped", "status=0");
	return s.status;
}

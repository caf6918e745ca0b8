// SPDX-License-Identifier: Apache-2.0
/*
 * The commands as people call them: cli_main in a child process, its output read back,
 * and a made-up relay behind the control socket that answers from a script.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/cli.h"
#include "admin/table.h"
#include "base/mem.h"

enum { OUT_MAX = 256 * 1024, ARGS_MAX = 16, PATIENCE_MS = 20000, ASKED_MAX = 8 };

#define N(a)	(sizeof(a) / sizeof((a)[0]))

struct place {			/* a folder of this test's own */
	char	dir[64], conf[128], socket[128];
};

struct result {
	int	status;
	char	out[OUT_MAX], err[OUT_MAX];
	size_t	out_n;
	char	*asked[ASKED_MAX];	/* request lines */
	size_t	nasked;
};

static void
write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static int
setup(void **state)
{
	struct place *p = mem_new(sizeof(*p));
	char text[1024];

	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/salvaposta-cli-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	(void)snprintf(p->conf, sizeof(p->conf), "%s/relay.conf", p->dir);
	(void)snprintf(p->socket, sizeof(p->socket), "%s/control.sock", p->dir);
	(void)snprintf(text, sizeof(text), "hostname = mx.it\nstate-dir = \"%s\"\ndisk-reserve = 0\n"
	    "listen \"127.0.0.1:2525\" { }\n"
	    "forwarder { domain = fwd.example.net secret-file = \"%s/secret\" }\n"
	    "domain example.it { primary = mx }\n", p->dir, p->dir);
	write_file(p->conf, text, 0644);
	(void)snprintf(text, sizeof(text), "%s/secret", p->dir);
	write_file(text, "tops3cr3t-and-some-more\n", 0600);
	*state = p;
	return 0;
}

static int
teardown(void **state)
{
	static const char *const names[] = { "relay.conf", "secret", "control.sock", "cert.pem" };
	struct place *p = *state;
	char path[256];

	for (size_t i = 0; i < N(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
		(void)unlink(path);
	}
	assert_int_equal(rmdir(p->dir), 0);
	free(p);
	return 0;
}

static int
server_open(const struct place *p)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)unlink(p->socket);
	assert_int_equal(slice_cstr(slice_str(p->socket), un.sun_path, sizeof(un.sun_path)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/* One conversation: reads a line, writes the reply as it stands, closes. */
static void
serve(int listener, const char *reply, struct result *r)
{
	char line[65536];
	size_t n = 0;
	int fd = accept(listener, NULL, NULL);

	assert_true(fd >= 0);
	while (n < sizeof(line) - 1 && memchr(line, '\n', n) == NULL) {
		ssize_t got = read(fd, line + n, sizeof(line) - 1 - n);
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	line[n] = '\0';
	assert_true(r->nasked < ASKED_MAX);
	r->asked[r->nasked++] = mem_str(line);
	/* In two pieces: a reply need not come in one read. */
	size_t all = strlen(reply), half = all / 2;
	(void)!write(fd, reply, half);
	(void)!write(fd, reply + half, all - half);
	close(fd);
}

static void
read_back(int fd, char *to, size_t *n)
{
	ssize_t got = pread(fd, to, OUT_MAX - 1, 0);

	assert_true(got >= 0);
	to[got] = '\0';
	if (n != NULL)
		*n = (size_t)got;
	close(fd);
}

static _Noreturn void
child(const char *const *args, int out, int err)
{
	char *argv[ARGS_MAX + 2];
	int argc = 0;

	argv[argc++] = mem_str("salvaposta");
	for (; args[argc - 1] != NULL; argc++)
		argv[argc] = mem_str(args[argc - 1]);
	argv[argc] = NULL;
	if (dup2(out, 1) != 1 || dup2(err, 2) != 2)
		_exit(99);
	int status = cli_main(argc, argv);
	(void)fflush(NULL);
	_exit(status);
}

/* Runs the command; replies (up to NULL) are given to its requests in order. */
static struct result *
run(int listener, const char *const *replies, const char *const *args)
{
	struct result *r = mem_new(sizeof(*r));
	char name[] = "/tmp/salvaposta-out-XXXXXX", name2[] = "/tmp/salvaposta-out-XXXXXX";
	int out = mkstemp(name), err = mkstemp(name2), status, waited = 0;

	assert_true(out >= 0 && err >= 0);
	(void)unlink(name);
	(void)unlink(name2);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(args, out, err);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		struct pollfd p = { .fd = listener, .events = POLLIN };
		if (poll(&p, 1, 5) == 1 && replies != NULL && *replies != NULL)
			serve(listener, *replies++, r);
		waited += 5;
		assert_true(waited < PATIENCE_MS);
	}
	r->status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
	read_back(out, r->out, &r->out_n);
	read_back(err, r->err, NULL);
	return r;
}

static void
done(struct result *r)
{
	for (size_t i = 0; i < r->nasked; i++)
		free(r->asked[i]);
	free(r);
}

#define ARGS(...)	((const char *const[]){ __VA_ARGS__, NULL })
#define REPLIES(...)	((const char *const[]){ __VA_ARGS__, NULL })

static void
expect(const struct result *r, int status, const char *out, const char *err)
{
	if (r->status != status || (out != NULL && strstr(r->out, out) == NULL) ||
	    (err != NULL && strstr(r->err, err) == NULL))
		fail_msg("want %d \"%s\" \"%s\"\ngot %d\n%s\n%s", status,
		    out != NULL ? out : "", err != NULL ? err : "", r->status, r->out, r->err);
}

static void
expect_asked(const struct result *r, size_t i, const char *want)
{
	assert_true(i < r->nasked);
	json_t *a = json_loads(r->asked[i], 0, NULL), *b = json_loads(want, 0, NULL);
	assert_non_null(b);
	if (a == NULL || !json_equal(a, b))
		fail_msg("asked %s, want %s", r->asked[i], want);
	json_decref(a);
	json_decref(b);
}

static void
test_usage(void **state)
{
	static const struct {
		const char *args[8];
		int status;
		const char *out, *err;
	} rows[] = {
		{ { NULL }, 2, NULL, "usage: salvaposta COMMAND" },
		{ { "--help" }, 0, "usage: salvaposta COMMAND", NULL },
		{ { "help" }, 0, "  failover", NULL },
		{ { "help", "queue" }, 0, "salvaposta queue list ", NULL },
		{ { "help", "run" }, 0, "usage: salvaposta run", NULL },
		{ { "help", "nothing" }, 2, NULL, "there is no command" },
		{ { "nothing" }, 2, NULL, "there is no command \"nothing\"" },
		{ { "\033[2J" }, 2, NULL, "\\x1b" },
		{ { "version" }, 0, "salvaposta ", NULL },
		{ { "version", "--json" }, 0, "{\"version\": ", NULL },
		{ { "check", "--help" }, 0, "usage: salvaposta check", NULL },
		{ { "failover", "-h" }, 0, "--reason TEXT", NULL },
		{ { "status", "--help" }, 0, "balance", NULL },
		{ { "srs", "--help" }, 0, "encode", NULL },
		{ { "check", "x" }, 2, NULL, "takes no arguments" },
		{ { "check", "--frob" }, 2, NULL, "there is no option \"--frob\"" },
		{ { "check", "-json" }, 2, NULL, "there is no option" },
		{ { "check", "-c" }, 2, NULL, "-c needs an argument" },
		{ { "check", "--json=1" }, 2, NULL, "--json takes no argument" },
		{ { "check", "-c", "/nonexistent" }, 1, NULL, "does not exist" },
		{ { "failover" }, 2, NULL, "say list, on, off, auto" },
		{ { "failover", "toggle", "a.it" }, 2, NULL, "say list, on, off, auto" },
		{ { "failover", "on", "a.it", "--reason", "x", "--until", "soon" }, 2, NULL,
		  "--until soon is neither a time" },
		{ { "failover", "on", "a.it", "--reason", "x", "--from", "1h" }, 2, NULL,
		  "--from is for schedule" },
		{ { "failover", "schedule", "a.it", "--from", "1h" }, 2, NULL, "schedule needs" },
		{ { "failover", "cancel" }, 2, NULL, "cancel takes the number" },
		{ { "failover", "cancel", "x" }, 2, NULL, "not the number of a window" },
		{ { "audit" }, 2, NULL, "say show or verify" },
		{ { "audit", "show", "--since", "x" }, 2, NULL, "neither a time nor" },
		{ { "failover", "on", "--reason", "x" }, 2, NULL, "takes one domain" },
		{ { "failover", "on", "a.it" }, 2, NULL, "needs --reason" },
		{ { "failover", "on", "a.it", "--reason", " " }, 2, NULL, "needs --reason" },
		{ { "failover", "show", "a", "b" }, 2, NULL, "takes one domain" },
		{ { "queue" }, 2, NULL, "say summary, list" },
		{ { "queue", "list", "x" }, 2, NULL, "takes options only" },
		{ { "queue", "list", "--limit", "-1" }, 2, NULL, "takes a number" },
		{ { "queue", "show" }, 2, NULL, "takes one id" },
		{ { "queue", "retry" }, 2, NULL, "retry takes one id, or options" },
		{ { "queue", "drop", "x", "--domain", "a.it" }, 2, NULL, "drop takes one id, or" },
		{ { "queue", "drop", "x" }, 2, NULL, "drop needs --reason" },
		{ { "queue", "list", "--older-than", "3" }, 2, NULL, "a number and a unit" },
		{ { "queue", "hold", "--newer-than", "1y" }, 2, NULL, "a number and a unit" },
		{ { "queue", "hold", "x/y" }, 2, NULL, "not an id" },
		{ { "queue", "search" }, 2, NULL, "search takes one text" },
		{ { "queue", "show", "x", "--dry-run" }, 2, NULL, "--reason and --dry-run are for" },
		{ { "srs", "encode" }, 2, NULL, "say encode or decode" },
		{ { "srs", "encode", "a@b", "--day", "x" }, 2, NULL, "--day takes" },
		{ { "status", "x" }, 2, NULL, "takes no arguments" },
	};

	(void)state;
	for (size_t i = 0; i < N(rows); i++) {
		struct result *r = run(-1, NULL, rows[i].args);
		expect(r, rows[i].status, rows[i].out, rows[i].err);
		done(r);
	}
}

/* Without a relay: each way of not being there is said in its own words. */
static void
test_no_relay(void **state)
{
	const struct place *p = *state;
	struct result *r = run(-1, NULL, ARGS("status", "-c", p->conf));

	expect(r, 1, NULL, "there is no such socket: is the relay running?");
	done(r);
	r = run(-1, NULL, ARGS("status", "-c", p->conf, "--json"));
	expect(r, 1, "\"ok\": false", "is the relay running?");
	done(r);

	int fd = server_open(p);
	close(fd);	/* the socket's name stays, as after kill -9 */
	r = run(-1, NULL, ARGS("status", "--config", p->conf));
	expect(r, 1, NULL, "nobody answers: is the relay running?");
	done(r);
	r = run(-1, NULL, ARGS("status", "--socket=/tmp/a-name-that-is-longer-than-any-socket-may-"
	    "be-called-on-this-system-and-on-most-others-too-so-it-cannot-work"));
	expect(r, 1, NULL, "too long");
	done(r);
}

static void
test_permission_denied(void **state)
{
	const struct place *p = *state;
	int fd = server_open(p), status;

	if (geteuid() != 0)
		skip();		/* nobody else to be */
	assert_int_equal(chmod(p->dir, 0700), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (setresuid(65534, 65534, 65534) != 0)
			_exit(99);
		struct result *r = run(-1, NULL, ARGS("status", "--socket", p->socket));
		bool good = r->status == 1 && strstr(r->err, "permission denied") != NULL;
		_exit(good ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(fd);
}

/* A relay that answers nonsense, no, or nothing. */
static void
test_bad_replies(void **state)
{
	static const struct {
		const char *reply, *err;
	} rows[] = {
		{ "{\"ok\":false,\"error\":\"a.it is not served here\"}\n",
		  "salvaposta: a.it is not served here" },
		{ "{\"ok\":false}\n", "refused without a reason" },
		{ "{}\n", "refused without a reason" },
		{ "{\"ok\":1}\n", "refused without a reason" },
		{ "[]\n", "is not understood" },
		{ "\n", "is not understood" },
		{ "{\"ok\":true\n", "is not understood" },
		{ "", "closed the connection without an answer" },
		{ "{\"ok\":true}", "closed the connection without an answer" },
		{ "\xff\xfe\n", "is not understood" },
	};
	const struct place *p = *state;
	int fd = server_open(p);

	for (size_t i = 0; i < N(rows); i++) {
		struct result *r = run(fd, REPLIES(rows[i].reply),
		    ARGS("failover", "show", "a.it", "-c", p->conf));
		expect(r, 1, NULL, rows[i].err);
		assert_int_equal(r->out_n, 0);
		expect_asked(r, 0, "{\"cmd\":\"failover-show\",\"domain\":\"a.it\"}");
		done(r);
	}
	close(fd);
}

/* A reply of the right kind but with members missing or of other types kills nobody. */
static void
test_odd_members(void **state)
{
	static const char *const replies[] = {
		"{\"ok\":true}\n",
		"{\"ok\":true,\"domains\":[1,null,{\"domain\":7,\"since\":\"x\"}],\"messages\":[{}],"
		"\"message\":[],\"roles\":{},\"queue\":[],\"count\":\"many\",\"more\":true}\n",
		"{\"ok\":true,\"roles\":[{\"role\":{}}],\"queue\":{\"bytes\":\"x\",\"a\":null},"
		"\"message\":{\"id\":null,\"recipients\":[1,{}]},\"messages\":3,\"after\":null}\n",
	};
	const struct place *p = *state;
	int fd = server_open(p);

	for (size_t i = 0; i < N(replies); i++) {
		const char *const commands[][5] = {
			{ "failover", "show", "-c", p->conf, NULL },
			{ "queue", "list", "-c", p->conf, NULL },
			{ "queue", "retry", "x", "--socket", p->socket },
			{ "queue", "show", "x", "-c", p->conf },
			{ "status", "-c", p->conf, NULL, NULL },
		};
		for (size_t j = 0; j < N(commands); j++) {
			struct result *r = run(fd, REPLIES(replies[i]), ARGS(commands[j][0],
			    commands[j][1], commands[j][2], commands[j][3], commands[j][4]));
			assert_in_range(r->status, 0, 1);
			done(r);
		}
	}
	close(fd);
}

static void
test_failover(void **state)
{
	const struct place *p = *state;
	int fd = server_open(p);
	struct result *r = run(fd, REPLIES("{\"ok\":true,\"domain\":\"a.it\",\"mode\":\"on\","
	    "\"phase\":\"active\"}\n"), ARGS("failover", "on", "a.it", "--reason", "store down",
	    "-c", p->conf));

	expect(r, 0, "a.it: failover is on, phase active\n", NULL);
	expect_asked(r, 0, "{\"cmd\":\"failover-set\",\"domain\":\"a.it\",\"mode\":\"on\","
	    "\"reason\":\"store down\"}");
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"phase\":\"replay\"}\n"), ARGS("failover", "--shard=s2",
	    "off", "--json", "--reason=fine", "-c", p->conf, "--", "a.it"));
	expect(r, 0, "\"phase\": \"replay\"", NULL);
	expect_asked(r, 0, "{\"cmd\":\"failover-set\",\"domain\":\"a.it\",\"mode\":\"off\","
	    "\"reason\":\"fine\",\"shard\":\"s2\"}");
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"domains\":[{\"domain\":\"a.it\",\"shard\":\"\","
	    "\"mode\":\"on\",\"phase\":\"active\",\"since\":\"2026-11-22T20:20:00.000Z\","
	    "\"reason\":\"a\\u001b[2J\",\"phase_reason\":\"3 failed\",\"phase_evidence\":{"
	    "\"place\":\"lmtp://s:24\",\"depth\":\"rcpt\",\"recent\":[{\"time\":"
	    "\"2026-11-22T20:19:50.000Z\",\"result\":\"put-off\",\"stage\":\"rcpt\","
	    "\"code\":451,\"ms\":7}],\"deliveries\":{\"put_off\":5},\"text\":\"b\\u001b[2J\"},"
	    "\"who\":\"root\",\"held\":12,\"replaying\":0}]}\n"),
	    ARGS("failover", "show", "-c", p->conf));
	expect(r, 0, "a.it    -      on    active  2026-11-", NULL);
	expect(r, 0, "  12          0  -        -           root  a\\x1b[2J  3 failed\n", NULL);
	expect(r, 0, "; seen before, by probes of depth rcpt, at lmtp://s:24:\n  2026-11-2", NULL);
	expect(r, 0, "  put-off at rcpt, 7 ms, code 451\n  deliveries of the last minute: 0 taken, "
	    "5 put off, 0 refused as unknown\n  last words: b\\x1b[2J\n", NULL);
	expect_asked(r, 0, "{\"cmd\":\"failover-show\"}");
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"mode\":\"on\",\"phase\":\"active\",\"until\":"
	    "\"2026-11-28T17:30:00.000Z\",\"then\":\"auto\"}\n"), ARGS("failover", "on", "a.it",
	    "--reason", "r", "--until", "2100-11-28T17:30Z", "-c", p->conf));
	expect(r, 0, ", then auto\n", NULL);
	expect_asked(r, 0, "{\"cmd\":\"failover-set\",\"domain\":\"a.it\",\"mode\":\"on\","
	    "\"reason\":\"r\",\"until_ms\":4131106200000}");
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"window\":7,\"from\":\"2100-11-28T17:30:00.000Z\","
	    "\"until\":\"2100-11-28T19:30:00.000Z\"}\n"), ARGS("failover", "schedule", "a.it",
	    "--reason", "r", "--from", "2100-11-28T17:30Z", "--until", "2h", "-c", p->conf));
	expect(r, 0, "window 7: failover goes on at 2100-11-28 ", NULL);
	expect_asked(r, 0, "{\"cmd\":\"failover-schedule\",\"domain\":\"a.it\",\"reason\":\"r\","
	    "\"from_ms\":4131106200000,\"until_ms\":4131113400000}");
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"windows\":[{\"window\":7,\"domain\":\"a.it\","
	    "\"shard\":null,\"reason\":\"disks\",\"who\":\"uid 0 pid 5\"}]}\n"),
	    ARGS("failover", "schedule", "-c", p->conf));
	expect(r, 0, "     7  a.it ", NULL);
	expect_asked(r, 0, "{\"cmd\":\"failover-windows\"}");
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"window\":7}\n"), ARGS("failover", "cancel", "7", "-c",
	    p->conf));
	expect(r, 0, "window 7 is cancelled\n", NULL);
	expect_asked(r, 0, "{\"cmd\":\"failover-cancel\",\"window\":7}");
	done(r);
	close(fd);
}

#define MSG(id)	"{\"id\":\"" id "\",\"rcpt_index\":0,\"rcpt\":\"u@a.it\",\"sender\":\"\"," \
	"\"domain\":\"a.it\",\"shard\":\"\",\"received\":\"2026-11-22T20:20:00.123Z\",\"size\":5242880," \
	"\"hold\":{\"state\":\"parked\",\"attempts\":0,\"next\":null,\"code\":0}," \
	"\"forward\":{\"state\":\"failed\",\"attempts\":3,\"next\":null,\"code\":550,\"note\":\"ttl\"}}"

static void
test_queue_list(void **state)
{
	const struct place *p = *state;
	int fd = server_open(p);
	const char *const two[] = {
		"{\"ok\":true,\"messages\":[" MSG("one") "],\"more\":true,\"after\":\"c1\"}\n",
		"{\"ok\":true,\"messages\":[" MSG("two") "],\"more\":false,\"after\":\"c2\"}\n", NULL };
	struct result *r = run(fd, two, ARGS("queue", "list", "--domain", "a.it", "--user",
	    "u@a.it", "--state", "parked", "--limit", "7", "-c", p->conf));

	expect(r, 0, "one/0  2026-11-", NULL);
	expect(r, 0, "5.0M  <>      u@a.it     -      parked  failed 3x 550 ttl\n", NULL);
	expect(r, 0, "two/0", NULL);
	expect_asked(r, 0, "{\"cmd\":\"queue-list\",\"domain\":\"a.it\",\"user\":\"u@a.it\","
	    "\"state\":\"parked\",\"limit\":7}");
	expect_asked(r, 1, "{\"cmd\":\"queue-list\",\"domain\":\"a.it\",\"user\":\"u@a.it\","
	    "\"state\":\"parked\",\"limit\":6,\"after\":\"c1\"}");
	done(r);
	r = run(fd, two, ARGS("queue", "list", "--json", "--limit", "0", "-c", p->conf));
	json_t *o = json_loads(r->out, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(o, "messages")), 2);
	json_decref(o);
	expect_asked(r, 0, "{\"cmd\":\"queue-list\",\"limit\":500}");
	done(r);
	r = run(fd, two, ARGS("queue", "list", "--limit", "1", "-c", p->conf));
	expect(r, 0, "there is more", NULL);
	assert_int_equal(r->nasked, 1);
	done(r);
	/* A cursor that does not move must not make us ask for ever. */
	r = run(fd, REPLIES(two[0], two[0], two[0]), ARGS("queue", "list", "-c", p->conf));
	expect(r, 0, NULL, NULL);
	assert_int_equal(r->nasked, 2);
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"messages\":[],\"more\":false}\n"),
	    ARGS("queue", "list", "-c", p->conf));
	expect(r, 0, "nothing\n", NULL);
	done(r);
	close(fd);
}

static void
test_queue_show_and_retry(void **state)
{
	const struct place *p = *state;
	int fd = server_open(p);
	struct result *r = run(fd, REPLIES("{\"ok\":true,\"message\":{\"id\":\"one\",\"sender\":"
	    "\"s@x\\u0007\",\"size\":100,\"received\":\"2026-11-22T20:20:00.123Z\",\"trace\":"
	    "\"Received: from a\\r\\n\\tby b\\r\\n\",\"recipients\":[" MSG("one") "]}}\n"),
	    ARGS("queue", "show", "one/0", "-c", p->conf));

	expect(r, 0, "sender         s@x\\x07\n", NULL);
	expect(r, 0, "trace\n    Received: from a\n     by b\n", NULL);
	expect(r, 0, "   0  u@a.it", NULL);
	expect_asked(r, 0, "{\"cmd\":\"queue-show\",\"id\":\"one\",\"content\":false}");
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"message\":{},\"content\":\"YQ0KAP8K\"}\n"),
	    ARGS("queue", "show", "one", "--content", "-c", p->conf));
	expect(r, 0, NULL, NULL);
	assert_int_equal(r->out_n, 6);
	assert_memory_equal(r->out, "a\r\n\0\377\n", 6);
	expect_asked(r, 0, "{\"cmd\":\"queue-show\",\"id\":\"one\",\"content\":true}");
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"message\":{},\"content\":\"%%%\"}\n"),
	    ARGS("queue", "show", "one", "--content", "-c", p->conf));
	expect(r, 1, NULL, "not understood");
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"message\":{}}\n"),
	    ARGS("queue", "show", "one", "--content", "-c", p->conf));
	expect(r, 1, NULL, "no content");
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"count\":3}\n"),
	    ARGS("queue", "retry", "--domain", "a.it", "-c", p->conf));
	expect(r, 0, "3 to be tried now\n", NULL);
	expect_asked(r, 0, "{\"cmd\":\"queue-retry\",\"domain\":\"a.it\",\"progress\":true}");
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"count\":1}\n"),
	    ARGS("queue", "retry", "one/1", "-c", p->conf));
	expect_asked(r, 0, "{\"cmd\":\"queue-retry\",\"id\":\"one\",\"rcpt_index\":1,"
	    "\"progress\":true}");
	done(r);
	close(fd);
}

static void
test_queue_jobs(void **state)
{
	const struct place *p = *state;
	int fd = server_open(p);
	struct result *r = run(fd, REPLIES("{\"progress\":true,\"looked\":4096,\"count\":7}\n"
	    "{\"ok\":true,\"count\":12,\"bytes\":5242880,\"busy\":2}\n"),
	    ARGS("queue", "drop", "--sender", "@spam.it", "--older-than", "1d12h", "--dry-run",
	    "--reason", "spam", "-c", p->conf));

	expect(r, 0, "12 would be dropped, 5.0M\n2 left alone", "looked at 4096 recipients, 7 so far");
	expect_asked(r, 0, "{\"cmd\":\"queue-drop\",\"sender\":\"@spam.it\",\"older_ms\":129600000,"
	    "\"reason\":\"spam\",\"dry_run\":true,\"progress\":true}");
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"count\":1}\n"), ARGS("queue", "hold", "one", "-c",
	    p->conf));
	expect(r, 0, "1 on hold now\n", NULL);
	expect_asked(r, 0, "{\"cmd\":\"queue-hold\",\"id\":\"one\",\"progress\":true}");
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"domains\":[{\"domain\":\"a.it\",\"shard\":\"\",\"held\":9,"
	    "\"held_bytes\":1024,\"on_hold\":4,\"ages\":{\"3d\":8}},1],\"all\":{\"held\":9}}\n"),
	    ARGS("queue", "summary", "-c", p->conf));
	expect(r, 0, "a.it    -         9", NULL);
	expect(r, 0, "(all)", NULL);
	done(r);
	r = run(fd, REPLIES("{\"ok\":true,\"messages\":[],\"more\":false}\n"),
	    ARGS("queue", "search", "boss@", "--after", "2:7", "-c", p->conf));
	expect_asked(r, 0, "{\"cmd\":\"queue-list\",\"state\":\"all\",\"match\":\"boss@\","
	    "\"limit\":100,\"after\":\"2:7\"}");
	done(r);
	close(fd);
}

#define BALANCE(received) "{\"ok\":true,\"roles\":[{\"role\":\"queue\",\"index\":0,\"pid\":42," \
	"\"sessions\":3}],\"queue\":{\"segments\":2,\"bytes_free\":1073741824},\"domains\":[" \
	"{\"domain\":\"a.it\",\"shard\":\"\",\"received\":" received ",\"replayed\":4," \
	"\"forwarded_only\":1,\"bounced\":2,\"dropped\":1,\"held\":2,\"forwarded\":5," \
	"\"forward_waiting\":0,\"forward_failed\":1,\"forward_skipped\":0}]}\n"

/* P7: the balance is exact, or the command fails. */
static void
test_status(void **state)
{
	const struct place *p = *state;
	int fd = server_open(p);
	struct result *r = run(fd, REPLIES(BALANCE("10")), ARGS("status", "-c", p->conf));

	expect(r, 0, "queue      0   42  sessions=3\n", NULL);
	expect(r, 0, "bytes_free         1.0G\n", NULL);
	expect(r, 0, "  ok       ", NULL);
	expect_asked(r, 0, "{\"cmd\":\"status\"}");
	done(r);
	r = run(fd, REPLIES(BALANCE("11")), ARGS("status", "-c", p->conf));
	expect(r, 1, "OFF BY 1", "balance of a domain does not come out");
	done(r);
	r = run(fd, REPLIES(BALANCE("9")), ARGS("status", "--json", "-c", p->conf));
	expect(r, 1, "\"received\": 9", "balance");
	done(r);
	close(fd);
}

static void
test_srs(void **state)
{
	const struct place *p = *state;
	struct result *r = run(-1, NULL, ARGS("srs", "encode", "mario@gmail.com", "--day", "20000",
	    "-c", p->conf));
	char address[256];

	expect(r, 0, "=gmail.com=mario@fwd.example.net\n", NULL);
	assert_memory_equal(r->out, "SRS0=", 5);
	assert_int_equal(slice_cstr(slice_trim(slice_str(r->out)), address, sizeof(address)), 0);
	done(r);
	r = run(-1, NULL, ARGS("srs", "decode", address, "--day", "20021", "-c", p->conf));
	expect(r, 0, "mario@gmail.com\n", NULL);
	done(r);
	r = run(-1, NULL, ARGS("srs", "decode", address, "--day", "20021", "-c", p->conf, "--json"));
	expect(r, 0, "\"answer\": \"mario@gmail.com\"", NULL);
	done(r);
	r = run(-1, NULL, ARGS("srs", "decode", address, "--day", "20022", "-c", p->conf));
	expect(r, 1, NULL, "older than max-age");
	done(r);
	address[6] = address[6] == 'x' ? 'y' : 'x';
	r = run(-1, NULL, ARGS("srs", "decode", address, "--day", "20001", "-c", p->conf, "--json"));
	expect(r, 1, "\"result\": \"bad-hash\"", NULL);
	done(r);
	r = run(-1, NULL, ARGS("srs", "encode", "x@fwd.example.net", "-c", p->conf));
	expect(r, 0, "x@fwd.example.net\n", "is used as it is");
	done(r);
	r = run(-1, NULL, ARGS("srs", "encode", "<>", "-c", p->conf));	/* spec 14.1 */
	expect(r, 0, "<>\n", "the null sender");
	done(r);
	r = run(-1, NULL, ARGS("srs", "encode", "no address", "-c", p->conf));
	expect(r, 1, NULL, "is not a mail address");
	done(r);
	r = run(-1, NULL, ARGS("srs", "decode", "a@b.it", "-c", p->conf));
	expect(r, 1, NULL, "is not a return path of this relay's domain");
	done(r);
}

/* What check finds beside the configuration itself; one change a row. */
static void
test_check(void **state)
{
	static const struct {
		const char *conf, *err;
		int status;
	} rows[] = {
		{ "", "", 0 },
		{ "disk-reserve = 16T\n", "less than disk-reserve", 1 },
		{ "control-socket = /nonexistent/c.sock\n", "the folder /nonexistent does not", 1 },
		{ "tls-cert-file = /nonexistent/c tls-key-file = %s/secret\n",
		  "tls-cert-file: /nonexistent/c: No such file", 1 },
		{ "tls-cert-file = %s/cert.pem tls-key-file = %s/secret\n", "tls-cert-file: ", 1 },
		{ "tls-ca-file = %s/cert.pem\n", "tls-ca-file: ", 1 },
		{ "listen \"203.0.113.1:25\" { }\n", "is not an address of this host", 1 },
		{ "retry-min = 0s\n", ":1: retry-min: ", 1 },
		{ "refresh-command = /nonexistent/export\n",
		  "warning: refresh-command: /nonexistent/export: cannot be run: No such file", 0 },
		{ "refresh-command = %s/secret\n", "not an executable file", 0 },
		{ "refresh-command = /bin/true\n", "", 0 },
	};
	const struct place *p = *state;
	char text[2048], base[1024], path[256];
	FILE *f = fopen(p->conf, "r");

	assert_non_null(f);
	base[fread(base, 1, sizeof(base) - 1, f)] = '\0';
	fclose(f);
	(void)snprintf(path, sizeof(path), "%s/cert.pem", p->dir);
	write_file(path, "not a certificate\n", 0644);
	for (size_t i = 0; i < N(rows); i++) {
		/* The rows are written %s for the folder; done by hand, the compiler wants
		 * literal formats. */
		struct buf b;
		buf_init(&b, 4096);
		bool has = strstr(rows[i].conf, "disk-reserve") != NULL;
		for (const char *c = rows[i].conf; *c != '\0'; c++) {
			bool dir = c[0] == '%' && c[1] == 's';
			assert_int_equal(dir ? buf_puts(&b, p->dir) : buf_put(&b, c, 1), 0);
			c += dir;
		}
		char *cut = strstr(base, "disk-reserve = 0\n");
		assert_non_null(cut);
		(void)snprintf(text, sizeof(text), "%.*s%.*s%s", SLICE_FMT(buf_slice(&b)),
		    (int)(cut - base), base, has ? strchr(cut, '\n') + 1 : cut);
		write_file(p->conf, text, 0644);
		struct result *r = run(-1, NULL, ARGS("check", "-c", p->conf));
		expect(r, rows[i].status, rows[i].status == 0 ? ": good: 1 domain" : NULL,
		    rows[i].err);
		done(r);
		r = run(-1, NULL, ARGS("check", "--json", "-c", p->conf));
		json_t *o = json_loads(r->out, 0, NULL);
		assert_non_null(o);
		assert_true((json_object_get(o, "hostname") != NULL) == (rows[i].status == 0));
		json_decref(o);
		done(r);
		buf_fini(&b);
	}
	write_file(p->conf, base, 0644);
}

static void
test_check_secrets(void **state)
{
	const struct place *p = *state;
	char path[256];
	struct result *r;

	(void)snprintf(path, sizeof(path), "%s/secret", p->dir);
	write_file(path, "tops3cr3t-and-some-more\n", 0644);
	r = run(-1, NULL, ARGS("check", "-c", p->conf));
	expect(r, 1, NULL, "may be read by everybody: chmod 0600");
	done(r);
	write_file(path, "tops3cr3t-and-some-more\n", 0640);
	r = run(-1, NULL, ARGS("check", "-c", p->conf));
	expect(r, 0, NULL, "warning: secret-file");
	done(r);
	write_file(path, "short\n", 0600);
	r = run(-1, NULL, ARGS("check", "-c", p->conf));
	expect(r, 0, NULL, "secret 1 is short");
	done(r);
	write_file(path, "# nothing\n", 0600);
	r = run(-1, NULL, ARGS("check", "-c", p->conf));
	expect(r, 1, NULL, "holds no secret");
	done(r);
	r = run(-1, NULL, ARGS("srs", "encode", "a@b.it", "-c", p->conf));
	expect(r, 1, NULL, "holds no secret");
	done(r);
	assert_int_equal(unlink(path), 0);
	r = run(-1, NULL, ARGS("check", "-c", p->conf));
	expect(r, 1, NULL, "No such file or directory");
	done(r);
}

static void
test_words(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *want;
	} sizes[] = { { 0, "0" }, { 999, "999" }, { 1000, "1.0k" }, { 52428800, "50M" },
		{ 5242880, "5.0M" }, { 1ULL << 40, "1.0T" }, { UINT64_MAX, "16384P" } };
	static const struct {
		int64_t ms;
		const char *want;
	} spans[] = { { -5, "0s" }, { 119999, "119s" }, { 120000, "2m" }, { 7200000, "2h" },
		{ 172800000, "2d" } };
	static const struct {
		const char *in, *want;
	} safe[] = { { "plain", "plain" }, { "\xc3\xa9", "\xc3\xa9" }, { "a\x1b[0m", "a\\x1b[0m" },
		{ "\xc2\x9b", "\\xc2\\x9b" }, { "\xe2\x80\xae", "\\xe2\\x80\\xae" },
		{ "\xff\xc3", "\\xff\\xc3" }, { "\r\n\t", "\\x0d\\x0a\\x09" }, { "\xc0\xaf",
		"\\xc0\\xaf" } };
	char out[32];

	(void)state;
	for (size_t i = 0; i < N(sizes); i++) {
		size_words(sizes[i].bytes, out, sizeof(out));
		assert_string_equal(out, sizes[i].want);
	}
	for (size_t i = 0; i < N(spans); i++) {
		span_words(spans[i].ms, out, sizeof(out));
		assert_string_equal(out, spans[i].want);
	}
	for (size_t i = 0; i < N(safe); i++) {
		struct buf b;
		buf_init(&b, 256);
		text_safe(slice_str(safe[i].in), &b);
		char *got = slice_dup(buf_slice(&b));
		assert_string_equal(got, safe[i].want);
		free(got);
		buf_fini(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_words),
		cmocka_unit_test_setup_teardown(test_no_relay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_permission_denied, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_replies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odd_members, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failover, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue_show_and_retry, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue_jobs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status, setup, teardown),
		cmocka_unit_test_setup_teardown(test_srs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check_secrets, setup, teardown),
	};

	return cmocka_run_group_tests_name("admin/cli", tests, NULL, NULL);
}

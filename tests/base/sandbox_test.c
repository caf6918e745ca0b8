// SPDX-License-Identifier: Apache-2.0
/*
 * P8 from inside: a child enters the sandbox of each role, as that role's user when we are
 * root, and tries what a broken role would try. What its role needs has to work, all else to
 * fail, and in the mode "kill" to end it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/role.h"
#include "policy/directory_role.h"
#include "policy/seal_role.h"
#include "policy/verify_role.h"
#include "queue/queue_role.h"
#include "relay/relay_role.h"

enum { UID_BASE = 60800, ALLOWED = 1, REFUSED = 2, SKIPPED = 3 };

struct place {		/* what a child finds */
	char	 own[64], other[64];	/* folders: of its role, of somebody else */
	char	 spool[64];		/* the queue's, as it is at a site; when we are root */
	int	 own_fd, port;		/* port: somebody listens there */
	int	 listener;
};

/* ---- what a broken role would try; 0 when it could ---- */

static int
try_exec(const struct place *p)
{
	(void)p;
	/* Comes back only when it was refused. */
	execl("/bin/true", "true", (char *)NULL);
	return -1;
}

static int
try_fork(const struct place *p)
{
	(void)p;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid < 0 ? -1 : 0;
}

static int
try_ptrace(const struct place *p)
{
	(void)p;
	return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0 ? 0 : -1;
}

static int
try_signal(const struct place *p)
{
	(void)p;
	return kill(getppid(), 0);
}

static int
try_connect(const struct place *p)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)p->port),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&to, sizeof(to));
}

static int
try_unix_socket(const struct place *p)
{
	(void)p;
	return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? -1 : 0;
}

static int
try_raw_socket(const struct place *p)
{
	(void)p;
	return socket(AF_PACKET, SOCK_RAW, 0) < 0 ? -1 : 0;
}

static int
open_in(const char *folder, int flags)
{
	char path[96];

	(void)snprintf(path, sizeof(path), "%s/file", folder);
	int fd = open(path, flags, 0600);
	return fd < 0 ? -1 : 0;
}

static int
try_read_own(const struct place *p)
{
	return open_in(p->own, O_RDONLY);
}

static int
try_write_own(const struct place *p)
{
	return open_in(p->own, O_RDWR | O_CREAT);
}

static int
try_read_other(const struct place *p)
{
	return open_in(p->other, O_RDONLY);
}

static int
try_write_other(const struct place *p)
{
	return open_in(p->other, O_RDWR | O_CREAT);
}

/* Whoever may open files may still not open these: they are another user's. */
static int
try_spool(const struct place *p)
{
	return open_in(p->spool, O_RDONLY) == 0 || open_in(p->spool, O_RDWR | O_CREAT) == 0 ?
	    0 : -1;
}

static int
try_passwd(const struct place *p)
{
	(void)p;
	return open("/etc/passwd", O_RDONLY) < 0 ? -1 : 0;
}

static int
try_code(const struct place *p)
{
	(void)p;
	void *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
	    -1, 0);
	return m == MAP_FAILED ? -1 : 0;
}

static void *
thread(void *arg)
{
	return arg;
}

static int
try_thread(const struct place *p)
{
	pthread_t t;
	(void)p;
	errno = pthread_create(&t, NULL, thread, NULL);
	return errno == 0 ? pthread_join(t, NULL) : -1;
}

static int
try_memory(const struct place *p)
{
	(void)p;
	int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;
	char *m = malloc(8 << 20);

	if (fd < 0 || m == NULL || ftruncate(fd, 4096) != 0 || fstat(fd, &st) != 0)
		return -1;
	memset(m, 1, 8 << 20);
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);
}

static const struct {
	const char	*name;
	int		(*try)(const struct place *p);
	unsigned	 needs;		/* allowed with one of these */
	bool		 always;
	bool		 landlock;	/* only that can tell a folder from another */
} tries[] = {
	{ "memory", try_memory, 0, true, false },
	{ "exec", try_exec, 0, false, false },
	{ "fork", try_fork, 0, false, false },
	{ "ptrace", try_ptrace, 0, false, false },
	{ "signal", try_signal, 0, false, false },
	{ "code", try_code, 0, false, false },
	{ "connect", try_connect, SANDBOX_CONNECT, false, false },
	{ "unix-socket", try_unix_socket, 0, false, false },
	{ "raw-socket", try_raw_socket, 0, false, false },
	{ "read-own", try_read_own, SANDBOX_READ | SANDBOX_WRITE, false, false },
	{ "write-own", try_write_own, SANDBOX_WRITE, false, true },
	{ "read-other", try_read_other, 0, false, true },
	{ "write-other", try_write_other, 0, false, true },
	{ "spool", try_spool, 0, false, false },
	{ "passwd", try_passwd, 0, false, true },
	{ "thread", try_thread, SANDBOX_THREADS, false, false },
};
enum { TRIES = sizeof(tries) / sizeof(tries[0]) };

/* ---- a child for each try ---- */

static void
become(const struct role_ops *ops)
{
	unsigned id = UID_BASE + (unsigned)ops->kind;

	if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(id, id, id) != 0 ||
	    setresuid(id, id, id) != 0))
		_exit(99);
}

static int
in_sandbox(const struct role_ops *ops, enum sandbox_mode mode, unsigned i, const struct place *p)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct sandbox s = { mode, ops->needs, ops->folder == NULL ? -1 : p->own_fd };
		struct sandbox_state st;

		become(ops);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || sandbox_enter(&s, &st) != 0)
			_exit(98);
		if (tries[i].landlock && st.landlock == 0 &&
		    (ops->needs & (SANDBOX_READ | SANDBOX_WRITE)) != 0)
			_exit(SKIPPED);
		_exit(tries[i].try(p) == 0 ? ALLOWED : REFUSED);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* With the signal blocked, as within fork, there is no line and the kernel ends it. */
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void
make_file(const char *folder, uid_t uid)
{
	char path[96];

	(void)snprintf(path, sizeof(path), "%s/file", folder);
	int fd = open(path, O_WRONLY | O_CREAT, 0644);
	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(chmod(folder, 0777), 0);
	if (geteuid() == 0)
		assert_int_equal(chown(path, uid, uid), 0);
}

/* Closed to everybody but the queue's user, with a file in it. */
static void
make_spool(struct place *p)
{
	uid_t uid = UID_BASE + (uid_t)ROLE_QUEUE;

	(void)snprintf(p->spool, sizeof(p->spool), "/tmp/salvaposta-spool-XXXXXX");
	assert_non_null(mkdtemp(p->spool));
	make_file(p->spool, uid);
	if (geteuid() == 0)
		assert_int_equal(chown(p->spool, uid, uid), 0);
	assert_int_equal(chmod(p->spool, 0700), 0);
}

static void
place_init(struct place *p, uid_t uid)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);

	(void)snprintf(p->own, sizeof(p->own), "/tmp/salvaposta-own-XXXXXX");
	(void)snprintf(p->other, sizeof(p->other), "/tmp/salvaposta-other-XXXXXX");
	assert_non_null(mkdtemp(p->own));
	assert_non_null(mkdtemp(p->other));
	make_file(p->own, uid);
	make_file(p->other, uid);
	make_spool(p);
	p->own_fd = open(p->own, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(p->listener, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(p->listener, 16), 0);
	assert_int_equal(getsockname(p->listener, (struct sockaddr *)&a, &len), 0);
	p->port = ntohs(a.sin_port);
}

static void
place_fini(struct place *p)
{
	char path[96];

	(void)close(p->own_fd);
	(void)close(p->listener);
	(void)snprintf(path, sizeof(path), "%s/file", p->own);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/file", p->other);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/file", p->spool);
	(void)unlink(path);
	assert_int_equal(rmdir(p->spool), 0);
	assert_int_equal(rmdir(p->own), 0);
	assert_int_equal(rmdir(p->other), 0);
}

static void
check_role(const struct role_ops *ops)
{
	struct place p;

	place_init(&p, UID_BASE + (unsigned)ops->kind);
	for (unsigned i = 0; i < TRIES; i++) {
		bool may = tries[i].always || (ops->needs & tries[i].needs) != 0;

		/* Its owner, and as nobody but us everybody, is let in by the file's mode. */
		if (tries[i].try == try_spool && (ops->kind == ROLE_QUEUE || (geteuid() != 0 &&
		    (ops->needs & (SANDBOX_READ | SANDBOX_WRITE)) != 0)))
			continue;
		int got = in_sandbox(ops, SANDBOX_REFUSE, i, &p);

		if (got != (may ? ALLOWED : REFUSED) && got != SKIPPED)
			fail_msg("%s: %s: %d, expected %d", role_name(ops->kind), tries[i].name, got,
			    may ? ALLOWED : REFUSED);
		/* Without any wall all of it works, so the refusals above mean something. */
		if (tries[i].try != try_ptrace && tries[i].try != try_raw_socket &&
		    tries[i].try != try_signal && tries[i].try != try_spool)
			assert_true(in_sandbox(ops, SANDBOX_OFF, i, &p) == ALLOWED ||
			    tries[i].try == try_exec || tries[i].landlock);
	}
	/* The spool has a second wall, the user. */
	for (unsigned i = 0; i < TRIES && geteuid() == 0; i++)
		if (tries[i].try == try_spool)
			assert_int_equal(in_sandbox(ops, SANDBOX_OFF, i, &p),
			    ops->kind == ROLE_QUEUE ? ALLOWED : REFUSED);
	/* And it does not survive the attempt where that is wanted. */
	assert_int_equal(in_sandbox(ops, SANDBOX_KILL, 2, &p), 128 + SIGSYS);
	place_fini(&p);
}

static void
test_roles(void **state)
{
	static const struct role_ops *const roles[] = { &relay_ops, &verify_ops, &directory_ops,
		&seal_ops, &queue_ops };

	(void)state;
#ifdef __SANITIZE_ADDRESS__
	skip();		/* the sanitizer opens files of its own: no sandbox there */
#endif
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		check_role(roles[i]);
}

/* The plan of the house: who may do what (design 2, P8). */
static void
test_needs(void **state)
{
	(void)state;
	assert_int_equal(verify_ops.needs, 0);
	assert_int_equal(seal_ops.needs, 0);
	assert_int_equal(relay_ops.needs, SANDBOX_CONNECT | SANDBOX_NOSY);
	assert_int_equal(directory_ops.needs, SANDBOX_READ);
	assert_int_equal(queue_ops.needs & SANDBOX_CONNECT, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_needs),
		cmocka_unit_test(test_roles),
	};

	return cmocka_run_group_tests_name("base/sandbox", tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"

/* ---- the lists ---- */

static const char *const calls_all[] = {
	/* what is open already */
	"read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "close",
	"fstat", "lseek", "dup", "dup3", "fcntl", "ftruncate", "sendfile", "copy_file_range",
	/* talking over it */
	"recvmsg", "sendmsg", "recvfrom", "sendto", "sendmmsg", "recvmmsg", "shutdown",
	"getsockopt", "setsockopt", "getsockname", "getpeername",
	/* memory, bodies as memory files */
	"brk", "munmap", "mremap", "madvise", "memfd_create", "mincore",
	/* waiting and time */
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll",
	"select", "pselect6", "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime",
	"nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time",
	"futex", "sched_yield", "restart_syscall",
	/* oneself */
	"getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "uname", "sysinfo",
	"getrusage", "times", "getrandom", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
	"sigaltstack", "membarrier", "rseq", "set_robust_list", "get_robust_list", "getcpu",
	"sched_getaffinity", "exit", "exit_group",
};

static const char *const calls_accept[] = { "accept", "accept4" };

static const char *const calls_read[] = {
	"open", "openat", "stat", "lstat", "statx", "access", "faccessat",
	"faccessat2", "getdents64", "fstatfs", "statfs", "fadvise64", "readahead", "getcwd",
};

static const char *const calls_write[] = {
	"fdatasync", "fsync", "sync_file_range", "fallocate", "rename", "renameat", "renameat2",
	"unlink", "unlinkat", "mkdir", "mkdirat", "flock", "linkat", "fchmod",
};

static const char *const calls_threads[] = { "sched_setaffinity", "sched_getparam",
	"sched_getscheduler", "sched_get_priority_min", "sched_get_priority_max" };

/* ---- seccomp ---- */

struct build {
	scmp_filter_ctx	 f;
	unsigned	 calls;
	const char	*failed;	/* the call that could not be added */
};

static void
allow(struct build *b, const char *name)
{
	int nr = seccomp_syscall_resolve_name(name);

	if (nr == __NR_SCMP_ERROR || nr < 0)	/* not of this machine */
		return;
	if (seccomp_rule_add(b->f, SCMP_ACT_ALLOW, nr, 0) != 0)
		b->failed = name;
	b->calls++;
}

static void
allow_list(struct build *b, const char *const *name, size_t n)
{
	for (size_t i = 0; i < n; i++)
		allow(b, name[i]);
}

static void
allow_if(struct build *b, const char *name, struct scmp_arg_cmp cmp)
{
	int nr = seccomp_syscall_resolve_name(name);

	if (seccomp_rule_add(b->f, SCMP_ACT_ALLOW, nr, 1, cmp) != 0)
		b->failed = name;
	b->calls++;
}

#define ALLOW(b, list) allow_list((b), (list), sizeof(list) / sizeof((list)[0]))

static void
deny_calmly(struct build *b, const char *name)
{
	if (seccomp_rule_add(b->f, SCMP_ACT_ERRNO(EACCES), seccomp_syscall_resolve_name(name), 0) != 0)
		b->failed = name;
}

/* libseccomp's macros leave the second operand out, which clang would have us write. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* Calls that are harmless only with certain arguments. */
static void
allow_with_care(struct build *b, unsigned needs, enum sandbox_mode mode)
{
	/* Memory is never made code. */
	allow_if(b, "mmap", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	allow_if(b, "mprotect", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	allow_if(b, "ioctl", SCMP_A1(SCMP_CMP_EQ, FIONBIO));
	allow_if(b, "ioctl", SCMP_A1(SCMP_CMP_EQ, FIONREAD));
	allow_if(b, "ioctl", SCMP_A1(SCMP_CMP_EQ, TCGETS));	/* isatty of the scanner */
	allow_if(b, "prlimit64", SCMP_A2(SCMP_CMP_EQ, 0));	/* only asked */
	/* The C library's fstat. */
	allow_if(b, "newfstatat", SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH));
	allow_if(b, "prctl", SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	/* abort() signals its own process. */
	allow_if(b, "tgkill", SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	if (needs & (SANDBOX_READ | SANDBOX_WRITE))
		allow(b, "newfstatat");
	if (needs & SANDBOX_THREADS) {
		allow_if(b, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
		/* Its flags are out of sight here; the C library takes clone instead. */
		(void)seccomp_rule_add(b->f, SCMP_ACT_ERRNO(ENOSYS),
		    seccomp_syscall_resolve_name("clone3"), 0);
	}
	if (needs & SANDBOX_CONNECT) {
		allow_if(b, "socket", SCMP_A0(SCMP_CMP_EQ, AF_INET));
		allow_if(b, "socket", SCMP_A0(SCMP_CMP_EQ, AF_INET6));
		allow_if(b, "socketpair", SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
		allow(b, "connect");
		allow(b, "bind");
		allow(b, "pipe2");
	}
	if ((needs & SANDBOX_NOSY) != 0 && mode == SANDBOX_KILL) {
		deny_calmly(b, "openat");
		/* One action a call and its arguments: families but the Internet's. */
		if (seccomp_rule_add(b->f, SCMP_ACT_ERRNO(EAFNOSUPPORT),
		    seccomp_syscall_resolve_name("socket"), 1,
		    SCMP_A0(SCMP_CMP_EQ, AF_UNIX)) != 0 ||
		    seccomp_rule_add(b->f, SCMP_ACT_ERRNO(EAFNOSUPPORT),
		    seccomp_syscall_resolve_name("socket"), 1,
		    SCMP_A0(SCMP_CMP_EQ, AF_NETLINK)) != 0)
			b->failed = "socket";
	}
}

static void
on_violation(int signo, siginfo_t *info, void *context)
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, info->si_syscall);

	(void)context;
	log_error("sandbox", "violation=%s number=%d", name == NULL ? "?" : name,
	    info->si_syscall);
	signal(signo, SIG_DFL);
	_exit(128 + signo);
}

static uint32_t
action_of(enum sandbox_mode m)
{
	return m == SANDBOX_KILL ? SCMP_ACT_TRAP : SCMP_ACT_ERRNO(EPERM);
}

static int
seccomp_enter(const struct sandbox *s, unsigned *calls)
{
	struct build b = { .f = seccomp_init(action_of(s->mode)) };
	int rc = -1;

	if (b.f == NULL)
		goto out;
	ALLOW(&b, calls_all);
	if (s->needs & (SANDBOX_CONNECT | SANDBOX_ACCEPT))
		ALLOW(&b, calls_accept);
	if (s->needs & (SANDBOX_READ | SANDBOX_WRITE))
		ALLOW(&b, calls_read);
	if (s->needs & SANDBOX_WRITE)
		ALLOW(&b, calls_write);
	if (s->needs & SANDBOX_THREADS)
		ALLOW(&b, calls_threads);
	allow_with_care(&b, s->needs, s->mode);
	if (b.failed != NULL) {
		log_error("sandbox", "call=%s error=\"cannot be put on the list\"", b.failed);
		goto out;
	}
	if (s->mode == SANDBOX_KILL) {
		struct sigaction sa = { .sa_sigaction = on_violation, .sa_flags = SA_SIGINFO };
		sigaction(SIGSYS, &sa, NULL);
	}
	*calls = b.calls;
	rc = seccomp_load(b.f);
	if (rc < 0) {
		errno = -rc;
		log_error("sandbox", "error=\"%m\" fix=\"use a kernel with seccomp, or set "
		    "sandbox = off\"");
	}
out:
	seccomp_release(b.f);
	return rc < 0 ? -1 : 0;
}

/* ---- Landlock ---- */

enum {	/* of newer kernels than our headers know (ABI 3 and 4) */
	FS_TRUNCATE	= 1 << 14,
	FS_IOCTL_DEV	= 1 << 15,
	NET_BIND	= 1 << 0,
	NET_CONNECT	= 1 << 1
};

struct ruleset_attr {
	uint64_t	fs, net;
};

static const uint64_t fs_read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
static const uint64_t fs_write = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG;
static const uint64_t fs_rest = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
    LANDLOCK_ACCESS_FS_MAKE_SYM;

static uint64_t
fs_known(int abi)
{
	return fs_read | fs_write | fs_rest | (abi >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0) |
	    (abi >= 3 ? FS_TRUNCATE : 0) | (abi >= 5 ? FS_IOCTL_DEV : 0);
}

static int
landlock_folder(const struct sandbox *s, int rules, int abi)
{
	struct landlock_path_beneath_attr p = { .parent_fd = s->folder };

	if (s->folder < 0 || (s->needs & (SANDBOX_READ | SANDBOX_WRITE)) == 0)
		return 0;
	p.allowed_access = fs_read;
	if (s->needs & SANDBOX_WRITE)
		p.allowed_access |= fs_write | (abi >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0) |
		    (abi >= 3 ? FS_TRUNCATE : 0);
	return (int)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &p, 0);
}

int
sandbox_landlock_abi(void)
{
	int v = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);

	return v < 1 ? 0 : v;
}

bool
sandbox_has_seccomp(void)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

/* 0 with *abi, also when the kernel has none (0); -1 with errno. */
static int
landlock_enter(const struct sandbox *s, int *abi)
{
	int v = sandbox_landlock_abi();

	*abi = 0;
	if (v == 0)
		return 0;
	struct ruleset_attr a = { .fs = fs_known(v) };
	if (v >= 4 && (s->needs & SANDBOX_CONNECT) == 0)
		a.net = NET_BIND | NET_CONNECT;
	int rules = (int)syscall(SYS_landlock_create_ruleset, &a,
	    v >= 4 ? sizeof(a) : sizeof(a.fs), 0);
	if (rules < 0)
		return -1;
	int rc = landlock_folder(s, rules, v);
	if (rc == 0)
		rc = (int)syscall(SYS_landlock_restrict_self, rules, 0);
	int saved = errno;
	(void)close(rules);
	errno = saved;
	*abi = v;
	return rc == 0 ? 0 : -1;
}

/* ---- both ---- */

const char *
sandbox_mode_name(enum sandbox_mode m)
{
	static const char *const name[] = { "off", "refuse", "kill" };

	return name[m];
}

int
sandbox_enter(const struct sandbox *s, struct sandbox_state *out)
{
	*out = (struct sandbox_state){ .mode = s->mode };
#if defined(__SANITIZE_ADDRESS__)
	out->mode = SANDBOX_OFF;	/* the sanitizer opens files of its own */
	return 0;
#endif
	if (s->mode == SANDBOX_OFF)
		return 0;
	if (landlock_enter(s, &out->landlock) != 0) {
		log_error("sandbox", "landlock_abi=%d error=\"%m\" fix=\"set sandbox = off, and "
		    "report it\"", out->landlock);
		return -1;
	}
	return seccomp_enter(s, &out->calls);
}

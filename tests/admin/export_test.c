// SPDX-License-Identifier: Apache-2.0
/*
 * What an export writes: names that hostile addresses cannot lead astray, mboxrd
 * quoting that can be undone, Return-Path and trace on top (RFC 5321 4.4, spec 11.1,
 * 11.3), cuts as in a replay (spec 4.3), and second runs that find what is there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/export.h"
#include "base/mem.h"

#define N(a)	(sizeof(a) / sizeof((a)[0]))

enum { TEXT_MAX = 256 * 1024 };

/* ---- names ---- */

static void
name_is_safe(struct slice in)
{
	char out[MAILFILE_NAME_MAX];

	mailfile_name(in, out);
	size_t n = strlen(out);
	assert_in_range(n, 1, MAILFILE_NAME_MAX - 1);
	assert_int_not_equal(out[0], '.');
	for (size_t i = 0; i < n; i++)
		assert_non_null(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		    "0123456789.+=@_-%~", out[i]));
}

static void
test_names(void **state)
{
	static const struct { struct slice in; const char *out; } t[] = {
		{ SLICE_LIT("mario"), "mario" },
		{ SLICE_LIT("mario.rossi+tag"), "mario.rossi+tag" },
		{ SLICE_LIT("Example.IT"), "Example.IT" },
		{ SLICE_LIT(""), "%" },
		{ SLICE_LIT("."), "%2E" },
		{ SLICE_LIT(".."), "%2E." },
		{ SLICE_LIT("../../etc/passwd"), "%2E.%2F..%2Fetc%2Fpasswd" },
		{ SLICE_LIT("/"), "%2F" },
		{ SLICE_LIT("a\0b"), "a%00b" },
		{ SLICE_LIT("a\nb\x1b[2J"), "a%0Ab%1B%5B2J" },
		{ SLICE_LIT("%41"), "%2541" },
		{ SLICE_LIT("perch\xc3\xa9"), "perch%C3%A9" },
		{ SLICE_LIT("a:2,S"), "a%3A2%2CS" },
		{ SLICE_LIT("\"a b\""), "%22a%20b%22" },
		{ SLICE_LIT("-rf"), "-rf" },
		{ SLICE_LIT("a%tmp"), "a%25tmp" },
	};
	char out[MAILFILE_NAME_MAX];

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		mailfile_name(t[i].in, out);
		assert_string_equal(out, t[i].out);
		name_is_safe(t[i].in);
	}
	for (int c = 0; c < 256; c++) {
		char one = (char)c;
		name_is_safe(slice_make(&one, 1));
	}
}

static void
test_long_names(void **state)
{
	char in[600], a[MAILFILE_NAME_MAX], b[MAILFILE_NAME_MAX];

	(void)state;
	for (size_t n = 100; n < sizeof(in); n++) {
		memset(in, n % 3 == 0 ? '/' : 'x', n);
		name_is_safe(slice_make(in, n));
		mailfile_name(slice_make(in, n), a);
		in[n - 1] = 'y';	/* differs only behind the cut */
		mailfile_name(slice_make(in, n), b);
		assert_string_not_equal(a, b);
		assert_true(n < MAILFILE_NAME_MAX || strstr(a, "%~") != NULL);
	}
}

/* ---- quoting and line ends ---- */

static size_t
through(struct slice in, size_t step, bool lf, bool quote, char *out)
{
	static struct mailfile_out o;
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);

	assert_true(fd >= 0);
	mailfile_begin(&o, fd, lf, quote);
	for (size_t i = 0; i < in.n; i += step)
		mailfile_put(&o, slice_sub(in, i, i + step));
	assert_int_equal(mailfile_end(&o), 0);
	ssize_t n = pread(fd, out, TEXT_MAX, 0);
	assert_true(n >= 0);
	assert_int_equal(n, o.bytes);
	close(fd);
	return (size_t)n;
}

static void
test_quoting(void **state)
{
	static const struct { const char *in, *out; } t[] = {
		{ "From me\r\n", ">From me\n" },
		{ ">From me\r\n", ">>From me\n" },
		{ ">>>From \r\n", ">>>>From \n" },
		{ "From\r\n", "From\n" },
		{ "From:\r\n", "From:\n" },
		{ "from me\r\n", "from me\n" },
		{ " From me\r\n", " From me\n" },
		{ "a\r\nFrom me\r\nFrom me\r\n", "a\n>From me\n>From me\n" },
		{ ">\r\n>>\r\n>Fro\r\n", ">\n>>\n>Fro\n" },
		{ ">Fr>From \r\n", ">Fr>From \n" },
		{ "\r\n\r\nFrom \r\n", "\n\n>From \n" },
		{ "a\rFrom b\r\n", "a\rFrom b\n" },
		{ "\rFrom b\r\n", "\rFrom b\n" },
		{ ">\rFrom b", ">\rFrom b" },
		{ "From ", ">From " },
		{ "From", "From" },
		{ ">>", ">>" },
		{ "a\r\r\n", "a\r\n" },
		{ "a\r", "a\r" },
		{ "a\nFrom b", "a\n>From b" },
		{ "", "" },
	};
	static char out[TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		struct slice in = slice_str(t[i].in);
		for (size_t step = 1; step <= in.n + 1; step++) {
			size_t n = through(in, step, true, true, out);
			assert_int_equal(n, strlen(t[i].out));
			assert_memory_equal(out, t[i].out, n);
		}
	}
}

/* mboxrd: one '>' less from each line of >*From_ gives the text back. */
static void
test_quoting_can_be_undone(void **state)
{
	static const char bits[][8] = { "From ", ">", "\r\n", "From", " ", "x", "\r\n>", "F" };
	static char in[TEXT_MAX], out[TEXT_MAX];
	uint32_t x = 4711;

	(void)state;
	for (int round = 0; round < 300; round++) {
		size_t n = 0, m = 0;
		for (int i = 0; i < 60; i++) {
			x = x * 1664525u + 1013904223u;
			const char *b = bits[x >> 29];
			memcpy(in + n, b, strlen(b));
			n += strlen(b);
		}
		size_t got = through(slice_make(in, n), 1 + x % 7, true, true, out);
		char *back = malloc(2 * got + 1);
		assert_non_null(back);
		bool bol = true;
		for (size_t i = 0; i < got; i++) {
			size_t gt = i;
			while (bol && gt < got && out[gt] == '>')
				gt++;
			if (bol && gt + 5 <= got && memcmp(out + gt, "From ", 5) == 0) {
				assert_true(gt > i);	/* none stands bare */
				bol = false;
				continue;	/* drops one '>' */
			}
			bol = out[i] == '\n';
			if (bol)
				back[m++] = '\r';
			back[m++] = out[i];
		}
		assert_int_equal(m, n);
		assert_memory_equal(back, in, n);
		free(back);
	}
}

static void
test_bytes_stay(void **state)
{
	static char in[TEXT_MAX / 2], out[TEXT_MAX];
	uint32_t x = 1;

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++) {
		x = x * 1664525u + 1013904223u;
		in[i] = "\0\r\n>From \xff"[(x >> 24) % 10];
	}
	assert_int_equal(through(slice_make(in, sizeof(in)), 777, false, false, out), sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
}

static void
test_a_write_that_fails_is_told(void **state)
{
	static struct mailfile_out o;
	int fd = open("/dev/full", O_WRONLY);

	(void)state;
	if (fd < 0)
		skip();
	mailfile_begin(&o, fd, false, false);
	mailfile_put(&o, SLICE_LIT("x"));
	assert_int_equal(mailfile_end(&o), -1);
	assert_int_equal(errno, ENOSPC);
	close(fd);
}

/* ---- a message ---- */

struct sample {
	struct spool_message	msg;
	struct envelope_rcpt	rcpt;
	struct buf		cuts, block;
	struct mailfile		m;
};

static void
sample_init(struct sample *s, const char *from, const char *to)
{
	*s = (struct sample){ .msg.body_fd = -1 };
	s->msg.env = (struct envelope){ .version = ENVELOPE_VERSION,
	    .received_ms = 1669150000123, .mail_from = slice_str(from),
	    .trace = SLICE_LIT("Authentication-Results: mx; spf=pass\r\nReceived: x\r\n") };
	memset(s->msg.env.id.b, 7, MSGID_LEN);
	s->rcpt = (struct envelope_rcpt){ .address = slice_str(to), .user = slice_str(to) };
	buf_init(&s->cuts, 4096);
	buf_init(&s->block, MAILFILE_BLOCK_MAX);
}

static void
sample_cut(struct sample *s, uint64_t off, uint64_t len)
{
	const struct body_cut c = { off, len };

	assert_int_equal(wire_item_put(&s->cuts, &body_cut_wire, &c), 0);
	s->msg.env.cuts = buf_slice(&s->cuts);
}

static int
sample_make(struct sample *s, uint16_t rcpt, const char *content)
{
	return mailfile_make(&s->m, &s->msg, &s->rcpt, rcpt, slice_str(content), &s->block);
}

static void
sample_fini(struct sample *s)
{
	buf_fini(&s->cuts);
	buf_fini(&s->block);
}

static void
expect(const struct mailfile *m, const char *want)
{
	static struct mailfile_out o;
	static char out[TEXT_MAX];
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);

	mailfile_begin(&o, fd, false, false);
	mailfile_write(&o, m);
	assert_int_equal(mailfile_end(&o), 0);
	ssize_t n = pread(fd, out, TEXT_MAX - 1, 0);
	assert_true(n >= 0);
	out[n] = '\0';
	assert_string_equal(out, want);
	close(fd);
}

#define ID	"0s3ge1o70s3ge1o7"
#define TOP(from, to, n) \
	"Return-Path: <" from ">\r\nX-Original-To: " to "\r\nX-Fwd-Queue-Id: " ID "/" n "\r\n" \
	"Authentication-Results: mx; spf=pass\r\nReceived: x\r\n"

static void
test_a_message(void **state)
{
	struct sample s;

	(void)state;
	sample_init(&s, "a@b.example", "mario+x@shop.example");
	assert_int_equal(sample_make(&s, 3, "Subject: x\r\n\r\nciao\r\n"), 0);
	assert_string_equal(s.m.base, "1669150000.Q" ID "_3.salvaposta");
	expect(&s.m, TOP("a@b.example", "mario+x@shop.example", "3") "Subject: x\r\n\r\nciao\r\n");
	s.msg.env.mail_from = SLICE_NONE;	/* a bounce: RFC 5321 4.5.5 */
	assert_int_equal(sample_make(&s, 0, ""), 0);
	expect(&s.m, TOP("", "mario+x@shop.example", "0"));
	/* Disk bytes: what could end the field never does. */
	s.msg.env.mail_from = SLICE_LIT("a\r\nX: y@b");
	assert_int_equal(sample_make(&s, 0, ""), 0);
	expect(&s.m, TOP("a??X: y@b", "mario+x@shop.example", "0"));
	sample_fini(&s);
}

static void
test_cuts(void **state)
{
	static const struct { uint64_t off, len, off2, len2; int rc; const char *left; } t[] = {
		{ 0, 0, 0, 0, 0, "0123456789" },
		{ 0, 3, 0, 0, -1, NULL },		/* overlap: the second begins before */
		{ 0, 3, 3, 1, 0, "456789" },
		{ 2, 2, 8, 2, 0, "014567" },
		{ 0, 10, 10, 0, 0, "" },
		{ 5, 6, 11, 0, -1, NULL },		/* past the end */
		{ 1, UINT64_MAX, 5, 1, -1, NULL },	/* overflow */
		{ 4, 1, 2, 1, -1, NULL },		/* not ascending */
	};
	struct sample s;
	char want[512];

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		sample_init(&s, "a@b", "c@d");
		sample_cut(&s, t[i].off, t[i].len);
		sample_cut(&s, t[i].off2, t[i].len2);
		assert_int_equal(sample_make(&s, 0, "0123456789"), t[i].rc);
		if (t[i].rc == 0) {
			snprintf(want, sizeof(want), "%s%s", TOP("a@b", "c@d", "0"), t[i].left);
			expect(&s.m, want);
		}
		sample_fini(&s);
	}
	sample_init(&s, "a@b", "c@d");
	s.msg.env.cuts = SLICE_LIT("\x05\x00");	/* no list at all */
	assert_int_equal(sample_make(&s, 0, "0123456789"), -1);
	sample_fini(&s);
}

/* ---- folders ---- */

struct place {
	char	dir[64];
	int	fd;
};

static void
place_rm(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL) {
		unlinkat(at, name, 0);
		return;
	}
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			place_rm(fd, e->d_name);
	closedir(d);
	unlinkat(at, name, AT_REMOVEDIR);
}

static int
setup(void **state)
{
	struct place *p = mem_new(sizeof(*p));

	snprintf(p->dir, sizeof(p->dir), "/tmp/export-test-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	p->fd = open(p->dir, O_RDONLY | O_DIRECTORY);
	assert_true(p->fd >= 0);
	*state = p;
	return 0;
}

static int
teardown(void **state)
{
	struct place *p = *state;

	close(p->fd);
	place_rm(AT_FDCWD, p->dir);
	free(p);
	return 0;
}

static size_t
slurp(int at, const char *name, char *out)
{
	int fd = openat(at, name, O_RDONLY);

	assert_true(fd >= 0);
	ssize_t n = read(fd, out, TEXT_MAX - 1);
	assert_true(n >= 0);
	out[n] = '\0';
	close(fd);
	return (size_t)n;
}

static const struct export_user mario = { "shop.example", "mario" };

/* Writes messages 0..n-1 to a format; how many were new. */
static unsigned
run(const struct place *p, const struct export_format *f, bool lf, unsigned n,
    const struct export_user *users, size_t nusers)
{
	char why[EXPORT_WHY] = "";
	void *x = f->open(p->fd, lf);
	unsigned fresh = 0;
	struct sample s;
	uint64_t bytes;

	sample_init(&s, "a@b.example", "mario@shop.example");
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(sample_make(&s, (uint16_t)i, "Subject: x\r\n\r\nFrom me\r\n"), 0);
		enum export_put r = f->put(x, &users[i % nusers], &s.m, &bytes, why);
		assert_int_not_equal(r, EXPORT_ERROR);
		fresh += r == EXPORT_WRITTEN;
		assert_int_equal(bytes > 0, r == EXPORT_WRITTEN);
	}
	assert_int_equal(f->settle(x, why), 0);
	f->close(x);
	sample_fini(&s);
	return fresh;
}

static unsigned
count(const struct place *p, const char *path)
{
	int fd = openat(p->fd, path, O_RDONLY | O_DIRECTORY);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	unsigned n = 0;

	assert_non_null(d);
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

#define FILE_0	"1669150000.Q" ID "_0.salvaposta"

static void
test_maildir(void **state)
{
	static char text[TEXT_MAX];
	struct place *p = *state;
	struct stat st;

	assert_int_equal(run(p, &export_maildir, false, 3, &mario, 1), 3);
	slurp(p->fd, "shop.example/mario/new/" FILE_0, text);
	assert_string_equal(text, TOP("a@b.example", "mario@shop.example", "0")
	    "Subject: x\r\n\r\nFrom me\r\n");
	assert_int_equal(fstatat(p->fd, "shop.example/mario/new/" FILE_0, &st, 0), 0);
	assert_int_equal(st.st_mtim.tv_sec, 1669150000);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(count(p, "shop.example/mario/tmp"), 0);
	assert_int_equal(count(p, "shop.example/mario/cur"), 0);
	/* A mail reader has taken one over and marked it. */
	assert_int_equal(renameat(p->fd, "shop.example/mario/new/" FILE_0, p->fd,
	    "shop.example/mario/cur/" FILE_0 ":2,S"), 0);
	assert_int_equal(run(p, &export_maildir, false, 5, &mario, 1), 2);
	assert_int_equal(count(p, "shop.example/mario/new"), 4);
}

static void
test_maildir_lf(void **state)
{
	static char text[TEXT_MAX];
	struct place *p = *state;

	assert_int_equal(run(p, &export_maildir, true, 1, &mario, 1), 1);
	slurp(p->fd, "shop.example/mario/new/" FILE_0, text);
	assert_null(strchr(text, '\r'));
	assert_non_null(strstr(text, "\n\nFrom me\n"));
}

/* What a run left that died is no message, and does not stop the next one. */
static void
test_maildir_leftovers(void **state)
{
	struct place *p = *state;

	assert_int_equal(run(p, &export_maildir, false, 0, &mario, 1), 0);
	assert_int_equal(mkdirat(p->fd, "shop.example", 0700), 0);
	assert_int_equal(mkdirat(p->fd, "shop.example/mario", 0700), 0);
	assert_int_equal(mkdirat(p->fd, "shop.example/mario/tmp", 0700), 0);
	int fd = openat(p->fd, "shop.example/mario/tmp/" FILE_0, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "half", 4), 4);
	close(fd);
	assert_int_equal(run(p, &export_maildir, false, 2, &mario, 1), 2);
	assert_int_equal(count(p, "shop.example/mario/tmp"), 0);
	assert_int_equal(count(p, "shop.example/mario/new"), 2);
}

/* More users and messages than are open at once or fit a batch. */
static void
test_many_users(void **state)
{
	enum { USERS = 150, MESSAGES = 900 };
	static const struct export_format *const f[] = { &export_maildir, &export_mbox };
	struct export_user *u = mem_array(USERS, sizeof(*u));
	struct place *p = *state;
	char path[128];

	for (unsigned i = 0; i < USERS; i++) {
		snprintf(u[i].domain, sizeof(u[i].domain), "d%u.example", i % 3);
		snprintf(u[i].local, sizeof(u[i].local), "u%u", i);
	}
	for (size_t k = 0; k < N(f); k++) {
		assert_int_equal(run(p, f[k], false, MESSAGES / 2, u, USERS), MESSAGES / 2);
		assert_int_equal(run(p, f[k], false, MESSAGES, u, USERS), MESSAGES / 2);
		assert_int_equal(run(p, f[k], false, MESSAGES, u, USERS), 0);
	}
	for (unsigned i = 0; i < USERS; i++) {
		snprintf(path, sizeof(path), "%s/%s/new", u[i].domain, u[i].local);
		assert_int_equal(count(p, path), MESSAGES / USERS);
	}
	/* u0..u149 of three domains: a Maildir and an mbox each, and nothing else. */
	assert_int_equal(count(p, "d0.example"), 2 * USERS / 3);
	free(u);
}

/* The same message twice in one run, as beside a running relay. */
static void
test_twice_in_one_run(void **state)
{
	static const struct export_format *const f[] = { &export_maildir, &export_mbox };
	char why[EXPORT_WHY] = "";
	struct place *p = *state;
	struct sample s;
	uint64_t bytes;

	sample_init(&s, "a@b.example", "mario@shop.example");
	assert_int_equal(sample_make(&s, 0, "x\r\n"), 0);
	for (size_t k = 0; k < N(f); k++) {
		void *x = f[k]->open(p->fd, false);
		assert_int_equal(f[k]->put(x, &mario, &s.m, &bytes, why), EXPORT_WRITTEN);
		assert_int_equal(f[k]->put(x, &mario, &s.m, &bytes, why), EXPORT_PRESENT);
		assert_int_equal(f[k]->settle(x, why), 0);
		f[k]->close(x);
	}
	sample_fini(&s);
}

#define FROM_	"From a@b.example Tue Nov 22 20:46:40 2022\n"

static void
test_mbox(void **state)
{
	static char text[TEXT_MAX];
	struct place *p = *state;
	unsigned messages = 0, bare = 0;
	struct stat st;

	assert_int_equal(run(p, &export_mbox, false, 2, &mario, 1), 2);
	slurp(p->fd, "shop.example/mario.mbox", text);
	const char head[] = FROM_ "Return-Path: <a@b.example>\nX-Original-To: "
	    "mario@shop.example\nX-Fwd-Queue-Id: " ID "/0\n";
	assert_int_equal(strncmp(text, head, sizeof(head) - 1), 0);
	assert_null(strchr(text, '\r'));
	for (const char *at = strstr(text, "From "); at != NULL; at = strstr(at + 1, "From ")) {
		messages += strncmp(at, FROM_, sizeof(FROM_) - 1) == 0;
		bare += (at == text || at[-1] == '\n');
		assert_true(at == text || at[-1] != '\n' || at[-2] == '\n');
	}
	assert_int_equal(messages, 2);
	assert_int_equal(bare, 2);
	assert_non_null(strstr(text, "\n\n>From me\n\n"));
	assert_int_equal(fstatat(p->fd, "shop.example/mario.mbox", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	size_t before = strlen(text);
	assert_int_equal(run(p, &export_mbox, false, 2, &mario, 1), 0);
	assert_int_equal(slurp(p->fd, "shop.example/mario.mbox", text), before);
	assert_int_equal(count(p, "shop.example"), 1);
}

/* A message that quotes our field in its body or header is not taken for ours. */
static void
test_mbox_is_not_fooled(void **state)
{
	char why[EXPORT_WHY] = "";
	struct place *p = *state;
	struct sample s;
	uint64_t bytes;

	sample_init(&s, "a@b.example", "mario@shop.example");
	void *x = export_mbox.open(p->fd, false);
	assert_int_equal(sample_make(&s, 0, "X-Fwd-Queue-Id: " ID "/1\r\n\r\n"
	    "X-Fwd-Queue-Id: " ID "/2\r\nFrom x\r\nX-Fwd-Queue-Id: " ID "/3\r\n"), 0);
	assert_int_equal(export_mbox.put(x, &mario, &s.m, &bytes, why), EXPORT_WRITTEN);
	assert_int_equal(export_mbox.settle(x, why), 0);
	export_mbox.close(x);
	sample_fini(&s);
	assert_int_equal(run(p, &export_mbox, false, 4, &mario, 1), 3);
}

/* A foreign mbox without a last newline: ours begins on a line of its own. */
static void
test_mbox_behind_a_foreign_one(void **state)
{
	static char text[TEXT_MAX];
	struct place *p = *state;

	assert_int_equal(mkdirat(p->fd, "shop.example", 0700), 0);
	int fd = openat(p->fd, "shop.example/mario.mbox", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "From x\n\nold", 11), 11);
	close(fd);
	assert_int_equal(run(p, &export_mbox, false, 1, &mario, 1), 1);
	slurp(p->fd, "shop.example/mario.mbox", text);
	assert_int_equal(strncmp(text, "From x\n\nold\n\n" FROM_, 13 + sizeof(FROM_) - 1), 0);
}

/* A run that is given up leaves the mbox as it was. */
static void
test_mbox_without_settle(void **state)
{
	static char text[TEXT_MAX];
	char why[EXPORT_WHY] = "";
	struct place *p = *state;
	struct sample s;
	uint64_t bytes;

	assert_int_equal(run(p, &export_mbox, false, 1, &mario, 1), 1);
	size_t before = slurp(p->fd, "shop.example/mario.mbox", text);
	sample_init(&s, "a@b.example", "mario@shop.example");
	void *x = export_mbox.open(p->fd, false);
	assert_int_equal(sample_make(&s, 9, "x\r\n"), 0);
	assert_int_equal(export_mbox.put(x, &mario, &s.m, &bytes, why), EXPORT_WRITTEN);
	export_mbox.close(x);
	sample_fini(&s);
	assert_int_equal(slurp(p->fd, "shop.example/mario.mbox", text), before);
	assert_int_equal(count(p, "shop.example"), 1);
}

/* Somebody put a link where a folder should be: it is not followed. */
static void
test_links(void **state)
{
	static const struct export_format *const f[] = { &export_maildir, &export_mbox };
	char why[EXPORT_WHY] = "";
	struct place *p = *state;
	struct sample s;
	uint64_t bytes;

	assert_int_equal(symlinkat("/tmp", p->fd, "shop.example"), 0);
	sample_init(&s, "a@b.example", "mario@shop.example");
	assert_int_equal(sample_make(&s, 0, "x\r\n"), 0);
	for (size_t k = 0; k < N(f); k++) {
		void *x = f[k]->open(p->fd, false);
		assert_int_equal(f[k]->put(x, &mario, &s.m, &bytes, why), EXPORT_ERROR);
		assert_non_null(strstr(why, "shop.example/mario"));
		f[k]->close(x);
	}
	sample_fini(&s);
}

#define IN_PLACE(t)	cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_quoting),
		cmocka_unit_test(test_quoting_can_be_undone),
		cmocka_unit_test(test_bytes_stay),
		cmocka_unit_test(test_a_write_that_fails_is_told),
		cmocka_unit_test(test_a_message),
		cmocka_unit_test(test_cuts),
		IN_PLACE(test_maildir),
		IN_PLACE(test_maildir_lf),
		IN_PLACE(test_maildir_leftovers),
		IN_PLACE(test_many_users),
		IN_PLACE(test_twice_in_one_run),
		IN_PLACE(test_mbox),
		IN_PLACE(test_mbox_is_not_fooled),
		IN_PLACE(test_mbox_behind_a_foreign_one),
		IN_PLACE(test_mbox_without_settle),
		IN_PLACE(test_links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

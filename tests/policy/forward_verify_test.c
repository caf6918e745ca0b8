// SPDX-License-Identifier: Apache-2.0
/* Forward copies as dkimpy sees them: our signature and seal on every form of a copy
 * (spec 3.17, 5.9, 7.3, 14.4 case 1), and in a chain of several sealers. */
#include "tests/policy/forward_kit.h"

static void
write_file(const char *dir, const char *name, int n, struct slice s)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s%d", dir, name, n);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(s.p, 1, s.n, f), s.n);
	assert_int_equal(fclose(f), 0);
}

#define H	"From: =?utf-8?q?A?= <a@esp.example>\r\nTo: Mario@example.it,\r\n  b@c.it\r\n" \
	"Subject: two\r\n\t  folded \t lines \r\nDate: Sun, 22 Nov 2026 20:36:00 +0100\r\n" \
	"Message-ID: <1@esp.example>\r\nMIME-Version: 1.0\r\n" \
	"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n"

static const struct {
	const char *content;
	const char *cut;	/* text of the runs to cut, "" for none */
	const char *cut2;
} signed_cases[] = {
	{ PLAIN, "", "" },
	{ H "\r\nperch\xe9 \xff\x80\r\n", "", "" },
	{ H "\r\n.\r\n..\r\n.x\r\nFrom me\r\n>From\r\n", "", "" },
	{ H "\r\ntrailing  \t\r\n \r\n\t\r\nblanks \r\n\r\n\r\n \r\n", "", "" },
	{ H "\r\n", "", "" },
	{ H "\r\n\r\n\r\n", "", "" },
	{ H, "", "" },
	{ H "\r\nno end of line", "", "" },
	{ H "\r\n\r\n\r\nleading empty lines\r\n", "", "" },
	{ H "\r\n\ttabs\tand   runs \t of white\t\tspace\r\n", "", "" },
	{ "Subject: 1\r\nX: y\r\nFrom: a@b.it\r\nsubject: 2\r\nTO:x\r\nto:\r\n\r\nx\r\n", "", "" },
	{ "From: a@b.it\r\nSubject:\r\n\r\nempty subject\r\n", "", "" },
	{ "From:a@b.it\r\nSubject:\r\n  folded at once\r\n\r\nx\r\n", "", "" },
	{ "From: a@b.it\r\nFrom: c@d.it\r\nDate: x\r\nDate: y\r\n\r\nx\r\n", "", "" },
	{ "Authentication-Results: mx2;\r\n none\r\n" H "\r\nx\r\n",
	  "Authentication-Results: mx2;\r\n none\r\n", "" },
	{ "From: a@b.it\r\nSubject: cut away\r\nTo: x\r\nSubject: stays\r\n\r\nbody\r\ncut\r\nz\r\n",
	  "Subject: cut away\r\n", "cut\r\n" },
	{ "DKIM-Signature: v=1; a=rsa-sha256; d=x.it; s=s; h=From; bh=x; b=y\r\n" H "\r\nx\r\n",
	  "", "" },
};

static void
put_cut(struct buf *cuts, const char *content, const char *what, struct body_cut *c)
{
	const char *at = strstr(content, what);

	if (what[0] == '\0')
		return;
	assert_non_null(at);
	*c = (struct body_cut){ (uint64_t)(at - content), strlen(what) };
	assert_int_equal(wire_item_put(cuts, &body_cut_wire, c), 0);
}

/* Writes a copy that is munged or wrapped. */
static void
write_form(struct bench *b, const char *dir, int n, struct slice content, enum rewrite_mode mode)
{
	struct forward_copy copy;
	struct slice list;
	struct body_cut cut;
	struct buf out;
	uint64_t at = 0;

	reset(b, content);
	b->keys.dkim = b->keys.arc = b->rsa;
	b->env.dmarc = AUTH_PASS;
	b->env.flags = ENV_REJECT;
	b->rq.form.mode = mode;
	forward_copy_init(&copy);
	assert_int_equal(forward_build(&b->keys, &b->rq, &copy), FORWARD_OK);
	assert_string_equal(copy.form, mode == REWRITE_WRAP ? "wrap" : "munge");
	assert_int_equal(copy.sealed, mode == REWRITE_MUNGE);
	buf_init(&out, 1024 * 1024);
	assert_int_equal(buf_put_slice(&out, buf_slice(&copy.prefix)), 0);
	list = buf_slice(&copy.cuts);
	while (wire_item_next(&list, &body_cut_wire, &cut) == 1) {
		assert_int_equal(buf_put_slice(&out, slice_sub(content, at, cut.off)), 0);
		at = cut.off + cut.len;
	}
	assert_int_equal(buf_put_slice(&out, slice_sub(content, at, content.n)), 0);
	assert_int_equal(buf_put_slice(&out, buf_slice(&copy.suffix)), 0);
	if (out.p[out.n - 1] != '\n')
		assert_int_equal(buf_puts(&out, "\r\n"), 0);
	write_file(dir, mode == REWRITE_WRAP ? "w" : "u", n, buf_slice(&out));
	write_file(dir, "o", n, content);
	forward_copy_fini(&copy);
	buf_fini(&out);
}

/* Writes the copy as the next hop gets it. */
static void
write_copy(struct bench *b, const char *dir, int n, struct slice content, const char *cut,
    const char *cut2)
{
	struct body_cut c[2] = { { content.n, 0 }, { content.n, 0 } };
	struct forward_copy copy;
	struct buf cuts, out;

	buf_init(&cuts, 256);
	buf_init(&out, 1024 * 1024);
	put_cut(&cuts, content.p, cut, &c[0]);
	put_cut(&cuts, content.p, cut2, &c[1]);
	reset(b, content);
	b->keys.dkim = n % 2 == 0 ? b->rsa : b->ed;
	b->keys.arc = b->rsa;
	b->env.cuts = buf_slice(&cuts);
	forward_copy_init(&copy);
	assert_int_equal(forward_build(&b->keys, &b->rq, &copy), FORWARD_OK);
	assert_true(slice_istarts(buf_slice(&copy.prefix), SLICE_LIT("ARC-Seal: i=1; ")));
	assert_true(slice_eq(buf_slice(&copy.cuts), b->env.cuts));
	assert_int_equal(buf_put_slice(&out, buf_slice(&copy.prefix)), 0);
	assert_int_equal(buf_put_slice(&out, slice_sub(content, 0, c[0].off)), 0);
	assert_int_equal(buf_put_slice(&out, slice_sub(content, c[0].off + c[0].len, c[1].off)), 0);
	assert_int_equal(buf_put_slice(&out, slice_sub(content, c[1].off + c[1].len, content.n)), 0);
	if (out.p[out.n - 1] != '\n')
		assert_int_equal(buf_puts(&out, "\r\n"), 0);	/* 3.13 */
	write_file(dir, "m", n, buf_slice(&out));
	forward_copy_fini(&copy);
	buf_fini(&cuts);
	buf_fini(&out);
}

static void
write_record(struct sign_key *k, const char *dir, int n)
{
	struct buf rec;

	buf_init(&rec, 4096);
	assert_int_equal(sign_key_record(k, &rec), 0);
	write_file(dir, "k", n, buf_slice(&rec));
	buf_fini(&rec);
}

static const char verify_py[] =
    "import sys, dkim\n"
    "d = sys.argv[1]; bad = 0\n"
    "rec = [open(d + '/k%d' % i, 'rb').read() for i in (0, 1)]\n"
    "def dns(name, timeout=5):\n"
    "    if name.startswith(b'arc1.'): return rec[0]\n"
    "    return rec[i % 2] if name.startswith(b's2026.') else b''\n"
    "def dkim_ok(m):\n"
    "    try: return dkim.DKIM(m).verify(dnsfunc=dns)\n"
    "    except dkim.DKIMException as e: return False\n"
    "def arc(m): return dkim.ARC(m).verify(dnsfunc=dns)[0]\n"
    "for i in range(int(sys.argv[2])):\n"
    "    m = open(d + '/m%d' % i, 'rb').read()\n"
    "    t = m[:-3] + b'!' + m[-3:]\n"
    "    body = b'\\r\\n\\r\\n' in m\n"
    "    if not dkim_ok(m): bad += 1; print('message', i, 'does not verify')\n"
    "    if arc(m) != b'pass': bad += 1; print('message', i, 'seal', arc(m))\n"
    "    if body and dkim_ok(t): bad += 1; print('message', i, 'verifies when changed')\n"
    "    if body and arc(t) != b'fail': bad += 1; print('message', i, 'seal when changed')\n"
    "sys.exit(bad != 0)\n";

/* Chains: dkimpy seals, we forward, dkimpy seals again (5.9). */
static const char chain_py[] =
    "import sys, subprocess, dkim\n"
    "d = sys.argv[1]\n"
    "rec = open(d + '/k0', 'rb').read()\n"
    "if sys.argv[2] == 'make':\n"
    "    subprocess.run(['openssl', 'genrsa', '-traditional', '-out', d + '/key', '2048'],\n"
    "                   check=True, capture_output=True)\n"
    "import base64\n"
    "der = subprocess.run(['openssl', 'rsa', '-in', d + '/key', '-pubout', '-outform', 'DER'],\n"
    "                     check=True, capture_output=True).stdout\n"
    "key = open(d + '/key', 'rb').read()\n"
    "own = b'v=DKIM1; p=' + base64.b64encode(der)\n"
    "dns = lambda name, timeout=5: rec if name.startswith(b'arc1.') else own\n"
    "def cv(m): return dkim.ARC(m).verify(dnsfunc=dns)[0]\n"
    "def seal(m, hop):\n"
    "    c = b'pass' if b'ARC-Seal' in m else b'none'\n"
    "    m = b'Authentication-Results: ' + hop + b'; spf=pass; arc=' + c + b'\\r\\n' + m\n"
    "    return b''.join(dkim.arc_sign(m, b's', hop, key, hop)) + m\n"
    "def need(want, got, what):\n"
    "    if got != want: print(what, got); sys.exit(1)\n"
    "if sys.argv[2] == 'make':\n"
    "    m = seal(open(d + '/p0', 'rb').read(), b'first.example')\n"
    "    need(b'pass', cv(m), 'dkimpy alone')\n"
    "    open(d + '/h0', 'wb').write(m)\n"
    "else:\n"
    "    m = open(d + '/c0', 'rb').read()\n"
    "    need(2, m.count(b'ARC-Seal: '), 'sets')\n"
    "    need(b'pass', cv(m), 'dkimpy, then ours')\n"
    "    need(b'pass', cv(seal(m, b'third.example')), 'and dkimpy again')\n"
    "    need(b'fail', cv(m.replace(b'first.example; spf=pass', b'first.example; spf=fail')),\n"
    "         'first results changed')\n"
    "    need(b'fail', cv(m[:-3] + b'!' + m[-3:]), 'body changed')\n"
    "    need(b'pass', cv(m.replace(b'X-Fwd-Loop', b'X-Fwd-Knot')), 'field that is not signed')\n"
    "    m = open(d + '/c1', 'rb').read()\n"
    "    need(True, b'ARC-Seal: i=2; a=rsa-sha256; t=1728000000; cv=fail;' in m, 'cv=fail')\n"
    "    need(False, cv(m) == b'pass', 'a chain that failed here')\n";

static void
run_python(const char *dir, const char *script, const char *arg)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "/usr/bin/python3 %s/%s %s %s", dir, script, dir, arg);
	assert_int_equal(system(cmd), 0);
}

/* The forward copy of a message that has a chain. */
static void
write_chained(struct bench *b, const char *dir, int n, struct slice content,
    enum auth_result arc)
{
	struct forward_copy copy;
	struct buf out;

	reset(b, content);
	b->keys.dkim = b->keys.arc = b->rsa;
	b->env.arc = (uint8_t)arc;
	buf_init(&out, 1024 * 1024);
	forward_copy_init(&copy);
	assert_int_equal(forward_build(&b->keys, &b->rq, &copy), FORWARD_OK);
	assert_true(copy.sealed);
	assert_int_equal(buf_put_slice(&out, buf_slice(&copy.prefix)), 0);
	assert_int_equal(buf_put_slice(&out, content), 0);
	write_file(dir, "c", n, buf_slice(&out));
	forward_copy_fini(&copy);
	buf_fini(&out);
}

static const char forms_py[] =
    "import sys, dkim, email\n"
    "d = sys.argv[1]\n"
    "rec = open(d + '/k0', 'rb').read()\n"
    "dns = lambda name, timeout=5: rec\n"
    "def need(ok, i, what):\n"
    "    if not ok: print('message', i, what); sys.exit(1)\n"
    "def parts(m): return [p for p in m.walk() if p.get_content_maintype() != 'multipart']\n"
    "for i in range(int(sys.argv[2])):\n"
    "    orig = open(d + '/o%d' % i, 'rb').read()\n"
    "    m = open(d + '/u%d' % i, 'rb').read()\n"
    "    need(dkim.DKIM(m).verify(dnsfunc=dns), i, 'munged: signature')\n"
    "    need(dkim.ARC(m).verify(dnsfunc=dns)[0] == b'pass', i, 'munged: seal')\n"
    "    t = email.message_from_bytes(m)\n"
    "    need(len(t.get_all('From')) == 1 and '@fwd.example.it>' in t['From'], i, 'From')\n"
    "    need(dkim.DKIM(m.replace(b'@fwd.example.it>\\r\\n', b'@evil.example>\\r\\n'))"
    ".verify(dnsfunc=dns) is not True, i, 'From not signed')\n"
    "    m = open(d + '/w%d' % i, 'rb').read()\n"
    "    need(dkim.DKIM(m).verify(dnsfunc=dns), i, 'wrapped: signature')\n"
    "    need(b'ARC-Seal' not in m.split(b'\\r\\n\\r\\n')[0], i, 'wrapped: seal')\n"
    "    need(orig in m, i, 'not the untouched original')\n"
    "    need(b'Received' not in m.split(b'\\r\\n\\r\\n')[0], i, 'wrapped: trace')\n";

/* 7.3: munged and wrapped copies verify, the wrapped original is byte-identical. */
static void
forms_verify_7_3(void **state)
{
	static const char *const contents[] = {
		PLAIN, H "\r\nperch\xe9 \xff\x80\r\n", H "\r\n.\r\n..\r\n.x\r\nFrom me\r\n", H, H "\r\n",
		H "\r\nno end of line", "Reply-To: r@s.it\r\nAuthor: x@y.it\r\n" PLAIN,
		"DKIM-Signature: v=1; a=rsa-sha256; d=x.it; s=s; h=From; bh=x; b=y\r\n" H "\r\nx\r\n",
		"Disposition-Notification-To: a@b.it\r\n" H "\r\n\r\n \r\n\r\n",
	};
	struct bench *b = *state;
	char dir[] = "/tmp/forward_forms.XXXXXX", path[256], count[16];
	int n = 0;

	if (system("/usr/bin/python3 -c 'import dkim' 2>/dev/null") != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	write_record(b->rsa, dir, 0);
	write_file(dir, "forms.py", 0, SLICE_LIT(forms_py));
	for (; n < (int)(sizeof(contents) / sizeof(contents[0])); n++) {
		write_form(b, dir, n, slice_str(contents[n]), REWRITE_MUNGE);
		write_form(b, dir, n, slice_str(contents[n]), REWRITE_WRAP);
	}
	snprintf(count, sizeof(count), "%d", n);
	run_python(dir, "forms.py0", count);
	snprintf(path, sizeof(path), "rm -r %s", dir);
	assert_int_equal(system(path), 0);
}

static void
chains_of_two_sealers_5_9(void **state)
{
	struct bench *b = *state;
	char dir[] = "/tmp/forward_chain.XXXXXX", path[256], text[32768];
	size_t n;
	FILE *f;

	if (system("/usr/bin/python3 -c 'import dkim' 2>/dev/null") != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	write_record(b->rsa, dir, 0);
	write_file(dir, "chain.py", 0, SLICE_LIT(chain_py));
	write_file(dir, "p", 0, SLICE_LIT(H "\r\nperch\xe9 \xff\x80\r\n.\r\n"));
	run_python(dir, "chain.py0", "make");
	snprintf(path, sizeof(path), "%s/h0", dir);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	write_chained(b, dir, 0, slice_make(text, n), AUTH_PASS);
	write_chained(b, dir, 1, slice_make(text, n), AUTH_FAIL);
	run_python(dir, "chain.py0", "check");
	snprintf(path, sizeof(path), "rm -r %s", dir);
	assert_int_equal(system(path), 0);
}

static void
dkimpy_verifies_14_4_1(void **state)
{
	struct bench *b = *state;
	char dir[] = "/tmp/forward_test.XXXXXX", cmd[512];
	static char large[200000];
	int n = 0, r;

	if (system("/usr/bin/python3 -c 'import dkim, nacl' 2>/dev/null") != 0) {
		print_message("no dkimpy here\n");
		skip();
	}
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < sizeof(signed_cases) / sizeof(signed_cases[0]); i++)
		for (int key = 0; key < 2; key++)
			write_copy(b, dir, n++, slice_str(signed_cases[i].content),
			    signed_cases[i].cut, signed_cases[i].cut2);
	/* larger than any buffer on the way, with lines that change and lines that do not */
	r = snprintf(large, sizeof(large), "%s", H "\r\n");
	while ((size_t)r < sizeof(large) - 200)
		r += snprintf(large + r, 200, "%0*d%s text \r\n", r % 99, r,
		    r % 3 == 0 ? "  " : r % 7 == 0 ? "\t" : " ");
	write_copy(b, dir, n++, slice_str(large), "", "");
	write_copy(b, dir, n++, slice_str(large), "", "");
	write_record(b->rsa, dir, 0);
	write_record(b->ed, dir, 1);
	write_file(dir, "v.py", 0, SLICE_LIT(verify_py));
	snprintf(cmd, sizeof(cmd), "/usr/bin/python3 %s/v.py0 %s %d", dir, dir, n);
	assert_int_equal(system(cmd), 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dkimpy_verifies_14_4_1),
		cmocka_unit_test(chains_of_two_sealers_5_9),
		cmocka_unit_test(forms_verify_7_3),
	};

	return cmocka_run_group_tests_name("policy/forward_verify", tests, setup, teardown);
}

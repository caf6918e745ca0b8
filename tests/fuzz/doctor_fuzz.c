// SPDX-License-Identifier: Apache-2.0
/*
 * The input is lines, one for each record of whatever doctor asks DNS: an empty line ends the
 * records of a name, a line of one octet is the status of its answer. Whatever they are, the
 * judges come to an end, and what they say can be shown on a terminal.
 */
#include <stddef.h>
#include <stdint.h>

#include "admin/doctor.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROUNDS_MAX = 24, RECORDS_MAX = 20 };

static const char text[] = "hostname = \"mx2.relay.example\"\nstate-dir = \"/nonexistent\"\n"
    "listen \"127.0.0.1:2525\" { }\n"
    "forwarder {\n domain = \"fwd.relay.example\"\n secret-file = \"/nonexistent/s\"\n"
    " node = \"n1\"\n dkim-selector = \"s1\"\n dkim-key-file = \"/nonexistent/k\"\n}\n"
    "domain \"shop.example\" {\n primary = \"lmtp://127.0.0.1:24\"\n}\n";

static struct doctor doctor;

static void
start(void)
{
	struct conf_errors e = { .count = 0 };

	if (doctor.conf != NULL)
		return;
	doctor.conf = conf_parse(slice_str(text), "relay.conf", &e);
	CHECK(doctor.conf != NULL);
	buf_fini(&e.text);
	doctor.spf = spf_new();
}

static struct slice
line(struct slice *s)
{
	size_t end = slice_find(*s, '\n');
	struct slice one = slice_sub(*s, 0, end);

	*s = slice_sub(*s, end + 1, s->n);
	return one;
}

static void
answer(struct buf *out, const struct dns_want *w, struct slice *input)
{
	struct dns_answer a = { .name = w->name, .type = w->type, .status = DNS_OK };
	struct slice record;
	struct buf rrs;

	buf_init(&rrs, DNS_RRS_MAX);
	for (unsigned i = 0; i < RECORDS_MAX && (record = line(input)).n > 0; i++) {
		struct dns_rr rr = { .pref = (uint8_t)record.p[0], .data = record };

		if (record.n == 1)
			a.status = (uint8_t)((uint8_t)record.p[0] % (DNS_FAIL + 1));
		if (w->type == DNS_A || w->type == DNS_AAAA)
			rr.data = slice_sub(record, 0, w->type == DNS_A ? 4 : 16);
		else if (w->type == DNS_MX)
			rr.data = slice_sub(record, 1, record.n);
		(void)!wire_item_put(&rrs, &dns_rr_wire, &rr);
	}
	if (a.status == DNS_OK)
		a.rrs = buf_slice(&rrs);
	(void)!wire_item_put(out, &dns_answer_wire, &a);
	buf_fini(&rrs);
}

static void
shown(const char *s)
{
	for (; *s != '\0'; s++)
		CHECK((unsigned char)*s >= ' ' && *s != 0x7f);
}

static void
check_findings(struct findings *fs)
{
	json_t *list = findings_json(fs);

	CHECK(json_array_size(list) == fs->n);
	json_decref(list);
	for (size_t i = 0; i < fs->n; i++) {
		CHECK((fs->f[i].level == FINDING_OK) == (fs->f[i].fix == NULL));
		shown(fs->f[i].text);
		shown(fs->f[i].about);
		if (fs->f[i].fix != NULL)
			shown(fs->f[i].fix);
	}
	findings_fini(fs);
}

static void
run_judge(doctor_judge *judge, struct slice *input)
{
	const struct conf_domain *domain = &doctor.conf->domain[0];
	struct findings found = { .n = 0 };
	struct buf answers, wants;
	struct dns_want w;
	struct dnsview v;

	dnsview_init(&v);
	buf_init(&answers, 1 << 20);
	buf_init(&wants, 1 << 20);
	for (unsigned round = 0;; round++) {
		findings_fini(&found);
		CHECK(dnsview_load(&v, buf_slice(&answers), round >= ROUNDS_MAX) == 0);
		judge(&doctor, &v, domain, &found);
		(void)doctor_sts_wanted(&doctor, &v, domain, &found);
		if (v.nwant == 0)
			break;
		CHECK(round <= ROUNDS_MAX);
		buf_clear(&wants);
		CHECK(dnsview_wants(&v, &wants) == 0);
		for (struct slice list = buf_slice(&wants);
		    wire_item_next(&list, &dns_want_wire, &w) == 1;)
			answer(&answers, &w, input);
	}
	check_findings(&found);
	dnsview_fini(&v);
	buf_fini(&answers);
	buf_fini(&wants);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static doctor_judge *const judges[] = { doctor_dnssec, doctor_hostname, doctor_tlsa,
	    doctor_return_path, doctor_dmarc_return, doctor_keys, doctor_domain,
	    doctor_dmarc_domain };

	if (size < 1 || size > 16 * 1024)
		return 0;
	start();
	/* One judge at a time: each then sees the input from its beginning. */
	struct slice input = slice_make(data + 1, size - 1);
	run_judge(judges[data[0] % (sizeof(judges) / sizeof(judges[0]))], &input);
	return 0;
}

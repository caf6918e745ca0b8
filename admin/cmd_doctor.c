// SPDX-License-Identifier: Apache-2.0
/* `salvaposta doctor`: the way in and the way out; what it looks at is in admin/doctor_*.c. */
#include <stdlib.h>
#include <string.h>

#include "admin/control_client.h"
#include "admin/doctor.h"
#include "admin/when.h"
#include "base/log.h"

enum {
	DOCTOR_TOTAL_MS = 2 * 60 * 1000,	/* of all look-ups, unless --timeout says else */
	DOCTOR_TOTAL_MAX_MS = 24 * 3600 * 1000,
	DOCTOR_SHOWN_MAX = 20			/* more domains: what is right is only counted */
};

static const char help[] =
    "usage: salvaposta doctor [--domain NAME] [--address IP,...] [--all] [--timeout SPAN]\n"
    "\n"
    "Looks at the world as the configuration needs it to be: DNS through the configured\n"
    "resolver (MX, SPF, DMARC, keys, reverse names), certificates, this host, the running\n"
    "relay; and says what is right, what is wrong and how to mend it. Changes nothing.\n"
    "Exit status 1 when there are problems, 0 when there are none, or only warnings.\n"
    "\n"
    "      --domain NAME      of the protected domains this one only\n"
    "      --address IP,...   the addresses that mail leaves from, when they are not those\n"
    "                         of hostname in DNS (NAT)\n"
    "      --all              with many domains, too, say what is right\n"
    "      --timeout SPAN     of all look-ups in DNS (default 2m)\n";

struct wish {
	const char	*domain, *address, *timeout;
	bool		 all;
	int64_t		 total_ms;
};

/* 0, or -1 after saying what is wrong. */
static int
read_addresses(struct doctor *d, struct slice list)
{
	while (list.n > 0) {
		size_t comma = slice_find(list, ',');
		struct iprev_ip ip = iprev_parse(slice_trim(slice_sub(list, 0, comma)));

		if (ip.n == 0 || d->naddress == DOCTOR_ADDRESSES_MAX) {
			(void)cli_usage("doctor", "--address takes up to %d IP addresses, with "
			    "commas between", DOCTOR_ADDRESSES_MAX);
			return -1;
		}
		d->address[d->naddress++] = ip;
		list = slice_sub(list, comma + 1, list.n);
	}
	return 0;
}

static void
print_all(const struct cli *cli, const struct findings *fs, bool all)
{
	size_t problems = findings_count(fs, FINDING_PROBLEM);
	size_t warnings = findings_count(fs, FINDING_WARNING);

	if (cli->json) {
		json_t *o = json_pack("{s:b, s:I, s:I, s:o}", "ok", problems == 0, "problems",
		    (json_int_t)problems, "warnings", (json_int_t)warnings, "findings",
		    findings_json(fs));
		control_print(o);
		json_decref(o);
		return;
	}
	findings_print(fs, all, stdout);
	printf("%zu problem%s, %zu warning%s, %zu right\n", problems, problems == 1 ? "" : "s",
	    warnings, warnings == 1 ? "" : "s", findings_count(fs, FINDING_OK));
}

static int
examine(const struct cli *cli, const struct conf *c, struct conf_errors *e, struct doctor *d,
    const struct wish *w)
{
	const struct conf_domain *only = NULL;
	struct findings fs = { .n = 0 };
	bool all = w->all || w->domain != NULL || c->ndomain <= DOCTOR_SHOWN_MAX;

	if (w->domain != NULL) {
		only = conf_domain_find(c, slice_str(w->domain));
		if (only == NULL)
			return cli_usage("doctor", "%s has no section domain \"%.255s\"", c->file,
			    w->domain);
	}
	/* What the relay's modules log of failed look-ups comes as findings. */
	log_open("salvaposta", LOG_LVL_ERROR);
	d->conf = c;
	d->spf = spf_new();
	doctor_sources(d);
	doctor_host(c, e, &fs);
	doctor_relay(c, cli->socket != NULL ? cli->socket : c->control_socket, &fs);
	doctor_look(d, only, w->total_ms, &fs);
	spf_free(&d->spf);
	print_all(cli, &fs, all);
	int status = findings_count(&fs, FINDING_PROBLEM) > 0 ? CLI_FAILED : CLI_OK;
	findings_fini(&fs);
	return status;
}

int
cmd_doctor(int argc, char **argv)
{
	struct wish w = { .total_ms = DOCTOR_TOTAL_MS };
	const struct cli_option opt[] = {
		{ "domain", &w.domain, NULL }, { "address", &w.address, NULL },
		{ "timeout", &w.timeout, NULL }, { "all", NULL, &w.all },
	};
	struct doctor d = { .naddress = 0 };
	struct conf_errors e = { .count = 0 };
	struct cli cli;
	int status;

	if (cli_options(&argc, argv, opt, 4, help, &cli, &status) != 0)
		return status;
	if (argc != 1)
		return cli_usage("doctor", "takes options only");
	if (w.timeout != NULL && (when_span(w.timeout, &w.total_ms) != 0 || w.total_ms <= 0 ||
	    w.total_ms > DOCTOR_TOTAL_MAX_MS))
		return cli_usage("doctor", "--timeout takes a span of at most a day, like 90s or "
		    "10m");
	if (w.address != NULL && read_addresses(&d, slice_str(w.address)) != 0)
		return CLI_USAGE;
	struct conf *c = conf_load(cli.conf_file, &e);
	if (c != NULL) {
		status = examine(&cli, c, &e, &d, &w);
	} else {
		fprintf(stderr, "%.*s", SLICE_FMT(buf_slice(&e.text)));
		status = CLI_USAGE;
	}
	conf_free(&c);
	buf_fini(&e.text);
	return status;
}

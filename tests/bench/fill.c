// SPDX-License-Identifier: Apache-2.0
/*
 * Fills the spool of a stopped relay with held mail, by the spool's own code: the state
 * that days of an outage leave, in minutes. Small bodies, users, senders and ages spread
 * as asked. Prints one JSON line.
 *
 *	fill --queue STATE/queue --count 10000000 --users 100000 --domains d0.example,d1.example
 *
 * Message i is for u<i % users>@<domain (i / 7) % domains>, from s<i % 50021>@<i % 997>.sender.example.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/body.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "queue/spool.h"

enum { BODIES = 16, DOMAINS_MAX = 64, FLIGHT_MAX = 8192, SENDERS = 50021, HOSTS = 997 };

struct fill {
	struct loop	*loop;
	struct spool	*sp;
	struct timer	*more;
	uint64_t	 count, begun, ended, ok, users;
	int64_t		 span_ms, now_ms;
	char		*domain[DOMAINS_MAX];
	unsigned	 ndomain;
	int		 body[BODIES];
	size_t		 size;
	unsigned	 state;		/* of hold legs */
};

static struct msgid
id_of(const struct fill *f, uint64_t i, int64_t ms)
{
	struct msgid id;
	uint64_t high = (uint64_t)ms << 22 | (i >> 16 & 63) << 16 | (i & 0xffff);

	for (int k = 0; k < 8; k++)
		id.b[k] = (uint8_t)(high >> (56 - 8 * k));
	id.b[8] = (uint8_t)(i >> 30);
	id.b[9] = (uint8_t)(i >> 22);
	(void)f;
	return id;
}

static void
on_done(void *arg, enum queue_commit_status st, const struct spool_ref *ref, size_t n)
{
	struct fill *f = arg;

	(void)ref;
	(void)n;
	f->ok += st == COMMIT_OK;
	if (++f->ended == f->count)
		loop_stop(f->loop);
	if (f->begun - f->ended <= FLIGHT_MAX / 2)
		timer_arm(f->more, 0);
}

static void
begin(struct fill *f, uint64_t i)
{
	const struct spool_birth birth = { (uint8_t)f->state, LEG_ABSENT };
	const char *domain = f->domain[i / 7 % f->ndomain];
	char user[128], sender[128];
	struct buf rcpts, raw;

	(void)snprintf(user, sizeof(user), "u%llu@%s", (unsigned long long)(i % f->users), domain);
	(void)snprintf(sender, sizeof(sender), "s%u@h%u.sender.example", (unsigned)(i % SENDERS),
	    (unsigned)(i % HOSTS));
	int64_t ms = f->now_ms - f->span_ms + (int64_t)((double)f->span_ms * (double)i / (double)f->count);
	const struct envelope_rcpt r = { .kind = RCPT_USER, .address = slice_str(user),
		.user = slice_str(user), .domain = slice_str(domain) };
	buf_init(&rcpts, ENVELOPE_MAX);
	buf_init(&raw, ENVELOPE_MAX);
	CHECK(wire_item_put(&rcpts, &envelope_rcpt_wire, &r) == 0);
	const struct envelope env = {
		.version = ENVELOPE_VERSION, .id = id_of(f, i, ms), .received_ms = (uint64_t)ms,
		.body_size = f->size, .triage = i % 4, .client_ip = SLICE_LIT("192.0.2.1"),
		.helo = SLICE_LIT("mail.sender.example"), .mail_from = slice_str(sender),
		.trace = SLICE_LIT("Received: from mail.sender.example by mx2.relay.example;"
		    " Sun, 22 Jan 2023 10:00:00 +0100\r\n"),
		.rcpts = buf_slice(&rcpts),
	};
	CHECK(wire_put(&raw, &envelope_wire, &env) == 0);
	spool_commit(f->sp, buf_slice(&raw), f->body[i % BODIES], &birth, 1, on_done, f);
	buf_fini(&rcpts);
	buf_fini(&raw);
}

static void
on_more(void *arg)
{
	struct fill *f = arg;

	while (f->begun < f->count && f->begun - f->ended < FLIGHT_MAX)
		begin(f, f->begun++);
}

static void
make_bodies(struct fill *f)
{
	char *b = mem_new(f->size + 128);

	for (int i = 0; i < BODIES; i++) {
		int n = snprintf(b, 128, "From: <news@sender.example>\r\nSubject: numero %d\r\n\r\n", i);
		for (size_t at = (size_t)n; at < f->size; at++)
			b[at] = at % 64 == 62 ? '\r' : at % 64 == 63 ? '\n' : (char)('a' + (at * 7 + (size_t)i) % 26);
		f->body[i] = body_make(slice_make(b, f->size));
		CHECK(f->body[i] >= 0);
	}
	free(b);
}

static const struct option options[] = {
	{ "queue", required_argument, NULL, 'q' }, { "count", required_argument, NULL, 'n' },
	{ "users", required_argument, NULL, 'u' }, { "domains", required_argument, NULL, 'd' },
	{ "size", required_argument, NULL, 's' }, { "hours", required_argument, NULL, 'h' },
	{ "waiting", no_argument, NULL, 'w' }, { "segment", required_argument, NULL, 'g' },
	{ NULL, 0, NULL, 0 }
};

static const char *
parse(struct fill *f, struct conf *c, int argc, char **argv)
{
	const char *queue = NULL;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'q': queue = optarg; break;
		case 'n': f->count = strtoull(optarg, NULL, 10); break;
		case 'u': f->users = strtoull(optarg, NULL, 10); break;
		case 's': f->size = strtoull(optarg, NULL, 10); break;
		case 'h': f->span_ms = strtoll(optarg, NULL, 10) * 3600000; break;
		case 'w': f->state = LEG_WAITING; break;
		case 'g': c->segment_size = strtoull(optarg, NULL, 10); break;
		case 'd':
			for (char *s = strtok(optarg, ","); s != NULL && f->ndomain < DOMAINS_MAX;
			    s = strtok(NULL, ","))
				f->domain[f->ndomain++] = s;
			break;
		default: return NULL;
		}
	}
	return f->count > 0 && f->users > 0 && f->ndomain > 0 && f->size >= 64 ? queue : NULL;
}

int
main(int argc, char **argv)
{
	struct fill f = { .users = 100000, .size = 300, .span_ms = 96LL * 3600000,
		.state = LEG_PARKED };
	struct conf c = { .segment_size = 64 << 20 };
	const char *queue = parse(&f, &c, argc, argv);
	int64_t began = clock_mono_ms();

	if (queue == NULL) {
		fprintf(stderr, "usage: fill --queue DIR --count N --users N --domains a,b "
		    "[--size BYTES] [--hours N] [--waiting] [--segment BYTES]\n");
		return 2;
	}
	log_open("fill", LOG_LVL_ERROR);
	f.loop = loop_new();
	f.now_ms = clock_wall_ms();
	make_bodies(&f);
	f.sp = spool_open(f.loop, &c, &store_local, queue, false);
	if (f.sp == NULL)
		return 1;
	f.more = timer_new(f.loop, on_more, &f);
	timer_arm(f.more, 0);
	loop_run(f.loop);
	timer_free(&f.more);
	spool_close(&f.sp);
	loop_free(&f.loop);
	printf("{\"count\": %llu, \"ok\": %llu, \"ms\": %lld}\n", (unsigned long long)f.count,
	    (unsigned long long)f.ok, (long long)(clock_mono_ms() - began));
	return f.ok == f.count ? 0 : 1;
}

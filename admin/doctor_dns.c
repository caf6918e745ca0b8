// SPDX-License-Identifier: Apache-2.0
/*
 * The judges against the world. Each subject (this relay, or one domain) is judged, its wants
 * are asked for all at once, and it is judged again with the answers. A window of subjects is
 * under way at any time; the relay's own resolver module does the asking, with its cache.
 */
#include <stdlib.h>

#include "admin/doctor.h"
#include "admin/keyfile.h"
#include "admin/progress.h"
#include "base/clock.h"
#include "base/mem.h"
#include "relay/dns.h"
#include "relay/sts.h"

enum {
	DOCTOR_WINDOW = 64,		/* subjects under way */
	DOCTOR_ROUNDS_MAX = 24,		/* of one subject; SPF chains have less */
	DOCTOR_ANSWERS_MAX = 1024 * 1024,	/* bytes of one subject's answers */
	DOCTOR_SLACK_MS = 1000,		/* over the resolver's own tries ... */
	DOCTOR_TRIES_MS = 20 * 1000	/* ... which count up to this, as when mail is judged */
};

struct look;

struct subject {
	struct look		*look;		/* borrowed */
	const struct conf_domain *domain;	/* NULL: this relay */
	struct buf		 answers;
	struct dns_batch	*batch;		/* under way, as the next */
	struct sts_query	*policy;
	unsigned		 rounds;
	struct findings		 found;
	bool			 done;
};

struct look {
	struct doctor		*doctor;	/* borrowed */
	struct loop		*loop;
	struct dns		*dns;
	struct tls_context	*tls;
	struct https		*https;		/* NULL: no policies are fetched */
	struct sts		*sts;
	struct dnsview		 view;		/* of the subject that is being judged */
	struct subject		*subject;	/* owned */
	size_t			 n, next, done;
	bool			 asked, answered;	/* a batch came back; with any answer */
	int64_t			 batch_ms;
	struct progress_line	 progress;
};

static void
judge(const struct look *l, struct subject *s, struct dnsview *v)
{
	static doctor_judge *const self[] = { doctor_dnssec, doctor_hostname, doctor_tlsa,
	    doctor_return_path, doctor_dmarc_return, doctor_keys };
	static doctor_judge *const domain[] = { doctor_domain, doctor_dmarc_domain,
	    doctor_domain_key };
	size_t n = s->domain == NULL ? sizeof(self) / sizeof(self[0]) :
	    sizeof(domain) / sizeof(domain[0]);

	for (size_t i = 0; i < n; i++)
		(s->domain == NULL ? self : domain)[i](l->doctor, v, s->domain, &s->found);
}

/* Nothing that was asked has been answered. */
static bool
resolver_dead(const struct look *l)
{
	return l->asked && !l->answered;
}

static void subject_step(struct subject *s);

static void
subject_done(struct subject *s)
{
	struct look *l = s->look;

	s->done = true;
	buf_fini(&s->answers);
	if (l->progress.tty && progress_due(&l->progress))
		progress_count(&l->progress, l->done, l->n, "domains");
	if (++l->done == l->n)
		loop_stop(l->loop);
}

/* This relay first: when the resolver has no answer for that, the others need not wait. */
static void
start_more(void *arg)
{
	struct look *l = arg;

	if (l->next > 0 && !l->subject[0].done)
		return;
	if (l->next == 0)
		subject_step(&l->subject[l->next++]);
	while (l->subject[0].done && l->next < l->n && l->next - l->done < DOCTOR_WINDOW)
		subject_step(&l->subject[l->next++]);
}

static void
on_policy(void *arg, const struct mta_sts *p)
{
	struct subject *s = arg;

	s->policy = NULL;
	doctor_sts(s->look->doctor, s->domain, p, &s->found);
	subject_done(s);
	start_more(s->look);
}

static void
note_answers(struct look *l, struct slice answers)
{
	struct dns_answer a;

	l->asked = true;
	while (!l->answered && wire_item_next(&answers, &dns_answer_wire, &a) == 1)
		l->answered = a.status != DNS_FAIL;
}

static void
on_answers(void *arg, struct slice answers)
{
	struct subject *s = arg;

	s->batch = NULL;
	note_answers(s->look, answers);
	if (resolver_dead(s->look)) {
		loop_stop(s->look->loop);
		return;
	}
	/* Without room it is judged by what there is. */
	if (buf_put_slice(&s->answers, answers) != 0)
		s->rounds = DOCTOR_ROUNDS_MAX;
	subject_step(s);
	start_more(s->look);
}

static void
subject_step(struct subject *s)
{
	struct look *l = s->look;
	struct buf wants;

	bool policy;

	findings_fini(&s->found);
	(void)dnsview_load(&l->view, buf_slice(&s->answers), s->rounds++ >= DOCTOR_ROUNDS_MAX);
	judge(l, s, &l->view);
	policy = s->domain != NULL && doctor_sts_wanted(l->doctor, &l->view, s->domain, &s->found);
	if (l->view.nwant == 0) {
		if (policy && l->https != NULL)
			s->policy = sts_ask(l->sts, slice_str(s->domain->name), on_policy, s);
		else
			subject_done(s);
		return;
	}
	buf_init(&wants, DOCTOR_ANSWERS_MAX);
	CHECK(dnsview_wants(&l->view, &wants) == 0);
	s->batch = dns_ask_all(l->dns, buf_slice(&wants), l->batch_ms, on_answers, s);
	buf_fini(&wants);
}

/* Each try waits twice as long as the one before. */
static int64_t
batch_time(const struct conf *c)
{
	int64_t ms = 0;

	for (unsigned i = 0; i < c->dns_tries && ms < DOCTOR_TRIES_MS; i++)
		ms += c->dns_timeout_ms << i;
	return (ms < DOCTOR_TRIES_MS ? ms : DOCTOR_TRIES_MS) + DOCTOR_SLACK_MS;
}

static void
time_over(void *arg)
{
	struct look *l = arg;

	loop_stop(l->loop);
}

/* NULL, or the resolver's name in words. */
static const char *
resolver_name(const struct conf *c)
{
	return c->nresolver > 0 ? c->resolver[0] : "/etc/resolv.conf";
}

static void
collect(struct look *l, const struct conf *c, struct findings *out)
{
	struct finding *f;
	size_t open = 0;

	if (resolver_dead(l)) {
		f = finding_add(out, FINDING_PROBLEM, "resolver", resolver_name(c), "it gives no "
		    "answer");
		finding_fix(f, "start it, or name another in resolver of relay.conf");
		return;		/* all others would say the same */
	}
	finding_add(out, FINDING_OK, "resolver", resolver_name(c), "answers");
	for (size_t i = 0; i < l->n; i++) {
		if (l->subject[i].done)
			findings_move(out, &l->subject[i].found);
		else
			open++;
	}
	if (open > 0) {
		f = finding_add(out, FINDING_PROBLEM, "time", resolver_name(c), "%zu of %zu "
		    "domains were not looked at in time", open, l->n);
		finding_fix(f, "give more with --timeout, or look at one with --domain");
	}
}

static void
subjects_new(struct look *l, const struct conf *c, const struct conf_domain *only)
{
	l->n = 1 + (only != NULL ? 1 : c->ndomain);
	l->subject = mem_array(l->n, sizeof(*l->subject));
	for (size_t i = 0; i < l->n; i++) {
		l->subject[i].look = l;
		buf_init(&l->subject[i].answers, DOCTOR_ANSWERS_MAX);
		if (i > 0)
			l->subject[i].domain = only != NULL ? only : &c->domain[i - 1];
	}
}

static void
look_free(struct look *l)
{
	for (size_t i = 0; i < l->n; i++) {
		dns_batch_cancel(&l->subject[i].batch);
		sts_cancel(&l->subject[i].policy);
		buf_fini(&l->subject[i].answers);
		findings_fini(&l->subject[i].found);
	}
	dnsview_fini(&l->view);
	free(l->subject);
	sts_free(&l->sts);
	https_free(&l->https);
	tls_context_free(&l->tls);
	dns_free(&l->dns);
}

static void
forget_policy(void *arg, const struct queue_keep *v)
{
	(void)arg, (void)v;
}

/* As the relay fetches them; where it cannot, there is nothing to say of them. */
static void
open_policies(struct look *l, const struct conf *c)
{
	char why[256];

	if (c->mta_sts)
		l->tls = tls_client_new(c->tls_ca_file, why, sizeof(why));
	if (l->tls != NULL)
		l->https = https_new(l->loop, l->tls);
	l->sts = sts_new(l->loop, c, l->dns, l->https, forget_policy, NULL);
}

void
doctor_look(struct doctor *d, const struct conf_domain *only, int64_t total_ms,
    struct findings *out)
{
	struct look l = { .doctor = d, .loop = loop_new() };
	struct timer *limit = timer_new(l.loop, time_over, &l);
	struct keyfile resolv = { .mode = 0 };
	char why[4500];

	/* What the world sees, so nothing of /etc/hosts. */
	if (keyfile_read("/etc/resolv.conf", &resolv, why, sizeof(why)) == 0)
		(void)!buf_put(&resolv.text, "", 1);
	l.dns = dns_new(l.loop, d->conf, resolv.text.p, NULL);
	if (l.dns != NULL) {
		l.batch_ms = batch_time(d->conf);
		dnsview_init(&l.view);
		subjects_new(&l, d->conf, only);
		open_policies(&l, d->conf);
		progress_begin(&l.progress);
		timer_arm(limit, total_ms);
		loop_later(l.loop, start_more, &l);
		(void)loop_run(l.loop);
		progress_end(&l.progress);
		collect(&l, d->conf, out);
		look_free(&l);
	} else {
		struct finding *f = finding_add(out, FINDING_PROBLEM, "resolver",
		    resolver_name(d->conf), "it cannot be asked");
		finding_fix(f, "correct resolver of relay.conf");
	}
	timer_free(&limit);
	loop_free(&l.loop);
	keyfile_fini(&resolv);
}

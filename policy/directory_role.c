// SPDX-License-Identifier: Apache-2.0
#include "policy/directory_role.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/proto/queue_directory.h"
#include "base/proto/relay_directory.h"
#include "policy/directory.h"

enum {
	SLICE_BYTES = 1024 * 1024,	/* checked per turn of the loop: a millisecond or two */
	LOOK_MS = 3000,			/* between two looks at users.db */
	WAITERS_MAX = 64		/* reload requests answered by one check */
};

struct file_mark {	/* tells one users.db from another */
	dev_t		dev;
	ino_t		ino;
	off_t		size;
	struct timespec	mtime;
};

struct directory_role {
	struct directory	*now;		/* answers; NULL: unavailable */
	struct directory	*next;		/* being checked */
	struct file_mark	 seen;		/* users.db taken or refused last */
	struct timer		*look;
	bool			 checking;	/* a turn of check_next is due */
	uint64_t		 waiter[WAITERS_MAX];	/* dir_reload.req */
	size_t			 nwaiter;
	uint64_t		 lookups, unknown, unavailable, targets, reloads, refused;
};

/* Asked for each time: a reload brings a new descriptor and closes the old. */
static int
folder(struct role *r)
{
	return role_resource(r, "directory-dir");
}

static bool
mark_file(struct role *r, struct file_mark *m)
{
	struct stat st;

	memset(m, 0, sizeof(*m));
	if (fstatat(folder(r), directory_files[0], &st, AT_SYMLINK_NOFOLLOW) != 0)
		return false;
	m->dev = st.st_dev;
	m->ino = st.st_ino;
	m->size = st.st_size;
	m->mtime = st.st_mtim;
	return true;
}

static bool
same_file(const struct file_mark *a, const struct file_mark *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	    a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec;
}

static void
answer_waiters(struct role *r, bool ok, const char *text)
{
	struct directory_role *p = r->priv;
	struct ipc *ch = role_link(r, ROLE_QUEUE, 0);
	struct dir_reloaded m = { .ok = ok, .text = slice_str(text) };

	if (p->now != NULL)
		m.users = directory_info(p->now)->users;
	for (size_t i = 0; i < p->nwaiter && ch != NULL; i++) {
		m.req = p->waiter[i];
		ipc_send(ch, DIR_RELOADED, &dir_reloaded_wire, &m, -1);
	}
	p->nwaiter = 0;
}

static void
log_taken(const struct role *r, const char *file)
{
	const struct directory_role *p = r->priv;
	const struct directory_info *i = directory_info(p->now);

	log_info("directory", "file=%s users=%" PRIu64 " names=%" PRIu64 " generation=%" PRIu64,
	    file, i->users, i->names, i->generation);
	directory_compare(p->now, r->conf);
}

static void
refuse_next(struct role *r, const char *why)
{
	struct directory_role *p = r->priv;

	p->refused++;
	directory_close(&p->next);
	log_error("directory-refused", "file=%s error=%s effect=\"%s\" fix=\"import the users "
	    "again\"", directory_files[0], log_escs(why), p->now == NULL ?
	    "451 for all users" : "the former directory goes on");
	answer_waiters(r, false, why);
}

/* One slice of the check per turn of the loop: look-ups go on in between. */
static void
check_next(void *arg)
{
	struct role *r = arg;
	struct directory_role *p = r->priv;
	int rc;

	p->checking = false;
	if (p->next == NULL)
		return;
	rc = directory_verify(p->next, SLICE_BYTES);
	if (rc > 0) {
		p->checking = true;
		timer_arm(p->look, 0);
		return;
	}
	timer_arm(p->look, LOOK_MS);
	if (rc < 0) {
		refuse_next(r, "checksum does not match: the disk or a copy has damaged it");
		return;
	}
	directory_close(&p->now);
	p->now = p->next;
	p->next = NULL;
	p->reloads++;
	log_taken(r, directory_files[0]);
	answer_waiters(r, true, "");
}

static void
begin_reload(struct role *r)
{
	struct directory_role *p = r->priv;
	char why[256] = "";

	/* a check under way may be of the file before this one */
	directory_close(&p->next);
	mark_file(r, &p->seen);
	p->next = directory_open(folder(r), directory_files[0], why, sizeof(why));
	if (p->next == NULL) {
		refuse_next(r, why);
		return;
	}
	p->checking = true;
	timer_arm(p->look, 0);
}

static void
on_timer(void *arg)
{
	struct role *r = arg;
	struct directory_role *p = r->priv;
	struct file_mark m;

	if (p->checking) {
		check_next(r);
		return;
	}
	timer_arm(p->look, LOOK_MS);
	if (mark_file(r, &m) && !same_file(&m, &p->seen))
		begin_reload(r);
}

static int
directory_start(struct role *r)
{
	struct directory_role *p = mem_new(sizeof(*p));
	int which = 0;

	r->priv = p;
	p->look = timer_new(r->loop, on_timer, r);
	if (folder(r) < 0) {
		log_error("directory-start", "error=\"no folder was given\" state-dir=%s",
		    log_escs(r->conf->state_dir));
		return -1;
	}
	/* Checked whole before the first answer: a damaged page could make a user
	 * look unknown, and that is a 550 (P2). */
	mark_file(r, &p->seen);
	p->now = directory_open_best(folder(r), &which);
	if (p->now != NULL)
		log_taken(r, directory_files[which]);
	else
		log_warn("directory", "state=empty effect=\"451 for all users\" fix=\"salvaposta "
		    "users import FILE\"");
	timer_arm(p->look, LOOK_MS);
	return 0;
}

static void
answer_lookup(struct role *r, struct ipc *ch, struct slice body)
{
	struct directory_role *p = r->priv;
	struct directory_user u;
	struct dir_lookup in;
	struct dir_found out = { 0 };

	if (wire_get(body, &dir_lookup_wire, &in) != 0) {
		log_error("directory-message", "from=relay error=\"malformed look-up\"");
		return;
	}
	out.req = in.req;
	p->lookups++;
	switch (directory_find(p->now, r->conf, in.address, true, &u)) {
	case DIRECTORY_FOUND:
		out.status = DIR_KNOWN;
		out.user = u.address;
		out.shard = u.shard;
		break;
	case DIRECTORY_UNKNOWN:
		out.status = DIR_UNKNOWN;
		p->unknown++;
		break;
	case DIRECTORY_UNAVAILABLE:
		out.status = DIR_UNAVAILABLE;
		p->unavailable++;
		break;
	}
	/* a row over the limits of the message is damage, not an answer */
	if (ipc_send(ch, DIR_FOUND, &dir_found_wire, &out, -1) != 0 && errno != EPIPE) {
		out.status = DIR_UNAVAILABLE;
		out.user = out.shard = SLICE_NONE;
		ipc_send(ch, DIR_FOUND, &dir_found_wire, &out, -1);
	}
}

static void
answer_target(struct role *r, struct ipc *ch, struct slice body)
{
	struct directory_role *p = r->priv;
	struct directory_user u;
	struct dir_target in;
	struct dir_targeted out = { 0 };
	const char *refusal;

	if (wire_get(body, &dir_target_wire, &in) != 0) {
		log_error("directory-message", "from=queue error=\"malformed target request\"");
		return;
	}
	out.req = in.req;
	p->targets++;
	/* The user key came from here at RCPT, without a tag; it may be an alias by now. */
	switch (directory_find(p->now, r->conf, in.user, false, &u)) {
	case DIRECTORY_FOUND:
		refusal = directory_refusal(r->conf, &u);
		if (refusal == NULL && in.baseline && !directory_baseline(p->now, r->conf, &u))
			refusal = TARGET_NO_BASELINE;
		out.status = refusal == NULL ? TARGET_OK : TARGET_NONE;
		out.reason = slice_str(refusal);
		out.language = u.language;
		if (refusal == NULL)
			out.recovery = u.recovery;
		break;
	case DIRECTORY_UNKNOWN:
		out.status = TARGET_UNKNOWN;
		break;
	case DIRECTORY_UNAVAILABLE:
		out.status = TARGET_UNAVAILABLE;
		break;
	}
	if (ipc_send(ch, DIR_TARGETED, &dir_targeted_wire, &out, -1) != 0 && errno != EPIPE) {
		out = (struct dir_targeted){ .req = in.req, .status = TARGET_UNAVAILABLE };
		ipc_send(ch, DIR_TARGETED, &dir_targeted_wire, &out, -1);
	}
}

static void
answer_reload(struct role *r, struct slice body)
{
	struct directory_role *p = r->priv;
	struct dir_reload in;

	if (wire_get(body, &dir_reload_wire, &in) != 0) {
		log_error("directory-message", "from=queue error=\"malformed reload request\"");
		return;
	}
	/* more than a handful at once is a loop somewhere: the oldest are let go */
	if (p->nwaiter == WAITERS_MAX)
		memmove(p->waiter, p->waiter + 1, --p->nwaiter * sizeof(p->waiter[0]));
	p->waiter[p->nwaiter++] = in.req;
	begin_reload(r);
}

static void
directory_message(struct role *r, enum role_kind peer, unsigned index, struct ipc *ch,
    uint32_t type, struct slice body, int fd)
{
	if (fd >= 0)
		close(fd);	/* nobody has one to give to us */
	if (r->priv == NULL)
		return;		/* stopped */
	if (peer == ROLE_RELAY && type == DIR_LOOKUP)
		answer_lookup(r, ch, body);
	else if (peer == ROLE_QUEUE && type == DIR_TARGET)
		answer_target(r, ch, body);
	else if (peer == ROLE_QUEUE && type == DIR_RELOAD)
		answer_reload(r, body);
	else	/* above all, a relay that asks for a recovery address gets none (P4) */
		log_error("directory-message", "from=%s:%u type=%u error=\"not theirs to ask\"",
		    role_name(peer), index, type);
}

static void
directory_link_up(struct role *r, enum role_kind peer, unsigned index)
{
	(void)r, (void)peer, (void)index;
}

static void
directory_link_down(struct role *r, enum role_kind peer, unsigned index)
{
	struct directory_role *p = r->priv;

	(void)index;
	if (p != NULL && peer == ROLE_QUEUE)
		p->nwaiter = 0;	/* its requests died with it */
}

static void
directory_reload(struct role *r)
{
	struct directory_role *p = r->priv;
	struct file_mark m;

	if (p == NULL)
		return;
	if (p->now != NULL)
		directory_compare(p->now, r->conf);
	if (mark_file(r, &m))
		begin_reload(r);
}

static void
directory_status(struct role *r, struct buf *out)
{
	const struct directory_role *p = r->priv;
	const struct directory_info none = { 0 };
	const struct directory_info *i = &none;

	if (p == NULL)
		return;
	if (p->now != NULL)
		i = directory_info(p->now);
	if (buf_printf(out, "\"available\":%s,\"users\":%" PRIu64 ",\"names\":%" PRIu64
	    ",\"generation\":%" PRIu64 ",\"created_ms\":%" PRId64 ",\"lookups\":%" PRIu64
	    ",\"unknown\":%" PRIu64 ",\"unavailable\":%" PRIu64 ",\"targets\":%" PRIu64
	    ",\"reloads\":%" PRIu64 ",\"refused\":%" PRIu64, p->now == NULL ? "false" : "true",
	    i->users, i->names, i->generation, i->created_ms, p->lookups, p->unknown,
	    p->unavailable, p->targets, p->reloads, p->refused) != 0)
		log_warn("status", "error=\"too long\"");
}

static void
directory_stop(struct role *r)
{
	struct directory_role *p = r->priv;

	timer_free(&p->look);
	directory_close(&p->next);
	directory_close(&p->now);
	free(p);
	r->priv = NULL;
	role_done(r);
}

const struct role_ops directory_ops = {
	.kind = ROLE_DIRECTORY,
	.needs = SANDBOX_READ,
	.folder = "directory-dir",
	.start = directory_start,
	.message = directory_message,
	.link_up = directory_link_up,
	.link_down = directory_link_down,
	.reload = directory_reload,
	.stop = directory_stop,
	.status = directory_status,
};

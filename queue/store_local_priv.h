// SPDX-License-Identifier: Apache-2.0
/* Shared by the halves of the local back end: the loop's side (store_local.c), the
 * threads (store_local_work.c) and the files (store_local_file.c). */
#ifndef QUEUE_STORE_LOCAL_PRIV_H
#define QUEUE_STORE_LOCAL_PRIV_H

#include <pthread.h>

#include "queue/store.h"

enum {
	STORE_FILES_MAX = 128,		/* descriptors kept open for segments */
	STORE_BATCH_BYTES = 8 << 20,	/* of appends sharing one sync */
	STORE_BATCH_IOV = 512,
	STORE_GATHER_US = 250,		/* a gap this long ends the gathering of a batch */
	STORE_GATHER_TURNS = 8,		/* so no append waits longer than 2 ms for company */
	STORE_GATHER_MIN = 3,		/* appends in the last batch: fewer is no crowd */
	STORE_GATHER_MAX = 64,
	STORE_CHUNK = 1 << 20,		/* a body is copied in pieces of this */
	STORE_PIECES_MAX = 4,		/* of one append */
	STORE_FAILED_MAX = 64,		/* abandoned segments remembered */
	STORE_THREADS_MAX = 4,		/* of one worker */
	STORE_READERS = 3,		/* so that one bad sector does not stop all reads */
	STORE_CLOSE_MS = 10000
};

enum job_kind {
	JOB_APPEND, JOB_CREATE, JOB_PROGRESS, JOB_INDEX, JOB_SEAL, JOB_DROP, JOB_META, JOB_REFUSE,
	JOB_REWRITE, JOB_ADOPT, JOB_DISCARD, JOB_WORK
};

struct job {
	struct job		*next;
	enum job_kind		 kind;
	uint64_t		 segment;
	uint64_t		 off;		/* append, progress; end of seal; size of index */
	uint64_t		 len;		/* append: bytes; create: bytes to preallocate */
	struct slice		 bytes;		/* progress, create (own copy below), meta */
	struct store_piece	 piece[STORE_PIECES_MAX];
	struct store_span	*span;		/* owned */
	size_t			 n;		/* pieces or spans */
	bool			 sync;
	char			 head[64];	/* create */
	char			 name[64];	/* meta */
	store_work_fn		*work;
	struct store_file	*old;		/* adopt: the log as it was, held open */
	store_done_fn		*done;
	void			*arg;
	enum store_result	 result;
};

struct worker {
	struct store	*store;
	pthread_t	 thread[STORE_THREADS_MAX];
	unsigned	 nthread;		/* running */
	pthread_cond_t	 wake;
	struct job	*head, **tail;		/* under store->lock */
	size_t		 queued;		/* jobs in that list */
	bool		 gathering;		/* awake and counting: no signal needed */
	struct iovec	*iov;			/* STORE_BATCH_IOV, of the log worker */
	char		*chunk;			/* STORE_CHUNK, made when needed */
	uint64_t	 failed[STORE_FAILED_MAX];	/* a ring: no more appends there */
	unsigned	 nfailed;
};

struct store_file {			/* an open part of a segment */
	uint64_t	segment;
	enum store_part	part;
	int		fd;		/* -1: slot is free */
	bool		stale;		/* not that file any more: closed by its last user */
	unsigned	refs;		/* users now */
	uint64_t	used;		/* tick of last use */
};

enum worker_kind { WORKER_LOG, WORKER_REST, WORKER_READ, WORKER_COPY, WORKER_MAX };

struct store {
	struct loop	*loop;
	int		 dir, seg;	/* the queue directory and seg/ in it; owned */
	int		 lock_fd;	/* holds the flock; -1 read-only */
	bool		 read_only;

	pthread_mutex_t	 lock;		/* guards workers' lists, done list, stopping */
	struct worker	 worker[WORKER_MAX];
	struct job	*done, **done_tail;
	unsigned	 pending;	/* jobs not yet completed on the loop */
	bool		 stopping, started;
	struct timer	*starter;	/* starts the threads once the loop runs */
	int		 event_fd;
	struct watch	*watch;

	pthread_mutex_t	 files_lock;
	struct store_file file[STORE_FILES_MAX];
	uint64_t	 tick;

	unsigned	 failures;	/* atomic */
	uint64_t	 syncs;		/* atomic */
};

/* store_local_work.c: the threads */
int work_init(struct store *s);
void work_fini(struct store *s);
void work_submit(struct store *s, enum worker_kind w, struct job *j);	/* takes j */
int work_drain(struct store *s, int timeout_ms);

/* store_local_file.c: what a job does to the files; any thread */
struct store_file *files_get(struct store *s, uint64_t segment, enum store_part part, bool create);
void files_put(struct store *s, struct store_file *f);
/* Whoever uses it goes on; nobody gets it any more. A part, or STORE_PART_MAX for all. */
void files_forget(struct store *s, uint64_t segment, enum store_part part);
void file_adopted(struct store *s, struct job *j);	/* on the loop, before its completion */
void files_close(struct store *s);
enum store_result file_result(int error);
int file_write(int fd, const void *p, size_t n, uint64_t off);
ssize_t file_read(int fd, void *p, size_t n, uint64_t off);
void file_append(struct worker *w, struct job *first, size_t njobs);
enum store_result file_job(struct store *s, struct job *j);

#endif

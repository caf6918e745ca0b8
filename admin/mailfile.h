// SPDX-License-Identifier: Apache-2.0
/*
 * What Maildir and mbox share: names of files from addresses that strangers may have
 * had a hand in, line ends and quoting, and a message as the header block of a final
 * delivery over the bytes that were kept.
 */
#ifndef ADMIN_MAILFILE_H
#define ADMIN_MAILFILE_H

#include "base/buf.h"
#include "queue/spool.h"

enum {
	MAILFILE_NAME_MAX = 160,	/* bytes of a name we make; NAME_MAX is 255 */
	MAILFILE_BLOCK_MAX = 64 * 1024,	/* header block of one copy */
	MAILFILE_OUT = 64 * 1024
};

/*
 * One component of a path for any bytes: letters, digits and + = @ _ - and a dot that
 * is not the first stay, the rest is %XX, what would be too long ends in "%~" and a
 * hash. Never "", "." or "..", never a slash or control character; two different inputs
 * never give the same name.
 */
void mailfile_name(struct slice in, char out[MAILFILE_NAME_MAX]);

/* ---- writing ---- */

struct mailfile_out {
	int		 fd;		/* borrowed */
	bool		 lf;		/* CRLF becomes LF */
	bool		 quote;		/* mboxrd: a line of >*From_ gets one more > */
	/* the state of quoting and of line ends */
	bool		 bol, cr;
	size_t		 gt;		/* '>' seen at the start of this line, not yet out */
	unsigned	 from;		/* bytes of "From " seen after them */
	char		 last;		/* the last byte given */
	int		 error;		/* errno of the first write that failed */
	uint64_t	 bytes;		/* written */
	size_t		 n;
	char		 b[MAILFILE_OUT];
};
void mailfile_begin(struct mailfile_out *o, int fd, bool lf, bool quote);
void mailfile_put(struct mailfile_out *o, struct slice s);
void mailfile_raw(struct mailfile_out *o, struct slice s);	/* past quoting and line ends */
/* Everything is handed to the kernel. 0, or -1 with errno of whatever failed. */
__attribute__((warn_unused_result)) int mailfile_end(struct mailfile_out *o);

/* ---- a message ---- */

struct mailfile {		/* one message for one recipient; all borrowed */
	char		 id[MSGID_TEXT + 8];	/* "id/recipient" as everywhere else */
	char		 base[MSGID_TEXT + 48];	/* of a Maildir name */
	int64_t		 received_ms;	/* wall clock */
	struct slice	 sender;	/* "" is the null sender */
	struct slice	 block;		/* Return-Path and the trace of a replay, CRLF */
	struct slice	 content;
	struct slice	 cuts;		/* checked */
};
/*
 * Fills `m`; the header block is built in `block` (cleared first). -1 when the message's
 * list of cuts does not fit its content: it cannot be told what was to be left out.
 */
int mailfile_make(struct mailfile *m, const struct spool_message *msg,
    const struct envelope_rcpt *rcpt, uint16_t rcpt_index, struct slice content,
    struct buf *block);
/* Block and content, without what a replay would leave out. */
void mailfile_write(struct mailfile_out *o, const struct mailfile *m);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * The milter protocol, version 6, as it is on the wire: a frame is a length of four
 * bytes (network order), a command and its data. Pure: bytes to frames and back, and the
 * rules of what a filter may say to a client or put into a message.
 */
#ifndef RELAY_MILTER_PROTO_H
#define RELAY_MILTER_PROTO_H

#include "base/buf.h"

enum {
	MILTER_VERSION	= 6,
	MILTER_OLDEST	= 2,		/* of what filters may answer */
	MILTER_DATA_MAX	= 65535,	/* bytes behind the command, to a filter */
	MILTER_FRAME_MAX = 128 * 1024,	/* ... of a filter; more is nonsense */
	MILTER_KEEP_MAX	= 16 * 1024,	/* ... that are looked at; the rest is only counted */
	MILTER_REPLY_MAX = 400		/* of a reply line, closing NUL included */
};

enum milter_command {		/* to the filter */
	MILTER_OPTNEG	= 'O', MILTER_MACRO	= 'D', MILTER_CONNECT	= 'C', MILTER_HELO = 'H',
	MILTER_MAIL	= 'M', MILTER_RCPT	= 'R', MILTER_DATA	= 'T', MILTER_HEADER = 'L',
	MILTER_EOH	= 'N', MILTER_BODY	= 'B', MILTER_EOM	= 'E', MILTER_QUIT = 'Q'
};

enum milter_answer {		/* of the filter */
	MILTER_CONTINUE = 'c', MILTER_ACCEPT = 'a', MILTER_REJECT = 'r', MILTER_TEMPFAIL = 't',
	MILTER_DISCARD = 'd', MILTER_REPLYCODE = 'y', MILTER_CONNFAIL = 'f', MILTER_SKIP = 's',
	MILTER_PROGRESS = 'p',
	/* at the end of the message only */
	MILTER_ADDHEADER = 'h', MILTER_INSHEADER = 'i', MILTER_CHGHEADER = 'm',
	MILTER_QUARANTINE = 'q', MILTER_REPLBODY = 'b', MILTER_CHGFROM = 'e',
	MILTER_ADDRCPT = '+', MILTER_ADDRCPT_PAR = '2', MILTER_DELRCPT = '-'
};

enum {	/* steps that a filter does not want, or does not answer */
	MILTER_NO_CONNECT = 0x1, MILTER_NO_HELO = 0x2, MILTER_NO_MAIL = 0x4, MILTER_NO_RCPT = 0x8,
	MILTER_NO_BODY = 0x10, MILTER_NO_HEADER = 0x20, MILTER_NO_EOH = 0x40,
	MILTER_MUTE_HEADER = 0x80, MILTER_NO_UNKNOWN = 0x100, MILTER_NO_DATA = 0x200,
	MILTER_CAN_SKIP = 0x400, MILTER_SEND_REFUSED = 0x800,
	MILTER_MUTE_CONNECT = 0x1000, MILTER_MUTE_HELO = 0x2000, MILTER_MUTE_MAIL = 0x4000,
	MILTER_MUTE_RCPT = 0x8000, MILTER_MUTE_DATA = 0x10000, MILTER_MUTE_UNKNOWN = 0x20000,
	MILTER_MUTE_EOH = 0x40000, MILTER_MUTE_BODY = 0x80000, MILTER_LEADING_SPACE = 0x100000,
	MILTER_STEPS = 0x1fffff
};
enum { MILTER_ACTIONS = 0x1ff };	/* all are offered, a filter may insist; few are heeded */

/* -- to the filter: one frame each, appended. -1 when the buffer is full ------------- */

__attribute__((warn_unused_result)) int milter_put(struct buf *out, enum milter_command c,
    struct slice data);
__attribute__((warn_unused_result)) int milter_put_optneg(struct buf *out);
/* `ip` as text; anything that is no address is an unknown client. */
__attribute__((warn_unused_result)) int milter_put_connect(struct buf *out, struct slice name,
    struct slice ip);
/* HELO: the name, with its closing NUL. */
__attribute__((warn_unused_result)) int milter_put_text(struct buf *out, enum milter_command c,
    struct slice text);
/* MAIL and RCPT: the address in angle brackets. */
__attribute__((warn_unused_result)) int milter_put_path(struct buf *out, enum milter_command c,
    struct slice address);
/* Value as it stands in the message: lines are parted by LF here, NUL becomes a space, what
 * is too long for a frame is cut. */
__attribute__((warn_unused_result)) int milter_put_header(struct buf *out, struct slice name,
    struct slice value, bool leading_space);

/* Macros for the command that follows: begin, any number of pairs, end. */
struct milter_macros {
	struct buf	*out;
	size_t		 at;		/* of the frame in it */
	bool		 bad;		/* the buffer was full */
};
void milter_macros(struct milter_macros *m, struct buf *out, enum milter_command c);
void milter_macro(struct milter_macros *m, const char *name, struct slice value);
__attribute__((warn_unused_result)) int milter_macros_end(struct milter_macros *m);

/* -- of the filter ------------------------------------------------------------------- */

/* Fed a byte as happily as a megabyte; of a long frame only the start is kept. */
struct milter_reader {
	uint8_t		 head[5];
	uint8_t		 nhead;
	uint32_t	 left;		/* bytes of the present frame yet to come */
	struct buf	 data;
};
struct milter_frame {
	uint8_t		 answer;
	bool		 cut;		/* there was more than MILTER_KEEP_MAX */
	struct slice	 data;		/* borrowed until the next call */
};
enum milter_read { MILTER_MORE, MILTER_FRAME, MILTER_NONSENSE };

void milter_reader_init(struct milter_reader *r);
void milter_reader_fini(struct milter_reader *r);
/* `*used` bytes of `in` were taken; after MILTER_FRAME ask again with the rest. */
enum milter_read milter_reader_feed(struct milter_reader *r, struct slice in, size_t *used,
    struct milter_frame *out);

/* What the filter wants of the steps we offer. 0 or -1. */
int milter_get_optneg(struct slice data, uint32_t *steps);
/* Of ADDHEADER (and of INSHEADER, CHGHEADER with `index`). 0 or -1. */
int milter_get_header(struct slice data, bool index, struct slice *name, struct slice *value);

/* The text of REPLYCODE as one reply line, its first line, no controls, no 8-bit. 0, or -1
 * when that is no 4yz or 5yz. 421 becomes 451: the session is ours to end. */
int milter_reply(struct slice data, char out[MILTER_REPLY_MAX]);

/* May a filter add that field? Only "X-" names that are not ours: any other could be read
 * as the author's or break a signature that covers its absence (spec 0.3, 3.1). */
bool milter_field_allowed(struct slice name);
/* As a field of its own, folded anew, CRLF-ended. -1 when it does not fit or cannot be
 * folded; `out` is then unchanged. */
__attribute__((warn_unused_result)) int milter_put_field(struct buf *out, struct slice name,
    struct slice value);
/* Does that field say spam or malware? X-Spam, X-Spam-Flag, X-Spam-Status: yes;
 * X-Virus-Status: infected. */
bool milter_field_spam(struct slice name, struct slice value);
/* Or that it is none? The same of X-Spam: no. */
bool milter_field_clean(struct slice name, struct slice value);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * The content of one message as it goes over the wire: prefix, body without the cuts,
 * suffix; dots doubled at line starts (RFC 5321 4.5.2), a missing last CRLF added
 * (spec 3.13), the final dot at the end. Nothing is copied: each piece is borrowed
 * from the caller's slices, so a 50 MB body costs no memory here.
 */
#ifndef RELAY_SMTP_CLIENT_DATA_H
#define RELAY_SMTP_CLIENT_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct client_data {
	struct slice	prefix, body, cuts, suffix;	/* borrowed, whole life */
	struct slice	cuts_left;	/* cuts not yet reached */
	struct slice	run;		/* unsent bytes without a hole in them */
	uint64_t	body_at;	/* body bytes already given to run or cut */
	int		stage;		/* 0 prefix, 1 body, 2 suffix, 3 end, 4 done */
	char		last;		/* last content byte sent, '\n' at the start */
	bool		bol;		/* at a line start */
	bool		dotted;		/* the extra dot of this line is out */
	size_t		end_at;		/* bytes of the end marker already sent */
};

/* 0, or -1 when the cuts are not ascending, overlap or leave the body. */
int client_data_init(struct client_data *d, struct slice prefix, struct slice body,
    struct slice cuts, struct slice suffix);

/* Content bytes as the SIZE parameter counts them: without stuffing and final dot
 * (RFC 1870 3: the octets of the message, its CRLFs included). */
uint64_t client_data_size(const struct client_data *d);

/* Is there an octet over 127 above the first empty line? */
bool client_data_header_8bit(const struct client_data *d);

/* Next piece, at most `max` bytes; n == 0 at the end. Stays the same until sent. */
struct slice client_data_next(struct client_data *d, size_t max);
/* So many bytes of that piece were taken. */
void client_data_sent(struct client_data *d, size_t n);
bool client_data_done(const struct client_data *d);

#endif

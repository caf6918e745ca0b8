// SPDX-License-Identifier: Apache-2.0
/* relay hands verify a message (body as descriptor) and the DNS answers it has;
 * verify answers with a verdict or with the names it still needs. */
#ifndef PROTO_RELAY_VERIFY_H
#define PROTO_RELAY_VERIFY_H

#include "base/dnsrr.h"
#include "base/envelope.h"

enum { VERIFY_EVAL = 0x200, VERIFY_DONE };

struct verify_eval {
	uint64_t	req;
	struct msgid	id;
	uint64_t	received_ms;	/* wall clock: the time for Received, x= and t= */
	uint8_t		last;		/* no more answers will come: treat misses as DNS_FAIL */
	uint32_t	nrcpt;
	struct slice	client_ip;	/* text */
	struct slice	helo;
	struct slice	mail_from;	/* "" null */
	struct slice	rcpt;		/* the only recipient as written, "" when several */
	struct slice	protocol;	/* ESMTP, ESMTPS, SMTP, LMTP: the `with` of Received */
	struct slice	tls;		/* "TLSv1.3 TLS_AES_256_GCM_SHA384", "" for none */
	struct slice	answers;	/* items of struct dns_answer, <= DNS_ANSWERS_MAX */
	uint8_t		trusted;	/* client_ip is a front server's that did not name its
					 * client: no SPF, no iprev on it (spec 0.5) */
	uint8_t		bounce;		/* it came to a return path: only read it (2.2.3) */
	struct slice	token;		/* ... this one's token, "" for none */
	uint8_t		clean;		/* so says a spam filter (6.5) */
};
extern const struct wire_desc verify_eval_wire;

enum verify_status {
	VERIFY_OK,
	VERIFY_WANT,		/* only `wants` is set */
	VERIFY_FAILED,		/* not evaluated (our trouble): hold, do not forward */
	VERIFY_REFUSE,		/* the message cannot be taken: `reason` is the reply text,
				 * "554 5.4.6 Too many hops", never for our own troubles */
	VERIFY_STATUS_MAX
};

struct verify_done {
	uint64_t	req;
	uint8_t		status;		/* enum verify_status */
	uint8_t		spf, dkim, dmarc, arc, iprev;	/* enum auth_result */
	uint8_t		triage;
	uint32_t	flags;		/* of ENV_OF_VERIFY, as found */
	struct slice	reason;
	struct slice	trace;		/* as envelope.trace; also set for VERIFY_FAILED */
	struct slice	authres;
	struct slice	cuts;
	struct slice	wants;		/* items of struct dns_want */
	struct slice	bounce;		/* struct envelope_bounce, encoded; its leg is not set */
	struct slice	token;		/* of a report to an address without one (SRS): what it
					 * brought that can be a token, "" otherwise */
};
extern const struct wire_desc verify_done_wire;

#endif

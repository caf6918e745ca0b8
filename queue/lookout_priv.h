// SPDX-License-Identifier: Apache-2.0
/* Shared by queue/lookout.c (probes and decisions), queue/lookout_map.c (what is looked at) and
 * queue/lookout_show.c (evidence and status). Nobody else includes it. */
#ifndef QUEUE_LOOKOUT_PRIV_H
#define QUEUE_LOOKOUT_PRIV_H

#include "queue/health.h"
#include "queue/lookout.h"

enum {
	LOOKOUT_RECENT = 5,		/* answers kept as evidence */
	LOOKOUT_TEXT = 256,
	LOOKOUT_REFERENCE_MS = 5000	/* how often and how long a reference is tried */
};

struct answer {
	int64_t		wall_ms;
	uint8_t		outcome, stage;	/* enum probe_outcome, enum probe_stage */
	uint16_t	code;
	uint32_t	latency_ms;
};

struct place {			/* something to be probed */
	char		*key;		/* owned; what makes two of them the same */
	uint8_t		 route, depth;	/* enum conf_route_kind, enum conf_probe_depth */
	uint16_t	 port;
	char		*host, *canary;	/* owned; canary "" for none */
	int64_t		 every_ms, timeout_ms;
	bool		 reference;	/* of probe-reference */
	bool		 wanted;
	struct health_view view;
	uint64_t	 req;		/* under way; 0: nothing is */
	unsigned	 relay;		/* ... there */
	int64_t		 until_ms;	/* ... and given up then */
	int64_t		 next_ms;	/* monotonic */
	bool		 welcome;	/* the canary was taken once */
	struct answer	 recent[LOOKOUT_RECENT];
	unsigned	 nrecent, at;
	char		 text[LOOKOUT_TEXT];	/* of the last answer */
};

struct seat {			/* a group and the place its mail goes to */
	uint64_t	 group;
	size_t		 place;		/* index */
	bool		 probed;	/* its mode wants probes */
	struct health	 health;
	struct health_rules rules;
	enum failover_phase phase;	/* as it was seen last */
	int64_t		 unsure_ms;	/* since when it waits for the others; 0 not */
	int64_t		 refused_ms;	/* the storm of refusals was seen last */
	bool		 refused;	/* something was; an alarm says so */
};

struct lookout {
	struct queue	*queue;		/* borrowed */
	struct timer	*timer;
	struct place	*place;		/* owned */
	size_t		 nplace;
	struct seat	*seat;		/* owned */
	size_t		 nseat;
	void		*index;		/* tsearch root of places by key, while the map is made */
	uint64_t	 serial;	/* of the failover state the map was made from */
	uint32_t	 generation;	/* of the map: upper half of a request's number */
	uint32_t	 sequence;
	bool		 fault;		/* our own network is suspected */
	int64_t		 fault_ms;	/* since; monotonic */
	int64_t		 sent_ms;	/* a probe could be given to a relay last */
	uint64_t	 sent, good, bad, dark, local;
};

/* lookout_map.c: from configuration and failover state; what is known is carried over. */
void lookout_map(struct lookout *l);
void lookout_map_free(struct lookout *l);
struct seat *lookout_seat(const struct lookout *l, uint64_t group);	/* or NULL */

/* lookout_show.c */
json_t *lookout_evidence(const struct lookout *l, const struct seat *s, enum health_cause c);
/* "3 probes failed, the last one: connect: no answer in time". */
void lookout_words(const struct lookout *l, const struct seat *s, enum health_cause c, char *out,
    size_t cap);
const char *lookout_outcome_name(uint8_t outcome);
void lookout_place_words(const struct place *p, char *out, size_t cap);	/* "lmtp://host:24" */

#endif

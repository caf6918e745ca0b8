// SPDX-License-Identifier: Apache-2.0
/*
 * The page that a test shares with fault.so (see fault.c). All members are 64-bit and
 * little-endian, so that a script writes them with struct.pack; fault.py knows the
 * same numbers. A rule may be changed while calls are under way: `on` is set last
 * and cleared first.
 */
#ifndef TESTS_CRASH_FAULT_H
#define TESTS_CRASH_FAULT_H

#include <stdint.h>

#define FAULT_MAGIC 0x31544c5541465053ull	/* "SPFAULT1" */

enum fault_call {
	FAULT_WRITE, FAULT_SYNC, FAULT_OPEN, FAULT_RENAME, FAULT_UNLINK, FAULT_TRUNCATE,
	FAULT_ALLOCATE, FAULT_READ, FAULT_MKDIR, FAULT_STATVFS, FAULT_CALLS
};

/* What the call is about, by the name under which the file was opened. */
enum fault_file {
	FAULT_LOG, FAULT_PROGRESS, FAULT_INDEX, FAULT_DIR, FAULT_OTHER, FAULT_FILES
};

enum {
	FAULT_TORN = 1,		/* of a write: half of it happens, then the error */
	FAULT_NOOP = 2,		/* nothing happens and it is called a success */
	FAULT_AFTER = 4		/* it happens, and then it is called an error */
};

enum { FAULT_RULES = 16 };

struct fault_rule {
	uint64_t on;
	uint64_t calls, files;	/* masks, 1 << enum */
	uint64_t skip;		/* matching calls left alone first */
	uint64_t count;		/* calls hit after that; 0: all */
	uint64_t error;		/* errno; 0: the call goes on after the delay */
	uint64_t delay_us;	/* ends early when the rule is switched off */
	uint64_t flags;
	uint64_t seen, hits;	/* ours: matching calls, and those that were hit */
};

struct fault_page {
	uint64_t magic;
	uint64_t spare;
	uint64_t done[FAULT_CALLS];	/* ours: calls on files so far */
	struct fault_rule rule[FAULT_RULES];
};

#endif

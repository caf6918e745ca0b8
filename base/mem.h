// SPDX-License-Identifier: Apache-2.0
/*
 * Small bounded allocations: they abort on failure, the supervisor restarts
 * the role and the spool is intact. A size that a peer can influence is
 * checked against a limit first and goes through malloc, failing politely.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_new(size_t n);			/* zeroed */
void *mem_array(size_t count, size_t size);	/* zeroed, overflow-checked */
void *mem_resize(void *p, size_t count, size_t size);
char *mem_str(const char *s);			/* copy; NULL gives NULL */

#define CHECK(cond)	((cond) ? (void)0 : mem_bug(#cond, __FILE__, __LINE__))
_Noreturn void mem_bug(const char *what, const char *file, int line);

#endif

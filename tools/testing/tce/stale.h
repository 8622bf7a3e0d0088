/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loads that a CPU has done early.  Where neither a barrier nor the address says
 * otherwise, a load may be done before an exchange or a load that stands before
 * it; a condition in between does not help.  The build machine does not do that,
 * so it is played: stale_take() says what this thread has loaded already, and
 * READ_ONCE() answers that until there is a barrier.
 */
#ifndef TCE_STALE_H
#define TCE_STALE_H

#include <stdbool.h>
#include <stddef.h>

struct mm_struct;

extern __thread unsigned int stale_nr;

void stale_take(const void *at, size_t size);
/* What a look-up of regions loads; within a section */
void stale_regions(struct mm_struct *mm);
/* The first word of those */
const void *stale_first(struct mm_struct *mm);
void stale_load(const void *at, void *value, size_t size);

/* A barrier, for loads at least */
static inline void stale_drop(void)
{
	stale_nr = 0;
}

#endif /* TCE_STALE_H */

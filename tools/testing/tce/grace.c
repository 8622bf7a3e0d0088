// SPDX-License-Identifier: GPL-2.0-only
/* See grace.h.  Tables are freed by RCU; all else waits in sections of asm/mm_iommu.h. */
#include <sched.h>

#include "grace.h"

static pthread_t thread;
static bool over;

void grace_settle(void)
{
	srcu_drain(&shim_rcu);
}

static void *work(void *arg)
{
	while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		grace_settle();
		sched_yield();
	}
	return NULL;
}

void grace_begin(void)
{
	over = false;
	WRONG_IF(pthread_create(&thread, NULL, work, NULL));
}

void grace_end(void)
{
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	grace_settle();
}

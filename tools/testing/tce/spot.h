/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Spots: the places where another CPU may come in between.  Each primitive of
 * kernel.h that others can see marks one, and the TCE code knows nothing of it.
 *
 * What happens there is either random, for the race of threads, or said by a
 * test that steps a thread by hand (struct hand): go on until that spot.
 */
#ifndef TCE_SPOT_H
#define TCE_SPOT_H

#include <pthread.h>
#include <stdbool.h>

enum spot {
	SPOT_ENTER,	/* a section, or one of SRCU, has begun */
	SPOT_LEAVE,	/* one is about to end */
	SPOT_LOAD,	/* a word that others may change was loaded */
	SPOT_LOCK,	/* an entry is about to be locked */
	SPOT_STORE,	/* something is about to be published, or was */
	SPOT_COUNT,	/* a region is about to be counted, or looked at for that */
	SPOT_UNCOUNT,	/* a count was dropped */
	SPOT_KILL,	/* an invalidation is about to begin, or is over */
	SPOT_EXCHANGE,	/* a hypervisor is asked to change an entry */
	SPOT_BARRIER,	/* a full barrier */
	SPOTS
};

/* Does anything happen at spots? */
extern bool spots;
void spot_reach(enum spot spot, const void *at);

static inline void spot(enum spot spot, const void *at)
{
	if (spots)
		spot_reach(spot, at);
}

/* In each turn of a loop that waits for another CPU */
void spot_wait(void);

/*
 * Random delays.  Threads give way here and there; at the spot that is @hot some
 * stay until others have taken several steps, see spot_step().
 */
void spot_random(enum spot hot);
/* A thread has finished a step */
void spot_step(void);

/* Where a thread is that is stepped by hand */
enum hand_is {
	HAND_RUNS,
	HAND_THERE,	/* at the spot that it was sent to */
	HAND_WAITS,	/* for another thread; it goes on when that lets it */
	HAND_DONE,
};

/**
 * struct hand - a thread stepped by hand
 * @is: where it is
 * @to: the spot where it stops
 * @at: for this object, or any if NULL
 * @then: what it does when it gets there, may be NULL
 * @waits: turns in a loop since it was sent
 * @step: what it is to do
 * @arg: for @step
 * @thread: the thread
 * @lock: for all of these
 * @cond: one of them has changed
 */
struct hand {
	enum hand_is is;
	enum spot to;
	const void *at;
	void (*then)(void);
	unsigned long waits;
	void (*step)(void *arg);
	void *arg;
	pthread_t thread;
	pthread_mutex_t lock; /* all of it */
	pthread_cond_t cond;
};

/*
 * To hang is to fail: whoever turns does so by CPU time, as a busy machine is slow, and
 * whoever sleeps after minutes.
 */
void limit_time(unsigned int seconds);

/* Let a thread run until it is at a spot, or does not get there */
enum hand_is hand_start(struct hand *hand, void (*step)(void *arg), void *arg,
			enum spot to, const void *at);
enum hand_is hand_on(struct hand *hand, enum spot to, const void *at);
/* Let it run as far as it can without reaching a spot again */
enum hand_is hand_go(struct hand *hand);
/* Wait until it is done */
void hand_end(struct hand *hand);

#endif /* TCE_SPOT_H */

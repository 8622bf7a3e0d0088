// SPDX-License-Identifier: GPL-2.0-only
/* See spot.h */
#include <sched.h>
#include <sys/time.h>
#include <unistd.h>

#include "kernel.h"

/* Turns in a loop after which a thread counts as one that waits */
#define WAITS		500

bool spots;
static enum spot hot_spot;
static unsigned long steps;
static __thread struct hand *self;

/* Stay until others have taken some steps, or do not come to it */
static void stay(unsigned int nr)
{
	unsigned long until = __atomic_load_n(&steps, __ATOMIC_RELAXED) + nr;
	unsigned int i;

	for (i = 0; i < 100 &&
	     (long)(__atomic_load_n(&steps, __ATOMIC_RELAXED) - until) < 0; ++i)
		sched_yield();
}

/* Give way at one spot of 16; stay at one of 1024, and at a hot one of 16 */
static void delay(enum spot spot)
{
	static __thread uint32_t seed;
	static uint32_t next;

	/* Loads are many */
	if (spot == SPOT_LOAD && spot != hot_spot)
		return;
	if (!seed)
		seed = __atomic_add_fetch(&next, 2654435761U, __ATOMIC_RELAXED) | 1;
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	if (!(seed % 1024))
		stay(4);
	else if (spot == hot_spot && !(seed % (spot == SPOT_LOAD ? 512 : 16)))
		stay(16 + (seed >> 16) % 64);
	else if (!(seed % 16))
		sched_yield();
}

static void stop(struct hand *hand, enum spot spot, const void *at)
{
	pthread_mutex_lock(&hand->lock);
	if (spot == hand->to && (!hand->at || hand->at == at)) {
		if (hand->then)
			hand->then();
		hand->is = HAND_THERE;
		pthread_cond_broadcast(&hand->cond);
		while (hand->is == HAND_THERE)
			pthread_cond_wait(&hand->cond, &hand->lock);
	}
	pthread_mutex_unlock(&hand->lock);
}

void spot_reach(enum spot spot, const void *at)
{
	if (self)
		stop(self, spot, at);
	else if (hot_spot != SPOTS)
		delay(spot);
}

void limit_time(unsigned int seconds)
{
	const struct itimerval limit = { .it_value.tv_sec = seconds };

	WRONG_IF(setitimer(ITIMER_PROF, &limit, NULL));
	alarm(10 * seconds);
}

void spot_random(enum spot hot)
{
	hot_spot = hot;
}

void spot_step(void)
{
	__atomic_fetch_add(&steps, 1, __ATOMIC_RELAXED);
}

void spot_wait(void)
{
	if (self) {
		pthread_mutex_lock(&self->lock);
		if (++self->waits == WAITS && self->is == HAND_RUNS) {
			self->is = HAND_WAITS;
			pthread_cond_broadcast(&self->cond);
		}
		pthread_mutex_unlock(&self->lock);
	}
	sched_yield();
}

static void *hand_main(void *arg)
{
	struct hand *hand = arg;

	self = hand;
	hand->step(hand->arg);
	self = NULL;
	pthread_mutex_lock(&hand->lock);
	hand->is = HAND_DONE;
	pthread_cond_broadcast(&hand->cond);
	pthread_mutex_unlock(&hand->lock);
	return NULL;
}

/* Caller holds the lock, which this drops */
static enum hand_is settle(struct hand *hand)
{
	enum hand_is is;

	while (hand->is == HAND_RUNS)
		pthread_cond_wait(&hand->cond, &hand->lock);
	is = hand->is;
	pthread_mutex_unlock(&hand->lock);
	return is;
}

enum hand_is hand_start(struct hand *hand, void (*step)(void *arg), void *arg,
			enum spot to, const void *at)
{
	*hand = (struct hand){
		.to = to, .at = at, .then = hand->then, .step = step, .arg = arg,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER,
	};
	spots = true;
	hot_spot = SPOTS;
	WRONG_IF(pthread_create(&hand->thread, NULL, hand_main, hand));
	pthread_mutex_lock(&hand->lock);
	return settle(hand);
}

enum hand_is hand_on(struct hand *hand, enum spot to, const void *at)
{
	pthread_mutex_lock(&hand->lock);
	hand->to = to;
	hand->at = at;
	hand->waits = 0;
	if (hand->is != HAND_DONE)
		hand->is = HAND_RUNS;
	pthread_cond_broadcast(&hand->cond);
	return settle(hand);
}

enum hand_is hand_go(struct hand *hand)
{
	return hand_on(hand, SPOTS, NULL);
}

void hand_end(struct hand *hand)
{
	while (hand_go(hand) != HAND_DONE)
		;
	pthread_join(hand->thread, NULL);
}

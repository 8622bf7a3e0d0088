/* SPDX-License-Identifier: GPL-2.0-only */
/* A guest that computes and makes no call, and what is done beside it */
#ifndef SELFTEST_KVM_POWERPC_COMPUTE_H
#define SELFTEST_KVM_POWERPC_COMPUTE_H

#include <pthread.h>
#include <stdatomic.h>

#include "vm.h"

#define COMPUTE_MAX	4

/**
 * struct compute_cpu - a virtual CPU that computes, on a host CPU of its own
 * @vm: the virtual machine, and this CPU of it
 * @host: the CPU of the host
 * @exits: counts how often the guest was left
 * @thread: runs it
 * @stop: shared by all of a guest; tells the threads to end
 */
struct compute_cpu {
	struct vm vm;
	unsigned int host;
	struct vm_counter exits;
	pthread_t thread;
	atomic_bool *stop;
};

/**
 * struct compute - a guest whose CPUs do nothing but compute
 * @cpus: its CPUs
 * @nr: how many there are
 * @stop: tells their threads to end
 */
struct compute {
	struct compute_cpu cpus[COMPUTE_MAX];
	unsigned int nr;
	atomic_bool stop;
};

/*
 * Have @vm compute, with @nr CPUs or as many as the host has besides CPU 0, where the
 * caller stays from now on.  Skips the case when there is no second one.
 */
void compute_begin(struct compute *guest, const struct vm *vm, unsigned int nr);

/* Let it compute, until it is told to stop */
void compute_start(struct compute *guest);
void compute_stop(struct compute *guest);

/*
 * Skip the case when the host's CPUs have a tick, which takes them from the guest: to
 * be asked where what is done takes longer than a tick.
 */
void compute_need_no_tick(void);

/* Returns when all CPUs are in the guest, and stay there if there is no tick */
void compute_settle(struct compute *guest);

/* How what was done beside the guest came to its end */
enum compute_beside {
	BESIDE_QUIET,	/* the guest was not left */
	BESIDE_MOVED,	/* the guest was left meanwhile, for this or another reason */
	BESIDE_HUNG,	/* not before the guest was stopped, which it is now */
};

/* Do @act(@arg) on CPU 0 while the guest computes; *@ns is the time it took */
enum compute_beside compute_beside(struct compute *guest, void (*act)(void *arg),
				   void *arg, __u64 *ns);

#endif /* SELFTEST_KVM_POWERPC_COMPUTE_H */

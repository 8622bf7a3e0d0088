/* SPDX-License-Identifier: GPL-2.0-only */
/* Another user of VFIO: a process of its own, which does what it is told to */
#ifndef SELFTEST_KVM_POWERPC_STRANGER_H
#define SELFTEST_KVM_POWERPC_STRANGER_H

#include <sys/types.h>

#include "vfio.h"

/* Memory that it registers */
#define STRANGER_MEMORY	(64UL << 20)

/**
 * struct stranger - the process, as it and its parent see it
 * @pid: its number
 * @ask: the parent writes here what it is to do, and the child reads it
 * @answer: the other way round: what that returned
 * @dev: its device
 * @mem: STRANGER_MEMORY bytes of its memory
 */
struct stranger {
	pid_t pid;
	int ask;
	int answer;
	struct vfio_dev dev;
	void *mem;
};

/*
 * Have the process, with @dev: to be called before anything is open that it must not
 * hold.  It dies with the caller.
 */
void stranger_begin(struct stranger *other, const struct vfio_dev *dev);

/* Have it do @what, and return what that returns */
long stranger_do(struct stranger *other, long (*what)(struct stranger *self));

/* It ends, and has given back all it had when this returns */
void stranger_end(struct stranger *other);

/* Things to do: open the device's group, with a window; and register @mem; and back */
long stranger_open(struct stranger *self);
long stranger_register(struct stranger *self);
long stranger_remove_window(struct stranger *self);
long stranger_unregister(struct stranger *self);

#endif /* SELFTEST_KVM_POWERPC_STRANGER_H */

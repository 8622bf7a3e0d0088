// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nobody waits for the memory of another process: what is done beside one that
 * registers much is over before that is.
 */
#include <fcntl.h>
#include <unistd.h>

#include "cases.h"
#include "stranger.h"

#define SMALL		0x10000UL

/*
 * A process that registers much untouched memory, which takes its time, and whose
 * other thread unregisters some
 */

#define MUCH		0x40000000UL

struct registering {
	struct env *env;
	struct vfio_dev second;
	int status;
	void *much;
	void *small;
	atomic_bool unregisters;
	atomic_bool over;
};

static void *register_much(void *arg)
{
	struct registering *reg = arg;

	vfio_register(&reg->env->dev, reg->much, MUCH);
	atomic_store(&reg->over, true);
	return NULL;
}

static void *unregister_small(void *arg)
{
	struct registering *reg = arg;

	/* It is charged before the first page is pinned */
	while (number_in(reg->status, "VmLck:") < MUCH >> 10)
		usleep(1000);
	atomic_store(&reg->unregisters, true);
	expect(reg->env, vfio_unregister(&reg->second, reg->small, SMALL) == 0);
	return NULL;
}

/*
 * What @act does is over before the REGISTER of this process is, which has two
 * containers, as a container does one thing at a time.  The threads are there before
 * that begins: making one wants the lock that it holds.
 */
static void beside_a_register(struct env *env, void (*act)(struct stranger *other))
{
	struct registering reg = { .env = env };
	pthread_t much, small;
	struct stranger other;
	struct vfio_dev third, usb;
	bool shared;

	if (!vfio_find_next(&reg.second, &env->dev, EDU_VENDOR, EDU_DEVICE) ||
	    !vfio_find_next(&third, &reg.second, EDU_VENDOR, EDU_DEVICE))
		case_skip("there are no three devices in groups of their own");
	/* A group is the VMM's with all of its devices */
	shared = vfio_find_beside(&usb, &third, USB_VENDOR, USB_DEVICE);
	if (shared)
		vfio_take_from_driver(&usb);
	stranger_begin(&other, &third);
	vfio_open_group(&env->dev);
	vfio_open_group(&reg.second);
	reg.status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	reg.much = new_memory(MUCH);
	reg.small = new_memory(SMALL);
	vfio_register(&reg.second, reg.small, SMALL);
	ktap_need(!stranger_do(&other, stranger_open) &&
		  !stranger_do(&other, stranger_register),
		  "what the other process begins with");

	pthread_create(&small, NULL, unregister_small, &reg);
	pthread_create(&much, NULL, register_much, &reg);
	while (!atomic_load(&reg.unregisters))
		usleep(1000);
	/* Time to get where it waits for what the registering thread holds */
	usleep(200000);
	if (atomic_load(&reg.over))
		case_skip("this machine is too fast: the memory is registered already");
	act(&other);
	expect(env, !atomic_load(&reg.over));
	pthread_join(much, NULL);
	pthread_join(small, NULL);
	if (act != stranger_end)
		stranger_end(&other);
	if (shared)
		vfio_give_to(&usb, USB_DRIVER);
}

static long register_small(struct stranger *self)
{
	return vfio_try_register(&self->dev, new_memory(SMALL), SMALL);
}

static void let_register(struct stranger *other)
{
	ktap_need(!stranger_do(other, register_small), "registering");
}

CASE_CALL(register_beside_a_register, beside_a_register, let_register);

static void let_unregister(struct stranger *other)
{
	ktap_need(!stranger_do(other, stranger_unregister), "unregistering");
}

CASE_CALL(unregister_beside_a_register, beside_a_register, let_unregister);

static void let_remove(struct stranger *other)
{
	ktap_need(!stranger_do(other, stranger_remove_window), "removing the window");
}

CASE_CALL(window_beside_a_register, beside_a_register, let_remove);
CASE_CALL(exit_beside_a_register, beside_a_register, stranger_end);

int main(void)
{
	return run_cases();
}

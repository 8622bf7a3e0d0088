// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a VMM takes back from a device by itself, as tce_taken_back does by hypercalls:
 * entries by ioctl, windows, and all of it when it ends.
 */
#include <unistd.h>

#include "cases.h"

#define SIGN_PAGE	(DATA + 0x600000UL)
#define OTHER		(DATA + 0x200000UL)

/* Up to 32 pages are invalidated one by one */
static const unsigned int runs[] = { 1, 32, 33, 512 };

/* A window, without a virtual machine behind it, and what leads to the device's sign */
static void begin_without_guest(struct env *env)
{
	vm_create(&env->vm, 16 << 20);
	open_with_window(env, &env->dev);
}

static void take_sign(struct env *env)
{
	__u8 *page = env->vm.mem + SIGN_PAGE;

	ktap_need(!vfio_map(&env->dev, LAST, page, PAGE), "mapping");
	vfio_open_device(&env->dev);
	edu_take_sign(&env->dev, LAST, page);
}

/* Does the device reach the last one of @n pages from @gpa on? */
static bool reaches(struct env *env, __u64 n, __u64 gpa)
{
	const __u64 last = (n - 1) * PAGE;

	return edu_reaches(&env->dev, last, env->vm.mem + gpa + last);
}

static void map_and_unmap(struct env *env)
{
	unsigned int i;

	take_sign(env);
	for (i = 0; i < ARRAY_SIZE(runs); i++) {
		const __u64 n = runs[i];

		expect(env, !vfio_map(&env->dev, 0, env->vm.mem + DATA, n * PAGE));
		expect(env, reaches(env, n, DATA));
		expect(env, !vfio_map(&env->dev, 0, env->vm.mem + OTHER, n * PAGE));
		expect(env, !reaches(env, n, DATA));
		expect(env, reaches(env, n, OTHER));
		expect(env, !vfio_unmap(&env->dev, 0, n * PAGE));
		expect(env, !reaches(env, n, OTHER));
	}
}

CASE(by_ioctl)
{
	begin_without_guest(env);
	map_and_unmap(env);
}

CASE(by_ioctl_of_version_1)
{
	vm_create(&env->vm, 16 << 20);
	vfio_open_group_v1(&env->dev);
	vfio_enable_v1(&env->dev);
	map_and_unmap(env);
}

/* The device has used an entry */
static void begin_used(struct env *env)
{
	begin_without_guest(env);
	take_sign(env);
	expect(env, !vfio_map(&env->dev, 0, env->vm.mem + DATA, PAGE));
	expect(env, reaches(env, 1, DATA));
}

CASE(window_goes)
{
	begin_used(env);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	expect(env, !reaches(env, 1, DATA));
	expect(env, released(env));
}

CASE(window_comes_anew)
{
	begin_used(env);
	vfio_create_window(&env->dev, SHIFT, WINDOW);
	expect(env, !reaches(env, 1, DATA));
	expect(env, released(env));
}

/* The next one's window is where the one before had its own */
CASE(vmm_comes_anew)
{
	__u8 *before;

	begin_used(env);
	before = env->vm.mem + DATA;
	close(env->dev.device);
	close(env->dev.container);
	close(env->dev.group);
	begin_without_guest(env);
	vfio_open_device(&env->dev);
	expect(env, !edu_reaches(&env->dev, 0, before));
	expect(env, !vfio_map(&env->dev, 0, env->vm.mem + DATA, PAGE));
	expect(env, reaches(env, 1, DATA));
}

int main(void)
{
	return run_cases();
}

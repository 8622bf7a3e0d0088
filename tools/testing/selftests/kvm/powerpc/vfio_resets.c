// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device is reset when its file is opened, when it is closed, and upon
 * VFIO_DEVICE_RESET: what the guest has mapped stays mapped.  As a reset takes firmware
 * seconds, other tests run faster with the device's reset methods turned off, of which
 * VFIO then tells.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <linux/vfio.h>

#include "cases.h"

static bool can_be_reset(const struct env *env)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };

	ktap_need(!ioctl(env->dev.device, VFIO_DEVICE_GET_INFO, &info),
		  "VFIO_DEVICE_GET_INFO");
	return info.flags & VFIO_DEVICE_FLAGS_RESET;
}

static int reset(const struct env *env)
{
	return ioctl(env->dev.device, VFIO_DEVICE_RESET) ? -errno : 0;
}

/* A guest has a page mapped; resets are on */
static void begin_with_resets(struct env *env)
{
	if (!vfio_resets(&env->dev, true))
		case_skip("this kernel has no way to reset the device");
	begin(env);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	vfio_open_device(&env->dev);
	expect(env, can_be_reset(env));
}

/* Nothing is lost, or held for ever, of what was counted */
static void expect_released(struct env *env)
{
	expect(env, stuff(env, 0, 0, 1) == H_SUCCESS);
	expect(env, released(env));
}

/* The device copies from the guest's first page to another, mapped just now */
static void expect_translations(struct env *env)
{
	__u8 *page = env->vm.mem + DATA;

	vfio_enable_dma(&env->dev);
	expect(env, put(env, PAGE, (DATA + PAGE) | RW) == H_SUCCESS);
	expect(env, edu_copies_page(&env->dev, 0, page));

	/* What the guest clears, the device cannot write */
	expect(env, stuff(env, PAGE, 0, 1) == H_SUCCESS);
	memset(page + PAGE, 0, PAGE);
	edu_write(&env->dev, PAGE, PAGE);
	expect(env, !page[PAGE]);
}

CASE(opened_and_closed)
{
	unsigned int i;

	begin_with_resets(env);
	for (i = 0; i < 2; i++) {
		expect_translations(env);
		close(env->dev.device);
		vfio_open_device(&env->dev);
	}
	expect_translations(env);
	expect_released(env);
}

CASE(asked_for)
{
	begin_with_resets(env);
	expect_translations(env);
	expect(env, reset(env) == 0);
	expect_translations(env);
	expect_released(env);
}

/* User space maps and unmaps the second page meanwhile, the guest's being mapped */
CASE(asked_for_while_others_map)
{
	pthread_t thread;

	begin_with_resets(env);
	expect(env, stuff(env, 0, 0, 1) == H_SUCCESS);
	pthread_create(&thread, NULL, map_by_ioctl, env);
	expect(env, reset(env) == 0);
	close(env->dev.device);
	vfio_open_device(&env->dev);
	stop_thread(env, thread);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect_translations(env);
	expect_released(env);
}

/* What the other tests run with */
CASE(turned_off)
{
	begin_with_resets(env);
	close(env->dev.device);
	expect(env, vfio_resets(&env->dev, false));
	vfio_open_device(&env->dev);
	expect(env, !can_be_reset(env));
	expect(env, reset(env) == -EINVAL);
	expect_translations(env);
	expect(env, vfio_resets(&env->dev, true));
	expect_released(env);
}

int main(void)
{
	return run_cases();
}

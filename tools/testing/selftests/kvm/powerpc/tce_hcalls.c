// SPDX-License-Identifier: GPL-2.0-only
/*
 * The TCE hypercalls and what surrounds them: answers at the edges, what is left
 * behind when a call fails, and defects that the handlers had.  A case is named
 * after the defect that it shows the absence of.
 *
 * That nothing leads to memory any more is seen by unregistering it: that
 * succeeds only when the kernel counts no translation.
 */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <linux/vfio.h>

#include "cases.h"

static void put_and_get(struct env *env)
{
	begin(env);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, get(env, 0) == (DATA | RW));
	expect(env, put(env, LAST, DATA | TCE_READ) == H_SUCCESS);
	expect(env, get(env, LAST) == (DATA | TCE_READ));
	expect(env, get(env, PAGE) == 0);
	expect(env, put(env, WINDOW, DATA | RW) == H_PARAMETER);
	expect(env, put(env, 0x800, DATA | RW) == H_PARAMETER);
	expect(env, put(env, ~0xfffUL, DATA | RW) == H_PARAMETER);
	expect(env, env->vm.user_exits == 0);
	expect(env, unregister(env) == -EBUSY);
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, put(env, LAST, 0x5000) == H_SUCCESS);
	expect(env, get(env, LAST) == 0x5000);
	expect(env, unregister(env) == 0);
}

static void indirect_lists(struct env *env)
{
	begin(env);
	fill_list(env, RW);
	expect(env, indirect(env, 0, LIST, 0) == H_SUCCESS);
	expect(env, get(env, 0) == 0);
	expect(env, indirect(env, 0, LIST, 1) == H_SUCCESS);
	expect(env, get(env, PAGE) == 0);
	expect(env, indirect(env, PAGE, LIST, 512) == H_SUCCESS);
	expect(env, get(env, 512 * PAGE) == ((DATA + 511 * PAGE) | RW));
	expect(env, indirect(env, PAGE, LIST, 512) == H_SUCCESS);
	expect(env, indirect(env, 0, LIST, 513) == H_PARAMETER);
	expect(env, indirect(env, 0, LIST, 1UL << 60) == H_PARAMETER);
	expect(env, indirect(env, 0, LIST + 8, 1) == H_PARAMETER);
	expect(env, env->vm.user_exits == 0);
	expect(env, indirect(env, 0, HOLE, 1) == FROM_USER);
	expect(env, unregister(env) == -EBUSY);
	expect(env, stuff(env, 0, 0, 513) == H_SUCCESS);
	expect(env, unregister(env) == 0);
}

static void stuff_runs(struct env *env)
{
	begin(env);
	fill_list(env, RW);
	expect(env, indirect(env, 0, LIST, 512) == H_SUCCESS);
	expect(env, indirect(env, LAST - 511 * PAGE, LIST, 512) == H_SUCCESS);
	expect(env, stuff(env, 0, RW, 1) == H_PARAMETER);
	expect(env, stuff(env, 0, 0, 0) == H_SUCCESS);
	expect(env, get(env, 0) == (DATA | RW));
	expect(env, stuff(env, 0, 0x7000, 2) == H_SUCCESS);
	expect(env, get(env, PAGE) == 0x7000);
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, get(env, PAGE) == 0);
	expect(env, get(env, LAST) == 0);
	expect(env, env->vm.user_exits == 0);
	expect(env, unregister(env) == 0);
}

static void unknown_liobn(struct env *env)
{
	const long user = FROM_USER;

	begin(env);
	expect(env, vm_hypercall(&env->vm, &user, H_PUT_TCE, LIOBN + 1, 0,
				 DATA | RW, 0) == FROM_USER);
}

static void bad_memory(struct env *env)
{
	begin(env);
	vm_add_memory(&env->vm, 1, HOLE + (1 << 20), 1 << 20);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	/* In no memslot, and in one that is not registered */
	expect(env, put(env, 0, HOLE | RW) == FROM_USER);
	expect(env, put(env, 0, (HOLE + (1 << 20)) | RW) == FROM_USER);
	/* Not the address of a page */
	expect(env, put(env, 0, (DATA + 0x10) | RW) == FROM_USER);
	expect(env, get(env, 0) == (DATA | RW));
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, unregister(env) == 0);
}

static void list_fails_half_way(struct env *env)
{
	begin(env);
	fill_list(env, RW);
	set_list(env, 5, HOLE | RW);
	expect(env, indirect(env, 0, LIST, 10) == FROM_USER);
	expect(env, get(env, 4 * PAGE) == ((DATA + 4 * PAGE) | RW));
	expect(env, get(env, 5 * PAGE) == 0);
	expect(env, get(env, 6 * PAGE) == 0);
	expect(env, stuff(env, 0, 0, 5) == H_SUCCESS);
	expect(env, unregister(env) == 0);
}

/* Hardware, user and count of an entry changed in separate steps */
static void *map_forever(void *arg)
{
	struct env *env = arg;
	unsigned int i;

	for (i = 0; i < 3000; i++) {
		vfio_map(&env->dev, 0, env->vm.mem + DATA, 0x10000);
		vfio_unmap(&env->dev, 0, 0x10000);
	}
	return NULL;
}

static void d1_ioctl_races_with_hypercall(struct env *env)
{
	pthread_t thread;
	unsigned int i;

	begin(env);
	fill_list(env, RW);
	pthread_create(&thread, NULL, map_forever, env);
	for (i = 0; i < 2000; i++) {
		expect(env, indirect(env, 0, LIST, 16) == H_SUCCESS);
		expect(env, stuff(env, 0, 0, 16) == H_SUCCESS);
	}
	pthread_join(thread, NULL);

	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, unregister(env) == -EBUSY);
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, vfio_unmap(&env->dev, 0, 0x10000) == 0);
	expect(env, unregister(env) == 0);
}

static void d2_d3_count_past_the_end(struct env *env)
{
	begin(env);
	fill_list(env, RW);
	expect(env, indirect(env, LAST, LIST, 2) == H_PARAMETER);
	expect(env, stuff(env, LAST, 0, 2) == H_PARAMETER);
	expect(env, stuff(env, 0, 0, 1UL << 32) == H_PARAMETER);
	expect(env, stuff(env, PAGE, 0, ~0UL) == H_PARAMETER);
	expect(env, get(env, LAST) == 0);
	expect(env, unregister(env) == 0);
}

static void d4_list_without_permissions(struct env *env)
{
	begin(env);
	fill_list(env, RW);
	expect(env, indirect(env, 0, LIST, 512) == H_SUCCESS);
	fill_list(env, 0);
	expect(env, indirect(env, 0, LIST, 512) == H_SUCCESS);
	expect(env, get(env, 0) == DATA);
	expect(env, unregister(env) == 0);
}

/* A guest page of 128K is 32 pages of the table; of one, half is registered */
static void d5_large_guest_pages(struct env *env)
{
	__u8 *more;

	prepare(env, 17);
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");
	more = vm_add_memory(&env->vm, 1, HOLE, 1 << 20);
	vfio_register(&env->dev, more, 0x10000);

	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, get(env, 0) == (DATA | RW));
	expect(env, put(env, 0x20000, HOLE | RW) == FROM_USER);
	expect(env, get(env, 0x20000) == 0);
	expect(env, vfio_unregister(&env->dev, more, 0x10000) == 0);
	set_list(env, 0, (DATA + 0x20000) | RW);
	set_list(env, 1, (DATA + 0x40000) | RW);
	expect(env, indirect(env, 0, LIST, 2) == H_SUCCESS);
	expect(env, get(env, 0x20000) == ((DATA + 0x40000) | RW));
	expect(env, unregister(env) == -EBUSY);
	expect(env, stuff(env, 0, 0, WINDOW >> 17) == H_SUCCESS);
	expect(env, unregister(env) == 0);
}

static void d7_group_without_container(struct env *env)
{
	int container;

	prepare(env, SHIFT);
	container = env->dev.container;
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	expect(env, !ioctl(env->dev.group, VFIO_GROUP_UNSET_CONTAINER));
	expect(env, vm_group_add(&env->vm, &env->dev) == 0);
	expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == -EINVAL);
	close(container);
}

static void d8_bound_twice_released_once(struct env *env)
{
	begin(env);
	expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == 0);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	/* Answered from the shadow; the group's table is left alone */
	put(env, 0, DATA | RW);
	expect(env, unregister(env) == 0);
}

static void d9_window_removed_while_bound(struct env *env)
{
	unsigned int i;

	begin(env);
	for (i = 0; i < 100; i++) {
		expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
		vfio_create_window(&env->dev, SHIFT, WINDOW);
		/* No table behind the LIOBN: it is up to user space */
		expect(env, put(env, 0, DATA | RW) == FROM_USER);
		expect(env, unregister(env) == 0);
		vfio_register(&env->dev, env->vm.mem, env->vm.size);

		close(env->tablefd);
		env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
		expect(env, !vm_bind(&env->vm, &env->dev, env->tablefd));
	}
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, unregister(env) == -EBUSY);
}

static void *close_table(void *arg)
{
	struct env *env = arg;

	close(env->tablefd);
	return NULL;
}

static void d10_group_del_races_with_close(struct env *env)
{
	pthread_t thread;
	unsigned int i;

	begin(env);
	for (i = 0; i < 50; i++) {
		pthread_create(&thread, NULL, close_table, env);
		expect(env, vm_group_del(&env->vm, &env->dev) == 0);
		pthread_join(thread, NULL);

		expect(env, vm_group_add(&env->vm, &env->dev) == 0);
		env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
		expect(env, !vm_bind(&env->vm, &env->dev, env->tablefd));
	}
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, unregister(env) == 0);
}

static void d11_close_under_a_hypercall(struct env *env)
{
	pthread_t thread;
	unsigned int i, j;

	begin(env);
	fill_list(env, RW);
	for (i = 0; i < 50; i++) {
		pthread_create(&thread, NULL, close_table, env);
		for (j = 0; j < 20; j++)
			indirect(env, 0, LIST, 512);
		pthread_join(thread, NULL);
		env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
		expect(env, !vm_bind(&env->vm, &env->dev, env->tablefd));
	}
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, unregister(env) == 0);
}

/* The kernel's log would have a warning */
static void d12_add_and_del_without_bind(struct env *env)
{
	prepare(env, SHIFT);
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	expect(env, vm_group_add(&env->vm, &env->dev) == 0);
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	expect(env, vm_group_del(&env->vm, &env->dev) == -ENOENT);
}

static void d13_unregister_mapped_memory(struct env *env)
{
	begin(env);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, unregister(env) == -EBUSY);
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, unregister(env) == 0);
	expect(env, unregister(env) == -ENOENT);
}

/* A map that reaches past the window's end */
static void ioctl_past_the_window(struct env *env)
{
	begin(env);
	expect(env, vfio_map(&env->dev, LAST, env->vm.mem, 0x10000) == -EINVAL);
	expect(env, vfio_map(&env->dev, WINDOW, env->vm.mem, PAGE) == -ENXIO);
	expect(env, vfio_unmap(&env->dev, LAST, 0x10000) == -EINVAL);
	expect(env, unregister(env) == 0);
}

static const struct test_case cases[] = {
	CASE(put_and_get),
	CASE(indirect_lists),
	CASE(stuff_runs),
	CASE(unknown_liobn),
	CASE(bad_memory),
	CASE(list_fails_half_way),
	CASE(d1_ioctl_races_with_hypercall),
	CASE(d2_d3_count_past_the_end),
	CASE(d4_list_without_permissions),
	CASE(d5_large_guest_pages),
	CASE(d7_group_without_container),
	CASE(d8_bound_twice_released_once),
	CASE(d9_window_removed_while_bound),
	CASE(d10_group_del_races_with_close),
	CASE(d11_close_under_a_hypercall),
	CASE(d12_add_and_del_without_bind),
	CASE(d13_unregister_mapped_memory),
	CASE(ioctl_past_the_window),
};

int main(void)
{
	return run_cases(cases, ARRAY_SIZE(cases));
}

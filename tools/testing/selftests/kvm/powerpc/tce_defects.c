// SPDX-License-Identifier: GPL-2.0-only
/*
 * Defects that TCEs in KVM and VFIO had.  A case is named after the one that it
 * shows the absence of, and fails on a kernel that has it.  d1 to d13 are of Linux
 * 6.12, p1 to p7 of earlier ones.  p4 was a message printed with the MMU off, which no
 * test can see.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>

#include "cases.h"

/* Maps and clears the first entries on the CPU of the guest that @arg has */
static void *map_and_clear(void *arg)
{
	struct env *env = arg;
	unsigned int i;

	for (i = 0; i < 5000; i++) {
		put(env, (i % 4) * PAGE, DATA | RW);
		indirect(env, 0, LIST, 4);
		stuff(env, 0, 0, 4);
	}
	return NULL;
}

/* Hardware word, user word and count of an entry were changed in steps */
CASE(d1_two_cpus_change_an_entry)
{
	struct env other;
	pthread_t thread;

	begin(env);
	fill_list(env, RW);
	other = *env;
	vm_add_vcpu(&env->vm, 1, &other.vm);
	pthread_create(&thread, NULL, map_and_clear, &other);
	map_and_clear(env);
	pthread_join(thread, NULL);

	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, released(env));
}

CASE(d1_ioctl_races_with_hypercall)
{
	pthread_t thread;
	unsigned int i;

	begin(env);
	fill_list(env, RW);
	pthread_create(&thread, NULL, map_by_ioctl, env);
	for (i = 0; i < 2000; i++) {
		expect(env, indirect(env, 0, LIST, 16) == H_SUCCESS);
		expect(env, stuff(env, 0, 0, 16) == H_SUCCESS);
	}
	stop_thread(env, thread);

	expect(env, vfio_unmap(&env->dev, 0, 0x10000) == 0);
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, released(env));
}

/* Fixed in 6.12.117: there the case fails only with that fix taken out */
CASE(d2_count_past_the_window)
{
	begin(env);
	fill_list(env, RW);
	expect(env, indirect(env, LAST, LIST, 2) == H_PARAMETER);
	expect(env, stuff(env, LAST, 0, 2) == H_PARAMETER);
	expect(env, get(env, LAST) == 0);
	expect(env, released(env));
}

CASE(d3_count_of_four_thousand_million)
{
	begin(env);
	expect(env, stuff(env, PAGE, 0, ~0UL) == H_PARAMETER);
	expect(env, stuff(env, 0, 0, 1UL << 32) == H_PARAMETER);
	expect(env, released(env));
}

CASE(d4_list_without_permissions)
{
	begin(env);
	fill_list(env, 0);
	expect(env, indirect(env, 0, LIST, 512) == H_SUCCESS);
	expect(env, get(env, 0) == DATA);
	fill_list(env, RW);
	expect(env, indirect(env, 0, LIST, 512) == H_SUCCESS);
	fill_list(env, 0);
	expect(env, indirect(env, 0, LIST, 512) == H_SUCCESS);
	expect(env, get(env, PAGE) == DATA + PAGE);
	expect(env, stuff(env, 0, 0, 512) == H_SUCCESS);
	expect(env, released(env));
}

/*
 * A page of the guest's is 128K, which is 32 entries of the table, and one at HOLE is
 * registered by half; returns its memory
 */
static __u8 *begin_half_registered(struct env *env)
{
	__u8 *more;

	begin_with_pages(env, 17);
	more = vm_add_memory(&env->vm, 1, HOLE, 1 << 20);
	vfio_register(&env->dev, more, 0x10000);
	return more;
}

/* Half of the page may be installed */
CASE(d5_guest_page_half_registered)
{
	__u8 *more = begin_half_registered(env);

	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, put(env, 0x20000, HOLE | RW) == FROM_USER);
	expect(env, get(env, 0x20000) == 0);
	expect(env, released_range(env, more, 0x10000));
	set_list(env, 0, (DATA + 0x20000) | RW);
	set_list(env, 1, (DATA + 0x40000) | RW);
	expect(env, indirect(env, 0, LIST, 2) == H_SUCCESS);
	expect(env, get(env, 0x20000) == ((DATA + 0x40000) | RW));
	expect(env, stuff(env, 0, 0, WINDOW >> 17) == H_SUCCESS);
	expect(env, released(env));
}

/* Not every answer may be H_SUCCESS, and one that is must be the truth */
CASE(d6_no_memory_for_the_view)
{
	unsigned int i, refused = 0;
	long ret;

	begin(env);
	for (i = 1; i <= 8; i++) {
		const __u64 bus = i * (PAGE << 13);

		/* The first one may be another's, on the way there */
		fail_nth(1 + i % 2);
		ret = put(env, bus, DATA | RW);
		fail_nth(0);
		expect(env, get(env, bus) ==
		       (ret == H_SUCCESS ? (DATA | RW) : 0));
		refused += ret != H_SUCCESS;
	}
	expect(env, refused);
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, released(env));
}

/* The guest had the host's own table then, if its LIOBN has the same shape */
CASE(d7_group_without_container)
{
	unsigned int shift, page_shift;
	int container, tablefd;

	prepare(env, SHIFT);
	container = env->dev.container;
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	expect(env, vfio_leave(&env->dev) == 0);
	expect(env, vm_group_add(&env->vm, &env->dev) == 0);
	for (page_shift = 12; page_shift <= 16; page_shift += 4) {
		for (shift = 28; shift <= 33; shift++) {
			tablefd = vm_create_liobn(&env->vm, LIOBN + 1,
						  page_shift,
						  1UL << (shift - page_shift));
			expect(env, vm_bind(&env->vm, &env->dev, tablefd) ==
			       -EINVAL);
			close(tablefd);
		}
	}
	close(container);
}

CASE(d8_bound_twice_released_once)
{
	begin(env);
	expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == 0);
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	/* Changes the guest's view; the group's table is left alone */
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, released(env));
}

CASE(d9_container_unset_while_bound)
{
	begin(env);
	expect(env, vfio_leave(&env->dev) == -EBUSY);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, unregister(env) == -EBUSY);
}

CASE(d9_window_removed_while_bound)
{
	unsigned int i;

	begin(env);
	for (i = 0; i < 100; i++) {
		expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
		vfio_create_window(&env->dev, SHIFT, WINDOW);
		/* No table behind the LIOBN: it is up to user space */
		expect(env, put(env, 0, DATA | RW) == FROM_USER);
		expect(env, released(env));
		vfio_register(&env->dev, env->vm.mem, env->vm.size);
		renew_liobn(env);
	}
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, unregister(env) == -EBUSY);
}

/* LIOBNs of one group, made and bound so that the kernel lists the last first */
#define LIOBNS	3

struct closing {
	struct env *env;
	atomic_uint ready;
	int tables[LIOBNS];
};

/* Returns in two threads at the same moment, and in this one @late loops later */
static void meet(struct closing *closing, unsigned int cpu, unsigned int late)
{
	unsigned int i;

	run_on_cpu(cpu);
	atomic_fetch_add(&closing->ready, 1);
	while (atomic_load(&closing->ready) < 2)
		;
	for (i = 0; i < late; i++)
		atomic_load(&closing->ready);
}

static void bind_many(struct closing *closing)
{
	struct env *env = closing->env;
	unsigned int i;

	for (i = 0; i < LIOBNS; i++) {
		closing->tables[i] = vm_create_liobn(&env->vm, LIOBN + i, SHIFT,
						     ENTRIES);
		expect(env, !vm_bind(&env->vm, &env->dev, closing->tables[i]));
	}
}

static void *close_many(void *arg)
{
	struct closing *closing = arg;
	unsigned int i;

	meet(closing, 1, 0);
	for (i = LIOBNS; i--; )
		close(closing->tables[i]);
	return NULL;
}

CASE(d10_group_del_races_with_close)
{
	struct closing closing = { .env = env };
	pthread_t thread;
	unsigned int i;

	prepare(env, SHIFT);
	close(env->tablefd);
	for (i = 0; i < 1000; i++) {
		bind_many(&closing);
		atomic_store(&closing.ready, 0);
		pthread_create(&thread, NULL, close_many, &closing);
		meet(&closing, 0, i % 200 * 2);
		expect(env, vm_group_del(&env->vm, &env->dev) == 0);
		pthread_join(thread, NULL);
		expect(env, vm_group_add(&env->vm, &env->dev) == 0);
	}
	env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
	expect(env, !vm_bind(&env->vm, &env->dev, env->tablefd));
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, released(env));
}

/* Guest memory whose pages come when user space says so */
static int memory_on_demand(struct env *env, __u64 gpa, __u8 **mem)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	ktap_need(fd >= 0 && !ioctl(fd, UFFDIO_API, &api), "userfaultfd");
	*mem = vm_add_memory(&env->vm, 1, gpa, 1 << 16);
	range.range.start = (uintptr_t)*mem;
	range.range.len = 1 << 16;
	ktap_need(!ioctl(fd, UFFDIO_REGISTER, &range), "UFFDIO_REGISTER");
	return fd;
}

struct late_page {
	int fd;
	__u8 *to;
	__u64 *from;
};

static void *bring_page_late(void *arg)
{
	struct late_page *late = arg;
	struct uffdio_copy copy = {
		.dst = (uintptr_t)late->to,
		.src = (uintptr_t)late->from,
		.len = 1 << 16,
	};

	sleep(2);
	ktap_need(!ioctl(late->fd, UFFDIO_COPY, &copy), "UFFDIO_COPY");
	return NULL;
}

static void *read_list(void *arg)
{
	struct env *env = arg;

	run_on_cpu(1);
	indirect(env, 0, HOLE, 512);
	return NULL;
}

/*
 * The LIOBN is closed while a hypercall waits for the page with its list, and its
 * memory may become that of another LIOBN before the hypercall goes on: on the CPU
 * where it was freed, it is handed out again before long.
 */
CASE(d11_close_under_a_hypercall)
{
	const unsigned int others = 256;
	struct late_page late;
	struct pollfd event = { .events = POLLIN };
	pthread_t caller, bringer;
	unsigned int i;
	void *list = new_memory(1 << 16);

	run_on_cpu(0);
	vm_create(&env->vm, 16 << 20);
	env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
	fill_list(env, RW);
	memcpy(list, env->vm.mem + LIST, PAGE);
	late.from = list;
	late.fd = memory_on_demand(env, HOLE, &late.to);
	event.fd = late.fd;

	pthread_create(&caller, NULL, read_list, env);
	ktap_need(poll(&event, 1, -1) == 1 &&
		  event.revents == POLLIN, "waiting for the list's page");
	pthread_create(&bringer, NULL, bring_page_late, &late);
	close(env->tablefd);
	usleep(500000);
	for (i = 1; i <= others; i++)
		vm_create_liobn(&env->vm, LIOBN + i, SHIFT, ENTRIES);
	pthread_join(bringer, NULL);
	pthread_join(caller, NULL);
	for (i = 1; i <= others; i++)
		expect(env, !hcall_of(env, LIOBN + i, H_GET_TCE, PAGE, 0, 0) &&
		       !env->vm.value);
}

/* The kernel's log would have a warning */
CASE(d12_add_and_del_without_bind)
{
	prepare(env, SHIFT);
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	expect(env, vm_group_add(&env->vm, &env->dev) == 0);
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	expect(env, vm_group_del(&env->vm, &env->dev) == -ENOENT);
}

CASE(d13_unregister_mapped_memory)
{
	begin(env);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, unregister(env) == -EBUSY);
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, released(env));
	expect(env, unregister(env) == -ENOENT);
}

static void *bind_table(void *arg)
{
	struct closing *closing = arg;
	struct env *env = closing->env;

	meet(closing, 1, 0);
	vm_bind(&env->vm, &env->dev, env->tablefd);
	return NULL;
}

/* The table's file went away between looking it up and using it */
CASE(p1_liobn_closed_while_it_is_bound)
{
	struct closing closing = { .env = env };
	pthread_t thread;
	unsigned int i;

	prepare(env, SHIFT);
	for (i = 0; i < 200; i++) {
		atomic_store(&closing.ready, 0);
		pthread_create(&thread, NULL, bind_table, &closing);
		meet(&closing, 0, i);
		close(env->tablefd);
		pthread_join(thread, NULL);
		env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
	}
	expect(env, !vm_bind(&env->vm, &env->dev, env->tablefd));
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, released(env));
}

/* What was cleared for an entry that had failed, was the table's of that number */
CASE(p2_indices_of_guest_and_table_mixed)
{
	__u8 *mem;

	begin_half_registered(env);
	vfio_open_device(&env->dev);
	mem = env->vm.mem + DATA;
	memset(mem + 5 * PAGE, 0x55, PAGE);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, put(env, 5 << 17, HOLE | RW) == FROM_USER);
	edu_copy(&env->dev, 5 * PAGE, 8 * PAGE, PAGE);
	expect(env, mem[8 * PAGE] == 0x55);
	expect(env, stuff(env, 0, 0, WINDOW >> 17) == H_SUCCESS);
	expect(env, released(env));
}

/* Nothing of an indirect table's lower levels is there yet */
CASE(p3_clear_of_what_was_never_mapped)
{
	begin_two_levels(env);
	expect(env, put(env, LAST, 0) == H_SUCCESS);
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, vfio_unmap(&env->dev, 0, WINDOW) == 0);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	expect(env, released(env));
}

/* As much as the table itself takes */
CASE(p5_view_of_a_table_leaked)
{
	const unsigned int times = 64;
	const long leak = times * (ENTRIES * sizeof(__u64) >> 10);
	long before, after;
	unsigned int i;

	prepare(env, SHIFT);
	before = proc_kib("/proc/meminfo", "MemAvailable");
	for (i = 0; i < times; i++)
		vfio_create_window(&env->dev, SHIFT, WINDOW);
	after = proc_kib("/proc/meminfo", "MemAvailable");
	ktap_say("  %ld KiB less memory available", before - after);
	expect(env, before - after < leak / 4);
}

/* A warning came of it */
CASE(p6_liobn_of_a_huge_size)
{
	struct kvm_create_spapr_tce_64 args = {
		.liobn = LIOBN,
		.page_shift = SHIFT,
	};
	unsigned int shift;

	vm_create(&env->vm, 1 << 20);
	for (shift = 38; shift < 64; shift++) {
		args.size = 1UL << shift;
		expect(env, ioctl(env->vm.fd, KVM_CREATE_SPAPR_TCE_64, &args) < 0);
		expect(env, errno == EINVAL || errno == ENOMEM);
	}
}

/* A guest that is rebooted has its LIOBN closed and created again */
CASE(p7_liobn_made_again)
{
	unsigned int i;

	begin(env);
	for (i = 0; i < 50; i++) {
		renew_liobn(env);
		expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	}
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, released(env));
}

/*
 * A list that clears the first entry of a page of the guest's view that is not there,
 * and maps the following ones: that takes the page, and once it was NULL
 */
CASE(list_maps_after_clearing_where_no_view_is)
{
	const unsigned int per_page = getpagesize() / 8;
	const __u64 first = (per_page - 1) * PAGE;
	unsigned int i;

	begin(env);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	for (i = 0; i < 10; i++)
		set_list(env, i, i == 1 ? 0 : (DATA + i * PAGE) | RW);
	expect(env, indirect(env, first, LIST, 10) == H_SUCCESS);
	for (i = 0; i < 10; i++)
		expect(env, get(env, first + i * PAGE) ==
		       (i == 1 ? 0 : (DATA + i * PAGE) | RW));
	expect(env, unregister(env) == -EBUSY);
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, released(env));
}

/* LIOBNs whose numbers are chosen so that one of them is searched for long */
CASE(liobns_that_share_a_bucket)
{
	unsigned int i, made = 0;

	prepare_vm(env, 16 << 20);
	for (i = 1; i <= 200; i++) {
		struct kvm_create_spapr_tce_64 args = {
			.liobn = (__u64)i << 16, .page_shift = SHIFT, .size = 512,
		};
		int fd = ioctl(env->vm.fd, KVM_CREATE_SPAPR_TCE_64, &args);

		made += fd >= 0;
		expect(env, fd >= 0 || errno == ENOSPC);
	}
	ktap_say("  %u LIOBNs", made);
	expect(env, made >= 64 && made < 200);
}

int main(void)
{
	return run_cases_on_tiers();
}

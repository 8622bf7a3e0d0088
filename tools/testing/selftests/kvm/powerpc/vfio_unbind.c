// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's administrator takes a device from a running VM, and gives it back or
 * removes it: the VM's old file is dead, a new one works, and neither disturbs the
 * other, in whatever order they are added, bound, deleted and closed.  And nothing
 * that user space does, or does not do, keeps the administrator waiting.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/userfaultfd.h>
#include <linux/vfio.h>

#include "cases.h"

#define PCI	"/sys/bus/pci"

/* Seconds that an administrator may wait for what depends on nobody's good will */
#define PATIENCE	30

static bool is_there(const struct vfio_dev *dev)
{
	char path[64];

	snprintf(path, sizeof(path), PCI "/drivers/vfio-pci/%s", dev->bdf);
	return !access(path, F_OK);
}

static bool driver_unbind(const struct vfio_dev *dev)
{
	return write_file(PCI "/drivers/vfio-pci/unbind", dev->bdf);
}

static bool driver_bind(const struct vfio_dev *dev)
{
	return write_file(PCI "/drivers/vfio-pci/bind", dev->bdf);
}

static bool take_away(const struct vfio_dev *dev)
{
	char path[64];

	snprintf(path, sizeof(path), PCI "/devices/%s/remove", dev->bdf);
	return write_file(path, "1");
}

/* The driver knows the device, and takes it when it comes back */
static bool bring_back(const struct vfio_dev *dev)
{
	return write_file(PCI "/rescan", "1") && (is_there(dev) || driver_bind(dev));
}

/* An earlier case may have ended half way; a device that came back is a new one */
static void find_device(struct env *env)
{
	char bdf[sizeof(env->dev.bdf)];

	memcpy(bdf, env->dev.bdf, sizeof(bdf));
	if (!is_there(&env->dev))
		bring_back(&env->dev);
	vfio_find(&env->dev, EDU_VENDOR, EDU_DEVICE);
	ktap_need(!strcmp(bdf, env->dev.bdf), "finding %s again", bdf);
}

/* A group file whose group is gone: nothing can be had by it, nor changed */
static void expect_dead(struct env *env, struct vfio_dev *old)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);

	expect(env, ioctl(old->group, VFIO_GROUP_GET_STATUS, &status) &&
	       errno == ENODEV);
	expect(env, vfio_join(old, container) == -ENODEV);
	expect(env, vfio_leave(old) == -EINVAL);
	expect(env, ioctl(old->group, VFIO_GROUP_GET_DEVICE_FD, old->bdf) < 0 &&
	       errno == ENODEV);
	expect(env, vfio_try_register(old, env->vm.mem, env->vm.size) == -EINVAL);
	expect(env, vm_bind_fds(&env->vm, old->group, env->tablefd) == -EINVAL);
	close(container);
}

/* An entry of the guest is in the device's table exactly if it keeps the memory */
static bool reaches_table(struct env *env)
{
	bool reaches;

	expect(env, put(env, PAGE, DATA | RW) == H_SUCCESS);
	reaches = unregister(env) == -EBUSY;
	expect(env, put(env, PAGE, 0) == H_SUCCESS);
	if (!reaches)
		vfio_register(&env->dev, env->vm.mem, env->vm.size);
	return reaches;
}

/* No more than that is locked any more, nor less */
static void expect_locked(struct env *env, long locked)
{
	wait_for_locked(locked);
	expect(env, locked_kib() == locked);
}

/*
 * The order of what happens to the old file and to the new one
 */

enum leaves { UNBOUND, REMOVED };
enum had { ADDED, BOUND, MAPPED };
enum ends { BEFORE_ADD, BEFORE_BIND, AFTER_BIND, AFTER_DEL, WITH_ALL, FORGOTTEN };

static const char * const leaves_names[] = { "unbound", "removed" };
static const char * const had_names[] = { "added", "bound", "mapped" };
static const char * const ends_names[] = {
	"before the new one is added", "before it is bound", "after that",
	"after it is deleted", "with the VFIO device", "by closing all else first",
};

static void come_back(struct env *env, enum leaves leaves)
{
	const struct vfio_dev *dev = &env->dev;

	if (leaves == UNBOUND)
		ktap_need(driver_unbind(dev) && driver_bind(dev), "binding %s anew", dev->bdf);
	else
		ktap_need(take_away(dev) && bring_back(dev), "finding %s anew",
			  dev->bdf);
	find_device(env);
}

static void end_old(struct env *env, const struct vfio_dev *old, enum ends now,
		    enum ends when)
{
	if (now == when)
		expect(env, vm_del_fd(&env->vm, old->group) == 0);
}

static void in_this_order(struct env *env, enum leaves leaves, enum had had,
			  enum ends ends)
{
	struct vfio_dev old;

	prepare(env, SHIFT);
	if (had >= BOUND)
		expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == 0);
	if (had >= MAPPED)
		expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, group_is_pinned(env->dev.id));
	old = env->dev;
	come_back(env, leaves);
	expect(env, !group_is_pinned(old.id));
	expect_dead(env, &old);

	end_old(env, &old, BEFORE_ADD, ends);
	open_with_window(env, &env->dev);
	expect(env, vm_add_fd(&env->vm, env->dev.group) == 0);
	expect(env, group_is_pinned(env->dev.id));
	end_old(env, &old, BEFORE_BIND, ends);
	expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == 0);
	expect(env, reaches_table(env));
	end_old(env, &old, AFTER_BIND, ends);
	expect(env, reaches_table(env));
	expect(env, group_is_pinned(env->dev.id));
	if (ends == FORGOTTEN) {
		close(old.container);
		close(old.group);
		expect(env, reaches_table(env));
	}
	if (ends != WITH_ALL) {
		expect(env, vm_del_fd(&env->vm, env->dev.group) == 0);
		expect(env, !reaches_table(env));
		end_old(env, &old, AFTER_DEL, ends);
	}
	close(env->vm.vfio);
	expect(env, !group_is_pinned(env->dev.id));
	expect(env, vfio_leave(&env->dev) == 0);
}

/* Each in a process of its own, which gives all back by ending */
static void in_all_orders(struct env *env, enum leaves leaves)
{
	unsigned int had, ends;
	int status;
	pid_t pid;

	for (had = ADDED; had <= MAPPED; had++) {
		for (ends = BEFORE_ADD; ends <= FORGOTTEN; ends++) {
			find_device(env);
			fflush(stdout);
			pid = fork();
			if (!pid) {
				in_this_order(env, leaves, had, ends);
				fflush(stdout);
				_exit(env->failed);
			}
			waitpid(pid, &status, 0);
			if (!status)
				continue;
			ktap_say("  %s, %s, and deleted %s: exit status %x", had_names[had],
				 leaves_names[leaves], ends_names[ends], status);
			env->failed = true;
		}
	}
}

CASE_CALL(unbound_and_bound, in_all_orders, UNBOUND);
CASE_CALL(removed_and_found, in_all_orders, REMOVED);

/* What the device does by the new file's table, after the old one was deleted */
CASE(device_follows_the_new_file)
{
	__u8 *page;
	struct vfio_dev old;

	find_device(env);
	begin(env);
	page = env->vm.mem + DATA;
	old = env->dev;
	come_back(env, UNBOUND);
	bind_further(env, &env->dev);
	vfio_open_device(&env->dev);
	memset(page, 0x5a, PAGE);
	expect(env, put(env, 0x100000, DATA | RW) == H_SUCCESS);
	edu_read(&env->dev, 0x100000, PAGE);
	expect(env, vm_del_fd(&env->vm, old.group) == 0);

	/* The page moves for the device as it does for the guest, and goes */
	expect(env, put(env, 0x100000, (DATA + PAGE) | RW) == H_SUCCESS);
	edu_write(&env->dev, 0x100000, PAGE);
	expect(env, page[PAGE] == 0x5a);
	expect(env, put(env, 0x100000, 0) == H_SUCCESS);
	page[PAGE] = 0;
	edu_write(&env->dev, 0x100000, PAGE);
	expect(env, page[PAGE] == 0);
	expect(env, released(env));
}

/* The same file in two VMs, neither of which ends what is the other's */
CASE(dead_in_two_machines)
{
	struct env second = *env;
	struct vfio_dev old;

	find_device(env);
	begin(env);
	second.dev = env->dev;
	vm_create(&second.vm, 1 << 20);
	second.tablefd = vm_create_liobn(&second.vm, LIOBN, SHIFT, ENTRIES);
	expect(env, vm_add_fd(&second.vm, second.dev.group) == 0);
	expect(env, vm_bind(&second.vm, &second.dev, second.tablefd) == 0);

	/* One of them gone, the other one is in force, and keeps the pin */
	expect(env, vm_del_fd(&second.vm, second.dev.group) == 0);
	expect(env, reaches_table(env));
	expect(env, vfio_leave(&env->dev) == -EBUSY);
	expect(env, vm_add_fd(&second.vm, second.dev.group) == 0);

	old = env->dev;
	come_back(env, UNBOUND);
	bind_further(env, &env->dev);
	expect(env, vm_del_fd(&second.vm, old.group) == 0);
	expect(env, vm_del_fd(&env->vm, old.group) == 0);
	expect(env, reaches_table(env));
	expect(env, vfio_leave(&env->dev) == -EBUSY);
	expect(env, vm_del_fd(&env->vm, env->dev.group) == 0);
	expect(env, !reaches_table(env));
}

/*
 * Races
 */

struct binding {
	struct env *env;
	int group;
};

/* Until the group is gone for good */
static void *bind_old(void *arg)
{
	struct binding *binding = arg;
	struct vm *vm = &binding->env->vm;

	while (!atomic_load(&binding->env->stop))
		vm_bind_fds(vm, binding->group, binding->env->tablefd);
	return NULL;
}

/* The old file is bound while its device goes to a new one: which table is meant? */
CASE(binding_races_with_unbinding)
{
	struct binding binding = { .env = env };
	unsigned int round;
	struct vfio_dev old;
	pthread_t thread;

	find_device(env);
	prepare(env, SHIFT);
	for (round = 0; round < 20 && !env->failed; round++) {
		old = env->dev;
		binding.group = old.group;
		atomic_store(&env->stop, false);
		pthread_create(&thread, NULL, bind_old, &binding);
		usleep(1000 * (round % 5));
		come_back(env, UNBOUND);
		bind_further(env, &env->dev);
		stop_thread(env, thread);

		/* Only the new one has bound the table that is there now */
		expect(env, reaches_table(env));
		expect(env, vm_del_fd(&env->vm, env->dev.group) == 0);
		expect(env, !reaches_table(env));
		expect(env, vm_del_fd(&env->vm, old.group) == 0);
		close(old.container);
		close(old.group);
		expect(env, vm_add_fd(&env->vm, env->dev.group) == 0);
	}
}

static void *guest_maps(void *arg)
{
	struct env *env = arg;
	unsigned int i;

	for (i = 0; !atomic_load(&env->stop); i = (i + 1) % 64) {
		put(env, i * PAGE, (DATA + i * PAGE) | RW);
		indirect(env, 0, LIST, 64);
		stuff(env, 0, 0, 64);
	}
	return NULL;
}

/* The guest goes on, as it cannot know; all memory is free when the group is gone */
CASE(guest_goes_on)
{
	const long locked = (find_device(env), locked_kib());
	unsigned int round;
	pthread_t thread;

	begin(env);
	fill_list(env, RW);
	pthread_create(&thread, NULL, guest_maps, env);
	for (round = 0; round < 10; round++) {
		const struct vfio_dev old = env->dev;

		usleep(20000);
		come_back(env, round % 2 ? REMOVED : UNBOUND);
		wait_for_locked(locked + (env->vm.size >> 10) - 1);
		bind_further(env, &env->dev);
		expect(env, vm_del_fd(&env->vm, old.group) == 0);
		close(old.container);
		close(old.group);
	}
	stop_thread(env, thread);
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, reaches_table(env));
	expect(env, released(env));
}

/*
 * An ioctl that sleeps on its argument
 */

/* A page that is not there until it is given */
struct absent {
	int fd;
	long size;
	void *page;
};

static void make_absent(struct absent *absent)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	absent->size = getpagesize();
	absent->fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (absent->fd < 0)
		case_skip("there is no userfaultfd");
	absent->page = mmap(NULL, absent->size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	reg.range.start = (uintptr_t)absent->page;
	reg.range.len = absent->size;
	ktap_need(!ioctl(absent->fd, UFFDIO_API, &api) &&
		  !ioctl(absent->fd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER");
}

/* What somebody wants the page for: FOR_ANSWER only once the argument was read */
enum want { FOR_NOTHING, FOR_ARGUMENT, FOR_ANSWER };

static enum want wanted(const struct absent *absent, int ms)
{
	struct pollfd poll_fd = { .fd = absent->fd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&poll_fd, 1, ms) != 1 ||
	    read(absent->fd, &msg, sizeof(msg)) != sizeof(msg))
		return FOR_NOTHING;
	return msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE ?
		FOR_ANSWER : FOR_ARGUMENT;
}

static void need_wanted(const struct absent *absent, unsigned long nr)
{
	ktap_need(wanted(absent, PATIENCE * 1000) == FOR_ARGUMENT,
		  "waiting until ioctl %lx reads its argument", nr);
}

static void give(const struct absent *absent, const void *what, size_t size)
{
	__u8 *page = calloc(1, absent->size);
	struct uffdio_copy copy = {
		.dst = (uintptr_t)absent->page, .src = (uintptr_t)page,
		.len = absent->size,
	};

	memcpy(page, what, size);
	ktap_need(!ioctl(absent->fd, UFFDIO_COPY, &copy), "UFFDIO_COPY");
	free(page);
}

/* An ioctl in a thread */
struct call {
	int fd;
	unsigned long nr;
	void *arg;
	long ret;
	atomic_bool over;
	pthread_t thread;
};

static void *do_call(void *arg)
{
	struct call *call = arg;

	call->ret = ioctl(call->fd, call->nr, call->arg);
	if (call->ret < 0)
		call->ret = -errno;
	atomic_store(&call->over, true);
	return NULL;
}

static void start_call(struct call *call, int fd, unsigned long nr, void *arg)
{
	*call = (struct call){ .fd = fd, .nr = nr, .arg = arg };
	pthread_create(&call->thread, NULL, do_call, call);
}

/* The administrator: takes and gives this device, and one that has nothing to do */
static pid_t administrate(const struct env *env)
{
	struct vfio_dev other;
	bool done;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;

	done = driver_unbind(&env->dev) && driver_bind(&env->dev);
	if (vfio_find_next(&other, &env->dev, EDU_VENDOR, EDU_DEVICE))
		done = done && driver_unbind(&other) && driver_bind(&other);
	_exit(!done);
}

/* Exit code of @pid; -1 when it has not ended by then, and may go on */
static int ends_in_time(pid_t pid)
{
	unsigned int ms;
	int status;

	for (ms = 0; ms < PATIENCE * 1000; ms += 20) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WEXITSTATUS(status);
		usleep(20000);
	}
	return -1;
}

/* While @call sleeps, nobody waits */
static void administrate_during(struct env *env, struct call *call)
{
	int code = ends_in_time(administrate(env));

	if (code)
		ktap_say("  ioctl %lx: the administrator %s", call->nr,
			 code < 0 ? "waits" : "fails");
	expect(env, !code);
	expect(env, !atomic_load(&call->over));
}

/* What it asked for is there: it ends, and who had to wait for it goes on */
static void end_call(struct call *call, struct absent *absent)
{
	pthread_join(call->thread, NULL);
	ktap_say("  ioctl %lx: %ld", call->nr, call->ret);
	while (wait(NULL) > 0)
		;
	close(absent->fd);
	munmap(absent->page, absent->size);
}

/* A VMM without a VM */
static void begin_vmm(struct env *env)
{
	find_device(env);
	if (!env->vm.mem) {
		env->vm.size = 16 << 20;
		env->vm.mem = new_memory(env->vm.size);
	}
}

static void open_vmm(struct env *env)
{
	begin_vmm(env);
	open_with_window(env, &env->dev);
}

static void close_vmm(struct env *env)
{
	close(env->dev.group);
	close(env->dev.container);
}

/* All begin with it, and none needs more than it may need */
union argument {
	__u32 argsz;
	int fd;
	struct vfio_iommu_type1_dma_map map;
	struct vfio_iommu_type1_dma_unmap unmap;
	struct vfio_iommu_spapr_register_memory memory;
	struct vfio_iommu_spapr_tce_create create;
	struct vfio_iommu_spapr_tce_remove remove;
	struct vfio_eeh_pe_op eeh;
};

/* A sound argument of ioctl @nr, which would succeed if the group had stayed */
static void argue(const struct env *env, unsigned long nr, union argument *arg)
{
	memset(arg, 0, sizeof(*arg));
	arg->argsz = sizeof(*arg);
	switch (nr) {
	case VFIO_IOMMU_MAP_DMA:
		arg->map.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
		arg->map.vaddr = (uintptr_t)env->vm.mem;
		arg->map.size = PAGE;
		break;
	case VFIO_IOMMU_UNMAP_DMA:
		arg->unmap.size = WINDOW;
		break;
	case VFIO_IOMMU_SPAPR_REGISTER_MEMORY:
		arg->memory.vaddr = (uintptr_t)new_memory(1 << 20);
		arg->memory.size = 1 << 20;
		break;
	case VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY:
		arg->memory.vaddr = (uintptr_t)env->vm.mem;
		arg->memory.size = env->vm.size;
		break;
	case VFIO_IOMMU_SPAPR_TCE_CREATE:
		arg->create.page_shift = SHIFT;
		arg->create.window_size = WINDOW;
		arg->create.levels = 1;
		break;
	case VFIO_EEH_PE_OP:
		arg->eeh.op = VFIO_EEH_PE_GET_STATE;
		break;
	case VFIO_GROUP_SET_CONTAINER:
		arg->fd = env->dev.container;
	}
}

/* The argument comes when the group has gone: whatever it brings about is undone */
static void argument_is_absent(struct env *env, int fd, unsigned long nr)
{
	union argument arg;
	struct absent absent;
	struct call call;

	make_absent(&absent);
	start_call(&call, fd, nr, absent.page);
	need_wanted(&absent, nr);
	administrate_during(env, &call);
	argue(env, nr, &arg);
	give(&absent, &arg, sizeof(arg));
	end_call(&call, &absent);
}

CASE(argument_of_a_group_is_absent)
{
	static const unsigned long calls[] = {
		VFIO_GROUP_GET_STATUS, VFIO_GROUP_SET_CONTAINER,
		VFIO_GROUP_GET_DEVICE_FD,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(calls) && !env->failed; i++) {
		open_vmm(env);
		argument_is_absent(env, env->dev.group, calls[i]);
		close_vmm(env);
	}
}

CASE(argument_of_a_container_is_absent)
{
	static const unsigned long calls[] = {
		VFIO_IOMMU_SPAPR_TCE_GET_INFO, VFIO_IOMMU_MAP_DMA,
		VFIO_IOMMU_UNMAP_DMA, VFIO_IOMMU_SPAPR_REGISTER_MEMORY,
		VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY, VFIO_EEH_PE_OP,
		VFIO_IOMMU_SPAPR_TCE_REMOVE, VFIO_IOMMU_SPAPR_TCE_CREATE,
	};
	const long locked = locked_kib();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(calls) && !env->failed; i++) {
		open_vmm(env);
		argument_is_absent(env, env->dev.container, calls[i]);
		expect_locked(env, locked);
		close_vmm(env);
	}
}

static void start_register(struct env *env, const struct absent *absent,
			   struct call *call, union argument *arg)
{
	argue(env, VFIO_IOMMU_SPAPR_REGISTER_MEMORY, arg);
	arg->memory.vaddr = (uintptr_t)absent->page;
	arg->memory.size = absent->size;
	start_call(call, env->dev.container, VFIO_IOMMU_SPAPR_REGISTER_MEMORY,
		   arg);
	ktap_need(wanted(absent, PATIENCE * 1000) != FOR_NOTHING,
		  "waiting until REGISTER_MEMORY touches the memory");
}

/* The same for a container that pins memory when it is mapped, and is enabled */
static void start_map(struct env *env, const struct absent *absent,
		      struct call *call, union argument *arg)
{
	argue(env, VFIO_IOMMU_MAP_DMA, arg);
	arg->map.vaddr = (uintptr_t)absent->page;
	start_call(call, env->dev.container, VFIO_IOMMU_MAP_DMA, arg);
	ktap_need(wanted(absent, PATIENCE * 1000) != FOR_NOTHING,
		  "waiting until MAP_DMA touches the memory");
}

static void open_v1(struct env *env)
{
	begin_vmm(env);
	vfio_open_group_v1(&env->dev);
	vfio_enable_v1(&env->dev);
}

/* Memory that is pinned for the device, and does not come; nor does anything stay */
CASE(memory_is_absent)
{
	const long locked = locked_kib();
	struct absent absent;
	union argument arg;
	struct call call;

	open_vmm(env);
	make_absent(&absent);
	start_register(env, &absent, &call, &arg);
	/* Not the rest of this process either */
	expect(env, vfio_unregister(&env->dev, env->vm.mem, env->vm.size) == 0);
	administrate_during(env, &call);
	give(&absent, "", 1);
	end_call(&call, &absent);
	close_vmm(env);
	expect_locked(env, locked);

	open_v1(env);
	make_absent(&absent);
	start_map(env, &absent, &call, &arg);
	administrate_during(env, &call);
	give(&absent, "", 1);
	end_call(&call, &absent);
	/* The table went with the group */
	expect(env, call.ret == -ENXIO);
	close_vmm(env);
	expect_locked(env, locked);
}

/* Memory comes when the container is not charged for it any more, or anew */
CASE(disabled_while_memory_is_absent)
{
	struct absent absent;
	union argument arg;
	struct call call;
	bool enable;

	for (enable = false; !env->failed; enable = true) {
		open_v1(env);
		make_absent(&absent);
		start_map(env, &absent, &call, &arg);
		expect(env, !ioctl(env->dev.container, VFIO_IOMMU_DISABLE));
		expect(env, !enable || !ioctl(env->dev.container, VFIO_IOMMU_ENABLE));
		give(&absent, "", 1);
		end_call(&call, &absent);
		expect(env, call.ret == -ENXIO);

		/* It does not stand in the way of what follows */
		expect(env, enable || !ioctl(env->dev.container, VFIO_IOMMU_ENABLE));
		expect(env, vfio_map(&env->dev, 0, env->vm.mem, PAGE) == 0);
		expect(env, vfio_unmap(&env->dev, 0, PAGE) == 0);
		close_vmm(env);
		if (enable)
			break;
	}
}

/* Two threads that register the same memory meet while it is pinned: one has done it */
CASE(registered_twice_while_absent)
{
	union argument args[2];
	struct call calls[2];
	struct absent absent;
	unsigned int won;

	open_vmm(env);
	make_absent(&absent);
	start_register(env, &absent, &calls[0], &args[0]);
	start_register(env, &absent, &calls[1], &args[1]);
	give(&absent, "", 1);
	pthread_join(calls[0].thread, NULL);
	pthread_join(calls[1].thread, NULL);
	ktap_say("  %ld and %ld", calls[0].ret, calls[1].ret);
	won = calls[0].ret ? 1 : 0;
	expect(env, calls[won].ret == 0 && calls[!won].ret == -EBUSY);
	expect(env, vfio_unregister(&env->dev, absent.page, absent.size) == 0);
	expect(env, vfio_unregister(&env->dev, absent.page, absent.size) == -ENOENT);
	close(absent.fd);
	munmap(absent.page, absent.size);
	close_vmm(env);
}

/* The group leaves by its owner's will; and the container begins anew meanwhile */
CASE(container_begins_anew_during_a_call)
{
	const long locked = locked_kib();
	struct call call, unset;
	struct absent absent;
	union argument arg;
	unsigned int ms;

	open_vmm(env);
	make_absent(&absent);
	start_call(&call, env->dev.container, VFIO_IOMMU_SPAPR_REGISTER_MEMORY,
		   absent.page);
	need_wanted(&absent, call.nr);
	start_call(&unset, env->dev.group, VFIO_GROUP_UNSET_CONTAINER, NULL);
	for (ms = 0; ms < PATIENCE * 1000 && !atomic_load(&unset.over); ms += 20)
		usleep(20000);
	expect(env, atomic_load(&unset.over));
	if (!env->failed) {
		expect(env, unset.ret == 0);
		/* What is held until the call is over is accounted until then */
		expect(env, locked_kib() >= locked + (long)(env->vm.size >> 10));
		expect(env, !vfio_join(&env->dev, env->dev.container));
		expect(env, !ioctl(env->dev.container, VFIO_SET_IOMMU,
				   VFIO_SPAPR_TCE_v2_IOMMU));
		vfio_register(&env->dev, env->vm.mem, env->vm.size);
	}

	/* It would change the data of a driver that is gone: nothing stays of it */
	argue(env, VFIO_IOMMU_SPAPR_REGISTER_MEMORY, &arg);
	give(&absent, &arg, sizeof(arg));
	end_call(&call, &absent);
	pthread_join(unset.thread, NULL);
	if (env->failed)
		return;
	expect(env, vfio_unregister(&env->dev, (void *)arg.memory.vaddr,
				    arg.memory.size) == -ENOENT);
	vfio_create_window(&env->dev, SHIFT, WINDOW);
	expect(env, vfio_map(&env->dev, 0, env->vm.mem, PAGE) == 0);
	expect(env, unregister(env) == -EBUSY);
	expect(env, vfio_unmap(&env->dev, 0, PAGE) == 0);
	expect(env, released(env));
	close_vmm(env);
	expect_locked(env, locked);
}

/* A window is made, and where it begins cannot be said: the page has gone again */
CASE(answer_is_absent)
{
	const long locked = locked_kib();
	__u64 size = 8 * WINDOW;
	unsigned int us;

	/* A window that takes a while to make, if the machine has such */
	for (us = 50; us < 100000; us *= 2) {
		struct absent absent;
		union argument arg;
		struct call call;
		enum want want;

		open_vmm(env);
		expect(env, vfio_remove_window(&env->dev, 0) == 0);
		argue(env, VFIO_IOMMU_SPAPR_TCE_CREATE, &arg);
		arg.create.window_size = size;
		make_absent(&absent);
		start_call(&call, env->dev.container,
			   VFIO_IOMMU_SPAPR_TCE_CREATE, absent.page);
		need_wanted(&absent, call.nr);
		give(&absent, &arg, sizeof(arg));
		usleep(us);
		madvise(absent.page, absent.size, MADV_DONTNEED);
		want = wanted(&absent, 3000);
		if (want == FOR_ANSWER)
			administrate_during(env, &call);
		if (want != FOR_NOTHING)
			give(&absent, &arg, sizeof(arg));
		end_call(&call, &absent);
		close_vmm(env);
		expect_locked(env, locked);
		if (want == FOR_ANSWER)
			return;
		if (call.ret)
			size = WINDOW;
	}
	case_skip("the page was never away when the answer was written");
}

/*
 * Memory that two containers of a process have registered is held until neither has.
 * The first one's success says nothing of what the second one's devices reach.
 */
CASE(memory_of_two_containers)
{
	struct vfio_dev other;
	long locked;

	need_more(env, &other, 1);
	open_vmm(env);
	locked = locked_kib();
	vfio_open_group(&other);
	vfio_register(&other, env->vm.mem, env->vm.size);
	expect(env, locked_kib() == locked);
	vfio_create_window(&other, SHIFT, WINDOW);
	locked = locked_kib();
	expect(env, vfio_map(&other, 0, env->vm.mem + DATA, 2 * PAGE) == 0);

	expect(env, unregister(env) == 0);
	expect(env, locked_kib() == locked);
	expect(env, vfio_map(&env->dev, 0, env->vm.mem + DATA, PAGE) == 0);
	expect(env, vfio_unmap(&env->dev, 0, PAGE) == 0);
	vfio_open_device(&other);
	expect(env, edu_copies_page(&other, 0, env->vm.mem + DATA));

	/* The last one is told */
	expect(env, vfio_unregister(&other, env->vm.mem, env->vm.size) == -EBUSY);
	expect(env, vfio_unmap(&other, 0, 2 * PAGE) == 0);
	expect(env, vfio_unregister(&other, env->vm.mem, env->vm.size) == 0);
	expect(env, locked_kib() == locked - (long)(env->vm.size >> 10));
	expect(env, vfio_map(&other, 0, env->vm.mem + DATA, PAGE) == -EINVAL);
}

int main(void)
{
	return run_cases();
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest of some dozen instructions, which the library's (kvm_util.h) cannot stand in
 * for: tests count the instructions of a hypercall, from the guest's sc to what follows
 * it, and look for what the host has done to each register.  So the guest does nothing
 * but what it is told, with the MMU off.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/kvm.h>

#include "guest.h"
#include "ktap.h"
#include "vm.h"

/* MSR: 64-bit, little-endian, and no translation: addresses are real ones */
#define GUEST_MSR	0x8000000000000001UL
#define MSR_EE		0x8000UL
#define LPCR_ILE	0x2000000UL

struct mailbox {
	struct vm_call first;
	struct vm_call second;
	__s64 answer;
	__u64 value;
	__u64 times;
	__u64 ticks;
	__u64 decrementers;
	__u64 externals;
	__u64 list;
};

static void vm_enable_hypercall(const struct vm *vm, __u64 nr)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_PPC_ENABLE_HCALL,
		.args = { nr, 1 },
	};

	ktap_need(!ioctl(vm->fd, KVM_ENABLE_CAP, &cap), "enabling hypercall 0x%llx",
		  nr);
}

static struct mailbox *vm_mailbox(const struct vm *vm)
{
	return (void *)(vm->mem + GUEST_MAILBOX + vm->id * GUEST_MAILBOX_SIZE);
}

static void vm_create_vcpu(struct vm *vm)
{
	struct kvm_enable_cap papr = { .cap = KVM_CAP_PPC_PAPR };
	int kvm = open("/dev/kvm", O_RDWR);
	struct kvm_regs regs;

	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, vm->id);
	ktap_need(vm->vcpu >= 0, "KVM_CREATE_VCPU");
	ktap_need(!ioctl(vm->vcpu, KVM_ENABLE_CAP, &papr),
		  "enabling KVM_CAP_PPC_PAPR");

	vm->run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		       vm->vcpu, 0);
	ktap_need(vm->run != MAP_FAILED, "mapping the virtual CPU");
	close(kvm);

	memcpy(vm->mem + GUEST_CODE, guest_begin, guest_end - guest_begin);
	ktap_need(!ioctl(vm->vcpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	regs.pc = GUEST_CODE;
	regs.msr = GUEST_MSR;
	regs.gpr[31] = GUEST_MAILBOX + vm->id * GUEST_MAILBOX_SIZE;
	ktap_need(!ioctl(vm->vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

void vm_set_memory(const struct vm *vm, __u32 slot, __u64 gpa, __u8 *mem,
		   size_t size, __u32 flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)mem,
	};

	ktap_need(!ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region),
		  "KVM_SET_USER_MEMORY_REGION of memslot %u, 0x%zx bytes", slot,
		  size);
}

void *new_memory(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ktap_need(mem != MAP_FAILED, "%zu bytes of memory", size);
	return mem;
}

__u8 *vm_add_memory_flags(const struct vm *vm, __u32 slot, __u64 gpa,
			  size_t size, __u32 flags)
{
	/* As QEMU does: a page of the guest is one of the host, if it can be */
	const size_t align = size >= (16 << 20) ? 16 << 20 : 1 << 16;
	__u8 *mem = new_memory(size + align);

	mem += -(uintptr_t)mem & (align - 1);
	vm_set_memory(vm, slot, gpa, mem, size, flags);
	return mem;
}

__u8 *vm_add_memory(const struct vm *vm, __u32 slot, __u64 gpa, size_t size)
{
	return vm_add_memory_flags(vm, slot, gpa, size, 0);
}

void vm_delete_memory(const struct vm *vm, __u32 slot)
{
	vm_set_memory(vm, slot, 0, NULL, 0, 0);
}

static bool vm_create_type(struct vm *vm, size_t size, unsigned long type)
{
	struct kvm_create_device device = { .type = KVM_DEV_TYPE_VFIO };
	int kvm = open("/dev/kvm", O_RDWR);

	if (kvm < 0)
		ktap_skip("there is no /dev/kvm");

	memset(vm, 0, sizeof(*vm));
	vm->fd = ioctl(kvm, KVM_CREATE_VM, type);
	close(kvm);
	if (vm->fd < 0)
		return false;

	vm->size = size;
	vm->mem = vm_add_memory(vm, 0, 0, size);

	/* H_PUT_TCE is on without being asked for */
	vm_enable_hypercall(vm, H_GET_TCE);
	vm_enable_hypercall(vm, H_STUFF_TCE);
	vm_enable_hypercall(vm, H_PUT_TCE_INDIRECT);

	ktap_need(!ioctl(vm->fd, KVM_CREATE_DEVICE, &device),
		  "creating the VM's VFIO device");
	vm->vfio = device.fd;
	vm_create_vcpu(vm);
	return true;
}

void vm_create(struct vm *vm, size_t size)
{
	if (!vm_create_type(vm, size, KVM_VM_PPC_HV))
		ktap_skip("this machine's KVM runs no guests by hardware");
}

bool vm_create_pr(struct vm *vm, size_t size)
{
	return vm_create_type(vm, size, KVM_VM_PPC_PR);
}

void vm_close(struct vm *vm)
{
	munmap(vm->run, vm->run_size);
	close(vm->vcpu);
	close(vm->fd);
}

void vm_add_vcpu(const struct vm *vm, unsigned int id, struct vm *view)
{
	*view = *vm;
	view->id = id;
	view->hypercalls = 0;
	view->user_exits = 0;
	vm_create_vcpu(view);
}

int vm_create_liobn_at(const struct vm *vm, __u64 liobn,
		       unsigned int page_shift, __u64 start, __u64 pages)
{
	struct kvm_create_spapr_tce_64 args = {
		.liobn = liobn,
		.page_shift = page_shift,
		.offset = start >> page_shift,
		.size = pages,
	};
	int fd = ioctl(vm->fd, KVM_CREATE_SPAPR_TCE_64, &args);

	ktap_need(fd >= 0, "KVM_CREATE_SPAPR_TCE_64 of %llu entries", pages);
	return fd;
}

int vm_create_liobn(const struct vm *vm, __u64 liobn,
		    unsigned int page_shift, __u64 pages)
{
	return vm_create_liobn_at(vm, liobn, page_shift, 0, pages);
}

void vm_counter_open(struct vm_counter *counter, const struct vm *vm, const char *name)
{
	struct kvm_stats_header header;
	char buffer[sizeof(struct kvm_stats_desc) + 128];
	struct kvm_stats_desc *desc = (void *)buffer;
	int fd = ioctl(vm->vcpu, KVM_GET_STATS_FD, NULL);
	size_t size;
	__u32 i;

	ktap_need(fd >= 0, "KVM_GET_STATS_FD");
	ktap_need(pread(fd, &header, sizeof(header), 0) == sizeof(header),
		  "reading the statistics' header");
	size = sizeof(*desc) + header.name_size;
	for (i = 0; i < header.num_desc; i++) {
		ktap_need(pread(fd, buffer, size,
				header.desc_offset + i * size) == size,
			  "reading the description of a statistic");
		if (!strcmp(desc->name, name))
			break;
	}
	ktap_need(i < header.num_desc, "finding the statistic %s", name);
	counter->fd = fd;
	counter->at = header.data_offset + desc->offset;
}

__u64 vm_counter_read(const struct vm_counter *counter)
{
	__u64 value;

	ktap_need(pread(counter->fd, &value, sizeof(value), counter->at) ==
		  sizeof(value), "reading a statistic");
	return value;
}

__u64 vm_stat(const struct vm *vm, const char *name)
{
	struct vm_counter counter;
	__u64 value;

	vm_counter_open(&counter, vm, name);
	value = vm_counter_read(&counter);
	close(counter.fd);
	return value;
}

bool vm_get_reg(const struct vm *vm, __u64 id, void *value)
{
	struct kvm_one_reg reg = { id, (uintptr_t)value };

	return !ioctl(vm->vcpu, KVM_GET_ONE_REG, &reg);
}

bool vm_set_reg(const struct vm *vm, __u64 id, const void *value)
{
	struct kvm_one_reg reg = { id, (uintptr_t)value };

	return !ioctl(vm->vcpu, KVM_SET_ONE_REG, &reg);
}

void vm_enable_interrupts(struct vm *vm)
{
	__u64 lpcr, now = 0;
	struct kvm_regs regs;

	memcpy(vm->mem + GUEST_DECREMENTER, guest_decrementer,
	       guest_external - guest_decrementer);
	memcpy(vm->mem + GUEST_EXTERNAL, guest_external,
	       guest_interrupts_end - guest_external);

	/* Little-endian in interrupts, too; and a first one at once */
	ktap_need(vm_get_reg(vm, KVM_REG_PPC_LPCR_64, &lpcr), "reading LPCR");
	lpcr |= LPCR_ILE;
	ktap_need(vm_set_reg(vm, KVM_REG_PPC_LPCR_64, &lpcr), "writing LPCR");
	ktap_need(vm_set_reg(vm, KVM_REG_PPC_DEC_EXPIRY, &now),
		  "setting the decrementer");

	ktap_need(!ioctl(vm->vcpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	regs.msr |= MSR_EE;
	ktap_need(!ioctl(vm->vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

__u64 vm_decrementers(const struct vm *vm)
{
	return __atomic_load_n(&vm_mailbox(vm)->decrementers, __ATOMIC_RELAXED);
}

__u64 vm_externals(const struct vm *vm)
{
	return __atomic_load_n(&vm_mailbox(vm)->externals, __ATOMIC_RELAXED);
}

int vm_set_attr(const struct vm *vm, __u64 attr, const void *arg)
{
	struct kvm_device_attr args = {
		.group = KVM_DEV_VFIO_GROUP,
		.attr = attr,
		.addr = (uintptr_t)arg,
	};

	return ioctl(vm->vfio, KVM_SET_DEVICE_ATTR, &args) ? -errno : 0;
}

int vm_add_fd(const struct vm *vm, __s32 fd)
{
	return vm_set_attr(vm, KVM_DEV_VFIO_GROUP_ADD, &fd);
}

int vm_del_fd(const struct vm *vm, __s32 fd)
{
	return vm_set_attr(vm, KVM_DEV_VFIO_GROUP_DEL, &fd);
}

int vm_bind_fds(const struct vm *vm, __s32 groupfd, __s32 tablefd)
{
	struct kvm_vfio_spapr_tce args = { groupfd, tablefd };

	return vm_set_attr(vm, KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE, &args);
}

int vm_group_add(const struct vm *vm, const struct vfio_dev *dev)
{
	return vm_add_fd(vm, dev->group);
}

int vm_group_del(const struct vm *vm, const struct vfio_dev *dev)
{
	return vm_del_fd(vm, dev->group);
}

int vm_bind(const struct vm *vm, const struct vfio_dev *dev, int tablefd)
{
	return vm_bind_fds(vm, dev->group, tablefd);
}

/* Run the guest until the mailbox is done */
static void vm_run(struct vm *vm, const long *user)
{
	for (;;) {
		int ret = ioctl(vm->vcpu, KVM_RUN, 0);

		/* Out of memory is an answer to KVM_RUN, not to the guest */
		if (ret && (errno == EINTR || errno == ENOMEM))
			continue;
		ktap_need(!ret, "KVM_RUN");
		ktap_need(vm->run->exit_reason == KVM_EXIT_PAPR_HCALL,
			  "the guest stopped, with exit reason %u",
			  vm->run->exit_reason);
		if (vm->run->papr_hcall.nr == GUEST_DONE)
			return;

		vm->user_exits++;
		if (vm->answer) {
			vm->run->papr_hcall.ret =
				vm->answer(vm, vm->run->papr_hcall.nr,
					   (__u64 *)vm->run->papr_hcall.args);
			continue;
		}
		ktap_need(user, "hypercall 0x%llx reached user space",
			  vm->run->papr_hcall.nr);
		vm->run->papr_hcall.ret = *user;
	}
}

long vm_hypercall(struct vm *vm, const long *user, __u64 nr, __u64 a,
		  __u64 b, __u64 c, __u64 d)
{
	struct mailbox *box = vm_mailbox(vm);

	box->first = (struct vm_call){ nr, { a, b, c, d } };
	box->second.nr = 0;
	box->times = 1;
	vm->hypercalls++;
	vm_run(vm, user);

	vm->value = box->value;
	return box->answer;
}

static_assert(sizeof(struct vm_called) == GUEST_CALLED_SIZE,
	      "the guest program and struct vm_called differ");

void vm_batch(struct vm *vm, const long *user, __u64 list, __u64 nr)
{
	struct mailbox *box = vm_mailbox(vm);

	if (!nr)
		return;
	box->times = nr;
	box->list = list;
	vm->hypercalls += nr;
	vm_run(vm, user);
	box->list = 0;
}

void vm_prepare(struct vm *vm, const struct vm_call *first,
		const struct vm_call *second, __u64 times)
{
	struct mailbox *box = vm_mailbox(vm);
	const struct vm_call none = { 0 };

	box->first = *first;
	box->second = second ? *second : none;
	box->times = times;
}

__u64 vm_time(struct vm *vm, const struct vm_call *first,
	      const struct vm_call *second, unsigned int times)
{
	struct mailbox *box = vm_mailbox(vm);

	vm_prepare(vm, first, second, times);
	vm_run(vm, NULL);
	ktap_need(!box->answer, "hypercall 0x%llx answers %lld", first->nr,
		  (long long)box->answer);
	return box->ticks;
}

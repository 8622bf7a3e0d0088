/* SPDX-License-Identifier: GPL-2.0-only */
/* A virtual machine whose CPU does the hypercalls that it is told to */
#ifndef SELFTEST_KVM_POWERPC_VM_H
#define SELFTEST_KVM_POWERPC_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#include "papr.h"
#include "vfio.h"

/* Guest memory below this is the guest program's */
#define VM_FREE			0x100000UL

/**
 * struct vm - the virtual machine
 * @fd: file descriptor of the VM
 * @vcpu: file descriptor of a CPU
 * @id: its number
 * @vfio: file descriptor of its VFIO device (KVM_DEV_VFIO)
 * @run: what the CPU shares with user space
 * @run_size: its size in bytes
 * @mem: guest memory, which begins at guest address 0
 * @size: its size in bytes
 * @hypercalls: hypercalls that the guest was told to do
 * @user_exits: those that ended up in user space
 * @value: the first word that the last one returned
 * @answer: answers hypercalls that reach user space, unless it is NULL
 */
struct vm {
	int fd;
	int vcpu;
	unsigned int id;
	int vfio;
	struct kvm_run *run;
	size_t run_size;
	__u8 *mem;
	size_t size;
	unsigned long hypercalls;
	unsigned long user_exits;
	__u64 value;
	long (*answer)(struct vm *vm, __u64 nr, __u64 *args);
};

/* Memory of this process, which nobody has touched yet; of no guest */
void *new_memory(size_t size);

/* A further piece of guest memory, in memslot @slot; returns it */
__u8 *vm_add_memory(const struct vm *vm, __u32 slot, __u64 gpa, size_t size);
__u8 *vm_add_memory_flags(const struct vm *vm, __u32 slot, __u64 gpa,
			  size_t size, __u32 flags);
void vm_delete_memory(const struct vm *vm, __u32 slot);

/* The same of memory that is there, or to change the memslot's flags */
void vm_set_memory(const struct vm *vm, __u32 slot, __u64 gpa, __u8 *mem,
		   size_t size, __u32 flags);

/* Skips the test when there is no KVM that runs POWER guests by hardware */
void vm_create(struct vm *vm, size_t size);

/* A guest in problem state; false when this machine's KVM has no such */
bool vm_create_pr(struct vm *vm, size_t size);

/* Let go of the VM and of its CPU; its devices and LIOBNs may hold it still */
void vm_close(struct vm *vm);

/* Another CPU of the same virtual machine, in @view */
void vm_add_vcpu(const struct vm *vm, unsigned int id, struct vm *view);

/* A window of @pages entries from bus address 0; returns its descriptor */
int vm_create_liobn(const struct vm *vm, __u64 liobn,
		    unsigned int page_shift, __u64 pages);

/* The same from bus address @start on */
int vm_create_liobn_at(const struct vm *vm, __u64 liobn,
		       unsigned int page_shift, __u64 start, __u64 pages);

/* A counter of the CPU, by its name in the binary statistics */
__u64 vm_stat(const struct vm *vm, const char *name);

/* The same to be read while the CPU runs, when it can be asked for nothing else */
struct vm_counter {
	int fd;
	__u64 at;
};

void vm_counter_open(struct vm_counter *counter, const struct vm *vm,
		     const char *name);
__u64 vm_counter_read(const struct vm_counter *counter);

/* Each returns 0 or -errno */
int vm_group_add(const struct vm *vm, const struct vfio_dev *dev);
int vm_group_del(const struct vm *vm, const struct vfio_dev *dev);
int vm_bind(const struct vm *vm, const struct vfio_dev *dev, int tablefd);

/* The same by file descriptors of any kind; and any attribute */
int vm_add_fd(const struct vm *vm, __s32 fd);
int vm_del_fd(const struct vm *vm, __s32 fd);
int vm_bind_fds(const struct vm *vm, __s32 groupfd, __s32 tablefd);
int vm_set_attr(const struct vm *vm, __u64 attr, const void *arg);

/*
 * The guest does a hypercall and this returns its answer.  One that reaches user
 * space is counted and answered as *@user, or ends the test if that is NULL.
 */
long vm_hypercall(struct vm *vm, const long *user, __u64 nr, __u64 a,
		  __u64 b, __u64 c, __u64 d);

/* A hypercall with its arguments */
struct vm_call {
	__u64 nr;
	__u64 args[4];
};

/* The same with its answer and the first word returned */
struct vm_called {
	struct vm_call call;
	__s64 answer;
	__u64 value;
};

/*
 * The guest does @nr hypercalls, which are at guest address @list and answered
 * there; those that reach user space as vm_hypercall() says.
 */
void vm_batch(struct vm *vm, const long *user, __u64 list, __u64 nr);

/* Have the guest do what vm_time() says, once KVM_RUN is called */
void vm_prepare(struct vm *vm, const struct vm_call *first,
		const struct vm_call *second, __u64 times);

/* A register of the CPU, by its KVM_REG_PPC_* id; false when KVM has it not */
bool vm_get_reg(const struct vm *vm, __u64 id, void *value);
bool vm_set_reg(const struct vm *vm, __u64 id, const void *value);

/* From now on the guest counts interrupts; its decrementer keeps ticking */
void vm_enable_interrupts(struct vm *vm);
__u64 vm_decrementers(const struct vm *vm);
__u64 vm_externals(const struct vm *vm);

/*
 * The guest does @first, then @second unless it is NULL, @times over; none may
 * reach user space unless @vm->answer is there.  Returns the ticks of the
 * timebase that passed in the guest.
 */
__u64 vm_time(struct vm *vm, const struct vm_call *first,
	      const struct vm_call *second, unsigned int times);

#endif /* SELFTEST_KVM_POWERPC_VM_H */

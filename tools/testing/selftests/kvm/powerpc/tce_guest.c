// SPDX-License-Identifier: GPL-2.0-only
/*
 * TCE hypercalls of two CPUs to one window with no device, by guest code in C:
 * what one CPU put, both get, and the VMM sees it in the table that it maps.
 */
#include <pthread.h>

#include "kvm_util.h"
#include "papr.h"
#include "processor.h"
#include "ucall_common.h"

#define LIOBN		0x80000001UL
#define LIOBN_UNKNOWN	0x80000002UL
#define TCE_SHIFT	12
#define CPUS		2
#define SHARE		64		/* entries of each CPU */
#define ENTRIES		(CPUS * SHARE)
#define RACES		1000

/* Where the guest has memory for as many pages, in a memslot of its own */
#define MEMORY		0x10000000UL

/* To the VMM: compare the table that it has mapped */
#define SYNC_COMPARE	1

/* Of the guest */
static uint32_t arrived;

static struct vm_tce {
	struct kvm_vm *vm;
	uint64_t *table;
	uint32_t compared;
	uint32_t unknown;
} state;

static uint64_t tce(unsigned int entry)
{
	return (MEMORY + ((uint64_t)entry << TCE_SHIFT)) | TCE_READ | TCE_WRITE;
}

static int64_t put(uint64_t liobn, unsigned int entry, uint64_t value)
{
	return hcall(H_PUT_TCE, NULL, liobn, (uint64_t)entry << TCE_SHIFT, value, 0);
}

static uint64_t get(unsigned int entry)
{
	uint64_t value;

	GUEST_ASSERT_EQ(hcall(H_GET_TCE, &value, LIOBN,
			      (uint64_t)entry << TCE_SHIFT, 0, 0), H_SUCCESS);
	return value;
}

/* Wait until all CPUs have been here @times times */
static void meet(unsigned int times)
{
	__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < times * CPUS)
		cpu_relax();
}

static void guest_refusals(void)
{
	GUEST_ASSERT_EQ(put(LIOBN, ENTRIES, tce(0)), H_PARAMETER);
	GUEST_ASSERT_EQ(hcall(H_GET_TCE, NULL, LIOBN, ENTRIES << TCE_SHIFT, 0, 0),
			H_PARAMETER);
	GUEST_ASSERT_EQ(hcall(H_STUFF_TCE, NULL, LIOBN,
			      (ENTRIES - 1) << TCE_SHIFT, 0, 2), H_PARAMETER);
	/* The VMM's answer */
	GUEST_ASSERT_EQ(put(LIOBN_UNKNOWN, 0, tce(0)), H_PARAMETER);
}

static void guest_code(void)
{
	unsigned int id = guest_get_vcpuid(), first = id * SHARE, i;
	uint64_t value;

	for (i = first; i < first + SHARE; i++)
		GUEST_ASSERT_EQ(put(LIOBN, i, tce(i)), H_SUCCESS);
	meet(1);
	for (i = 0; i < ENTRIES; i++)
		GUEST_ASSERT_EQ(get(i), tce(i));
	GUEST_SYNC(SYNC_COMPARE);
	guest_refusals();
	meet(2);

	/* Both at once: an entry is what one of them put */
	for (i = 0; i < RACES; i++) {
		GUEST_ASSERT_EQ(put(LIOBN, 0, tce(id)), H_SUCCESS);
		value = get(0);
		GUEST_ASSERT(value == tce(0) || value == tce(1));
	}
	meet(3);

	GUEST_ASSERT_EQ(hcall(H_STUFF_TCE, NULL, LIOBN, first << TCE_SHIFT, 0,
			      SHARE), H_SUCCESS);
	for (i = first; i < first + SHARE; i++)
		GUEST_ASSERT_EQ(get(i), 0);
	GUEST_DONE();
}

static void compare(void)
{
	unsigned int i;

	for (i = 0; i < ENTRIES; i++)
		TEST_ASSERT_EQ(state.table[i], tce(i));
	__atomic_add_fetch(&state.compared, 1, __ATOMIC_RELAXED);
}

/* A hypercall that is no ucall: only one to a LIOBN that KVM does not know */
static void answer(struct kvm_run *run)
{
	TEST_ASSERT(run->exit_reason == KVM_EXIT_PAPR_HCALL &&
		    run->papr_hcall.nr == H_PUT_TCE &&
		    run->papr_hcall.args[0] == LIOBN_UNKNOWN,
		    "The guest left with %s, hypercall 0x%llx",
		    exit_reason_str(run->exit_reason), run->papr_hcall.nr);
	run->papr_hcall.ret = H_PARAMETER;
	__atomic_add_fetch(&state.unknown, 1, __ATOMIC_RELAXED);
}

static void *run_vcpu(void *arg)
{
	struct kvm_vcpu *vcpu = arg;
	struct ucall uc;

	for (;;) {
		vcpu_run(vcpu);
		switch (get_ucall(vcpu, &uc)) {
		case UCALL_SYNC:
			compare();
			break;
		case UCALL_ABORT:
			REPORT_GUEST_ASSERT(uc);
			break;
		case UCALL_DONE:
			return NULL;
		default:
			answer(vcpu->run);
		}
	}
}

static void enable_hypercall(uint64_t nr)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_PPC_ENABLE_HCALL,
		.args = { nr, 1 },
	};

	vm_ioctl(state.vm, KVM_ENABLE_CAP, &cap);
}

/* Returns the file descriptor of the window */
static int create_window(void)
{
	struct kvm_create_spapr_tce_64 args = {
		.liobn = LIOBN,
		.page_shift = TCE_SHIFT,
		.size = ENTRIES,
	};
	int fd = __vm_ioctl(state.vm, KVM_CREATE_SPAPR_TCE_64, &args);

	TEST_ASSERT(fd >= 0, KVM_IOCTL_ERROR(KVM_CREATE_SPAPR_TCE_64, fd));
	state.table = mmap(NULL, getpagesize(), PROT_READ, MAP_SHARED, fd, 0);
	TEST_ASSERT(state.table != MAP_FAILED, "Mapping the table failed");
	return fd;
}

int main(void)
{
	struct kvm_vcpu *vcpus[CPUS];
	pthread_t threads[CPUS];
	int window, i;

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_SPAPR_TCE_64));
	ksft_print_header();
	ksft_set_plan(1);

	state.vm = vm_create_with_vcpus(CPUS, guest_code, vcpus);
	enable_hypercall(H_GET_TCE);
	enable_hypercall(H_STUFF_TCE);
	window = create_window();
	vm_userspace_mem_region_add(state.vm, VM_MEM_SRC_ANONYMOUS, MEMORY, 1,
				    vm_calc_num_guest_pages(state.vm->mode,
							    ENTRIES << TCE_SHIFT),
				    0);

	for (i = 0; i < CPUS; i++)
		pthread_create(&threads[i], NULL, run_vcpu, vcpus[i]);
	for (i = 0; i < CPUS; i++)
		pthread_join(threads[i], NULL);

	TEST_ASSERT_EQ(state.compared, CPUS);
	TEST_ASSERT_EQ(state.unknown, CPUS);
	for (i = 0; i < ENTRIES; i++)
		TEST_ASSERT_EQ(state.table[i], 0);

	munmap(state.table, getpagesize());
	close(window);
	kvm_vm_free(state.vm);
	ksft_test_result_pass("TCE hypercalls of two CPUs to one window\n");
	ksft_finished();
}

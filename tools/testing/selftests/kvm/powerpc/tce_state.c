// SPDX-License-Identifier: GPL-2.0-only
/*
 * State is whose it is: a guest finds each of its registers as it was after the
 * hypercalls that the host serves in between, whichever tier does so; what it leaves
 * in them does not go on in the host, and is not found by another guest.
 *
 * The guests' programs are made here, instruction by instruction, from the list of
 * registers that the machine has.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <linux/kvm.h>

#include "cases.h"
#include "guest.h"

#define MSR_VEC		0x2000000UL
#define MSR_VSX		0x800000UL
#define MSR_FP		0x2000UL
#define MSR_TM		0x100000000UL
#define LPCR_ILE	0x2000000UL

/* No hypercall of PAPR or KVM either: an interrupt that the guest has no use for */
#define GUEST_TRAP	0xf0f4

/* Guest addresses: what the programs load and store, and the VPA (PAPR 14.11.3.2) */
#define STATE		0x40000
#define VPA		0x50000
#define VPA_PMCREGS	0xbb

/*
 * Instructions
 */

enum {
	SPR_XER = 1, SPR_LR = 8, SPR_CTR = 9, SPR_DSCR = 17, SPR_DSISR = 18,
	SPR_DAR = 19, SPR_DEC = 22, SPR_AMR = 29, SPR_PID = 48, SPR_IAMR = 61,
	SPR_TFHAR = 128, SPR_TFIAR = 129, SPR_TEXASR = 130, SPR_TIDR = 144,
	SPR_FSCR = 153, SPR_UAMOR = 157, SPR_PSPB = 159, SPR_VRSAVE = 256,
	SPR_TB = 268, SPR_SPRG0 = 272, SPR_MMCR3 = 754, SPR_SIER2 = 752,
	SPR_SIER3 = 753, SPR_UPMC5 = 775, SPR_SIER = 784, SPR_MMCR2 = 785,
	SPR_MMCRA = 786, SPR_PMC1 = 787, SPR_PMC5 = 791, SPR_PMC6 = 792,
	SPR_MMCR0 = 795, SPR_SIAR = 796, SPR_SDAR = 797, SPR_MMCR1 = 798,
	SPR_EBBHR = 804, SPR_EBBRR = 805, SPR_BESCR = 806, SPR_TAR = 815,
	SPR_PSSCR = 823, SPR_TACR = 888, SPR_TCSCR = 889, SPR_CSIGR = 890,
	SPR_WORT = 895, SPR_PPR = 896,
};

/* A general register that points to struct state, and one to work with */
#define BASE		31
#define WORK		3

struct program {
	__u32 code[4096];
	unsigned int nr;
};

static void emit(struct program *program, __u32 insn)
{
	ktap_need(program->nr < ARRAY_SIZE(program->code), "a shorter program");
	program->code[program->nr++] = insn;
}

static void emit_ld(struct program *program, unsigned int reg, size_t offset)
{
	emit(program, 58U << 26 | reg << 21 | BASE << 16 | offset);
}

static void emit_std(struct program *program, unsigned int reg, size_t offset)
{
	emit(program, 62U << 26 | reg << 21 | BASE << 16 | offset);
}

static __u32 spr_field(unsigned int spr)
{
	return (spr & 31) << 16 | spr >> 5 << 11;
}

static void emit_mtspr(struct program *program, unsigned int spr,
		       unsigned int reg)
{
	emit(program, 31U << 26 | reg << 21 | spr_field(spr) | 467 << 1);
}

static void emit_mfspr(struct program *program, unsigned int reg,
		       unsigned int spr)
{
	emit(program, 31U << 26 | reg << 21 | spr_field(spr) | 339 << 1);
}

/* A constant of up to 32 bits, the topmost one 0 */
static void emit_li(struct program *program, unsigned int reg, __u32 value)
{
	emit(program, 15U << 26 | reg << 21 | value >> 16);
	emit(program, 24U << 26 | reg << 21 | reg << 16 | (value & 0xffff));
}

static void emit_set_spr(struct program *program, unsigned int spr, __u32 value)
{
	emit_li(program, WORK, value);
	emit_mtspr(program, spr, WORK);
}

static void emit_hypercall(struct program *program, __u64 nr)
{
	emit_li(program, 3, nr);
	emit(program, 17U << 26 | 1 << 5 | 2);
}

static void emit_call(struct program *program, const struct vm_call *call)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(call->args); i++) {
		/* Bit 31 may be set, which emit_li() would extend */
		emit_li(program, 4 + i, call->args[i] >> 16);
		emit(program, 30U << 26 | (4 + i) << 21 | (4 + i) << 16 |
		     16 << 11 | 15 << 6 | 1 << 5 | 1 << 2);
		emit(program, 24U << 26 | (4 + i) << 21 | (4 + i) << 16 |
		     (call->args[i] & 0xffff));
	}
	emit_hypercall(program, call->nr);
}

/* lxvd2x or stxvd2x of a vector-scalar register */
static void emit_vsr(struct program *program, unsigned int insn,
		     unsigned int vsr, size_t offset)
{
	emit_li(program, WORK, offset);
	emit(program, 31U << 26 | (vsr & 31) << 21 | BASE << 16 | WORK << 11 |
	     insn << 1 | vsr >> 5);
}

#define LXVD2X	844
#define STXVD2X	972

/*
 * Running them
 */

static void emit_handler(const struct vm *vm, __u64 vector)
{
	struct program program = { };

	emit_hypercall(&program, GUEST_TRAP);
	memcpy(vm->mem + vector, program.code, program.nr * 4);
}

static __u64 guest_msr;

/* Start the guest's CPU with an interrupt handler that tells of any interrupt */
static void start_guest(const struct vm *vm)
{
	static const __u64 vectors[] = {
		0x300, 0x380, 0x400, 0x480, 0x600, 0x700, 0x800, 0xf00, 0xf20,
		0xf40, 0xf60,
	};
	__u64 lpcr, tfhar;
	struct kvm_regs regs;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vectors); i++)
		emit_handler(vm, vectors[i]);
	ktap_need(vm_get_reg(vm, KVM_REG_PPC_LPCR_64, &lpcr), "reading LPCR");
	lpcr |= LPCR_ILE;
	ktap_need(vm_set_reg(vm, KVM_REG_PPC_LPCR_64, &lpcr), "writing LPCR");

	ktap_need(!ioctl(vm->vcpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	guest_msr = regs.msr | MSR_FP | MSR_VEC | MSR_VSX;
	if (vm_get_reg(vm, KVM_REG_PPC_TFHAR, &tfhar))
		guest_msr |= MSR_TM;
}

/*
 * Run the program to its end; false when it ended by an interrupt.  What it asks of
 * user space is refused.
 */
static bool run_program(const struct vm *vm, struct program *program)
{
	struct kvm_regs regs;

	emit_hypercall(program, GUEST_DONE);
	memcpy(vm->mem + GUEST_CODE, program->code, program->nr * 4);
	__builtin___clear_cache((char *)vm->mem + GUEST_CODE,
				(char *)vm->mem + GUEST_CODE + program->nr * 4);

	ktap_need(!ioctl(vm->vcpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	regs.pc = GUEST_CODE;
	regs.msr = guest_msr;
	regs.gpr[BASE] = STATE;
	ktap_need(!ioctl(vm->vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	for (;;) {
		int ret = ioctl(vm->vcpu, KVM_RUN, 0);

		if (ret && errno == EINTR)
			continue;
		ktap_need(!ret, "KVM_RUN");
		ktap_need(vm->run->exit_reason == KVM_EXIT_PAPR_HCALL,
			  "the guest stopped, with exit reason %u",
			  vm->run->exit_reason);
		switch (vm->run->papr_hcall.nr) {
		case GUEST_DONE:
			return true;
		case GUEST_TRAP:
			return false;
		}
		vm->run->papr_hcall.ret = H_PARAMETER;
	}
}

/*
 * Registers
 */

/**
 * struct spr - a special purpose register that a guest may use
 * @nr: its number
 * @name: its name
 * @value: one that it can have
 */
struct spr {
	unsigned int nr;
	const char *name;
	__u64 value;
};

/* What belongs to the PMU, in the order in which it may be written */
static const struct spr pmu[] = {
	{ SPR_MMCR0, "MMCR0", 0x80000030 },
	{ SPR_PMC1, "PMC1", 0x1a2b3c41 },
	{ SPR_PMC1 + 1, "PMC2", 0x1a2b3c42 },
	{ SPR_PMC1 + 2, "PMC3", 0x1a2b3c43 },
	{ SPR_PMC1 + 3, "PMC4", 0x1a2b3c44 },
	{ SPR_PMC5, "PMC5", 0x1a2b3c45 },
	{ SPR_PMC6, "PMC6", 0x1a2b3c46 },
	{ SPR_MMCR1, "MMCR1", 0x00000000f0fe0000 },
	{ SPR_MMCR2, "MMCR2", 0x1a2b3c4700000000 },
	{ SPR_MMCR3, "MMCR3", 0x1a2b3c4800000000 },
	{ SPR_SIAR, "SIAR", 0x1a2b3c4900000000 },
	{ SPR_SDAR, "SDAR", 0x1a2b3c4a00000000 },
	{ SPR_SIER, "SIER", 0x1a2b3c4b00000000 },
	{ SPR_SIER2, "SIER2", 0x1a2b3c4c00000000 },
	{ SPR_SIER3, "SIER3", 0x1a2b3c4d00000000 },
	/* With SAMPLE_ENABLE */
	{ SPR_MMCRA, "MMCRA", 0x0000000012340001 },
};

static const struct spr sprs[] = {
	{ SPR_XER, "XER", 0xa0000000 },
	{ SPR_LR, "LR", 0x2a2b3c4111111110 },
	{ SPR_CTR, "CTR", 0x2a2b3c4222222222 },
	{ SPR_DSCR, "DSCR", 0x123 },
	{ SPR_DSISR, "DSISR", 0x2a2b3c43 },
	{ SPR_DAR, "DAR", 0x2a2b3c4444444444 },
	/* Without the keys 0 and 31, which lead to the guest's program */
	{ SPR_AMR, "AMR", 0x0123456789abcde0 },
	{ SPR_IAMR, "IAMR", 0x0145014501450140 },
	{ SPR_UAMOR, "UAMOR", 0x2a2b3c4555555550 },
	{ SPR_PID, "PID", 0x123 },
	{ SPR_TFHAR, "TFHAR", 0x2a2b3c4666666660 },
	{ SPR_TFIAR, "TFIAR", 0x2a2b3c4777777770 },
	{ SPR_TEXASR, "TEXASR", 0x2a00000008000000 },
	{ SPR_TIDR, "TIDR", 0x1234 },
	{ SPR_FSCR, "FSCR", 0x104 },
	{ SPR_PSPB, "PSPB", 0x2a2b3c },
	{ SPR_VRSAVE, "VRSAVE", 0x2a2b3c48 },
	{ SPR_SPRG0, "SPRG0", 0x2a2b3c4999999990 },
	{ SPR_SPRG0 + 1, "SPRG1", 0x2a2b3c4999999991 },
	{ SPR_SPRG0 + 2, "SPRG2", 0x2a2b3c4999999992 },
	{ SPR_SPRG0 + 3, "SPRG3", 0x2a2b3c4999999993 },
	{ SPR_EBBHR, "EBBHR", 0x2a2b3c4aaaaaaaa0 },
	{ SPR_EBBRR, "EBBRR", 0x2a2b3c4bbbbbbbb0 },
	{ SPR_BESCR, "BESCR", 0x0000000100000000 },
	{ SPR_TAR, "TAR", 0x2a2b3c4ccccccccc },
	{ SPR_PSSCR, "PSSCR", 0x35 },
	{ SPR_TACR, "TACR", 0x2a2b3c4dddddddd0 },
	{ SPR_TCSCR, "TCSCR", 0x2a2b3c4eeeeeeee0 },
	{ SPR_CSIGR, "CSIGR", 0x2a2b3c4ffffffff0 },
	{ SPR_WORT, "WORT", 0x2a2b },
	{ SPR_PPR, "PPR", 0x0008000000000000 },
};

#define NR_SPRS		(ARRAY_SIZE(pmu) + ARRAY_SIZE(sprs))

static const struct spr *spr_of(unsigned int i)
{
	return i < ARRAY_SIZE(pmu) ? &pmu[i] : &sprs[i - ARRAY_SIZE(pmu)];
}

/**
 * struct state - what the guest's programs load and store, at STATE
 * @in: of each SPR
 * @before: as the guest reads it back
 * @after: the same after its hypercalls
 * @gpr: of the general registers
 * @gpr_after: after the hypercalls
 * @vsr: of the vector-scalar registers, with FP and vector registers in them
 * @vsr_after: after the hypercalls
 * @time: timebase, decrementer, and timebase again
 * @time_after: after the hypercalls
 * @vscr: vector status, as a vector register has it
 * @cr: condition register after the hypercalls
 */
struct state {
	__u64 in[NR_SPRS];
	__u64 before[NR_SPRS];
	__u64 after[NR_SPRS];
	__u64 gpr[32];
	__u64 gpr_after[32];
	__u64 vsr[64][2];
	__u64 vsr_after[64][2];
	__u64 time[3];
	__u64 time_after[3];
	__u64 vscr[2];
	__u64 cr;
};

static struct state *state_of(const struct vm *vm)
{
	return (struct state *)(vm->mem + STATE);
}

/*
 * Can the guest read the register?  One that the machine has not is either refused,
 * or leaves alone what it should be read to.
 */
static bool has_spr(const struct vm *vm, unsigned int spr)
{
	static const __u32 marks[] = { 0x5a5a5a, 0x6b6b6b };
	struct state *state = state_of(vm);
	struct program program = { };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(marks); i++) {
		emit_li(&program, WORK, marks[i]);
		emit_mfspr(&program, WORK, spr);
		emit_std(&program, WORK, offsetof(struct state, in) + i * 8);
	}
	return run_program(vm, &program) &&
	       (state->in[0] != marks[0] || state->in[1] != marks[1]);
}

/* The hypercalls that tiers serve, one that they leave to virtual mode, and one to us */
static const struct vm_call calls[] = {
	{ H_PUT_TCE, { LIOBN, 0, DATA | RW } },
	{ H_GET_TCE, { LIOBN, 0 } },
	{ H_PUT_TCE_INDIRECT, { LIOBN, 0, LIST, 4 } },
	{ H_STUFF_TCE, { LIOBN, 0, 0, 16 } },
};

static const struct vm_call large_call = { H_STUFF_TCE, { LIOBN, 0, 0, 513 } };
static const struct vm_call user_call = { H_PUT_TCE, { LIOBN + 9, 0, 0 } };

static void emit_calls(struct program *program, unsigned int times)
{
	unsigned int i;

	while (times--)
		for (i = 0; i < ARRAY_SIZE(calls); i++)
			emit_call(program, &calls[i]);
}

/* A bound TCE table whose guest's view has its first page, and a list */
static void begin_state(struct env *env)
{
	begin(env);
	use_first_entry(env);
	fill_list(env, RW);
	start_guest(&env->vm);
}

/* Tell KVM by the VPA whether the guest's PMU is in use */
static void set_pmcregs(const struct vm *vm, bool in_use)
{
	const __u64 address = VPA;

	vm->mem[VPA + VPA_PMCREGS] = in_use;
	ktap_need(vm_set_reg(vm, KVM_REG_PPC_VPA_ADDR, &address), "a VPA");
}

/*
 * All of them, in the guest
 */

static void emit_read_sprs(struct program *program, const bool *has, size_t at)
{
	unsigned int i;

	for (i = 0; i < NR_SPRS; i++) {
		if (!has[i])
			continue;
		emit_mfspr(program, WORK, spr_of(i)->nr);
		emit_std(program, WORK, at + i * 8);
	}
}

static void emit_write_sprs(struct program *program, const bool *has)
{
	unsigned int i;

	for (i = 0; i < NR_SPRS; i++) {
		if (!has[i])
			continue;
		emit_ld(program, WORK, offsetof(struct state, in) + i * 8);
		emit_mtspr(program, spr_of(i)->nr, WORK);
	}
}

static void emit_read_time(struct program *program, size_t at)
{
	emit_mfspr(program, WORK, SPR_TB);
	emit_std(program, WORK, at);
	emit_mfspr(program, WORK, SPR_DEC);
	emit_std(program, WORK, at + 8);
	emit_mfspr(program, WORK, SPR_TB);
	emit_std(program, WORK, at + 16);
}

#define VSCR_SAT	1

/* Registers that a hypercall gets its arguments in, or that the program needs */
static bool is_used(unsigned int gpr)
{
	return (gpr >= 3 && gpr <= 7) || gpr == BASE;
}

static void emit_all(struct program *program, const bool *has)
{
	unsigned int i;

	emit_vsr(program, LXVD2X, 32, offsetof(struct state, vscr));
	emit(program, 4U << 26 | 1604);
	for (i = 0; i < 64; i++)
		emit_vsr(program, LXVD2X, i, offsetof(struct state, vsr) + i * 16);
	emit_write_sprs(program, has);
	emit_set_spr(program, SPR_DEC, 0x7fffffff);
	emit_read_time(program, offsetof(struct state, time));
	emit_read_sprs(program, has, offsetof(struct state, before));
	for (i = 0; i < 32; i++)
		if (!is_used(i))
			emit_ld(program, i, offsetof(struct state, gpr) + i * 8);
	/* CR from a register that has no argument */
	emit(program, 31U << 26 | 30 << 21 | 0xff << 12 | 144 << 1);

	emit_calls(program, 5);
	emit_call(program, &large_call);
	emit_call(program, &user_call);

	emit(program, 31U << 26 | WORK << 21 | 19 << 1);
	emit_std(program, WORK, offsetof(struct state, cr));
	for (i = 0; i < 32; i++)
		if (!is_used(i))
			emit_std(program, i, offsetof(struct state, gpr_after) + i * 8);
	emit_read_sprs(program, has, offsetof(struct state, after));
	emit_read_time(program, offsetof(struct state, time_after));
	for (i = 0; i < 64; i++)
		emit_vsr(program, STXVD2X, i,
			 offsetof(struct state, vsr_after) + i * 16);
	emit(program, 4U << 26 | 1540);
	emit_vsr(program, STXVD2X, 32, offsetof(struct state, vscr));
}

static void fill_state(struct state *state)
{
	unsigned int i;

	memset(state, 0, sizeof(*state));
	state->vscr[1] = VSCR_SAT;
	for (i = 0; i < NR_SPRS; i++)
		state->in[i] = spr_of(i)->value;
	for (i = 0; i < 32; i++)
		state->gpr[i] = 0x3a2b3c4000000000 | i << 16 | 0x3210;
	for (i = 0; i < 128; i++)
		state->vsr[i / 2][i % 2] = 0x4a2b3c4000000000 | i;
}

static void check_sprs(struct env *env, const struct state *state,
		       const bool *has)
{
	unsigned int i, set = 0, other = 0;
	char absent[256] = "";

	for (i = 0; i < NR_SPRS; i++) {
		const struct spr *spr = spr_of(i);

		if (!has[i]) {
			strcat(strcat(absent, " "), spr->name);
			continue;
		}
		if (state->before[i] == spr->value)
			set++;
		else
			other++;
		/* KVM zeroes CTR, which a hypercall may change */
		if (state->after[i] == state->before[i] ||
		    (spr->nr == SPR_CTR && !state->after[i]))
			continue;
		ktap_say("  %s: %llx, was %llx", spr->name, state->after[i],
			 state->before[i]);
		env->failed = true;
	}
	ktap_say("  %u SPRs had the value that was set, %u had another", set, other);
	if (*absent)
		ktap_say("  not on this machine:%s", absent);
	expect(env, set >= 24);
}

/*
 * Timebase and decrementer have gone on together, and no further than the VMM's.
 *
 * KVM reads one after the other when it saves them, and writes the upper 40 bits of
 * the timebase by what it has just read of the lower 24.  Where the machine stands
 * still between the two, which an emulated one does, time is lost.
 *
 * @most: ticks that have passed for the VMM meanwhile
 */
static bool time_is_kept(const struct state *state, __u64 most)
{
	const __u64 passed = state->time_after[2] - state->time[0];
	const __u64 counted = state->time[1] - state->time_after[1];

	if (state->time_after[0] > state->time[2] && passed <= most &&
	    counted > passed / 2 && counted <= passed)
		return true;
	ktap_say("  %llu ticks for the VMM, %llu in the guest, whose decrementer counted %llu",
		 (unsigned long long)most, (unsigned long long)passed,
		 (unsigned long long)counted);
	return false;
}

static void check_others(struct env *env, const struct state *state)
{
	unsigned int i;

	for (i = 0; i < 32; i++) {
		if (is_used(i) || state->gpr_after[i] == state->gpr[i])
			continue;
		ktap_say("  r%u: %llx", i, state->gpr_after[i]);
		env->failed = true;
	}
	/* CR2 to CR4, the others are volatile */
	expect(env, (state->cr & 0xfff000) == (state->gpr[30] & 0xfff000));
	expect(env, state->vscr[1] == VSCR_SAT);
	expect(env, !memcmp(state->vsr, state->vsr_after, sizeof(state->vsr)));
}

/* Of POWER8 only; QEMU's later machines have them, too, and KVM does not know them */
static bool is_of_power8(unsigned int spr)
{
	return (spr >= SPR_TACR && spr <= SPR_CSIGR) || spr == SPR_WORT;
}

static void find_sprs(const struct vm *vm, bool *has)
{
	const char *cpu = (const char *)getauxval(AT_BASE_PLATFORM);
	unsigned int i;

	for (i = 0; i < NR_SPRS; i++)
		has[i] = (!is_of_power8(spr_of(i)->nr) || !strcmp(cpu, "power8")) &&
			 has_spr(vm, spr_of(i)->nr);
}

CASE(every_register_is_kept)
{
	struct program program = { };
	const __u64 offset = 0x1234567000000;
	struct state *state;
	bool has[NR_SPRS], kept;
	unsigned int tries = 0;
	__u64 began;

	begin_state(env);
	ktap_need(vm_set_reg(&env->vm, KVM_REG_PPC_TB_OFFSET, &offset),
		  "a timebase of the guest's own");
	state = state_of(&env->vm);
	find_sprs(&env->vm, has);
	emit_all(&program, has);
	/* The machine may have stood still, but does not each time */
	do {
		fill_state(state);
		began = __builtin_ppc_get_timebase();
		expect(env, run_program(&env->vm, &program));
		kept = time_is_kept(state, __builtin_ppc_get_timebase() - began);
	} while (!env->failed && !kept && ++tries < 200);
	expect(env, kept);
	check_sprs(env, state, has);
	check_others(env, state);
}

/*
 * By the VMM: those that only it can set, too
 */

static const __u64 registers[] = {
	KVM_REG_PPC_DSCR, KVM_REG_PPC_AMR, KVM_REG_PPC_UAMOR, KVM_REG_PPC_IAMR,
	KVM_REG_PPC_TAR, KVM_REG_PPC_FSCR, KVM_REG_PPC_EBBHR, KVM_REG_PPC_EBBRR,
	KVM_REG_PPC_BESCR, KVM_REG_PPC_SIAR, KVM_REG_PPC_SDAR, KVM_REG_PPC_PMC1,
	KVM_REG_PPC_PMC2, KVM_REG_PPC_PMC3, KVM_REG_PPC_PMC4, KVM_REG_PPC_PMC5,
	KVM_REG_PPC_PMC6, KVM_REG_PPC_VRSAVE, KVM_REG_PPC_FPSCR,
	KVM_REG_PPC_TIDR, KVM_REG_PPC_PSPB, KVM_REG_PPC_PID,
	KVM_REG_PPC_WORT, KVM_REG_PPC_CIABR, KVM_REG_PPC_DAWR,
	KVM_REG_PPC_DAWRX, KVM_REG_PPC_DAWR1, KVM_REG_PPC_DAWRX1,
	KVM_REG_PPC_TACR, KVM_REG_PPC_TCSCR, KVM_REG_PPC_CSIGR,
	KVM_REG_PPC_ACOP, KVM_REG_PPC_PSSCR, KVM_REG_PPC_PPR,
};

#define NR_REGISTERS	(ARRAY_SIZE(registers) + 64)

static __u64 register_id(unsigned int i)
{
	if (i < 32)
		return KVM_REG_PPC_FPR0 + i;
	if (i < 64)
		return KVM_REG_PPC_VR0 + (i - 32);
	return registers[i - 64];
}

static size_t register_size(unsigned int i)
{
	return 1UL << ((register_id(i) & KVM_REG_SIZE_MASK) >>
		       KVM_REG_SIZE_SHIFT);
}

/* A value that the register can have, and that no other register has */
static bool fill_register(const struct vm *vm, unsigned int i, __u64 *value)
{
	value[0] = 0x1111111111111111UL * (i % 15 + 1) + i;
	value[1] = ~value[0];
	switch (register_id(i)) {
	case KVM_REG_PPC_FPSCR:
		/* Some of its bits are what others make them: round up */
		value[0] = 2;
		break;
	case KVM_REG_PPC_AMR:
	case KVM_REG_PPC_IAMR:
		/* Without the keys 0 and 31, which lead to the guest's program */
		value[0] = 0x0123456789abcde0;
		break;
	case KVM_REG_PPC_DAWR:
	case KVM_REG_PPC_DAWR1:
		/* Far from what the guest uses */
		value[0] = 0x123456780;
		break;
	case KVM_REG_PPC_DAWRX:
	case KVM_REG_PPC_DAWRX1:
		/* Reads and writes of the guest's kernel */
		value[0] = 0x1a;
		break;
	case KVM_REG_PPC_CIABR:
		/* An instruction of the guest's user space */
		value[0] = 0x123456781;
		break;
	case KVM_REG_PPC_PID:
	case KVM_REG_PPC_WORT:
		value[0] = 0x123;
		break;
	case KVM_REG_PPC_PSSCR:
		value[0] = 0x35;
		break;
	case KVM_REG_PPC_PPR:
		value[0] = 0x0008000000000000;
		break;
	}
	if (!vm_set_reg(vm, register_id(i), value))
		return false;
	return vm_get_reg(vm, register_id(i), value);
}

CASE(registers_of_the_vmm_are_kept)
{
	__u64 before[NR_REGISTERS][2] = { }, after[2];
	struct program program = { };
	bool has[NR_REGISTERS], has_psscr;
	unsigned int i, checked = 0;

	begin_state(env);
	has_psscr = has_spr(&env->vm, SPR_PSSCR);
	for (i = 0; i < NR_REGISTERS; i++)
		has[i] = (register_id(i) != KVM_REG_PPC_PSSCR || has_psscr) &&
			 fill_register(&env->vm, i, before[i]);
	emit_calls(&program, 20);
	expect(env, run_program(&env->vm, &program));
	for (i = 0; i < NR_REGISTERS; i++) {
		if (!has[i])
			continue;
		vm_get_reg(&env->vm, register_id(i), after);
		checked++;
		if (!memcmp(after, before[i], register_size(i)))
			continue;
		ktap_say("  register 0x%llx has changed", register_id(i));
		env->failed = true;
	}
	ktap_say("  %u registers", checked);
	expect(env, checked >= 64);
}

/*
 * The PMU
 */

/* Counters off and on; on is with access for user space, where that can be had */
#define PMU_FROZEN	0x80000000U
#define PMU_RUNNING	0x00080000U

static void emit_pmu(struct program *program, __u32 mmcr0)
{
	emit_li(program, WORK, mmcr0 >> 1);
	emit(program, 31U << 26 | WORK << 21 | WORK << 16 | WORK << 11 | 266 << 1);
	emit_mtspr(program, SPR_MMCR0, WORK);
}

/*
 * Is a facility that KVM has turned off in HFSCR kept from the guest?  Then KVM loads
 * its registers when the guest uses it.  QEMU 10 lets the guest have it.
 */
static bool kept_from_guest(const struct vm *vm, __u64 id, unsigned int spr)
{
	const __u64 value = 0x5a2b3c40;
	struct state *state = state_of(vm);
	struct program program = { }, nothing = { };

	/* It is off once the guest has left */
	run_program(vm, &nothing);
	ktap_need(vm_set_reg(vm, id, &value), "setting a register");
	emit_mfspr(&program, WORK, spr);
	emit_std(&program, WORK, offsetof(struct state, in));
	return run_program(vm, &program) && state->in[0] == value;
}

static void need_pmu(const struct vm *vm)
{
	if (!kept_from_guest(vm, KVM_REG_PPC_PMC1, SPR_PMC1))
		case_skip("this machine does not keep the PMU from a guest");
}

static sigjmp_buf refused;

static void on_refusal(int signal)
{
	siglongjmp(refused, signal);
}

static unsigned long read_pmc5(void)
{
	unsigned long value;

	asm volatile("mfspr %0, 775" : "=r" (value));
	return value;
}

/* Does a counter go on in this process?  One that it cannot read does not */
static bool pmu_runs(void)
{
	struct sigaction action = { .sa_handler = on_refusal };
	unsigned long first;
	unsigned int i;

	sigaction(SIGILL, &action, NULL);
	if (sigsetjmp(refused, 1))
		return false;
	first = read_pmc5();
	for (i = 0; i < 10000; i++)
		asm volatile("");
	return read_pmc5() != first;
}

/* The guest says that it does not use the PMU, and does */
CASE(pmu_stops_with_the_guest)
{
	struct program program = { };

	run_on_cpu(0);
	begin_state(env);
	set_pmcregs(&env->vm, false);
	need_pmu(&env->vm);
	expect(env, !pmu_runs());

	emit_pmu(&program, PMU_FROZEN);
	emit_calls(&program, 1);
	emit_pmu(&program, PMU_RUNNING);
	expect(env, run_program(&env->vm, &program));
	expect(env, !pmu_runs());
}

/* Instructions that the guest's PMU counts for a hypercall, or for none */
static __u64 count_once(const struct vm *vm, const struct vm_call *call)
{
	struct state *state = state_of(vm);
	struct program program = { };

	emit_set_spr(&program, SPR_PMC5, 0);
	emit_pmu(&program, PMU_RUNNING);
	if (call)
		emit_call(&program, call);
	/* An emulated CPU counts at the end of a block */
	emit(&program, 18U << 26 | 4);
	emit_pmu(&program, PMU_FROZEN);
	emit_mfspr(&program, WORK, SPR_PMC5);
	emit_std(&program, WORK, offsetof(struct state, after));
	ktap_need(run_program(vm, &program), "a PMU");
	return state->after[0];
}

/*
 * The same for a way out of the guest and back in: the host's interrupts make it leave
 * more often, each time in the worst case.  One exit is that at the program's end.
 */
static __u64 count(const struct vm *vm, const struct vm_call *call)
{
	__u64 fewest = ~0UL, least = 0, exits, n;
	unsigned int i;

	for (i = 0; i < 50; i++) {
		exits = vm_stat(vm, "sum_exits");
		n = count_once(vm, call);
		exits = vm_stat(vm, "sum_exits") - exits;
		if (exits < fewest || (exits == fewest && n < least)) {
			fewest = exits;
			least = n;
		}
	}
	return fewest > 2 ? least / (fewest - 1) : least;
}

/*
 * What the host does for a hypercall is not counted: one with many entries counts as
 * the way out of the guest and back in.
 */
static void host_is_not_counted(struct env *env, int pmcregs)
{
	static const unsigned int entries[] = { 1, 16, 512 };
	unsigned int i, tries;
	__u64 way, counted;

	begin_state(env);
	if (pmcregs >= 0)
		set_pmcregs(&env->vm, true);
	if (!count(&env->vm, NULL))
		case_skip("the guest's PMU counts no instructions");
	way = count(&env->vm, &calls[0]);
	ktap_say("  the way out of the guest and back counts as %llu instructions",
		 way);
	/* Of the guest's own there are twenty */
	expect(env, way >= 20);

	if (!pmcregs) {
		set_pmcregs(&env->vm, false);
		need_pmu(&env->vm);
	}
	for (i = 0; i < ARRAY_SIZE(entries); i++) {
		const struct vm_call call = {
			H_PUT_TCE_INDIRECT, { LIOBN, 0, LIST, entries[i] }
		};

		/*
		 * Nothing, when the guest was left and the PMU was not saved.  A busy
		 * machine may leave the guest more often than KVM counts, for a while.
		 */
		tries = 0;
		do {
			counted = count(&env->vm, &call);
		} while (counted >= way + 100 && ++tries < 20);
		ktap_say("  %u entries count as %llu instructions", entries[i],
			 counted);
		expect(env, counted < way + 100);
	}
}

CASE_CALL(host_is_not_counted_without_vpa, host_is_not_counted, -1);
CASE_CALL(host_is_not_counted_with_vpa, host_is_not_counted, 1);
CASE_CALL(host_is_not_counted_unannounced, host_is_not_counted, 0);

/*
 * Another guest
 */

static void leave_out_ebb(bool *has)
{
	unsigned int i;

	for (i = 0; i < NR_SPRS; i++)
		if (spr_of(i)->nr >= SPR_EBBHR && spr_of(i)->nr <= SPR_BESCR)
			has[i] = false;
}

/*
 * The first guest fills its registers on this CPU.  The second one, without a device,
 * reads them all; for the PMU's, it says so in time or, if @late, in the middle of a run.
 */
static void look_for_traces(struct env *env, bool late)
{
	struct program fill = { }, look = { };
	struct state *first, *second;
	bool has[NR_SPRS];
	struct vm vm;
	unsigned int i;

	run_on_cpu(0);
	begin_state(env);
	vm_create(&vm, 16 << 20);
	start_guest(&vm);
	if (late)
		set_pmcregs(&vm, false);
	first = state_of(&env->vm);
	second = state_of(&vm);
	find_sprs(&env->vm, has);
	fill_state(first);
	if (!kept_from_guest(&vm, KVM_REG_PPC_EBBHR, SPR_EBBHR)) {
		ktap_say("  this machine does not keep EBB from a guest");
		leave_out_ebb(has);
	}
	memset(second, 0, sizeof(*second));
	emit_all(&fill, has);
	if (late) {
		/* To KVM, and then a full exit that saves what is there */
		emit_li(&look, WORK, VPA);
		emit_li(&look, WORK + 1, 1);
		emit(&look, 38U << 26 | (WORK + 1) << 21 | WORK << 16 | VPA_PMCREGS);
		emit_call(&look, &user_call);
	}
	emit_read_sprs(&look, has, offsetof(struct state, after));
	for (i = 0; i < 64; i++)
		emit_vsr(&look, STXVD2X, i,
			 offsetof(struct state, vsr_after) + i * 16);

	expect(env, run_program(&env->vm, &fill));
	expect(env, run_program(&vm, &look));
	for (i = 0; i < NR_SPRS; i++) {
		if (!has[i] || first->before[i] != spr_of(i)->value ||
		    second->after[i] != spr_of(i)->value)
			continue;
		ktap_say("  %s has the first guest's %llx", spr_of(i)->name,
			 second->after[i]);
		env->failed = true;
	}
	for (i = 0; i < 64; i++) {
		if (second->vsr_after[i][0] >> 32 != 0x4a2b3c40 &&
		    second->vsr_after[i][1] >> 32 != 0x4a2b3c40)
			continue;
		ktap_say("  VSR%u has the first guest's", i);
		env->failed = true;
	}
}

CASE_CALL(second_guest_finds_no_traces, look_for_traces, false);
CASE_CALL(late_user_of_the_pmu_finds_no_traces, look_for_traces, true);

int main(void)
{
	return run_cases_on_tiers();
}

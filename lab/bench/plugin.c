// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU 10: what an emulated host executes for the hypercalls of its guest.
 *
 *	-plugin bench-plugin.so,out=FILE
 *
 * A call is what a CPU executes from the guest's "sc 1" to the guest's next instruction:
 * the guest's own are in none.  tce_bench and tce_scale write the number of a load to a
 * register of the edu device before they measure it, and 0 after.  Of the calls between,
 * the shortest of each place in the guest's program is told: others were interrupted.
 * A line for each instruction of it has
 *
 *	LOAD PLACE CPU ADDRESS OPCODE
 *	how often it was executed, and how often it then
 *	came into the firmware from elsewhere
 *	stored to a device
 *	stored to the register that invalidates TCEs
 *	stored to a cache line to which another CPU stores, too, in such calls of this load
 *	asked the machine below for a change of TCEs
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

EXPORTED int qemu_plugin_version = 4;

#define CPUS		4
#define PLACES		2
#define SC_1		0x44000022
#define LINE_SHIFT	7
#define LINES		0x1000000	/* of 2G */
#define OFTEN		4

/* GUEST_CODE of the selftests */
static bool in_guest(__u64 pc)
{
	return pc >= 0x10000 && pc < 0x10100;
}

static bool in_firmware(__u64 pc)
{
	return pc >= 0x30000000 && pc < 0x34000000;
}

/* Programs lie higher */
static bool in_kernel(__u64 pc)
{
	return pc >> 60 || pc < 0x4000000;
}

struct times { bool listed; unsigned int ran, entered, device, kill, shared, tce; };
struct insn { __u64 pc; __u32 opcode; struct times of[CPUS]; };
struct row { struct insn *insn; struct times of; };
struct store { struct insn *insn; __u32 line; };
struct stores { struct store *at; size_t nr, size; };

static struct call {
	__u64 place;			/* of "sc", or 0 outside of a call */
	unsigned int marks;		/* when the call began */
	struct insn **insns;
	size_t nr, size;
	struct stores stores;
	__u64 total;
	bool firmware;
} calls[CPUS];

static struct best {
	__u64 place, total;
	struct row *rows;
	size_t nr;
	struct stores stores;
} best[CPUS][PLACES];

/* How many calls of the load, by CPU, stored to a line; @call is the last one of them */
static struct line { __u32 load, call; __u8 calls[CPUS]; } lines[LINES];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct counter in_call;
static unsigned int load;
static bool measuring;
static atomic_uint marks;			/* how many there were */
static __u32 nr_calls;
static void *r3;
static FILE *out;

/* By @cpu itself only: it changes its call without the lock */
static void end(unsigned int cpu)
{
	struct call *call = &calls[cpu];
	size_t i;

	if (!call->place)
		return;
	for (i = 0; i < call->nr; i++)
		memset(&call->insns[i]->of[cpu], 0, sizeof(struct times));
	*call = (struct call){ .insns = call->insns, .size = call->size,
			       .stores = { call->stores.at, .size = call->stores.size } };
	qemu_plugin_u64_set(in_call, cpu, 0);
}

static void note_stores(unsigned int cpu)
{
	const struct stores *stores = &calls[cpu].stores;
	size_t i;

	nr_calls++;
	for (i = 0; i < stores->nr; i++) {
		struct line *line = &lines[stores->at[i].line];

		if (line->load != load)
			*line = (struct line){ .load = load };
		if (line->call != nr_calls)
			line->calls[cpu] += line->calls[cpu] < OFTEN;
		line->call = nr_calls;
	}
}

/* Does another CPU store to it, too?  A few times it may have been interrupted */
static bool is_shared(const struct line *line, unsigned int cpu)
{
	unsigned int other;

	for (other = 0; other < CPUS; other++)
		if (other != cpu && line->load == load && line->calls[other] == OFTEN)
			return true;
	return false;
}

static void keep_best(unsigned int cpu)
{
	struct call *call = &calls[cpu];
	struct best *b = best[cpu];
	struct stores stores;
	size_t i;

	note_stores(cpu);
	while (b < best[cpu] + PLACES && b->place && b->place != call->place)
		b++;
	if (b == best[cpu] + PLACES || (b->place && call->total >= b->total))
		return;

	b->place = call->place;
	b->total = call->total;
	b->nr = call->nr;
	b->rows = realloc(b->rows, call->nr * sizeof(*b->rows));
	for (i = 0; i < call->nr; i++)
		b->rows[i] = (struct row){ call->insns[i], call->insns[i]->of[cpu] };
	stores = b->stores;
	b->stores = call->stores;
	call->stores = stores;
}

static void tell(const struct best *b, unsigned int cpu)
{
	const struct row *row;
	size_t i;

	for (i = 0; i < b->stores.nr; i++)
		b->stores.at[i].insn->of[cpu].shared +=
			is_shared(&lines[b->stores.at[i].line], cpu);

	for (row = b->rows; row < b->rows + b->nr; row++) {
		fprintf(out, "%u %llx %u %llx %08x %u %u %u %u %u %u\n", load, b->place, cpu,
			row->insn->pc, row->insn->opcode, row->of.ran, row->of.entered,
			row->of.device, row->of.kill, row->insn->of[cpu].shared, row->of.tce);
		row->insn->of[cpu].shared = 0;
	}
}

static void tell_best(void)
{
	unsigned int cpu;
	struct best *b;

	for (cpu = 0; cpu < CPUS; cpu++) {
		for (b = best[cpu]; b < best[cpu] + PLACES && b->place; b++) {
			tell(b, cpu);
			b->place = 0;
		}
	}
}

static void tell_last(__u64 id, void *arg)
{
	tell_best();
	fclose(out);
}

/*
 * A test begins to measure load @number, several times, or stops (0).  Calls that are
 * under way do not count; each CPU ends its own when it sees that there was a mark.
 */
static void mark(unsigned int number)
{
	marks++;
	measuring = number;
	if (!number || number == load)
		return;
	tell_best();
	load = number;
}

static void ran_in_guest(unsigned int cpu, void *arg)
{
	const struct insn *insn = arg;
	struct call *call = &calls[cpu];

	pthread_mutex_lock(&lock);
	if (call->place && call->marks == marks && insn->pc == call->place + 4)
		keep_best(cpu);
	/* Interrupted, the guest executes "sc 1" once more */
	end(cpu);
	if (measuring && insn->opcode == SC_1) {
		call->place = insn->pc;
		call->marks = marks;
		qemu_plugin_u64_set(in_call, cpu, 1);
	}
	pthread_mutex_unlock(&lock);
}

/*
 * What @insn did in the call.  Where it stores to a device, QEMU translates it once more:
 * one struct insn has then been executed, and another one has stored.
 */
static struct times *listed(unsigned int cpu, struct insn *insn)
{
	struct call *call = &calls[cpu];

	if (!insn->of[cpu].listed) {
		if (call->nr == call->size) {
			call->size += 4096;
			call->insns = realloc(call->insns, call->size * sizeof(insn));
		}
		call->insns[call->nr++] = insn;
		insn->of[cpu].listed = true;
	}
	return &insn->of[cpu];
}

static void ran(unsigned int cpu, void *arg)
{
	struct call *call = &calls[cpu];
	const struct insn *insn = arg;
	const bool firmware = in_firmware(insn->pc);
	struct times *of;

	if (call->marks != marks) {
		/* tell() may be at what end() clears */
		pthread_mutex_lock(&lock);
		end(cpu);
		pthread_mutex_unlock(&lock);
		return;
	}

	of = listed(cpu, arg);
	of->ran++;
	of->entered += firmware && !call->firmware;
	call->total++;
	call->firmware = firmware;
}

/* A hypercall of the host to the machine below; of a register, gdb gets the guest's bytes */
static void ran_sc(unsigned int cpu, void *arg)
{
	struct array *array = g_byte_array_new();
	struct insn *insn = arg;
	__u64 nr;

	qemu_plugin_read_register(r3, array);
	memcpy(&nr, array->data, sizeof(nr));
	g_byte_array_free(array, 1);
	if (nr >> 32)
		nr = __builtin_bswap64(nr);
	/* H_PUT_TCE, H_STUFF_TCE, H_PUT_TCE_INDIRECT */
	insn->of[cpu].tce += nr == 0x20 || nr == 0x138 || nr == 0x13c;
}

/* Some machines take it in the other byte order */
static __u32 marked(__u32 value)
{
	return value >> 16 ? __builtin_bswap32(value) : value;
}

static void stored_to_device(const void *at, __u32 info, struct times *of)
{
	const char *name = qemu_plugin_hwaddr_device_name(at);
	const unsigned int offset = qemu_plugin_hwaddr_phys_addr(at) & 0xfff;

	if (!strcmp(name, "edu-mmio") && offset == 4) {
		pthread_mutex_lock(&lock);
		mark(marked(qemu_plugin_mem_get_value(info).data.u32));
		pthread_mutex_unlock(&lock);
	} else if (of) {
		of->device++;
		of->kill += !strncmp(name, "phb", 3) && offset == 0x210;
	}
}

static void stored(unsigned int cpu, __u32 info, __u64 addr, void *arg)
{
	const struct insn *insn = arg;
	struct call *call = &calls[cpu];
	const void *at;
	struct times *of = call->place ? listed(cpu, arg) : NULL;

	/* QEMU cannot tell of a store that changes the map, as firmware's do now and then */
	if (!of && in_firmware(insn->pc))
		return;

	at = qemu_plugin_get_hwaddr(info, addr);
	if (at && qemu_plugin_hwaddr_is_io(at)) {
		stored_to_device(at, info, of);
	} else if (at && of) {
		struct stores *stores = &call->stores;

		if (stores->nr == stores->size) {
			stores->size += 4096;
			stores->at = realloc(stores->at, stores->size * sizeof(*stores->at));
		}
		stores->at[stores->nr++] = (struct store){
			arg, (qemu_plugin_hwaddr_phys_addr(at) >> LINE_SHIFT) % LINES };
	}
}

static void translated(__u64 id, void *tb)
{
	size_t i;

	for (i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		void *handle = qemu_plugin_tb_get_insn(tb, i);
		struct insn *insn = calloc(1, sizeof(*insn));

		insn->pc = qemu_plugin_insn_vaddr(handle);
		qemu_plugin_insn_data(handle, &insn->opcode, sizeof(insn->opcode));
		/* The firmware is big-endian */
		if (in_firmware(insn->pc))
			insn->opcode = __builtin_bswap32(insn->opcode);
		if (in_guest(insn->pc)) {
			qemu_plugin_register_vcpu_insn_exec_cb(handle, ran_in_guest, NO_REGS,
							       insn);
			continue;
		}
		qemu_plugin_register_vcpu_insn_exec_cond_cb(handle, ran, NO_REGS, NOT_EQUAL,
							    in_call, 0, insn);
		if (insn->opcode == SC_1 && in_kernel(insn->pc))
			qemu_plugin_register_vcpu_insn_exec_cond_cb(handle, ran_sc, READ_REGS,
								    NOT_EQUAL, in_call, 0,
								    insn);
		qemu_plugin_register_vcpu_mem_cb(handle, stored, NO_REGS, STORES, insn);
	}
}

static void find_r3(__u64 id, unsigned int cpu)
{
	const struct array *array = qemu_plugin_get_registers();
	const struct reg *reg = (const struct reg *)array->data;
	unsigned int i;

	for (i = 0; i < array->len; i++)
		if (!strcmp(reg[i].name, "r3"))
			r3 = reg[i].handle;
}

EXPORTED int qemu_plugin_install(__u64 id, const void *info, int argc, char **argv)
{
	if (argc != 1 || strncmp(argv[0], "out=", 4))
		return 1;
	out = fopen(argv[0] + 4, "w");
	if (!out)
		return 1;
	in_call.score = qemu_plugin_scoreboard_new(sizeof(__u64));
	qemu_plugin_register_atexit_cb(id, tell_last, NULL);
	qemu_plugin_register_vcpu_init_cb(id, find_r3);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}

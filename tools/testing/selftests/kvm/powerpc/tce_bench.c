// SPDX-License-Identifier: GPL-2.0-only
/*
 * What TCE hypercalls cost a guest, in ticks of the timebase.  Under QEMU's
 * -icount shift=0 an instruction takes a nanosecond, which makes this a count of
 * instructions that is the same on every run; elsewhere it is time.
 *
 * Each way to serve a hypercall is forced in turn, in each set of circumstances.
 * A "# bench" line for each load has what it took per round.  Before it is
 * measured, its number ("id") is written to a register of the device that does
 * nothing, and 0 after: so whoever looks at the machine can tell the loads apart.
 *
 * Environment: tce_bench=full for everything (else a glance, as a test of this
 * program); tce_load=N for that load alone, the way that tce_way=NAME says.
 */
#include <endian.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>

#include "cases.h"

#define REGION		0x10000UL	/* a host page, at most */
#define MANY		256
#define MEMORY		(MANY * REGION)
#define SPREAD		200		/* of these regions the list knows */

/* Of the architecture; QEMU and hardware alike */
#define TICKS_PER_SECOND	512000000UL

/* Who serves: @tiers for the kernel's parameter, @stat what counts it then */
static const struct way {
	const char *name;
	int tiers;
	const char *stat;
} ways[] = {
	{ "user", 7, NULL },
	{ "base", -1, NULL },
	{ "virtual", 0, "tce_virtual_mode" },
	{ "early", 4, "tce_early_exit" },
	{ "partial", 2, "tce_partial_exit" },
	{ "real", 1, "tce_real_mode" },
	{ "tree", 7, NULL },
};

static const struct config {
	const char *name;
	unsigned int regions, liobns, tables;
	bool spread, unbound;
} configs[] = {
	{ "one", 1, 1, 1 },
	{ "regions", MANY, 1, 1 },
	{ "spread", MANY, 1, 1, .spread = true },
	{ "liobns", 1, MANY, 1 },
	{ "tables", 1, 1, 2 },
	/* As those of emulated devices */
	{ "unbound", 1, 1, 1, .unbound = true },
};

#define MAP1	{ H_PUT_TCE, { LIOBN, 0, DATA | RW } }
#define LIST1	{ H_PUT_TCE_INDIRECT, { LIOBN, 0, LIST, 1 } }
#define LIST512	{ H_PUT_TCE_INDIRECT, { LIOBN, 0, LIST, 512 } }
#define CLEAR1	{ H_STUFF_TCE, { LIOBN, 0, 0, 1 } }
#define CLEAR512 { H_STUFF_TCE, { LIOBN, 0, 0, 512 } }

/* What is measured is @first and @second; @before brings back what they need */
static const struct load {
	const char *name;
	struct vm_call first, second, before;
} loads[] = {
	{ .name = "put", .first = MAP1 },
	{ .name = "indirect512", .first = LIST512 },
	{ .name = "map512+clear512", .first = LIST512, .second = CLEAR512 },
	{ .name = "stuff512-nothing", .first = CLEAR512 },
	{ .name = "map1+clear1", .first = MAP1, .second = CLEAR1 },
	{ .name = "get", .first = { H_GET_TCE, { LIOBN, 0 } } },
	{ .name = "put-map", .first = MAP1, .before = CLEAR1 },
	{ .name = "put-clear", .first = { H_PUT_TCE, { LIOBN, 0, 0 } },
	  .before = MAP1 },
	{ .name = "indirect1-map", .first = LIST1, .before = CLEAR1 },
	{ .name = "stuff1-clear", .first = CLEAR1, .before = MAP1 },
	{ .name = "indirect512-map", .first = LIST512, .before = CLEAR512 },
	{ .name = "stuff512-clear", .first = CLEAR512, .before = LIST512 },
};

/* What serves a way and a configuration; of the process that measures them */
static struct bench {
	struct vm vm;
	struct vfio_dev dev[2];
	int tablefd[2];
	const struct way *way;
	const struct config *config;
	unsigned int rounds;
	unsigned int id;
	bool counters;
	__u64 *table;
} bench;

static bool full;

/*
 * Served by user space, as QEMU does without a binding: it keeps the table, and
 * maps or unmaps each entry in each container.
 */
static void user_set(struct bench *b, __u64 bus, __u64 tce)
{
	unsigned int i;

	b->table[bus / PAGE] = tce;
	for (i = 0; i < b->config->tables; i++) {
		void *mem = b->vm.mem + (tce & ~(PAGE - 1));
		int ret = tce & RW ? vfio_map(&b->dev[i], bus, mem, PAGE) :
				     vfio_unmap(&b->dev[i], bus, PAGE);

		ktap_need(!ret, "user space changing the entry of 0x%llx", bus);
	}
}

static long user_answer(struct vm *vm, __u64 nr, __u64 *args)
{
	__u64 i, n = nr == H_PUT_TCE || nr == H_GET_TCE ? 1 : args[3];
	const __be64 *list = (__be64 *)(vm->mem + args[2]);

	if (args[0] != LIOBN || args[1] / PAGE + n > ENTRIES)
		return H_PARAMETER;

	for (i = 0; i < n; i++) {
		__u64 bus = args[1] + i * PAGE;

		if (nr == H_GET_TCE)
			args[0] = bench.table[bus / PAGE];
		else if (nr == H_PUT_TCE_INDIRECT)
			user_set(&bench, bus, be64toh(list[i]));
		else
			user_set(&bench, bus, args[2]);
	}
	return H_SUCCESS;
}

/*
 * Circumstances
 */

static void set_tiers(int tiers)
{
	FILE *f = fopen(TIERS, "w");

	if (f) {
		fprintf(f, "%d", tiers);
		fclose(f);
	}
}

/* The guest's memory, as one region or many, and @n others that are not used */
static void register_regions(struct bench *b, const struct vfio_dev *dev,
			     unsigned int n)
{
	size_t at, size = b->config->spread ? REGION : b->vm.size;
	__u8 *more;

	/* The base looks at the region last that was registered first */
	for (at = 0; at < b->vm.size; at += size)
		vfio_register(dev, b->vm.mem + at, size);

	more = new_memory(MANY * 2 * REGION);
	more = (__u8 *)(((uintptr_t)more + REGION - 1) & ~(REGION - 1));
	for (; n > 1; n--)
		vfio_register(dev, more + 2 * n * REGION, REGION);
}

static void add_group(struct bench *b, struct vfio_dev *dev)
{
	const unsigned int regions = b->config->spread ? 1 : b->config->regions;

	vfio_open_group(dev);
	register_regions(b, dev, dev == b->dev ? regions : 1);
	vfio_create_window(dev, SHIFT, WINDOW);
	if (!b->vm.answer) {
		ktap_need(!vm_group_add(&b->vm, dev), "adding the group");
		ktap_need(b->config->unbound ||
			  !vm_bind(&b->vm, dev, b->tablefd[0]), "binding");
	}
	/* For edu_mark() */
	vfio_open_device(dev);
}

/* A page for each entry of the list: side by side, or in another region each */
static void fill(struct bench *b)
{
	unsigned int i;

	for (i = 0; i < 512; i++) {
		__u64 page = DATA + (b->config->spread ?
				     i * 37 % SPREAD * REGION : i * PAGE);

		((__u64 *)(b->vm.mem + LIST))[i] = htobe64(page | RW);
	}
}

static void set_up(struct bench *b)
{
	unsigned int i;

	vm_create(&b->vm, MEMORY);
	if (!strcmp(b->way->name, "user")) {
		b->vm.answer = user_answer;
		b->table = calloc(ENTRIES, sizeof(*b->table));
		ktap_need(b->table, "memory for a table");
	} else {
		/* The base looks at the LIOBN last that was created first */
		b->tablefd[0] = vm_create_liobn(&b->vm, LIOBN, SHIFT, ENTRIES);
		for (i = 1; i < b->config->liobns; i++)
			vm_create_liobn(&b->vm, LIOBN + i, SHIFT, 512);
	}
	for (i = 0; i < b->config->tables; i++)
		add_group(b, &b->dev[i]);
	fill(b);
}

/*
 * Measuring
 */

static __u64 ticks_to_ns(__u64 ticks)
{
	return ticks * 1000 / (TICKS_PER_SECOND / 1000000);
}

static const struct vm_call *if_any(const struct vm_call *call)
{
	return call->nr ? call : NULL;
}

/*
 * Ticks that a load's calls take, once: the least of several rounds, as in some
 * the host is interrupted.
 */
static __u64 run_load(struct bench *b, const struct load *load,
		      unsigned int rounds, unsigned int mark)
{
	__u64 ticks, least = ~0UL;

	while (rounds--) {
		if (load->before.nr)
			vm_time(&b->vm, &load->before, NULL, 1);
		edu_mark(&b->dev[0], mark);
		ticks = vm_time(&b->vm, &load->first, if_any(&load->second), 1);
		edu_mark(&b->dev[0], 0);
		if (ticks < least)
			least = ticks;
	}
	return least;
}

static const char *who_served(const struct bench *b, const __u64 *before)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ways); i++)
		if (ways[i].stat &&
		    vm_stat(&b->vm, ways[i].stat) > before[i])
			return ways[i].name;
	return "user";
}

/* One round, looked at through the kernel's counters */
static const char *count_load(struct bench *b, const struct load *load,
			      __u64 *invalidations)
{
	__u64 before[ARRAY_SIZE(ways)] = { 0 };
	const char *who;
	unsigned int i;

	if (load->before.nr)
		vm_time(&b->vm, &load->before, NULL, 1);
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		if (ways[i].stat)
			before[i] = vm_stat(&b->vm, ways[i].stat);
	*invalidations = vm_stat(&b->vm, "tce_invalidations");
	vm_time(&b->vm, &load->first, if_any(&load->second), 1);
	who = who_served(b, before);
	*invalidations = vm_stat(&b->vm, "tce_invalidations") - *invalidations;
	return who;
}

static void measure(struct bench *b, const struct load *load)
{
	const char *who = b->vm.answer ? "user" : "base";
	unsigned long exits;
	char counted[64] = "";
	__u64 ticks, n;

	/* The first rounds bring pages and levels into being */
	run_load(b, load, 2, 0);
	if (b->counters) {
		who = count_load(b, load, &n);
		if (!b->vm.answer)
			snprintf(counted, sizeof(counted), " invalidations=%llu",
				 (unsigned long long)n);
	}
	if (b->way->stat && load == loads && strcmp(who, b->way->name))
		exit(KTAP_SKIP);

	exits = b->vm.user_exits;
	ticks = run_load(b, load, b->rounds, ++b->id);
	exits = b->vm.user_exits - exits - (load->before.nr && b->vm.answer ?
					    b->rounds : 0);
	ktap_say("bench id=%u rounds=%u way=%s config=%s load=%s ns=%llu served=%s exits=%lu%s",
		 b->id, b->rounds, b->way->name, b->config->name, load->name,
		 ticks_to_ns(ticks), who, exits / b->rounds, counted);
}

/* In a process of its own, which gives everything back by ending */
static int child(struct bench *b)
{
	unsigned int i;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		set_up(b);
		for (i = 0; i < ARRAY_SIZE(loads); i++)
			measure(b, &loads[i]);
		exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void run(const struct way *way, const struct config *config,
		unsigned int nr)
{
	int code;

	bench.way = way;
	bench.config = config;
	bench.rounds = full ? 8 : 2;
	bench.id = 100 * nr;
	set_tiers(way->tiers);
	code = child(&bench);
	if (code == KTAP_SKIP)
		ktap_ok(true, "%s, %s # SKIP not on this machine", way->name,
			config->name);
	else
		ktap_ok(!code, "%s, %s", way->name, config->name);
}

static void run_one(const char *number, const char *name, const char *config)
{
	const struct load *load = &loads[strtoul(number, NULL, 10) %
					 ARRAY_SIZE(loads)];
	unsigned int i;

	bench.config = &configs[0];
	for (i = 0; config && i < ARRAY_SIZE(configs); i++)
		if (!strcmp(config, configs[i].name))
			bench.config = &configs[i];
	bench.way = &ways[ARRAY_SIZE(ways) - 1];
	for (i = 0; name && i < ARRAY_SIZE(ways); i++)
		if (!strcmp(name, ways[i].name))
			bench.way = &ways[i];
	bench.rounds = 8;
	set_tiers(bench.way->tiers);
	set_up(&bench);
	measure(&bench, load);
	ktap_ok(true, "%s, %s, %s", bench.way->name, bench.config->name, load->name);
}

int main(void)
{
	const char *mode = getenv("tce_bench"), *only = getenv("tce_load");
	const bool tree = !access(TIERS, F_OK);
	unsigned int i, j, nr = 0, nconfigs = 1, tables;

	full = mode && !strcmp(mode, "full");
	if (full)
		nconfigs = ARRAY_SIZE(configs);
	ktap_plan(only ? 1 : nconfigs * (tree ? ARRAY_SIZE(ways) - 1 : 2));
	bench.counters = tree;
	vfio_find(&bench.dev[0], EDU_VENDOR, EDU_DEVICE);
	tables = 1 + vfio_find_next(&bench.dev[1], &bench.dev[0], EDU_VENDOR,
				     EDU_DEVICE);
	if (only)
		run_one(only, getenv("tce_way"), getenv("tce_config"));

	for (i = 0; !only && i < ARRAY_SIZE(ways); i++) {
		/* User space, and what this kernel has */
		if (i && tree != (ways[i].tiers != -1))
			continue;
		for (j = 0; j < nconfigs; j++) {
			if (configs[j].tables <= tables)
				run(&ways[i], &configs[j], ++nr);
			else
				ktap_ok(true, "%s, %s # SKIP one device only",
					ways[i].name, configs[j].name);
		}
	}
	set_tiers(7);
	ktap_end();
}

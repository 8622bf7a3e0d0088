// SPDX-License-Identifier: GPL-2.0-only
/*
 * A table is bound while hypercalls are under way: when one says H_SUCCESS after the
 * binding has returned, its entries are in the new table, too.  The second device,
 * whose table that is, tells.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cases.h"

#define ROUNDS		8

/* The guest's page that the second device copies to, and the list of hypercalls */
#define TARGET		(DATA + 0x400000UL)
#define CALLS		(DATA + 0x500000UL)

/* Entries of a list, and lists that fill all of the window but the last entries */
#define LIST_ENTRIES	512
#define LISTS		(ENTRIES / LIST_ENTRIES - 1)

/**
 * struct under_way - what a case works with besides its environment
 * @env: that
 * @second: the device whose table is bound under way
 * @view: the LIOBN's entries, as they change
 * @shift: the size of its pages, as an exponent of 2
 * @guest: what the guest does; its answer is @answer
 * @answer: H_SUCCESS when each call said so
 * @beforehand: bind before the guest begins, and nothing may be lost
 * @early: an entry that changes when the guest has begun
 * @was: what the entries are before they are changed, as far as zero goes
 * @nr: entries that the guest changes
 * @each: of them by one hypercall
 * @late: rounds in which a hypercall was under way when the binding returned
 * @lost: of them those in which the new table lacks an entry
 */
struct under_way {
	struct env *env;
	struct vfio_dev second;
	const atomic_ulong *view;
	unsigned int shift;
	long (*guest)(struct env *env);
	long answer;
	bool beforehand;
	__u64 early;
	bool was;
	__u64 nr;
	__u64 each;
	unsigned int late;
	unsigned int lost;
};

static bool changed(const struct under_way *way, __u64 entry)
{
	return !!atomic_load(&way->view[entry]) != way->was;
}

/* Both groups have their windows; the LIOBN is bound to the first one's */
static void begin_under_way(struct under_way *way, struct env *env)
{
	const __u64 size = (WINDOW >> way->shift) * 8;

	way->env = env;
	need_more(env, &way->second, 1);
	begin_with_pages(env, way->shift);
	open_with_window(env, &way->second);
	vfio_open_device(&way->second);
	/* All of it is there from now on, for the tiers that allocate nothing */
	way->view = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE,
			 env->tablefd, 0);
	ktap_need(way->view != MAP_FAILED, "mapping the LIOBN's entries");
	run_on_cpu(0);
}

static void bind_second(const struct under_way *way)
{
	struct env *env = way->env;

	expect(env, vm_bind(&env->vm, &way->second, env->tablefd) == 0);
}

static void *guest_thread(void *arg)
{
	struct under_way *way = arg;

	run_on_cpu(1);
	way->answer = way->guest(way->env);
	return NULL;
}

/*
 * Bind the second table while the guest is at it.  Returns the first entry of the
 * hypercall that was the next one to return, or @way->nr when all had.
 */
static __u64 bind_under_way(struct under_way *way)
{
	struct env *env = way->env;
	pthread_t thread;
	__u64 entry;

	expect(env, vm_group_add(&env->vm, &way->second) == 0);
	if (way->beforehand)
		bind_second(way);
	pthread_create(&thread, NULL, guest_thread, way);
	while (!changed(way, way->early))
		;
	if (!way->beforehand)
		bind_second(way);
	for (entry = 0; entry < way->nr; entry += way->each)
		if (!changed(way, entry + way->each - 1))
			break;
	pthread_join(thread, NULL);
	expect(env, way->answer == H_SUCCESS);
	return entry;
}

/* Does the second device read, at this entry, what is in the guest's @page? */
static bool reaches(struct under_way *way, __u64 entry, __u64 page)
{
	const __u64 target = WINDOW - (1UL << way->shift);
	struct env *env = way->env;
	__u8 *mem = env->vm.mem;
	bool same;

	memset(mem + page, rand(), PAGE);
	memset(mem + page, rand(), PAGE / 2);
	memset(mem + TARGET, 0, PAGE);
	expect(env, put(env, target, TARGET | RW) == H_SUCCESS);
	edu_copy(&way->second, entry << way->shift, target, PAGE);
	same = !memcmp(mem + page, mem + TARGET, PAGE);
	expect(env, put(env, target, 0) == H_SUCCESS);
	return same;
}

/* @lost: the new table lacks an entry of a hypercall that returned after the binding */
static void end_of_round(struct under_way *way, bool late, bool lost)
{
	struct env *env = way->env;

	if (way->beforehand) {
		expect(env, !lost);
	} else {
		way->late += late;
		way->lost += lost;
	}
	way->beforehand = false;
	expect(env, stuff(env, 0, 0, WINDOW >> way->shift) == H_SUCCESS);
	expect(env, vm_group_del(&env->vm, &way->second) == 0);
}

static void end_under_way(struct under_way *way)
{
	struct env *env = way->env;

	ktap_say("  under way in %u of %u rounds, entries lost in %u", way->late,
		 ROUNDS, way->lost);
	expect(env, !way->lost);
	expect(env, vfio_unmap(&way->second, 0, WINDOW) == 0);
	expect(env, vfio_unregister(&way->second, env->vm.mem, env->vm.size) == 0);
	expect(env, released(env));
}

/* Rounds whose hypercalls map; entry i of a list leads to DATA + i * @page_size */
static void map_under_way(struct under_way *way, __u64 page_size)
{
	bool late, lost;
	unsigned int i;
	__u64 entry;

	way->beforehand = true;
	for (i = 0; i <= ROUNDS; i++) {
		entry = bind_under_way(way);
		late = entry < way->nr || way->beforehand;
		if (entry == way->nr)
			entry = 0;
		lost = !reaches(way, entry, DATA) ||
		       !reaches(way, entry + way->each - 1,
				DATA + (way->each - 1) * page_size);
		end_of_round(way, late, late && lost);
	}
	end_under_way(way);
}

static struct vm_called *calls_of(const struct env *env)
{
	return (struct vm_called *)(env->vm.mem + CALLS);
}

/* List after list, as fast as the tiers are */
static long put_lists(struct env *env)
{
	const struct vm_called *calls = calls_of(env);
	unsigned int i;

	vm_batch(&env->vm, NULL, CALLS, LISTS);
	for (i = 0; i < LISTS; i++)
		if (calls[i].answer)
			return calls[i].answer;
	return H_SUCCESS;
}

CASE(lists)
{
	struct under_way way = {
		.shift = SHIFT,
		.guest = put_lists,
		.early = LISTS / 4 * LIST_ENTRIES,
		.nr = LISTS * LIST_ENTRIES,
		.each = LIST_ENTRIES,
	};
	unsigned int i;

	begin_under_way(&way, env);
	fill_list(env, RW);
	for (i = 0; i < LISTS; i++)
		calls_of(env)[i].call = (struct vm_call){
			H_PUT_TCE_INDIRECT,
			{ LIOBN, i * LIST_ENTRIES * PAGE, LIST, LIST_ENTRIES }
		};
	map_under_way(&way, PAGE);
}

/*
 * One list whose entries stand for 256 of the tables each, so that virtual mode works
 * it in many pieces: the binding comes between two.
 */
#define WIDE_SHIFT	20

static long put_wide_list(struct env *env)
{
	return indirect(env, 0, LIST, LIST_ENTRIES);
}

CASE(wide_list)
{
	struct under_way way = {
		.shift = WIDE_SHIFT,
		.guest = put_wide_list,
		.early = LIST_ENTRIES / 4,
		.nr = LIST_ENTRIES,
		.each = LIST_ENTRIES,
	};
	unsigned int i;

	begin_under_way(&way, env);
	for (i = 0; i < LIST_ENTRIES; i++)
		set_list(env, i, DATA | RW);
	/* All of them lead to the same page */
	map_under_way(&way, 0);
}

/* Entries to clear: all but the last ones */
#define RUN		(LISTS * LIST_ENTRIES)

static long clear_run(struct env *env)
{
	return stuff(env, 0, 0, RUN);
}

/* One run to clear, of many pieces; the VMM has mapped what is in the second table */
CASE(run)
{
	struct under_way way = {
		.shift = SHIFT,
		.guest = clear_run,
		.early = RUN / 8,
		.was = true,
		.nr = RUN,
		.each = RUN,
	};
	unsigned int i;
	bool late;

	begin_under_way(&way, env);
	for (i = 0; i < ROUNDS; i++) {
		expect(env, put(env, way.early * PAGE, DATA | RW) == H_SUCCESS);
		expect(env, put(env, (RUN - 1) * PAGE, DATA | RW) == H_SUCCESS);
		expect(env, vfio_map(&way.second, 0, env->vm.mem + DATA, PAGE) == 0);
		late = bind_under_way(&way) < way.nr;
		end_of_round(&way, late, late && reaches(&way, 0, DATA));
	}
	end_under_way(&way);
}

int main(void)
{
	return run_cases_on_tiers();
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads stepped by hand through interleavings that matter, and calls that do
 * more at once than they may.  Prints KTAP.
 *
 *	hand [NAME...]
 *
 * A test says what a guest, a VMM or a device would see go wrong; the checks of
 * kernel.h, which look inside, are off unless it asks for them.
 */
#include <asm/tce_user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.h"
#include "grace.h"
#include "world.h"

/* Pages by number: those of region OLD, the one of region NEW within, and others */
#define OLD		0
#define NEW		7
#define NEW_PAGE	1UL
#define STAYING		2
#define PAGE		48UL

#define HUGE		4
#define HUGE_TWO	19
#define HUGE_GPA	0x10000000UL

/* A table without levels and a LIOBN of its shape; another, and one with levels */
#define FLAT		0
#define LEVELS		1
#define DEEP		3
#define FOREIGN		4
#define WHOLE		5
#define LARGE		7
/* LIOBNs: one part an entry, 16 parts, 4096 parts */
#define SAME		0
#define PARTS		3
#define MANY		4
#define WIDE		5

/* The groups of the tables */
static const unsigned int group_of[TABLES] = {
	[FLAT] = 0, [LEVELS] = 1, [DEEP] = 2, [FOREIGN] = 3, [LARGE] = 5, [WHOLE] = 3,
};

/* As VFIO has it around what changes a table */
static DEFINE_MUTEX(container_lock);

/* The world */

static void add_region(unsigned int r)
{
	const struct layout_region *lr = &layout_region[r];

	WRONG_IF(mm_iommu_new(&world.mm, lr->ua, lr->pages, &world.mem[r]));
}

static void open_table(unsigned int t)
{
	WRONG_IF(tce_user_open(world.table[t], &world.mm, false));
}

static void create(unsigned int l)
{
	struct kvm_create_spapr_tce_64 args = {
		.liobn = l, .page_shift = layout_liobn[l].shift,
		.offset = layout_liobn[l].offset, .size = layout_liobn[l].size,
	};

	world.fd[l] = kvm_vm_ioctl_create_spapr_tce(&world.kvm, &args);
	WRONG_IF(world.fd[l] < 0 || !world_view(l, 0));
}

static void bind(unsigned int l, unsigned int t)
{
	WRONG_IF(kvm_spapr_tce_attach_iommu_group(&world.kvm, world.fd[l],
						  &world.group[group_of[t]],
						  &world.group_file[group_of[t]]));
}

/* A LIOBN bound to one table, and memory that stays */
static void begin(unsigned int l, unsigned int t)
{
	world_begin(device_kill);
	device_begin();
	add_region(STAYING);
	open_table(t);
	create(l);
	bind(l, t);
}

static unsigned long page_ua(unsigned long page)
{
	return USER_BASE + (page << PAGE_SHIFT);
}

static u64 page_tce(unsigned long page)
{
	return (page << PAGE_SHIFT) | 3;
}

/* An ioctl: @n entries lead to pages from @page on */
static long try_map(unsigned int t, unsigned long idx, unsigned long n, unsigned long page)
{
	long ret;

	mutex_lock(&container_lock);
	ret = tce_user_map(world.table[t], layout_table[t].offset + idx, n, page_ua(page),
			   DMA_BIDIRECTIONAL, &container_lock);
	mutex_unlock(&container_lock);
	return ret;
}

static void map(unsigned int t, unsigned long idx, unsigned long page)
{
	WRONG_IF(try_map(t, idx, 1, page));
}

static void unmap_all(unsigned int t)
{
	mutex_lock(&container_lock);
	tce_user_unmap(world.table[t], layout_table[t].offset, layout_table[t].size,
		       &container_lock);
	mutex_unlock(&container_lock);
}

static u64 *user_word(unsigned int t, unsigned long idx)
{
	unsigned long n;

	return (u64 *)world_words(t, true, idx, &n);
}

static u64 *lock_word(unsigned int t, unsigned long idx)
{
	return tce_user_line(user_word(t, idx));
}

/* Does an entry lead to a page? */
static bool leads_to(unsigned int t, unsigned long idx, unsigned long page)
{
	return (world_user(t, idx) & TCE_USER_UA) == page_ua(page) &&
	       world_hw(t, idx) == (page_to_phys(user_find(page_ua(page))) | 3);
}

static void end(void)
{
	spots = false;
	grace_settle();
	device_dma_all();
	world_close();
	device_end();
	world_end();
}

/* Hypercalls, as steps of a thread */

struct call {
	unsigned int vcpu;
	enum tier tier;
	unsigned long req, arg[4];
	long ret;
};

static void do_call(void *arg)
{
	struct call *call = arg;

	call->ret = world_hcall(&world.vcpu[call->vcpu], call->tier, call->req,
				call->arg, NULL);
}

/* H_PUT_TCE_INDIRECT of @n entries from a list on page @at: pages from @page on */
static struct call list_call(enum tier tier, unsigned int l, unsigned long idx,
			     unsigned long at, unsigned long page, unsigned long n)
{
	unsigned long gpa = at << PAGE_SHIFT, i;

	for (i = 0; i < n; ++i)
		user_store(world_guest(gpa) + i, cpu_to_be64(page_tce(page + i % 4)));
	return (struct call){
		.tier = tier, .req = H_PUT_TCE_INDIRECT,
		.arg = { l, idx << layout_liobn[l].shift, gpa, n },
	};
}

static struct call put_call(enum tier tier, unsigned int l, unsigned long idx, u64 tce)
{
	return (struct call){
		.tier = tier, .req = H_PUT_TCE,
		.arg = { l, idx << layout_liobn[l].shift, tce },
	};
}

static struct call stuff_call(enum tier tier, unsigned int l, unsigned long idx,
			      unsigned long n)
{
	return (struct call){
		.tier = tier, .req = H_STUFF_TCE,
		.arg = { l, idx << layout_liobn[l].shift, 0, n },
	};
}

/* A thread that has to come to a spot */
static void stop_there(struct hand *hand, void (*step)(void *arg), void *arg,
		       enum spot to, const void *at)
{
	WRONG_IF(hand_start(hand, step, arg, to, at) != HAND_THERE);
}

static long now(struct call call)
{
	do_call(&call);
	return call.ret;
}

/* Other steps */

static void do_register(void *arg)
{
	add_region(*(unsigned int *)arg);
}

struct unregister {
	unsigned int region;
	long ret;
};

static void do_unregister(void *arg)
{
	struct unregister *step = arg;

	step->ret = mm_iommu_put(&world.mm, world.mem[step->region]);
}

/* Nothing counts it */
static void put_region(unsigned int region)
{
	WRONG_IF(mm_iommu_put(&world.mm, world.mem[region]));
	world.mem[region] = NULL;
}

/* Register region NEW, if that can be */
static void do_renew(void *arg)
{
	const struct layout_region *lr = &layout_region[NEW];

	if (mm_iommu_new(&world.mm, lr->ua, lr->pages, &world.mem[NEW]))
		world.mem[NEW] = NULL;
}

static void do_close(void *arg)
{
	mutex_lock(&container_lock);
	tce_user_close(world.table[FLAT]);
	mutex_unlock(&container_lock);
}

static void do_release(void *arg)
{
	kvm_spapr_tce_release_iommu_group(&world.kvm, &world.group_file[group_of[FLAT]]);
}

static void do_destroy(void *arg)
{
	shim_close(world.fd[SAME]);
	world.fd[SAME] = -1;
}

static void do_bind(void *arg)
{
	bind(SAME, LARGE);
}

static void look_early(void)
{
	stale_regions(&world.mm);
}

/*
 * While @call is before its first entry the region OLD is unregistered, and NEW is
 * registered within its addresses; another virtual CPU has entry 3 lead there then,
 * as it may as soon as NEW is found.  What comes of that depends on who holds what;
 * the books have to balance.  @second, or NULL, is a call that has begun before.
 */
static void renew_under(struct hand *hand, struct call *call, struct hand *second)
{
	struct call put = put_call(TIER_EARLY, SAME, 3, page_tce(NEW_PAGE));
	struct unregister unregister = { OLD };
	struct hand other = {}, third = {}, fourth = {};

	stop_there(hand, do_call, call, SPOT_LOCK, lock_word(FLAT, 3));
	hand_start(&other, do_unregister, &unregister, SPOTS, NULL);
	hand_start(&third, do_renew, NULL, SPOTS, NULL);
	put.vcpu = 2;
	hand_start(&fourth, do_call, &put, SPOTS, NULL);
	hand_end(hand);
	if (second)
		hand_end(second);
	hand_end(&fourth);
	hand_end(&other);
	hand_end(&third);
	if (!unregister.ret)
		world.mem[OLD] = NULL;
}

/* Both regions can be unregistered once nothing leads there: no count was lost */
static void unregister_both(void)
{
	unmap_all(FLAT);
	if (world.mem[NEW])
		put_region(NEW);
	if (world.mem[OLD])
		put_region(OLD);
}

static void list_region_renewed(void)
{
	static const enum tier tier[] = { TIER_VIRT, TIER_EARLY, TIER_TABLE };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(tier); ++i) {
		struct hand hand = {};
		struct call call;

		begin(SAME, FLAT);
		add_region(OLD);
		map(FLAT, 3, PAGE);
		call = list_call(tier[i], SAME, 3, 0, PAGE + 1, 1);
		renew_under(&hand, &call, NULL);
		unregister_both();
		end();
	}
}

/* The same, and a second call that began in OLD, too, has a page of it to map */
static void list_region_retired(void)
{
	struct hand first = {}, second = {};
	struct call one, two;

	begin(SAME, FLAT);
	add_region(OLD);
	map(FLAT, 3, PAGE);
	one = list_call(TIER_EARLY, SAME, 3, 0, PAGE + 1, 1);
	two = list_call(TIER_EARLY, SAME, 4, 2, 2, 1);
	two.vcpu = 1;
	hand_start(&second, do_call, &two, SPOT_COUNT, &world.mem[OLD]->mapped);
	renew_under(&first, &one, &second);
	device_dma(FLAT, 4);
	unregister_both();
	end();
}

/* A list is read while its region is unregistered: it is pinned until that is over */
static void list_region_gone(void)
{
	struct unregister unregister = { OLD };
	struct hand hand = {}, other = {};
	struct call call;

	begin(SAME, FLAT);
	add_region(OLD);
	call = list_call(TIER_VIRT, SAME, 3, 0, PAGE, 8);
	stop_there(&hand, do_call, &call, SPOT_LOCK, lock_word(FLAT, 3));
	hand_start(&other, do_unregister, &unregister, SPOTS, NULL);
	hand_end(&hand);
	hand_end(&other);
	WRONG_IF(call.ret != H_SUCCESS || !leads_to(FLAT, 10, PAGE + 3));
	if (!unregister.ret)
		world.mem[OLD] = NULL;
	end();
}

/* The array of regions is replaced while it is searched */
static void regions_replaced(void)
{
	struct hand hand = {}, other = {};
	unsigned int region = OLD;
	struct call call;

	begin(SAME, FLAT);
	call = list_call(TIER_EARLY, SAME, 3, PAGE, PAGE, 8);
	stop_there(&hand, do_call, &call, SPOT_LOAD, stale_first(&world.mm));
	hand_start(&other, do_register, &region, SPOTS, NULL);
	hand_end(&hand);
	hand_end(&other);
	WRONG_IF(call.ret != H_SUCCESS || !leads_to(FLAT, 10, PAGE + 3));
	end();
}

/*
 * It is replaced before the call begins, which is on its way already: nobody waits
 * for a guest that runs, and what the CPU has loaded early does not count.
 */
static void regions_replaced_before(void)
{
	struct hand hand = { .then = look_early }, other = {};
	unsigned int region = OLD;
	struct call call;

	begin(SAME, FLAT);
	call = list_call(TIER_EARLY, SAME, 3, PAGE, PAGE, 8);
	stop_there(&hand, do_call, &call, SPOT_ENTER, &world.kvm.srcu);
	hand_start(&other, do_register, &region, SPOTS, NULL);
	WRONG_IF(other.is != HAND_DONE);
	hand_end(&hand);
	hand_end(&other);
	WRONG_IF(call.ret != H_SUCCESS || !leads_to(FLAT, 10, PAGE + 3));
	end();
}

/* To read a page that is known to be poisoned would be the end of the host */
static void list_poisoned(void)
{
	enum tier tier;

	for (tier = 0; tier < TIERS; ++tier) {
		struct call call;

		begin(SAME, FLAT);
		call = list_call(tier, SAME, 3, PAGE, PAGE, 2);
		user_poison(user_find(page_ua(PAGE)), true);
		WRONG_IF(now(call) != H_TOO_HARD || world_user(FLAT, 3));
		user_poison(user_find(page_ua(PAGE)), false);
		end();
	}
}

/* A list's region is let go whatever comes of the call */
static void list_region_let_go(void)
{
	enum tier tier;

	for (tier = 0; tier < TIERS; ++tier) {
		begin(SAME, FLAT);
		add_region(OLD);
		/* Bound to nothing; not in the window; not to be mapped; nobody's any more */
		do_release(NULL);
		now(list_call(tier, SAME, 3, 0, PAGE, 8));
		bind(SAME, FLAT);
		now(list_call(tier, SAME, 127, 0, PAGE, 8));
		now(list_call(tier, SAME, 3, 0, 30, 8));
		now(list_call(tier, SAME, 3, 0, PAGE, 8));
		map(FLAT, 3, 1);
		mm_iommu_drop(&world.mm, world.mem[OLD]);
		now(list_call(tier, SAME, 4, 0, PAGE, 8));
		unmap_all(FLAT);
		put_region(STAYING);
		mm_iommu_reap(&world.mm);
		WRONG_IF(world_has_regions());
		world.mem[OLD] = NULL;
		end();
	}
}

/*
 * A call that looks up regions early is before entry 3.  OLD is registered, which
 * waits for the call; another virtual CPU finds OLD by then, and has entry 3 lead
 * there.  The call has to find OLD, too, to drop its count.
 */
static void published_under(struct call call)
{
	struct call put = put_call(TIER_EARLY, SAME, 3, page_tce(NEW_PAGE));
	struct hand hand = { .then = look_early }, other = {}, third = {};
	unsigned int region = OLD;

	begin(SAME, FLAT);
	map(FLAT, 3, PAGE);
	stop_there(&hand, do_call, &call, SPOT_LOCK, lock_word(FLAT, 3));
	hand_start(&other, do_register, &region, SPOTS, NULL);
	put.vcpu = 1;
	hand_start(&third, do_call, &put, SPOTS, NULL);
	WRONG_IF(third.is != HAND_DONE || put.ret != H_SUCCESS);
	hand_end(&hand);
	hand_end(&other);
	hand_end(&third);
	WRONG_IF(call.ret != H_SUCCESS || world_user(FLAT, 3));
	unregister_both();
	end();
}

/* What was replaced is looked for after the lock, not before */
static void replaced_region_looked_up_early(void)
{
	published_under(stuff_call(TIER_EARLY, SAME, 3, 2));
}

/* The same where one entry is changed in the short way */
static void replaced_region_looked_up_early_one(void)
{
	published_under(put_call(TIER_EARLY, SAME, 3, 0));
}

/* A table was open for registered memory, is closed, and opened for pinned pages */
static void pinned_table_taken_for_another(void)
{
	struct hand hand = {};
	struct call call;

	begin(SAME, FLAT);
	tce_user_close(world.table[FLAT]);
	call = list_call(TIER_EARLY, SAME, 3, PAGE, PAGE, 2);
	stop_there(&hand, do_call, &call, SPOT_ENTER, &world.vcpu[0].arch.tce_reader);
	WRONG_IF(tce_user_open(world.table[FLAT], &world.mm, true));
	hand_end(&hand);
	WRONG_IF(call.ret != H_TOO_HARD || world_user(FLAT, 3));
	end();
}

/* The same, in the short way, and long after */
static void pinned_table_taken_for_another_one(void)
{
	begin(SAME, FLAT);
	tce_user_close(world.table[FLAT]);
	WRONG_IF(tce_user_open(world.table[FLAT], &world.mm, true));
	WRONG_IF(now(put_call(TIER_EARLY, SAME, 3, page_tce(PAGE))) != H_TOO_HARD);
	end();
}

/* A call that says H_SUCCESS after a table was bound has its entries there, too */
static void bound_during(struct call call)
{
	struct hand hand = {}, other = {};
	enum hand_is is;
	unsigned long i;

	begin(SAME, FLAT);
	open_table(LARGE);
	if (call.req == H_PUT_TCE_INDIRECT)
		list_call(call.tier, SAME, 3, PAGE, PAGE, call.arg[3]);
	stop_there(&hand, do_call, &call, SPOT_LOCK, lock_word(FLAT, 3));
	is = hand_start(&other, do_bind, NULL, SPOTS, NULL);
	hand_end(&hand);
	hand_end(&other);
	WRONG_IF(call.ret != H_SUCCESS);
	for (i = 0; is == HAND_DONE && i < max(call.arg[3], 1UL); ++i)
		WRONG_IF(!leads_to(LARGE, 3 + i, PAGE + i % 4));
	end();
}

static void bound_during_list(void)
{
	const struct call call = {
		.req = H_PUT_TCE_INDIRECT,
		.arg = { SAME, 3 << 12, PAGE << PAGE_SHIFT, 8 },
	};
	enum tier tier;

	for (tier = 0; tier < TIERS; ++tier) {
		struct call each = call;

		each.tier = tier;
		bound_during(each);
	}
}

static void bound_during_put(void)
{
	enum tier tier;

	for (tier = 0; tier < TIERS; ++tier)
		bound_during(put_call(tier, SAME, 3, page_tce(PAGE)));
}

static void end_under(void (*step)(void *arg), enum tier tier)
{
	struct hand hand = {}, other = {};
	struct call call;
	enum hand_is is;

	begin(SAME, FLAT);
	call = list_call(tier, SAME, 3, PAGE, PAGE, 4);
	stop_there(&hand, do_call, &call, SPOT_LOCK, lock_word(FLAT, 3));
	is = hand_start(&other, step, NULL, SPOTS, NULL);
	hand_end(&hand);
	hand_end(&other);
	/* Had it returned, nothing may be installed since */
	WRONG_IF(is == HAND_DONE && world_user(FLAT, 3));
	WRONG_IF(!world.table[FLAT]->it_mm && (world_user(FLAT, 3) | world_hw(FLAT, 3)));
	end();
}

static void end_in_all_tiers(void (*step)(void *arg))
{
	enum tier tier;

	for (tier = 0; tier < TIERS; ++tier)
		end_under(step, tier);
}

static void closed_during(void)
{
	end_in_all_tiers(do_close);
}

static void released_during(void)
{
	end_in_all_tiers(do_release);
}

static void destroyed_during(void)
{
	end_in_all_tiers(do_destroy);
}

/* A LIOBN bound to nothing has no entries to lock: its list is being read */
static void destroyed_unbound_during(void)
{
	enum tier tier;

	for (tier = TIER_EARLY; tier < TIERS; ++tier) {
		struct hand hand = {}, other = {};
		struct call call;

		begin(SAME, FLAT);
		do_release(NULL);
		call = list_call(tier, SAME, 3, PAGE, PAGE, 4);
		hand_start(&hand, do_call, &call, SPOT_LOAD, world_guest(PAGE << PAGE_SHIFT));
		WRONG_IF(tier == TIER_EARLY && hand.is != HAND_THERE);
		hand_start(&other, do_destroy, NULL, SPOTS, NULL);
		hand_end(&hand);
		hand_end(&other);
		end();
	}
}

/* The guest takes a permission out of an entry that has been read, too late */
static void list_changed(void)
{
	struct hand hand = {};
	struct call call;
	u64 *list;

	begin(SAME, FLAT);
	list = world_guest(PAGE << PAGE_SHIFT);
	call = list_call(TIER_EARLY, SAME, 0, PAGE, PAGE, 4);
	stop_there(&hand, do_call, &call, SPOT_LOAD, list + 2);
	user_store(list + 2, cpu_to_be64(page_tce(PAGE + 2) & ~TCE_PCI_WRITE));
	hand_end(&hand);
	WRONG_IF(call.ret != H_SUCCESS || !leads_to(FLAT, 2, PAGE + 2) ||
		 world_view(SAME, 0)[2] != page_tce(PAGE + 2));
	end();
}

/* Further lines that are locked, in guest context */

static void check_kept(unsigned int t, const u64 *word, unsigned long first, unsigned long n)
{
	unsigned long i;

	for (i = first; i < n; ++i)
		WRONG_IF((world_user(t, i) & ~TCE_USER_LOCK) != word[i]);
}

/* @call meets a locked line; entries from guest entry @from on have to stay */
static void meet_locked(struct call call, unsigned int l, const unsigned int *table,
			unsigned int locked, unsigned long idx, unsigned long from)
{
	unsigned int shift = layout_liobn[l].shift - 12, t;
	u64 *word = lock_word(locked, idx), was = *word;
	u64 before[2][128], tce = world_view(l, 0)[from];
	struct hand hand = {};
	unsigned long i;

	for (t = 0; t < 2; ++t)
		for (i = 0; i < 128; ++i)
			before[t][i] = world_user(table[t], i);
	WRITE_ONCE(*word, was | TCE_USER_LOCK);
	hand_start(&hand, do_call, &call, SPOTS, NULL);
	WRONG_IF(hand.is == HAND_WAITS);
	hand_end(&hand);
	WRONG_IF(call.ret != H_TOO_HARD);
	for (t = 0; t < 2; ++t)
		check_kept(table[t], before[t], from << shift, 128);
	/* What comes before is the same in both */
	for (i = 0; i < from << shift; ++i)
		WRONG_IF(world_user(table[0], i) != world_user(table[1], i));
	WRONG_IF(world_view(l, 0)[from] != tce);
	WRITE_ONCE(*word, was);
	spots = false;
}

/* Guest entry @e is the first of a line */
static void locked_further(unsigned int l, unsigned long e, unsigned long part)
{
	const unsigned int table[2] = { FLAT, LARGE };
	const unsigned int further = world.table[FLAT] > world.table[LARGE] ? FLAT : LARGE;
	const unsigned int shift = layout_liobn[l].shift - 12;
	const unsigned long idx = (e << shift) + part;
	enum tier tier;

	for (tier = TIER_EARLY; tier < TIERS; ++tier) {
		WRONG_IF(now(list_call(TIER_VIRT, l, e - 3, PAGE, PAGE, 8)) != H_SUCCESS);
		meet_locked(put_call(tier, l, e, page_tce(PAGE + 1)), l, table, further, idx, e);
		meet_locked(put_call(tier, l, e, 0), l, table, further, idx, e);
		meet_locked(list_call(tier, l, e - 2, PAGE, PAGE, 6), l, table, further, idx, e);
		WRONG_IF(now(list_call(TIER_VIRT, l, e - 3, PAGE, PAGE, 8)) != H_SUCCESS);
		meet_locked(stuff_call(tier, l, e - 2, 6), l, table, further, idx, e);
	}
}

static void locked_in_further_table(void)
{
	begin(SAME, FLAT);
	open_table(LARGE);
	bind(SAME, LARGE);
	locked_further(SAME, TCE_USER_LINE, 0);
	end();
}

static void locked_further_part(void)
{
	begin(PARTS, FLAT);
	open_table(LARGE);
	bind(PARTS, LARGE);
	locked_further(PARTS, 3, PAGE_SHIFT < 16 ? 0 : 5);
	end();
}

/* The same for an entry whose parts have several lines in one table */
static void locked_further_line(void)
{
	u64 before[256], *word;
	struct hand hand;
	unsigned long i, k;
	enum tier tier;

	begin(MANY, DEEP);
	add_region(HUGE);
	WRONG_IF(now(put_call(TIER_VIRT, MANY, 1, HUGE_GPA | 3)) != H_SUCCESS);
	for (i = 0; i < 256; ++i)
		before[i] = world_user(DEEP, 256 + i);
	word = lock_word(DEEP, 256 + 100);
	for (tier = TIER_EARLY; tier < TIERS; ++tier) {
		struct call call[] = {
			put_call(tier, MANY, 1, 0), put_call(tier, MANY, 1, HUGE_GPA | 1),
			stuff_call(tier, MANY, 1, 1),
		};

		for (k = 0; k < ARRAY_SIZE(call); ++k) {
			WRITE_ONCE(*word, *word | TCE_USER_LOCK);
			hand = (struct hand){};
			hand_start(&hand, do_call, &call[k], SPOTS, NULL);
			WRONG_IF(hand.is == HAND_WAITS);
			hand_end(&hand);
			WRONG_IF(call[k].ret != H_TOO_HARD);
			WRITE_ONCE(*word, *word & ~TCE_USER_LOCK);
			for (i = 0; i < 256; ++i)
				WRONG_IF(world_user(DEEP, 256 + i) != before[i]);
			spots = false;
		}
	}
	end();
}

/* Two calls on an entry that is worked in pieces: it is that of one of them */
static void large_entry_of_two(void)
{
	struct call put = put_call(TIER_VIRT, MANY, 0, HUGE_GPA | 3);
	struct call clear = put_call(TIER_VIRT, MANY, 0, 0);
	struct hand hand = {}, other = {};
	unsigned long i;

	begin(MANY, LARGE);
	add_region(HUGE);
	clear.vcpu = 1;
	WRONG_IF(now(put) != H_SUCCESS);
	stop_there(&hand, do_call, &put, SPOT_LOCK, lock_word(LARGE, 2048));
	hand_start(&other, do_call, &clear, SPOT_LOCK, lock_word(LARGE, 3072));
	hand_end(&hand);
	hand_end(&other);
	WRONG_IF(put.ret != H_SUCCESS || clear.ret != H_SUCCESS);
	for (i = 0; i < 4096; ++i)
		WRONG_IF(!world_user(LARGE, i) != !world_view(MANY, 0)[0]);
	end();
}

static void do_bind_parts(void *arg)
{
	bind(MANY, LARGE);
}

/*
 * A table is bound with which entries have to be worked in pieces.  For as long as a
 * call that works them at once is under way, nobody works one in either way.
 */
static void pieces_begin_during_a_call(void)
{
	struct call put = put_call(TIER_EARLY, MANY, 0, HUGE_GPA | 3);
	struct hand hand = {}, other = {};
	unsigned int i;

	begin(MANY, WHOLE);
	open_table(LARGE);
	add_region(HUGE);
	put.vcpu = 1;
	WRONG_IF(now(put_call(TIER_VIRT, MANY, 0, HUGE_GPA | 3)) != H_SUCCESS);
	WRONG_IF(now(put_call(TIER_EARLY, MANY, 1, HUGE_GPA | 3)) != H_SUCCESS);
	stop_there(&hand, do_call, &put, SPOT_LOCK, lock_word(WHOLE, 0));
	WRONG_IF(hand_start(&other, do_bind_parts, NULL, SPOTS, NULL) == HAND_DONE);
	WRONG_IF(now(put_call(TIER_EARLY, MANY, 1, 0)) != H_TOO_HARD || !world_user(WHOLE, 1));
	WRONG_IF(now(stuff_call(TIER_EARLY, MANY, 0, 0)) != H_SUCCESS);
	hand_end(&hand);
	hand_end(&other);

	WRONG_IF(put.ret != H_SUCCESS);
	for (i = 0; i < 2; ++i)
		WRONG_IF(now(put_call(TIER_EARLY, MANY, i, 0)) != H_TOO_HARD ||
			 now(put_call(TIER_VIRT, MANY, i, 0)) != H_SUCCESS ||
			 world_user(WHOLE, i));
	end();
}

/* How much is done at once; CHECK_WORK counts */

static void work_of_large_entry(void)
{
	begin(MANY, LARGE);
	add_region(HUGE);
	now(put_call(TIER_VIRT, MANY, 0, HUGE_GPA | 3));
	now(stuff_call(TIER_VIRT, MANY, 0, 2));
	end();
}

static void work_of_list(void)
{
	enum tier tier;

	begin(SAME, FLAT);
	open_table(LARGE);
	bind(SAME, LARGE);
	open_table(LEVELS);
	bind(SAME, LEVELS);
	for (tier = 0; tier < TIERS; ++tier) {
		if (tier == TIER_PARTIAL || tier == TIER_REAL)
			continue;
		now(list_call(tier, SAME, 0, PAGE, PAGE, 128));
		now(stuff_call(tier, SAME, 0, 128));
	}
	end();

	begin(WIDE, LARGE);
	for (tier = 0; tier < TIERS; ++tier) {
		if (tier == TIER_PARTIAL || tier == TIER_REAL)
			continue;
		now(list_call(TIER_VIRT, WIDE, 0, PAGE, PAGE, 512));
		now(list_call(TIER_VIRT, WIDE, 512, PAGE, PAGE, 512));
		now(stuff_call(tier, WIDE, 0, 1024));
		now(stuff_call(tier, WIDE, 0, 1024));
	}
	end();
}

static void work_in_partial_exit(void)
{
	static const enum tier tier[] = { TIER_PARTIAL, TIER_REAL };
	unsigned int i;

	begin(SAME, FLAT);
	for (i = 0; i < ARRAY_SIZE(tier); ++i) {
		now(list_call(tier[i], SAME, 0, PAGE, PAGE, WORLD_PARTIAL));
		now(list_call(tier[i], SAME, 0, PAGE, PAGE, WORLD_PARTIAL + 1));
		now(stuff_call(tier[i], SAME, 0, 128));
	}
	/* In all tables together */
	open_table(LARGE);
	bind(SAME, LARGE);
	for (i = 0; i < ARRAY_SIZE(tier); ++i)
		now(list_call(tier[i], SAME, 0, PAGE, PAGE, WORLD_PARTIAL));
	end();
}

static void work_of_hypervisor(void)
{
	struct call call;
	unsigned int i;

	begin(SAME, FOREIGN);
	add_region(OLD);
	call = list_call(TIER_EARLY, SAME, 0, PAGE, PAGE, 2);
	WRONG_IF(now(call) != H_TOO_HARD);

	world.ops[FOREIGN].put_list = NULL;
	call = list_call(TIER_EARLY, SAME, 0, PAGE, PAGE, 2 * TCE_USER_FOREIGN);
	for (i = 0; i < 2 * TCE_USER_FOREIGN; i += 2)
		user_store(world_guest(PAGE << PAGE_SHIFT) + i, cpu_to_be64(page_tce(OLD)));
	now(call);
	call.arg[3] = TCE_USER_FOREIGN;
	WRONG_IF(now(call) != H_SUCCESS);
	now(stuff_call(TIER_EARLY, SAME, 0, 128));
	end();
}

static void work_of_hypervisor_parts(void)
{
	begin(PARTS, FOREIGN);
	now(put_call(TIER_EARLY, PARTS, 0, page_tce(PAGE)));
	now(list_call(TIER_EARLY, PARTS, 0, PAGE, PAGE, 2));
	end();
}

/* As many parts as no piece has are the VMM's to ask for */
static void work_of_too_many_parts(void)
{
	const unsigned long asked = shim_asked;
	enum tier tier;

	begin(MANY, FOREIGN);
	add_region(HUGE);
	for (tier = 0; tier < TIERS; ++tier) {
		WRONG_IF(now(put_call(tier, MANY, 0, HUGE_GPA | 3)) != H_TOO_HARD);
		WRONG_IF(now(stuff_call(tier, MANY, 0, 1)) != H_TOO_HARD);
	}
	WRONG_IF(shim_asked != asked);
	end();
}

#define LISTED		8
#define OLD_PAGES	(PAGE + 4)

/*
 * Do the views of what a hypervisor keeps, the guest's and the counts agree?  An entry
 * that it refused to clear @twice may be counted still though it cleared it.
 */
static void check_listed(bool twice)
{
	const u64 *view = world_view(SAME, 0);
	unsigned long i, leading = 0;

	for (i = 0; i < layout_liobn[SAME].size; ++i) {
		u64 user = world_user(FOREIGN, i);
		unsigned long page = ((user & TCE_USER_UA) - USER_BASE) >> PAGE_SHIFT;

		leading += !!user;
		WRONG_IF(!user && (world_hw(FOREIGN, i) || view[i]));
		if (!user || (twice && !world_hw(FOREIGN, i)))
			continue;
		WRONG_IF(!leads_to(FOREIGN, i, page) || view[i] != page_tce(page));
	}
	WRONG_IF(world_mapped(STAYING) != 1 + leading);
}

/* A hypervisor that refuses at each position of a list, and what is asked then */
static void list_refused(void)
{
	unsigned int at, more;
	long ret;

	for (at = 1; at <= LISTED; ++at) {
		for (more = 0; more < 3; ++more) {
			begin(SAME, FOREIGN);
			now(list_call(TIER_VIRT, SAME, 0, PAGE, OLD_PAGES, LISTED / 2));
			check_listed(false);

			world.refuse = at;
			world.refuse_more = more;
			ret = now(list_call(TIER_VIRT, SAME, 0, PAGE, PAGE, LISTED));
			/* One after the other, they are not refused */
			WRONG_IF(ret != (at > 1 && more == 1 ? H_SUCCESS : H_HARDWARE));
			check_listed(false);

			world.refuse = at;
			world.refuse_more = more;
			ret = now(stuff_call(TIER_VIRT, SAME, 0, LISTED));
			WRONG_IF(!more && at > 1 && ret != H_SUCCESS);
			check_listed(more);
			world.refuse = 0;
			WRONG_IF(now(stuff_call(TIER_VIRT, SAME, 0, LISTED)) != H_SUCCESS);
			check_listed(false);
			end();
		}
	}
}

/* The same for VFIO's ioctls, which leave nothing of what they did */
static void list_refused_ioctl(void)
{
	unsigned int at, i;

	for (at = 0; at < 2 * LISTED; ++at) {
		begin(SAME, FOREIGN);
		world.refuse = 1 + at / 2;
		world.refuse_more = at % 2 ? 2 : 0;
		WRONG_IF(try_map(FOREIGN, 0, LISTED, PAGE) != -EIO || world_mapped(STAYING) != 1);
		for (i = 0; i < LISTED; ++i)
			WRONG_IF(world_user(FOREIGN, i) || world_hw(FOREIGN, i));

		map(FOREIGN, 0, PAGE);
		now(list_call(TIER_VIRT, SAME, 0, PAGE, PAGE, LISTED));
		world.refuse = 1 + at / 2;
		unmap_all(FOREIGN);
		world.refuse = 0;
		for (i = 0; i < LISTED; ++i)
			WRONG_IF(!world_user(FOREIGN, i) != !world_hw(FOREIGN, i));
		end();
	}
}

/*
 * A hypervisor that does not even clear the first entry of the list: nobody knows where
 * a device gets there, so neither page is given back.
 */
static void list_refused_for_good(void)
{
	unsigned int i;

	begin(SAME, FOREIGN);
	add_region(OLD);
	WRONG_IF(now(list_call(TIER_VIRT, SAME, 0, PAGE, OLD, LISTED)) != H_SUCCESS);
	WRONG_IF(world_mapped(OLD) != 1 + LISTED);
	world.refuse = 2;
	world.refuse_more = 3;
	WRONG_IF(now(list_call(TIER_VIRT, SAME, 0, PAGE, OLD + 4, LISTED)) != H_HARDWARE);
	WRONG_IF(now(stuff_call(TIER_VIRT, SAME, 0, LISTED)) != H_SUCCESS);
	WRONG_IF(world_mapped(OLD) != 1);

	/* When the process goes it is lost, which is no fault of this machine's */
	WRONG_IF(now(put_call(TIER_VIRT, SAME, 0, page_tce(OLD))) != H_SUCCESS);
	world.refuse = 1;
	world.refuse_more = ~0UL;
	tce_user_close(world.table[FOREIGN]);
	world.refuse = 0;
	WRONG_IF(world_mapped(OLD) != 2 || mm_iommu_put(&world.mm, world.mem[OLD]) != -EBUSY);
	mm_iommu_drop(&world.mm, world.mem[OLD]);
	mm_iommu_drop(&world.mm, world.mem[STAYING]);
	mm_iommu_reap(&world.mm);
	kvm_spapr_tce_release_iommu_group(&world.kvm, &world.group_file[group_of[FOREIGN]]);
	shim_close(world.fd[SAME]);
	for (i = 0; i < WORLD_VCPUS; ++i)
		kvmppc_tce_vcpu_destroy(&world.vcpu[i]);
	mm_iommu_destroy(&world.mm);
}

/* The hypervisor is busy from one exchange on, for so many more */
static void make_busy(unsigned int at, unsigned int more)
{
	world.busy = true;
	world.refuse = at;
	world.refuse_more = more;
}

/* Also longer than a list is waited for with entries locked, and than its clearing is */
static const unsigned int busy_for[] = {
	0, 3, TCE_USER_BUSY_US + 4, 1000, TCE_USER_SETTLE_US * 3 / 2,
	3 * TCE_USER_SETTLE_US,
};

/* Whoever asks again in the end gets what was asked for, and each view agrees */
static void list_busy(void)
{
	unsigned int at, i;

	for (at = 1; at <= LISTED; ++at) {
		for (i = 0; i < ARRAY_SIZE(busy_for); ++i) {
			begin(SAME, FOREIGN);
			now(list_call(TIER_VIRT, SAME, 0, PAGE, OLD_PAGES, LISTED / 2));
			make_busy(at, busy_for[i]);
			WRONG_IF(now(list_call(TIER_VIRT, SAME, 0, PAGE, PAGE,
					       LISTED)) != H_SUCCESS);
			check_listed(false);
			WRONG_IF(world_mapped(STAYING) != 1 + LISTED);
			make_busy(at, busy_for[i]);
			WRONG_IF(now(stuff_call(TIER_VIRT, SAME, 0, LISTED)) != H_SUCCESS);
			check_listed(false);
			WRONG_IF(world_mapped(STAYING) != 1);
			end();
		}
	}
}

/* What is in doubt in a list leads into one region, whichever its pages are */
static void list_of_one_region(void)
{
	begin(SAME, FOREIGN);
	add_region(OLD);
	WRONG_IF(now(list_call(TIER_VIRT, SAME, 0, PAGE, PAGE, LISTED)) != H_SUCCESS);
	world.refuse = 2;
	world.refuse_more = ~0UL;
	WRONG_IF(now(list_call(TIER_VIRT, SAME, 0, PAGE, OLD, LISTED)) != H_HARDWARE);
	WRONG_IF(world_mapped(STAYING) != LISTED);

	WRONG_IF(try_map(FOREIGN, 1, LISTED - 1, OLD) != -EIO || world_mapped(STAYING) != LISTED);
	world.refuse = 0;
	end();
}

/* An ioctl that fails while the hypervisor has done some of what it was too busy for */
static void ioctl_busy_in_part(void)
{
	const unsigned int asks = TCE_USER_BUSY_US + 2 * TCE_USER_SETTLE_US;
	unsigned int more, in_part = 0;
	unsigned long i;
	long ret;

	for (more = asks; more < asks + LISTED; ++more) {
		begin(SAME, FOREIGN);
		make_busy(1, more);
		fatal_signal = true;
		ret = try_map(FOREIGN, 0, LISTED, PAGE);
		fatal_signal = false;
		/* Else it is left to whoever closes the table */
		in_part += ret && !world.refuse;
		for (i = 0; ret && !world.refuse && i < LISTED; ++i)
			WRONG_IF(world_user(FOREIGN, i));
		world.refuse = 0;
		unmap_all(FOREIGN);
		end();
	}
	WRONG_IF(!in_part);
}

/* A single entry, and one of several parts: only virtual mode waits */
static void entry_busy(void)
{
	const unsigned int liobns[] = { SAME, PARTS };
	unsigned int i, at, l;

	for (i = 0; i < ARRAY_SIZE(liobns); ++i) {
		l = liobns[i];
		for (at = 1; at <= (l == SAME ? 1 : 16); ++at) {
			begin(l, FOREIGN);
			make_busy(at, 20);
			WRONG_IF(now(put_call(TIER_EARLY, l, 0, page_tce(PAGE))) != H_TOO_HARD);
			make_busy(at, 20);
			WRONG_IF(now(put_call(TIER_VIRT, l, 0, page_tce(PAGE))) != H_SUCCESS);
			WRONG_IF(!leads_to(FOREIGN, 0, PAGE));
			make_busy(at, 20);
			WRONG_IF(now(put_call(TIER_VIRT, l, 0, 0)) != H_SUCCESS);
			WRONG_IF(world_mapped(STAYING) != 1);

			/* Whoever has a signal leaves it to the VMM */
			make_busy(at, ~0U);
			plain_signal = true;
			WRONG_IF(now(put_call(TIER_VIRT, l, 0, page_tce(PAGE))) != H_TOO_HARD);
			plain_signal = false;
			make_busy(0, 0);
			WRONG_IF(now(put_call(TIER_VIRT, l, 0, 0)) != H_SUCCESS);
			WRONG_IF(world_mapped(STAYING) != 1);
			end();
		}
	}
}

/* Ioctls wait, and whoever ends a table does for a time; what stays is counted on */
static void ioctl_busy(void)
{
	unsigned int at, i;

	for (at = 1; at <= LISTED; ++at) {
		for (i = 0; i + 1 < ARRAY_SIZE(busy_for); ++i) {
			begin(SAME, FOREIGN);
			map(FOREIGN, 1, PAGE);
			make_busy(at, busy_for[i]);
			WRONG_IF(try_map(FOREIGN, 0, LISTED, PAGE));
			WRONG_IF(world_mapped(STAYING) != 1 + LISTED);
			make_busy(at, busy_for[i + 1]);
			unmap_all(FOREIGN);
			WRONG_IF(world_mapped(STAYING) != 1);
			end();
		}
	}

	begin(SAME, FOREIGN);
	map(FOREIGN, 0, PAGE);
	make_busy(1, ~0U);
	tce_user_close(world.table[FOREIGN]);
	WRONG_IF(mm_iommu_put(&world.mm, world.mem[STAYING]) != -EBUSY);
	WRONG_IF(!world_user(FOREIGN, 0) || !world_hw(FOREIGN, 0));
}

/* Regions of a page each, from page 0 on */
#define TINY		6
#define TINY_NR		10

static void add_tiny_regions(void)
{
	unsigned int i;

	for (i = 0; i < TINY_NR; ++i)
		add_region(TINY + i);
}

/* A list that leads to one after the other */
static struct call tiny_call(enum tier tier)
{
	struct call call = list_call(tier, SAME, 0, PAGE, 0, TINY_NR);
	unsigned long i;

	for (i = 0; i < TINY_NR; ++i)
		user_store(world_guest(PAGE << PAGE_SHIFT) + i, cpu_to_be64(page_tce(i)));
	return call;
}

/* More regions than a gather holds: one more invalidation, which a partial exit leaves */
static void regions_in_turn(void)
{
	enum tier tier;
	bool early;

	begin(SAME, FLAT);
	add_tiny_regions();
	for (tier = TIER_EARLY; tier < TIERS; ++tier) {
		early = tier == TIER_EARLY || tier == TIER_TABLE;
		WRONG_IF(now(tiny_call(TIER_VIRT)) != H_SUCCESS);
		WRONG_IF(now(tiny_call(tier)) !=
			 (early ? H_SUCCESS : H_TOO_HARD));
		WRONG_IF(now(stuff_call(tier, SAME, 0, TINY_NR)) !=
			 (early ? H_SUCCESS : H_TOO_HARD));
	}
	end();
}

/* The same for the parts of an entry, which the VMM had lead there one by one */
static void parts_of_many_regions(void)
{
	unsigned long i, kills;
	enum tier tier;

	begin(PARTS, FLAT);
	add_tiny_regions();
	for (tier = 0; tier < TIERS; ++tier) {
		for (i = 0; i < TINY_NR; ++i)
			map(FLAT, i, i);
		WRONG_IF(now(put_call(tier, PARTS, 0, page_tce(PAGE))) !=
			 (tier == TIER_VIRT ? H_SUCCESS : H_TOO_HARD));
		kills = device_kills;
		WRONG_IF(now(put_call(TIER_VIRT, PARTS, 0, 0)) != H_SUCCESS);
		/* One for what goes beside the gather's regions, and one for the call */
		WRONG_IF(device_kills - kills > 2);
	}
	end();
}

/*
 * A memslot begins in the midst of an IOMMU page.  A TCE that is aligned to the memslot
 * is not aligned, and the page has memory that is not the guest's.
 */
static void list_aslant(void)
{
	const u64 good = (HUGE_GPA + (1UL << USER_HUGE_SHIFT)) | 3;
	struct kvm_memory_slot *slot;
	struct call call;
	enum tier tier;

	begin(MANY, WHOLE);
	add_region(HUGE_TWO);
	slot = &world.kvm.memslots[0]->slot[2];
	slot->base_gfn++;
	slot->npages--;
	slot->userspace_addr += PAGE_SIZE;
	for (tier = 0; tier < TIERS; ++tier) {
		call = list_call(tier, MANY, 0, PAGE, PAGE, 2);
		user_store(world_guest(PAGE << PAGE_SHIFT), cpu_to_be64(good));
		user_store(world_guest(PAGE << PAGE_SHIFT) + 1,
			   cpu_to_be64((HUGE_GPA + PAGE_SIZE) | 3));
		WRONG_IF(now(call) != H_TOO_HARD);
		WRONG_IF(!world_user(WHOLE, 0) || world_user(WHOLE, 1) || world_hw(WHOLE, 1));
		user_store(world_guest(PAGE << PAGE_SHIFT) + 1, cpu_to_be64(good));
		WRONG_IF(now(call) != H_SUCCESS || !world_user(WHOLE, 1));
		WRONG_IF(now(stuff_call(TIER_VIRT, MANY, 0, 2)) != H_SUCCESS);
	}
	end();
}

/* The same for an unmap: an invalidation when the gather is full, not one per region */
static void unmap_of_many_regions(void)
{
	unsigned long i, kills;

	begin(SAME, FLAT);
	add_tiny_regions();
	for (i = 0; i < TINY_NR; ++i)
		map(FLAT, i, i);
	kills = device_kills;
	unmap_all(FLAT);
	WRONG_IF(device_kills - kills > DIV_ROUND_UP(TINY_NR, TCE_USER_REFS - 1));
	end();
}

/* How often a hypervisor is asked */
static void work_of_lists(void)
{
	unsigned long asked;

	begin(SAME, FOREIGN);
	asked = shim_asked;
	WRONG_IF(now(list_call(TIER_VIRT, SAME, 0, PAGE, PAGE, 128)) != H_SUCCESS);
	WRONG_IF(shim_asked - asked > 2);
	asked = shim_asked;
	WRONG_IF(now(stuff_call(TIER_VIRT, SAME, 0, 128)) != H_SUCCESS);
	WRONG_IF(shim_asked - asked > 2);
	asked = shim_asked;
	WRONG_IF(now(put_call(TIER_EARLY, SAME, 0, page_tce(PAGE))) != H_SUCCESS);
	WRONG_IF(shim_asked - asked > 1);
	WRONG_IF(now(list_call(TIER_VIRT, SAME, 0, PAGE, PAGE, 128)) != H_SUCCESS);
	asked = shim_asked;
	unmap_all(FOREIGN);
	WRONG_IF(shim_asked - asked > 2);
	end();
}

/* A list, a replaced entry and a mapped page in a region each, and in one */
static void gather_counts(void)
{
	enum tier tier;

	begin(SAME, FLAT);
	add_region(OLD);
	for (tier = 0; tier < TIERS; ++tier) {
		now(list_call(tier, SAME, 0, 0, PAGE, 8));
		now(list_call(tier, SAME, 0, 0, 1, 8));
		now(list_call(tier, SAME, 0, PAGE, 1, 8));
		now(stuff_call(tier, SAME, 0, 8));
	}
	end();
}

/* Have virtual CPU 0 keep counts of OLD, to which nothing leads */
static void keep_counts(void)
{
	begin(SAME, FLAT);
	add_region(OLD);
	WRONG_IF(now(put_call(TIER_EARLY, SAME, 3, page_tce(NEW_PAGE))) != H_SUCCESS);
	WRONG_IF(now(put_call(TIER_EARLY, SAME, 3, 0)) != H_SUCCESS);
	WRONG_IF(world.vcpu[0].arch.tce_reader.kept != world.mem[OLD]);
	WRONG_IF(world_mapped(OLD) != 1);
}

/* Counts that are kept are nobody's translations: they are taken back */
static void kept_counts_taken_back(void)
{
	keep_counts();
	WRONG_IF(mm_iommu_put(&world.mm, world.mem[OLD]));
	WRONG_IF(world.vcpu[0].arch.tce_reader.kept);
	world.mem[OLD] = NULL;
	end();

	keep_counts();
	mm_iommu_drop(&world.mm, world.mem[OLD]);
	WRONG_IF(!mm_iommu_reap(&world.mm));
	world.mem[OLD] = NULL;
	end();

	/* And when a region is registered over those of one that was dropped */
	keep_counts();
	mm_iommu_drop(&world.mm, world.mem[OLD]);
	do_renew(NULL);
	WRONG_IF(!world.mem[NEW]);
	world.mem[OLD] = NULL;
	end();

	/* Or when who keeps them goes */
	keep_counts();
	mm_iommu_reader_del(&world.vcpu[0].arch.tce_reader);
	WRONG_IF(atomic64_read(&world.mem[OLD]->mapped) != 1);
	mm_iommu_reader_add(world.mm.context.iommu, &world.vcpu[0].arch.tce_reader);
	end();
}

/*
 * A virtual CPU is about to use a count that it keeps when the region is unregistered,
 * which waits for that, and fails.  Another one installs a translation meanwhile.
 */
static void kept_counts_in_use(void)
{
	struct call put = put_call(TIER_EARLY, SAME, 3, page_tce(NEW_PAGE));
	struct call second = put_call(TIER_EARLY, SAME, 20, page_tce(NEW_PAGE));
	struct unregister unregister = { OLD };
	struct hand hand = {}, other = {};

	keep_counts();
	stop_there(&hand, do_call, &put, SPOT_LOCK, lock_word(FLAT, 3));
	hand_start(&other, do_unregister, &unregister, SPOTS, NULL);
	second.vcpu = 1;
	WRONG_IF(now(second) != H_SUCCESS);
	hand_end(&hand);
	hand_end(&other);
	WRONG_IF(put.ret != H_SUCCESS || unregister.ret != -EBUSY);
	WRONG_IF(world_mapped(OLD) != 3);

	/* It keeps some again, as the region stayed */
	WRONG_IF(now(put_call(TIER_EARLY, SAME, 3, 0)) != H_SUCCESS);
	WRONG_IF(now(put_call(TIER_EARLY, SAME, 20, 0)) != H_SUCCESS);
	WRONG_IF(world.vcpu[0].arch.tce_reader.kept != world.mem[OLD]);
	put_region(OLD);
	end();
}

/*
 * The region fails to be unregistered.  While its counts are taken back, a virtual CPU has
 * looked at what it keeps, but not at whether it may: it may not.
 */
static void kept_counts_looked_at(void)
{
	struct call put = put_call(TIER_EARLY, SAME, 3, page_tce(NEW_PAGE));
	struct unregister unregister = { OLD };
	struct hand hand = {}, other = {};

	keep_counts();
	map(FLAT, 20, NEW_PAGE);
	stop_there(&other, do_unregister, &unregister, SPOT_UNCOUNT, &world.mem[OLD]->mapped);
	stop_there(&hand, do_call, &put, SPOT_LOAD, &world.vcpu[0].arch.tce_reader.kept);
	hand_go(&other);
	hand_end(&hand);
	hand_end(&other);
	WRONG_IF(put.ret != H_SUCCESS || unregister.ret != -EBUSY);
	WRONG_IF(world_mapped(OLD) != 3);
	unmap_all(FLAT);
	put_region(OLD);
	end();
}

#define TEST(name, checks)	{ #name, name, checks }

static const struct test {
	const char *name;
	void (*run)(void);
	unsigned int checks;
} tests[] = {
	TEST(list_region_renewed, 0),
	TEST(list_region_retired, 0),
	TEST(list_region_gone, 0),
	TEST(list_region_let_go, 0),
	TEST(kept_counts_taken_back, 0),
	TEST(kept_counts_in_use, 0),
	TEST(kept_counts_looked_at, 0),
	TEST(regions_replaced, 0),
	TEST(regions_replaced_before, 0),
	TEST(list_poisoned, 0),
	TEST(large_entry_of_two, 0),
	TEST(pieces_begin_during_a_call, 0),
	TEST(replaced_region_looked_up_early, 0),
	TEST(replaced_region_looked_up_early_one, 0),
	TEST(pinned_table_taken_for_another, 0),
	TEST(pinned_table_taken_for_another_one, 0),
	TEST(bound_during_list, 0),
	TEST(bound_during_put, 0),
	TEST(closed_during, 0),
	TEST(released_during, 0),
	TEST(destroyed_during, 0),
	TEST(destroyed_unbound_during, 0),
	TEST(locked_in_further_table, 0),
	TEST(locked_further_part, 0),
	TEST(locked_further_line, 0),
	TEST(work_of_large_entry, CHECK_WORK),
	TEST(work_of_list, CHECK_WORK),
	TEST(work_in_partial_exit, CHECK_WORK),
	TEST(work_of_hypervisor, CHECK_WORK),
	TEST(work_of_hypervisor_parts, CHECK_WORK),
	TEST(list_refused, CHECK_WORK),
	TEST(list_refused_ioctl, CHECK_WORK),
	TEST(list_refused_for_good, CHECK_WORK),
	TEST(list_busy, CHECK_WORK),
	TEST(entry_busy, CHECK_WORK),
	TEST(ioctl_busy, CHECK_WORK),
	TEST(ioctl_busy_in_part, CHECK_WORK),
	TEST(list_of_one_region, CHECK_WORK),
	TEST(list_changed, 0),
	TEST(regions_in_turn, CHECK_WORK),
	TEST(work_of_too_many_parts, CHECK_WORK),
	TEST(parts_of_many_regions, CHECK_WORK),
	TEST(list_aslant, 0),
	TEST(unmap_of_many_regions, CHECK_WORK),
	TEST(work_of_lists, CHECK_WORK),
	TEST(gather_counts, CHECK_GATHER),
};

/* A finding ends the program, so each test is one */
static bool passes(const struct test *test)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		checks = test->checks;
		limit_time(60);
		test->run();
		exit(0);	/* with a look for leaks */
	}
	WRONG_IF(waitpid(pid, &status, 0) != pid);
	if (WIFSIGNALED(status))
		printf("# ended by signal %d\n", WTERMSIG(status));
	return !status;
}

static bool chosen(const struct test *test, char **names)
{
	bool any = *names;

	for (; *names; ++names)
		if (!strcmp(*names, test->name))
			return true;
	return !any;
}

int main(int argc, char **argv)
{
	unsigned int i, nr = 0, bad = 0;

	printf("TAP version 13\n");
	for (i = 0; i < ARRAY_SIZE(tests); ++i) {
		bool ok;

		if (!chosen(&tests[i], argv + 1))
			continue;
		ok = passes(&tests[i]);
		bad += !ok;
		printf("%sok %u %s\n", ok ? "" : "not ", ++nr, tests[i].name);
	}
	printf("1..%u\n", nr);
	return bad || !nr;
}

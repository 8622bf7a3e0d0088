// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is taken back from a device, is out of its reach: it uses an entry, so that its
 * bridge may have cached it, the entry goes by each of the ways that there are, and
 * the device tries again.
 *
 * The bridges of QEMU cache nothing.  So there this sees what is left in a table; with
 * bridges that do, it sees an invalidation that is missing, as well, or one of
 * something else, or one that comes too early.
 */
#include "cases.h"

/* The page that the device has its sign from */
#define SIGN_PAGE	(DATA + 0x600000UL)

/* Other pages than those of fill_list() */
#define OTHER		(DATA + 0x200000UL)

static void begin_signed(struct env *env)
{
	begin(env);
	vfio_open_device(&env->dev);
	expect(env, put(env, LAST, SIGN_PAGE | TCE_READ) == H_SUCCESS);
	edu_take_sign(&env->dev, LAST, env->vm.mem + SIGN_PAGE);
}

/* How many of the first and last one of @n entries, which lead to pages from @gpa on */
static unsigned int reached(struct env *env, __u64 n, __u64 gpa)
{
	const __u64 last = (n - 1) * PAGE;

	return edu_reaches(&env->dev, 0, env->vm.mem + gpa) +
	       edu_reaches(&env->dev, last, env->vm.mem + gpa + last);
}

CASE(one_entry)
{
	__u8 *page;

	begin_signed(env);
	page = env->vm.mem + DATA;
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, edu_reaches(&env->dev, 0, page));
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, !edu_reaches(&env->dev, 0, page));

	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, edu_reaches(&env->dev, 0, page));
	expect(env, put(env, 0, OTHER | RW) == H_SUCCESS);
	expect(env, !edu_reaches(&env->dev, 0, page));
	expect(env, env->vm.mem[OTHER] == EDU_SIGN);
	expect(env, put(env, 0, OTHER | TCE_READ) == H_SUCCESS);
	expect(env, !edu_reaches(&env->dev, 0, env->vm.mem + OTHER));
}

/* Up to 32 pages are invalidated one by one */
static const unsigned int runs[] = { 2, 32, 33 };

/* The first @n entries lead to DATA, and the device has used the first and the last one */
static void map_and_use(struct env *env, __u64 n)
{
	fill_list(env, RW);
	expect(env, indirect(env, 0, LIST, n) == H_SUCCESS);
	expect(env, reached(env, n, DATA) == 2);
}

CASE(lists_and_runs)
{
	unsigned int i;

	begin_signed(env);
	for (i = 0; i < ARRAY_SIZE(runs); i++) {
		const __u64 n = runs[i];

		map_and_use(env, n);
		expect(env, stuff(env, 0, 0, n) == H_SUCCESS);
		expect(env, reached(env, n, DATA) == 0);
	}
}

CASE(lists_that_replace)
{
	unsigned int i, j;

	begin_signed(env);
	for (i = 0; i < ARRAY_SIZE(runs); i++) {
		const __u64 n = runs[i];

		map_and_use(env, n);
		for (j = 0; j < n; j++)
			set_list(env, j, (OTHER + j * PAGE) | RW);
		expect(env, indirect(env, 0, LIST, n) == H_SUCCESS);
		expect(env, reached(env, n, DATA) == 0);
		expect(env, reached(env, n, OTHER) == 2);
	}
}

/* More regions than are let go of at once */
CASE(lists_of_many_regions)
{
	const __u64 piece = 1 << 16;
	unsigned int i;

	begin_signed(env);
	expect(env, put(env, LAST, 0) == H_SUCCESS);
	expect(env, released(env));
	for (i = 0; i < env->vm.size / piece; i++)
		vfio_register(&env->dev, env->vm.mem + i * piece, piece);
	for (i = 0; i < 100; i++)
		set_list(env, i, (DATA + i * piece) | RW);

	expect(env, indirect(env, 0, LIST, 100) == H_SUCCESS);
	for (i = 0; i < 100; i += 9)
		expect(env, edu_reaches(&env->dev, i * PAGE, env->vm.mem + DATA + i * piece));
	expect(env, stuff(env, 0, 0, 100) == H_SUCCESS);
	for (i = 0; i < 100; i += 9)
		expect(env, !edu_reaches(&env->dev, i * PAGE, env->vm.mem + DATA + i * piece));
}

/* An entry of the guest that stands for @parts of the table */
static void parts(struct env *env, unsigned int shift)
{
	const __u64 size = 1UL << shift;
	__u8 *page;

	begin_with_pages(env, shift);
	vfio_open_device(&env->dev);
	expect(env, put(env, WINDOW - size, SIGN_PAGE | TCE_READ) == H_SUCCESS);
	edu_take_sign(&env->dev, WINDOW - size, env->vm.mem + SIGN_PAGE);

	page = env->vm.mem + OTHER;
	expect(env, put(env, size, OTHER | RW) == H_SUCCESS);
	expect(env, edu_reaches(&env->dev, size, page));
	expect(env, edu_reaches(&env->dev, 2 * size - PAGE, page + size - PAGE));
	expect(env, stuff(env, size, 0, 1) == H_SUCCESS);
	expect(env, !edu_reaches(&env->dev, size, page));
	expect(env, !edu_reaches(&env->dev, 2 * size - PAGE, page + size - PAGE));
}

CASE_CALL(parts_of_64k, parts, 16);
CASE_CALL(parts_of_1m, parts, 20);

/* Its bus addresses are not those of the first one */
CASE(second_window)
{
	__u8 *page;
	__u64 at;

	need_pages_of_64k();
	begin_signed(env);
	if (vfio_add_window(&env->dev, 16, WINDOW, 1, &at))
		case_skip("no second window");
	env->liobn = LIOBN + 1;
	ktap_need(!vm_bind_fds(&env->vm, env->dev.group,
			       vm_create_liobn_at(&env->vm, env->liobn, 16, at,
						  WINDOW >> 16)), "binding");
	page = env->vm.mem + DATA;
	expect(env, put(env, at + 0x10000, DATA | RW) == H_SUCCESS);
	expect(env, edu_reaches(&env->dev, at + 0x1f000, page + 0xf000));
	expect(env, put(env, at + 0x10000, 0) == H_SUCCESS);
	expect(env, !edu_reaches(&env->dev, at + 0x1f000, page + 0xf000));
}

/* What two devices of other groups share: the table, or the LIOBN with two tables */
static void expect_both(struct env *env, struct vfio_dev *second)
{
	__u8 *page = env->vm.mem + DATA;

	vfio_open_device(second);
	edu_take_sign(second, LAST, env->vm.mem + SIGN_PAGE);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, edu_reaches(&env->dev, 0, page));
	expect(env, edu_reaches(second, 0, page));
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, !edu_reaches(&env->dev, 0, page));
	expect(env, !edu_reaches(second, 0, page));
}

CASE(one_table_of_two_groups)
{
	struct vfio_dev second;

	need_more(env, &second, 1);
	begin_signed(env);
	vfio_open_only_group(&second);
	second.container = env->dev.container;
	if (vfio_join(&second, second.container))
		case_skip("a container takes one group here");
	expect(env, vm_add_fd(&env->vm, second.group) == 0);
	expect(env, vm_bind_fds(&env->vm, second.group, env->tablefd) == 0);
	expect_both(env, &second);
}

CASE(two_tables_of_a_liobn)
{
	struct vfio_dev second;

	need_more(env, &second, 1);
	begin_signed(env);
	bind_further(env, &second);
	expect(env, put(env, LAST, SIGN_PAGE | TCE_READ) == H_SUCCESS);
	expect_both(env, &second);
}

#define ROUNDS		40

/*
 * The device writes at some moment while entries are mapped and cleared.  When it has
 * written, no further hypercall is made: entries that were cleared last stay clear.
 */
CASE(while_it_is_cleared)
{
	const __u64 at = 511 * PAGE;
	unsigned int round, times = 0;
	atomic_uchar *written;
	__u8 *page;

	begin_signed(env);
	fill_list(env, RW);
	page = env->vm.mem + DATA + at;
	written = (atomic_uchar *)page;
	for (round = 0; round < ROUNDS; round++) {
		const __u64 end = now_ns() + 150000000;

		atomic_store(written, 0);
		edu_begin_write(&env->dev, at, EDU_SOME);
		while (!atomic_load(written) && now_ns() < end) {
			expect(env, indirect(env, 0, LIST, 512) == H_SUCCESS);
			if (atomic_load(written))
				break;
			expect(env, stuff(env, 0, 0, 512) == H_SUCCESS);
			if (!atomic_load(written))
				continue;
			times++;
			expect(env, !edu_reaches(&env->dev, at, page));
			break;
		}
		edu_wait(&env->dev);
	}
	ktap_say("  written during or just before %u of %u runs", times, ROUNDS);
}

int main(void)
{
	return run_cases_on_tiers();
}

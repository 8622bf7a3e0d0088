// SPDX-License-Identifier: GPL-2.0-only
/*
 * What each TCE hypercall answers, as a table to be read beside PAPR 14.5.4.2 and
 * the table of answers at KVM_CREATE_SPAPR_TCE_64 in Documentation/virt/kvm/api.rst.
 * It is printed as it runs, a line for each call, in this order:
 *
 *	call	LIOBN	bus address	TCE, list or value	entries	answer	why
 */
#include <endian.h>
#include <string.h>

#include "cases.h"

/* Other windows; the usual one has pages of 4K and is bound */
#define UNBOUND		(LIOBN + 1)	/* 16 entries from FAR on */
#define COARSE		(LIOBN + 2)	/* an entry is 16384 of the bound table */
#define UNKNOWN		(LIOBN + 3)
#define FAR		0x10000000000UL

/* Memory that VFIO does not know; and lists: all good, and bad at entry 5 */
#define STRANGE		(HOLE + 0x100000)
#define GOOD		LIST
#define BAD		(LIST + PAGE)

#define SUCCESS		H_SUCCESS
#define PARAMETER	H_PARAMETER
#define USER		FROM_USER

struct line {
	__u64 liobn, bus, arg, n;
	long answer;
	const char *why;
};

static const char *name_of(long answer)
{
	switch (answer) {
	case H_SUCCESS:
		return "H_SUCCESS";
	case H_PARAMETER:
		return "H_PARAMETER";
	case FROM_USER:
		return "user space";
	default:
		return "something else";
	}
}

static void try_lines(struct env *env, const char *name, __u64 nr,
		      const struct line *lines, unsigned int count)
{
	const struct line *l;
	long answer;

	for (l = lines; l < lines + count; l++) {
		answer = hcall_of(env, l->liobn, nr, l->bus, l->arg, l->n);
		ktap_say("  %-18s %llx %-16llx %-16llx %-16llx %-11s %s", name,
			 l->liobn, l->bus, l->arg, l->n, name_of(l->answer),
			 l->why);
		if (answer == l->answer)
			continue;
		ktap_say("  but it was answered with %s (%ld)", name_of(answer),
			 answer);
		env->failed = true;
	}
}

static void begin_lines(struct env *env)
{
	__u64 *bad;
	__u8 *more;
	int coarse;

	begin(env);
	more = vm_add_memory(&env->vm, 1, STRANGE, 1 << 20);
	vm_create_liobn_at(&env->vm, UNBOUND, SHIFT, FAR, 16);
	coarse = vm_create_liobn(&env->vm, COARSE, 26, WINDOW >> 26);
	ktap_need(!vm_bind(&env->vm, &env->dev, coarse), "binding");

	fill_list(env, RW);
	memcpy(more, env->vm.mem + GOOD, PAGE);
	bad = memcpy(env->vm.mem + BAD, env->vm.mem + GOOD, PAGE);
	bad[5] = htobe64(HOLE | RW);
}

/* Whatever was answered, the count of translations is right */
static void end_lines(struct env *env)
{
	expect(env, stuff(env, 0, 0, ENTRIES) == H_SUCCESS);
	expect(env, released(env));
}

CASE(h_put_tce)
{
	static const struct line lines[] = {
		{ LIOBN, 0, DATA | RW, 0, SUCCESS, "the first entry" },
		{ LIOBN, LAST, DATA | TCE_READ, 0, SUCCESS, "the last entry" },
		{ LIOBN, LAST, 0, 0, SUCCESS, "no permissions: cleared" },
		{ LIOBN, LAST, STRANGE, 0, SUCCESS, "any address without permissions" },
		{ LIOBN, 0, DATA | RW, ~0UL, SUCCESS, "there is no fourth argument" },
		{ LIOBN, WINDOW, DATA | RW, 0, PARAMETER, "after the window" },
		{ LIOBN, -PAGE, DATA | RW, 0, PARAMETER, "the end of bus addresses" },
		{ LIOBN, PAGE | 1, DATA | RW, 0, PARAMETER, "not at a page" },
		{ LIOBN, 0x800, 0, 0, PARAMETER, "not at a page, and to be cleared" },
		{ LIOBN, WINDOW, HOLE | RW, 0, PARAMETER, "both wrong: the window is first" },
		{ UNKNOWN, WINDOW, DATA | RW, 0, USER, "no such LIOBN" },
		{ LIOBN | 1UL << 32, 0, DATA | RW, 0, USER, "no such LIOBN: it is 64 bits wide" },
		{ LIOBN, 0, HOLE | RW, 0, USER, "not in guest memory" },
		{ LIOBN, 0, 0x1000000 | RW, 0, USER, "the first page after guest memory" },
		{ LIOBN, 0, STRANGE | RW, 0, USER, "not registered" },
		{ LIOBN, 0, DATA | 0x10 | RW, 0, USER, "not the address of a page" },
		{ LIOBN, 0, ~0xfffUL | RW, 0, USER, "the end of guest addresses" },
		{ LIOBN, 0, 1UL << 63 | DATA | RW, 0, USER, "a bit that no address has" },
		{ UNBOUND, FAR, DATA | RW, 0, SUCCESS, "the first entry of a window elsewhere" },
		{ UNBOUND, FAR, STRANGE | RW, 0, SUCCESS, "not bound: not registered either" },
		{ UNBOUND, FAR, HOLE | RW, 0, USER, "not bound, but not guest memory" },
		{ UNBOUND, FAR + 15 * PAGE, DATA | RW, 0, SUCCESS, "its last entry" },
		{ UNBOUND, FAR + 16 * PAGE, DATA | RW, 0, PARAMETER, "after it" },
		{ UNBOUND, FAR - PAGE, DATA | RW, 0, PARAMETER, "before it" },
		{ UNBOUND, 0, DATA | RW, 0, PARAMETER, "at the beginning" },
		{ COARSE, 0, 0, 0, USER, "too many entries of the table" },
		{ COARSE, PAGE, 0, 0, PARAMETER, "not at one of its pages" },
	};

	begin_lines(env);
	try_lines(env, "H_PUT_TCE", H_PUT_TCE, lines, ARRAY_SIZE(lines));
	end_lines(env);
}

CASE(h_put_tce_indirect)
{
	static const struct line lines[] = {
		{ LIOBN, 0, GOOD, 1, SUCCESS, "one" },
		{ LIOBN, 0, GOOD, 512, SUCCESS, "as many as a list has" },
		{ LIOBN, WINDOW - 512 * PAGE, GOOD, 512, SUCCESS, "up to the last entry" },
		{ LIOBN, WINDOW - 511 * PAGE, GOOD, 512, PARAMETER, "past the last entry" },
		{ LIOBN, LAST, GOOD, 2, PARAMETER, "past the last entry" },
		{ LIOBN, -PAGE, GOOD, 2, PARAMETER, "addresses that wrap" },
		{ LIOBN, 8, GOOD, 1, PARAMETER, "not at a page" },
		{ LIOBN, 0, GOOD, 513, PARAMETER, "more than a list has" },
		{ LIOBN, 0, GOOD, 1UL << 60, PARAMETER, "a size that wraps" },
		{ LIOBN, 0, GOOD, ~0UL, PARAMETER, "the largest number" },
		{ LIOBN, 0, GOOD + 8, 1, PARAMETER, "a list that is not at 4K" },
		{ LIOBN, 0, GOOD + 1, 0, PARAMETER, "the same, of none" },
		{ UNKNOWN, 0, GOOD, 513, USER, "no such LIOBN: the VMM judges" },
		{ UNKNOWN, 0, GOOD + 8, 1, USER, "the list, too" },
		{ UNKNOWN, 0, GOOD, 1, USER, "no such LIOBN" },
		{ LIOBN, 0, GOOD, 0, SUCCESS, "none" },
		{ LIOBN, WINDOW, GOOD, 0, SUCCESS, "none, at the end" },
		{ LIOBN, WINDOW + PAGE, GOOD, 0, PARAMETER, "none, after the end" },
		{ LIOBN, 0, HOLE, 0, SUCCESS, "none, of a list that is not there" },
		{ LIOBN, 0, HOLE, 1, USER, "a list that is not there" },
		{ LIOBN, 0, 0x1000000 - PAGE, 1, SUCCESS, "in the last page of memory" },
		{ LIOBN, 0, 0x1000000, 1, USER, "after the last page of memory" },
		{ LIOBN, 0, -PAGE, 1, USER, "at the end of guest addresses" },
		{ LIOBN, 0, STRANGE, 512, SUCCESS, "the list need not be registered" },
		{ LIOBN, 0, BAD, 5, SUCCESS, "up to an entry that is bad" },
		{ LIOBN, 0, BAD, 6, USER, "with an entry that is bad" },
		{ UNBOUND, FAR, GOOD, 16, SUCCESS, "all of a window" },
		{ UNBOUND, FAR, GOOD, 17, PARAMETER, "one more" },
		{ COARSE, 0, GOOD, 1, USER, "too many entries of the table" },
	};

	begin_lines(env);
	try_lines(env, "H_PUT_TCE_INDIRECT", H_PUT_TCE_INDIRECT, lines, ARRAY_SIZE(lines));
	end_lines(env);
}

CASE(h_stuff_tce)
{
	static const struct line lines[] = {
		{ LIOBN, 0, 0, 1, SUCCESS, "one" },
		{ LIOBN, 0, 0, 513, SUCCESS, "more than a list has" },
		{ LIOBN, 0, 0, ENTRIES, SUCCESS, "all of the window" },
		{ LIOBN, 0, 0, ENTRIES + 1, PARAMETER, "one more" },
		{ LIOBN, PAGE, 0, ENTRIES, PARAMETER, "past the last entry" },
		{ LIOBN, LAST, 0x7000, 1, SUCCESS, "a value, which reads back" },
		{ LIOBN, LAST, ~RW, 1, SUCCESS, "all bits but permissions" },
		{ LIOBN, 0, TCE_READ, 1, PARAMETER, "a value with a permission" },
		{ LIOBN, 0, DATA | TCE_WRITE, 1, PARAMETER, "the other permission" },
		{ LIOBN, 0, RW, 0, PARAMETER, "the same, of none" },
		{ UNKNOWN, 0, RW, 1, USER, "no such LIOBN: the VMM judges" },
		{ UNKNOWN, 0, 0, 1, USER, "no such LIOBN" },
		{ LIOBN, 0, 0, 0, SUCCESS, "none" },
		{ LIOBN, WINDOW, 0, 0, SUCCESS, "none, at the end" },
		{ LIOBN, WINDOW, 0, 1, PARAMETER, "one, at the end" },
		{ LIOBN, 8, 0, 0, PARAMETER, "none, not at a page" },
		{ LIOBN, 0, 0, 1UL << 32, PARAMETER, "0 in 32 bits" },
		{ LIOBN, 0, 0, 1UL << 52, PARAMETER, "a size that wraps" },
		{ LIOBN, 0, 0, 1UL << 60, PARAMETER, "a size that wraps" },
		{ LIOBN, LAST, 0, ~0UL, PARAMETER, "an end that wraps" },
		{ UNBOUND, FAR, 0, 16, SUCCESS, "all of a window elsewhere" },
		{ UNBOUND, FAR, 0, 17, PARAMETER, "one more" },
		{ UNBOUND, FAR + PAGE, 0, 16, PARAMETER, "past its last entry" },
		{ UNBOUND, FAR + 16 * PAGE, 0, 0, SUCCESS, "none, at its end" },
		{ COARSE, 0, 0, 1, USER, "too many entries of the table" },
	};

	begin_lines(env);
	try_lines(env, "H_STUFF_TCE", H_STUFF_TCE, lines, ARRAY_SIZE(lines));
	end_lines(env);
}

CASE(h_get_tce)
{
	static const struct line lines[] = {
		{ LIOBN, 0, 0, 0, SUCCESS, "the first entry" },
		{ LIOBN, LAST, ~0UL, ~0UL, SUCCESS, "there are two arguments" },
		{ LIOBN, WINDOW, 0, 0, PARAMETER, "after the window" },
		{ LIOBN, -PAGE, 0, 0, PARAMETER, "the end of bus addresses" },
		{ LIOBN, PAGE / 2, 0, 0, PARAMETER, "not at a page" },
		{ UNKNOWN, WINDOW, 0, 0, USER, "no such LIOBN" },
		{ UNBOUND, FAR, 0, 0, SUCCESS, "a window elsewhere" },
		{ UNBOUND, FAR - PAGE, 0, 0, PARAMETER, "before it" },
		{ COARSE, 0, 0, 0, SUCCESS, "the table is not looked at" },
	};

	begin_lines(env);
	try_lines(env, "H_GET_TCE", H_GET_TCE, lines, ARRAY_SIZE(lines));
	end_lines(env);
}

/* The window behind the LIOBN is gone: only H_GET_TCE does without */
CASE(after_the_window_was_removed)
{
	static const struct line put[] = {
		{ LIOBN, 0, DATA | RW, 0, USER, "the window was removed" },
	}, list[] = {
		{ LIOBN, 0, GOOD, 1, USER, "the window was removed" },
	}, stuff[] = {
		{ LIOBN, 0, 0, 1, USER, "the window was removed" },
		{ LIOBN, LAST, 0, 2, PARAMETER, "past the last entry" },
	}, get[] = {
		{ LIOBN, 0, 0, 0, SUCCESS, "the window was removed" },
	};

	begin_lines(env);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	try_lines(env, "H_PUT_TCE", H_PUT_TCE, put, ARRAY_SIZE(put));
	try_lines(env, "H_PUT_TCE_INDIRECT", H_PUT_TCE_INDIRECT, list, ARRAY_SIZE(list));
	try_lines(env, "H_STUFF_TCE", H_STUFF_TCE, stuff, ARRAY_SIZE(stuff));
	try_lines(env, "H_GET_TCE", H_GET_TCE, get, ARRAY_SIZE(get));
	expect(env, released(env));
}

int main(void)
{
	return run_cases_on_tiers();
}

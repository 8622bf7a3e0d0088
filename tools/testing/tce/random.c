// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random sequences, and those that were kept.
 *
 *	random run SEED COUNT	play COUNT sequences; prints one that fails, shrunk
 *	random find SEED COUNT	the same, without shrinking it
 *	random play FILE...	play sequences kept as text
 *	random raw FILE		text to bytes, for the fuzzer
 *	random text FILE	bytes to text
 *
 * Each sequence is played with the tiers that it names, and once with each tier.
 * A finding ends the program, so this is done in a child.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "step.h"
#include "world.h"

struct sequence {
	struct step step[STEPS_MAX];
	unsigned int nr;
};

/* A table of so many entries that it makes all steps slow */
#define LARGE	7

/* Which sequence the child is at */
static unsigned long *at;

static u64 state;

static u32 rnd(u32 below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 16) % below;
}

static void add(struct sequence *seq, struct step step)
{
	seq->step[seq->nr++] = step;
}

/* Something to work on: regions, open tables, LIOBNs bound to them */
static void begin(struct sequence *seq)
{
	static const u8 some[] = { 0, 1, 2, 4, 5 };
	/* LIOBNs and groups with a table for them */
	static const u8 matches[][2] = {
		{ 0, 0 }, { 0, 1 }, { 0, 3 }, { 0, 4 }, { 1, 1 }, { 2, 0 }, { 2, 2 },
		{ 3, 0 }, { 3, 1 }, { 3, 2 }, { 3, 3 }, { 4, 2 }, { 4, 3 },
		{ 0, 5 }, { 1, 5 }, { 3, 5 }, { 4, 5 }, { 5, 5 }, { 6, 5 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(some); ++i)
		if (rnd(8))
			add(seq, (struct step){ OP_REGISTER, some[i] });
	if (!rnd(4)) {
		add(seq, (struct step){ OP_UNREGISTER, 0 });
		for (i = 6; i < 16; ++i)
			add(seq, (struct step){ OP_REGISTER, i });
	}
	for (i = 0; i < TABLES; ++i)
		if (i == LARGE ? !rnd(8) : rnd(8))
			add(seq, (struct step){ OP_OPEN, i, !rnd(16) });
	for (i = 0; i < LIOBNS; ++i)
		if (rnd(i < 5 ? 8 : 2))
			add(seq, (struct step){ OP_CREATE, i });
	for (i = rnd(10); i; --i) {
		const u8 *pair = matches[rnd(ARRAY_SIZE(matches))];

		add(seq, (struct step){ OP_BIND, pair[0], pair[1] });
	}
}

static u16 number_of_entries(void)
{
	static const u16 usual[] = { 0, 1, 2, 3, 15, 16, 17, 31, 63, 127, 255, 511, 512, 513, 600 };

	return rnd(3) ? usual[rnd(sizeof(usual) / 2)] : rnd(640);
}

static unsigned int any_op(void)
{
	/* How often, in the order of enum op */
	static const u8 weight[OPS] = {
		6, 5, 2, 3, 6, 3, 12, 8, 4, 1, 3, 10, 6,
		50, 40, 30, 8, 2, 1, 1, 8, 4, 2, 4,
	};
	u32 sum = 0, pick;
	unsigned int op;

	for (op = 0; op < OPS; ++op)
		sum += weight[op];
	pick = rnd(sum);
	for (op = 0; pick >= weight[op]; ++op)
		pick -= weight[op];
	return op;
}

static struct step any_step(unsigned int op)
{
	return (struct step){
		.op = op, .a = rnd(op == OP_REGISTER ? REGIONS : 20),
		.b = op == OP_CREATE && rnd(8) ? 0 : rnd(8),
		.c = rnd(2) ? rnd(256) : rnd(4) | rnd(4) << 3,
		.x = rnd(2) ? rnd(16) : rnd(rnd(4) ? 512 : 65536),
		.y = number_of_entries(),
		.z = rnd(3) ? rnd(1024) | rnd(8) << 13 : rnd(65536),
	};
}

/* What comes after OP_FAIL and the like is a step that it can hurt */
static void add_victim(struct sequence *seq, unsigned int op)
{
	static const u8 victim[][8] = {
		{ OP_CREATE, OP_BIND, OP_FAULT, OP_REGISTER, OP_LIST, OP_PUT, OP_STUFF, OP_MAP },
		{ OP_PUT, OP_LIST, OP_LIST, OP_STUFF, OP_STUFF, OP_MAP, OP_MAP, OP_UNMAP },
		{ OP_MAP, OP_MAP, OP_MAP, OP_STUFF, OP_STUFF, OP_LIST, OP_LIST, OP_LIST },
		{ OP_PUT, OP_PUT, OP_PUT, OP_LIST, OP_LIST, OP_STUFF, OP_STUFF, OP_STUFF },
	};

	seq->step[seq->nr - 1].x = rnd(4) ? rnd(4) : rnd(32);
	add(seq, any_step(victim[op - OP_FAIL][rnd(8)]));
}

static void generate(struct sequence *seq, unsigned long seed)
{
	unsigned int n, op;

	state = (seed + 1) * 0x9e3779b97f4a7c15UL;
	seq->nr = 0;
	if (rnd(8))
		begin(seq);
	for (n = 8 + rnd(72); n; --n) {
		op = any_op();
		add(seq, any_step(op));
		if (op >= OP_FAIL)
			add_victim(seq, op);
	}
}

static void play(const struct sequence *seq)
{
	int tier;

	for (tier = -1; tier < TIERS; ++tier)
		step_play(seq->step, seq->nr, tier);
}

/* Does a sequence fail?  What it says is dropped. */
static bool fails(const struct sequence *seq)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		limit_time(60);
		play(seq);
		_exit(0);
	}
	return waitpid(pid, &status, 0) != pid || status;
}

/* Take out what is not needed, in pieces that get smaller; then make values 0 */
static void shrink(struct sequence *seq)
{
	struct sequence less;
	unsigned int n, i, field;

	for (n = seq->nr; n; n /= 2) {
		for (i = 0; i + n <= seq->nr;) {
			less = *seq;
			memmove(&less.step[i], &less.step[i + n],
				(less.nr - i - n) * sizeof(less.step[0]));
			less.nr -= n;
			if (fails(&less))
				*seq = less;
			else
				i += n;
		}
	}
	for (i = 0; i < seq->nr; ++i) {
		for (field = 1; field < STEP_BYTES; ++field) {
			u8 bytes[STEP_BYTES];

			step_to_bytes(&seq->step[i], bytes);
			less = *seq;
			bytes[field] = 0;
			less.step[i] = step_from_bytes(bytes);
			if (fails(&less))
				*seq = less;
		}
	}
}

static void print(const struct sequence *seq)
{
	unsigned int i;

	for (i = 0; i < seq->nr; ++i)
		step_print(stdout, &seq->step[i]);
}

static int run(unsigned long seed, unsigned long count, bool small)
{
	struct sequence seq;
	unsigned long i;
	int status;
	pid_t pid;

	at = mmap(NULL, sizeof(*at), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*at = seed;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		unsigned long steps = 0;

		for (i = seed; i < seed + count; ++i) {
			WRITE_ONCE(*at, i);
			generate(&seq, i);
			steps += seq.nr * (TIERS + 1);
			limit_time(60);
			play(&seq);
		}
		printf("# seeds %lu to %lu, %lu steps\n", seed, seed + count - 1, steps);
		exit(0);	/* with a look for leaks */
	}
	if (waitpid(pid, &status, 0) == pid && !status)
		return 0;

	generate(&seq, *at);
	printf("# seed %lu fails\n", *at);
	if (small) {
		shrink(&seq);
		printf("# the shortest that does, for cases/NAME.tce:\n");
		print(&seq);
	}
	return 1;
}

static int read_text(const char *name, struct sequence *seq)
{
	FILE *file = fopen(name, "r");
	char line[256];
	int ret = 0;

	seq->nr = 0;
	while (file && seq->nr < STEPS_MAX && fgets(line, sizeof(line), file) && ret >= 0) {
		ret = step_parse(line, &seq->step[seq->nr]);
		seq->nr += ret > 0;
	}
	if (!file || ret < 0) {
		fprintf(stderr, "error: %s: %s\n", name, file ? line : "cannot be read");
		return 1;
	}
	fclose(file);
	return 0;
}

static int play_files(char **names)
{
	struct sequence seq;

	for (; *names; ++names) {
		if (read_text(*names, &seq))
			return 1;
		fprintf(stderr, "# %s\n", *names);
		limit_time(60);
		play(&seq);
	}
	return 0;
}

static int raw(const char *name)
{
	struct sequence seq;
	u8 bytes[STEP_BYTES];
	unsigned int i;

	if (read_text(name, &seq))
		return 1;
	for (i = 0; i < seq.nr; ++i) {
		step_to_bytes(&seq.step[i], bytes);
		fwrite(bytes, STEP_BYTES, 1, stdout);
	}
	return 0;
}

static int text(const char *name)
{
	FILE *file = fopen(name, "r");
	u8 bytes[STEP_BYTES];
	struct step step;

	if (!file) {
		fprintf(stderr, "error: %s: cannot be read\n", name);
		return 1;
	}
	while (fread(bytes, STEP_BYTES, 1, file) == 1) {
		step = step_from_bytes(bytes);
		step_print(stdout, &step);
	}
	fclose(file);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && (!strcmp(argv[1], "run") || !strcmp(argv[1], "find")))
		return run(strtoul(argv[2], NULL, 0), strtoul(argv[3], NULL, 0),
			   !strcmp(argv[1], "run"));
	if (argc > 2 && !strcmp(argv[1], "play"))
		return play_files(argv + 2);
	if (argc == 3 && !strcmp(argv[1], "raw"))
		return raw(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "text"))
		return text(argv[2]);
	fputs("usage: random run|find SEED COUNT | play FILE... | raw FILE | text FILE\n",
	      stderr);
	return 2;
}

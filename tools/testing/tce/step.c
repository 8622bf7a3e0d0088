// SPDX-License-Identifier: GPL-2.0-only
/* Sequences as bytes and as text; see step.h */
#include "step.h"

static const char * const step_name[OPS] = {
	[OP_REGISTER] = "register",	/* region */
	[OP_UNREGISTER] = "unregister",	/* region */
	[OP_DROP] = "drop",		/* region */
	[OP_REAP] = "reap",
	[OP_OPEN] = "open",		/* table, 1 for another process */
	[OP_CLOSE] = "close",		/* table */
	[OP_MAP] = "map",		/* table, permissions, -, entry, entries, page */
	[OP_UNMAP] = "unmap",		/* table, -, -, entry, entries */
	[OP_CREATE] = "create",		/* LIOBN, what is wrong */
	[OP_DESTROY] = "destroy",	/* LIOBN */
	[OP_FAULT] = "fault",		/* LIOBN, -, -, page of the guest's view */
	[OP_BIND] = "bind",		/* LIOBN, group, which file */
	[OP_RELEASE] = "release",	/* group */
	[OP_PUT] = "put",		/* tier, LIOBN, flags, entry, -, page */
	[OP_LIST] = "list",		/* tier, LIOBN, pattern, entry, entries, page */
	[OP_STUFF] = "stuff",		/* tier, LIOBN, flags, entry, entries */
	[OP_GET] = "get",		/* tier, LIOBN, flags, entry */
	[OP_SLOT] = "slot",		/* memslot, flags */
	[OP_TIERS] = "tiers",		/* mask */
	[OP_HCALLS] = "hcalls",		/* mask of those enabled */
	[OP_FAIL] = "fail",		/* -, -, -, which allocation of the next step */
	[OP_REFUSE] = "refuse",		/* -, -, -, which exchange of the next step */
	[OP_FATAL] = "fatal",		/* the process is killed in the next step */
	[OP_HOLD] = "hold",		/* table, -, -, entry: locked for the next step */
};

struct step step_from_bytes(const u8 *b)
{
	return (struct step){
		.op = b[0] % OPS, .a = b[1], .b = b[2], .c = b[3],
		.x = b[4] | b[5] << 8, .y = b[6] | b[7] << 8, .z = b[8] | b[9] << 8,
	};
}

void step_to_bytes(const struct step *s, u8 *b)
{
	const u8 bytes[STEP_BYTES] = {
		s->op, s->a, s->b, s->c,
		s->x, s->x >> 8, s->y, s->y >> 8, s->z, s->z >> 8,
	};

	memcpy(b, bytes, sizeof(bytes));
}

void step_print(FILE *file, const struct step *s)
{
	const unsigned int value[] = { s->a, s->b, s->c, s->x, s->y, s->z };
	unsigned int i, n = 6;

	while (n && !value[n - 1])
		n--;
	fputs(step_name[s->op], file);
	for (i = 0; i < n; ++i)
		fprintf(file, " %u", value[i]);
	fputc('\n', file);
}

int step_parse(const char *line, struct step *s)
{
	unsigned int v[6] = {};
	char name[16];
	int op, n = 0;

	if (sscanf(line, " %15[a-z]%n", name, &n) != 1) {
		line += strspn(line, " \t\r\n");
		return *line && *line != '#' ? -1 : 0;
	}
	sscanf(line + n, "%u %u %u %u %u %u", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5]);
	for (op = 0; op < OPS; ++op) {
		if (strcmp(name, step_name[op]))
			continue;
		*s = (struct step){ op, v[0], v[1], v[2], v[3], v[4], v[5] };
		return 1;
	}
	return -1;
}

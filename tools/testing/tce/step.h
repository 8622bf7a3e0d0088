/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A sequence of operations: as bytes for the fuzzer, as text to read and to keep,
 * and played on the world and the model.
 */
#ifndef TCE_STEP_H
#define TCE_STEP_H

#include <stdio.h>

#include "kernel.h"

/* What may happen, in one word each; see step_name[] for what a, b, c, x, y, z say */
enum op {
	OP_REGISTER, OP_UNREGISTER, OP_DROP, OP_REAP,
	OP_OPEN, OP_CLOSE, OP_MAP, OP_UNMAP,
	OP_CREATE, OP_DESTROY, OP_FAULT, OP_BIND, OP_RELEASE,
	OP_PUT, OP_LIST, OP_STUFF, OP_GET,
	OP_SLOT, OP_TIERS, OP_HCALLS,
	OP_FAIL, OP_REFUSE, OP_FATAL, OP_HOLD,
	OPS
};

struct step {
	u8 op, a, b, c;
	u16 x, y, z;
};

#define STEP_BYTES	10
#define STEPS_MAX	256

struct step step_from_bytes(const u8 *bytes);
void step_to_bytes(const struct step *step, u8 *bytes);

/* A line; parsing says 1, 0 for an empty line or a comment, -1 for an error */
void step_print(FILE *file, const struct step *step);
int step_parse(const char *line, struct step *step);

/*
 * Play steps from an empty world to its end, and compare after each.  Hypercalls
 * begin in their own tier, or in @tier unless that is -1; as in the kernel, virtual
 * mode does what another tier left.
 */
void step_play(const struct step *steps, unsigned int nr, int tier);

#endif /* TCE_STEP_H */

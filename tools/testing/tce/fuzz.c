// SPDX-License-Identifier: GPL-2.0-only
/* libFuzzer: the input is a sequence of steps (step.h) */
#include "step.h"

int fuzz_one(const u8 *data, size_t size) asm("LLVMFuzzerTestOneInput");

int fuzz_one(const u8 *data, size_t size)
{
	static struct step steps[STEPS_MAX];
	unsigned int nr;

	for (nr = 0; nr < STEPS_MAX && size >= STEP_BYTES; ++nr) {
		steps[nr] = step_from_bytes(data);
		data += STEP_BYTES;
		size -= STEP_BYTES;
	}
	step_play(steps, nr, -1);
	return 0;
}

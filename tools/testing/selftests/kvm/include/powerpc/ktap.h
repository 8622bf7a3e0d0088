/* SPDX-License-Identifier: GPL-2.0-only */
/* Results in KTAP, a line per fact, and what a person wants to know as comment */
#ifndef SELFTEST_KVM_POWERPC_KTAP_H
#define SELFTEST_KVM_POWERPC_KTAP_H

#include <stdbool.h>
#include <linux/compiler.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

/* kselftest's exit code of a test that cannot run on this machine */
#define KTAP_SKIP	4

void ktap_plan(unsigned int facts);
__printf(2, 3) void ktap_ok(bool ok, const char *fmt, ...);
__printf(1, 2) void ktap_say(const char *fmt, ...);

/* End the program: failed if a fact was, or if there were fewer than planned */
void ktap_end(void);
__printf(1, 2) void ktap_skip(const char *fmt, ...);

/* What must work for the test to make sense; says what failed, and errno */
__printf(2, 3) void ktap_need(bool ok, const char *fmt, ...);

#endif /* SELFTEST_KVM_POWERPC_KTAP_H */

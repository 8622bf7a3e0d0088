// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ktap.h"

static unsigned int planned, done, failed;

void ktap_plan(unsigned int facts)
{
	static char line[BUFSIZ];

	/* Of one's own: that of a stream that was unbuffered is of one byte */
	setvbuf(stdout, line, _IOLBF, sizeof(line));
	planned = facts;
	printf("TAP version 13\n1..%u\n", facts);
}

void ktap_ok(bool ok, const char *fmt, ...)
{
	va_list ap;

	failed += !ok;
	printf("%sok %u ", ok ? "" : "not ", ++done);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

void ktap_say(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

void ktap_end(void)
{
	printf("# %u facts, %u failed\n", done, failed);
	exit(failed || done != planned);
}

void ktap_skip(const char *fmt, ...)
{
	va_list ap;

	printf("ok %u # SKIP ", ++done);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	exit(KTAP_SKIP);
}

void ktap_need(bool ok, const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	if (ok)
		return;

	printf("not ok %u ", ++done);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(": %s\n", strerror(err));
	exit(1);
}

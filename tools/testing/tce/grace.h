/* SPDX-License-Identifier: GPL-2.0-only */
/* What the kernel does outside the code under test: the work after a grace period */
#ifndef TCE_GRACE_H
#define TCE_GRACE_H

#include "kernel.h"

/* Do all that was put off: nobody is reading */
void grace_settle(void);

/* A thread that does what was put off as soon as that may be done, and not before */
void grace_begin(void);
void grace_end(void);

#endif /* TCE_GRACE_H */

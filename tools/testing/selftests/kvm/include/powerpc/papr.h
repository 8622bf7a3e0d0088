/* SPDX-License-Identifier: GPL-2.0-only */
/* TCE hypercalls, for guests and for what runs them (PAPR 14.5.4) */
#ifndef SELFTEST_KVM_POWERPC_PAPR_H
#define SELFTEST_KVM_POWERPC_PAPR_H

#define H_SUCCESS		0
#define H_PARAMETER		(-4L)
#define H_NOT_ENOUGH_RESOURCES	(-44L)
#define H_GET_TCE		0x1c
#define H_PUT_TCE		0x20
#define H_STUFF_TCE		0x138
#define H_PUT_TCE_INDIRECT	0x13c
#define TCE_READ		1UL
#define TCE_WRITE		2UL

#endif /* SELFTEST_KVM_POWERPC_PAPR_H */

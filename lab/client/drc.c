// SPDX-License-Identifier: GPL-2.0-only
/*
 * drc WORD INDEX: a slot of a guest, into which a device is plugged, by the calls
 * of the guest's firmware (RTAS).
 *
 *	give	 isolate the slot: its device may be unplugged
 *	take	 use the slot's device
 *	present	 is there a device? The exit code tells.
 */
#include <endian.h>
#include <err.h>
#include <linux/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of "Dynamic Reconfiguration" in the Linux on Power Architecture Reference. */
#define ISOLATION_STATE		9001
#define ENTITY_SENSE		9003
#define ENTITY_PRESENT		1

/* What rtas(2) takes, all of it big endian. */
struct call {
	__be32 token, nargs, nret, args[16];
	__be64 unused;
};

/* The number of a service is a property of firmware's node. */
static __be32 token_of(const char *service)
{
	char path[80];
	__be32 token;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/device-tree/rtas/%s", service);
	file = fopen(path, "r");
	if (!file || fread(&token, sizeof(token), 1, file) != 1)
		err(2, "%s", path);
	fclose(file);
	return token;
}

/* Returns the second thing that the service answers; the first is its status. */
static __u32 firmware(const char *service, const __u32 *args, int nargs,
		      int nret)
{
	struct call call = {
		.token = token_of(service),
		.nargs = htobe32(nargs),
		.nret = htobe32(nret),
	};
	int status;

	for (int i = 0; i < nargs; i++)
		call.args[i] = htobe32(args[i]);
	if (syscall(SYS_rtas, &call))
		err(2, "%s by rtas(2)", service);
	status = be32toh(call.args[nargs]);
	if (status)
		errx(2, "%s(%u, 0x%x): status %d", service, args[0],
		     args[1], status);
	return be32toh(call.args[nargs + 1]);
}

int main(int argc, char **argv)
{
	__u32 args[] = { ISOLATION_STATE, 0, 0 };

	if (argc != 3)
		errx(2, "usage: drc give|take|present INDEX");
	args[1] = strtoul(argv[2], NULL, 0);
	if (!strcmp(argv[1], "present")) {
		args[0] = ENTITY_SENSE;
		return firmware("get-sensor-state", args, 2, 2) != ENTITY_PRESENT;
	}
	args[2] = !strcmp(argv[1], "take");
	firmware("set-indicator", args, 3, 1);
	return 0;
}

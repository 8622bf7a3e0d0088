// SPDX-License-Identifier: GPL-2.0-only
/*
 * direct DEVICE MIB FROM: in a guest, write MIB of random bytes to a drive and read
 * them back, past the page cache, from and to memory at physical address FROM and above:
 * to have the drive use memory that was plugged in.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define CHUNK		0x100000UL
#define PRESENT		0x8000000000000000UL
#define FRAME		0x7fffffffffffffUL

static unsigned long page;

/* The lowest physical address of the pages of an area. */
static unsigned long lowest(const char *area, size_t size)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	unsigned long entry, low = ~0UL;

	if (fd < 0)
		err(1, "/proc/self/pagemap");
	for (size_t at = 0; at < size; at += page) {
		off_t where = (unsigned long)(area + at) / page * sizeof(entry);

		if (pread(fd, &entry, sizeof(entry), where) != sizeof(entry))
			err(1, "/proc/self/pagemap");
		if (!(entry & PRESENT))
			errx(1, "a page is not present");
		entry = (entry & FRAME) * page;
		if (entry < low)
			low = entry;
	}
	close(fd);
	return low;
}

static char *area_of(size_t size)
{
	char *area = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (area == MAP_FAILED)
		err(1, "%zu bytes", size);
	return area;
}

int main(int argc, char **argv)
{
	unsigned long low, from;
	size_t size;
	char *out, *back;
	int fd;

	if (argc != 4)
		errx(2, "usage: direct DEVICE MIB FROM");
	size = strtoul(argv[2], NULL, 0) << 20;
	from = strtoul(argv[3], NULL, 0);
	page = sysconf(_SC_PAGESIZE);
	out = area_of(size);
	back = area_of(size);
	for (size_t at = 0; at < size; at += 256)
		if (getrandom(out + at, 256, 0) != 256)
			err(1, "getrandom");
	low = lowest(out, size);
	if (lowest(back, size) < low)
		low = lowest(back, size);
	if (low < from)
		errx(1, "memory at 0x%lx is below 0x%lx",
		     low, from);
	fd = open(argv[1], O_RDWR | O_DIRECT);
	if (fd < 0)
		err(1, "%s", argv[1]);
	for (size_t at = 0; at < size; at += CHUNK)
		if (pwrite(fd, out + at, CHUNK, at) != CHUNK)
			err(1, "writing at %zu", at);
	for (size_t at = 0; at < size; at += CHUNK)
		if (pread(fd, back + at, CHUNK, at) != CHUNK)
			err(1, "reading at %zu", at);
	if (memcmp(out, back, size))
		errx(1, "what was read is not what was written");
	printf("%zu MiB written and read at 0x%lx and above\n", size >> 20,
	       low);
	return 0;
}

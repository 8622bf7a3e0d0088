// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an administrator sees of TCE hypercalls: statistics, the files in debugfs,
 * trace events and the switch of the tiers, after hypercalls whose effect is known.
 * Documentation/virt/kvm/ppc-tce.rst tells of all of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "cases.h"

#define TRACING		"/sys/kernel/tracing"
#define INSTANCE	TRACING "/instances/tce_observe"

/* Read a file as a string; "" and false when that fails */
static bool slurp(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = 0, got = 0;

	while (fd >= 0 && got < size - 1) {
		n = read(fd, text + got, size - 1 - got);
		if (n <= 0)
			break;
		got += n;
	}
	text[got] = 0;
	if (fd >= 0)
		close(fd);
	return fd >= 0 && !n;
}

static void spit(const char *path, const char *text)
{
	ktap_need(write_file(path, text), "writing %s", path);
}

/* A file of the virtual machine in debugfs */
static void vm_file(const struct env *env, const char *name, char *path,
		    size_t size)
{
	snprintf(path, size, "/sys/kernel/debug/kvm/%d-%d/%s", getpid(),
		 env->vm.fd, name);
}

static bool vm_slurp(const struct env *env, const char *name, char *text,
		     size_t size)
{
	char path[128];

	vm_file(env, name, path, sizeof(path));
	return slurp(path, text, size);
}

/* Does the file @name of the VM have this text? */
static bool file_has(const struct env *env, const char *name,
		     const char *fmt, ...)
{
	char text[4096], want[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);

	if (vm_slurp(env, name, text, sizeof(text)) && strstr(text, want))
		return true;
	ktap_say("  %s lacks \"%s\"; it says:\n%s", name, want, text);
	return false;
}

/* Does the VM have LIOBNs, or bindings? */
static bool tables_lack(const struct env *env, const char *what)
{
	char text[4096];

	return vm_slurp(env, "tce_tables", text, sizeof(text)) &&
	       !strstr(text, what);
}

/* Memory of the only LIOBN's guest's view, in bytes */
static unsigned long view_bytes(const struct env *env)
{
	char text[4096], *at;

	vm_slurp(env, "tce_tables", text, sizeof(text));
	at = strstr(text, " memory ");
	return at ? strtoul(at + 8, NULL, 10) : 0;
}

static __u64 served(const struct env *env)
{
	return vm_stat(&env->vm, "tce_real_mode") +
	       vm_stat(&env->vm, "tce_partial_exit") +
	       vm_stat(&env->vm, "tce_early_exit") +
	       vm_stat(&env->vm, "tce_virtual_mode");
}

/* begin() with a virtual machine for which only virtual mode serves */
static void begin_virtual(struct env *env)
{
	ktap_need(!access(TIERS, W_OK), "writing " TIERS);
	begin_on_tiers(env, "0");
}

CASE(statistics)
{
	begin(env);
	fill_list(env, RW);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, indirect(env, PAGE, LIST, 16) == H_SUCCESS);
	expect(env, stuff(env, 0, 0, 8) == H_SUCCESS);
	expect(env, stuff(env, 8 * PAGE, 0, 1) == H_SUCCESS);
	expect(env, get(env, PAGE) == 0);
	expect(env, put(env, WINDOW, DATA | RW) == H_PARAMETER);
	expect(env, served(env) == 6);
	expect(env, vm_stat(&env->vm, "tce_user_space") == 0);
	expect(env, vm_stat(&env->vm, "tce_mapped") == 17);
	expect(env, vm_stat(&env->vm, "tce_cleared") == 9);
	expect(env, vm_stat(&env->vm, "tce_invalidations") >= 4);

	expect(env, put(env, 0, HOLE | RW) == FROM_USER);
	expect(env, vm_stat(&env->vm, "tce_user_space") == 1);
	expect(env, vm_stat(&env->vm, "tce_hard_memory") > 0);
	expect(env, hcall_of(env, LIOBN + 1, H_PUT_TCE, 0, 0, 0) == FROM_USER);
	expect(env, vm_stat(&env->vm, "tce_user_space") == 2);
	expect(env, vm_stat(&env->vm, "tce_hard_liobn") > 0);
	expect(env, indirect(env, 0, HOLE, 1) == FROM_USER);
	expect(env, vm_stat(&env->vm, "tce_hard_list") > 0);
	expect(env, served(env) == 6);
}

/* debugfs, where kvm_stat looks, says what the binary statistics say */
CASE(statistics_in_debugfs)
{
	static const char * const names[] = {
		"tce_real_mode", "tce_partial_exit", "tce_early_exit",
		"tce_virtual_mode", "tce_user_space", "tce_mapped",
		"tce_cleared", "tce_invalidations", "tce_hard_liobn",
		"tce_hard_table", "tce_hard_count", "tce_hard_list",
		"tce_hard_memory", "tce_hard_view", "tce_hard_level",
		"tce_hard_busy",
	};
	unsigned int i;
	char text[64];

	begin(env);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, put(env, 0, HOLE | RW) == FROM_USER);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		ktap_need(vm_slurp(env, names[i], text, sizeof(text)),
			  "reading %s", names[i]);
		expect(env, strtoull(text, NULL, 10) ==
			    vm_stat(&env->vm, names[i]));
	}
}

CASE(tables)
{
	unsigned long memory;

	prepare(env, SHIFT);
	expect(env, file_has(env, "tce_tables",
			     "liobn 0x%lx start 0x0 size 0x%lx page 0x1000 memory ",
			     LIOBN, WINDOW));
	expect(env, tables_lack(env, "table"));
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");
	expect(env, file_has(env, "tce_tables",
			     "\n  table start 0x0 size 0x%lx page 0x1000 state in-use groups %d\n",
			     WINDOW, env->dev.id));

	memory = view_bytes(env);
	expect(env, memory > 0);
	fill_list(env, RW);
	expect(env, indirect(env, 0, LIST, 7) == H_SUCCESS);
	expect(env, stuff(env, 0, 0, 2) == H_SUCCESS);
	expect(env, file_has(env, "tce_tables", " mapped 5\n"));
	expect(env, view_bytes(env) == memory + getpagesize());
	expect(env, put(env, LAST, DATA | TCE_READ) == H_SUCCESS);
	expect(env, file_has(env, "tce_tables", " mapped 6\n"));
	expect(env, view_bytes(env) == memory + 2 * getpagesize());

	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	expect(env, file_has(env, "tce_tables", "page 0x1000 state removed groups"));
	expect(env, put(env, 0, DATA | RW) == FROM_USER);
	expect(env, vm_stat(&env->vm, "tce_hard_table") > 0);
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	expect(env, tables_lack(env, "table"));
	close(env->tablefd);
	expect(env, tables_lack(env, "liobn"));
}

/* A container of the first version, whose tables KVM leaves to user space */
CASE(table_of_v1_container)
{
	vm_create(&env->vm, 16 << 20);
	vfio_open_group_v1(&env->dev);
	vfio_enable_v1(&env->dev);
	/* The default window comes into being when it is used */
	ktap_need(!vfio_map(&env->dev, 0, env->vm.mem + DATA, 0x10000),
		  "mapping");
	env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
	ktap_need(!vm_group_add(&env->vm, &env->dev), "adding the group");
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");
	expect(env, file_has(env, "tce_tables", " state v1-container groups %d\n",
			     env->dev.id));
	expect(env, put(env, 0, DATA | RW) == FROM_USER);
	expect(env, vm_stat(&env->vm, "tce_hard_table") > 0);
}

CASE(switch_of_tiers)
{
	char tiers[16];
	struct env other = { 0 };

	begin_virtual(env);
	expect(env, file_has(env, "tce_tiers", "0\n"));
	vm_create(&other.vm, 1 << 20);
	ktap_need(slurp(TIERS, tiers, sizeof(tiers)), "reading " TIERS);
	expect(env, file_has(&other, "tce_tiers", "%s", tiers));
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, vm_stat(&env->vm, "tce_virtual_mode") == 2);
	expect(env, served(env) == 2);
}

/* A trace of kvm_tce alone, in an instance of its own */
static void trace_begin(void)
{
	if (access(TRACING "/instances", F_OK))
		mount("tracefs", TRACING, "tracefs", 0, NULL);
	rmdir(INSTANCE);
	ktap_need(!mkdir(INSTANCE, 0700), "mkdir " INSTANCE);
	spit(INSTANCE "/events/kvm_tce/enable", "1");
}

static void trace_end(void)
{
	spit(INSTANCE "/events/kvm_tce/enable", "0");
	rmdir(INSTANCE);
}

/* How many lines of the trace have this event, of this process, with this text? */
static unsigned int traced(const char *event, const char *fmt, ...)
{
	static char text[65536];
	char want[512], vm[64], *line, *next;
	unsigned int n = 0;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	snprintf(vm, sizeof(vm), " %s: VM %d ", event, getpid());

	ktap_need(slurp(INSTANCE "/trace", text, sizeof(text)),
		  "reading " INSTANCE "/trace");
	for (line = text; (next = strchr(line, '\n')); line = next + 1) {
		*next = 0;
		n += strstr(line, vm) && strstr(line, want);
		*next = '\n';
	}
	return n;
}

static unsigned int fell_back(const char *call, __u64 liobn, __u64 bus,
			      unsigned int entries, const char *to,
			      const char *reason)
{
	return traced("kvm_tce_fallback",
		      "VCPU 0 %s liobn=0x%llx ioba=0x%llx entries=%u to=%s reason=%s",
		      call, (unsigned long long)liobn, (unsigned long long)bus,
		      entries, to, reason);
}

CASE(trace_of_bindings)
{
	char want[128];

	snprintf(want, sizeof(want),
		 "liobn=0x%lx group=%d start=0x0 size=0x%lx page=0x1000", LIOBN,
		 env->dev.id, WINDOW);

	trace_begin();
	begin(env);
	expect(env, traced("kvm_tce_bind", want) == 1);
	expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == 0);
	expect(env, traced("kvm_tce_bind", "") == 1);
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	expect(env, traced("kvm_tce_release", want) == 1);

	expect(env, vm_group_add(&env->vm, &env->dev) == 0);
	expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == 0);
	expect(env, traced("kvm_tce_bind", want) == 2);
	close(env->tablefd);
	expect(env, traced("kvm_tce_release", want) == 2);
	trace_end();
}

CASE(trace_of_virtual_mode)
{
	const char *to = "user-space";

	trace_begin();
	begin_virtual(env);
	fill_list(env, RW);
	set_list(env, 2, 0);

	expect(env, put(env, 0x5000, DATA | RW) == H_SUCCESS);
	expect(env, traced("kvm_tce_map",
			   "VCPU 0 liobn=0x%lx ioba=0x5000 entries=1 ret=0",
			   LIOBN) == 1);
	expect(env, indirect(env, 0x6000, LIST, 16) == H_SUCCESS);
	expect(env, traced("kvm_tce_map", "ioba=0x6000 entries=15 ret=0") == 1);
	expect(env, traced("kvm_tce_unmap", "ioba=0x6000 entries=1 ret=0") == 1);
	expect(env, stuff(env, 0, 0, 1000) == H_SUCCESS);
	expect(env, traced("kvm_tce_unmap", "ioba=0x0 entries=1000 ret=0") == 1);
	expect(env, traced("kvm_tce_fallback", "") == 0);

	expect(env, put(env, 0, HOLE | RW) == FROM_USER);
	expect(env, fell_back("H_PUT_TCE", LIOBN, 0, 1, to, "memory") == 1);
	expect(env, indirect(env, 0, HOLE, 3) == FROM_USER);
	expect(env, fell_back("H_PUT_TCE_INDIRECT", LIOBN, 0, 3, to,
			      "list") == 1);
	expect(env, hcall_of(env, LIOBN + 1, H_STUFF_TCE, 0, 0, 9) == FROM_USER);
	expect(env, fell_back("H_STUFF_TCE", LIOBN + 1, 0, 9, to,
			      "liobn") == 1);
	expect(env, hcall_of(env, LIOBN + 1, H_GET_TCE, 0, 0, 0) == FROM_USER);
	expect(env, fell_back("H_GET_TCE", LIOBN + 1, 0, 1, to, "liobn") == 1);

	/* A list of which the half is done; H_TOO_HARD is 9999 */
	set_list(env, 5, HOLE | RW);
	expect(env, indirect(env, 0x9000, LIST, 8) == FROM_USER);
	expect(env, traced("kvm_tce_map", "ioba=0x9000 entries=4 ret=9999") == 1);
	expect(env, fell_back("H_PUT_TCE_INDIRECT", LIOBN, 0x9000, 8, to,
			      "memory") == 1);
	expect(env, traced("kvm_tce_fallback", "to=virtual-mode") == 0);
	trace_end();
}

/* Guest context leaves no trace; what it leaves to virtual mode does, with why */
CASE(trace_of_guest_context)
{
	const char *to = "virtual-mode";

	trace_begin();
	begin(env);
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, fell_back("H_PUT_TCE", LIOBN, 0, 1, to, "view") == 1);
	expect(env, traced("kvm_tce_map", "ioba=0x0 entries=1 ret=0") == 1);
	expect(env, put(env, PAGE, DATA | RW) == H_SUCCESS);
	expect(env, put(env, 0, 0) == H_SUCCESS);
	expect(env, traced("kvm_tce_map", "") == 1);
	expect(env, traced("kvm_tce_unmap", "") == 0);

	/* Too many entries, or too many for a table of the hypervisor below */
	expect(env, stuff(env, 0, 0, 513) == H_SUCCESS);
	expect(env, fell_back("H_STUFF_TCE", LIOBN, 0, 513, to, "count") +
		    fell_back("H_STUFF_TCE", LIOBN, 0, 513, to, "table") == 1);
	expect(env, traced("kvm_tce_unmap", "ioba=0x0 entries=513 ret=0") == 1);
	expect(env, traced("kvm_tce_fallback", "") == 2);
	trace_end();
}

/* A file of a virtual machine that is gone reads no more, and keeps nothing */
CASE(file_outlives_vm)
{
	char path[128], text[64];
	int fd;

	begin(env);
	vm_file(env, "tce_tables", path, sizeof(path));
	fd = open(path, O_RDONLY);
	expect(env, fd >= 0);
	expect(env, read(fd, text, sizeof(text)) > 0);
	close(env->tablefd);
	vm_close(&env->vm);
	close(env->vm.vfio);
	expect(env, access(path, F_OK) && errno == ENOENT);
	lseek(fd, 0, SEEK_SET);
	expect(env, read(fd, text, sizeof(text)) < 0);
	close(fd);
}

static void *read_forever(void *arg)
{
	struct env *env = arg;
	char path[128], text[4096];

	vm_file(env, "tce_tables", path, sizeof(path));
	while (!atomic_load(&env->stop))
		slurp(path, text, sizeof(text));
	return NULL;
}

/* Reading races with all that changes, down to the end of the virtual machine */
CASE(read_while_all_changes)
{
	unsigned int round, i;
	pthread_t reader;

	for (round = 0; round < 10; round++) {
		begin(env);
		atomic_store(&env->stop, false);
		/* All of the guest's view, so that reading takes a while */
		expect(env, stuff(env, 0, PAGE, ENTRIES) == H_SUCCESS);
		pthread_create(&reader, NULL, read_forever, env);
		for (i = 0; i < 20; i++) {
			expect(env, !vm_group_del(&env->vm, &env->dev));
			expect(env, !vm_group_add(&env->vm, &env->dev));
			expect(env, !vm_bind(&env->vm, &env->dev,
					     env->tablefd));
		}
		expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
		vfio_remove_window(&env->dev, 0);
		expect(env, vm_group_del(&env->vm, &env->dev) == 0);
		close(env->tablefd);
		vm_close(&env->vm);
		close(env->vm.vfio);
		close(env->dev.group);
		close(env->dev.container);
		munmap(env->vm.mem, env->vm.size);
		stop_thread(env, reader);
	}
}

int main(void)
{
	return run_cases();
}

// SPDX-License-Identifier: GPL-2.0-only
#include <endian.h>
#include <fcntl.h>
#include <regex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "cases.h"

const struct vm_call map_call = { H_PUT_TCE, { LIOBN, 0, DATA | RW } };
const struct vm_call clear_call = { H_STUFF_TCE, { LIOBN, 0, 0, 1 } };

long hcall_of(struct env *env, __u64 liobn, __u64 nr, __u64 a, __u64 b, __u64 c)
{
	const long user = FROM_USER;

	return vm_hypercall(&env->vm, &user, nr, liobn, a, b, c);
}

long hcall(struct env *env, __u64 nr, __u64 a, __u64 b, __u64 c)
{
	return hcall_of(env, env->liobn, nr, a, b, c);
}

long put(struct env *env, __u64 bus, __u64 tce)
{
	return hcall(env, H_PUT_TCE, bus, tce, 0);
}

long stuff(struct env *env, __u64 bus, __u64 tce, __u64 n)
{
	return hcall(env, H_STUFF_TCE, bus, tce, n);
}

long indirect(struct env *env, __u64 bus, __u64 list, __u64 n)
{
	return hcall(env, H_PUT_TCE_INDIRECT, bus, list, n);
}

__u64 get(struct env *env, __u64 bus)
{
	return hcall(env, H_GET_TCE, bus, 0, 0) ? ~0UL : env->vm.value;
}

void set_list(struct env *env, unsigned int i, __u64 tce)
{
	((__u64 *)(env->vm.mem + LIST))[i] = htobe64(tce);
}

void fill_list(struct env *env, __u64 perm)
{
	unsigned int i;

	for (i = 0; i < 512; i++)
		set_list(env, i, (DATA + i * PAGE) | perm);
}

int unregister(struct env *env)
{
	return vfio_unregister(&env->dev, env->vm.mem, env->vm.size);
}

__u64 stat_of(const struct env *env, const char *name)
{
	return vm_stat(&env->vm, name);
}

bool group_is_pinned(int id)
{
	char command[128];

	snprintf(command, sizeof(command),
		 "grep -sqx %d /sys/kernel/debug/kvm/%d-*/vfio_groups", id,
		 getpid());
	return !system(command);
}

void run_on_cpu(unsigned int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	ktap_need(!sched_setaffinity(0, sizeof(cpus), &cpus),
		  "moving to CPU %u", cpu);
}

long proc_kib(const char *path, const char *field)
{
	const size_t len = strlen(field);
	FILE *f = fopen(path, "r");
	char line[256];
	long kib = -1;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, field, len) && line[len] == ':')
			kib = atol(line + len + 1);
	if (f)
		fclose(f);
	return kib;
}

long number_in(int file, const char *name)
{
	static __thread char text[0x8000];
	ssize_t n, len = 0;
	const char *at;

	while ((n = pread(file, text + len, sizeof(text) - 1 - len, len)) > 0)
		len += n;
	text[len] = 0;
	at = strstr(text, name);
	ktap_need(at, "finding %s", name);
	return strtol(at + strlen(name), NULL, 10);
}

long pins_in(int vmstat)
{
	return number_in(vmstat, "nr_foll_pin_acquired ") -
	       number_in(vmstat, "nr_foll_pin_released ");
}

long locked_kib(void)
{
	return proc_kib("/proc/self/status", "VmLck");
}

bool host_is_guest(void)
{
	return !access("/proc/device-tree/rtas", F_OK);
}

void wait_for_locked(long kib)
{
	while (locked_kib() > kib)
		usleep(1000);
}

bool released_range(struct env *env, void *mem, size_t size)
{
	long locked = locked_kib();

	return vfio_unregister(&env->dev, mem, size) == 0 &&
	       locked_kib() == locked - (long)(size / 1024);
}

bool released(struct env *env)
{
	return released_range(env, env->vm.mem, env->vm.size);
}

void prepare_vm(struct env *env, size_t memory)
{
	vm_create(&env->vm, memory);
	vfio_open_group(&env->dev);
	vfio_register(&env->dev, env->vm.mem, env->vm.size);
	ktap_need(!vm_group_add(&env->vm, &env->dev), "adding the group");
}

void prepare(struct env *env, unsigned int liobn_shift)
{
	prepare_vm(env, 16 << 20);
	env->tablefd = vm_create_liobn(&env->vm, env->liobn, liobn_shift,
				       WINDOW >> liobn_shift);
	vfio_create_window(&env->dev, SHIFT, WINDOW);
}

void begin_with_pages(struct env *env, unsigned int liobn_shift)
{
	prepare(env, liobn_shift);
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");
}

void begin(struct env *env)
{
	begin_with_pages(env, SHIFT);
}

void use_first_entry(struct env *env)
{
	put(env, 0, DATA | RW);
	put(env, 0, 0);
}

void renew_liobn(struct env *env)
{
	close(env->tablefd);
	env->tablefd = vm_create_liobn(&env->vm, LIOBN, SHIFT, ENTRIES);
	expect(env, vm_bind(&env->vm, &env->dev, env->tablefd) == 0);
}

void need_more(struct env *env, struct vfio_dev *more, unsigned int nr)
{
	const struct vfio_dev *last = &env->dev;

	for (; nr; nr--, last = more++)
		if (!vfio_find_next(more, last, EDU_VENDOR, EDU_DEVICE))
			case_skip("there are too few devices in groups of their own");
}

void expect_works(struct env *env)
{
	expect(env, put(env, 0, DATA | RW) == H_SUCCESS);
	expect(env, put(env, PAGE, (DATA + PAGE) | RW) == H_SUCCESS);
	expect(env, edu_copies_page(&env->dev, 0, env->vm.mem + DATA));
	expect(env, stuff(env, 0, 0, 2) == H_SUCCESS);
}

void end_vmm(struct env *env)
{
	close(env->dev.device);
	expect(env, vm_group_del(&env->vm, &env->dev) == 0);
	expect(env, released(env));
	close(env->dev.container);
	close(env->dev.group);
}

void open_with_window(struct env *env, struct vfio_dev *dev)
{
	vfio_open_group(dev);
	vfio_register(dev, env->vm.mem, env->vm.size);
	vfio_create_window(dev, SHIFT, WINDOW);
}

void bind_further(struct env *env, struct vfio_dev *dev)
{
	open_with_window(env, dev);
	ktap_need(!vm_group_add(&env->vm, dev), "adding the group of %s", dev->bdf);
	ktap_need(!vm_bind(&env->vm, dev, env->tablefd), "binding %s", dev->bdf);
}

/* Which tiers serve VMs created from now on; false when the kernel has none */
static bool choose_tiers(const char *mask)
{
	return write_file(TIERS, mask);
}

void begin_on_tiers(struct env *env, const char *mask)
{
	if (!choose_tiers(mask))
		case_skip("this kernel has no tiers to choose");
	begin(env);
	choose_tiers("7");
}

void begin_two_levels(struct env *env)
{
	__u64 start;

	prepare(env, SHIFT);
	expect(env, vfio_remove_window(&env->dev, 0) == 0);
	if (vfio_add_window(&env->dev, SHIFT, WINDOW, 2, &start) || start)
		case_skip("no table of two levels at bus address 0");
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");
}

__u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

static void *tick(void *arg)
{
	struct ticker *ticker = arg;
	__u64 last, now = now_ns();

	run_on_cpu(0);
	while (!atomic_load(&ticker->stop)) {
		last = now;
		now = now_ns();
		if (now - last > atomic_load(&ticker->gap))
			atomic_store(&ticker->gap, now - last);
		atomic_fetch_add(&ticker->ticks, 1);
		if (ticker->pause)
			usleep(ticker->pause);
		else
			sched_yield();
	}
	return NULL;
}

void start_ticker(struct ticker *ticker, unsigned int pause)
{
	*ticker = (struct ticker){ .pause = pause };
	pthread_create(&ticker->thread, NULL, tick, ticker);
}

void stop_ticker(struct ticker *ticker)
{
	atomic_store(&ticker->stop, true);
	pthread_join(ticker->thread, NULL);
}

void *map_by_ioctl(void *arg)
{
	struct env *env = arg;

	while (!atomic_load(&env->stop)) {
		vfio_map(&env->dev, 0, env->vm.mem + DATA, 0x10000);
		vfio_unmap(&env->dev, 0, 0x10000);
	}
	return NULL;
}

void stop_thread(struct env *env, pthread_t thread)
{
	atomic_store(&env->stop, true);
	pthread_join(thread, NULL);
}

bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len = strlen(text);
	bool done;

	if (fd < 0)
		return false;
	done = write(fd, text, len) == len;
	close(fd);
	return done;
}

/*
 * Of this thread.  Opened once: to open it may take an allocation, which would be
 * the one that fails.
 */
static int fail_nth_file(void)
{
	static __thread int fd = -1;

	if (fd >= 0)
		return fd;
	fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		case_skip("this kernel cannot fail allocations");
	write_file("/sys/kernel/debug/failslab/ignore-gfp-wait", "N");
	write_file("/sys/kernel/debug/failslab/verbose", "0");
	write_file("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N");
	write_file("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	write_file("/sys/kernel/debug/fail_page_alloc/verbose", "0");
	return fd;
}

void fail_nth(unsigned int nth)
{
	int fd = fail_nth_file();
	char text[16];
	ssize_t len = snprintf(text, sizeof(text), "%u", nth);

	ktap_need(pwrite(fd, text, len, 0) == len, "writing fail-nth");
}

bool fail_nth_is_over(void)
{
	char text[16] = "";

	ktap_need(pread(fail_nth_file(), text, sizeof(text) - 1, 0) > 0,
		  "reading fail-nth");
	fail_nth(0);
	return !atoi(text);
}

/* What the kernel says when something is wrong with itself: regular expressions */
static const char * const complaints[] = {
	"WARNING:",
	"BUG[: ]",
	"Oops",
	"cut here",
	"INFO: possible",
	"INFO: task .* blocked",
	"rcu:.*stall",
	"soft lockup",
	"KASAN: ",
	"UBSAN",
	"unreferenced object",
	"Kernel panic",
};

static bool is_complaint(const char *line)
{
	static regex_t complaint[ARRAY_SIZE(complaints)];
	static bool compiled;
	unsigned int i;

	for (i = 0; !compiled && i < ARRAY_SIZE(complaints); i++)
		ktap_need(!regcomp(&complaint[i], complaints[i], REG_EXTENDED | REG_NOSUB),
			  "compiling %s", complaints[i]);
	compiled = true;
	for (i = 0; i < ARRAY_SIZE(complaints); i++)
		if (!regexec(&complaint[i], line, 0, NULL, 0))
			return true;
	return false;
}

/* Read the kernel's log from @log on; false when it complained */
static bool log_is_clean(int log)
{
	char line[2048];
	bool clean = true;
	ssize_t n;

	while ((n = read(log, line, sizeof(line) - 1)) > 0) {
		line[n] = 0;
		if (!is_complaint(line))
			continue;
		line[strcspn(line, "\n")] = 0;
		ktap_say("  the kernel's log: %s", line);
		clean = false;
	}
	return clean;
}

/* Let what the kernel warns of once a boot be warned of once a case */
static void forget_warnings(void)
{
	write_file("/sys/kernel/debug/clear_warn_once", "1");
}

void case_skip(const char *why)
{
	ktap_say("  skipped: %s", why);
	fflush(stdout);
	_exit(KTAP_SKIP);
}

void need_pages_of_64k(void)
{
	if (getpagesize() < 1 << 16)
		case_skip("the kernel's pages are smaller than 64K");
}

static struct test_case *cases;

void add_case(struct test_case *test)
{
	struct test_case **at = &cases;

	/* Whatever the order is in which constructors run */
	while (*at && (*at)->line < test->line)
		at = &(*at)->next;
	test->next = *at;
	*at = test;
}

/* Exit code of the case; -1 when it died, or the kernel complained */
static int run_case(const struct test_case *test, struct env *env)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int status = 0;
	pid_t pid;

	/* Both get it when nothing makes progress; there is no limit in time */
	signal(SIGALRM, SIG_IGN);
	forget_warnings();
	if (log >= 0)
		lseek(log, 0, SEEK_END);

	pid = fork();
	if (!pid) {
		/* It ends the case, and the next one gets the device */
		signal(SIGALRM, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		test->run(env);
		fflush(stdout);
		_exit(env->failed);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		ktap_say("  ended by signal %d", WTERMSIG(status));

	status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	if (log >= 0) {
		if (!log_is_clean(log))
			status = -1;
		close(log);
	}
	return status;
}

__u64 setting(const char *name, __u64 otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

/* A run of one case alone, by the kernel's command line: test_case=NAME */
static bool chosen(const struct test_case *test)
{
	const char *only = getenv("test_case");

	return !only || !strcmp(only, test->name);
}

static void run_chosen(struct env *env, const char *how)
{
	const struct test_case *test;
	int code;

	for (test = cases; test; test = test->next) {
		const char *skipped = "";

		if (!chosen(test))
			continue;
		code = run_case(test, env);
		if (code == KTAP_SKIP)
			skipped = " # SKIP";
		ktap_ok(!code || *skipped, "%s%s%s", test->name, how, skipped);
	}
}

static unsigned int count_chosen(void)
{
	const struct test_case *test;
	unsigned int n = 0;

	for (test = cases; test; test = test->next)
		n += chosen(test);
	return n;
}

int run_cases_of(unsigned int vendor, unsigned int device)
{
	struct env env = { .liobn = LIOBN };

	ktap_plan(count_chosen());
	vfio_find(&env.dev, vendor, device);
	run_chosen(&env, "");
	ktap_end();
	return 0;
}

int run_cases(void)
{
	return run_cases_of(EDU_VENDOR, EDU_DEVICE);
}

/* The fastest tiers off, one after the other; the last one serves virtual mode */
static const struct {
	const char *mask;
	const char *how;
} tiers[] = {
	{ "7", "" },
	{ "4", ", without real mode and partial exit" },
	{ "0", ", in virtual mode" },
};

/* A run on some of them, by the kernel's command line: test_tiers=MASK,... */
static bool tier_is_chosen(unsigned int i)
{
	const char *only = getenv("test_tiers");

	return !only || strstr(only, tiers[i].mask);
}

int run_cases_on_tiers(void)
{
	unsigned int i, n = choose_tiers(tiers[0].mask) ? ARRAY_SIZE(tiers) : 1;
	unsigned int runs = 0;
	struct env env = { .liobn = LIOBN };

	for (i = 0; i < n; i++)
		runs += tier_is_chosen(i);
	ktap_plan(runs * count_chosen());
	vfio_find(&env.dev, EDU_VENDOR, EDU_DEVICE);
	for (i = 0; i < n; i++) {
		if (!tier_is_chosen(i))
			continue;
		choose_tiers(tiers[i].mask);
		run_chosen(&env, tiers[i].how);
	}
	choose_tiers(tiers[0].mask);
	ktap_end();
	return 0;
}

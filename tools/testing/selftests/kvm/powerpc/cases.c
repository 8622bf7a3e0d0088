// SPDX-License-Identifier: GPL-2.0-only
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>

#include "cases.h"

long hcall(struct env *env, __u64 nr, __u64 a, __u64 b, __u64 c)
{
	const long user = FROM_USER;

	return vm_hypercall(&env->vm, &user, nr, LIOBN, a, b, c);
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

void prepare(struct env *env, unsigned int liobn_shift)
{
	vm_create(&env->vm, 16 << 20);
	vfio_open_group(&env->dev);
	vfio_register(&env->dev, env->vm.mem, env->vm.size);
	ktap_need(!vm_group_add(&env->vm, &env->dev), "adding the group");
	env->tablefd = vm_create_liobn(&env->vm, LIOBN, liobn_shift,
				       WINDOW >> liobn_shift);
	vfio_create_window(&env->dev, SHIFT, WINDOW);
}

void begin(struct env *env)
{
	prepare(env, SHIFT);
	ktap_need(!vm_bind(&env->vm, &env->dev, env->tablefd), "binding");
}

/* What the kernel says when something is wrong with itself */
static const char * const complaints[] = {
	"WARNING", "BUG", "Oops", "cut here", "INFO: possible", "stall", "KASAN",
	"UBSAN",
};

/* Read the kernel's log from @log on; false when it complained */
static bool log_is_clean(int log)
{
	char line[2048];
	bool clean = true;
	unsigned int i;
	ssize_t n;

	while ((n = read(log, line, sizeof(line) - 1)) > 0) {
		line[n] = 0;
		for (i = 0; i < ARRAY_SIZE(complaints); i++) {
			if (!strstr(line, complaints[i]))
				continue;
			line[strcspn(line, "\n")] = 0;
			ktap_say("  the kernel's log: %s", line);
			clean = false;
			break;
		}
	}
	return clean;
}

static bool run_case(const struct test_case *test, struct env *env)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int status = 0;
	pid_t pid;

	if (log >= 0)
		lseek(log, 0, SEEK_END);

	pid = fork();
	if (!pid) {
		alarm(120);
		test->run(env);
		fflush(stdout);
		_exit(env->failed);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		ktap_say("  ended by signal %d", WTERMSIG(status));

	if (log >= 0) {
		if (!log_is_clean(log))
			status = -1;
		close(log);
	}
	return !status;
}

int run_cases(const struct test_case *cases, unsigned int nr)
{
	struct env env = { 0 };
	unsigned int i;

	ktap_plan(nr);
	vfio_find(&env.dev, EDU_VENDOR, EDU_DEVICE);
	for (i = 0; i < nr; i++)
		ktap_ok(run_case(&cases[i], &env), "%s", cases[i].name);
	ktap_end();
	return 0;
}

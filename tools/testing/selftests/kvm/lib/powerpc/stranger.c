// SPDX-License-Identifier: GPL-2.0-only
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "cases.h"
#include "stranger.h"

static void stranger_obey(struct stranger *self)
{
	long (*what)(struct stranger *self);
	long ret;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(self->ask, &what, sizeof(what)) == sizeof(what) && what) {
		ret = what(self);
		fflush(stdout);
		if (write(self->answer, &ret, sizeof(ret)) != sizeof(ret))
			break;
	}
	_exit(0);
}

void stranger_begin(struct stranger *other, const struct vfio_dev *dev)
{
	int ask[2], answer[2];

	memset(other, 0, sizeof(*other));
	other->dev = *dev;
	ktap_need(!pipe(ask) && !pipe(answer), "two pipes");
	fflush(stdout);
	other->pid = fork();
	ktap_need(other->pid >= 0, "another process");
	if (!other->pid) {
		close(ask[1]);
		close(answer[0]);
		other->ask = ask[0];
		other->answer = answer[1];
		stranger_obey(other);
	}
	close(ask[0]);
	close(answer[1]);
	other->ask = ask[1];
	other->answer = answer[0];
}

long stranger_do(struct stranger *other, long (*what)(struct stranger *self))
{
	long ret;

	ktap_need(write(other->ask, &what, sizeof(what)) == sizeof(what) &&
		  read(other->answer, &ret, sizeof(ret)) == sizeof(ret),
		  "an answer of the other process");
	return ret;
}

void stranger_end(struct stranger *other)
{
	close(other->ask);
	waitpid(other->pid, NULL, 0);
	close(other->answer);
}

long stranger_open(struct stranger *self)
{
	vfio_open_group(&self->dev);
	vfio_create_window(&self->dev, SHIFT, WINDOW);
	return 0;
}

long stranger_register(struct stranger *self)
{
	if (!self->mem)
		self->mem = new_memory(STRANGER_MEMORY);
	return vfio_try_register(&self->dev, self->mem, STRANGER_MEMORY);
}

long stranger_remove_window(struct stranger *self)
{
	return vfio_remove_window(&self->dev, 0);
}

long stranger_unregister(struct stranger *self)
{
	return vfio_unregister(&self->dev, self->mem, STRANGER_MEMORY);
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO groups used from outside of VFIO
 *
 * Another part of the kernel (KVM on POWER) may program the translations of
 * a group's devices on behalf of the process that owns the group.  All that
 * it has is the group file that the process handed to it.  The file proves
 * who owns the group; it does not prove that VFIO owns the group's DMA, nor does
 * it keep it so.  The functions below do both:
 *
 *	vfio_group_add_external_user(file)	checks the group and pins it
 *	vfio_external_user_iommu_id(file)	names what is pinned
 *	vfio_group_del_external_user(file)	ends what one "add" began
 *
 * What is checked.  The group is in a container, the container has its IOMMU
 * driver, and the group's DMA is owned by this very vfio_group.  The last of
 * these needs no look at the IOMMU core: SET_CONTAINER claims the DMA of a
 * VFIO_IOMMU group exclusively, and only vfio_group_detach_container() gives
 * it back.  So for a VFIO_IOMMU group, "has a container" is "owns its DMA",
 * and a group that could not claim its DMA never has a container.  A group of
 * any other type owns no DMA at all and is refused.
 *
 * What is pinned.  A pin holds the group file, so the file's release, which
 * detaches the container, cannot run; and it makes UNSET_CONTAINER fail with
 * -EBUSY.  A container keeps its IOMMU driver as long as it has a group, so
 * the driver stays as well.  Pins are counted for the group, not for the user: two
 * users may pin the same file, the group is free when both have let go.  A user
 * that lets go too often takes another one's pin, and the group may leave its
 * container too early.  What external users program goes with the container, and
 * they hold references on it: this costs the other one its device, and reaches
 * nobody's memory.
 *
 * What ends a pin early.  When the last device of the group is unbound from
 * its VFIO driver, vfio_device_remove_group() detaches the container so that
 * the host can have the device back.  It does not wait for external users,
 * as it does not wait for those who merely keep the group file open.  From
 * then on the pin holds the file and nothing else.  A vfio_group that has lost
 * its iommu_group never gets another one, which makes this state final: the id
 * cannot be asked any more, "add" fails, and "del" still ends each pin once.
 * When the devices come back they get a new vfio_group, with files and pins of
 * its own, even if the iommu_group is the same.  The file keeps the old one, with
 * its count, until the last pin has ended.
 *
 * Locking.  external_users is raised under group_lock, together with the
 * checks, so that it cannot race with SET_CONTAINER, UNSET_CONTAINER or the
 * removal of a device.  It is lowered without any lock: KVM lets go of a group
 * with kvm->lock held, while closing a VFIO device may destroy a VM, and so
 * take kvm->lock, with group_lock held.
 */
#include <linux/atomic.h>
#include <linux/file.h>
#include <linux/iommu.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/vfio.h>

#include "vfio.h"

/**
 * vfio_group_has_external_user - True while somebody outside pins the group
 * @group: VFIO group
 *
 * Once this says false, nothing that an external user did before it let go is
 * still on its way, and no new user can appear until the caller drops
 * @group->group_lock.
 */
bool vfio_group_has_external_user(struct vfio_group *group)
{
	lockdep_assert_held(&group->group_lock);

	/* Pairs with atomic_dec_if_positive() of the last user to let go. */
	return atomic_read_acquire(&group->external_users);
}

/* Whether a user of the group from outside can rely on it, 0 or -errno. */
static int vfio_group_check_external_user(struct vfio_group *group)
{
	lockdep_assert_held(&group->group_lock);

	if (group->type == VFIO_NO_IOMMU)
		return -EPERM;
	if (group->iommufd)
		return -EOPNOTSUPP;
	/*
	 * The made-up iommu_group of an emulated device has no DMA to own.
	 * For a real one the container is the ownership, see above; after a
	 * removal there is neither.
	 */
	if (group->type != VFIO_IOMMU || !group->container)
		return -EINVAL;
	if (!vfio_container_has_iommu_driver(group->container))
		return -EINVAL;
	return 0;
}

/**
 * vfio_group_add_external_user - Check a VFIO group and pin it
 * @file: VFIO group file
 *
 * On success VFIO owns the DMA of the group behind @file on behalf of that file's
 * owner, and the group stays in its container, with the container's IOMMU driver
 * set, until a matching vfio_group_del_external_user() or until the last
 * device of the group is unbound from its VFIO driver.  Until the matching
 * call, VFIO_GROUP_UNSET_CONTAINER fails with -EBUSY.
 *
 * May be called several times for one file, by one user or by several; each
 * successful call is to be ended by one vfio_group_del_external_user().
 *
 * The caller must hold a reference on @file until the matching call has
 * returned, and should look the function up with symbol_get() unless it
 * depends on VFIO anyway.
 *
 * Context: May sleep.  Takes the group's and the container's lock.  VFIO takes
 * kvm->lock under the group's lock, so the caller must not hold it.
 *
 * Return:
 * * 0		- The group is pinned
 * * -EINVAL	- @file is not a VFIO group file
 * * -EINVAL	- The group is in no container, or the last device of it is gone
 * * -EINVAL	- The group's container has no IOMMU driver
 * * -EINVAL	- The group does not own its DMA
 * * -EPERM	- The group is a no-IOMMU group
 * * -EOPNOTSUPP - The group is backed by iommufd
 */
int vfio_group_add_external_user(struct file *file)
{
	struct vfio_group *group = vfio_group_from_file(file);
	int ret;

	if (!group)
		return -EINVAL;

	mutex_lock(&group->group_lock);
	ret = vfio_group_check_external_user(group);
	if (!ret) {
		get_file(file);
		atomic_inc(&group->external_users);
	}
	mutex_unlock(&group->group_lock);
	return ret;
}
EXPORT_SYMBOL_GPL(vfio_group_add_external_user);

/**
 * vfio_group_del_external_user - End one pin of a VFIO group
 * @file: VFIO group file
 *
 * Ends one successful vfio_group_add_external_user() of the same @file.  The
 * caller must have stopped using the group before: when the last pin ends,
 * VFIO_GROUP_UNSET_CONTAINER may hand the group back to the host at once.
 *
 * A pin that the removal of the group's last device has ended early is to be
 * ended here nevertheless, and that is no error.
 *
 * Pins are counted, not named: a caller that ends more than it began ends
 * somebody else's.
 *
 * Context: Any in which fput() may be called; takes no lock.  The caller must
 * hold a reference on @file of its own.
 *
 * Return:
 * * 0		- One pin has ended
 * * -EINVAL	- @file is not a VFIO group file, or the group is not pinned
 */
int vfio_group_del_external_user(struct file *file)
{
	struct vfio_group *group = vfio_group_from_file(file);

	if (!group)
		return -EINVAL;

	/*
	 * Orders what the caller did with the group before the count that
	 * vfio_group_has_external_user() reads.
	 */
	if (atomic_dec_if_positive(&group->external_users) < 0)
		return -EINVAL;

	/* Pairs with get_file() in vfio_group_add_external_user(). */
	fput(file);
	return 0;
}
EXPORT_SYMBOL_GPL(vfio_group_del_external_user);

/**
 * vfio_external_user_iommu_id - The IOMMU group behind a pinned VFIO group
 * @file: VFIO group file
 *
 * The id is the name of the group's directory in /sys/kernel/iommu_groups.
 * It may be asked only while the group is pinned.
 *
 * Context: Any.  The caller must hold a reference on @file.  Takes no lock: a
 * reader of debugfs asks, whom the end of a VM waits for, and VFIO ends VMs, and
 * takes kvm->lock, under the group's lock.
 *
 * Return:
 * * >= 0	- The id
 * * -EINVAL	- @file is not a VFIO group file, or the group is not pinned
 * * -EINVAL	- The last device of the group is gone
 */
int vfio_external_user_iommu_id(struct file *file)
{
	struct vfio_group *group = vfio_group_from_file(file);

	if (!group || !atomic_read(&group->external_users))
		return -EINVAL;

	/* None once its last device goes, before its container lets go of it */
	return READ_ONCE(group->iommu_group_id);
}
EXPORT_SYMBOL_GPL(vfio_external_user_iommu_id);

// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the external-user API, see external_user.c
 *
 * Everything around the API is real: VFIO core, IOMMU core, driver core, the
 * files under /dev/vfio and the ioctls on them.  Only the hardware is made up,
 * as three small mocks, so that the tests run on any machine:
 *
 *	an IOMMU	that has a group for each device of ours,
 *	a device	with a VFIO driver bound to it, and
 *	a backend	that VFIO_SET_IOMMU finds as EU_IOMMU, and that counts
 *			what is attached to it.
 */
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/platform_device.h>
#include <linux/property.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include "vfio.h"

/* What VFIO_SET_IOMMU is asked for; no other backend knows it. */
#define EU_IOMMU	0x4555

/* An ioctl of the backend that is in it until it is told to leave. */
#define EU_STAY		_IO(VFIO_TYPE, VFIO_BASE + 0x45)

/* What does not wait for such an ioctl is over by then, on any machine. */
#define EU_PATIENCE	(20 * HZ)

/* How long to race. */
#define EU_RACE_TIME	(2 * HZ)

/* The two files of a VFIO user, and room for the arguments of its ioctls. */
struct eu_user {
	struct device *dev;
	struct file *group;
	struct file *container;
	void __user *arg;
};

/*
 * Mock IOMMU
 */
static int eu_domain_attach(struct iommu_domain *domain, struct device *dev)
{
	return 0;
}

static const struct iommu_domain_ops eu_domain_ops = {
	.attach_dev = eu_domain_attach,
};

static struct iommu_domain eu_identity_domain = {
	.type = IOMMU_DOMAIN_IDENTITY,
	.ops = &eu_domain_ops,
};

static struct iommu_domain eu_blocked_domain = {
	.type = IOMMU_DOMAIN_BLOCKED,
	.ops = &eu_domain_ops,
};

static struct iommu_device eu_iommu;
static struct platform_device *eu_iommu_pdev;

static bool eu_iommu_capable(struct device *dev, enum iommu_cap cap)
{
	return cap == IOMMU_CAP_CACHE_COHERENCY;
}

static struct iommu_device *eu_iommu_probe_device(struct device *dev)
{
	return &eu_iommu;
}

static const struct iommu_ops eu_iommu_ops = {
	.owner = THIS_MODULE,
	.capable = eu_iommu_capable,
	.probe_device = eu_iommu_probe_device,
	.device_group = generic_device_group,
	.default_domain = &eu_identity_domain,
	.blocked_domain = &eu_blocked_domain,
};

static const struct software_node eu_iommu_node = { .name = "vfio-kunit-iommu" };

static int eu_iommu_init(void)
{
	struct platform_device_info info = {
		.name = "vfio-kunit-iommu",
		.id = PLATFORM_DEVID_NONE,
	};
	int ret;

	ret = software_node_register(&eu_iommu_node);
	if (ret)
		return ret;

	info.fwnode = software_node_fwnode(&eu_iommu_node);
	eu_iommu_pdev = platform_device_register_full(&info);
	if (IS_ERR(eu_iommu_pdev)) {
		ret = PTR_ERR(eu_iommu_pdev);
		goto err_node;
	}

	ret = iommu_device_sysfs_add(&eu_iommu, &eu_iommu_pdev->dev, NULL,
				     "vfio-kunit");
	if (ret)
		goto err_pdev;

	ret = iommu_device_register(&eu_iommu, &eu_iommu_ops,
				    &eu_iommu_pdev->dev);
	if (ret)
		goto err_sysfs;
	return 0;

err_sysfs:
	iommu_device_sysfs_remove(&eu_iommu);
err_pdev:
	platform_device_unregister(eu_iommu_pdev);
err_node:
	software_node_unregister(&eu_iommu_node);
	return ret;
}

static void eu_iommu_exit(void)
{
	iommu_device_unregister(&eu_iommu);
	iommu_device_sysfs_remove(&eu_iommu);
	platform_device_unregister(eu_iommu_pdev);
	software_node_unregister(&eu_iommu_node);
}

/*
 * Mock VFIO device and its driver
 */
static const struct vfio_device_ops eu_device_ops = {
	.name = "vfio-kunit",
	.bind_iommufd = vfio_iommufd_physical_bind,
	.unbind_iommufd = vfio_iommufd_physical_unbind,
	.attach_ioas = vfio_iommufd_physical_attach_ioas,
	.detach_ioas = vfio_iommufd_physical_detach_ioas,
};

/* The platform data says whether the device is an emulated one. */
static int eu_driver_probe(struct platform_device *pdev)
{
	bool *emulated = dev_get_platdata(&pdev->dev);
	struct vfio_device *vdev;
	int ret;

	vdev = _vfio_alloc_device(sizeof(*vdev), &pdev->dev, &eu_device_ops);
	if (IS_ERR(vdev))
		return PTR_ERR(vdev);

	ret = *emulated ? vfio_register_emulated_iommu_dev(vdev) :
			  vfio_register_group_dev(vdev);
	if (ret) {
		vfio_put_device(vdev);
		return ret;
	}

	platform_set_drvdata(pdev, vdev);
	return 0;
}

static void eu_driver_remove(struct platform_device *pdev)
{
	struct vfio_device *vdev = platform_get_drvdata(pdev);

	vfio_unregister_group_dev(vdev);
	vfio_put_device(vdev);
}

static struct platform_driver eu_driver = {
	.probe = eu_driver_probe,
	.remove = eu_driver_remove,
	.driver = {
		.name = "vfio-kunit",
		.probe_type = PROBE_FORCE_SYNCHRONOUS,
	},
	.driver_managed_dma = true,
};

/*
 * Mock container backend
 */
static atomic_t eu_backend_opened;
static atomic_t eu_backend_groups;
static DECLARE_COMPLETION(eu_backend_entered);
static DECLARE_COMPLETION(eu_backend_leave);
static bool eu_backend_stays;
static struct file *eu_backend_asks;
static int eu_backend_told;

static void *eu_backend_open(unsigned long arg)
{
	atomic_inc(&eu_backend_opened);
	return &eu_backend_opened;
}

static void eu_backend_release(void *iommu_data)
{
	atomic_dec(&eu_backend_opened);
	wake_up_var(&eu_backend_opened);
}

/* EU_STAY returns how many containers the backend works for as it leaves. */
static long eu_backend_ioctl(void *iommu_data, unsigned int cmd,
			     unsigned long arg)
{
	if (cmd == EU_STAY) {
		complete(&eu_backend_entered);
		wait_for_completion(&eu_backend_leave);
		return atomic_read(&eu_backend_opened);
	}
	return cmd == VFIO_CHECK_EXTENSION && arg == EU_IOMMU;
}

static int eu_backend_attach(void *iommu_data, struct iommu_group *group,
			     enum vfio_group_type type)
{
	atomic_inc(&eu_backend_groups);
	return 0;
}

static void eu_backend_detach(void *iommu_data, struct iommu_group *group)
{
	if (eu_backend_stays) {
		complete(&eu_backend_entered);
		wait_for_completion(&eu_backend_leave);
	}
	if (eu_backend_asks)
		eu_backend_told = vfio_external_user_iommu_id(eu_backend_asks);
	atomic_dec(&eu_backend_groups);
}

static const struct vfio_iommu_driver_ops eu_backend_ops = {
	.name = "vfio-kunit",
	.owner = THIS_MODULE,
	.open = eu_backend_open,
	.release = eu_backend_release,
	.ioctl = eu_backend_ioctl,
	.attach_group = eu_backend_attach,
	.detach_group = eu_backend_detach,
};

/*
 * Steps that the tests are made of
 */

/* A kernel thread's fput() is deferred; let nothing depend on when it runs. */
static void eu_fput(void *file)
{
	fput(file);
	flush_delayed_fput();
}

static void eu_keep_file(struct kunit *test, struct file *file)
{
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, eu_fput, file));
}

/* Opens a device node as user space does, on a devtmpfs of our own. */
static struct file *eu_open_node(const char *name)
{
	struct vfsmount *mnt;
	struct file *file;
	struct path path;
	int ret;

	mnt = vfs_kern_mount(get_fs_type("devtmpfs"), 0, "devtmpfs", NULL);
	if (IS_ERR(mnt))
		return ERR_CAST(mnt);

	ret = vfs_path_lookup(mnt->mnt_root, mnt, name, 0, &path);
	if (ret) {
		file = ERR_PTR(ret);
	} else {
		file = dentry_open(&path, O_RDWR, current_cred());
		path_put(&path);
	}
	mntput(mnt);
	return file;
}

static struct file *eu_open_group(struct device *dev, const char *prefix)
{
	struct iommu_group *grp = iommu_group_get(dev);
	char name[32];

	if (!grp)
		return ERR_PTR(-ENODEV);
	snprintf(name, sizeof(name), "vfio/%s%d", prefix, iommu_group_id(grp));
	iommu_group_put(grp);
	return eu_open_node(name);
}

static long eu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return file->f_op->unlocked_ioctl(file, cmd, arg);
}

static long eu_set_container(struct eu_user *u, struct file *container)
{
	long ret;
	int fd;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	fd_install(fd, get_file(container));

	ret = put_user(fd, (int __user *)u->arg);
	if (!ret)
		ret = eu_ioctl(u->group, VFIO_GROUP_SET_CONTAINER,
			       (unsigned long)u->arg);
	close_fd(fd);
	flush_delayed_fput();
	return ret;
}

static long eu_unset_container(struct eu_user *u)
{
	return eu_ioctl(u->group, VFIO_GROUP_UNSET_CONTAINER, 0);
}

static long eu_set_iommu(struct eu_user *u, unsigned long type)
{
	return eu_ioctl(u->container, VFIO_SET_IOMMU, type);
}

static void eu_configure(struct kunit *test, struct eu_user *u)
{
	KUNIT_ASSERT_EQ(test, 0, eu_set_container(u, u->container));
	KUNIT_ASSERT_EQ(test, 0, eu_set_iommu(u, EU_IOMMU));
}

static struct file *eu_open_device(struct eu_user *u)
{
	const char *name = dev_name(u->dev);
	struct file *file;
	int fd;

	if (copy_to_user(u->arg, name, strlen(name) + 1))
		return ERR_PTR(-EFAULT);
	fd = eu_ioctl(u->group, VFIO_GROUP_GET_DEVICE_FD,
		      (unsigned long)u->arg);
	if (fd < 0)
		return ERR_PTR(fd);
	file = fget(fd);
	close_fd(fd);
	return file;
}

/*
 * Says that @dev is behind our IOMMU, as the parsers of firmware tables do for
 * others: iommu_fwspec_init() is for them alone.  The IOMMU core frees it.
 */
static int eu_put_behind_iommu(struct device *dev)
{
	struct iommu_fwspec *fwspec;

	dev->iommu = kzalloc(sizeof(*dev->iommu), GFP_KERNEL);
	fwspec = kzalloc(struct_size(fwspec, ids, 1), GFP_KERNEL);
	if (!dev->iommu || !fwspec) {
		kfree(fwspec);
		kfree(dev->iommu);
		dev->iommu = NULL;
		return -ENOMEM;
	}
	mutex_init(&dev->iommu->lock);
	fwspec->iommu_fwnode =
		fwnode_handle_get(software_node_fwnode(&eu_iommu_node));
	dev_iommu_fwspec_set(dev, fwspec);
	return 0;
}

static void eu_del_device(void *pdev)
{
	platform_device_unregister(pdev);
}

/* A device with our VFIO driver; behind our IOMMU, or behind none at all. */
static struct device *eu_add_device(struct kunit *test, bool iommu,
				    bool emulated)
{
	struct platform_device *pdev;
	int ret;

	pdev = platform_device_alloc("vfio-kunit", PLATFORM_DEVID_AUTO);
	KUNIT_ASSERT_NOT_NULL(test, pdev);

	ret = platform_device_add_data(pdev, &emulated, sizeof(emulated));
	if (!ret && iommu)
		ret = eu_put_behind_iommu(&pdev->dev);
	if (!ret)
		ret = platform_device_add(pdev);
	if (ret)
		platform_device_put(pdev);
	KUNIT_ASSERT_EQ(test, 0, ret);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, eu_del_device, pdev));
	KUNIT_ASSERT_NOT_NULL(test, pdev->dev.driver);
	return &pdev->dev;
}

/* Opens group and container, and leaves them as they are after open(). */
static void eu_open_user(struct kunit *test, struct eu_user *u,
			 struct device *dev, const char *prefix)
{
	unsigned long arg;

	u->dev = dev;
	u->group = eu_open_group(dev, prefix);
	eu_keep_file(test, u->group);
	u->container = eu_open_node("vfio/vfio");
	eu_keep_file(test, u->container);
	arg = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
			    MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, arg, 0);
	u->arg = (void __user *)arg;
}

/* The user of a device behind the mock IOMMU, in every test. */
static int eu_test_init(struct kunit *test)
{
	struct eu_user *u;

	u = kunit_kzalloc(test, sizeof(*u), GFP_KERNEL);
	if (!u)
		return -ENOMEM;
	eu_open_user(test, u, eu_add_device(test, true, false), "");
	test->priv = u;
	return 0;
}

static int eu_group_id(struct eu_user *u)
{
	struct iommu_group *grp = iommu_group_get(u->dev);
	int id = iommu_group_id(grp);

	iommu_group_put(grp);
	return id;
}

/* "add" fails with @err and leaves nothing behind. */
static void eu_expect_refused(struct kunit *test, struct file *file, int err)
{
	long count = file_count(file);

	KUNIT_EXPECT_EQ(test, err, vfio_group_add_external_user(file));
	KUNIT_EXPECT_EQ(test, -EINVAL, vfio_external_user_iommu_id(file));
	KUNIT_EXPECT_EQ(test, -EINVAL, vfio_group_del_external_user(file));
	KUNIT_EXPECT_EQ(test, count, file_count(file));
}

/*
 * What is refused
 */
static void eu_refuses_other_files(struct kunit *test)
{
	static const struct file_operations fops = { .owner = THIS_MODULE };
	struct eu_user *u = test->priv;
	struct file *file;

	file = anon_inode_getfile("[vfio-kunit]", &fops, u, O_RDWR);
	eu_keep_file(test, file);
	eu_expect_refused(test, file, -EINVAL);
	eu_expect_refused(test, u->container, -EINVAL);
}

static void eu_refuses_device_file(struct kunit *test)
{
	struct eu_user *u = test->priv;
	struct file *file;

	eu_configure(test, u);
	file = eu_open_device(u);
	eu_keep_file(test, file);
	eu_expect_refused(test, file, -EINVAL);
}

static void eu_refuses_without_container(struct kunit *test)
{
	struct eu_user *u = test->priv;

	eu_expect_refused(test, u->group, -EINVAL);
	eu_configure(test, u);
	KUNIT_ASSERT_EQ(test, 0, eu_unset_container(u));
	eu_expect_refused(test, u->group, -EINVAL);
}

static void eu_refuses_without_iommu_driver(struct kunit *test)
{
	struct eu_user *u = test->priv;

	KUNIT_ASSERT_EQ(test, 0, eu_set_container(u, u->container));
	eu_expect_refused(test, u->group, -EINVAL);
}

#ifdef CONFIG_VFIO_NOIOMMU
static void eu_restore_noiommu(void *was)
{
	vfio_noiommu = was;
}

static void eu_refuses_noiommu(struct kunit *test)
{
	void *was = vfio_noiommu ? &vfio_noiommu : NULL;
	struct eu_user u;

	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action(test, eu_restore_noiommu, was));
	vfio_noiommu = true;
	eu_open_user(test, &u, eu_add_device(test, false, false), "noiommu-");
	eu_expect_refused(test, u.group, -EPERM);

	KUNIT_ASSERT_EQ(test, 0, eu_set_container(&u, u.container));
	KUNIT_ASSERT_EQ(test, 0, eu_set_iommu(&u, VFIO_NOIOMMU_IOMMU));
	eu_expect_refused(test, u.group, -EPERM);
}
#else
static void eu_refuses_noiommu(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_VFIO_NOIOMMU");
}
#endif

static void eu_refuses_iommufd(struct kunit *test)
{
	struct eu_user *u = test->priv;
	struct file *iommufd = eu_open_node("iommu");

	if (IS_ERR(iommufd))
		kunit_skip(test, "needs CONFIG_IOMMUFD");
	eu_keep_file(test, iommufd);

	KUNIT_ASSERT_EQ(test, 0, eu_set_container(u, iommufd));
	eu_expect_refused(test, u->group, -EOPNOTSUPP);
	KUNIT_ASSERT_EQ(test, 0, eu_unset_container(u));
	eu_expect_refused(test, u->group, -EINVAL);
}

/* An emulated device's group is configured like any other, but owns no DMA. */
static void eu_refuses_emulated(struct kunit *test)
{
	struct eu_user u;

	eu_open_user(test, &u, eu_add_device(test, false, true), "");
	eu_configure(test, &u);
	eu_expect_refused(test, u.group, -EINVAL);
}

/* Somebody else owns the group's DMA: no container, and therefore no pin. */
static void eu_refuses_dma_of_others(struct kunit *test)
{
	struct eu_user *u = test->priv;
	struct iommu_group *grp = iommu_group_get(u->dev);
	long ret;

	KUNIT_ASSERT_EQ(test, 0, iommu_group_claim_dma_owner(grp, test));
	ret = eu_set_container(u, u->container);
	eu_expect_refused(test, u->group, -EINVAL);
	iommu_group_release_dma_owner(grp);
	iommu_group_put(grp);

	KUNIT_EXPECT_EQ(test, -EPERM, ret);
	eu_configure(test, u);
	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(u->group));
	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(u->group));
}

/*
 * What holds between "add" and "del", and ends with "del"
 */
static void eu_pin_refuses_other_dma_owners(struct kunit *test)
{
	struct eu_user *u = test->priv;
	struct iommu_group *grp = iommu_group_get(u->dev);

	eu_configure(test, u);
	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(u->group));
	KUNIT_EXPECT_EQ(test, -EBUSY, eu_unset_container(u));
	KUNIT_EXPECT_EQ(test, -EPERM, iommu_group_claim_dma_owner(grp, test));

	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(u->group));
	KUNIT_EXPECT_EQ(test, 0, eu_unset_container(u));
	KUNIT_EXPECT_EQ(test, 0, iommu_group_claim_dma_owner(grp, test));
	iommu_group_release_dma_owner(grp);
	iommu_group_put(grp);
}

static void eu_pin_keeps_iommu_driver(struct kunit *test)
{
	struct eu_user *u = test->priv;

	eu_configure(test, u);
	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(u->group));
	KUNIT_EXPECT_EQ(test, -EBUSY, eu_unset_container(u));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&eu_backend_opened));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&eu_backend_groups));

	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(u->group));
	KUNIT_EXPECT_EQ(test, 0, eu_unset_container(u));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&eu_backend_opened));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&eu_backend_groups));
}

static void eu_id_is_the_iommu_groups(struct kunit *test)
{
	struct eu_user *u = test->priv;

	eu_configure(test, u);
	KUNIT_EXPECT_EQ(test, -EINVAL, vfio_external_user_iommu_id(u->group));
	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(u->group));
	KUNIT_EXPECT_EQ(test, eu_group_id(u),
			vfio_external_user_iommu_id(u->group));
	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(u->group));
	KUNIT_EXPECT_EQ(test, -EINVAL, vfio_external_user_iommu_id(u->group));
}

static void eu_del_without_add(struct kunit *test)
{
	struct eu_user *u = test->priv;
	long count = file_count(u->group);

	eu_configure(test, u);
	KUNIT_EXPECT_EQ(test, -EINVAL, vfio_group_del_external_user(u->group));
	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(u->group));
	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(u->group));
	KUNIT_EXPECT_EQ(test, -EINVAL, vfio_group_del_external_user(u->group));
	KUNIT_EXPECT_EQ(test, count, file_count(u->group));
	KUNIT_EXPECT_EQ(test, 0, eu_unset_container(u));
}

static void eu_each_del_ends_one_add(struct kunit *test)
{
	struct eu_user *u = test->priv;
	int i;

	eu_configure(test, u);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(u->group));
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, -EBUSY, eu_unset_container(u));
		KUNIT_EXPECT_EQ(test, eu_group_id(u),
				vfio_external_user_iommu_id(u->group));
		KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(u->group));
	}
	KUNIT_EXPECT_EQ(test, -EINVAL, vfio_group_del_external_user(u->group));
	KUNIT_EXPECT_EQ(test, 0, eu_unset_container(u));
}

/* An open device and a pin hold the container independently of each other. */
static void eu_pin_beside_open_device(struct kunit *test)
{
	struct eu_user *u = test->priv;
	struct file *file;

	eu_configure(test, u);
	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(u->group));
	file = eu_open_device(u);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(u->group));
	KUNIT_EXPECT_EQ(test, -EBUSY, eu_unset_container(u));

	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(u->group));
	eu_fput(file);
	KUNIT_EXPECT_EQ(test, -EBUSY, eu_unset_container(u));
	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(u->group));
	KUNIT_EXPECT_EQ(test, 0, eu_unset_container(u));
}

/* The owner closes its files; the group stays until the last user lets go. */
static void eu_pin_outlives_the_owners_files(struct kunit *test)
{
	struct eu_user *u = test->priv;
	struct file *held = get_file(u->group);
	long count = file_count(held);

	eu_configure(test, u);
	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(held));
	KUNIT_EXPECT_EQ(test, count + 1, file_count(held));

	kunit_release_action(test, eu_fput, u->container);
	kunit_release_action(test, eu_fput, u->group);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&eu_backend_groups));
	KUNIT_EXPECT_EQ(test, eu_group_id(u), vfio_external_user_iommu_id(held));
	KUNIT_EXPECT_PTR_EQ(test, eu_open_group(u->dev, ""),
			    (struct file *)ERR_PTR(-EBUSY));

	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(held));
	flush_delayed_fput();
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&eu_backend_groups));
	eu_fput(held);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&eu_backend_groups));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&eu_backend_opened));
}

/* Unbinding the last device ends what is pinned, but not the count. */
static void eu_unbind_while_pinned(struct kunit *test)
{
	struct eu_user *u = test->priv;
	struct iommu_group *grp = iommu_group_get(u->dev);
	long count = file_count(u->group);

	eu_configure(test, u);
	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(u->group));
	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(u->group));

	device_release_driver(u->dev);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&eu_backend_groups));
	KUNIT_EXPECT_EQ(test, 0, iommu_group_claim_dma_owner(grp, test));
	iommu_group_release_dma_owner(grp);
	iommu_group_put(grp);

	KUNIT_EXPECT_EQ(test, -EINVAL, vfio_external_user_iommu_id(u->group));
	KUNIT_EXPECT_EQ(test, -EINVAL, vfio_group_add_external_user(u->group));
	KUNIT_EXPECT_EQ(test, -ENODEV, eu_set_container(u, u->container));
	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(u->group));
	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(u->group));
	KUNIT_EXPECT_EQ(test, -EINVAL, vfio_group_del_external_user(u->group));
	KUNIT_EXPECT_EQ(test, count, file_count(u->group));
}

/*
 * Once the backend lets go of the group, its tables can be another one's: no id is told
 * from then on, as KVM keeps a binding for which one is told afterwards.
 */
static void eu_id_ends_before_the_backend_lets_go(struct kunit *test)
{
	struct eu_user *u = test->priv;

	eu_configure(test, u);
	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(u->group));

	eu_backend_told = 0;
	eu_backend_asks = u->group;
	device_release_driver(u->dev);
	eu_backend_asks = NULL;
	KUNIT_EXPECT_EQ(test, -EINVAL, eu_backend_told);
	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(u->group));
}

/* The device comes back while the old group file is still pinned. */
static void eu_rebind_while_pinned(struct kunit *test)
{
	struct eu_user *u = test->priv;
	struct eu_user again;

	eu_configure(test, u);
	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(u->group));
	device_release_driver(u->dev);
	KUNIT_ASSERT_EQ(test, 1, device_attach(u->dev));

	eu_open_user(test, &again, u->dev, "");
	eu_configure(test, &again);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			vfio_group_del_external_user(again.group));
	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(again.group));
	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(u->group));
	KUNIT_EXPECT_EQ(test, -EBUSY, eu_unset_container(&again));
	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(again.group));
	KUNIT_EXPECT_EQ(test, 0, eu_unset_container(&again));
}

/*
 * Groups that leave their container while an ioctl of it is in the backend, as
 * it would be when its argument lies on a page that user space does not hand out
 */
struct eu_thread {
	struct eu_user *u;
	long (*run)(struct eu_user *u);
	long ret;
	struct completion done;
};

static int eu_thread_run(void *data)
{
	struct eu_thread *t = data;

	t->ret = t->run(t->u);
	complete(&t->done);
	return 0;
}

static void eu_start(struct kunit *test, struct eu_thread *t, struct eu_user *u,
		     long (*run)(struct eu_user *u))
{
	struct task_struct *task;

	t->u = u;
	t->run = run;
	init_completion(&t->done);
	task = kthread_run(eu_thread_run, t, "vfio-kunit");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
}

static long eu_iommu_id(struct eu_user *u)
{
	return vfio_external_user_iommu_id(u->group);
}

/* Whoever holds the group's lock may wait for whoever asks (KVM's debugfs) */
static void eu_id_beside_a_locked_group(struct kunit *test)
{
	struct eu_user *u = test->priv;
	struct vfio_group *group = vfio_group_from_file(u->group);
	struct eu_thread reader;
	bool over;

	eu_configure(test, u);
	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(u->group));

	mutex_lock(&group->group_lock);
	eu_start(test, &reader, u, eu_iommu_id);
	over = wait_for_completion_timeout(&reader.done, EU_PATIENCE);
	mutex_unlock(&group->group_lock);
	if (!over)
		wait_for_completion(&reader.done);
	KUNIT_EXPECT_TRUE(test, over);
	KUNIT_EXPECT_EQ(test, eu_group_id(u), reader.ret);
	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(u->group));
}

static long eu_stay(struct eu_user *u)
{
	long ret = eu_ioctl(u->container, EU_STAY, 0);

	/* It may have come back from somewhere else */
	complete(&eu_backend_entered);
	return ret;
}

/* Returns with an ioctl in the backend. */
static void eu_start_stay(struct kunit *test, struct eu_thread *stay,
			  struct eu_user *u)
{
	reinit_completion(&eu_backend_entered);
	reinit_completion(&eu_backend_leave);
	eu_start(test, stay, u, eu_stay);
	wait_for_completion(&eu_backend_entered);
}

static void eu_end_stay(struct eu_thread *stay)
{
	complete(&eu_backend_leave);
	wait_for_completion(&stay->done);
}

static long eu_unbind(struct eu_user *u)
{
	device_release_driver(u->dev);
	return 0;
}

/* Whether @run is over while an ioctl is in the backend; both are, in the end. */
static bool eu_is_over_during_ioctl(struct kunit *test, struct eu_user *u,
				    long (*run)(struct eu_user *u))
{
	struct eu_thread stay, other;
	bool over;

	eu_start_stay(test, &stay, u);
	eu_start(test, &other, u, run);
	over = wait_for_completion_timeout(&other.done, EU_PATIENCE);
	if (over) {
		KUNIT_EXPECT_EQ(test, 0, other.ret);
		/* Nothing is attached, and nothing is freed yet */
		KUNIT_EXPECT_EQ(test, 0, atomic_read(&eu_backend_groups));
		KUNIT_EXPECT_EQ(test, 1, atomic_read(&eu_backend_opened));
	}
	eu_end_stay(&stay);
	if (!over)
		wait_for_completion(&other.done);

	KUNIT_EXPECT_EQ(test, 1, stay.ret);
	/* The administrator leaves that to a worker */
	KUNIT_EXPECT_TRUE(test, wait_var_event_timeout(&eu_backend_opened,
						       !atomic_read(&eu_backend_opened),
						       EU_PATIENCE));
	return over;
}

static void eu_group_leaves_during_ioctl(struct kunit *test)
{
	struct eu_user *u = test->priv;

	eu_configure(test, u);
	KUNIT_EXPECT_TRUE(test, eu_is_over_during_ioctl(test, u,
							eu_unset_container));
	/* Without a group, the container has no backend to ask */
	KUNIT_EXPECT_EQ(test, -EINVAL, eu_stay(u));
	eu_configure(test, u);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&eu_backend_opened));
}

static void eu_unbind_during_ioctl(struct kunit *test)
{
	struct eu_user *u = test->priv;

	eu_configure(test, u);
	KUNIT_EXPECT_TRUE(test, eu_is_over_during_ioctl(test, u, eu_unbind));
	KUNIT_EXPECT_EQ(test, -EINVAL, eu_stay(u));
}

/* Everything that the host and other users do with groups and devices. */
static long eu_unbind_and_use_again(struct eu_user *u)
{
	long ret = eu_unbind(u);

	if (device_attach(u->dev) != 1)
		return -ENODEV;
	device_release_driver(u->dev);
	return ret;
}

static void eu_rebind_during_ioctl(struct kunit *test)
{
	struct eu_user *u = test->priv;

	eu_configure(test, u);
	KUNIT_EXPECT_TRUE(test,
			  eu_is_over_during_ioctl(test, u,
						  eu_unbind_and_use_again));
}

static long eu_unbind_and_bind(struct eu_user *u)
{
	device_release_driver(u->dev);
	return device_attach(u->dev) == 1 ? 0 : -ENODEV;
}

/* To detach a group takes time, but not that of other groups. */
static void eu_others_during_detach(struct kunit *test)
{
	struct eu_user other = { .dev = eu_add_device(test, true, false) };
	struct eu_thread unbind, admin;
	struct eu_user *u = test->priv;
	bool over;

	eu_configure(test, u);
	reinit_completion(&eu_backend_entered);
	reinit_completion(&eu_backend_leave);
	eu_backend_stays = true;
	eu_start(test, &unbind, u, eu_unbind);
	wait_for_completion(&eu_backend_entered);
	eu_start(test, &admin, &other, eu_unbind_and_bind);
	over = wait_for_completion_timeout(&admin.done, EU_PATIENCE);
	eu_backend_stays = false;
	eu_end_stay(&unbind);
	if (!over)
		wait_for_completion(&admin.done);
	KUNIT_EXPECT_TRUE(test, over);
	KUNIT_EXPECT_EQ(test, 0, admin.ret);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&eu_backend_groups));
}

/* The container begins anew while an ioctl is in what it was before. */
static void eu_set_iommu_during_ioctl(struct kunit *test)
{
	struct eu_user *u = test->priv;
	struct eu_thread stay, leave;

	eu_configure(test, u);
	eu_start_stay(test, &stay, u);
	eu_start(test, &leave, u, eu_unset_container);
	if (!wait_for_completion_timeout(&leave.done, EU_PATIENCE)) {
		KUNIT_FAIL(test, "the group waits for the ioctl");
		eu_end_stay(&stay);
		wait_for_completion(&leave.done);
		return;
	}

	KUNIT_EXPECT_EQ(test, 0, eu_set_container(u, u->container));
	KUNIT_EXPECT_EQ(test, 0, eu_set_iommu(u, EU_IOMMU));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&eu_backend_groups));
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&eu_backend_opened));
	eu_end_stay(&stay);
	KUNIT_EXPECT_EQ(test, 2, stay.ret);

	/* The old data are gone, and the new ones are in force */
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&eu_backend_opened));
	KUNIT_EXPECT_EQ(test, -EINVAL, eu_set_iommu(u, EU_IOMMU));
	KUNIT_EXPECT_EQ(test, 0, vfio_group_add_external_user(u->group));
	KUNIT_EXPECT_EQ(test, 0, vfio_group_del_external_user(u->group));
	KUNIT_EXPECT_EQ(test, 0, eu_unset_container(u));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&eu_backend_opened));
}

/*
 * A user that pins whenever it can, beside an owner that never stops setting
 * its group up and tearing it down
 */
struct eu_racer {
	struct file *group;
	int id;
	unsigned long pinned;
	unsigned long broken;
};

static int eu_race_thread(void *data)
{
	struct eu_racer *r = data;

	while (!kthread_should_stop()) {
		if (vfio_group_add_external_user(r->group)) {
			cond_resched();
			continue;
		}
		cond_resched();
		WRITE_ONCE(r->pinned, r->pinned + 1);
		if (atomic_read(&eu_backend_groups) != 1 ||
		    vfio_external_user_iommu_id(r->group) != r->id)
			r->broken++;
		if (vfio_group_del_external_user(r->group))
			r->broken++;
		cond_resched();
	}
	return 0;
}

static void eu_pin_races_with_owner(struct kunit *test)
{
	struct eu_user *u = test->priv;
	struct eu_racer r = { .group = u->group, .id = eu_group_id(u) };
	unsigned long end, seen, rounds = 0, busy = 0, failed = 0;
	struct task_struct *task;
	long ret;

	task = kthread_run(eu_race_thread, &r, "vfio-kunit");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);

	for (end = jiffies + EU_RACE_TIME; time_before(jiffies, end); rounds++) {
		seen = READ_ONCE(r.pinned);
		failed += eu_set_container(u, u->container) != 0;
		failed += eu_set_iommu(u, EU_IOMMU) != 0;
		while (READ_ONCE(r.pinned) == seen && time_before(jiffies, end))
			cond_resched();
		/* Meet the other thread wherever it can be in its loop. */
		udelay(rounds % 32);
		while ((ret = eu_unset_container(u)) == -EBUSY) {
			busy++;
			cond_resched();
		}
		failed += ret != 0;
	}
	kthread_stop(task);

	kunit_info(test, "%lu rounds, pinned %lu times, %lu times in the way",
		   rounds, r.pinned, busy);
	KUNIT_EXPECT_EQ(test, failed, 0);
	KUNIT_EXPECT_EQ(test, r.broken, 0);
	KUNIT_EXPECT_GT(test, r.pinned, 0);
	KUNIT_EXPECT_EQ(test, -EINVAL, vfio_group_del_external_user(u->group));
}

static struct kunit_case eu_test_cases[] = {
	KUNIT_CASE(eu_refuses_other_files),
	KUNIT_CASE(eu_refuses_device_file),
	KUNIT_CASE(eu_refuses_without_container),
	KUNIT_CASE(eu_refuses_without_iommu_driver),
	KUNIT_CASE(eu_refuses_noiommu),
	KUNIT_CASE(eu_refuses_iommufd),
	KUNIT_CASE(eu_refuses_emulated),
	KUNIT_CASE(eu_refuses_dma_of_others),
	KUNIT_CASE(eu_pin_refuses_other_dma_owners),
	KUNIT_CASE(eu_pin_keeps_iommu_driver),
	KUNIT_CASE(eu_id_is_the_iommu_groups),
	KUNIT_CASE(eu_id_ends_before_the_backend_lets_go),
	KUNIT_CASE(eu_del_without_add),
	KUNIT_CASE(eu_each_del_ends_one_add),
	KUNIT_CASE(eu_pin_beside_open_device),
	KUNIT_CASE(eu_pin_outlives_the_owners_files),
	KUNIT_CASE(eu_unbind_while_pinned),
	KUNIT_CASE(eu_rebind_while_pinned),
	KUNIT_CASE(eu_id_beside_a_locked_group),
	KUNIT_CASE(eu_group_leaves_during_ioctl),
	KUNIT_CASE(eu_unbind_during_ioctl),
	KUNIT_CASE(eu_rebind_during_ioctl),
	KUNIT_CASE(eu_others_during_detach),
	KUNIT_CASE(eu_set_iommu_during_ioctl),
	KUNIT_CASE_SLOW(eu_pin_races_with_owner),
	{}
};

static int eu_suite_init(struct kunit_suite *suite)
{
	int ret;

	ret = eu_iommu_init();
	if (ret)
		return ret;

	ret = platform_driver_register(&eu_driver);
	if (ret)
		goto err_iommu;

	ret = vfio_register_iommu_driver(&eu_backend_ops);
	if (ret)
		goto err_driver;
	return 0;

err_driver:
	platform_driver_unregister(&eu_driver);
err_iommu:
	eu_iommu_exit();
	return ret;
}

static void eu_suite_exit(struct kunit_suite *suite)
{
	/* Called after a failed eu_suite_init() as well, with nothing to undo. */
	if (suite->suite_init_err)
		return;
	vfio_unregister_iommu_driver(&eu_backend_ops);
	platform_driver_unregister(&eu_driver);
	eu_iommu_exit();
}

static struct kunit_suite eu_test_suite = {
	.name = "vfio_external_user",
	.suite_init = eu_suite_init,
	.suite_exit = eu_suite_exit,
	.init = eu_test_init,
	.test_cases = eu_test_cases,
};

kunit_test_suite(eu_test_suite);

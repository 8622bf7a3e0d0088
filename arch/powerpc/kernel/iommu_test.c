// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KUnit tests of DMA tables: what drivers may ask of the tables that the machine
 * has, and when the pages of a table go.
 */
#include <kunit/test.h>
#include <linux/dma-mapping.h>
#include <linux/pci.h>

#include <asm/iommu.h>

/* A device whose DMA goes through a table; referenced, or NULL */
static struct pci_dev *it_device(void)
{
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev) {
		if (!pci_is_bridge(pdev) && get_iommu_table_base(&pdev->dev) &&
		    !pdev->dev.dma_ops_bypass)
			return pdev;
	}

	return NULL;
}

/* A driver unmaps 0 bytes: that has an end, and nothing is unmapped */
static void it_unmap_nothing(struct kunit *test)
{
	struct pci_dev *pdev = it_device();
	struct iommu_table *tbl;
	dma_addr_t handle;
	struct page *page;
	long entry;

	if (!pdev)
		kunit_skip(test, "no device uses a table");

	tbl = get_iommu_table_base(&pdev->dev);
	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(test, page);
	handle = dma_map_page(&pdev->dev, page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
	KUNIT_ASSERT_FALSE(test, dma_mapping_error(&pdev->dev, handle));

	entry = handle >> tbl->it_page_shift;
	KUNIT_EXPECT_NE(test, tbl->it_ops->get(tbl, entry), 0);
	dma_unmap_page(&pdev->dev, handle, 0, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_NE(test, tbl->it_ops->get(tbl, entry), 0);
	/* Nor does the platform's own part mind */
	tbl->it_ops->clear(tbl, entry, 0);
	KUNIT_EXPECT_NE(test, tbl->it_ops->get(tbl, entry), 0);

	dma_unmap_page(&pdev->dev, handle, PAGE_SIZE, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, tbl->it_ops->get(tbl, entry), 0);
	__free_page(page);
	pci_dev_put(pdev);
}

static unsigned int it_freed;

static void it_free(struct iommu_table *tbl)
{
	it_freed++;
}

/* The pages of a table stay for as long as a group has it, whoever asks */
static void it_free_pages(struct kunit *test)
{
	struct iommu_table_group_link link = {};
	struct iommu_table_ops ops = { .free = it_free };
	struct iommu_table *tbl;

	tbl = kunit_kzalloc(test, sizeof(*tbl), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, tbl);
	INIT_LIST_HEAD(&tbl->it_group_list);
	tbl->it_ops = &ops;
	it_freed = 0;

	list_add(&link.next, &tbl->it_group_list);
	KUNIT_EXPECT_FALSE(test, iommu_tce_table_free_pages(tbl));
	KUNIT_EXPECT_EQ(test, it_freed, 0);

	list_del(&link.next);
	KUNIT_EXPECT_TRUE(test, iommu_tce_table_free_pages(tbl));
	KUNIT_EXPECT_EQ(test, it_freed, 1);
}

static struct kunit_case it_cases[] = {
	KUNIT_CASE(it_unmap_nothing),
	KUNIT_CASE(it_free_pages),
	{}
};

static struct kunit_suite it_suite = {
	.name = "iommu_table",
	.test_cases = it_cases,
};

kunit_test_suite(it_suite);

MODULE_DESCRIPTION("KUnit tests of DMA tables");
MODULE_LICENSE("GPL");

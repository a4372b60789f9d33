/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_ACCESS_STORE_H
#define __KVMI_ACCESS_STORE_H

#include <linux/bitmap.h>
#include <linux/kvm_host.h>
#include <linux/kvmi.h>
#include <linux/xarray.h>

/* Pages that a leaf, and a directory of leaves, describes */
#define KVMI_LEAF_SHIFT		9
#define KVMI_LEAF_PAGES		BIT(KVMI_LEAF_SHIFT)
#define KVMI_DIR_SHIFT		18
#define KVMI_DIR_PAGES		BIT(KVMI_DIR_SHIFT)

struct kvmi_access_leaf;

/* Guest frames from @first to @last, inclusive */
struct kvmi_gfn_range {
	gfn_t first;
	gfn_t last;
};

/*
 * The access that a view leaves to each page.
 *
 * The store has the shape of page tables: a leaf has four bits for each of 512
 * pages, and a directory has 512 leaves.  Where all pages have the same access,
 * one word takes the place of a leaf or a directory; without an entry, nothing
 * is restricted.
 *
 * A single thread changes a store, and decides when a change takes effect.
 * Reading needs no lock.
 */
struct kvmi_access_store {
	/* Directories of leaves, or the access to all pages of one, by gfn */
	struct xarray top;
	/* Memory in use, in units of leaves */
	unsigned long nr_nodes;
};

/* A change of a store that is in progress */
struct kvmi_access_change {
	struct kvmi_access_store *store;
	/* Most memory that @store may use, in units of leaves */
	unsigned long max_nodes;
	/* All ranges get the same access */
	bool same_access;
	/* The leaf that was committed last, as gfn >> KVMI_LEAF_SHIFT */
	gfn_t committed;
	/* The node of that leaf */
	struct kvmi_access_leaf *leaf;
};

/* Pages that a change leaves less access to, out of those of one leaf */
struct kvmi_lost_gfns {
	/* The first page of the leaf */
	gfn_t base;
	/* Any bit in @gfns is set */
	bool any;
	DECLARE_BITMAP(gfns, KVMI_LEAF_PAGES);
};

static inline struct kvmi_gfn_range
kvmi_entry_range(const struct kvmi_page_access_entry *e)
{
	gfn_t first = gpa_to_gfn(e->gpa);

	return (struct kvmi_gfn_range) {
		first, first + (e->npages ?: 1) - 1,
	};
}

void kvmi_access_init(struct kvmi_access_store *store);
int kvmi_access_copy(struct kvmi_access_store *to, struct kvmi_access_store *from);
void kvmi_access_free(struct kvmi_access_store *store);

u8 kvmi_access_get(struct kvmi_access_store *store, gfn_t gfn);
bool kvmi_access_next(struct kvmi_access_store *store, gfn_t gfn,
		      struct kvmi_gfn_range *range, u8 *access);
bool kvmi_access_is_uniform(struct kvmi_access_store *store,
			    const struct kvmi_gfn_range *range);

void kvmi_access_begin(struct kvmi_access_change *change,
		       struct kvmi_access_store *store, unsigned long max_nodes,
		       bool same_access);
int kvmi_access_prepare(struct kvmi_access_change *change,
			const struct kvmi_gfn_range *range, u8 access);
bool kvmi_access_is_word(struct kvmi_access_change *change,
			 const struct kvmi_gfn_range *range);
bool kvmi_access_commit_word(struct kvmi_access_change *change, gfn_t gfn, u8 access);
void kvmi_access_commit(struct kvmi_access_change *change,
			const struct kvmi_gfn_range *range, u8 access,
			struct kvmi_lost_gfns *lost);
void kvmi_access_commit_pages(struct kvmi_access_change *change,
			      const struct kvmi_page_access_entry *entries,
			      unsigned int nr, struct kvmi_lost_gfns *lost);
void kvmi_access_settle(struct kvmi_access_change *change,
			const struct kvmi_gfn_range *range);

#endif /* __KVMI_ACCESS_STORE_H */

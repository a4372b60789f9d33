/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_ACCESS_STORE_H
#define __KVMI_ACCESS_STORE_H

#include <linux/bitmap.h>
#include <linux/kvm_host.h>
#include <linux/kvmi.h>
#include <linux/xarray.h>

/* Pages that a leaf is for, and pages that a directory of leaves is for */
#define KVMI_LEAF_SHIFT		9
#define KVMI_LEAF_PAGES		BIT(KVMI_LEAF_SHIFT)
#define KVMI_DIR_SHIFT		18
#define KVMI_DIR_PAGES		BIT(KVMI_DIR_SHIFT)

struct kvmi_access_leaf;

/**
 * struct kvmi_gfn_range - guest frame numbers
 * @first: the first one
 * @last: the last one
 */
struct kvmi_gfn_range {
	gfn_t first;
	gfn_t last;
};

/**
 * struct kvmi_access_store - what is left of the access to each page
 * @top: directories of leaves, or the access to all pages of one; by gfn
 * @nr_nodes: how much memory it takes, in leaves
 *
 * It has the shape of page tables: a leaf has four bits for each of 512 pages, a
 * directory 512 leaves.  Where all pages have the same access a word says which,
 * in place of a leaf or directory, and none is there where nothing is restricted.
 *
 * One thread changes it, and says when that takes effect; anybody may read it at
 * any time.
 */
struct kvmi_access_store {
	struct xarray top;
	unsigned long nr_nodes;
};

/**
 * struct kvmi_access_change - a change of a store that is being made
 * @store: the store
 * @max_nodes: how much memory it may take, in leaves
 * @same_access: all ranges are to have the same access
 * @committed: the leaf that was changed last: gfn >> KVMI_LEAF_SHIFT
 * @leaf: that leaf itself
 */
struct kvmi_access_change {
	struct kvmi_access_store *store;
	unsigned long max_nodes;
	bool same_access;
	gfn_t committed;
	struct kvmi_access_leaf *leaf;
};

/**
 * struct kvmi_lost_gfns - pages that have less access than before
 * @base: the first of KVMI_LEAF_PAGES pages that @gfns is for
 * @any: there are any
 * @gfns: bitmap of the pages
 */
struct kvmi_lost_gfns {
	gfn_t base;
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

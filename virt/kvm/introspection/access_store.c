// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: the access that views leave to pages.
 *
 * A change has three phases.  Preparing it adds the nodes that are needed, with
 * the access that the pages have: it may fail, and has no visible effect.
 * Committing it needs no memory, and can't fail.  Settling it removes the nodes
 * that are not needed any more, whether or not the change was committed; again
 * without a visible effect.
 */

#include <linux/kvm_host.h>
#include <linux/slab.h>

#include "access_store.h"

/*
 * What is stored for a page.  A word in place of a node holds the same, as a
 * value entry of an xarray, or is NULL for all rights.
 */
#define STORED_R		BIT(0)
#define STORED_W		BIT(1)
#define STORED_XS		BIT(2)
#define STORED_XU		BIT(3)
#define STORED_RWX		(STORED_R | STORED_W | STORED_XS | STORED_XU)
#define STORED_BITS		4

#define PAGES_PER_WORD		16
/* The lowest bit of each page */
#define EACH_PAGE		0x1111111111111111ull

struct kvmi_access_leaf {
	u64 rights[KVMI_LEAF_PAGES / PAGES_PER_WORD];
};

#define DIR_WORDS		BIT(KVMI_DIR_SHIFT - KVMI_LEAF_SHIFT)

struct kvmi_access_dir {
	void __rcu *words[DIR_WORDS];
};

/* How much memory a directory takes, in leaves */
#define DIR_NODES		(sizeof(struct kvmi_access_dir) /	\
				 sizeof(struct kvmi_access_leaf))

static u8 stored_of(u8 access)
{
	u8 stored = access & (KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);

	if (access & (KVMI_PAGE_ACCESS_X | KVMI_PAGE_ACCESS_XS))
		stored |= STORED_XS;
	if (access & (KVMI_PAGE_ACCESS_X | KVMI_PAGE_ACCESS_XU))
		stored |= STORED_XU;

	return stored;
}

static u8 access_of(u8 stored)
{
	u8 access = stored & (STORED_R | STORED_W);

	switch (stored & (STORED_XS | STORED_XU)) {
	case STORED_XS | STORED_XU:
		return access | KVMI_PAGE_ACCESS_X;
	case STORED_XS:
		return access | KVMI_PAGE_ACCESS_XS;
	case STORED_XU:
		return access | KVMI_PAGE_ACCESS_XU;
	}

	return access;
}

static bool is_node(const void *word)
{
	return word && !xa_is_value(word);
}

static u8 word_to_stored(const void *word)
{
	return word ? xa_to_value(word) : STORED_RWX;
}

static void *stored_to_word(u8 stored)
{
	return stored == STORED_RWX ? NULL : xa_mk_value(stored);
}

static unsigned int dir_index(gfn_t gfn)
{
	return (gfn >> KVMI_LEAF_SHIFT) % DIR_WORDS;
}

static u8 leaf_get(const struct kvmi_access_leaf *leaf, gfn_t gfn)
{
	unsigned int page = gfn % KVMI_LEAF_PAGES;
	u64 rights = READ_ONCE(leaf->rights[page / PAGES_PER_WORD]);

	return rights >> page % PAGES_PER_WORD * STORED_BITS & STORED_RWX;
}

/* Initialize a store that restricts nothing. */
void kvmi_access_init(struct kvmi_access_store *store)
{
	xa_init_flags(&store->top, XA_FLAGS_ACCOUNT);
	store->nr_nodes = 0;
}

/* Return the KVMI_PAGE_ACCESS_* left to a page; lockless. */
u8 kvmi_access_get(struct kvmi_access_store *store, gfn_t gfn)
{
	struct kvmi_access_dir *dir;
	void *word;

	guard(rcu)();

	word = xa_load(&store->top, gfn >> KVMI_DIR_SHIFT);
	if (is_node(word)) {
		dir = word;
		word = rcu_dereference(dir->words[dir_index(gfn)]);
		if (is_node(word))
			return access_of(leaf_get(word, gfn));
	}

	return access_of(word_to_stored(word));
}

/*
 * Return true if the access to all pages of @range, a whole leaf or directory,
 * is the same.  During a change it may still return false where it is uniform
 * already.
 */
bool kvmi_access_is_uniform(struct kvmi_access_store *store,
			    const struct kvmi_gfn_range *range)
{
	struct kvmi_access_dir *dir;

	guard(rcu)();

	dir = xa_load(&store->top, range->first >> KVMI_DIR_SHIFT);
	if (!is_node(dir))
		return true;
	if (range->first >> KVMI_LEAF_SHIFT != range->last >> KVMI_LEAF_SHIFT)
		return false;

	return !is_node(rcu_access_pointer(dir->words[dir_index(range->first)]));
}

/* Protected as only one thread changes a store */
static void *dir_word(const struct kvmi_access_dir *dir, unsigned int index)
{
	return rcu_dereference_protected(dir->words[index], true);
}

static void *dir_of(struct kvmi_access_store *store, gfn_t gfn)
{
	return xa_load(&store->top, gfn >> KVMI_DIR_SHIFT);
}

/* What is stored for a page, and for those behind it up to @last */
static u8 run_of(struct kvmi_access_store *store, gfn_t gfn, gfn_t *last)
{
	void *word = dir_of(store, gfn);
	gfn_t end;
	u8 stored;

	*last = gfn | (KVMI_DIR_PAGES - 1);
	if (!is_node(word))
		return word_to_stored(word);
	word = dir_word(word, dir_index(gfn));
	end = gfn | (KVMI_LEAF_PAGES - 1);
	*last = end;
	if (!is_node(word))
		return word_to_stored(word);

	stored = leaf_get(word, gfn);
	for (*last = gfn; *last < end; (*last)++) {
		if (leaf_get(word, *last + 1) != stored)
			break;
	}

	return stored;
}

/*
 * Find the next range of pages from @gfn on that have the same, restricted
 * access.  Return false if there is none.  For the thread that changes the
 * store.
 */
bool kvmi_access_next(struct kvmi_access_store *store, gfn_t gfn,
		      struct kvmi_gfn_range *range, u8 *access)
{
	unsigned long dir;
	gfn_t last;
	u8 stored;

	for (;; gfn = last + 1) {
		dir = gfn >> KVMI_DIR_SHIFT;
		if (!xa_find(&store->top, &dir, ULONG_MAX, XA_PRESENT))
			return false;
		gfn = max_t(gfn_t, gfn, (gfn_t)dir << KVMI_DIR_SHIFT);
		stored = run_of(store, gfn, &last);
		if (stored != STORED_RWX)
			break;
		cond_resched();
	}

	range->first = gfn;
	do {
		range->last = last;
		cond_resched();
	} while (run_of(store, last + 1, &last) == stored);
	*access = access_of(stored);

	return true;
}

static void free_dir(struct kvmi_access_dir *dir)
{
	unsigned int i;

	for (i = 0; i < DIR_WORDS; i++) {
		void *word = dir_word(dir, i);

		if (is_node(word))
			kfree(word);
	}
	kfree(dir);
}

/* Free the contents of a store that has no readers any more. */
void kvmi_access_free(struct kvmi_access_store *store)
{
	unsigned long index;
	void *word;

	xa_for_each(&store->top, index, word) {
		if (is_node(word))
			free_dir(word);
		cond_resched();
	}
	xa_destroy(&store->top);
	store->nr_nodes = 0;
}

static struct kvmi_access_dir *copy_dir(const struct kvmi_access_dir *from)
{
	struct kvmi_access_dir *dir = kzalloc_obj(*dir, GFP_KERNEL_ACCOUNT);
	unsigned int i;

	for (i = 0; dir && i < DIR_WORDS; i++) {
		void *word = dir_word(from, i);

		if (is_node(word)) {
			word = kmemdup(word, sizeof(struct kvmi_access_leaf),
				       GFP_KERNEL_ACCOUNT);
			if (!word) {
				free_dir(dir);
				return NULL;
			}
		}
		RCU_INIT_POINTER(dir->words[i], word);
	}

	return dir;
}

/*
 * Copy a store to a new one, which has to be freed also if this fails.  Return
 * 0 or -ENOMEM.
 */
int kvmi_access_copy(struct kvmi_access_store *to, struct kvmi_access_store *from)
{
	unsigned long index;
	void *word;
	int r;

	xa_for_each(&from->top, index, word) {
		void *copy = is_node(word) ? copy_dir(word) : word;

		if (!copy)
			return -ENOMEM;
		r = xa_err(xa_store(&to->top, index, copy, GFP_KERNEL_ACCOUNT));
		if (r) {
			if (is_node(copy))
				free_dir(copy);
			return r;
		}
		cond_resched();
	}
	to->nr_nodes = from->nr_nodes;

	return 0;
}

static void *alloc_node(struct kvmi_access_change *change, size_t size)
{
	unsigned long nr = size / sizeof(struct kvmi_access_leaf);
	void *node;

	if (change->store->nr_nodes + nr > change->max_nodes)
		return NULL;
	node = kmalloc(size, GFP_KERNEL_ACCOUNT);
	if (node)
		change->store->nr_nodes += nr;

	return node;
}

static struct kvmi_access_dir *
add_dir(struct kvmi_access_change *change, gfn_t gfn, void *word)
{
	struct kvmi_access_dir *dir = alloc_node(change, sizeof(*dir));
	unsigned int i;

	if (!dir)
		return NULL;
	for (i = 0; i < DIR_WORDS; i++)
		RCU_INIT_POINTER(dir->words[i], word);
	if (xa_err(xa_store(&change->store->top, gfn >> KVMI_DIR_SHIFT, dir,
			    GFP_KERNEL_ACCOUNT))) {
		change->store->nr_nodes -= DIR_NODES;
		kfree(dir);
		return NULL;
	}

	return dir;
}

/*
 * Return true if the change does not have to touch @word, in any order of its
 * ranges.
 */
static bool is_done(const struct kvmi_access_change *change, const void *word,
		    u8 stored)
{
	return change->same_access && word_to_stored(word) == stored;
}

static int prepare_leaf(struct kvmi_access_change *change,
			struct kvmi_access_dir *dir, gfn_t gfn, u8 stored)
{
	struct kvmi_access_leaf *leaf;
	void *word = dir_word(dir, dir_index(gfn));
	unsigned int i;

	if (!is_node(word)) {
		if (is_done(change, word, stored))
			return 0;
		leaf = alloc_node(change, sizeof(*leaf));
		if (!leaf)
			return -ENOMEM;
		for (i = 0; i < ARRAY_SIZE(leaf->rights); i++)
			leaf->rights[i] = word_to_stored(word) * EACH_PAGE;
		rcu_assign_pointer(dir->words[dir_index(gfn)], leaf);
	}
	return 0;
}

/* The part of a range from @gfn on within one node of 1 << @shift pages */
static struct kvmi_gfn_range part_of(const struct kvmi_gfn_range *range, gfn_t gfn,
				     unsigned int shift)
{
	return (struct kvmi_gfn_range) {
		gfn, min(range->last, gfn | (BIT_ULL(shift) - 1)),
	};
}

static bool is_whole(const struct kvmi_gfn_range *part, unsigned int shift)
{
	return part->last - part->first == BIT_ULL(shift) - 1;
}

static int prepare_dir(struct kvmi_access_change *change,
		       const struct kvmi_gfn_range *range, u8 stored)
{
	struct kvmi_access_store *store = change->store;
	struct kvmi_access_dir *dir = dir_of(store, range->first);
	struct kvmi_gfn_range part;
	gfn_t gfn;
	int r;

	if (!is_node(dir)) {
		if (is_done(change, dir, stored))
			return 0;
		if (is_whole(range, KVMI_DIR_SHIFT))
			return dir ? 0 : xa_reserve(&store->top,
						    range->first >> KVMI_DIR_SHIFT,
						    GFP_KERNEL_ACCOUNT);
		dir = add_dir(change, range->first, dir);
		if (!dir)
			return -ENOMEM;
	}

	/* Only the first and the last leaf can be affected in part. */
	part = part_of(range, range->first, KVMI_LEAF_SHIFT);
	if (!is_whole(&part, KVMI_LEAF_SHIFT)) {
		r = prepare_leaf(change, dir, part.first, stored);
		if (r || part.last == range->last)
			return r;
	}
	gfn = max(range->first, range->last & ~(gfn_t)(KVMI_LEAF_PAGES - 1));
	part = part_of(range, gfn, KVMI_LEAF_SHIFT);
	if (!is_whole(&part, KVMI_LEAF_SHIFT))
		return prepare_leaf(change, dir, gfn, stored);

	return 0;
}

void kvmi_access_begin(struct kvmi_access_change *change,
		       struct kvmi_access_store *store, unsigned long max_nodes,
		       bool same_access)
{
	*change = (struct kvmi_access_change) {
		.store = store,
		.max_nodes = max_nodes,
		.same_access = same_access,
		.committed = INVALID_GPA,
	};
}

/*
 * Allocate what it takes to change the access to a range.  All ranges of a
 * change are prepared before any is committed.  Return 0 or -ENOMEM.
 */
int kvmi_access_prepare(struct kvmi_access_change *change,
			const struct kvmi_gfn_range *range, u8 access)
{
	struct kvmi_gfn_range part;
	u8 stored = stored_of(access);
	int r;

	part.last = range->first - 1;
	do {
		part = part_of(range, part.last + 1, KVMI_DIR_SHIFT);
		r = prepare_dir(change, &part, stored);
		cond_resched();
	} while (!r && part.last != range->last);

	return r;
}

/* Return true if a range is a whole directory that is represented by a word. */
bool kvmi_access_is_word(struct kvmi_access_change *change,
			 const struct kvmi_gfn_range *range)
{
	return is_whole(range, KVMI_DIR_SHIFT) &&
	       !is_node(dir_of(change->store, range->first));
}

/*
 * Change such a word of a change that was prepared.  Return true if the pages
 * have less access than before.
 */
bool kvmi_access_commit_word(struct kvmi_access_change *change, gfn_t gfn, u8 access)
{
	struct xarray *top = &change->store->top;
	void *word = dir_of(change->store, gfn);
	u8 stored = stored_of(access);
	u8 old = word_to_stored(word);
	void *new;

	if (old == stored)
		return false;

	/* The slot exists, and has to stay for what the change may still do. */
	new = stored_to_word(stored) ?: XA_ZERO_ENTRY;
	WARN_ON_ONCE(xa_err(xa_store(top, gfn >> KVMI_DIR_SHIFT, new, GFP_NOWAIT)));

	return old & ~stored;
}

/* A bit for each page that has any of @rights */
static unsigned long pages_with(u64 rights)
{
	rights |= rights >> 2;
	rights |= rights >> 1;
	rights &= EACH_PAGE;
	rights = (rights | rights >> 3) & 0x0303030303030303ull;
	rights = (rights | rights >> 6) & 0x000f000f000f000full;
	rights = (rights | rights >> 12) & 0x000000ff000000ffull;

	return (rights | rights >> 24) & 0xffff;
}

/* Change a part of a leaf. */
static void commit_leaf(struct kvmi_access_leaf *leaf,
			const struct kvmi_gfn_range *range, u8 stored,
			struct kvmi_lost_gfns *lost)
{
	unsigned int page = range->first % KVMI_LEAF_PAGES;
	unsigned int end = range->last % KVMI_LEAF_PAGES + 1;

	while (page < end) {
		u64 *rights = &leaf->rights[page / PAGES_PER_WORD];
		unsigned int first = page % PAGES_PER_WORD;
		unsigned int nr = min(end - page, PAGES_PER_WORD - first);
		u64 mask = GENMASK_U64((first + nr) * STORED_BITS - 1,
				       first * STORED_BITS);
		u64 old = *rights, new = (old & ~mask) | (stored * EACH_PAGE & mask);

		if (old & ~new) {
			lost->gfns[page / BITS_PER_LONG] |=
				pages_with(old & ~new) << (page - first) % BITS_PER_LONG;
			lost->any = true;
		}
		WRITE_ONCE(*rights, new);
		page += nr;
	}
}

static void commit_dir(struct kvmi_access_change *change, struct kvmi_access_dir *dir,
		       const struct kvmi_gfn_range *range, u8 stored,
		       struct kvmi_lost_gfns *lost)
{
	unsigned int i = dir_index(range->first);
	void *word = dir_word(dir, i);

	if (is_node(word)) {
		change->committed = range->first >> KVMI_LEAF_SHIFT;
		change->leaf = word;
		commit_leaf(word, range, stored, lost);
		return;
	}
	if (word_to_stored(word) == stored ||
	    WARN_ON_ONCE(!is_whole(range, KVMI_LEAF_SHIFT)))
		return;

	rcu_assign_pointer(dir->words[i], stored_to_word(stored));
	if (word_to_stored(word) & ~stored) {
		bitmap_fill(lost->gfns, KVMI_LEAF_PAGES);
		lost->any = true;
	}
}

/*
 * Change the access to pages of one leaf, of a change that was prepared.  Pages
 * that lose access are added to @lost, which is for the same leaf.
 */
void kvmi_access_commit(struct kvmi_access_change *change,
			const struct kvmi_gfn_range *range, u8 access,
			struct kvmi_lost_gfns *lost)
{
	u8 stored = stored_of(access);
	struct kvmi_access_dir *dir;

	dir = dir_of(change->store, range->first);
	if (is_node(dir))
		commit_dir(change, dir, range, stored, lost);
	else
		WARN_ON_ONCE(word_to_stored((void *)dir) != stored);
}

static void commit_page(struct kvmi_access_leaf *leaf, unsigned int page, u8 stored,
			struct kvmi_lost_gfns *lost)
{
	u64 *rights = &leaf->rights[page / PAGES_PER_WORD];
	unsigned int shift = page % PAGES_PER_WORD * STORED_BITS;
	u64 old = *rights >> shift & STORED_RWX;

	WRITE_ONCE(*rights, *rights ^ (old ^ stored) << shift);
	if (old & ~stored) {
		__set_bit(page, lost->gfns);
		lost->any = true;
	}
}

/*
 * Change the access to single pages of the leaf that kvmi_access_commit() was
 * called for last.
 */
void kvmi_access_commit_pages(struct kvmi_access_change *change,
			      const struct kvmi_page_access_entry *entries,
			      unsigned int nr, struct kvmi_lost_gfns *lost)
{
	struct kvmi_access_leaf *leaf = change->leaf;
	u8 access = KVMI_PAGE_ACCESS_RWX, stored = STORED_RWX;
	unsigned int i;

	/* There is no leaf where nothing changes. */
	if (lost->base >> KVMI_LEAF_SHIFT != change->committed)
		return;

	for (i = 0; i < nr; i++) {
		if (entries[i].access != access) {
			access = entries[i].access;
			stored = stored_of(access);
		}
		commit_page(leaf, gpa_to_gfn(entries[i].gpa) % KVMI_LEAF_PAGES,
			    stored, lost);
	}
}

/* Replace a leaf whose pages have the same access by a word. */
static void settle_leaf(struct kvmi_access_store *store, struct kvmi_access_dir *dir,
			unsigned int index)
{
	struct kvmi_access_leaf *leaf = dir_word(dir, index);
	u8 stored;
	unsigned int i;

	if (!is_node(leaf))
		return;
	stored = leaf_get(leaf, 0);
	for (i = 0; i < ARRAY_SIZE(leaf->rights); i++) {
		if (leaf->rights[i] != stored * EACH_PAGE)
			return;
	}

	rcu_assign_pointer(dir->words[index], stored_to_word(stored));
	store->nr_nodes--;
	kfree_rcu_mightsleep(leaf);
}

static void settle_dir(struct kvmi_access_store *store, struct kvmi_access_dir *dir,
		       const struct kvmi_gfn_range *range)
{
	void *word;
	unsigned int i;

	for (i = dir_index(range->first); i <= dir_index(range->last); i++)
		settle_leaf(store, dir, i);

	word = dir_word(dir, dir_index(range->first));
	if (is_node(word))
		return;
	for (i = 0; i < DIR_WORDS; i++) {
		if (dir_word(dir, i) != word)
			return;
	}

	/* Neither replacing nor erasing an entry takes memory. */
	WARN_ON_ONCE(xa_err(xa_store(&store->top, range->first >> KVMI_DIR_SHIFT,
				     word, GFP_KERNEL_ACCOUNT)));
	store->nr_nodes -= DIR_NODES;
	kfree_rcu_mightsleep(dir);
}

/*
 * Remove nodes that are not needed any more, when all ranges of the change have
 * been committed, or none.
 */
void kvmi_access_settle(struct kvmi_access_change *change,
			const struct kvmi_gfn_range *range)
{
	struct kvmi_access_store *store = change->store;
	struct kvmi_gfn_range part;
	void *word;

	part.last = range->first - 1;
	do {
		part = part_of(range, part.last + 1, KVMI_DIR_SHIFT);
		word = dir_of(store, part.first);
		if (is_node(word))
			settle_dir(store, word, &part);
		else if (!word)
			xa_release(&store->top, part.first >> KVMI_DIR_SHIFT);
		cond_resched();
	} while (part.last != range->last);
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: reading and writing guest memory.
 *
 * The receiver shares the address space of the process that owns the VM, so
 * guest memory is accessed as user memory.
 */

#include <linux/kvm_host.h>
#include <linux/pagemap.h>
#include <linux/uaccess.h>

#include "arch.h"
#include "command.h"
#include "memory.h"
#include "memslots.h"
#include "session.h"
#include "vcpu_work.h"

/*
 * The write has to be recorded in the dirty ring of a vCPU; nothing was written
 */
#define NEEDS_VCPU	(KVMI_CLOSE + 1)

/* Bytes of guest memory that a command is about */
struct guest_range {
	/* Memslots of the address space, protected by kvm->srcu */
	struct kvm_memslots *slots;
	u64 gpa;
	/* Not 0 */
	size_t size;
	/* Generation of @slots */
	u32 cookie;
};

static int check_range(struct kvm_introspection *session, struct guest_range *range,
		       const struct kvmi_vm_read_physical *data, u16 flags,
		       size_t max)
{
	if (data->padding || data->flags & ~flags)
		return -KVM_EINVAL;
	if (data->as_id >= kvm_arch_nr_memslot_as_ids(session->kvm))
		return -KVM_EINVAL;
	if (!data->size || data->size > max ||
	    data->gpa + (data->size - 1) < data->gpa)
		return -KVM_EINVAL;
	if (!(data->flags & KVMI_MEM_COOKIE) &&
	    offset_in_page(data->gpa) + data->size > PAGE_SIZE)
		return -KVM_EINVAL;

	range->gpa = data->gpa;
	range->size = data->size;
	range->slots = __kvm_memslots(session->kvm, data->as_id);
	range->cookie = kvmi_memslots_cookie(session, range->slots);
	return 0;
}

/* Bytes from @gpa to the end of its page, at most @left. */
static size_t bytes_in_page(u64 gpa, size_t left)
{
	return min_t(size_t, left, PAGE_SIZE - offset_in_page(gpa));
}

static int read_range(const struct guest_range *range, u8 *to)
{
	u64 gpa = range->gpa;
	size_t left, n;

	for (left = range->size; left; left -= n, gpa += n, to += n) {
		struct kvm_memory_slot *slot;
		unsigned long hva;

		n = bytes_in_page(gpa, left);
		slot = kvmi_memslot(range->slots, gpa_to_gfn(gpa));
		hva = gfn_to_hva_memslot_prot(slot, gpa_to_gfn(gpa), NULL);
		if (kvm_is_error_hva(hva))
			return -KVM_ENOENT;
		if (copy_from_user(to, (void __user *)hva + offset_in_page(gpa), n))
			return -KVM_ENOENT;
	}

	return 0;
}

/*
 * Find the user address of a byte that is to be written, and the memslot that
 * tracks dirty pages.
 */
static int writable_page(const struct guest_range *range, u64 gpa,
			 struct kvm_memory_slot **slot, void __user **to)
{
	bool writable = false;
	unsigned long hva;

	*slot = kvmi_memslot(range->slots, gpa_to_gfn(gpa));
	hva = gfn_to_hva_memslot_prot(*slot, gpa_to_gfn(gpa), &writable);
	if (kvm_is_error_hva(hva) || !writable)
		return -KVM_ENOENT;
	*to = (void __user *)hva + offset_in_page(gpa);

	if (kvm_slot_dirty_track_enabled(*slot) && !(*slot)->dirty_bitmap &&
	    !kvm_get_running_vcpu())
		return NEEDS_VCPU;

	return 0;
}

/* Record a write in the memslot's bitmap or the vCPU's ring. */
static void mark_dirty(struct kvm *kvm, struct kvm_memory_slot *slot, u64 gpa)
{
	gfn_t gfn = gpa_to_gfn(gpa);

	if (slot->dirty_bitmap)
		set_bit_le(gfn - slot->base_gfn, slot->dirty_bitmap);
	else if (kvm_slot_dirty_track_enabled(slot))
		mark_page_dirty_in_slot(kvm, slot, gfn);
}

static int write_range(struct kvm *kvm, const struct guest_range *range,
		       const u8 *from)
{
	struct kvm_memory_slot *slot;
	void __user *to;
	size_t left, n;
	u64 gpa;
	int err;

	/* Nothing is written unless everything can be. */
	for (gpa = range->gpa, left = range->size; left; left -= n, gpa += n) {
		n = bytes_in_page(gpa, left);
		err = writable_page(range, gpa, &slot, &to);
		if (err)
			return err;
		if (fault_in_safe_writeable(to, n))
			return -KVM_ENOENT;
	}

	for (gpa = range->gpa, left = range->size; left; left -= n, gpa += n, from += n) {
		n = bytes_in_page(gpa, left);
		err = writable_page(range, gpa, &slot, &to);
		if (err)
			return err;
		err = copy_to_user(to, from, n);
		mark_dirty(kvm, slot, gpa);
		if (err)
			return -KVM_ENOENT;
	}

	return 0;
}

/*
 * Write the second @size bytes of @from if memory holds the first.  Being
 * aligned, they are within one page.
 */
static int exchange_range(struct kvm *kvm, const struct guest_range *range,
			  const u8 *from)
{
	struct kvm_memory_slot *slot;
	void __user *to;
	u64 old;
	int err;

	err = writable_page(range, range->gpa, &slot, &to);
	if (err)
		return err;

	memcpy(&old, from, range->size);
	err = kvmi_arch_try_cmpxchg_user(to, &old, from + range->size, range->size);
	if (err)
		return err < 0 ? -KVM_ENOENT : -KVM_EAGAIN;
	mark_dirty(kvm, slot, range->gpa);

	return 0;
}

int kvmi_vm_read_physical(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_read_physical *data = req->data;
	struct kvm *kvm = req->session->kvm;
	struct kvmi_mem_cookie *cookie = NULL;
	struct guest_range range;
	u8 *to = req->reply;
	size_t size = 0;
	int err;

	if (data->flags & KVMI_MEM_COOKIE) {
		cookie = req->reply;
		size = sizeof(*cookie);
	}

	guard(srcu)(&kvm->srcu);

	err = check_range(req->session, &range, data, KVMI_MEM_COOKIE,
			  KVMI_MAX_REPLY_DATA - size);
	if (err)
		return err;

	if (cookie)
		*cookie = (struct kvmi_mem_cookie) { .cookie = range.cookie };
	err = read_range(&range, to + size);
	if (err)
		return err;

	req->reply_size = size + range.size;
	return 0;
}

static int write_physical(const struct kvmi_vm_request *req)
{
	const struct kvmi_vm_write_physical *data = req->data;
	const struct kvmi_mem_cookie *cookie = NULL;
	bool compare = data->flags & KVMI_MEM_COMPARE;
	const u8 *from = data->data;
	struct kvm *kvm = req->session->kvm;
	struct guest_range range;
	size_t max, size;
	int err;

	/* The two requests start alike. */
	static_assert(sizeof(struct kvmi_vm_read_physical) ==
		      offsetof(struct kvmi_vm_write_physical, data));

	max = KVMI_MAX_MSG_SIZE - sizeof(*data);
	if (data->flags & KVMI_MEM_COOKIE) {
		cookie = (void *)data->data;
		from += sizeof(*cookie);
		max -= sizeof(*cookie);
	}

	guard(srcu)(&kvm->srcu);

	err = check_range(req->session, &range, req->data,
			  KVMI_MEM_COOKIE | KVMI_MEM_COMPARE, max);
	if (err)
		return err;
	if (compare && (range.size > sizeof(u64) || !is_power_of_2(range.size) ||
			!IS_ALIGNED(range.gpa, range.size)))
		return -KVM_EINVAL;

	size = compare ? 2 * range.size : range.size;
	if (req->size < from - (const u8 *)data + size)
		return KVMI_CLOSE;

	if (cookie && cookie->padding)
		return -KVM_EINVAL;
	if (cookie && cookie->cookie != range.cookie)
		return -KVM_EAGAIN;

	return compare ? exchange_range(kvm, &range, from) :
			 write_range(kvm, &range, from);
}

struct write_work {
	struct kvmi_vcpu_work work;
	const struct kvmi_vm_request *req;
};

static int run_write_work(struct kvmi_vcpu_work *work)
{
	return write_physical(container_of(work, struct write_work,
					   work)->req);
}

/* Memory that dirty rings track is written with a vCPU loaded. */
int kvmi_vm_write_physical(struct kvmi_vm_request *req)
{
	struct write_work write = {
		.work.fn = run_write_work,
		.req = req,
	};
	int err;

	err = write_physical(req);
	if (err == NEEDS_VCPU)
		err = kvmi_run_on_vcpu(req->session, &write.work);

	return err;
}

/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_HOOKS_EMULATOR_H
#define __KVMI_X86_HOOKS_EMULATOR_H

/* KVM introspection: the hooks for accesses of KVM's emulator. */

#include <linux/kvm_host.h>
#include <linux/kvmi_host.h>

#include <asm/kvmi_host.h>

void __kvmi_emulation_begin(struct kvm_vcpu *vcpu, int emulation_type);
int __kvmi_emulation_end(struct kvm_vcpu *vcpu, int r);
bool __kvmi_emulation_watched(struct kvm_vcpu *vcpu);
bool __kvmi_emulation_wanted(struct kvm_vcpu *vcpu);
bool __kvmi_emulated_input(struct kvm_vcpu *vcpu);
unsigned int __kvmi_read_ahead(struct kvm_vcpu *vcpu, unsigned int size,
			       unsigned int count);
bool __kvmi_emulation_failed(struct kvm_vcpu *vcpu);
bool __kvmi_emulated_fetch(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			   void *val, unsigned int bytes);
bool __kvmi_emulated_read(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			  bool system, void *val, unsigned int bytes);
bool __kvmi_emulated_write(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			   bool system, const void **val, unsigned int bytes);
bool __kvmi_emulated_write_again(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
				 const void *val);
const void *__kvmi_expected_memory(struct kvm_vcpu *vcpu, gva_t gva, const void *read);

/* KVM's emulator is about to emulate an instruction, or to continue with it. */
static inline void kvmi_emulation_begin(struct kvm_vcpu *vcpu, int emulation_type)
{
	if (kvmi_hooks_vcpu(vcpu))
		__kvmi_emulation_begin(vcpu, emulation_type);
}

/*
 * KVM's emulator has returned @r: report an access that has ended the
 * emulation.  May drop and retake the vCPU's SRCU lock.  Return what to return
 * to the run loop.
 */
static inline int kvmi_emulation_end(struct kvm_vcpu *vcpu, int r)
{
	if (kvmi_hooks_vcpu(vcpu))
		return __kvmi_emulation_end(vcpu, r);
	return r;
}

/*
 * Return true if the instruction is emulated on request of the tool or
 * introspection.
 */
static inline bool kvmi_emulation_wanted(struct kvm_vcpu *vcpu)
{
	return kvmi_hooks_vcpu(vcpu) && __kvmi_emulation_wanted(vcpu);
}

/* Return true if introspection checks each access of KVM's emulator. */
static inline bool kvmi_emulation_watched(struct kvm_vcpu *vcpu)
{
	return kvmi_hooks_vcpu(vcpu) && __kvmi_emulation_watched(vcpu);
}

/* Limit the bytes that KVM's emulator accesses at once. */
static inline unsigned int kvmi_emulated_bytes(struct kvm_vcpu *vcpu,
					       unsigned int bytes)
{
	return kvmi_emulation_watched(vcpu) && bytes > KVMI_MAX_EMULATED_BYTES ?
	       KVMI_MAX_EMULATED_BYTES : bytes;
}

/*
 * KVM does not implement the instruction.  Return false if it is emulated for
 * introspection, which handles that.
 */
static inline bool kvmi_emulation_failed(struct kvm_vcpu *vcpu)
{
	return !kvmi_hooks_vcpu(vcpu) || __kvmi_emulation_failed(vcpu);
}

/*
 * KVM's emulator has fetched @bytes within one page.  Replaced by what the
 * vCPU's view maps.  Return false to end the emulation as intercepted.
 */
static inline bool kvmi_emulated_fetch(struct kvm_vcpu *vcpu, gva_t gva,
				       gpa_t gpa, void *val, unsigned int bytes)
{
	return !kvmi_hooks_vcpu(vcpu) || __kvmi_emulated_fetch(vcpu, gva, gpa, val, bytes);
}

/*
 * KVM's emulator has read @bytes within one page, at most
 * kvmi_emulated_bytes(); @system: as the processor, e.g. a descriptor, whatever
 * the CPL.  Replaced by what the vCPU's view maps, or by the
 * tool.  May drop and retake the vCPU's SRCU lock.  Return false to end the
 * emulation as intercepted.
 */
static inline bool kvmi_emulated_read(struct kvm_vcpu *vcpu, gva_t gva,
				      gpa_t gpa, bool system, void *val,
				      unsigned int bytes)
{
	return !kvmi_hooks_vcpu(vcpu) || __kvmi_emulated_read(vcpu, gva, gpa, system, val, bytes);
}

/*
 * An instruction is about to read from a device, which must not be done in
 * vain: check what it will write to.  Return false to end the emulation as
 * intercepted.
 */
static inline bool kvmi_emulated_input(struct kvm_vcpu *vcpu)
{
	return !kvmi_hooks_vcpu(vcpu) || __kvmi_emulated_input(vcpu);
}

/* How many iterations of INS KVM's emulator may read ahead; one that restarts loses them. */
static inline unsigned int kvmi_read_ahead(struct kvm_vcpu *vcpu, unsigned int size,
					   unsigned int count)
{
	if (kvmi_hooks_vcpu(vcpu))
		return __kvmi_read_ahead(vcpu, size, count);
	return count;
}

/*
 * KVM's emulator is about to write @bytes to memory, within one page, at most
 * kvmi_emulated_bytes(); @system: as the processor, e.g. to a descriptor, whatever
 * the CPL.  *@val is set to other data if the tool replaces it, and to NULL if the
 * tool suppresses the write.  May drop and retake the vCPU's SRCU lock.  Return
 * false to end the emulation as intercepted.
 */
static inline bool kvmi_emulated_write(struct kvm_vcpu *vcpu, gva_t gva,
				       gpa_t gpa, bool system, const void **val,
				       unsigned int bytes)
{
	return !kvmi_emulation_watched(vcpu) ||
	       __kvmi_emulated_write(vcpu, gva, gpa, system, val, bytes);
}

/*
 * Check that what kvmi_emulated_write() has decided about a part of a write still
 * holds after it was called for another part.  @val: the bytes to be written.  The
 * vCPU's SRCU lock is held.  Return false to end the emulation as intercepted.
 */
static inline bool kvmi_emulated_write_again(struct kvm_vcpu *vcpu, gva_t gva,
					     gpa_t gpa, const void *val)
{
	return !kvmi_emulation_watched(vcpu) ||
	       __kvmi_emulated_write_again(vcpu, gva, gpa, val);
}

/*
 * What an atomic access expects in memory, at most 8 bytes, if the emulator has read
 * @read: the tool may have replaced that.
 */
static inline const void *kvmi_expected_memory(struct kvm_vcpu *vcpu, gva_t gva,
					       const void *read)
{
	return kvmi_emulation_watched(vcpu) ? __kvmi_expected_memory(vcpu, gva, read) : read;
}

#endif /* __KVMI_X86_HOOKS_EMULATOR_H */

// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmcsinfo-intel: publish where this processor keeps the fields of a VMCS in the
 * VMCS region.
 *
 * Only VMREAD knows that, and only on a processor of the same revision.  Whoever
 * has a memory dump of a host that crashed needs it to read the state of the
 * guests that ran, so it is found out while the host is healthy: a region is
 * filled with patterns, and VMREAD says which part of them each field is.
 *
 * See Documentation/ABI/testing/sysfs-devices-system-cpu-vmcs.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/cpu.h>
#include <linux/device.h>
#include <linux/elf.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include <asm/asm.h>
#include <asm/cpu_device_id.h>
#include <asm/mshyperv.h>
#include <asm/msr.h>
#include <asm/virt.h>
#include <asm/vmx.h>

#include "vmcsinfo.h"

/*
 * All fields that the SDM lists (volume 3, appendix "Field Encoding in VMCS"), by
 * width and type: the first and the last encoding.  What the SDM leaves out in
 * between is a field that does not exist.
 */
static const struct {
	u16 first, last;
} ranges[] = {
	{ 0x0000, 0x000a },	/* 16 bits: control */
	{ 0x0800, 0x0814 },	/*	    guest */
	{ 0x0c00, 0x0c0c },	/*	    host */
	{ 0x2000, 0x2052 },	/* 64 bits: control */
	{ 0x2400, 0x2404 },	/*	    read-only */
	{ 0x2800, 0x2830 },	/*	    guest */
	{ 0x2c00, 0x2c1a },	/*	    host */
	{ 0x4000, 0x4024 },	/* 32 bits: control */
	{ 0x4400, 0x440e },	/*	    read-only */
	{ 0x4800, 0x482e },	/*	    guest */
	{ 0x4c00, 0x4c00 },	/*	    host */
	{ 0x6000, 0x600e },	/* natural: control */
	{ 0x6400, 0x640a },	/*	    read-only */
	{ 0x6800, 0x682c },	/*	    guest */
	{ 0x6c00, 0x6c1c },	/*	    host */
};

struct vmcsinfo_file {
	struct device_attribute attr;
	char name[5];
	u16 offset;
};

/* With its end, padded as ELF wants it */
#define NAME_SIZE	ALIGN(sizeof(VMCSINFO_NOTE_NAME), 4)
/* VMPTRST when there is no current VMCS */
#define NO_VMCS		(~0ull)

static struct device *cpu_root;

/* One page: found by its name and its alignment in a dump of all memory */
static struct elf64_note *note;
static size_t note_size;
static struct vmcsinfo_header *header;
static struct vmcsinfo_field *fields;
static struct vmcsinfo_file *files;

static ssize_t vmcs_id_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "0x%x\n", header->revision);
}
static DEVICE_ATTR_RO(vmcs_id);

static ssize_t offset_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vmcsinfo_file *file = container_of(attr, struct vmcsinfo_file, attr);

	return sysfs_emit(buf, "0x%x\n", file->offset);
}

static ssize_t vmcs_note_read(struct file *file, struct kobject *kobj,
			      const struct bin_attribute *attr, char *buf, loff_t pos,
			      size_t size)
{
	return memory_read_from_buffer(buf, size, &pos, note, note_size);
}

static const BIN_ATTR_RO(vmcs_note, 0);

static struct attribute_group vmcs_group = { .name = "vmcs" };

/*
 * An instruction of VMX that fails sets CF or ZF; one that faults, as VMX has been
 * turned off on the way down, leaves @failed alone.
 */
#define vmx_insn(insn, output, input...)					\
({										\
	bool failed = true;							\
										\
	asm volatile("1: " insn "\n\tsetna %b[failed]\n2:\n"			\
		     _ASM_EXTABLE(1b, 2b)					\
		     : [failed] "+q"(failed), output : input : "cc", "memory");	\
	failed;									\
})

static bool vmcs_clear(u64 pa)
{
	return vmx_insn("vmclear %[pa]", [pa] "+m"(pa));
}

static bool vmcs_load(u64 pa)
{
	return vmx_insn("vmptrld %[pa]", [pa] "+m"(pa));
}

static bool vmcs_store(u64 *pa)
{
	return vmx_insn("vmptrst %[pa]", [pa] "+m"(*pa));
}

static bool vmcs_read(unsigned long encoding, u64 *value)
{
	return vmx_insn("vmread %[encoding], %[value]", [value] "+r"(*value),
			[encoding] "r"(encoding));
}

struct measurement {
	struct vmcsinfo_readings *readings;
	u64 *region;
	/* Two bits per field: the whole of it, and its upper half */
	unsigned long *exists;
};

/* Which fields there are; to ask for one that isn't writes to VM_INSTRUCTION_ERROR */
static void probe(struct measurement *m)
{
	unsigned int i;
	u64 value = 0;

	for (i = 0; i < header->nr_fields; i++) {
		__assign_bit(2 * i, m->exists, !vmcs_read(fields[i].encoding, &value));
		__assign_bit(2 * i + 1, m->exists,
			     vmcsinfo_has_high(fields[i].encoding) &&
			     !vmcs_read(fields[i].encoding | 1, &value));
	}
}

/* So that none of these fails, which would change the pattern */
static void read_fields(struct measurement *m, unsigned int pass)
{
	unsigned int bit;

	for_each_set_bit(bit, m->exists, 2 * header->nr_fields)
		vmcs_read(fields[bit / 2].encoding | (bit & 1),
			  &m->readings[bit / 2].part[bit & 1].value[pass]);
}

#define PROBE		VMCSINFO_NR_PASSES

/*
 * Interrupts are off: whatever else handles VMCSs on this CPU, KVM's IPIs included,
 * must find the VMCS current that it left so.
 */
static int read_pattern(struct measurement *m, unsigned int pass)
{
	const u64 region = __pa(m->region);
	u64 current_vmcs = NO_VMCS;
	int r = -EIO;

	/*
	 * The first VMCLEAR is for what the CPU may keep of a former pass, the
	 * second one makes a VMCS of the pattern.
	 */
	if (vmcs_store(&current_vmcs) || vmcs_clear(region))
		return -EIO;

	/* Any pattern will do to probe */
	vmcsinfo_fill(m->region, header->region_size, pass);
	if (!vmcs_clear(region) && !vmcs_load(region)) {
		if (pass == PROBE)
			probe(m);
		else
			read_fields(m, pass);
		if (!vmcs_clear(region))
			r = 0;
	}

	/* There may be none, and after VMCLEAR there is none */
	if (current_vmcs != NO_VMCS && vmcs_load(current_vmcs))
		r = -EIO;
	return r;
}

static int read_patterns(void *data)
{
	struct measurement *m = data;
	unsigned int pass;
	int r;

	/* KVM may or may not have VMs now, and either may change meanwhile */
	r = x86_virt_get_ref(X86_FEATURE_VMX);
	if (r)
		return r;

	local_irq_disable();
	r = read_pattern(m, PROBE);
	local_irq_enable();
	for (pass = 0; !r && pass < VMCSINFO_NR_PASSES; pass++) {
		local_irq_disable();
		r = read_pattern(m, pass);
		local_irq_enable();
	}

	x86_virt_put_ref(X86_FEATURE_VMX);
	return r;
}

/*
 * The layout goes by the revision, so a host whose CPUs differ has none.  A CPU
 * that comes online later and differs is of no interest, as KVM does without CPUs
 * whose IA32_VMX_BASIC isn't that of the others.
 */
static int check_revisions(u64 basic)
{
	int cpu, r;
	u64 other;

	for_each_online_cpu(cpu) {
		r = rdmsrq_safe_on_cpu(cpu, MSR_IA32_VMX_BASIC, &other);
		if (r)
			return r;
		if (vmx_basic_vmcs_revision_id(other) != vmx_basic_vmcs_revision_id(basic) ||
		    vmx_basic_vmcs_size(other) != vmx_basic_vmcs_size(basic)) {
			pr_info("the revisions of VMCSs differ between CPUs\n");
			return -ENODEV;
		}
	}
	return 0;
}

static bool using_enlightened_vmcs(void)
{
#if IS_ENABLED(CONFIG_HYPERV)
	return ms_hyperv.hints & HV_X64_ENLIGHTENED_VMCS_RECOMMENDED;
#else
	return false;
#endif
}

static int measure(void)
{
	struct measurement m = {};
	int r = -ENOMEM;

	m.region = (u64 *)get_zeroed_page(GFP_KERNEL);
	m.readings = kvcalloc(header->nr_fields, sizeof(*m.readings), GFP_KERNEL);
	m.exists = bitmap_zalloc(2 * header->nr_fields, GFP_KERNEL);
	if (m.region && m.readings && m.exists) {
		*(u32 *)m.region = header->revision;
		r = smp_call_on_cpu(raw_smp_processor_id(), read_patterns, &m, false);
	}
	if (!r && !vmcsinfo_decode(fields, m.readings, header->nr_fields, header->region_size)) {
		pr_info("the layout of the VMCS can't be decoded\n");
		r = -ENODEV;
	}
	bitmap_free(m.exists);
	kvfree(m.readings);
	free_page((unsigned long)m.region);
	return r;
}

static int make_note(u64 basic)
{
	unsigned int i, encoding, nr = 0;
	struct vmcsinfo_field *field;
	size_t size;

	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		nr += (ranges[i].last - ranges[i].first) / 2 + 1;

	/* The name is padded to 4 bytes, the rest needs none */
	size = sizeof(*header) + nr * sizeof(*fields);
	note_size = sizeof(*note) + NAME_SIZE + size;
	if (WARN_ON_ONCE(note_size > PAGE_SIZE))
		return -E2BIG;

	note = (void *)get_zeroed_page(GFP_KERNEL);
	if (!note)
		return -ENOMEM;

	note->n_namesz = sizeof(VMCSINFO_NOTE_NAME);
	note->n_descsz = size;
	note->n_type = VMCSINFO_NOTE_TYPE;
	memcpy(note + 1, VMCSINFO_NOTE_NAME, sizeof(VMCSINFO_NOTE_NAME));

	header = (void *)(note + 1) + NAME_SIZE;
	header->version = VMCSINFO_VERSION;
	header->revision = vmx_basic_vmcs_revision_id(basic);
	header->region_size = vmx_basic_vmcs_size(basic);
	header->nr_fields = nr;

	fields = (void *)(header + 1);
	field = fields;
	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		for (encoding = ranges[i].first; encoding <= ranges[i].last; encoding += 2)
			(field++)->encoding = encoding;
	}
	return 0;
}

static int make_files(void)
{
	const unsigned int nr = header->nr_fields;
	unsigned int i;

	files = kcalloc(nr, sizeof(*files), GFP_KERNEL);
	vmcs_group.attrs = kcalloc(nr + 1, sizeof(*vmcs_group.attrs), GFP_KERNEL);
	if (!files || !vmcs_group.attrs)
		return -ENOMEM;

	for (i = 0; i < nr; i++) {
		struct device_attribute *attr = &files[i].attr;

		snprintf(files[i].name, sizeof(files[i].name), "%04x", fields[i].encoding);
		files[i].offset = fields[i].offset;
		sysfs_attr_init(&attr->attr);
		attr->attr.name = files[i].name;
		attr->attr.mode = 0444;
		attr->show = offset_show;
		vmcs_group.attrs[i] = &attr->attr;
	}
	return 0;
}

static void free_all(void)
{
	kfree(vmcs_group.attrs);
	kfree(files);
	free_page((unsigned long)note);
}

static int publish(void)
{
	int r;

	cpu_root = bus_get_dev_root(&cpu_subsys);
	if (!cpu_root)
		return -ENODEV;

	r = device_create_file(cpu_root, &dev_attr_vmcs_id);
	if (r)
		goto put;
	r = device_create_bin_file(cpu_root, &bin_attr_vmcs_note);
	if (r)
		goto remove_id;
	r = device_add_group(cpu_root, &vmcs_group);
	if (r)
		goto remove_note;
	return 0;

remove_note:
	device_remove_bin_file(cpu_root, &bin_attr_vmcs_note);
remove_id:
	device_remove_file(cpu_root, &dev_attr_vmcs_id);
put:
	put_device(cpu_root);
	return r;
}

static const struct x86_cpu_id vmcsinfo_cpus[] = {
	X86_MATCH_FEATURE(X86_FEATURE_VMX, NULL),
	{}
};
MODULE_DEVICE_TABLE(x86cpu, vmcsinfo_cpus);

static int __init vmcsinfo_init(void)
{
	u64 basic;
	int r;

	if (!x86_match_cpu(vmcsinfo_cpus))
		return -ENODEV;

	if (using_enlightened_vmcs()) {
		pr_info("Hyper-V keeps VMCSs in a form of its own\n");
		return -ENODEV;
	}

	cpus_read_lock();
	r = rdmsrq_safe(MSR_IA32_VMX_BASIC, &basic);
	if (!r)
		r = check_revisions(basic);
	if (!r)
		r = make_note(basic);
	if (!r)
		r = measure();
	cpus_read_unlock();
	if (!r)
		r = make_files();
	if (!r)
		r = publish();
	if (r)
		free_all();
	return r;
}

static void __exit vmcsinfo_exit(void)
{
	device_remove_group(cpu_root, &vmcs_group);
	device_remove_bin_file(cpu_root, &bin_attr_vmcs_note);
	device_remove_file(cpu_root, &dev_attr_vmcs_id);
	put_device(cpu_root);
	free_all();
}

module_init(vmcsinfo_init);
module_exit(vmcsinfo_exit);
MODULE_DESCRIPTION("Offsets of the fields of a VMCS in the VMCS region");
MODULE_LICENSE("GPL");

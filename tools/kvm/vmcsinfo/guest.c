// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which VMCSs are those of one guest.  A VMCS is found by its looks, and a guest can
 * write into its memory what looks so, as can a program on the host.  With the types
 * of the host there is more to go by: which vCPU has it, of which VM, and that neither
 * is in memory that a guest has.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

#define PAGE	4096ull

/* A page that no guest has */
struct host_page {
	uint64_t physical;
	struct vmcs *vmcs;
};

struct owners {
	struct host_page *pages;
	size_t nr;
	const char *doubt;
};

static int compare_page(const void *a, const void *b)
{
	const struct host_page *x = a, *y = b;

	return x->physical < y->physical ? -1 : x->physical > y->physical;
}

static int compare_eptp(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Sort, and drop what is there twice */
static size_t unique(uint64_t *eptps, size_t nr)
{
	size_t i, n = 0;

	qsort(eptps, nr, sizeof(*eptps), compare_eptp);
	for (i = 0; i < nr; i++) {
		if (!n || eptps[n - 1] != eptps[i])
			eptps[n++] = eptps[i];
	}
	return n;
}

static void find_host_pages(void *arg, uint64_t guest, uint64_t host, uint64_t size)
{
	struct owners *o = arg;
	size_t low = 0, high = o->nr, i;

	(void)guest;
	while (low < high) {
		i = low + (high - low) / 2;
		if (o->pages[i].physical < host)
			low = i + 1;
		else
			high = i;
	}
	for (; low < o->nr && o->pages[low].physical - host < size; low++)
		o->pages[low].vmcs->doubt = o->doubt;
}

void vmcs_check_owner(const struct dump *d, const struct types *t, struct vmcs *v, size_t nr)
{
	const size_t max_pages = t->size / PAGE + 3;
	struct owners o = { .doubt = "it, or what seems its vCPU, is in the memory of a guest" };
	uint64_t *eptps = allocate(nr, sizeof(*eptps)), page, tables = 0;
	size_t i, nr_eptps = 0, believed = 0;
	const char *error = NULL;
	struct ept ept;

	for (i = 0; i < nr; i++)
		believed += !!v[i].vcpu;
	o.pages = allocate(believed, max_pages * sizeof(*o.pages));
	for (i = 0; i < nr; i++) {
		if (!v[i].vcpu)
			continue;
		o.pages[o.nr++] = (struct host_page) { v[i].physical, &v[i] };
		for (page = v[i].vcpu & ~(PAGE - 1); page < v[i].vcpu + t->size; page += PAGE)
			o.pages[o.nr++] = (struct host_page) { page, &v[i] };
		/* Even if it is doubtful: a guest can make its own so, not to be heard */
		if (v[i].has_root)
			eptps[nr_eptps++] = v[i].eptp;
	}
	qsort(o.pages, o.nr, sizeof(*o.pages), compare_page);
	nr_eptps = unique(eptps, nr_eptps);
	for (i = 0; i < nr_eptps && !error; i++) {
		error = ept_walk(d, eptps[i], &ept, find_host_pages, &o);
		tables += ept.tables;
		if (tables > d->memory / PAGE)
			error = "guests have more tables of EPT than there is memory";
	}
	/* What was not looked at could say of any that it is a guest's */
	if (error)
		warn("%s: %s: all VMCSs are doubtful", d->name, error);
	for (i = 0; error && i < nr; i++) {
		if (!v[i].doubt)
			v[i].doubt = "whether it is in the memory of a guest is not known";
	}
	free(o.pages);
	free(eptps);
}

static int compare_vmcs(const void *a, const void *b)
{
	const struct vmcs *x = a, *y = b;

	return x->physical < y->physical ? -1 : x->physical > y->physical;
}

static struct vmcs *vmcs_at(struct vmcs *v, size_t nr, uint64_t physical)
{
	const struct vmcs key = { .physical = physical };

	return nr ? bsearch(&key, v, nr, sizeof(*v), compare_vmcs) : NULL;
}

/* Those that were named */
static struct vmcs *read_named(const struct dump *d, const struct layout *l,
			       const uint64_t *addresses, size_t nr, bool force)
{
	struct vmcs *v = allocate(nr, sizeof(*v));
	uint8_t region[PAGE];
	const char *why;
	size_t i;

	for (i = 0; i < nr; i++) {
		if (!vmcs_read(d, addresses[i], region))
			die("0x%" PRIx64 " is not in the dump", addresses[i]);
		vmcs_set(&v[i], l, addresses[i], region);
		if (!v[i].eptp)
			die("0x%" PRIx64 ": it has no EPT", addresses[i]);
		if (vmcs_plausible(l, region, &why))
			continue;
		if (!force)
			die("0x%" PRIx64 ": that may be no VMCS of a VM: %s (or use -f)",
			    addresses[i], why);
		warn("0x%" PRIx64 ": that may be no VMCS of a VM: %s", addresses[i], why);
	}
	return v;
}

/* What was named and is not among those that were found */
static struct vmcs *add_named(struct vmcs *all, size_t *nr_all, const struct vmcs *v, size_t nr)
{
	const size_t found = *nr_all;
	size_t i;

	all = realloc(all, (found + nr) * sizeof(*all));
	if (!all)
		die("out of memory");
	for (i = 0; i < nr; i++) {
		if (!vmcs_at(all, found, v[i].physical))
			all[(*nr_all)++] = v[i];
	}
	qsort(all, *nr_all, sizeof(*all), compare_vmcs);
	return all;
}

/* What KVM keeps for the VM; if that is nothing, what the VMCSs have */
static void find_eptps(struct guest *g, const struct dump *d, const struct types *t,
		       const struct vmcs *all, size_t nr_all, bool force)
{
	struct vcpu vcpu;
	size_t i, n = 0;

	g->eptps = allocate(g->nr + nr_all, sizeof(*g->eptps));
	for (i = 0; i < g->nr; i++) {
		if (g->vcpus[i].has_root)
			g->eptps[n++] = g->vmcs[i].eptp;
	}
	for (i = 0; t && !force && i < nr_all; i++) {
		if (all[i].doubt)
			continue;
		vcpu_read(d, t, &all[i], &vcpu);
		if (vcpu.known && vcpu.has_root && vcpu.kvm == g->vcpus[0].kvm)
			g->eptps[n++] = all[i].eptp;
	}
	if (!n && t && !force)
		die("KVM keeps no EPT for its vCPUs at the moment (or use -f: that of the VMCSs)");
	for (i = 0; !n && i < g->nr; i++)
		g->eptps[i] = g->vmcs[i].eptp;
	g->nr_eptps = unique(g->eptps, n ? n : g->nr);
}

/* By the number of the vCPU, which is the guest's CPU */
static void sort_vcpus(struct guest *g)
{
	size_t i, j;

	for (i = 1; i < g->nr; i++) {
		for (j = i; j && g->vcpus[j].known && g->vcpus[j - 1].known; j--) {
			const struct vcpu c = g->vcpus[j];
			const struct vmcs v = g->vmcs[j];

			if (c.id >= g->vcpus[j - 1].id)
				break;
			g->vcpus[j] = g->vcpus[j - 1];
			g->vcpus[j - 1] = c;
			g->vmcs[j] = g->vmcs[j - 1];
			g->vmcs[j - 1] = v;
		}
	}
}

void guest_select(struct guest *g, struct dump *d, const struct layout *l,
		  const struct types *t, const uint64_t *addresses, size_t nr, bool force)
{
	struct vmcs *all = NULL, *v = NULL;
	size_t i, nr_all = 0, doubted = 0;

	*g = (struct guest) {};
	if (nr)
		v = read_named(d, l, addresses, nr, force);
	/* With types, all are of interest for what they have in common with those */
	if (!nr || t)
		all = vmcs_find(d, l, &nr_all);
	if (nr)
		all = add_named(all, &nr_all, v, nr);
	if (t) {
		vcpus_find(d, t, all, nr_all);
		vmcs_check_owner(d, t, all, nr_all);
	}
	if (!nr) {
		v = allocate(nr_all, sizeof(*v));
		for (i = 0; i < nr_all; i++) {
			if (all[i].eptp && all[i].doubt)
				doubted++;
			else if (all[i].eptp)
				v[nr++] = all[i];
		}
		if (!nr && doubted)
			die("%s: all VMCSs in it are doubtful (see \"find -t\")", d->name);
		if (!nr)
			die("%s: there is no VMCS of a guest with EPT in it", d->name);
		force = false;
		addresses = NULL;
	}

	g->nr = nr;
	g->vmcs = v;
	g->vcpus = allocate(nr, sizeof(*g->vcpus));
	for (i = 0; i < nr; i++) {
		if (addresses)
			v[i] = *vmcs_at(all, nr_all, v[i].physical);
		if (v[i].doubt && !force)
			die("0x%" PRIx64 ": %s (or use -f)", v[i].physical, v[i].doubt);
		if (v[i].doubt)
			warn("0x%" PRIx64 ": %s", v[i].physical, v[i].doubt);
		if (t)
			vcpu_read(d, t, &v[i], &g->vcpus[i]);
		/* Of one guest by its VM if that is known, else by the EPTP */
		if (force || (t ? g->vcpus[i].kvm == g->vcpus[0].kvm : v[i].eptp == v[0].eptp))
			continue;
		if (!addresses && t)
			die("%s: there are several guests in it: name the VMCSs of one", d->name);
		if (!addresses)
			die("%s: there are several guests in it, or EPTs: use -t, or name VMCSs",
			    d->name);
		die("0x%" PRIx64 ": it %s than 0x%" PRIx64 " (or use -f)", v[i].physical,
		    t ? "is of another guest" : "has another EPT", v[0].physical);
	}
	if (!t)
		warn("without -t general registers are zero, and a guest may have made up a VMCS");
	for (i = 0; t && i < nr; i++) {
		if (!g->vcpus[i].known)
			warn("0x%" PRIx64 ": its general registers are not known, and zero",
			     v[i].physical);
		else if (g->vcpus[i].nested)
			warn("vCPU %u runs a guest of this guest: its general registers are zero",
			     g->vcpus[i].id);
	}
	find_eptps(g, d, t, all, nr_all, force);
	sort_vcpus(g);
	free(all);
}

void guest_free(struct guest *g)
{
	free(g->vmcs);
	free(g->vcpus);
	free(g->eptps);
}

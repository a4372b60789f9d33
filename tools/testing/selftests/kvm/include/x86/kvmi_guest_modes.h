/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM introspection: the fixture of tests that run in every mode of the guest.
 *
 * To be included once by a test program, after it has defined
 *	KVMI_GUEST_FIXTURE	name of the fixture
 * FIXTURE_SETUP() is the program's, and calls kvmi_guest_create(variant->mode).
 */
#ifndef SELFTEST_KVM_KVMI_GUEST_MODES_H
#define SELFTEST_KVM_KVMI_GUEST_MODES_H

#include "kvmi_guest.h"

KVMI_FIXTURE(KVMI_GUEST_FIXTURE) {
	struct kvmi_guest g;
};

KVMI_FIXTURE_VARIANT(KVMI_GUEST_FIXTURE) {
	enum kvmi_guest_mode mode;
};

KVMI_FIXTURE_VARIANT_ADD(KVMI_GUEST_FIXTURE, real) {
	.mode = KVMI_GUEST_REAL,
};

KVMI_FIXTURE_VARIANT_ADD(KVMI_GUEST_FIXTURE, prot) {
	.mode = KVMI_GUEST_PROT,
};

KVMI_FIXTURE_VARIANT_ADD(KVMI_GUEST_FIXTURE, prot_user) {
	.mode = KVMI_GUEST_PROT_USER,
};

KVMI_FIXTURE_VARIANT_ADD(KVMI_GUEST_FIXTURE, compat_user) {
	.mode = KVMI_GUEST_COMPAT_USER,
};

KVMI_FIXTURE_VARIANT_ADD(KVMI_GUEST_FIXTURE, long) {
	.mode = KVMI_GUEST_LONG,
};

KVMI_FIXTURE_VARIANT_ADD(KVMI_GUEST_FIXTURE, long_user) {
	.mode = KVMI_GUEST_LONG_USER,
};

KVMI_FIXTURE_TEARDOWN(KVMI_GUEST_FIXTURE)
{
	kvmi_guest_free(&self->g);
}

#endif /* SELFTEST_KVM_KVMI_GUEST_MODES_H */

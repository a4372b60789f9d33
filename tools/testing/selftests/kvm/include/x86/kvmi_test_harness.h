/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Macros for tests of KVM introspection
 */
#ifndef SELFTEST_KVM_KVMI_TEST_HARNESS_H
#define SELFTEST_KVM_KVMI_TEST_HARNESS_H

#include "kvm_test_harness.h"
#include "kvmi_util.h"

#define KVMI_TEST(suite, test)	TEST_F_TIMEOUT(suite, test, KVMI_TEST_TIMEOUT)

/* The same as without KVMI_, for a fixture whose name is a macro's value */
#define KVMI_FIXTURE(name)			FIXTURE(name)
#define KVMI_FIXTURE_VARIANT(name)		FIXTURE_VARIANT(name)
#define KVMI_FIXTURE_VARIANT_ADD(name, variant)	FIXTURE_VARIANT_ADD(name, variant)
#define KVMI_FIXTURE_TEARDOWN(name)		FIXTURE_TEARDOWN(name)

#endif /* SELFTEST_KVM_KVMI_TEST_HARNESS_H */

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Macros for tests of KVM introspection
 */
#ifndef SELFTEST_KVM_KVMI_TEST_HARNESS_H
#define SELFTEST_KVM_KVMI_TEST_HARNESS_H

#include "kvm_test_harness.h"
#include "kvmi_util.h"

#define KVMI_TEST(suite, test)	TEST_F_TIMEOUT(suite, test, KVMI_TEST_TIMEOUT)

#endif /* SELFTEST_KVM_KVMI_TEST_HARNESS_H */

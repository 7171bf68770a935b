/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test.h - the whole unit test framework.
 *
 * CHECK* count and report; TEST_END prints "N passed, N failed" for the
 * program and gives its exit status.  A test program is:
 *   int main(void) { check_this(); check_that(); TEST_END(); }
 */
#ifndef CAB_TESTS_TEST_H
#define CAB_TESTS_TEST_H
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_passed, test_failed;

#define CHECK(c)                                                            \
    ((c) ? (void)test_passed++                                              \
         : (test_failed++,                                                  \
            (void)fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #c)))
#define CHECK_EQ(a, b)                                                      \
    do {                                                                    \
        long long va_ = (long long)(a), vb_ = (long long)(b);               \
        if (va_ == vb_) {                                                   \
            test_passed++;                                                  \
        } else {                                                            \
            test_failed++;                                                  \
            fprintf(stderr, "%s:%d: %s = %lld, expected %s = %lld\n",       \
                    __FILE__, __LINE__, #a, va_, #b, vb_);                  \
        }                                                                   \
    } while (0)
#define CHECK_STR(a, b)                                                     \
    do {                                                                    \
        const char *sa_ = (a), *sb_ = (b);                                  \
        if (sa_ && sb_ && !strcmp(sa_, sb_)) {                              \
            test_passed++;                                                  \
        } else {                                                            \
            test_failed++;                                                  \
            fprintf(stderr, "%s:%d: %s:\n  got      %s\n  expected %s\n",   \
                    __FILE__, __LINE__, #a, sa_ ? sa_ : "(null)",           \
                    sb_ ? sb_ : "(null)");                                  \
        }                                                                   \
    } while (0)
#define TEST_END()                                                          \
    do {                                                                    \
        fprintf(stderr, "%s: %d passed, %d failed\n", __FILE__,             \
                test_passed, test_failed);                                  \
        return test_failed ? EXIT_FAILURE : EXIT_SUCCESS;                   \
    } while (0)

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_bytes.c - the server's byte buffer.
 */
#include "serve/bytes.h"
#include "tests/test.h"

static void check_text(void)
{
    cab_bytes b = { 0 };
    cab_bytes_str(&b, "one");
    cab_bytes_char(&b, ' ');
    cab_bytes_printf(&b, "%d", 2);
    CHECK_STR(cab_bytes_cstr(&b), "one 2");
    CHECK_EQ(b.n, 5);
    cab_bytes_clear(&b);
    for (int i = 0; i < 1000; i++)
        cab_bytes_slice(&b, CAB_SLICE("abc"));
    CHECK_EQ(b.n, 3000);
    cab_bytes_printf(&b, "%*d", 1000, 7);       /* longer than the room on the stack */
    CHECK_EQ(b.n, 4000);
    CHECK(!b.failed && b.p[3999] == '7' && b.p[3000] == ' ');
    cab_bytes_fini(&b);
}

static void check_limit(void)
{
    cab_bytes b = { .limit = 10 };
    cab_bytes_str(&b, "0123456789");
    CHECK(!b.failed);
    cab_bytes_char(&b, 'x');
    CHECK(b.failed);
    cab_bytes_clear(&b);
    cab_bytes_str(&b, "y");
    CHECK(!b.failed && b.n == 1);
    CHECK(!cab_bytes_room(&b, (size_t)-1) && b.failed);
    cab_bytes_fini(&b);
}

int main(void)
{
    check_text();
    check_limit();
    TEST_END();
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_flate.c - gzip and deflate in pieces: what comes back, limits, streams that are none; weights of codings.
 */
#include <zlib.h>
#include "serve/http/flate.h"
#include "tests/test.h"

typedef struct asked { size_t all, most; int times; } asked;

static bool count(void *user, size_t n)
{
    asked *a = user;
    a->times++;
    a->all += n;
    return !a->most || a->all <= a->most;
}

static cab_slice of(const cab_bytes *b)
{
    return (cab_slice){ b->p, b->n };
}

static cab_flated open_it(cab_coding c, cab_slice in, size_t most, cab_bytes *out)
{
    asked a = { 0 };
    cab_bytes_clear(out);
    cab_flated got = cab_inflate(c, in, most, out, count, &a);
    CHECK(out->n <= most && a.all == out->n);
    return got;
}

/* zlib's own at another level, without our windows. */
static void pack(cab_coding c, cab_slice in, cab_bytes *out)
{
    z_stream z = { 0 };
    CHECK_EQ(deflateInit2(&z, 9, Z_DEFLATED, c == CAB_CODING_GZIP ? 31 : 15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t n = deflateBound(&z, in.n);
    char *to = cab_bytes_room(out, n);
    z.next_in = (Bytef *)(uintptr_t)in.p;
    z.avail_in = (uInt)in.n;
    z.next_out = (Bytef *)to;
    z.avail_out = (uInt)n;
    CHECK_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
    cab_bytes_wrote(out, n - z.avail_out);
    deflateEnd(&z);
}

/* Text of n bytes that has something to find in it. */
static void fill(cab_bytes *b, size_t n)
{
    unsigned seed = 1;
    cab_bytes_clear(b);
    while (b->n < n) {
        seed = seed * 1664525u + 1013904223u;
        cab_bytes_printf(b, "%u,", seed >> 20);
    }
    b->n = n;
}

static void check_back(cab_coding c)
{
    static const size_t sizes[] = { 0, 1, 300, 1023, 1024, 65535, 65536, 65537, 262144, 1000000 };
    cab_bytes text = { 0 }, small = { 0 }, back = { 0 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        asked a = { 0 };
        fill(&text, sizes[i]);
        cab_bytes_clear(&small);
        pack(c, of(&text), &small);
        CHECK_EQ(open_it(c, of(&small), sizes[i], &back), CAB_FLATED);
        CHECK(back.n == text.n && (!text.n || !memcmp(back.p, text.p, text.n)));
        cab_bytes_clear(&small);
        bool packed = cab_deflate(c, of(&text), &small, count, &a);
        CHECK(packed == (sizes[i] >= 300));
        CHECK(!packed || small.n < text.n);
        if (!packed)
            continue;
        CHECK_EQ(open_it(c, of(&small), sizes[i], &back), CAB_FLATED);
        CHECK(back.n == text.n && !memcmp(back.p, text.p, text.n));
        CHECK_EQ(open_it(c, of(&small), sizes[i] - 1, &back), CAB_FLATE_OVER);
    }
    cab_bytes_fini(&text);
    cab_bytes_fini(&small);
    cab_bytes_fini(&back);
}

/* Every cut, and every byte changed, of a stream. */
static void check_broken(cab_coding c)
{
    cab_bytes text = { 0 }, small = { 0 }, back = { 0 };
    fill(&text, 500);
    pack(c, of(&text), &small);
    for (size_t n = 1; n < small.n; n++)
        CHECK_EQ(open_it(c, (cab_slice){ small.p, n }, 1 << 20, &back), CAB_FLATE_SHORT);
    for (size_t i = 0; i < small.n; i++) {
        small.p[i] ^= 0x55;
        cab_flated got = open_it(c, of(&small), 1 << 20, &back);
        bool head = c == CAB_CODING_GZIP && i >= 4 && i < 10;          /* time, system: nobody looks at them */
        CHECK(head || got == CAB_FLATE_BROKEN || got == CAB_FLATE_SHORT);
        small.p[i] ^= 0x55;
    }
    cab_coding other = c == CAB_CODING_GZIP ? CAB_CODING_DEFLATE : CAB_CODING_GZIP;
    CHECK_EQ(open_it(other, of(&small), 1 << 20, &back), CAB_FLATE_BROKEN);
    CHECK_EQ(open_it(c, of(&text), 1 << 20, &back), CAB_FLATE_BROKEN);
    cab_bytes_char(&small, 'x');
    CHECK(open_it(c, of(&small), 1 << 20, &back) != CAB_FLATED);
    cab_bytes_fini(&text);
    cab_bytes_fini(&small);
    cab_bytes_fini(&back);
}

/* Members one behind the other are one text in gzip, and none in deflate. */
static void check_members(void)
{
    cab_bytes many = { 0 }, back = { 0 };
    pack(CAB_CODING_GZIP, CAB_SLICE("one "), &many);
    pack(CAB_CODING_GZIP, CAB_SLICE(""), &many);
    pack(CAB_CODING_GZIP, CAB_SLICE("two"), &many);
    CHECK_EQ(open_it(CAB_CODING_GZIP, of(&many), 100, &back), CAB_FLATED);
    CHECK_STR(cab_bytes_cstr(&back), "one two");
    CHECK_EQ(open_it(CAB_CODING_GZIP, of(&many), 6, &back), CAB_FLATE_OVER);
    CHECK_EQ(open_it(CAB_CODING_GZIP, (cab_slice){ many.p, many.n - 3 }, 100, &back), CAB_FLATE_SHORT);
    cab_bytes_clear(&many);
    pack(CAB_CODING_DEFLATE, CAB_SLICE("one"), &many);
    pack(CAB_CODING_DEFLATE, CAB_SLICE("two"), &many);
    CHECK_EQ(open_it(CAB_CODING_DEFLATE, of(&many), 100, &back), CAB_FLATE_BROKEN);
    cab_bytes_fini(&many);
    cab_bytes_fini(&back);
}

/* 16 MB of zeros in 16 KB: the limit, and whoever is asked, hold after a piece. */
static void check_bomb(void)
{
    cab_bytes zeros = { 0 }, bomb = { 0 }, back = { 0 };
    const size_t n = (size_t)16 << 20;
    memset(cab_bytes_room(&zeros, n), 0, n);
    cab_bytes_wrote(&zeros, n);
    pack(CAB_CODING_GZIP, of(&zeros), &bomb);
    CHECK(bomb.n < n / 900);
    CHECK_EQ(open_it(CAB_CODING_GZIP, of(&bomb), 1 << 20, &back), CAB_FLATE_OVER);
    cab_bytes_fini(&back);
    asked a = { .most = 1 << 20 };
    CHECK_EQ(cab_inflate(CAB_CODING_GZIP, of(&bomb), n, &back, count, &a), CAB_FLATE_STOPPED);
    CHECK(back.n <= (1 << 20) + (64 << 10) && back.cap <= 4 << 20);
    cab_bytes_fini(&back);
    back.limit = 100000;               /* as memory that has run out */
    a = (asked){ 0 };
    CHECK_EQ(cab_inflate(CAB_CODING_GZIP, of(&bomb), n, &back, count, &a), CAB_FLATE_MEMORY);
    cab_bytes_fini(&zeros);
    cab_bytes_fini(&bomb);
    cab_bytes_fini(&back);
}

/* Noise is sent as it is, and that is known early. */
static void check_noise(void)
{
    cab_bytes noise = { 0 }, out = { 0 };
    unsigned seed = 7;
    asked a = { 0 };
    for (int i = 0; i < 4 << 20; i++) {
        seed = seed * 1664525u + 1013904223u;
        cab_bytes_char(&noise, (char)(seed >> 24));
    }
    CHECK(!cab_deflate(CAB_CODING_GZIP, of(&noise), &out, count, &a));
    CHECK(out.n < 1 << 20);
    cab_bytes_fini(&out);
    a = (asked){ .most = 1 };
    CHECK(!cab_deflate(CAB_CODING_GZIP, (cab_slice){ noise.p, 0 }, &out, count, &a));
    cab_bytes_fini(&noise);
    cab_bytes_fini(&out);
}

static cab_coding best(const char *field)
{
    cab_accepts a;
    cab_accepts_init(&a);
    cab_accepts_read(&a, cab_slice_of(field));
    return cab_accepts_best(&a);
}

static void check_accepts(void)
{
    static const struct { const char *field; cab_coding want; } rows[] = {
        { "", CAB_CODING_NONE }, { "identity", CAB_CODING_NONE }, { "gzip", CAB_CODING_GZIP }, { "GZip", CAB_CODING_GZIP },
        { "x-gzip", CAB_CODING_GZIP }, { "deflate", CAB_CODING_DEFLATE }, { "gzip, deflate", CAB_CODING_GZIP },
        { "deflate, gzip", CAB_CODING_GZIP }, { "gzip;q=0.5,deflate;q=0.6", CAB_CODING_DEFLATE },
        { "gzip ; q=0.001", CAB_CODING_GZIP }, { "gzip;q=0", CAB_CODING_NONE }, { "gzip;q=0.000, deflate", CAB_CODING_DEFLATE },
        { "br, zstd", CAB_CODING_NONE }, { "br;q=1, gzip;q=0.2", CAB_CODING_GZIP }, { "*", CAB_CODING_GZIP },
        { "*;q=0", CAB_CODING_NONE }, { "gzip;q=0, *", CAB_CODING_DEFLATE }, { "*;q=0, deflate", CAB_CODING_DEFLATE },
        { "identity, gzip;q=0.5", CAB_CODING_NONE }, { "identity;q=0.5, gzip;q=0.5", CAB_CODING_GZIP },
        { "identity;q=0, gzip;q=0.1", CAB_CODING_GZIP }, { "gzip;q=1.000", CAB_CODING_GZIP }, { "gzip;q=2", CAB_CODING_NONE },
        { "gzip;q=1.001", CAB_CODING_NONE }, { "gzip;q=", CAB_CODING_NONE }, { "gzip;q=0.1234", CAB_CODING_NONE },
        { "gzip;level=9", CAB_CODING_NONE }, { ",,gzip,,", CAB_CODING_GZIP }, { "gzipped", CAB_CODING_NONE }, { ";q=1", CAB_CODING_NONE },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        CHECK_EQ(best(rows[i].field), rows[i].want);
    CHECK_EQ(cab_coding_of(CAB_SLICE("br")), CAB_CODING_UNKNOWN);
    CHECK_EQ(cab_coding_of(CAB_SLICE("gzip, gzip")), CAB_CODING_UNKNOWN);
    CHECK_EQ(cab_coding_of((cab_slice){ NULL, 0 }), CAB_CODING_NONE);
    CHECK_STR(cab_coding_name(CAB_CODING_GZIP), "gzip");
    CHECK_STR(cab_coding_name(CAB_CODING_DEFLATE), "deflate");
}

int main(void)
{
    for (cab_coding c = CAB_CODING_GZIP; c <= CAB_CODING_DEFLATE; c++) {
        check_back(c);
        check_broken(c);
    }
    check_members();
    check_bomb();
    check_noise();
    check_accepts();
    TEST_END();
}

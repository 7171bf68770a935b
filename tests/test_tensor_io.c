/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tensor_io.c - tensors, sequences and optionals to files and back, and
 * numpy's files.
 */
#include <unistd.h>
#include "frontend/frontend.h"
#include "tests/test.h"
#include "tests/wire.h"

static char path[64];
static cab_arena *arena;

static void write_file(const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");

    CHECK(f && fwrite(p, 1, n, f) == n);
    if (f)
        fclose(f);
}

static bool same(const cab_tensor *a, const cab_tensor *b)
{
    uint64_t bytes;

    if (a->dtype != b->dtype || a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++) {
        if (a->dims[i] != b->dims[i])
            return false;
    }
    return cab_dtype_bytes(a->dtype, (uint64_t)cab_tensor_numel(a), &bytes)
        && !memcmp(a->data, b->data, (size_t)bytes);
}

/* Every dtype with bytes survives; .npy where numpy has it. */
static void check_dtypes(void)
{
    unsigned char bytes[16 * 15];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 37);
    for (int dt = 1; dt < CAB_DT_COUNT; dt++) {
        cab_tensor t = { .dtype = (cab_dtype)dt, .rank = 3,
                         .dims = { 3, 1, 5 }, .data = bytes }, back;

        if (dt == CAB_DT_str)
            continue;
        CHECK_EQ(cab_tensor_write_pb(arena, path, "t", &t, NULL), CAB_OK);
        CHECK_EQ(cab_tensor_read(arena, path, &back, NULL), CAB_OK);
        CHECK(same(&t, &back));
        CHECK((uintptr_t)back.data % 16 == 0);
        if (cab_tensor_write_npy(arena, path, &t, NULL) != CAB_OK)
            continue;
        CHECK_EQ(cab_tensor_read(arena, path, &back, NULL), CAB_OK);
        CHECK(same(&t, &back));
    }
}

static void check_shapes(void)
{
    float f[1] = { 4 };
    cab_tensor scalar = { .dtype = CAB_DT_f32, .data = f }, back;
    cab_tensor empty = { .dtype = CAB_DT_f32, .rank = 2, .dims = { 0, 7 },
                         .data = f };

    CHECK_EQ(cab_tensor_write_pb(arena, path, NULL, &scalar, NULL), CAB_OK);
    CHECK_EQ(cab_tensor_read(arena, path, &back, NULL), CAB_OK);
    CHECK(same(&scalar, &back));
    CHECK_EQ(cab_tensor_write_npy(arena, path, &scalar, NULL), CAB_OK);
    CHECK_EQ(cab_tensor_read(arena, path, &back, NULL), CAB_OK);
    CHECK(same(&scalar, &back));
    CHECK_EQ(cab_tensor_write_pb(arena, path, "e", &empty, NULL), CAB_OK);
    CHECK_EQ(cab_tensor_read(arena, path, &back, NULL), CAB_OK);
    CHECK(same(&empty, &back));
    CHECK_EQ(cab_tensor_write_npy(arena, path, &empty, NULL), CAB_OK);
    CHECK_EQ(cab_tensor_read(arena, path, &back, NULL), CAB_OK);
    CHECK(same(&empty, &back));
}

static void check_strings(void)
{
    const char *text[2] = { "one", "" };
    cab_tensor t = { .dtype = CAB_DT_str, .rank = 1, .dims = { 2 },
                     .data = text }, back;

    CHECK_EQ(cab_tensor_write_pb(arena, path, "s", &t, NULL), CAB_OK);
    CHECK_EQ(cab_tensor_read(arena, path, &back, NULL), CAB_OK);
    CHECK_EQ(back.dtype, CAB_DT_str);
    CHECK_STR(((const char **)back.data)[0], "one");
    CHECK_STR(((const char **)back.data)[1], "");
    CHECK_EQ(cab_tensor_write_npy(arena, path, &t, NULL), CAB_EUNSUPPORTED);
}

/* optional(sequence(tensor)) and its empty forms. */
static void check_containers(void)
{
    float f[2] = { 1, 2 };
    cab_file_value items[2] = { { .kind = CAB_KIND_tensor },
                                { .kind = CAB_KIND_tensor } };
    cab_file_value seq = { .kind = CAB_KIND_sequence, .name = "s", .n = 2,
                           .elem_kind = CAB_KIND_tensor, .items = items };
    cab_file_value opt = { .kind = CAB_KIND_optional, .n = 1,
                           .elem_kind = CAB_KIND_sequence, .items = &seq };
    cab_file_value back;

    items[0].tensor = (cab_tensor){ .dtype = CAB_DT_f32, .rank = 1,
                                    .dims = { 2 }, .data = f };
    items[1].tensor = (cab_tensor){ .dtype = CAB_DT_f32, .data = f };
    CHECK_EQ(cab_value_write_pb(arena, path, &opt, NULL), CAB_OK);
    CHECK_EQ(cab_value_read(arena, path, CAB_KIND_optional, &back, NULL),
             CAB_OK);
    CHECK_EQ(back.n, 1);
    CHECK_EQ(back.items->kind, CAB_KIND_sequence);
    CHECK_EQ(back.items->n, 2);
    CHECK_STR(back.items->name, "s");
    CHECK(same(&back.items->items[0].tensor, &items[0].tensor));
    CHECK(same(&back.items->items[1].tensor, &items[1].tensor));
    opt.n = 0;
    CHECK_EQ(cab_value_write_pb(arena, path, &opt, NULL), CAB_OK);
    CHECK_EQ(cab_value_read(arena, path, CAB_KIND_optional, &back, NULL),
             CAB_OK);
    CHECK_EQ(back.n, 0);
    CHECK_EQ(back.elem_kind, CAB_KIND_sequence);
    seq.n = 0;
    CHECK_EQ(cab_value_write_pb(arena, path, &seq, NULL), CAB_OK);
    CHECK_EQ(cab_value_read(arena, path, CAB_KIND_sequence, &back, NULL),
             CAB_OK);
    CHECK_EQ(back.n, 0);
    CHECK_EQ(back.elem_kind, CAB_KIND_tensor);
}

/* A .npy file of that header and of i32 numbers 0, 1, 2 ... */
static void make_npy(int version, const char *header, int n)
{
    wire w = { 0 };
    size_t len = strlen(header);
    unsigned char head[12] = "\x93NUMPY";

    head[6] = (unsigned char)version;
    head[8] = (unsigned char)len;
    w_bytes(&w, head, version == 1 ? 10 : 12);
    w_bytes(&w, header, len);
    for (int32_t i = 0; i < n; i++)
        w_bytes(&w, &i, 4);
    write_file(w.p, w.n);
    w_free(&w);
}

static void check_npy(void)
{
    static const int32_t turned[6] = { 0, 2, 4, 1, 3, 5 };
    cab_tensor t;

    for (int version = 1; version <= 3; version++) {
        make_npy(version, "{'descr': '<i4', 'fortran_order': False, 'shape': "
                 "(2, 3), }  \n", 6);
        CHECK_EQ(cab_tensor_read(arena, path, &t, NULL), CAB_OK);
        CHECK_EQ(t.rank, 2);
        CHECK_EQ(((int32_t *)t.data)[5], 5);
    }
    make_npy(1, "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }", 6);
    CHECK_EQ(cab_tensor_read(arena, path, &t, NULL), CAB_OK);
    CHECK(!memcmp(t.data, turned, sizeof turned));
    make_npy(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (7,), }", 6);
    CHECK_EQ(cab_tensor_read(arena, path, &t, NULL), CAB_EPARSE);
    make_npy(1, "{'descr': '>i4', 'fortran_order': False, 'shape': (6,), }", 6);
    CHECK_EQ(cab_tensor_read(arena, path, &t, NULL), CAB_EUNSUPPORTED);
    make_npy(1, "{'descr': '<i4', 'fortran_order': False, 'shape': "
             "(9223372036854775807, 9223372036854775807, 4), }", 6);
    CHECK_EQ(cab_tensor_read(arena, path, &t, NULL), CAB_EPARSE);
    make_npy(1, "{'descr': '<i4', 'shape': (6", 6);
    CHECK_EQ(cab_tensor_read(arena, path, &t, NULL), CAB_EPARSE);
    make_npy(2, "", 0);
    CHECK_EQ(cab_tensor_read(arena, path, &t, NULL), CAB_EPARSE);
    write_file("\x93NUMPY\x01\x00\xff\xff", 10);
    CHECK_EQ(cab_tensor_read(arena, path, &t, NULL), CAB_EPARSE);
}

/* Every cut of a good file is refused, none crashes. */
static void check_cut(void)
{
    float f[3] = { 1, 2, 3 };
    const int64_t dims[1] = { 3 };
    wire w = m_tensor("t", 1, 1, dims);
    cab_tensor t;

    w_blob(&w, 9, f, sizeof f);
    for (size_t n = 0; n < w.n; n++) {
        write_file(w.p, n);
        CHECK(cab_tensor_read(arena, path, &t, NULL) != CAB_OK);
    }
    write_file(w.p, w.n);
    CHECK_EQ(cab_tensor_read(arena, path, &t, NULL), CAB_OK);
    w_external(&w, "location", "/etc/passwd");
    w_num(&w, 14, 1);
    write_file(w.p, w.n);
    CHECK_EQ(cab_tensor_read(arena, path, &t, NULL), CAB_EMODEL);
    w_free(&w);
}

int main(void)
{
    cab_job job = { 0 };
    int fd;

    if (CAB_JOB_ENTER(&job))
        return 1;
    arena = cab_arena_create(&job);
    snprintf(path, sizeof path, "/tmp/cab-tensor-XXXXXX");
    fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    check_dtypes();
    check_shapes();
    check_strings();
    check_containers();
    check_npy();
    check_cut();
    unlink(path);
    cab_arena_destroy(arena);
    TEST_END();
}

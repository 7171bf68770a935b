/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compile_kit.h - artifacts from graphs in text, without a file.
 */
#ifndef CAB_TESTS_COMPILE_KIT_H
#define CAB_TESTS_COMPILE_KIT_H
#include "codegen/codegen.h"
#include "passes/pass.h"
#include "tests/test.h"
#include <unistd.h>

/* The artifact's *n bytes, 64-byte aligned, from malloc; ends the program, with the story, where there is none. */
static inline uint8_t *kit_compile(cab_arena *arena, const char *text, const cab_pass_options *po,
                                   const cab_codegen_options *co, size_t *n, cab_diag *diag)
{
    const char *passes = po->naive ? "lower" : "fold,canon,fuse,cse,dce,layout,group,lower";
    cab_graph *g;
    cab_program *p;
    cab_mapping map;
    uint64_t size;
    int fd;
    if (cab_graph_parse(arena, text, strlen(text), "net", &g, diag) || cab_passes_run_list(g, passes, po, &p, diag) ||
        cab_codegen(arena, p, co, &fd, &size, diag) || cab_fd_map(fd, "net", &map, diag)) {
        fprintf(stderr, "%s\n", cab_diag_first(diag)->text);
        exit(EXIT_FAILURE);
    }
    uint8_t *out = aligned_alloc(64, (map.n + 63) / 64 * 64);
    CHECK(out != NULL);
    memcpy(out, map.p, *n = map.n);
    cab_file_unmap(&map);
    close(fd);
    return out;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link.c - binds relocatable objects into one position-independent image.
 *
 * Takes the ELF objects LLVM emits for our kernels: code and read-only
 * constants, tied by PC-relative relocations.  The image needs no work at run
 * time: it is mapped read-execute from the file as it is.  Anything that
 * would need a fix-up at load (absolute addresses, writable data, calls to
 * symbols outside) is refused here, as a bug of the generator.
 */
#include "codegen/codegen_int.h"
#include <elf.h>
#include <string.h>

typedef struct linker {
    cab_arena *arena;
    cab_image *img;
    const uint8_t *p;
    size_t n;
    const Elf64_Ehdr *eh;
    const Elf64_Shdr *sh;
    uint64_t *place;           /* section -> offset in the image; UINT64_MAX = left out */
    const Elf64_Sym *sym;
    size_t n_sym;
    const char *str;
    size_t n_str;
    cab_diag *diag;
} linker;

static cab_status broken(linker *l, const char *what)
{
    return cab_fail(l->diag, CAB_EINTERNAL, NULL, "object file: %s", what);
}

static bool inside(const linker *l, uint64_t offset, uint64_t bytes)
{
    return offset <= l->n && bytes <= l->n - offset;
}

static const char *name_at(const linker *l, const char *table, size_t n, uint32_t at)
{
    (void)l;
    return table && at < n && memchr(table + at, 0, n - at) ? table + at : "";
}

static cab_status open_object(linker *l)
{
    if (l->n < sizeof *l->eh || memcmp(l->p, ELFMAG, SELFMAG))
        return broken(l, "not ELF");
    l->eh = (const void *)l->p;
    if (l->eh->e_type != ET_REL || l->eh->e_machine != EM_X86_64)
        return broken(l, "not a relocatable x86-64 object");
    if (!inside(l, l->eh->e_shoff, (uint64_t)l->eh->e_shnum * sizeof *l->sh) ||
        l->eh->e_shoff % 8 || l->eh->e_shentsize != sizeof *l->sh)
        return broken(l, "bad section table");
    l->sh = (const void *)(l->p + l->eh->e_shoff);
    for (int i = 0; i < l->eh->e_shnum; i++) {
        const Elf64_Shdr *s = &l->sh[i];
        if (s->sh_type != SHT_NOBITS && !inside(l, s->sh_offset, s->sh_size))
            return broken(l, "section outside the file");
        if (s->sh_type == SHT_SYMTAB && s->sh_link < l->eh->e_shnum) {
            l->sym = (const void *)(l->p + s->sh_offset);
            l->n_sym = s->sh_size / sizeof *l->sym;
            l->str = (const char *)l->p + l->sh[s->sh_link].sh_offset;
            l->n_str = l->sh[s->sh_link].sh_size;
        }
    }
    return l->sym ? CAB_OK : broken(l, "no symbol table");
}

static const char *section_name(const linker *l, const Elf64_Shdr *s)
{
    const Elf64_Shdr *t = &l->sh[l->eh->e_shstrndx];
    return name_at(l, (const char *)l->p + t->sh_offset, t->sh_size, s->sh_name);
}

static cab_status place_sections(linker *l)
{
    l->place = CAB_NEW_N(l->arena, uint64_t, l->eh->e_shnum);
    for (int i = 0; i < l->eh->e_shnum; i++) {
        const Elf64_Shdr *s = &l->sh[i];
        l->place[i] = UINT64_MAX;
        if (!(s->sh_flags & SHF_ALLOC) || s->sh_size == 0 ||
            !strcmp(section_name(l, s), ".eh_frame"))
            continue;
        if (s->sh_type != SHT_PROGBITS || (s->sh_flags & SHF_WRITE))
            return cab_fail(l->diag, CAB_EINTERNAL, NULL,
                            "kernel object holds writable data in section %s",
                            section_name(l, s));
        cab_buf_align(&l->img->code, s->sh_addralign > 64 ? s->sh_addralign : 64);
        l->place[i] = l->img->code.n;
        cab_buf_bytes(&l->img->code, l->p + s->sh_offset, s->sh_size);
    }
    return CAB_OK;
}

static cab_status relocate_one(linker *l, uint64_t section, const Elf64_Rela *r)
{
    uint32_t si = ELF64_R_SYM(r->r_info), type = ELF64_R_TYPE(r->r_info);
    if (si >= l->n_sym)
        return broken(l, "relocation names no symbol");
    const Elf64_Sym *s = &l->sym[si];
    if (s->st_shndx == SHN_UNDEF || s->st_shndx >= l->eh->e_shnum ||
        l->place[s->st_shndx] == UINT64_MAX)
        return cab_fail(l->diag, CAB_EINTERNAL, NULL,
                        "kernel object needs the outside symbol '%s'",
                        name_at(l, l->str, l->n_str, s->st_name));
    if (type != R_X86_64_PC32 && type != R_X86_64_PLT32)
        return cab_fail(l->diag, CAB_EINTERNAL, NULL,
                        "kernel object holds a relocation of type %u", type);
    uint64_t at = l->place[section] + r->r_offset;
    if (at > l->img->code.n || l->img->code.n - at < 4)
        return broken(l, "relocation outside its section");
    int64_t v = (int64_t)(l->place[s->st_shndx] + s->st_value) + r->r_addend - (int64_t)at;
    if (v != (int32_t)v)
        return broken(l, "relocation does not reach");
    int32_t v32 = (int32_t)v;
    memcpy(l->img->code.p + at, &v32, 4);
    return CAB_OK;
}

static cab_status relocate(linker *l)
{
    for (int i = 0; i < l->eh->e_shnum; i++) {
        const Elf64_Shdr *s = &l->sh[i];
        if (s->sh_type != SHT_RELA || s->sh_info >= l->eh->e_shnum ||
            l->place[s->sh_info] == UINT64_MAX)
            continue;
        const Elf64_Rela *r = (const void *)(l->p + s->sh_offset);
        for (size_t k = 0; k < s->sh_size / sizeof *r; k++)
            CAB_TRY(relocate_one(l, s->sh_info, &r[k]));
    }
    return CAB_OK;
}

static void collect_symbols(linker *l)
{
    for (size_t i = 0; i < l->n_sym; i++) {
        const Elf64_Sym *s = &l->sym[i];
        if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || s->st_shndx >= l->eh->e_shnum ||
            l->place[s->st_shndx] == UINT64_MAX)
            continue;
        cab_symbol y = { cab_strdup(l->arena, name_at(l, l->str, l->n_str, s->st_name)),
                         l->place[s->st_shndx] + s->st_value, s->st_size };
        cab_vec_push(l->arena, &l->img->symbols, y);
    }
}

cab_status cab_link_object(cab_arena *a, cab_image *img, const void *elf, size_t n,
                           cab_diag *d)
{
    /* Our own copy: 16-byte aligned for the struct views below. */
    linker l = { .arena = a, .img = img, .p = cab_dup(a, elf, n), .n = n, .diag = d };
    CAB_TRY(open_object(&l));
    CAB_TRY(place_sections(&l));
    CAB_TRY(relocate(&l));
    collect_symbols(&l);
    return CAB_OK;
}

const cab_symbol *cab_image_find(const cab_image *img, const char *name)
{
    for (size_t i = 0; i < img->symbols.n; i++)
        if (!strcmp(img->symbols.p[i].name, name))
            return &img->symbols.p[i];
    return NULL;
}

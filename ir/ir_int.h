/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ir_int.h - what the files of the graph level share.
 *
 * Rows seen alike for both levels, the inference functions named by the op
 * rows, the numbering of unnamed values, and the scanner of the text form.
 */
#ifndef CAB_IR_IR_INT_H
#define CAB_IR_IR_INT_H
#include "ir/ir.h"

/* Elements up to which integer and bool values are followed symbolically. */
#define CAB_SYM_MAX 64

/* ---- check.c: a node against its rows, whatever its level ---- */
typedef struct cab_rows {
    int min_in, max_in, min_out, max_out;
    int n_in, n_out, n_attr, n_type;
    const cab_io_row *in, *out;
    const cab_type_row *type;
    const cab_attr_row *core_attr;         /* one of these two */
    const cab_schema_attr *schema_attr;
} cab_rows;
cab_rows cab_rows_of(const cab_op *op);
cab_attr_row cab_rows_attr(const cab_rows *r, int i);
/* Row of the attribute of that name; false when the op has none. */
bool cab_rows_find_attr(const cab_op *op, const char *name, cab_attr_row *out);
/* Row of operand or result i (the last one repeats when variadic). */
const cab_io_row *cab_rows_io(const cab_io_row *rows, int n, int i);
/* Arity, operand types against the type variables, attribute names and kinds;
 * with_out: the results' types too. */
cab_status cab_check_rows(const cab_node *n, bool with_out, cab_diag *d);

/* ---- attr.c ---- */
/* The row's default as an attribute; false when it has none. */
bool cab_attr_default(cab_graph *g, const cab_attr_row *row, cab_attr *out);

/* ---- infer.c and its parts ---- */
#define OP(id, traits, infer, doc) \
    cab_status cab_infer_##infer(cab_graph *g, cab_node *n, cab_diag *d);
#include "ir/ops.def"
/* CAB_EMODEL at the node. */
cab_status cab_infer_fail(const cab_node *n, cab_diag *d, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Sets a result's type; its layout and quantisation stay (they are assigned,
 * not inferred).  Refuses ranks over CAB_MAX_RANK and negative extents. */
cab_status cab_infer_set(cab_node *n, int i, cab_dtype dt, int rank,
                         const cab_dim *const *dims, cab_diag *d);
/* Integer attribute that is an axis of x. */
cab_status cab_infer_axis(const cab_node *n, int rank, int64_t *out, cab_diag *d);
/* List attributes of exactly `want` elements. */
cab_status cab_infer_ints(const cab_node *n, const char *name, int64_t want,
                          const int64_t **out, cab_diag *d);
cab_status cab_infer_dims(const cab_node *n, const char *name, int64_t want,
                          const cab_dim *const **out, cab_diag *d);
/* Each value lies in 0..rank-1 and none comes twice. */
cab_status cab_infer_axes(const cab_node *n, const char *name, const int64_t *axes,
                          int64_t count, int rank, bool *seen, cab_diag *d);
/* Index of the text among the NULL-ended choices. */
cab_status cab_infer_choice(const cab_node *n, const char *name,
                            const char *const *choices, int *out, cab_diag *d);
/* infer_sym.c: the elements of results known symbolically. */
void cab_infer_sym(cab_graph *g, cab_node *n);
/* Ops through which infer_sym carries elements. */
bool cab_sym_follows(cab_op_id op);

/* ---- const.c ---- */
/* Elements of a small integer or bool constant as dims; NULL when too many,
 * not integers or not representable. */
const cab_dim **cab_blob_dims(cab_graph *g, const cab_type *t, const cab_blob *b,
                              int64_t limit);
const cab_tensor_attr *cab_const_attr(const cab_value *v);

/* ---- graph.c ---- */
/* Value of that name visible in g, or NULL. */
cab_value *cab_graph_find(const cab_graph *g, const char *name);
bool cab_graph_is_within(const cab_graph *inner, const cab_graph *outer);

/* ---- type.c ---- */
/* Same kind, dtype and rank, and extents that are equal or that guards of the
 * graph may make equal; layout and quantisation do not count. */
bool cab_type_may_equal(const cab_graph *g, const cab_type *a, const cab_type *b);

/* ---- print.c ---- */
/* Unnamed values are numbered in order of appearance in the whole tree. */
typedef struct cab_printer {
    cab_buf *b;
    uint32_t *numbers;         /* number + 1 by value id; NULL: %?id is printed */
    uint32_t n_numbers;
    cab_map *blobs;            /* contents left for the end; NULL: none are kept */
    int depth;                 /* of indentation */
} cab_printer;
cab_printer cab_printer_on(cab_buf *b, const cab_graph *g);
void cab_print_value(cab_printer *p, const cab_value *v);
void cab_print_type(cab_printer *p, const cab_type *t);
void cab_print_name(cab_buf *b, char sigil, const char *name);
/* A double of an attribute: shortest text, with f behind when it is a f32
 * whose shortest text is another double. */
void cab_print_double(cab_buf *b, double v);
/* print_const.c: type and elements of a constant, or a hash when many. */
void cab_print_tensor(cab_printer *p, const cab_type *type, const cab_tensor_attr *t);
void cab_print_blobs(cab_printer *p);
/* Elements of a constant that are printed in place. */
#define CAB_PRINT_ELEMENTS 64

/* ---- lex.c: scanning text; failures are CAB_EPARSE with file:line:col ---- */
typedef struct cab_lex {
    cab_arena *arena;
    const char *file, *start, *p;   /* NUL-terminated */
    cab_diag *diag;
} cab_lex;
/* Skips blanks and comments (; to the end of the line). */
void cab_lex_space(cab_lex *l);
/* Accepts a character, or a whole word. */
bool cab_lex_char(cab_lex *l, char c);
bool cab_lex_word(cab_lex *l, const char *word);
cab_status cab_lex_expect(cab_lex *l, char c);
/* [A-Za-z_][A-Za-z0-9_.]* ; false when there is none. */
bool cab_lex_ident(cab_lex *l, const char **s, size_t *n);
cab_status cab_lex_string(cab_lex *l, char **s, size_t *n);
cab_status cab_lex_int(cab_lex *l, int64_t *out);
cab_status cab_lex_double(cab_lex *l, double *out);
cab_status cab_lex_dtype(cab_lex *l, cab_dtype *out);
cab_status cab_lex_dim(cab_lex *l, cab_dims *d, const cab_dim **out);
/* Value of an attribute of a kind without graphs, tensors or types in it. */
cab_status cab_lex_attr(cab_lex *l, cab_dims *d, cab_attr *out);
/* Stores a number, true, false, or 0x... (all its bits) as element i of p. */
cab_status cab_lex_elem(cab_lex *l, cab_dtype t, void *p, uint64_t i);
cab_status cab_lex_fail(cab_lex *l, const char *at, cab_status code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* True for a name of values or graphs that needs no quotes. */
bool cab_lex_plain_name(const char *s);

/* ---- parse.c ---- */
typedef struct cab_scope cab_scope;
typedef struct cab_parser {
    cab_lex l;
    cab_graph *g;              /* innermost */
    cab_scope *scope;          /* its numbered values */
    int depth;                 /* of nested graphs */
    uint32_t n_nodes;
    cab_map *blobs;            /* hash -> cab_blob */
    cab_diag *diag;            /* of the node being inferred */
} cab_parser;
cab_status cab_parse_value(cab_parser *p, cab_value **out);
/* parse_type.c */
cab_status cab_parse_type(cab_parser *p, cab_type *out);
/* parse_const.c */
cab_status cab_parse_tensor(cab_parser *p, cab_tensor_attr *out);
/* Reads the blob lines at the end; *section is where they begin, or NULL. */
cab_status cab_parse_blobs(cab_parser *p, const char **section);

#endif

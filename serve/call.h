/* SPDX-License-Identifier: Apache-2.0 */
/*
 * call.h - one inference request, whatever protocol it came by.
 *
 * A codec fills in the inputs and which outputs are wanted, submits, and is
 * called again to write the answer.  All memory is the exchange's.
 */
#ifndef CAB_SERVE_CALL_H
#define CAB_SERVE_CALL_H
#include "serve/catalog.h"
#include "serve/http/exchange.h"
#include "serve/sched/scheduler.h"

/* An output that the client asked for. */
typedef struct cab_wanted {
    int output;
    bool said, binary;         /* REST: whether as raw bytes after the JSON; unless said, as binary_outputs says */
    int64_t classes;           /* the classification extension: the largest so many, as texts; 0: the tensor */
    int64_t dims[2];           /* ... of the texts: rows, when the model has them, and classes */
    cab_bytes texts;           /* ... as classes.h has them */
} cab_wanted;

/* A tensor of the answer. */
typedef struct cab_answer {
    const char *name, *datatype;
    int dtype;                 /* 0: BYTES, each element 4 bytes of length and those */
    bool binary;
    int rank;
    const int64_t *dims;
    const void *data;
    size_t bytes;
} cab_answer;

typedef struct cab_infer cab_infer;
struct cab_infer {
    cab_call call;
    cab_exchange *x;
    cab_resident *loaded;      /* a reference */
    /* Writes the outputs as x's answer; false: why is set. */
    bool (*encode)(cab_infer *q);
    cab_tensor_view *inputs;   /* of the model, in its order; dtype 0: not given */
    cab_tensor_view *outputs;
    cab_wanted *wanted;        /* room for one per output of the model */
    int n_wanted;              /* 0: all */
    bool binary_outputs;       /* REST: those without a word about it */
    bool submitted;
    cab_slice id;              /* as the client spelt it (REST: with escapes) */
    int64_t timeout_us;        /* 0: none */
    int64_t until_ns;          /* the client waits no longer, monotonic; 0: it did not say */
    int64_t priority;
    bool starved;              /* the failure is that memory ran out: 503 */
    char why[300];             /* of a failure */
};

/* NULL (with an answer set): the queue is full, before anything is read; or out of memory.  Takes over the reference. */
cab_infer *cab_infer_begin(cab_exchange *x, cab_resident *l, bool (*encode)(cab_infer *q));
/* Says what is wrong with the request, for why: returns false. */
bool cab_infer_fault(cab_infer *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Memory has run out: likewise. */
bool cab_infer_starve(cab_infer *q);
/* The type that input `name` comes in, by its name in the protocol; 0: why (texts are taken by no model). */
int cab_infer_type(cab_infer *q, cab_slice name, cab_slice datatype);
/* Declares input `name` (once): type and extents, data and bytes open.  NULL: why. */
cab_tensor_view *cab_infer_input(cab_infer *q, cab_slice name, int dtype, int rank, const int64_t *dims);
/* Wants output `name` (once).  NULL: why. */
cab_wanted *cab_infer_want(cab_infer *q, cab_slice name);
/* Memory for view v, whose extents are known: v->data; false: why. */
bool cab_infer_room(cab_infer *q, cab_tensor_view *v);
/* n raw bytes at p for v: referred to where they lie well, else copied. */
bool cab_infer_raw(cab_infer *q, cab_tensor_view *v, const void *p, size_t n);
/* Every input is given: runs the model, then the answer is encode's.  Else answers 400 with why. */
void cab_infer_submit(cab_infer *q);
/* Answers 400 (503 where memory ran out) with why. */
void cab_infer_refuse(cab_infer *q);
/* Output w as its k largest elements; false: why. */
bool cab_infer_classes(cab_infer *q, cab_wanted *w, int64_t k);
/* Makes the texts of the outputs that are wanted so, before the answer is written; false: why. */
bool cab_infer_classify(cab_infer *q);
/* The i-th tensor to write; false: there is none. */
bool cab_infer_answer(const cab_infer *q, int i, cab_answer *out);

/* "[1,3,-1]". */
void cab_shape_text(char *to, size_t n, int rank, const int64_t *dims);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llvm_fn.c - one kernel as an LLVM function: structure and memory.
 *
 * void NAME(ptr bufs, ptr ints, i64 lo, i64 hi) runs tasks [lo, hi).  Pointers
 * and parameters are loaded once at entry.  Loops are tested at the bottom,
 * after one test before entry; carried values are phis.  A masked-off scalar
 * access goes to a private slot instead of branching around it.
 */
#include <stdlib.h>
#include <string.h>
#include "codegen/cpu/llvm_int.h"

static LLVMBasicBlockRef new_block(cab_ll *c)
{
    return LLVMAppendBasicBlockInContext(c->ctx, c->fn, "");
}

static void enter(cab_ll *c, LLVMBasicBlockRef b) { LLVMPositionBuilderAtEnd(c->b, b); }

static LLVMTypeRef type_of(const cab_ll *c, cab_kv v)
{
    const cab_kins *i = cab_k_ins(c->k, v);
    return cab_ll_type(c, cab_k_dt(c->k, v), i->lanes);
}

static int32_t arg(const cab_ll *c, const cab_kins *i, int n) { return c->k->args.p[i->args + n]; }

static void phi_add(LLVMValueRef phi, LLVMValueRef v, LLVMBasicBlockRef from)
{
    LLVMAddIncoming(phi, &v, &from, 1);
}

/* ---- loops ---- */

/* Phis of the carried values at the top of the current block. */
static void carried_phis(cab_ll *c, const cab_kins *i, LLVMBasicBlockRef from)
{
    for (int j = 0; j < i->n_args; j++) {
        LLVMValueRef phi = LLVMBuildPhi(c->b, type_of(c, arg(c, i, j)), "");
        phi_add(phi, c->val[arg(c, i, j)], from);
        c->carried[i->args + j] = phi;
    }
}

/* v itself, but unknown to LLVM's loop strength reduction: on long unrolled
 * bodies that pass costs several times all the rest of the compilation and
 * gains nothing over the addressing our generators choose.  Instruction
 * selection removes the xor. */
static LLVMValueRef opaque(const cab_ll *c, LLVMValueRef v)
{
    return LLVMBuildBinOp(c->b, LLVMXor, v, LLVMConstInt(c->i64, 0, 0), "");
}

static void open_loop(cab_ll *c, int at, const cab_kins *i)
{
    LLVMValueRef lo = c->val[i->a], hi = c->val[i->b], go;

    c->before[at] = LLVMGetInsertBlock(c->b);
    c->body[at] = new_block(c);
    c->after[at] = new_block(c);
    go = LLVMBuildICmp(c->b, LLVMIntSLT, lo, hi, "");
    if (LLVMIsConstant(go) && LLVMConstIntGetZExtValue(go))
        LLVMBuildBr(c->b, c->body[at]);
    else
        LLVMBuildCondBr(c->b, go, c->body[at], c->after[at]);
    enter(c, c->body[at]);
    c->counter[at] = LLVMBuildPhi(c->b, c->i64, "");
    phi_add(c->counter[at], lo, c->before[at]);
    carried_phis(c, i, c->before[at]);
    c->val[at] = opaque(c, c->counter[at]);
}

static void close_loop(cab_ll *c, int at, const cab_kins *end)
{
    const cab_kins *loop = cab_k_ins(c->k, at);
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(c->b);
    LLVMValueRef next = LLVMBuildNSWAdd(c->b, c->counter[at],
                                        LLVMConstInt(c->i64, (uint64_t)loop->imm, 0), "");
    LLVMValueRef more = LLVMBuildICmp(c->b, LLVMIntSLT, next, c->val[loop->b], "");
    LLVMValueRef enters = LLVMGetBasicBlockTerminator(c->before[at]);
    bool may_skip = LLVMGetNumSuccessors(enters) == 2;

    LLVMBuildCondBr(c->b, more, c->body[at], c->after[at]);
    phi_add(c->counter[at], next, latch);
    enter(c, c->after[at]);
    for (int j = 0; j < end->n_args; j++) {
        LLVMValueRef v = c->val[arg(c, end, j)];
        LLVMValueRef phi = LLVMBuildPhi(c->b, LLVMTypeOf(v), "");
        phi_add(c->carried[loop->args + j], v, latch);
        phi_add(phi, v, latch);
        if (may_skip)
            phi_add(phi, c->val[arg(c, loop, j)], c->before[at]);
        c->carried[end->args + j] = phi;
    }
}

static void open_while(cab_ll *c, int at, const cab_kins *i)
{
    c->before[at] = LLVMGetInsertBlock(c->b);
    c->body[at] = new_block(c);
    c->after[at] = new_block(c);
    LLVMBuildBr(c->b, c->body[at]);
    enter(c, c->body[at]);
    carried_phis(c, i, c->before[at]);
}

static void cond(cab_ll *c, int in, const cab_kins *i)
{
    LLVMBasicBlockRef rest = new_block(c);

    LLVMBuildCondBr(c->b, c->val[i->a], rest, c->after[in]);
    enter(c, rest);
}

static void close_while(cab_ll *c, int at, const cab_kins *end)
{
    const cab_kins *w = cab_k_ins(c->k, at);
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(c->b);

    LLVMBuildBr(c->b, c->body[at]);
    for (int j = 0; j < end->n_args; j++) {
        phi_add(c->carried[w->args + j], c->val[arg(c, end, j)], latch);
        c->carried[end->args + j] = c->carried[w->args + j];
    }
    enter(c, c->after[at]);
}

/* ---- if ---- */

static void open_if(cab_ll *c, int at, const cab_kins *i)
{
    LLVMBasicBlockRef then = new_block(c);

    c->before[at] = LLVMGetInsertBlock(c->b);
    c->after[at] = new_block(c);
    c->body[at] = c->else_of[at] >= 0 ? new_block(c) : c->after[at];
    LLVMBuildCondBr(c->b, c->val[i->a], then, c->body[at]);
    enter(c, then);
}

static void open_else(cab_ll *c, int at, const cab_kins *i)
{
    c->after[at] = LLVMGetInsertBlock(c->b);
    LLVMBuildBr(c->b, c->after[i->a]);
    enter(c, c->body[i->a]);
}

static void close_if(cab_ll *c, const cab_kins *end)
{
    int first = c->else_of[end->a];
    LLVMBasicBlockRef last = LLVMGetInsertBlock(c->b);

    LLVMBuildBr(c->b, c->after[end->a]);
    enter(c, c->after[end->a]);
    for (int j = 0; j < end->n_args; j++) {
        LLVMValueRef phi = LLVMBuildPhi(c->b, type_of(c, arg(c, end, j)), "");
        phi_add(phi, c->val[arg(c, cab_k_ins(c->k, first), j)], c->after[first]);
        phi_add(phi, c->val[arg(c, end, j)], last);
        c->carried[end->args + j] = phi;
    }
}

/* ---- memory ---- */

static LLVMValueRef element_at(cab_ll *c, const cab_kins *i, LLVMValueRef index)
{
    LLVMTypeRef t = cab_ll_memory_type(c, (cab_dtype)i->dt, 1);
    LLVMValueRef p = c->val[i->a], d = LLVMConstInt(c->i64, (uint64_t)i->imm, 1);

    if (index)
        p = LLVMBuildGEP2(c->b, t, p, &index, 1, "");
    return i->imm ? LLVMBuildGEP2(c->b, t, p, &d, 1, "") : p;
}

static LLVMValueRef index_of(const cab_ll *c, const cab_kins *i)
{
    return i->b < 0 ? NULL : c->val[i->b];
}

/* Memory form (bool as bytes) to register form, and back. */
static LLVMValueRef from_memory(cab_ll *c, const cab_kins *i, LLVMValueRef v)
{
    if (i->dt != CAB_DT_bool)
        return v;
    return LLVMBuildICmp(c->b, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v)), "");
}

static LLVMValueRef to_memory(cab_ll *c, const cab_kins *i, LLVMValueRef v)
{
    if (i->dt != CAB_DT_bool)
        return v;
    return LLVMBuildZExt(c->b, v, cab_ll_memory_type(c, CAB_DT_bool, i->lanes), "");
}

static unsigned align_of(const cab_kins *i)
{
    return (unsigned)cab_dtype_bits((cab_dtype)i->dt) / 8;
}

static LLVMValueRef load(cab_ll *c, const cab_kins *i, LLVMTypeRef t, LLVMValueRef p)
{
    LLVMValueRef v = LLVMBuildLoad2(c->b, t, p, "");
    LLVMSetAlignment(v, align_of(i));
    return v;
}

static void store(cab_ll *c, const cab_kins *i, LLVMValueRef v, LLVMValueRef p)
{
    LLVMSetAlignment(LLVMBuildStore(c->b, v, p), align_of(i));
}

static LLVMValueRef pick(cab_ll *c, LLVMValueRef mask, LLVMValueRef p, LLVMValueRef slot)
{
    return mask ? LLVMBuildSelect(c->b, mask, p, slot, "") : p;
}

static LLVMValueRef lane(const cab_ll *c, LLVMValueRef v, int n)
{
    return v ? LLVMBuildExtractElement(c->b, v, LLVMConstInt(c->i64, (uint64_t)n, 0), "") : NULL;
}

/* The only lane of a constant mask, or -1. */
static int only_lane(LLVMValueRef mask, int lanes)
{
    int found = -1;

    for (int i = 0; LLVMIsConstant(mask) && i < lanes; i++) {
        LLVMValueRef bit = LLVMGetAggregateElement(mask, (unsigned)i);
        if (!bit || !LLVMIsAConstantInt(bit) || (LLVMConstIntGetZExtValue(bit) && found >= 0))
            return -1;
        if (LLVMConstIntGetZExtValue(bit))
            found = i;
    }
    return found;
}

/* One element of a vector access.  Besides being shorter this keeps LLVM 22
 * from storing 32 bits for a masked store of one truncated 16-bit lane. */
static LLVMValueRef one_lane(cab_ll *c, const cab_kins *i, LLVMTypeRef t, LLVMValueRef value,
                             LLVMValueRef p, int n)
{
    LLVMValueRef at = LLVMConstInt(c->i64, (uint64_t)n, 0);

    p = LLVMBuildGEP2(c->b, LLVMGetElementType(t), p, &at, 1, "");
    if (i->op == CAB_K_ld)
        return LLVMBuildInsertElement(c->b, LLVMConstNull(t),
                                      load(c, i, LLVMGetElementType(t), p), at, "");
    store(c, i, lane(c, value, n), p);
    return NULL;
}

/* LLVM 22 took the alignment operand of masked accesses away (it became an
 * attribute of the pointer). */
static LLVMValueRef masked(cab_ll *c, const cab_kins *i, const char *name, LLVMTypeRef t,
                           LLVMValueRef value, LLVMValueRef p, LLVMValueRef mask)
{
    LLVMTypeRef types[2] = { t, c->ptr };
    bool ld = i->op == CAB_K_ld;
    unsigned id = LLVMLookupIntrinsicID(name, ld ? 16 : 17);
    LLVMTypeRef f = LLVMIntrinsicGetType(c->ctx, id, types, 2);
    LLVMValueRef args[4], call;
    unsigned at = 0, n = LLVMCountParamTypes(f);
    int only = only_lane(mask, i->lanes);

    if (only >= 0)
        return one_lane(c, i, t, value, p, only);
    if (!ld)
        args[at++] = value;
    args[at++] = p;
    if (n == 4)
        args[at++] = LLVMConstInt(c->i32, align_of(i), 0);
    args[at++] = mask;
    if (ld)
        args[at++] = LLVMConstNull(t);
    call = LLVMBuildCall2(c->b, f, LLVMGetIntrinsicDeclaration(c->mod, id, types, 2), args, n, "");
    if (n == 3)
        LLVMSetInstrParamAlignment(call, ld ? 1 : 2, align_of(i));
    return call;
}

/* Gathers and scatters lane by lane: the machines' own are no faster. */
static LLVMValueRef gather(cab_ll *c, const cab_kins *i, LLVMValueRef mask)
{
    LLVMTypeRef t = cab_ll_memory_type(c, (cab_dtype)i->dt, 1);
    LLVMValueRef v = LLVMGetPoison(cab_ll_memory_type(c, (cab_dtype)i->dt, i->lanes));

    if (i->lanes == 1)
        return load(c, i, t, pick(c, mask, element_at(c, i, c->val[i->b]), c->zeros));
    for (int j = 0; j < i->lanes; j++) {
        LLVMValueRef p = element_at(c, i, lane(c, c->val[i->b], j));
        p = pick(c, lane(c, mask, j), p, c->zeros);
        v = LLVMBuildInsertElement(c->b, v, load(c, i, t, p),
                                   LLVMConstInt(c->i64, (uint64_t)j, 0), "");
    }
    return v;
}

static void scatter(cab_ll *c, const cab_kins *i, LLVMValueRef v, LLVMValueRef mask)
{
    if (i->lanes == 1) {
        store(c, i, v, pick(c, mask, element_at(c, i, c->val[i->b]), c->dump));
        return;
    }
    for (int j = 0; j < i->lanes; j++) {
        LLVMValueRef p = element_at(c, i, lane(c, c->val[i->b], j));
        store(c, i, lane(c, v, j), pick(c, lane(c, mask, j), p, c->dump));
    }
}

static LLVMValueRef loads(cab_ll *c, const cab_kins *i)
{
    LLVMTypeRef t = cab_ll_memory_type(c, (cab_dtype)i->dt, i->lanes);
    LLVMValueRef mask = i->c < 0 ? NULL : c->val[i->c], p;

    if (i->op == CAB_K_ldx)
        return from_memory(c, i, gather(c, i, mask));
    p = element_at(c, i, index_of(c, i));
    if (!mask || i->lanes == 1)
        return from_memory(c, i, load(c, i, t, pick(c, mask, p, c->zeros)));
    return from_memory(c, i, masked(c, i, "llvm.masked.load", t, NULL, p, mask));
}

static void stores(cab_ll *c, const cab_kins *i)
{
    LLVMTypeRef t = cab_ll_memory_type(c, (cab_dtype)i->dt, i->lanes);
    LLVMValueRef mask = i->c < 0 ? NULL : c->val[i->c], p;
    LLVMValueRef v = to_memory(c, i, c->val[arg(c, i, 0)]);

    if (i->op == CAB_K_stx) {
        scatter(c, i, v, mask);
        return;
    }
    p = element_at(c, i, index_of(c, i));
    if (!mask || i->lanes == 1)
        store(c, i, v, pick(c, mask, p, c->dump));
    else
        masked(c, i, "llvm.masked.store", t, v, p, mask);
}

static void atomic(cab_ll *c, const cab_kins *i)
{
    static const LLVMAtomicRMWBinOp real[] = { LLVMAtomicRMWBinOpFAdd, 0, LLVMAtomicRMWBinOpFMin,
                                               LLVMAtomicRMWBinOpFMax };
    static const LLVMAtomicRMWBinOp sign[] = { LLVMAtomicRMWBinOpAdd, 0, LLVMAtomicRMWBinOpMin,
                                               LLVMAtomicRMWBinOpMax };
    static const LLVMAtomicRMWBinOp plain[] = { LLVMAtomicRMWBinOpAdd, 0, LLVMAtomicRMWBinOpUMin,
                                                LLVMAtomicRMWBinOpUMax };
    cab_dtype dt = (cab_dtype)i->dt;
    const LLVMAtomicRMWBinOp *op = cab_dtype_is_float(dt) ? real
                                 : cab_dtype_is_signed(dt) ? sign : plain;

    LLVMBuildAtomicRMW(c->b, op[i->sub], element_at(c, i, index_of(c, i)),
                       c->val[arg(c, i, 0)], LLVMAtomicOrderingMonotonic, 0);
}

static void prefetch(cab_ll *c, const cab_kins *i)
{
    cab_kins address = *i;
    LLVMValueRef args[4] = { NULL, LLVMConstInt(c->i32, 0, 0),
                             LLVMConstInt(c->i32, i->sub == CAB_KP_L2 ? 2 : 3, 0),
                             LLVMConstInt(c->i32, 1, 0) };

    address.dt = cab_k_ins(c->k, i->a)->dt;
    args[0] = element_at(c, &address, index_of(c, i));
    cab_ll_call(c, "llvm.prefetch", 1, &c->ptr, 4, args);
}

/* ---- parameters: loaded in the entry block ---- */

static LLVMValueRef parameter(cab_ll *c, const cab_kins *i)
{
    LLVMValueRef at = LLVMConstInt(c->i64, (uint64_t)i->imm, 0);
    bool buf = i->op == CAB_K_buf;
    LLVMTypeRef t = buf ? c->ptr : c->i64;
    LLVMValueRef p = LLVMBuildGEP2(c->top, t, buf ? c->bufs : c->ints, &at, 1, "");

    return LLVMBuildLoad2(c->top, t, p, "");
}

static LLVMValueRef alloc(cab_ll *c, const cab_kins *i)
{
    LLVMTypeRef t = cab_ll_memory_type(c, (cab_dtype)i->dt, 1);
    LLVMValueRef p = LLVMBuildArrayAlloca(c->top, t, LLVMConstInt(c->i32, (uint64_t)i->imm, 0), "");

    LLVMSetAlignment(p, 64);
    return p;
}

/* ---- dispatch ---- */

static int enclosing_while(const cab_ll *c, int at)
{
    while (cab_k_ins(c->k, at)->op != CAB_K_while || c->end_of[at] >= 0)
        at--;
    return at;
}

/* Instructions that shape control flow.  end_of is filled as regions close. */
static bool structure(cab_ll *c, int at, const cab_kins *i)
{
    switch (i->op) {
    case CAB_K_loop: open_loop(c, at, i); return true;
    case CAB_K_while: open_while(c, at, i); return true;
    case CAB_K_cond: cond(c, enclosing_while(c, at), i); return true;
    case CAB_K_phi: c->val[at] = c->carried[cab_k_ins(c->k, i->a)->args + i->imm]; return true;
    case CAB_K_res:
        c->val[at] = c->carried[cab_k_ins(c->k, c->end_of[i->a])->args + i->imm];
        return true;
    case CAB_K_if: open_if(c, at, i); return true;
    case CAB_K_else: open_else(c, at, i); return true;
    case CAB_K_endif: close_if(c, i); break;
    case CAB_K_end:
        if (cab_k_ins(c->k, i->a)->op == CAB_K_loop)
            close_loop(c, i->a, i);
        else
            close_while(c, i->a, i);
        break;
    case CAB_K_barrier: return true;   /* one thread per block */
    default: return false;
    }
    c->end_of[i->a] = at;
    return true;
}

static cab_status one(cab_ll *c, int at)
{
    const cab_kins *i = cab_k_ins(c->k, at);

    if (structure(c, at, i))
        return CAB_OK;
    switch (i->op) {
    case CAB_K_buf: case CAB_K_int: c->val[at] = parameter(c, i); return CAB_OK;
    case CAB_K_grid: c->val[at] = c->task; return CAB_OK;
    case CAB_K_thread: c->val[at] = LLVMConstInt(c->i64, 0, 0); return CAB_OK;
    case CAB_K_alloc: c->val[at] = alloc(c, i); return CAB_OK;
    case CAB_K_ld: case CAB_K_ldx: c->val[at] = loads(c, i); return CAB_OK;
    case CAB_K_st: case CAB_K_stx: stores(c, i); return CAB_OK;
    case CAB_K_atomic: atomic(c, i); return CAB_OK;
    case CAB_K_prefetch: prefetch(c, i); return CAB_OK;
    default: return cab_ll_compute(c, i, &c->val[at]);
    }
}

static void attribute(cab_ll *c, const char *key, const char *value)
{
    LLVMAttributeRef a = LLVMCreateStringAttribute(c->ctx, key, (unsigned)strlen(key), value,
                                                   (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(c->fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, a);
}

static void create_function(cab_ll *c)
{
    LLVMTypeRef params[4] = { c->ptr, c->ptr, c->i64, c->i64 };
    LLVMTypeRef t = LLVMFunctionType(LLVMVoidTypeInContext(c->ctx), params, 4, 0);
    const char *width = c->target->vector_bytes == 64 ? "512"
                      : c->target->vector_bytes == 32 ? "256" : "128";
    unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);

    c->fn = LLVMAddFunction(c->mod, c->k->name, t);
    LLVMAddAttributeAtIndex(c->fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(c->ctx, nounwind, 0));
    attribute(c, "prefer-vector-width", width);
    attribute(c, "min-legal-vector-width", width);
    attribute(c, "no-builtins", "");
    c->bufs = LLVMGetParam(c->fn, 0);
    c->ints = LLVMGetParam(c->fn, 1);
}

/* Entry block: parameters, stack slots; then the loop over tasks. */
static cab_status body(cab_ll *c)
{
    LLVMBasicBlockRef entry = new_block(c), first, head = new_block(c), done = new_block(c);
    LLVMValueRef lo = LLVMGetParam(c->fn, 2), hi = LLVMGetParam(c->fn, 3), next;

    enter(c, head);
    c->task = LLVMBuildPhi(c->b, c->i64, "");
    first = LLVMAppendBasicBlockInContext(c->ctx, c->fn, "");
    LLVMPositionBuilderAtEnd(c->top, entry);
    c->zeros = LLVMBuildAlloca(c->top, c->i64, "");
    LLVMBuildStore(c->top, LLVMConstInt(c->i64, 0, 0), c->zeros);
    c->dump = LLVMBuildAlloca(c->top, c->i64, "");
    LLVMBuildBr(c->b, first);
    enter(c, first);
    for (size_t at = 0; at < c->k->ins.n; at++)
        CAB_TRY(one(c, (int)at));
    next = LLVMBuildNSWAdd(c->b, c->task, LLVMConstInt(c->i64, 1, 0), "");
    phi_add(c->task, next, LLVMGetInsertBlock(c->b));
    LLVMBuildCondBr(c->b, LLVMBuildICmp(c->b, LLVMIntSLT, next, hi, ""), head, done);
    enter(c, done);
    LLVMBuildRetVoid(c->b);
    phi_add(c->task, lo, entry);
    LLVMBuildCondBr(c->top, LLVMBuildICmp(c->top, LLVMIntSLT, lo, hi, ""), head, done);
    return CAB_OK;
}

static void find_arms(cab_ll *c)
{
    for (size_t i = 0; i < c->k->ins.n; i++)
        c->end_of[i] = c->else_of[i] = -1;
    for (size_t i = 0; i < c->k->ins.n; i++)
        if (c->k->ins.p[i].op == CAB_K_else)
            c->else_of[c->k->ins.p[i].a] = (int)i;
}

cab_status cab_ll_function(cab_ll *c)
{
    size_t n = c->k->ins.n + 1, m = c->k->args.n + 1;
    cab_status s = CAB_ENOMEM;

    c->val = calloc(n, sizeof *c->val);
    c->carried = calloc(m, sizeof *c->carried);
    c->counter = calloc(n, sizeof *c->counter);
    c->end_of = calloc(n, sizeof *c->end_of);
    c->else_of = calloc(n, sizeof *c->else_of);
    c->before = calloc(n, sizeof *c->before);
    c->body = calloc(n, sizeof *c->body);
    c->after = calloc(n, sizeof *c->after);
    if (c->val && c->carried && c->counter && c->end_of && c->else_of && c->before &&
        c->body && c->after) {
        find_arms(c);
        create_function(c);
        s = body(c);
    } else {
        cab_fail(c->diag, CAB_ENOMEM, NULL, "kernel %s", c->k->name);
    }
    free(c->val);
    free(c->carried);
    free(c->counter);
    free(c->end_of);
    free(c->else_of);
    free(c->before);
    free(c->body);
    free(c->after);
    return s;
}

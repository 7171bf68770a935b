/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llvm.c - kernels to a relocatable object through LLVM's C interface.
 *
 * One context, target machine and module per call, so calls from several
 * threads do not meet.  No IR passes run unless a kernel asks for early-cse
 * and licm; machine code is made at the default level, position independent,
 * small code model.  The object needs no outside symbol.  LLVM 19..22.
 */
#include "codegen/cpu/llvm_rename.h"
#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "codegen/cpu/llvm_int.h"
#include "codegen/cpu/llvm_load.h"

static void start_llvm(void)
{
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
}

/* What LLVM has to say about the code, first error only. */
typedef struct complaint { bool error; char text[256]; } complaint;

static void on_diagnostic(LLVMDiagnosticInfoRef info, void *arg)
{
    complaint *c = arg;
    char *text;

    if (LLVMGetDiagInfoSeverity(info) != LLVMDSError || c->error)
        return;
    text = LLVMGetDiagInfoDescription(info);
    c->error = true;
    strncpy(c->text, text, sizeof c->text - 1);
    LLVMDisposeMessage(text);
}

static cab_status create_machine(const cab_target *t, LLVMTargetMachineRef *out, cab_diag *d)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    LLVMTargetRef target;
    char *text = NULL;

    CAB_TRY(cab_llvm_load(d));
    pthread_once(&once, start_llvm);
    if (LLVMGetTargetFromTriple(t->triple, &target, &text)) {
        cab_status s = cab_fail(d, CAB_EUNSUPPORTED, NULL, "target %s: %s", t->triple, text);
        LLVMDisposeMessage(text);
        return s;
    }
    *out = LLVMCreateTargetMachine(target, t->triple, t->cpu, t->features,
                                   LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelSmall);
    return *out ? CAB_OK : cab_fail(d, CAB_EUNSUPPORTED, NULL, "no machine for %s", t->cpu);
}

static cab_ll context(LLVMContextRef ctx, const cab_target *t, cab_diag *d)
{
    return (cab_ll){
        .ctx = ctx, .target = t, .diag = d,
        .f16c = strstr(t->features, "+f16c") != NULL,
        .ptr = LLVMPointerTypeInContext(ctx, 0),
        .i1 = LLVMInt1TypeInContext(ctx), .i8 = LLVMInt8TypeInContext(ctx),
        .i16 = LLVMInt16TypeInContext(ctx), .i32 = LLVMInt32TypeInContext(ctx),
        .i64 = LLVMInt64TypeInContext(ctx), .f16 = LLVMHalfTypeInContext(ctx),
        .f32 = LLVMFloatTypeInContext(ctx), .f64 = LLVMDoubleTypeInContext(ctx)
    };
}

static cab_status render(cab_ll *c, const cab_kir *const *kernels, int n)
{
    c->b = LLVMCreateBuilderInContext(c->ctx);
    c->top = LLVMCreateBuilderInContext(c->ctx);
    cab_status s = CAB_OK;

    for (int i = 0; i < n && s == CAB_OK; i++) {
        c->k = kernels[i];
        s = cab_ll_function(c);
    }
    LLVMDisposeBuilder(c->b);
    LLVMDisposeBuilder(c->top);
    return s;
}

static cab_status verify(cab_ll *c)
{
    char *text = NULL;
    cab_status s = CAB_OK;

    if (LLVMVerifyModule(c->mod, LLVMReturnStatusAction, &text))
        s = cab_fail(c->diag, CAB_EINTERNAL, NULL, "LLVM refuses the code: %s", text);
    LLVMDisposeMessage(text);
    return s;
}

static cab_status passes(cab_ll *c, LLVMTargetMachineRef tm)
{
    LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();
    LLVMErrorRef e = LLVMRunPasses(c->mod, "function(early-cse,loop-mssa(licm))", tm, o);
    cab_status s = CAB_OK;

    LLVMDisposePassBuilderOptions(o);
    if (e) {
        char *text = LLVMGetErrorMessage(e);
        s = cab_fail(c->diag, CAB_EINTERNAL, NULL, "LLVM passes: %s", text);
        LLVMDisposeErrorMessage(text);
    }
    return s;
}

/* Machine code or assembly of the module into *out (malloc'ed, with a NUL). */
static cab_status emit(cab_ll *c, LLVMTargetMachineRef tm, LLVMCodeGenFileType type,
                       char **out, size_t *out_n)
{
    LLVMMemoryBufferRef m = NULL;
    char *text = NULL;

    if (LLVMTargetMachineEmitToMemoryBuffer(tm, c->mod, type, &text, &m)) {
        cab_status s = cab_fail(c->diag, CAB_EINTERNAL, NULL, "LLVM: %s", text ? text : "?");
        LLVMDisposeMessage(text);
        return s;
    }
    *out_n = LLVMGetBufferSize(m);
    *out = malloc(*out_n + 1);
    if (*out) {
        memcpy(*out, LLVMGetBufferStart(m), *out_n);
        (*out)[*out_n] = 0;
    }
    LLVMDisposeMemoryBuffer(m);
    return *out ? CAB_OK : cab_fail(c->diag, CAB_ENOMEM, NULL, "object code");
}

/* The texts come first: emitting an object may change the module. */
static cab_status texts(cab_ll *c, LLVMTargetMachineRef tm, cab_object *out)
{
    LLVMModuleRef mod = c->mod;
    char *ir = LLVMPrintModuleToString(mod);
    cab_status s;
    size_t n;

    out->ir = strdup(ir ? ir : "");
    LLVMDisposeMessage(ir);
    c->mod = LLVMCloneModule(mod);
    s = emit(c, tm, LLVMAssemblyFile, &out->assembly, &n);
    LLVMDisposeModule(c->mod);
    c->mod = mod;
    return s;
}

static cab_status make(cab_ll *c, const cab_kir *const *kernels, int n,
                       LLVMTargetMachineRef tm, cab_object *out)
{
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(tm);
    bool tidy = false;

    LLVMSetModuleDataLayout(c->mod, layout);
    LLVMDisposeTargetData(layout);
    LLVMSetTarget(c->mod, c->target->triple);
    CAB_TRY(render(c, kernels, n));
#ifndef NDEBUG
    CAB_TRY(verify(c));
#endif
    for (int i = 0; i < n; i++)
        tidy |= kernels[i]->licm || kernels[i]->cse;
    if (tidy)
        CAB_TRY(passes(c, tm));
    if (out->want_text)
        CAB_TRY(texts(c, tm, out));
    return emit(c, tm, LLVMObjectFile, (char **)&out->elf, &out->n);
}

cab_status cab_llvm_object(const cab_kir *const *kernels, int n, const cab_target *t,
                           cab_object *out, cab_diag *d)
{
    LLVMTargetMachineRef tm;
    complaint said = { 0 };
    cab_status s;

    *out = (cab_object){ .want_text = out->want_text };
    CAB_TRY(create_machine(t, &tm, d));
    LLVMContextRef ctx = LLVMContextCreate();
    LLVMContextSetDiagnosticHandler(ctx, on_diagnostic, &said);
    cab_ll c = context(ctx, t, d);
    c.mod = LLVMModuleCreateWithNameInContext("kernels", ctx);
    s = make(&c, kernels, n, tm, out);
    if (s == CAB_OK && said.error)
        s = cab_fail(d, CAB_EINTERNAL, NULL, "LLVM: %s", said.text);
    LLVMDisposeModule(c.mod);
    LLVMContextDispose(ctx);
    LLVMDisposeTargetMachine(tm);
    if (s != CAB_OK)
        cab_object_fini(out);
    return s;
}

void cab_object_fini(cab_object *o)
{
    free(o->elf);
    free(o->ir);
    free(o->assembly);
    *o = (cab_object){ 0 };
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.h - something to do on the control thread (control.h).
 */
#ifndef CAB_SERVE_TASK_H
#define CAB_SERVE_TASK_H

struct cab_service;
struct cab_exchange;

/* run frees it, or it lies in the memory of its exchange. */
typedef struct cab_task {
    void (*run)(struct cab_service *s, struct cab_task *t);
    struct cab_exchange *x;    /* to be answered; or NULL */
    struct cab_task *next;
} cab_task;

#endif

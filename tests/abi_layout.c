/* SPDX-License-Identifier: Apache-2.0 */
/*
 * abi_layout.c - prints the layout of the public structs, a line per field;
 * tests/check-abi.sh compares with tests/abi.expected.
 */
#include <cab_rt.h>
#include <stddef.h>
#include <stdio.h>

#define FIELD(T, f) printf("field " #T "." #f " at %zu size %zu\n", offsetof(T, f), sizeof(((T *)0)->f));
#define CODE(c) printf("code " #c " %d\n", c);

int main(void)
{
    FIELD(cab_error, code) FIELD(cab_error, text)
    FIELD(cab_tensor_info, name) FIELD(cab_tensor_info, dtype) FIELD(cab_tensor_info, rank)
    FIELD(cab_tensor_info, dims) FIELD(cab_tensor_info, dim_names)
    FIELD(cab_tensor_view, dtype) FIELD(cab_tensor_view, rank) FIELD(cab_tensor_view, dims)
    FIELD(cab_tensor_view, data) FIELD(cab_tensor_view, bytes)
    FIELD(cab_allocator, alloc) FIELD(cab_allocator, release) FIELD(cab_allocator, user)
    FIELD(cab_custom_attr, name) FIELD(cab_custom_attr, n) FIELD(cab_custom_attr, ints)
    FIELD(cab_custom_attr, floats) FIELD(cab_custom_attr, text)
    FIELD(cab_custom_call, node) FIELD(cab_custom_call, n_inputs) FIELD(cab_custom_call, n_outputs)
    FIELD(cab_custom_call, n_attrs) FIELD(cab_custom_call, inputs) FIELD(cab_custom_call, outputs)
    FIELD(cab_custom_call, attrs)
    FIELD(cab_custom_op, domain) FIELD(cab_custom_op, name) FIELD(cab_custom_op, compute)
    FIELD(cab_custom_op, user)
    FIELD(cab_model_options, size) FIELD(cab_model_options, allocator) FIELD(cab_model_options, log)
    FIELD(cab_model_options, log_user) FIELD(cab_model_options, verify)
    FIELD(cab_model_options, custom) FIELD(cab_model_options, n_custom)
    FIELD(cab_model_options, check_signature) FIELD(cab_model_options, signature_user)
    FIELD(cab_memory, weights) FIELD(cab_memory, intermediate) FIELD(cab_memory, outputs)
    FIELD(cab_session_options, size) FIELD(cab_session_options, threads)
    FIELD(cab_session_options, trace) FIELD(cab_session_options, max_bytes)
    FIELD(cab_session_options, huge_pages)
    FIELD(cab_trace_event, kind) FIELD(cab_trace_event, name) FIELD(cab_trace_event, layers)
    FIELD(cab_trace_event, what) FIELD(cab_trace_event, start_ns) FIELD(cab_trace_event, ns)
    FIELD(cab_trace_event, tasks)
    FIELD(cab_state_info, input) FIELD(cab_state_info, output) FIELD(cab_state_info, axis)
    CODE(CAB_RT_OK) CODE(CAB_RT_EINVAL) CODE(CAB_RT_EIO) CODE(CAB_RT_EPARSE) CODE(CAB_RT_EMODEL)
    CODE(CAB_RT_EUNSUPPORTED) CODE(CAB_RT_ELIMIT) CODE(CAB_RT_ENOMEM) CODE(CAB_RT_EARTIFACT)
    CODE(CAB_RT_EINPUT) CODE(CAB_RT_ECANCELLED) CODE(CAB_RT_EINTERNAL) CODE(CAB_RT_EDEADLINE)
    CODE(CAB_VERIFY_CODE) CODE(CAB_VERIFY_FULL)
    return 0;
}

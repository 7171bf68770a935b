#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The text form and the verifier on every file of tests/ir and tests/verify.
exec ./tests/test_text "$srcdir"/tests/ir/*.cir "$srcdir"/tests/verify/*.cir

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Passes on text: every file of tests/passes.
exec ./tests/test_passes "$srcdir"/tests/passes/*.cir

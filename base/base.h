/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base.h - everything the ground floor offers, in reading order.
 */
#ifndef CAB_BASE_BASE_H
#define CAB_BASE_BASE_H
#include "base/status.h"
#include "base/diag.h"
#include "base/cancel.h"
#include "base/arena.h"
#include "base/vec.h"
#include "base/map.h"
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/dtype.h"
#include "base/dim.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/sha256.h"
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve_options.h - what the server was told: flags, environment, configuration file.
 */
#ifndef CAB_SERVE_OPTIONS_H
#define CAB_SERVE_OPTIONS_H
#include "base/diag.h"
#include "serve/bytes.h"
#include <stdint.h>

enum { CAB_LIST_MAX = 8 };
typedef struct cab_text_list { char *at[CAB_LIST_MAX]; int n; } cab_text_list;

typedef struct cab_options {
#define OPTION_TYPE_TEXT char *
#define OPTION_TYPE_LIST cab_text_list
#define OPTION_TYPE_COUNT int64_t
#define OPTION_TYPE_BYTES int64_t
#define OPTION_TYPE_MS int64_t
#define OPTION_TYPE_SWITCH int64_t
#define OPTION(field, kind, text, least, most, doc) OPTION_TYPE_##kind field;
#include "serve/serve_options.def"
} cab_options;

/* Reads argv (from argv[1] on), the environment and the file of --config; every number is within its bounds then, and
 * what goes together is together.  The story names flag, variable or key.  cab_options_fini in any case. */
cab_status cab_options_read(cab_options *o, int argc, char **argv, cab_diag *d);
void cab_options_fini(cab_options *o);
/* The table as text for --help. */
void cab_options_help(cab_bytes *b);

#endif

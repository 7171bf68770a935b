/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1_chars.c - the tables of character classes, computed by the compiler
 * from the grammar's own words.
 */
#include "serve/http/http1_int.h"

#define UPPER(c) ((c) >= 'A' && (c) <= 'Z')
#define DIGIT(c) ((c) >= '0' && (c) <= '9')
#define ALNUM(c) (UPPER(c) || ((c) >= 'a' && (c) <= 'z') || DIGIT(c))
#define HEX(c) (DIGIT(c) || ((c) >= 'A' && (c) <= 'F') || ((c) >= 'a' && (c) <= 'f'))
#define VISIBLE(c) ((c) > 0x20 && (c) < 0x7f)

/* RFC 9110, 5.6.2 */
#define TOKEN(c) (ALNUM(c) || (c) == '!' || (c) == '#' || (c) == '$' || (c) == '%' || (c) == '&' ||  \
    (c) == '\'' || (c) == '*' || (c) == '+' || (c) == '-' || (c) == '.' || (c) == '^' ||             \
    (c) == '_' || (c) == '`' || (c) == '|' || (c) == '~')
#define VALUE(c) ((c) == '\t' || ((c) >= 0x20 && (c) != 0x7f))
/* RFC 3986, appendix A */
#define UNRESERVED(c) (ALNUM(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~')
#define SUB_DELIM(c) ((c) == '!' || (c) == '$' || (c) == '&' || (c) == '\'' || (c) == '(' ||         \
    (c) == ')' || (c) == '*' || (c) == '+' || (c) == ',' || (c) == ';' || (c) == '=')
#define PATH(c) (UNRESERVED(c) || SUB_DELIM(c) || (c) == '%' || (c) == ':' || (c) == '@' || (c) == '/')
#define QUERY(c) (PATH(c) || (c) == '?' || (c) == '[' || (c) == ']' || (c) == '{' || (c) == '}' ||   \
    (c) == '|' || (c) == '^' || (c) == '`')

#define CLASS(c) ((TOKEN(c) ? CAB_CH_TOKEN : 0) | (VALUE(c) ? CAB_CH_VALUE : 0) |                    \
    (VISIBLE(c) ? CAB_CH_VISIBLE : 0) | (PATH(c) ? CAB_CH_PATH : 0) | (QUERY(c) ? CAB_CH_QUERY : 0) | \
    (UNRESERVED(c) ? CAB_CH_HOST : 0) | (HEX(c) || (c) == ':' || (c) == '.' ? CAB_CH_IPV6 : 0) |     \
    (DIGIT(c) ? CAB_CH_DIGIT : 0))
#define LOWER(c) (!TOKEN(c) ? 0 : UPPER(c) ? (c) + 32 : (c))

#define ROW4(f, c) f(c), f((c) + 1), f((c) + 2), f((c) + 3)
#define ROW16(f, c) ROW4(f, c), ROW4(f, (c) + 4), ROW4(f, (c) + 8), ROW4(f, (c) + 12)
#define ROW64(f, c) ROW16(f, c), ROW16(f, (c) + 16), ROW16(f, (c) + 32), ROW16(f, (c) + 48)
#define ALL(f) { ROW64(f, 0), ROW64(f, 64), ROW64(f, 128), ROW64(f, 192) }

const uint8_t cab_ch_class[256] = ALL(CLASS);
const uint8_t cab_ch_lower[256] = ALL(LOWER);

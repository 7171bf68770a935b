/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_json.c - the JSON pull parser: what it accepts, what it refuses and
 * where, tokens, limits, strings.
 */
#include "serve/json/json_pull.h"
#include "tests/test.h"

/* A row's text may hold NUL: its length is the literal's. */
typedef struct row { const char *text; size_t n; } row;
#define T(s) { s, sizeof(s) - 1 }

static const row accepted[] = {
    T("[]"), T("{}"), T("null"), T("true"), T("false"), T("0"), T("-0"), T("\"\""), T(" [ ] "), T("\t\r\n{\n}\n"),
    T("[1]"), T("[1,2]"), T("[[]   ]"), T("[null, 1, \"1\", {}]"), T("[1,null,null,null,2]"), T("[2] "),
    T("[123e65]"), T("[0e+1]"), T("[0e1]"), T("[1E22]"), T("[1E-2]"), T("[1E+2]"), T("[20e1]"), T("[-123]"),
    T("[123.456e78]"), T("[1e-999999]"), T("[1e999999]"), T("[-0.0]"), T("[0.000000000000000000000000000001]"),
    T("123456789012345678901234567890123456789012345678901234567890"), T("\t1\n"), T("[ 4]"), T("[-2.5e-3 ]"),
    T("{\"a\":1}"), T("{\"\":0}"), T("{\"a\":\"b\",\"a\":\"b\"}"), T("{\"a\" : [ ] , \"b\" : { } }"), T("{\"a\\u0000b\":1}"),
    T("{\"a\":{\"b\":{\"c\":[{\"d\":[]}]}}}"), T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), T("\"\\u0060\\u012a\\u12AB\""),
    T("\"\\uD801\\udc37\""), T("\"\\ud83d\\ude39\\ud83d\\udc8d\""), T("\"\\u0000\""), T("\"\\uFFFF\""), T("\"\\uFDD0\""),
    T("\"\xc3\xa9\""), T("\"\xe2\x82\xac\""), T("\"\xf0\x9f\x98\xb9\""), T("\"\xf4\x8f\xbf\xbf\""), T("\"\xed\x9f\xbf\""),
    T("\"\xee\x80\x80\""), T("\"\x7f\""), T("\"a/*b*/c\""), T("\"\xc2\x80\""), T("\"\xe0\xa0\x80\""), T("\"\\\\u0000\""),
    T("\"eight or more bytes, then \\n and \xc3\xa9 and more\""), T("[\"\\\"\"]"), T("[true,false]"), T("\"\xef\xbf\xbe\""),
};

/* Where the error is, and a word of what is said. */
static const struct { row t; size_t at; const char *word; } refused[] = {
    { T(""), 0, "too early" }, { T(" "), 1, "too early" }, { T("["), 1, "too early" }, { T("[1"), 2, "too early" },
    { T("[1,"), 3, "too early" }, { T("{"), 1, "too early" }, { T("{\"a\""), 4, "too early" }, { T("{\"a\":"), 5, "too early" },
    { T("{\"a\":1"), 6, "too early" }, { T("\"a"), 2, "too early" }, { T("-"), 1, "too early" }, { T("1."), 2, "too early" },
    { T("1e"), 2, "too early" }, { T("[1,]"), 3, "value" }, { T("[,1]"), 1, "value" }, { T("[,]"), 1, "value" },
    { T("[1,,2]"), 3, "value" }, { T("[1 2]"), 3, "comma or ]" }, { T("[1:2]"), 2, "comma or ]" }, { T("[1}"), 2, "comma or ]" },
    { T("]"), 0, "value" }, { T("}"), 0, "value" }, { T("[]]"), 2, "behind" }, { T("{}}"), 2, "behind" },
    { T("1 2"), 2, "behind" }, { T("[]x"), 2, "behind" }, { T("nul"), 0, "value" }, { T("True"), 0, "value" },
    { T("truex"), 4, "behind" }, { T("nan"), 0, "value" }, { T("NaN"), 0, "value" }, { T("Infinity"), 0, "value" },
    { T("-Infinity"), 1, "digit" }, { T("+1"), 0, "value" }, { T("01"), 0, "leading zero" }, { T("-01"), 1, "leading zero" },
    { T("00"), 0, "leading zero" }, { T(".5"), 0, "value" }, { T("-.5"), 1, "digit" }, { T("[1.]"), 3, "decimal point" },
    { T("[1.e1]"), 3, "decimal point" }, { T("[1e]"), 3, "exponent" }, { T("[1e+]"), 3, "exponent" }, { T("[1eE2]"), 3, "exponent" },
    { T("[1.5e1.5]"), 6, "comma or ]" }, { T("[0x1]"), 2, "comma or ]" }, { T("[1_000]"), 2, "comma or ]" }, { T("[--1]"), 2, "digit" },
    { T("[- 1]"), 2, "digit" }, { T("[1\xc3\xa9]"), 2, "comma or ]" }, { T("{1:2}"), 1, "key" }, { T("{a:1}"), 1, "key" },
    { T("{'a':1}"), 1, "key" }, { T("{,}"), 1, "key" }, { T("{\"a\":1,}"), 7, "key" }, { T("{\"a\" 1}"), 5, "colon" },
    { T("{\"a\",1}"), 4, "colon" }, { T("{\"a\"::1}"), 5, "value" }, { T("{\"a\":}"), 5, "value" }, { T("{\"a\":1 \"b\":2}"), 7, "comma or }" },
    { T("{\"a\":1]"), 6, "comma or }" }, { T("{\"a\"}"), 4, "colon" }, { T("{[]:1}"), 1, "key" }, { T("[\"a\",\n\t1,2{"), 10, "comma or ]" },
    { T("\"\n\""), 1, "control" }, { T("\"\t\""), 1, "control" }, { T("\"a\0b\""), 2, "control" }, { T("\"\x1f\""), 1, "control" },
    { T("\"\\a\""), 1, "escape" }, { T("\"\\x41\""), 1, "escape" }, { T("\"\\'\""), 1, "escape" }, { T("\"\\\0\""), 1, "escape" },
    { T("\"\\u12\""), 1, "escape" }, { T("\"\\u123g\""), 1, "escape" }, { T("\"\\uD800\""), 1, "surrogate" }, { T("\"\\uDC00\""), 1, "surrogate" },
    { T("\"\\uD800\\uD800\""), 1, "surrogate" }, { T("\"\\uD800\\n....\""), 1, "surrogate" }, { T("\"\\uD800abcdefg\""), 1, "surrogate" },
    { T("\"\x80\""), 1, "UTF-8" }, { T("\"\xc3\""), 1, "UTF-8" }, { T("\"\xc0\x80\""), 1, "UTF-8" }, { T("\"\xc1\xbf\""), 1, "UTF-8" },
    { T("\"\xe0\x80\x80\""), 1, "UTF-8" }, { T("\"\xe0\x9f\xbf\""), 1, "UTF-8" }, { T("\"\xed\xa0\x80\""), 1, "UTF-8" },
    { T("\"\xed\xbf\xbf\""), 1, "UTF-8" }, { T("\"\xf0\x80\x80\x80\""), 1, "UTF-8" }, { T("\"\xf4\x90\x80\x80\""), 1, "UTF-8" },
    { T("\"\xf5\x80\x80\x80\""), 1, "UTF-8" }, { T("\"\xff\""), 1, "UTF-8" }, { T("\"12345678\xe2\x82\""), 9, "UTF-8" },
    { T("\xef\xbb\xbf[]"), 0, "value" }, { T("[\x0c]"), 1, "value" }, { T("[\0]"), 1, "value" }, { T("[\xc2\xa0]"), 1, "value" },
    { T("/**/[]"), 0, "value" }, { T("[] //"), 3, "behind" }, { T("#[]"), 0, "value" }, { T("[1;2]"), 2, "comma or ]" },
    { T("*"), 0, "value" }, { T("\\u005b]"), 0, "value" }, { T("[<null>]"), 1, "value" }, { T("{\"x\":true,\"y\":tru}"), 14, "value" },
};

static cab_json_token drain(cab_json *j)
{
    cab_json_token t;
    do
        t = cab_json_next(j);
    while (t != CAB_JSON_ERROR && t != CAB_JSON_END);
    return t;
}

/* In memory of its own, so that a read too far is seen by AddressSanitizer. */
static cab_json on_copy(row t, char **copy, const cab_json_limits *l)
{
    cab_json j;
    *copy = malloc(t.n ? t.n : 1);
    memcpy(*copy, t.text, t.n);
    cab_json_init(&j, (cab_slice){ *copy, t.n }, l);
    return j;
}

static void check_accepted(void)
{
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        char *copy;
        cab_json j = on_copy(accepted[i], &copy, NULL), again = j;
        if (drain(&j) != CAB_JSON_END)
            fprintf(stderr, "%s: %s at %zu\n", accepted[i].text, j.why, j.at);
        CHECK(j.state && !*j.why && cab_json_next(&j) == CAB_JSON_END);
        CHECK(cab_json_skip(&again) && cab_json_next(&again) == CAB_JSON_END);
        free(copy);
        for (size_t n = 0; n < accepted[i].n; n++) {       /* every beginning is read without reading too far */
            j = on_copy((row){ accepted[i].text, n }, &copy, NULL);
            drain(&j);
            free(copy);
        }
    }
}

static void check_refused(void)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char *copy;
        cab_json j = on_copy(refused[i].t, &copy, NULL), again = j;
        bool ok = drain(&j) == CAB_JSON_ERROR && j.at == refused[i].at && strstr(j.why, refused[i].word);
        if (!ok)
            fprintf(stderr, "%s: '%s' at %zu, expected '%s' at %zu\n", refused[i].t.text, j.why, j.at,
                    refused[i].word, refused[i].at);
        CHECK(ok);
        CHECK(cab_json_next(&j) == CAB_JSON_ERROR && j.at == refused[i].at);
        CHECK(!cab_json_skip(&again) || cab_json_next(&again) == CAB_JSON_ERROR);
        free(copy);
    }
}

static void check_tokens(void)
{
    const char *s = " {\"a\": [1, -2.5e1, \"x\\ny\"], \"b\\u0041\" : {\"c\":true} , \"d\":null}";
    static const struct { cab_json_token t; const char *text; unsigned depth; size_t at; } rows[] = {
        { CAB_JSON_OBJECT, NULL, 1, 1 }, { CAB_JSON_KEY, "a", 1, 2 }, { CAB_JSON_ARRAY, NULL, 2, 7 },
        { CAB_JSON_NUMBER, "1", 2, 8 }, { CAB_JSON_NUMBER, "-2.5e1", 2, 11 }, { CAB_JSON_STRING, "x\\ny", 2, 19 },
        { CAB_JSON_ARRAY_END, NULL, 1, 25 }, { CAB_JSON_KEY, "b\\u0041", 1, 28 }, { CAB_JSON_OBJECT, NULL, 2, 40 },
        { CAB_JSON_KEY, "c", 2, 41 }, { CAB_JSON_TRUE, NULL, 2, 45 }, { CAB_JSON_OBJECT_END, NULL, 1, 49 },
        { CAB_JSON_KEY, "d", 1, 53 }, { CAB_JSON_NULL, NULL, 1, 57 }, { CAB_JSON_OBJECT_END, NULL, 0, 61 }, { CAB_JSON_END, NULL, 0, 62 },
    };
    cab_json j;
    cab_json_init(&j, cab_slice_of(s), NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK_EQ(cab_json_next(&j), rows[i].t);
        CHECK(!rows[i].text || cab_slice_is(j.text, rows[i].text));
        CHECK_EQ(j.depth, rows[i].depth);
        CHECK_EQ(j.at, rows[i].at);
        if (i == 4)
            CHECK(j.number.w == 25 && j.number.q == 0 && j.number.negative);
        if (i == 7)
            CHECK(j.escaped && cab_json_is(&j, "bA") && !cab_json_is(&j, "b") && !cab_json_is(&j, "bAb"));
        if (i == 1)
            CHECK(!j.escaped && cab_json_is(&j, "a") && !cab_json_is(&j, "ab"));
    }
}

static void check_skip(void)
{
    cab_json j;
    cab_json_init(&j, CAB_SLICE("{\"skip\":[1,[2,{\"x\":[]}],3],\"keep\":7,\"rest\":[1,[2]]}"), NULL);
    CHECK(cab_json_next(&j) == CAB_JSON_OBJECT && cab_json_next(&j) == CAB_JSON_KEY);
    CHECK(cab_json_skip(&j) && j.depth == 1);
    CHECK(cab_json_next(&j) == CAB_JSON_KEY && cab_json_is(&j, "keep") && cab_json_skip(&j));
    CHECK(cab_json_next(&j) == CAB_JSON_KEY && cab_json_next(&j) == CAB_JSON_ARRAY);
    CHECK(cab_json_next(&j) == CAB_JSON_NUMBER && cab_json_skip(&j) && cab_json_next(&j) == CAB_JSON_ARRAY_END && j.depth == 1);
    CHECK(cab_json_next(&j) == CAB_JSON_OBJECT_END && j.depth == 0 && cab_json_next(&j) == CAB_JSON_END);
    cab_json_init(&j, CAB_SLICE("[[1,x]]"), NULL);
    CHECK(cab_json_next(&j) == CAB_JSON_ARRAY && !cab_json_skip(&j) && j.at == 4);
    cab_json_init(&j, CAB_SLICE("[]"), NULL);
    CHECK(cab_json_next(&j) == CAB_JSON_ARRAY && !cab_json_skip(&j) && cab_json_next(&j) == CAB_JSON_END);
}

static void check_limits(void)
{
    char deep[600];
    cab_json j;
    for (int depth = 1; depth <= 260; depth += depth == 64 || depth >= 255 ? 1 : 63) {
        memset(deep, '[', (size_t)depth);
        memset(deep + depth, ']', (size_t)depth);
        for (unsigned limit = 0; limit <= 300; limit += 100) {
            cab_json_limits l = { .depth = limit };
            int allowed = limit == 0 ? 64 : limit < 256 ? (int)limit : 256;
            cab_json_init(&j, (cab_slice){ deep, 2 * (size_t)depth }, &l);
            CHECK_EQ(drain(&j), depth <= allowed ? CAB_JSON_END : CAB_JSON_ERROR);
            CHECK(depth <= allowed || (!strcmp(j.why, "nested too deeply") && j.at == (size_t)allowed));
        }
    }
    cab_json_limits l = { .string = 3 };
    cab_json_init(&j, CAB_SLICE("[\"abc\",\"abcd\"]"), &l);
    CHECK(drain(&j) == CAB_JSON_ERROR && j.at == 7 && strstr(j.why, "longer"));
    cab_json_init(&j, CAB_SLICE("{\"abcd\":1}"), &l);
    CHECK(drain(&j) == CAB_JSON_ERROR && j.at == 1);
    /* Objects and arrays in turn: levels keep apart what they are. */
    char mixed[1300];
    size_t n = 0;
    for (int i = 0; i < 128; i++)
        n += (size_t)sprintf(mixed + n, "[{\"k\":");
    mixed[n++] = '0';
    for (int i = 0; i < 128; i++)
        n += (size_t)sprintf(mixed + n, "}]");
    l = (cab_json_limits){ .depth = 256 };
    cab_json_init(&j, (cab_slice){ mixed, n }, &l);
    CHECK_EQ(drain(&j), CAB_JSON_END);
    mixed[n - 3] = '}';
    cab_json_init(&j, (cab_slice){ mixed, n }, &l);
    CHECK_EQ(drain(&j), CAB_JSON_ERROR);
}

static void check_names(void)
{
    cab_json_limits l = { .names = true };
    cab_json j;
    float v;
    static const char *const bad[] = { "[-NaN]", "[nan]", "[Inf]", "[Na]", "[-Infinit]", "[NaNN]", "[+Infinity]", "[N", "[-I" };
    cab_json_init(&j, CAB_SLICE("[NaN,Infinity, -Infinity]"), &l);
    CHECK(cab_json_next(&j) == CAB_JSON_ARRAY && cab_json_next(&j) == CAB_JSON_NUMBER);
    CHECK(cab_decimal_f32(&j.number, &v) == CAB_FITS && v != v);
    CHECK(cab_json_next(&j) == CAB_JSON_NUMBER && cab_decimal_f32(&j.number, &v) == CAB_FITS && v > 1e38f);
    CHECK(cab_json_next(&j) == CAB_JSON_NUMBER && cab_decimal_f32(&j.number, &v) == CAB_FITS && v < -1e38f);
    CHECK(cab_slice_is(j.text, "-Infinity"));
    CHECK(cab_json_next(&j) == CAB_JSON_ARRAY_END && cab_json_next(&j) == CAB_JSON_END);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *copy;
        j = on_copy((row){ bad[i], strlen(bad[i]) }, &copy, &l);
        CHECK_EQ(drain(&j), CAB_JSON_ERROR);
        free(copy);
    }
}

static void unescaped(const char *text, const char *want, size_t n)
{
    char small[64];
    CHECK_EQ(cab_json_unescape_to(cab_slice_of(text), small, sizeof small), n);
    CHECK(!memcmp(small, want, n));
    memset(small, '#', sizeof small);
    CHECK_EQ(cab_json_unescape_to(cab_slice_of(text), small, n / 2), n);
    CHECK(!memcmp(small, want, n / 2) && small[n / 2] == '#');
}

static void written(cab_slice s, const char *want)
{
    cab_bytes b = { 0 };
    cab_json j;
    cab_json_put_string(&b, s);
    CHECK_STR(cab_bytes_cstr(&b), want);
    cab_json_init(&j, (cab_slice){ b.p, b.n }, NULL);
    CHECK(cab_json_next(&j) == CAB_JSON_STRING && cab_json_next(&j) == CAB_JSON_END);
    cab_bytes_fini(&b);
}

static void check_strings(void)
{
    unescaped("", "", 0);
    unescaped("plain", "plain", 5);
    unescaped("\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t", 8);
    unescaped("\\u0041\\u00e9\\u20ac\\ud83d\\ude39", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\xb9", 10);
    unescaped("a\\u0000b", "a\0b", 3);
    unescaped("x\\uffffy\\u07ffz\\u0800", "x\xef\xbf\xbfy\xdf\xbfz\xe0\xa0\x80", 11);
    unescaped("\\udbff\\udfff", "\xf4\x8f\xbf\xbf", 4);
    written(CAB_SLICE("plain"), "\"plain\"");
    written(CAB_SLICE("a\"b\\c\n\t\x01\x7f"), "\"a\\\"b\\\\c\\n\\t\\u0001\x7f\"");
    written(CAB_SLICE("\0"), "\"\\u0000\"");
    written(CAB_SLICE("\xc3\xa9"), "\"\xc3\xa9\"");
    written(CAB_SLICE("\xc3(\xff)"), "\"\xef\xbf\xbd(\xef\xbf\xbd)\"");
    written(CAB_SLICE(""), "\"\"");
}

int main(void)
{
    check_accepted();
    check_refused();
    check_tokens();
    check_skip();
    check_limits();
    check_names();
    check_strings();
    TEST_END();
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digits.c - reads handwritten digits with a compiled model.
 *
 *   digits MODEL.cab images.npy labels.txt
 *
 * Shows the whole life of a model in a host program: load, look at the input,
 * make a session, run a batch, read the answers.  Needs libcabrt only.
 */
#include <cab_rt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIXELS = 64, DIGITS = 10, MAX_IMAGES = 1000 };

static const char *const words[DIGITS] = { "zero", "one", "two",   "three", "four",
                                           "five", "six", "seven", "eight", "nine" };

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "digits: %s: %s\n", what, why);
    return 1;
}

/* The float payload of a version 1 .npy file; the number of images, or -1. */
static int read_images(const char *path, float *out)
{
    unsigned char head[10];
    FILE *f = fopen(path, "rb");
    if (!f)
        return -1;
    int n = -1;
    if (fread(head, 1, sizeof head, f) == sizeof head &&
        !memcmp(head, "\x93NUMPY\x01", 7) &&
        !fseek(f, head[8] | head[9] << 8, SEEK_CUR))
        n = (int)(fread(out, sizeof(float) * PIXELS, MAX_IMAGES, f));
    fclose(f);
    return n;
}

static int read_labels(const char *path, int *out)
{
    FILE *f = fopen(path, "r");
    int n = 0;
    while (f && n < MAX_IMAGES && fscanf(f, "%d", &out[n]) == 1)
        n++;
    if (f)
        fclose(f);
    return n;
}

/* Four images side by side, dark to bright. */
static void draw(const float *image, int n)
{
    static const char shade[] = " .:-=+*#%@";
    for (int row = 0; row < 8; row++) {
        for (int i = 0; i < n; i++) {
            printf("   ");
            for (int col = 0; col < 8; col++) {
                float v = image[i * PIXELS + row * 8 + col];
                char c = shade[v < 0 ? 0 : v > 15 ? 9 : (int)(v * 9 / 15)];
                printf("%c%c", c, c);
            }
        }
        printf("\n");
    }
}

static int answer(const float *p)
{
    int best = 0;
    for (int d = 1; d < DIGITS; d++)
        if (p[d] > p[best])
            best = d;
    return best;
}

static int show(const float *images, const float *probability, const int *labels, int n)
{
    int right = 0;
    for (int at = 0; at < n; at += 4) {
        int row = n - at < 4 ? n - at : 4;
        draw(images + at * PIXELS, row);
        for (int i = at; i < at + row; i++) {
            int a = answer(probability + i * DIGITS);
            right += a == labels[i];
            char text[20];
            snprintf(text, sizeof text, "%s (%.1f %%)", words[a],
                     100 * (double)probability[i * DIGITS + a]);
            printf("   %-16s", text);
        }
        printf("\n\n");
    }
    printf("%d of %d images read right\n", right, n);
    return right == n ? 0 : 1;
}

int main(int argc, char **argv)
{
    static float images[MAX_IMAGES * PIXELS];
    static int labels[MAX_IMAGES];
    cab_model *model;
    cab_session *session;
    cab_error error = { 0 };
    cab_session_options options = { .size = sizeof options, .threads = 1 };
    if (argc != 4)
        return fail("usage", "digits MODEL.cab images.npy labels.txt");
    int n = read_images(argv[2], images);
    if (n <= 0 || read_labels(argv[3], labels) != n)
        return fail(argv[2], "images and labels cannot be read");
    if (cab_model_load(argv[1], NULL, &model, &error))
        return fail(argv[1], error.text);
    if (cab_session_create(model, &options, &session, &error))
        return fail(argv[1], error.text);
    cab_tensor_view in = { .dtype = 1, .rank = 4, .dims = { n, 1, 8, 8 }, .data = images,
                           .bytes = (size_t)n * PIXELS * sizeof(float) };
    cab_tensor_view out = { 0 };
    if (cab_session_run(session, &in, &out, &error))
        return fail(argv[1], error.text);
    int rc = show(images, out.data, labels, n);
    cab_session_destroy(session);
    cab_model_destroy(model);
    return rc;
}

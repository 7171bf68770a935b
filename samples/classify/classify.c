/* SPDX-License-Identifier: Apache-2.0 */
/*
 * classify.c - what is in a picture?  From a JPEG to the five best labels.
 *
 *   classify MODEL.cab LABELS.txt IMAGE.jpg [--mean a,b,c] [--std a,b,c]
 *
 * MODEL takes one float image [N, C, H, W] with C 1 (gray) or 3 (RGB) and gives
 * a number per class; an open H or W is 224.  LABELS has one name per line.
 * A pixel 0..255 becomes (pixel / 255 - mean) / std; the default is ImageNet's
 * for colour, and 0 and 1 for gray.  The picture is cut to the model's aspect
 * around its middle, then resized.  Links libcabrt.a -lpthread -lm -ljpeg.
 */
#include <cab_rt.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>                /* wants stdio.h before it */

enum { FLOAT = 1, TOP = 5, OPEN_SIZE = 224, MAX_SIDE = 16384 };

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "classify: %s: %s\n", what, why);
    return 1;
}

/* ---- the picture ---- */
typedef struct picture {
    unsigned char *pixels;          /* row-major, channels together */
    int width, height, channels;
} picture;

/* libjpeg calls exit() on an error unless it is told to jump.  Everything that
 * is looked at after the jump is in here, not in a register. */
typedef struct decoder {
    struct jpeg_decompress_struct c;
    struct jpeg_error_mgr manager;
    jmp_buf escape;
    char text[JMSG_LENGTH_MAX];
} decoder;

static void on_error(j_common_ptr c)
{
    decoder *d = c->client_data;
    c->err->format_message(c, d->text);
    longjmp(d->escape, 1);
}

static void on_message(j_common_ptr c)
{
    (void)c;                        /* warnings: a damaged end, odd markers */
}

/* Runs up to the first error of libjpeg; pic->pixels is the caller's to free. */
static int decode(decoder *d, FILE *f, int channels, picture *pic)
{
    if (setjmp(d->escape))
        return 1;
    jpeg_stdio_src(&d->c, f);
    jpeg_read_header(&d->c, TRUE);
    /* A few bytes of file may claim gigabytes of picture. */
    if (d->c.image_width > MAX_SIDE || d->c.image_height > MAX_SIDE) {
        snprintf(d->text, sizeof d->text, "larger than %d x %d", MAX_SIDE, MAX_SIDE);
        return 1;
    }
    d->c.out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&d->c);
    pic->width = (int)d->c.output_width;
    pic->height = (int)d->c.output_height;
    pic->channels = d->c.output_components;
    size_t stride = (size_t)pic->width * (size_t)pic->channels;
    pic->pixels = malloc(stride * (size_t)pic->height);
    if (!pic->pixels || pic->channels != channels) {
        snprintf(d->text, sizeof d->text, pic->pixels ? "unknown colours" : "out of memory");
        return 1;
    }
    while (d->c.output_scanline < d->c.output_height) {
        unsigned char *row = pic->pixels + stride * d->c.output_scanline;
        jpeg_read_scanlines(&d->c, &row, 1);
    }
    jpeg_finish_decompress(&d->c);
    return 0;
}

static int read_jpeg(const char *path, int channels, picture *pic)
{
    decoder d = { .text = "" };
    FILE *f = fopen(path, "rb");
    if (!f)
        return fail(path, "cannot be opened");
    d.c.err = jpeg_std_error(&d.manager);
    d.manager.error_exit = on_error;
    d.manager.output_message = on_message;
    d.c.client_data = &d;
    int rc = 1;
    /* Making the struct may fail too (a library of another version). */
    if (!setjmp(d.escape)) {
        jpeg_create_decompress(&d.c);
        rc = 0;
    }
    if (!rc)
        rc = decode(&d, f, channels, pic);
    jpeg_destroy_decompress(&d.c);
    fclose(f);
    return rc ? fail(path, d.text) : 0;
}

/* ---- resizing ---- */
/* One axis of a resize: from pixels [begin, begin + extent) to `want`.
 * Shrinking averages the area that an output pixel covers; growing goes from
 * pixel centre to pixel centre (bilinear).  Weights of output i: first[i] ...,
 * taps of them, sum 1. */
typedef struct axis {
    int want, taps;
    int *first;
    float *weight;
} axis;

static void axis_free(axis *a)
{
    free(a->first);
    free(a->weight);
}

static int clamp(int i, int n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static int axis_make(axis *a, double begin, double extent, int want)
{
    double scale = extent / want;
    a->want = want;
    a->taps = scale > 1 ? (int)ceil(scale) + 1 : 2;
    a->first = malloc((size_t)want * sizeof *a->first);
    a->weight = calloc((size_t)want * (size_t)a->taps, sizeof *a->weight);
    if (!a->first || !a->weight)
        return fail("resize", "out of memory");
    for (int i = 0; i < want; i++) {
        /* [lo, hi): what the output covers, at least a pixel wide.  A pixel's weight is its share. */
        double middle = begin + (i + 0.5) * scale, half = scale > 1 ? scale / 2 : 0.5, sum = 0;
        double lo = middle - half, hi = middle + half;
        float *w = a->weight + (size_t)i * (size_t)a->taps;
        a->first[i] = (int)floor(lo + 1e-9);
        for (int k = 0; k < a->taps; k++) {
            int p = a->first[i] + k;
            double share = fmin(hi, p + 1.0) - fmax(lo, p);
            w[k] = share > 0 ? (float)share : 0;
            sum += (double)w[k];
        }
        for (int k = 0; k < a->taps; k++)
            w[k] /= (float)sum;
    }
    return 0;
}

/* One output pixel: both axes at once.  Beyond the edge the edge goes on. */
static float sample(const picture *p, const axis *x, const axis *y, int col, int row, int channel)
{
    const float *wx = x->weight + (size_t)col * (size_t)x->taps;
    const float *wy = y->weight + (size_t)row * (size_t)y->taps;
    float sum = 0;
    for (int j = 0; j < y->taps; j++) {
        size_t line = (size_t)clamp(y->first[row] + j, p->height) * (size_t)p->width;
        float part = 0;
        if (wy[j] == 0)
            continue;
        for (int i = 0; i < x->taps; i++) {
            size_t at = line + (size_t)clamp(x->first[col] + i, p->width);
            part += wx[i] * p->pixels[at * (size_t)p->channels + (size_t)channel];
        }
        sum += wy[j] * part;
    }
    return sum;
}

typedef struct scaling { float mean[3], std[3]; } scaling;

/* Rows of pixels with their channels together -> one plane per channel (NCHW). */
static int to_tensor(const picture *p, const scaling *k, int width, int height, float *out)
{
    axis x = { 0 }, y = { 0 };
    /* The largest part around the middle that has the model's aspect. */
    double w = fmin(p->width, (double)p->height * width / height);
    double h = fmin(p->height, (double)p->width * height / width);
    int rc = axis_make(&x, (p->width - w) / 2, w, width);
    if (!rc)
        rc = axis_make(&y, (p->height - h) / 2, h, height);
    for (int c = 0; !rc && c < p->channels; c++)
        for (int row = 0; row < height; row++)
            for (int col = 0; col < width; col++)
                *out++ = (sample(p, &x, &y, col, row, c) / 255 - k->mean[c]) / k->std[c];
    axis_free(&x);
    axis_free(&y);
    return rc;
}

/* ---- labels ---- */
typedef struct labels { char *text, **line; size_t n; } labels;

static int read_labels(const char *path, labels *l)
{
    FILE *f = fopen(path, "rb");
    long size = -1;
    if (f && !fseek(f, 0, SEEK_END))
        size = ftell(f);
    if (size >= 0 && !fseek(f, 0, SEEK_SET))
        l->text = malloc((size_t)size + 1);
    size_t n = l->text ? fread(l->text, 1, (size_t)size, f) : 0;
    if (f)
        fclose(f);
    if (!l->text)
        return fail(path, "cannot be read");
    l->text[n] = 0;
    l->line = malloc((n + 1) * sizeof *l->line);        /* no more lines than bytes */
    if (!l->line)
        return fail(path, "out of memory");
    for (char *p = l->text; *p;) {
        size_t len = strcspn(p, "\r\n");
        char *next = p + len + strspn(p + len, "\r\n");
        p[len] = 0;
        l->line[l->n++] = p;
        p = next;
    }
    return 0;
}

/* ---- the answer ---- */
/* Models end in probabilities or in what softmax makes them of. */
static void to_probability(float *p, size_t n)
{
    float top = -INFINITY, sum = 0;
    int already = 1;
    for (size_t i = 0; i < n; i++) {
        top = fmaxf(top, p[i]);
        sum += p[i];
        already &= p[i] >= 0;
    }
    if (already && fabsf(sum - 1) < 1e-3f)
        return;
    sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += p[i] = expf(p[i] - top);
    for (size_t i = 0; i < n; i++)
        p[i] /= sum;
}

static void print_top(float *p, size_t n, const labels *l)
{
    for (int rank = 0; rank < TOP && (size_t)rank < n; rank++) {
        size_t best = 0;
        for (size_t i = 1; i < n; i++)
            if (p[i] > p[best])
                best = i;
        if (best < l->n)
            printf("%6.2f %%  %s\n", 100 * (double)p[best], l->line[best]);
        else
            printf("%6.2f %%  class %zu\n", 100 * (double)p[best], best);
        p[best] = -1;               /* the next round finds the next one */
    }
}

static int run(cab_session *s, cab_tensor_view *in, const labels *l)
{
    cab_error e = { 0 };
    cab_tensor_view out = { 0 };
    if (cab_session_run(s, in, &out, &e))
        return fail("run", e.text);
    if (out.dtype != FLOAT || out.bytes < sizeof(float))
        return fail("model", "its result is not a number per class");
    /* The session's memory until its next run: it may be written to. */
    to_probability(out.data, out.bytes / sizeof(float));
    print_top(out.data, out.bytes / sizeof(float), l);
    return 0;
}

/* The view of one image, with memory for it. */
static int make_input(const cab_model *m, cab_tensor_view *in)
{
    cab_tensor_info t;
    if (cab_model_input_count(m) != 1 || cab_model_output_count(m) != 1)
        return fail("model", "it has to have one input and one output");
    cab_model_input(m, 0, &t);
    if (t.dtype != FLOAT || t.rank != 4 || (t.dims[1] != 1 && t.dims[1] != 3) || t.dims[0] > 1)
        return fail("model", "its input has to be a float image [N, 1 or 3, H, W]");
    *in = (cab_tensor_view){ .dtype = FLOAT, .rank = 4, .dims = { 1, t.dims[1] } };
    for (int k = 2; k < 4; k++) {
        in->dims[k] = t.dims[k] < 0 ? OPEN_SIZE : t.dims[k];
        if (in->dims[k] < 1 || in->dims[k] > MAX_SIDE)
            return fail("model", "its input has no size for a picture");
    }
    in->bytes = (size_t)(in->dims[1] * in->dims[2] * in->dims[3]) * sizeof(float);
    in->data = malloc(in->bytes);
    return in->data ? 0 : fail("input", "out of memory");
}

static int classify(cab_model *m, const char *image, const scaling *given, const labels *l)
{
    static const scaling imagenet = { { 0.485f, 0.456f, 0.406f }, { 0.229f, 0.224f, 0.225f } };
    static const scaling plain = { { 0 }, { 1, 1, 1 } };
    cab_tensor_view in = { .data = NULL };
    cab_session *s = NULL;
    cab_error e = { 0 };
    picture pic = { 0 };
    int rc = make_input(m, &in);
    if (!rc)
        rc = read_jpeg(image, (int)in.dims[1], &pic);
    if (!rc) {
        scaling k = in.dims[1] == 3 ? imagenet : plain;
        for (int c = 0; c < 3; c++) {       /* NAN: not given */
            k.mean[c] = isnan(given->mean[c]) ? k.mean[c] : given->mean[c];
            k.std[c] = isnan(given->std[c]) ? k.std[c] : given->std[c];
        }
        rc = to_tensor(&pic, &k, (int)in.dims[3], (int)in.dims[2], in.data);
    }
    if (!rc && cab_session_create(m, NULL, &s, &e))
        rc = fail("session", e.text);
    if (!rc)
        rc = run(s, &in, l);
    cab_session_destroy(s);
    free(pic.pixels);
    free(in.data);
    return rc;
}

/* "a,b,c", or "a" for all three. */
static int parse_three(const char *text, float out[3])
{
    char *end;
    int n = 0;
    do {
        out[n++] = strtof(text, &end);
        if (end == text || !isfinite(out[n - 1]) || (*end && *end != ','))
            return 1;
        text = end + 1;
    } while (*end && n < 3);
    if (n == 1)
        out[1] = out[2] = out[0];
    return *end || n == 2;
}

int main(int argc, char **argv)
{
    scaling given = { { NAN, NAN, NAN }, { NAN, NAN, NAN } };
    labels l = { 0 };
    cab_model *m = NULL;
    cab_error e = { 0 };
    int bad = argc < 4 || argc % 2;
    for (int i = 4; !bad && i < argc; i += 2) {
        int mean = !strcmp(argv[i], "--mean");
        bad = (!mean && strcmp(argv[i], "--std")) || parse_three(argv[i + 1], mean ? given.mean : given.std);
    }
    for (int c = 0; c < 3; c++)
        bad |= given.std[c] == 0;
    if (bad)
        return fail("usage", "classify MODEL.cab LABELS.txt IMAGE.jpg [--mean a,b,c] [--std a,b,c]");
    int rc = read_labels(argv[2], &l);
    if (!rc && cab_model_load(argv[1], NULL, &m, &e))
        rc = fail(argv[1], e.text);
    if (!rc)
        rc = classify(m, argv[3], &given, &l);
    cab_model_destroy(m);
    free(l.text);
    free(l.line);
    return rc;
}

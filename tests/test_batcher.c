/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_batcher.c - a million random requests through the batcher, beside a
 * model of it made of one array and scans; and its refusals.
 *
 *   test_batcher [SEED [REQUESTS]]
 *
 * Each answer must be the model's, and beside that, whatever the model says: no
 * more wait than may, none is handed out after its deadline, overtaken within
 * its shape, split, put into too large a batch, lost, or handed out twice.
 */
#include <time.h>
#include "base/rng.h"
#include "serve/sched/batcher.h"
#include "tests/test.h"

enum { MOST = 512 };           /* requests in hand at a time */
enum fate { NEVER, REFUSED, WAITS, GONE };

typedef struct item {
    cab_batch_request r;       /* first */
    int kind;                  /* the true shape; r.shape says less */
    enum fate fate;
    uint64_t number;
    /* What the model knows of it. */
    int64_t m_rows, m_deadline, m_since;
    int m_level;
} item;

typedef struct trial {
    const char *name;
    cab_batch_config c;
    int shapes, max_rows, push_share;  /* of 100 steps */
    int64_t step_ns, timeout_ns;
} trial;

typedef struct world {
    const trial *t;
    cab_batcher *b;
    cab_rng rng;
    int64_t now;
    item items[MOST];
    item *queue[MOST];         /* the model: those that wait, by age */
    int n;
    uint64_t pushed, taken, expired, removed, refused, batches;
    uint64_t last_taken[8][16];        /* number + 1, by level and kind */
    uint64_t bad;
} world;

static bool same_kind(const cab_batch_request *a, const cab_batch_request *b)
{
    return ((const item *)a)->kind == ((const item *)b)->kind;
}

static void bad(world *w, const char *what)
{
    if (w->bad++ < 5)
        fprintf(stderr, "%s: at %lld, %llu pushed: %s\n", w->t->name, (long long)w->now,
                (unsigned long long)w->pushed, what);
}

/* ---- the model ---- */

static void forget(world *w, const item *it)
{
    int k = 0;
    for (int i = 0; i < w->n; i++)
        if (w->queue[i] != it)
            w->queue[k++] = w->queue[i];
    if (k != w->n - 1)
        bad(w, "handed out what does not wait");
    w->n = k;
}

static bool is_preferred(const trial *t, int64_t rows)
{
    for (int i = 0; i < t->c.n_preferred; i++)
        if (t->c.preferred[i] == rows)
            return true;
    return !t->c.n_preferred && rows == t->c.max_batch;
}

static int64_t largest(const trial *t)
{
    int64_t most = t->c.n_preferred ? 0 : t->c.max_batch;
    for (int i = 0; i < t->c.n_preferred; i++)
        most = t->c.preferred[i] > most ? t->c.preferred[i] : most;
    return most;
}

/* How many of the m that wait of one shape may go; sum[k]: rows of the first k. */
static int how_many(const trial *t, const int64_t *sum, int m, bool aged, bool hurry, int64_t limit)
{
    int fit = 1, hit = 0, over = 0;
    while (fit < m && sum[fit + 1] <= limit)
        fit++;
    for (int k = 1; k <= fit; k++)
        if (is_preferred(t, sum[k]))
            hit = k;
    for (int k = fit; k >= 1; k--)
        if (k < m && sum[k + 1] > largest(t))
            over = k;
    if (t->c.max_delay_ns && (aged || hurry))
        return fit;
    if (hit || over)
        return hit ? hit : over;
    return t->c.max_delay_ns == 0 || fit < m || sum[fit] >= largest(t) ? fit : 0;
}

/* Numbers in the queue of the batch that should go now. */
static int expected(const world *w, int64_t max_rows, int *out)
{
    const trial *t = w->t;
    int64_t limit = max_rows && max_rows < t->c.max_batch ? max_rows : t->c.max_batch;
    for (int level = 1; level <= (t->c.levels ? t->c.levels : 1); level++) {
        unsigned seen = 0;
        for (int i = 0; i < w->n; i++) {
            const item *first = w->queue[i];
            if (first->m_level != level || seen >> first->kind & 1)
                continue;
            out[0] = i;
            if (!t->c.max_batch)
                return 1;
            int m = 0, which[MOST];
            int64_t sum[MOST + 1] = { 0 };
            bool hurry = false;
            for (int k = i; k < w->n; k++) {
                const item *it = w->queue[k];
                if (it->m_level != level || it->kind != first->kind)
                    continue;
                which[m] = k;
                sum[m + 1] = sum[m] + it->m_rows;
                m++;
                hurry |= it->m_deadline && it->m_deadline - it->m_since < 2 * t->c.max_delay_ns + 2;
            }
            int take = how_many(t, sum, m, w->now >= first->m_since + t->c.max_delay_ns, hurry, limit);
            for (int k = 0; k < take; k++)
                out[k] = which[k];
            if (take)
                return take;
            seen |= 1u << first->kind;
        }
    }
    return 0;
}

static int64_t expected_deadline(const world *w)
{
    int64_t t = CAB_NEVER;
    for (int i = 0; i < w->n; i++)
        if (w->queue[i]->m_deadline && w->queue[i]->m_deadline < t)
            t = w->queue[i]->m_deadline;
    return t;
}

/* ---- events ---- */

static void push(world *w)
{
    const trial *t = w->t;
    item *it = NULL;
    for (int i = 0, at = (int)cab_rng_i64(&w->rng, 0, MOST - 1); i < MOST && !it; i++)
        if (w->items[(at + i) % MOST].fate != WAITS)
            it = &w->items[(at + i) % MOST];
    if (!it)
        return;
    memset(it, 0xa5, sizeof *it);      /* the batcher counts on nothing there */
    it->kind = (int)cab_rng_i64(&w->rng, 0, t->shapes - 1);
    it->m_rows = cab_rng_i64(&w->rng, -1, 20) > 0 ? cab_rng_i64(&w->rng, 1, t->max_rows)
                                                  : cab_rng_i64(&w->rng, -1, t->c.max_batch + 1);
    it->m_level = (int)cab_rng_i64(&w->rng, 0, t->c.levels);
    it->m_deadline = t->timeout_ns && cab_rng_i64(&w->rng, 0, 3)
                         ? w->now + cab_rng_i64(&w->rng, 0, t->timeout_ns) : 0;
    it->r.rows = it->m_rows;
    it->r.shape = t->c.same ? (uint64_t)it->kind % 2 : (uint64_t)it->kind << 60;
    it->r.deadline = it->m_deadline;
    it->r.level = it->m_level;
    it->fate = REFUSED;
    it->m_since = w->now;
    bool fits = !t->c.max_batch || (it->m_rows >= 1 && it->m_rows <= t->c.max_batch);
    enum cab_batch_push want = !fits ? CAB_PUSH_IMPOSSIBLE
                             : t->c.max_queue && w->n == t->c.max_queue ? CAB_PUSH_FULL
                                                                        : CAB_PUSH_ACCEPTED;
    if (cab_batcher_push(w->b, &it->r, w->now) != want)
        bad(w, "another answer to push");
    w->refused += want != CAB_PUSH_ACCEPTED;
    if (want != CAB_PUSH_ACCEPTED)
        return;
    it->number = w->pushed++;
    it->fate = WAITS;
    if (!it->m_level)
        it->m_level = t->c.default_level ? t->c.default_level : 1;
    if (!it->m_deadline && t->c.default_timeout_ns)
        it->m_deadline = w->now + t->c.default_timeout_ns;
    w->queue[w->n++] = it;
}

static void leave(world *w, cab_batch_request *r)
{
    item *it = (item *)r;
    if (it->fate != WAITS)
        bad(w, "handed out twice");
    it->fate = GONE;
    forget(w, it);
}

static void withdraw(world *w)
{
    item *it = w->n && cab_rng_i64(&w->rng, 0, 3) ? w->queue[cab_rng_i64(&w->rng, 0, w->n - 1)]
                                                   : &w->items[cab_rng_i64(&w->rng, 0, MOST - 1)];
    if (it->fate == NEVER)
        return;
    bool waits = it->fate == WAITS;
    if (cab_batcher_remove(w->b, &it->r) != waits)
        bad(w, "another answer to remove");
    w->removed += waits;
    if (waits)
        leave(w, &it->r);
}

static int expire(world *w)
{
    int n = 0;
    int64_t before = 0;
    for (cab_batch_request *r = cab_batcher_expire(w->b, w->now), *next; r; r = next, n++) {
        next = r->next;
        if (r->deadline > w->now || r->deadline != ((item *)r)->m_deadline || r->deadline < before)
            bad(w, "expired too early, or out of order");
        before = r->deadline;
        leave(w, r);
    }
    if (expected_deadline(w) <= w->now)
        bad(w, "not expired");
    w->expired += (uint64_t)n;
    return n;
}

static void check_member(world *w, item *it, const item *first, int64_t rows)
{
    uint64_t *last = &w->last_taken[it->m_level - 1][it->kind];
    if (it->m_deadline && it->m_deadline <= w->now)
        bad(w, "handed out after its deadline");
    if (w->t->c.max_batch && rows > w->t->c.max_batch)
        bad(w, "too large a batch");
    if (it->kind != first->kind || it->m_level != first->m_level)
        bad(w, "shapes or levels are mixed");
    if (it->r.rows != it->m_rows && w->t->c.max_batch)
        bad(w, "a request was split");
    if (it->number + 1 <= *last)
        bad(w, "overtaken");
    *last = it->number + 1;
}

/* Requests taken. */
static int take(world *w, int64_t max_rows, int64_t *again)
{
    int want[MOST], n = 0, m = expected(w, max_rows, want);
    const item *expect[MOST];
    int64_t rows = 0, looked, looked_rows, when;
    for (int i = 0; i < m; i++)
        expect[i] = w->queue[want[i]];
    const cab_batch_request *head = cab_batcher_look(w->b, w->now, max_rows, &when, &looked,
                                                     &looked_rows);
    cab_batch_request *r = cab_batcher_take(w->b, w->now, max_rows, again), *next;
    item *first = (item *)r;
    if (head != r || when != *again)
        bad(w, "look and take differ");
    for (; r; r = next, n++) {
        item *it = (item *)r;
        next = r->next;
        rows += it->m_rows;
        if (n >= m || it != expect[n])
            bad(w, "not the batch of the model");
        check_member(w, it, first, rows);
        leave(w, r);
    }
    if (n != m || looked != n || (w->t->c.max_batch && looked_rows != rows))
        bad(w, "a batch of another size");
    w->taken += (uint64_t)n;
    w->batches += n > 0;
    return n;
}

/* Nothing happens before `again`, and something does then. */
static void jump(world *w, int64_t again)
{
    int64_t none;
    if (again == CAB_NEVER) {
        if (w->n)
            bad(w, "those that wait would wait for ever");
        return;
    }
    if (again <= w->now) {
        bad(w, "asked again at once");
        return;
    }
    w->now = again - 1;
    if (expire(w) || take(w, 0, &none))
        bad(w, "asked again too late");
    w->now = again;
    if (!expire(w) && !take(w, 0, &none))
        bad(w, "asked again for nothing");
}

static void run_trial(const trial *t, uint64_t seed, uint64_t requests)
{
    static world w;
    const char *why;
    int64_t again;
    memset(&w, 0, sizeof w);
    w.t = t;
    cab_rng_seed(&w.rng, seed);
    w.b = cab_batcher_create(&t->c, &why);
    CHECK(w.b);
    while (w.b && w.pushed + w.refused < requests) {
        int64_t dice = cab_rng_i64(&w.rng, 0, 99);
        w.now += cab_rng_i64(&w.rng, 0, 1) * cab_rng_i64(&w.rng, 0, t->step_ns);
        if (dice < t->push_share) {
            push(&w);
        } else if (dice < t->push_share + 3) {
            withdraw(&w);
        } else {
            expire(&w);
            int64_t limit = cab_rng_i64(&w.rng, 0, 9) ? 0 : cab_rng_i64(&w.rng, 1, 8);
            if (!take(&w, limit, &again) && !limit && cab_rng_i64(&w.rng, 0, 1))
                jump(&w, again);
        }
        if (cab_batcher_waiting(w.b) != w.n || (t->c.max_queue && w.n > t->c.max_queue))
            bad(&w, "another number waits");
        if (cab_batcher_deadline(w.b) != expected_deadline(&w))
            bad(&w, "another earliest deadline");
    }
    while (w.b && w.n && !w.bad)
        if (!expire(&w) && !take(&w, 0, &again))
            jump(&w, again);
    if (w.pushed != w.taken + w.expired + w.removed)
        bad(&w, "lost");
    fprintf(stderr, "%-12s %7llu accepted, %6llu refused, %6llu expired, %5llu removed, %7llu in "
            "%llu batches\n", t->name, (unsigned long long)w.pushed, (unsigned long long)w.refused,
            (unsigned long long)w.expired, (unsigned long long)w.removed,
            (unsigned long long)w.taken, (unsigned long long)w.batches);
    CHECK_EQ(w.bad, 0);
    CHECK(w.taken > 0 && w.batches > 0);
    cab_batcher_destroy(w.b);
}

static const trial trials[] = {
    { .name = "alone", .c = { .max_queue = 16 }, .shapes = 4, .max_rows = 9, .push_share = 60,
      .step_ns = 50, .timeout_ns = 2000 },
    { .name = "no delay", .c = { .max_queue = 40, .max_batch = 8 }, .shapes = 3, .max_rows = 3,
      .push_share = 70, .step_ns = 50, .timeout_ns = 3000 },
    { .name = "delay", .c = { .max_queue = 64, .max_batch = 16, .max_delay_ns = 400 }, .shapes = 3,
      .max_rows = 6, .push_share = 55, .step_ns = 60, .timeout_ns = 4000 },
    { .name = "preferred", .c = { .max_queue = 64, .max_batch = 16, .max_delay_ns = 600,
      .n_preferred = 3, .preferred = { 8, 4, 12 } }, .shapes = 4, .max_rows = 5, .push_share = 55,
      .step_ns = 60, .timeout_ns = 8000 },
    { .name = "preferred 0", .c = { .max_queue = 20, .max_batch = 10, .n_preferred = 2,
      .preferred = { 4, 7 } }, .shapes = 2, .max_rows = 4, .push_share = 65, .step_ns = 40 },
    { .name = "levels", .c = { .max_queue = 100, .max_batch = 8, .max_delay_ns = 300, .levels = 3,
      .default_level = 2, .default_timeout_ns = 5000 }, .shapes = 2, .max_rows = 4, .push_share = 60,
      .step_ns = 80, .timeout_ns = 2000 },
    { .name = "collisions", .c = { .max_queue = 100, .max_batch = 8, .max_delay_ns = 500,
      .same = same_kind }, .shapes = 12, .max_rows = 3, .push_share = 60, .step_ns = 60,
      .timeout_ns = 20000 },
    { .name = "no cap", .c = { .max_batch = 32, .max_delay_ns = 1000, .n_preferred = 1,
      .preferred = { 16 } }, .shapes = 8, .max_rows = 2, .push_share = 80, .step_ns = 20,
      .timeout_ns = 1000 },
    { .name = "one", .c = { .max_queue = 1, .max_batch = 1 }, .shapes = 1, .max_rows = 1,
      .push_share = 50, .step_ns = 10, .timeout_ns = 30 },
};

static void check_refusals(void)
{
    static const cab_batch_config wrong[] = {
        { .max_queue = -1 }, { .max_delay_ns = INT64_MAX }, { .levels = 9 }, { .levels = -1 },
        { .default_level = 2 }, { .levels = 2, .default_level = 3 }, { .n_preferred = 17 },
        { .max_batch = 4, .n_preferred = 1, .preferred = { 5 } }, { .n_preferred = 1, .preferred = { 1 } },
        { .max_batch = 4, .n_preferred = 1 } };
    const char *why = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK(!cab_batcher_create(&wrong[i], &why));
        CHECK(why && *why);
    }
}

/* A shape that comes rarely is not starved by one that always has a full batch. */
static void check_fair(void)
{
    const char *why;
    cab_batch_config c = { .max_batch = 4, .max_delay_ns = 100 };
    cab_batcher *b = cab_batcher_create(&c, &why);
    cab_batch_request many[64] = { { 0 } }, rare = { .rows = 1, .shape = 7 }, *r;
    int64_t again, now = 0;
    CHECK_EQ(cab_batcher_push(b, &rare, 0), CAB_PUSH_ACCEPTED);
    bool gone = false;
    for (int i = 0; i < 64 && !gone; i++) {
        many[i] = (cab_batch_request){ .rows = 4, .shape = 1 };
        now += 10;
        CHECK_EQ(cab_batcher_push(b, &many[i], now), CAB_PUSH_ACCEPTED);
        r = cab_batcher_take(b, now, 0, &again);
        gone = r == &rare;
        CHECK(gone || r == &many[i]);
    }
    CHECK(gone);
    CHECK_EQ(now, 100);
    cab_batcher_destroy(b);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
    uint64_t requests = argc > 2 ? strtoull(argv[2], NULL, 0) : 1000000;
    size_t n = sizeof trials / sizeof *trials;
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    check_refusals();
    check_fair();
    for (size_t i = 0; i < n; i++)
        run_trial(&trials[i], seed + i, requests / n + 1);
    TEST_END();
}

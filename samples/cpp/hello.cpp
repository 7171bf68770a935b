/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hello.cpp - load a compiled model, run it, print the result: cab_rt.hpp.
 *
 *   hello ../digits/digits.cab
 *
 * The inputs are made for samples/digits: a bar (a one) and nothing at all.
 */
#include <cab_rt.hpp>
#include <algorithm>
#include <array>
#include <cstdio>

namespace {

void read_digits(const cab::model &model)
{
    cab::session session(model);
    std::vector<float> images(2 * 64);
    for (std::size_t i = 0; i < 64; i++)
        images[i] = i % 8 == 3 || i % 8 == 4 ? 16.0f : 0.0f;

    /* Results in the session's memory: valid until its next run. */
    auto results = session.run({ cab::view(images, { 2, 1, 8, 8 }) });
    cab::span<float> p = results[0].as<float>();
    for (std::size_t n = 0; n < 2; n++) {
        const float *row = p.begin() + n * 10;
        const float *best = std::max_element(row, row + 10);
        std::printf("image %zu: %td (%.3f)\n", n, best - row, static_cast<double>(*best));
    }

    /* The same into memory of our own, from constant input. */
    const std::vector<float> &constant = images;
    std::array<float, 20> mine{};
    std::vector<cab::tensor> out = { cab::view(mine, { 2, 10 }) };
    session.run({ cab::view(constant, { 2, 1, 8, 8 }) }, out);
    std::printf("first of our own memory: %.3f\n", static_cast<double>(mine[0]));

    /* One vector for run after run, in the session's memory, which grows. */
    std::vector<cab::tensor> again(1);
    for (std::int64_t n = 1; n <= 2; n++) {
        cab::span<float> part(images.data(), static_cast<std::size_t>(n) * 64);
        session.run({ cab::view(part, { n, 1, 8, 8 }) }, again);
        std::printf("batch %d: %zu numbers\n", static_cast<int>(n), again[0].as<float>().size());
    }
}

/* What is wrong says so: an image of 7 x 7. */
bool refuses(const cab::model &model)
{
    cab::session session(model);
    std::vector<float> small(49);
    try {
        session.run({ cab::view(small, { 1, 1, 7, 7 }) });
    } catch (const cab::error &e) {
        std::printf("refused, code %d: %s\n", e.code(), e.what());
        return e.code() == CAB_RT_EINPUT;
    }
    return false;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::fprintf(stderr, "usage: hello MODEL.cab\n");
        return 2;
    }
    try {
        cab::model loaded(argv[1]);
        cab::model model = std::move(loaded);       /* moves, does not copy */
        for (const cab_tensor_info &t : model.inputs())
            std::printf("%s takes '%s', %d extents\n", model.name().c_str(), t.name, t.rank);
        read_digits(model);
        return refuses(model) ? 0 : 1;
    } catch (const std::exception &e) {
        std::fprintf(stderr, "hello: %s\n", e.what());
        return 1;
    }
}

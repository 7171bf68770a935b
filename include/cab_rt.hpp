/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cab_rt.hpp - cab_rt.h for C++17: models and sessions that free themselves,
 * views over containers, errors as exceptions.
 *
 * A thin layer: everything here is inline and a few lines over one call of
 * cab_rt.h, whose comments are the contract; get() gives the handle for what is
 * not wrapped.  Models and sessions move and do not copy.  It needs the
 * standard library only.
 */
#ifndef CAB_RT_HPP
#define CAB_RT_HPP
#include "cab_rt.h"
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cab {

/* Thrown by everything below.  code() is an enum cab_rt_code, what() the text. */
class error : public std::runtime_error {
public:
    explicit error(const cab_error &e) : std::runtime_error(e.text), raw_(e) {}
    error(int code, const std::string &text) : std::runtime_error(text), raw_{}
    {
        raw_.code = code;
        text.copy(raw_.text, sizeof raw_.text - 1);
    }
    int code() const noexcept { return raw_.code; }
    const cab_error &raw() const noexcept { return raw_; }

private:
    cab_error raw_;
};

/* Options with their size set: CAB_INIT is C. */
template <class T> T options()
{
    T o{};
    o.size = sizeof o;
    return o;
}

/* The ONNX number of an element type; another type does not compile. */
template <class T> constexpr int dtype_of()
{
    using U = std::remove_cv_t<T>;
    if constexpr (std::is_same_v<U, float>) return 1;
    else if constexpr (std::is_same_v<U, std::uint8_t>) return 2;
    else if constexpr (std::is_same_v<U, std::int8_t>) return 3;
    else if constexpr (std::is_same_v<U, std::uint16_t>) return 4;
    else if constexpr (std::is_same_v<U, std::int16_t>) return 5;
    else if constexpr (std::is_same_v<U, std::int32_t>) return 6;
    else if constexpr (std::is_same_v<U, std::int64_t>) return 7;
    else if constexpr (std::is_same_v<U, bool>) return 9;
    else if constexpr (std::is_same_v<U, double>) return 11;
    else if constexpr (std::is_same_v<U, std::uint32_t>) return 12;
    else if constexpr (std::is_same_v<U, std::uint64_t>) return 13;
    else static_assert(sizeof(U) == 0, "no element type of a model");
}

/* Elements in a row that belong to someone else (std::span is C++20). */
template <class T> class span {
public:
    span() = default;
    span(T *p, std::size_t n) : p_(p), n_(n) {}
    T *data() const noexcept { return p_; }
    std::size_t size() const noexcept { return n_; }
    bool empty() const noexcept { return n_ == 0; }
    T *begin() const noexcept { return p_; }
    T *end() const noexcept { return p_ + n_; }
    T &operator[](std::size_t i) const { return p_[i]; }

private:
    T *p_ = nullptr;
    std::size_t n_ = 0;
};

/* A dense row-major tensor in memory of someone else: of the caller (view), or
 * of a session (result of a run). */
class tensor {
public:
    tensor() : v_{} {}
    explicit tensor(const cab_tensor_view &v) : v_(v) {}

    int dtype() const noexcept { return v_.dtype; }
    std::vector<std::int64_t> dims() const { return { v_.dims, v_.dims + v_.rank }; }
    std::size_t size() const noexcept
    {
        std::size_t n = 1;
        for (int k = 0; k < v_.rank; k++)
            n *= static_cast<std::size_t>(v_.dims[k]);
        return n;
    }
    /* The elements; throws when they are of another type. */
    template <class T> span<T> as() const
    {
        if (v_.dtype != dtype_of<T>())
            throw error(CAB_RT_EINVAL, "the tensor has dtype " + std::to_string(v_.dtype) + ", not " +
                                           std::to_string(dtype_of<T>()));
        return { static_cast<T *>(v_.data), size() };
    }
    const cab_tensor_view &get() const noexcept { return v_; }
    cab_tensor_view &get() noexcept { return v_; }

private:
    friend class session;
    cab_tensor_view v_;
    bool of_session_ = false;       /* data is a result in the memory of a session */
};

/* n elements at p as a tensor of those extents.  Inputs are only read, so
 * const elements are welcome there; do not give such a view as an output. */
template <class T> tensor view(T *p, std::size_t n, span<const std::int64_t> dims)
{
    cab_tensor_view v{};
    std::size_t want = 1;
    if (dims.size() > 8)
        throw error(CAB_RT_EINVAL, "a tensor has up to 8 extents");
    for (std::int64_t d : dims) {
        if (d < 0 || (d > 0 && want > SIZE_MAX / static_cast<std::size_t>(d)))
            throw error(CAB_RT_EINVAL, "a tensor has no extent " + std::to_string(d));
        v.dims[v.rank++] = d;
        want *= static_cast<std::size_t>(d);
    }
    if (want != n)
        throw error(CAB_RT_EINVAL, "the extents make " + std::to_string(want) + " elements, there are " +
                                       std::to_string(n));
    v.dtype = dtype_of<T>();
    v.data = const_cast<std::remove_cv_t<T> *>(p);
    v.bytes = n * sizeof(T);
    return tensor(v);
}

/* Of a container with data() and size(): std::vector, std::array, std::span, cab::span. */
template <class C> tensor view(C &c, std::initializer_list<std::int64_t> dims)
{
    return view(c.data(), c.size(), { dims.begin(), dims.size() });
}
template <class C> tensor view(C &c, const std::vector<std::int64_t> &dims)
{
    return view(c.data(), c.size(), { dims.data(), dims.size() });
}

/* Immutable: threads may share one by reference. */
class model {
public:
    explicit model(const std::string &path, const cab_model_options *o = nullptr)
    {
        cab_error e{};
        cab_model *m = nullptr;
        if (cab_model_load(path.c_str(), o, &m, &e) != CAB_RT_OK)
            throw error(e);
        m_.reset(m);
    }
    /* The bytes stay as they are until the model and its sessions are gone. */
    static model from_memory(const void *p, std::size_t n, const std::string &label,
                             const cab_model_options *o = nullptr)
    {
        cab_error e{};
        cab_model *m = nullptr;
        if (cab_model_load_memory(p, n, label.c_str(), o, &m, &e) != CAB_RT_OK)
            throw error(e);
        return model(m);
    }
    /* Takes over a handle, of cab_jit_file for one. */
    explicit model(cab_model *m) noexcept : m_(m) {}

    std::string name() const { return cab_model_name(get()); }
    std::vector<cab_tensor_info> inputs() const
    {
        return infos(cab_model_input_count(get()), cab_model_input);
    }
    std::vector<cab_tensor_info> outputs() const
    {
        return infos(cab_model_output_count(get()), cab_model_output);
    }
    /* Outputs that are an input with more behind it, and can be carried. */
    std::vector<cab_state_info> states() const
    {
        std::vector<cab_state_info> all(static_cast<std::size_t>(cab_model_state_count(get())));
        for (std::size_t i = 0; i < all.size(); i++)
            cab_model_state(get(), static_cast<int>(i), &all[i]);
        return all;
    }
    /* The place of a name; -1 without one. */
    int find_input(const std::string &n) const { return cab_model_find_input(get(), n.c_str()); }
    int find_output(const std::string &n) const { return cab_model_find_output(get(), n.c_str()); }
    cab_model *get() const noexcept { return m_.get(); }

private:
    struct destroy { void operator()(cab_model *m) const noexcept { cab_model_destroy(m); } };
    std::vector<cab_tensor_info> infos(int n, int (*read)(const cab_model *, int, cab_tensor_info *)) const
    {
        std::vector<cab_tensor_info> all(static_cast<std::size_t>(n));
        for (int i = 0; i < n; i++)
            read(get(), i, &all[static_cast<std::size_t>(i)]);
        return all;
    }
    std::unique_ptr<cab_model, destroy> m_;
};

/* For one thread at a time.  Keeps its model alive, also when the cab::model goes first. */
class session {
public:
    explicit session(const model &m, const cab_session_options *o = nullptr)
        : n_in_(static_cast<std::size_t>(cab_model_input_count(m.get()))),
          n_out_(static_cast<std::size_t>(cab_model_output_count(m.get())))
    {
        cab_error e{};
        cab_session *s = nullptr;
        if (cab_session_create(m.get(), o, &s, &e) != CAB_RT_OK)
            throw error(e);
        s_.reset(s);
    }

    /* One input per input of the model, in order.  The results are memory of
     * the session, valid until its next run or its end. */
    std::vector<tensor> run(const std::vector<tensor> &inputs)
    {
        std::vector<tensor> results(n_out_);
        run(inputs, results);
        return results;
    }
    /* Results into memory of the caller: views with room enough.  One without data
     * (tensor()), or from an earlier run of this kind, is given memory of the
     * session.  Type and extents are filled in. */
    void run(const std::vector<tensor> &inputs, std::vector<tensor> &outputs)
    {
        std::vector<cab_tensor_view> in = unwrap(inputs, n_in_), out = unwrap(outputs, n_out_);
        std::vector<bool> ours(n_out_);
        cab_error e{};
        for (std::size_t i = 0; i < n_out_; i++) {
            /* Left in place, the pointer of the last run would say "the caller's". */
            if (outputs[i].of_session_)
                out[i].data = nullptr;
            ours[i] = !out[i].data;
        }
        if (cab_session_run(get(), in.data(), out.data(), &e) != CAB_RT_OK)
            throw error(e);
        for (std::size_t i = 0; i < n_out_; i++) {
            outputs[i].v_ = out[i];
            outputs[i].of_session_ = ours[i];
        }
    }
    cab_memory estimate(const std::vector<tensor> &inputs)
    {
        std::vector<cab_tensor_view> in = unwrap(inputs, n_in_);
        cab_memory need{};
        cab_error e{};
        if (cab_session_estimate(get(), in.data(), &need, &e) != CAB_RT_OK)
            throw error(e);
        return need;
    }
    /* Carries an output to an input from run to run; the input given to run()
     * is not looked at (tensor() will do), the result of a state that grows has
     * no data. */
    void bind_state(int input, int output, std::int64_t capacity = 0)
    {
        ask([&](cab_error *e) { return cab_session_bind_state(get(), input, output, nullptr, capacity, e); });
    }
    void bind_state(int input, int output, const tensor &start, std::int64_t capacity = 0)
    {
        ask([&](cab_error *e) { return cab_session_bind_state(get(), input, output, &start.get(), capacity, e); });
    }
    void set_state(int input, const tensor &value)
    {
        ask([&](cab_error *e) { return cab_session_set_state(get(), input, &value.get(), e); });
    }
    void trim_state(int input, std::int64_t length)
    {
        ask([&](cab_error *e) { return cab_session_trim_state(get(), input, length, e); });
    }
    /* Type and extents of a state, and where t has data its elements. */
    void get_state(int input, tensor &t)
    {
        ask([&](cab_error *e) { return cab_session_get_state(get(), input, &t.get(), e); });
    }
    void cancel() noexcept { cab_session_cancel(get()); }
    void deadline(std::int64_t monotonic_ns) noexcept { cab_session_deadline(get(), monotonic_ns); }
    cab_session *get() const noexcept { return s_.get(); }

private:
    struct destroy { void operator()(cab_session *s) const noexcept { cab_session_destroy(s); } };
    static std::vector<cab_tensor_view> unwrap(const std::vector<tensor> &t, std::size_t want)
    {
        /* The C calls trust the number: here it is known. */
        if (t.size() != want)
            throw error(CAB_RT_EINPUT, "the model wants " + std::to_string(want) + " tensors, " +
                                           std::to_string(t.size()) + " are given");
        std::vector<cab_tensor_view> v;
        for (const tensor &x : t)
            v.push_back(x.get());
        return v;
    }
    template <class F> static void ask(F call)
    {
        cab_error e{};
        if (call(&e) != CAB_RT_OK)
            throw error(e);
    }
    std::unique_ptr<cab_session, destroy> s_;
    std::size_t n_in_, n_out_;
};

} // namespace cab
#endif

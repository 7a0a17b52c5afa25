// metrics in Prometheus' text format: https://prometheus.io/docs/instrumenting/exposition_formats
#include <ringo/metrics.hpp>

#include <fmt/format.h>

#include <chrono>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

namespace ringo::debug {

namespace {

using core = ringo::metrics::core;

/// Appends families to a text. A family is its help, its type and then all its samples.
class writer {
public:
    writer(std::string& out, const ringo::metrics& m) : out_(out), metrics_(m) {}

    void family(std::string_view name, std::string_view type, std::string_view help) {
        name_ = name;
        append("# HELP ringo_{} {}\n# TYPE ringo_{} {}\n", name, help, name, type);
    }
    template <class Value>
    void sample(std::string_view labels, const Value& value, std::string_view suffix = "") {
        append("ringo_{}{}{} {}\n", name_, suffix, labels, value);
    }

    void per_core(std::string_view name, std::string_view type, std::string_view help,
                  std::uint64_t core::*value) {
        family(name, type, help);
        for (std::size_t i = 0; i < metrics_.cores.size(); ++i) {
            sample(fmt::format("{{core=\"{}\"}}", i), metrics_.cores[i].*value);
        }
    }
    void histogram(std::string_view name, std::string_view help,
                   ringo::metrics::histogram core::*value) {
        family(name, "histogram", help);
        for (std::size_t i = 0; i < metrics_.cores.size(); ++i) {
            buckets(i, metrics_.cores[i].*value);
        }
    }
    /// Of what each core has a list.
    template <class Item>
    void per_kind(std::string_view name, std::string_view type, std::string_view help,
                  std::string_view label, std::vector<Item> core::*items, std::string Item::*kind,
                  std::uint64_t Item::*value) {
        family(name, type, help);
        for (std::size_t i = 0; i < metrics_.cores.size(); ++i) {
            for (const Item& item : metrics_.cores[i].*items) {
                sample(fmt::format("{{core=\"{}\",{}=\"{}\"}}", i, label, item.*kind), item.*value);
            }
        }
    }

private:
    template <class... Args>
    void append(fmt::format_string<Args...> text, Args&&... args) {
        fmt::format_to(std::back_inserter(out_), text, std::forward<Args>(args)...);
    }
    static double seconds(duration d) { return std::chrono::duration<double>(d).count(); }

    void buckets(std::size_t number, const ringo::metrics::histogram& h) {
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < h.bucket_count; ++i) {
            sum += h.buckets[i];
            const std::string limit =
                i + 1 == h.bucket_count ? "+Inf" : fmt::format("{}", seconds(h.limit(i)));
            sample(fmt::format("{{core=\"{}\",le=\"{}\"}}", number, limit), sum, "_bucket");
        }
        const std::string label = fmt::format("{{core=\"{}\"}}", number);
        sample(label, seconds(h.sum), "_sum");
        sample(label, sum, "_count");
    }

    std::string& out_;
    const ringo::metrics& metrics_;
    std::string_view name_;
};

void write_goroutines(writer& w, const ringo::metrics& m) {
    w.family("info", "gauge", "The back-end, and what of it is in use.");
    w.sample(fmt::format("{{backend=\"{}\",features=\"{}\"}}", m.backend, m.features), 1);
    w.family("goroutines", "gauge", "Goroutines that are alive.");
    w.sample("", m.goroutines);
    w.family("goroutines_from_outside_total", "counter",
             "Goroutines that threads have started that are no cores.");
    w.sample("", m.goroutines_from_outside);
    w.per_core("goroutines_started_total", "counter", "Goroutines that this core has started.",
               &core::goroutines_started);
    w.per_core("goroutines_ended_total", "counter", "Goroutines that have ended on this core.",
               &core::goroutines_ended);
    w.per_core("resumes_total", "counter", "Times that a goroutine has gone on.", &core::resumes);
    w.per_core("ready_goroutines", "gauge", "Length of the ready queue, when last sampled.",
               &core::ready);
    w.histogram("ready_seconds", "Time from being ready to going on, of samples.",
                &core::ready_time);
}

void write_loop(writer& w) {
    w.per_core("turns_total", "counter", "Turns of the core's loop.", &core::turns);
    w.histogram("turn_seconds", "Time of a turn, without the wait for the kernel.",
                &core::turn_time);
    w.per_core("sleeps_total", "counter", "Times that the core had nothing to do.", &core::sleeps);
    w.per_core("timers", "gauge", "Timers that have not fired.", &core::timers);
    w.per_core("messages_total", "counter", "Messages from other cores and threads.",
               &core::messages);
    w.per_core("wakes_sent_total", "counter", "Sleeping cores that this core has woken.",
               &core::wakes_sent);
    w.per_core("wakes_from_outside_total", "counter",
               "Times that a thread that is no core has woken this core.",
               &core::wakes_from_outside);
}

void write_kernel(writer& w) {
    using operations = ringo::metrics::operations;
    using failures = ringo::metrics::failures;
    w.per_core("system_calls_total", "counter",
               "System calls of the core's loop, and tries at sockets.", &core::system_calls);
    w.per_core("accepts_total", "counter", "Connections that were accepted.", &core::accepts);
    w.per_kind("operations_submitted_total", "counter", "Operations given to the kernel.", "kind",
               &core::kernel_operations, &operations::kind, &operations::submitted);
    w.per_kind("operations_completed_total", "counter", "Operations that have ended.", "kind",
               &core::kernel_operations, &operations::kind, &operations::completed);
    w.per_kind("operations_in_flight", "gauge", "Operations that are under way.", "kind",
               &core::kernel_operations, &operations::kind, &operations::in_flight);
    w.per_kind("operation_errors_total", "counter",
               "Operations that have failed; a cancelled one is an ECANCELED.", "error",
               &core::errors, &failures::error, &failures::count);
}

void write_frames(writer& w) {
    w.per_core("frames_pooled", "gauge", "Free blocks for goroutines.", &core::frames_pooled);
    w.per_core("frames_pooled_bytes", "gauge", "Size of the free blocks for goroutines.",
               &core::frames_pooled_bytes);
    w.per_core("frames_slab_bytes", "gauge", "Memory taken from the system for goroutines.",
               &core::frames_slab_bytes);
}

}  // namespace

void write_prometheus(std::string& out, const ringo::metrics& m) {
    writer w(out, m);
    write_goroutines(w, m);
    write_loop(w);
    write_kernel(w);
    write_frames(w);
}

void write_prometheus(std::FILE* out, const ringo::metrics& m) {
    std::string text;
    write_prometheus(text, m);
    std::fputs(text.c_str(), out);
}

}  // namespace ringo::debug

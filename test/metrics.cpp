#include <doctest/doctest.h>

#include "core_counts.hpp"
#include "counter.hpp"
#include "misuse.hpp"
#include "steps.hpp"
#include "virtual_run.hpp"

#include <ringo/chan.hpp>
#include <ringo/fs.hpp>
#include <ringo/go.hpp>
#include <ringo/metrics.hpp>
#include <ringo/run.hpp>
#include <ringo/runtime.hpp>
#include <ringo/time.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ringo::metrics;
using ringo::task;
namespace debug = ringo::debug;

/// What a scraper sees of a text in Prometheus' format.
struct scrape {
    explicit scrape(const std::string& text) {
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);) {
            if (line.rfind("# HELP ", 0) == 0) {
                help(line.substr(7));
            } else if (line.rfind("# TYPE ", 0) == 0) {
                const std::size_t space = line.find(' ', 7);
                CHECK(line.substr(7, space - 7) == family);
                type = line.substr(space + 1);
                const bool known = type == "counter" || type == "gauge" || type == "histogram";
                CHECK_MESSAGE(known, line);
            } else {
                sample(line);
            }
        }
        CHECK(text.back() == '\n');
    }

    double at(const std::string& name) const {
        const auto found = values.find(name);
        REQUIRE_MESSAGE(found != values.end(), name);
        return found->second;
    }

    std::map<std::string, double> values;  // by name and labels

private:
    void help(const std::string& rest) {
        family = rest.substr(0, rest.find(' '));
        CHECK_MESSAGE(families[family]++ == 0, family);  // the samples of one stand together
        type.clear();
    }
    void sample(const std::string& line) {
        CHECK(!type.empty());
        const std::size_t end = line.rfind(' ');
        REQUIRE(end != std::string::npos);
        const std::string labelled = line.substr(0, end);
        const std::string name = labelled.substr(0, labelled.find('{'));
        CHECK(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string::npos);
        const std::string suffix = name.substr(std::min(name.size(), family.size()));
        const bool of_histogram = suffix == "_bucket" || suffix == "_sum" || suffix == "_count";
        CHECK(name.rfind(family, 0) == 0);
        CHECK_MESSAGE((type == "histogram" ? of_histogram : suffix.empty()), line);
        const bool total = family.size() > 6 && family.rfind("_total") == family.size() - 6;
        CHECK_MESSAGE(total == (type == "counter"), line);
        if (labelled != name) {
            CHECK(labelled.back() == '}');
        }
        char* last = nullptr;
        const double value = std::strtod(line.c_str() + end + 1, &last);
        CHECK(*last == '\0');
        CHECK_MESSAGE(values.emplace(labelled, value).second, labelled);
        if (suffix == "_bucket") {
            CHECK_MESSAGE(value >= bucket, line);
            bucket = labelled.find("+Inf") == std::string::npos ? value : 0;
        }
    }

    std::string family;
    std::string type;
    std::map<std::string, int> families;
    double bucket = 0;
};

task<> yields(int times) {
    for (int i = 0; i < times; ++i) {
        co_await ringo::yield();
    }
}

/// What one core does in virtual time.
metrics counted(task<> (*f)(), test::on_start on_start = nullptr) {
    metrics m;
    const auto main = [&m, f]() -> task<> {
        co_await f();
        m = debug::metrics();
    };
    test::virtual_run(main, std::move(on_start));
    return m;
}

}  // namespace

TEST_CASE("metrics: a_time_falls_into_the_first_bucket_that_it_does_not_exceed") {
    using ringo::detail::time_counts;
    CHECK(time_counts::bucket_of(-1) == 0);
    CHECK(time_counts::bucket_of(0) == 0);
    for (std::size_t i = 0; i + 1 < time_counts::bucket_count; ++i) {
        const std::int64_t limit = std::chrono::nanoseconds(metrics::histogram::limit(i)).count();
        CHECK(time_counts::bucket_of(limit) == i);
        CHECK(time_counts::bucket_of(limit + 1) == i + 1);
    }
    CHECK(time_counts::bucket_of(INT64_MAX) == time_counts::bucket_count - 1);
}

TEST_CASE("metrics: goroutines_timers_and_turns_are_counted") {
    const metrics m = counted([]() -> task<> {
        ringo::go(test::sleeps_for_ever);
        ringo::go([]() -> task<> { co_await ringo::sleep(1h); });
        ringo::go(yields, 3);
        co_await ringo::sleep(1s);
        co_await ringo::sleep(1s);
    });
    CHECK(m.goroutines == 3);
    CHECK(m.goroutines_from_outside == 1);
    REQUIRE(m.cores.size() == 1);
    const metrics::core& core = m.cores[0];
    CHECK(core.goroutines_started == 3);
    CHECK(core.goroutines_ended == 1);
    CHECK(core.timers >= 1);
    CHECK(core.timers <= 3);
    CHECK(core.resumes >= 8);
    CHECK(core.turns > 2);
    CHECK(core.sleeps >= 2);
    CHECK(core.turn_time.count() == core.turns);
}

TEST_CASE("metrics: the_ready_queue_is_sampled") {
    const metrics m = counted([]() -> task<> {
        for (int i = 0; i < 9; ++i) {
            ringo::go([]() -> task<> { co_await ringo::sleep(1s); });
        }
        co_await ringo::sleep(1s);
        co_await yields(1);
    });
    CHECK(m.cores[0].ready == 10);
    CHECK(m.cores[0].ready_time.count() >= 1);
}

TEST_CASE("metrics: kernel_operations_are_counted_by_kind_and_errors_by_errno") {
    const auto fails = [](ringo::detail::io_operation& op) {
        test::this_kernel().complete(op, {.result = -ENOSPC, .more = false});
    };
    const metrics m = counted(
        []() -> task<> {
            for (int i = 0; i < 3; ++i) {
                (void)co_await ringo::as_result(ringo::fs::remove("nothing"));
            }
        },
        fails);
    const metrics::core& core = m.cores[0];
    REQUIRE(core.kernel_operations.size() == 1);
    CHECK(core.kernel_operations[0].kind == "file_remove");
    CHECK(core.kernel_operations[0].submitted == 3);
    CHECK(core.kernel_operations[0].completed == 3);
    CHECK(core.kernel_operations[0].in_flight == 0);
    REQUIRE(core.errors.size() == 1);
    CHECK(core.errors[0].error == "ENOSPC");
    CHECK(core.errors[0].code == ENOSPC);
    CHECK(core.errors[0].count == 3);
}

TEST_CASE("metrics: every_code_has_a_name_and_a_place") {
    using ringo::detail::name_of;
    const auto code_of = [](std::size_t i) { return static_cast<ringo::detail::io_code>(i); };
    std::size_t count = 0;
    while (name_of(code_of(count)) != nullptr) {
        ++count;
    }
    CHECK(count <= ringo::detail::kernel_counts::code_count);
    CHECK(name_of(code_of(255)) == nullptr);
}

TEST_CASE("metrics: any_thread_reads_them_while_the_cores_are_at_work") {
    ringo::runtime rt({.cores = 2});
    const ringo::chan<int> c;
    auto sender = rt.spawn(ringo::on(0), [c]() -> task<> {
        for (int i = 0; i < 2000; ++i) {
            co_await c.send(i);
        }
        c.close();
    });
    auto receiver = rt.spawn(ringo::on(1), [c]() -> task<int> {
        int count = 0;
        while (const auto i = co_await c.recv()) {
            count += *i == count ? 1 : 0;
        }
        co_return count;
    });
    std::uint64_t messages = 0;
    while (receiver.wait_for(0s) != std::future_status::ready) {
        const metrics m = rt.metrics();
        const std::uint64_t now = m.cores[0].messages + m.cores[1].messages;
        CHECK(now >= messages);
        messages = now;
    }
    CHECK(receiver.get() == 2000);
    sender.get();
    const metrics m = rt.metrics();
    CHECK(m.backend != "");
    CHECK(m.goroutines_from_outside == 2);
    for (const metrics::core& core : m.cores) {
        CHECK(core.messages > 0);
        CHECK(core.turns > 0);
    }
}

TEST_CASE("metrics: prometheus_can_read_them") {
    std::string text;
    ringo::run(
        [&text]() -> task<> {
            (void)co_await ringo::as_result(ringo::fs::remove("/nowhere/at/all"));
            for (int i = 0; i < 50; ++i) {
                ringo::go(yields, 10);
            }
            co_await yields(20);
            debug::write_prometheus(text);
        },
        {.cores = 2});
    const scrape s(text);
    CHECK(s.at("ringo_goroutines") == 1);
    CHECK(s.at("ringo_goroutines_started_total{core=\"0\"}") == 50);
    CHECK(s.at("ringo_goroutines_started_total{core=\"1\"}") == 0);
    CHECK(s.at("ringo_operations_submitted_total{core=\"0\",kind=\"file_remove\"}") == 1);
    CHECK(s.at("ringo_operation_errors_total{core=\"0\",error=\"ENOENT\"}") == 1);
    CHECK(s.at("ringo_turn_seconds_bucket{core=\"0\",le=\"+Inf\"}") ==
          s.at("ringo_turn_seconds_count{core=\"0\"}"));
    CHECK(s.at("ringo_turn_seconds_bucket{core=\"0\",le=\"0.001024\"}") >= 0);
}

TEST_CASE("metrics: outside_a_runtime_there_are_none") {
    test::expect_panic("debug::metrics: called outside a runtime's cores",
                       [] { (void)debug::metrics(); });
}

// The C++ of docs/from-go.md: each of its blocks stands here, line by line (test/from_go.sh), at
// the left margin. What is indented beyond that is the test's own.
#include <doctest/doctest.h>

#include <ringo/ringo.hpp>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;
using namespace ringo;

namespace {

// clang-format off

void use(const auto&) {}
task<int> compute(int i) { co_return i * 2; }
task<> work(int) { co_return; }
task<> handle(net::conn) { co_return; }

task<> goroutines(int x) {
go(work, x);
go([x]() -> task<> { co_await work(x); });

auto h = spawn(compute, x);  // Go needs a channel for this
int y = co_await h;

co_await yield();
    CHECK(y == 2 * x);
}

task<> channels() {
chan<int> c;
chan<std::string> names(16);
chan<int> nil = nullptr;

go([c]() -> task<> { co_await c.send(42); c.close(); });
if (auto v = co_await c.recv()) {
    use(*v);
}

co_await names.send("gopher");
names.close();
while (auto name = co_await names.recv()) {
    use(*name);
}
    CHECK(!nil);
}

task<> directions() {
    const chan<int> both(1);
auto produce = [](send_chan<int> out) -> task<> { co_await out.send(1); };
auto consume = [](recv_chan<int> in) -> task<> { use(co_await in.recv()); };
    co_await produce(both);
    co_await consume(both);
}

task<> selects(chan<int> jobs, chan<int> out, context ctx) {
    const int x = 1;
auto r = co_await select(jobs.recv(), out.send(x), ctx.done(), sleep(1s));
switch (r.index()) {
    case 0: use(std::get<0>(r)); break;  // a job; empty: jobs is closed
    case 1: break;                       // x was sent
    case 2: co_return;                   // ctx has ended
    case 3: break;                       // a second has passed
}

auto t = co_await select(jobs.recv(), otherwise);
bool nothing = t.index() == 1;
    CHECK(!nothing);

std::vector<chan<int>> many{jobs, out};
auto [i, v] = co_await select(std::span(many));
    CHECK((i == 0 && !v));
}

task<> locks() {
mutex m;
int n = 0;
{
    auto guard = co_await m.lock();
    ++n;
}  // unlocked here; no defer

shared_mutex rw;
auto reading = co_await rw.lock_shared();

once setup;
co_await setup.call([&n] { ++n; });

condition_variable changed;
auto guard = co_await m.lock();
co_await changed.wait(guard, [&n] { return n == 2; });
changed.notify_all();
    CHECK(n == 2);
}

task<> groups() {
wait_group wg;
for (int i = 0; i < 3; ++i) {
    wg.go(work, i);
}
co_await wg.wait();

task_group g;  // golang.org/x/sync/errgroup
g.limit(2);
g.go(work, 1);
g.go(work, 2);
co_await g.wait();  // rethrows the first error, after cancelling and joining the rest

semaphore slots(10);  // golang.org/x/sync/semaphore
auto permit = co_await slots.acquire(3);

auto [a, b] = co_await when_all(compute(1), compute(2));
    CHECK(a + b == 6);
}

struct user {
    using type = std::string;
};

task<> contexts() {
auto scope = with_timeout(this_context(), 2s);
co_await within(scope, work(1));  // and all that work calls: nothing is passed by hand

auto result = co_await as_result(timeout(0s, sleep(1h)));
    CHECK(result.error() == std::errc::timed_out);

context ctx = with_value<user>(this_context(), std::string("rob"));
const std::string* name = ctx.value<user>();
    CHECK(*name == "rob");

co_await shield(work(2));  // context.WithoutCancel
}

task<> times() {
co_await sleep(1ms);

timer t(1h);
bool was_pending = t.stop();
    CHECK(was_pending);

ticker every(1ms);
co_await every;

auto r = co_await select(after(1ms).recv(), sleep(1h));
    CHECK(r.index() == 0);

auto later = after_func(1h, [] {});
later.stop();
}

task<> errors() {
auto r = co_await as_result(net::dial("127.0.0.1:1"));
if (!r) {
    use(r.error());
}

try {
    co_await net::dial("127.0.0.1:1");
} catch (const std::system_error& e) {
    use(e.what());  // dial 127.0.0.1:1: Connection refused
}
}

task<> network() {
net::listener l = net::listen("127.0.0.1:0");
go([&l]() -> task<> { go(handle, co_await l.accept()); });

net::conn c = co_await net::dial(l.local());
std::string answer(100, ' ');
std::size_t n = co_await c.read(answer);  // 0: the end (io.EOF)
    CHECK(n == 0);
}

task<> names(std::string port) {
net::dial_options o{.attempt_delay = 100ms};
net::conn c = co_await timeout(2s, net::dial("localhost:" + port, o));

auto addresses = co_await net::resolve("localhost", port, {.family = AF_INET});
    CHECK(c.remote() == addresses.front());
}

task<> datagrams() {
std::string buffer(100, ' ');
net::udp_socket s = net::listen_udp("127.0.0.1:0");
net::udp_socket c = co_await net::dial_udp(s.local());
co_await c.send("ping");
auto [n, from] = co_await s.recv_from(buffer);
co_await s.send_to({buffer.data(), n}, from);
    CHECK(n == 4);
    CHECK(from == c.local());
}

task<> descriptors(std::string path, int fd) {
std::string buffer(100, ' ');
net::datagram_socket l = net::listen_unixgram(path);
net::datagram_socket c = net::dial_unixgram(path);
co_await net::send_with(c, "take it", std::span(&fd, 1));
net::received_with r = co_await net::recv_with(l, buffer);  // r.descriptors close themselves
    CHECK(r.descriptors.size() == 1);
}

task<> files() {
    char buffer[100];
std::string dir = co_await fs::temporary_dir();
co_await fs::write_file(dir + "/motto", "share memory by communicating\n");  // whole or not at all
std::string text = co_await fs::read_file(dir + "/motto");

fs::file f = co_await fs::open(dir + "/log", O_RDWR | O_CREAT | O_APPEND);
co_await f.write("begun\n");
std::size_t n = co_await f.read_at(buffer, 2);
co_await f.close();  // its destructor would do, without saying what went wrong

co_await fs::rename(dir + "/log", dir + "/log.1");
std::vector<fs::entry> entries = co_await fs::list(dir);
fs::info info = co_await fs::stat(dir + "/log.1");
co_await fs::remove_all(dir);
    CHECK((n == 4 && entries.size() == 2 && info.size == 6 && text.size() == 30));
}

task<> streams() {
    io::memory_reader from("some");
    io::memory_writer to;
auto [r, w] = io::pipe();
go([end = std::move(w)]() mutable -> task<> {
    io::buffered_writer out(end);
    co_await out.write("first\nsecond\nthird\n");
    co_await out.flush();
});  // which closes it

io::buffered_reader lines(r);
while (auto line = co_await lines.read_line()) {
    use(*line);
}

std::uint64_t n = co_await io::copy(to, from);
std::string all = co_await io::read_all(from, 1000);  // more than that is an error
    CHECK((n == 4 && all.empty()));
}

task<> commands() {
    const std::string path = "/etc/passwd";
auto sorted = co_await os::command("sort", "-r", path).output();
use(sorted.out);

os::command cmd("tr", "a-z", "A-Z");
cmd.env("LANG", "C").dir("/").in(os::piped).out(os::piped);
os::process p = co_await cmd.start();
co_await p.in.write("gopher");
p.in.close();
std::string shouted = co_await io::read_all(p.out);
os::exit_status status = co_await p.wait();
    CHECK((status.success() && shouted == "GOPHER"));
}

task<> signals() {
auto interrupted = os::signal_context({SIGINT});

recv_chan<int> hangups = os::notify(SIGHUP);
    CHECK(::raise(SIGHUP) == 0);
co_await hangups.recv();
hangups = nullptr;  // the last copy: SIGHUP does again what it did before
}

task<> cpu_work() {
int sum = co_await blocking([] { return 1 + 1; });  // on another thread, as Go does by itself
    CHECK(sum == 2);
}

// clang-format on

}  // namespace

TEST_CASE("what_from_go_md_says_compiles_and_runs") {
    run([]() -> task<> {
        co_await goroutines(21);
        co_await channels();
        co_await directions();
        const chan<int> closed;
        closed.close();
        co_await selects(closed, nullptr, this_context());
        co_await locks();
        co_await groups();
        co_await contexts();
        co_await times();
        co_await errors();
        co_await network();
        const net::listener l = net::listen("127.0.0.1:0");
        co_await names(std::to_string(l.local().port()));
        co_await datagrams();
        co_await descriptors("unix:@ringo-test-from-go-" + std::to_string(::getpid()),
                             STDERR_FILENO);

        co_await files();
        co_await streams();
        co_await commands();
        co_await signals();
        co_await cpu_work();
    });
}

// Commands: other programs, run as processes of their own.
#pragma once

#include <ringo/io/pipe.hpp>
#include <ringo/poll.hpp>
#include <ringo/task.hpp>
#include <ringo/time.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace ringo::os {

namespace detail {
class child;
struct spawner;
}  // namespace detail

/// How a process ended.
class exit_status {
public:
    exit_status() noexcept = default;
    exit_status(int code, int signal, bool dumped) noexcept
        : code_(code), signal_(signal), dumped_(dumped) {}

    /// Whether it has exited with 0.
    [[nodiscard]] bool success() const noexcept { return code_ == 0; }
    /// What it has exited with; -1: a signal ended it.
    [[nodiscard]] int code() const noexcept { return code_; }
    /// The signal that ended it; 0: none did.
    [[nodiscard]] int signal() const noexcept { return signal_; }
    /// `exit status 1`, `signal: Terminated`, `signal: Aborted (core dumped)`
    [[nodiscard]] std::string to_string() const;

private:
    int code_ = 0;
    int signal_ = 0;
    bool dumped_ = false;
};

/// Where a standard stream of a command comes from or goes to.
class redirect {
public:
    enum class kind : unsigned char { null, inherited, piped, merged, descriptor };

    constexpr explicit redirect(kind k) noexcept : what(k) {}
    /// takes    a descriptor, perhaps a file's, which must stay open until the command has started
    constexpr redirect(std::same_as<int> auto open) noexcept
        : what(kind::descriptor), descriptor(open) {}

    kind what;
    int descriptor = -1;
};

inline constexpr redirect null(redirect::kind::null);            // /dev/null
inline constexpr redirect inherited(redirect::kind::inherited);  // this program's own
inline constexpr redirect piped(redirect::kind::piped);          // process::in, out or err
inline constexpr redirect merged(redirect::kind::merged);        // for err: with out

/// A process that a command has started.
///
/// One that is dropped before it was waited for is asked to end (SIGTERM), killed after its grace,
/// and reaped, all that by a thread of its own: no zombie stays, and nobody waits. `detach` lets it
/// run on instead.
///
/// core     any, one at a time
class process {
public:
    process(process&& other) noexcept;
    process& operator=(process&& other) noexcept;
    ~process();

    // Open where the command says `piped`. What is not read may hold the process up.
    io::pipe_writer in;
    io::pipe_reader out;
    io::pipe_reader err;

    [[nodiscard]] ::pid_t pid() const noexcept;

    /// Waits for its end, after closing `in` (if that was not moved elsewhere).
    ///
    /// throws   cancelled, deadline_exceeded: it has been stopped; std::system_error when somebody
    ///          else has reaped it, or SIGCHLD is ignored
    /// cancel   stops it, as `stop` does, and waits for that
    /// follows  Go exec.Cmd.Wait
    [[nodiscard]] task<exit_status> wait();

    /// An operand of select that ends when the process has ended; `wait` then returns at once.
    /// cancel: leaves the process alone
    [[nodiscard]] ringo::detail::poll_operation ended() const;

    /// Ends it: SIGTERM, after its grace SIGKILL. Waits for that, in a cancelled goroutine too.
    [[nodiscard]] task<exit_status> stop();

    /// Sends a signal; to all of its group where it has one of its own.
    ///
    /// returns  false: it has ended and was waited for
    /// throws   std::system_error
    bool signal(int number);
    /// ... SIGKILL.
    bool kill();

    /// Nobody will wait for it, or end it; it is reaped when it ends. The pipes are closed.
    /// cost: a thread until it ends
    void detach() &&;

private:
    friend struct detail::spawner;
    explicit process(std::unique_ptr<detail::child> c) noexcept;
    detail::child& alive() const;

    std::unique_ptr<detail::child> child_;
};

/// What `command::output` collects.
struct command_output {
    command_output() noexcept = default;

    exit_status status;
    std::string out;
    std::string err;
};

/// How to start a program: a value, which may be started any number of times.
///
/// The process has no descriptors but its standard streams, no blocked signals, and all of them
/// with their default effect (but a SIGHUP that is ignored, as under nohup, stays so).
///
///     const auto r = co_await os::command("git", "log", "-1").dir(path).output();
///
/// follows  Go exec.Cmd
class command {
public:
    /// takes    a program, looked for in this program's PATH if it has no slash; its arguments
    template <std::convertible_to<std::string>... Arguments>
    explicit command(std::string program, Arguments&&... arguments)
        : command(std::move(program),
                  std::vector<std::string>{std::string(std::forward<Arguments>(arguments))...}) {}
    command(std::string program, std::vector<std::string> arguments);

    command& arg(std::string argument);

    /// Its environment is this program's, with one variable set or removed, ...
    command& env(std::string name, std::string value);
    command& unset_env(std::string name);
    /// ... or only what is set from here on.
    command& clear_env();

    /// The folder that it starts in; also where a program with a slash in its name is looked for.
    command& dir(std::string path);

    /// The standard streams; `null` unless said otherwise.
    command& in(redirect from);
    /// ... or a text.
    command& in_text(std::string text);
    command& out(redirect to);
    command& err(redirect to);

    /// It leads a process group of its own, which the terminal's Ctrl-C does not reach; signals go
    /// to the whole group, and what is left of that when it is stopped is killed.
    command& own_group();

    /// How long it may take to end by SIGTERM until it is killed; 0: killed at once. 5 s unless
    /// said otherwise.
    command& grace(duration d);

    /// Starts it.
    ///
    /// throws   std::system_error that names the program, when there is none of that name, it may
    ///          not be run, or descriptors or processes have run out; cancelled, deadline_exceeded:
    ///          it was not started
    /// core     any; a thread of the blocking pool starts it
    /// cancel   until that thread has taken it up
    [[nodiscard]] task<process> start() const;

    /// Starts it and waits for its end.
    /// throws, cancel: as start and process::wait. A status other than 0 is no error.
    [[nodiscard]] task<exit_status> run() const;

    /// Runs it, and collects what it writes to the streams that were not redirected.
    ///
    /// throws   errc::limit_exceeded when there is more on one of them; it has been stopped
    [[nodiscard]] task<command_output> output(
        std::size_t limit = std::numeric_limits<std::size_t>::max()) const;

private:
    friend struct detail::spawner;

    struct change {
        std::string name;
        std::optional<std::string> value;  // empty: removed
    };

    std::vector<std::string> words_;
    std::vector<change> env_;
    bool env_is_empty_ = false;
    bool own_group_ = false;
    std::string dir_;
    std::string text_;
    bool in_is_text_ = false;
    std::optional<redirect> streams_[3];
    duration grace_ = std::chrono::seconds(5);
};

}  // namespace ringo::os

#include <ringo/net/endpoint.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

using ringo::net::endpoint;

namespace {

std::string refusal(std::string_view text) {
    try {
        endpoint::parse(text);
    } catch (const std::system_error& e) {
        CHECK(e.code() == std::errc::invalid_argument);
        return e.what();
    }
    return "it was accepted";
}

void expect_refusal(const std::string& text, const std::string& why) {
    const std::string said = refusal(text);
    CAPTURE(said);
    CHECK(said.find("address \"" + text + "\": " + why) == 0);
}

}  // namespace

TEST_CASE("prints_what_it_parsed") {
    for (const char* text : {"127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:443",
                             "[2001:db8::1]:1", "[::]:0", "unix:/run/x.sock", "unix:relative",
                             "unix:@abstract", "unix:/with:colons:80"}) {
        CAPTURE(text);
        CHECK(endpoint::parse(text).to_string() == text);
    }
}

TEST_CASE("an_empty_host_is_every_address_of_both_families") {
    CHECK(endpoint::parse(":8080").to_string() == "[::]:8080");
    CHECK(endpoint::parse(":8080").family() == AF_INET6);
}

TEST_CASE("localhost_is_known_without_a_resolver") {
    CHECK(endpoint::parse("localhost:80").to_string() == "127.0.0.1:80");
}

TEST_CASE("gives_its_parts") {
    const endpoint v4 = endpoint::parse("10.1.2.3:80");
    CHECK(v4.host() == "10.1.2.3");
    CHECK(v4.port() == 80);
    CHECK(v4.family() == AF_INET);
    CHECK(v4.size() == sizeof(sockaddr_in));
    CHECK_FALSE(v4.is_unix());

    const endpoint v6 = endpoint::parse("[fe80::1]:81");
    CHECK(v6.host() == "fe80::1");
    CHECK(v6.port() == 81);
    CHECK(v6.size() == sizeof(sockaddr_in6));

    const endpoint local = endpoint::parse("unix:/tmp/s");
    CHECK(local.host() == "/tmp/s");
    CHECK(local.port() == 0);
    CHECK(local.is_unix());
    CHECK(endpoint::parse("unix:@name").host() == "@name");
}

TEST_CASE("refuses_what_is_no_address_and_says_why") {
    expect_refusal("", "there is no \":port\"");
    expect_refusal("127.0.0.1", "there is no \":port\"");
    expect_refusal("127.0.0.1:", "the port is empty");
    expect_refusal("127.0.0.1:65536", "the port is not a number from 0 to 65535");
    expect_refusal("127.0.0.1:99999999999999999999", "the port is not a number from 0 to 65535");
    expect_refusal("127.0.0.1:-1", "it is not numeric");
    expect_refusal("127.0.0.1:+1", "it is not numeric");
    expect_refusal("127.0.0.1: 80", "it is not numeric");
    expect_refusal("127.0.0.1:80x", "it is not numeric");
    expect_refusal("127.0.0.1:http", "it is not numeric");
    expect_refusal("127.0.0.256:80", "it is not numeric");
    expect_refusal("127.0.0:80", "it is not numeric");
    expect_refusal("example.com:80", "it is not numeric; names are for dial");
    expect_refusal("::1:80", "an IPv6 address must stand in [brackets]");
    expect_refusal("[::1:80", "an IPv6 address must stand in [brackets]");
    expect_refusal("[::g]:80", "what stands in brackets is no IPv6 address");
    expect_refusal("[127.0.0.1]:80", "what stands in brackets is no IPv6 address");
    expect_refusal("[]:80", "what stands in brackets is no IPv6 address");
    expect_refusal("unix:", "the path is empty");
    expect_refusal("unix:" + std::string(108, 'p'), "the path is longer than 107 bytes");
}

TEST_CASE("takes_the_longest_path_there_is") {
    const std::string text = "unix:/" + std::string(106, 'p');
    CHECK(endpoint::parse(text).to_string() == text);
}

TEST_CASE("a_zero_in_the_text_is_no_address") {
    const std::string_view zero("127.0.0.1\0x:80", 14);
    CHECK_THROWS_AS(endpoint::parse(zero), std::system_error);
    const std::string_view in_path("unix:/tmp/a\0b", 13);
    CHECK_THROWS_AS(endpoint::parse(in_path), std::system_error);
    const std::string_view in_port("127.0.0.1:8\0", 12);
    CHECK_THROWS_AS(endpoint::parse(in_port), std::system_error);
}

TEST_CASE("equal_when_all_parts_are") {
    CHECK(endpoint::parse("127.0.0.1:80") == endpoint::parse("127.0.0.1:80"));
    CHECK_FALSE(endpoint::parse("127.0.0.1:80") == endpoint::parse("127.0.0.1:81"));
    CHECK_FALSE(endpoint::parse("127.0.0.1:80") == endpoint::parse("127.0.0.2:80"));
    CHECK_FALSE(endpoint::parse("unix:/a") == endpoint::parse("unix:@a"));
    CHECK(endpoint() == endpoint());
    CHECK_FALSE(endpoint() == endpoint::parse("unix:/a"));
}

TEST_CASE("the_empty_one_prints_as_nothing") {
    const endpoint none;
    CHECK(none.to_string() == "");
    CHECK(none.host() == "");
    CHECK(none.port() == 0);
    CHECK(none.size() == 0);
    CHECK_FALSE(none.is_unix());
}

TEST_CASE("an_unnamed_unix_socket_has_an_empty_host") {
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    const endpoint unnamed(reinterpret_cast<const sockaddr*>(&a), sizeof a.sun_family);
    CHECK(unnamed.is_unix());
    CHECK(unnamed.host() == "");
    CHECK(unnamed.to_string() == "unix:");
}

TEST_CASE("takes_a_systems_address_as_it_is") {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(1234);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const endpoint e(reinterpret_cast<const sockaddr*>(&a), sizeof a);
    CHECK(e.to_string() == "127.0.0.1:1234");
    CHECK(e == endpoint::parse("127.0.0.1:1234"));
    CHECK(std::memcmp(e.address(), &a, sizeof a) == 0);
}

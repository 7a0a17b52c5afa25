// What nearly every test includes, compiled once for all of them. Each names it all the same.
#include <ringo/ringo.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

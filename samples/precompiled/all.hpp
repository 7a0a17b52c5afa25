// What nearly every sample and benchmark includes, compiled once for all of them. Each names it all
// the same.
#include <ringo/ringo.hpp>

#include <string>
#include <vector>

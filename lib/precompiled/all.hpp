// What most of lib/ includes, compiled once for all of it. Each file names it all the same; a build
// with -Db_pch=false shows when one does not.
#include "../context.hpp"
#include "../shard.hpp"

#include <ringo/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <system_error>

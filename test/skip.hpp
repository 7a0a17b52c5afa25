#pragma once

namespace test {

/// Says why this test case cannot run here (a kernel too old, say). The case must
/// return right after it; the program then ends with Meson's SKIP, unless another
/// case fails. Call it once a case: test/summary.py counts the lines.
void skip(const char* reason);

}  // namespace test

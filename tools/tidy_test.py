#!/usr/bin/env python3
"""Each rule of tidy.py finds what it is for, and lets the honest case pass."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import tidy

LAYERS = (Path(__file__).resolve().parent / "layers.txt").read_text(encoding="utf-8")


def problems(rule, files):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            target = Path(root) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        tree = tidy.Tree(Path(root), [tidy.File(path, text) for path, text in files.items()])
        return sorted(tidy.RULES[rule](tree))


def with_layers(files):
    return {"tools/layers.txt": LAYERS, **files}


class Layers(unittest.TestCase):
    def check(self, path, include):
        return problems("layers", with_layers({path: f"// A file.\n#include {include}\n"}))

    def test_core_may_not_include_the_edge(self):
        self.assertEqual(self.check("src/broker/core/router.cc", '"broker/shard.h"'),
                         ["src/broker/core/router.cc:2: broker/core may not include broker/ (tools/layers.txt)"])
        self.assertEqual(self.check("src/broker/shard.cc", '"broker/core/router.h"'), [])

    def test_core_may_include_the_core_below_but_not_its_edge(self):
        self.assertEqual(self.check("src/broker/core/ports.h", '"storage/core/partition_api.h"'), [])
        self.assertEqual(len(self.check("src/broker/core/ports.h", '"storage/engine.h"')), 1)
        self.assertEqual(self.check("src/broker/shard.cc", '"storage/engine.h"'), [])

    def test_includes_never_point_upwards(self):
        self.assertEqual(len(self.check("src/mqtt/codec.cc", '"broker/shard.h"')), 1)
        self.assertEqual(len(self.check("src/storage/engine.cc", '"auth/acl.h"')), 1)

    def test_third_party_stays_at_home(self):
        self.assertEqual(len(self.check("src/broker/core/session.h", "<boost/asio.hpp>")), 1)
        self.assertEqual(self.check("src/broker/shard.h", "<boost/asio.hpp>"), [])
        self.assertEqual(len(self.check("src/broker/shard.cc", "<rocksdb/db.h>")), 1)
        self.assertEqual(self.check("src/mqtt/codec.h", '"absl/strings/string_view.h"'), [])

    def test_some_libraries_stay_out_of_headers(self):
        self.assertEqual(self.check("src/storage/engine.cc", "<rocksdb/db.h>"), [])
        self.assertEqual(len(self.check("src/storage/engine.h", "<rocksdb/db.h>")), 1)
        self.assertEqual(len(self.check("src/base/log.h", "<spdlog/spdlog.h>")), 1)

    def test_a_new_folder_needs_a_row(self):
        self.assertEqual(len(self.check("src/elsewhere/thing.cc", '"base/check.h"')), 1)


class Links(unittest.TestCase):
    def check(self, path, text):
        return problems("links", with_layers({path: text}))

    def test_allowed_directions_pass(self):
        self.assertEqual(self.check("src/broker/CMakeLists.txt", """
            mqttd_library(NAME broker_core SRCS core/router.cc DEPS base mqtt storage_core auth_core
              EXTERNAL absl::time)  # The architecture.
            mqttd_library(NAME broker SRCS shard.cc DEPS base storage broker_core
              EXTERNAL Threads::Threads PRIVATE Boost::headers OpenSSL::SSL)"""), [])

    def test_forbidden_ones_are_named(self):
        found = self.check("src/broker/CMakeLists.txt", """
mqttd_library(NAME broker_core SRCS router.cc DEPS base storage EXTERNAL Boost::headers)""")
        self.assertEqual(found, [
            "src/broker/CMakeLists.txt:2: broker/core may not link Boost::headers (tools/layers.txt)",
            "src/broker/CMakeLists.txt:2: broker/core may not link storage (tools/layers.txt)"])

    def test_unknown_names_are_errors(self):
        self.assertEqual(len(self.check("src/mqtt/CMakeLists.txt",
                                        "mqttd_library(NAME mqtt DEPS base curl)")), 1)
        self.assertEqual(len(self.check("src/x/CMakeLists.txt", "mqttd_library(NAME x DEPS base)")), 1)


class Core(unittest.TestCase):
    def check(self, line, path="src/broker/core/will.cc"):
        return problems("core", {path: line + "\n"})

    def test_time_comes_in_as_an_argument(self):
        self.assertEqual(self.check("auto now = absl::Now();"),
                         ["src/broker/core/will.cc:1: time comes in as an argument, or from base::Clock"])
        self.assertEqual(self.check("// not absl::Now()"), [])
        self.assertEqual(self.check("auto now = absl::Now();", "src/broker/shard.cc"), [])

    def test_no_lock_no_thread_no_files(self):
        for line in ("std::mutex mutex_;", "base::Mutex mutex_;", "std::thread thread_;",
                     "#include <mutex>", "#include <sys/socket.h>", "#include <fstream>"):
            self.assertEqual(len(self.check(line)), 1, line)
        self.assertEqual(self.check("#include <vector>"), [])

    def test_all_of_mqtt_is_core(self):
        self.assertEqual(len(self.check("#include <unistd.h>", "src/mqtt/codec.cc")), 1)

    def test_what_leads_a_partition_is_core(self):
        self.assertEqual(len(self.check("#include <mutex>", "src/storage/leader/claims.cc")), 1)
        self.assertEqual(self.check("#include <mutex>", "src/storage/log_writer.cc"), [])

    def test_what_a_shard_does_is_core(self):
        self.assertEqual(len(self.check("#include <sys/epoll.h>", "src/broker/shard/shard_core.cc")), 1)
        self.assertEqual(self.check("#include <sys/epoll.h>", "src/broker/shard.cc"), [])


class Shape(unittest.TestCase):
    def test_a_file_has_at_most_800_lines(self):
        self.assertEqual(problems("length", {"src/mqtt/a.cc": "\n" * 800}), [])
        self.assertEqual(len(problems("length", {"src/mqtt/a.cc": "\n" * 801})), 1)

    def test_guards_follow_the_path(self):
        def guard(path, name):
            return problems("guards", {path: f"#ifndef {name}\n#define {name}\n#endif\n"})
        self.assertEqual(guard("src/mqtt/codec.h", "MQTT_CODEC_H_"), [])
        self.assertEqual(guard("src/broker/core/will.h", "BROKER_CORE_WILL_H_"), [])
        self.assertEqual(guard("src/broker/core/will.h", "BROKER_WILL_H_"), [])
        self.assertEqual(len(guard("src/mqtt/codec.h", "CODEC_H")), 1)
        self.assertEqual(len(problems("guards", {"src/mqtt/codec.h": "#pragma once\n"})), 1)

    def test_a_class_has_at_most_60_functions(self):
        def check(body):
            return problems("classes", {"src/mqtt/a.h": "namespace mqtt {\nclass A final : public B<int(int)> {\n" + body + "};\n}\n"})
        functions = "".join(f"  int F{i}(std::function<void(int)> f = {{}}) const;\n" for i in range(59))
        others = ("  explicit A(int a);\n  ~A();\n  A& operator=(const A&) = delete;\n  using G = int (*)(int);\n"
                  "  std::function<void(int)> g_ = nullptr;\n  struct C {\n    int H();\n  };\n  int i_ = F(1);\n")
        inline = "  int Last() const { return f(1) ? g(2) : h(3); }\n"
        self.assertEqual(check(others + functions + inline), [])
        self.assertEqual(check(others + functions + inline + "  void OneMore();\n"),
                         ["src/mqtt/a.h:2: A has 61 functions, more than 60"])

    def test_a_header_is_what_its_own_file_includes_first(self):
        def files(includes):
            return {"src/mqtt/a.h": "", "src/mqtt/a.cc": includes, "src/mqtt/b.cc": "#include <vector>\n"}
        self.assertEqual(problems("headers", files('// A.\n#include "mqtt/a.h"\n#include <vector>\n')), [])
        self.assertEqual(problems("headers", files('#include <vector>\n#include "mqtt/a.h"\n')),
                         ['src/mqtt/a.cc:1: must include "mqtt/a.h" first: so that header is compiled alone'])
        self.assertEqual(len(problems("headers", files("int a;\n"))), 1)
        late = {"tests/mqtt/a_test.cc": '#include <vector>\n#include "mqtt/a.h"\n'}
        self.assertEqual(len(problems("headers", {"src/mqtt/a.h": "", **late})), 1)
        self.assertEqual(problems("headers", {**files('#include "mqtt/a.h"\n'), **late}), [])

    def function(self, lines, inside=""):
        return "namespace a {\nint F(int x) {\n" + inside + "  x++;\n" * (lines - 3) + "  return x;\n}\n}\n"

    def test_a_function_has_at_most_70_lines(self):
        self.assertEqual(problems("functions", {"src/a/b.cc": self.function(71 - 1)}), [])
        found = problems("functions", {"src/a/b.cc": self.function(72)})
        self.assertEqual(found, ["src/a/b.cc:2: function of 72 lines, more than 70"])
        marked = self.function(72, "  // tidy: long function: one case per packet type\n")
        self.assertEqual(problems("functions", {"src/a/b.cc": marked}), [])

    def test_methods_count_and_tables_and_classes_do_not(self):
        method = "class A {\n  void F() const {\n" + "    x();\n" * 80 + "  }\n};\n"
        self.assertEqual(len(problems("functions", {"src/a/b.h": method})), 1)
        table = "const Row kRows[] = {\n" + "    {1, F(2)},\n" * 100 + "};\n"
        wide = "class A {\n" + "  int a() const { return a_; }\n" * 100 + "};\n"
        self.assertEqual(problems("functions", {"src/a/b.h": table + wide}), [])

    def test_braces_in_literals_and_comments_do_not_count(self):
        text = 'void F() {\n  f("{{{");  // {\n  char c = \'{\';\n  int n = 1\'000;\n}\n' + "\n" * 80
        self.assertEqual(problems("functions", {"src/a/b.cc": text}), [])

    def test_what_a_header_offers_is_used(self):
        header = ("class A {\n public:\n  int size() const { return 1; }\n  static bool Check(int a);\n"
                  "  void OnRead(int a) override;\n  const Lock lock(mutex);\n};\nint Free(const A& a);\n")
        defined = '#include "a/a.h"\nbool A::Check(int a) { return a > 0; }\nint Free(const A& a) { return 2; }\n'
        files = {"src/a/a.h": header, "src/a/a.cc": defined}
        self.assertEqual(problems("unused", files), [
            "src/a/a.h:3: nobody uses size", "src/a/a.h:4: nobody uses Check", "src/a/a.h:8: nobody uses Free"])
        used = "int main() {\n  A a;\n  return A::Check(1) ? Free(a) : a.size();\n}\n"
        self.assertEqual(problems("unused", {**files, "tests/a/a_test.cc": used}), [])

    def test_state_does_not_follow_the_order_of_a_hash_container(self):
        def check(loop, field="absl::flat_hash_map<std::string, std::vector<int>> ends_;"):
            return problems("order", {"src/storage/core/a.h": f"class A {{\n  {field}\n}};\n",
                                      "src/storage/core/a.cc": f"void A::F() {{\n{loop}\n}}\n"})
        self.assertEqual(check("  for (const auto& [name, end] : ends_) g(end);"),
                         ['src/storage/core/a.cc:2: ends_ is in no order: sort, or "// tidy: any order: REASON"'])
        self.assertEqual(len(check("  for (const auto& one : a->ends_) {\n    g(one);\n  }")), 1)
        self.assertEqual(check("  // tidy: any order: a sum.\n  for (const auto& [name, end] : ends_) n += end;"), [])
        self.assertEqual(check("  for (const auto& one : ends_) g(one);", "std::map<int, int> ends_;"), [])
        self.assertEqual(check("  for (const auto& one : SortedOf(ends_)) g(one);"), [])

    def test_nothing_is_left_unfinished(self):
        mark = "TO" + "DO"
        self.assertEqual(len(problems("unfinished", {"docs/a.md": f"{mark}: later\n"})), 1)
        self.assertEqual(problems("unfinished", {"docs/a.md": "todo lists are fine\n"}), [])


class Tests(unittest.TestCase):
    def test_no_test_sleeps(self):
        for path, line in (("tests/a_test.cc", "absl::SleepFor(absl::Seconds(1));"),
                           ("tests/a_test.cc", "std::this_thread::sleep_for(1s);"),
                           ("tests/e2e/a.py", "time.sleep(1)"), ("tests/e2e/a.sh", "  sleep 1")):
            self.assertEqual(len(problems("tests", {path: line + "\n"})), 1, line)
        self.assertEqual(problems("tests", {"tests/a_test.cc": "mailbox.Sleep();  // sleep_for\n"}), [])

    def test_no_test_reads_the_wall_clock(self):
        self.assertEqual(len(problems("tests", {"tests/a_test.cc": "auto t = absl::Now();\n"})), 1)
        self.assertEqual(problems("tests", {"tests/a_test.cc": "auto t = clock.Now();\n"}), [])


class Citations(unittest.TestCase):
    TABLE = "# id\nMQTT5-3.3.1-2\t5\tboth\tw\nMQTT311-3.3.1-2\t311\tboth\tw\nMQTT5-4.3.3-10\t5\tboth\tw\n"

    def check(self, path, line):
        return problems("citations", {"tests/spec/statements.tsv": self.TABLE, path: line + "\n"})

    def test_a_cited_statement_exists(self):
        self.assertEqual(self.check("src/a/b.cc", "// [MQTT5-4.3.3-10] [MQTT-3.3.1-2]"), [])
        self.assertEqual(self.check("src/a/b.cc", 'Close{{kX, "MQTT5-9.9.9-1"}};'),
                         ["src/a/b.cc:1: no statement MQTT5-9.9.9-1"])

    def test_a_number_without_a_version_means_both(self):
        self.assertEqual(len(self.check("src/a/b.cc", "// [MQTT-4.3.3-10]")), 1)

    def test_names_of_tests_count(self):
        self.assertEqual(self.check("tests/spec/a.cc", "TEST(Spec, MQTT5_3_3_1_2_Dup) {}"), [])
        self.assertEqual(self.check("tests/spec/a.cc", "TEST(Spec, MQTT5_3_3_1_2) {}"), [])
        self.assertEqual(len(self.check("tests/spec/a.cc", "TEST(Spec, MQTT5_3_3_1_77_Dup) {}")), 1)

    def test_without_the_table_nothing_is_known(self):
        self.assertEqual(problems("citations", {"src/a/b.cc": "// [MQTT5-9.9.9-1]\n"}), [])


class Documents(unittest.TestCase):
    def test_links_lead_somewhere(self):
        files = {"docs/a.md": "# One thing\n[x](b.md) [y](b.md#its-heading) [z](#one-thing)\n",
                 "docs/b.md": "## Its heading\n[web](https://example.org/) `[code](nowhere.md)`\n"}
        self.assertEqual(problems("documents", files), [])

    def test_a_table_cut_in_two_is_named(self):
        whole = "| a |\n| --- |\n| b |\n"
        self.assertEqual(problems("documents", {"docs/a.md": whole + "\n| c |\n"}),
                         ["docs/a.md:5: a row of no table: its heading is missing"])
        self.assertEqual(problems("documents", {"docs/a.md": f"{whole}\n{whole}"}), [])

    def test_files_that_are_named_exist(self):
        way = "From `a/b.cc` to `a/gone.cc`, as `a/NAME.cc`.\n```\n`a/none.cc`\n```\n"
        self.assertEqual(problems("documents", {"docs/a.md": way, "src/a/b.cc": ""}),
                         ["docs/a.md:1: no such file: a/gone.cc"])

    def test_broken_ones_are_named(self):
        self.assertEqual(problems("documents", {"docs/a.md": "[x](gone.md)\n[y](#gone)\n"}),
                         ["docs/a.md:1: no such file: gone.md", "docs/a.md:2: no such heading: #gone"])


if __name__ == "__main__":
    unittest.main()

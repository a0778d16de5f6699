#!/usr/bin/env python3
"""The rules of this code that a machine can check in about a second, without a compiler.

    tools/tidy.py [RULE…]        all rules, or the named ones; prints file:line: what is wrong
    tools/tidy.py --list         the rules

A rule is a function of the tree that yields problems. CONTRIBUTING.md says why the rules are there.
"""

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 70
CLASS_FUNCTIONS_MAX = 60
LONG_FUNCTION_MARK = re.compile(r"//\s*tidy: long function: \S+")
MADE_LATER = ("docs/conformance.md", "docs/configuration.md")  # By `./dev spec` and mqttd; links are right before.
NOT_OURS_TO_JUDGE = ("bench/mqload/", "tests/fuzz/corpus/")
CPP = (".cc", ".h")


@dataclass
class File:
    path: str  # Relative to the root, with slashes.
    text: str

    @property
    def lines(self):
        return self.text.splitlines()

    @property
    def is_cpp(self):
        return self.path.endswith(CPP)

    @property
    def code(self):
        """Text of the same lines, without comments and literals."""
        if not hasattr(self, "_code"):
            self._code = strip_comments_and_literals(self.text)
        return self._code


@dataclass
class Tree:
    root: Path
    files: list = field(default_factory=list)

    def below(self, *folders, cpp=True):
        return [file for file in self.files
                if file.path.startswith(folders) and (file.is_cpp or not cpp)]

    def get(self, path):
        return next((file for file in self.files if file.path == path), None)


def load(root):
    """All text files that git knows or would take in."""
    root = Path(root)
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=root, capture_output=True, text=True, check=True)
    tree = Tree(root)
    for path in sorted(set(listed.stdout.split("\0"))):
        if not path or path.startswith(NOT_OURS_TO_JUDGE) or not (root / path).is_file():
            continue
        try:
            tree.files.append(File(path, (root / path).read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            pass  # Binary: a corpus, a key.
    return tree


TOKEN = re.compile(
    r'//[^\n]*'
    r'|/\*.*?\*/'
    r'|R"(?P<mark>[^()\\\s]{0,16})\(.*?\)(?P=mark)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])*'", re.DOTALL)


def strip_comments_and_literals(text):
    def blank(match):
        token = match.group()
        newlines = "\n" * token.count("\n")
        if token.startswith("/"):
            return newlines or " "
        return ('""' if '"' in token else "' '") + newlines

    return TOKEN.sub(blank, text)


def each_match(file, text, pattern):
    for number, line in enumerate(text.splitlines(), 1):
        if match := pattern.search(line):
            yield number, match


# --- layers ---------------------------------------------------------------------------------------


@dataclass
class Layers:
    may_include: dict = field(default_factory=dict)  # folder -> [folder]
    third_party: dict = field(default_factory=dict)  # folder -> {library: cc_only}
    headers: dict = field(default_factory=dict)      # library -> [prefix]
    targets: dict = field(default_factory=dict)      # library -> [prefix]

    def layer_of(self, path):
        """The layer that a path below src/ belongs to: the longest folder that matches."""
        matching = [layer for layer in self.may_include if path.startswith(layer + "/")]
        return max(matching, key=len, default=None)

    def allows(self, layer, other):
        if other == layer or other.startswith(layer + "/"):
            return True
        return any(other == allowed or other.startswith(allowed + "/")
                   for allowed in self.may_include[layer])

    def library_of_header(self, header):
        return next((library for library, prefixes in self.headers.items()
                     if header.startswith(tuple(prefixes))), None)

    def library_of_target(self, target):
        return next((library for library, prefixes in self.targets.items()
                     if target.startswith(tuple(prefixes))), None)


def read_layers(tree):
    layers = Layers()
    file = tree.get("tools/layers.txt")
    for line in file.lines if file else []:
        line = line.split("#")[0].strip()
        if not line:
            continue
        head, middle, last = (re.split(r"\s:(?:\s|$)", line + " ") + ["", ""])[:3]
        kind, name = head.split()
        if kind == "layer":
            layers.may_include[name] = middle.split()
            layers.third_party[name] = {entry.removesuffix(".cc"): entry.endswith(".cc")
                                        for entry in last.split()}
        else:
            layers.headers[name] = middle.split() or ["\0"]
            layers.targets[name] = last.split()
    return layers


INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def rule_layers(tree):
    """A folder includes only what tools/layers.txt allows it."""
    layers = read_layers(tree)
    for file in tree.below("src/"):
        inside = file.path.removeprefix("src/")
        layer = layers.layer_of(inside)
        if layer is None:
            yield f"{file.path}:1: folder is not in tools/layers.txt"
            continue
        for match in INCLUDE.finditer(file.text):
            header = match.group(1) or match.group(2)
            number = file.text.count("\n", 0, match.start()) + 1
            if match.group(2) is None or "/" in header or header.endswith(".h"):
                yield from check_include(layers, file, layer, header, number)


def check_include(layers, file, layer, header, number):
    other = layers.layer_of(header)
    if other is not None:
        if not layers.allows(layer, other):
            yield f"{file.path}:{number}: {layer} may not include {other}/ (tools/layers.txt)"
        return
    library = layers.library_of_header(header)
    if library is None:
        return
    allowed = layers.third_party[layer]
    if library not in allowed:
        yield f"{file.path}:{number}: {layer} may not use {library} (tools/layers.txt)"
    elif allowed[library] and file.path.endswith(".h"):
        yield f"{file.path}:{number}: {layer} may use {library} only in .cc files (tools/layers.txt)"


LIBRARY_CALL = re.compile(r"\bmqttd_library\s*\(([^)]*)\)")


def parse_library(arguments):
    """The arguments of one mqttd_library() as {keyword: [value]}."""
    values, keyword = {}, None
    for word in re.sub(r"#[^\n]*", "", arguments).split():
        if word in ("NAME", "SRCS", "DEPS", "EXTERNAL", "PRIVATE"):
            keyword = word
            values[keyword] = []
        elif keyword:
            values[keyword].append(word)
    return values


def rule_links(tree):
    """A CMake library links only what tools/layers.txt allows it."""
    layers = read_layers(tree)
    folder_of = {layer.replace("/", "_"): layer for layer in layers.may_include}
    for file in tree.files:
        if not (file.path.startswith("src/") and file.path.endswith("CMakeLists.txt")):
            continue
        for match in LIBRARY_CALL.finditer(file.text):
            number = file.text.count("\n", 0, match.start()) + 1
            where = f"{file.path}:{number}"
            library = parse_library(match.group(1))
            layer = folder_of.get(library["NAME"][0])
            if layer is None:
                yield f"{where}: target {library['NAME'][0]} is no layer of tools/layers.txt"
                continue
            for target in library.get("DEPS", []):
                yield from check_target(layers, folder_of, where, layer, target, private=False)
            for keyword in ("EXTERNAL", "PRIVATE"):
                for target in library.get(keyword, []):
                    yield from check_target(layers, folder_of, where, layer, target,
                                            private=keyword == "PRIVATE")


def check_target(layers, folder_of, where, layer, target, private):
    other = folder_of.get(target)
    if other is not None:
        if not layers.allows(layer, other):
            yield f"{where}: {layer} may not link {target} (tools/layers.txt)"
        return
    library = layers.library_of_target(target)
    if library == "threads":
        return
    if library is None:
        yield f"{where}: {target} is neither a layer nor a library of tools/layers.txt"
    elif library not in layers.third_party[layer]:
        yield f"{where}: {layer} may not link {target} (tools/layers.txt)"


CORE_SYSTEM_HEADERS = re.compile(
    r"^(sys/.*|netinet/.*|arpa/.*|unistd\.h|fcntl\.h|poll\.h|pthread\.h|time\.h|signal\.h"
    r"|chrono|condition_variable|ctime|filesystem|fstream|future|iostream|mutex|shared_mutex|thread)$")
CORE_WORDS = [
    (re.compile(r"\babsl::Now\b|\bsystem_clock\b|\bsteady_clock\b|\bgettimeofday\b|\bclock_gettime\b"
                r"|\babsl::GetCurrentTimeNanos\b|\btime\((?:nullptr|NULL|0)\)|\bRealClock\b"),
     "time comes in as an argument, or from base::Clock"),
    (re.compile(r"\bstd::(?:recursive_|shared_|timed_)?mutex\b|\babsl::Mutex\b|\bbase::Mutex\b"
                r"|\bstd::thread\b|\bstd::condition_variable\b"),
     "no lock and no thread in a core/: what is here belongs to one thread"),
    (re.compile(r"\brand\(\)|\bstd::random_device\b|\bRng::FromEntropy\b"),
     "chance comes in as a base::Rng"),
]


CORE_IN_ALL_BUT_NAME = ("src/mqtt/", "src/storage/leader/", "src/broker/shard/", "src/cluster/raft/")


def is_core(path):
    return path.startswith(CORE_IN_ALL_BUT_NAME) or (path.startswith("src/") and "/core/" in path)


def rule_core(tree):
    """A core/ has no clock, no lock, no thread, no I/O."""
    for file in tree.below("src/"):
        if not is_core(file.path):
            continue
        for match in INCLUDE.finditer(file.text):
            header = match.group(1) or match.group(2)
            if CORE_SYSTEM_HEADERS.match(header):
                number = file.text.count("\n", 0, match.start()) + 1
                yield f"{file.path}:{number}: no <{header}> in a core/: I/O is beside it"
        for pattern, words in CORE_WORDS:
            for number, _ in each_match(file, file.code, pattern):
                yield f"{file.path}:{number}: {words}"


# --- shape ----------------------------------------------------------------------------------------


def rule_length(tree):
    """A file fits a sitting: at most 800 lines."""
    for file in tree.below("src/", "cmd/", "tests/", "tools/", "bench/"):
        if (count := len(file.lines)) > FILE_LINES_MAX:
            yield f"{file.path}:{count}: {count} lines, more than {FILE_LINES_MAX}: split it"


def guards_of(path):
    """BROKER_CORE_SESSION_H_, or without what lies between the folder and the file."""
    parts = re.sub(r"\.h$", "", path.removeprefix("src/")).upper().split("/")
    names = {"_".join(parts), "_".join([parts[0], parts[-1]])}
    return {re.sub(r"[^A-Z0-9]", "_", name) + "_H_" for name in names}


def rule_guards(tree):
    """A header has an include guard named after its path."""
    for file in tree.below("src/", "tests/", "cmd/", "bench/"):
        if not file.path.endswith(".h"):
            continue
        match = re.search(r"^#ifndef (\S+)\n#define (\S+)$", file.text, re.MULTILINE)
        wanted = guards_of(file.path)
        if not match or match.group(1) != match.group(2) or match.group(1) not in wanted:
            yield f"{file.path}:1: include guard must be {' or '.join(sorted(wanted, key=len))}"


def rule_headers(tree):
    """A header compiles alone: x.cc, or else x_test.cc, includes x.h first (or the build has a file)."""
    paths = {file.path for file in tree.files}
    for file in tree.below("src/"):
        name = file.path.removesuffix(".h")
        of_it = [name + ".cc", re.sub("^src/", "tests/", name) + "_test.cc"]
        first_of_all = next((tree.get(path) for path in of_it if path in paths), None)
        if not file.path.endswith(".h") or first_of_all is None:
            continue
        first = INCLUDE.search(first_of_all.text)
        wanted = file.path.removeprefix("src/")
        if first is None or first.group(1) != wanted:
            yield f'{first_of_all.path}:1: must include "{wanted}" first: so that header is compiled alone'


NOT_A_FUNCTION = re.compile(
    r"^(?:typedef\s+)?(?:namespace|class|struct|union|enum|extern)\b")
BRACES = re.compile(r"[{};]")


def functions(file):
    """(first line, last line) of the function definitions in a file, by counting braces."""
    code = re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", "", file.code, flags=re.MULTILINE)
    stack, start = [], 0
    for match in BRACES.finditer(code):
        symbol, position = match.group(), match.start()
        head = code[start:position]
        if symbol == ";":
            if head.count("(") > head.count(")"):
                continue  # Inside for (…;…).
        elif symbol == "{":
            words = re.sub(r"\btemplate\s*<[^{;]*?>\s*(?=\w)", "", head.strip())
            inside_function = any(kind == "function" for kind, _ in stack)
            kind = "scope"
            if not NOT_A_FUNCTION.match(words) and not inside_function:
                is_function = ")" in words and not words.endswith(("=", ",", "(", "return"))
                kind = "function" if is_function else "other"
            first = start + len(head) - len(head.lstrip())
            stack.append((kind, code.count("\n", 0, first) + 1))
        elif stack:
            kind, first = stack.pop()
            if kind == "function":
                yield first, code.count("\n", 0, position) + 1
        start = position + 1


def rule_functions(tree):
    """A function fits a screen: at most 70 lines, or "// tidy: long function: REASON" in it."""
    for file in tree.below("src/", "cmd/"):
        lines = file.lines
        for first, last in functions(file):
            count = last - first + 1
            if count <= FUNCTION_LINES_MAX:
                continue
            if any(LONG_FUNCTION_MARK.search(line) for line in lines[max(0, first - 4):last]):
                continue
            yield f"{file.path}:{first}: function of {count} lines, more than {FUNCTION_LINES_MAX}"


CLASS_HEAD = re.compile(r"\b(?:class|struct)\s+(?:ABSL_\w+\s+)?([\w:]*\w)[^;()=]*$")
TEMPLATE_ARGUMENTS = re.compile(r"<[^<>;{}]*>")
FUNCTION_HEAD = re.compile(r"(\boperator\b[^(]*|[\w~]+)\s*\(")
NO_MEMBER_FUNCTION = re.compile(r"^(?:using|typedef|friend|static_assert|return|if|for|while|enum)\b")


def classes(file):
    """(line, name, member functions) of the classes in a file: declared or defined in the body,
    constructors, the destructor and operators not counted."""
    code = re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", "", file.code, flags=re.MULTILINE)
    stack, start = [], 0
    for match in BRACES.finditer(code):
        symbol, position = match.group(), match.start()
        head = code[start:position].strip()
        head = re.sub(r"^(?:(?:public|private|protected)\s*:\s*)+", "", head)
        inside = stack[-1] if stack else None
        if inside and inside[0] and symbol in ";{":
            plain = head
            while (shorter := TEMPLATE_ARGUMENTS.sub("", plain)) != plain:
                plain = shorter
            function = FUNCTION_HEAD.search(plain.split("=")[0] if symbol == ";" else plain)
            if function and not NO_MEMBER_FUNCTION.match(plain) and "::*" not in plain:
                name = function.group(1)
                if not name.startswith("operator") and name.lstrip("~") != inside[0].split("::")[-1]:
                    inside[2] += 1
        if symbol == "{":
            named = CLASS_HEAD.search(TEMPLATE_ARGUMENTS.sub("", head))
            stack.append([named.group(1) if named else None, code.count("\n", 0, position) + 1, 0])
        elif symbol == "}" and stack:
            name, line, count = stack.pop()
            if name:
                yield line, name, count
        start = position + 1


def rule_classes(tree):
    """A class has one thing to do: at most 60 member functions."""
    for file in tree.below("src/", "cmd/"):
        for line, name, count in classes(file):
            if count > CLASS_FUNCTIONS_MAX:
                yield f"{file.path}:{line}: {name} has {count} functions, more than {CLASS_FUNCTIONS_MAX}"


CALLED_BY_LIBRARIES = ("AbslHashValue", "AbslStringify", "PrintTo")  # By their names.
IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
DECLARED = re.compile(r"[\w>&*\]]\s+[&*]{0,2}([A-Za-z]\w+)\s*\(([^;{}]*)([;{])?")
NO_TYPE = re.compile(r"(?:\b(?:return|co_return|case|else|throw|new|delete|not|and|or|goto|operator)|[=(,!?:+|&<-])\s*$")


def declarations(file):
    """(line, name) of what a header declares as a function. What overrides is called by who knows the base."""
    code = re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", "", file.code, flags=re.MULTILINE)
    for match in DECLARED.finditer(code):
        name, rest = match.group(1), match.group(2)
        before = code[max(0, match.start() - 60):match.start(1)]
        if name.isupper() or name.startswith("ABSL_") or name in CALLED_BY_LIBRARIES:
            continue
        if re.fullmatch(r"\s*\w+\s*\)\s*", rest) and match.group(3) == ";" and name.islower():
            continue  # A variable with its initial value.
        if re.search(r"\b(?:override|final)\b", rest) or NO_TYPE.search(before.rstrip(" \n&*")):
            continue
        yield code.count("\n", 0, match.start(1)) + 1, name


def is_declared_at(code, start):
    """Whether what stands there, a name and "(", declares or defines a function, and does not call it."""
    before = code[max(0, start - 160):start]
    scope = re.search(r"(?:\b\w+(?:<[^<>()]*>)?::)+$", before)
    if scope:
        before = before[:scope.start()]
    return bool(re.search(r"[\w>\]][ \n]+[&*]{0,2}$|[\w>\]][&*]{1,2}[ \n]+$", before)) and \
        not NO_TYPE.search(before.rstrip(" \n&*"))


def rule_unused(tree):
    """A function that a header offers is used, if only by a test."""
    files = tree.below("src/", "cmd/", "tests/", "bench/", "examples/")
    words, places = {}, {}
    for file in files:
        for word in IDENTIFIER.findall(file.code):
            words[word] = words.get(word, 0) + 1
    for file in tree.below("src/"):
        if file.path.endswith(".h"):
            for line, name in declarations(file):
                places.setdefault(name, []).append((file, line))
    doubtful = {name for name, found in places.items() if words[name] <= 2 * len(found)}
    declared = dict.fromkeys(doubtful, 0)
    for file in files if doubtful else []:
        for match in re.finditer(r"\b([A-Za-z_]\w*)\s*\(", file.code):
            if match.group(1) in doubtful and is_declared_at(file.code, match.start(1)):
                declared[match.group(1)] += 1
    for name in sorted(doubtful):
        if words[name] <= declared[name]:
            file, line = places[name][0]
            yield f"{file.path}:{line}: nobody uses {name}"


HASHED = re.compile(r"\b(?:absl::(?:flat|node)_hash_(?:map|set)|std::unordered_(?:map|set))<")
ORDERED = re.compile(r"\b(?:vector|deque|map|set|InlinedVector|btree_map|btree_set|Span)<[^;(){}]*>\s+(\w+)\s*[;={]")
RANGE_FOR = re.compile(r"\bfor\s*\([^;()]*?[^:]:\s*([^:;][^;{}]*?)\)\s*(?:\{|[^\s;)])")
ANY_ORDER_MARK = re.compile(r"//\s*tidy: any order: \S+")
DECIDES_STATE = ("src/storage/core/", "src/storage/leader/", "src/cluster/core/")


def hashed_names(file):
    """Names of variables and members that are hash containers."""
    for match in HASHED.finditer(file.code):
        depth, end = 0, match.end() - 1
        while end < len(file.code):
            depth += {"<": 1, ">": -1}.get(file.code[end], 0)
            end += 1
            if depth == 0:
                break
        if name := re.match(r"[\s&]*(\w+)\s*(?:;|=|\{|,|\)|ABSL_)", file.code[end:]):
            yield name.group(1)


def rule_order(tree):
    """Where state is decided nothing follows the order of a hash container, or it says why that does no harm."""
    files = tree.below(*DECIDES_STATE)
    of_stem, of_all, ordered = {}, set(), set()
    for file in files:
        names = set(hashed_names(file))
        of_stem.setdefault(file.path.rsplit(".", 1)[0], set()).update(names)
        of_all.update(name for name in names if not name.endswith("_"))
        ordered.update(set(ORDERED.findall(file.code)) - names)
    for file in files:
        own = of_stem[file.path.rsplit(".", 1)[0]]
        lines = file.lines
        for match in RANGE_FOR.finditer(file.code):
            *object_of, name = re.split(r"\.|->", match.group(1).strip("* "))
            number = file.code.count("\n", 0, match.start()) + 1
            known = own | (of_all - ordered) if object_of else own  # A field of a struct from elsewhere.
            if name in known and not any(ANY_ORDER_MARK.search(line) for line in lines[max(0, number - 3):number]):
                yield f"{file.path}:{number}: {name} is in no order: sort, or \"// tidy: any order: REASON\""


UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")


def rule_unfinished(tree):
    """No marks of unfinished work: do it, or write an issue."""
    for file in tree.files:
        for number, match in each_match(file, file.text, UNFINISHED):
            yield f"{file.path}:{number}: {match.group()}: finish it, or write an issue"


# --- tests ----------------------------------------------------------------------------------------

SLEEPS = {
    ".cc": re.compile(r"\bsleep_(?:for|until)\b|\b(?:u|nano)?sleep\s*\(|\bSleepFor\b"),
    ".h": re.compile(r"\bsleep_(?:for|until)\b|\b(?:u|nano)?sleep\s*\(|\bSleepFor\b"),
    ".py": re.compile(r"\btime\.sleep\b|\basyncio\.sleep\(\s*[^0\s)]"),
    ".sh": re.compile(r"(?:^|[;&|]|\bdo|\bthen)\s*sleep\b"),
}
WALL_CLOCK = re.compile(r"\babsl::Now\b|\bsystem_clock\b|\bgettimeofday\b|\btime\((?:nullptr|NULL)\)"
                        r"|\bCLOCK_REALTIME\b")


def rule_tests(tree):
    """No test sleeps or reads the wall clock: it waits for what must happen, or moves a FakeClock."""
    for file in tree.below("tests/", cpp=False):
        suffix = Path(file.path).suffix
        if pattern := SLEEPS.get(suffix):
            text = file.code if file.is_cpp else file.text
            for number, _ in each_match(file, text, pattern):
                yield f"{file.path}:{number}: a test does not sleep: wait for the event itself"
        if file.is_cpp:
            for number, _ in each_match(file, file.code, WALL_CLOCK):
                yield f"{file.path}:{number}: a test does not read the wall clock: use FakeClock"


# --- the specification ----------------------------------------------------------------------------

CITED = re.compile(r"[\[\"](MQTT(?:5|311)?)-(\d+(?:\.\d+)*-\d+)[a-z]?[\]\"]")
NAMED = re.compile(r"(?<![A-Za-z0-9])(MQTT(?:5|311)?)((?:_\d+){3,5})(?!\d)")


def statement_ids(tree):
    file = tree.get("tests/spec/statements.tsv")
    if file is None:
        return None
    return {line.split("\t")[0] for line in file.lines if line.startswith("MQTT")}


def known_statement(ids, version, number):
    """[MQTT-1.2.3-4] stands for the statement of that number in both versions."""
    versions = ("MQTT5", "MQTT311") if version == "MQTT" else (version,)
    return all(f"{each}-{number}" in ids for each in versions)


def rule_citations(tree):
    """A cited statement exists: [MQTT5-…], [MQTT311-…], or [MQTT-…] for both versions."""
    ids = statement_ids(tree)
    if ids is None:
        return
    for file in tree.below("src/", "tests/", "cmd/"):
        for number, line in enumerate(file.lines, 1):
            for version, statement in CITED.findall(line):
                if not known_statement(ids, version, statement):
                    yield f"{file.path}:{number}: no statement {version}-{statement}"
            if not file.path.startswith("tests/"):
                continue
            for version, digits in NAMED.findall(line):
                parts = digits.strip("_").split("_")
                statement = ".".join(parts[:-1]) + "-" + parts[-1]
                if not known_statement(ids, version, statement):
                    yield f"{file.path}:{number}: no statement {version}-{statement}"


# --- documents ------------------------------------------------------------------------------------

LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")


def anchors(text):
    found = set()
    for heading in re.findall(r"^#+\s+(.*)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower())
        found.add(plain.strip().replace(" ", "-"))
    return found


def without_code(text):
    text = re.sub(r"^```.*?^```", lambda m: "\n" * m.group().count("\n"), text,
                  flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def broken_tables(path, text):
    """Rows that a blank line or a missing heading cut off from their table: they come out as text."""
    lines = without_code(text).splitlines()
    for number, line in enumerate(lines):
        begins = line.startswith("|") and not (number and lines[number - 1].startswith("|"))
        if begins and not re.match(r"\|( *:?-+:? *\|)+ *$", lines[number + 1] if number + 1 < len(lines) else ""):
            yield f"{path}:{number + 1}: a row of no table: its heading is missing"


NAMED_FILE = re.compile(r"`([a-z][\w.-]*(?:/[\w.-]+)+\.(?:cc|h|py|txt|tsv|proto))`")
NAMES_BEGIN_AT = ("", "src/", "docs/", "tests/", "cmd/mqttctl/")


def files_that_are_not_there(tree, file):
    text = re.sub(r"^```.*?^```", lambda m: "\n" * m.group().count("\n"), file.text, flags=re.MULTILINE | re.DOTALL)
    for number, line in enumerate(text.splitlines(), 1):
        for name in NAMED_FILE.findall(line):
            stands_for_others = re.search(r"\b[A-Z]{3,}\b", name)
            if not stands_for_others and not any((tree.root / begin / name).exists() for begin in NAMES_BEGIN_AT):
                yield f"{file.path}:{number}: no such file: {name}"


def rule_links_in_docs(tree):
    """A link in a document leads somewhere, as does a file that it names, and a table has its heading."""
    made_later = {(tree.root / path).resolve() for path in MADE_LATER}
    for file in tree.files:
        if not file.path.endswith(".md"):
            continue
        yield from broken_tables(file.path, file.text)
        yield from files_that_are_not_there(tree, file)
        for number, line in enumerate(without_code(file.text).splitlines(), 1):
            for target in LINK.findall(line):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                file_path = (tree.root / file.path).parent / path if path else tree.root / file.path
                if file_path.resolve() in made_later:
                    continue
                if not file_path.exists():
                    yield f"{file.path}:{number}: no such file: {target}"
                elif anchor and file_path.suffix == ".md" and \
                        anchor not in anchors(file_path.read_text(encoding="utf-8")):
                    yield f"{file.path}:{number}: no such heading: {target}"


RULES = {
    "layers": rule_layers,
    "links": rule_links,
    "core": rule_core,
    "length": rule_length,
    "guards": rule_guards,
    "headers": rule_headers,
    "functions": rule_functions,
    "classes": rule_classes,
    "unused": rule_unused,
    "order": rule_order,
    "unfinished": rule_unfinished,
    "tests": rule_tests,
    "citations": rule_citations,
    "documents": rule_links_in_docs,
}


def run(tree, names=None):
    for name in names or RULES:
        yield name, sorted(RULES[name](tree))


def main(arguments):
    if arguments == ["--list"]:
        for name, rule in RULES.items():
            print(f"{name:12}{rule.__doc__}")
        return 0
    unknown = [name for name in arguments if name not in RULES]
    if unknown:
        print(f"no rule {unknown[0]}; tools/tidy.py --list", file=sys.stderr)
        return 2
    tree = load(Path(__file__).resolve().parent.parent)
    problems = [problem for _, found in run(tree, arguments) for problem in found]
    print("\n".join(problems) if problems else f"tidy: {len(tree.files)} files, all rules hold")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

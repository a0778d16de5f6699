// Runs a fuzz target without libFuzzer, as a quick regression test in every preset: each file of
// the corpus as it is, then seeded mutations of them.
//   TARGET [--runs=N] [--seed=S] DIRECTORY|FILE…
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

void ReadInto(const std::filesystem::path& path, std::vector<Bytes>& corpus) {
  std::ifstream in(path, std::ios::binary);
  corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

std::vector<Bytes> ReadCorpus(const std::vector<std::string>& paths) {
  std::vector<Bytes> corpus;
  for (const std::string& path : paths) {
    if (std::filesystem::is_directory(path)) {
      for (const auto& entry : std::filesystem::directory_iterator(path)) {
        if (entry.is_regular_file()) ReadInto(entry.path(), corpus);
      }
    } else if (std::filesystem::exists(path)) {
      ReadInto(path, corpus);
    }
  }
  if (corpus.empty()) corpus.emplace_back();
  return corpus;
}

// One small change: a bit, a byte, a cut, a repeated stretch, a splice with another input.
void Mutate(Bytes& bytes, const std::vector<Bytes>& corpus, base::Rng& rng) {
  const auto at = [&] { return static_cast<std::ptrdiff_t>(rng.Below(bytes.size())); };
  switch (bytes.empty() ? 2 : rng.Below(6)) {
    case 0:
      bytes[rng.Below(bytes.size())] ^= static_cast<uint8_t>(1u << rng.Below(8));
      break;
    case 1: {
      static constexpr uint8_t kEdges[] = {0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff};
      bytes[rng.Below(bytes.size())] = kEdges[rng.Below(std::size(kEdges))];
      break;
    }
    case 2:
      bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(rng.Below(bytes.size() + 1)),
                   static_cast<uint8_t>(rng()));
      break;
    case 3:
      bytes.erase(bytes.begin() + at());
      break;
    case 4: {
      const auto from = at();
      const Bytes stretch(bytes.begin() + from, bytes.end());
      if (bytes.size() < 4096) bytes.insert(bytes.begin() + at(), stretch.begin(), stretch.end());
      break;
    }
    case 5: {
      const Bytes& other = corpus[rng.Below(corpus.size())];
      const auto cut = static_cast<std::ptrdiff_t>(rng.Below(other.size() + 1));
      bytes.resize(rng.Below(bytes.size() + 1));
      bytes.insert(bytes.end(), other.begin() + cut, other.end());
      break;
    }
  }
}

void RunOne(const Bytes& bytes) {
  // A copy of its exact size, so that a read past the end is one for the sanitizer.
  const std::vector<uint8_t> exact(bytes);
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t runs = 20000;
  uint64_t seed = 1;
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg.starts_with("--runs=")) {
      runs = std::stoull(std::string(arg.substr(7)));
    } else if (arg.starts_with("--seed=")) {
      seed = std::stoull(std::string(arg.substr(7)));
    } else {
      paths.emplace_back(arg);
    }
  }
  const std::vector<Bytes> corpus = ReadCorpus(paths);
  for (const Bytes& bytes : corpus) RunOne(bytes);
  base::Rng rng(seed);
  for (uint64_t run = 0; run < runs; ++run) {
    Bytes bytes = corpus[rng.Below(corpus.size())];
    for (uint64_t changes = 1 + rng.Below(4); changes > 0; --changes) Mutate(bytes, corpus, rng);
    RunOne(bytes);
  }
  std::printf("%zu inputs and %llu mutations of them, seed %llu\n", corpus.size(),
              static_cast<unsigned long long>(runs), static_cast<unsigned long long>(seed));
  return 0;
}

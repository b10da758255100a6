// Writes what fuzzing starts from, a directory for each target: fxfarm_fuzz_seeds DIRECTORY.

#include "actors/engine_frames.hpp"
#include "net/codec.hpp"
#include "runtime/digest.hpp"
#include "runtime/frame_codec.hpp"
#include "runtime/store_file.hpp"
#include "tests/net/golden.hpp"

#include <filesystem>
#include <fstream>
#include <iostream>

using namespace fxfarm;

namespace {

class corpus {
public:
  explicit corpus(std::filesystem::path root) : root_(std::move(root)) {}

  void add(const std::string& target, std::string_view seed) {
    const auto directory = root_ / target;
    std::filesystem::create_directories(directory);
    std::ofstream file(directory / ("seed-" + std::to_string(count_++)), std::ios::binary);
    file.write(seed.data(), static_cast<std::streamsize>(seed.size()));
    if (!file.flush()) throw std::runtime_error("cannot write below " + directory.string());
  }

private:
  std::filesystem::path root_;
  std::size_t count_ = 0;
};

std::string number(std::size_t value) {
  return {static_cast<char>(value), static_cast<char>(value >> 8U)};
}

void messages(corpus& out) {
  std::string conversation;
  for (const auto& g : net::golden_messages()) {
    out.add("codec", g.wire);
    out.add("session", number(g.wire.size()) + std::string(g.wire));
    conversation += number(g.wire.size()) + std::string(g.wire);
  }
  out.add("session", conversation);
  // A message with an attachment within it, and one whose bytes follow.
  const auto content = to_bytes("the bytes of a graph");
  const auto enclosed = net::enclose(net::encode(net::heartbeat{}), content, digest_hex(content));
  out.add("codec", text_of(enclosed));
  out.add("session", number(enclosed.size()) + std::string(text_of(enclosed)));
  const auto head = net::announce(net::encode(net::heartbeat{}), {1, content.size(), digest_hex(content)});
  const auto piece = net::encode(net::chunk{1, 0, content});
  out.add("session",
          number(head.size()) + std::string(text_of(head)) + number(piece.size()) + std::string(text_of(piece)));
  out.add("stream", std::string("\x00\x01", 2) + number(3) + "abc" + std::string("\x01\x01", 2) + number(0) +
                        "\x03"
                        "abc");
  out.add("stream", std::string("\x04\x00", 2) + number(20) + "twenty bytes of text" +
                        std::string("\x07\x00\x07\x00\x05\x02", 6) + number(64));
}

void engine_reports(corpus& out) {
  // As msgpack has them: {"type": "progress", "id": "1", "phase": "pack"} and others.
  const std::string_view bodies[] = {
      "\x83\xa4type\xa8progress\xa2id\xa1"
      "1\xa5phase\xa4pack",
      "\x84\xa4type\xa6"
      "failed\xa2id\xa1"
      "1\xa4"
      "code\xa3"
      "bad\xa6reason\xa3why",
      "\x83\xa4type\xa5"
      "fatal\xa4"
      "code\xa3"
      "bad\xa6reason\xa3why",
      "\x82\xa4type\xa5hello\xa8protocol\x01",
      "\x84\xa4type\xa4"
      "done\xa2id\xa1"
      "1\xa8"
      "artifact\xc4\x02"
      "ab\xa6phases\x81\xa1p\xca\x3f\x80\x00\x00"};
  for (const auto body : bodies) {
    const auto prefix = frame_prefix(body.size());
    out.add("engine_frames", "\x02" + std::string(text_of(prefix)) + std::string(body));
  }
}

void files(corpus& out) {
  for (const auto* table : {"coordinator", "worker", "local", "client"}) {
    out.add("config", "log_level = \"info\"\n[" + std::string(table) + "]\nmetrics = \"127.0.0.1:0\"\n");
  }
  out.add("config",
          "[coordinator]\nlisten = [\"tcp://127.0.0.1:1\", \"ipc:///x\"]\ncache_bytes = \"1GiB\"\njob_deadline = "
          "\"10m\"\n");
  out.add("config",
          "[coordinator]\nboolean = true\ntext = 'a'\npath = \"/x\"\nsocket_file = \"ipc:///x\"\none_of = \"json\"\n"
          "endpoint = \"tcp://[::1]:1\"\nendpoints = [\"tcp://a:1\"]\nfarm = [\"dns+tcp://farm:7070\"]\nhost_names = "
          "[\"a\", \"b\"]\naddress = \"off\"\ncount = 7\nbyte_count = \"1GiB\"\nduration = \"10m\"\nmaybe = "
          "\"\"\nredis_url = \"redis://a:b@c\"\npublic_keys = [\"/k\"]\nkey_prefix = \"p:\"\n[worker]\nslots = 2\n");
  out.add("authorized_keys",
          "# comment\nclient team-a rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7 alice\nworker * "
          "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\nisolate team-a\nshare team-b team-c team-d\n");
  out.add("authorized_keys", "signer * " + std::string(64, 'a') + " worker-0\n");
  for (const auto url : {"redis://localhost", "rediss://user:secret@[::1]:6380/2", "redis+sentinel://a:1,b:2/main/0",
                         "redis+cluster://a,b:7000", "redis+unix:///run/redis.sock"}) {
    out.add("redis_url", url);
  }
  stored what;
  what.data = make_blob(to_bytes("an artifact"));
  what.phases = {{"compile", 1.5}, {"pack", 0.25}};
  what.made_by = "worker-0";
  if (const auto head = store_file_head(std::string(64, 'a'), what)) {
    out.add("store_file", number(head->size()) + std::string(text_of(*head)) + "an artifact");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "fxfarm_fuzz_seeds: wants a directory\n";
    return 2;
  }
  corpus out(argv[1]);
  messages(out);
  engine_reports(out);
  files(out);
}

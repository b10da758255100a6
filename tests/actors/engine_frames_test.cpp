#include "actors/engine_frames.hpp"

#include "doubles.hpp"

#include <msgpack.hpp>

using namespace fxfarm;
using namespace fxfarm::actors;

namespace {

// A frame as an engine would write it, from the inside out.
class frame {
public:
  explicit frame(std::uint32_t entries) : pack_(buffer_) { pack_.pack_map(entries); }
  template <class T>
  frame& with(const char* name, const T& value) {
    pack_.pack(std::string(name));
    pack_.pack(value);
    return *this;
  }
  frame& with_binary(const char* name, std::string_view data) {
    pack_.pack(std::string(name));
    pack_.pack_bin(static_cast<std::uint32_t>(data.size()));
    pack_.pack_bin_body(data.data(), static_cast<std::uint32_t>(data.size()));
    return *this;
  }
  frame& with_platform(std::string torch = "2.13.0", std::uint32_t skipped = 0) {
    const auto p = machine(std::move(torch));
    pack_.pack(std::string("platform"));
    pack_.pack_map(9 - skipped);
    platform::fields(p, [&](std::string_view name, const auto& value) {
      if (skipped > 0) {
        --skipped;
        return;
      }
      pack_.pack(std::string(name));
      pack_.pack(value);
    });
    return *this;
  }
  bytes done() const { return to_bytes({buffer_.data(), buffer_.size()}); }

private:
  msgpack::sbuffer buffer_;
  msgpack::packer<msgpack::sbuffer> pack_;
};

}  // namespace

TEST(engine_frames, a_compile_has_these_bytes) {
  engine_job job;
  job.id = "j";
  job.stage = {"d", {{"k", "1"}}};
  job.target = platform{};
  job.graph = some_bytes("G");
  job.attempts = 2;
  job.kernels_elsewhere = 3;
  const auto body = encode_compile(job);
  const std::string_view golden =
      "\x87"  // map of 7
      "\xa4type\xa7"
      "compile"        // what it is
      "\xa2id\xa1j"    // job
      "\xa5stage\x82"  // stage:
      "\xa4name\xa1"
      "d"  //   its name
      "\xa7options\x81\xa1k\xa1"
      "1"               //   its options, values as JSON text
      "\xa6target\x89"  // platform, fields by name
      "\xa5torch\xa0\xa6python\xa0\xa6triton\xa0"
      "\xa4"
      "arch\xa6x86_64\xa3isa\xa9x86-64-v3\xa7threads\x01"
      "\xa6"
      "device\xa3"
      "cpu\xa3gpu\xa0\xaagpu_driver\xa0"
      "\xa5graph\xc4\x01G"  // bytes of the graph
      "\xa8"
      "attempts\x02"
      "\xb1kernels_elsewhere\x03";
  EXPECT_EQ(text_of(body), golden);
  EXPECT_EQ(text_of(encode_shutdown()), "\x81\xa4type\xa8shutdown");
}

TEST(engine_frames, a_kernel_has_these_bytes) {
  engine_job job;
  job.id = "j";
  job.stage = {"d", {}};
  job.graph = some_bytes("S");
  job.kernel = true;
  const std::string body(text_of(encode_compile(job)));
  EXPECT_EQ(body.substr(0, 26),
            "\x85\xa4type\xae"
            "compile_kernel\xa2id\xa1j");
  EXPECT_EQ(body.substr(body.size() - 10), "\xa6source\xc4\x01S");
  EXPECT_EQ(text_of(encode_kernel_answer({"j", "n", some_bytes("L"), {}})),
            "\x84\xa4type\xabkernel_done\xa2id\xa1j\xa6kernel\xa1n\xa7library\xc4\x01L");
  EXPECT_EQ(text_of(encode_kernel_answer({"j", "n", nullptr, error{errc::busy, "no"}})),
            "\x85\xa4type\xadkernel_failed\xa2id\xa1j\xa6kernel\xa1n\xa4"
            "code\xa4"
            "busy\xa6reason\xa2no");
}

TEST(engine_frames, a_kernel_that_is_wanted_is_read) {
  auto wanted = decode_report(frame(4)
                                  .with("type", std::string("kernel"))
                                  .with("id", std::string("j"))
                                  .with("kernel", std::string("n"))
                                  .with_binary("source", "S")
                                  .done());
  ASSERT_TRUE(wanted) << wanted.failure().message;
  const auto& kernel = std::get<engine_kernel_wanted>(*wanted);
  EXPECT_EQ(kernel.id + kernel.kernel, "jn");
  EXPECT_EQ(text_of(*kernel.source), "S");
  for (const auto* missing : {"id", "kernel", "source"}) {
    frame f(3);
    f.with("type", std::string("kernel"));
    for (const auto* name : {"id", "kernel"}) {
      if (std::string_view(name) != missing) f.with(name, std::string("x"));
    }
    if (std::string_view("source") != missing) f.with_binary("source", "S");
    EXPECT_EQ(decode_report(f.done()).failure().message, "engine frame: " + std::string(missing) + ": missing");
  }
}

TEST(engine_frames, an_engine_says_whether_it_takes_kernels) {
  const auto ready = [](auto&& more) {
    frame f(4);
    f.with("type", std::string("ready")).with_platform().with("warm_seconds", 1.5);
    return decode_report(more(f).done());
  };
  EXPECT_TRUE(std::get<engine_ready>(*ready([](frame& f) -> frame& { return f.with("kernels", true); })).kernels);
  EXPECT_FALSE(std::get<engine_ready>(*ready([](frame& f) -> frame& { return f.with("kernels", false); })).kernels);
  EXPECT_FALSE(std::get<engine_ready>(*ready([](frame& f) -> frame& { return f.with("more", true); })).kernels);
  EXPECT_FALSE(ready([](frame& f) -> frame& { return f.with("kernels", 1); })) << "no flag";
}

TEST(engine_frames, every_report_is_read) {
  auto hello = decode_report(frame(3).with("type", std::string("hello")).with("protocol", 1).with_platform().done());
  ASSERT_TRUE(hello) << hello.failure().message;
  EXPECT_EQ(std::get<engine_hello>(*hello).protocol, 1u);
  EXPECT_EQ(std::get<engine_hello>(*hello).runs_on, machine());

  auto ready =
      decode_report(frame(3).with("type", std::string("ready")).with_platform().with("warm_seconds", 1.5).done());
  ASSERT_TRUE(ready);
  EXPECT_EQ(std::get<engine_ready>(*ready).warm_seconds, 1.5);

  auto done = decode_report(frame(4)
                                .with("type", std::string("done"))
                                .with("id", std::string("j"))
                                .with_binary("artifact", "A")
                                .with("phases", std::map<std::string, double>{{"lower", 2}})
                                .done());
  ASSERT_TRUE(done);
  EXPECT_EQ(text_of(*std::get<engine_done>(*done).artifact), "A");
  EXPECT_EQ(std::get<engine_done>(*done).phases.at("lower"), 2.0);

  auto failed = decode_report(frame(4)
                                  .with("type", std::string("failed"))
                                  .with("id", std::string("j"))
                                  .with("code", std::string("compile_failed"))
                                  .with("reason", std::string(limits::text_bytes_max + 1, 'x'))
                                  .done());
  ASSERT_TRUE(failed);
  EXPECT_EQ(std::get<engine_failed>(*failed).why.code, errc::compile_failed);
  EXPECT_EQ(std::get<engine_failed>(*failed).why.message.size(), limits::text_bytes_max);

  auto progress = decode_report(frame(3)
                                    .with("type", std::string("progress"))
                                    .with("id", std::string("j"))
                                    .with("phase", std::string("p"))
                                    .done());
  ASSERT_TRUE(progress);
  EXPECT_EQ(std::get<engine_progress>(*progress).phase, "p");
}

TEST(engine_frames, a_malformed_report_is_an_error_that_says_what_is_wrong) {
  std::string deep(20, '\x91');
  const std::string text = "type";
  struct {
    const char* what;
    bytes body;
    const char* message;
  } const cases[] = {
      {"nothing", {}, "no msgpack"},
      {"cut off", to_bytes("\x82\xa4type"), "no msgpack"},
      {"no map", to_bytes("\x01"), "expected a map"},
      {"no type", frame(0).done(), "type: missing"},
      {"a type that is a number", frame(1).with("type", 1).done(), "type: of the wrong type"},
      {"an unknown type", frame(1).with("type", std::string("dance")).done(), "unknown type 'dance'"},
      {"no platform", frame(2).with("type", std::string("hello")).with("protocol", 1).done(), "platform: missing"},
      {"half a platform",
       frame(3).with("type", std::string("hello")).with("protocol", 1).with_platform("2.13.0", 1).done(),
       "platform: torch: missing"},
      {"a negative protocol", frame(3).with("type", std::string("hello")).with("protocol", -1).with_platform().done(),
       "protocol: of the wrong type"},
      {"an artifact that is a text",
       frame(4)
           .with("type", std::string("done"))
           .with("id", std::string("j"))
           .with("artifact", std::string("A"))
           .with("phases", std::map<std::string, double>{})
           .done(),
       "artifact: of the wrong type"},
      {"phases that are texts",
       frame(4)
           .with("type", std::string("done"))
           .with("id", std::string("j"))
           .with_binary("artifact", "A")
           .with("phases", std::map<std::string, std::string>{{"a", "b"}})
           .done(),
       "phases: expected a number"},
      {"a map deeper than allowed", to_bytes(deep + "\x01"), "no msgpack"},
      {"a list that claims 2^32-1 entries", to_bytes("\xdd\xff\xff\xff\xff"), "no msgpack"},
  };
  for (const auto& c : cases) {
    auto report = decode_report(c.body);
    ASSERT_FALSE(report) << c.what;
    EXPECT_EQ(report.failure().code, errc::protocol) << c.what;
    EXPECT_NE(report.failure().message.find(c.message), std::string::npos)
        << c.what << ": " << report.failure().message;
  }
}

// What the store gives when artifacts must be signed: the disk and Redis are written by others, too.

#include "redis_double.hpp"
#include "runtime/disk_store.hpp"
#include "runtime/memory_store.hpp"
#include "runtime/store.hpp"
#include "runtime/store_directory.hpp"
#include "scratch_directory.hpp"
#include "signers.hpp"

#include <gtest/gtest.h>

namespace fxfarm {
namespace {

using namespace testing_signers;

std::string key_of(char c) {
  return std::string(64, c);
}

using counts = std::map<std::string, int>;

struct signed_store : testing::Test {
  signed_store() { list.accept({signer.public_key(), other.public_key()}); }

  stored artifact(const std::string& key, const artifact_signer& who, std::string_view text = "code") const {
    const auto data = to_bytes(text);
    return {make_blob(data), {{"lower", 0.5}}, "w", "", signed_by(who, key, data)};
  }
  // A coordinator that starts now.
  std::unique_ptr<store> open() {
    store_reporter r;
    r.untrusted = [this](std::string_view tier, std::string_view reason, const error* why) {
      ++untrusted[std::string(tier) + " " + std::string(reason)];
      if (why != nullptr) ++asked_for;
    };
    r.failed = [this](std::string_view, const error&) { ++failed; };
    r.hit = [this](std::string_view tier) { ++hit[std::string(tier)]; };
    return *store::open({dir.path(), 1 << 20, 1 << 20}, r, list.check());
  }
  // As somebody who may write there puts it: under a digest that is right.
  void plant(const std::string& key, const stored& what) const {
    ASSERT_TRUE(store_directory::open(dir.path())->write(key, what));
  }
  std::size_t on_disk() const { return store_directory::open(dir.path())->list()->size(); }

  scratch_directory dir;
  signer_list list;
  artifact_signer signer = new_signer();
  artifact_signer other = new_signer();
  counts untrusted, hit;
  int asked_for = 0;
  int failed = 0;
};

TEST_F(signed_store, gives_what_was_signed_and_its_signature) {
  const auto made = artifact(key_of('a'), signer);
  ASSERT_TRUE(open()->put(key_of('a'), made));
  auto s = open();
  for (const auto* tier : {"disk", "memory"}) {
    const auto found = *s->get(key_of('a'));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->tier, tier);
    EXPECT_EQ(found->signature, made.signature);
    EXPECT_EQ(found->phases, made.phases);
  }
  EXPECT_EQ(s->get_at_once(key_of('a'))->signature, made.signature);
  EXPECT_EQ(untrusted, counts{});
}

TEST_F(signed_store, gives_nothing_that_others_have_put_on_disk) {
  const auto stranger = new_signer();
  auto s = open();
  const auto with = [&](artifact_signature by) {
    auto what = artifact(key_of('a'), signer);
    what.signature = std::move(by);
    return what;
  };
  const auto good = artifact(key_of('a'), signer);
  const struct {
    const char* reason;
    stored what;
  } cases[] = {
      {"unsigned", with({})},
      {"unknown_signer", artifact(key_of('a'), stranger)},
      {"bad_signature", artifact(key_of('b'), signer)},  // signed for another stage
      {"bad_signature",
       [&] {  // other bytes under a signature that is there
         auto what = good;
         what.data = make_blob(to_bytes("evil"));
         return what;
       }()},
      {"bad_signature", with({signer.public_key(), artifact(key_of('a'), stranger).signature.value})},
      {"bad_signature", with({signer.public_key(), good.signature.value.substr(2)})},
  };
  counts wanted;
  for (const auto& c : cases) {
    plant(key_of('a'), c.what);
    const auto found = s->get(key_of('a'));
    ASSERT_TRUE(found);
    EXPECT_FALSE(*found) << c.reason;
    ++wanted[std::string("disk ") + c.reason];
    EXPECT_EQ(untrusted, wanted);
    EXPECT_EQ(on_disk(), 0u) << "it is gone from there";
    EXPECT_EQ(s->get_at_once(key_of('a')), nullptr);
  }
  EXPECT_EQ(asked_for, static_cast<int>(std::size(cases)));
  EXPECT_EQ(hit, counts{});
  EXPECT_EQ(failed, 0);
}

TEST_F(signed_store, drops_what_a_signer_has_made_who_is_accepted_no_longer) {
  auto s = open();
  ASSERT_TRUE(s->put(key_of('a'), artifact(key_of('a'), signer)));
  ASSERT_TRUE(s->put(key_of('b'), artifact(key_of('b'), other)));
  ASSERT_TRUE(s->put(key_of('c'), artifact(key_of('c'), signer)));
  list.accept({other.public_key()});
  s->drop_untrusted();
  EXPECT_EQ(untrusted, (counts{{"memory unknown_signer", 2}, {"disk unknown_signer", 2}}));
  EXPECT_EQ(asked_for, 0);
  EXPECT_EQ(on_disk(), 1u);
  EXPECT_FALSE(*s->get(key_of('a')));
  EXPECT_TRUE(*s->get(key_of('b')));
  EXPECT_EQ(s->list().size(), 2u);
}

TEST_F(signed_store, gives_nothing_of_a_revoked_signer_before_it_is_dropped) {
  auto s = open();
  ASSERT_TRUE(s->put(key_of('a'), artifact(key_of('a'), signer)));
  list.accept({other.public_key()});
  EXPECT_EQ(s->get_at_once(key_of('a')), nullptr);
  EXPECT_EQ(untrusted, (counts{{"memory unknown_signer", 1}}));
  EXPECT_FALSE(*s->get(key_of('a')));
  EXPECT_EQ(untrusted, (counts{{"memory unknown_signer", 1}, {"disk unknown_signer", 1}}));
}

TEST_F(signed_store, looks_at_no_signature_where_none_is_asked_for) {
  plant(key_of('a'), {make_blob(to_bytes("code")), {}, "w", ""});
  auto s = *store::open({dir.path(), 1 << 20, 1 << 20});
  EXPECT_TRUE(*s->get(key_of('a')));
  s->drop_untrusted();
  EXPECT_EQ(on_disk(), 1u);
}

TEST_F(signed_store, carries_signatures_from_one_directory_to_another) {
  const auto made = artifact(key_of('a'), signer);
  plant(key_of('a'), made);
  scratch_directory elsewhere;
  const auto from = store_directory::open(dir.path());
  const auto to = store_directory::make(elsewhere.path());
  EXPECT_EQ(copy(*from, *to)->artifacts, 1u);
  EXPECT_EQ(to->read(key_of('a'))->signature, made.signature);
}

TEST_F(signed_store, tells_what_in_a_directory_is_signed_and_leaves_the_rest_behind) {
  plant(key_of('a'), artifact(key_of('a'), signer));
  plant(key_of('b'), artifact(key_of('b'), new_signer()));
  plant(key_of('c'), artifact(key_of('a'), signer));
  const auto from = store_directory::open(dir.path());
  EXPECT_EQ(verify(*from)->artifacts, 3u);
  const auto check = list.check();
  const auto report = verify(*from, {}, check.get());
  EXPECT_EQ(report->artifacts, 1u);
  ASSERT_EQ(report->faults.size(), 2u);
  for (const auto& f : report->faults) EXPECT_EQ(f.why.code, errc::untrusted);
  scratch_directory elsewhere;
  const auto to = store_directory::make(elsewhere.path());
  EXPECT_EQ(copy(*from, *to, {}, check.get())->artifacts, 1u);
  ASSERT_EQ(to->list()->size(), 1u);
  EXPECT_EQ(to->list()->front().key, key_of('a'));
}

}  // namespace
}  // namespace fxfarm

#include "actors/store.hpp"

#include "monitoring/log.hpp"

namespace fxfarm::actors {
namespace {

store_found answer(result<std::optional<stored>> found) {
  return {std::make_shared<const result<std::optional<stored>>>(std::move(found))};
}

}  // namespace

shared_store_actor::behavior_type store_behavior(shared_store_actor::stateful_pointer<store_state> self,
                                                 std::shared_ptr<store> where, std::shared_ptr<shared_tier> shared) {
  return {
      [=](const store_read& m) -> caf::result<store_found> {
        auto found = where->get(m.key);
        if (!shared || !found || *found) return answer(std::move(found));
        const auto question = ++self->state.questions;
        auto promise = self->make_response_promise<store_found>();
        self->state.asked.emplace(question, promise);
        shared->get(m.key, [me = shared_store_actor(self), question, key = m.key](std::optional<stored> what) {
          caf::anon_send(me,
                         store_shared{question, key, std::make_shared<const std::optional<stored>>(std::move(what))});
        });
        return promise;
      },
      [=](const store_write& m) {
        auto kept = std::make_shared<const result<void>>(where->put(m.key, *m.what));
        if (shared) shared->put(m.key, m.what);
        return store_written{std::move(kept)};
      },
      [=](const store_remove& m) {
        if (shared) shared->remove(m.key);
        auto removed = where->remove(m.key);
        if (!removed) log::warning("store: " + to_string(removed.failure()));
      },
      [=](const store_shared& m) {
        auto asked = self->state.asked.extract(m.question);
        if (asked.empty()) return;
        // A tier that does not take it has been reported; it is served all the same.
        if (*m.found) (void)where->put(m.key, **m.found);
        asked.mapped().deliver(answer(*m.found));
      },
  };
}

}  // namespace fxfarm::actors

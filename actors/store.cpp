#include "actors/store.hpp"

#include "monitoring/log.hpp"

namespace fxfarm::actors {

store_actor::behavior_type store_behavior(store_actor::pointer, std::shared_ptr<store> where) {
  return {
      [where](const store_read& m) {
        return store_found{std::make_shared<const result<std::optional<stored>>>(where->get(m.key))};
      },
      [where](const store_write& m) {
        return store_written{std::make_shared<const result<void>>(where->put(m.key, *m.what))};
      },
      [where](const store_remove& m) {
        auto removed = where->remove(m.key);
        if (!removed) log::warning("store: " + to_string(removed.failure()));
      },
  };
}

}  // namespace fxfarm::actors

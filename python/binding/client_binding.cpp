#include "python/binding/client_binding.hpp"

#include "client/client.hpp"
#include "python/binding/load_queue.hpp"
#include "python/binding/slot.hpp"

#include <pybind11/stl.h>

namespace py = pybind11;

namespace fxfarm::python {
namespace {

// Other Python threads run while `f` does.
template <class F>
auto without_gil(F&& f) {
  py::gil_scoped_release unlocked;
  return f();
}

[[noreturn]] void raise(const error& e) {
  std::string text = to_string(e);
  if (e.code == errc::bad_input || e.code == errc::bad_config || e.code == errc::too_large) throw py::value_error(text);
  throw std::runtime_error(text);
}

// Sets the fields of a value from a dict; a key that is no field is refused.
template <class T>
T from_dict(const py::dict& d, std::string_view what) {
  T value;
  std::size_t known = 0;
  T::fields(value, [&](const char* name, auto& field) {
    if (!d.contains(name)) return;
    field = py::cast<std::remove_reference_t<decltype(field)>>(d[name]);
    ++known;
  });
  if (known == d.size()) return value;
  std::string allowed;
  T::fields(value, [&](const char* name, auto&) { allowed += allowed.empty() ? name : std::string(", ") + name; });
  throw py::value_error("unknown key in " + std::string(what) + "; allowed: " + allowed);
}

py::dict to_dict(const stage_status& s) {
  py::dict d;
  d["name"] = s.name;
  d["stage_key"] = s.stage_key;
  d["state"] = std::string(to_string(s.state));
  d["source"] = s.source;
  d["error"] = s.error;
  d["seconds_to_ready"] = s.seconds_to_ready;
  d["seconds_to_switch"] = s.seconds_to_switch;
  d["seconds_load"] = s.seconds_load;
  d["seconds_queued"] = s.seconds_queued;
  d["phases"] = s.phases;
  return d;
}

py::dict to_dict(const graph_status& g) {
  py::list stages;
  for (const auto& s : g.stages) stages.append(to_dict(s));
  py::dict d;
  d["id"] = g.id;
  d["graph_key"] = g.graph_key;
  d["name"] = g.name;
  d["stage"] = g.stage;
  d["farm"] = g.farm;
  d["settled"] = g.settled;
  d["stages"] = std::move(stages);
  return d;
}

py::dict to_dict(const switch_notice& n) {
  py::dict d;
  d["group"] = n.group;
  d["stage_key"] = n.stage_key;
  d["round"] = n.round;
  d["verdict"] = n.verdict;
  d["call"] = n.call;
  d["reason"] = n.reason;
  return d;
}

// An artifact's bytes, offered to Python without a copy.
struct artifact_bytes {
  blob data;
};

class bound_client {
  // Does that without the interpreter lock. So ends the client, if it was stopped meanwhile and this is its last call.
  template <class Do>
  static auto with(std::shared_ptr<client> c, Do what) {
    return without_gil([&] {
      const auto own = std::move(c);
      return what(*own);
    });
  }

public:
  bound_client(std::vector<std::string> endpoints, std::string local_endpoint, std::vector<std::string> local_command,
               std::string space, std::string salt, std::string metrics, std::string key,
               std::vector<std::string> server_public_key, std::string signers, bool insecure) {
    client_options options;
    options.endpoints = std::move(endpoints);
    options.local_endpoint = std::move(local_endpoint);
    options.local_command = std::move(local_command);
    options.space = std::move(space);
    options.salt = std::move(salt);
    options.metrics = std::move(metrics);
    options.key = std::move(key);
    options.server_public_key = std::move(server_public_key);
    options.signers = std::move(signers);
    options.insecure = insecure;
    options.calls = count_calls;
    auto started = without_gil([&] {
      return client::start(
          std::move(options), [queue = queue_](load_task task) { queue->push(std::move(task)); },
          [queue = queue_] { queue->wake(); },
          [notices = notices_](switch_notice notice) { notices->push(std::move(notice)); });
    });
    if (!started) raise(started.failure());
    client_ = std::move(started).value();
  }
  ~bound_client() { stop(); }
  bound_client(const bound_client&) = delete;

  std::uint64_t submit(std::string graph_key, std::string name, const py::bytes& graph, const py::list& stages,
                       const py::dict& target, std::map<std::string, std::string> parts, double prepare_seconds) {
    graph_request request;
    request.prepare_seconds = prepare_seconds;
    request.graph_key = std::move(graph_key);
    request.name = std::move(name);
    request.target = from_dict<platform>(target, "target");
    request.parts = std::move(parts);
    for (auto stage : stages) request.stages.push_back(from_dict<stage_spec>(py::cast<py::dict>(stage), "stages"));
    auto payload = static_cast<std::string_view>(graph);
    auto id = with(alive(), [&](client& c) {
      // The caller's reference keeps the immutable payload while it is copied.
      request.graph = make_blob(to_bytes(payload));
      return c.submit(std::move(request));
    });
    if (!id) raise(id.failure());
    return *id;
  }

  void release(std::uint64_t graph) {
    if (client_) with(client_, [&](client& c) { c.release(graph); });
  }

  void roll_back(std::uint64_t graph, std::size_t stage, const std::string& code, std::string why) {
    if (!client_) return;
    with(client_, [&](client& c) { c.roll_back(graph, stage, {errc_from_string(code), std::move(why)}); });
  }

  void arm(std::uint64_t graph, const py::dict& report) {
    auto given = from_dict<switch_report>(report, "report");
    if (client_) with(client_, [&](client& c) { c.arm(graph, std::move(given)); });
  }
  void vote(std::uint64_t graph, const py::dict& answer) {
    auto given = from_dict<switch_answer>(answer, "answer");
    if (client_) with(client_, [&](client& c) { c.vote(graph, std::move(given)); });
  }
  py::object next_notice(std::int64_t timeout_ms) {
    auto found = without_gil([&] { return notices_->pop(std::chrono::milliseconds(timeout_ms)); });
    return found ? py::object(to_dict(*found)) : py::none();
  }

  std::string wait_slice(const std::string& stage, std::int64_t timeout_ms) {
    auto outcome = with(alive(), [&](client& c) { return c.wait(stage, std::chrono::milliseconds(timeout_ms)); });
    switch (outcome) {
      case client::wait_result::reached:
        return "reached";
      case client::wait_result::failed:
        return "failed";
      case client::wait_result::timed_out:
        break;
    }
    return "timed_out";
  }

  std::shared_ptr<pending_load> next_task(std::int64_t timeout_ms) {
    return without_gil([&] { return queue_->pop(std::chrono::milliseconds(timeout_ms)); });
  }

  py::list graphs() {
    auto all = with(alive(), [](client& c) { return c.graphs(); });
    py::list out;
    for (const auto& g : all) out.append(to_dict(g));
    return out;
  }

  std::map<std::string, std::uint64_t> stats() {
    return with(alive(), [](client& c) { return c.stats(); });
  }
  void reset_stats() {
    with(alive(), [](client& c) { c.reset_stats(); });
  }

  std::string metrics_address() const { return client_ ? client_->metrics_address() : std::string(); }

  bool stopped() const { return client_ == nullptr; }

  // The client ends with the last call that is still in it. The interpreter lock orders this with `alive`.
  void stop() {
    auto c = std::exchange(client_, nullptr);
    if (!c) return;
    without_gil([&] {
      queue_->close();
      notices_->close();
      c.reset();
    });
  }

  // In the child of a fork, where the client's threads and whoever held its locks are gone: both are left as they are.
  void abandon() {
    if (!client_) return;
    client_->abandon();
    // NOLINTBEGIN(clang-analyzer-cplusplus.NewDeleteLeaks): never to be destroyed
    static_cast<void>(new std::shared_ptr<client>(std::exchange(client_, nullptr)));
    static_cast<void>(new std::shared_ptr<load_queue>(std::exchange(queue_, std::make_shared<load_queue>())));
    static_cast<void>(new std::shared_ptr<notice_queue>(std::exchange(notices_, std::make_shared<notice_queue>())));
    queue_->close();
    notices_->close();
    // NOLINTEND(clang-analyzer-cplusplus.NewDeleteLeaks)
  }

private:
  std::shared_ptr<client> alive() const {
    if (!client_) throw std::runtime_error("shutdown: this client has been stopped");
    return client_;
  }

  std::shared_ptr<notice_queue> notices_ = std::make_shared<notice_queue>();
  std::shared_ptr<load_queue> queue_ = std::make_shared<load_queue>();
  std::shared_ptr<client> client_;
};

void finish(pending_load& load, const std::string& code, const std::string& message) {
  result<void> outcome = code == to_string(errc::none) ? result<void>() : result<void>(errc_from_string(code), message);
  without_gil([&] { load.finish(std::move(outcome)); });
}

}  // namespace

void add_client_types(py::module_& module) {
  py::class_<artifact_bytes, std::shared_ptr<artifact_bytes>>(module, "_ArtifactBytes", py::buffer_protocol())
      .def_buffer([](artifact_bytes& a) {
        auto* data = const_cast<std::byte*>(a.data->data());
        return py::buffer_info(reinterpret_cast<std::uint8_t*>(data), static_cast<py::ssize_t>(a.data->size()), true);
      });

  py::class_<pending_load, std::shared_ptr<pending_load>>(module, "LoadTask")
      .def_property_readonly("graph", [](const pending_load& t) { return t.task().graph; })
      .def_property_readonly("stage", [](const pending_load& t) { return t.task().stage; })
      .def_property_readonly("stage_key", [](const pending_load& t) { return t.task().stage_key; })
      .def_property_readonly("artifact",
                             [](const pending_load& t) {
                               auto holder = std::make_shared<artifact_bytes>(artifact_bytes{t.task().artifact});
                               return py::memoryview(py::cast(std::move(holder)));
                             })
      .def_property_readonly("told", [](const pending_load& t) { return to_dict(t.task().told); })
      .def("done", finish, py::arg("code") = "none", py::arg("message") = "");

  py::class_<bound_client>(module, "Client")
      .def(py::init<std::vector<std::string>, std::string, std::vector<std::string>, std::string, std::string,
                    std::string, std::string, std::vector<std::string>, std::string, bool>(),
           py::kw_only(), py::arg("endpoints") = std::vector<std::string>{}, py::arg("local_endpoint") = "",
           py::arg("local_command") = std::vector<std::string>{}, py::arg("space") = "default", py::arg("salt") = "",
           py::arg("metrics") = "", py::arg("key") = "", py::arg("server_public_key") = std::vector<std::string>{},
           py::arg("signers") = "", py::arg("insecure") = false)
      .def("submit", &bound_client::submit, py::arg("graph_key"), py::arg("name"), py::arg("graph"), py::arg("stages"),
           py::arg("target"), py::arg("parts") = std::map<std::string, std::string>{}, py::arg("prepare_seconds") = 0.0)
      .def("release", &bound_client::release, py::arg("graph"))
      .def("roll_back", &bound_client::roll_back, py::arg("graph"), py::arg("stage"), py::arg("code"), py::arg("why"))
      .def("arm", &bound_client::arm, py::arg("graph"), py::arg("report"))
      .def("vote", &bound_client::vote, py::arg("graph"), py::arg("answer"))
      .def("next_notice", &bound_client::next_notice, py::arg("timeout_ms"))
      .def("wait_slice", &bound_client::wait_slice, py::arg("stage"), py::arg("timeout_ms"))
      .def("next_task", &bound_client::next_task, py::arg("timeout_ms"))
      .def("graphs", &bound_client::graphs)
      .def("stats", &bound_client::stats)
      .def("reset_stats", &bound_client::reset_stats)
      .def_property_readonly("metrics_address", &bound_client::metrics_address)
      .def_property_readonly("stopped", &bound_client::stopped)
      .def("stop", &bound_client::stop)
      .def("abandon", &bound_client::abandon);
}

}  // namespace fxfarm::python

// gRPC's echo, to compare with: unary calls of bytes that nothing parses, through its asynchronous interface. Both ends
// have one thread and one completion queue, as those of link_bench have one socket thread.
#include "program.hpp"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

using namespace fxfarm::bench;

namespace {

constexpr const char* method = "/fxfarm.bench.Echo/Call";

grpc::ByteBuffer buffer_of(std::size_t size) {
  const grpc::Slice slice(std::string(size, 'x'));
  return {&slice, 1};
}

// A call at the server: it is asked for, read, answered.
class call_served {
public:
  call_served(grpc::AsyncGenericService& service, grpc::ServerCompletionQueue& queue, const grpc::ByteBuffer& answer,
              const std::atomic<bool>& stops)
      : service_(service), queue_(queue), answer_(answer), stops_(stops), stream_(&context_) {
    service_.RequestCall(&context_, &stream_, &queue_, &queue_, this);
  }

  // What it waited for has come; `fine` is false when the server stops or the client has hung up.
  void go_on(bool fine) {
    if (!fine || answered_) {
      delete this;
    } else if (!read_) {
      if (!stops_) new call_served(service_, queue_, answer_, stops_);
      read_ = true;
      stream_.Read(&request_, this);
    } else {
      answered_ = true;
      stream_.WriteAndFinish(answer_, {}, grpc::Status::OK, this);
    }
  }

private:
  ~call_served() = default;

  grpc::AsyncGenericService& service_;
  grpc::ServerCompletionQueue& queue_;
  const grpc::ByteBuffer& answer_;
  const std::atomic<bool>& stops_;  // no further call is to be asked for
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_;
  grpc::ByteBuffer request_;
  bool read_ = false;
  bool answered_ = false;
};

// Until standard input ends. Prints where it listens: `endpoint` may leave the port to it.
void serve(const words& given) {
  const auto answer = buffer_of(given.count("answer_bytes"));
  grpc::AsyncGenericService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(given.text("endpoint"), grpc::InsecureServerCredentials(), &port);
  builder.RegisterAsyncGenericService(&service);
  const auto queue = builder.AddCompletionQueue();
  const auto server = builder.BuildAndStart();
  if (!server) throw std::runtime_error("cannot listen at " + given.text("endpoint"));
  std::cout << (port > 1 ? "127.0.0.1:" + std::to_string(port) : given.text("endpoint")) << std::endl;
  std::atomic<bool> stops{false};
  new call_served(service, *queue, answer, stops);
  std::thread until_told([&] {
    char byte = 0;
    while (::read(STDIN_FILENO, &byte, 1) > 0) {
    }
    stops = true;
    server->Shutdown(std::chrono::system_clock::now());
    queue->Shutdown();
  });
  void* call = nullptr;
  for (bool fine = false; queue->Next(&call, &fine);) static_cast<call_served*>(call)->go_on(fine);
  until_told.join();
}

// A call at the client: one at a time, again and again.
class caller {
public:
  caller(grpc::GenericStub& stub, grpc::CompletionQueue& queue, const grpc::ByteBuffer& request)
      : stub_(stub), queue_(queue), request_(request) {}

  void start() {
    call_.reset();  // before what it lives in
    context_ = std::make_unique<grpc::ClientContext>();
    call_ = stub_.PrepareUnaryCall(context_.get(), method, request_, &queue_);
    call_->StartCall();
    call_->Finish(&answer_, &status_, this);
  }
  void check(bool fine, std::size_t answer_bytes) const {
    if (!fine || !status_.ok()) throw std::runtime_error("a call failed: " + status_.error_message());
    if (answer_.Length() != answer_bytes) throw std::runtime_error("an answer of another size");
  }

private:
  grpc::GenericStub& stub_;
  grpc::CompletionQueue& queue_;
  const grpc::ByteBuffer& request_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::ByteBuffer>> call_;
  grpc::ByteBuffer answer_;
  grpc::Status status_;
};

// Keeps `outstanding` calls over `connections` open for so many seconds.
void load(const words& given) {
  const auto request = buffer_of(given.count("request_bytes"));
  const auto answer_bytes = given.count("answer_bytes");
  const auto outstanding = given.count("outstanding");
  grpc::ChannelArguments own_connection;
  own_connection.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs;
  for (std::size_t n = 0; n < given.count("connections"); ++n) {
    stubs.push_back(std::make_unique<grpc::GenericStub>(
        grpc::CreateCustomChannel(given.text("endpoint"), grpc::InsecureChannelCredentials(), own_connection)));
  }
  std::vector<std::unique_ptr<caller>> callers;
  for (std::size_t n = 0; n < outstanding; ++n) {
    callers.push_back(std::make_unique<caller>(*stubs[n % stubs.size()], queue, request));
  }
  void* tag = nullptr;
  bool fine = false;
  const auto next = [&] {
    if (!queue.Next(&tag, &fine)) throw std::runtime_error("the queue has ended");
    auto* one = static_cast<caller*>(tag);
    one->check(fine, answer_bytes);
    return one;
  };
  // Connections are made by the first calls.
  for (const auto& one : callers) one->start();
  for (std::size_t n = 0; n < outstanding; ++n) next();
  std::uint64_t answers = 0;
  std::vector<double> waits_us;
  const auto cpu_before = cpu_seconds();
  const auto begin = fxfarm::bench::clock::now();
  for (const auto& one : callers) one->start();
  double took = 0;
  for (auto asked = begin; (took = seconds_since(begin)) < given.number("seconds"); ++answers) {
    auto* one = next();
    if (outstanding == 1) {
      waits_us.push_back(seconds_since(asked) * 1e6);
      asked = fxfarm::bench::clock::now();
    }
    one->start();
  }
  const auto spent = cpu_seconds() - cpu_before;
  for (std::size_t n = 0; n < outstanding; ++n) next();
  queue.Shutdown();
  while (queue.Next(&tag, &fine)) {
  }
  std::cout << nlohmann::json{{"answers", answers}, {"seconds", took}, {"cpu_seconds", spent}, {"waits_us", waits_us}}
            << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  return run_mode("grpc_bench", {{"serve", serve}, {"load", load}}, argc, argv);
}

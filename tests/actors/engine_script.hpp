#pragma once
// An engine in a few lines of Python's standard library. What a test wants of it stands in the options of the stage.

#include "actors/engine.hpp"

namespace fxfarm::actors {

inline constexpr const char* engine_prelude = R"(
import os, signal, sys
def pack(v):
    if isinstance(v, dict): return bytes([0x80 + len(v)]) + b"".join(pack(k) + pack(x) for k, x in v.items())
    if isinstance(v, str): return b"\xd9" + bytes([len(v)]) + v.encode()
    if isinstance(v, bytes): return b"\xc4" + bytes([len(v)]) + v
    if isinstance(v, bool): return b"\xc3" if v else b"\xc2"
    if isinstance(v, float): return b"\xca" + __import__("struct").pack(">f", v)
    return bytes([v])
def send(**m):
    body = pack(m)
    os.write(1, len(body).to_bytes(4, "big") + body)
platform = dict(torch="2.13.0", python="3.11", triton="", arch="x86_64", isa="x86-64-v3", threads=1, device="cpu",
                gpu="", gpu_driver="")
def receive():
    head = sys.stdin.buffer.read(4)
    return sys.stdin.buffer.read(int.from_bytes(head, "big")) if len(head) == 4 else b"shutdown"
def hello(protocol=1): send(type="hello", protocol=protocol, platform=platform)
def ready(): send(type="ready", platform=platform, warm_seconds=0.5)
def serve():
    hello(); ready()
    while b"shutdown" not in (m := receive()):
        id = "crash" if b"crash" in m else "hang" if b"hang" in m else "bad" if b"bad" in m else "good"
        if id == "crash": os.kill(os.getpid(), signal.SIGSEGV)
        if id == "hang": signal.pause()
        if id == "bad": send(type="failed", id=id, code="compile_failed", reason="no such operator")
        if id == "good": send(type="done", id=id, artifact=b"artifact", phases={"lower": 0.25})
)";

inline engine_settings engine_that(const std::string& does) {
  engine_settings s;
  s.process.argv = {"python3", "-S", "-c", std::string(engine_prelude) + does};
  s.restart_delay_min = std::chrono::milliseconds(1);
  s.restart_delay_max = std::chrono::milliseconds(4);
  s.process.stop_grace = std::chrono::milliseconds(200);
  return s;
}

}  // namespace fxfarm::actors

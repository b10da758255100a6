#include "runtime/config_commands.hpp"

namespace fxfarm {

void declare_own(option_set& o, graphs_config& c) {
  o.add("state", c.state,
        kinds::one_of(
            {"looking", "wants_graph", "queued", "running", "storing", "ready", "failed", "released", "forgotten"}),
        "only graphs with a stage in that state", "any")
      .is_flag_only = true;
  o.add("name", c.name, kinds::text(), "only graphs whose name has that text in it", "any").is_flag_only = true;
  o.add("key", c.key, kinds::text(), "only graphs whose key, or a stage's, begins so", "any").is_flag_only = true;
  o.add("stage", c.stage, kinds::text(), "only stages of that name, and graphs with one", "any").is_flag_only = true;
  o.add("sort", c.sort, kinds::one_of({"recent", "name", "compile", "queue", "lookups"}),
        "order: asked for last, name, longest compile, longest wait, most lookups")
      .is_flag_only = true;
  o.add("limit", c.limit, kinds::count(1, 1'000'000), "graphs that are shown").is_flag_only = true;
}

void declare_own(option_set& o, top_config& c) {
  o.add("interval", c.interval, kinds::duration(), "time between two looks").is_flag_only = true;
  o.add("once", c.once, kinds::boolean(), "print one look and end").is_flag_only = true;
}

void declare_own(option_set& o, cache_config& c) {
  o.add("directory", c.directory, kinds::path(), "directory of artifacts; a coordinator may be at work in it",
        "the cache_dir of this user's only farm")
      .is_flag_only = true;
  o.add("bytes", c.bytes, kinds::maybe(kinds::byte_count()), "gc: what was used least lately goes beyond so many")
      .is_flag_only = true;
  o.add("unused_for", c.unused_for, kinds::maybe(kinds::duration()), "gc: what nobody used for so long goes")
      .is_flag_only = true;
  o.add("dry_run", c.dry_run, kinds::boolean(), "gc: only tell what would go").is_flag_only = true;
  o.add("signers", c.signers, kinds::path(),
        "verify, export, import: file with the signers of whom one must have signed an artifact", "none need have")
      .is_flag_only = true;
}

void declare_own(option_set& o, doctor_config& c) {
  o.add("endpoint", c.endpoint, kinds::endpoint(), "coordinator to ask, too", "the local farm of this user, if any")
      .is_flag_only = true;
  o.add("secret_key", c.link.key, kinds::path(), "file with the secret key that it knows this user by",
        "FXFARM_SECRET_KEY")
      .is_flag_only = true;
  o.add("server_public_key", c.link.server_public_key, kinds::public_keys(),
        "public keys that it may have, or files with one", "FXFARM_SERVER_PUBLIC_KEY")
      .is_flag_only = true;
  o.add("insecure", c.link.insecure, kinds::boolean(), "allow it to be off this host, unencrypted", "FXFARM_INSECURE")
      .is_flag_only = true;
  o.add("json", c.json, kinds::boolean(), "print the findings as JSON").is_flag_only = true;
}

void declare_own(option_set& o, warm_config& c) {
  o.add("manifest", c.manifest, kinds::path(), "directory of graphs that a process with FXFARM_RECORD has written")
      .is_flag_only = true;
  o.add("shapes", c.shapes, kinds::text(), "what the function is called with, such as 4x128,8x128", "no shape")
      .is_flag_only = true;
  o.add("stages", c.stages, kinds::text(), "stages wanted, worst to best, separated by commas", "FXFARM_STAGES")
      .is_flag_only = true;
  o.add("training", c.training, kinds::boolean(), "compile forward and backward").is_flag_only = true;
  o.add("inference", c.inference, kinds::boolean(), "compile what runs without gradients", "unless --training")
      .is_flag_only = true;
  o.add("endpoints", c.endpoints, kinds::farm(), "coordinators, as clients name them", "FXFARM_ENDPOINTS")
      .is_flag_only = true;
  o.add("timeout", c.timeout, kinds::duration(), "longest time that all of it may take").is_flag_only = true;
  o.add("signers", c.signers, kinds::path(), "file with the signers whose artifacts coordinators may send",
        "FXFARM_SIGNERS")
      .is_flag_only = true;
  o.add("python", c.python, kinds::path(), "interpreter that has the model, torch and fxfarm",
        "FXFARM_PYTHON, else python3")
      .is_flag_only = true;
}

}  // namespace fxfarm

// What the status page counts.
#include "monitoring/families.hpp"
#include "monitoring/metrics.hpp"

namespace fxfarm::monitoring {

struct page_probe::impl {
  explicit impl(family_book& b) : book(b) {}

  family_book& book;
  counters questions{book,
                     {"fxfarm_page_questions_total",
                      "Questions of the status page: asked of the coordinator, shared, or turned away.",
                      {"outcome"},
                      "page_questions",
                      0},
                     {{"asked"}, {"shared"}, {"turned_away"}}};
  counters actions{book,
                   {"fxfarm_admin_actions_total",
                    "Actions by way of the status page: done, failed, or denied for want of the token.",
                    {"action", "outcome"},
                    "admin_actions",
                    1},
                   {{"drain", "denied"}}};
  counters refusals{book,
                    {"fxfarm_page_refusals_total",
                     "Refused on the page and metrics: closed, no or a wrong token, another host name.",
                     {"reason"},
                     "page_refusals",
                     0},
                    {{"closed"}, {"no_token"}, {"wrong_token"}, {"name"}}};
};

page_probe::page_probe(family_book& book) : impl_(std::make_unique<impl>(book)) {}
page_probe::~page_probe() = default;

void page_probe::questioned(std::string_view outcome) {
  impl_->questions.at({outcome}).Increment();
}
void page_probe::acted(std::string_view action, std::string_view outcome) {
  impl_->actions.at({action, outcome}).Increment();
}

void page_probe::refused(std::string_view reason) {
  impl_->refusals.at({reason}).Increment();
}

}  // namespace fxfarm::monitoring

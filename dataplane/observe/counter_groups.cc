#include "dataplane/observe/counter_groups.h"

namespace weft::observe {
namespace {

// The five classes lie in order, so that a class is an index.
void IncClass(Counter* first, int code) {
  if (code >= 100 && code <= 599) first[code / 100 - 1].Inc();
}

}  // namespace

ResponseCodes::~ResponseCodes() {
  for (Node* n = head_.load(std::memory_order_relaxed); n != nullptr;) {
    Node* next = n->next;
    delete n;
    n = next;
  }
}

void ResponseCodes::Inc(int code) {
  if (code < 100 || code > 599) return;
  Node* head = head_.load(std::memory_order_relaxed);
  for (Node* n = head; n != nullptr; n = n->next) {
    if (n->code == code) {
      n->counter.Inc();
      return;
    }
  }
  Node* made = new Node{code, head, {}};
  made->counter.Inc();
  head_.store(made, std::memory_order_release);
}

#define WEFT_CHECK_CLASS_ORDER(group, prefix)                                                             \
  static_assert(offsetof(group, prefix##_5xx) == offsetof(group, prefix##_1xx) + 4 * sizeof(Counter) &&   \
                offsetof(group, prefix##_2xx) == offsetof(group, prefix##_1xx) + sizeof(Counter))
WEFT_CHECK_CLASS_ORDER(ClusterCounters, upstream_rq);
WEFT_CHECK_CLASS_ORDER(HttpCounters, downstream_rq);
WEFT_CHECK_CLASS_ORDER(ListenerHttpCounters, downstream_rq);

void ClusterCounters::CountResponse(int code) {
  upstream_rq_completed.Inc();
  IncClass(&upstream_rq_1xx, code);
  codes.Inc(code);
}

void ClusterCounters::CountGrpc(int status) {
  grpc_total.Inc();
  (status == 0 ? grpc_success : grpc_failure).Inc();
  if (status >= 0 && status < 400) grpc_codes.Inc(kGrpcBase + status);
}

void HttpCounters::CountResponse(int code) {
  downstream_rq_completed.Inc();
  IncClass(&downstream_rq_1xx, code);
}

void ListenerHttpCounters::CountResponse(int code) {
  downstream_rq_completed.Inc();
  IncClass(&downstream_rq_1xx, code);
}

}  // namespace weft::observe

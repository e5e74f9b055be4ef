// libcurl: a handle a request, taken from a pool; one multi handle that keeps the connections.
#include "synthesis/http_transfers.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <curl/curl.h>

#include "clara/common/error.h"
#include "clara/common/version.h"

namespace clara {
namespace {

using EasyHandle = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using MultiHandle = std::unique_ptr<CURLM, decltype(&curl_multi_cleanup)>;
using HeaderList = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

// libcurl's own state, set up before its first use by whatever thread comes first.
void set_up_curl() {
  static const CURLcode kResult = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (kResult != CURLE_OK)
    throw Error(std::string("libcurl cannot be used: ") + curl_easy_strerror(kResult));
}

HeaderList make_headers(const std::string& authorization) {
  std::vector<std::string> lines = {"Content-Type: application/json", "Accept: application/json",
                                    "Expect:"};
  if (!authorization.empty()) lines.push_back("Authorization: " + authorization);
  curl_slist* list = nullptr;
  for (const std::string& line : lines) list = curl_slist_append(list, line.c_str());
  return {list, &curl_slist_free_all};
}

// One request while it is under way.
struct Transfer {
  std::uint64_t id = 0;
  EasyHandle handle{nullptr, &curl_easy_cleanup};
  std::string request_body;
  HttpResponse response;
  std::size_t max_response_bytes = 0;
  std::array<char, CURL_ERROR_SIZE> error{};
};

std::size_t receive(char* data, std::size_t, std::size_t num_bytes, void* target) {
  auto& transfer = *static_cast<Transfer*>(target);
  if (transfer.response.body.size() + num_bytes > transfer.max_response_bytes) {
    transfer.response.failure = HttpResponse::Failure::kTooLarge;
    return 0;
  }
  transfer.response.body.append(data, num_bytes);
  return num_bytes;
}

HttpResponse::Failure failure_of(CURLcode code) {
  switch (code) {
    case CURLE_OK:
      return HttpResponse::Failure::kNone;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
      return HttpResponse::Failure::kUnreached;
    case CURLE_OPERATION_TIMEDOUT:
      return HttpResponse::Failure::kTimeout;
    case CURLE_FILESIZE_EXCEEDED:
      return HttpResponse::Failure::kTooLarge;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_NOT_BUILT_IN:
      return HttpResponse::Failure::kUnusable;
    default:
      return HttpResponse::Failure::kBroken;
  }
}

}  // namespace

struct HttpTransfers::State {
  explicit State(const HttpSettings& http)
      : settings(http),
        headers(make_headers(http.authorization)),
        multi(curl_multi_init(), &curl_multi_cleanup) {
    if (!multi || !headers) throw Error("libcurl cannot be used: out of memory");
    const auto connections = static_cast<long>(settings.max_connections);
    curl_multi_setopt(multi.get(), CURLMOPT_MAX_TOTAL_CONNECTIONS, connections);
    curl_multi_setopt(multi.get(), CURLMOPT_MAXCONNECTS, connections);
  }
  ~State() {
    for (const auto& transfer : active)
      curl_multi_remove_handle(multi.get(), transfer->handle.get());
  }

  EasyHandle take_handle() {
    if (pool.empty()) return {curl_easy_init(), &curl_easy_cleanup};
    EasyHandle handle = std::move(pool.back());
    pool.pop_back();
    return handle;
  }

  void prepare(Transfer& transfer) const;
  HttpResponse finish(CURL* handle, CURLcode code);

  HttpSettings settings;
  HeaderList headers;
  MultiHandle multi;
  std::vector<EasyHandle> pool;
  std::vector<std::unique_ptr<Transfer>> active;
};

void HttpTransfers::State::prepare(Transfer& transfer) const {
  CURL* handle = transfer.handle.get();
  curl_easy_reset(handle);
  curl_easy_setopt(handle, CURLOPT_URL, settings.url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(handle, CURLOPT_USERAGENT, (std::string("clara/") + kVersion).c_str());
  curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "");
  curl_easy_setopt(handle, CURLOPT_POSTFIELDS, transfer.request_body.data());
  curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                   static_cast<curl_off_t>(transfer.request_body.size()));
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  // A key must not follow a redirect to whatever place.
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(settings.connect_timeout.count()));
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(settings.timeout.count()));
  curl_easy_setopt(handle, CURLOPT_MAXFILESIZE_LARGE,
                   static_cast<curl_off_t>(settings.max_response_bytes));
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &receive);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, transfer.error.data());
}

HttpResponse HttpTransfers::State::finish(CURL* handle, CURLcode code) {
  const auto found = std::find_if(active.begin(), active.end(), [handle](const auto& transfer) {
    return transfer->handle.get() == handle;
  });
  const std::unique_ptr<Transfer> transfer = std::move(*found);
  active.erase(found);
  HttpResponse& response = transfer->response;
  response.id = transfer->id;
  // A body that receive() refused ends in a write error.
  if (response.failure == HttpResponse::Failure::kNone) response.failure = failure_of(code);
  response.failure_text =
      transfer->error[0] != '\0' ? transfer->error.data() : curl_easy_strerror(code);
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &response.status);
  const char* text = nullptr;
  if (curl_easy_getinfo(handle, CURLINFO_CONTENT_TYPE, &text) == CURLE_OK && text != nullptr)
    response.content_type = text;
  text = nullptr;
  if (curl_easy_getinfo(handle, CURLINFO_REDIRECT_URL, &text) == CURLE_OK && text != nullptr)
    response.redirect = text;
  curl_off_t seconds = 0;
  if (curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &seconds) == CURLE_OK)
    response.retry_after = std::chrono::seconds(seconds);
  curl_multi_remove_handle(multi.get(), handle);
  pool.push_back(std::move(transfer->handle));
  return std::move(response);
}

HttpTransfers::HttpTransfers(const HttpSettings& settings) {
  set_up_curl();
  using UrlHandle = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;
  const UrlHandle url(curl_url(), &curl_url_cleanup);
  const CURLUcode code = curl_url_set(url.get(), CURLUPART_URL, settings.url.c_str(), 0);
  const bool is_http = settings.url.starts_with("http://") || settings.url.starts_with("https://");
  if (code != CURLUE_OK || !is_http) {
    throw ConfigError("expected a URL that starts with http:// or https://, found \"" +
                      settings.url + "\"");
  }
  state_ = std::make_unique<State>(settings);
}

HttpTransfers::~HttpTransfers() = default;

void HttpTransfers::post(std::uint64_t id, std::string body) {
  auto transfer = std::make_unique<Transfer>();
  transfer->id = id;
  transfer->handle = state_->take_handle();
  transfer->request_body = std::move(body);
  transfer->max_response_bytes = state_->settings.max_response_bytes;
  if (!transfer->handle) throw Error("libcurl cannot be used: out of memory");
  state_->prepare(*transfer);
  curl_multi_add_handle(state_->multi.get(), transfer->handle.get());
  state_->active.push_back(std::move(transfer));
}

std::vector<HttpResponse> HttpTransfers::poll(std::chrono::milliseconds wait) {
  const auto end = std::chrono::steady_clock::now() + wait;
  std::vector<HttpResponse> responses;
  while (true) {
    int num_running = 0;
    curl_multi_perform(state_->multi.get(), &num_running);
    int num_left = 0;
    while (const CURLMsg* message = curl_multi_info_read(state_->multi.get(), &num_left)) {
      if (message->msg == CURLMSG_DONE)
        responses.push_back(state_->finish(message->easy_handle, message->data.result));
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (!responses.empty() || left.count() <= 0) return responses;
    curl_multi_poll(state_->multi.get(), nullptr, 0, static_cast<int>(left.count()), nullptr);
  }
}

std::size_t HttpTransfers::num_active() const { return state_->active.size(); }

}  // namespace clara

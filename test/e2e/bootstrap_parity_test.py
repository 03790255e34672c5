#!/usr/bin/env python3
"""A hand-written Envoy bootstrap that both real Envoy and weft-proxy accept (the files differ in ports only), and a table of
requests to both: status, body, the fields that matter, what the origin got, and access-log lines must agree.

What differs, and why, stands in DIFFERENCES below: a case of that table must really differ, so that the list stays true.
"""

import json
import re
import socket
import time

import harness
from harness import Client, ask, wait_until

BOOTSTRAP = r"""
node: {id: parity, cluster: parity}
admin:
  address: {socket_address: {address: %(ip)s, port_value: %(admin)d}}
static_resources:
  listeners:
  - name: main
    address: {socket_address: {address: %(ip)s, port_value: %(port)d}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          use_remote_address: true
          via: parity
          server_name: parity-server
          stream_idle_timeout: 10s
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: %(log)s
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: %(log)s.custom
              log_format:
                text_format_source:
                  inline_string: "%%REQ(:METHOD)%% %%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%% %%PROTOCOL%% %%RESPONSE_CODE%% %%RESPONSE_FLAGS%% %%RESPONSE_CODE_DETAILS%% %%BYTES_RECEIVED%% %%BYTES_SENT%% %%UPSTREAM_CLUSTER%% %%ROUTE_NAME%% %%REQ(:AUTHORITY)%% %%REQ(X-NOT-THERE)%% %%RESP(CONTENT-TYPE)%% %%UPSTREAM_REQUEST_ATTEMPT_COUNT%%\n"
          route_config:
            name: local
            request_headers_to_add:
            - header: {key: x-config, value: "all"}
            response_headers_to_add:
            - header: {key: x-config-back, value: "all"}
            virtual_hosts:
            - name: exact
              domains: ["parity.example", "parity.example:*"]
              request_headers_to_add:
              - header: {key: x-vhost, value: "exact %%REQ(:METHOD)%%"}
              response_headers_to_remove: [x-origin]
              routes:
              - {name: only, match: {prefix: "/"}, route: {cluster: one}}
            - name: suffix
              domains: ["*.suffix.example"]
              routes:
              - {name: suffix, match: {prefix: "/"}, direct_response: {status: 200, body: {inline_string: "by suffix"}}}
            - name: prefix
              domains: ["prefix.*"]
              routes:
              - {name: prefix, match: {prefix: "/"}, direct_response: {status: 200, body: {inline_string: "by prefix"}}}
            - name: rest
              domains: ["*"]
              routes:
              - {name: exact, match: {path: "/exact"}, route: {cluster: two}}
              - {name: regex, match: {safe_regex: {regex: "/items/[0-9]+"}}, route: {cluster: two}}
              - {name: separated, match: {path_separated_prefix: "/api/v1"}, route: {cluster: two}}
              - {name: nocase, match: {prefix: "/CASE", case_sensitive: false}, route: {cluster: two}}
              - {name: query, match: {prefix: "/q", query_parameters: [{name: debug, present_match: true}, {name: level, string_match: {exact: "3"}}]}, route: {cluster: two}}
              - {name: exact-header, match: {prefix: "/h", headers: [{name: x-kind, string_match: {exact: exact}}]}, route: {cluster: two}}
              - {name: prefix-header, match: {prefix: "/h", headers: [{name: x-kind, string_match: {prefix: "pre"}}]}, route: {cluster: two}}
              - {name: regex-header, match: {prefix: "/h", headers: [{name: x-kind, string_match: {safe_regex: {regex: "r+"}}}]}, route: {cluster: two}}
              - {name: present-header, match: {prefix: "/h", headers: [{name: x-present, present_match: true}]}, route: {cluster: two}}
              - {name: inverted-header, match: {prefix: "/h", headers: [{name: x-inverted, string_match: {exact: "no"}, invert_match: true}]}, route: {cluster: two}}
              - {name: range-header, match: {prefix: "/h", headers: [{name: x-number, range_match: {start: 5, end: 10}}]}, route: {cluster: two}}
              - {name: method, match: {prefix: "/m", headers: [{name: ":method", string_match: {exact: PUT}}]}, route: {cluster: two}}
              - {name: all-to-one, match: {prefix: "/w/all"}, route: {weighted_clusters: {clusters: [{name: one, weight: 0}, {name: two, weight: 100}]}}}
              - name: half
                match: {prefix: "/w/half"}
                route:
                  weighted_clusters:
                    clusters:
                    - {name: one, weight: 50, response_headers_to_add: [{header: {key: x-half, value: "1"}}]}
                    - {name: two, weight: 50, response_headers_to_add: [{header: {key: x-half, value: "2"}}]}
              - {name: redirect-path, match: {prefix: "/r/path"}, redirect: {path_redirect: "/new/path"}}
              - {name: redirect-path-query, match: {prefix: "/r/pathq"}, redirect: {path_redirect: "/new/path?z=9"}}
              - {name: redirect-host, match: {prefix: "/r/host"}, redirect: {host_redirect: "other.example", response_code: FOUND}}
              - {name: redirect-port, match: {prefix: "/r/port"}, redirect: {port_redirect: 8443, response_code: SEE_OTHER}}
              - {name: redirect-https, match: {prefix: "/r/https"}, redirect: {https_redirect: true, response_code: TEMPORARY_REDIRECT}}
              - {name: redirect-scheme, match: {prefix: "/r/scheme"}, redirect: {scheme_redirect: "ftp", response_code: PERMANENT_REDIRECT}}
              - {name: redirect-prefix, match: {prefix: "/r/prefix/"}, redirect: {prefix_rewrite: "/n/"}}
              - {name: redirect-strip, match: {prefix: "/r/strip"}, redirect: {path_redirect: "/bare", strip_query: true}}
              - {name: direct, match: {path: "/direct"}, direct_response: {status: 418, body: {inline_string: "short and stout"}}}
              - {name: direct-empty, match: {path: "/direct/empty"}, direct_response: {status: 503}}
              - name: direct-headers
                match: {path: "/direct/headers"}
                direct_response: {status: 200, body: {inline_string: "{}"}}
                response_headers_to_add:
                - {header: {key: content-type, value: application/json}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}
                - {header: {key: x-answer, value: "42"}}
              - {name: rewrite, match: {prefix: "/old/"}, route: {cluster: one, prefix_rewrite: "/new/"}}
              - {name: rewrite-root, match: {prefix: "/strip"}, route: {cluster: one, prefix_rewrite: "/"}}
              - {name: host-literal, match: {prefix: "/host/literal"}, route: {cluster: one, host_rewrite_literal: "inner.example"}}
              - name: mutate
                match: {prefix: "/mutate"}
                route: {cluster: one}
                request_headers_to_add:
                - {header: {key: x-append, value: "a"}, append_action: APPEND_IF_EXISTS_OR_ADD}
                - {header: {key: x-absent, value: "b"}, append_action: ADD_IF_ABSENT}
                - {header: {key: x-over, value: "c"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}
                - {header: {key: x-exists, value: "d"}, append_action: OVERWRITE_IF_EXISTS}
                - {header: {key: x-from, value: "%%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%% %%PROTOCOL%% %%REQ(x-over)%%"}}
                request_headers_to_remove: [x-remove]
                response_headers_to_add:
                - {header: {key: x-status, value: "%%RESPONSE_CODE%%"}}
                - {header: {key: content-type, value: "text/x-changed"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}
                response_headers_to_remove: [x-gone]
              - {name: timeout, match: {prefix: "/timeout"}, route: {cluster: one, timeout: 0.2s}}
              - {name: retry, match: {prefix: "/retry"}, route: {cluster: one, retry_policy: {retry_on: "5xx", num_retries: 2, retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}}}}
              - {name: unknown-cluster-header, match: {prefix: "/by-header"}, route: {cluster_header: x-cluster}}
              - {name: down, match: {prefix: "/down"}, route: {cluster: down}}
              - {name: nobody, match: {prefix: "/nobody"}, route: {cluster: nobody}}
              - {name: rest, match: {prefix: "/"}, route: {cluster: one}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  - name: filtered
    address: {socket_address: {address: %(ip)s, port_value: %(port2)d}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: filtered
          generate_request_id: false
          max_request_headers_kb: 8
          common_http_protocol_options: {max_headers_count: 40}
          route_config:
            name: filtered
            virtual_hosts:
            - name: rest
              domains: ["*"]
              routes:
              - {match: {prefix: "/only/this"}, route: {cluster: one}}
              - name: special
                match: {prefix: "/special"}
                route: {cluster: one}
                typed_per_filter_config:
                  envoy.filters.http.header_mutation:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute
                    mutations:
                      request_mutations: [{append: {header: {key: x-route-filter, value: "yes"}}}]
          http_filters:
          - name: envoy.filters.http.header_mutation
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
              mutations:
                request_mutations:
                - {append: {header: {key: x-filter, value: "%%REQ(:PATH)%%"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}}
                - {remove: x-secret}
                response_mutations:
                - {append: {header: {key: x-filter-back, value: "1"}}}
                - {remove: x-origin}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              suppress_envoy_headers: true
  clusters:
  - {name: one, type: STATIC, connect_timeout: 1s, load_assignment: {cluster_name: one, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %(ip)s, port_value: %(one)d}}}}]}]}}
  - {name: two, type: STATIC, connect_timeout: 1s, load_assignment: {cluster_name: two, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %(ip)s, port_value: %(two)d}}}}]}]}}
  - {name: down, type: STATIC, connect_timeout: 1s, load_assignment: {cluster_name: down, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %(ip)s, port_value: %(nobody)d}}}}]}]}}
  - {name: nobody, type: STATIC, connect_timeout: 1s, load_assignment: {cluster_name: nobody, endpoints: []}}
"""

# (name, request). A dict is a request by Client.ask; bytes go as they are.
WELL_FORMED = [
    ("the rest", {"path": "/"}),
    ("a query", {"path": "/x?a=b&c=%20d"}),
    ("a body", {"path": "/x", "method": "POST", "body": "hello"}),
    ("a body of 200 KB", {"path": "/x", "method": "PUT", "body": "z" * 200_000}),
    ("an empty body", {"path": "/x", "method": "POST", "body": ""}),
    ("PATCH, OPTIONS and others pass", {"path": "/x", "method": "PATCH", "body": "1"}),
    ("OPTIONS", {"path": "/x", "method": "OPTIONS"}),
    ("HEAD", {"path": "/x", "method": "HEAD"}),
    ("DELETE", {"path": "/x", "method": "DELETE"}),
    ("an unusual method", {"path": "/x", "method": "PROPFIND"}),
    ("204", {"path": "/x?status=204"}),
    ("304", {"path": "/x?status=304"}),
    ("404 of the origin", {"path": "/x?status=404"}),
    ("500 of the origin", {"path": "/x?status=500"}),
    ("an empty answer", {"path": "/x?size=0"}),
    ("a large answer", {"path": "/x?size=500000"}),
    ("a chunked answer", {"path": "/x?size=5000&chunked"}),
    ("host, exact", {"path": "/", "host": "parity.example"}),
    ("host, exact, in capitals", {"path": "/", "host": "PARITY.example"}),
    ("host, by suffix", {"path": "/", "host": "a.b.suffix.example"}),
    ("host, the suffix alone", {"path": "/", "host": ".suffix.example"}),
    ("host, by prefix", {"path": "/", "host": "prefix.anything"}),
    ("path, exact", {"path": "/exact"}),
    ("path, exact, with a query", {"path": "/exact?x=1"}),
    ("path, exact, and more", {"path": "/exact/more"}),
    ("path, regular expression", {"path": "/items/42"}),
    ("path, regular expression, with a query", {"path": "/items/42?x"}),
    ("path, regular expression, only a part", {"path": "/items/42/x"}),
    ("path, separated prefix", {"path": "/api/v1/things"}),
    ("path, separated prefix alone", {"path": "/api/v1"}),
    ("path, separated prefix, not separated", {"path": "/api/v12"}),
    ("path, any case", {"path": "/case/x"}),
    ("query parameters", {"path": "/q?debug&level=3"}),
    ("query parameters, wrong value", {"path": "/q?debug&level=4"}),
    ("query parameters, one missing", {"path": "/q?level=3"}),
    ("header, exact", {"path": "/h", "headers": {"x-kind": "exact"}}),
    ("header, prefix", {"path": "/h", "headers": {"x-kind": "prefix"}}),
    ("header, regular expression", {"path": "/h", "headers": {"x-kind": "rrr"}}),
    ("header, regular expression, only a part", {"path": "/h", "headers": {"x-kind": "rrrx"}}),
    ("header, present", {"path": "/h", "headers": {"x-present": ""}}),
    ("header, inverted", {"path": "/h", "headers": {"x-inverted": "yes"}}),
    ("header, inverted, equal", {"path": "/h", "headers": {"x-inverted": "no"}}),
    ("header, in the range", {"path": "/h", "headers": {"x-number": "5"}}),
    ("header, behind the range", {"path": "/h", "headers": {"x-number": "10"}}),
    ("header, twice", {"path": "/h", "headers": [("x-kind", "ex"), ("x-kind", "act")]}),
    ("method match", {"path": "/m", "method": "PUT", "body": ""}),
    ("weights, all to one", {"path": "/w/all"}),
    ("redirect, path", {"path": "/r/path/x?a=1"}),
    ("redirect, path with a query", {"path": "/r/pathq"}),
    ("redirect, host", {"path": "/r/host/x?a=1"}),
    ("redirect, port", {"path": "/r/port/x"}),
    ("redirect, port, of a host with a port", {"path": "/r/port/x", "host": "test.local:1234"}),
    ("redirect, https", {"path": "/r/https/x"}),
    ("redirect, https, of a host with port 80", {"path": "/r/https/x", "host": "test.local:80"}),
    ("redirect, scheme", {"path": "/r/scheme"}),
    ("redirect, prefix", {"path": "/r/prefix/x?a=1"}),
    ("redirect, without the query", {"path": "/r/strip/x?a=1"}),
    ("redirect of a POST", {"path": "/r/path", "method": "POST", "body": "x"}),
    ("direct response", {"path": "/direct"}),
    ("direct response, HEAD", {"path": "/direct", "method": "HEAD"}),
    ("direct response without a body", {"path": "/direct/empty"}),
    ("direct response with fields", {"path": "/direct/headers"}),
    ("rewrite", {"path": "/old/thing?x=1"}),
    ("rewrite, fields of that name are there", {"path": "/old/thing", "headers": {"x-envoy-original-path": "/forged"}}),
    ("rewrite to the root", {"path": "/strip/thing"}),
    ("rewrite to the root of the bare prefix", {"path": "/strip"}),
    ("host rewrite", {"path": "/host/literal"}),
    ("host rewrite to the same", {"path": "/host/literal", "host": "inner.example"}),
    ("host rewrite, fields of that name are there", {"path": "/host/literal", "headers": {"x-envoy-original-host": "forged"}}),
    ("mutations", {"path": "/mutate?header=x-gone:1", "headers": {"x-append": "0", "x-absent": "0", "x-over": "0", "x-exists": "0", "x-remove": "0"}}),
    ("mutations of what is not there", {"path": "/mutate"}),
    ("hop-by-hop fields", {"path": "/x", "headers": {"Connection": "x-hop, keep-alive", "x-hop": "1", "Keep-Alive": "timeout=5", "TE": "gzip", "Proxy-Connection": "close"}}),
    ("TE: trailers", {"path": "/x", "headers": {"TE": "trailers", "Connection": "te"}}),
    ("x-forwarded-for is extended", {"path": "/x", "headers": {"x-forwarded-for": "1.2.3.4"}}),
    ("x-forwarded-proto is overwritten at the edge", {"path": "/x", "headers": {"x-forwarded-proto": "https"}}),
    ("fields with odd values", {"path": "/x", "headers": {"x-empty": "", "x-inner": "a  b", "x-bytes": "\u00e9\u00ff"}}),
    ("a field twice", {"path": "/x", "headers": [("x-twice", "1"), ("x-twice", "2")]}),
    ("cookies", {"path": "/x", "headers": [("Cookie", "a=1"), ("Cookie", "b=2")]}),
    ("timeout", {"path": "/timeout?delay=0.6"}),
    ("retries that do not help", {"path": "/retry?status=503"}),
    ("no retry", {"path": "/retry?status=404"}),
    ("the origin closes without an answer", {"path": "/x?close"}),
    ("cluster by a field", {"path": "/by-header", "headers": {"x-cluster": "two"}}),
    ("cluster by a field, unknown", {"path": "/by-header", "headers": {"x-cluster": "no-such"}}),
    ("cluster by a field, which is not there", {"path": "/by-header"}),
    ("an upstream that is down", {"path": "/down"}),
    ("a cluster without hosts", {"path": "/nobody"}),
    ("absolute form", b"GET http://parity.example/abs?x=1 HTTP/1.1\r\nHost: ignored.example\r\n\r\n"),
    ("absolute form without a path", b"GET http://parity.example HTTP/1.1\r\nHost: ignored.example\r\n\r\n"),
    ("HTTP/1.0 with keep-alive", b"GET /x HTTP/1.0\r\nHost: test.local\r\nConnection: keep-alive\r\n\r\n"),
    ("close asked for", b"GET /x HTTP/1.1\r\nHost: test.local\r\nConnection: close\r\n\r\n"),
    ("chunked request", b"POST /x HTTP/1.1\r\nHost: test.local\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("chunked request with an extension", b"POST /x HTTP/1.1\r\nHost: test.local\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n"),
    ("100-continue", b"POST /x HTTP/1.1\r\nHost: test.local\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"),
    ("an upgrade that is not configured", b"GET /x HTTP/1.1\r\nHost: test.local\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ("CONNECT without a route for it", b"CONNECT test.local:443 HTTP/1.1\r\nHost: test.local:443\r\n\r\n"),
    ("an empty line before the request", b"\r\nGET /x HTTP/1.1\r\nHost: test.local\r\n\r\n"),
    ("percent signs in the path stay", {"path": "/a%2Fb/%41?%20"}),
    ("dots in the path stay", {"path": "/a/../b/./c//d"}),
]

FILTERED = [
    ("the filter", {"path": "/only/this", "headers": {"x-secret": "1", "x-filter": "forged"}}),
    ("the filter, configured by the route", {"path": "/special"}),
    ("no route", {"path": "/not/there"}),
    ("no request id is made", {"path": "/only/this", "headers": {"x-request-id": "mine"}}),
]

# Both refuse: the class of the status must agree, and nothing of it may reach an origin.
MALFORMED = [
    ("two lengths that differ", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    ("length with chunks", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a length that is no number", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: five\r\n\r\nhello"),
    ("a negative length", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\nhello"),
    ("a length with a sign", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello"),
    ("a length that is too large", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\nhello"),
    ("an unknown transfer coding", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
    ("chunked twice", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("a line folded", b"GET /x HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n 2\r\n\r\n"),
    ("a bare CR in a value", b"GET /x HTTP/1.1\r\nHost: h\r\nX-A: 1\r2\r\n\r\n"),
    ("NUL in a value", b"GET /x HTTP/1.1\r\nHost: h\r\nX-A: 1\x002\r\n\r\n"),
    ("NUL in a name", b"GET /x HTTP/1.1\r\nHost: h\r\nX\x00A: 1\r\n\r\n"),
    ("NUL in the path", b"GET /x\x00y HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("a space before the colon", b"GET /x HTTP/1.1\r\nHost: h\r\nX-A : 1\r\n\r\n"),
    ("a space in a name", b"GET /x HTTP/1.1\r\nHost: h\r\nX A: 1\r\n\r\n"),
    ("a field without a name", b"GET /x HTTP/1.1\r\nHost: h\r\n: 1\r\n\r\n"),
    ("a field without a colon", b"GET /x HTTP/1.1\r\nHost: h\r\nX-A\r\n\r\n"),
    ("no Host", b"GET /x HTTP/1.1\r\n\r\n"),
    ("a Host with a space", b"GET /x HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("an unknown version", b"GET /x HTTP/3.7\r\nHost: h\r\n\r\n"),
    ("no version", b"GET /x\r\nHost: h\r\n\r\n"),
    ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 garbage \r\n\r\n"),
    ("a method with odd bytes", b"G(T /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("a space in the path", b"GET /x y HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("a path that does not begin with a slash", b"GET x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("a head of 70 KB", b"GET /x HTTP/1.1\r\nHost: h\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n"),
    ("150 fields", b"GET /x HTTP/1.1\r\nHost: h\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(150)) + b"\r\n"),
    ("a chunk size that is no number", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size that is too large", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\nhello\r\n0\r\n\r\n"),
    ("a chunk longer than its size", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n"),
    ("a bare LF behind a chunk size", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"),
]

# name of the case -> why the two differ there. Each is checked to differ.
DIFFERENCES = {
    "OPTIONS": "Envoy adds content-length: 0 to a request without a body, unless it is GET, HEAD, DELETE; weft-proxy with the "
               "methods that anticipate a body alone (RFC 9110 section 8.6)",
    "an unusual method": "as OPTIONS",
    "HTTP/1.0 with keep-alive": "both answer 426; weft-proxy's codec says why in its body",
    "100-continue": "weft-proxy passes the expectation on, and 100 is the upstream's to say; Envoy says it itself, unless "
                    "proxy_100_continue is set",
    "a line folded": "Envoy unfolds it; RFC 9112 section 5.2 lets a server refuse it, and weft-proxy does",
    "a bare CR in a value": "Envoy takes it; RFC 9112 section 2.2 asks for refusal or a space in its place",
    "an unknown version": "weft-proxy answers 505 (RFC 9110 section 15.6.6), Envoy 400",
    "a chunk longer than its size": "Envoy skips to the end of the line; RFC 9112 section 7.1 has CRLF right behind the data",
}

# The same of the access logs.
LOG_DIFFERENCES = {
    "default": {},
    "custom": {
        "an upstream that is down": "in %RESPONSE_CODE_DETAILS% Envoy adds the reason of the transport's failure",
        "a cluster without hosts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT% is 1 with Envoy although nobody was asked",
    },
}

FIELDS = ("content-type", "content-length", "transfer-encoding", "location", "server", "via", "x-config-back", "x-origin",
          "x-status", "x-half", "x-answer", "x-filter-back", "x-gone", "connection", "vary")
VARYING = ("x-request-id", "x-envoy-expected-rq-timeout-ms")
# Envoy also tells the origin which address outside the mesh it takes the request to be from; weft-proxy tells it by
# x-forwarded-for alone.
ENVOYS_OWN = ("x-envoy-external-address",)


class Side:
    """One of the two proxies, with origins of its own, so that what reached them can be counted."""

    def __init__(self, env, name):
        net = env.network
        self.name = name
        self.one, self.two = env.start_origin(name="one"), env.start_origin(name="two")
        ip = net.ip("0.1")
        ports = [net.port() for _ in range(4)]
        self.log = env.folder / (name + ".access.log")
        text = BOOTSTRAP % {
            "ip": ip, "admin": ports[0], "port": ports[1], "port2": ports[2], "log": self.log, "nobody": ports[3],
            "one": harness.split_address(self.one.address)[1], "two": harness.split_address(self.two.address)[1]}
        self.down = "%s:%d" % (ip, ports[3])
        admin = "%s:%d" % (ip, ports[0])
        start = env.start_envoy if name == "envoy" else env.start_proxy
        self.main, self.filtered = "%s:%d" % (ip, ports[1]), "%s:%d" % (ip, ports[2])
        self.proxy = start(name, text, admin)
        self.peer = None
        self.peer = dict((k.lower(), v) for k, v in ask(self.main, "/x").json()["headers"])["x-forwarded-for"]
        self.own_name = "envoy" if name == "envoy" else "weft"  # in `server`, unless the configuration names another

    def reached(self):
        return self.one.requests + self.two.requests

    def ports_out(self, text):
        """Without what is each side's own: its ports."""
        # For a peer on loopback Envoy writes its own host's address into x-forwarded-for; weft-proxy the peer's.
        text = text.replace(self.peer, "PEER").replace("127.0.0.1", "PEER") if self.peer else text
        for what, address in (("MAIN", self.main), ("FILTERED", self.filtered), ("ONE", self.one.address), ("TWO", self.two.address),
                              ("DOWN", self.down)):
            text = text.replace(address, what)
        return text

    def ask(self, address, request):
        """What has to be equal, of one request."""
        with Client(address) as c:
            try:
                if isinstance(request, bytes):
                    c.send(request)
                    answer = c.read(request.startswith(b"HEAD"))
                else:
                    answer = c.ask(**request)
            except harness.Closed as e:
                return {"closed": True, "bytes": bool(e.received)}
        out = {"status": answer.status, "fields": {f: answer.all(f) for f in FIELDS if answer.all(f)}}
        if out["fields"].get("server") == [self.own_name]:
            out["fields"]["server"] = ["OWN NAME"]
        if b'"name":' in answer.body[:10]:
            said = answer.json()
            said["headers"] = sorted((k.lower(), "*" if k.lower() in VARYING else v) for k, v in said["headers"]
                                     if k.lower() not in ENVOYS_OWN)
            out["origin got"] = said
            out["fields"].pop("content-length", None)  # numbers inside differ
        elif answer.status < 400 or request_wants_body(request):
            out["body"] = answer.text()
        return json.loads(self.ports_out(json.dumps(out)))

    def refused(self, address, request):
        """The class of the status (0: closed without one) and whether the connection was closed."""
        with Client(address) as c:
            try:
                c.send(request)
            except OSError:
                pass  # refused before it was all sent
            try:
                status = c.read().status
            except (harness.Closed, ConnectionError):
                return 0, True
            return status // 100, self.name == "envoy" or c.closed_by_peer()


def request_wants_body(request):
    """Whether the words of an error are part of the contract: those that the configuration names are."""
    return not isinstance(request, bytes) and request["path"].startswith(("/direct", "/x?status", "/retry?status"))


class BootstrapParityTest(harness.TestCase):
    @classmethod
    def prepare(cls):
        cls.envoy = Side(cls.env, "envoy")
        cls.weft = Side(cls.env, "weft-proxy")

    def compare(self, pairs):
        for name, (envoy, weft) in pairs.items():
            with self.subTest(name):
                if name in DIFFERENCES:
                    self.assertNotEqual(envoy, weft, "these agree now: take the case out of DIFFERENCES (%s)" % DIFFERENCES[name])
                else:
                    self.assertEqual(weft, envoy, "weft-proxy's first, Envoy's second")

    def test_tables_are_large_enough_and_names_unique(self):
        names = [n for table in (WELL_FORMED, FILTERED, MALFORMED) for n, _ in table]
        self.assertEqual(len(names), len(set(names)))
        self.assertGreaterEqual(len(WELL_FORMED), 40)
        self.assertLessEqual(set(DIFFERENCES), set(names))

    def test_well_formed_requests(self):
        self.compare({n: (self.envoy.ask(self.envoy.main, r), self.weft.ask(self.weft.main, r)) for n, r in WELL_FORMED})

    def test_filters_and_router_options(self):
        self.compare({n: (self.envoy.ask(self.envoy.filtered, r), self.weft.ask(self.weft.filtered, r)) for n, r in FILTERED})

    def test_malformed_requests_are_refused_by_both(self):
        for name, request in MALFORMED:
            with self.subTest(name):
                before = self.weft.reached()
                envoy, weft = self.envoy.refused(self.envoy.main, request), self.weft.refused(self.weft.main, request)
                self.assertEqual(weft[0], 4 if weft[0] != 5 else 5, "weft-proxy answers with an error")
                self.assertTrue(weft[1], "weft-proxy closes the connection")
                self.assertEqual(self.weft.reached(), before, "nothing of it may be forwarded")
                if name in DIFFERENCES:
                    self.assertNotEqual(envoy[0], weft[0], "these agree now: take the case out of DIFFERENCES")
                else:
                    self.assertEqual(weft[0], envoy[0], "class of the status")

    def test_limits_of_heads(self):
        """max_request_headers_kb and max_headers_count, on both sides of the limit."""
        cases = {
            "7 KB": b"X-A: " + b"a" * 7000 + b"\r\n",
            "9 KB": b"X-A: " + b"a" * 9000 + b"\r\n",
            "35 fields": b"".join(b"X-%d: 1\r\n" % i for i in range(35)),
            "45 fields": b"".join(b"X-%d: 1\r\n" % i for i in range(45)),
        }
        got = {}
        for name, fields in cases.items():
            request = b"GET /only/this HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n"
            statuses = []
            for side in (self.envoy, self.weft):
                with Client(side.filtered) as c:
                    c.send(request)
                    statuses.append(c.read().status)
            with self.subTest(name):
                self.assertEqual(statuses[1], statuses[0])
            got[name] = statuses[1]
        self.assertEqual(got, {"7 KB": 200, "9 KB": 431, "35 fields": 200, "45 fields": 431})

    def test_weights(self):
        """Shares within 6 standard deviations of half, on both."""
        for side in (self.envoy, self.weft):
            with Client(side.main) as c:
                ones = sum(c.ask("/w/half").header("x-half") == "1" for _ in range(600))
            self.assertTrue(227 <= ones <= 373, "%s: %d of 600" % (side.name, ones))

    def test_pipelined_requests_are_answered_in_order(self):
        for side in (self.envoy, self.weft):
            with Client(side.main) as c:
                c.send(b"".join(b"GET /p/%d HTTP/1.1\r\nHost: test.local\r\n\r\n" % i for i in range(5)))
                self.assertEqual([c.read().json()["target"] for _ in range(5)], ["/p/%d" % i for i in range(5)], side.name)

    def test_a_connection_is_kept_alive(self):
        for side in (self.envoy, self.weft):
            with Client(side.main) as c:
                for i in range(20):
                    self.assertEqual(c.ask("/keep/%d" % i).status, 200)

    def test_access_log_lines(self):
        """Both logs of both proxies for the same requests: equal once times, ids, ports and durations are taken out."""
        requests = [(n, r) for n, r in WELL_FORMED if n in (
            "the rest", "a body", "HEAD", "404 of the origin", "500 of the origin", "direct response", "redirect, path",
            "timeout", "retries that do not help", "an upstream that is down", "a cluster without hosts", "rewrite",
            "cluster by a field, unknown", "host, exact", "a chunked answer", "x-forwarded-for is extended", "chunked request")]
        self.assertEqual(len(requests), 17)
        # Answers of a fixed size: an echo of the request is as long as the proxy's own fields make it.
        requests = [(n, r.replace(b"/x", b"/x?size=7") if isinstance(r, bytes) else
                     r if "size=" in r["path"] else {**r, "path": r["path"] + ("&" if "?" in r["path"] else "?") + "size=7"})
                    for n, r in requests]
        mark = "/mark-%d" % time.monotonic_ns()
        lines = {}
        for side in (self.envoy, self.weft):
            ask(side.main, mark)
            for _, r in requests:
                side.ask(side.main, r)
            ask(side.main, mark + "-end")

            def read(path):
                text = path.read_text()
                if mark + "-end" not in text:
                    return None
                inside = text[text.index(mark):text.index(mark + "-end")]
                return inside.splitlines()[1:-1]

            for which, path in (("default", self.log_of(side)), ("custom", self.log_of(side, ".custom"))):
                found = wait_until("%s writes %s within a second" % (side.name, path), lambda: read(path), 2.0)
                lines[side.name, which] = [self.shape(side, l) for l in found]
        for which in ("default", "custom"):
            for (name, _), weft, envoy in zip(requests, lines["weft-proxy", which], lines["envoy", which]):
                with self.subTest(log=which, request=name):
                    if name in LOG_DIFFERENCES[which]:
                        self.assertNotEqual(weft, envoy, "these agree now: take the case out of LOG_DIFFERENCES")
                    else:
                        self.assertEqual(weft, envoy)
            self.assertEqual(len(lines["weft-proxy", which]), len(requests))
            self.assertEqual(len(lines["envoy", which]), len(requests))

    def log_of(self, side, suffix=""):
        return side.log.with_name(side.log.name + suffix)

    @staticmethod
    def shape(side, line):
        line = side.ports_out(line)
        line = re.sub(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\]", "[TIME]", line)
        line = re.sub(r'"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"', '"ID"', line)
        # Default format: ... CODE FLAGS RECEIVED SENT DURATION SERVICE-TIME "...
        line = re.sub(r'^(\[TIME\] "[^"]*" \d+ \S+ \d+ \d+) \d+ (\d+|-)', lambda m: "%s N %s" % (m[1], "N" if m[2] != "-" else "-"), line)
        return line


if __name__ == "__main__":
    harness.main()

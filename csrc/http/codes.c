#include "http/codes.h"

#define PHRASE(status, phrase)                                                                                         \
    case status: return MC_SLICE(phrase)

mc_slice mc_http_reason(uint16_t status) {
    switch (status) {
        PHRASE(100, "Continue");
        PHRASE(101, "Switching Protocols");
        PHRASE(102, "Processing");
        PHRASE(103, "Early Hints");
        PHRASE(200, "OK");
        PHRASE(201, "Created");
        PHRASE(202, "Accepted");
        PHRASE(203, "Non-Authoritative Information");
        PHRASE(204, "No Content");
        PHRASE(205, "Reset Content");
        PHRASE(206, "Partial Content");
        PHRASE(207, "Multi-Status");
        PHRASE(208, "Already Reported");
        PHRASE(226, "IM Used");
        PHRASE(300, "Multiple Choices");
        PHRASE(301, "Moved Permanently");
        PHRASE(302, "Found");
        PHRASE(303, "See Other");
        PHRASE(304, "Not Modified");
        PHRASE(305, "Use Proxy");
        PHRASE(307, "Temporary Redirect");
        PHRASE(308, "Permanent Redirect");
        PHRASE(400, "Bad Request");
        PHRASE(401, "Unauthorized");
        PHRASE(402, "Payment Required");
        PHRASE(403, "Forbidden");
        PHRASE(404, "Not Found");
        PHRASE(405, "Method Not Allowed");
        PHRASE(406, "Not Acceptable");
        PHRASE(407, "Proxy Authentication Required");
        PHRASE(408, "Request Timeout");
        PHRASE(409, "Conflict");
        PHRASE(410, "Gone");
        PHRASE(411, "Length Required");
        PHRASE(412, "Precondition Failed");
        PHRASE(413, "Payload Too Large");
        PHRASE(414, "URI Too Long");
        PHRASE(415, "Unsupported Media Type");
        PHRASE(416, "Range Not Satisfiable");
        PHRASE(417, "Expectation Failed");
        PHRASE(421, "Misdirected Request");
        PHRASE(422, "Unprocessable Entity");
        PHRASE(423, "Locked");
        PHRASE(424, "Failed Dependency");
        PHRASE(425, "Too Early");
        PHRASE(426, "Upgrade Required");
        PHRASE(428, "Precondition Required");
        PHRASE(429, "Too Many Requests");
        PHRASE(431, "Request Header Fields Too Large");
        PHRASE(451, "Unavailable For Legal Reasons");
        PHRASE(500, "Internal Server Error");
        PHRASE(501, "Not Implemented");
        PHRASE(502, "Bad Gateway");
        PHRASE(503, "Service Unavailable");
        PHRASE(504, "Gateway Timeout");
        PHRASE(505, "HTTP Version Not Supported");
        PHRASE(506, "Variant Also Negotiates");
        PHRASE(507, "Insufficient Storage");
        PHRASE(508, "Loop Detected");
        PHRASE(510, "Not Extended");
        PHRASE(511, "Network Authentication Required");
    default: return MC_SLICE("Unknown");
    }
}

static bool is_name_of(mc_slice name, mc_slice phrase) {
    size_t at = 0;
    for (size_t i = 0; i < phrase.n; i++) {
        if (phrase.p[i] == ' ' || phrase.p[i] == '-') {
            continue;
        }
        if (at == name.n || name.p[at++] != phrase.p[i]) {
            return false;
        }
    }
    return at == name.n && at > 0;
}

uint16_t mc_http_status_named(mc_slice name) {
    for (uint16_t status = 100; status < 600; status++) {
        if (is_name_of(name, mc_http_reason(status))) {
            return status;
        }
    }
    return 0;
}

#include "dataplane/tls/ocsp.h"

#include <openssl/bytestring.h>
#include <openssl/posix_time.h>

#include <ctime>

#include "dataplane/tls/library.h"

namespace weft::tls {
namespace {

constexpr uint8_t kBasicResponseOid[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01};
constexpr CBS_ASN1_TAG kContext = CBS_ASN1_CONTEXT_SPECIFIC;
constexpr CBS_ASN1_TAG kConstructed = CBS_ASN1_CONSTRUCTED;

bool ReadTime(CBS* in, int64_t* out) {
  CBS text;
  struct tm tm = {};
  return CBS_get_asn1(in, &text, CBS_ASN1_GENERALIZEDTIME) &&
         CBS_parse_generalized_time(&text, &tm, /*allow_timezone_offset=*/0) &&
         OPENSSL_tm_to_posix(&tm, out);
}

// SingleResponse ::= SEQUENCE { certID, certStatus CHOICE, thisUpdate, [0] nextUpdate OPTIONAL, ...
// }
bool ReadSingle(CBS* single, OcspResponse* out) {
  CBS id, serial, status, next;
  CBS_ASN1_TAG tag;
  int has_next;
  if (!CBS_get_asn1(single, &id, CBS_ASN1_SEQUENCE) ||
      !CBS_get_asn1(&id, nullptr, CBS_ASN1_SEQUENCE) ||     // hashAlgorithm
      !CBS_get_asn1(&id, nullptr, CBS_ASN1_OCTETSTRING) ||  // issuerNameHash
      !CBS_get_asn1(&id, nullptr, CBS_ASN1_OCTETSTRING) ||  // issuerKeyHash
      !CBS_get_asn1(&id, &serial, CBS_ASN1_INTEGER) || !CBS_get_any_asn1(single, &status, &tag) ||
      !ReadTime(single, &out->this_update) ||
      !CBS_get_optional_asn1(single, &next, &has_next, kContext | kConstructed | 0)) {
    return false;
  }
  if (has_next && !ReadTime(&next, &out->next_update)) return false;
  out->status = tag == (kContext | 0)                  ? OcspResponse::Status::kGood
                : tag == (kContext | kConstructed | 1) ? OcspResponse::Status::kRevoked
                                                       : OcspResponse::Status::kUnknown;
  while (CBS_len(&serial) > 1 && CBS_data(&serial)[0] == 0) CBS_skip(&serial, 1);
  out->serial = Hex(CBS_data(&serial), CBS_len(&serial));
  return true;
}

}  // namespace

std::optional<OcspResponse> ParseOcspResponse(std::string_view der, std::string* why) {
  auto fail = [why](const char* message) {
    *why = message;
    return std::nullopt;
  };
  CBS in, outer, status, wrapped, bytes, oid, octets, basic, data, responses, single;
  CBS_init(&in, reinterpret_cast<const uint8_t*>(der.data()), der.size());
  if (!CBS_get_asn1(&in, &outer, CBS_ASN1_SEQUENCE) || CBS_len(&in) != 0 ||
      !CBS_get_asn1(&outer, &status, CBS_ASN1_ENUMERATED) || CBS_len(&status) != 1) {
    return fail("not an OCSP response in DER form");
  }
  if (CBS_data(&status)[0] != 0) return fail("an OCSP response that reports an error");
  if (!CBS_get_asn1(&outer, &wrapped, kContext | kConstructed | 0) ||
      !CBS_get_asn1(&wrapped, &bytes, CBS_ASN1_SEQUENCE) ||
      !CBS_get_asn1(&bytes, &oid, CBS_ASN1_OBJECT) ||
      !CBS_mem_equal(&oid, kBasicResponseOid, sizeof(kBasicResponseOid)) ||
      !CBS_get_asn1(&bytes, &octets, CBS_ASN1_OCTETSTRING) ||
      !CBS_get_asn1(&octets, &basic, CBS_ASN1_SEQUENCE) ||
      !CBS_get_asn1(&basic, &data, CBS_ASN1_SEQUENCE)) {
    return fail("not a basic OCSP response");
  }
  // ResponseData ::= SEQUENCE { [0] version OPTIONAL, responderID CHOICE { [1], [2] }, producedAt,
  // responses, ... }
  if (!CBS_get_optional_asn1(&data, nullptr, nullptr, kContext | kConstructed | 0) ||
      !CBS_get_any_asn1(&data, nullptr, nullptr) ||
      !CBS_get_asn1(&data, nullptr, CBS_ASN1_GENERALIZEDTIME) ||
      !CBS_get_asn1(&data, &responses, CBS_ASN1_SEQUENCE)) {
    return fail("malformed OCSP response data");
  }
  OcspResponse out;
  if (!CBS_get_asn1(&responses, &single, CBS_ASN1_SEQUENCE) || !ReadSingle(&single, &out)) {
    return fail("malformed OCSP response data");
  }
  if (CBS_len(&responses) != 0) return fail("an OCSP response about more than one certificate");
  return out;
}

}  // namespace weft::tls

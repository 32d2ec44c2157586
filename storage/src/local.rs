//! Addresses of the service itself, signed, for a bucket without an S3 endpoint.
//!
//! The form is `/local-media/{media_id}/{original|thumbnail}?METHOD-SPECIFIC&expires=...&signature=...`.
//! The signature is an HMAC-SHA-256 of the method, the path and the query before it, as they are
//! written: an address that was changed in any way has another.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method};
use parlance_shared::limits;
use parlance_shared::media::errand::{ObjectKey, Which};
use parlance_shared::protocol::media::Sha256Digest;
use parlance_shared::protocol::problem::{Code, Problem};
use parlance_shared::time::Timestamp;
use sha2::Sha256;

use crate::serving::Serving;
use crate::{PartUpload, Signed, Upload};

/// Where these addresses begin.
pub const PREFIX: &str = "/local-media/";
const SIGNATURE: &str = "&signature=";

/// What addresses are signed with.
#[derive(Clone)]
pub struct UrlKey([u8; 32]);

impl std::fmt::Debug for UrlKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UrlKey(hidden)")
    }
}

/// What a request to such an address may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// With which object.
    pub key: ObjectKey,
    /// What.
    pub act: Act,
}

/// What is done with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Its bytes are read.
    Get(Serving),
    /// It is made.
    Put {
        /// Its type.
        content_type: String,
        /// Its bytes.
        size: u64,
        /// Their digest.
        sha256: Option<Sha256Digest>,
    },
    /// A part of it is uploaded.
    PutPart {
        /// Storage's name for the upload.
        upload_id: String,
        /// Which, from 1.
        part_number: u16,
        /// Its bytes.
        size: u64,
    },
}

impl UrlKey {
    /// A key that belongs to `secret`, and is of no other use.
    #[must_use]
    pub fn derived(secret: &[u8]) -> Self {
        Self(mac(secret, &[b"parlance local media addresses, version 1"]))
    }

    /// An address at `origin` to which these bytes can be uploaded, once.
    #[must_use]
    pub fn put(&self, origin: &str, upload: &Upload, now: Timestamp) -> Signed {
        let content_type = upload.content_type.to_string();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("size", &upload.size.to_string());
        query.append_pair("type", &content_type);
        if let Some(digest) = &upload.sha256 {
            query.append_pair("sha256", &digest.to_string());
        }
        let headers = vec![
            ("content-length", upload.size.to_string()),
            ("content-type", content_type),
        ];
        self.signed(origin, &Method::PUT, upload.key, query, headers, now)
    }

    /// An address at `origin` to which this part can be uploaded.
    #[must_use]
    pub fn put_part(&self, origin: &str, part: &PartUpload<'_>, now: Timestamp) -> Signed {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("size", &part.size.to_string());
        query.append_pair("upload", part.upload_id);
        query.append_pair("part", &part.part_number.to_string());
        let headers = vec![("content-length", part.size.to_string())];
        self.signed(origin, &Method::PUT, part.key, query, headers, now)
    }

    /// An address at `origin` from which the object can be read.
    #[must_use]
    pub fn get(&self, origin: &str, key: ObjectKey, serving: &Serving, now: Timestamp) -> Signed {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("type", &serving.content_type);
        query.append_pair("disposition", &serving.disposition);
        self.signed(origin, &Method::GET, key, query, Vec::new(), now)
    }

    fn signed(
        &self,
        origin: &str,
        method: &Method,
        key: ObjectKey,
        mut query: form_urlencoded::Serializer<'_, String>,
        headers: Vec<(&'static str, String)>,
        now: Timestamp,
    ) -> Signed {
        let expires_at = now + limits::MEDIA_URL_LIFETIME;
        query.append_pair("expires", &expires_at.as_millis().to_string());
        let which = match key.which {
            Which::Original => "original",
            Which::Thumbnail => "thumbnail",
        };
        let target = format!("{PREFIX}{}/{which}?{}", key.media_id, query.finish());
        let signature = URL_SAFE_NO_PAD.encode(self.signature(method, &target));
        Signed {
            url: format!("{origin}{target}{SIGNATURE}{signature}"),
            headers,
            expires_at,
        }
    }

    fn signature(&self, method: &Method, target: &str) -> [u8; 32] {
        mac(
            &self.0,
            &[method.as_str().as_bytes(), b"\n", target.as_bytes()],
        )
    }

    /// What a request may do: `target` is its path and query as they came.
    ///
    /// # Errors
    /// `forbidden` where the address is not one of ours, was changed, or has expired;
    /// `invalid_request` where the headers are not those that it was signed for.
    pub fn admit(
        &self,
        method: &Method,
        target: &str,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Admitted, Problem> {
        let forbidden = || Problem::new(Code::Forbidden, "This address is not a valid one.");
        let (signed, signature) = target.rsplit_once(SIGNATURE).ok_or_else(forbidden)?;
        // One who may read may also ask how much there is to read.
        let signed_method = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let given = URL_SAFE_NO_PAD.decode(signature).map_err(|_| forbidden())?;
        let mut expected = keyed(&self.0);
        for piece in [signed_method.as_str().as_bytes(), b"\n", signed.as_bytes()] {
            expected.update(piece);
        }
        expected.verify_slice(&given).map_err(|_| forbidden())?;
        // From here on it is as it was written above.
        let (path, query) = signed.split_once('?').ok_or_else(forbidden)?;
        let key = key_of(path).ok_or_else(forbidden)?;
        let value = |name: &str| {
            form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        };
        let expires: i64 = number(value("expires")).ok_or_else(forbidden)?;
        if Timestamp::from_millis(expires) <= now {
            return Err(Problem::new(Code::Forbidden, "This address has expired."));
        }
        let act = if *method == Method::PUT {
            let size: u64 = number(value("size")).ok_or_else(forbidden)?;
            require_header(headers, &CONTENT_LENGTH, &size.to_string())?;
            if let Some(upload_id) = value("upload") {
                Act::PutPart {
                    upload_id,
                    part_number: number(value("part")).ok_or_else(forbidden)?,
                    size,
                }
            } else {
                let content_type = value("type").ok_or_else(forbidden)?;
                require_header(headers, &CONTENT_TYPE, &content_type)?;
                Act::Put {
                    content_type,
                    size,
                    sha256: match value("sha256") {
                        Some(text) => Some(text.parse().map_err(|_| forbidden())?),
                        None => None,
                    },
                }
            }
        } else {
            Act::Get(Serving {
                content_type: value("type").ok_or_else(forbidden)?,
                disposition: value("disposition").ok_or_else(forbidden)?,
            })
        };
        Ok(Admitted { key, act })
    }
}

fn require_header(
    headers: &HeaderMap,
    name: &http::HeaderName,
    expected: &str,
) -> Result<(), Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value.as_bytes() == expected.as_bytes() => Ok(()),
        _ => {
            let detail = format!("{name} must be {expected}, as the address was signed for.");
            Err(Problem::invalid(detail))
        }
    }
}

fn key_of(path: &str) -> Option<ObjectKey> {
    let (media_id, which) = path.strip_prefix(PREFIX)?.split_once('/')?;
    let which = match which {
        "original" => Which::Original,
        "thumbnail" => Which::Thumbnail,
        _ => return None,
    };
    Some(ObjectKey {
        media_id: media_id.parse().ok()?,
        which,
    })
}

fn number<T: std::str::FromStr>(text: Option<String>) -> Option<T> {
    text?.parse().ok()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length; of one that it did not take nothing would ever verify.
    Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

fn mac(key: &[u8], pieces: &[&[u8]]) -> [u8; 32] {
    let mut mac = keyed(key);
    for piece in pieces {
        mac.update(piece);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parlance_shared::protocol::media::MediaType;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
    const ORIGIN: &str = "http://127.0.0.1:8787";

    fn key() -> UrlKey {
        UrlKey::derived(b"a secret of some length")
    }

    fn object() -> ObjectKey {
        ObjectKey::original("00000000-0000-4000-8000-000000000001".parse().unwrap())
    }

    fn upload() -> Upload {
        let content_type: MediaType = "image/jpeg".parse().unwrap();
        Upload {
            key: object(),
            content_type,
            size: 1000,
            sha256: None,
        }
    }

    fn headers(signed: &Signed) -> HeaderMap {
        signed
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    http::HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    fn target(signed: &Signed) -> &str {
        signed.url.strip_prefix(ORIGIN).unwrap()
    }

    #[test]
    fn an_address_does_what_it_was_signed_for() {
        let signed = key().put(ORIGIN, &upload(), NOW);
        let admitted = key().admit(&Method::PUT, target(&signed), &headers(&signed), NOW);
        assert_eq!(
            admitted.unwrap(),
            Admitted {
                key: object(),
                act: Act::Put {
                    content_type: "image/jpeg".to_owned(),
                    size: 1000,
                    sha256: None
                }
            }
        );
        let serving = Serving::of(&"text/html".parse().unwrap(), Some("a&b=c.html"));
        let signed = key().get(ORIGIN, object(), &serving, NOW);
        for method in [Method::GET, Method::HEAD] {
            let admitted = key().admit(&method, target(&signed), &HeaderMap::new(), NOW);
            assert_eq!(admitted.unwrap().act, Act::Get(serving.clone()));
        }
    }

    #[test]
    fn an_address_that_was_changed_is_refused() {
        let signed = key().put(ORIGIN, &upload(), NOW);
        let good = target(&signed).to_owned();
        let changed = [
            good.replace("size=1000", "size=1001"),
            good.replace("image%2Fjpeg", "text%2Fhtml"),
            good.replace("000001/original", "000002/original"),
            good.replace("/original", "/thumbnail"),
            good.replace("/local-media/", "/local-media/../local-media/"),
            good.replace("expires=", "expires=9"),
            good.replace("&expires", "&upload=x&part=1&expires"),
            good.replacen("size", "size=5&size", 1),
            good.replace(SIGNATURE, "&x=y&signature="),
            format!("{good}&size=5"),
            format!("{good}A"),
            good.split(SIGNATURE).next().unwrap().to_owned(),
            format!("{}{SIGNATURE}", good.split(SIGNATURE).next().unwrap()),
        ];
        for target in changed {
            assert_ne!(target, good);
            let refused = key().admit(&Method::PUT, &target, &headers(&signed), NOW);
            assert_eq!(refused.unwrap_err().code, Code::Forbidden, "{target}");
        }
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let refused = key().admit(&method, &good, &headers(&signed), NOW);
            assert_eq!(refused.unwrap_err().code, Code::Forbidden);
        }
        let foreign = UrlKey::derived(b"another secret");
        let refused = foreign.admit(&Method::PUT, &good, &headers(&signed), NOW);
        assert_eq!(refused.unwrap_err().code, Code::Forbidden);
    }

    #[test]
    fn an_address_expires_after_a_quarter_of_an_hour() {
        let signed = key().put(ORIGIN, &upload(), NOW);
        assert_eq!(signed.expires_at, NOW + Duration::from_secs(900));
        let at = |now| key().admit(&Method::PUT, target(&signed), &headers(&signed), now);
        assert!(at(signed.expires_at - Duration::from_millis(1)).is_ok());
        assert_eq!(at(signed.expires_at).unwrap_err().code, Code::Forbidden);
    }

    #[test]
    fn headers_must_be_those_that_it_was_signed_for() {
        let signed = key().put(ORIGIN, &upload(), NOW);
        let good = headers(&signed);
        for (name, value) in [
            (CONTENT_TYPE, "text/html"),
            (CONTENT_TYPE, "image/jpeg; charset=utf-8"),
            (CONTENT_LENGTH, "999"),
            (CONTENT_LENGTH, "0"),
        ] {
            let mut bad = good.clone();
            bad.insert(&name, http::HeaderValue::from_static(value));
            let refused = key().admit(&Method::PUT, target(&signed), &bad, NOW);
            assert_eq!(refused.unwrap_err().code, Code::InvalidRequest, "{value}");
        }
        let refused = key().admit(&Method::PUT, target(&signed), &HeaderMap::new(), NOW);
        assert_eq!(refused.unwrap_err().code, Code::InvalidRequest);
    }

    #[test]
    fn a_part_is_bound_to_its_upload_and_number() {
        let part = PartUpload {
            key: object(),
            upload_id: "up/load+id",
            part_number: 3,
            size: 77,
        };
        let signed = key().put_part(ORIGIN, &part, NOW);
        let admitted = key().admit(&Method::PUT, target(&signed), &headers(&signed), NOW);
        assert_eq!(
            admitted.unwrap().act,
            Act::PutPart {
                upload_id: "up/load+id".to_owned(),
                part_number: 3,
                size: 77
            }
        );
        let other = target(&signed).replace("part=3", "part=4");
        assert!(
            key()
                .admit(&Method::PUT, &other, &headers(&signed), NOW)
                .is_err()
        );
    }
}

//! Signatures against the examples that Amazon has published, and against what storage answers.

use super::*;

const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn setting<'a>(changes: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    let base = [
        ("S3_ENDPOINT", "https://account.r2.example.com"),
        ("S3_BUCKET", "media"),
        ("S3_ACCESS_KEY_ID", KEY_ID),
        ("S3_SECRET_ACCESS_KEY", SECRET),
    ];
    move |name| {
        changes
            .iter()
            .chain(&base)
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    }
}

fn s3() -> S3 {
    S3::read(setting(&[]), false).unwrap().unwrap()
}

fn key() -> ObjectKey {
    ObjectKey::original("00000000-0000-4000-8000-000000000001".parse().unwrap())
}

fn queries(url: &str) -> std::collections::BTreeMap<String, String> {
    Url::parse(url)
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect()
}

/// "Authenticating Requests: Using Query Parameters", its example: a GET of `test.txt` in
/// `examplebucket`, signed on 24 May 2013 for a day.
#[test]
fn the_published_example_of_a_presigned_url_has_the_published_signature() {
    let endpoint = Url::parse("https://s3.amazonaws.com").unwrap();
    let bucket = Bucket::new(
        endpoint,
        UrlStyle::VirtualHost,
        "examplebucket",
        "us-east-1",
    )
    .unwrap();
    let credentials = Credentials::new(KEY_ID, SECRET);
    let action = bucket.get_object(Some(&credentials), "test.txt");
    let at = Timestamp::from_millis(1_369_353_600_000);
    let url = action.sign_with_time(Duration::from_secs(86_400), &moment(at));
    assert_eq!(
        queries(url.as_str())["X-Amz-Signature"],
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    );
}

#[test]
fn an_upload_is_bound_to_its_type_length_digest_and_place() {
    let digest = Sha256Digest::from_bytes([7; 32]);
    let upload = Upload {
        key: key(),
        content_type: "image/jpeg".parse().unwrap(),
        size: 1000,
        sha256: Some(digest),
    };
    let signed = s3().put(&upload, NOW);
    let queries = queries(&signed.url);
    assert_eq!(
        queries["X-Amz-SignedHeaders"],
        "content-length;content-type;host;if-none-match;x-amz-checksum-sha256"
    );
    assert_eq!(queries["X-Amz-Expires"], "900");
    assert!(queries["X-Amz-Credential"].ends_with("/auto/s3/aws4_request"));
    assert!(signed.url.starts_with(
        "https://account.r2.example.com/media/media/00000000-0000-4000-8000-000000000001/original?"
    ));
    let headers: std::collections::BTreeMap<_, _> = signed.headers.into_iter().collect();
    assert_eq!(headers["content-length"], "1000");
    assert_eq!(headers["content-type"], "image/jpeg");
    assert_eq!(headers["if-none-match"], "*");
    assert_eq!(headers["x-amz-checksum-sha256"], digest.to_base64());
    let other = Upload {
        size: 1001,
        ..upload
    };
    let of = |url: &str| self::queries(url)["X-Amz-Signature"].clone();
    assert_ne!(of(&s3().put(&other, NOW).url), of(&signed.url));
}

#[test]
fn what_is_read_is_shown_as_it_must_be() {
    let serving = Serving::of(&"text/html".parse().unwrap(), Some("a b.html"));
    let queries = queries(&s3().get(key(), &serving, NOW).url);
    assert_eq!(queries["response-content-type"], "application/octet-stream");
    assert_eq!(
        queries["response-content-disposition"],
        "attachment; filename*=UTF-8''a%20b.html"
    );
}

#[test]
fn settings_are_there_together_or_not_at_all() {
    assert!(S3::read(|_| None, false).unwrap().is_none());
    let only_region = |name: &str| (name == "S3_REGION").then(|| "auto".to_owned());
    assert!(S3::read(only_region, false).unwrap().is_none());
    let wrong = |changes: &[(&str, &str)], development| {
        let errors = S3::read(setting(changes), development).unwrap_err();
        errors
            .iter()
            .map(|error| error.variable)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        wrong(&[("S3_BUCKET", " "), ("S3_SECRET_ACCESS_KEY", "")], false),
        ["S3_BUCKET", "S3_SECRET_ACCESS_KEY"]
    );
    for bad in [
        "http://127.0.0.1:9000",
        "account.r2.example.com",
        "https://u:p@x.example",
        "https://x.example/?a=b",
        "ftp://x.example",
    ] {
        assert_eq!(
            wrong(&[("S3_ENDPOINT", bad)], false),
            ["S3_ENDPOINT"],
            "{bad}"
        );
    }
    assert_eq!(wrong(&[("S3_BUCKET", "../other")], false), ["S3_BUCKET"]);
    let local = [("S3_ENDPOINT", "http://127.0.0.1:9000")];
    assert!(S3::read(setting(&local), true).unwrap().is_some());
}

#[test]
fn no_secret_is_printed() {
    let printed = format!("{:?}", s3());
    assert!(
        !printed.contains(SECRET) && !printed.contains(KEY_ID),
        "{printed}"
    );
}

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Response<Vec<u8>> {
    let mut response = Response::new(body.as_bytes().to_vec());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name = HeaderName::from_static(name);
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[test]
fn answers_are_read_for_what_they_say() {
    let look = Errand::Look { key: key() };
    let report = |errand: &Errand, answers: &[Response<Vec<u8>>]| S3::report(errand, answers);
    assert_eq!(
        report(&look, &[answer(404, &[], "")]),
        Ok(Report::Looked(None))
    );
    let found = [("content-length", "5"), ("content-type", "image/png")];
    let stored = Stored {
        size: 5,
        content_type: Some("image/png".to_owned()),
        sha256: None,
    };
    assert_eq!(
        report(&look, &[answer(200, &found, "")]),
        Ok(Report::Looked(Some(stored)))
    );
    for status in [200, 403, 500] {
        assert!(
            report(&look, &[answer(status, &[], "")]).is_err(),
            "{status}"
        );
    }
    let join = Errand::JoinParts {
        key: key(),
        upload_id: "u".to_owned(),
        parts: Vec::new(),
    };
    let late = "<Error><Code>InternalError</Code></Error>";
    assert_eq!(
        report(&join, &[answer(200, &[], late)]),
        Ok(Report::NotJoined)
    );
    assert_eq!(
        report(&join, &[answer(404, &[], "")]),
        Ok(Report::NotJoined)
    );
    assert!(report(&join, &[answer(503, &[], "")]).is_err());
    let remove = Errand::Remove {
        keys: vec![key()],
        upload_id: Some("u".to_owned()),
    };
    let done = [answer(204, &[], ""), answer(404, &[], "")];
    assert_eq!(report(&remove, &done), Ok(Report::Removed));
    let half_done = [answer(204, &[], ""), answer(500, &[], "")];
    assert!(report(&remove, &half_done).is_err());
}
